//! Settings: their JSON Schema, reading them with the place of what is wrong, and the types that operators know
//! from the host's own configuration.

mod address;
mod memo;
mod quantity;
mod tls;

pub use address::Address;
pub(crate) use memo::parse_once;
pub use quantity::{Size, Span};
pub use tls::{ClientCertificate, IpFamily, tls_options};

use schemars::{
    JsonSchema, Schema,
    generate::SchemaSettings,
    transform::{RecursiveTransform, Transform},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

/// Reads settings. The error begins with the JSON pointer of the value that is wrong.
///
/// ```
/// use pulse_plugin_sdk::settings;
///
/// assert_eq!(settings::parse::<Vec<u8>>("[1, 2]").unwrap(), [1, 2]);
/// assert!(settings::parse::<Vec<u8>>("[1, 256]").unwrap_err().starts_with("/1: invalid value"));
/// ```
///
/// # Errors
/// One line for people.
pub fn parse<S: DeserializeOwned>(json: &str) -> Result<S, String> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let settings = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer: String = error.path().iter().map(step).collect();
        let at = if pointer.is_empty() { "/" } else { pointer.as_str() };
        format!("{at}: {}", error.inner())
    })?;
    deserializer.end().map_err(|error| format!("/: {error}"))?;
    Ok(settings)
}

fn step(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    }
}

/// The JSON Schema (draft 2020-12) of settings.
///
/// ```
/// use pulse_plugin_sdk::settings::{self, Span};
///
/// let schema = settings::schema::<Span>().to_value();
/// assert_eq!(schema["examples"][1], "5s");
/// ```
#[must_use]
pub fn schema<S: JsonSchema>() -> Schema {
    let mut settings = SchemaSettings::draft2020_12();
    // One flat schema: what a validator says about it names the setting, not a definition.
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<S>();
    RecursiveTransform(|schema: &mut Schema| {
        let Some(object) = schema.as_object_mut() else {
            return;
        };
        without_null(object);
        one_list_of_words(object);
        unwrap_lines(object);
    })
    .transform(&mut schema);
    schema
}

type Object = serde_json::Map<String, Value>;

/// Optional settings are left out, not null: TOML has no null, and "either this or null" spoils every error
/// message about a wrong value.
fn without_null(object: &mut Object) {
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    let is_null = |kind: &Value| kind == "null";
    if let Some(Value::Array(kinds)) = object.get_mut("type") {
        kinds.retain(|kind| !is_null(kind));
        if let [only] = kinds.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(members)) = object.get_mut("enum") {
        members.retain(|member| !member.is_null());
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| !choice.get("type").is_some_and(is_null));
        if let [Value::Object(only)] = choices.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            for (key, value) in only {
                object.entry(key).or_insert(value);
            }
        }
    }
}

/// An enum whose variants have doc comments comes as alternatives, and of those a validator can say no more than
/// that none fits. As one list it names them all; the comments move into the description.
fn one_list_of_words(object: &mut Object) {
    let Some(Value::Array(choices)) = object.get("oneOf") else {
        return;
    };
    let words: Option<Vec<Value>> = choices
        .iter()
        .map(|choice| choice.get("const").cloned())
        .collect();
    let Some(words) = words else {
        return;
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut description = text(object.get("description"));
    for choice in choices {
        let (word, meaning) = (text(choice.get("const")), text(choice.get("description")));
        if !meaning.is_empty() {
            description.push_str(&format!("\n\n`{word}`: {meaning}"));
        }
    }
    object.remove("oneOf");
    object.insert("type".into(), "string".into());
    object.insert("enum".into(), words.into());
    object.insert("description".into(), description.trim_start().into());
}

/// Where a doc comment was wrapped in the source is nobody's business; an empty line still ends a paragraph.
fn unwrap_lines(object: &mut Object) {
    if let Some(Value::String(description)) = object.get_mut("description") {
        let paragraphs: Vec<String> = description
            .split("\n\n")
            .map(|paragraph| paragraph.replace('\n', " "))
            .collect();
        *description = paragraphs.join("\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Example {
        /// Where.
        url: String,
        /// How
        /// long.
        ///
        /// Not needed.
        #[serde(default)]
        max_latency: Option<Span>,
        /// Which.
        #[serde(default)]
        ip_family: IpFamily,
        #[serde(default)]
        parts: BTreeMap<String, Vec<Part>>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Part {
        #[allow(dead_code, reason = "only read")]
        count: u8,
    }

    #[test]
    fn an_error_names_the_place() {
        let text = |json| parse::<Example>(json).unwrap_err();
        assert!(text("{}").starts_with("/: missing field `url`"));
        assert!(text(r#"{"url": 1}"#).starts_with("/url: invalid type"));
        assert!(text(r#"{"url": "", "uri": ""}"#).starts_with("/uri: unknown field `uri`"));
        assert!(
            text(r#"{"url": "", "parts": {"a/b": [{"count": 1}, {"count": 256}]}}"#)
                .starts_with("/parts/a~1b/1/count: invalid value")
        );
        assert!(text(r#"{"url": ""} {}"#).contains("trailing"));
    }

    #[test]
    fn an_optional_setting_is_left_out_and_not_null() {
        let schema = schema::<Example>().to_value();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["required"], serde_json::json!(["url"]));
        let latency = &schema["properties"]["max-latency"];
        assert_eq!(latency["description"], "How long.\n\nNot needed.");
        assert_eq!(latency["type"], serde_json::json!(["string", "integer"]));
        let text = schema.to_string();
        assert!(!text.contains("null"), "{text}");
        assert!(!text.contains("$ref"), "{text}");
        let family = &schema["properties"]["ip-family"];
        assert_eq!(family["default"], "any");
        assert_eq!(family["enum"], serde_json::json!(["any", "v4", "v6"]));
        assert_eq!(
            family["description"],
            "Which.\n\n`any`: Whatever the name resolves to, first answer first.\n\n`v4`: IPv4 only.\n\n`v6`: IPv6 only."
        );
        assert_eq!(family.get("oneOf"), None);
    }

    #[test]
    fn good_settings_are_read() {
        let example: Example =
            parse(r#"{"url": "x", "max-latency": "1m", "parts": {"a": [{"count": 2}]}}"#).unwrap();
        assert_eq!(example.url, "x");
        assert_eq!(example.max_latency.unwrap().get().as_secs(), 60);
        assert_eq!(example.ip_family, IpFamily::Any);
        assert_eq!(example.parts["a"][0].count, 2);
    }
}
