//! What follows from a step of the state machine: codes into outboxes, wishes into lanes, facts into the journal.

use super::{
    components::{Phase, PulseLane, SinkLane, Vital, WholeItem},
    resources::{Desk, LaneRef, Tag, Ticket},
};
use crate::domain::{
    color::Color,
    event::Fact,
    health::{Effects, Emission, Pace},
    host::PerKind,
    job::Alert,
    spec::{MonitorSpec, Policy},
    time::{Mono, nanos},
};
use bevy_ecs::entity::Entity;
use std::{collections::VecDeque, sync::Arc};

/// Takes the effects of a step and leaves them empty. `summary` is what caused the step, for people.
pub fn follow(
    desk: &mut Desk<'_>,
    entity: Entity,
    whole: &mut WholeItem<'_, '_>,
    effects: &mut Effects,
    summary: &str,
) {
    let now = desk.now();
    let spec = whole.monitor.0.clone();
    for emission in effects.codes.drain(..) {
        post(desk, entity, &spec, &mut whole.sinks.0, emission);
    }
    for fact in effects.facts.drain(..) {
        if let Fact::Purple { message, .. } = &fact {
            desk.host
                .news
                .push((format!("pulse-host can't check {}", spec.name()), message.clone()));
        }
        desk.note(entity, &spec, fact);
    }
    let state = whole.vital.health.state();
    if state != whole.vital.shown {
        let from = std::mem::replace(&mut whole.vital.shown, state);
        desk.tally.0.state(Some(from), state);
        let summary = summary.to_owned();
        desk.note(
            entity,
            &spec,
            Fact::State {
                from,
                to: state,
                summary,
            },
        );
    }
    if std::mem::take(&mut effects.recheck) && whole.pulse.lane.phase() == Phase::Waiting {
        wait_for_pulse(desk, entity, &mut whole.pulse, now.mono);
    }
    if whole.repair.lane.phase() == Phase::Waiting && whole.vital.health.wants_intervention() {
        whole.repair.lane.need(now.mono);
        desk.needed.0.intervention.push_back((entity, 0, now.mono));
    }
    whole.vital.wake_at = whole.vital.health.wake_at(&spec, desk.settings.0.max_hold);
    see_to_wake(desk, entity, &mut whole.vital);
}

/// Sees to it that the state machine is woken in time. An entry that comes too early is kept and looked at then:
/// one for each change of mind would let a flapping target fill the wheel, up to `page-after` and `repeat` ahead.
pub fn see_to_wake(desk: &mut Desk<'_>, entity: Entity, vital: &mut Vital) {
    if vital.wake_at < vital.entry_at {
        vital.entry_at = vital.wake_at;
        let tag = Tag::Health;
        desk.alarm.0.insert(vital.wake_at, Ticket { entity, tag });
    }
}

/// Puts a code into the box of every sink that wants it.
pub fn post(
    desk: &mut Desk<'_>,
    entity: Entity,
    spec: &MonitorSpec,
    sinks: &mut [SinkLane],
    emission: Emission,
) {
    let now = desk.now();
    let episode = emission.episode;
    let alert = emission.into_alert(spec, now.wall);
    for (index, (lane, sink)) in sinks.iter_mut().zip(spec.sinks.iter()).enumerate() {
        let before = lane.outbox.len();
        if let Err(refused) = lane.outbox.put(sink, &alert, episode, now.mono) {
            let message = "too many codes wait for this sink already".to_owned();
            undeliverable(desk, entity, spec, &sink.name, refused, message);
        }
        desk.tally.0.outbox = (desk.tally.0.outbox + lane.outbox.len()).saturating_sub(before);
        if before == 0 && !lane.outbox.is_empty() {
            need_sink(&mut desk.needed.0, entity, index, lane, now.mono);
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

/// A sink that waits has something to send.
pub fn need_sink(
    needed: &mut PerKind<VecDeque<(Entity, u16, Mono)>>,
    entity: Entity,
    index: usize,
    lane: &mut SinkLane,
    now: Mono,
) {
    if lane.lane.phase() == Phase::Waiting
        && let Ok(index) = u16::try_from(index)
    {
        lane.lane.need(now);
        needed.code.push_back((entity, index, now));
    }
}

/// The next pulse comes at that time.
pub fn wait_for_pulse(desk: &mut Desk<'_>, entity: Entity, pulse: &mut PulseLane, at: Mono) {
    pulse.lane.wait(at);
    let tag = Tag::Due(LaneRef::Pulse);
    desk.alarm.0.insert(at, Ticket { entity, tag });
}

/// When the next pulse should come, after one has ended.
pub fn next_pulse(desk: &mut Desk<'_>, pulse: &mut PulseLane, policy: &Policy, pace: Pace) -> Mono {
    let now = desk.now().mono;
    let interval = nanos(policy.interval).max(1);
    let (slot, skipped) = next_slot(pulse.slot, interval, now);
    desk.tally.0.skipped_slots += skipped;
    if let Pace::Retry(pause) = pace
        && pause != policy.interval
    {
        // Whoever asks for fewer checks while the target fails needs no budget for them.
        if pause > policy.interval || desk.budgets.retries.take() {
            let at = now.after(pause);
            // The slots that pass meanwhile are not missed: retries stand in for them.
            pulse.slot = slot_before(slot, interval, at);
            return at;
        }
        desk.tally.0.retries_put_off += 1;
    }
    pulse.slot = slot;
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
pub fn after_stall(desk: &mut Desk<'_>, pulse: &mut PulseLane, policy: &Policy, at: Mono) -> Mono {
    let later = at.after(desk.time.stalled);
    let interval = nanos(policy.interval).max(1);
    let (slot, skipped) = next_slot(pulse.slot, interval, desk.now().mono);
    if later < slot {
        return later;
    }
    // The slot that was missed first is skipped too: nothing stands in for it.
    desk.tally.0.skipped_slots += skipped + 1;
    pulse.slot = slot;
    slot
}

/// The first slot of the grid after `now`, and how many were skipped on the way.
fn next_slot(last: Mono, interval: u64, now: Mono) -> (Mono, u64) {
    if last > now {
        // A pulse out of turn came before it.
        return (last, 0);
    }
    let behind = now.0.saturating_sub(last.0) / interval;
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
    for byte in spec.tenant.bytes().chain([0]).chain(spec.name().bytes()) {
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
