//! `host:port`, as operators write it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error};
use std::borrow::Cow;

/// A name or address, and a port.
///
/// ```
/// use pulse_plugin_sdk::{serde_json, settings::Address};
///
/// let address: Address = serde_json::from_str("\"db.example:5432\"").unwrap();
/// assert_eq!((address.host.as_str(), address.port), ("db.example", 5432));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl Address {
    /// Reads `host:port`; an IPv6 address stands in brackets.
    ///
    /// ```
    /// use pulse_plugin_sdk::settings::Address;
    ///
    /// assert_eq!(Address::read("[::1]:5432").unwrap().host, "::1");
    /// assert!(Address::read("db").is_none());
    /// ```
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            // A colon would be half of an IPv6 address without its brackets.
            None if host.contains(':') => return None,
            None => host,
        };
        let digits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| digits && *port != 0)?;
        (!host.is_empty() && !host.contains(['[', ']', '/', '@', ' '])).then(|| Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| {
            D::Error::custom(format!(
                "{text:?} is no address such as \"db.example:5432\" or \"[::1]:5432\""
            ))
        })
    }
}

impl JsonSchema for Address {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^(\[[0-9A-Fa-f:.%]+\]|[^\[\]:/@ ]+):[0-9]{1,5}$",
            "examples": ["db.example:5432", "[::1]:5432"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<(String, u16)> {
        Address::read(text).map(|address| (address.host, address.port))
    }

    #[test]
    fn addresses() {
        assert_eq!(address("db.example:5432"), Some(("db.example".into(), 5432)));
        assert_eq!(address("192.0.2.7:25"), Some(("192.0.2.7".into(), 25)));
        assert_eq!(address("[2001:db8::1]:25"), Some(("2001:db8::1".into(), 25)));
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "db",
            ":25",
            "db:",
            "db:0",
            "db:65536",
            "db:+25",
            "2001:db8::1:25",
            "[::1]",
            "[::1:25",
            "tcp://db:25",
            "a b:1",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
    }
}
