//! The interventions: what their results mean, and how they are sent within the budgets.
//!
//! Architecture invariant: an intervention runs only if the monitor still wants it at the moment of sending, and
//! only within the budgets of the incident, of the monitor's time window and of the host.

use super::{
    components::{Phase, Whole},
    dispatch::{Sending, dispatch},
    follow::follow,
    resources::{Desk, Draining, Due, Endings, LaneRef, Outlets, Scratch, describe},
};
use crate::domain::{
    event::Fact,
    health::{Effects, InterventionEnd, Permission},
    job::{Order, Payload},
    outcome::{ActionFailure, Answer, Outcome},
    spec::Kind,
};
use bevy_ecs::{
    change_detection::{Res, ResMut},
    system::Query,
};
use std::{cell::Cell, sync::Arc};

/// Gives every intervention that ended to the state machine.
pub fn advance(
    mut desk: Desk<'_>,
    mut endings: ResMut<'_, Endings>,
    mut scratch: Scratch<'_>,
    mut monitors: Query<'_, '_, Whole>,
) {
    let now = desk.now();
    for ending in endings.0.intervention.drain(..) {
        let entity = ending.entity;
        let Ok(mut whole) = monitors.get_mut(entity) else {
            continue;
        };
        let spec = whole.monitor.0.clone();
        let finished = match &ending.result {
            Some(result) => {
                desk.count(Kind::Intervention, result);
                result.finished
            }
            None => now.mono,
        };
        let end = end(ending.result.as_ref().map(|result| &result.outcome));
        if matches!(end, InterventionEnd::NotRun(_)) {
            desk.budgets.interventions.refund(whole.repair.spent_at);
        } else if ending.result.is_some() {
            whole.repair.lost = None;
        }
        let summary = match &end {
            InterventionEnd::Done { summary }
            | InterventionEnd::Retryable(summary)
            | InterventionEnd::Permanent(summary)
            | InterventionEnd::Unknown(summary)
            | InterventionEnd::NotRun(summary) => summary.clone(),
        };
        let health = &mut whole.vital.health;
        health.on_intervention(&spec, end, finished, now, &mut scratch);
        follow(&mut desk, entity, &mut whole, &mut scratch, &summary);
    }
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

/// An intervention is needed from the moment that the state machine wants it (see `follow`), so nothing of it
/// waits in the wheel; what comes out of it is outdated.
pub fn schedule(mut due: ResMut<'_, Due>) {
    due.lanes.intervention.clear();
}

/// Sends what is wanted and allowed.
pub fn dispatch_interventions(
    mut desk: Desk<'_>,
    outlets: Res<'_, Outlets>,
    draining: Res<'_, Draining>,
    mut scratch: Scratch<'_>,
    mut monitors: Query<'_, '_, Whole>,
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
        |desk, whole, (entity, _), since| {
            if !whole.repair.lane.is(Phase::Needed, since) {
                return None;
            }
            let now = desk.now();
            let spec = whole.monitor.0.clone();
            let settings = spec.intervention.as_ref()?;
            let health = &mut whole.vital.health;
            let granted = match health.may_intervene(settings, now.mono) {
                Permission::Granted if desk.budgets.interventions.left(now.mono) > planned.get() => true,
                Permission::Granted => {
                    health.hold(now.mono, effects);
                    false
                }
                Permission::NotWanted => false,
                Permission::Spent => {
                    health.budget_spent(&spec, now, effects);
                    false
                }
            };
            if !granted {
                whole.repair.lane.settle();
                follow(desk, entity, whole, effects, "");
                return None;
            }
            let attempt = whole.repair.lane.attempt().wrapping_add(1);
            let incident = whole.vital.health.incident(&spec)?;
            let number = whole.vital.health.attempts().saturating_add(1);
            planned.set(planned.get() + 1);
            Some(Sending {
                lane: LaneRef::Intervention,
                attempt,
                due: since,
                timeout: settings.lane.timeout,
                payload: Payload::Intervention(Box::new(Order {
                    idempotency_key: format!("{}/{number}/{attempt}", incident.id),
                    incident,
                })),
            })
        },
        |desk, entity, whole, sent| {
            let now = desk.now();
            planned.set(planned.get().saturating_sub(1));
            desk.budgets.interventions.spend(now.mono);
            whole.repair.spent_at = now.mono;
            whole.repair.lane.pend(sent.attempt, sent.deadline);
            let spec = whole.monitor.0.clone();
            if let Some(settings) = &spec.intervention {
                whole.vital.health.intervention_started(settings, now.mono);
                let number = whole.vital.health.attempts();
                whole.repair.number = number;
                let fact = Fact::Intervening {
                    number,
                    of: settings.max_attempts,
                    plugin: Arc::clone(&settings.lane.profile.plugin),
                };
                desk.note(entity, &spec, fact);
            }
        },
        Kind::Intervention,
    );
}
