//! Recording a real run, and playing it.

use super::{Plugin, guest, pulse_host};
use crate::support::{
    host,
    http::{Reply, Server},
};
use serde_json::json;

fn record(plugin: &Plugin, server: &Server, name: &str, settings: &str, more: &[&str]) -> super::Run {
    let grant = format!("http={}", server.url("").trim_end_matches('/'));
    let words = [
        "plugin",
        "test",
        plugin.path(),
        "--record",
        name,
        "--settings",
        settings,
        "--grant",
        &grant,
        "--grant",
        "networks=loopback",
    ];
    pulse_host(&[&words[..], more].concat())
}

#[test]
fn a_recording_plays_without_its_server_and_says_what_is_another() {
    let plugin = Plugin::http(&[]);
    let file = plugin.file("tests/up.toml");
    let server = Server::start(|_| Reply::Answer(200, vec![("x-a", "b".into())], "hello".into()));
    let settings = json!({ "url": server.url("/a?b=c") }).to_string();
    let run = record(&plugin, &server, "up", &settings, &[]);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    assert!(run.out.contains("and it comes out the same"), "{}", run.out);
    assert_eq!(server.count(), 1, "it was played once more without");
    let path = file.to_str().unwrap();
    for words in [
        vec!["plugin", "test", plugin.path()],
        vec!["plugin", "test", plugin.path(), "--replay", path],
        vec!["replay", path, "--plugins", plugin.path()],
    ] {
        let run = pulse_host(&words);
        assert_eq!(run.code, 0, "{words:?}: {run:?}");
        assert!(!run.out.contains("warning"), "{}", run.out);
    }
    assert_eq!(server.count(), 1);
    let again = record(&plugin, &server, "up", &settings, &[]);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.err.contains("is there already"), "{}", again.err);
    // Any byte of it counts.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("hello", "hullo!")).unwrap();
    let run = pulse_host(&["plugin", "test", plugin.path(), "--replay", path]);
    assert_eq!(run.code, 1, "{run:?}");
    // Of another component it is played all the same, with a word about it; it may take another amount of fuel.
    let table: toml::Table = text.parse().unwrap();
    let fuel = format!("fuel = {}", table["recorded"]["fuel"]);
    let other = text.replace(&fuel, "fuel = 1");
    std::fs::write(&file, &other).unwrap();
    let run = pulse_host(&["plugin", "test", plugin.path(), "--replay", path]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.out.contains("fuel, and 1 when it was recorded"),
        "{}",
        run.out
    );
    std::fs::write(&file, other.replace("digest = \"", "digest = \"0")).unwrap();
    let run = pulse_host(&["plugin", "test", plugin.path(), "--replay", path]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(
        run.out
            .contains("warning: was recorded of another component, sha256:0"),
        "{}",
        run.out
    );
    let run = pulse_host(&["replay", path, "--plugins", plugin.path()]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.err.contains("no plugin has the digest that was recorded") && run.err.contains("--plugin PATH"),
        "{}",
        run.err
    );
    let run = pulse_host(&["replay", path, "--plugin", plugin.path()]);
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn secrets_are_in_no_recording_and_it_plays_all_the_same() {
    const SECRET: &str = "hunter2-hunter2";
    let plugin = Plugin::http(&[]);
    let server = Server::start(|request| {
        let echo = request.header("x-mine").unwrap_or_default().to_owned();
        let fields = vec![("set-cookie", "session=abcdef".into()), ("x-echo", echo)];
        Reply::Answer(200, fields, "hello".into())
    });
    let settings = json!({
        "url": server.url("/"),
        "headers": { "x-mine": SECRET, "authorization": format!("Bearer {SECRET}") },
    });
    let run = record(
        &plugin,
        &server,
        "secret",
        &settings.to_string(),
        &["--secret", "headers.x-mine"],
    );
    assert_eq!(run.code, 0, "{run:?}");
    let sent = server.requests();
    assert_eq!(sent[0].header("x-mine"), Some(SECRET));
    let text = std::fs::read_to_string(plugin.file("tests/secret.toml")).unwrap();
    for secret in [SECRET, "session=abcdef"] {
        assert!(
            !text.contains(secret) && !run.out.contains(secret),
            "{secret} in {text}"
        );
    }
    assert!(text.contains("\"x-echo: [secret]\""), "{text}");
    // What was replaced has another length, and so it would take another amount.
    let table: toml::Table = text.parse().unwrap();
    assert!(table["recorded"].get("fuel").is_none(), "{text}");
    let run = pulse_host(&["plugin", "test", plugin.path()]);
    assert_eq!(run.code, 0, "{run:?}");
}

#[test]
fn what_does_not_fit_is_cut_and_said() {
    let plugin = Plugin::http(&[]);
    let server = Server::start(|_| Reply::Answer(200, Vec::new(), "x".repeat(100 << 10)));
    let settings = json!({ "url": server.url("/") }).to_string();
    let run = record(&plugin, &server, "large", &settings, &[]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.out.contains("only 64 KiB of calls are kept"), "{}", run.out);
    assert!(std::fs::metadata(plugin.file("tests/large.toml")).unwrap().len() < 8 << 10);
    let run = pulse_host(&["plugin", "test", plugin.path()]);
    assert_eq!(run.code, 1);
    assert!(
        run.out.contains("1 call of the recorded execution were not kept"),
        "{}",
        run.out
    );
}

#[test]
fn clocks_random_numbers_and_sleep_come_out_the_same() {
    let plugin = Plugin::chaos(&[]);
    for (name, settings) in [
        ("clocks", json!({ "do": "clocks" })),
        ("random", json!({ "do": "random" })),
        ("sleep", json!({ "do": "sleep", "ms": 20 })),
    ] {
        let settings = settings.to_string();
        let run = pulse_host(&[
            "plugin",
            "test",
            plugin.path(),
            "--record",
            name,
            "--kind",
            "pulse",
            "--settings",
            &settings,
        ]);
        assert_eq!(run.code, 0, "{name}: {run:?}");
    }
    let run = pulse_host(&["plugin", "test", plugin.path()]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.ends_with("3 cases: 3 ok, 0 failed\n"), "{}", run.out);
}

#[test]
fn who_does_what_no_case_can_hold_is_told_that_he_can_t_be_recorded() {
    host::warm_up();
    for (path, need) in [
        (guest("native"), "wasi-http"),
        (host::plugins().join("dns"), "dns"),
        (host::plugins().join("tls"), "tls"),
        (host::plugins().join("icmp"), "icmp"),
        (host::plugins().join("nagios"), "command"),
    ] {
        let path = path.to_str().unwrap();
        let run = pulse_host(&["plugin", "test", path, "--record", "x", "--settings", "{}"]);
        assert_eq!(run.code, 2, "{run:?}");
        assert!(
            run.err.contains(&format!("needs {need}, ")) && run.err.contains("neither recorded nor replayed"),
            "{}",
            run.err
        );
    }
}
