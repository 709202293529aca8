//! pulse-host watches services and heals them.

pub mod app;
pub mod capability;
pub mod cases;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod journal;
pub mod ledger;
pub mod plugins;
pub mod queue;
pub mod sandbox;
pub mod scheduler;
pub mod store;
pub mod telemetry;
