//! `plugins.lock`: what an operator has accepted of each plugin. Once there is such a file, a plugin that is not as it
//! stands there is not used until somebody has looked at the difference and taken it.
//!
//! Architecture invariants: nothing but an explicit acceptance changes what is pinned; a lock that can't be read lets
//! nobody in and is never written over; a change counts as harmless only where that can be told.

mod compare;
mod file;
mod gate;
pub mod outline;
mod record;
mod text;

#[cfg(test)]
mod tests;

use super::Reach;

pub use compare::{Comparison, State, compare};
pub use file::{FILE, LockError, LockFile};
pub use gate::{Announcement, Gate, Verdict, note_seen};
pub use record::{Change, Loaded, Record};
pub use text::{Fault, parse, write};
