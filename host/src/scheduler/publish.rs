//! Hands facts and figures to whoever listens. Never waits: what nobody takes in time is dropped and counted.

use super::resources::{Desk, Journal, Publisher};
use crate::domain::spec::Kind;
use bevy_ecs::change_detection::ResMut;
use std::time::Duration;

/// Figures are refreshed that often.
const FIGURES_EVERY: Duration = Duration::from_millis(100);

/// Publishes.
pub fn publish(mut desk: Desk<'_>, mut publisher: ResMut<'_, Publisher>) {
    let Journal(events) = &mut *desk.journal;
    for event in events.drain(..) {
        if publisher.events.try_send(event).is_err() {
            desk.tally.0.dropped_events += 1;
        }
    }
    let tally = &mut desk.tally.0;
    tally.runs += 1;
    let now = desk.time.now.mono;
    if now.since(publisher.published_at) >= FIGURES_EVERY {
        publisher.published_at = now;
        tally.at = now;
        for kind in Kind::ALL {
            tally.kinds.get_mut(kind).needed = desk.needed.0.get(kind).len();
        }
        publisher.stats.publish(tally);
    }
}
