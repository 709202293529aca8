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
        let (beat, trouble) = one(&settings, &mut company).await;
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

/// One heartbeat, and what is wrong.
async fn one(settings: &Heartbeat, company: &mut Punctual) -> (Beat, String) {
    if let Err(trouble) = company.look() {
        return (Beat::Withheld, trouble.to_string());
    }
    // No longer than until the next one.
    match tokio::time::timeout(settings.every, client::ping(&settings.url)).await {
        Ok(Ok(())) => (Beat::Sent, String::new()),
        Ok(Err(error)) => (Beat::Failed, format!("{error:#}")),
        Err(_) => (Beat::Failed, "it did not answer in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        domain::time::{Mono, Wall},
        scheduler::stats::Stats,
    };
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn only_a_scheduler_that_runs_is_heard_of() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = Heartbeat {
            url: format!("http://{}/s3cret", listener.local_addr().unwrap()).into(),
            every: Duration::from_secs(60),
        };
        let (clock, hand) = Clock::manual(Mono(0), Wall(0));
        let mut company = Punctual::new(Stats::default(), clock);
        let answers = tokio::spawn(async move {
            for status in ["200 OK", "503 Busy"] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let length = stream.read(&mut head).await.unwrap();
                assert!(head[..length].starts_with(b"GET /s3cret HTTP/1.1"));
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            listener
        });
        assert_eq!(one(&settings, &mut company).await, (Beat::Sent, String::new()));
        let (beat, wrong) = one(&settings, &mut company).await;
        assert!(
            beat == Beat::Failed && wrong.contains("503") && !wrong.contains("s3cret"),
            "{wrong}"
        );
        let listener = answers.await.unwrap();
        hand.advance(Duration::from_secs(60));
        let (beat, wrong) = one(&settings, &mut company).await;
        assert_eq!(beat, Beat::Withheld);
        assert!(wrong.contains("the scheduler has not run for"), "{wrong}");
        // Whoever had connected would wait there.
        assert!(
            tokio::time::timeout(Duration::ZERO, listener.accept())
                .await
                .is_err()
        );
    }
}
