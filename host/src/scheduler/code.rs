//! The codes: what their results mean for the outboxes, and how the head of each is sent.
//!
//! Architecture invariant: first in, first out per sink; a code leaves its box by a receipt, or as undeliverable
//! with the reason.

use super::{
    components::{Monitor, Phase},
    dispatch::{Buffers, Sending, dispatch},
    follow::{host_emission, need_sink, post, undeliverable},
    quarantine::Gate,
    resources::{Desk, Due, Endings, Inbox, LaneRef, Outlets, TAG_SINK, describe},
};
use crate::domain::{
    event::Fact,
    job::{JobResult, Payload},
    outbox::{DeliveryEnd, Settled},
    outcome::{Answer, DeliveryFailure, Outcome},
    spec::Kind,
    time::millis,
};
use bevy_ecs::{
    change_detection::{DetectChangesMut as _, Res, ResMut},
    entity::Entity,
    system::{Local, Query},
};
use std::{sync::Arc, time::Duration};

/// News of the host itself that are told within one run; the rest is in the log only.
const NEWS_MAX: usize = 16;
/// A code whose plugin is quarantined asks at least that often whether that is over.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Settles every delivery that ended.
pub fn advance(
    mut desk: Desk<'_>,
    inbox: Res<'_, Inbox>,
    mut endings: ResMut<'_, Endings>,
    mut monitors: Query<'_, '_, &mut Monitor>,
) {
    let ended = &mut endings.0.code;
    for mut results in ended.results.drain(..) {
        let applied = desk.time.clock.mono();
        for result in results.drain(..) {
            desk.count(Kind::Code, &result, applied);
            let entity = Entity::from_bits(result.key.monitor.0);
            ended_one(&mut desk, &mut monitors, entity, result.key.sink, Some(&result));
        }
        inbox.0.recycle(results);
    }
    for (entity, sink) in ended.lost.drain(..) {
        ended_one(&mut desk, &mut monitors, entity, sink, None);
    }
}

/// One delivery ended, or was given up.
fn ended_one(
    desk: &mut Desk<'_>,
    monitors: &mut Query<'_, '_, &mut Monitor>,
    entity: Entity,
    index: u16,
    result: Option<&JobResult>,
) {
    let Ok(mut monitor) = monitors.get_mut(entity) else {
        return;
    };
    let monitor = monitor.bypass_change_detection();
    let Monitor {
        spec, case, pulse, ..
    } = monitor;
    let number = usize::from(index);
    let (Some(case), Some(sink)) = (case, spec.sinks.get(number)) else {
        return;
    };
    let Some(lane) = case.sinks.get_mut(number) else {
        return;
    };
    let now = desk.now();
    let end = end(result.map(|result| &result.outcome));
    let before = lane.outbox.len();
    let settled = lane.outbox.settle(sink, &end, now.mono);
    // Its next code is on record already; that this one is gone may wait.
    desk.ledger.0.mark(entity, pulse, false);
    desk.tally.0.outbox = (desk.tally.0.outbox + lane.outbox.len()).saturating_sub(before);
    let message = match end {
        DeliveryEnd::Delivered { summary } => summary,
        DeliveryEnd::Retry { message, .. }
        | DeliveryEnd::Permanent(message)
        | DeliveryEnd::NotRun(message) => message,
    };
    let name = Arc::clone(&sink.name);
    match settled {
        Some(Settled::Delivered(alert)) => {
            let fact = Fact::Delivered {
                sink: name,
                alert,
                summary: message,
            };
            desk.note(entity, spec, fact);
        }
        Some(Settled::Undeliverable(alert)) => {
            undeliverable(desk, entity, spec, &name, alert, message);
        }
        Some(Settled::Retry(alert, pause)) => {
            let at = now.mono.after(pause);
            lane.lane.wait(at);
            desk.alarm.0.insert(at, entity.to_bits(), TAG_SINK + index);
            let fact = Fact::Retrying {
                sink: name,
                alert,
                message,
                in_ms: millis(pause),
            };
            desk.note(entity, spec, fact);
            return;
        }
        None => {}
    }
    if !lane.outbox.is_empty() {
        need_sink(&mut desk.needed.0.code, entity, index, lane, now.mono);
    }
    monitor.close_case();
}

/// What an outcome means for the code; none: it never came back.
fn end(outcome: Option<&Outcome>) -> DeliveryEnd {
    match outcome {
        Some(Outcome::Answer(Answer::Code(answer))) => match answer {
            Ok(receipt) => DeliveryEnd::Delivered {
                summary: receipt.summary.clone(),
            },
            Err(DeliveryFailure::Retryable { message, after }) => DeliveryEnd::Retry {
                message: message.clone(),
                after: *after,
                maybe: false,
            },
            Err(DeliveryFailure::Permanent(message)) => DeliveryEnd::Permanent(message.clone()),
        },
        Some(outcome @ Outcome::Denied(_)) => DeliveryEnd::Permanent(outcome.to_string()),
        Some(outcome @ (Outcome::NoCapacity(_) | Outcome::Expired)) => {
            DeliveryEnd::NotRun(outcome.to_string())
        }
        other => DeliveryEnd::Retry {
            message: describe(other),
            after: None,
            // Of anything that ran and said nothing, nobody knows whether it arrived.
            maybe: true,
        },
    }
}

/// Puts the host's own news into the boxes of its sinks.
pub fn tell_host_news(mut desk: Desk<'_>, mut monitors: Query<'_, '_, &mut Monitor>) {
    if desk.host.news.is_empty() {
        return;
    }
    let mut news = std::mem::take(&mut desk.host.news);
    if let Some(entity) = desk.host.entity
        && let Ok(mut monitor) = monitors.get_mut(entity)
    {
        let Monitor {
            spec, case, pulse, ..
        } = monitor.bypass_change_detection();
        desk.ledger.0.mark(entity, pulse, true);
        let case = desk.case(spec, case);
        desk.tally.0.dropped_news += news.len().saturating_sub(NEWS_MAX) as u64;
        for (title, body) in news.drain(..).take(NEWS_MAX) {
            let number = desk.episodes.0.allocate();
            let emission = host_emission(number, title, body);
            post(&mut desk, entity, spec, &mut case.sinks, emission);
        }
    }
    news.clear();
    desk.host.news = news;
}

/// Sinks whose pause is over have something to send.
pub fn schedule(mut desk: Desk<'_>, mut due: ResMut<'_, Due>, mut monitors: Query<'_, '_, &mut Monitor>) {
    let now = desk.now().mono;
    for (entity, index) in due.sinks.drain(..) {
        if let Ok(mut monitor) = monitors.get_mut(entity)
            && let Some(lane) = monitor.bypass_change_detection().sink_mut(index)
            && lane.lane.is_due(now)
        {
            let since = lane.lane.at();
            need_sink(&mut desk.needed.0.code, entity, index, lane, since);
        }
    }
}

/// Sends the head of every box that is needed.
pub fn dispatch_codes(
    mut desk: Desk<'_>,
    outlets: Res<'_, Outlets>,
    mut buffers: Local<'_, Buffers>,
    mut monitors: Query<'_, '_, &mut Monitor>,
) {
    dispatch(
        &mut desk,
        &outlets.0.code,
        &mut monitors,
        &mut buffers,
        Kind::Code,
        |desk, monitor, ticket| {
            let now = desk.now().mono;
            let Monitor {
                spec, case, pulse, ..
            } = monitor;
            let sink = spec.sinks.get(usize::from(ticket.sink))?;
            let case = case.as_deref_mut()?;
            let lane = case.sinks.get_mut(usize::from(ticket.sink))?;
            if !lane.lane.is(Phase::Needed, ticket.since) {
                return None;
            }
            if case.held && !lane.outbox.head_was_tried() {
                lane.lane.settle();
                return None;
            }
            if !desk.ledger.0.may_speak(ticket.entity, *pulse, case.seq) {
                lane.lane.settle();
                return None;
            }
            let before = lane.outbox.len();
            loop {
                lane.outbox.skip_needless();
                let Some(alert) = lane.outbox.give_up(sink, now) else {
                    break;
                };
                let message = format!("older than {:?} (max-age)", sink.max_age);
                undeliverable(desk, ticket.entity, spec, &sink.name, alert, message);
            }
            if lane.outbox.len() != before {
                desk.ledger.0.mark(ticket.entity, pulse, false);
            }
            desk.tally.0.outbox = (desk.tally.0.outbox + lane.outbox.len()).saturating_sub(before);
            let Some(alert) = lane.outbox.head().map(Arc::clone) else {
                lane.lane.settle();
                monitor.close_case();
                return None;
            };
            if let Gate::Shut { until, .. } = desk.quarantine.gate(Kind::Code, lane.lane.flow(), now) {
                // It waits, and is looked at in time to be given up.
                let at = until
                    .min(now.after(LOOK_AGAIN))
                    .min(lane.outbox.head_expires_at(sink));
                desk.tally.0.held_codes += 1;
                lane.lane.wait(at);
                desk.alarm
                    .0
                    .insert(at, ticket.entity.to_bits(), TAG_SINK + ticket.sink);
                return None;
            }
            Some(Sending {
                lane: LaneRef::Sink(ticket.sink),
                attempt: desk.attempts.next(),
                timeout: sink.lane.timeout,
                payload: Payload::Code(alert),
                trace: false,
            })
        },
        |_, _, monitor, sent| {
            if let LaneRef::Sink(index) = sent.lane
                && let Some(lane) = monitor.sink_mut(index)
            {
                lane.outbox.sent(sent.attempt);
            }
        },
    );
}
