//! What a guest that was given a secret says of it, wherever it says it.

use super::World;
use crate::support::http::{Server, status};
use serde_json::json;
use std::sync::{Arc, Mutex};

/// With everything in it that is written otherwise in JSON and in URLs.
const VALUE: &str = "tr0ub4dor&3 \"quoted\" s/ash";

const TENANTS: &str = r#"
[plugins."acme/chaos"]
grants.http = ["@settings.url"]
grants.tcp = ["@settings.address"]
grants.networks = ["loopback"]
grants.docker = { containers = ["none"] }
grants.directories = [{ path = "./alerts" }]
[tenants.acme]
config = "tenants/acme"
plugins = "tenants/acme/plugins"
allowed-plugins = ["http", "file"]
secrets.token = "${env:ACME_TOKEN}"
"#;

/// Every monitor says the secret in another way.
fn acme(url: &str) -> String {
    let chaos = |name: &str, settings: &str| {
        format!(
            "[[monitor]]\nname = \"{name}\"\npulse = {{ plugin = \"acme/chaos\", settings = {{ {settings} }} }}\n"
        )
    };
    format!(
        "[defaults]\ninterval = \"200ms\"\nfault-threshold = 1\nfailure-threshold = 1\nnotify = [\"alerts\"]\n\
         [notifiers.alerts]\nplugin = \"file\"\nsettings = {{ path = \"alerts.ndjson\" }}\n{}{}{}{}{}",
        chaos(
            "says",
            "do = \"say\", then = \"unhealthy\", text = \"<${secret:token}>\""
        ),
        chaos("panics", "do = \"say-panicking\", text = \"<${secret:token}>\""),
        chaos("row-{{id}}", "do = \"say\", text = \"{{id}} ${secret:token}\"").replace(
            "pulse",
            "targets = [{ id = \"a\" }, { id = \"b $${secret:token}\" }]\npulse"
        ),
        chaos(
            "denied",
            "do = \"http\", url = \"http://127.0.0.1:1/\", address = \"${secret:token}\", text = \"x\""
        ),
        format_args!(
            "[[monitor]]\nname = \"sends\"\npulse = {{ plugin = \"http\", settings = {{ url = \"{url}\", headers = {{ x-token = \"${{secret:token}}\" }} }} }}\n"
        ),
    )
}

#[track_caller]
fn is_clean(text: &str) {
    for part in ["tr0ub4dor", "\"quoted\" s/ash", "quoted\\\" s/ash", "%22quoted"] {
        assert!(!text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_secret_is_sent_and_never_shown() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let server = Server::start(move |request| {
        heard
            .lock()
            .unwrap()
            .extend(request.header("x-token").map(str::to_owned));
        status(200)
    });
    let world = World::new(TENANTS);
    world.write("tenants/acme/acme.toml", &acme(&server.url("/")));
    world.give_chaos("acme");
    let command = |args: &[&str]| {
        let mut command = world.command(args);
        command.env("ACME_TOKEN", VALUE);
        let output = command.output().unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        is_clean(&text);
        (output.status.code().unwrap(), text)
    };
    let (code, said) = command(&["check-config"]);
    assert_eq!(code, 0, "{said}");
    for output in ["text", "json"] {
        let (_, said) = command(&["probe", "acme/says", "--output", output]);
        // In the summary, the reason, a measurement, the log, and both streams.
        assert!(said.matches("[secret]").count() >= 6, "{said}");
        let (_, said) = command(&["probe", "acme/panics", "--output", output]);
        assert!(said.contains("[secret]"), "{said}");
    }
    command(&["probe", "acme/says", "--nagios"]);
    let (_, said) = command(&["probe", "acme/row-b ${secret:token}"]);
    assert!(
        said.contains("said: b ${secret:token} [secret]"),
        "what a row says is data: {said}"
    );

    let mut run = world.command(&["run"]);
    run.env("ACME_TOKEN", VALUE).stdin(std::process::Stdio::null());
    let host = crate::support::host::Host::spawn(world.0, run);
    host.wait_for_log(" acme/sends is up: HTTP 200");
    host.wait_for_color("says", "red");
    host.wait_for_color("panics", "purple");
    let state = host.folder().join("state/tenants");
    assert!(state.exists());
    let ended = host.stop_keeping_folder();
    let (folder, ended) = ended;
    assert_eq!(
        seen.lock().unwrap().first().map(String::as_str),
        Some(VALUE),
        "it was sent"
    );
    is_clean(&ended.log.join("\n"));
    is_clean(&json!(ended.alerts).to_string());
    assert!(json!(ended.alerts).to_string().contains("[secret]"));
    // Nor does anything that the host has left on the disk.
    let mut left = vec![folder.path().join("state/tenants"), folder.path().join("alerts")];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            is_clean(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
        }
    }
}

#[test]
fn a_secret_that_is_not_there_is_the_operators_error_and_shows_nothing() {
    let world = World::new(TENANTS);
    world.write("tenants/acme/acme.toml", "[defaults]\n");
    world.give_chaos("acme");
    let (code, said) = world.say(&["check-config"]);
    assert!(code == 2 && said.contains("`ACME_TOKEN` is not set"), "{said}");
    let mut short = world.command(&["check-config"]);
    let output = short.env("ACME_TOKEN", "hunter2").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("has 7 bytes") && !said.contains("hunter2"),
        "{said}"
    );
}
