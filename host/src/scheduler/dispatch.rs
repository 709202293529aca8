//! How needed lanes become batches in a channel; the same for every kind.
//!
//! Architecture invariant: a lane's state changes only after the channel took the batch that holds its job. A
//! full channel leaves every lane needed, in its old order, and counts one.

use super::{
    components::Monitor,
    fair::{Room, Ticket},
    flights::Flight,
    resources::{Desk, LaneRef},
    window::BATCH,
};
use crate::domain::{
    job::{Job, JobKey, MonitorId, Payload},
    spec::Kind,
    time::{Mono, Wall, millis, nanos},
};
use crate::queue::Outlet;
use bevy_ecs::{change_detection::DetectChangesMut as _, entity::Entity, system::Query};
use std::time::Duration;

/// What a kind says about a lane that is to be sent.
pub struct Sending {
    /// Which lane.
    pub lane: LaneRef,
    /// Under which attempt.
    pub attempt: u32,
    /// Its timeout.
    pub timeout: Duration,
    /// What the kind needs beside the monitor.
    pub payload: Payload,
    /// See [`Job::trace`].
    pub trace: bool,
}

/// A lane whose job is in the batch.
pub struct Sent {
    ticket: Ticket,
    flow: u16,
    /// Which lane.
    pub lane: LaneRef,
    /// Under which attempt.
    pub attempt: u32,
    deadline: Mono,
    cost_ns: u64,
}

/// Buffers of one kind's dispatch, kept from run to run.
#[derive(Default)]
pub struct Buffers {
    taken: Vec<(u16, Ticket)>,
    sent: Vec<Sent>,
}

/// Reads a word of every configuration that is about to be handed out. They lie anywhere in memory; these reads do not
/// depend on each other, so that the processor waits for many at once. The counting of references that comes next
/// would make it wait for each (measured: `cargo xtask bench sched`, docs/benchmarks.md).
fn touch(monitors: &Query<'_, '_, &mut Monitor>, taken: &[(u16, Ticket)]) {
    let mut sum = 0_u64;
    for (_, ticket) in taken {
        if let Ok(monitor) = monitors.get(ticket.entity) {
            let timeout = monitor
                .spec
                .pulse
                .as_ref()
                .map(|check| check.timeout.subsec_nanos());
            sum = sum.wrapping_add(u64::from(timeout.unwrap_or(0)));
        }
    }
    std::hint::black_box(sum);
}

/// Sends needed lanes in batches, as far as there is room. `prepare` looks at a lane and changes nothing that a full
/// channel could not leave so (none: the lane is not needed any more); `sent` changes the state of a lane whose job was
/// taken, and which is pending now.
pub fn dispatch(
    desk: &mut Desk<'_>,
    outlet: &Outlet,
    monitors: &mut Query<'_, '_, &mut Monitor>,
    buffers: &mut Buffers,
    kind: Kind,
    mut prepare: impl FnMut(&mut Desk<'_>, &mut Monitor, &Ticket) -> Option<Sending>,
    mut sent: impl FnMut(&mut Desk<'_>, Entity, &mut Monitor, &Sent),
) {
    let needed = desk.needed.0.get(kind).len();
    if needed == 0 {
        return;
    }
    let now = desk.now();
    let settings = outlet.settings();
    let waiting = outlet.waiting();
    let window = desk.windows.0.get_mut(kind);
    let allowed = window
        .limit()
        .saturating_sub(desk.tally.0.kinds.get(kind).pending);
    let room = allowed.min(window.depth().saturating_sub(waiting));
    // Under load a channel that has room for a few jobs only is left to drain: small batches cost more than they
    // bring.
    if room
        < needed
            .min(settings.batch_min)
            .min(settings.capacity)
            .min(window.limit())
    {
        if room == allowed {
            window.hold_back();
        }
        desk.tally.0.kinds.get_mut(kind).full += 1;
        return;
    }
    let (queues, tenants) = (desk.needed.0.get_mut(kind), &mut desk.tenants.0);
    let shared = queues.is_shared();
    let mut room = Room {
        jobs: room,
        work: if shared {
            window.work_room(waiting)
        } else {
            Duration::MAX
        },
        // Of several users of a kind, none may have so much out that the others find no room at once.
        most: window.limit() - window.limit() / 4,
        limit: window.limit(),
        workers: window.workers(),
        now: now.mono,
    };
    let at_most = queues.take(tenants, room, &mut buffers.taken);
    // What a quota lets wait, nobody would be served any sooner by a higher limit.
    let taken = buffers.taken.len();
    if at_most || (taken == allowed && taken < needed) {
        window.hold_back();
    }
    let size = window.batch_of(taken);
    touch(monitors, &buffers.taken);
    desk.quarantine.plan();
    let expires = now.mono.after(desk.settings.0.queue_wait);
    let mut tickets = buffers.taken.drain(..);
    let mut outdated = 0;
    loop {
        if tickets.len() == 0 {
            // Who is not needed any more has left a place to others.
            drop(tickets);
            if outdated == 0 {
                return;
            }
            room.jobs = std::mem::take(&mut outdated);
            if shared {
                room.work = desk.windows.0.get(kind).work_room(outlet.waiting());
            }
            let (queues, tenants) = (desk.needed.0.get_mut(kind), &mut desk.tenants.0);
            queues.take(tenants, room, &mut buffers.taken);
            if buffers.taken.is_empty() {
                return;
            }
            tickets = buffers.taken.drain(..);
        }
        let mut batch = outlet.buffer();
        let mut work = 0;
        while batch.len() < size
            && (!shared || work < nanos(BATCH))
            && let Some((flow, ticket)) = tickets.next()
        {
            let entity = ticket.entity;
            let sending = match monitors.get_mut(entity) {
                Ok(mut monitor) => {
                    let monitor = monitor.bypass_change_detection();
                    prepare(desk, monitor, &ticket).map(|sending| (sending, monitor.spec.clone()))
                }
                Err(_) => None,
            };
            let Some((sending, spec)) = sending else {
                desk.needed.0.get_mut(kind).discard(&mut desk.tenants.0, flow);
                outdated += 1;
                continue;
            };
            let cost = desk.needed.0.get(kind).cost_ns(flow);
            work += cost;
            let deadline = expires.after(sending.timeout).after(desk.settings.0.grace);
            batch.push(Job {
                key: JobKey {
                    monitor: MonitorId(entity.to_bits()),
                    kind,
                    sink: ticket.sink,
                    attempt: sending.attempt,
                },
                due: ticket.since,
                due_wall: Wall(now.wall.0.saturating_sub(millis(now.mono.since(ticket.since)))),
                expires,
                sent: now.mono,
                spec,
                payload: sending.payload,
                trace: sending.trace,
            });
            buffers.sent.push(Sent {
                ticket,
                flow,
                lane: sending.lane,
                attempt: sending.attempt,
                deadline,
                cost_ns: cost,
            });
        }
        if batch.is_empty() {
            outlet.recycle(batch);
            continue;
        }
        let counts = desk.tally.0.kinds.get_mut(kind);
        if outlet.try_send(batch).is_err() {
            counts.full += 1;
            let (queues, tenants) = (desk.needed.0.get_mut(kind), &mut desk.tenants.0);
            for (flow, ticket) in tickets.rev() {
                queues.put_back(tenants, flow, ticket);
            }
            for sent in buffers.sent.drain(..).rev() {
                queues.put_back(tenants, sent.flow, sent.ticket);
            }
            return;
        }
        counts.batches += 1;
        counts.sent += buffers.sent.len() as u64;
        counts.pending += buffers.sent.len();
        let window = desk.windows.0.get_mut(kind);
        buffers.sent.iter().for_each(|sent| window.send(sent.cost_ns));
        for job in buffers.sent.drain(..) {
            let entity = job.ticket.entity;
            let Ok(mut monitor) = monitors.get_mut(entity) else {
                continue;
            };
            let monitor = monitor.bypass_change_detection();
            let flight = Flight {
                entity,
                lane: job.lane,
                flow: job.flow,
                deadline: job.deadline,
            };
            let desk = &mut *desk;
            let number = desk.out.0.start(flight, &mut desk.alarm.0);
            desk.quarantine.sent(kind, job.flow, job.deadline);
            if let Some(lane) = monitor.lane_mut(job.lane) {
                lane.pend(job.attempt, number);
            }
            sent(desk, entity, monitor, &job);
        }
    }
}
