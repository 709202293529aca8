//! Which values of a plugin's settings nobody may read in what is written of an execution: those that the schema marks,
//! those that a name gives away, and private keys.
//!
//! Invariant: such a value is replaced where it stands, however short it is; where else it may show, it is searched for
//! as far as [`Secrets`] can search.

use crate::{
    capability::course::{REDACTED, redact_user},
    domain::secret::{self, Secrets},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Schemas that are looked at for one value: shapes that refer to each other have no end.
const SHAPES_MAX: usize = 256;
/// What a private key in PEM says of itself.
const PRIVATE_KEY: &str = "PRIVATE KEY-----";

/// Values by the names of their settings, that can be searched for.
pub type Values = BTreeMap<Box<str>, Box<str>>;

/// The values that nobody may read.
#[must_use]
pub fn marked(schema: &Value, settings: &Value) -> Values {
    let mut values = Values::new();
    let mut bytes = 0;
    let mut settings = settings.clone();
    each(schema, &mut settings, &mut |path, value| {
        let text = match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        bytes += text.len();
        let fits = values.len() < secret::COUNT_MAX && bytes <= secret::BYTES_MAX;
        if fits && secret::wrong(&text).is_none() {
            values.insert(path.into(), text.into());
        }
    });
    values
}

/// Puts something else in the place of all values that nobody may read, and returns what else may show them.
///
/// # Errors
/// They can't be searched for.
pub fn hide(schema: &Value, settings: &mut Value) -> Result<Secrets, String> {
    let secrets = Secrets::new(marked(schema, settings))?;
    each(schema, settings, &mut |_, value| {
        *value = match value {
            // Of the same type, so that the plugin can read it.
            Value::Number(_) => 0.into(),
            _ => REDACTED.into(),
        };
    });
    each_text(settings, &mut redact_user);
    Ok(secrets)
}

fn each_text(settings: &mut Value, see: &mut impl FnMut(&mut String)) {
    match settings {
        Value::String(text) => see(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, see)),
        Value::Object(entries) => entries.values_mut().for_each(|value| each_text(value, see)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Calls `see` for each text and number that nobody may read, with its path.
fn each(schema: &Value, settings: &mut Value, see: &mut impl FnMut(&str, &mut Value)) {
    let mut walk = Walk {
        document: schema,
        see,
    };
    walk.value(&[schema], settings, "", false);
}

struct Walk<'s, F> {
    document: &'s Value,
    see: F,
}

impl<'s, F: FnMut(&str, &mut Value)> Walk<'s, F> {
    fn value(&mut self, schemas: &[&'s Value], value: &mut Value, path: &str, marked: bool) {
        let shapes = shapes(self.document, schemas);
        let says = |shape: &&Value| {
            shape.get("writeOnly") == Some(&Value::Bool(true))
                || shape.get("format").and_then(Value::as_str) == Some("password")
        };
        let marked = marked || shapes.iter().any(says);
        match value {
            Value::Object(entries) => {
                // A header field, for example, that is written as a pair.
                let pair = entries
                    .get("name")
                    .and_then(Value::as_str)
                    .is_some_and(secret::is_by_name);
                for (name, value) in entries {
                    let below: Vec<&Value> =
                        shapes.iter().flat_map(|shape| of_property(shape, name)).collect();
                    let marked = marked || secret::is_by_name(name) || pair && name == "value";
                    self.value(&below, value, &joined(path, name), marked);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let below: Vec<&Value> =
                        shapes.iter().filter_map(|shape| of_item(shape, index)).collect();
                    self.value(&below, item, &joined(path, &index.to_string()), marked);
                }
            }
            Value::String(text) => {
                // Or as one line.
                let line = text
                    .split_once(':')
                    .is_some_and(|(name, _)| !name.contains(' ') && secret::is_by_name(name));
                if marked || line || text.contains(PRIVATE_KEY) {
                    (self.see)(path, value);
                }
            }
            Value::Number(_) if marked => (self.see)(path, value),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// What a schema says about a property. Which pattern fits is not looked at: rather too much is hidden than too little.
fn of_property<'s>(schema: &'s Value, name: &str) -> Vec<&'s Value> {
    if let Some(own) = schema.get("properties").and_then(|all| all.get(name)) {
        return vec![own];
    }
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let patterns = patterns.into_iter().flat_map(serde_json::Map::values);
    patterns.chain(schema.get("additionalProperties")).collect()
}

fn of_item(schema: &Value, index: usize) -> Option<&Value> {
    let first = schema.get("prefixItems").and_then(|items| items.get(index));
    first.or_else(|| schema.get("items"))
}

/// The schemas, what they refer to, and the shapes that they are put together from.
fn shapes<'s>(document: &'s Value, schemas: &[&'s Value]) -> Vec<&'s Value> {
    let mut left = schemas.to_vec();
    let mut all = Vec::new();
    while let Some(schema) = left.pop() {
        if all.len() >= SHAPES_MAX {
            break;
        }
        all.push(schema);
        let reference = schema.get("$ref").and_then(Value::as_str);
        let target = reference
            .and_then(|text| text.strip_prefix('#'))
            .and_then(|place| document.pointer(place));
        left.extend(target);
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let shapes = schema.get(keyword).and_then(Value::as_array);
            left.extend(shapes.into_iter().flatten().take(SHAPES_MAX));
        }
        for keyword in ["then", "else"] {
            left.extend(schema.get(keyword));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn hidden(schema: &Value, mut settings: Value) -> Value {
        hide(schema, &mut settings).unwrap();
        settings
    }

    #[test]
    fn what_the_schema_marks_is_found_wherever_it_says_so() {
        let schema = json!({
            "properties": {
                "pin": { "type": "integer", "writeOnly": true },
                "login": { "$ref": "#/$defs/login" },
                "logins": { "type": "array", "items": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/login" }] } },
                "beside": { "$ref": "#/$defs/plain", "writeOnly": true },
                "both": { "prefixItems": [{}, { "format": "password" }] },
                "all": { "additionalProperties": { "writeOnly": true } },
            },
            "$defs": {
                "plain": { "type": "string" },
                "login": { "properties": { "user": { "type": "string" }, "phrase": { "writeOnly": true } } },
                "endless": { "$ref": "#/$defs/endless" },
            },
        });
        assert_eq!(
            hidden(
                &schema,
                json!({
                    "pin": 1234,
                    "login": { "user": "a", "phrase": "b" },
                    "logins": ["c", { "user": "d", "phrase": "e" }],
                    "beside": "f",
                    "both": ["g", "h", "i"],
                    "all": { "j": ["k", true] },
                })
            ),
            json!({
                "pin": 0,
                "login": { "user": "a", "phrase": REDACTED },
                "logins": ["c", { "user": "d", "phrase": REDACTED }],
                "beside": REDACTED,
                "both": ["g", REDACTED, "i"],
                "all": { "j": [REDACTED, true] },
            })
        );
        let endless = json!({ "$ref": "#" });
        assert_eq!(hidden(&endless, json!({ "a": "b" })), json!({ "a": "b" }));
    }

    #[test]
    fn what_a_name_gives_away_needs_no_schema() {
        assert_eq!(
            hidden(
                &json!({}),
                json!({
                    "headers": { "cookie": "a", "X-Api-Key": "b", "accept": "c" },
                    "fields": ["authorization: d", "accept: e", "at 12:30"],
                    "pairs": [{ "name": "set-cookie", "value": "f" }, { "name": "accept", "value": "g" }],
                    "accessToken": "h",
                    "password": ["i"],
                    "url": "http://j:k@l/m",
                    "key": "-----BEGIN PRIVATE KEY-----\nn",
                })
            ),
            json!({
                "headers": { "cookie": REDACTED, "X-Api-Key": REDACTED, "accept": "c" },
                "fields": [REDACTED, "accept: e", "at 12:30"],
                "pairs": [{ "name": "set-cookie", "value": REDACTED }, { "name": "accept", "value": "g" }],
                "accessToken": REDACTED,
                "password": [REDACTED],
                "url": "http://[secret]@l/m",
                "key": REDACTED,
            })
        );
    }

    #[test]
    fn what_is_long_enough_is_searched_for_and_what_is_too_much_is_not() {
        let secrets = hide(
            &json!({}),
            &mut json!({ "token": "hunter2hunter2", "password": "short" }),
        );
        assert_eq!(secrets.unwrap().redact("a hunter2hunter2"), "a [secret]");
        let many: Value = (0..1_000)
            .map(|number| {
                (
                    format!("{number}-token"),
                    Value::from(format!("value-{number:05}")),
                )
            })
            .collect::<serde_json::Map<_, _>>()
            .into();
        assert_eq!(marked(&json!({}), &many).len(), secret::COUNT_MAX);
    }
}
