//! A plugin's `plugin.toml` and README against what its component says.

use crate::private::{Kinds, plugin_interface::Guest};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Manifest {
    name: String,
    version: String,
    kinds: Vec<String>,
    component: String,
    #[serde(default)]
    needs: Vec<String>,
    /// What the host makes of these two, it says when it loads the plugin.
    #[serde(default, rename = "unused")]
    _unused: Vec<String>,
    #[serde(default, rename = "build")]
    _build: Option<toml::Value>,
    #[serde(default)]
    requests: Requests,
}

/// What the author wants to reach. Whether each entry is well written the host says when it loads the plugin.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Requests {
    http: Vec<String>,
    tcp: Vec<String>,
    udp: Vec<String>,
    dns: Vec<String>,
    icmp: Vec<String>,
    networks: Vec<String>,
    containers: Vec<String>,
}

impl Requests {
    /// The settings that are named as `@settings.NAME`.
    fn named_settings(&self) -> impl Iterator<Item = &str> {
        let all = [
            &self.http,
            &self.tcp,
            &self.udp,
            &self.dns,
            &self.icmp,
            &self.networks,
            &self.containers,
        ];
        all.into_iter().flatten().filter_map(|entry| {
            let path = entry.strip_prefix("@settings.")?;
            path.split(['.', ':']).next()
        })
    }
}

/// Holds a plugin's manifest and README against its component. What the component imports is not known natively:
/// the host compares `needs` when it loads it.
///
/// ```
/// # use pulse_plugin_sdk::{*, serde_json::json};
/// # struct Fetch;
/// # impl Pulse for Fetch {
/// #     type Settings = std::collections::BTreeMap<String, String>;
/// #     fn run(job: PulseJob<Self::Settings>) -> Result<Report, Fault> {
/// #         Report::from_error(&http::Request::get(&job.settings["url"]).send().unwrap_err())
/// #     }
/// # }
/// # struct Tell;
/// # impl Code for Tell {
/// #     type Settings = <Fetch as Pulse>::Settings;
/// #     fn notify(job: CodeJob<Self::Settings>) -> Result<Receipt, DeliveryFailure> {
/// #         Ok(Receipt::taken(job.color.name()))
/// #     }
/// # }
/// # struct Repair;
/// # impl Intervention for Repair {
/// #     type Settings = <Fetch as Pulse>::Settings;
/// #     fn run(job: InterventionJob<Self::Settings>) -> Result<ActionReport, ActionFailure> {
/// #         Ok(ActionReport::done(job.idempotency_key))
/// #     }
/// # }
/// # export_plugin! { name: "fetch", summary: "Fetches a URL", pulse: Fetch, intervention: Repair, code: Tell }
/// # fn main() {
/// let manifest = r#"
///     name = "fetch"
///     version = "9.9.9"
///     kinds = ["pulse", "intervention", "code"]
///     component = "fetch.wasm"
///     needs = ["http"]
/// "#;
/// let wrong = testing::check_manifest::<Exports>(manifest, "# fetch").unwrap_err();
/// assert!(wrong.starts_with("version: the manifest has \"9.9.9\""));
/// # }
/// ```
///
/// # Errors
/// Everything that does not agree, one line each.
pub fn check_manifest<E: Guest + Kinds>(manifest: &str, readme: &str) -> Result<(), String> {
    let manifest: Manifest = toml::from_str(manifest).map_err(|error| error.to_string())?;
    let description = E::describe();
    let mut wrong = Vec::new();
    let mut agree = |what: &str, written: &str, said: &str| {
        if written != said {
            wrong.push(format!(
                "{what}: the manifest has {written:?}, the component {said:?}"
            ));
        }
    };
    agree("name", &manifest.name, &description.name);
    agree("version", &manifest.version, &description.version);
    agree(
        "component",
        &manifest.component,
        &format!("{}.wasm", description.name),
    );

    let mut kinds = Vec::from(E::KINDS);
    // pulse, intervention, code: the order in which people list them, and which is reverse alphabetical.
    kinds.sort_unstable_by(|one, other| other.cmp(one));
    agree("kinds", &manifest.kinds.join(", "), &kinds.join(", "));

    let mut needs = manifest.needs.clone();
    needs.sort_unstable();
    needs.dedup();
    needs.retain(|need| {
        [
            "command",
            "dns",
            "docker",
            "files",
            "http",
            "icmp",
            "tcp",
            "tls",
            "wasi-http",
            "wasi-sockets",
        ]
        .contains(&need.as_str())
    });
    agree("needs", &manifest.needs.join(", "), &needs.join(", "));

    let settings = super::documented_settings::<E>();
    for named in manifest.requests.named_settings() {
        if !settings.iter().any(|(setting, _)| setting == named) {
            wrong.push(format!("requests: there is no setting `{named}`"));
        }
    }
    for (setting, text) in settings {
        if text.is_empty() {
            wrong.push(format!(
                "{setting}: has no doc comment, so the schema does not explain it"
            ));
        }
        if !readme.contains(&format!("| `{setting}` |")) {
            wrong.push(format!("{setting}: the README's table of settings lacks it"));
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::plugin_interface::Description;

    struct Example;

    impl Guest for Example {
        fn describe() -> Description {
            Description {
                name: "example".into(),
                version: "0.1.0".into(),
                summary: String::new(),
                settings_schema: r#"{"properties": {"url": {"description": "Where."}}}"#.into(),
            }
        }
    }

    impl Kinds for Example {
        const KINDS: &'static [&'static str] = &["code", "intervention"];
    }

    const GOOD: &str = r#"
        name = "example"
        version = "0.1.0"
        kinds = ["intervention", "code"]
        component = "example.wasm"
        needs = ["http"]
    "#;

    #[test]
    fn what_agrees() {
        assert_eq!(check_manifest::<Example>(GOOD, "| `url` | | Where. |"), Ok(()));
    }

    #[test]
    fn all_that_does_not_agree_is_said_at_once() {
        let bad = GOOD
            .replace("\"0.1.0\"", "\"0.2.0\"")
            .replace("\"intervention\", ", "")
            .replace("\"http\"", "\"sockets\"");
        let wrong = check_manifest::<Example>(&bad, "").unwrap_err();
        for word in ["version", "kinds", "needs", "url"] {
            assert!(wrong.contains(word), "{word} is not in {wrong}");
        }
        assert_eq!(wrong.lines().count(), 4, "{wrong}");
    }

    #[test]
    fn what_is_requested_names_settings_that_there_are() {
        let with = |entry: &str| format!("{GOOD}\n[requests]\nhttp = [\"{entry}\"]\nnetworks = [\"public\"]");
        let check = |entry: &str| check_manifest::<Example>(&with(entry), "| `url` | | Where. |");
        assert_eq!(check("@settings.url"), Ok(()));
        assert_eq!(check("https://*.example.com"), Ok(()));
        assert!(check("@settings.address").unwrap_err().contains("`address`"));
    }

    #[test]
    fn what_only_the_host_makes_something_of_is_no_mistake() {
        let bare = GOOD.replace("needs = [\"http\"]", "unused = [\"wasi-sockets\"]");
        let built = format!("{bare}\n[build]\ncommand = [\"sh\", \"build.sh\"]");
        assert_eq!(check_manifest::<Example>(&built, "| `url` | | Where. |"), Ok(()));
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let bad = format!("{GOOD}\nneed = []");
        assert!(check_manifest::<Example>(&bad, "").unwrap_err().contains("need"));
    }
}
