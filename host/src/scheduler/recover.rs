//! Timeout recovery: what never came back.
//!
//! A worker that panicked, hung or vanished produces no outcome. When the recovery deadline of a pending lane has
//! passed, the attempt is given up (its result, should it come after all, is stale) and the state machine hears
//! that it was lost: a pulse runs again with backoff, an intervention is verified and never repeated blindly, a
//! code is sent again under the same delivery id.
//!
//! Where the whole host stood still, its workers did too: they get that time back before anything counts as lost.

use super::{
    RUN_GAP,
    components::Monitor,
    resources::{Desk, Due, Endings, LaneRef, TAG_FLIGHT, TAG_HEALTH, TAG_PULSE, TAG_SINK},
};
use crate::domain::{event::Fact, spec::Kind};
use bevy_ecs::{
    change_detection::{DetectChangesMut as _, ResMut},
    entity::Entity,
    system::Query,
};

/// Turns the wheel and sorts what comes out of it.
pub fn turn_wheel(mut desk: Desk<'_>, mut due: ResMut<'_, Due>) {
    let now = desk.now().mono;
    let due = &mut *due;
    desk.alarm
        .0
        .turn(now, |key, tag| match (tag, Entity::try_from_bits(key)) {
            (TAG_FLIGHT, _) => due.flights.extend(u32::try_from(key)),
            (TAG_PULSE, Some(entity)) => due.pulses.push(entity),
            (TAG_HEALTH, Some(entity)) => due.health.push(entity),
            (tag, Some(entity)) => due.sinks.push((entity, tag - TAG_SINK)),
            (_, None) => {}
        });
}

/// Gives up what is overdue, of all three kinds.
pub fn recover(
    mut desk: Desk<'_>,
    mut due: ResMut<'_, Due>,
    mut endings: ResMut<'_, Endings>,
    mut monitors: Query<'_, '_, &mut Monitor>,
) {
    let now = desk.now().mono;
    for number in due.flights.drain(..) {
        let desk = &mut desk;
        let Some(flight) = desk.out.0.look(number, now, &mut desk.alarm.0) else {
            continue;
        };
        if !desk.time.stalled.is_zero() {
            // Never before the next run: a flight may come out of the wheel twice in this one, and must not be given
            // the time twice.
            let deadline = flight.deadline.after(desk.time.stalled).max(now.after(RUN_GAP));
            desk.out.0.extend(number, deadline, &mut desk.alarm.0);
            continue;
        }
        let (entity, kind) = (flight.entity, flight.lane.kind());
        let Ok(mut monitor) = monitors.get_mut(entity) else {
            continue;
        };
        let monitor = monitor.bypass_change_detection();
        let Some(lane) = monitor
            .lane_mut(flight.lane)
            .filter(|lane| lane.flight() == Some(number))
        else {
            continue;
        };
        let attempt = lane.attempt();
        desk.land(*lane, None);
        lane.abandon();
        if kind == Kind::Intervention
            && let Some(case) = &mut monitor.case
        {
            case.repair.lost = Some((attempt, case.repair.number));
        }
        desk.tally.0.kinds.get_mut(kind).lost += 1;
        desk.note(entity, &monitor.spec, Fact::Lost { kind });
        let sink = match flight.lane {
            LaneRef::Sink(index) => index,
            LaneRef::Pulse | LaneRef::Intervention => 0,
        };
        endings.0.get_mut(kind).lost.push((entity, sink));
    }
}
