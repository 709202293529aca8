//! More is due than there is room for.

use super::{checks, monitors};
use crate::support::{
    host::{Config, Host},
    http::{Server, status},
};
use serde_json::Value;
use std::time::Duration;

#[test]
fn a_full_channel_delays_checks_and_loses_none() {
    const MONITORS: usize = 12;
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(100));
        status(200)
    });
    // Two wait and two run, while twelve are due five times a second each.
    let tight = "workers = 1\nqueue-wait = \"5m\"\nqueues.pulse = { capacity = 2, in-flight = 2 }";
    let config = monitors(MONITORS, &server, "timeout = \"30s\"");
    let host = Host::start(&Config::new(config).host(tight));
    host.wait_for("five checks of every monitor", || {
        checks(MONITORS, &server)
            .iter()
            .all(|count| *count >= 5)
            .then_some(())
    });
    let counts = checks(MONITORS, &server);
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    assert!(
        most - least <= 3,
        "the most overdue comes first, so nobody is left behind: {counts:?}"
    );
    assert!(server.in_flight() <= 2);
    // The line that sums up says so.
    let waiting = host.wait_for_log("checks are due and wait for room");
    assert!(waiting.contains("12 up"), "{waiting}");
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.alerts, [] as [Value; 0]);
    for trouble in ["was lost", "is unknown", "waited too long"] {
        assert!(!ended.logged(trouble), "{trouble}\n{}", ended.log.join("\n"));
    }
}
