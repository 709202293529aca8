//! The pulses: what their results mean, when they fall due, and how they are sent.

use super::{
    components::{Monitor, Phase},
    dispatch::{Buffers, Sending, dispatch},
    fair::Ticket,
    follow::{after_stall, follow, next_pulse, release_codes, wait_for_pulse},
    quarantine::Gate,
    resources::{Desk, Draining, Due, Endings, Inbox, LaneRef, Outlets, Scratch, describe},
};
use crate::{
    domain::{
        event::Fact,
        health::{Effects, Pace},
        job::{JobResult, Payload},
        outcome::{Answer, Outcome, Report, Status},
        spec::Kind,
    },
    ledger::Verdict,
};
use bevy_ecs::{
    change_detection::{DetectChangesMut as _, Res, ResMut},
    entity::Entity,
    system::{Local, Query},
};
use std::time::Duration;

/// Gives every pulse that ended to the state machine.
pub fn advance(
    mut desk: Desk<'_>,
    inbox: Res<'_, Inbox>,
    mut endings: ResMut<'_, Endings>,
    mut scratch: Scratch<'_>,
    mut monitors: Query<'_, '_, &mut Monitor>,
) {
    let mut regular = 0;
    let ended = &mut endings.0.pulse;
    for mut results in ended.results.drain(..) {
        let applied = desk.time.clock.mono();
        for result in results.drain(..) {
            desk.count(Kind::Pulse, &result, applied);
            let entity = Entity::from_bits(result.key.monitor.0);
            regular += usize::from(ended_one(
                &mut desk,
                &mut monitors,
                entity,
                Some(&result),
                &mut scratch,
            ));
        }
        inbox.0.recycle(results);
    }
    for (entity, _) in ended.lost.drain(..) {
        regular += usize::from(ended_one(&mut desk, &mut monitors, entity, None, &mut scratch));
    }
    let now = desk.now();
    desk.budgets.retries.fill(now.mono, regular);
}

/// One pulse ended, or was given up. Whether the next one comes in the regular interval.
fn ended_one(
    desk: &mut Desk<'_>,
    monitors: &mut Query<'_, '_, &mut Monitor>,
    entity: Entity,
    result: Option<&JobResult>,
    effects: &mut Effects,
) -> bool {
    let Ok(mut monitor) = monitors.get_mut(entity) else {
        return false;
    };
    let monitor = monitor.bypass_change_detection();
    let had_case = monitor.case.is_some();
    let Monitor { spec, health, .. } = monitor;
    let now = desk.now();
    let unanswered;
    let outcome = result.map(|result| &result.outcome);
    let report = match outcome {
        Some(Outcome::Answer(Answer::Pulse(report))) => Some(report),
        Some(Outcome::DeadlineWaiting) => {
            unanswered = no_answer(spec.pulse.as_ref().map_or(Duration::ZERO, |check| check.timeout));
            Some(&unanswered)
        }
        _ => None,
    };
    let verdict = match report.map(|report| report.status) {
        Some(Status::Healthy | Status::Degraded) => Verdict::Alive,
        Some(Status::Unhealthy) => Verdict::Failed,
        None => Verdict::Fault,
    };
    desk.ledger.0.sample(entity, result, verdict);
    desk.chosen
        .note(entity, result, report.map(|report| report.status), now);
    let started = result.map_or(now.mono, |result| result.started);
    let message;
    let summary = if let Some(report) = report {
        let failing = report.status == Status::Unhealthy;
        if failing && !spec.parents.is_empty() && !health.blocks() && !health.suppressed() {
            // Before it says anything: is it its own fault?
            if desk.family.blocked(spec) {
                health.set_unreachable(true, effects);
            } else if desk.family.ask(entity, spec, started) {
                health.set_awaiting(true);
            }
        }
        health.on_report(spec, report, started, now, &mut desk.episodes.0, effects);
        if report.status == Status::Healthy {
            desk.tally.0.healthy += 1;
        } else {
            desk.tally.0.not_healthy += 1;
        }
        report.summary.as_str()
    } else {
        message = describe(outcome);
        health.on_fault(spec, &message, now, &mut desk.episodes.0, effects);
        let class = outcome.map_or("lost", Outcome::class);
        let fact = Fact::Fault {
            class,
            message: message.clone(),
        };
        desk.note(entity, spec, fact);
        message.as_str()
    };
    if monitor.pulse.is_watched() {
        desk.family.looked(entity, started, &monitor.health);
    }
    if let Some(report) = report
        && monitor.case.as_ref().is_some_and(|case| case.held)
        && !monitor.health.suppressed()
    {
        release_codes(desk, entity, monitor, report.status == Status::Healthy);
    }
    let pace = monitor.health.pace(&monitor.spec.policy);
    let at = next_pulse(desk, monitor, pace);
    wait_for_pulse(desk, entity, &mut monitor.pulse, at);
    follow(desk, entity, monitor, effects, summary);
    let has_case = monitor.case.is_some();
    if monitor.pulse.is_looked_at() || has_case || had_case {
        let looked = desk.runs.note(entity, result, has_case, now);
        monitor.pulse.set_looked_at(looked);
    }
    pace == Pace::Regular
}

/// The plugin is quarantined: nothing is run, and nobody knows how the target is. The grid goes on, so that a check
/// that was held is never lost, whatever becomes of the quarantine; and no retry is spent on what is not run.
fn hold(desk: &mut Desk<'_>, entity: Entity, monitor: &mut Monitor, own: bool, effects: &mut Effects) {
    let now = desk.now();
    let flow = monitor.pulse.flow();
    desk.tally.0.held_pulses += 1;
    desk.note(entity, &monitor.spec, Fact::Withheld { fault: own });
    let mut message = String::new();
    // Where only others had trouble with it, nothing is known to be wrong.
    if own {
        message = desk.quarantine.reason(Kind::Pulse, flow);
        let Monitor { spec, health, .. } = monitor;
        health.on_fault(spec, &message, now, &mut desk.episodes.0, effects);
        // The host's own sinks have heard of the plugin, which says it all.
        if let Some(index) = effects
            .facts
            .iter()
            .position(|fact| matches!(fact, Fact::Purple { .. }))
        {
            let purple = effects.facts.remove(index);
            desk.note(entity, spec, purple);
        }
    }
    let at = next_pulse(desk, monitor, Pace::Regular);
    wait_for_pulse(desk, entity, &mut monitor.pulse, at);
    if !monitor.pulse.is_held() {
        monitor.pulse.set_held(true);
        desk.quarantine.hold(Kind::Pulse, flow, entity);
    }
    follow(desk, entity, monitor, effects, &message);
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
    mut monitors: Query<'_, '_, &mut Monitor>,
) {
    let now = desk.now().mono;
    for entity in due.pulses.drain(..) {
        let Ok(mut monitor) = monitors.get_mut(entity) else {
            continue;
        };
        let monitor = monitor.bypass_change_detection();
        if !monitor.pulse.is_due(now) || draining.0 {
            continue;
        }
        let since = monitor.pulse.at();
        if !desk.time.stalled.is_zero() {
            let later = after_stall(&mut desk, monitor, since);
            wait_for_pulse(&mut desk, entity, &mut monitor.pulse, later);
            continue;
        }
        monitor.pulse.need(since);
        let ticket = Ticket {
            entity,
            since,
            sink: 0,
        };
        desk.needed.0.pulse.push(monitor.pulse.flow(), ticket);
    }
}

/// Sends what is needed, as far as the channel has room.
pub fn dispatch_pulses(
    mut desk: Desk<'_>,
    outlets: Res<'_, Outlets>,
    draining: Res<'_, Draining>,
    mut scratch: Scratch<'_>,
    mut buffers: Local<'_, Buffers>,
    mut monitors: Query<'_, '_, &mut Monitor>,
) {
    if draining.0 {
        return;
    }
    let effects: &mut Effects = &mut scratch;
    dispatch(
        &mut desk,
        &outlets.0.pulse,
        &mut monitors,
        &mut buffers,
        Kind::Pulse,
        |desk, monitor, ticket| {
            if !monitor.pulse.is(Phase::Needed, ticket.since) {
                return None;
            }
            let now = desk.now().mono;
            if let Gate::Shut { own, .. } = desk.quarantine.gate(Kind::Pulse, monitor.pulse.flow(), now) {
                hold(desk, ticket.entity, monitor, own, effects);
                return None;
            }
            Some(Sending {
                lane: LaneRef::Pulse,
                attempt: monitor.pulse.attempt().wrapping_add(1),
                timeout: monitor.spec.pulse.as_ref()?.timeout,
                payload: Payload::Pulse,
                trace: monitor.health.may_open(&monitor.spec.policy),
            })
        },
        |_, _, _, _| {},
    );
}
