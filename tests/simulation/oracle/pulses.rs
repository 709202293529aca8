//! When pulses come: first checks spread, none too soon, none forgotten, retries within the host's budget, and no
//! burst after a stall.

use super::{
    lanes::Track,
    ledger::{Ledger, Verdict},
    rules::Rule,
    tick::{Tick, ceil_ms},
};
use pulse_host::{
    domain::{host::RetryBudget, spec::Policy, time::Mono},
    scheduler::{components::Phase, view::LaneView},
};
use std::time::Duration;

/// Runs are never closer together.
const RUN_GAP: Duration = Duration::from_millis(1);

/// How soon the next pulse should come, after one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// In the monitor's interval.
    Regular,
    /// It fails: in its retry interval.
    Failing,
    /// The prober is in trouble: not sooner than the retry interval, not later than the interval.
    Faulty,
    /// Its component is in quarantine, nothing was run: in the monitor's interval, and no regular pulse for the budget.
    Held,
}

/// The grid of a monitor's interval.
#[derive(Clone, Debug)]
pub struct Grid {
    first: Mono,
    interval: Duration,
    retry: Duration,
}

impl Grid {
    pub fn new(ledger: &mut Ledger, who: &str, now: Mono, policy: &Policy, lane: LaneView) -> Verdict<Self> {
        let within = lane.at >= now && lane.at <= now.after(policy.interval);
        ledger.check(
            Rule::FirstChecksSpread,
            who,
            lane.phase == Phase::Waiting && within,
            || format!("the first check is at {lane:?}, and it is {now:?}"),
        )?;
        Ok(Self {
            first: lane.at,
            interval: policy.interval,
            retry: policy.retry_interval,
        })
    }

    /// When the first check is, as a fraction of the interval.
    pub fn phase(&self, start: Mono) -> f64 {
        self.first.since(start).as_secs_f64() / self.interval.as_secs_f64()
    }

    fn has(&self, at: Mono) -> bool {
        at.0.abs_diff(self.first.0)
            .is_multiple_of(u64::try_from(self.interval.as_nanos()).unwrap())
    }

    /// What became of the lane in a run in which no pulse of it ended. `looks`: an intervention is being verified,
    /// which may ask for a pulse out of turn.
    pub fn idle(
        &self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        track: &Track,
        lane: LaneView,
        looks: bool,
    ) -> Verdict {
        let (who, now, at) = (&*track.who, tick.now, track.at);
        if track.phase == Phase::Needed {
            let stays = match lane.phase {
                Phase::Needed => lane.at == at,
                Phase::Pending => true,
                Phase::Waiting | Phase::Paused => false,
            };
            return ledger.check(Rule::ChecksGoOn, who, stays, || {
                format!("it was needed, now {lane:?}, and nobody ran it")
            });
        }
        // What was not run is checked as soon as its component is tried, or well again.
        let called = track.withheld && lane.phase == Phase::Waiting && lane.at >= now && lane.at <= at;
        let asked = called || looks && lane.phase == Phase::Waiting && lane.at == now;
        if ceil_ms(at) > now {
            return ledger.check(
                Rule::NotTooSoon,
                who,
                asked || (lane.phase == Phase::Waiting && lane.at == at),
                || format!("it is {now:?}, the pulse should wait until {at:?}, and is {lane:?}"),
            );
        }
        if tick.draining {
            return Ok(());
        }
        if tick.stalled.is_zero() {
            return ledger.check(Rule::FallsDue, who, asked || lane.phase != Phase::Waiting, || {
                format!("it is {now:?}, the pulse was due at {at:?}, and is {lane:?}")
            });
        }
        // One that is asked for in this very run is spread with the others.
        let spread = lane.phase == Phase::Waiting
            && (lane.at == at.after(tick.stalled).max(now.after(RUN_GAP))
                || (lane.at > now && self.has(lane.at))
                || (looks && lane.at == now.after(tick.stalled)))
            && lane.at <= now.after(self.interval);
        ledger.check(Rule::StallMakesNoBurst, who, asked || spread, || {
            format!(
                "fell due at {at:?} in a stall of {:?} that ended at {now:?}, and is {lane:?}",
                tick.stalled
            )
        })
    }

    /// When the next pulse comes, after one has ended in this run.
    pub fn ended(
        &self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        who: &str,
        lane: LaneView,
        pace: Pace,
        looks: bool,
        budget: &mut Retries,
    ) -> Verdict {
        let (now, at) = (tick.now, lane.at);
        let asked = looks && at == now;
        let most = now.after(self.interval.max(self.retry));
        ledger.check(
            Rule::ChecksGoOn,
            who,
            lane.phase == Phase::Waiting && at <= most && (at > now || asked),
            || format!("after a pulse that ended at {now:?} it is {lane:?}; the next is due by {most:?}"),
        )?;
        if asked {
            // Nobody outside can say whether a token was taken before it was asked for at once.
            match pace {
                Pace::Regular => budget.regular(),
                Pace::Failing | Pace::Faulty => budget.low -= 1.0,
                Pace::Held => {}
            }
            return Ok(());
        }
        let retry = now.after(self.retry);
        match pace {
            Pace::Regular => {
                budget.regular();
                ledger.check(Rule::NotTooSoon, who, self.has(at), || {
                    format!("the next pulse of a monitor that does not fail is at {at:?}, off its grid")
                })
            }
            Pace::Failing if self.retry > self.interval => {
                ledger.check(Rule::RetryInterval, who, at == retry, || {
                    format!("fewer checks are wanted while it fails: {retry:?}, not {at:?}")
                })
            }
            Pace::Failing if at == retry && self.retry < self.interval => {
                budget.take();
                Ok(())
            }
            Pace::Failing => {
                ledger.check(Rule::RetryInterval, who, self.has(at), || {
                    format!("neither the retry interval ({retry:?}) nor a slot: {at:?}")
                })?;
                if self.retry < self.interval {
                    ledger.see("retry put off");
                    budget.put_off = true;
                }
                Ok(())
            }
            Pace::Held => ledger.check(Rule::ChecksGoOn, who, self.has(at), || {
                format!("it was not run, and the next is at {at:?}, off its grid")
            }),
            Pace::Faulty if self.has(at) => Ok(()),
            Pace::Faulty => {
                let soonest = now.after(self.retry.min(self.interval));
                ledger.check(Rule::NotTooSoon, who, at >= soonest, || {
                    format!("after a fault it is tried again at {at:?}, before {soonest:?}")
                })?;
                if at < now.after(self.interval) {
                    budget.take();
                }
                Ok(())
            }
        }
    }
}

/// The host's budget for retries, from both sides: what surely was in it, and what may have been.
///
/// A regular pulse adds `ratio`, a second adds `min-per-second`, and it holds ten seconds and ten more.
#[derive(Clone, Debug)]
pub struct Retries {
    settings: RetryBudget,
    most: f64,
    /// At least so much is there.
    low: f64,
    /// At most so much, what this run brings included.
    high: f64,
    gain: f64,
    regular: u32,
    filled_at: Mono,
    /// A retry was put off in this run.
    put_off: bool,
    pub taken: u64,
}

impl Retries {
    pub fn new(settings: RetryBudget, now: Mono) -> Self {
        let most = 10.0 * settings.min_per_second + 10.0;
        Self {
            settings,
            most,
            low: most,
            high: most,
            gain: 0.0,
            regular: 0,
            filled_at: now,
            put_off: false,
            taken: 0,
        }
    }

    /// A run begins, in which at most that many pulses end.
    pub fn open(&mut self, now: Mono, ends: usize) {
        self.gain = now.since(self.filled_at).as_secs_f64() * self.settings.min_per_second;
        self.filled_at = now;
        (self.regular, self.put_off) = (0, false);
        // What did not come as a regular pulse is taken off again at the end.
        self.high += self.gain + ends as f64 * self.settings.ratio;
    }

    fn regular(&mut self) {
        self.regular += 1;
    }

    fn take(&mut self) {
        self.taken += 1;
        self.low -= 1.0;
        self.high -= 1.0;
    }

    /// The run is over.
    pub fn close(&mut self, ledger: &mut Ledger, ends: usize) -> Verdict {
        let (low, high) = (self.low, self.high);
        ledger.check(Rule::RetryBudget, "host", high >= -1e-6, || {
            format!("a retry without a token for it: {high}")
        })?;
        ledger.check(
            Rule::RetryInterval,
            "host",
            !self.put_off || low < 1.0 + 1e-6,
            || format!("there are {low} tokens for retries, and one is put off to its interval"),
        )?;
        let regular = f64::from(self.regular) * self.settings.ratio;
        let most = self.most.max(regular);
        self.high -= (ends as f64) * self.settings.ratio - regular;
        self.high = self.high.min(most);
        self.low = (self.low + self.gain + regular).min(self.most);
        Ok(())
    }
}
