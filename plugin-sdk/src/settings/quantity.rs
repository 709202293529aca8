//! Durations and sizes as the host's own configuration writes them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};
use std::{borrow::Cow, fmt, time::Duration};

/// A duration: `"800ms"`, `"1.5s"`, `"2m"`, `"1h"`, `"14d"`, or a whole number of milliseconds.
///
/// ```
/// use pulse_plugin_sdk::{serde_json, settings::Span};
///
/// let span: Span = serde_json::from_str("\"1.5s\"").unwrap();
/// assert_eq!((span.get().as_millis(), span.to_string().as_str()), (1_500, "1500ms"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

/// A size: `"64KiB"`, `"1MiB"`, `"500B"`, `"1kB"`, or a whole number of bytes. At most 4 GiB less one byte.
///
/// ```
/// use pulse_plugin_sdk::{serde_json, settings::Size};
///
/// let size: Size = serde_json::from_str("\"64KiB\"").unwrap();
/// assert_eq!((size.bytes(), size.to_string().as_str()), (65_536, "64KiB"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u32);

/// Microseconds, so that `"0.5ms"` is exact.
const SPANS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];
const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

impl Span {
    /// A duration in milliseconds.
    ///
    /// ```
    /// use pulse_plugin_sdk::settings::Span;
    ///
    /// const PATIENCE: Span = Span::from_millis(2_000);
    /// assert_eq!(PATIENCE.to_string(), "2s");
    /// ```
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// The duration.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::settings::Span::from_millis(20).get().as_micros(), 20_000);
    /// ```
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Size {
    /// A size in bytes.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::settings::Size::from_bytes(2_048).to_string(), "2KiB");
    /// ```
    #[must_use]
    pub const fn from_bytes(bytes: u32) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::settings::Size::from_bytes(7).bytes(), 7);
    /// ```
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

/// `digits[.digits]unit` in the smallest of the units. A fraction is cut off below that.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|char: char| char.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at_checked(split)?;
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    // Nine digits are more than any unit resolves, and keep the product below within 64 bits of its type.
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let rest = u128::from(factor) * fraction.parse::<u128>().ok()? / scale;
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    whole.checked_add(u64::try_from(rest).ok()?)
}

/// The greatest unit that writes the number without a fraction.
fn written(number: u64, units: &[(&str, u64)]) -> String {
    let (unit, factor) = units
        .iter()
        .rev()
        .find(|(_, factor)| number >= *factor && number.is_multiple_of(*factor))
        .or(units.first())
        .copied()
        .unwrap_or(("", 1));
    format!("{}{unit}", number / factor)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&written(
            u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX),
            &SPANS,
        ))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&written(u64::from(self.0), &SIZES))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = deserializer.deserialize_any(Raw {
            units: &SPANS,
            expected: "a duration such as \"800ms\", \"5s\" or \"2m\", or milliseconds",
            per_number: 1_000,
        })?;
        Ok(Self(Duration::from_micros(raw)))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = deserializer.deserialize_any(Raw {
            units: &SIZES,
            expected: "a size such as \"64KiB\" or \"1MiB\", or bytes",
            per_number: 1,
        })?;
        u32::try_from(raw)
            .map(Self)
            .map_err(|_| D::Error::custom("a size is less than 4GiB"))
    }
}

struct Raw {
    units: &'static [(&'static str, u64)],
    expected: &'static str,
    per_number: u64,
}

impl Visitor<'_> for Raw {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        quantity(text, self.units).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        number
            .checked_mul(self.per_number)
            .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
    }
}

/// Both types are one flat schema: `pattern` judges strings only and `minimum` numbers only, and a validator's
/// message stays about the one that was written.
impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^[0-9]+(\.[0-9]{1,9})?(us|ms|s|m|h|d)$",
            "minimum": 0,
            "examples": ["800ms", "5s"],
        })
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^[0-9]+(\.[0-9]{1,9})?(B|kB|KiB|MB|MiB|GB|GiB)$",
            "minimum": 0,
            "maximum": u32::MAX,
            "examples": ["64KiB", "1MiB"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(json: &str) -> Result<u128, String> {
        serde_json::from_str::<Span>(json)
            .map(|span| span.get().as_micros())
            .map_err(|error| error.to_string())
    }

    fn size(json: &str) -> Result<u32, String> {
        serde_json::from_str::<Size>(json)
            .map(Size::bytes)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn spans() {
        assert_eq!(span("\"800ms\""), Ok(800_000));
        assert_eq!(span("\"1.5s\""), Ok(1_500_000));
        assert_eq!(span("\"0.5ms\""), Ok(500));
        assert_eq!(span("\"2m\""), Ok(120_000_000));
        assert_eq!(span("\"14d\""), Ok(1_209_600_000_000));
        assert_eq!(span("250"), Ok(250_000));
        for wrong in [
            "\"\"",
            "\"5\"",
            "\"s\"",
            "\"-5s\"",
            "\"5 s\"",
            "\".5s\"",
            "\"5.s\"",
            "\"5S\"",
            "-1",
            "1.5",
            "true",
            "\"99999999999999999999s\"",
            "\"18446744073709551615d\"",
            "18446744073709551615",
            "\"1.1234567890s\"",
        ] {
            let error = span(wrong).unwrap_err();
            assert!(error.contains("duration such as"), "{wrong}: {error}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("\"64KiB\""), Ok(65_536));
        assert_eq!(size("\"1.5kB\""), Ok(1_500));
        assert_eq!(size("\"0B\""), Ok(0));
        assert_eq!(size("4096"), Ok(4_096));
        assert!(size("\"4GiB\"").unwrap_err().contains("less than 4GiB"));
        assert!(size("\"64kb\"").unwrap_err().contains("size such as"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for text in ["800ms", "500us", "90s", "2m", "1d"] {
            let quoted = format!("\"{text}\"");
            let span: Span = serde_json::from_str(&quoted).unwrap();
            assert_eq!(serde_json::to_string(&span).unwrap(), quoted);
        }
        assert_eq!(Span::from_millis(0).to_string(), "0us");
        assert_eq!(Size::from_bytes(262_144).to_string(), "256KiB");
        assert_eq!(Size::from_bytes(1_025).to_string(), "1025B");
    }

    #[test]
    fn a_sum_that_overflows_is_refused() {
        assert_eq!(
            quantity("213503981.999999999d", &SPANS),
            Some(18_446_744_044_799_999_913)
        );
        assert_eq!(quantity("213503982.999999999d", &SPANS), None);
    }
}
