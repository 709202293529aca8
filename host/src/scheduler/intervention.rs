//! The interventions: what their results mean, and how they are sent within the budgets.
//!
//! Architecture invariant: an intervention runs only if the monitor still wants it at the moment of sending, and
//! only within the budgets of the incident, of the monitor's time window and of the host.

use super::{
    components::{Case, Lane, Monitor, Phase},
    dispatch::{Buffers, Sending, dispatch},
    follow::follow,
    ledger::Intent,
    quarantine::Gate,
    resources::{Desk, Draining, Endings, Inbox, LaneRef, Outlets, Scratch, describe},
};
use crate::domain::{
    event::Fact,
    health::{Effects, Health, Hold, InterventionEnd, Permission},
    job::{JobResult, Order, Payload},
    outcome::{ActionFailure, Answer, Outcome},
    spec::{Kind, MonitorSpec},
};
use bevy_ecs::{
    change_detection::{DetectChangesMut as _, Res, ResMut},
    entity::Entity,
    system::{Local, Query},
};
use std::{cell::Cell, sync::Arc};

/// Gives every intervention that ended to the state machine.
pub fn advance(
    mut desk: Desk<'_>,
    inbox: Res<'_, Inbox>,
    mut endings: ResMut<'_, Endings>,
    mut scratch: Scratch<'_>,
    mut monitors: Query<'_, '_, &mut Monitor>,
) {
    let ended = &mut endings.0.intervention;
    for mut results in ended.results.drain(..) {
        let applied = desk.time.clock.mono();
        for result in results.drain(..) {
            desk.count(Kind::Intervention, &result, applied);
            let entity = Entity::from_bits(result.key.monitor.0);
            ended_one(&mut desk, &mut monitors, entity, Some(&result), &mut scratch);
        }
        inbox.0.recycle(results);
    }
    for (entity, _) in ended.lost.drain(..) {
        ended_one(&mut desk, &mut monitors, entity, None, &mut scratch);
    }
}

/// One intervention ended, or was given up.
fn ended_one(
    desk: &mut Desk<'_>,
    monitors: &mut Query<'_, '_, &mut Monitor>,
    entity: Entity,
    result: Option<&JobResult>,
    effects: &mut Effects,
) {
    let Ok(mut monitor) = monitors.get_mut(entity) else {
        return;
    };
    let monitor = monitor.bypass_change_detection();
    let Monitor {
        spec, health, case, ..
    } = monitor;
    let now = desk.now();
    let finished = result.map_or(now.mono, |result| result.finished);
    let end = end(result.map(|result| &result.outcome));
    if let Some(case) = case {
        if matches!(end, InterventionEnd::NotRun(_)) {
            desk.budgets.interventions.refund(case.repair.spent_at);
        } else if result.is_some() {
            case.repair.lost = None;
        }
    }
    let summary = match &end {
        InterventionEnd::Done { summary }
        | InterventionEnd::Retryable(summary)
        | InterventionEnd::Permanent(summary)
        | InterventionEnd::Unknown(summary)
        | InterventionEnd::NotRun(summary) => summary.clone(),
    };
    health.on_intervention(spec, end, finished, now, effects);
    follow(desk, entity, monitor, effects, &summary);
}

/// What an outcome means for the incident; none: it never came back.
fn end(outcome: Option<&Outcome>) -> InterventionEnd {
    match outcome {
        Some(Outcome::Answer(Answer::Intervention(answer))) => match answer {
            Ok(done) => InterventionEnd::Done {
                summary: done.summary.clone(),
            },
            Err(ActionFailure::Retryable(message)) => InterventionEnd::Retryable(message.clone()),
            Err(ActionFailure::Permanent(message)) => InterventionEnd::Permanent(message.clone()),
            Err(ActionFailure::EffectUnknown(message)) => InterventionEnd::Unknown(message.clone()),
        },
        Some(outcome @ Outcome::Denied(_)) => InterventionEnd::Permanent(outcome.to_string()),
        Some(outcome @ (Outcome::NoCapacity(_) | Outcome::Expired)) => {
            InterventionEnd::NotRun(outcome.to_string())
        }
        other => InterventionEnd::Unknown(describe(other)),
    }
}

/// What stands in the way of an intervention that its monitor's own budgets allow.
enum Obstacle {
    /// It may be tried later, after a fresh pulse.
    Hold(Hold),
    /// Its plugin is quarantined: nothing can be repaired with it.
    Quarantine,
    /// That it will be done is not on record yet. It is asked for again when it is.
    Record,
    /// Nothing can be put on record.
    NoRecord,
}

/// `planned`: interventions of this run that were granted and not yet sent.
fn obstacle(
    desk: &mut Desk<'_>,
    entity: Entity,
    (spec, health, case, pulse): (&MonitorSpec, &Health, &mut Case, &mut Lane),
    planned: usize,
) -> Option<Obstacle> {
    let now = desk.now();
    if desk.correlated.pauses(pulse.flow()) {
        return Some(Obstacle::Hold(Hold::Correlated));
    }
    if desk.budgets.interventions.left(now.mono) <= planned {
        return Some(Obstacle::Hold(Hold::Budget));
    }
    match desk
        .ledger
        .0
        .intend(entity, (spec, health, &mut *case, pulse), now)
    {
        Intent::Recorded => {}
        Intent::Awaited => return Some(Obstacle::Record),
        Intent::Impossible => return Some(Obstacle::NoRecord),
    }
    // At last: whoever passes here takes the place of a probe.
    match desk
        .quarantine
        .gate(Kind::Intervention, case.repair.lane.flow(), now.mono)
    {
        Gate::Pass => None,
        Gate::Shut { trying: true, .. } => Some(Obstacle::Hold(Hold::Quarantine)),
        Gate::Shut { .. } => Some(Obstacle::Quarantine),
    }
}

/// Sends what is wanted and allowed. An intervention is needed from the moment that the state machine wants it (see
/// `follow`): nothing of it ever waits in the wheel.
pub fn dispatch_interventions(
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
    // Interventions of this run that were granted and not yet sent.
    let planned = Cell::new(0usize);
    dispatch(
        &mut desk,
        &outlets.0.intervention,
        &mut monitors,
        &mut buffers,
        Kind::Intervention,
        |desk, monitor, ticket| {
            let Monitor {
                spec,
                health,
                case,
                pulse,
                ..
            } = monitor;
            let case = case.as_deref_mut()?;
            if !case.repair.lane.is(Phase::Needed, ticket.since) {
                return None;
            }
            let now = desk.now();
            let settings = spec.intervention.as_ref()?;
            let granted = match health.may_intervene(settings, now.mono) {
                Permission::Granted => match obstacle(
                    desk,
                    ticket.entity,
                    (spec, health, &mut *case, pulse),
                    planned.get(),
                ) {
                    None => true,
                    Some(Obstacle::Record) => {
                        case.repair.lane.settle();
                        return None;
                    }
                    Some(Obstacle::NoRecord) => {
                        health.repair_unrecorded(spec, now, effects);
                        false
                    }
                    Some(Obstacle::Hold(why)) => {
                        desk.tally.0.held_interventions += 1;
                        health.hold(why, now.mono, effects);
                        false
                    }
                    Some(Obstacle::Quarantine) => {
                        health.repair_quarantined(spec, now, effects);
                        false
                    }
                },
                Permission::NotWanted => false,
                Permission::Spent => {
                    health.budget_spent(spec, now, effects);
                    false
                }
            };
            if !granted {
                case.repair.lane.settle();
                follow(desk, ticket.entity, monitor, effects, "");
                return None;
            }
            let attempt = desk.attempts.next();
            let incident = health.incident(spec)?;
            let number = health.attempts().saturating_add(1);
            planned.set(planned.get() + 1);
            Some(Sending {
                lane: LaneRef::Intervention,
                attempt,
                timeout: settings.lane.timeout,
                trace: false,
                payload: Payload::Intervention(Box::new(Order {
                    idempotency_key: format!("{}/{number}/{attempt}", incident.id),
                    incident,
                })),
            })
        },
        |desk, entity, monitor, _| {
            let Monitor {
                spec, health, case, ..
            } = monitor;
            let now = desk.now();
            planned.set(planned.get().saturating_sub(1));
            desk.budgets.interventions.spend(now.mono);
            if let (Some(settings), Some(case)) = (&spec.intervention, case) {
                case.repair.spent_at = now.mono;
                case.repair.intent = 0;
                health.intervention_started(settings, now.mono);
                let number = health.attempts();
                case.repair.number = number;
                let fact = Fact::Intervening {
                    number,
                    of: settings.max_attempts,
                    plugin: Arc::clone(&settings.lane.profile.plugin),
                };
                desk.note(entity, spec, fact);
            }
        },
    );
}
