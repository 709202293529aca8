//! Codes on their way to receivers that are down, slow, picky or out of reach.

use super::Target;
use crate::support::{
    host::{Config, Host, colors},
    http::{Reply, Request, Server, status},
};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

fn notifier(name: &str, url: &str, more: &str) -> String {
    format!("[notifiers.{name}]\nplugin = \"webhook\"\nsettings = {{ url = {url:?} }}\n{more}\n")
}

fn color(request: &Request) -> String {
    request.json()["commonLabels"]["color"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn id(request: &Request) -> &str {
    request.header("x-pulse-delivery-id").unwrap()
}

#[test]
fn a_receiver_that_is_down_gets_everything_later_in_order() {
    let target = Target::start(false);
    let down = Arc::new(AtomicBool::new(true));
    let (state, calls) = (Arc::clone(&down), AtomicUsize::new(0));
    let receiver = Server::start(move |_| {
        if !state.load(Ordering::SeqCst) {
            return Reply::Answer(200, vec![("x-request-id", "r1".to_owned())], String::new());
        }
        match calls.fetch_add(1, Ordering::SeqCst) % 3 {
            0 => status(500),
            1 => Reply::Answer(429, vec![("retry-after", "1".to_owned())], String::new()),
            _ => Reply::Close,
        }
    });
    let config = notifier("ops", &receiver.url("/hook"), "")
        + &target.monitor("shop")
        + "labels = { team = \"core\" }\nnotify-add = [\"ops\"]\n";
    let host = Host::start(&Config::new(config));
    // Red and green come to be while the receiver has not even taken yellow.
    host.wait_for_color("shop", "red");
    target.set(true);
    let alerts = host.wait_for_color("shop", "green");
    receiver.wait_for(3);
    let refused = receiver.requests();
    for request in &refused {
        assert_eq!(color(request), "yellow", "nothing overtakes");
        assert_eq!(id(request), id(&refused[0]));
        assert_eq!(request.header("idempotency-key"), Some(id(&refused[0])));
    }
    down.store(false, Ordering::SeqCst);
    let requests = host.wait_for("green at the receiver", || {
        let requests = receiver.requests();
        requests
            .iter()
            .any(|request| color(request) == "green")
            .then_some(requests)
    });
    let taken: Vec<String> = requests[requests.len() - 3..].iter().map(color).collect();
    assert_eq!(taken, ["yellow", "red", "green"]);
    host.wait_for_log("green was sent to ops");
    for color in ["yellow", "red", "green"] {
        assert_eq!(
            host.logged(&format!("shop: {color} was sent to ops")),
            1,
            "{color}"
        );
    }
    assert!(host.logged("shop: yellow was not taken by ops, again in ") >= 3);

    // The shape is that of Alertmanager's webhook receiver, version 4.
    let (yellow, green) = (requests[0].json(), requests.last().unwrap().json());
    let identity = json!({ "alertname": "shop", "monitor": "shop", "tenant": "default", "team": "core" });
    let labels = |color: &str, severity: &str| {
        let mut labels = identity.clone();
        labels["color"] = json!(color);
        labels["severity"] = json!(severity);
        labels
    };
    assert_eq!(yellow["version"], "4");
    assert_eq!(yellow["groupKey"], alerts[0]["incident_key"]);
    assert_eq!(yellow["truncatedAlerts"], 0);
    assert_eq!(
        (&yellow["status"], &green["status"]),
        (&json!("firing"), &json!("resolved"))
    );
    assert_eq!(yellow["receiver"], "pulse-host");
    assert_eq!(
        yellow["groupLabels"],
        json!({ "alertname": "shop", "tenant": "default" })
    );
    assert_eq!(yellow["commonLabels"], labels("yellow", "warning"));
    assert_eq!(yellow["externalURL"], "");
    let (firing, resolved) = (&yellow["alerts"][0], &green["alerts"][0]);
    assert_eq!(firing["labels"], labels("yellow", "warning"));
    assert_eq!(resolved["labels"], labels("green", "info"));
    assert_eq!(firing["annotations"]["summary"], alerts[0]["title"]);
    assert_eq!(firing["annotations"]["description"], alerts[0]["body"]);
    assert_eq!(firing["annotations"]["reason"], "unexpected-status");
    assert_eq!(firing["startsAt"], alerts[0]["incident"]["opened_at"]);
    assert_eq!(firing["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(resolved["startsAt"], firing["startsAt"]);
    assert_eq!(resolved["endsAt"], alerts.last().unwrap()["time"]);
    assert_eq!(firing["fingerprint"], resolved["fingerprint"]);
    assert_eq!(yellow["alerts"].as_array().unwrap().len(), 1);
}

#[test]
fn what_can_never_be_delivered_is_told_to_the_host_s_own_sinks() {
    let target = Target::start(false);
    let receiver = Server::start(|_| Reply::Answer(400, Vec::new(), "go away".to_owned()));
    let config = notifier("ops", &receiver.url("/"), "")
        + &target.monitor("shop")
        + "notify = [\"ops\"]\n[[host.notify]]\nnotifier = \"alerts\"\n";
    let host = Host::start(&Config::new(config));
    let told = host.wait_for("both to be given up", || {
        let told = host.alerts();
        (told.len() >= 2).then_some(told)
    });
    assert_eq!(colors(&told), ["purple", "purple"]);
    assert_eq!(told[0]["monitor"], "pulse-host");
    assert_eq!(told[0]["title"], "yellow of shop could not be delivered to ops");
    assert!(told[0]["body"].as_str().unwrap().contains("HTTP 400: go away"));
    assert_eq!(told[1]["title"], "red of shop could not be delivered to ops");
    host.wait_for_log("shop: red can't be delivered to ops and is given up: HTTP 400: go away");
    target.set(true);
    host.wait_for_log("shop is up again after ");
    target.server.wait_for_more(5);
    let sent: Vec<String> = receiver.requests().iter().map(color).collect();
    assert_eq!(
        sent,
        ["yellow", "red"],
        "each once, and no green for who heard of nothing"
    );
}

#[test]
fn an_alert_that_grows_too_old_is_given_up_and_frees_the_next() {
    let target = Target::start(false);
    let calls = AtomicUsize::new(0);
    // Yellow is never taken, everything else is.
    let receiver = Server::start(move |request| {
        calls.fetch_add(1, Ordering::SeqCst);
        status(if color(request) == "yellow" { 503 } else { 200 })
    });
    let config = notifier("ops", &receiver.url("/"), "max-age = \"2s\"")
        + &target.monitor("shop")
        + "failure-threshold = 20\nnotify-add = [\"ops\"]\n";
    let host = Host::start(&Config::new(config));
    host.wait_for_log("shop: yellow can't be delivered to ops and is given up: ");
    host.wait_for_log("shop: red was sent to ops: ");
    let sent: Vec<String> = receiver.requests().iter().map(color).collect();
    assert_eq!(sent.last().unwrap(), "red");
}

#[test]
fn a_path_out_of_the_granted_directory_is_refused() {
    let target = Target::start(false);
    let config = "[notifiers.astray]\nplugin = \"file\"\nsettings = { path = \"../escaped.ndjson\" }\n"
        .to_owned()
        + &target.monitor("shop")
        + "notify = [\"astray\"]\n[[host.notify]]\nnotifier = \"alerts\"\n";
    let host = Host::start(&Config::new(config));
    let told = host.wait_for_color("pulse-host", "purple");
    assert_eq!(
        told[0]["title"],
        "yellow of shop could not be delivered to astray"
    );
    let body = told[0]["body"].as_str().unwrap();
    assert!(body.contains("escaped.ndjson"), "which path: {body}");
    host.wait_for_log("shop: red can't be delivered to astray");
    let written: Vec<_> = std::fs::read_dir(host.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !written
            .iter()
            .any(|name| name.to_string_lossy().contains("escaped")),
        "{written:?}"
    );
}

#[test]
fn a_notifier_that_hangs_delays_no_other() {
    let target = Target::start(false);
    let hanging = Server::start(|_| Reply::Silence);
    let config = notifier("hanging", &hanging.url("/"), "timeout = \"1m\"")
        + &target.monitor("shop")
        + "notify-add = [\"hanging\"]\n";
    let host = Host::start(&Config::new(config));
    hanging.wait_for(1);
    host.wait_for_color("shop", "red");
    target.set(true);
    let alerts: Vec<Value> = host.wait_for_color("shop", "green");
    assert_eq!(colors(&alerts), ["yellow", "red", "green"]);
    let sent: Vec<String> = hanging.requests().iter().map(color).collect();
    assert_eq!(sent, ["yellow"], "that one still waits for its first answer");
    // Stopping says what was not delivered.
    let ended = host;
    ended.signal(nix::sys::signal::Signal::SIGTERM);
    ended.wait_for_log("SIGTERM: no more checks");
}
