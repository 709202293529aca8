//! Stopping under load: what runs may end, what does not is named, and a second signal waits for nothing.

use super::monitors;
use crate::support::{
    host::{Config, Host, colors},
    http::{Reply, Server, status},
    wait::Gate,
};
use nix::sys::signal::Signal;
use std::sync::Arc;

const MONITORS: usize = 8;

/// Checks that hang until the gate is opened.
fn hanging() -> (Server, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let held = Arc::clone(&gate);
    let server = Server::start(move |_| {
        held.pass();
        status(200)
    });
    (server, gate)
}

fn under_load(server: &Server, host: &str) -> Host {
    let config = Config::new(monitors(MONITORS, server, "timeout = \"50m\""));
    let host = Host::start(&config.host("max-timeout = \"1h\"").host(host));
    host.wait_for("every check to hang", || {
        (server.in_flight() == MONITORS).then_some(())
    });
    host
}

#[test]
fn what_runs_may_end() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "Ctrl-C")] {
        let (server, gate) = hanging();
        let host = under_load(&server, "drain = \"10m\"");
        host.signal(signal);
        host.wait_for_log(&format!("{name}: no more checks; what runs has 600s to end"));
        gate.open();
        let ended = host.wait();
        assert_eq!(ended.status.code(), Some(0));
        assert!(
            ended.logged(&format!("stopped after {MONITORS} checks and 0 interventions")),
            "{}",
            ended.log.join("\n")
        );
        assert!(!ended.logged("cut while running") && !ended.logged("not delivered"));
        assert_eq!(server.count(), MONITORS, "no check began after the signal");
    }
}

#[test]
fn what_does_not_end_is_cut_and_named() {
    let (server, _gate) = hanging();
    let host = under_load(&server, "drain = \"300ms\"");
    host.signal(Signal::SIGTERM);
    let ended = host.wait();
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        ended.logged(&format!(
            "cut while running: {MONITORS} checks, 0 interventions, 0 codes"
        )),
        "{}",
        ended.log.join("\n")
    );
}

#[test]
fn a_second_signal_waits_for_nothing() {
    let (server, _gate) = hanging();
    // Longer than the patience of the test, as the checks are.
    let host = under_load(&server, "drain = \"1h\"");
    host.signal(Signal::SIGINT);
    host.wait_for_log("once more to stop at once");
    host.signal(Signal::SIGINT);
    let ended = host.wait();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.logged("stopped at once; what ran was cut"));
}

/// Alerts that are being written are whole lines, whenever it ends.
#[test]
fn alerts_that_are_on_their_way_are_delivered_whole() {
    const MANY: usize = 60;
    let server = Server::start(|_| Reply::Close);
    let host = Host::start(&Config::new(monitors(MANY, &server, "failure-threshold = 1")));
    host.wait_for("the first alerts", || (host.alerts().len() >= 5).then_some(()));
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    // Reading them has shown that every line is whole.
    assert!(colors(&ended.alerts).iter().all(|color| *color == "red"));
    assert!(!ended.logged("not delivered"), "{}", ended.log.join("\n"));
}

#[test]
fn alerts_that_nobody_took_are_named() {
    let server = Server::start(|_| status(503));
    let receiver = Server::start(|_| status(503));
    let config = format!(
        "[notifiers.ops]\nplugin = \"webhook\"\nsettings = {{ url = {:?} }}\n{}",
        receiver.url("/"),
        monitors(1, &server, "failure-threshold = 1\nnotify = [\"ops\"]")
    );
    let host = Host::start(&Config::new(config));
    host.wait_for_log("m-0: red was not taken by ops, again in ");
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        ended.logged("delivered after the next start: 1 code"),
        "{}",
        ended.log.join("\n")
    );
}
