//! `plugin list` and `plugin inspect`.

use super::{command, run, run_with};
use crate::support::host;
use serde_json::Value;
use std::{collections::BTreeSet, path::Path};
use tempfile::TempDir;

const FIELDS: [&str; 12] = [
    "abi",
    "digest",
    "file",
    "imports",
    "kinds",
    "name",
    "needs",
    "requests",
    "settings_schema",
    "size_bytes",
    "summary",
    "version",
];

fn fields(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_list_has_every_plugin_and_what_it_needs() {
    let text = run(Path::new("/"), &["plugin", "list"]);
    assert_eq!((text.code, text.err.as_str()), (0, ""));
    let lines: Vec<&str> = text.out.lines().collect();
    assert!(lines[0].starts_with("NAME "), "{}", text.out);
    let json = run(Path::new("/"), &["plugin", "list", "--output", "json"]).json();
    assert_eq!(json["problems"], Value::Array(Vec::new()));
    let plugins = json["plugins"].as_array().unwrap();
    let named: Vec<(&str, &Value, &Value)> = plugins
        .iter()
        .map(|plugin| {
            (
                plugin["name"].as_str().unwrap(),
                &plugin["kinds"],
                &plugin["needs"],
            )
        })
        .collect();
    let known = [
        ("command", vec!["intervention"], vec!["command"]),
        ("dns", vec!["pulse"], vec!["dns"]),
        ("docker", vec!["intervention"], vec!["docker"]),
        ("file", vec!["code"], vec!["files"]),
        ("http", vec!["pulse"], vec!["http"]),
        ("icmp", vec!["pulse"], vec!["icmp"]),
        ("log", vec!["code"], vec![]),
        ("nagios", vec!["pulse"], vec!["command"]),
        ("pagerduty", vec!["code"], vec!["http"]),
        ("slack", vec!["code"], vec!["http"]),
        ("tcp", vec!["pulse"], vec!["tcp"]),
        ("tls", vec!["pulse"], vec!["tls"]),
        ("webhook", vec!["intervention", "code"], vec!["http"]),
    ];
    assert_eq!(named.len(), known.len());
    for (index, (name, kinds, needs)) in known.into_iter().enumerate() {
        assert_eq!(named[index], (name, &kinds.into(), &needs.into()));
        assert!(lines[index + 1].starts_with(name), "{}", text.out);
        assert_eq!(fields(&plugins[index]), BTreeSet::from(FIELDS));
    }
}

#[test]
fn what_can_t_be_used_is_listed_with_the_reason_and_is_a_failure() {
    let folder = TempDir::new().unwrap();
    std::fs::copy(
        host::plugins().join("log/log.wasm"),
        folder.path().join("log.wasm"),
    )
    .unwrap();
    std::fs::write(folder.path().join("broken.wasm"), "\0asm").unwrap();
    let args = ["plugin", "list", "--plugins", folder.path().to_str().unwrap()];
    let text = run(folder.path(), &args);
    assert_eq!(text.code, 1);
    assert!(text.out.contains("\nlog "), "{}", text.out);
    let not = text
        .out
        .lines()
        .find(|line| line.starts_with("not usable: "))
        .unwrap();
    assert!(not.contains("broken.wasm"), "{not}");
    let json = run(folder.path(), &[&args[..], &["--output", "json"]].concat());
    assert_eq!(json.code, 1);
    let json = json.json();
    assert_eq!(json["plugins"][0]["name"], "log");
    assert!(json["problems"][0].as_str().unwrap().contains("broken.wasm"));
}

#[test]
fn a_plugin_is_shown_by_name_by_file_and_by_folder() {
    let folder = host::plugins().join("tcp");
    let file = folder.join("tcp.wasm");
    let inspect = |plugin: &str| run(Path::new("/"), &["plugin", "inspect", plugin, "--output", "json"]);
    let by_name = inspect("tcp");
    assert_eq!((by_name.code, by_name.err.as_str()), (0, ""));
    let by_name = by_name.json();
    assert_eq!(fields(&by_name), BTreeSet::from(FIELDS));
    assert_eq!(by_name["abi"], "pulse:plugin@0.1.0");
    assert_eq!(by_name["size_bytes"], std::fs::metadata(&file).unwrap().len());
    assert_eq!(by_name["digest"].as_str().unwrap().len(), "sha256:".len() + 64);
    let imports = by_name["imports"].as_array().unwrap();
    assert!(
        imports.iter().any(|import| import == "pulse:host/tcp@0.1.0"),
        "{imports:?}"
    );
    assert!(by_name["settings_schema"]["properties"]["address"].is_object());
    for path in [&folder, &file] {
        let other = inspect(path.to_str().unwrap());
        assert_eq!(other.code, 0, "{}", other.err);
        assert_eq!(other.json()["digest"], by_name["digest"]);
    }
    let text = run(Path::new("/"), &["plugin", "inspect", "tcp"]).out;
    for part in [
        "tcp 0.1.0: ",
        "sha256:",
        "pulse:plugin@0.1.0",
        "pulse:host/tcp@0.1.0",
        "[plugins.tcp]",
        "grants.tcp = [\"@settings.address\"]",
        "asks for (which grants nothing)",
        "networks loopback",
        "grants.networks = [",
        "\"address\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_plugin_that_is_not_there_is_a_failure_with_words() {
    for (plugin, said) in [
        ("htpt", "did you mean `http`?"),
        (
            "quite-another",
            "there is command, dns, docker, file, http, icmp, log, nagios, pagerduty, slack, tcp, tls, webhook",
        ),
        ("./none.wasm", "./none.wasm"),
    ] {
        let run = run(Path::new("/"), &["plugin", "inspect", plugin]);
        assert_eq!(run.code, 1, "{plugin}");
        assert!(run.err.contains(said), "{plugin}: {}", run.err);
    }
}

/// `pulse-host plugin inspect http | head -1`
#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    for args in [
        &["plugin", "inspect", "http"][..],
        &["plugin", "list", "--output", "json"],
        &["init", "--path", "-"],
        &["completions", "bash"],
    ] {
        let mut child = command(Path::new("/"), args)
            .stdout(writer.try_clone().unwrap())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), said.as_str()),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

#[test]
fn the_environment_names_plugins() {
    let mut list = command(Path::new("/"), &["plugin", "list", "--output", "json"]);
    let [http, log] = ["http", "log"].map(|name| host::plugins().join(name));
    list.env(
        "PULSE_HOST_PLUGINS",
        format!("{},{}", http.display(), log.display()),
    );
    let json = run_with(list, "").json();
    let names: Vec<&str> = json["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plugin| plugin["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["http", "log"]);
}
