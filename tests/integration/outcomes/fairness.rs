//! A guest that computes does not keep its thread to itself.

use crate::support::sandbox::{Lab, Work, roomy};
use pulse_host::domain::{limits::Limits, outcome::Outcome};
use serde_json::json;
use std::{
    cell::Cell,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Two spinners on one thread, and beside them something that waits for the operating system again and again: it is
/// woken between their slices, not when they are done. What is compared are counts, since how long a slice takes
/// depends on what else the machine does.
#[test]
fn sockets_are_looked_at_while_guests_compute() {
    const CPU: Duration = Duration::from_millis(250);
    let lab = Lab::new(2, &[]);
    let spin = Work::chaos(json!({"do": "spin"})).limits(Limits {
        fuel: 1 << 60,
        cpu: CPU,
        ..roomy()
    });
    let slices = Arc::new(AtomicU32::new(0));
    let rounds = Cell::new(0);
    while slices.load(Ordering::Relaxed) < 150 {
        lab.wait_for(async |executor| {
            // As tasks of their own, which is how the workers run them.
            let spinners = [(); 2].map(|()| {
                let (executor, job, slices) = (Arc::clone(&executor), lab.job(&spin), Arc::clone(&slices));
                tokio::spawn(async move {
                    let mut execution = pin!(executor.execute(job));
                    let result = poll_fn(|context| {
                        slices.fetch_add(1, Ordering::Relaxed);
                        execution.as_mut().poll(context)
                    });
                    result.await.outcome
                })
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
    }
    // A round takes two looks at the sockets, and between two looks each spinner has a slice. A runtime that only
    // looks when it has run 61 tasks gives a round 122 slices.
    let slices = slices.load(Ordering::Relaxed);
    assert!(
        slices < 16 * rounds.get(),
        "{slices} slices, {} rounds",
        rounds.get()
    );
}
