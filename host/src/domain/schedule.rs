//! When something that operators say of monitors holds: from one point to another, or on certain days at a certain time of
//! a certain place.

use super::time::{Wall, millis};
use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time, Weekday},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// One occurrence of a recurring window lasts at most that long.
pub const LASTS_MAX: Duration = Duration::from_secs(7 * 86_400);

/// When it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Schedule {
    /// On those days, from that time on for a while.
    Recurring(Recurring),
    /// Once.
    Once {
        /// From then on.
        from: Wall,
        /// Until then; none: until it is taken back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Wall>,
    },
}

/// On certain days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recurring {
    /// On which.
    pub days: Days,
    /// When it begins, by the clocks of the zone. One that the clocks skip comes that much later.
    pub at: Clockwise,
    /// How long it lasts, in real time, whatever clocks do meanwhile. At most [`LASTS_MAX`].
    #[serde(rename = "for")]
    pub lasts: Lasts,
    /// Whose clocks.
    pub zone: Zone,
}

/// Days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Days(u8);

/// As they are written, Monday first.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Days {
    /// Every day.
    pub const ALL: Self = Self(0x7f);

    /// Those of these names.
    ///
    /// # Errors
    /// The first that is no day's, or there is none.
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, String> {
        let mut days = 0;
        for name in names {
            let day = DAYS.iter().position(|day| *day == name);
            days |= 1 << day.ok_or_else(|| format!("`{name}` is no day; days are {}", DAYS.join(", ")))?;
        }
        if days == 0 {
            return Err("no day at all".to_owned());
        }
        Ok(Self(days))
    }

    /// Whether that day is one of them.
    #[must_use]
    pub fn has(self, day: Weekday) -> bool {
        self.0 >> day.to_monday_zero_offset() & 1 == 1
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        DAYS.into_iter()
            .enumerate()
            .filter(move |(day, _)| self.0 >> day & 1 == 1)
            .map(|(_, name)| name)
    }
}

impl From<Days> for Vec<String> {
    fn from(days: Days) -> Self {
        days.names().map(str::to_owned).collect()
    }
}

impl TryFrom<Vec<String>> for Days {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        Self::named(names.iter().map(String::as_str))
    }
}

/// A time of the day, to the minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Clockwise(Time);

impl FromStr for Clockwise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let two = |text: &str| -> Option<i8> {
            (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| text.parse().ok())
                .flatten()
        };
        text.split_once(':')
            .and_then(|(hour, minute)| Time::new(two(hour)?, two(minute)?, 0, 0).ok())
            .map(Self)
            .ok_or_else(|| "a time of the day is written \"22:30\"".to_owned())
    }
}

impl fmt::Display for Clockwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

impl From<Clockwise> for String {
    fn from(at: Clockwise) -> Self {
        at.to_string()
    }
}

impl TryFrom<String> for Clockwise {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// How long an occurrence lasts: whole seconds, one at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u64", try_from = "u64")]
pub struct Lasts(Duration);

impl Lasts {
    /// That long.
    ///
    /// # Errors
    /// It is nothing, or longer than [`LASTS_MAX`].
    pub fn new(span: Duration) -> Result<Self, String> {
        if span < Duration::from_secs(1) || span > LASTS_MAX {
            return Err("an occurrence lasts between a second and seven days".to_owned());
        }
        Ok(Self(Duration::from_secs(span.as_secs())))
    }

    /// That long.
    #[must_use]
    pub fn span(self) -> Duration {
        self.0
    }
}

impl From<Lasts> for u64 {
    fn from(lasts: Lasts) -> Self {
        lasts.0.as_secs()
    }
}

impl TryFrom<u64> for Lasts {
    type Error = String;

    fn try_from(seconds: u64) -> Result<Self, String> {
        Self::new(Duration::from_secs(seconds))
    }
}

/// A time zone of the IANA database, such as `Europe/Berlin`, or `UTC`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        TimeZone::get(name).map(Self).map_err(|_| {
            format!("`{name}` is no time zone; they are written as \"Europe/Berlin\" or \"UTC\"")
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}

impl TryFrom<String> for Zone {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl Zone {
    /// A point in time as people write it: with an offset (`2026-12-01T22:00:00+01:00`, `…Z`), or without one, by the clocks
    /// of this zone (`2026-12-01 22:00`).
    ///
    /// # Errors
    /// It is none, or before 1970.
    pub fn point(&self, text: &str) -> Result<Wall, String> {
        let stamp: Option<Timestamp> = text.parse().ok();
        let stamp = stamp.or_else(|| {
            let civil: DateTime = text.parse().ok()?;
            Some(civil.to_zoned_datetime(self.0.clone()).ok()?.timestamp())
        });
        stamp
            .and_then(|stamp| u64::try_from(stamp.as_millisecond()).ok())
            .map(Wall)
            .ok_or_else(|| {
                "a point in time is written 2026-12-01T22:00:00+01:00, or 2026-12-01T22:00:00 by the clocks of the zone"
                    .to_owned()
            })
    }
}

impl Recurring {
    /// When it begins on that day; none if it does not.
    fn begin(&self, day: Date) -> Option<Wall> {
        if !self.days.has(day.weekday()) {
            return None;
        }
        let begin = day
            .to_datetime(self.at.0)
            .to_zoned_datetime(self.zone.0.clone())
            .ok()?;
        u64::try_from(begin.timestamp().as_millisecond()).ok().map(Wall)
    }

    /// Occurrences that have not ended long before a point, and those of the week after it, in order.
    fn around(&self, now: Wall) -> impl Iterator<Item = (Wall, Wall)> + '_ {
        let lasts = millis(self.lasts.span());
        let today = i64::try_from(now.0)
            .ok()
            .and_then(|now| Timestamp::from_millisecond(now).ok())
            .map(|now| now.to_zoned_datetime(self.zone.0.clone()).date());
        let back = i64::try_from(lasts / 86_400_000).unwrap_or(7) + 1;
        (-back..=8).filter_map(move |day| {
            let day = today?.checked_add(jiff::Span::new().days(day)).ok()?;
            let begin = self.begin(day)?;
            Some((begin, Wall(begin.0.saturating_add(lasts))))
        })
    }
}

impl Schedule {
    /// From now on, until it is taken back or that time has passed.
    #[must_use]
    pub fn from_now(now: Wall, lasts: Option<Duration>) -> Self {
        Self::Once {
            from: now,
            until: lasts.map(|lasts| Wall(now.0.saturating_add(millis(lasts)))),
        }
    }

    /// Whether it holds at that point.
    #[must_use]
    pub fn holds(&self, now: Wall) -> bool {
        match self {
            Self::Once { from, until } => *from <= now && until.is_none_or(|until| now < until),
            Self::Recurring(recurring) => recurring
                .around(now)
                .any(|(begin, end)| begin <= now && now < end),
        }
    }

    /// The next point at which it begins or ends; none: there is none.
    #[must_use]
    pub fn edge(&self, now: Wall) -> Option<Wall> {
        match self {
            Self::Once { from, until } => [Some(*from), *until]
                .into_iter()
                .flatten()
                .find(|edge| *edge > now),
            Self::Recurring(recurring) => recurring
                .around(now)
                .flat_map(|(begin, end)| [begin, end])
                .filter(|edge| *edge > now)
                .min(),
        }
    }

    /// Whether it will never hold again.
    #[must_use]
    pub fn is_over(&self, now: Wall) -> bool {
        matches!(self, Self::Once { until: Some(until), .. } if *until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Wall {
        Zone::default().point(text).unwrap()
    }

    fn weekly(days: &[&str], time: &str, hours: u64, zone: &str) -> Schedule {
        Schedule::Recurring(Recurring {
            days: Days::named(days.iter().copied()).unwrap(),
            at: time.parse().unwrap(),
            lasts: Lasts::new(Duration::from_secs(hours * 3600)).unwrap(),
            zone: zone.parse().unwrap(),
        })
    }

    #[test]
    fn once_holds_between_its_ends_and_is_over_then() {
        let once = Schedule::Once {
            from: Wall(100),
            until: Some(Wall(200)),
        };
        let held = [99, 100, 199, 200].map(|now| once.holds(Wall(now)));
        assert_eq!(held, [false, true, true, false]);
        let edges = [0, 100, 199, 200].map(|now| once.edge(Wall(now)).map(|at| at.0));
        assert_eq!(edges, [Some(100), Some(200), Some(200), None]);
        assert!(once.is_over(Wall(200)) && !once.is_over(Wall(199)));
        let open = Schedule::from_now(Wall(5), None);
        assert!(open.holds(Wall(u64::MAX)) && open.edge(Wall(5)).is_none() && !open.is_over(Wall(u64::MAX)));
    }

    #[test]
    fn a_window_over_midnight_holds_on_the_next_day() {
        // The 28th of November 2026 is a Saturday.
        let night = weekly(&["sat"], "22:00", 5, "UTC");
        for (point, holds) in [
            ("2026-11-28T21:59:59Z", false),
            ("2026-11-28T22:00:00Z", true),
            ("2026-11-29T02:59:59Z", true),
            ("2026-11-29T03:00:00Z", false),
            ("2026-11-29T22:30:00Z", false),
        ] {
            assert_eq!(night.holds(at(point)), holds, "{point}");
        }
        assert_eq!(
            night.edge(at("2026-11-29T02:00:00Z")),
            Some(at("2026-11-29T03:00:00Z"))
        );
        assert_eq!(
            night.edge(at("2026-11-29T03:00:00Z")),
            Some(at("2026-12-05T22:00:00Z"))
        );
        assert!(!night.is_over(at("2099-01-01T00:00:00Z")));
    }

    #[test]
    fn clocks_that_are_changed_keep_the_hour_and_the_length() {
        let night = weekly(&["sun"], "02:30", 1, "Europe/Berlin");
        // Clocks go from 2 to 3: what would begin in the hour that is skipped begins after it.
        assert_eq!(
            night.edge(at("2027-03-27T12:00:00Z")),
            Some(at("2027-03-28T01:30:00Z"))
        );
        // And back from 3 to 2: 2:30 is there twice, and the first counts.
        assert_eq!(
            night.edge(at("2027-10-30T12:00:00Z")),
            Some(at("2027-10-31T00:30:00Z"))
        );
        assert_eq!(
            night.edge(at("2027-10-31T00:30:00Z")),
            Some(at("2027-10-31T01:30:00Z"))
        );
        // In winter it is an hour later by UTC than in summer.
        assert_eq!(
            night.edge(at("2027-01-02T12:00:00Z")),
            Some(at("2027-01-03T01:30:00Z"))
        );
        assert_eq!(
            night.edge(at("2027-07-03T12:00:00Z")),
            Some(at("2027-07-04T00:30:00Z"))
        );
    }

    #[test]
    fn edges_are_where_it_changes() {
        for schedule in [
            weekly(&["mon", "wed"], "23:15", 26, "America/New_York"),
            weekly(&["sun"], "02:30", 168, "Europe/Berlin"),
            weekly(&DAYS, "00:00", 1, "Asia/Kolkata"),
        ] {
            let mut now = at("2027-03-01T00:00:00Z");
            for _ in 0..60 {
                let next = schedule.edge(now).unwrap();
                // Nothing changes between two edges.
                let before = schedule.holds(now);
                for part in 1..20 {
                    let between = Wall(now.0 + (next.0 - now.0) * part / 20);
                    assert_eq!(schedule.holds(between), before, "{between:?}");
                }
                now = next;
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let weekly = weekly(&["sun", "mon"], "02:30", 3, "Europe/Berlin");
        let text = serde_json::to_string(&weekly).unwrap();
        assert_eq!(
            text,
            r#"{"days":["mon","sun"],"at":"02:30","for":10800,"zone":"Europe/Berlin"}"#
        );
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), weekly);
        let once = Schedule::from_now(Wall(7), Some(Duration::from_secs(1)));
        let text = serde_json::to_string(&once).unwrap();
        assert_eq!(text, r#"{"from":7,"until":1007}"#);
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), once);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["24:00", "9:00", "12:60", "12", "-1:00", "+1:00", "12:00:00"] {
            assert!(text.parse::<Clockwise>().is_err(), "{text}");
        }
        assert!("Europe/Nowhere".parse::<Zone>().is_err());
        assert!(Days::named([]).is_err() && Days::named(["monday"]).is_err());
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        assert_eq!(
            berlin.point("2026-12-01T22:00:00").unwrap(),
            at("2026-12-01T21:00:00Z")
        );
        assert_eq!(
            berlin.point("2026-12-01T22:00:00Z").unwrap(),
            at("2026-12-01T22:00:00Z")
        );
        for text in ["tomorrow", "1969-01-01T00:00:00Z", "22:00", ""] {
            assert!(berlin.point(text).is_err(), "{text}");
        }
    }
}
