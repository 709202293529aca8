//! What is asked of the one who reloads: monitors that come, change and go over the API.

use crate::config::Fault;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Changes that may wait: those that wait together are put into effect together.
pub const CHANGES_MAX: usize = 256;

/// Somebody wants other monitors.
#[derive(Debug)]
pub struct Change {
    /// Who.
    pub by: Arc<str>,
    /// Whose monitors.
    pub tenant: Arc<str>,
    /// What is to become of them.
    pub deed: Deed,
    /// It is only to be said what would come of it.
    pub dry_run: bool,
    /// What came of it. By then it is on disk and in effect.
    pub told: oneshot::Sender<Result<Done, Refused>>,
}

/// What is to become of monitors.
#[derive(Debug)]
pub enum Deed {
    /// One is put.
    Put {
        /// Which.
        document: Sent,
        /// Only if this holds.
        only: Condition,
    },
    /// One is taken away.
    Remove {
        /// Which.
        name: Arc<str>,
        /// Only if this holds.
        only: Condition,
    },
    /// Many are put, all or none.
    Import {
        /// Which. No two have the same name.
        documents: Vec<Sent>,
        /// Those of the tenant that are not among them are taken away.
        replace: bool,
    },
}

/// A document as it was sent.
#[derive(Debug)]
pub struct Sent {
    /// The monitor's name.
    pub name: Arc<str>,
    /// The JSON.
    pub text: Box<str>,
    /// Its first line in what was sent, from 1.
    pub line: u32,
}

/// What must hold before something is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Anything,
    /// There is no monitor of that name.
    Absent,
    /// There is a document of it.
    Present,
    /// Its document has one of these tags.
    Tagged(Vec<String>),
}

/// What came of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Monitors that were not there before.
    pub created: usize,
    /// Monitors that were, and had another document or were not in effect.
    pub replaced: usize,
    /// Monitors that are gone.
    pub removed: usize,
    /// Monitors that had this very document.
    pub unchanged: usize,
    /// Of one that was put: the tag of its document.
    pub etag: Option<String>,
}

/// Why nothing was changed.
#[derive(Debug)]
pub enum Refused {
    /// A condition does not hold; says which.
    Precondition(String),
    /// There is nothing of that name.
    Absent(String),
    /// It does not go together with how things are: it stands in a file, or there is no room.
    Conflict(String),
    /// Something is wrong with the documents.
    Invalid {
        /// What.
        faults: Vec<Fault>,
        /// How much more.
        more: usize,
    },
    /// It could not be put on disk; says why.
    Unkept(String),
    /// The host is stopping. What is on disk is in effect after the next start.
    Stopping {
        /// It is on disk.
        kept: bool,
    },
}
