//! Executions of one plugin by itself: what it is given, what its lent calls are answered with, and what must come of
//! it. Written by hand as a test, or by the host as a record of what happened.
//!
//! Invariant: a case is strict. A key that it does not know, a call that it does not expect and a call that it expects
//! in vain are errors, never overlooked.

mod calls;
mod case;
pub mod diff;
pub mod excerpt;
mod expect;
mod format;
mod scene;
mod script;
pub mod secrets;
mod words;

pub use case::{Case, FILE_BYTES_MAX, Failed, Playing, RECORDED_BYTES_MAX, Record, as_played, recorded_in};
pub use format::Recorded;
pub use scene::{Code, Scene};
pub use script::refusing;
pub use secrets::{Values, marked};
