//! A guest that computes does not keep its thread to itself.

use crate::support::sandbox::{Lab, Work, roomy};
use pulse_host::domain::{limits::Limits, outcome::Outcome};
use serde_json::json;
use std::{cell::Cell, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Two spinners on one thread, and beside them something that waits for the operating system again and again: it is
/// woken between their slices, not when they are done.
#[test]
fn sockets_are_looked_at_while_guests_compute() {
    const CPU: Duration = Duration::from_millis(250);
    let lab = Lab::new(2, &[]);
    let spin = Work::chaos(json!({"do": "spin"})).limits(Limits {
        fuel: 1 << 60,
        cpu: CPU,
        ..roomy()
    });
    // Each spinner is polled for slices of an epoch, 10 ms: that is 25 slices each, fewer than the runtime takes before
    // it looks at sockets by itself. On a machine that stops this thread for long the slices are fewer; hence the
    // repetitions, and no more than a few rounds.
    let rounds = (0..20)
        .map(|_| {
            let rounds = Cell::new(0);
            lab.wait_for(async |executor| {
                // As tasks of their own, which is how the workers run them.
                let spinners = [(); 2].map(|()| {
                    let (executor, job) = (Arc::clone(&executor), lab.job(&spin));
                    tokio::spawn(async move { executor.execute(job).await.outcome })
                });
                let spinners = async {
                    for spinner in spinners {
                        assert_eq!(spinner.await.unwrap(), Outcome::OutOfCpu { limit: CPU });
                    }
                };
                let (mut one, mut other) = tokio::net::UnixStream::pair().unwrap();
                let echo = tokio::spawn(async move {
                    while let Ok(byte) = other.read_u8().await {
                        other.write_u8(byte).await.unwrap();
                    }
                });
                let talk = async {
                    loop {
                        one.write_u8(1).await.unwrap();
                        one.read_u8().await.unwrap();
                        rounds.set(rounds.get() + 1);
                    }
                };
                tokio::select! {
                    () = spinners => {}
                    () = talk => {}
                }
                echo.abort();
            });
            rounds.get()
        })
        .find(|rounds| *rounds >= 5);
    assert!(rounds.is_some(), "nobody was woken while guests computed");
}
