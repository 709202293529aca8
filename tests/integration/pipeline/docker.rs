//! Interventions through the Docker Engine API, on a unix socket of the test's own.

use crate::support::{
    host::{Config, Host, colors},
    http::{Reply, Request, Server, status},
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use tempfile::TempDir;

#[test]
fn an_engine_s_answers_decide_what_follows() {
    let healed = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&healed);
    let target = Server::start(move |request| {
        status(if request.path == "/web-ok" && up.load(Ordering::SeqCst) {
            200
        } else {
            503
        })
    });
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("engine.sock");
    let broken = Mutex::new(0);
    let engine = Server::start_unix(&socket, move |request| {
        if request.path == "/_ping" {
            return Reply::Answer(200, vec![("api-version", "1.47".to_owned())], "OK".to_owned());
        }
        match container(request) {
            "web-ok" => {
                healed.store(true, Ordering::SeqCst);
                status(204)
            }
            "web-gone" => Reply::Answer(
                404,
                Vec::new(),
                r#"{"message":"No such container: web-gone"}"#.to_owned(),
            ),
            "web-broken" => {
                *broken.lock().unwrap() += 1;
                status(500)
            }
            _ => Reply::Silence,
        }
    });
    let monitor = |name: &str| {
        format!(
            r#"
[[monitor]]
name = "{name}"
pulse = {{ plugin = "http", settings = {{ url = "{}" }} }}
intervention = {{ plugin = "docker", timeout = "3s", max-attempts = 2, cooldown = "100ms", settings = {{ container = "{name}", stop-timeout = "1s" }} }}
"#,
            target.url(&format!("/{name}"))
        )
    };
    let names = ["web-ok", "web-gone", "web-broken", "web-mute", "db-1"];
    let monitors: String = names.iter().map(|name| monitor(name)).collect();
    let host = Host::start(&Config::new(format!(
        "[plugins.docker]\ngrants.docker = {{ containers = [\"web-*\"], socket = {:?} }}\n{monitors}",
        socket.display().to_string()
    )));

    let alerts = host.wait_for_color("web-ok", "green");
    assert_eq!(colors(&alerts), ["yellow", "cyan", "green"]);
    for (name, why) in [
        ("web-gone", "the intervention can't help"),
        ("web-broken", "all interventions of this incident failed"),
        ("web-mute", "all interventions of this incident failed"),
        ("db-1", "the intervention can't help"),
    ] {
        let alerts = host.wait_for_color(name, "red");
        assert_eq!(colors(&alerts), ["yellow", "red"], "{name}");
        let body = alerts[1]["body"].as_str().unwrap();
        assert!(body.contains(why), "{name}: {body}");
    }
    host.wait_for_log("web-gone: intervention 1 of 2 failed for good: No such container: web-gone");
    host.wait_for_log("web-broken: intervention 1 of 2 failed, will be tried again: the engine answered 500");
    host.wait_for_log("web-mute: intervention 1 of 2 ended, nobody knows how; pulses will tell: ");
    // A container that no grant covers: the engine never heard of it, and the log says what would allow it.
    let denied = host.wait_for_log("db-1: intervention 1 of 2 failed for good: denied: docker db-1");
    assert!(
        denied.contains(r#"grants.docker = { containers = ["web-*", "db-1"]"#),
        "{denied}"
    );

    target.wait_for_more(10);
    let mut posts: Vec<String> = engine
        .requests()
        .iter()
        .filter(|request| request.method == "POST")
        .map(|request| request.path.clone())
        .collect();
    posts.sort();
    assert_eq!(
        posts,
        [
            "/v1.47/containers/web-broken/restart?t=1",
            "/v1.47/containers/web-broken/restart?t=1",
            "/v1.47/containers/web-gone/restart?t=1",
            "/v1.47/containers/web-mute/restart?t=1",
            "/v1.47/containers/web-mute/restart?t=1",
            "/v1.47/containers/web-ok/restart?t=1",
        ]
    );
}

fn container(request: &Request) -> &str {
    request.path.split('/').nth(3).unwrap()
}

#[test]
fn an_engine_that_is_not_there_is_tried_again() {
    let target = Server::start(|_| status(503));
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("none.sock");
    let host = Host::start(&Config::new(format!(
        r#"
[plugins.docker]
grants.docker = {{ containers = ["web-*"], socket = "{}" }}
[[monitor]]
name = "shop"
pulse = {{ plugin = "http", settings = {{ url = "{}" }} }}
intervention = {{ plugin = "docker", max-attempts = 2, cooldown = "100ms", settings = {{ container = "web-1" }} }}
"#,
        socket.display(),
        target.url("/")
    )));
    let alerts = host.wait_for_color("shop", "red");
    assert_eq!(colors(&alerts), ["yellow", "red"]);
    assert!(host.logged("can't be reached") >= 1);
    host.wait_for_log("intervention 2 of 2 failed");
}
