//! What a pulse's result does to a monitor.

use super::{Effects, Episode, Episodes, Health, Now, Repair};
use crate::domain::{
    board::Mark,
    color::{Color, ColorSet},
    event::Fact,
    outcome::{Report, Status},
    spec::MonitorSpec,
    time::Mono,
};

impl Health {
    /// The target answered, or did not (`unhealthy`). `started` is when the pulse began.
    pub fn on_report(
        &mut self,
        spec: &MonitorSpec,
        report: &Report,
        started: Mono,
        now: Now,
        episodes: &mut Episodes,
        effects: &mut Effects,
    ) {
        self.seen = true;
        self.faults = 0;
        self.purple = false;
        self.unsure = false;
        self.degraded = report.status == Status::Degraded;
        if report.status != Status::Unhealthy {
            self.alive_while_verifying(started);
        }
        match report.status {
            Status::Healthy => self.on_healthy(spec, report, started, now, effects),
            Status::Degraded => {
                self.failures = 0;
                self.successes = 0;
                self.remember(spec, report, now, episodes, effects);
                self.withdraw_wish();
            }
            Status::Unhealthy => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                self.remember(spec, report, now, episodes, effects);
                self.on_failure(spec, started, now, effects);
            }
        }
        self.show(spec, now, effects);
    }

    /// The prober is in trouble: nobody knows how the target is.
    pub fn on_fault(
        &mut self,
        spec: &MonitorSpec,
        message: &str,
        now: Now,
        episodes: &mut Episodes,
        effects: &mut Effects,
    ) {
        self.faults = self.faults.saturating_add(1);
        self.extend_verification(spec, now.mono);
        if u32::from(self.faults) >= spec.policy.fault_threshold && !self.purple && !self.suppressed() {
            self.purple = true;
            let episode = self
                .episode
                .get_or_insert_with(|| Box::new(Episode::open(episodes.allocate(), now)));
            episode.onsets = episode.onsets.saturating_add(1);
            if episode.incident.is_none() && self.failures == 0 {
                // Nothing is known about the target: what there is to say is about the prober.
                episode.summary = message.to_owned();
                episode.reason.clear();
            }
            // Each onset has a cause of its own; keeping them all would let a plugin grow the list for ever.
            let cause = format!("fault-{}", episode.onsets);
            let why = format!("{} faults in a row: {message}", self.faults);
            episode.colors.insert(Color::Purple);
            effects
                .codes
                .push(episode.emission(spec, Color::Purple, &cause, &why));
            let faults = u32::from(self.faults);
            effects.facts.push(Fact::Purple {
                faults,
                message: message.to_owned(),
            });
        }
        self.show(spec, now, effects);
    }

    fn on_healthy(
        &mut self,
        spec: &MonitorSpec,
        report: &Report,
        started: Mono,
        now: Now,
        effects: &mut Effects,
    ) {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        let suppressed = self.suppressed();
        let Some(episode) = self.episode.as_deref_mut() else {
            return;
        };
        match episode.repair {
            // An intervention is under way: what a pulse saw before it ended says nothing about it.
            Repair::Running => {
                self.successes = 0;
                return;
            }
            Repair::Verifying { since, .. } if started < since => {
                self.successes = 0;
                return;
            }
            _ => {}
        }
        let enough = episode.incident.is_none() || u32::from(self.successes) >= spec.policy.success_threshold;
        let told = !episode.colors.is_empty();
        if !enough {
            self.withdraw_wish();
            return;
        }
        if suppressed && told {
            // It is up again, and what fails next fails from the start; but the episode stays open in maintenance,
            // so that green can follow.
            episode.incident = None;
            episode.repair = Repair::None;
            return;
        }
        if let Some(mut episode) = self.episode.take() {
            // What comes next is another trouble, of which nobody has said anything yet.
            self.marks.set(Mark::Acknowledged, false);
            if told {
                // "Was: …" would need the receiver to know what came before; say what is true now.
                episode.summary.clone_from(&report.summary);
                episode.reason.clear();
                episode.emit(spec, Color::Green, "healthy", String::new, effects);
            }
            effects.facts.push(Fact::Closed {
                id: format!("{:x}", episode.number),
                lasted_ms: now.wall.0.saturating_sub(episode.opened_at.0),
            });
        }
    }

    fn remember(
        &mut self,
        spec: &MonitorSpec,
        report: &Report,
        now: Now,
        episodes: &mut Episodes,
        effects: &mut Effects,
    ) {
        let fresh = self.episode.is_none();
        let episode = self
            .episode
            .get_or_insert_with(|| Box::new(Episode::open(episodes.allocate(), now)));
        episode.summary.clone_from(&report.summary);
        episode.reason.clear();
        episode
            .reason
            .push_str(report.reason.as_deref().unwrap_or_default());
        if fresh {
            effects.facts.push(Fact::Opened {
                incident: episode.incident(spec),
            });
        }
    }

    fn on_failure(&mut self, spec: &MonitorSpec, started: Mono, now: Now, effects: &mut Effects) {
        let failures = self.failures;
        let Some(episode) = self.episode.as_deref_mut() else {
            return;
        };
        if episode.incident.is_none() && failures >= spec.policy.failure_threshold {
            episode.incident = Some(now.mono);
            episode.repair = Repair::Ready {
                not_before: now.mono,
                held_since: None,
                confirmed: true,
            };
            effects.facts.push(Fact::Incident {
                incident: episode.incident(spec),
                failures,
            });
        }
        self.failed_while_repairing(spec, started, now, effects);
    }
}

impl Episode {
    fn open(number: u64, now: Now) -> Self {
        Self {
            number,
            opened_at: now.wall,
            summary: String::new(),
            reason: String::new(),
            incident: None,
            emitted: Vec::new(),
            colors: ColorSet::EMPTY,
            onsets: 0,
            attempts: 0,
            retries: 0,
            red: None,
            repair: Repair::None,
        }
    }
}
