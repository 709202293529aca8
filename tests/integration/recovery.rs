//! What never came back, what came too late, what found no room, and how the program stops: in the running program,
//! without any hook in it.

mod deadman;
mod disk;
mod heartbeat;
mod hung;
mod kills;
mod orders;
mod queue;
mod reloads;
mod restart;
mod stall;
mod stop;

use crate::support::http::Server;

/// That many monitors `m-0`, `m-1`, … of one server, each with a path of its own, and these lines each.
fn monitors(count: usize, server: &Server, lines: &str) -> String {
    (0..count)
        .map(|number| {
            format!(
                "[[monitor]]\nname = \"m-{number}\"\npulse = {{ plugin = \"http\", settings = {{ url = {:?} }} }}\n{lines}\n",
                server.url(&format!("/{number}"))
            )
        })
        .collect()
}

/// How often each of these monitors was checked.
fn checks(count: usize, server: &Server) -> Vec<usize> {
    (0..count)
        .map(|number| server.count_of(&format!("/{number}")))
        .collect()
}
