//! Wakes the state machines whose time has come: page-after, cooldowns, verification windows, holds, reminders.

use super::{
    components::Monitor,
    follow::{follow, see_to_wake},
    resources::{Desk, Due, Scratch},
};
use crate::domain::time::Mono;
use bevy_ecs::{
    change_detection::{DetectChangesMut as _, ResMut},
    system::Query,
};

/// Gives the time to every state machine that asked for it.
pub fn advance(
    mut desk: Desk<'_>,
    mut due: ResMut<'_, Due>,
    mut scratch: Scratch<'_>,
    mut monitors: Query<'_, '_, &mut Monitor>,
) {
    let now = desk.now();
    let max_hold = desk.settings.0.max_hold;
    for entity in due.health.drain(..) {
        let Ok(mut monitor) = monitors.get_mut(entity) else {
            continue;
        };
        let monitor = monitor.bypass_change_detection();
        let Monitor {
            spec, health, case, ..
        } = monitor;
        let Some(case) = case else {
            continue;
        };
        if case.entry_at > now.mono {
            continue;
        }
        case.entry_at = Mono::NEVER;
        if case.wake_at > now.mono {
            see_to_wake(&mut desk, entity, case);
            continue;
        }
        health.on_time(spec, now, max_hold, &mut scratch);
        follow(&mut desk, entity, monitor, &mut scratch, "");
    }
}
