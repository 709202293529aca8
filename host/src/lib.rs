//! pulse-host watches services and heals them.

pub mod capability;
pub mod clock;
pub mod config;
pub mod domain;
pub mod journal;
pub mod queue;
pub mod scheduler;
