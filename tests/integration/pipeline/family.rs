//! Monitors that depend on others: one dead parent is one page, however many children it has.

use crate::support::{
    host::{Config, Host, colors},
    http::{Server, status},
};
use std::{
    collections::HashSet,
    fmt::Write as _,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

const CHILDREN: usize = 3_000;

/// A site: whether it can be reached, and who has asked since that changed.
struct Site {
    up: bool,
    asked: HashSet<String>,
}

#[test]
fn one_dead_parent_of_three_thousand_children_is_one_page() {
    let site = Arc::new(Mutex::new(Site {
        up: true,
        asked: HashSet::new(),
    }));
    let answering = Arc::clone(&site);
    let server = Server::start(move |request| {
        let mut site = answering.lock().unwrap();
        site.asked.insert(request.path.clone());
        status(if site.up { 200 } else { 503 })
    });
    let folder = TempDir::new().unwrap();
    let mut rows = String::new();
    for number in 0..CHILDREN {
        let _ = writeln!(rows, r#"{{"number": {number}, "via": "router"}}"#);
    }
    std::fs::write(folder.path().join("children.ndjson"), rows).unwrap();
    let url = server.url("");
    let host = Host::start_in(
        folder,
        &Config::new(format!(
            r#"
[[monitor]]
name = "router"
labels = {{ role = "router" }}
pulse = {{ plugin = "http", settings = {{ url = "{url}/router" }} }}
[[monitor]]
name = "child-{{{{number}}}}"
targets = "children.ndjson"
key = "number"
depends-on = [{{ labels = {{ role = "{{{{via}}}}" }} }}]
interval = "5s"
retry-interval = "5s"
failure-threshold = 1
pulse = {{ plugin = "http", settings = {{ url = "{url}/{{{{number}}}}" }} }}
"#
        )),
    );
    let everybody_asks = || {
        host.wait_for("everybody to ask", || {
            (site.lock().unwrap().asked.len() > CHILDREN).then_some(())
        });
    };
    let set = |up: bool| {
        let mut site = site.lock().unwrap();
        site.up = up;
        site.asked.clear();
    };
    everybody_asks();
    assert!(host.alerts().is_empty(), "all is well");
    set(false);
    everybody_asks();
    host.wait_for_color("router", "red");
    // They go on asking while it is down, and stay silent.
    set(false);
    everybody_asks();
    set(true);
    host.wait_for_color("router", "green");
    everybody_asks();
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(
        colors(&ended.alerts),
        ["yellow", "red", "green"],
        "{:#?}",
        ended.alerts
    );
    assert!(ended.alerts.iter().all(|alert| alert["monitor"] == "router"));
}
