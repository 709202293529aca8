//! From JSON to the tree that TOML becomes too: what comes over the API is read by the same code as files are.
//!
//! Invariant: whatever is said of such a document says where in it, as an offset, which a JSON pointer is made of.

use super::{
    problem::Problem,
    tree::{DEPTH_MAX, Entry, Grower, Node, Table, Value},
};
use serde::de::IgnoredAny;
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Goes over JSON that is known to be right.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl Cursor<'_> {
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Takes that byte, if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn string(&mut self) -> Option<(Range<usize>, String)> {
        let range = self.skip()?;
        let text = serde_json::from_str(self.text.get(range.clone())?).ok()?;
        Some((range, text))
    }

    /// Goes over one value, however deep it is.
    fn skip(&mut self) -> Option<Range<usize>> {
        self.peek()?;
        let (start, mut depth) = (self.at, 0_usize);
        let bytes = self.text.as_bytes();
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    while *bytes.get(self.at)? != b'"' {
                        self.at += if *bytes.get(self.at)? == b'\\' { 2 } else { 1 };
                    }
                    self.at += 1;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                _ => {
                    let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                    let from = self.at;
                    while bytes.get(self.at).is_some_and(word) {
                        self.at += 1;
                    }
                    if self.at == from {
                        return None;
                    }
                }
            }
            if depth == 0 {
                return Some(start..self.at);
            }
        }
    }
}

impl Grower<'_> {
    /// The document as a tree. What is wrong with it is reported.
    pub fn json(&mut self, text: &str) -> Node {
        if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
            let line = text.split_inclusive('\n').take(error.line().saturating_sub(1));
            let offset = line.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
            let at = self.at(offset.min(text.len())..text.len().min(offset + 1));
            self.report(Problem::new(
                "syntax",
                at,
                format!("no valid JSON: {}", plain(&error)),
            ));
            return Node {
                at,
                value: Value::Broken,
                veiled: false,
            };
        }
        let mut cursor = Cursor { text, at: 0 };
        self.value(&mut cursor, 0, false).unwrap_or(Node {
            at: self.at(0..text.len()),
            value: Value::Broken,
            veiled: false,
        })
    }

    /// `settings`: it is part of some.
    fn value(&mut self, cursor: &mut Cursor<'_>, depth: usize, settings: bool) -> Option<Node> {
        let first = cursor.peek()?;
        let start = cursor.at;
        let mut veiled = false;
        let value = match first {
            b'{' | b'[' if depth >= DEPTH_MAX => {
                let at = cursor.skip().map(|range| self.at(range))?;
                let text = format!("nested more than {DEPTH_MAX} levels deep");
                self.report(Problem::new("too-deep", at, text));
                Value::Broken
            }
            b'{' => Value::Table(self.object(cursor, depth, settings)?),
            b'[' => {
                cursor.take(b'[');
                let mut items = Vec::new();
                while !cursor.take(b']') {
                    items.push(self.value(cursor, depth + 1, settings)?);
                    cursor.take(b',');
                }
                Value::Array(items.into())
            }
            b'"' => {
                let (range, text) = cursor.string()?;
                match self.string(&text, self.at(range), settings) {
                    Ok(Some(filled)) => {
                        veiled = filled.referred;
                        Value::String(filled.text.into())
                    }
                    Ok(None) => Value::String(text.into()),
                    Err(problem) => {
                        self.report(*problem);
                        Value::Broken
                    }
                }
            }
            _ => {
                let range = cursor.skip()?;
                let word = cursor.text.get(range.clone())?;
                self.word(word, range)
            }
        };
        Some(Node {
            at: self.at(start..cursor.at),
            value,
            veiled,
        })
    }

    fn object(&mut self, cursor: &mut Cursor<'_>, depth: usize, settings: bool) -> Option<Table> {
        let mut entries: BTreeMap<Arc<str>, Entry> = BTreeMap::new();
        cursor.take(b'{');
        while !cursor.take(b'}') {
            let (range, key) = cursor.string()?;
            cursor.take(b':');
            let node = self.value(cursor, depth + 1, settings || key == "settings")?;
            cursor.take(b',');
            let at = self.at(range);
            let key: Arc<str> = key.into();
            if let Some(first) = entries.get(&key) {
                let text = format!("`{key}` is there twice");
                let problem = Problem::new("duplicate-key", at, text).note(first.key, "first here");
                self.report(problem);
                continue;
            }
            entries.insert(key, Entry { key: at, node });
        }
        Some(Table::from_entries(entries))
    }

    /// A number, or one of the three words.
    fn word(&mut self, word: &str, range: Range<usize>) -> Value {
        match word {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            "null" => {
                let at = self.at(range);
                self.report(Problem::new("wrong-type", at, "null says nothing").help("leave the key out"));
                Value::Broken
            }
            _ if word.bytes().any(|byte| b".eE".contains(&byte)) => {
                Value::Float(word.parse().unwrap_or(f64::NAN))
            }
            _ => match word.parse() {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    let at = self.at(range);
                    let help = format!("integers go from {} to {}", i64::MIN, i64::MAX);
                    self.report(Problem::new("out-of-range", at, "this integer is too large").help(help));
                    Value::Broken
                }
            },
        }
    }
}

/// What a parser says, without the place, which is told apart.
pub(super) fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text.get(..end).unwrap_or_default().to_owned(),
        None => text,
    }
}

/// The JSON pointer of the innermost value, or of the key's value, around that offset of a document that was read before.
pub(super) fn pointer(text: &str, offset: usize) -> String {
    let mut found = String::new();
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        let mut cursor = Cursor { text, at: 0 };
        let _ = find(&mut cursor, offset, &mut found);
    }
    found
}

fn find(cursor: &mut Cursor<'_>, offset: usize, found: &mut String) -> Option<()> {
    // One step down for each round: what is not on the way is skipped.
    loop {
        let first = cursor.peek()?;
        let (close, mut index) = match first {
            b'{' => (b'}', None),
            b'[' => (b']', Some(0_usize)),
            _ => return Some(()),
        };
        cursor.at += 1;
        loop {
            if cursor.take(close) {
                return Some(());
            }
            cursor.peek()?;
            let start = cursor.at;
            let step = match &mut index {
                Some(index) => {
                    *index += 1;
                    (*index - 1).to_string()
                }
                None => {
                    let (_, key) = cursor.string()?;
                    cursor.take(b':');
                    key.replace('~', "~0").replace('/', "~1")
                }
            };
            cursor.peek()?;
            let value = cursor.at;
            let range = cursor.skip()?;
            if (start..range.end).contains(&offset) {
                found.push('/');
                found.push_str(&step);
                if offset < value {
                    return Some(());
                }
                cursor.at = value;
                break;
            }
            cursor.take(b',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{interpolate::Surroundings, problem::Findings, source::Sources};
    use proptest::prelude::*;

    fn read(text: &str) -> (Node, Findings) {
        let (mut sources, mut findings) = (Sources::default(), Findings::default());
        let file = sources.add_document("acme/shop", text, 1);
        let surroundings = Surroundings::of_api(None);
        let mut grower = Grower {
            file,
            sources: &sources,
            surroundings: &surroundings,
            findings: &mut findings,
        };
        let node = grower.json(text);
        (node, findings)
    }

    #[test]
    fn it_becomes_the_tree_that_toml_does() {
        let text = r#" {"a": "x\"}", "b": {"c": [1, -2.5, {"d": true}]}, "e\u0066": []} "#;
        let (node, findings) = read(text);
        assert!(findings.is_empty());
        let mine = node.to_json();
        assert_eq!(mine, serde_json::from_str::<serde_json::Value>(text).unwrap());
    }

    #[test]
    fn a_place_is_found_again_by_its_pointer() {
        let text = r#"{"a": "x", "b/c": {"d": [1, {"e~": 2}]}, "f": 3}"#;
        let at = |what: &str| pointer(text, text.find(what).unwrap());
        assert_eq!(at("\"x\""), "/a");
        assert_eq!(at("\"b/c\""), "/b~1c");
        assert_eq!(at("1,"), "/b~1c/d/0");
        assert_eq!(at("2}"), "/b~1c/d/1/e~0");
        assert_eq!(at("3}"), "/f");
        assert_eq!(pointer(text, 0), "");
        assert_eq!(pointer("{", 0), "");
    }

    #[test]
    fn what_json_allows_and_a_monitor_does_not_is_said() {
        for (text, id) in [
            ("{\"a\": null}", "null says nothing"),
            ("{\"a\": 1, \"a\": 2}", "there twice"),
            ("{\"a\": 99999999999999999999}", "too large"),
            ("{\"a\": }", "no valid JSON"),
            ("{\"a\": \"${env:HOME}\"}", "operator's own files"),
            ("{\"a\": \"${file:/etc/passwd}\"}", "operator's own files"),
        ] {
            let (_, findings) = read(text);
            let problems = findings.into_problems(Arc::default(), crate::config::problem::Severity::Error);
            assert!(problems.to_string().contains(id), "{text}: {problems}");
        }
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(!read(&deep).1.is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_go_on_for_ever(text in r#"[{}\[\]":,a-c0-9\\ .-]{0,40}"#, offset in 0_usize..50) {
            let _ = read(&text);
            let _ = pointer(&text, offset);
        }

        #[test]
        fn whatever_is_json_is_read_as_it_is(value in any_json()) {
            let text = value.to_string();
            let (node, findings) = read(&text);
            prop_assert!(findings.is_empty());
            prop_assert_eq!(node.to_json(), value);
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[^$\u{fdd0}\u{fdd1}]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map("[^$]{0,5}", inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }
}
