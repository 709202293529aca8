//! Plain types and pure functions: what a monitor is, what a job is, how a job can end, and what a monitor
//! does next.
//!
//! Architecture invariant: nothing here names the ECS, wasm, a runtime or any I/O, and nothing reads a clock;
//! the time is always an argument.

pub mod access;
pub mod backoff;
pub mod board;
pub mod color;
pub mod command;
pub mod deadman;
pub mod event;
pub mod grant;
pub mod health;
pub mod histogram;
pub mod host;
pub mod host_news;
pub mod job;
pub mod limits;
pub mod managed;
pub mod order;
pub mod outbox;
pub mod outcome;
pub mod plugin;
pub mod probe;
pub mod saved;
pub mod schedule;
pub mod secret;
pub mod selector;
pub mod series;
pub mod sketch;
pub mod spec;
pub mod tenant;
pub mod time;
