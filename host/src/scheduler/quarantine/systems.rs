//! The quarantine's part in each run: the time goes on, and monitors are checked because of it.

use super::News;
use crate::{
    domain::{event::Fact, time::Mono},
    scheduler::{
        components::{Monitor, Phase},
        follow::wait_for_pulse,
        resources::Desk,
    },
};
use bevy_ecs::{change_detection::DetectChangesMut as _, entity::Entity, system::Query};
use std::time::Duration;

/// What was held is checked over no less than that.
const SPREAD_MIN: Duration = Duration::from_secs(1);
/// Monitors that are released in one run.
const RELEASED_PER_RUN: usize = 4096;

/// The time goes on for all breakers.
pub fn turn(mut desk: Desk<'_>) {
    let (now, stalled) = (desk.now().mono, desk.time.stalled);
    if desk.quarantine.settings.is_some() {
        desk.quarantine.stood_still(stalled);
        desk.quarantine.turn(now);
    }
}

/// Tells what is new, and has monitors checked: probes at once, and what was held spread out.
pub fn advance(mut desk: Desk<'_>, mut monitors: Query<'_, '_, &mut Monitor>) {
    let quarantine = &mut *desk.quarantine;
    if quarantine.news.is_empty() && quarantine.probes.is_empty() && quarantine.released.is_empty() {
        return;
    }
    for News { fact, loud } in std::mem::take(&mut desk.quarantine.news) {
        match &fact {
            Fact::Quarantined { .. } => desk.tally.0.quarantines += 1,
            _ => desk.tally.0.readmissions += 1,
        }
        desk.note_host(fact, loud);
    }
    let now = desk.now().mono;
    for entity in std::mem::take(&mut desk.quarantine.probes) {
        check_by(&mut desk, &mut monitors, entity, |_, _| now);
    }
    let spread = desk.quarantine.spread.max(SPREAD_MIN);
    let count = desk.quarantine.released.len().min(RELEASED_PER_RUN);
    let released: Vec<Entity> = desk.quarantine.released.drain(..count).collect();
    for entity in released {
        check_by(&mut desk, &mut monitors, entity, |monitor, hash| {
            let spread = monitor.spec.policy.retry_interval.max(spread);
            now.after(spread.mul_f64(hash))
        });
    }
    if desk.quarantine.released.is_empty() {
        desk.quarantine.spread = Duration::ZERO;
    }
}

/// A monitor whose pulse was held is checked at that time, unless it is sooner anyway.
fn check_by(
    desk: &mut Desk<'_>,
    monitors: &mut Query<'_, '_, &mut Monitor>,
    entity: Entity,
    when: impl FnOnce(&Monitor, f64) -> Mono,
) {
    let Ok(mut monitor) = monitors.get_mut(entity) else {
        return;
    };
    let monitor = monitor.bypass_change_detection();
    if !monitor.pulse.is_held() {
        return;
    }
    monitor.pulse.set_held(false);
    // A hash of who it is, from 0 to 1, spreads those that were held together.
    let hash = (entity.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as f64 / 1024.0;
    let at = when(monitor, hash);
    if monitor.pulse.phase() == Phase::Waiting && monitor.pulse.at() > at {
        wait_for_pulse(desk, entity, &mut monitor.pulse, at);
    }
}
