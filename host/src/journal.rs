//! Turns what the scheduler publishes into log lines for people.
//!
//! Lines are limited: a burst of 200, then 50 a second; what is left out is counted and said. An outage of a
//! million monitors must not become an outage of the log.

use crate::{
    clock::Clock,
    domain::{
        event::{Event, Fact},
        health::{InterventionEnd, State},
        host::PerKind,
        host_news,
        spec::{Kind, MonitorSpec},
        tenant::{DEFAULT, Roster, Tenant, Used},
        time::Mono,
    },
    scheduler::stats::{Snapshot, Stats},
};
use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

const BURST: f64 = 200.0;
const PER_SECOND: f64 = 50.0;
/// How often one line sums up.
pub const SUMMARY_EVERY: Duration = Duration::from_secs(10);

/// Tenants that a summary tells of: those that used most of the workers' time.
const TENANTS_SHOWN_MAX: usize = 20;

/// Logs events until their channel closes. `hear` is told of each before that, whether there is room for its line or not.
pub async fn keep(
    events: async_channel::Receiver<Event>,
    stats: Stats,
    clock: Clock,
    tenants: Roster,
    mut hear: impl FnMut(&Event),
) {
    let mut used = HashMap::new();
    note_tenants(&tenants.all(), &mut used);
    let mut limiter = Limiter::new(clock.mono());
    let mut last = Snapshot::default();
    let mut summary = tokio::time::interval(SUMMARY_EVERY);
    summary.tick().await;
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(event) => {
                    hear(&event);
                    if limiter.may_write(clock.mono()) {
                        write(&event);
                    }
                }
                Err(_) => return,
            },
            _ = summary.tick() => {
                let snapshot = stats.snapshot();
                sum_up(&last, &snapshot);
                last = snapshot;
                sum_up_tenants(&tenants.all(), &mut used);
            }
        }
    }
}

struct Limiter {
    tokens: f64,
    filled_at: Mono,
    left_out: u64,
}

impl Limiter {
    fn new(now: Mono) -> Self {
        Self {
            tokens: BURST,
            filled_at: now,
            left_out: 0,
        }
    }

    fn may_write(&mut self, now: Mono) -> bool {
        let gain = now.since(self.filled_at).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + gain).min(BURST);
        self.filled_at = now;
        if self.tokens < 1.0 {
            self.left_out += 1;
            return false;
        }
        self.tokens -= 1.0;
        if self.left_out > 0 {
            let count = std::mem::take(&mut self.left_out);
            tracing::warn!(
                "left out: {} about monitors, too many at once",
                counted(count, "line")
            );
        }
        true
    }
}

/// One line for one fact.
fn write(event: &Event) {
    let name = shown(&event.spec);
    match &event.fact {
        Fact::State { from, to, summary } => match (from, to) {
            (State::Unknown, State::Up) => tracing::info!("{name} is up: {summary}"),
            // Closed says it, and how long it lasted.
            (_, State::Up) => {}
            (_, State::Degraded) => tracing::warn!("{name} is failing or degraded: {summary}"),
            (_, State::Unreachable) => tracing::info!("{name} can't be reached: what it depends on fails"),
            (_, State::Unknown) => tracing::warn!("{name} is unknown: {summary}"),
            _ => tracing::debug!("{name}: {} after {}: {summary}", to.name(), from.name()),
        },
        Fact::Fault { class, message } => tracing::debug!("{name} could not be checked ({class}): {message}"),
        Fact::Withheld { .. } => tracing::debug!("{name} was not checked: its plugin is quarantined"),
        Fact::Opened { incident } => tracing::debug!("{name}: episode {} begins", incident.id),
        Fact::Incident { incident, failures } => {
            let times = if *failures == 1 {
                "failure"
            } else {
                "failures in a row"
            };
            tracing::warn!("{name} is down after {failures} {times}: {}", incident.summary);
        }
        Fact::Closed { lasted_ms, .. } => {
            tracing::info!("{name} is up again after {:?}", Duration::from_millis(*lasted_ms));
        }
        Fact::Intervening { number, of, plugin } => {
            tracing::info!("{name}: intervention {number} of {of} starts ({plugin})");
        }
        Fact::Intervention { number, of, end } => {
            let what = format!("{name}: intervention {number} of {of}");
            match end {
                InterventionEnd::Done { summary } => tracing::info!("{what} was done, verifying: {summary}"),
                InterventionEnd::Retryable(why) => {
                    tracing::warn!("{what} failed, will be tried again: {why}")
                }
                InterventionEnd::Permanent(why) => tracing::warn!("{what} failed for good: {why}"),
                InterventionEnd::Unknown(why) => {
                    tracing::warn!("{what} ended, nobody knows how; pulses will tell: {why}");
                }
                InterventionEnd::NotRun(why) => tracing::warn!("{what} could not be started: {why}"),
            }
        }
        Fact::Held { why } => tracing::warn!("{name}: intervention held back, {why}"),
        Fact::Exhausted(why) => tracing::warn!("{name}: no repair is left: {why}"),
        Fact::Purple { faults, message } => {
            tracing::error!("{name} can't be checked, {faults} faults in a row: {message}");
        }
        Fact::Delivered { sink, alert, summary } => {
            tracing::info!(
                "{name}: {} was sent to {sink}: {} ({summary})",
                alert.color,
                alert.title
            );
        }
        Fact::Retrying {
            sink,
            alert,
            message,
            in_ms,
        } => tracing::warn!(
            "{name}: {} was not taken by {sink}, again in {:?}: {message}",
            alert.color,
            Duration::from_millis(*in_ms)
        ),
        Fact::Undeliverable { sink, alert, message } => tracing::error!(
            "{name}: {} can't be delivered to {sink} and is given up: {message}",
            alert.color
        ),
        Fact::Marked { mark, on, why } => {
            tracing::info!("{name}: {}", host_news::marked(*mark, *on, why));
        }
        Fact::Lost { kind } => {
            tracing::warn!("{name}: {} was lost, its worker never answered", one(*kind));
        }
        Fact::Quarantined { .. }
        | Fact::Readmitted { .. }
        | Fact::RepairsPaused { .. }
        | Fact::RepairsResume { .. }
        | Fact::Unrecorded { .. }
        | Fact::RecordedAgain { .. } => {
            if let Some((title, body)) = host_news::of(&event.fact) {
                tracing::warn!("{title}: {}", body.replace('\n', "; "));
            }
        }
        Fact::Late { kind, class } => {
            tracing::debug!("{name}: {} that was given up came back ({class})", one(*kind));
        }
    }
}

/// `shop`; another tenant's `acme/shop`, since everybody may have a shop.
#[must_use]
pub fn shown(spec: &MonitorSpec) -> Cow<'_, str> {
    let tenant = &*spec.tenant.name;
    if tenant == DEFAULT {
        Cow::Borrowed(spec.name())
    } else {
        Cow::Owned(format!("{tenant}/{}", spec.name()))
    }
}

/// One line for each tenant that has done something in the last ten seconds, if there are any but the operator.
fn sum_up_tenants(tenants: &[Arc<Tenant>], before: &mut HashMap<Arc<str>, Used>) {
    let last = std::mem::take(before);
    note_tenants(tenants, before);
    let mut busy: Vec<(&Arc<Tenant>, Used)> = tenants
        .iter()
        .filter_map(|tenant| {
            let last = last.get(&tenant.name).copied().unwrap_or_default();
            Some((tenant, since(&last, before.get(&tenant.name)?)))
        })
        .filter(|(_, used)| used.jobs > 0 || used.denials > 0)
        .collect();
    if tenants.len() < 2 {
        return;
    }
    busy.sort_by_key(|(_, used)| std::cmp::Reverse((used.cpu, used.jobs)));
    for (tenant, used) in busy.iter().take(TENANTS_SHOWN_MAX) {
        tracing::info!(
            "tenant {tenant} in the last {} s: {}",
            SUMMARY_EVERY.as_secs(),
            said(used)
        );
    }
    if busy.len() > TENANTS_SHOWN_MAX {
        tracing::info!("and {} more tenants", busy.len() - TENANTS_SHOWN_MAX);
    }
}

/// What each has used so far.
fn note_tenants(tenants: &[Arc<Tenant>], used: &mut HashMap<Arc<str>, Used>) {
    used.extend(
        tenants
            .iter()
            .map(|tenant| (Arc::clone(&tenant.name), tenant.account.used())),
    );
}

/// What was used in between.
fn since(before: &Used, now: &Used) -> Used {
    Used {
        jobs: now.jobs.saturating_sub(before.jobs),
        fuel: now.fuel.saturating_sub(before.fuel),
        cpu: now.cpu.saturating_sub(before.cpu),
        memory_byte_ms: now.memory_byte_ms.saturating_sub(before.memory_byte_ms),
        requests: now.requests.saturating_sub(before.requests),
        bytes_sent: now.bytes_sent.saturating_sub(before.bytes_sent),
        bytes_received: now.bytes_received.saturating_sub(before.bytes_received),
        denials: now.denials.saturating_sub(before.denials),
        held: now.held.saturating_sub(before.held),
        ..*now
    }
}

fn said(used: &Used) -> String {
    let mut line = format!(
        "{}, {:.0?} of CPU time, {}, {} KiB sent, {} KiB received",
        counted(used.jobs, "job"),
        used.cpu,
        counted(used.requests, "request"),
        used.bytes_sent.div_ceil(1024),
        used.bytes_received.div_ceil(1024)
    );
    if used.denials > 0 {
        line.push_str(&format!(", {}", counted(used.denials, "denial")));
    }
    if used.held > 0 {
        line.push_str(&format!(", made to wait by its quotas: {}", used.held));
    }
    line
}

/// `a pulse`, `an intervention`, `a code`.
fn one(kind: Kind) -> String {
    let article = if kind == Kind::Intervention { "an" } else { "a" };
    format!("{article} {kind}")
}

/// `1 check`, `2 checks`.
#[must_use]
pub fn counted(count: impl Into<u64>, thing: &str) -> String {
    match count.into() {
        1 => format!("1 {thing}"),
        count => format!("{count} {thing}s"),
    }
}

/// One line for the last ten seconds.
fn sum_up(before: &Snapshot, after: &Snapshot) {
    let states: Vec<String> = after
        .states
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let healthy = after.healthy - before.healthy;
    let bad = after.not_healthy - before.not_healthy;
    let all: u64 = after.kinds.pulse.outcomes.total() - before.kinds.pulse.outcomes.total();
    let faults = all.saturating_sub(healthy + bad);
    let mut line = format!(
        "monitors: {}; checks in the last {} s: {healthy} healthy, {bad} not",
        states.join(", "),
        SUMMARY_EVERY.as_secs()
    );
    if faults > 0 {
        line.push_str(&format!(", {faults} without an answer"));
    }
    if after.outbox > 0 {
        let wait = if after.outbox == 1 { "waits" } else { "wait" };
        line.push_str(&format!(
            "; {} {wait} to be delivered",
            counted(after.outbox as u64, "code")
        ));
    }
    let late = PerKind::from_fn(|kind: Kind| after.kinds.get(kind).needed);
    if late.pulse > 0 {
        let wait = if late.pulse == 1 {
            "is due and waits"
        } else {
            "are due and wait"
        };
        line.push_str(&format!(
            "; {} {wait} for room (at most {} at the same time; one takes {:.0?} of CPU time)",
            counted(late.pulse as u64, "check"),
            after.kinds.pulse.limit,
            after.kinds.pulse.cost
        ));
    }
    if after.skipped_slots > before.skipped_slots {
        let skipped = after.skipped_slots - before.skipped_slots;
        line.push_str(&format!(
            "; left out because it was too late: {}",
            counted(skipped, "check")
        ));
    }
    if after.stalls > before.stalls {
        let stalled = after.stalled.saturating_sub(before.stalled);
        line.push_str(&format!("; pulse-host itself stood still for {stalled:.1?}"));
    }
    if after.quarantined > 0 {
        let held = after.held_pulses - before.held_pulses;
        line.push_str(&format!(
            "; quarantined: {}, which left out {}",
            counted(after.quarantined as u64, "plugin"),
            counted(held, "check")
        ));
    }
    if after.paused > 0 {
        line.push_str("; most monitors fail at once, interventions pause");
    }
    if after.unrecorded > before.unrecorded {
        let lost = after.unrecorded - before.unrecorded;
        line.push_str(&format!("; not put on record: {}", counted(lost, "fact")));
    }
    if after.dropped_events > before.dropped_events {
        let dropped = after.dropped_events - before.dropped_events;
        line.push_str(&format!("; not logged: {}", counted(dropped, "event")));
    }
    tracing::info!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_their_numbers() {
        assert_eq!(counted(0_u64, "check"), "0 checks");
        assert_eq!(counted(1_u64, "check"), "1 check");
        assert_eq!(Kind::ALL.map(one), ["a pulse", "an intervention", "a code"]);
    }

    #[test]
    fn a_tenant_is_told_what_it_used_since_the_last_time() {
        let ms = Duration::from_millis;
        let tenants: Vec<_> = [DEFAULT, "acme"]
            .map(|name| Arc::new(Tenant::new(name, Default::default())))
            .into();
        let before = tenants[1].account.used();
        tenants[1].account.add_job(5, ms(20), 1, ms(1));
        tenants[1].account.add_denial();
        tenants[1].account.add_sent(1);
        let middle = tenants[1].account.used();
        let line = said(&since(&before, &middle));
        assert_eq!(
            line,
            "1 job, 20ms of CPU time, 0 requests, 1 KiB sent, 0 KiB received, 1 denial"
        );
        assert_eq!(since(&middle, &tenants[1].account.used()).jobs, 0);
        let mut used = HashMap::new();
        sum_up_tenants(&tenants, &mut used);
        assert_eq!(used["acme"], middle, "the next one starts from here");
    }

    #[test]
    fn a_burst_is_let_through_and_then_a_steady_stream() {
        let mut limiter = Limiter::new(Mono(0));
        assert_eq!((0..1000).filter(|_| limiter.may_write(Mono(0))).count(), 200);
        let later = Mono(0).after(Duration::from_secs(1));
        assert_eq!((0..1000).filter(|_| limiter.may_write(later)).count(), 50);
        assert_eq!(limiter.left_out, 950);
    }
}
