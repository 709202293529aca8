//! pulse-host watches services and heals them.

pub mod capability;
pub mod clock;
pub mod domain;
pub mod journal;
pub mod queue;
pub mod scheduler;
