//! The codes: what their results mean for the outboxes, and how the head of each is sent.
//!
//! Architecture invariant: first in, first out per sink; a code leaves its box by a receipt, or as undeliverable
//! with the reason.

use super::{
    components::{Phase, Sinks, Whole},
    dispatch::{Sending, dispatch},
    follow::{host_emission, need_sink, post, undeliverable},
    resources::{Desk, Due, Endings, LaneRef, Outlets, Tag, Ticket, describe},
};
use crate::domain::{
    event::Fact,
    job::Payload,
    outbox::{DeliveryEnd, Settled},
    outcome::{Answer, DeliveryFailure, Outcome},
    spec::Kind,
    time::millis,
};
use bevy_ecs::{
    change_detection::{Res, ResMut},
    system::Query,
};
use std::sync::Arc;

/// News of the host itself that are told within one run; the rest is in the log only.
const NEWS_MAX: usize = 16;

/// Settles every delivery that ended.
pub fn advance(mut desk: Desk<'_>, mut endings: ResMut<'_, Endings>, mut monitors: Query<'_, '_, Whole>) {
    let now = desk.now();
    for ending in endings.0.code.drain(..) {
        let entity = ending.entity;
        let Ok(mut whole) = monitors.get_mut(entity) else {
            continue;
        };
        if let Some(result) = &ending.result {
            desk.count(Kind::Code, result);
        }
        let spec = whole.monitor.0.clone();
        let index = usize::from(ending.sink);
        let (Some(lane), Some(sink)) = (whole.sinks.0.get_mut(index), spec.sinks.get(index)) else {
            continue;
        };
        let end = end(ending.result.as_ref().map(|result| &result.outcome));
        let before = lane.outbox.len();
        let settled = lane.outbox.settle(sink, &end, now.mono);
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
                desk.note(entity, &spec, fact);
            }
            Some(Settled::Undeliverable(alert)) => {
                undeliverable(&mut desk, entity, &spec, &name, alert, message);
            }
            Some(Settled::Retry(alert, pause)) => {
                let at = now.mono.after(pause);
                lane.lane.wait(at);
                let tag = Tag::Due(LaneRef::Sink(ending.sink));
                desk.alarm.0.insert(at, Ticket { entity, tag });
                let fact = Fact::Retrying {
                    sink: name,
                    alert,
                    message,
                    in_ms: millis(pause),
                };
                desk.note(entity, &spec, fact);
                continue;
            }
            None => {}
        }
        if !lane.outbox.is_empty() {
            need_sink(&mut desk.needed.0, entity, index, lane, now.mono);
        }
    }
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
pub fn tell_host_news(mut desk: Desk<'_>, mut monitors: Query<'_, '_, Whole>) {
    let mut news = std::mem::take(&mut desk.host.news);
    if let Some(entity) = desk.host.entity
        && let Ok(mut whole) = monitors.get_mut(entity)
    {
        let spec = whole.monitor.0.clone();
        desk.tally.0.dropped_news += news.len().saturating_sub(NEWS_MAX) as u64;
        for (title, body) in news.drain(..).take(NEWS_MAX) {
            let number = desk.episodes.0.allocate();
            let emission = host_emission(number, title, body);
            post(&mut desk, entity, &spec, &mut whole.sinks.0, emission);
        }
    }
    news.clear();
    desk.host.news = news;
}

/// Sinks whose pause is over have something to send.
pub fn schedule(mut desk: Desk<'_>, mut due: ResMut<'_, Due>, mut sinks: Query<'_, '_, &mut Sinks>) {
    for (entity, index, at) in due.lanes.code.drain(..) {
        if let Ok(mut sinks) = sinks.get_mut(entity)
            && let Some(lane) = sinks.0.get_mut(usize::from(index))
            && lane.lane.is(Phase::Waiting, at)
        {
            need_sink(&mut desk.needed.0, entity, usize::from(index), lane, at);
        }
    }
}

/// Sends the head of every box that is needed.
pub fn dispatch_codes(mut desk: Desk<'_>, outlets: Res<'_, Outlets>, mut monitors: Query<'_, '_, Whole>) {
    dispatch(
        &mut desk,
        &outlets.0.code,
        &mut monitors,
        |desk, whole, (entity, index), since| {
            let now = desk.now().mono;
            let spec = whole.monitor.0.clone();
            let sink = spec.sinks.get(usize::from(index))?;
            let lane = whole.sinks.0.get_mut(usize::from(index))?;
            if !lane.lane.is(Phase::Needed, since) {
                return None;
            }
            let before = lane.outbox.len();
            loop {
                lane.outbox.skip_needless();
                let Some(alert) = lane.outbox.give_up(sink, now) else {
                    break;
                };
                let message = format!("older than {:?} (max-age)", sink.max_age);
                undeliverable(desk, entity, &spec, &sink.name, alert, message);
            }
            desk.tally.0.outbox = (desk.tally.0.outbox + lane.outbox.len()).saturating_sub(before);
            let Some(alert) = lane.outbox.head() else {
                lane.lane.settle();
                return None;
            };
            Some(Sending {
                lane: LaneRef::Sink(index),
                attempt: lane.lane.attempt().wrapping_add(1),
                due: since,
                timeout: sink.lane.timeout,
                payload: Payload::Code(Arc::clone(alert)),
            })
        },
        |_, _, whole, sent| {
            if let LaneRef::Sink(index) = sent.lane
                && let Some(lane) = whole.sinks.0.get_mut(usize::from(index))
            {
                lane.lane.pend(sent.attempt, sent.deadline);
                lane.outbox.sent(sent.attempt);
            }
        },
        Kind::Code,
    );
}
