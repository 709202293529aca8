//! What makes an incident and what does not; reminders; trouble of the prober.

use super::Target;
use crate::support::{
    host::{Config, Host, colors},
    http::{Reply, Server, status},
    tls::{Authority, Certificate},
};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering},
};

#[test]
fn red_is_repeated_as_often_as_wanted_and_marked() {
    let target = Target::start(false);
    let config = Config::new(target.monitor("shop") + "repeat = \"1s\"\n");
    let host = Host::start(&config);
    host.wait_for("two reminders", || {
        let reminders = host
            .alerts()
            .iter()
            .filter(|alert| alert["reminder"] == true)
            .count();
        (reminders >= 2).then_some(())
    });
    target.set(true);
    let alerts = host.wait_for_color("shop", "green");
    let ids: HashSet<_> = alerts
        .iter()
        .map(|alert| alert["delivery_id"].to_string())
        .collect();
    assert_eq!(ids.len(), alerts.len(), "a reminder is no repeat of a delivery");
    let marked: Vec<bool> = alerts.iter().map(|alert| alert["reminder"] == true).collect();
    assert_eq!(marked[..4], [false, false, true, true], "{alerts:?}");
    assert_eq!(colors(&alerts)[..4], ["yellow", "red", "red", "red"]);
    assert_eq!(colors(&alerts).last(), Some(&"green"));
}

#[test]
fn degraded_is_yellow_and_no_incident() {
    let authority = Authority::new();
    let keys = authority.server(Certificate::Good);
    let target = Server::start_tls(keys.clone(), |_| status(200));
    let repair = Server::start(|_| status(200));
    let config = Config::new(format!(
        r#"
[[monitor]]
name = "shop"
page-after = "1ms"
pulse = {{ plugin = "http", settings = {{ url = {:?}, ca = {:?} }} }}
intervention = {{ plugin = "webhook", settings = {{ url = {:?} }} }}
"#,
        target.https("/"),
        authority.pem(),
        repair.url("/")
    ));
    let host = Host::start(&config);
    host.wait_for_log("shop is up: ");
    authority.renew(&keys, Certificate::Expiring);
    let alerts = host.wait_for_color("shop", "yellow");
    assert_eq!(alerts[0]["title"], "shop is degraded");
    assert_eq!(alerts[0]["incident"]["reason"], "certificate-expiring");
    target.wait_for_more(10);
    assert_eq!(colors(&host.alerts()), ["yellow"]);
    authority.renew(&keys, Certificate::Good);
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(colors(&alerts), ["yellow", "green"]);
    assert_eq!(repair.count(), 0);
    assert_eq!(host.logged("is down"), 0);
}

#[test]
fn flapping_below_the_threshold_is_no_incident() {
    let calls = AtomicUsize::new(0);
    // Two failures, one success, and so on; the threshold is three.
    let target = Server::start(move |_| {
        status(if calls.fetch_add(1, Ordering::SeqCst) % 3 == 2 {
            200
        } else {
            500
        })
    });
    let repair = Server::start(|_| status(200));
    let config = Config::new(format!(
        r#"
[[monitor]]
name = "shop"
failure-threshold = 3
pulse = {{ plugin = "http", settings = {{ url = {:?} }} }}
intervention = {{ plugin = "webhook", settings = {{ url = {:?} }} }}
"#,
        target.url("/"),
        repair.url("/")
    ));
    let host = Host::start(&config);
    let alerts = host.wait_for("four episodes", || {
        let alerts = host.alerts();
        (alerts.len() >= 8).then_some(alerts)
    });
    assert_eq!(colors(&alerts)[..4], ["yellow", "green", "yellow", "green"]);
    assert_eq!(alerts[0]["incident_key"], alerts[1]["incident_key"]);
    assert_ne!(alerts[1]["incident_key"], alerts[2]["incident_key"]);
    assert_eq!(host.logged("is down"), 0);
    assert_eq!(repair.count(), 0);
}

/// A redirect leaves what `@settings.url` grants: that is the configuration's trouble, not the target's.
#[test]
fn a_denied_call_is_purple_and_never_down() {
    let elsewhere = Server::start(|_| status(200));
    let away = elsewhere.url("/");
    let target = Server::start(move |_| Reply::Answer(302, vec![("location", away.clone())], String::new()));
    let repair = Server::start(|_| status(200));
    let config = Config::new(format!(
        r#"
[[monitor]]
name = "shop"
fault-threshold = 3
pulse = {{ plugin = "http", settings = {{ url = {:?} }} }}
intervention = {{ plugin = "webhook", settings = {{ url = {:?} }} }}
[[host.notify]]
notifier = "alerts"
"#,
        target.url("/"),
        repair.url("/")
    ));
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "purple");
    assert_eq!(alerts[0]["title"], "shop can't be checked");
    let body = alerts[0]["body"].as_str().unwrap();
    assert!(body.contains("3 faults in a row"), "{body}");
    assert!(
        body.contains("[plugins.http] grants.http") && body.contains(&elsewhere.address().to_string()),
        "the line that would allow it: {body}"
    );
    let told = host.wait_for_color("pulse-host", "purple");
    assert_eq!(told[0]["title"], "pulse-host can't check shop");
    assert_eq!(told[0]["incident"], Value::Null);
    target.wait_for_more(10);
    assert_eq!(colors(&host.alerts_of("shop")), ["purple"], "once per onset");
    assert_eq!(host.alerts_of("pulse-host").len(), 1);
    assert_eq!((elsewhere.count(), repair.count()), (0, 0));
    assert_eq!(host.logged("is down"), 0);
}

#[test]
fn the_way_back_from_purple_is_green() {
    let elsewhere = Server::start(|_| status(200));
    let (away, calls) = (elsewhere.url("/"), AtomicUsize::new(0));
    let target = Server::start(move |_| match calls.fetch_add(1, Ordering::SeqCst) {
        0..4 => Reply::Answer(302, vec![("location", away.clone())], String::new()),
        _ => status(200),
    });
    let config = Config::new(format!(
        "[[monitor]]\nname = \"shop\"\npulse = {{ plugin = \"http\", settings = {{ url = {:?} }} }}\n",
        target.url("/")
    ));
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(colors(&alerts), ["purple", "green"]);
    assert_eq!(alerts[0]["incident_key"], alerts[1]["incident_key"]);
    assert_eq!(alerts[1]["labels"], json!({}));
}
