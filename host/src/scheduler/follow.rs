//! What follows from a step of the state machine: codes into outboxes, wishes into lanes, facts into the journal.

use super::{
    RUN_GAP,
    components::{Case, Lane, Monitor, Phase, SinkLane},
    correlated::Standing,
    fair::{Fair, Ticket},
    ledger::need_repair,
    resources::{Desk, TAG_HEALTH, TAG_PULSE},
};
use crate::domain::{
    color::Color,
    event::Fact,
    health::{Effects, Emission, Pace},
    job::Alert,
    outbox::Outbox,
    spec::{Kind, MonitorSpec, Sink},
    time::{Mono, nanos},
};
use bevy_ecs::entity::Entity;
use std::sync::Arc;

/// Takes the effects of a step and leaves them empty. `summary` is what caused the step, for people.
pub fn follow(
    desk: &mut Desk<'_>,
    entity: Entity,
    monitor: &mut Monitor,
    effects: &mut Effects,
    summary: &str,
) {
    let now = desk.now().mono;
    let Monitor {
        spec,
        pulse,
        health,
        case,
        ..
    } = monitor;
    if let Some((from, to)) = health.news() {
        desk.tally.0.state(Some(from), to);
        let summary = summary.to_owned();
        desk.note(entity, spec, Fact::State { from, to, summary });
    }
    let stands = Standing::of(health, pulse.standing());
    if stands != pulse.standing() {
        stand(desk, spec, pulse, case, stands);
    }
    if effects.is_empty() && case.is_none() && !health.has_episode() {
        return;
    }
    for fact in effects.facts.drain(..) {
        if let Fact::Purple { message, .. } = &fact {
            let title = format!("pulse-host can't check {}", spec.name());
            desk.host.news.push((title, message.clone()));
        }
        desk.note(entity, spec, fact);
    }
    if std::mem::take(&mut effects.recheck) && pulse.phase() == Phase::Waiting {
        wait_for_pulse(desk, entity, pulse, now);
    }
    let wake_at = health.wake_at(spec, desk.settings.0.max_hold);
    let wants = health.wants_intervention();
    let mut urgent = false;
    if wants || wake_at != Mono::NEVER || !effects.codes.is_empty() || case.is_some() {
        let case = desk.case(spec, case);
        urgent = !effects.codes.is_empty();
        for emission in effects.codes.drain(..) {
            post(desk, entity, spec, &mut case.sinks, emission);
        }
        if wants && case.repair.lane.phase() == Phase::Waiting {
            need_repair(desk, entity, case, now);
        }
        case.wake_at = wake_at;
        see_to_wake(desk, entity, case);
    }
    desk.ledger.0.mark(entity, pulse, urgent);
    monitor.close_case();
}

/// A monitor is counted in another way among those that may fail together.
pub fn stand(
    desk: &mut Desk<'_>,
    spec: &MonitorSpec,
    pulse: &mut Lane,
    case: &mut Option<Box<Case>>,
    stands: Standing,
) {
    let (change, now) = ((pulse.standing(), stands), desk.now().mono);
    let mut onset = case.as_ref().map_or(Mono::NEVER, |case| case.onset);
    let before = onset;
    desk.correlated
        .moves(pulse.flow(), spec.policy.interval, change, &mut onset, now);
    if onset != before {
        desk.case(spec, case).onset = onset;
    }
    pulse.set_standing(stands);
}

/// Sees to it that the state machine is woken in time. An entry that comes too early is kept and looked at then:
/// one for each change of mind would let a flapping target fill the wheel, up to `page-after` and `repeat` ahead.
pub fn see_to_wake(desk: &mut Desk<'_>, entity: Entity, case: &mut Case) {
    if case.wake_at < case.entry_at {
        case.entry_at = case.wake_at;
        desk.alarm.0.insert(case.wake_at, entity.to_bits(), TAG_HEALTH);
    }
}

/// Puts a code into the box of every sink that wants it.
pub fn post(
    desk: &mut Desk<'_>,
    entity: Entity,
    spec: &MonitorSpec,
    sinks: &mut [SinkLane],
    mut emission: Emission,
) {
    let now = desk.now();
    let episode = emission.episode;
    let children = desk.family.children(entity);
    if children > 0 && matches!(emission.color, Color::Yellow | Color::Red) {
        let line = match children {
            1 => "1 monitor depends on it; nothing is told of it meanwhile".to_owned(),
            more => format!("{more} monitors depend on it; nothing is told of them meanwhile"),
        };
        let gap = if emission.body.is_empty() { "" } else { "\n" };
        emission.body = format!("{}{gap}{line}", emission.body);
    }
    let alert = emission.into_alert(spec, now.wall);
    for (index, (lane, sink)) in sinks.iter_mut().zip(spec.sinks.iter()).enumerate() {
        let before = lane.outbox.len();
        if let Err(refused) = lane.outbox.put(sink, &alert, episode, now.mono) {
            let message = "too many codes wait for this sink already".to_owned();
            undeliverable(desk, entity, spec, &sink.name, refused, message);
        }
        desk.tally.0.outbox = (desk.tally.0.outbox + lane.outbox.len()).saturating_sub(before);
        if before == 0
            && !lane.outbox.is_empty()
            && let Ok(index) = u16::try_from(index)
        {
            need_sink(&mut desk.needed.0.code, entity, index, lane, now.mono);
        }
    }
}

/// Records a code that will never arrive, and tells the host's own sinks, unless it was meant for them.
pub fn undeliverable(
    desk: &mut Desk<'_>,
    entity: Entity,
    spec: &MonitorSpec,
    sink: &Arc<str>,
    alert: Arc<Alert>,
    message: String,
) {
    desk.tally.0.undeliverable += 1;
    if desk.host.entity != Some(entity) {
        desk.host.news.push((
            format!(
                "{} of {} could not be delivered to {sink}",
                alert.color,
                spec.name()
            ),
            format!("{}\n{message}", alert.title),
        ));
    }
    let sink = Arc::clone(sink);
    desk.note(entity, spec, Fact::Undeliverable { sink, alert, message });
}

/// The lane of a monitor's sink, with nothing in its box.
pub fn lane_of(desk: &mut Desk<'_>, spec: &MonitorSpec, sink: &Sink) -> SinkLane {
    SinkLane {
        lane: Lane::new(desk.flow(Kind::Code, &spec.tenant, &sink.name, &sink.lane.profile)),
        outbox: Outbox::default(),
    }
}

/// A sink that waits has something to send.
pub fn need_sink(needed: &mut Fair, entity: Entity, index: u16, sink: &mut SinkLane, since: Mono) {
    if sink.lane.phase() == Phase::Waiting {
        sink.lane.need(since);
        let ticket = Ticket {
            entity,
            since,
            sink: index,
        };
        needed.push(sink.lane.flow(), ticket);
    }
}

/// What a monitor has not sent yet stays where it is. What was tried before goes on: somebody may have heard of it.
pub fn hold_codes(monitor: &mut Monitor) {
    let Some(case) = &mut monitor.case else {
        return;
    };
    case.held = true;
    for sink in &mut case.sinks {
        if sink.lane.phase() != Phase::Pending && !sink.outbox.head_was_tried() {
            sink.lane.settle();
        }
    }
}

/// A pulse has said how things are: what was held is sent after all, or was never true for long enough.
pub fn release_codes(desk: &mut Desk<'_>, entity: Entity, monitor: &mut Monitor, healthy: bool) {
    let now = desk.now().mono;
    let Some(case) = &mut monitor.case else {
        return;
    };
    case.held = false;
    for (index, sink) in (0u16..).zip(&mut case.sinks) {
        if healthy && sink.lane.phase() != Phase::Pending {
            let withdrawn = sink.outbox.withdraw_untried();
            desk.tally.0.outbox = desk.tally.0.outbox.saturating_sub(withdrawn);
        }
        if !sink.outbox.is_empty() && sink.lane.is(Phase::Waiting, Mono::NEVER) {
            need_sink(&mut desk.needed.0.code, entity, index, sink, now);
        }
    }
}

/// The next pulse comes at that time.
pub fn wait_for_pulse(desk: &mut Desk<'_>, entity: Entity, pulse: &mut Lane, at: Mono) {
    pulse.wait(at);
    desk.alarm.0.insert(at, entity.to_bits(), TAG_PULSE);
}

/// When the next pulse should come, after one has ended.
pub fn next_pulse(desk: &mut Desk<'_>, monitor: &mut Monitor, pace: Pace) -> Mono {
    let policy = &monitor.spec.policy;
    let now = desk.now().mono;
    let interval = nanos(policy.interval).max(1);
    let (slot, skipped) = next_slot(monitor.slot, interval, now);
    desk.tally.0.skipped_slots += skipped;
    if let Pace::Retry(pause) = pace
        && pause != policy.interval
    {
        // Whoever asks for fewer checks while the target fails needs no budget for them.
        if pause > policy.interval || desk.budgets.retries.take() {
            let at = now.after(pause);
            // The slots that pass meanwhile are not missed: retries stand in for them.
            monitor.slot = slot_before(slot, interval, at);
            return at;
        }
        desk.tally.0.retries_put_off += 1;
    }
    monitor.slot = slot;
    slot
}

/// The last slot of the grid that is not after `at`; `slot` is any slot that is at most one interval after it.
fn slot_before(slot: Mono, interval: u64, at: Mono) -> Mono {
    match at.0.checked_sub(slot.0) {
        Some(beyond) => Mono(at.0 - beyond % interval),
        None => Mono(slot.0.saturating_sub(interval)),
    }
}

/// When a pulse comes that fell due at `at`, while the whole host stood still: as much later as that took, so that
/// what was spread stays spread, but not behind its next slot.
pub fn after_stall(desk: &mut Desk<'_>, monitor: &mut Monitor, at: Mono) -> Mono {
    let policy = &monitor.spec.policy;
    // Never before the next run: the pulse may come out of the wheel twice in this one, and must not be moved twice.
    let later = at.after(desk.time.stalled).max(desk.now().mono.after(RUN_GAP));
    let interval = nanos(policy.interval).max(1);
    let (slot, skipped) = next_slot(monitor.slot, interval, desk.now().mono);
    if later < slot {
        return later;
    }
    // The slot that was missed first is skipped too: nothing stands in for it.
    desk.tally.0.skipped_slots += skipped + 1;
    monitor.slot = slot;
    slot
}

/// The first slot of the grid after `now`, and how many were skipped on the way.
fn next_slot(last: Mono, interval: u64, now: Mono) -> (Mono, u64) {
    if last > now {
        // A pulse out of turn came before it.
        return (last, 0);
    }
    let beyond = now.0.saturating_sub(last.0);
    // As a rule it is the very next one, and there is nothing to divide.
    let behind = if beyond < interval { 0 } else { beyond / interval };
    (
        Mono(last.0.saturating_add((behind + 1).saturating_mul(interval))),
        behind,
    )
}

/// The host's own news as a code for its own sinks.
#[must_use]
pub fn host_emission(number: u64, title: String, body: String) -> Emission {
    Emission {
        color: Color::Purple,
        cause: format!("host-{number:x}"),
        reminder: false,
        title,
        body,
        episode: None,
        incident: None,
    }
}

/// When a monitor's first pulse comes: a hash of its name spreads all of them over the interval.
#[must_use]
pub fn first_slot(spec: &MonitorSpec, now: Mono) -> Mono {
    // FNV-1a, then a finaliser: names that differ in one digit must not fall into neighbouring slots only.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in spec.tenant.name.bytes().chain([0]).chain(spec.name().bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    Mono(now.0.saturating_add(hash % nanos(spec.policy.interval).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_stay_on_the_grid_and_missed_ones_are_counted() {
        assert_eq!(next_slot(Mono(100), 10, Mono(103)), (Mono(110), 0));
        assert_eq!(next_slot(Mono(100), 10, Mono(110)), (Mono(120), 1));
        assert_eq!(next_slot(Mono(100), 10, Mono(145)), (Mono(150), 4));
        assert_eq!(next_slot(Mono(100), 10, Mono(95)), (Mono(100), 0));
        let before: Vec<u64> = [95, 99, 100, 109, 110, 135]
            .map(|at| slot_before(Mono(100), 10, Mono(at)).0)
            .into();
        assert_eq!(before, [90, 90, 100, 100, 110, 130]);
    }
}
