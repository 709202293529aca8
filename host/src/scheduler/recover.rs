//! Timeout recovery: what never came back.
//!
//! A worker that panicked, hung or vanished produces no outcome. When the recovery deadline of a pending lane has
//! passed, the attempt is given up (its result, should it come after all, is stale) and the state machine hears
//! that it was lost: a pulse runs again with backoff, an intervention is verified and never repeated blindly, a
//! code is sent again under the same delivery id.
//!
//! Where the whole host stood still, its workers did too: they get that time back before anything counts as lost.

use super::{
    components::{Phase, Whole},
    resources::{Desk, Due, Ending, Endings, LaneRef, Tag, Ticket},
};
use crate::domain::{event::Fact, spec::Kind};
use bevy_ecs::{change_detection::ResMut, system::Query};

/// Turns the wheel and sorts what comes out of it.
pub fn turn_wheel(mut desk: Desk<'_>, mut due: ResMut<'_, Due>) {
    let now = desk.now().mono;
    let due = &mut *due;
    desk.alarm.0.turn(now, |entry| {
        let Ticket { entity, tag } = entry.item;
        match tag {
            Tag::Due(LaneRef::Pulse) => due.lanes.pulse.push((entity, 0, entry.at)),
            Tag::Due(LaneRef::Intervention) => due.lanes.intervention.push((entity, 0, entry.at)),
            Tag::Due(LaneRef::Sink(index)) => due.lanes.code.push((entity, index, entry.at)),
            Tag::Overdue(lane) => due.overdue.push((entity, lane, entry.at)),
            Tag::Health => due.health.push((entity, entry.at)),
        }
    });
}

/// Gives up what is overdue, of all three kinds.
pub fn recover(
    mut desk: Desk<'_>,
    mut due: ResMut<'_, Due>,
    mut endings: ResMut<'_, Endings>,
    mut monitors: Query<'_, '_, Whole>,
) {
    for (entity, lane, at) in due.overdue.drain(..) {
        let Ok(mut whole) = monitors.get_mut(entity) else {
            continue;
        };
        let reference = lane;
        let (kind, sink, lane) = match lane {
            LaneRef::Pulse => (Kind::Pulse, 0, Some(&mut whole.pulse.lane)),
            LaneRef::Intervention => (Kind::Intervention, 0, Some(&mut whole.repair.lane)),
            LaneRef::Sink(index) => (
                Kind::Code,
                index,
                whole
                    .sinks
                    .0
                    .get_mut(usize::from(index))
                    .map(|sink| &mut sink.lane),
            ),
        };
        let Some(lane) = lane.filter(|lane| lane.is(Phase::Pending, at)) else {
            continue;
        };
        if !desk.time.stalled.is_zero() {
            let deadline = at.after(desk.time.stalled);
            lane.pend(lane.attempt(), deadline);
            let tag = Tag::Overdue(reference);
            desk.alarm.0.insert(deadline, Ticket { entity, tag });
            continue;
        }
        let attempt = lane.attempt();
        lane.abandon();
        if kind == Kind::Intervention {
            whole.repair.lost = Some((attempt, whole.repair.number));
        }
        let counts = desk.tally.0.kinds.get_mut(kind);
        counts.pending = counts.pending.saturating_sub(1);
        counts.lost += 1;
        let spec = whole.monitor.0.clone();
        desk.note(entity, &spec, Fact::Lost { kind });
        endings.0.get_mut(kind).push(Ending {
            entity,
            sink,
            result: None,
        });
    }
}
