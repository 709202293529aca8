//! The whole program stands still for a while, as on a machine that swaps or is suspended: its own trouble, and
//! nobody else's.

use super::{checks, monitors};
use crate::support::{
    host::{Config, Host},
    http::{Server, status},
};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::Duration;

/// Longer than every deadline of the configuration below, and many intervals long. This is what is tested, so it
/// can't be waited for in any other way.
const STALL: Duration = Duration::from_secs(6);

#[test]
fn a_host_that_stood_still_blames_nobody_and_makes_no_burst() {
    const MONITORS: usize = 20;
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(100));
        status(200)
    });
    // Long enough for a target on a busy machine: the checks between the stalls must come out healthy.
    let lines = "timeout = \"4s\"\nfailure-threshold = 1\nfault-threshold = 2";
    let deadlines = "queue-wait = \"500ms\"\ngrace = \"500ms\"";
    let host = Host::start(&Config::new(monitors(MONITORS, &server, lines)).host(deadlines));
    for round in 1..=3 {
        let all = |times: usize| {
            let before = checks(MONITORS, &server);
            host.wait_for(&format!("{times} checks each in round {round}"), || {
                let now = checks(MONITORS, &server);
                before
                    .iter()
                    .zip(now)
                    .all(|(before, now)| now >= before + times)
                    .then_some(())
            });
        };
        all(2);
        host.wait_for("checks in flight", || (server.in_flight() > 0).then_some(()));
        host.signal(Signal::SIGSTOP);
        std::thread::sleep(STALL);
        let before = checks(MONITORS, &server);
        host.signal(Signal::SIGCONT);
        host.wait_for("a monitor's fifth check after the stall", || {
            let now = checks(MONITORS, &server);
            before
                .iter()
                .zip(now)
                .any(|(before, now)| now >= before + 5)
                .then_some(())
        });
        // Missed slots are skipped: nobody was checked twenty times to make up for them.
        let now = checks(MONITORS, &server);
        let made: Vec<usize> = before.iter().zip(now).map(|(before, now)| now - before).collect();
        assert!(made.iter().all(|count| *count <= 7), "{made:?}");
    }
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.alerts, [] as [Value; 0], "\n{}", ended.log.join("\n"));
    for trouble in ["is failing", "is down", "was lost"] {
        assert!(!ended.logged(trouble), "{trouble}\n{}", ended.log.join("\n"));
    }
}
