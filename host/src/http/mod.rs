//! The HTTP server: health, figures, the API and the dashboard, on a runtime of its own.
//!
//! Architecture invariant: whatever comes over the network holds up neither the scheduler nor a worker; nothing is changed
//! by anybody who showed no token; and nobody sees another tenant's monitors.

mod actions;
pub mod change;
mod chosen;
pub mod client;
mod dashboard;
mod deadman;
mod exposed;
mod exposition;
mod feed;
mod guard;
mod health;
mod listen;
mod managed;
mod metrics;
mod monitors;
mod openapi;
mod orders;
mod plugins;
mod probe;
mod problem;
mod process;
mod records;
mod reload;
mod reply;
mod routes;
mod split;
mod stream;
mod tenants;
pub mod tokens;

#[cfg(test)]
mod tests;

pub use feed::Feed;
pub use guard::Access;
pub use listen::Listening;
pub use metrics::names as metric_names;
pub use reload::{WISHES_MAX, Wish};
pub use routes::{ROUTES, Route};
pub use tenants::quotas;

use crate::{
    clock::Clock,
    domain::{access::HttpSettings, board::Board, deadman::Switches, tenant::Roster, time::Wall},
    operate::{
        beats::Beats, directory, exports::Exports, managed::Book, orders::Orders, reloads::Reloads,
        series::Series, terms::Terms,
    },
    sandbox,
    scheduler::{Control, stats::Stats},
    store::{Figures, Reader},
};
use anyhow::{Context as _, Result};
use listen::Traffic;
use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokens::Tokens;
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, mpsc},
};

/// Threads that serve; more would take them from the workers.
const THREADS: usize = 2;
/// Lists that are made at the same time.
const LISTS: usize = 2;
/// Answers that are read from the store at the same time.
const READS: usize = 2;
/// Imports that are read at the same time; each may be large.
const IMPORTS: usize = 1;

/// What the server shows and asks.
pub struct Parts {
    /// `[host.http]`.
    pub settings: HttpSettings,
    /// Whom to believe.
    pub tokens: Arc<Tokens>,
    /// The time.
    pub clock: Clock,
    /// How monitors stand.
    pub board: Arc<Board>,
    /// Which monitors there are. Filled by whoever made it.
    pub directory: directory::Shelf,
    /// What operators say of monitors.
    pub orders: Orders,
    /// What became of heartbeats to the outside.
    pub beats: Beats,
    /// What became of spans.
    pub exports: Exports,
    /// What came of heartbeats from outside.
    pub switches: Arc<Switches>,
    /// A hand on the scheduler.
    pub control: Control,
    /// Its figures.
    pub stats: Stats,
    /// All tenants.
    pub tenants: Roster,
    /// All plugins.
    pub plugins: Arc<sandbox::Shelf>,
    /// What became of reloads.
    pub reloads: Reloads,
    /// What is on record; none: nothing is kept.
    pub records: Option<Reader>,
    /// Figures of the store, if there is one.
    pub written: Option<Arc<Figures>>,
    /// On which terms plugins run and tenants live.
    pub terms: Terms,
    /// Which monitors have series of their own.
    pub series: Series,
    /// What happens.
    pub feed: Feed,
    /// Who runs checks that nobody scheduled; none: nobody does.
    pub prober: Option<sandbox::Prober>,
    /// Where reloads are asked for.
    pub wishes: mpsc::Sender<Wish>,
    /// Monitors that were given over the API.
    pub book: Book,
    /// Where changes of them are asked for; none: there is no store that could keep them.
    pub changes: Option<mpsc::Sender<change::Change>>,
}

/// What every route sees.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// See [`App`].
pub struct Inner {
    parts: Parts,
    started: Wall,
    lists: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    imports: Arc<Semaphore>,
    traffic: Traffic,
    probes: probe::Probes,
    /// The directory is there.
    filled: AtomicBool,
    stopping: AtomicBool,
}

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Deref for Inner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl App {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Inner {
            started: parts.clock.wall(),
            lists: Arc::new(Semaphore::new(LISTS)),
            reads: Arc::new(Semaphore::new(READS)),
            imports: Arc::new(Semaphore::new(IMPORTS)),
            traffic: Traffic::default(),
            probes: probe::Probes::default(),
            filled: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            parts,
        }))
    }
}

impl App {
    /// All monitors.
    ///
    /// # Errors
    /// The host is starting, and they are not listed yet.
    fn listed(&self) -> Result<Arc<directory::Directory>, problem::Problem> {
        if self.filled.load(Ordering::Acquire) {
            Ok(self.directory.present())
        } else {
            Err(problem::Problem::busy("the host is starting"))
        }
    }
}

/// A server that runs until it is stopped.
pub struct Server {
    runtime: Runtime,
    app: App,
}

impl Server {
    /// Serves what listens.
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn start(listening: Listening, parts: Parts) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(LISTS + READS + 1)
            .thread_name("http")
            .enable_all()
            .build()
            .context("the threads that serve HTTP could not be started")?;
        let app = App::new(parts);
        runtime.spawn(listening.serve(app.clone()));
        Ok(Self { runtime, app })
    }

    /// The directory is filled: from now on the host is ready.
    pub fn filled(&self) {
        self.app.filled.store(true, Ordering::Release);
    }

    /// From now on the host says that it is not ready, and still answers. Streams end.
    pub fn stopping(&self) {
        self.app.feed.close();
        self.app.stopping.store(true, Ordering::Release);
    }

    /// Answers nothing any more.
    pub fn stop(self) {
        // Dropping it would wait for lists that are being made.
        self.runtime.shutdown_background();
    }
}
