//! The workers: threads with a runtime each, which take batches from the channels and run every job on its own.
//!
//! Architecture invariant: permits, results and failures are per job. Each kind has its own permits, so that checks
//! that wait for their targets never hold back repairs and alerts.

use super::{Library, Sandbox, execute::Executor};
use crate::{
    clock::Clock,
    domain::{
        host::{HostSettings, PerKind},
        spec::Kind,
    },
    queue::{Inlet, ResultSender},
};
use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::timeout};

/// A worker also looks by itself that often: a batch wakes one worker only, and that one may hang.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What all workers share.
struct Shared {
    inlets: PerKind<Inlet>,
    permits: PerKind<Arc<Semaphore>>,
    results: ResultSender,
    /// Jobs that were taken out of a channel and have not ended.
    running: AtomicUsize,
    /// Closed when everything must stop.
    stop_now: Semaphore,
    in_flight: PerKind<usize>,
}

/// The running workers.
pub struct Workers {
    shared: Arc<Shared>,
    threads: usize,
    ended: mpsc::Receiver<()>,
    clock: Clock,
}

impl Workers {
    /// Starts them.
    ///
    /// # Errors
    /// If the operating system gives no threads.
    pub fn start(
        sandbox: Arc<Sandbox>,
        library: Arc<Library>,
        inlets: PerKind<Inlet>,
        results: ResultSender,
        settings: &HostSettings,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            inlets,
            permits: PerKind::from_fn(|kind| Arc::new(Semaphore::new(settings.queues.get(kind).in_flight))),
            results,
            running: AtomicUsize::new(0),
            stop_now: Semaphore::new(0),
            in_flight: PerKind::from_fn(|kind| settings.queues.get(kind).in_flight),
        });
        let threads = settings
            .workers
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        let (sender, ended) = mpsc::channel();
        for number in 0..threads {
            let (shared, sandbox, library) =
                (Arc::clone(&shared), Arc::clone(&sandbox), Arc::clone(&library));
            let sender = sender.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    runtime.block_on(serve(&shared, sandbox, library));
                    // What still runs was told to stop, or never will.
                    runtime.shutdown_background();
                    let _ = sender.send(());
                })?;
        }
        Ok(Self {
            shared,
            threads,
            ended,
            clock,
        })
    }

    /// Lets what runs end within that time, then cuts the rest. The channels must be closed. Returns how many
    /// executions were cut.
    #[must_use]
    pub fn stop(self, grace: Duration) -> usize {
        let until = self.clock.mono().after(grace);
        let mut left = self.threads;
        while left > 0 {
            let rest = until.since(self.clock.mono());
            if self.ended.recv_timeout(rest).is_err() {
                break;
            }
            left -= 1;
        }
        let cut = self.shared.running.load(Ordering::Acquire);
        self.shared.stop_now.close();
        cut
    }
}

/// One worker's life.
async fn serve(shared: &Arc<Shared>, sandbox: Arc<Sandbox>, library: Arc<Library>) {
    let executor = Arc::new(Executor::new(sandbox, library));
    let drained = async {
        tokio::join!(
            take(shared, &executor, Kind::Code),
            take(shared, &executor, Kind::Intervention),
            take(shared, &executor, Kind::Pulse),
        );
        // Every permit back means that every job has ended, those of the other workers too.
        for kind in Kind::ALL {
            let all = u32::try_from(*shared.in_flight.get(kind)).unwrap_or(u32::MAX);
            drop(shared.permits.get(kind).acquire_many(all).await);
        }
    };
    tokio::select! {
        () = drained => {}
        _ = shared.stop_now.acquire() => {}
    }
}

/// Takes batches of one kind until the channel is closed and empty.
async fn take(shared: &Arc<Shared>, executor: &Arc<Executor>, kind: Kind) {
    let permits = shared.permits.get(kind);
    let inlet = shared.inlets.get(kind);
    loop {
        // No batch is taken before at least one of its jobs can run.
        let Ok(mut first) = Arc::clone(permits).acquire_owned().await.map(Some) else {
            return;
        };
        let mut batch = loop {
            match timeout(LOOK_EVERY, inlet.recv()).await {
                Ok(Some(batch)) => break batch,
                Ok(None) => return,
                Err(_) => {}
            }
        };
        shared.running.fetch_add(batch.len(), Ordering::AcqRel);
        for job in batch.drain(..) {
            let permit = match first.take() {
                Some(permit) => permit,
                None => match Arc::clone(permits).acquire_owned().await {
                    Ok(permit) => permit,
                    Err(_) => return,
                },
            };
            let (shared, executor) = (Arc::clone(shared), Arc::clone(executor));
            tokio::spawn(async move {
                let result = executor.execute(job).await;
                let mut results = shared.results.buffer();
                results.push(result);
                shared.results.send(results).await;
                shared.running.fetch_sub(1, Ordering::AcqRel);
                drop(permit);
            });
        }
        inlet.recycle(batch);
        // The jobs that were just spawned come before the next batch.
        tokio::task::yield_now().await;
    }
}
