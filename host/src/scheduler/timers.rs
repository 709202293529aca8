//! Wakes the state machines whose time has come: page-after, cooldowns, verification windows, holds, reminders.

use super::{
    components::Whole,
    follow::{follow, see_to_wake},
    resources::{Desk, Due, Scratch},
};
use crate::domain::time::Mono;
use bevy_ecs::{change_detection::ResMut, system::Query};

/// Gives the time to every state machine that asked for it.
pub fn advance(
    mut desk: Desk<'_>,
    mut due: ResMut<'_, Due>,
    mut scratch: Scratch<'_>,
    mut monitors: Query<'_, '_, Whole>,
) {
    let now = desk.now();
    let max_hold = desk.settings.0.max_hold;
    for (entity, at) in due.health.drain(..) {
        let Ok(mut whole) = monitors.get_mut(entity) else {
            continue;
        };
        if whole.vital.entry_at != at {
            continue;
        }
        whole.vital.entry_at = Mono::NEVER;
        if whole.vital.wake_at > now.mono {
            see_to_wake(&mut desk, entity, &mut whole.vital);
            continue;
        }
        let spec = whole.monitor.0.clone();
        whole.vital.health.on_time(&spec, now, max_hold, &mut scratch);
        follow(&mut desk, entity, &mut whole, &mut scratch, "");
    }
}
