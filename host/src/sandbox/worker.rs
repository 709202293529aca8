//! The workers: threads with a runtime each, which take batches from the channels and run every job on its own.
//!
//! A job is begun as soon as it was taken, and polled once on the spot: most end there. Only what has to wait becomes a
//! task. Results go back together: those of a batch when it was gone through, the others when the runtime has gone
//! through what it found ready.
//!
//! Architecture invariant: results and failures are per job. How many may run at once is the scheduler's business; a
//! worker takes its share of that for each kind, so that checks which wait for their targets never hold back repairs and
//! alerts, and a job that it took begins at once. A turn of a thread ends after [`TURN`], so that a guest which computes
//! delays its neighbours by one slice at most.

use super::{Sandbox, Shelf, execute::Executor, turns::Turns};
use crate::{
    clock::Clock,
    domain::{
        host::{HostSettings, PerKind},
        job::JobResult,
        spec::Kind,
    },
    queue::{Inlet, ResultSender, Results},
};
use std::{
    future::poll_fn,
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore},
    task::coop,
    time::MissedTickBehavior,
};

/// A worker also looks by itself that often: a batch wakes one worker only, and that one may hang.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After that time a worker hands its results over and looks at sockets, timers and tasks.
const TURN: Duration = Duration::from_millis(1);

/// How many workers there are: as many as was wished for, or as there are cores.
#[must_use]
pub fn count(settings: &HostSettings) -> NonZeroUsize {
    settings
        .workers
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN)
}

/// A worker that has so many jobs waiting takes no more of that kind: each has slots of its own, and whatever one does
/// not take is for the others. Together they take all that may run.
#[must_use]
pub fn share(in_flight: usize, workers: NonZeroUsize) -> usize {
    in_flight.div_ceil(workers.get()).max(1)
}

/// Executions whose memory is kept for others, of each kind; more than that were under way only in a burst.
const SPARES_MAX: usize = 256;

/// What all workers share.
struct Crew {
    inlets: PerKind<Inlet>,
    /// See [`share`].
    shares: PerKind<usize>,
    results: ResultSender,
    /// Jobs that were taken out of a channel and whose results were not handed over.
    running: AtomicUsize,
    /// Closed when everything must stop.
    stop_now: Semaphore,
}

/// The running workers.
pub struct Workers {
    crew: Arc<Crew>,
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
        shelf: Arc<Shelf>,
        inlets: PerKind<Inlet>,
        results: ResultSender,
        settings: &HostSettings,
        clock: Clock,
    ) -> std::io::Result<Self> {
        let threads = count(settings);
        let crew = Arc::new(Crew {
            inlets,
            shares: PerKind::from_fn(|kind| share(settings.queues.get(kind).in_flight, threads)),
            results,
            running: AtomicUsize::new(0),
            stop_now: Semaphore::new(0),
        });
        let (sender, ended) = mpsc::channel();
        for number in 0..threads.get() {
            let (crew, sandbox, shelf) = (Arc::clone(&crew), Arc::clone(&sandbox), Arc::clone(&shelf));
            let (sender, clock) = (sender.clone(), clock.clone());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    runtime.block_on(async {
                        let turns = Arc::new(Turns::default());
                        let giver = Arc::clone(&turns);
                        tokio::spawn(async move { giver.serve().await });
                        let worker = Arc::new(Worker {
                            executor: Executor::at(number, sandbox, shelf).taking_turns(turns),
                            outbox: Outbox {
                                results: Mutex::new(crew.results.buffer()),
                                filled: Notify::new(),
                                awaited: AtomicUsize::new(1),
                                waiting: PerKind::default(),
                                freed: Notify::new(),
                            },
                            crew,
                            clock,
                        });
                        worker.serve().await;
                    });
                    // What still runs was told to stop, or never will.
                    runtime.shutdown_background();
                    let _ = sender.send(());
                })?;
        }
        Ok(Self {
            crew,
            threads: threads.get(),
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
        let cut = self.crew.running.load(Ordering::Acquire);
        self.crew.stop_now.close();
        cut
    }
}

/// One worker.
struct Worker {
    executor: Executor,
    outbox: Outbox,
    crew: Arc<Crew>,
    clock: Clock,
}

/// What the worker's tasks leave for it.
struct Outbox {
    results: Mutex<Results>,
    filled: Notify,
    /// Tasks that have not left theirs yet; and one as long as more may be begun.
    awaited: AtomicUsize,
    /// Those tasks, by kind.
    waiting: PerKind<AtomicUsize>,
    /// Told when one of them has ended.
    freed: Notify,
}

impl Outbox {
    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task of that kind has ended.
    fn ended(&self, kind: Kind) {
        self.waiting.get(kind).fetch_sub(1, Ordering::AcqRel);
        self.freed.notify_waiters();
        self.done();
    }

    /// One less to wait for.
    fn done(&self) {
        self.awaited.fetch_sub(1, Ordering::AcqRel);
        self.filled.notify_one();
    }
}

impl Worker {
    /// Its life: until the channels are closed and empty and everything that it began has ended, or until it must
    /// stop.
    async fn serve(self: &Arc<Self>) {
        let post = tokio::spawn(Arc::clone(self).post());
        let drained = async {
            tokio::join!(
                self.take(Kind::Code),
                self.take(Kind::Intervention),
                self.take(Kind::Pulse),
            );
            self.outbox.done();
            let _ = post.await;
        };
        tokio::select! {
            () = drained => {}
            () = look() => {}
            _ = self.crew.stop_now.acquire() => {}
        }
    }

    /// Takes batches of one kind until the channel is closed and empty.
    async fn take(self: &Arc<Self>, kind: Kind) {
        let inlet = self.crew.inlets.get(kind);
        let mut results = self.crew.results.buffer();
        let spares = Arc::new(Spares::default());
        loop {
            self.room(kind).await;
            let Some(mut batch) = inlet.recv().await else {
                return;
            };
            self.crew.running.fetch_add(batch.len(), Ordering::AcqRel);
            let mut turn_ends = self.clock.mono().after(TURN);
            for job in batch.drain(..) {
                let worker = Arc::clone(self);
                let execution = async move { worker.executor.execute(job).await };
                let now = match self.begin(kind, execution, &spares).await {
                    Some(result) => {
                        let finished = result.finished;
                        results.push(result);
                        finished
                    }
                    None => self.clock.mono(),
                };
                if now > turn_ends {
                    self.hand_over(&mut results).await;
                    tokio::task::yield_now().await;
                    turn_ends = self.clock.mono().after(TURN);
                }
            }
            inlet.recycle(batch);
            self.hand_over(&mut results).await;
            // What was begun comes before the next batch.
            tokio::task::yield_now().await;
        }
    }

    /// Waits until this worker has room for jobs of that kind.
    async fn room(&self, kind: Kind) {
        let share = *self.crew.shares.get(kind);
        let full = || self.outbox.waiting.get(kind).load(Ordering::Acquire) >= share;
        while full() {
            let freed = self.outbox.freed.notified();
            if full() {
                freed.await;
            }
        }
    }

    /// Begins a job, and returns its result if it ended at once.
    async fn begin<F>(
        self: &Arc<Self>,
        kind: Kind,
        execution: F,
        spares: &Arc<Spares<F>>,
    ) -> Option<JobResult>
    where
        F: Future<Output = JobResult> + Send + 'static,
    {
        let mut execution = spares.place(execution);
        // The tasks' shares of looks are not for all jobs of a batch together.
        let polled = coop::unconstrained(poll_fn(|context| {
            let poll = AssertUnwindSafe(|| execution.as_mut().poll(context));
            Poll::Ready(std::panic::catch_unwind(poll))
        }))
        .await;
        match polled {
            Ok(Poll::Ready(result)) => {
                spares.put(execution);
                Some(result)
            }
            Ok(Poll::Pending) => {
                self.outbox.awaited.fetch_add(1, Ordering::AcqRel);
                self.outbox.waiting.get(kind).fetch_add(1, Ordering::AcqRel);
                let awaited = Awaited {
                    worker: Arc::clone(self),
                    kind,
                    lost: true,
                };
                let spares = Arc::clone(spares);
                tokio::spawn(async move {
                    awaited.ended(execution.as_mut().await);
                    spares.put(execution);
                });
                None
            }
            Err(_) => {
                self.lose();
                None
            }
        }
    }

    /// A job came to no result, which recovery will see.
    fn lose(&self) {
        tracing::error!("a job ended in a panic; this is a defect of pulse-host");
        self.crew.running.fetch_sub(1, Ordering::AcqRel);
    }

    /// Hands over what the tasks leave.
    async fn post(self: Arc<Self>) {
        let mut results = self.crew.results.buffer();
        loop {
            self.outbox.filled.notified().await;
            loop {
                std::mem::swap(&mut results, &mut *self.outbox.results());
                if results.is_empty() {
                    break;
                }
                self.hand_over(&mut results).await;
            }
            if self.outbox.awaited.load(Ordering::Acquire) == 0 {
                return;
            }
        }
    }

    /// Sends results, and leaves an empty buffer behind.
    async fn hand_over(&self, results: &mut Results) {
        if results.is_empty() {
            return;
        }
        let full = std::mem::replace(results, self.crew.results.buffer());
        let count = full.len();
        self.crew.results.send(full).await;
        self.crew.running.fetch_sub(count, Ordering::AcqRel);
    }
}

/// Memory of executions that have ended, for the next ones: they are too large for the quick ways of an allocator.
struct Spares<F>(Mutex<Vec<Pin<Box<F>>>>);

impl<F> Default for Spares<F> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<F> Spares<F> {
    fn place(&self, execution: F) -> Pin<Box<F>> {
        let spare = self.lock().pop();
        match spare {
            Some(mut memory) => {
                memory.set(execution);
                memory
            }
            None => Box::pin(execution),
        }
    }

    fn put(&self, ended: Pin<Box<F>>) {
        let mut spares = self.lock();
        if spares.len() < SPARES_MAX {
            spares.push(ended);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Pin<Box<F>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes whoever waits beside it now and then: who waits at a channel looks into it when he is woken.
async fn look() {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
    }
}

/// A task whose result is waited for, however it ends.
struct Awaited {
    worker: Arc<Worker>,
    kind: Kind,
    lost: bool,
}

impl Awaited {
    fn ended(mut self, result: JobResult) {
        self.worker.outbox.results().push(result);
        self.lost = false;
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if self.lost && std::thread::panicking() {
            self.worker.lose();
        }
        self.worker.outbox.ended(self.kind);
    }
}
