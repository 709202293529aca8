//! Text with `{{placeholders}}`.
//!
//! Invariant: what is filled in stays data. Names, summaries and labels come from targets and tenants, so each
//! value is escaped for the place where it stands.

use pulse_plugin_sdk::text;
use std::fmt::Write as _;

/// How a value is written so that it stays a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// As it is.
    None,
    /// Within the quotation marks of a JSON string.
    Json,
    /// One segment of a path or one value of a query or form.
    Url,
    /// A part of a header field's value.
    Header,
}

impl Escape {
    /// What a body of that content type wants.
    pub fn of_content_type(content_type: &str) -> Self {
        let essence = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if essence.ends_with("/json") || essence.ends_with("+json") {
            Self::Json
        } else if essence == "application/x-www-form-urlencoded" {
            Self::Url
        } else {
            Self::None
        }
    }

    fn apply(self, value: &str) -> String {
        match self {
            Self::None => value.to_owned(),
            Self::Json => json_string(value),
            Self::Url => text::percent_encode(value),
            Self::Header => text::header_value(value),
        }
    }
}

fn json_string(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            // Writing to a string never fails.
            char if u32::from(char) < 0x20 => drop(write!(escaped, "\\u{:04x}", u32::from(char))),
            char => escaped.push(char),
        }
    }
    escaped
}

/// A text that was taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Template<'a>(Vec<Part<'a>>);

#[derive(Debug, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a str),
    Value(&'a str),
}

impl<'a> Template<'a> {
    /// Takes a text apart.
    ///
    /// # Errors
    /// A placeholder that does not end.
    pub fn read(text: &'a str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after
                .split_once("}}")
                .ok_or_else(|| format!("a {{{{ without its }}}}: {:?}", text::excerpt(after, 40)))?;
            parts.push(Part::Text(before));
            parts.push(Part::Value(name.trim()));
            rest = after;
        }
        parts.push(Part::Text(rest));
        Ok(Self(parts))
    }

    /// Fills the values in.
    ///
    /// # Errors
    /// A placeholder that nobody knows.
    pub fn fill(&self, escape: Escape, value: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Value(name) => {
                    let value = value(name)
                        .ok_or_else(|| format!("there is no {{{{{}}}}} here", text::excerpt(name, 60)))?;
                    filled.push_str(&escape.apply(&value));
                }
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str, escape: Escape) -> Result<String, String> {
        let value = |name: &str| (name == "x").then(|| "\"\\\u{1}\té{{x}}".to_owned());
        Template::read(text)?.fill(escape, &value)
    }

    #[test]
    fn values_are_filled_in_once() {
        assert_eq!(fill("a{{x}}b", Escape::None).unwrap(), "a\"\\\u{1}\té{{x}}b");
        assert_eq!(
            fill("{\"a\":{{ x }}}", Escape::Url).unwrap(),
            "{\"a\":%22%5C%01%09%C3%A9%7B%7Bx%7D%7D}"
        );
        assert_eq!(
            fill("no placeholder }}", Escape::None).unwrap(),
            "no placeholder }}"
        );
    }

    #[test]
    fn a_json_string_reads_back_as_it_was() {
        let json = format!("\"{}\"", fill("{{x}}", Escape::Json).unwrap());
        assert_eq!(
            serde_json::from_str::<String>(&json).unwrap(),
            "\"\\\u{1}\té{{x}}"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(fill("{{y}}", Escape::None).unwrap_err(), "there is no {{y}} here");
        assert!(
            fill("a {{x", Escape::None)
                .unwrap_err()
                .contains("without its }}")
        );
    }

    #[test]
    fn content_types() {
        assert_eq!(
            Escape::of_content_type("Application/JSON; charset=utf-8"),
            Escape::Json
        );
        assert_eq!(Escape::of_content_type("application/ld+json"), Escape::Json);
        assert_eq!(
            Escape::of_content_type("application/x-www-form-urlencoded"),
            Escape::Url
        );
        assert_eq!(Escape::of_content_type("text/json5"), Escape::None);
    }
}
