//! From an empty directory to a running host, and everything that can be wrong on the way.

use super::{Run, command, folder, run, run_with};
use crate::support::{
    host::{self, Host},
    http::{Server, status},
};
use serde_json::json;
use std::path::Path;
use tempfile::TempDir;

const VALID: &str = r#"
[plugins.tcp]
grants.tcp = ["@settings.address"]
grants.networks = ["loopback"]
[[monitor]]
name = "port"
pulse = { plugin = "tcp", settings = { address = "127.0.0.1:1" } }
"#;

fn check(folder: &Path, args: &[&str]) -> Run {
    let mut words = vec!["check-config"];
    words.extend_from_slice(args);
    run(folder, &words)
}

#[test]
fn from_an_empty_directory_to_a_running_host() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pulse-host.toml");
    let init = run(folder.path(), &["init"]);
    assert_eq!((init.code, init.err.as_str()), (0, ""));
    assert!(init.out.starts_with("Wrote pulse-host.toml."), "{}", init.out);
    assert!(
        init.out.contains("\n  pulse-host --plugins DIR\n"),
        "{}",
        init.out
    );
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(run(folder.path(), &["init", "--path", "-"]).out, text);
    let other = run(folder.path(), &["init", "--path", "other.toml"]);
    assert!(other.out.contains("--config other.toml"), "{}", other.out);

    // What is there is left alone, unless one insists.
    std::fs::write(&path, "mine").unwrap();
    let again = run(folder.path(), &["init"]);
    assert_eq!(again.code, 1);
    assert!(
        again.err.contains("exists already") && again.err.contains("--force"),
        "{}",
        again.err
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(run(folder.path(), &["init", "--force"]).code, 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    let checked = check(folder.path(), &[]);
    assert_eq!(
        (checked.code, checked.err.as_str()),
        (0, ""),
        "the starter itself is valid"
    );
    assert_eq!(checked.out, "./pulse-host.toml is valid: 1 monitor, 13 plugins\n");

    // As it says, with one's own URL; and without half a minute of patience.
    let server = Server::start(|_| status(200));
    let own = text
        .replace("https://example.com/", &server.url("/"))
        .replace("interval = \"30s\"", "interval = \"200ms\"");
    assert_ne!(own, text);
    std::fs::write(&path, own).unwrap();
    assert_eq!(check(folder.path(), &[]).code, 0);
    let command = command(folder.path(), &[]);
    let host = Host::spawn(folder, command);
    host.wait_for_log(" example is up: HTTP 200");
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert!(
        !ended.log.iter().any(|line| line.contains('\u{1b}')),
        "no escape codes in a pipe"
    );
}

#[test]
fn no_configuration_names_where_it_was_looked_for() {
    let folder = TempDir::new().unwrap();
    for args in [&[][..], &["run"], &["check-config"], &["probe", "shop"]] {
        let run = run(folder.path(), args);
        assert_eq!(run.code, 2, "{args:?}");
        let own = folder.path().join(".config/pulse-host");
        for place in [
            "./pulse-host.toml",
            own.to_str().unwrap(),
            "/etc/pulse-host",
            "pulse-host init",
        ] {
            assert!(run.err.contains(place), "{args:?}: {place} in {}", run.err);
        }
    }
    let run = check(folder.path(), &["--output", "json"]);
    assert_eq!(run.code, 2);
    assert_eq!(run.json()["valid"], false);
    assert_eq!(run.json()["problems"][0]["id"], "no-configuration");

    let run = check(folder.path(), &["--config", "nowhere.toml"]);
    assert_eq!(run.code, 2);
    assert!(
        run.err.contains("nowhere.toml") && run.err.ends_with('\n'),
        "{:?}",
        run.err
    );
}

#[test]
fn a_configuration_is_found_where_it_is_looked_for() {
    let folder = TempDir::new().unwrap();
    let valid = |command: std::process::Command, place: &str| {
        let run = run_with(command, "");
        assert_eq!((run.code, run.err.as_str()), (0, ""));
        assert!(run.out.contains(place), "{place} in {}", run.out);
    };
    let write = |path: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, VALID).unwrap();
    };
    // Each is preferred to those before it.
    write(".config/pulse-host/a.toml");
    valid(command(folder.path(), &["check-config"]), ".config/pulse-host");
    write("xdg/pulse-host/a.toml");
    let mut xdg = command(folder.path(), &["check-config"]);
    xdg.env("XDG_CONFIG_HOME", folder.path().join("xdg"));
    valid(xdg, "xdg/pulse-host");
    write("pulse-host.toml");
    valid(command(folder.path(), &["check-config"]), "./pulse-host.toml");
    write("from-env.toml");
    let mut env = command(folder.path(), &["check-config"]);
    env.env("PULSE_HOST_CONFIG", "from-env.toml");
    valid(env, "from-env.toml");
    write("from-flag.toml");
    let mut flag = command(folder.path(), &["check-config", "--config", "from-flag.toml"]);
    flag.env("PULSE_HOST_CONFIG", "from-env.toml");
    valid(flag, "from-flag.toml");
}

#[test]
fn standard_input_is_a_configuration() {
    let folder = TempDir::new().unwrap();
    let read = |args: &[&str], input: &str| run_with(command(folder.path(), args), input);
    let valid = read(&["check-config", "--config", "-"], VALID);
    assert_eq!((valid.code, valid.err.as_str()), (0, ""));
    let wrong = read(&["check-config", "--config", "-"], "[[monitor]]\nnam = \"x\"\n");
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("did you mean `name`?"), "{}", wrong.err);
    assert!(wrong.err.contains("2 | nam = \"x\""), "{}", wrong.err);

    let path = folder.path().join("in.toml");
    std::fs::write(&path, VALID).unwrap();
    let mut command = command(folder.path(), &["--config", "-"]);
    command.stdin(std::fs::File::open(path).unwrap());
    let host = Host::spawn(folder, command);
    assert_eq!(host.stop().status.code(), Some(0));
}

#[test]
fn a_directory_is_one_configuration() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "10-plugins.toml",
        "[plugins.tcp]\ngrants.tcp = [\"@settings.address\"]\n",
    );
    write(
        "20-plugins.toml",
        "[plugins.tcp]\ngrants.networks = [\"loopback\"]\n",
    );
    for name in ["a", "b"] {
        write(
            &format!("30-{name}.toml"),
            &format!(
                "[[monitor]]\nname = {name:?}\npulse = {{ plugin = \"tcp\", settings = {{ address = \"127.0.0.1:1\" }} }}\n"
            ),
        );
    }
    let run = check(folder.path(), &["--config", "."]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert!(run.out.contains("2 monitors"), "{}", run.out);
    write("40-again.toml", "[[monitor]]\nname = \"a\"\nintervall = \"1s\"\n");
    let run = check(folder.path(), &["--config", "."]);
    assert_eq!(run.code, 2);
    for text in ["40-again.toml", "30-a.toml", "did you mean `interval`?"] {
        assert!(run.err.contains(text), "{text} in {}", run.err);
    }
}

/// Every problem at once, with its place; and nothing has begun.
#[test]
fn a_wrong_configuration_starts_nothing() {
    let server = Server::start(|_| status(200));
    let config = format!(
        r#"
[defaults]
intervall = "1s"
notify = ["alerts"]
[plugins.file]
grants.directories = [{{ path = "./alerts", access = "append" }}]
[notifiers.alerts]
plugin = "file"
settings = {{ path = "alerts.ndjson" }}
[[monitor]]
name = "shop"
timeout = "soon"
pulse = {{ plugin = "htpp", settings = {{ url = {url:?} }} }}
[[monitor]]
name = "shop"
pulse = {{ plugin = "http", settings = {{ ulr = {url:?} }} }}
"#,
        url = server.url("/")
    );
    let folder = folder(&config);
    let state = TempDir::new().unwrap();
    let mut run_command = command(folder.path(), &[]);
    run_command.env("STATE_DIRECTORY", state.path());
    let run = run_with(run_command, "");
    assert_eq!(run.code, 2);
    let problems = [
        ("unknown-key", "did you mean `interval`?", 3),
        ("bad-duration", "`timeout` is no duration", 12),
        ("unknown-plugin", "did you mean `http`?", 13),
        ("duplicate-name", "defined twice", 15),
        ("missing-grant", "[plugins.http]", 16),
        ("bad-setting", "did you mean `url`?", 16),
    ];
    for (id, text, line) in problems {
        assert!(run.err.contains(&format!("error[{id}]")), "{id} in {}", run.err);
        assert!(run.err.contains(text), "{text} in {}", run.err);
        assert!(
            run.err.contains(&format!("pulse-host.toml:{line}:")),
            "line {line} in {}",
            run.err
        );
    }
    assert!(run.err.ends_with("Nothing was started.\n"), "{}", run.err);
    assert_eq!(run.out, "");
    assert_eq!(server.count(), 0);
    assert!(!folder.path().join("alerts").exists());
    let kept: Vec<_> = std::fs::read_dir(state.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(kept, ["compiled"]);

    let json = check(folder.path(), &["--output", "json"]);
    assert_eq!((json.code, json.err.as_str()), (2, ""));
    let json = json.json();
    assert_eq!(json["valid"], false);
    let found = json["problems"].as_array().unwrap();
    for (id, text, line) in problems {
        let there = found.iter().any(|problem| {
            problem["line"] == line
                && problem["id"] == id
                && problem["file"].as_str().unwrap().ends_with("pulse-host.toml")
                && problem["column"].as_u64().is_some()
                && (problem["message"].as_str().unwrap().contains(text)
                    || problem["help"].as_str().is_some_and(|help| help.contains(text)))
        });
        assert!(there, "{text} at {line} in {found:#?}");
    }
}

#[test]
fn a_valid_configuration_s_warnings_are_said() {
    let folder = folder(&VALID.replace("[plugins.tcp]", "[plugins.tcp]\nlimits.cpu = \"1900ms\""));
    let text = std::fs::read_to_string(folder.path().join("pulse-host.toml")).unwrap();
    std::fs::write(
        folder.path().join("pulse-host.toml"),
        text.replace("name = \"port\"", "name = \"port\"\ntimeout = \"1s\""),
    )
    .unwrap();
    let run = check(folder.path(), &[]);
    assert_eq!(run.code, 0);
    assert!(run.err.contains("warning[cpu-above-timeout]"), "{}", run.err);
    assert!(run.out.contains("is valid"));
    let json = check(folder.path(), &["--output", "json"]).json();
    assert_eq!(json["valid"], true);
    assert_eq!(json["warnings"][0]["id"], "cpu-above-timeout");
}

#[test]
fn json_says_what_is_documented() {
    let folder = folder(VALID);
    let mut checking = command(folder.path(), &["check-config"]);
    checking.env("PULSE_HOST_OUTPUT", "json");
    let run = run_with(checking, "");
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(
        run.json(),
        json!({
            "valid": true,
            "config": "./pulse-host.toml",
            "monitors": 1,
            "targets": [],
            "tenants": [],
            "warnings": [],
            "problems": [],
        })
    );
}

const TARGETS: &str = r#"
[plugins.tcp]
grants.tcp = ["@settings.address"]
grants.networks = ["loopback"]
[[monitor]]
name = "gate"
pulse = { plugin = "tcp", settings = { address = "127.0.0.1:1" } }
[[monitor]]
name = "port-{{port}}"
targets = "ports.csv"
key = "port"
depends-on = ["gate"]
pulse = { plugin = "tcp", settings = { address = "127.0.0.1:{{port}}" } }
[[monitor]]
name = "door-{{n}}"
targets = [{ n = 1 }, { n = 2 }]
pulse = { plugin = "tcp", settings = { address = "127.0.0.1:{{n}}" } }
"#;

#[test]
fn it_is_said_where_monitors_come_from() {
    let folder = folder(TARGETS);
    let ports: String = (1..=1200).map(|port| format!("{port}\n")).collect();
    std::fs::write(folder.path().join("ports.csv"), format!("port\n{ports}")).unwrap();
    let run = check(folder.path(), &[]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(
        run.out,
        "./pulse-host.toml is valid: 1203 monitors, 13 plugins\n  1,200 from ./ports.csv: port-{{port}}\n  \
         2 from a list in it: door-{{n}}\n"
    );
    let json = check(folder.path(), &["--output", "json"]).json();
    assert_eq!(json["monitors"], 1203);
    assert_eq!(
        json["targets"],
        json!([
            { "file": "./ports.csv", "name": "port-{{port}}", "monitors": 1200 },
            { "file": null, "name": "door-{{n}}", "monitors": 2 },
        ])
    );
    let running = command(folder.path(), &["run"]);
    let host = Host::spawn(folder, running);
    host.wait_for_log("1,200 monitors from ./ports.csv in ");
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert!(!ended.logged("\u{1b}"), "no bar where there is no terminal");
}

#[test]
fn a_wrong_row_is_pointed_at() {
    let folder = folder(TARGETS);
    std::fs::write(folder.path().join("ports.csv"), "port\n1\n2,3\n1\n").unwrap();
    let run = check(folder.path(), &[]);
    assert_eq!(run.code, 2);
    for text in [
        "./ports.csv:3:1",
        "2,3",
        "./ports.csv:4:1",
        "the monitor `port-1` is defined twice",
    ] {
        assert!(run.err.contains(text), "{text} in {}", run.err);
    }
    let json = check(folder.path(), &["--output", "json"]).json();
    assert_eq!(json["problems"][0]["file"], "./ports.csv");
    assert_eq!(json["problems"][0]["line"], 3);
    std::fs::remove_file(folder.path().join("ports.csv")).unwrap();
    let run = check(folder.path(), &[]);
    assert!(run.err.contains("`./ports.csv` can't be read"), "{}", run.err);
}

#[test]
fn a_plugin_that_can_t_be_used_is_named_beside_the_problem() {
    let folder = folder(VALID);
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    std::fs::write(plugins.join("tcp.wasm"), "no component").unwrap();
    let run = check(folder.path(), &["--plugins", "plugins"]);
    assert_eq!(run.code, 2);
    assert!(run.err.contains("there is no plugin `tcp`"), "{}", run.err);
    assert_eq!(run.err.matches("tcp.wasm").count(), 1, "said once: {}", run.err);
}

#[test]
fn log_lines_are_json_where_that_is_wanted() {
    let server = Server::start(|_| status(200));
    let folder = folder(&format!(
        r#"
[plugins.http]
grants.http = ["@settings.url"]
grants.networks = ["loopback"]
[[monitor]]
name = "shop"
interval = "200ms"
pulse = {{ plugin = "http", settings = {{ url = {:?} }} }}
"#,
        server.url("/")
    ));
    let mut command = command(folder.path(), &["run"]);
    command.env("PULSE_HOST_LOG_FORMAT", "json");
    let host = Host::spawn(folder, command);
    host.wait_for_log("shop is up: ");
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    for line in &ended.log {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "message"] {
            assert!(line[field].is_string(), "{field} in {line}");
        }
    }
}

#[test]
fn rust_log_decides_what_is_logged() {
    let folder = folder(VALID);
    let mut command = command(folder.path(), &["run"]);
    // A data directory is one process's alone. What was compiled is there already.
    let state = folder.path().join("state");
    host::copy_all(&host::state_directory(), &state);
    let mut child = command
        .env("RUST_LOG", "off")
        .env("STATE_DIRECTORY", state)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It runs when it has started its workers.
    let tasks = format!("/proc/{}/task", child.id());
    crate::support::wait::until(
        "the workers",
        || {
            let threads = std::fs::read_dir(&tasks).unwrap();
            let mut names = threads
                .map(|entry| std::fs::read_to_string(entry.unwrap().path().join("comm")).unwrap_or_default());
            names.any(|name| name.trim_end() == "scheduler").then_some(())
        },
        String::new,
    );
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(said, "");
}
