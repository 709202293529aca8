//! Who watches the watcher: an outside dead man's switch hears from this host as long as it does what it is there for, and
//! raises the alarm when it hears nothing.

use super::punctual::Punctual;
use crate::{
    domain::host::Heartbeat,
    http::client,
    operate::beats::{Beat, Beats},
};
use tokio::time::MissedTickBehavior;

/// Pings until the host stops. Silent while the scheduler does not run on time.
pub(super) async fn beat(settings: Heartbeat, mut company: Punctual, beats: Beats) {
    let mut ticks = tokio::time::interval(settings.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        ticks.tick().await;
        let (beat, trouble) = match company.look() {
            Err(trouble) => (Beat::Withheld, trouble.to_string()),
            // No longer than until the next one.
            Ok(()) => match tokio::time::timeout(settings.every, client::ping(&settings.url)).await {
                Ok(Ok(())) => (Beat::Sent, String::new()),
                Ok(Err(error)) => (Beat::Failed, format!("{error:#}")),
                Err(_) => (Beat::Failed, "it did not answer in time".to_owned()),
            },
        };
        beats.count(beat);
        // Once for each turn, however long it lasts.
        if last.replace(beat) == Some(beat) {
            continue;
        }
        match beat {
            Beat::Sent => tracing::info!("the heartbeat is taken"),
            Beat::Failed => tracing::warn!("the heartbeat of [host.heartbeat] is not taken: {trouble}"),
            Beat::Withheld => tracing::error!("no heartbeat is sent: {trouble}"),
        }
    }
}
