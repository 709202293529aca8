//! The way from the scheduler to whoever puts things on record, and what comes back: how far that has got.
//!
//! The scheduler numbers what it hands over. What is *acknowledged* is on disk; codes and interventions wait for that.
//!
//! Architecture invariant: nothing here blocks the scheduler's thread. A full channel hands the record back.

use crate::{
    domain::{
        event::Event,
        saved::{MonitorKey, Saved},
        spec::MonitorSpec,
        time::Wall,
    },
    queue::Bell,
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError, TrySendError},
    },
    time::Duration,
};

/// Records that may wait for the store. At that many, monitors wait to be put down, and facts are dropped and counted.
const RECORDS_MAX: usize = 16 * 1024;

/// Something to be put on record.
#[derive(Debug)]
pub enum Record {
    /// A monitor as it is now. Replaces what was put down of it before.
    State(Box<State>),
    /// A monitor was taken from the configuration.
    Gone {
        /// Which.
        key: MonitorKey,
        /// When.
        at: Wall,
    },
    /// Something that happened.
    Fact {
        /// Whose: the monitor's, or the host's own.
        key: MonitorKey,
        /// What.
        event: Box<Event>,
    },
    /// Monitors got places, by which samples name them. A place that had another monitor before is this one's now.
    Places(Vec<Place>),
    /// Checks that ended.
    Samples {
        /// When.
        at: Wall,
        /// How.
        samples: Vec<Sample>,
    },
}

/// A monitor, to be put down.
#[derive(Debug)]
pub struct State {
    /// The number of this record.
    pub seq: u64,
    /// When it was so.
    pub at: Wall,
    /// Which.
    pub key: MonitorKey,
    /// Its configuration, for its name.
    pub spec: MonitorSpec,
    /// What is to be remembered; none: nothing.
    pub saved: Option<Box<Saved>>,
    /// Somebody waits for this record's acknowledgement.
    pub urgent: bool,
}

/// A monitor's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// By which samples name it.
    pub place: u32,
    /// The monitor.
    pub key: MonitorKey,
    /// Quantiles of its checks are kept too.
    pub quantiles: bool,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The monitor's place.
    pub place: u32,
    /// From start to end, in microseconds, saturating.
    pub took_us: u32,
    /// What it said.
    pub verdict: Verdict,
}

/// What a check said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Healthy, or degraded.
    Alive,
    /// Not healthy.
    Failed,
    /// Nothing about the target.
    Fault,
}

/// Makes both ends. The bell is rung whenever something was acknowledged.
#[must_use]
pub fn ledger(bell: Arc<Bell>) -> (Writer, Keeper) {
    let (sender, receiver) = mpsc::sync_channel(RECORDS_MAX);
    let progress = Arc::new(Progress {
        acknowledged: AtomicU64::new(0),
        failing: AtomicBool::new(false),
        lost: AtomicU64::new(0),
        trouble: Mutex::new(None),
        bell,
    });
    let writer = Writer {
        records: sender,
        progress: Arc::clone(&progress),
    };
    (
        writer,
        Keeper {
            records: receiver,
            progress,
        },
    )
}

#[derive(Debug)]
struct Progress {
    acknowledged: AtomicU64,
    failing: AtomicBool,
    lost: AtomicU64,
    trouble: Mutex<Option<Arc<str>>>,
    bell: Arc<Bell>,
}

/// The scheduler's end. When it is dropped, the other end takes what is there and ends.
#[derive(Debug)]
pub struct Writer {
    records: mpsc::SyncSender<Record>,
    progress: Arc<Progress>,
}

impl Writer {
    /// Hands a record over, or back if there is no room.
    ///
    /// # Errors
    /// The record itself.
    pub fn try_send(&self, record: Record) -> Result<(), Record> {
        self.records.try_send(record).map_err(|error| match error {
            TrySendError::Full(record) | TrySendError::Disconnected(record) => record,
        })
    }

    /// Everything up to that number is on disk.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.progress.acknowledged.load(Ordering::Acquire)
    }

    /// Facts that were handed over and are lost, because nothing could be put on record for too long.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.progress.lost.load(Ordering::Acquire)
    }

    /// Why nothing can be put on record at present; none: it can.
    #[must_use]
    pub fn trouble(&self) -> Option<Arc<str>> {
        if !self.progress.failing.load(Ordering::Acquire) {
            return None;
        }
        let trouble = self
            .progress
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
    }
}

/// The store's end.
#[derive(Debug)]
pub struct Keeper {
    records: mpsc::Receiver<Record>,
    progress: Arc<Progress>,
}

/// What there is to be put on record next.
#[derive(Debug)]
pub enum Next {
    /// A record.
    Record(Record),
    /// Nothing yet.
    Nothing,
    /// Nothing any more.
    End,
}

impl Keeper {
    /// What comes next, within that time. Blocks.
    #[must_use]
    pub fn next(&self, within: Duration) -> Next {
        match self.records.recv_timeout(within) {
            Ok(record) => Next::Record(record),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    /// Everything up to that number is on disk.
    pub fn acknowledge(&self, seq: u64) {
        self.progress.acknowledged.fetch_max(seq, Ordering::AcqRel);
        self.progress.bell.ring();
    }

    /// A fact that was taken is lost.
    pub fn lose(&self) {
        self.progress.lost.fetch_add(1, Ordering::AcqRel);
    }

    /// Nothing can be put on record, or it can again.
    pub fn set_trouble(&self, trouble: Option<&str>) {
        let failing = trouble.is_some();
        *self
            .progress
            .trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = trouble.map(Arc::from);
        if self.progress.failing.swap(failing, Ordering::AcqRel) != failing {
            self.progress.bell.ring();
        }
    }
}
