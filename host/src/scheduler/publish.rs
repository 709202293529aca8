//! Hands facts and figures to whoever listens. Never waits: what nobody takes in time is dropped and counted.

use super::{
    resources::{Desk, Journal, Publisher},
    window::Change,
};
use crate::domain::spec::Kind;
use bevy_ecs::{change_detection::ResMut, entity::Entity};
use std::time::Duration;

/// Figures are refreshed that often.
const FIGURES_EVERY: Duration = Duration::from_millis(100);

/// Publishes.
pub fn publish(mut desk: Desk<'_>, mut publisher: ResMut<'_, Publisher>) {
    let Journal(events) = &mut *desk.journal;
    let host = desk.host.entity.unwrap_or(Entity::PLACEHOLDER).to_bits();
    for event in events.drain(..) {
        desk.ledger.0.fact(&event, event.monitor.0 == host);
        if publisher.events.try_send(event).is_err() {
            desk.tally.0.dropped_events += 1;
        }
    }
    let tally = &mut desk.tally.0;
    tally.runs += 1;
    let now = desk.time.now.mono;
    for kind in Kind::ALL {
        let counts = tally.kinds.get_mut(kind);
        match desk.windows.0.get_mut(kind).adapt(now) {
            Change::None => {}
            Change::Lowered => counts.lowered += 1,
            Change::Raised => counts.raised += 1,
        }
    }
    if now.since(publisher.published_at) >= FIGURES_EVERY {
        publisher.published_at = now;
        tally.at = now;
        for kind in Kind::ALL {
            let (counts, window) = (tally.kinds.get_mut(kind), desk.windows.0.get(kind));
            counts.needed = desk.needed.0.get(kind).len();
            counts.limit = window.limit();
            counts.depth = window.depth();
            counts.batch = window.batch();
            counts.cost = window.cost();
        }
        (tally.quarantined, tally.paused) = (desk.quarantine.count(), desk.correlated.paused());
        publisher.stats.publish(tally);
    }
}
