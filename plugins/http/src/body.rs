//! What a body must satisfy.

use crate::settings::JsonCheck;
use pulse_plugin_sdk::{Fault, text};
use regex::Regex;
use serde_json::Value;

/// Longest regular expression: compiling takes fuel in proportion to it.
const REGEX_BYTES_MAX: usize = 1 << 10;

/// The checks of a body, in the order in which they are made.
pub struct Checks {
    contains: Option<String>,
    regex: Option<Regex>,
    json: Vec<JsonCheck>,
}

impl Checks {
    /// Made before the request is sent: a check that can't work should not bother the target.
    ///
    /// # Errors
    /// The regular expression is none.
    pub fn new(contains: Option<String>, regex: Option<&str>, json: Vec<JsonCheck>) -> Result<Self, Fault> {
        if let Some(long) = regex.filter(|regex| regex.len() > REGEX_BYTES_MAX) {
            return Err(Fault::InvalidSettings(format!(
                "/body-regex: has {} bytes; at most {REGEX_BYTES_MAX} are compiled",
                long.len()
            )));
        }
        let regex = regex
            .map(Regex::new)
            .transpose()
            .map_err(|error| Fault::InvalidSettings(format!("/body-regex: {}", in_one_line(&error))))?;
        Ok(Self {
            contains,
            regex,
            json,
        })
    }

    /// The first thing that is wrong with a body, in words.
    pub fn mismatch(&self, body: &str, truncated: bool) -> Option<String> {
        let wrong = self.wrong(body)?;
        let within = if truncated {
            format!(" (only the first {} bytes were read)", body.len())
        } else {
            String::new()
        };
        Some(format!("{wrong}{within}"))
    }

    fn wrong(&self, body: &str) -> Option<String> {
        if let Some(needle) = self.contains.as_deref().filter(|needle| !body.contains(needle)) {
            return Some(format!("body lacks {:?}", text::excerpt(needle, 100)));
        }
        if let Some(regex) = self.regex.as_ref().filter(|regex| !regex.is_match(body)) {
            return Some(format!(
                "body does not match /{}/",
                text::excerpt(regex.as_str(), 100)
            ));
        }
        if self.json.is_empty() {
            return None;
        }
        match serde_json::from_str::<Value>(body) {
            Ok(value) => self.json.iter().find_map(|check| differs(&value, check)),
            Err(error) => Some(format!("body is not JSON: {error}")),
        }
    }
}

/// An error of syntax draws its place below the expression; what is wrong there is the last line.
fn in_one_line(error: &regex::Error) -> String {
    let drawn = error.to_string();
    let last = drawn.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn differs(body: &Value, check: &JsonCheck) -> Option<String> {
    let show = |value: &Value| text::excerpt(&value.to_string(), 100);
    match body.pointer(&check.pointer) {
        None => Some(format!("JSON has no {}", check.pointer)),
        Some(found) if same(found, &check.equals) => None,
        Some(found) => Some(format!(
            "JSON {} is {}, expected {}",
            check.pointer,
            show(found),
            show(&check.equals)
        )),
    }
}

/// Equality in which `1` and `1.0` are one number, at any depth.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|found| same(value, found)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn json_check(pointer: &str, equals: Value) -> Checks {
        let check = JsonCheck {
            pointer: pointer.into(),
            equals,
        };
        Checks::new(None, None, vec![check]).unwrap()
    }

    #[test]
    fn text_that_must_be_there() {
        let checks = Checks::new(Some("ok".into()), None, Vec::new()).unwrap();
        assert_eq!(checks.mismatch("all ok", false), None);
        assert_eq!(checks.mismatch("no", false).unwrap(), "body lacks \"ok\"");
        assert_eq!(
            checks.mismatch("no", true).unwrap(),
            "body lacks \"ok\" (only the first 2 bytes were read)"
        );
    }

    #[test]
    fn an_expression_that_must_match() {
        let checks = Checks::new(None, Some("^v[0-9]+$"), Vec::new()).unwrap();
        assert_eq!(checks.mismatch("v12", false), None);
        assert_eq!(
            checks.mismatch("v", false).unwrap(),
            "body does not match /^v[0-9]+$/"
        );
        for (regex, wrong) in [
            ("(", "unclosed group"),
            ("(?x)\n(", "unclosed group"),
            ("[\u{1F980}", "unclosed character class"),
            (
                "a{5000}{5000}",
                "Compiled regex exceeds size limit of 10485760 bytes.",
            ),
        ] {
            let fault = Checks::new(None, Some(regex), Vec::new()).err().unwrap();
            assert_eq!(fault, Fault::InvalidSettings(format!("/body-regex: {wrong}")));
        }
    }

    #[test]
    fn values_that_must_be_there() {
        let checks = json_check("/nodes/1/up", json!(true));
        assert_eq!(checks.mismatch(r#"{"nodes": [{}, {"up": true}]}"#, false), None);
        assert_eq!(
            checks
                .mismatch(r#"{"nodes": [{}, {"up": "yes"}]}"#, false)
                .unwrap(),
            "JSON /nodes/1/up is \"yes\", expected true"
        );
        assert_eq!(checks.mismatch("{}", false).unwrap(), "JSON has no /nodes/1/up");
        assert!(
            checks
                .mismatch("<html>", false)
                .unwrap()
                .starts_with("body is not JSON")
        );
    }

    #[test]
    fn null_is_a_value_and_absent_is_none() {
        let checks = json_check("/a", Value::Null);
        assert_eq!(checks.mismatch(r#"{"a": null}"#, false), None);
        assert!(checks.mismatch("{}", false).is_some());
    }

    #[test]
    fn numbers_are_compared_by_value() {
        assert_eq!(
            json_check("", json!([1, {"a": 2.0}])).mismatch(r#"[1.0, {"a": 2}]"#, false),
            None
        );
        assert!(json_check("", json!([1])).mismatch("[1, 2]", false).is_some());
        assert!(
            json_check("", json!({"a": 1}))
                .mismatch(r#"{"b": 1}"#, false)
                .is_some()
        );
        let great = json!(9_007_199_254_740_993_u64);
        assert_eq!(json_check("", great).mismatch("9007199254740993", false), None);
    }
}
