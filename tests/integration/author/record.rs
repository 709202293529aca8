//! Recording a real run, and playing it.

use super::{Plugin, guest, pulse_host};
use crate::support::{
    dns::name_server,
    host,
    http::{Reply, Server, status},
    tls::{Authority, Certificate},
};
use serde_json::json;
use std::{
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Mutex},
};

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
    let path = guest("native");
    let words = ["plugin", "test", path.to_str().unwrap()];
    let run = pulse_host(&[&words[..], &["--record", "x", "--settings", "{}"]].concat());
    assert_eq!(run.code, 2, "{run:?}");
    assert!(
        run.err.contains("needs wasi-http, ") && run.err.contains("neither recorded nor replayed"),
        "{}",
        run.err
    );
}

#[test]
fn a_command_is_recorded_and_plays_without_its_program() {
    let folder = tempfile::TempDir::new().unwrap();
    let program = folder.path().join("check.sh");
    let text = "#!/bin/sh\necho \"$1 is full | used=97%\"\necho trouble >&2\nexit 2\n";
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    // In an order in which no file holds them: a table comes last there.
    let settings = r#"{ "thresholds": true, "arguments": { "path": "/srv" }, "command": "disk" }"#;
    let grant = format!("commands=disk:{} {{path}}", program.display());
    let text = record_and_play("nagios", settings, &grant, || drop(folder));
    let table: toml::Table = text.parse().unwrap();
    let (call, answer) = (&table["call"][0]["command"], &table["call"][0]["answer"]);
    assert_eq!(
        (call["name"].as_str(), call["arguments"]["path"].as_str()),
        (Some("disk"), Some("/srv")),
        "{text}"
    );
    assert_eq!(
        (answer["exit-code"].as_integer(), answer["stderr"].as_str()),
        (Some(2), Some("trouble\n")),
        "{text}"
    );
    assert_eq!(table["expect"]["reason"].as_str(), Some("critical"), "{text}");
    changed("nagios", &text, "/srv is full", "/srv is fuller");
}

/// Whether this machine may send echo requests or not: what came of it is what is played.
#[test]
fn echo_requests_are_recorded_and_play_without_the_network() {
    let settings = json!({ "host": "127.0.0.1", "count": 2, "interval": "10ms" }).to_string();
    let text = record_and_play("icmp", &settings, "icmp=127.0.0.1", || {});
    let table: toml::Table = text.parse().unwrap();
    let call = &table["call"][0];
    assert_eq!(call["icmp"]["count"].as_integer(), Some(2), "{text}");
    match call.get("answer") {
        Some(answer) => {
            assert_eq!(answer["sent"].as_integer(), Some(2), "{text}");
            changed("icmp", &text, "peer = \"127.0.0.1\"", "peer = \"127.0.0.2\"");
        }
        None => assert_eq!(call["error"]["code"].as_str(), Some("host"), "{text}"),
    }
}

/// Records one run of the plugin of that name, and plays it after `gone` has taken its peer away.
fn record_and_play(name: &str, settings: &str, grant: &str, gone: impl FnOnce()) -> String {
    let plugin = Plugin::named(name, &[]);
    let file = plugin.file("tests/real.toml");
    let words = [
        "plugin",
        "test",
        plugin.path(),
        "--record",
        "real",
        "--settings",
        settings,
    ];
    let grants = ["--grant", grant, "--grant", "networks=loopback"];
    let run = pulse_host(&[&words[..], &grants[..]].concat());
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}\n{text}");
    assert!(run.out.contains("and it comes out the same"), "{}", run.out);
    gone();
    let path = file.to_str().unwrap();
    for words in [
        vec!["plugin", "test", plugin.path()],
        vec!["plugin", "test", plugin.path(), "--replay", path],
        vec!["replay", path, "--plugins", plugin.path()],
    ] {
        let run = pulse_host(&words);
        assert_eq!(run.code, 0, "{words:?}: {run:?}\n{text}");
        assert!(!run.out.contains("warning"), "{}", run.out);
    }
    // Fuel and all: what is played went the very same way.
    let table: toml::Table = text.parse().unwrap();
    assert!(table["recorded"].get("fuel").is_some(), "{text}");
    text
}

/// Any byte of an answer counts.
fn changed(name: &str, text: &str, from: &str, to: &str) {
    assert!(text.contains(from), "{from} in {text}");
    let plugin = Plugin::named(name, &[("changed", &text.replace(from, to))]);
    let run = pulse_host(&["plugin", "test", plugin.path()]);
    assert_eq!(run.code, 1, "{from} is not {to}: {run:?}");
}

#[test]
fn a_handshake_is_recorded_and_plays_without_its_server() {
    let authority = Authority::new();
    for (certificate, reason) in [
        (Certificate::Good, None),
        (Certificate::Elsewhere, Some("certificate-name-mismatch")),
    ] {
        let server = Server::start_tls(authority.server(certificate), |_| status(200));
        let settings = json!({ "address": server.address().to_string(), "ca": authority.pem() });
        let text = record_and_play("tls", &settings.to_string(), "tcp=@settings.address", || {
            drop(server);
        });
        let table: toml::Table = text.parse().unwrap();
        let answer = &table["call"][0]["answer"];
        assert_eq!(answer["chain-hex"].as_array().map(Vec::len), Some(2), "{text}");
        let refusal = answer
            .get("refusal")
            .map(|refusal| refusal["code"].as_str().unwrap());
        assert_eq!(refusal, reason, "{text}");
        match reason {
            None => changed("tls", &text, "version = \"TLSv1.3\"", "version = \"TLSv1.2\""),
            Some(reason) => changed(
                "tls",
                &text,
                &format!("code = \"{reason}\""),
                "code = \"certificate-untrusted\"",
            ),
        }
    }
}

#[test]
fn a_question_is_recorded_and_plays_without_its_server() {
    let address = Arc::new(Mutex::new(Some([192, 0, 2, 7])));
    let server = name_server(Arc::clone(&address));
    let settings = json!({ "name": "shop.example", "server": server.to_string() }).to_string();
    let gone = || *address.lock().unwrap() = None;
    let text = record_and_play("dns", &settings, "dns=@settings.server", gone);
    let table: toml::Table = text.parse().unwrap();
    let records = &table["call"][0]["answer"]["records"];
    assert_eq!(records[0]["data"].as_str(), Some("192.0.2.7"), "{text}");
    changed("dns", &text, "data = \"192.0.2.7\"", "data = \"192.0.2.8\"");
    changed("dns", &text, "ttl = 60", "ttl = 61");
    // Nobody answers: what came of that is recorded, too.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = silent.local_addr().unwrap();
    let settings = json!({ "name": "shop.example", "server": server.to_string() }).to_string();
    let text = record_and_play("dns", &settings, "dns=@settings.server", || drop(silent));
    assert!(text.contains("code = \"timeout\""), "{text}");
}
