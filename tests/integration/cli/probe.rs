//! `probe`: one check, for people, for programs and for Nagios.

use super::{Run, command, folder, run, run_with};
use crate::support::{
    http::{Reply, Server, status},
    sockets,
    tls::{Authority, Certificate},
};
use std::{collections::BTreeSet, path::Path};
use tempfile::TempDir;

fn probe(plugin: &str, settings: &[String], more: &[&str]) -> Run {
    let folder = TempDir::new().unwrap();
    let mut args = vec!["probe", "--plugin", plugin];
    for setting in settings {
        args.extend(["--set", setting]);
    }
    args.extend(more);
    run(folder.path(), &args)
}

fn url(server: &Server) -> String {
    format!("url={}", server.url("/"))
}

#[test]
fn a_healthy_target() {
    let server = Server::start(|_| status(204));
    let text = probe("http", &[url(&server)], &[]);
    assert_eq!((text.code, text.err.as_str()), (0, ""));
    assert!(text.out.starts_with("healthy http: HTTP 204 in "), "{}", text.out);
    for row in [
        "duration",
        "connect_duration",
        "processing_duration",
        "status_code",
        "took ",
    ] {
        assert!(text.out.contains(row), "{row} in {}", text.out);
    }
    for row in ["resolve_duration", "tls_duration"] {
        assert!(!text.out.contains(row), "{row} did not take place: {}", text.out);
    }
    let json = probe("http", &[url(&server)], &["--output", "json"]);
    assert_eq!((json.code, json.err.as_str()), (0, ""));
    let json = json.json();
    let fields: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        BTreeSet::from([
            "log",
            "measurements",
            "monitor",
            "outcome",
            "reason",
            "status",
            "summary",
            "usage"
        ])
    );
    assert_eq!(
        (&json["status"], &json["outcome"]),
        (&"healthy".into(), &"answer".into())
    );
    assert!(json["reason"].is_null());
    let code = json["measurements"]
        .as_array()
        .unwrap()
        .iter()
        .find(|measurement| measurement["name"] == "status_code")
        .unwrap();
    assert_eq!((&code["value"], &code["unit"]), (&204.0.into(), &"".into()));
    for used in [
        "fuel",
        "wall_seconds",
        "cpu_seconds",
        "host_seconds",
        "peak_memory_bytes",
    ] {
        assert!(json["usage"][used].as_f64().unwrap() > 0.0, "{used} in {json}");
    }
}

#[test]
fn an_unhealthy_target_is_code_1_and_says_where() {
    let dead = sockets::dead();
    let address = format!("address={}", dead.address);
    let text = probe("tcp", std::slice::from_ref(&address), &[]);
    assert_eq!(text.code, 1);
    assert!(
        text.out
            .starts_with(&format!("unhealthy tcp: {}: connection refused\n", dead.address)),
        "{}",
        text.out
    );
    assert!(text.out.contains("connection-refused"));
    let json = probe("tcp", &[address], &["--output", "json"]);
    assert_eq!(json.code, 1);
    assert_eq!(json.json()["reason"], "connection-refused");
}

#[test]
fn a_configured_monitor_is_probed_under_its_own_name() {
    let server = Server::start(|_| status(200));
    let folder = folder(&format!(
        r#"
[plugins.http]
grants.http = ["@settings.url"]
grants.networks = ["loopback"]
[[monitor]]
name = "shop"
pulse = {{ plugin = "http", settings = {{ url = {:?} }} }}
"#,
        server.url("/")
    ));
    let good = run(folder.path(), &["probe", "shop"]);
    assert_eq!(good.code, 0);
    assert!(good.out.starts_with("healthy shop: HTTP 200"), "{}", good.out);
    let unknown = run(folder.path(), &["probe", "shpo"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.err.contains("there is no monitor `shpo`"),
        "{}",
        unknown.err
    );
    assert!(unknown.err.contains("did you mean `shop`?"), "{}", unknown.err);
    assert_eq!(server.count(), 1);
}

#[test]
fn what_no_grant_covers_is_unknown_with_the_line_to_add() {
    let elsewhere = Server::start(|_| status(200));
    let away = elsewhere.url("/");
    let server = Server::start(move |_| Reply::Answer(302, vec![("location", away.clone())], String::new()));
    let denied = probe("http", &[url(&server)], &[]);
    assert_eq!(denied.code, 1);
    assert!(
        denied.out.starts_with("unknown http: denied: http "),
        "{}",
        denied.out
    );
    assert!(
        denied.out.contains("[plugins.http] grants.http"),
        "{}",
        denied.out
    );
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn wrong_settings_are_code_2_and_say_what_would_be_right() {
    for (plugin, settings, said) in [
        ("htpp", vec![], "did you mean `http`?"),
        ("webhook", vec![], "checks nothing"),
        ("http", vec!["url"], "write --set KEY=VALUE"),
        ("http", vec!["ulr=http://a/"], "url"),
        ("tcp", vec!["address=nowhere"], "/address"),
    ] {
        let settings: Vec<String> = settings.into_iter().map(str::to_owned).collect();
        let run = probe(plugin, &settings, &[]);
        assert_eq!(run.code, 2, "{plugin} {settings:?}: {run:?}");
        assert!(run.err.contains(said), "{plugin} {settings:?}: {}", run.err);
    }
}

/// The line and the codes of the Monitoring Plugins guidelines: `STATE: text | 'label'=value[UOM];;; …`.
#[test]
fn nagios_gets_its_line_and_its_codes() {
    let server = Server::start(|request| status(if request.path == "/" { 200 } else { 500 }));
    let ok = probe("http", &[url(&server)], &["--nagios"]);
    assert_eq!(ok.code, 0);
    let (text, data) = ok.out.trim_end().split_once(" | ").unwrap();
    assert!(text.starts_with("OK: HTTP 200 in "), "{text}");
    assert_eq!(ok.out.lines().count(), 1);
    for item in data.split(' ') {
        let (label, value) = item.split_once('=').unwrap();
        assert!(label.starts_with('\'') && label.ends_with('\''), "{item}");
        let value = value.strip_suffix(";;;").unwrap();
        let number = value.trim_end_matches(['s', '%', 'B']);
        assert!(number.parse::<f64>().is_ok(), "{item}");
    }
    assert!(
        data.contains("'status_code'=200;;;") && data.contains("'body_size'=0B;;;"),
        "{data}"
    );

    let critical = probe("http", &[format!("url={}", server.url("/x"))], &["--nagios"]);
    assert_eq!(critical.code, 2);
    assert!(critical.out.starts_with("CRITICAL: HTTP 500"), "{}", critical.out);

    let authority = Authority::new();
    let tls = Server::start_tls(authority.server(Certificate::Expiring), |_| status(200));
    let settings = [
        format!("url={}", tls.https("/")),
        format!("ca={}", serde_json::Value::String(authority.pem())),
    ];
    let warning = probe("http", &settings, &["--nagios"]);
    assert_eq!(warning.code, 1, "{warning:?}");
    assert!(warning.out.starts_with("WARNING: HTTP 200"), "{}", warning.out);
}

/// Codes 1 and 2 are verdicts for Nagios: what says nothing about the target must be 3.
#[test]
fn nagios_never_takes_trouble_of_the_prober_for_a_verdict() {
    let broken = folder("[[monitor]]\nnam = 1\n");
    let empty = TempDir::new().unwrap();
    let cases: [(&Path, &[&str]); 6] = [
        (broken.path(), &["probe", "shop", "--nagios"]),
        (empty.path(), &["probe", "shop", "--nagios"]),
        (empty.path(), &["probe", "--plugin", "htpp", "--nagios"]),
        (
            empty.path(),
            &["probe", "--plugin", "http", "--set", "url", "--nagios"],
        ),
        (empty.path(), &["probe", "--nagios"]),
        (empty.path(), &["probe", "shop", "--nagios", "--frobnicate"]),
    ];
    for (folder, args) in cases {
        let run = run(folder, args);
        assert_eq!(run.code, 3, "{args:?}: {run:?}");
        assert!(run.out.starts_with("UNKNOWN: "), "{args:?}: {run:?}");
        assert_eq!(run.out.lines().count(), 1, "{args:?}: {run:?}");
    }
    let mut env = command(
        empty.path(),
        &[
            "probe",
            "--plugin",
            "tcp",
            "--set",
            "address=127.0.0.1:1",
            "--nagios",
        ],
    );
    env.env("PULSE_HOST_OUTPUT", "json");
    let run = run_with(env, "");
    assert_eq!(
        run.code, 2,
        "the environment's --output does not stand in the way: {run:?}"
    );
    assert!(run.out.starts_with("CRITICAL: "), "{run:?}");
}
