//! Numbers worth keeping, and their units.

use crate::Measurement;
use std::time::Duration;

/// The longest name that the host keeps, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// What a number counts, by its UCUM code.
///
/// ```
/// use pulse_plugin_sdk::Unit;
///
/// assert_eq!(Unit::Bytes.code(), "By");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Pieces of whatever the name says.
    Count,
    /// `s`.
    Seconds,
    /// `By`.
    Bytes,
    /// `By/s`.
    BytesPerSecond,
    /// `1`: a part of a whole, from 0 to 1.
    Ratio,
    /// `%`.
    Percent,
    /// `Hz`: so many per second.
    Hertz,
    /// `Cel`: degrees Celsius.
    Celsius,
    /// `V`.
    Volts,
    /// `A`.
    Amperes,
    /// `W`.
    Watts,
}

impl Unit {
    /// The code that goes with the number.
    ///
    /// ```
    /// # use pulse_plugin_sdk::Unit;
    /// assert_eq!(Unit::Seconds.code(), "s");
    /// assert_eq!(Unit::Count.code(), "");
    /// ```
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Seconds => "s",
            Self::Bytes => "By",
            Self::BytesPerSecond => "By/s",
            Self::Ratio => "1",
            Self::Percent => "%",
            Self::Hertz => "Hz",
            Self::Celsius => "Cel",
            Self::Volts => "V",
            Self::Amperes => "A",
            Self::Watts => "W",
        }
    }
}

impl Measurement {
    /// A number with a UCUM-like unit: `s`, `By`, `1`, `%`; empty for a plain count. The name becomes snake case,
    /// of at most 64 bytes. The host drops a value that is not finite, and counts it: where there can be one,
    /// [`Measurement::number`] is what you want.
    ///
    /// ```
    /// use pulse_plugin_sdk::Measurement;
    ///
    /// let pressure = Measurement::new("Pump 2: pressure", 4.2, "bar");
    /// assert_eq!(pressure.name, "pump_2_pressure");
    /// ```
    #[must_use]
    pub fn new(name: impl AsRef<str>, value: f64, unit: impl Into<String>) -> Self {
        Self {
            name: snake(name.as_ref()),
            value,
            unit: unit.into(),
        }
    }

    /// A number, if it is one: none for a value that is infinite or not a number, such as that of a division by
    /// zero. [`Report::with`](crate::Report::with) takes it as it is.
    ///
    /// ```
    /// use pulse_plugin_sdk::{Measurement, Report, Unit};
    ///
    /// let mean = |sum: f64, count: f64| Measurement::number("mean_wait", sum / count, Unit::Seconds);
    /// let report = Report::healthy("idle").with(mean(0.0, 0.0)).with(mean(9.0, 2.0));
    /// assert_eq!(report.measurements.len(), 1);
    /// assert_eq!(report.measurements[0].value, 4.5);
    /// ```
    #[must_use]
    pub fn number(name: impl AsRef<str>, value: f64, unit: Unit) -> Option<Self> {
        value.is_finite().then(|| Self::new(name, value, unit.code()))
    }

    /// A duration, in seconds.
    ///
    /// ```
    /// use pulse_plugin_sdk::Measurement;
    /// use std::time::Duration;
    ///
    /// let duration = Measurement::seconds("duration", Duration::from_millis(250));
    /// assert_eq!((duration.value, duration.unit.as_str()), (0.25, "s"));
    /// ```
    #[must_use]
    pub fn seconds(name: impl AsRef<str>, value: Duration) -> Self {
        Self::new(name, value.as_secs_f64(), Unit::Seconds.code())
    }

    /// A size, in bytes.
    ///
    /// ```
    /// # use pulse_plugin_sdk::Measurement;
    /// assert_eq!(Measurement::bytes("body_size", 512).unit, "By");
    /// ```
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "above 2^53 the last digits are noise")]
    pub fn bytes(name: impl AsRef<str>, value: u64) -> Self {
        Self::new(name, value as f64, Unit::Bytes.code())
    }

    /// So many of something.
    ///
    /// ```
    /// # use pulse_plugin_sdk::Measurement;
    /// assert_eq!(Measurement::count("queued_jobs", 7).value, 7.0);
    /// ```
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "above 2^53 the last digits are noise")]
    pub fn count(name: impl AsRef<str>, value: u64) -> Self {
        Self::new(name, value as f64, Unit::Count.code())
    }

    /// A part of a whole, from 0 to 1; none of nothing.
    ///
    /// ```
    /// # use pulse_plugin_sdk::Measurement;
    /// assert_eq!(Measurement::ratio("disk_used", 3, 4).unwrap().value, 0.75);
    /// assert_eq!(Measurement::ratio("disk_used", 0, 0), None);
    /// ```
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "above 2^53 the last digits are noise")]
    pub fn ratio(name: impl AsRef<str>, part: u64, whole: u64) -> Option<Self> {
        Self::number(name, part as f64 / whole as f64, Unit::Ratio)
    }
}

/// Lower case letters, digits and single underscores between them.
fn snake(text: &str) -> String {
    let mut name = String::with_capacity(text.len().min(NAME_BYTES_MAX));
    for char in text.chars() {
        if name.len() == NAME_BYTES_MAX {
            break;
        }
        if char.is_ascii_alphanumeric() {
            name.push(char.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    if name.ends_with('_') {
        name.pop();
    }
    if name.is_empty() {
        name.push_str("unnamed");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_snake_case_and_bounded() {
        assert_eq!(snake("connect_duration"), "connect_duration");
        assert_eq!(snake("  /var/lib (used) "), "var_lib_used");
        assert_eq!(snake("Größe"), "gr_e");
        assert_eq!(snake("%"), "unnamed");
        assert_eq!(snake(&"x".repeat(99)), "x".repeat(64));
        assert_eq!(snake(&format!("{}-y", "x".repeat(63))), "x".repeat(63));
    }

    #[test]
    fn what_is_no_number_is_none() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Measurement::number("x", value, Unit::Count), None);
        }
        assert_eq!(Measurement::ratio("x", 1, 0), None);
    }
}
