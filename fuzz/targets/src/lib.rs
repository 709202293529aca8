//! Whatever a stranger writes and this program reads, as functions of bytes: none may panic, hang, or break the rule
//! that its documentation states.
//!
//! `fuzz/fuzz_targets` hands them to libFuzzer; [`driver`] runs them over the corpus and over mutants of it, the same
//! ones every time.

pub mod driver;
mod egress;
mod settings;

pub use egress::grants;
pub use settings::settings;

use pulse_host::{
    config::Draft,
    domain::{
        plugin::{Capability, Facts},
        spec::Kind,
    },
    plugins::{self, Manifest, lock},
    sandbox::compile,
};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// A target: its name, which is also its corpus's, and what it does.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("component", component),
    ("config", config),
    ("grants", grants),
    ("lock", lock),
    ("manifest", manifest),
    ("settings", settings),
];

/// Where relative paths of a configuration lead: to nothing.
const NOWHERE: &str = "/nonexistent";
/// Of a message that is one line.
const LINE_BYTES_MAX: usize = 8 << 10;

/// A configuration is right, or it is said what is wrong, each with its place.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let draft = Draft::from_text("fuzz.toml", text, Path::new(NOWHERE));
    let granted = draft.grants();
    let facts = BTreeMap::from([(
        "http".to_owned(),
        facts(
            "http",
            serde_json::json!({"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}),
        ),
    )]);
    match draft.finish(&facts) {
        Ok(config) => {
            assert!(granted.is_some(), "it runs, and nobody knows what it grants");
            for monitor in config.monitors {
                assert!(!monitor.name().is_empty());
            }
        }
        Err(problems) => assert!(!problems.render(false).trim().is_empty(), "wrong without a word"),
    }
}

/// What is known of a plugin with that schema.
fn facts(name: &str, schema: serde_json::Value) -> Facts {
    Facts {
        name: name.into(),
        digest: "0".into(),
        version: "1.0.0".into(),
        summary: String::new(),
        kinds: vec![Kind::Pulse],
        needs: vec![Capability::Http],
        schema: Arc::new(schema),
    }
}

/// A manifest's name is a name, its component lies in its folder, and what it asks for is written in one way only.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Manifest::parse(text) {
        Ok(manifest) => {
            assert!(plugins::name_is_valid(&manifest.name));
            assert!(plugins::version_is_valid(&manifest.version));
            let mut parts = Path::new(&manifest.component).components();
            let first = parts.next();
            assert!(
                matches!(first, Some(std::path::Component::Normal(_))),
                "{first:?}"
            );
            assert_eq!(parts.next(), None, "leads somewhere else");
            for (key, entry) in manifest.requests.entries() {
                let mut again = plugins::Reach::default();
                assert_eq!(again.insert(key, entry), Ok(()));
                assert!(again.contains(key, entry), "{key} {entry} has two spellings");
                assert!(manifest.requests.covers(key, entry));
            }
        }
        Err(message) => assert!(!message.trim().is_empty()),
    }
}

/// A lock that can be read is written and read as the same.
pub fn lock(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match lock::parse(text) {
        Ok(records) => {
            let written = lock::write("", &records);
            let again = lock::parse(&written);
            assert_eq!(again.as_ref(), Ok(&records), "{written}");
            assert_eq!(lock::write("", &records), written);
            let compared = lock::compare(&records, &records);
            assert!(compared.iter().all(|one| one.state == lock::State::Same));
        }
        Err(fault) => {
            assert!(
                fault.line >= 1 && fault.line <= 1 + text.matches('\n').count(),
                "{fault:?}"
            );
            assert!(!fault.message.contains('\n'), "{fault:?}");
        }
    }
}

/// A component passes the screen, or one line says why not; and it is what it was said to be the second time.
pub fn component(data: &[u8]) {
    let said = compile::screen(data);
    assert_eq!(said, compile::screen(data));
    if let Err(message) = said {
        assert!(message.len() <= LINE_BYTES_MAX, "{} bytes", message.len());
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}
