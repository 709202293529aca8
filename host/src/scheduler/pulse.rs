//! The pulses: what their results mean, when they fall due, and how they are sent.

use super::{
    components::{Monitor, Phase, PulseLane, Whole},
    dispatch::{Sending, dispatch},
    follow::{after_stall, follow, next_pulse, wait_for_pulse},
    resources::{Desk, Draining, Due, Endings, LaneRef, Outlets, Scratch, describe},
};
use crate::domain::{
    event::Fact,
    job::Payload,
    outcome::{Answer, Outcome, Report, Status},
    spec::Kind,
    time::Mono,
};
use bevy_ecs::{
    change_detection::{Res, ResMut},
    system::Query,
};
use std::time::Duration;

/// Gives every pulse that ended to the state machine.
pub fn advance(
    mut desk: Desk<'_>,
    mut endings: ResMut<'_, Endings>,
    mut scratch: Scratch<'_>,
    mut monitors: Query<'_, '_, Whole>,
) {
    let now = desk.now();
    let mut regular = 0;
    for ending in endings.0.pulse.drain(..) {
        let entity = ending.entity;
        let Ok(mut whole) = monitors.get_mut(entity) else {
            continue;
        };
        let spec = whole.monitor.0.clone();
        let timeout = spec.pulse.as_ref().map_or(Duration::ZERO, |lane| lane.timeout);
        let unanswered;
        let (outcome, started) = match &ending.result {
            Some(result) => {
                desk.count(Kind::Pulse, result);
                (Some(&result.outcome), result.started)
            }
            None => (None, now.mono),
        };
        let report = match outcome {
            Some(Outcome::Answer(Answer::Pulse(report))) => Some(report),
            Some(Outcome::DeadlineWaiting) => {
                unanswered = no_answer(timeout);
                Some(&unanswered)
            }
            _ => None,
        };
        let health = &mut whole.vital.health;
        let episodes = &mut desk.episodes.0;
        let summary = if let Some(report) = report {
            health.on_report(&spec, report, started, now, episodes, &mut scratch);
            if report.status == Status::Healthy {
                desk.tally.0.healthy += 1;
            } else {
                desk.tally.0.not_healthy += 1;
            }
            report.summary.clone()
        } else {
            let message = describe(outcome);
            health.on_fault(&spec, &message, now, episodes, &mut scratch);
            let class = outcome.map_or("lost", Outcome::class);
            let fact = Fact::Fault {
                class,
                message: message.clone(),
            };
            desk.note(entity, &spec, fact);
            message
        };
        let pace = whole.vital.health.pace(&spec.policy);
        regular += usize::from(pace == crate::domain::health::Pace::Regular);
        let at = next_pulse(&mut desk, &mut whole.pulse, &spec.policy, pace);
        wait_for_pulse(&mut desk, entity, &mut whole.pulse, at);
        follow(&mut desk, entity, &mut whole, &mut scratch, &summary);
    }
    desk.budgets.retries.fill(now.mono, regular);
}

/// A target that did not answer in time is down, as far as anybody can tell.
fn no_answer(timeout: Duration) -> Report {
    Report {
        status: Status::Unhealthy,
        summary: format!("no answer within {timeout:?}"),
        reason: Some("timeout".to_owned()),
        measurements: Vec::new(),
    }
}

/// What waited and is due now is needed. After a stall it is spread again, as at the start.
pub fn schedule(
    mut desk: Desk<'_>,
    mut due: ResMut<'_, Due>,
    draining: Res<'_, Draining>,
    mut lanes: Query<'_, '_, (&Monitor, &mut PulseLane)>,
) {
    for (entity, _, at) in due.lanes.pulse.drain(..) {
        let Ok((monitor, mut pulse)) = lanes.get_mut(entity) else {
            continue;
        };
        if pulse.lane.is(Phase::Waiting, at) && !draining.0 {
            if !desk.time.stalled.is_zero() {
                let later = after_stall(&mut desk, &mut pulse, &monitor.0.policy, at);
                wait_for_pulse(&mut desk, entity, &mut pulse, later);
                continue;
            }
            pulse.lane.need(at);
            pulse.due = at;
            desk.needed.0.pulse.push_back((entity, 0, at));
        }
    }
}

/// Sends what is needed, as far as the channel has room.
pub fn dispatch_pulses(
    mut desk: Desk<'_>,
    outlets: Res<'_, Outlets>,
    draining: Res<'_, Draining>,
    mut monitors: Query<'_, '_, Whole>,
) {
    if draining.0 {
        return;
    }
    dispatch(
        &mut desk,
        &outlets.0.pulse,
        &mut monitors,
        |_, whole, _, since: Mono| {
            if !whole.pulse.lane.is(Phase::Needed, since) {
                return None;
            }
            let spec = &whole.monitor.0;
            Some(Sending {
                lane: LaneRef::Pulse,
                attempt: whole.pulse.lane.attempt().wrapping_add(1),
                due: whole.pulse.due,
                timeout: spec.pulse.as_ref()?.timeout,
                payload: Payload::Pulse,
            })
        },
        |_, _, whole, sent| whole.pulse.lane.pend(sent.attempt, sent.deadline),
        Kind::Pulse,
    );
}
