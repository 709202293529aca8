//! The last observations of a world, in readable form. Kept only where a seed is lived again: writing them down costs
//! more than the run itself.

use crate::oracle::tick::Tick;
use pulse_host::domain::{
    job::{Job, JobKey, MonitorId, Payload},
    spec::Kind,
    time::Mono,
};
use pulse_host::scheduler::reload::Reloaded;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

const LINES: usize = 400;

/// What was seen last.
pub struct Record {
    on: bool,
    lines: VecDeque<(Option<MonitorId>, String)>,
    names: HashMap<MonitorId, Arc<str>>,
}

impl Record {
    pub fn new(on: bool) -> Self {
        Self {
            on,
            lines: VecDeque::new(),
            names: HashMap::new(),
        }
    }

    fn line(&mut self, monitor: Option<MonitorId>, line: impl FnOnce() -> String) {
        if !self.on {
            return;
        }
        if self.lines.len() >= LINES {
            self.lines.pop_front();
        }
        self.lines.push_back((monitor, line()));
    }

    fn name(&self, key: JobKey) -> String {
        let name = self
            .names
            .get(&key.monitor)
            .map_or_else(|| format!("{:?}", key.monitor), ToString::to_string);
        format!("{name} {} {} attempt {}", key.kind, key.sink, key.attempt)
    }

    pub fn run(&mut self, tick: &Tick<'_>) {
        if !self.on {
            return;
        }
        let at = seconds(tick.now);
        if !tick.stalled.is_zero() {
            self.line(None, || format!("{at} after a stall of {:?}", tick.stalled));
        }
        for (_, result) in tick.results {
            let name = self.name(result.key);
            let (started, finished) = (seconds(result.started), seconds(result.finished));
            self.line(Some(result.key.monitor), || {
                format!(
                    "{at} result  {name}: {} ({}), {started} to {finished}",
                    result.outcome.class(),
                    result.outcome
                )
            });
        }
        for event in tick.events {
            self.names.insert(event.monitor, event.spec.name().into());
            self.line(Some(event.monitor), || {
                format!("{at} fact    {}: {}", event.spec.name(), short(&event.fact))
            });
        }
    }

    pub fn taken(&mut self, now: Mono, kind: Kind, batch: &[Job]) {
        if !self.on {
            return;
        }
        for job in batch {
            self.names.insert(job.key.monitor, job.spec.name().into());
            let name = self.name(job.key);
            let what = match &job.payload {
                Payload::Pulse => String::new(),
                Payload::Intervention(order) => order.idempotency_key.clone(),
                Payload::Code(alert) => alert.cause_id.clone(),
            };
            self.line(Some(job.key.monitor), || {
                format!(
                    "{} taken   {name} {what}, due {}, in a batch of {} {kind}",
                    seconds(now),
                    seconds(job.due),
                    batch.len()
                )
            });
        }
    }

    pub fn reload(&mut self, now: Mono, told: &Reloaded) {
        self.line(None, || format!("{} {told:?}", seconds(now)));
    }

    /// The last of them that concern whom the finding is about, or everybody.
    pub fn last(&self, who: &str, count: usize) -> Vec<&str> {
        let name = who.split([',', ' ']).next().unwrap_or_default();
        let known = self.names.iter().find(|(_, known)| known.as_ref() == name);
        let lines: Vec<&str> = self
            .lines
            .iter()
            .filter(|(monitor, _)| match (monitor, known) {
                (Some(of), Some((id, _))) => of == id,
                _ => true,
            })
            .map(|(_, line)| line.as_str())
            .collect();
        lines[lines.len().saturating_sub(count)..].to_vec()
    }
}

fn seconds(at: Mono) -> String {
    format!("{:.6}", at.0 as f64 / 1e9)
}

fn short(fact: &pulse_host::domain::event::Fact) -> String {
    let mut text = format!("{fact:?}");
    if text.len() > 200 {
        text.truncate(text.floor_char_boundary(200));
        text.push('…');
    }
    text
}
