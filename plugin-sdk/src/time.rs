//! Points in time, as text too. What a job is told (when it was due, when an alert happened) needs no clock; the
//! clocks here are WASI's, which every plugin has, and in [`testing`](crate::testing) a virtual one.

use std::time::Duration;

/// A timeout in whole milliseconds, as lent calls take it: 1 at least, since 0 is refused, and what is left of a job may be
/// less than that.
pub(crate) fn whole_ms(timeout: Duration) -> u32 {
    u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1)
}

/// Milliseconds since the Unix epoch, by the host's clock.
///
/// ```
/// use pulse_plugin_sdk::{testing::{self, Host}, time};
/// use std::time::Duration;
///
/// Host::new().run(|| {
///     let before = time::now_ms();
///     testing::pass(Duration::from_secs(1));
///     assert_eq!(time::now_ms() - before, 1_000);
/// });
/// ```
#[must_use]
pub fn now_ms() -> u64 {
    #[cfg(target_family = "wasm")]
    #[allow(clippy::disallowed_methods, reason = "here it is the host's own, by WASI")]
    return std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    #[cfg(not(target_family = "wasm"))]
    crate::testing::clock::wall_ms()
}

/// How long something takes. What lent calls report of themselves is more exact.
///
/// ```
/// use pulse_plugin_sdk::{testing::{self, Host}, time::Stopwatch};
/// use std::time::Duration;
///
/// Host::new().run(|| {
///     let stopwatch = Stopwatch::start();
///     testing::pass(Duration::from_millis(30));
///     assert_eq!(stopwatch.elapsed(), Duration::from_millis(30));
/// });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    #[cfg(target_family = "wasm")]
    began: std::time::Instant,
    #[cfg(not(target_family = "wasm"))]
    began: Duration,
}

impl Stopwatch {
    /// Begins now.
    ///
    /// ```
    /// let stopwatch = pulse_plugin_sdk::time::Stopwatch::start();
    /// # let _ = stopwatch;
    /// ```
    #[must_use]
    pub fn start() -> Self {
        #[cfg(target_family = "wasm")]
        #[allow(clippy::disallowed_methods, reason = "here it is the host's own, by WASI")]
        return Self {
            began: std::time::Instant::now(),
        };
        #[cfg(not(target_family = "wasm"))]
        Self {
            began: crate::testing::clock::now(),
        }
    }

    /// The time since it began.
    ///
    /// ```
    /// # use pulse_plugin_sdk::time::Stopwatch;
    /// # use std::time::Duration;
    /// assert!(Stopwatch::start().elapsed() < Duration::from_secs(60));
    /// ```
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        #[cfg(target_family = "wasm")]
        return self.began.elapsed();
        #[cfg(not(target_family = "wasm"))]
        crate::testing::clock::now().saturating_sub(self.began)
    }
}

/// Waits, which counts against the job's time: a job that is cut while it waits here failed by itself, and its target is
/// not blamed.
///
/// ```
/// use pulse_plugin_sdk::{testing::Host, time::{self, Stopwatch}};
/// use std::time::Duration;
///
/// Host::new().run(|| {
///     let stopwatch = Stopwatch::start();
///     time::sleep(Duration::from_millis(200));
///     assert_eq!(stopwatch.elapsed(), Duration::from_millis(200));
/// });
/// ```
pub fn sleep(span: Duration) {
    #[cfg(target_family = "wasm")]
    std::thread::sleep(span);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::pass(span);
}

/// Milliseconds since the Unix epoch as RFC 3339 in UTC with milliseconds: `2026-11-24T06:52:00.123Z`.
///
/// ```
/// use pulse_plugin_sdk::time;
///
/// assert_eq!(time::rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
/// ```
#[must_use]
pub fn rfc3339(ms: u64) -> String {
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Seconds since the Unix epoch of an HTTP date in its preferred form (RFC 9110, section 5.6.7):
/// `Sun, 06 Nov 1994 08:49:37 GMT`. None for any other text, and for a time before the epoch.
///
/// ```
/// use pulse_plugin_sdk::time;
///
/// assert_eq!(time::http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
/// ```
#[must_use]
pub fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.trim().split_once(", ")?.1.split(' ');
    let mut next = || words.next();
    let (day, month, year) = (number(next()?)?, next()?, number(next()?)?);
    let mut clock = next()?.split(':');
    let mut part = || clock.next().and_then(number);
    let (hour, minute, second) = (part()?, part()?, part()?);
    if next() != Some("GMT") || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let days = days_since_epoch(year, month, day)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(digits: &str) -> Option<u64> {
    let short = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if short { digits.parse().ok() } else { None }
}

/// Year, month and day of the Gregorian calendar. The arithmetic is Howard Hinnant's `civil_from_days`
/// ("chrono-Compatible Low-Level Date Algorithms"), for days since the epoch only.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The inverse of [`civil`]: `days_from_civil` of the same source. None before the epoch.
fn days_since_epoch(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * 146_097 + of_era).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_points_in_time() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(rfc3339(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn the_example_of_rfc_9110() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    }

    #[test]
    fn what_is_no_http_date() {
        for text in [
            "",
            "120",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nev 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
        ] {
            assert_eq!(http_date(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_goes_there_and_back() {
        for days in 0..146_097 {
            let (year, month, day) = civil(days);
            assert_eq!(days_since_epoch(year, month, day), Some(days));
        }
    }
}
