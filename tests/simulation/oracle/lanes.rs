//! Lanes: one phase at a time, one attempt at a time, nothing before its time and nothing for ever.

use super::{
    ledger::{Ledger, Verdict},
    model::Turn,
    rules::Rule,
    sick::Key,
    tick::{Tick, ceil_ms},
};
use pulse_host::{
    domain::{job::JobResult, spec::Kind, time::Mono},
    scheduler::{components::Phase, view::LaneView},
};
use std::{sync::Arc, time::Duration};

/// A lane as the oracle knows it: what it showed after the last run.
#[derive(Clone, Debug)]
pub struct Track {
    pub kind: Kind,
    /// Whose jobs wait in one queue with its: of a plugin, or of a notifier, of a tenant.
    pub user: Arc<str>,
    /// The tenant and the component that its jobs run.
    pub key: Key,
    /// Its component is, or may be, in quarantine.
    pub shut: bool,
    /// A job was not run because of that, and none has been since.
    pub withheld: bool,
    pub who: Arc<str>,
    pub timeout: Duration,
    pub phase: Phase,
    pub at: Mono,
    pub attempt: u32,
    /// The attempt that was sent last.
    sent: u32,
    /// In which run it was first seen needed.
    pub needed_at: Mono,
    /// When what is pending was sent.
    pub sent_at: Mono,
    /// When what is pending had fallen due.
    pub due: Mono,
    /// When it must have come back, as far as the settings say.
    pub deadline: Mono,
    /// Time in which the whole host stood still since then.
    stalled: Duration,
}

/// How the pending attempt ended in this run.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// It did not, or nothing was pending.
    None,
    /// Its result came.
    Result(&'a JobResult),
    /// It was given up.
    Lost,
    /// A late receipt for an earlier attempt made it needless.
    Superseded,
}

impl Track {
    pub fn new(kind: Kind, (key, user): (Key, &str), who: &str, timeout: Duration, lane: LaneView) -> Self {
        Self {
            kind,
            user: format!("{}/{user}", key.0).into(),
            key,
            shut: false,
            withheld: false,
            who: who.into(),
            timeout,
            phase: lane.phase,
            at: lane.at,
            attempt: lane.attempt.unwrap_or_default(),
            sent: lane.attempt.unwrap_or_default(),
            needed_at: Mono(0),
            sent_at: Mono(0),
            due: Mono(0),
            deadline: Mono(0),
            stalled: Duration::ZERO,
        }
    }

    /// Its place among those who wait for room.
    pub fn turn(&self) -> Turn {
        Turn {
            kind: self.kind,
            user: Arc::clone(&self.user),
            key: self.key.clone(),
            who: Arc::clone(&self.who),
            since: self.needed_at,
        }
    }

    /// Whether it stands as it stood.
    pub fn is_as(&self, lane: LaneView) -> bool {
        (self.phase, self.at, self.attempt) == (lane.phase, lane.at, lane.attempt.unwrap_or(self.attempt))
    }

    /// A reload gave it another check: nothing of it is out any more.
    pub fn change(&mut self, timeout: Duration, lane: LaneView) {
        self.timeout = timeout;
        self.withheld = false;
        let attempt = lane.attempt.unwrap_or(self.attempt);
        (self.phase, self.at, self.attempt) = (lane.phase, lane.at, attempt);
    }

    /// Whether it stands as it stood, and there was no reason for anything else.
    pub fn rests(&self, now: Mono, lane: LaneView) -> bool {
        let due = match self.phase {
            Phase::Waiting | Phase::Pending => self.at <= now,
            // Nobody pauses anything in these worlds.
            Phase::Needed | Phase::Paused => false,
        };
        !due && self.is_as(lane)
    }

    /// Whether a result is the one that is waited for.
    pub fn awaits(&self, attempt: u32) -> bool {
        self.phase == Phase::Pending && self.attempt == attempt
    }

    /// What must be true of an attempt that is pending, whose result did not come in this run.
    pub fn overdue(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        lane: LaneView,
        lost: bool,
    ) -> Verdict<bool> {
        if tick.stalled > Duration::ZERO {
            self.stalled += tick.gap;
        }
        let (now, who) = (tick.now, &*self.who);
        if lost {
            ledger.check(Rule::NotLostEarly, who, now >= self.deadline, || {
                format!("given up at {now:?}, before its deadline {:?}", self.deadline)
            })?;
            ledger.check(Rule::StallGivesTimeBack, who, tick.stalled.is_zero(), || {
                "given up in the run after a stall: its worker stood still too".to_owned()
            })?;
            ledger.check(
                Rule::AttemptRises,
                who,
                lane.attempt != Some(self.attempt),
                || "given up, but its result would not be stale".to_owned(),
            )?;
            return Ok(true);
        }
        ledger.check(
            Rule::OneAttempt,
            who,
            lane.phase != Phase::Pending || lane.attempt == Some(self.attempt),
            || {
                format!(
                    "attempt {:?} was sent while {} is out",
                    lane.attempt, self.attempt
                )
            },
        )?;
        ledger.check(
            Rule::DeadlinesNest,
            who,
            lane.phase != Phase::Pending || lane.at == self.at || !tick.stalled.is_zero(),
            || format!("its deadline was {:?} and is {:?}", self.at, lane.at),
        )?;
        ledger.check(
            Rule::StaleChangesNothing,
            who,
            lane.phase == Phase::Pending && lane.attempt == Some(self.attempt),
            || {
                format!(
                    "attempt {} was pending and has no result; now {lane:?}",
                    self.attempt
                )
            },
        )?;
        let last = ceil_ms(self.deadline.after(self.stalled));
        ledger.check(
            Rule::LostInTime,
            who,
            now < last || !tick.stalled.is_zero(),
            || {
                format!(
                    "pending since {:?}, should have been given up at {last:?}",
                    self.sent_at
                )
            },
        )?;
        Ok(false)
    }

    /// The phase after the run, given that nothing is pending any more from before; true if a job was sent.
    pub fn follow(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        lane: LaneView,
        ended: bool,
    ) -> Verdict<bool> {
        let who = Arc::clone(&self.who);
        // A lane that is not in use has forgotten its attempts.
        let attempt = lane.attempt.unwrap_or(self.attempt);
        let later = attempt.wrapping_sub(self.sent);
        let pended = lane.phase == Phase::Pending;
        let was_pending = self.phase == Phase::Pending && !ended;
        if was_pending {
            self.keep(tick, ledger, lane)?;
            return Ok(false);
        }
        ledger.check(Rule::AttemptRises, &who, later <= u32::MAX / 2, || {
            format!("attempt {attempt} after {}", self.sent)
        })?;
        if pended {
            self.withheld = false;
            ledger.check(Rule::AttemptRises, &who, later >= 1, || {
                format!("attempt {attempt} was sent twice")
            })?;
            let deadline = tick.now.after(tick.queue_wait + self.timeout + tick.grace);
            ledger.check(Rule::DeadlinesNest, &who, lane.at == deadline, || {
                format!("recovery deadline {:?} in place of {deadline:?}", lane.at)
            })?;
            ledger.check(
                Rule::NothingWhileDraining,
                &who,
                !tick.draining || self.kind == Kind::Code,
                || "sent while draining".to_owned(),
            )?;
            // What fell due in this very run was never seen needed.
            self.due = if ended { tick.now } else { self.at };
            self.needed_at = if self.phase == Phase::Needed && !ended {
                self.needed_at
            } else {
                tick.now
            };
            (self.sent, self.sent_at) = (attempt, tick.now);
            self.deadline = deadline;
            self.stalled = Duration::ZERO;
        }
        self.keep(tick, ledger, lane)?;
        Ok(pended)
    }

    fn keep(&mut self, tick: &Tick<'_>, ledger: &mut Ledger, lane: LaneView) -> Verdict {
        ledger.check(
            Rule::PhaseHasCause,
            &self.who,
            lane.phase == Phase::Waiting || lane.at < Mono::NEVER,
            || format!("{lane:?}: needed or pending for ever"),
        )?;
        if lane.phase == Phase::Needed && (self.phase, self.at) != (Phase::Needed, lane.at) {
            self.needed_at = tick.now;
        }
        (self.phase, self.at, self.attempt) = (lane.phase, lane.at, lane.attempt.unwrap_or(self.attempt));
        Ok(())
    }
}
