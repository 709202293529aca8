//! From the first failure over interventions to green, or to red.

use super::Target;
use crate::support::{
    host::{Config, Host, colors},
    http::{Reply, Server, status},
};
use serde_json::Value;
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Bodies of the red alerts.
fn red(alerts: &[Value]) -> String {
    let red = alerts.iter().filter(|alert| alert["color"] == "red");
    red.map(|alert| alert["body"].as_str().unwrap()).collect()
}

fn webhook(server: &Server, more: &str) -> String {
    format!(
        "intervention = {{ plugin = \"webhook\", cooldown = \"100ms\", settings = {{ url = {:?} }}{more} }}\n",
        server.url("/restart")
    )
}

/// Answers with these statuses in turn, the last for ever, and heals the target with the given one.
fn answering(target: &Target, statuses: &'static [u16], heals: usize) -> Server {
    let (up, calls) = (target.healer(), AtomicUsize::new(0));
    Server::start(move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        if call == heals {
            up.store(true, Ordering::SeqCst);
        }
        status(statuses[call.min(statuses.len() - 1)])
    })
}

const NEVER: usize = usize::MAX;

#[test]
fn a_service_that_fails_is_repaired_and_green_again() {
    let target = Target::start(true);
    let restart = answering(&target, &[200], 0);
    let host = Host::start(&Config::new(
        target.monitor("shop") + "labels = { team = \"core\" }\n" + &webhook(&restart, ""),
    ));
    host.wait_for_log("shop is up: ");
    assert_eq!(host.alerts(), [] as [Value; 0], "a healthy start is no news");
    target.set(false);
    let alerts = host.wait_for_color("shop", "green");
    target.server.wait_for_more(5);

    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(ended.alerts, alerts, "green was the last word");
    assert_eq!(colors(&alerts), ["yellow", "cyan", "green"]);
    let key = &alerts[0]["incident_key"];
    assert!(
        key.as_str().unwrap().starts_with("default/shop/"),
        "{key} names tenant, monitor and episode"
    );
    let mut ids = HashSet::new();
    for alert in &alerts {
        assert_eq!(&alert["incident_key"], key);
        assert_eq!(&alert["incident"]["key"], key);
        assert_eq!(alert["labels"]["team"], "core");
        assert!(alert["title"].as_str().unwrap().contains("shop"));
        assert!(ids.insert(alert["delivery_id"].clone()), "{alert}");
    }
    assert_eq!(alerts[0]["incident"]["reason"], "unexpected-status");
    assert!(
        alerts[1]["body"]
            .as_str()
            .unwrap()
            .contains("intervention: HTTP 200")
    );
    let times: Vec<&str> = alerts
        .iter()
        .map(|alert| alert["time"].as_str().unwrap())
        .collect();
    assert!(times.is_sorted(), "{times:?}");

    let requests = restart.requests();
    assert_eq!(requests.len(), 1, "one incident, one repair");
    assert_eq!(requests[0].method, "POST");
    assert!(requests[0].header("idempotency-key").is_some());
    for line in [
        "shop is failing or degraded: ",
        "shop is down after 2 failures in a row: ",
        "shop: intervention 1 of 3 starts (webhook)",
        "shop: intervention 1 of 3 was done, verifying: ",
        "shop is up again after ",
    ] {
        assert!(ended.logged(line), "{line:?} in\n{}", ended.log.join("\n"));
    }
}

#[test]
fn without_a_repair_the_threshold_means_red() {
    let target = Target::start(false);
    let config = Config::new(target.monitor("shop") + "failure-threshold = 4\n");
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "red");
    assert!(
        target.server.count() >= 4,
        "red after {} failures",
        target.server.count()
    );
    assert!(
        red(&alerts).contains("no intervention is configured"),
        "{alerts:?}"
    );
    host.wait_for_log("shop is down after 4 failures in a row");
    target.set(true);
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(colors(&alerts), ["yellow", "red", "green"]);
}

#[test]
fn repairs_that_do_not_help_end_in_red_after_the_last_attempt() {
    let target = Target::start(false);
    let restart = answering(&target, &[200], NEVER);
    let config = Config::new(target.monitor("shop") + &webhook(&restart, ", max-attempts = 2"));
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "red");
    assert_eq!(colors(&alerts), ["yellow", "cyan", "cyan", "red"]);
    assert_ne!(alerts[1]["delivery_id"], alerts[2]["delivery_id"]);
    assert!(
        red(&alerts).contains("all interventions of this incident failed"),
        "{alerts:?}"
    );
    let keys: HashSet<_> = restart
        .requests()
        .iter()
        .map(|request| request.header("idempotency-key").unwrap().to_owned())
        .collect();
    assert_eq!(keys.len(), 2, "each attempt has a key of its own: {keys:?}");
    target.server.wait_for_more(10);
    assert_eq!(restart.count(), 2, "no attempt after red");
    // Somebody repairs it by hand.
    target.set(true);
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(alerts.len(), 5);
}

#[test]
fn a_budget_outlasts_the_incident() {
    let target = Target::start(false);
    // The first call heals; whatever comes later does not.
    let restart = answering(&target, &[200], 0);
    let budget = ", max-attempts = 9, budget = { attempts = 2, per = \"1h\" }";
    let host = Host::start(&Config::new(target.monitor("shop") + &webhook(&restart, budget)));
    host.wait_for_color("shop", "green");
    target.set(false);
    let alerts = host.wait_for_color("shop", "red");
    assert_eq!(
        colors(&alerts),
        ["yellow", "cyan", "green", "yellow", "cyan", "red"]
    );
    assert_ne!(alerts[0]["incident_key"], alerts[3]["incident_key"]);
    assert!(
        red(&alerts).contains("budget of this time window is spent"),
        "{alerts:?}"
    );
    target.server.wait_for_more(10);
    assert_eq!(restart.count(), 2);
}

#[test]
fn what_could_not_be_tried_is_tried_again() {
    let target = Target::start(false);
    let restart = answering(&target, &[503, 429, 200], 2);
    let config = Config::new(target.monitor("shop") + &webhook(&restart, ""));
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(
        colors(&alerts),
        ["yellow", "cyan", "green"],
        "only what was done is cyan"
    );
    assert_eq!(restart.count(), 3);
    assert_eq!(host.logged("failed, will be tried again: HTTP 503"), 1);
    assert_eq!(host.logged("failed, will be tried again: HTTP 429"), 1);
}

#[test]
fn what_can_never_help_is_red_at_once() {
    let target = Target::start(false);
    let restart = answering(&target, &[404], NEVER);
    let config = Config::new(target.monitor("shop") + &webhook(&restart, ", max-attempts = 5"));
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "red");
    assert_eq!(colors(&alerts), ["yellow", "red"]);
    assert!(red(&alerts).contains("the intervention can't help"), "{alerts:?}");
    host.wait_for_log("failed for good: HTTP 404");
    target.server.wait_for_more(10);
    assert_eq!(restart.count(), 1);
}

#[test]
fn an_unknown_effect_is_looked_at_before_anything_is_repeated() {
    let target = Arc::new(Target::start(false));
    // How many checks the target had seen when each call came.
    let (seen, up) = (Arc::clone(&target), target.healer());
    let at = Arc::new(std::sync::Mutex::new(Vec::new()));
    let calls = Arc::clone(&at);
    let restart = Server::start(move |_| {
        let mut calls = calls.lock().unwrap();
        calls.push(seen.server.count());
        if calls.len() == 1 {
            // It may have been done, for all that anybody knows.
            return status(500);
        }
        up.store(true, Ordering::SeqCst);
        status(200)
    });
    let config = Config::new(target.monitor("shop") + &webhook(&restart, ""));
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(colors(&alerts), ["yellow", "cyan", "green"]);
    host.wait_for_log("intervention 1 of 3 ended, nobody knows how; pulses will tell: HTTP 500");
    let at = at.lock().unwrap();
    assert!(
        at[1] >= at[0] + 2,
        "the threshold of failures lies between the two: {at:?}"
    );
}

#[test]
fn an_unknown_effect_that_was_one_is_not_repeated() {
    let target = Target::start(false);
    let restart = answering(&target, &[500], 0);
    let config = Config::new(target.monitor("shop") + &webhook(&restart, ""));
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(
        colors(&alerts),
        ["yellow", "green"],
        "nobody knows whether it was repaired"
    );
    target.server.wait_for_more(10);
    assert_eq!(restart.count(), 1);
}

#[test]
fn people_are_called_while_repairs_go_on() {
    let target = Target::start(false);
    let restart = answering(&target, &[200], NEVER);
    let config = Config::new(
        target.monitor("shop") + "page-after = \"1s\"\n" + &webhook(&restart, ", max-attempts = 1000"),
    );
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "red");
    assert!(red(&alerts).contains("repairs go on"), "{alerts:?}");
    restart.wait_for_more(2);
    target.set(true);
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(colors(&alerts).iter().filter(|color| **color == "red").count(), 1);
    assert_eq!(colors(&alerts).first(), Some(&"yellow"));
    assert_eq!(colors(&alerts).last(), Some(&"green"));
}

#[test]
fn a_repair_that_never_answers_is_looked_at_and_spends_its_attempt() {
    let target = Target::start(false);
    let restart = Server::start(|_| Reply::Silence);
    let config =
        Config::new(target.monitor("shop") + &webhook(&restart, ", max-attempts = 2, timeout = \"500ms\""));
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "red");
    assert_eq!(colors(&alerts), ["yellow", "red"]);
    assert_eq!(host.logged("nobody knows how; pulses will tell"), 2);
    target.server.wait_for_more(10);
    assert_eq!(restart.count(), 2);
}
