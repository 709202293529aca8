//! What makes a target that is alive degraded: collected, and then said all at once.

use crate::{Report, settings::Span};
use std::time::Duration;

const DAY_S: i64 = 86_400;

/// Reasons for a degraded report. The first one becomes the report's `reason`; the summary has them all.
///
/// ```
/// # use pulse_plugin_sdk::{Worries, Status};
/// # use std::time::Duration;
/// let report = Worries::new().slow(Duration::from_millis(25), None).report("it answers");
/// assert_eq!(report.status, Status::Healthy);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Worries(Vec<(&'static str, String)>);

impl Worries {
    /// No worries yet.
    ///
    /// ```
    /// use pulse_plugin_sdk::{Status, Worries};
    ///
    /// assert_eq!(Worries::new().report("up").status, Status::Healthy);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a reason in kebab case, and what it means in words.
    ///
    /// ```
    /// use pulse_plugin_sdk::Worries;
    ///
    /// let report = Worries::new().and("replica-behind", "the replica is behind").report("up");
    /// assert_eq!(report.summary, "up, the replica is behind");
    /// ```
    #[must_use]
    pub fn and(mut self, reason: &'static str, words: impl Into<String>) -> Self {
        self.0.push((reason, words.into()));
        self
    }

    /// Adds a reason, if something is so.
    ///
    /// ```
    /// # use pulse_plugin_sdk::Worries;
    /// let queued = 120;
    /// let worries = Worries::new().when(queued > 100, "queue-long", "more than 100 queued");
    /// assert_eq!(worries.report("up").reason.as_deref(), Some("queue-long"));
    /// ```
    #[must_use]
    pub fn when(self, so: bool, reason: &'static str, words: impl Into<String>) -> Self {
        if so { self.and(reason, words) } else { self }
    }

    /// `certificate-expiring`, when fewer than `days` are left; 0 days switch it off.
    ///
    /// ```
    /// use pulse_plugin_sdk::Worries;
    ///
    /// let report = Worries::new().certificate(Some(3 * 86_400), 14).report("up");
    /// assert_eq!(report.summary, "up, certificate ends in 3 days");
    /// ```
    #[must_use]
    pub fn certificate(self, seconds_left: Option<i64>, days: u32) -> Self {
        let left = match seconds_left {
            Some(left) if days > 0 && left < i64::from(days) * DAY_S => left,
            _ => return self,
        };
        let words = match left {
            ..0 => "certificate has ended".into(),
            0..DAY_S => format!("certificate ends in {} h", left / 3_600),
            _ => format!("certificate ends in {} days", left / DAY_S),
        };
        self.and("certificate-expiring", words)
    }

    /// `slow`, when it took longer than the limit.
    ///
    /// ```
    /// use pulse_plugin_sdk::{Worries, settings::Span};
    /// use std::time::Duration;
    ///
    /// let report = Worries::new().slow(Duration::from_millis(25), Some(Span::from_millis(20))).report("up");
    /// assert_eq!(report.reason.as_deref(), Some("slow"));
    /// ```
    #[must_use]
    pub fn slow(self, took: Duration, limit: Option<Span>) -> Self {
        match limit {
            Some(limit) if took > limit.get() => self.and("slow", format!("slower than {limit}")),
            _ => self,
        }
    }

    /// Healthy without worries, degraded with any.
    ///
    /// ```
    /// use pulse_plugin_sdk::Worries;
    ///
    /// let report = Worries::new().and("a", "one thing").and("b", "and another").report("up");
    /// assert_eq!((report.reason.as_deref(), report.summary.as_str()), (Some("a"), "up, one thing, and another"));
    /// ```
    #[must_use]
    pub fn report(self, summary: impl Into<String>) -> Report {
        let mut summary = summary.into();
        for (_, words) in &self.0 {
            summary.push_str(", ");
            summary.push_str(words);
        }
        match self.0.first() {
            None => Report::healthy(summary),
            Some((reason, _)) => Report::degraded(*reason, summary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    #[test]
    fn without_worries_all_is_well() {
        let worries = Worries::new()
            .certificate(None, 14)
            .certificate(Some(14 * DAY_S), 14)
            .certificate(Some(-1), 0)
            .slow(Duration::from_millis(5), Some(Span::from_millis(5)));
        let report = worries.report("up");
        assert_eq!((report.status, report.summary.as_str()), (Status::Healthy, "up"));
        assert_eq!(report.reason, None);
    }

    #[test]
    fn all_are_said_and_the_first_is_the_reason() {
        let report = Worries::new()
            .certificate(Some(2 * DAY_S - 1), 14)
            .slow(Duration::from_millis(6), Some(Span::from_millis(5)))
            .report("up");
        assert_eq!(report.status, Status::Degraded);
        assert_eq!(report.reason.as_deref(), Some("certificate-expiring"));
        assert_eq!(report.summary, "up, certificate ends in 1 days, slower than 5ms");
    }

    #[test]
    fn the_end_of_a_certificate_in_words() {
        let words = |left| Worries::new().certificate(Some(left), 1).report("").summary;
        assert_eq!(words(-1), ", certificate has ended");
        assert_eq!(words(7_300), ", certificate ends in 2 h");
    }
}
