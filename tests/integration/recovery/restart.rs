//! Another process goes on where the last one was killed.

use super::monitors;
use crate::support::{
    host::{Config, Host, colors, command, plugins},
    http::{Server, status},
};
use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

/// A target, and what it says.
fn target(says: u16) -> (Server, Arc<AtomicU16>) {
    let says = Arc::new(AtomicU16::new(says));
    let heard = Arc::clone(&says);
    let server = Server::start(move |_| status(heard.load(Ordering::Acquire)));
    (server, says)
}

#[test]
fn whoever_heard_of_an_incident_hears_of_its_end_from_the_next_process() {
    let (server, says) = target(500);
    let config = Config::new(monitors(1, &server, ""));
    let host = Host::start(&config);
    let before = host.wait_for_color("m-0", "red");
    let folder = host.kill_keeping_folder();
    says.store(200, Ordering::Release);
    let host = Host::start_in(folder, &config);
    host.wait_for_log("remembered: 1 monitor in trouble");
    let after = host.wait_for_color("m-0", "green");
    assert!(after.len() > before.len());
    let keys: Vec<_> = after.iter().map(|alert| &alert["incident_key"]).collect();
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    // The last one may have been written twice, by a process that was killed before it could say so.
    let mut seen = colors(&after);
    seen.dedup();
    assert_eq!(seen, ["yellow", "red", "green"]);
    // It is over: the next one remembers nothing.
    let (folder, _) = host.stop_keeping_folder();
    let host = Host::start_in(folder, &config);
    assert_eq!(host.logged("remembered:"), 0);
    // And it is told beside the running host, from its beginning in one process to its end in the next.
    let id = keys[0].as_str().unwrap().rsplit('/').next().unwrap();
    let story = on_record(&host, &["incidents", id]);
    for line in [
        "down, 2 failures in a row",
        "red was sent to alerts",
        "green was sent to alerts",
        "over after",
    ] {
        assert!(story.contains(line), "no {line:?} in\n{story}");
    }
    assert_eq!(on_record(&host, &["incidents", "--open"]), "no incidents\n");
    let found = on_record(&host, &["store", "check"]);
    assert!(
        found.contains("0 of 1 incidents open") && found.contains("it is whole"),
        "{found}"
    );
}

/// What the program says about a running host's store.
fn on_record(host: &Host, words: &[&str]) -> String {
    let output = command()
        .args(words)
        .arg("--data-dir")
        .arg(host.folder().join("state"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_alert_that_nobody_took_is_delivered_by_the_next_process_under_its_old_id() {
    let (server, _) = target(500);
    let (receiver, takes) = target(503);
    let hook = format!(
        "[notifiers.hook]\nplugin = \"webhook\"\nsettings = {{ url = {:?} }}\n{}",
        receiver.url("/hook"),
        monitors(1, &server, "notify = [\"hook\"]")
    );
    let config = Config::new(hook);
    let host = Host::start(&config);
    host.wait_for("the receiver to refuse twice", || {
        (receiver.count_of("/hook") >= 2).then_some(())
    });
    let folder = host.kill_keeping_folder();
    let refused = receiver.requests();
    takes.store(200, Ordering::Release);
    let host = Host::start_in(folder, &config);
    host.wait_for("it to be taken", || {
        (receiver.count_of("/hook") > refused.len()).then_some(())
    });
    let all = receiver.requests();
    assert_eq!(
        all[refused.len()].header("idempotency-key"),
        all[0].header("idempotency-key")
    );
    assert!(all[0].header("idempotency-key").is_some());
}

#[test]
fn a_second_process_is_refused_and_told_why() {
    let (server, _) = target(200);
    let config = Config::new(monitors(1, &server, ""));
    let host = Host::start(&config);
    let output = command()
        .arg("--plugins")
        .arg(plugins())
        .arg("--config")
        .arg(host.folder().join("pulse-host.toml"))
        .env("STATE_DIRECTORY", host.folder().join("state"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let wanted = format!("in use by another pulse-host (process {})", host.pid());
    assert!(said.contains(&wanted), "{said}");
}
