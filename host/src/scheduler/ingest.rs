//! Takes results out of their channel, and drops the stale ones.
//!
//! Architecture invariant: a result whose attempt is not the lane's own changes no state; an effect that it proves
//! is recorded, so that nothing is sent or done again because its answer came late.

use super::{
    components::{Phase, Whole},
    follow::{follow, need_sink},
    resources::{Desk, Ending, Endings, Inbox, Scratch},
};
use crate::domain::{
    event::Fact,
    job::JobResult,
    outcome::{Answer, Outcome},
    spec::Kind,
};
use bevy_ecs::{
    change_detection::{Res, ResMut},
    entity::Entity,
    system::Query,
};
use std::sync::Arc;

/// Drains the channel.
pub fn drain_results(
    inbox: Res<'_, Inbox>,
    mut endings: ResMut<'_, Endings>,
    mut desk: Desk<'_>,
    mut scratch: Scratch<'_>,
    mut monitors: Query<'_, '_, Whole>,
) {
    while let Some(mut results) = inbox.0.try_recv() {
        for result in results.drain(..) {
            let key = result.key;
            let entity = Entity::from_bits(key.monitor.0);
            let Ok(mut whole) = monitors.get_mut(entity) else {
                desk.tally.0.kinds.get_mut(key.kind).stale += 1;
                continue;
            };
            let lane = match key.kind {
                Kind::Pulse => Some(&mut whole.pulse.lane),
                Kind::Intervention => Some(&mut whole.repair.lane),
                Kind::Code => whole
                    .sinks
                    .0
                    .get_mut(usize::from(key.sink))
                    .map(|sink| &mut sink.lane),
            };
            match lane {
                Some(lane) if lane.phase() == Phase::Pending && lane.attempt() == key.attempt => {
                    lane.settle();
                    let counts = desk.tally.0.kinds.get_mut(key.kind);
                    counts.pending = counts.pending.saturating_sub(1);
                    endings.0.get_mut(key.kind).push(Ending {
                        entity,
                        sink: key.sink,
                        result: Some(result),
                    });
                }
                _ => {
                    desk.tally.0.kinds.get_mut(key.kind).stale += 1;
                    let spec = whole.monitor.0.clone();
                    let (kind, class) = (key.kind, result.outcome.class());
                    desk.note(entity, &spec, Fact::Late { kind, class });
                    late(&mut desk, entity, &mut whole, &mut endings, &result, &mut scratch);
                }
            }
        }
        inbox.0.recycle(results);
    }
}

/// What a stale result proves.
fn late(
    desk: &mut Desk<'_>,
    entity: Entity,
    whole: &mut super::components::WholeItem<'_, '_>,
    endings: &mut Endings,
    result: &JobResult,
    scratch: &mut Scratch<'_>,
) {
    let now = desk.now();
    let spec = whole.monitor.0.clone();
    match &result.outcome {
        Outcome::Answer(Answer::Intervention(Ok(done))) => {
            // Others may have been sent since, and refused: the incident counts on from this one.
            let Some((_, number)) = whole
                .repair
                .lost
                .take_if(|(attempt, _)| *attempt == result.key.attempt)
            else {
                return;
            };
            whole
                .vital
                .health
                .late_done(&spec, number, &done.summary, result.finished, scratch);
            if whole.repair.lane.phase() == Phase::Needed && !whole.vital.health.wants_intervention() {
                whole.repair.lane.settle();
            }
            follow(desk, entity, whole, scratch, &done.summary);
        }
        Outcome::Answer(Answer::Code(Ok(receipt))) => {
            let index = usize::from(result.key.sink);
            let (Some(lane), Some(sink)) = (whole.sinks.0.get_mut(index), spec.sinks.get(index)) else {
                return;
            };
            let here = |ending: &&mut Ending| ending.entity == entity && ending.sink == result.key.sink;
            if let Some(ending) = endings.0.code.iter_mut().find(here) {
                // The next try's own answer came in this very run and is still to be applied to the head, which
                // must not leave the box twice. The receipt outweighs whatever that answer is.
                if lane.outbox.head_was_sent_by(result.key.attempt)
                    && let Some(answer) = &mut ending.result
                {
                    answer.outcome = result.outcome.clone();
                }
                return;
            }
            let Some(alert) = lane.outbox.late_receipt(result.key.attempt) else {
                return;
            };
            if lane.lane.phase() == Phase::Pending {
                // The same code is on its way again; whatever comes of it is of no interest any more.
                let counts = &mut desk.tally.0.kinds.code;
                counts.pending = counts.pending.saturating_sub(1);
            }
            lane.lane.abandon();
            desk.tally.0.outbox = desk.tally.0.outbox.saturating_sub(1);
            if !lane.outbox.is_empty() {
                need_sink(&mut desk.needed.0, entity, index, lane, now.mono);
            }
            let fact = Fact::Delivered {
                sink: Arc::clone(&sink.name),
                alert,
                summary: receipt.summary.clone(),
            };
            desk.note(entity, &spec, fact);
        }
        _ => {}
    }
}
