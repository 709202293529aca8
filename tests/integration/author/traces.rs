//! The trace of the check that opened an incident.

use super::pulse_host;
use crate::support::{
    dns::name_server,
    host::{self, Config, Host},
    http::{Reply, Server, status},
    tls::{Authority, Certificate},
};
use std::{path::PathBuf, sync::Arc};

#[test]
fn the_check_that_opened_an_incident_can_be_repeated_offline() {
    let server = Server::start(|_| status(503));
    let host = Host::start(&Config::new(format!(
        "[[monitor]]\nname = \"traced\"\npulse = {{ plugin = \"http\", settings = {{ url = {:?} }} }}\n",
        server.url("/")
    )));
    host.wait_for_color("traced", "red");
    let line = host.wait_for_log("to repeat it offline: pulse-host replay ");
    let path = line.split("pulse-host replay ").nth(1).unwrap();
    let path = PathBuf::from(path.split_whitespace().next().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("monitor = \"traced\"") && text.contains("status = 503"),
        "{text}"
    );
    assert!(text.starts_with("# The check of default/traced"), "{text}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "it is nobody else's");
    let _kept = host.stop_keeping_folder();
    let asked = server.count();
    let plugins = host::plugins();
    let run = pulse_host(&[
        "replay",
        path.to_str().unwrap(),
        "--plugins",
        plugins.to_str().unwrap(),
    ]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}\n{text}");
    assert_eq!(server.count(), asked);
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn questions_and_handshakes_leave_traces_as_well() {
    let authority = Authority::new();
    let target = Server::start_tls(authority.server(Certificate::Elsewhere), |_| status(200));
    let server = name_server(Arc::default());
    let host = Host::start(&Config::new(format!(
        r#"
[plugins.tls]
grants.tcp = ["@settings.address"]
grants.networks = ["loopback"]
[plugins.dns]
grants.dns = ["@settings.server"]
grants.networks = ["loopback"]
[[monitor]]
name = "shook"
pulse = {{ plugin = "tls", settings = {{ address = "{}", ca = {:?} }} }}
[[monitor]]
name = "asked"
pulse = {{ plugin = "dns", settings = {{ name = "shop.example", server = "{server}" }} }}
"#,
        target.address(),
        authority.pem(),
    )));
    let traces: Vec<PathBuf> = ["shook", "asked"]
        .into_iter()
        .map(|monitor| {
            host.wait_for_color(monitor, "red");
            let line = host.wait_for_log(&format!("traces/default-{monitor}-"));
            let path = line.split("pulse-host replay ").nth(1).unwrap();
            PathBuf::from(path.split_whitespace().next().unwrap())
        })
        .collect();
    let _kept = host.stop_keeping_folder();
    drop(target);
    let plugins = host::plugins();
    for path in traces {
        let text = std::fs::read_to_string(&path).unwrap();
        let run = pulse_host(&[
            "replay",
            path.to_str().unwrap(),
            "--plugins",
            plugins.to_str().unwrap(),
        ]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}\n{text}");
        std::fs::remove_file(&path).unwrap();
    }
}

/// What a command said is kept as what a server said is, and no more is run to repeat it.
#[test]
fn a_command_that_failed_is_repeated_without_it() {
    let ran = tempfile::TempDir::new().unwrap();
    let marks = ran.path().join("marks");
    let host = Host::start(&Config::new(format!(
        r#"
[commands.check]
program = "/bin/sh"
args = ["-c", "echo x >> \"$0\"; echo '9 % left'; exit 2", {marks:?}]
[plugins.nagios]
grants.commands = ["check"]
[[monitor]]
name = "disk"
pulse = {{ plugin = "nagios", settings = {{ command = "check" }} }}
"#
    )));
    let line = host.wait_for_log("to repeat it offline: pulse-host replay ");
    let path = line.split("pulse-host replay ").nth(1).unwrap();
    let path = path.split_whitespace().next().unwrap();
    let _kept = host.stop_keeping_folder();
    let count = || std::fs::read_to_string(&marks).unwrap().lines().count();
    let before = count();
    let plugins = host::plugins();
    let run = pulse_host(&["replay", path, "--plugins", plugins.to_str().unwrap()]);
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}\n{text}");
    assert!(
        text.contains("9 % left") && text.contains("exit-code = 2"),
        "{text}"
    );
    assert_eq!(count(), before);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_monitor_that_fails_on_leaves_one_trace() {
    let server = Server::start(|_| status(503));
    let host = Host::start(&Config::new(format!(
        "[[monitor]]\nname = \"once\"\npulse = {{ plugin = \"http\", settings = {{ url = {:?} }} }}\n",
        server.url("/")
    )));
    host.wait_for_log("to repeat it offline: pulse-host replay ");
    server.wait_for_more(10);
    assert_eq!(host.logged("to repeat it offline"), 1);
    let _kept = host.stop_keeping_folder();
}

#[test]
fn settings_that_are_secrets_by_their_names_are_in_no_trace() {
    let server =
        Server::start(|_| Reply::Answer(503, vec![("set-cookie", "from=abc".into())], String::new()));
    let host = Host::start(&Config::new(format!(
        "[[monitor]]\nname = \"secretive\"\npulse = {{ plugin = \"http\", settings = {{ url = {:?}, \
         headers = {{ cookie = \"a=b\", authorization = \"Bearer hunter2\", x-other = \"Bearer hunter2\" }} }} }}\n",
        server.url("/")
    )));
    let line = host.wait_for_log("to repeat it offline: pulse-host replay ");
    let path = line.split("pulse-host replay ").nth(1).unwrap();
    let path = path.split_whitespace().next().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    // Short ones, too; and they do not only stand in the settings.
    for secret in ["a=b", "Bearer", "from=abc"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("cookie = \"[secret]\""), "{text}");
    assert_eq!(server.requests()[0].header("cookie"), Some("a=b"));
    let _kept = host.stop_keeping_folder();
    let plugins = host::plugins();
    let run = pulse_host(&["replay", path, "--plugins", plugins.to_str().unwrap()]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}\n{text}");
    std::fs::remove_file(path).unwrap();
}

/// A check that waits 20 ms by its clock, and may compute for as long as a busy machine makes it.
const WAITS: &str = r#"[defaults]
interval = "200ms"
retry-interval = "100ms"
failure-threshold = 2
[plugins.chaos]
grants.http = ["http://127.0.0.1:1"]
grants.tcp = ["127.0.0.1:1"]
grants.networks = ["loopback"]
grants.directories = [{ path = ".", access = "append" }]
grants.docker = { containers = ["web"] }
limits = { fuel = 1_000_000_000, cpu = "2s" }
[[monitor]]
name = "waits"
pulse = { plugin = "chaos", timeout = "30s", settings = { do = "spin-ms", ms = 20, then = "unhealthy" } }
"#;

/// A guest that is noted sees the clocks that it sees otherwise: one that waits by its clock comes to the same end.
#[test]
fn a_check_that_waits_by_its_clock_ends_while_it_is_noted() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("pulse-host.toml");
    std::fs::write(&path, WAITS).unwrap();
    let mut command = host::command();
    command
        .arg("--plugins")
        .arg(super::guest("chaos"))
        .arg("--config")
        .arg(&path);
    let host = Host::spawn(folder, command);
    let line = host.wait_for_log("to repeat it offline: pulse-host replay ");
    let path = line.split("pulse-host replay ").nth(1).unwrap();
    let path = host.folder().join(path.split_whitespace().next().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("status = \"unhealthy\"") && text.contains("summary = \"spun\""),
        "{text}"
    );
    let _kept = host.stop_keeping_folder();
}
