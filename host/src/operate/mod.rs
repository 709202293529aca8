//! Live operations: what operators ask and say of monitors while the host runs.
//!
//! Architecture invariant: nothing here runs on the scheduler's thread, and nothing makes it wait.

pub mod beats;
pub mod bits;
pub mod directory;
pub mod exports;
pub mod list;
pub mod managed;
pub mod orders;
pub mod reloads;
pub mod series;
pub mod terms;

#[cfg(test)]
mod tests;
