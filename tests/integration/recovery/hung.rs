//! A worker that hangs: its checks run again elsewhere, its repair is never repeated blindly, its alert is sent
//! again under the same delivery id, and what it says when it comes back changes nothing.

use super::{checks, monitors};
use crate::support::{
    freeze,
    host::{Config, Host, colors},
    http::{Request, Server, status},
    wait::Gate,
};
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Two workers, and a short way to the recovery deadline.
const HOST: &str = "workers = 2\nqueue-wait = \"1s\"\ngrace = \"300ms\"";
/// What a hung worker's checks end in are faults: more than a test makes would be purple.
const PATIENT: &str = "fault-threshold = 1000";

#[test]
fn checks_of_a_hung_worker_run_again_on_another() {
    const MONITORS: usize = 12;
    // Slow, so that there is always something in flight.
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(300));
        status(200)
    });
    let config = monitors(MONITORS, &server, &format!("timeout = \"5s\"\n{PATIENT}"));
    let host = Host::start(&Config::new(config).host(HOST));
    let everybody = |times: usize, what: &str| {
        let before = checks(MONITORS, &server);
        host.wait_for(what, || {
            let now = checks(MONITORS, &server);
            before
                .iter()
                .zip(now)
                .all(|(before, now)| now >= before + times)
                .then_some(())
        });
    };
    everybody(1, "every monitor's first check");
    let lost = || host.logged("a pulse was lost, its worker never answered");
    // A worker that happens to have nothing in flight is let go, and frozen again.
    let frozen = loop {
        let frozen = freeze::worker(&host, 0);
        let before = server.count();
        host.wait_for("a lost check", || {
            (lost() > 0 || server.count() > before + 40 * MONITORS).then_some(())
        });
        if lost() > 0 {
            break frozen;
        }
    };
    everybody(3, "every monitor to be checked by the other worker");
    frozen.thaw();
    let late = || host.logged("a pulse that was given up came back");
    host.wait_for("each lost check to come back late", || {
        (late() == lost()).then_some(())
    });
    everybody(3, "every monitor to be checked as before");
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(
        ended.alerts,
        [] as [Value; 0],
        "nothing was wrong with any target"
    );
}

/// A service, what repairs it, and who is told: each notes what comes, and answers when it may.
struct Scene {
    target: Server,
    up: Arc<AtomicBool>,
    receiver: Server,
    gate: Arc<Gate>,
}

impl Scene {
    /// The receiver's first answer waits for the gate.
    fn start() -> Self {
        let up = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&up);
        let target = Server::start(move |_| status(if state.load(Ordering::SeqCst) { 200 } else { 503 }));
        let gate = Arc::new(Gate::default());
        let (held, first) = (Arc::clone(&gate), AtomicBool::new(true));
        let receiver = Server::start(move |_| {
            if first.swap(false, Ordering::SeqCst) {
                held.pass();
            }
            status(200)
        });
        Self {
            target,
            up,
            receiver,
            gate,
        }
    }

    fn monitor(&self, more: &str) -> String {
        format!(
            "[[monitor]]\nname = \"shop\"\ntimeout = \"1s\"\npulse = {{ plugin = \"http\", settings = {{ url = {:?} }} }}\n{PATIENT}\n{more}\n",
            self.target.url("/")
        )
    }

    fn repaired(&self) -> Host {
        let intervention = format!(
            "intervention = {{ plugin = \"webhook\", timeout = \"2s\", cooldown = \"100ms\", settings = {{ url = {:?} }} }}",
            self.receiver.url("/restart")
        );
        Host::start(&Config::new(self.monitor(&intervention)).host(HOST))
    }

    fn told(&self) -> Host {
        let notifier = format!(
            "[notifiers.ops]\nplugin = \"webhook\"\ntimeout = \"2s\"\nsettings = {{ url = {:?} }}\n",
            self.receiver.url("/")
        );
        let config = notifier + &self.monitor("notify = [\"ops\"]");
        Host::start(&Config::new(config).host(HOST))
    }

    /// Lets the target fail, and freezes the worker whose job made the receiver's first request. That one is known
    /// because the other was frozen before, and goes on again.
    fn freeze_the_caller(&self, host: &Host) -> freeze::Frozen {
        host.wait_for_log("shop is up: ");
        let idle = freeze::worker(host, 0);
        self.up.store(false, Ordering::SeqCst);
        host.wait_for("the first request", || (self.receiver.count() > 0).then_some(()));
        let frozen = freeze::worker(host, 1);
        idle.thaw();
        frozen
    }

    /// The target goes on being checked: whatever was to follow has followed.
    fn settle(&self) {
        self.target.wait_for_more(10);
    }
}

fn color(request: &Request) -> String {
    request.json()["commonLabels"]["color"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_lost_repair_that_helped_is_not_repeated() {
    let scene = Scene::start();
    let host = scene.repaired();
    let frozen = scene.freeze_the_caller(&host);
    // It has helped, but nobody will ever say so.
    scene.up.store(true, Ordering::SeqCst);
    host.wait_for_log("shop: an intervention was lost, its worker never answered");
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(colors(&alerts), ["yellow", "green"]);
    scene.settle();
    assert_eq!(scene.receiver.count(), 1);
    scene.gate.open();
    frozen.thaw();
    host.wait_for_log("shop: an intervention that was given up came back");
    scene.settle();
    assert_eq!(host.alerts(), alerts, "what came late changes nothing");
    assert_eq!(scene.receiver.count(), 1);
    assert_eq!(host.stop().status.code(), Some(0));
}

#[test]
fn a_lost_repair_is_repeated_only_after_checks_have_looked() {
    let scene = Scene::start();
    let host = scene.repaired();
    let frozen = scene.freeze_the_caller(&host);
    host.wait_for_log("shop: an intervention was lost, its worker never answered");
    host.wait_for("the second attempt", || {
        (scene.receiver.count() > 1).then_some(())
    });
    scene.up.store(true, Ordering::SeqCst);
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(colors(&alerts), ["yellow", "cyan", "green"]);
    let log = host.log();
    let line = |text: &str| log.iter().position(|line| line.contains(text)).unwrap();
    assert!(
        line("1 of 3 ended, nobody knows how; pulses will tell: lost") < line("intervention 2 of 3 starts")
    );
    let requests = scene.receiver.requests();
    assert_ne!(
        requests[0].header("idempotency-key"),
        requests[1].header("idempotency-key"),
        "it is another attempt"
    );
    scene.gate.open();
    frozen.thaw();
    host.wait_for_log("shop: an intervention that was given up came back");
    scene.settle();
    assert_eq!(scene.receiver.count(), 2);
    assert_eq!(host.alerts(), alerts);
}

#[test]
fn a_lost_alert_is_sent_again_under_the_same_id() {
    let scene = Scene::start();
    let host = scene.told();
    let frozen = scene.freeze_the_caller(&host);
    host.wait_for_log("shop: a code was lost, its worker never answered");
    host.wait_for_log("shop: yellow was sent to ops");
    host.wait_for_log("shop: red was sent to ops");
    // The first answer was given, and reaches the host only now.
    scene.gate.open();
    frozen.thaw();
    host.wait_for_log("shop: a code that was given up came back");
    scene.up.store(true, Ordering::SeqCst);
    host.wait_for_log("shop: green was sent to ops");
    scene.settle();
    let requests = scene.receiver.requests();
    let sent: Vec<String> = requests.iter().map(color).collect();
    assert_eq!(sent, ["yellow", "yellow", "red", "green"]);
    let id = |index: usize| requests[index].header("x-pulse-delivery-id").unwrap();
    assert_eq!(id(0), id(1), "the receiver can tell that it is a repeat");
    assert_ne!(id(1), id(2));
    for color in ["yellow", "red", "green"] {
        assert_eq!(
            host.logged(&format!("shop: {color} was sent to ops")),
            1,
            "{color}"
        );
    }
}

#[test]
fn a_receipt_that_comes_late_is_honoured() {
    let scene = Scene::start();
    let host = scene.told();
    let frozen = scene.freeze_the_caller(&host);
    host.wait_for_log("shop: a code was lost, its worker never answered");
    scene.gate.open();
    frozen.thaw();
    host.wait_for_log("shop: a code that was given up came back");
    scene.up.store(true, Ordering::SeqCst);
    host.wait_for_log("shop: green was sent to ops");
    scene.settle();
    let requests = scene.receiver.requests();
    let yellow: Vec<_> = requests
        .iter()
        .filter(|request| color(request) == "yellow")
        .collect();
    assert!(
        yellow.len() <= 2,
        "at most one repeat, if the receipt came after it was sent"
    );
    for request in &yellow {
        assert_eq!(
            request.header("x-pulse-delivery-id"),
            yellow[0].header("x-pulse-delivery-id")
        );
    }
    assert_eq!(
        host.logged("shop: yellow was sent to ops"),
        1,
        "one receipt for one alert"
    );
    assert_eq!(color(requests.last().unwrap()), "green");
}

/// Whoever is woken for a job may be the one that hangs; the job must not wait for it.
#[test]
fn a_hung_worker_takes_no_job_with_it_that_it_has_not_begun() {
    // Nothing frees a lost check within the patience of the test.
    const LONG: &str = "workers = 2\nmax-timeout = \"1h\"";
    for attempt in 0..40 {
        let gate = Arc::new(Gate::default());
        let held = Arc::clone(&gate);
        let server = Server::start(move |_| {
            held.pass();
            status(200)
        });
        let host = Host::start(&Config::new(monitors(1, &server, "timeout = \"50m\"")).host(LONG));
        server.wait_for(1);
        // The one check is in flight, and one of the two has it. If that one is frozen, it's the wrong one.
        let frozen = freeze::worker(&host, attempt % 2);
        gate.open();
        if (0..300).all(|_| {
            std::thread::sleep(Duration::from_millis(10));
            host.logged("m-0 is up: ") == 0
        }) {
            continue;
        }
        // The hung one has nothing, and must get nothing.
        host.wait_for("nine more checks", || (server.count() >= 10).then_some(()));
        frozen.thaw();
        let ended = host.stop();
        assert_eq!(ended.status.code(), Some(0));
        assert!(!ended.logged("was lost"));
        return;
    }
    panic!("the frozen worker always had the check");
}
