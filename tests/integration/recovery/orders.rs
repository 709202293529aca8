//! What operators say of monitors is in effect at once, and after a restart.

use super::monitors;
use crate::support::{
    host::{Config, Host, colors, command},
    http::{Server, status},
};
use serde_json::Value;
use tempfile::TempDir;

/// What the program says when it asks the running host.
fn asked(host: &Host, words: &[&str]) -> (bool, String) {
    let output = command()
        .args(words)
        .arg("--data-dir")
        .arg(host.folder().join("state"))
        .output()
        .unwrap();
    let text = if output.status.success() {
        output.stdout
    } else {
        output.stderr
    };
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn ok(host: &Host, words: &[&str]) -> String {
    let (ok, text) = asked(host, words);
    assert!(ok, "{words:?}: {text}");
    text
}

#[test]
fn a_pause_and_a_silence_outlast_a_kill() {
    let server = Server::start(|_| status(500));
    let config = Config::new(monitors(3, &server, ""));
    let host = Host::start_serving(TempDir::new().unwrap(), &config);
    host.wait_for_color("m-0", "red");
    let said = ok(&host, &["pause", "m-1", "--for", "2h", "--comment", "moving"]);
    assert!(said.starts_with("m-1 is paused until "), "{said}");
    let said = ok(&host, &["silence", "add", "monitor=m-2"]);
    assert!(said.contains("holds for 1 monitor"), "{said}");
    let said = ok(&host, &["ack", "m-0", "--comment", "disk ordered"]);
    assert!(said.contains("of m-0 is acknowledged"), "{said}");
    let list = ok(&host, &["silence", "list"]);
    assert!(list.contains("monitor=m-2"), "{list}");
    let (_, refused) = asked(&host, &["check", "m-1"]);
    assert!(refused.contains("it is paused; resume it first"), "{refused}");
    let (_, refused) = asked(&host, &["check", "m-9"]);
    assert!(refused.contains("there is no monitor default/m-9"), "{refused}");
    // What is told of it is put on record within a second, and not before the order is answered.
    let id = incident_of(&host, "m-0");
    host.wait_for("the story to tell of it", || {
        ok(&host, &["incidents", &id])
            .contains("acknowledged (by local: disk ordered)")
            .then_some(())
    });
    let folder = host.kill_keeping_folder();
    let host = Host::start_serving(folder, &config);
    let marks = |name: &str| -> Vec<Value> {
        let one = host.asked("GET", &format!("/api/v1/monitors/default/{name}"));
        one["marks"].as_array().unwrap().clone()
    };
    assert_eq!(marks("m-1"), ["paused"]);
    assert_eq!(marks("m-2"), ["silenced"]);
    assert_eq!(marks("m-0"), ["acknowledged"]);
    // It is not checked, and the others are.
    host.wait_for("others to be checked", || {
        (server.count_of("/0") > 5).then_some(())
    });
    let said = ok(&host, &["resume", "m-1"]);
    assert_eq!(said, "m-1 is checked again\n");
    assert_eq!(
        ok(&host, &["ack", "m-0", "--undo"]),
        "the incident of m-0 is not acknowledged any more\n"
    );
    let status: Value = serde_json::from_str(&ok(&host, &["status", "--output", "json"])).unwrap();
    assert_eq!(status["caller"]["role"], "admin");
    host.wait_for("the story to tell of the end of it", || {
        ok(&host, &["incidents", &id])
            .contains("not acknowledged any more")
            .then_some(())
    });
}

/// The open incident of a monitor.
fn incident_of(host: &Host, name: &str) -> String {
    host.wait_for("its incident on record", || {
        let all = ok(host, &["incidents", "--output", "json"]);
        let all: Vec<Value> = serde_json::from_str(&all).unwrap();
        let one = all.iter().find(|one| one["monitor"] == name)?;
        Some(one["id"].as_str().unwrap().to_owned())
    })
}

#[test]
fn windows_of_the_configuration_come_and_go_with_a_reload() {
    let server = Server::start(|_| status(200));
    let window = "[[maintenance]]\nname = \"move\"\nselector = \"monitor=m-0\"\nfrom = 2020-01-01T00:00:00Z\nuntil = 2099-01-01T00:00:00Z\n";
    let with = Config::new(format!("{window}{}", monitors(2, &server, "")));
    let host = Host::start_serving(TempDir::new().unwrap(), &with);
    let entered = host.wait_for_color("m-0", "gray");
    assert_eq!(colors(&entered), ["gray"]);
    let list = ok(&host, &["maintenance", "list"]);
    assert!(list.contains("config:move"), "{list}");
    let (_, refused) = asked(&host, &["maintenance", "end", "config:move"]);
    assert!(refused.contains("it stands in the configuration"), "{refused}");
    let without = Config::new(monitors(2, &server, ""));
    host.rewrite(&without);
    ok(&host, &["reload"]);
    host.wait_for("it to be told that it is over", || {
        (host
            .alerts()
            .iter()
            .filter(|alert| alert["color"] == "gray")
            .count()
            == 2)
            .then_some(())
    });
    assert_eq!(ok(&host, &["maintenance", "list"]), "none\n");
}
