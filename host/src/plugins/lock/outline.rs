//! What a plugin's settings look like, in lines that a person can compare and a lock file can keep: one for each
//! setting, with its type, and a mark of whatever else the schema says about it.
//!
//! Invariant: a schema counts as compatible only if every line of the old outline is still there, and what is new is
//! optional. What an outline can't tell (it was cut, or the shape is no tree of objects) is not compatible.

use crate::plugins::Digest;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// Settings of one plugin.
pub const LINES_MAX: usize = 512;
const DEPTH_MAX: usize = 8;
const NAME_CHARS_MAX: usize = 128;
const PATH_BYTES_MAX: usize = 256;
/// Stands at the end of an outline that was cut.
const CUT: &str = "…";
/// In front of what stands for a name or path that can't be shown as it is.
const HASHED: &str = "sha256-";
/// Settings as a whole.
const WHOLE: &str = "*";
/// What only people read.
const ANNOTATIONS: &[&str] = &["$comment", "$id", "$schema", "description", "title"];
/// What the outline says itself, and what only people read or refer to.
const UNMARKED: &[&str] = &[
    "$comment",
    "$defs",
    "$id",
    "$ref",
    "$schema",
    "default",
    "definitions",
    "deprecated",
    "description",
    "examples",
    "properties",
    "readOnly",
    "required",
    "title",
    "type",
    "writeOnly",
];

/// The outline of a schema, sorted.
#[must_use]
pub fn outline(schema: &Value) -> Vec<String> {
    let mut walk = Walk {
        root: schema,
        marks: HashMap::new(),
        elsewhere: None,
        lines: BTreeSet::new(),
        visits: 0,
        cut: false,
    };
    walk.object("", schema, 0);
    let mut lines: Vec<String> = walk.lines.into_iter().collect();
    if walk.cut || lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX);
        lines.push(CUT.to_owned());
    }
    lines
}

struct Walk<'s> {
    root: &'s Value,
    /// By address: a schema that many refer to is gone through once.
    marks: HashMap<*const Value, Option<String>>,
    /// Of what is only referred to.
    elsewhere: Option<String>,
    lines: BTreeSet<String>,
    /// Settings that were looked at. Lines that are the same count once, and would bound nothing.
    visits: usize,
    cut: bool,
}

impl<'s> Walk<'s> {
    fn object(&mut self, path: &str, schema: &'s Value, depth: usize) {
        let required: BTreeSet<&str> = strings(schema.get("required"));
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, property) in properties.into_iter().flatten() {
            if depth >= DEPTH_MAX || self.visits > LINES_MAX {
                self.cut = true;
                return;
            }
            self.visits += 1;
            let mut shown: String = name.escape_debug().collect();
            if shown.chars().count() > NAME_CHARS_MAX || is_misleading(&shown) {
                shown = format!("{HASHED}{}", short(name.as_bytes()));
            }
            let mut path = if path.is_empty() {
                shown
            } else {
                format!("{path}.{shown}")
            };
            if path.len() > PATH_BYTES_MAX {
                path = format!("{HASHED}{}", short(path.as_bytes()));
            }
            let path = path;
            let property = self.resolved(property);
            let mut line = format!("{path}: {}", types(property));
            if required.contains(name.as_str()) {
                line.push_str(", required");
            }
            if let Some(mark) = self.mark(property) {
                line.push_str(&format!(", rules {mark}"));
            }
            self.lines.insert(line);
            self.object(&path, property, depth + 1);
        }
        // Whether other settings are refused decides whether one that is gone is an error.
        if depth == 0
            && let Some(mark) = self.mark(schema)
        {
            self.lines
                .insert(format!("{WHOLE}: {}, rules {mark}", types(schema)));
        }
    }

    /// A short digest of everything that the outline itself does not say and that decides what is valid; none if there
    /// is nothing of it.
    fn mark(&mut self, schema: &'s Value) -> Option<String> {
        if let Some(known) = self.marks.get(&std::ptr::from_ref(schema)) {
            return known.clone();
        }
        let mut text = String::new();
        canonical(schema, UNMARKED, &mut text);
        // Rules that refer to another place mean what stands there, and that is in none of the lines.
        if text.contains("$ref") || text.contains("$dynamicRef") {
            let root = self.root;
            text.push_str(self.elsewhere.get_or_insert_with(|| {
                let mut text = String::new();
                for key in ["$defs", "definitions"] {
                    if let Some(defs) = root.get(key) {
                        canonical(defs, &[], &mut text);
                    }
                }
                Digest::of(text.as_bytes()).as_str().to_owned()
            }));
        }
        let mark = (text != "{}").then(|| short(text.as_bytes()));
        self.marks.insert(schema, mark.clone());
        mark
    }

    /// Follows references to elsewhere in the schema, a few times.
    fn resolved(&self, mut schema: &'s Value) -> &'s Value {
        for _ in 0..DEPTH_MAX {
            let target = schema
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| self.root.pointer(reference.strip_prefix('#')?));
            match target {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }
}

/// Whether a line with that name could be taken for one of another setting, or another line of this one.
fn is_misleading(name: &str) -> bool {
    name.contains(['.', ':', ',']) || name == WHOLE || name.starts_with(HASHED)
}

fn strings(value: Option<&Value>) -> BTreeSet<&str> {
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => [one.as_str()].into(),
        _ => BTreeSet::new(),
    }
}

fn types(schema: &Value) -> String {
    let types: Vec<String> = strings(schema.get("type"))
        .into_iter()
        .map(|name| name.escape_debug().take(16).collect())
        .collect();
    if types.is_empty() {
        "any".to_owned()
    } else {
        types.join(" or ")
    }
}

/// JSON with sorted keys and without what only people read. A member that is called like an annotation and is no text,
/// such as a setting named `title`, stays.
fn canonical(value: &Value, skip: &[&str], out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members
                .iter()
                .filter(|(key, value)| {
                    let read_by_people = ANNOTATIONS.contains(&key.as_str()) && value.is_string();
                    !read_by_people && !skip.contains(&key.as_str())
                })
                .collect();
            members.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in members {
                out.push_str(&format!("{key:?}:"));
                canonical(value, &[], out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                canonical(item, &[], out);
                out.push(',');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn short(bytes: &[u8]) -> String {
    Digest::of(bytes).as_str().chars().take(12).collect()
}

/// Why settings that suited the old schema may not suit the new one; none if they do.
#[must_use]
pub fn incompatible(old: &[String], new: &[String]) -> Option<String> {
    if old.iter().chain(new).any(|line| line == CUT) {
        return Some("there are too many settings to tell whether the old ones are still valid".to_owned());
    }
    let new: BTreeSet<&str> = new.iter().map(String::as_str).collect();
    let known: BTreeSet<&str> = old.iter().map(String::as_str).collect();
    for line in &known {
        // What is no longer required may still be set.
        let optional = line.replacen(", required", "", 1);
        if !new.contains(line) && !new.contains(optional.as_str()) {
            return Some(format!("`{line}` is no longer so"));
        }
    }
    let names: BTreeSet<&str> = known.iter().map(|line| name(line)).collect();
    let demanded = new
        .iter()
        .find(|line| !names.contains(name(line)) && (line.contains(", required") || name(line) == WHOLE));
    demanded.map(|line| format!("`{line}` is new"))
}

fn name(line: &str) -> &str {
    line.split(": ").next().unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(old: &Value, new: &Value) -> Option<String> {
        incompatible(&outline(old), &outline(new))
    }

    #[test]
    fn an_outline_names_types_and_what_is_required() {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["url"],
            "properties": {
                "url": {"type": "string", "description": "what to fetch"},
                "days": {"type": ["integer", "null"], "minimum": 1},
                "deep": {"$ref": "#/$defs/deep"},
            },
            "$defs": {"deep": {"type": "object", "properties": {"a": true, "b": {"type": "number"}}}},
        });
        let lines = outline(&schema);
        assert_eq!(lines.len(), 6, "{lines:?}");
        for (line, start) in lines.iter().zip([
            "*: object, rules ",
            "days: integer or null, rules ",
            "deep.a: any, rules ",
            "deep.b: number",
            "deep: object",
            "url: string, required",
        ]) {
            assert!(line.starts_with(start), "{line} {start}");
        }
    }

    #[test]
    fn what_is_compatible_can_be_told() {
        let base = json!({"type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {"a": {"type": "string"}, "b": {"type": "integer", "minimum": 1}}});
        let with = |change: fn(&mut Value)| {
            let mut schema = base.clone();
            change(&mut schema);
            schema
        };
        for (name, change) in [
            ("same", (|_| {}) as fn(&mut Value)),
            ("words", |schema| {
                schema["properties"]["a"]["description"] = "the a".into();
                schema["properties"]["b"]["default"] = 3.into();
                schema["title"] = "settings".into();
            }),
            ("no longer required", |schema| schema["required"] = json!([])),
            ("one more", |schema| {
                schema["properties"]["c"] = json!({"type": "string", "minLength": 2})
            }),
        ] {
            assert_eq!(told(&base, &with(change)), None, "{name}");
        }
        for (name, change) in [
            (
                "gone",
                (|schema| {
                    schema["properties"].as_object_mut().unwrap().remove("b");
                }) as fn(&mut Value),
            ),
            ("other type", |schema| {
                schema["properties"]["a"]["type"] = "integer".into()
            }),
            ("now required", |schema| schema["required"] = json!(["a", "b"])),
            ("new and required", |schema| {
                schema["properties"]["c"] = json!({"type": "string"});
                schema["required"] = json!(["a", "c"]);
            }),
            ("another bound", |schema| {
                schema["properties"]["b"]["minimum"] = 2.into()
            }),
            ("a bound", |schema| {
                schema["properties"]["a"]["pattern"] = "^x".into()
            }),
            ("a rule of the whole", |schema| schema["maxProperties"] = 1.into()),
            ("no schema", |schema| *schema = json!(false)),
        ] {
            assert!(told(&base, &with(change)).is_some(), "{name}");
        }
    }

    #[test]
    fn a_rule_that_refers_elsewhere_means_what_stands_there() {
        let schema = |most: u32| json!({"properties": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}, "$defs": {"a": {"maximum": most}}});
        assert!(told(&schema(1), &schema(2)).is_some());
        assert_eq!(told(&schema(1), &schema(1)), None);
    }

    #[test]
    fn a_schema_that_quotes_itself_costs_no_more_than_its_size() {
        let mut schema = json!({"const": "\\\""});
        for _ in 0..100 {
            schema = json!({"not": schema});
        }
        let lines = outline(&json!({"properties": {"a": schema}}));
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_name_is_taken_for_no_other() {
        let hashed = format!("sha256-{}", short(b"a.b"));
        for (old, new) in [
            (
                json!({"a": {"type": "object"}, "a.b": {"type": "string"}}),
                json!({"a": {"type": "object", "properties": {"b": {"type": "string"}}}}),
            ),
            (json!({"a.b": true}), json!({hashed: true})),
            (json!({"a, required": true}), json!({"a": true})),
            (json!({"a: any, rules 1": true}), json!({"a": true})),
        ] {
            let (old, new) = (json!({"properties": old}), json!({"properties": new}));
            assert!(told(&old, &new).is_some(), "{old} {new}");
        }
        // A setting that is called like all of them together hides no rule of theirs.
        let old = json!({"properties": {"*": true}});
        let new = json!({"properties": {"*": true}, "maxProperties": 1});
        assert!(told(&old, &new).is_some());
    }

    /// Each of these names leads to all of them again, eight deep, and many ways lead to the same line.
    #[test]
    fn what_is_said_twice_is_bounded_too() {
        let names: serde_json::Map<_, _> = (1..=16)
            .map(|length| (["a"; 16][..length].join("."), json!({"$ref": "#"})))
            .collect();
        let schema = json!({"properties": names});
        assert_eq!(outline(&schema).last().map(String::as_str), Some(CUT));
        assert!(outline(&schema).len() <= LINES_MAX + 1);
    }

    #[test]
    fn outlines_are_bounded() {
        let many: serde_json::Map<_, _> = (0..2_000)
            .map(|index| (format!("s{index}"), json!(true)))
            .collect();
        let many = json!({"properties": many});
        assert_eq!(outline(&many).len(), LINES_MAX + 1);
        assert!(told(&many, &many).is_some());
        // It refers to itself.
        let endless = json!({"$defs": {"a": {"properties": {"a": {"$ref": "#/$defs/a"}, "b": {"$ref": "#/$defs/a"}}}},
            "properties": {"a": {"$ref": "#/$defs/a"}}});
        assert!(outline(&endless).len() <= LINES_MAX + 1);
        let mut deep = json!({"type": "string"});
        for _ in 0..8 {
            deep = json!({"properties": {"x".repeat(100): deep}});
        }
        assert!(
            outline(&deep).iter().all(|line| line.len() < 320),
            "{:?}",
            outline(&deep)
        );
        let long = json!({"properties": {"x".repeat(10_000): true, "a: b\n": true}});
        assert!(
            outline(&long)
                .iter()
                .all(|line| line.len() < 256 && !line.contains('\n'))
        );
    }
}
