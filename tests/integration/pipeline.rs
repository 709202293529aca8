//! The whole way of a job in the running program, against real servers on loopback.

mod checks;
mod commands;
mod delivery;
mod docker;
mod episodes;
mod family;
mod receivers;
mod repair;
mod targets;

use crate::support::http::{Server, status};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A service that fails on demand.
struct Target {
    server: Server,
    up: Arc<AtomicBool>,
}

impl Target {
    fn start(up: bool) -> Self {
        let up = Arc::new(AtomicBool::new(up));
        let state = Arc::clone(&up);
        let server = Server::start(move |_| status(if state.load(Ordering::SeqCst) { 200 } else { 503 }));
        Self { server, up }
    }

    fn set(&self, up: bool) {
        self.up.store(up, Ordering::SeqCst);
    }

    /// What makes the service healthy when it is called.
    fn healer(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.up)
    }

    /// The beginning of a monitor's table.
    fn monitor(&self, name: &str) -> String {
        format!(
            "[[monitor]]\nname = {name:?}\npulse = {{ plugin = \"http\", settings = {{ url = {:?} }} }}\n",
            self.server.url("/")
        )
    }
}
