//! Monitors that say by themselves that they are well: silence is a failure, over a kill too.

use crate::support::host::{Config, Host, colors};
use pulse_host::{
    http::{
        client,
        tokens::{Door, hash},
    },
    store::Inspected,
};
use serde_json::Value;
use tempfile::TempDir;

/// What whoever sends a heartbeat hears.
fn beat(host: &Host, name: &str, token: &str) -> Result<Value, String> {
    let door = Door::read(&host.folder().join("state")).unwrap().unwrap();
    let door = Door::named(door.url, token.to_owned());
    let path = format!("/api/v1/heartbeats/default/{name}");
    client::ask(&door, "POST", &path, None).map_err(|error| format!("{error:#}"))
}

fn monitor(name: &str, every: &str, token: &str) -> String {
    format!(
        "[[monitor]]\nname = {name:?}\nheartbeat = {{ every = {every:?}, grace = \"0s\", hash = {:?} }}\n",
        hash(token)
    )
}

#[test]
fn silence_is_told_until_a_heartbeat_ends_it() {
    let config = Config::new(monitor("backup", "1s", "its-own") + &monitor("nightly", "1d", "another"));
    let host = Host::start_serving(TempDir::new().unwrap(), &config);
    host.wait_for_color("backup", "red");
    for (name, token) in [("backup", "another"), ("backup", ""), ("backups", "its-own")] {
        let refused = beat(&host, name, token).unwrap_err();
        assert!(refused.contains("does not know this token"), "{refused}");
    }
    let admin = Door::read(&host.folder().join("state")).unwrap().unwrap().token;
    assert!(
        beat(&host, "backup", &admin).is_err(),
        "other tokens are good for something else"
    );
    let heard = beat(&host, "backup", "its-own").unwrap();
    assert!(heard["heard_at"].is_string(), "{heard}");
    // Without this wish it would be looked at again in a second only, when it may be silent again.
    host.wait_for_color("backup", "green");
    let told = host.alerts_of("backup");
    let colors = colors(&told);
    let red = colors.iter().position(|color| *color == "red").unwrap();
    assert_eq!(colors.get(red + 1), Some(&"green"), "{told:?}");
    let body = told[red]["body"].as_str().unwrap();
    assert!(body.contains("no heartbeat ever for"), "{body}");
    let shown = host.asked("GET", "/api/v1/monitors/default/nightly");
    assert_eq!(
        (&shown["state"], &shown["plugin"]),
        (&"up".into(), &"heartbeat".into())
    );
    assert_eq!(shown["heartbeat"]["heard_at"], Value::Null);
    assert_ne!(shown["settings"]["hash"], hash("another"), "{shown}");
}

#[test]
fn what_was_heard_is_known_after_a_kill() {
    let config = Config::new(monitor("nightly", "1d", "its-own") + &monitor("gone", "1s", "its-own"));
    let host = Host::start_serving(TempDir::new().unwrap(), &config);
    host.wait_for_color("gone", "red");
    let heard = beat(&host, "nightly", "its-own").unwrap();
    host.wait_for("it to be on record", || {
        let store = Inspected::open(&host.folder().join("state")).unwrap();
        (store.check().unwrap().heartbeats == 1).then_some(())
    });
    let folder = host.kill_keeping_folder();
    let host = Host::start_serving(folder, &config);
    let one = |name: &str| host.asked("GET", &format!("/api/v1/monitors/default/{name}"));
    assert_eq!(one("nightly")["heartbeat"]["heard_at"], heard["heard_at"]);
    // Whoever was silent is not believed to be well because the host was away.
    host.wait_for("it to be looked at again", || {
        (!one("gone")["runs"].as_array().unwrap().is_empty()).then_some(())
    });
    let told = host.alerts_of("gone");
    assert!(!colors(&told).contains(&"green"), "{told:?}");
    assert_eq!(one("gone")["state"], "down");
}
