//! The codes of one monitor for one sink, first in, first out.
//!
//! Architecture invariant: an undelivered code is never overwritten by the next, and green never overtakes a red
//! that is being sent again. A code leaves the box by being delivered, or as undeliverable with the reason.

use super::{
    backoff::backoff,
    color::Color,
    job::Alert,
    spec::Sink,
    time::{Mono, Now, Wall},
};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// Codes that wait for one sink. Beyond that, reminders are dropped first, and then the newest is refused.
pub const CODES_MAX: usize = 64;

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A receiver's wish to wait is honoured up to that time.
const AFTER_MAX: Duration = Duration::from_secs(600);

/// One sink's box.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Entry>,
    /// The last episode of which this sink was, or may have been, sent anything but green.
    told: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    alert: Arc<Alert>,
    episode: Option<u64>,
    put_at: Mono,
    /// The lane's attempt number of the first try, once there was one.
    first_attempt: Option<u32>,
    tries: u32,
}

/// What is kept of a box over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Memory {
    /// The notifier's name.
    pub sink: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    told: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    codes: Vec<KeptCode>,
}

/// A code that is not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct KeptCode {
    // Kept whole: what is sent after a restart is what was to be sent before, under the same delivery id.
    alert: Arc<Alert>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    episode: Option<u64>,
    put_at: Wall,
    tries: u32,
}

impl Memory {
    /// Whether there is nothing to be remembered.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.codes.is_empty() && self.told.is_none()
    }

    /// How many codes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether no code waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The codes that wait, the next first.
    pub fn into_codes(self) -> impl Iterator<Item = Arc<Alert>> {
        self.codes.into_iter().map(|code| code.alert)
    }
}

/// How a delivery ended, as far as the outbox cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryEnd {
    /// The receiver took it.
    Delivered {
        /// What it said.
        summary: String,
    },
    /// To be sent again. `maybe` says whether the receiver may have got it.
    Retry {
        /// Why.
        message: String,
        /// The receiver's wish.
        after: Option<Duration>,
        /// It may have arrived: cut, lost, trapped after sending.
        maybe: bool,
    },
    /// Never to be sent.
    Permanent(String),
    /// It was not run at all: it waited too long in the queue, or there was no capacity.
    NotRun(String),
}

/// What a delivery's end means for the head of the box.
#[derive(Clone, Debug)]
pub enum Settled {
    /// It is out of the box.
    Delivered(Arc<Alert>),
    /// It stays, to be sent again after that pause.
    Retry(Arc<Alert>, Duration),
    /// It is out of the box, undelivered.
    Undeliverable(Arc<Alert>),
}

impl Outbox {
    /// Puts a code in, if the sink wants it.
    ///
    /// # Errors
    /// The code that was refused, because the box is full.
    pub fn put(
        &mut self,
        sink: &Sink,
        alert: &Arc<Alert>,
        episode: Option<u64>,
        now: Mono,
    ) -> Result<(), Arc<Alert>> {
        if !sink.wants(alert.color) || (alert.reminder && !self.queue.is_empty()) {
            // A reminder behind an undelivered code would remind of what was never said.
            return Ok(());
        }
        if self.queue.len() >= CODES_MAX {
            let Some(reminder) = self.queue.iter().skip(1).position(|entry| entry.alert.reminder) else {
                return Err(Arc::clone(alert));
            };
            self.queue.remove(reminder + 1);
        }
        self.queue.push_back(Entry {
            alert: Arc::clone(alert),
            episode,
            put_at: now,
            first_attempt: None,
            tries: 0,
        });
        Ok(())
    }

    /// What is to be kept of it.
    #[must_use]
    pub fn memory(&self, sink: &Arc<str>, now: Now) -> Memory {
        Memory {
            sink: Arc::clone(sink),
            told: self.told,
            codes: self
                .queue
                .iter()
                .map(|entry| KeptCode {
                    alert: Arc::clone(&entry.alert),
                    episode: entry.episode,
                    put_at: now.to_wall(entry.put_at).unwrap_or(now.wall),
                    tries: entry.tries,
                })
                .collect(),
        }
    }

    /// A box as it was when it was put down. Answers to what was on its way then will not come: it is sent again, under
    /// the same delivery id.
    #[must_use]
    pub fn recalled(memory: Memory, now: Now) -> Self {
        Self {
            told: memory.told,
            queue: memory
                .codes
                .into_iter()
                .map(|code| Entry {
                    alert: code.alert,
                    episode: code.episode,
                    put_at: now.to_mono(code.put_at),
                    first_attempt: None,
                    tries: code.tries,
                })
                .collect(),
        }
    }

    /// How many codes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What waits, the next first, and how often each was handed to a worker.
    pub fn codes(&self) -> impl Iterator<Item = (&Arc<Alert>, u32)> {
        self.queue.iter().map(|entry| (&entry.alert, entry.tries))
    }

    /// Drops every green at the head whose episode this sink never heard of.
    pub fn skip_needless(&mut self) {
        while self.queue.front().is_some_and(|entry| {
            entry.alert.color == Color::Green && entry.tries == 0 && self.told != entry.episode
        }) {
            self.queue.pop_front();
        }
    }

    /// The code to be sent next. Changes nothing.
    #[must_use]
    pub fn head(&self) -> Option<&Arc<Alert>> {
        self.queue.front().map(|entry| &entry.alert)
    }

    /// When the head will be older than the sink allows; [`Mono::NEVER`] if the box is empty.
    #[must_use]
    pub fn head_expires_at(&self, sink: &Sink) -> Mono {
        self.queue
            .front()
            .map_or(Mono::NEVER, |entry| entry.put_at.after(sink.max_age))
    }

    /// The head, if it is older than the sink allows: it leaves the box undelivered.
    pub fn give_up(&mut self, sink: &Sink, now: Mono) -> Option<Arc<Alert>> {
        self.queue
            .pop_front_if(|entry| now.since(entry.put_at) >= sink.max_age)
            .map(|entry| entry.alert)
    }

    /// The head was handed to a worker under that attempt number.
    pub fn sent(&mut self, attempt: u32) {
        if let Some(entry) = self.queue.front_mut() {
            entry.tries = entry.tries.saturating_add(1);
            entry.first_attempt.get_or_insert(attempt);
        }
    }

    /// The head's delivery ended. None if the box is empty, which no delivery of the scheduler's ever meets.
    pub fn settle(&mut self, sink: &Sink, end: &DeliveryEnd, now: Mono) -> Option<Settled> {
        match end {
            DeliveryEnd::Delivered { .. } => self.pop_told().map(Settled::Delivered),
            DeliveryEnd::Permanent(_) => self
                .queue
                .pop_front()
                .map(|entry| Settled::Undeliverable(entry.alert)),
            DeliveryEnd::NotRun(_) => {
                if let Some(alert) = self.give_up(sink, now) {
                    return Some(Settled::Undeliverable(alert));
                }
                let entry = self.queue.front_mut()?;
                // The host's own want of room is no try: who waits for others must not back off as well.
                entry.tries = entry.tries.saturating_sub(1);
                if entry.tries == 0 {
                    entry.first_attempt = None;
                }
                Some(Settled::Retry(Arc::clone(&entry.alert), BACKOFF_FIRST))
            }
            DeliveryEnd::Retry { after, maybe, .. } => {
                if *maybe {
                    self.mark_told();
                }
                if let Some(alert) = self.give_up(sink, now) {
                    return Some(Settled::Undeliverable(alert));
                }
                let entry = self.queue.front()?;
                let pause = backoff(BACKOFF_FIRST, entry.tries, BACKOFF_MAX)
                    .max(after.unwrap_or_default().min(AFTER_MAX));
                Some(Settled::Retry(Arc::clone(&entry.alert), pause))
            }
        }
    }

    /// A receipt came for an attempt that was given up as lost: if it was for the present head, the head is
    /// delivered and is not sent again.
    pub fn late_receipt(&mut self, attempt: u32) -> Option<Arc<Alert>> {
        self.head_was_sent_by(attempt).then(|| self.pop_told()).flatten()
    }

    /// Whether that attempt, or an earlier one, sent the present head.
    #[must_use]
    pub fn head_was_sent_by(&self, attempt: u32) -> bool {
        self.queue
            .front()
            .and_then(|entry| entry.first_attempt)
            // Attempt numbers wrap around: the nearer way decides which of two is the later.
            .is_some_and(|first| attempt.wrapping_sub(first) <= u32::MAX / 2)
    }

    /// Empties the box; returns what was in it.
    pub fn empty(&mut self) -> Vec<Arc<Alert>> {
        self.queue.drain(..).map(|entry| entry.alert).collect()
    }

    /// Answers to the attempts so far are not recognised any more: what they would prove is sent again instead.
    pub fn forget_attempts(&mut self) {
        for entry in &mut self.queue {
            entry.first_attempt = None;
        }
    }

    /// Whether anybody tried to deliver the head.
    #[must_use]
    pub fn head_was_tried(&self) -> bool {
        self.queue.front().is_some_and(|entry| entry.tries > 0)
    }

    /// Empties the box of what was never tried; returns how many codes that were.
    pub fn withdraw_untried(&mut self) -> usize {
        let before = self.queue.len();
        self.queue.retain(|entry| entry.tries > 0);
        before - self.queue.len()
    }

    fn pop_told(&mut self) -> Option<Arc<Alert>> {
        self.mark_told();
        self.queue.pop_front().map(|entry| entry.alert)
    }

    fn mark_told(&mut self) {
        if let Some(entry) = self.queue.front()
            && !matches!(entry.alert.color, Color::Green | Color::Gray)
        {
            self.told = entry.episode;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        color::ColorSet,
        grant::Grants,
        limits::Limits,
        spec::{Lane, Profile},
    };

    fn sink() -> Sink {
        Sink {
            name: "s".into(),
            lane: Lane {
                profile: Arc::new(Profile {
                    plugin: "p".into(),
                    digest: "1".into(),
                    limits: Limits::default(),
                    grants: Arc::new(Grants::default()),
                    reuse: 0,
                }),
                settings: "{}".into(),
                timeout: Duration::from_secs(1),
            },
            colors: Color::ALL.into_iter().collect::<ColorSet>(),
            max_age: Duration::from_secs(3600),
        }
    }

    fn alert(color: Color, reminder: bool) -> Arc<Alert> {
        Arc::new(Alert {
            color,
            title: String::new(),
            body: String::new(),
            happened_at: crate::domain::time::Wall(0),
            reminder,
            incident: None,
            incident_key: String::new(),
            cause_id: color.to_string(),
        })
    }

    #[test]
    fn what_was_not_run_is_no_try_and_does_not_back_off() {
        let (sink, mut outbox) = (sink(), Outbox::default());
        outbox
            .put(&sink, &alert(Color::Red, false), Some(1), Mono(0))
            .unwrap();
        let mut pauses = Vec::new();
        for attempt in 1..=5 {
            outbox.sent(attempt);
            match outbox.settle(&sink, &DeliveryEnd::NotRun("expired".to_owned()), Mono(0)) {
                Some(Settled::Retry(_, pause)) => pauses.push(pause.as_secs()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pauses, [1; 5]);
        assert!(outbox.late_receipt(5).is_none(), "nothing was ever sent");
    }

    fn delivered() -> DeliveryEnd {
        DeliveryEnd::Delivered {
            summary: String::new(),
        }
    }

    fn retry(maybe: bool) -> DeliveryEnd {
        DeliveryEnd::Retry {
            message: String::new(),
            after: None,
            maybe,
        }
    }

    #[test]
    fn green_is_only_for_who_was_told_of_that_episode() {
        let (sink, mut outbox) = (sink(), Outbox::default());
        outbox
            .put(&sink, &alert(Color::Red, false), Some(1), Mono(0))
            .unwrap();
        outbox
            .put(&sink, &alert(Color::Green, false), Some(1), Mono(0))
            .unwrap();
        outbox.sent(1);
        outbox.settle(&sink, &DeliveryEnd::Permanent(String::new()), Mono(0));
        outbox.skip_needless();
        assert!(outbox.is_empty(), "it never heard of the red");
        outbox
            .put(&sink, &alert(Color::Red, false), Some(2), Mono(0))
            .unwrap();
        outbox
            .put(&sink, &alert(Color::Green, false), Some(2), Mono(0))
            .unwrap();
        outbox.sent(2);
        outbox.settle(&sink, &delivered(), Mono(0));
        outbox.skip_needless();
        assert_eq!(outbox.head().unwrap().color, Color::Green);
    }

    #[test]
    fn what_may_have_arrived_counts_as_told() {
        let (mut sink, mut outbox) = (sink(), Outbox::default());
        sink.max_age = Duration::ZERO;
        outbox
            .put(&sink, &alert(Color::Red, false), Some(1), Mono(0))
            .unwrap();
        outbox
            .put(&sink, &alert(Color::Green, false), Some(1), Mono(0))
            .unwrap();
        outbox.sent(1);
        assert!(matches!(
            outbox.settle(&sink, &retry(true), Mono(1)),
            Some(Settled::Undeliverable(_))
        ));
        outbox.skip_needless();
        assert_eq!(outbox.head().unwrap().color, Color::Green);
    }

    #[test]
    fn a_full_box_drops_reminders_before_it_refuses_and_never_the_head() {
        let (sink, mut outbox) = (sink(), Outbox::default());
        outbox
            .put(&sink, &alert(Color::Red, true), Some(1), Mono(0))
            .unwrap();
        assert_eq!(outbox.len(), 1, "a reminder alone is fine");
        outbox
            .put(&sink, &alert(Color::Red, true), Some(1), Mono(0))
            .unwrap();
        assert_eq!(outbox.len(), 1, "a second behind it says nothing new");
        for _ in 1..CODES_MAX {
            outbox
                .put(&sink, &alert(Color::Yellow, false), Some(1), Mono(0))
                .unwrap();
        }
        assert!(
            outbox
                .put(&sink, &alert(Color::Green, false), Some(1), Mono(0))
                .is_err()
        );
        assert!(outbox.head().unwrap().reminder);
    }

    #[test]
    fn retries_back_off_and_honour_the_receiver_within_bounds() {
        let (sink, mut outbox) = (sink(), Outbox::default());
        outbox
            .put(&sink, &alert(Color::Red, false), Some(1), Mono(0))
            .unwrap();
        let mut pauses = Vec::new();
        for attempt in 1..=3 {
            outbox.sent(attempt);
            if let Some(Settled::Retry(_, pause)) = outbox.settle(&sink, &retry(false), Mono(0)) {
                pauses.push(pause.as_secs());
            }
        }
        assert_eq!(pauses, [1, 2, 4]);
        let greedy = DeliveryEnd::Retry {
            message: String::new(),
            after: Some(Duration::from_secs(1_000_000)),
            maybe: false,
        };
        assert!(
            matches!(outbox.settle(&sink, &greedy, Mono(0)), Some(Settled::Retry(_, pause)) if pause == AFTER_MAX)
        );
    }

    #[test]
    fn a_late_receipt_is_for_the_head_only_if_the_head_was_sent_by_then() {
        let (sink, mut outbox) = (sink(), Outbox::default());
        outbox
            .put(&sink, &alert(Color::Yellow, false), Some(1), Mono(0))
            .unwrap();
        outbox
            .put(&sink, &alert(Color::Red, false), Some(1), Mono(0))
            .unwrap();
        outbox.sent(5);
        outbox.sent(7);
        assert!(outbox.late_receipt(4).is_none());
        assert_eq!(outbox.late_receipt(5).unwrap().color, Color::Yellow);
        assert!(outbox.late_receipt(7).is_none(), "red was never sent");
    }

    #[test]
    fn attempt_numbers_that_wrap_around_are_still_in_order() {
        let (sink, mut outbox) = (sink(), Outbox::default());
        for color in [Color::Yellow, Color::Red] {
            outbox.put(&sink, &alert(color, false), Some(1), Mono(0)).unwrap();
        }
        outbox.sent(u32::MAX);
        outbox.sent(1);
        assert_eq!(outbox.late_receipt(1).unwrap().color, Color::Yellow);
        outbox.sent(3);
        assert!(outbox.late_receipt(u32::MAX).is_none(), "that was for yellow");
    }
}
