//! A monitor's settings against the schema that a stranger's plugin brings.

use pulse_host::{config::Draft, sandbox::settings_schema};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

/// A line of JSON Schema, and the settings as JSON after it. Whatever the schema is, it is refused, or it checks the
/// settings: without a panic, without an end of time, and without reaching for anything beyond itself.
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (schema, settings) = text.split_once('\n').unwrap_or((text, "{}"));
    let schema = match settings_schema(schema) {
        Ok(schema) => schema,
        Err(message) => {
            assert!(!message.trim().is_empty());
            return;
        }
    };
    let outline = pulse_host::plugins::lock::outline::outline(&schema);
    assert!(outline.len() <= 513 && outline.iter().all(|line| !line.contains('\n')));
    let Some(settings) = serde_json::from_str(settings).ok().and_then(to_toml) else {
        return;
    };
    let mut pulse = toml::Table::new();
    pulse.insert("plugin".to_owned(), "fuzz".into());
    pulse.insert("settings".to_owned(), settings);
    let mut monitor = toml::Table::new();
    monitor.insert("name".to_owned(), "m".into());
    monitor.insert("pulse".to_owned(), pulse.into());
    let mut config = toml::Table::new();
    config.insert("monitor".to_owned(), toml::Value::Array(vec![monitor.into()]));
    let facts = super::facts("fuzz", schema);
    let draft = Draft::from_text("fuzz.toml", &config.to_string(), Path::new(super::NOWHERE));
    if let Err(problems) = draft.finish(&BTreeMap::from([("fuzz".to_owned(), facts)])) {
        assert!(!problems.render(false).trim().is_empty());
    }
}

/// As an operator would write it. TOML has no `null`.
fn to_toml(value: Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => value.into(),
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64()?.into(),
        },
        Value::String(text) => text.into(),
        Value::Array(items) => toml::Value::Array(items.into_iter().map(to_toml).collect::<Option<_>>()?),
        Value::Object(members) => {
            let members = members
                .into_iter()
                .map(|(key, value)| Some((key, to_toml(value)?)));
            toml::Value::Table(members.collect::<Option<_>>()?)
        }
    })
}
