//! Probe modules: checks that nobody scheduled, of targets that are named when they are asked for.
//!
//! Architecture invariant: what is asked for stays data. It is put where the configuration says, and never looked through
//! for places, names of secrets or anything else.

use super::{
    plugin::{Capability, Facts},
    secret::{CLOSE, OPEN},
    spec::{Kind, Profile},
};
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};

/// Bytes of a target, and of a host name.
pub const TARGET_BYTES_MAX: usize = 2048;

/// The setting that the usual modules give a host name to: the name to send and to verify in TLS.
const SERVER_NAME: &str = "server-name";
/// A target without a scheme is a host that speaks plain HTTP, as it is everywhere where targets are listed for probes.
const URL: &str = "url";
const PLAIN: &str = "http://";

/// One module.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// What it is called.
    pub name: Arc<str>,
    /// Plugin and bounds.
    pub profile: Arc<Profile>,
    /// Wall time of one check, at most.
    pub timeout: Duration,
    /// The plugin's settings.
    pub settings: Filling,
    /// The setting that a host name goes into where `settings` has no place for it.
    pub named_by: Option<Box<str>>,
    /// Texts of the settings that came from the environment or from files, and that nobody may read.
    pub hidden: Vec<Box<str>>,
}

/// Settings with places for what is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Filling {
    /// Without any.
    Constant(Value),
    /// A text.
    Text(Vec<Piece>),
    /// An array.
    List(Vec<Filling>),
    /// An object.
    Table(Vec<(Box<str>, Filling)>),
}

/// A piece of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(Box<str>),
    /// What is to be checked.
    Target,
    /// By what name it is to be called.
    Hostname,
}

/// What somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask<'a> {
    /// What is to be checked.
    pub target: &'a str,
    /// By what name it is to be called.
    pub hostname: Option<&'a str>,
}

impl Filling {
    /// Whether there is a place for that.
    #[must_use]
    pub fn has(&self, piece: &Piece) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Text(pieces) => pieces.contains(piece),
            Self::List(items) => items.iter().any(|item| item.has(piece)),
            Self::Table(entries) => entries.iter().any(|(_, entry)| entry.has(piece)),
        }
    }

    /// With everything in its place; a place for a host name that is not given is left empty.
    #[must_use]
    pub fn fill(&self, ask: Ask<'_>) -> Value {
        match self {
            Self::Constant(value) => value.clone(),
            Self::Text(pieces) => {
                let text: String = pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => text,
                        Piece::Target => ask.target,
                        Piece::Hostname => ask.hostname.unwrap_or_default(),
                    })
                    .collect();
                text.into()
            }
            Self::List(items) => items.iter().map(|item| item.fill(ask)).collect(),
            Self::Table(entries) => {
                let filled = entries.iter().map(|(key, entry)| {
                    let value = match (entry.fill(ask), entry) {
                        (Value::String(text), Self::Text(pieces))
                            if &**key == URL && *pieces == [Piece::Target] && !text.contains("://") =>
                        {
                            format!("{PLAIN}{text}").into()
                        }
                        (value, _) => value,
                    };
                    (key.to_string(), value)
                });
                filled.collect::<Map<_, _>>().into()
            }
        }
    }
}

impl Module {
    /// The module that a plugin is by itself, under its own name: one that checks over the network, and needs to be told
    /// nothing but its target. None: it is another kind of plugin.
    #[must_use]
    pub fn usual(facts: &Facts, profile: Arc<Profile>, timeout: Duration) -> Option<Self> {
        // What runs or touches something on this machine is not called for by naming a target.
        let local =
            |need: &Capability| matches!(need, Capability::Command | Capability::Docker | Capability::Files);
        if !facts.kinds.contains(&Kind::Pulse) || facts.needs.is_empty() || facts.needs.iter().any(local) {
            return None;
        }
        let [required] = facts.schema.get("required")?.as_array()?.as_slice() else {
            return None;
        };
        let required = required.as_str()?;
        let properties = facts.schema.get("properties")?;
        // A connection without TLS has no use for it.
        let named = [Capability::Http, Capability::Tls]
            .iter()
            .any(|need| facts.needs.contains(need))
            && properties.get(SERVER_NAME).is_some();
        Some(Self {
            name: Arc::clone(&facts.name),
            profile,
            timeout,
            settings: Filling::Table(vec![(required.into(), Filling::Text(vec![Piece::Target]))]),
            named_by: named.then(|| SERVER_NAME.into()),
            hidden: Vec::new(),
        })
    }

    /// The plugin's settings for what is asked for; whether the plugin takes them is another question.
    ///
    /// # Errors
    /// It can't be put into settings; in words for who asks.
    pub fn settings(&self, ask: Ask<'_>) -> Result<Value, String> {
        for (what, text) in [("target", Some(ask.target)), ("hostname", ask.hostname)] {
            let Some(text) = text else { continue };
            if text.is_empty() {
                return Err(format!("{what}: it is empty"));
            }
            if text.len() > TARGET_BYTES_MAX {
                return Err(format!("{what}: at most {TARGET_BYTES_MAX} bytes"));
            }
            let strange = |c: char| c.is_control() || matches!(c, OPEN..=CLOSE);
            if text.contains(strange) {
                return Err(format!("{what}: it holds a control character"));
            }
        }
        let mut settings = self.settings.fill(ask);
        match (ask.hostname, self.settings.has(&Piece::Hostname), &self.named_by) {
            (None, false, _) | (Some(_), true, _) => {}
            (None, true, _) => {
                return Err(format!("hostname: the module `{}` needs one", self.name));
            }
            (Some(hostname), false, Some(key)) => {
                let plain = |value: &Value| value.as_str().is_some_and(|url| url.starts_with(PLAIN));
                if settings.get(URL).is_some_and(plain) {
                    return Err("hostname: it is the name in TLS, and this target is not https".to_owned());
                }
                if let Value::Object(entries) = &mut settings {
                    entries.insert(key.to_string(), hostname.into());
                }
            }
            (Some(_), false, None) => {
                return Err(format!("hostname: the module `{}` takes none", self.name));
            }
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts(needs: &[Capability], schema: Value) -> Facts {
        Facts {
            name: "x".into(),
            digest: "".into(),
            version: String::new(),
            summary: String::new(),
            kinds: vec![Kind::Pulse],
            needs: needs.to_vec(),
            schema: Arc::new(schema),
        }
    }

    fn profile() -> Arc<Profile> {
        Arc::new(Profile {
            plugin: "x".into(),
            digest: "".into(),
            limits: Default::default(),
            grants: Arc::default(),
            reuse: 0,
        })
    }

    fn usual(needs: &[Capability], schema: Value) -> Option<Module> {
        Module::usual(&facts(needs, schema), profile(), Duration::from_secs(5))
    }

    fn web() -> Module {
        let schema = json!({ "required": ["url"], "properties": { "url": {}, "server-name": {} } });
        usual(&[Capability::Http], schema).unwrap()
    }

    #[test]
    fn a_plugin_that_needs_nothing_but_a_target_is_a_module() {
        let schema = |required: Value| json!({ "required": required, "properties": { "host": {} } });
        let icmp = usual(&[Capability::Icmp], schema(json!(["host"]))).unwrap();
        let ask = Ask {
            target: "a.example",
            hostname: None,
        };
        assert_eq!(icmp.settings(ask), Ok(json!({ "host": "a.example" })));
        assert!(icmp.named_by.is_none());
        for required in [json!([]), json!(["host", "port"]), Value::Null] {
            assert_eq!(usual(&[Capability::Tcp], schema(required)), None);
        }
        for needs in [
            &[Capability::Command][..],
            &[Capability::Tcp, Capability::Files],
            &[],
        ] {
            assert_eq!(usual(needs, schema(json!(["host"]))), None, "{needs:?}");
        }
        let mut alerts = facts(&[Capability::Http], schema(json!(["host"])));
        alerts.kinds = vec![Kind::Code];
        assert_eq!(Module::usual(&alerts, profile(), Duration::ZERO), None);
    }

    #[test]
    fn a_target_without_a_scheme_is_plain_http_and_a_name_is_for_tls() {
        let asked = |target, hostname| web().settings(Ask { target, hostname });
        assert_eq!(
            asked("a.example:8080/x", None),
            Ok(json!({ "url": "http://a.example:8080/x" }))
        );
        assert_eq!(
            asked("https://192.0.2.1", Some("a.example")),
            Ok(json!({ "url": "https://192.0.2.1", "server-name": "a.example" }))
        );
        assert!(
            asked("192.0.2.1", Some("a.example"))
                .unwrap_err()
                .contains("not https")
        );
    }

    #[test]
    fn what_is_asked_for_stays_data() {
        let module = Module {
            named_by: None,
            settings: Filling::Table(vec![
                (
                    "send".into(),
                    Filling::List(vec![Filling::Text(vec![
                        Piece::Text("<".into()),
                        Piece::Target,
                        Piece::Text("|".into()),
                        Piece::Hostname,
                        Piece::Text(">".into()),
                    ])]),
                ),
                (
                    "url".into(),
                    Filling::Text(vec![Piece::Target, Piece::Text("/".into())]),
                ),
                ("tls".into(), Filling::Constant(true.into())),
            ]),
            ..web()
        };
        let asked = |target, hostname| module.settings(Ask { target, hostname });
        assert_eq!(
            asked("\"{{hostname}}", Some("{{target}}")),
            Ok(json!({ "send": ["<\"{{hostname}}|{{target}}>"], "url": "\"{{hostname}}/", "tls": true }))
        );
        assert!(asked("a", None).unwrap_err().contains("needs one"));
        for (target, hostname) in [
            ("", "a"),
            ("a\n", "a"),
            ("a", "\u{fdd0}token\u{fdd1}"),
            ("a", ""),
            (&*"x".repeat(TARGET_BYTES_MAX + 1), "a"),
        ] {
            assert!(asked(target, Some(hostname)).is_err(), "{target:?} {hostname:?}");
        }
    }
}
