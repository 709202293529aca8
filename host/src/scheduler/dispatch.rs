//! How needed lanes become batches in a channel; the same for every kind.
//!
//! Architecture invariant: a lane's state changes only after the channel took the batch that holds its job. A
//! full channel leaves every lane needed, in its old order, and counts one.

use super::{
    components::{Whole, WholeItem},
    resources::{Desk, LaneRef, Tag, Ticket},
};
use crate::{
    domain::{
        job::{Job, JobKey, MonitorId, Payload},
        spec::Kind,
        time::{Mono, Wall, millis},
    },
    queue::Outlet,
};
use bevy_ecs::{entity::Entity, system::Query};
use std::time::Duration;

/// What a kind says about a lane that is to be sent.
pub struct Sending {
    /// Which lane.
    pub lane: LaneRef,
    /// Under which attempt.
    pub attempt: u32,
    /// When it fell due.
    pub due: Mono,
    /// Its timeout.
    pub timeout: Duration,
    /// What the kind needs beside the monitor.
    pub payload: Payload,
}

/// What a kind learns about a lane that was sent.
pub struct Sent {
    /// Which lane.
    pub lane: LaneRef,
    /// Under which attempt.
    pub attempt: u32,
    /// When it must have come back.
    pub deadline: Mono,
}

/// Sends needed lanes in batches. `prepare` looks at a lane and changes nothing that a full channel could not
/// leave so (none: the lane is not needed any more); `sent` changes the state of a lane whose job was taken.
pub fn dispatch(
    desk: &mut Desk<'_>,
    outlet: &Outlet,
    monitors: &mut Query<'_, '_, Whole>,
    mut prepare: impl FnMut(&mut Desk<'_>, &mut WholeItem<'_, '_>, (Entity, u16), Mono) -> Option<Sending>,
    mut sent: impl FnMut(&mut Desk<'_>, Entity, &mut WholeItem<'_, '_>, &Sent),
    kind: Kind,
) {
    let settings = outlet.settings();
    let now = desk.now();
    let expires = now.mono.after(desk.settings.0.queue_wait);
    let mut taken: Vec<((Entity, u16, Mono), Sent)> = Vec::new();
    loop {
        let room = outlet.room().min(settings.batch_max);
        let needed = desk.needed.0.get(kind).len();
        if needed == 0 {
            break;
        }
        // Under load a channel that has room for a few jobs only is left to drain: small batches cost more than
        // they bring.
        if room < needed.min(settings.batch_min).min(settings.capacity) {
            desk.tally.0.kinds.get_mut(kind).full += 1;
            break;
        }
        let mut batch = outlet.buffer();
        taken.clear();
        while batch.len() < room
            && let Some((entity, index, since)) = desk.needed.0.get_mut(kind).pop_front()
        {
            let Ok(mut whole) = monitors.get_mut(entity) else {
                continue;
            };
            let Some(sending) = prepare(desk, &mut whole, (entity, index), since) else {
                continue;
            };
            let deadline = expires.after(sending.timeout).after(desk.settings.0.grace);
            batch.push(Job {
                key: JobKey {
                    monitor: MonitorId(entity.to_bits()),
                    kind,
                    sink: index,
                    attempt: sending.attempt,
                },
                due: sending.due,
                due_wall: Wall(now.wall.0.saturating_sub(millis(now.mono.since(sending.due)))),
                expires,
                sent: now.mono,
                spec: whole.monitor.0.clone(),
                payload: sending.payload,
            });
            let sent = Sent {
                lane: sending.lane,
                attempt: sending.attempt,
                deadline,
            };
            taken.push(((entity, index, since), sent));
        }
        if batch.is_empty() {
            continue;
        }
        if outlet.try_send(batch).is_err() {
            desk.tally.0.kinds.get_mut(kind).full += 1;
            for (ticket, _) in taken.drain(..).rev() {
                desk.needed.0.get_mut(kind).push_front(ticket);
            }
            break;
        }
        let counts = desk.tally.0.kinds.get_mut(kind);
        counts.sent += taken.len() as u64;
        counts.pending += taken.len();
        for ((entity, _, _), job) in taken.drain(..) {
            if let Ok(mut whole) = monitors.get_mut(entity) {
                sent(desk, entity, &mut whole, &job);
                let tag = Tag::Overdue(job.lane);
                desk.alarm.0.insert(job.deadline, Ticket { entity, tag });
            }
        }
    }
}
