//! What the JSON Schema of a plugin's settings may be.
//!
//! It comes from a third party, and every monitor's settings are checked with it. Architecture invariant: no schema
//! makes that check reach for a file or a network, or take longer than a walk over the schema: references that double
//! at each step make a small schema take years.

use serde_json::Value;
use std::collections::HashMap;

const BYTES_MAX: usize = 256 << 10;
/// Schemas that one check may come to when all references are followed. A plugin with a hundred settings has some
/// hundreds.
const STEPS_MAX: u64 = 20_000;
/// Nesting, references included.
const DEPTH_MAX: usize = 256;

/// Reads a schema and refuses what can't be used.
///
/// # Errors
/// One line for people.
pub fn parse(text: &str) -> Result<Value, String> {
    if text.len() > BYTES_MAX {
        return Err(format!(
            "its settings schema has {} bytes; at most {BYTES_MAX} are allowed",
            text.len()
        ));
    }
    let schema: Value =
        serde_json::from_str(text).map_err(|error| format!("its settings schema is no JSON: {error}"))?;
    let steps = Walk::new(&schema).steps(&schema, 0)?;
    if steps > STEPS_MAX {
        return Err(format!(
            "its settings schema takes {steps} steps to check when all references are followed; at most {STEPS_MAX} \
             are allowed"
        ));
    }
    jsonschema::draft202012::new(&schema)
        .map_err(|error| format!("its settings schema is no JSON Schema (draft 2020-12): {error}"))?;
    Ok(schema)
}

struct Walk<'s> {
    document: &'s Value,
    anchors: HashMap<&'s str, &'s Value>,
    /// By address; none while the walk is in there, which is a schema that refers to itself: how often it is gone
    /// through then is up to the settings.
    known: HashMap<*const Value, Option<u64>>,
}

impl<'s> Walk<'s> {
    fn new(document: &'s Value) -> Self {
        let mut anchors = HashMap::new();
        let mut rest = vec![document];
        while let Some(value) = rest.pop() {
            for key in ["$anchor", "$dynamicAnchor"] {
                if let Some(Value::String(name)) = value.get(key) {
                    anchors.insert(name.as_str(), value);
                }
            }
            rest.extend(children(value).map(|(_, child)| child));
        }
        Self {
            document,
            anchors,
            known: HashMap::new(),
        }
    }

    fn steps(&mut self, schema: &'s Value, depth: usize) -> Result<u64, String> {
        if depth > DEPTH_MAX {
            return Err(format!(
                "its settings schema is nested more than {DEPTH_MAX} deep"
            ));
        }
        if let Some(known) = self.known.get(&std::ptr::from_ref(schema)) {
            return Ok(known.unwrap_or(0));
        }
        self.known.insert(schema, None);
        let mut steps: u64 = 1;
        for (key, child) in children(schema) {
            let below = match (key, child) {
                ("$ref" | "$dynamicRef", Value::String(reference)) => {
                    self.steps(self.target(reference)?, depth + 1)?
                }
                // It would change what the references below it mean.
                ("$id", Value::String(_)) if depth > 0 => {
                    return Err(
                        "its settings schema has an `$id` inside; only the whole may have one".to_owned(),
                    );
                }
                _ => self.steps(child, depth + 1)?,
            };
            steps = steps.saturating_add(below);
        }
        self.known.insert(schema, Some(steps));
        Ok(steps)
    }

    fn target(&self, reference: &str) -> Result<&'s Value, String> {
        let place = reference.strip_prefix('#');
        place
            .and_then(|place| {
                self.document
                    .pointer(place)
                    .or_else(|| self.anchors.get(place).copied())
            })
            .ok_or_else(|| {
                format!(
                    "its settings schema refers to `{}`, which is not in it",
                    crate::capability::log::one_line(reference)
                )
            })
    }
}

fn children(value: &Value) -> Box<dyn Iterator<Item = (&str, &Value)> + '_> {
    match value {
        Value::Object(map) => Box::new(map.iter().map(|(key, child)| (key.as_str(), child))),
        Value::Array(list) => Box::new(list.iter().map(|child| ("", child))),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    /// A chain of definitions, each made of the next.
    fn chain(length: usize, link: impl Fn(&str, &str) -> Value) -> Value {
        let mut defs = Map::new();
        for index in 0..length {
            defs.insert(
                format!("a{index}"),
                link(&format!("a{index}"), &format!("a{}", index + 1)),
            );
        }
        defs.insert(format!("a{length}"), link(&format!("a{length}"), "end"));
        defs.insert("end".into(), json!({"$anchor": "end", "type": "object"}));
        json!({"$ref": "#/$defs/a0", "$defs": defs})
    }

    #[test]
    fn ordinary_schemas_are_taken() {
        for schema in [
            json!(true),
            json!({"type": "object"}),
            json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/a", "type": "object"}),
            // A tree, and two shapes that refer to each other.
            json!({"$defs": {"tree": {"properties": {"left": {"$ref": "#/$defs/tree"}, "right": {"$ref": "#/$defs/tree"}}}},
                   "$ref": "#/$defs/tree"}),
            json!({"$defs": {"a": {"properties": {"b": {"$ref": "#/$defs/b"}}}, "b": {"items": {"$ref": "#/$defs/a"}}},
                   "properties": {"a": {"$ref": "#/$defs/a"}}}),
            json!({"$ref": "#"}),
            // A setting that is called like a keyword.
            json!({"properties": {"$id": {"type": "string"}, "$ref": {"type": "string"}}}),
            chain(
                50,
                |_, next| json!({"properties": {"x": {"$ref": format!("#/$defs/{next}")}}}),
            ),
        ] {
            assert_eq!(parse(&schema.to_string()), Ok(schema));
        }
    }

    #[test]
    fn references_that_multiply_are_refused() {
        let by_pointer = |_: &str, next: &str| {
            let next = json!({"$ref": format!("#/$defs/{next}")});
            json!({"allOf": [next, next]})
        };
        let by_anchor = |own: &str, next: &str| {
            let next = json!({"$ref": format!("#{next}")});
            json!({"$anchor": own, "anyOf": [{"not": next}, next]})
        };
        for bomb in [chain(40, by_pointer), chain(40, by_anchor)] {
            let error = parse(&bomb.to_string()).unwrap_err();
            assert!(error.contains("steps to check"), "{error}");
        }
        let long = chain(
            5_000,
            |_, next| json!({"not": {"$ref": format!("#/$defs/{next}")}}),
        );
        assert!(parse(&long.to_string()).unwrap_err().contains("deep"));
    }

    #[test]
    fn a_schema_refers_to_nothing_outside_itself() {
        for reference in [
            "http://127.0.0.1:1/a.json",
            "file:///etc/passwd",
            "other.json",
            "#/$defs/none",
            "#none",
        ] {
            let error = parse(&json!({"$ref": reference}).to_string()).unwrap_err();
            assert!(error.contains("is not in it"), "{error}");
        }
        let inner = json!({"$defs": {"a": {"$id": "http://a/b", "$ref": "#/c"}}});
        assert!(parse(&inner.to_string()).unwrap_err().contains("`$id`"));
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for (text, part) in [
            ("", "no JSON"),
            ("{\"type\":\"object\"!", "no JSON"),
            ("3", "no JSON Schema"),
            ("{\"type\": \"obj\"}", "no JSON Schema"),
            (&"[".repeat(1 << 10), "no JSON"),
            (&" ".repeat(BYTES_MAX + 1), "at most"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
