//! Everything that needs real components or the real program. One binary: linking wasmtime takes a while.
//!
//! The plugins and guests must be built (`cargo xtask plugins`), and so must the program (`cargo build`);
//! `cargo xtask test` does both.

mod abi;
mod author;
mod cli;
mod egress;
mod guide;
mod hostile;
mod loading;
mod managed;
mod metrics;
mod otlp;
mod outcomes;
mod pipeline;
mod probe;
mod recovery;
mod reload;
mod service;
mod support;
mod tenants;
