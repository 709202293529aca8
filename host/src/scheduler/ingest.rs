//! Takes results out of their channel, and drops the stale ones.
//!
//! Architecture invariant: a result whose attempt is not the lane's own changes no state; an effect that it proves
//! is recorded, so that nothing is sent or done again because its answer came late.

use super::{
    components::{Monitor, Phase},
    follow::{follow, need_sink},
    resources::{Desk, Endings, Inbox, LaneRef, Scratch},
};
use crate::domain::{
    event::Fact,
    health::Effects,
    job::JobResult,
    outcome::{Answer, Outcome},
};
use bevy_ecs::{
    change_detection::{DetectChangesMut as _, Res, ResMut},
    entity::Entity,
    system::{Local, Query},
};

/// Drains the channel.
pub fn drain_results(
    inbox: Res<'_, Inbox>,
    mut endings: ResMut<'_, Endings>,
    mut desk: Desk<'_>,
    mut scratch: Scratch<'_>,
    mut stale: Local<'_, Vec<JobResult>>,
    mut monitors: Query<'_, '_, &mut Monitor>,
) {
    while let Some(mut results) = inbox.0.try_recv() {
        stale.extend(results.extract_if(.., |result| !settle(&mut desk, &mut monitors, result)));
        // As a rule a buffer holds results of one kind. If not, each kind gets its own.
        while let Some(kind) = results.last().map(|result| result.key.kind) {
            let mut others: Vec<JobResult> =
                results.extract_if(.., |result| result.key.kind != kind).collect();
            std::mem::swap(&mut results, &mut others);
            endings.0.get_mut(kind).results.push(others);
        }
        inbox.0.recycle(results);
        for result in stale.drain(..) {
            let kind = result.key.kind;
            desk.tally.0.kinds.get_mut(kind).stale += 1;
            let entity = Entity::from_bits(result.key.monitor.0);
            let Ok(mut monitor) = monitors.get_mut(entity) else {
                continue;
            };
            let monitor = monitor.bypass_change_detection();
            let class = result.outcome.class();
            desk.note(entity, &monitor.spec, Fact::Late { kind, class });
            late(&mut desk, entity, monitor, &mut endings, &result, &mut scratch);
        }
    }
}

/// Ends the flight that the result belongs to. False: it is stale.
fn settle(desk: &mut Desk<'_>, monitors: &mut Query<'_, '_, &mut Monitor>, result: &JobResult) -> bool {
    let Ok(mut monitor) = monitors.get_mut(Entity::from_bits(result.key.monitor.0)) else {
        return false;
    };
    let monitor = monitor.bypass_change_detection();
    charge(monitor, result);
    match monitor.lane_mut(LaneRef::of(&result.key)) {
        Some(lane) if lane.phase() == Phase::Pending && lane.attempt() == result.key.attempt => {
            desk.land(*lane, Some(result));
            lane.settle();
            true
        }
        _ => false,
    }
}

/// What a job used is its tenant's, whether anybody still waits for the result or not. Only this thread counts it.
fn charge(monitor: &Monitor, result: &JobResult) {
    if result.outcome == Outcome::Expired {
        return;
    }
    let usage = &result.usage;
    let account = &monitor.spec.tenant.account;
    account.add_job(usage.fuel, usage.cpu, usage.peak_memory_bytes, usage.wall);
}

/// What a stale result proves.
fn late(
    desk: &mut Desk<'_>,
    entity: Entity,
    monitor: &mut Monitor,
    endings: &mut Endings,
    result: &JobResult,
    effects: &mut Effects,
) {
    let now = desk.now();
    let Monitor {
        spec,
        health,
        case,
        pulse,
        ..
    } = monitor;
    // Without a case nothing is left that it could matter to.
    let Some(case) = case.as_deref_mut() else {
        return;
    };
    match &result.outcome {
        Outcome::Answer(Answer::Intervention(Ok(done))) => {
            // Others may have been sent since, and refused: the incident counts on from this one.
            let Some((_, number)) = case
                .repair
                .lost
                .take_if(|(attempt, _)| *attempt == result.key.attempt)
            else {
                return;
            };
            health.late_done(spec, number, &done.summary, result.finished, effects);
            if case.repair.lane.phase() == Phase::Needed && !health.wants_intervention() {
                case.repair.lane.settle();
            }
            follow(desk, entity, monitor, effects, &done.summary);
        }
        Outcome::Answer(Answer::Code(Ok(receipt))) => {
            let index = usize::from(result.key.sink);
            let (Some(lane), Some(sink)) = (case.sinks.get_mut(index), spec.sinks.get(index)) else {
                return;
            };
            let here = |other: &&mut JobResult| {
                other.key.monitor == result.key.monitor && other.key.sink == result.key.sink
            };
            if let Some(answer) = endings.0.code.results.iter_mut().flatten().find(here) {
                // The next try's own answer came in this very run and is still to be applied to the head, which
                // must not leave the box twice. The receipt outweighs whatever that answer is.
                if lane.outbox.head_was_sent_by(result.key.attempt) {
                    answer.outcome = result.outcome.clone();
                }
                return;
            }
            let Some(alert) = lane.outbox.late_receipt(result.key.attempt) else {
                return;
            };
            desk.ledger.0.mark(entity, pulse, false);
            // If the same code is on its way again, whatever comes of it is of no interest any more.
            desk.land(lane.lane, None);
            lane.lane.abandon();
            desk.tally.0.outbox = desk.tally.0.outbox.saturating_sub(1);
            if !lane.outbox.is_empty() {
                need_sink(&mut desk.needed.0.code, entity, result.key.sink, lane, now.mono);
            }
            let fact = Fact::Delivered {
                sink: sink.name.clone(),
                alert,
                summary: receipt.summary.clone(),
            };
            desk.note(entity, spec, fact);
        }
        _ => {}
    }
}
