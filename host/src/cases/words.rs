//! How single values are written in a case: durations, sizes, times, bytes, and names out of a fixed list. Each says at
//! its place what would be right.

use crate::{
    config::{parse_duration, parse_size, show_duration, show_size},
    domain::time::Wall,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::time::Duration;

/// `"1m30s"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_duration(&text)
            .map(Self)
            .map_err(|wrong| D::Error::custom(format!("no duration: {wrong}; write \"20ms\" or \"1m30s\"")))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        show_duration(self.0).serialize(to)
    }
}

/// `"32MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        parse_size(&text)
            .map(Self)
            .map_err(|wrong| D::Error::custom(format!("no size: {wrong}; write \"64KiB\" or \"32MiB\"")))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        show_size(self.0).serialize(to)
    }
}

/// `2026-11-24T06:40:00Z`, or milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub Wall);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wrong = || D::Error::custom("no moment; write 2026-11-24T06:40:00Z, without quotation marks");
        match toml::Value::deserialize(from)? {
            toml::Value::Integer(ms) => u64::try_from(ms).map(|ms| Self(Wall(ms))).map_err(|_| wrong()),
            toml::Value::Datetime(when) => millis_of(when).map(|ms| Self(Wall(ms))).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let when: Option<toml::value::Datetime> = written(self.0).parse().ok();
        match when {
            Some(when) => when.serialize(to),
            None => self.0.0.serialize(to),
        }
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (H. Hinnant, "chrono-compatible low-level date
/// algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The reverse of it.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn millis_of(when: toml::value::Datetime) -> Option<u64> {
    let (date, time) = (when.date?, when.time?);
    let minutes_east = match when.offset? {
        toml::value::Offset::Z => 0,
        toml::value::Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_from_civil(date.year.into(), date.month.into(), date.day.into());
    let seconds = days * 86_400 + i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60
        - minutes_east * 60
        + i64::from(time.second.unwrap_or(0));
    let ms = i64::from(time.nanosecond.unwrap_or(0)) / 1_000_000;
    u64::try_from(seconds * 1_000 + ms).ok()
}

fn written(Wall(ms): Wall) -> String {
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    let (year, month, day) = civil_from_days(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let fraction = match ms % 1_000 {
        0 => String::new(),
        ms => format!(".{ms:03}"),
    };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Bytes in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
            .collect();
        match digits {
            Some(digits) if digits.len() % 2 == 0 => Ok(Self(
                digits
                    .chunks_exact(2)
                    .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
                    .collect(),
            )),
            _ => Err(D::Error::custom(
                "no bytes; write two hexadecimal digits for each",
            )),
        }
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        text.serialize(to)
    }
}

/// A word out of a list that the type knows.
pub trait Named: Sized + Copy + 'static {
    /// What it is, for people.
    const WHAT: &'static str;
    /// All of them.
    fn all() -> Vec<Self>;
    /// Its name.
    fn name(self) -> &'static str;
}

/// Such a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<T>(pub T);

impl<'de, T: Named> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let known = T::all();
        match known.iter().find(|word| word.name() == text) {
            Some(word) => Ok(Self(*word)),
            None => {
                let names: Vec<&str> = known.iter().map(|word| word.name()).collect();
                let near = names
                    .iter()
                    .map(|name| (distance(name, &text), name))
                    .filter(|(distance, name)| *distance <= 2 && *distance < name.len())
                    .min()
                    .map_or_else(
                        || format!("it is one of {}", names.join(", ")),
                        |(_, name)| format!("did you mean `{name}`?"),
                    );
                let text: String = text.escape_debug().take(64).collect();
                Err(D::Error::custom(format!(
                    "there is no {} `{text}`; {near}",
                    T::WHAT
                )))
            }
        }
    }
}

/// How many letters make the difference; upper and lower case make none.
fn distance(name: &str, text: &str) -> usize {
    strsim::damerau_levenshtein(&name.to_lowercase(), &text.to_lowercase())
}

impl<T: Named> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.name().serialize(to)
    }
}

macro_rules! named {
    ($type:ty, $what:literal, $all:expr) => {
        impl Named for $type {
            const WHAT: &'static str = $what;

            fn all() -> Vec<Self> {
                $all.to_vec()
            }

            fn name(self) -> &'static str {
                <$type>::name(self)
            }
        }
    };
}

use crate::{
    capability::{ErrorCode, Phase, dns},
    domain::{color::Color, outcome::Status, spec::Kind},
};

named!(Kind, "kind", Kind::ALL);
named!(Color, "color", Color::ALL);
named!(ErrorCode, "error code", ErrorCode::ALL);
named!(Phase, "phase", Phase::ALL);
named!(dns::Kind, "type of records", dns::Kind::ALL);
named!(dns::Transport, "transport", dns::Transport::ALL);
named!(
    Status,
    "status",
    [Status::Healthy, Status::Degraded, Status::Unhealthy]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct All {
        span: Span,
        size: Size,
        moment: Moment,
        hex: Hex,
        code: Word<ErrorCode>,
        kind: Word<dns::Kind>,
    }

    #[test]
    fn values_come_back_as_they_were_written() {
        let text = "span = \"1m30s\"\nsize = \"64KiB\"\nmoment = 2026-11-24T06:40:00.02Z\nhex = \"00ff7f\"\ncode = \"timeout\"\nkind = \"AAAA\"\n";
        let all: All = toml::from_str(text).unwrap();
        assert_eq!(all.moment.0, Wall(1_795_502_400_020));
        assert_eq!(all.hex.0, [0, 255, 127]);
        assert_eq!(toml::to_string(&all).unwrap(), text);
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799_000),
            ("2026-11-24T07:40:00+01:00", 1_795_502_400_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400_000),
        ] {
            let when: toml::value::Datetime = text.parse().unwrap();
            assert_eq!(millis_of(when), Some(ms), "{text}");
            if text.ends_with('Z') {
                assert_eq!(written(Wall(ms)), text);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        for (text, part) in [
            ("code = \"timout\"", "did you mean `timeout`?"),
            ("code = \"dead\"", "it is one of denied, "),
            ("kind = \"mx\"", "did you mean `MX`?"),
            ("kind = \"WKS\"", "it is one of A, AAAA, "),
            ("hex = \"0\"", "two hexadecimal digits"),
            ("span = 3", "invalid type"),
            ("span = \"3\"", "no unit"),
            ("moment = \"now\"", "2026-11-24T06:40:00Z"),
        ] {
            #[derive(Debug, Deserialize)]
            #[allow(dead_code)] // Only whether it can be read matters.
            struct Some {
                span: Option<Span>,
                moment: Option<Moment>,
                hex: Option<Hex>,
                code: Option<Word<ErrorCode>>,
                kind: Option<Word<dns::Kind>>,
            }
            let error = toml::from_str::<Some>(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
