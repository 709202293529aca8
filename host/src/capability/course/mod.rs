//! What becomes of the lent calls of one execution, where it is not the ordinary: they are carried out and noted, or
//! answered by a script.
//!
//! Which of that it is, is decided once for each execution, in its [`Lease`](super::Lease). Architecture invariant: an
//! execution without a course pays one look at an empty option for each lent call; one that is played reaches neither
//! network nor disk, and what the host would refuse in a request, or cut from an answer, it refuses and cuts here too.

mod ask;
mod notes;
mod play;
mod time;

pub use ask::{Ask, Reply};
pub use notes::{Called, Notes, REDACTED, Repeat, redact_user};
pub use play::{Script, Scripted, Stage};
pub use time::{GuestTime, Origin, Random, Seed, fresh_seed};

use super::{Lease, Lender};
use std::sync::Arc;

/// What becomes of the lent calls of one execution.
pub enum Course {
    /// They are carried out, and noted.
    Noted(Notes),
    /// A script answers them.
    Played(Stage),
}

impl std::fmt::Debug for Course {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Noted(_) => "Noted",
            Self::Played(_) => "Played",
        })
    }
}

impl Course {
    /// The time that the guest sees, where it is not the system's.
    #[must_use]
    pub fn time(&self) -> Option<&Arc<GuestTime>> {
        match self {
            Self::Noted(notes) => notes.time(),
            Self::Played(stage) => Some(&stage.time),
        }
    }

    /// Where it begins, if it can be repeated: its random numbers are those of that seed.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        match self {
            Self::Noted(notes) => notes.origin(),
            Self::Played(stage) => Some(stage.time.origin()),
        }
    }

    /// Whether it may go through an instance that had jobs before.
    #[must_use]
    pub fn may_be_kept(&self) -> bool {
        match self {
            Self::Noted(_) => false,
            Self::Played(stage) => stage.is_kept(),
        }
    }

    /// What was noted so far, and how many calls were not kept for want of room.
    #[must_use]
    pub fn noted(&self) -> (Vec<Called>, u64) {
        match self {
            Self::Noted(notes) => notes.take(),
            Self::Played(_) => (Vec::new(), 0),
        }
    }

    /// Carries a call out.
    pub(super) async fn carry_out(&self, lender: &Lender, lease: &Lease, ask: Ask) -> Reply {
        match self {
            Self::Noted(notes) => notes.carry_out(lender, lease, ask).await,
            Self::Played(stage) => stage.play(lease, &ask).await,
        }
    }
}
