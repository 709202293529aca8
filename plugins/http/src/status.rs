//! Which status codes are fine.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt};

/// A status code or a class of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusPattern {
    /// `2xx`: the hundreds.
    Class(u16),
    /// `301`.
    Code(u16),
}

impl StatusPattern {
    /// Whether a status code is fine by this pattern.
    pub fn allows(self, status: u16) -> bool {
        match self {
            Self::Class(hundreds) => status / 100 == hundreds,
            Self::Code(code) => status == code,
        }
    }

    /// Whether it means redirects.
    pub fn names_redirect(self) -> bool {
        matches!(self, Self::Class(3) | Self::Code(300..=399))
    }

    fn code(code: u64) -> Option<Self> {
        u16::try_from(code)
            .ok()
            .filter(|code| (100..=599).contains(code))
            .map(Self::Code)
    }

    fn read(text: &str) -> Option<Self> {
        match text.strip_suffix("xx") {
            Some(hundreds) => {
                let hundreds = hundreds.parse().ok().filter(|class| (1..=5).contains(class))?;
                (text.len() == 3).then_some(Self::Class(hundreds))
            }
            None if text.len() == 3 => Self::code(text.parse().ok()?),
            None => None,
        }
    }
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(hundreds) => write!(f, "{hundreds}xx"),
            Self::Code(code) => write!(f, "{code}"),
        }
    }
}

impl Serialize for StatusPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StatusPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = StatusPattern;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a status code such as \"301\" or a class such as \"2xx\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<StatusPattern, E> {
                StatusPattern::read(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, code: u64) -> Result<StatusPattern, E> {
                StatusPattern::code(code)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(code), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for StatusPattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StatusPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": "^[1-5](xx|[0-9][0-9])$",
            "minimum": 100,
            "maximum": 599,
            "examples": ["2xx", "301"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(json: &str) -> StatusPattern {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn codes_and_classes() {
        assert_eq!(pattern("\"2xx\""), StatusPattern::Class(2));
        assert_eq!(pattern("\"301\""), StatusPattern::Code(301));
        assert_eq!(pattern("404"), StatusPattern::Code(404));
        assert!(pattern("\"2xx\"").allows(204) && !pattern("\"2xx\"").allows(301));
        assert!(pattern("301").allows(301) && !pattern("301").allows(302));
    }

    #[test]
    fn what_is_neither() {
        for json in [
            "\"xx\"", "\"6xx\"", "\"0xx\"", "\"2XX\"", "\"+2xx\"", "\"2x\"", "\"99\"", "99", "600",
            "\"-01\"", "\"2001\"",
        ] {
            let error = serde_json::from_str::<StatusPattern>(json)
                .unwrap_err()
                .to_string();
            assert!(error.contains("a status code such as"), "{json}: {error}");
        }
    }

    #[test]
    fn redirects() {
        assert!(StatusPattern::Class(3).names_redirect());
        assert!(StatusPattern::Code(308).names_redirect());
        assert!(!StatusPattern::Code(400).names_redirect());
    }
}
