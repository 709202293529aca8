//! `GET /probe` of the running program: real plugins, real targets.

use crate::support::{
    host::{Config, Host},
    http::{Reply, Server, status},
    sockets,
};
use pulse_host::http::tokens::{self, Door};
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};
use tempfile::TempDir;

/// A host without monitors, with these lines more.
fn host(lines: &str) -> Host {
    Host::start_serving(TempDir::new().unwrap(), &Config::new(lines))
}

/// Sends a request and does not wait for its answer. Without a token, with that of whoever may read the data directory.
fn send(host: &Host, path: &str, token: Option<&str>, more: &str) -> TcpStream {
    let door = Door::read(&host.folder().join("state")).unwrap().unwrap();
    let address = door.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let token = token.unwrap_or(&door.token);
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{more}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// Status, head and body.
fn answer(mut stream: TcpStream) -> (u16, String, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

pub fn ask(host: &Host, path: &str) -> (u16, String) {
    let (status, _, body) = answer(send(host, path, None, ""));
    (status, body)
}

/// Series and their values, as a scraper reads them. Each has a type, and none is there twice.
fn series(text: &str) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let family = name.split('{').next().unwrap();
        assert!(
            text.contains(&format!("# TYPE {family} gauge\n")),
            "{line}: {text}"
        );
        let twice = all.insert(name.to_owned(), value.parse().unwrap());
        assert!(twice.is_none(), "{line} is there twice");
    }
    all
}

#[test]
fn a_target_that_is_up_and_one_that_is_down() {
    let up = Server::start(|_| Reply::Answer(200, Vec::new(), "hello".to_owned()));
    let sick = Server::start(|_| status(503));
    let dead = sockets::dead();
    let host = host("");
    let address = up.address();
    for (path, requests) in [
        (format!("/probe?module=http&target=http://{address}/"), 1),
        // As a configuration that was written for the exporter asks.
        (format!("/probe?module=http_2xx&target={address}"), 2),
        (format!("/probe?target={address}"), 3),
    ] {
        let (status, text) = ask(&host, &path);
        assert_eq!(status, 200, "{path}: {text}");
        let series = series(&text);
        assert_eq!(up.count(), requests, "{path}");
        for (name, value) in [
            ("probe_success", 1.0),
            ("probe_degraded", 0.0),
            ("probe_http_status_code", 200.0),
            ("probe_http_ssl", 0.0),
            ("probe_http_redirects", 0.0),
            ("probe_http_uncompressed_body_length", 5.0),
        ] {
            assert_eq!(series.get(name), Some(&value), "{path}: {name} in {text}");
        }
        assert!(series["probe_duration_seconds"] > 0.0);
        assert!(
            series["probe_http_duration_seconds{phase=\"processing\"}"] > 0.0,
            "{text}"
        );
        assert!(!text.contains("probe_ssl_earliest_cert_expiry"), "{text}");
    }
    let (status, text) = ask(&host, &format!("/probe?module=tcp_connect&target={address}"));
    let tcp = series(&text);
    assert_eq!((status, tcp["probe_success"]), (200, 1.0), "{text}");
    assert!(
        tcp["probe_measurement{name=\"connect_duration\",unit=\"s\"}"] > 0.0,
        "{text}"
    );
    for (target, reason) in [
        (dead.address.to_string(), "connection-refused"),
        (sick.address().to_string(), "unexpected-status"),
    ] {
        let (status, text) = ask(&host, &format!("/probe?module=http&target={target}"));
        let series = series(&text);
        assert_eq!((status, series["probe_success"]), (200, 0.0), "{text}");
        assert_eq!(
            series.get(&format!("probe_reason_info{{reason=\"{reason}\"}}")),
            Some(&1.0),
            "{text}"
        );
    }
    let figures = ask(&host, "/metrics").1;
    for line in [
        "pulse_host_probes_total{result=\"success\"} 4",
        "pulse_host_probes_total{result=\"failure\"} 2",
        "pulse_host_probes_total{result=\"fault\"} 0",
        "pulse_host_tenant_jobs_total{tenant=\"default\"} 6",
        "pulse_host_probes_running 0",
    ] {
        assert!(figures.contains(line), "{line} is not in {figures}");
    }
    host.stop();
}

#[test]
fn a_scraper_waits_no_longer_than_it_says() {
    let silent = sockets::silent();
    let host = host(
        "[probes.slow]\nplugin = \"http\"\ntimeout = \"100s\"\nsettings = { url = \"http://{{target}}/\" }\n",
    );
    let path = format!("/probe?module=slow&target={silent}");
    let hurry = "X-Prometheus-Scrape-Timeout-Seconds: 0.8\r\n";
    let (status, head, text) = answer(send(&host, &path, None, hurry));
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let series = series(&text);
    assert_eq!((status, series["probe_success"]), (200, 0.0), "{text}");
    assert_eq!(series["probe_reason_info{reason=\"timeout\"}"], 1.0, "{text}");
    // Half a second is for the answer's way back, but not more than half of all.
    let took = series["probe_duration_seconds"];
    assert!((0.35..60.0).contains(&took), "{text}");
    host.stop();
}

/// What the operator has not granted is nobody's to reach, and says nothing of the target.
#[test]
fn a_target_that_is_not_granted_is_no_failure_of_the_target() {
    let elsewhere = Server::start(|_| status(200));
    let away = elsewhere.url("/");
    let server = Server::start(move |_| Reply::Answer(302, vec![("location", away.clone())], String::new()));
    let host = host("");
    for (path, says) in [
        // Only addresses of this machine are.
        ("/probe?module=http&target=192.0.2.1".to_owned(), "denied"),
        (
            format!("/probe?module=http&target={}", server.address()),
            "denied",
        ),
        // Nothing is.
        (
            "/probe?module=icmp&target=127.0.0.1".to_owned(),
            "[plugins.icmp] grants.icmp",
        ),
    ] {
        let (status, text) = ask(&host, &path);
        let problem: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (status, &problem["type"]),
            (503, &"urn:pulse-host:problem:no-verdict".into()),
            "{text}"
        );
        assert!(
            problem["detail"].as_str().unwrap().contains(says),
            "{path}: {text}"
        );
        let (status, text) = ask(&host, &format!("{path}&debug=true"));
        assert_eq!(status, 503, "{text}");
        assert!(text.contains("# outcome: denied\n# status: unknown\n"), "{text}");
        assert!(series(&text).is_empty(), "{text}");
    }
    assert_eq!(elsewhere.count(), 0);
    let figures = ask(&host, "/metrics").1;
    assert!(
        figures.contains("pulse_host_probes_total{result=\"fault\"} 6"),
        "{figures}"
    );
    host.stop();
}

#[test]
fn a_module_sends_what_nobody_reads_in_its_answer() {
    let server = Server::start(|request| {
        let echo = request.header("authorization").unwrap_or_default().to_owned();
        Reply::Answer(200, Vec::new(), format!("{{\"is\": \"{echo}\"}}"))
    });
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("token"), "correct-horse-battery").unwrap();
    let host = Host::start_serving(
        folder,
        &Config::new(
            r#"
[probes.known]
plugin = "http"
settings = { url = "{{target}}", bearer = "${file:token}", json = [{ pointer = "/is", equals = "somebody else" }] }
"#,
        ),
    );
    for debug in ["true", "false"] {
        let path = format!("/probe?module=known&debug={debug}&target={}", server.url("/"));
        let (status, text) = ask(&host, &path);
        assert_eq!((status, series(&text)["probe_success"]), (200, 0.0), "{text}");
        assert!(!text.contains("correct-horse"), "{text}");
        assert_eq!(text.contains("# summary: "), debug == "true", "{text}");
    }
    let sent = server.requests();
    assert_eq!(
        sent[0].header("authorization"),
        Some("Bearer correct-horse-battery")
    );
    // What a module says is live.
    let other = "[probes.other]\nplugin = \"tcp\"\nsettings = { address = \"{{target}}\" }\n";
    host.rewrite(&Config::new(other));
    host.wait_for("the other module", || {
        let (status, text) = ask(&host, &format!("/probe?module=other&target={}", server.address()));
        (status == 200).then_some(text)
    });
    assert_eq!(ask(&host, "/probe?module=known&target=a").0, 400);
    host.stop();
}

/// A tenant reaches what its own monitors could, and pays for it.
#[test]
fn a_tenant_has_its_own_plugins_probed_and_nothing_of_the_operators() {
    let (granted, refused) = (Server::start(|_| status(200)), Server::start(|_| status(200)));
    let folder = TempDir::new().unwrap();
    std::fs::create_dir_all(folder.path().join("tenants/acme")).unwrap();
    std::fs::write(folder.path().join("tenants/acme/a.toml"), "").unwrap();
    let token = |name: &str, role: &str, tenant: &str| {
        format!(
            "[[host.http.tokens]]\nname = \"{name}\"\nhash = \"{}\"\nrole = \"{role}\"\n{tenant}",
            tokens::hash(name)
        )
    };
    let lines = format!(
        "[tenants.acme]\nconfig = \"tenants/acme\"\nallowed-plugins = [\"http\"]\n\
         [tenants.acme.grants.http]\nhttp = [\"http://{}\"]\n\
         [probes.own]\nplugin = \"http\"\nsettings = {{ url = \"{{{{target}}}}\" }}\n{}{}{}",
        granted.address(),
        token("acme-operator", "operator", "tenant = \"acme\"\n"),
        token("acme-viewer", "viewer", "tenant = \"acme\"\n"),
        token("whole-viewer", "viewer", ""),
    );
    let host = Host::start_serving(folder, &Config::new(lines));
    let ask = |token: &str, path: String| {
        let (status, _, text) = answer(send(&host, &path, Some(token), ""));
        (status, text)
    };
    let path = |module: &str, server: &Server| format!("/probe?module={module}&target={}", server.address());
    let (status, text) = ask("acme-operator", path("http", &granted));
    assert_eq!((status, series(&text)["probe_success"]), (200, 1.0), "{text}");
    let (status, text) = ask("acme-operator", path("http", &refused));
    assert!(status == 503 && text.contains("denied"), "{text}");
    assert_eq!(refused.count(), 0);
    for module in ["own", "tcp"] {
        let (status, text) = ask("acme-operator", path(module, &granted));
        assert!(status == 400 && text.contains("there are http\""), "{text}");
    }
    for viewer in ["acme-viewer", "whole-viewer"] {
        assert_eq!(ask(viewer, path("http", &granted)).0, 403);
    }
    assert_eq!(granted.count(), 1);
    let figures = host.asked("GET", "/api/v1/tenants");
    let used = |name: &str| {
        let tenants = figures["tenants"].as_array().unwrap();
        tenants.iter().find(|one| one["name"] == name).unwrap()["used"]["jobs"].clone()
    };
    assert_eq!((used("acme"), used("default")), (2.into(), 0.into()));
    host.stop();
}

/// What is asked for beyond that is refused at once, takes nothing of what is scheduled, and goes when who asked is gone.
#[test]
fn there_is_room_for_so_many_and_checks_go_on() {
    let silent = sockets::silent();
    let watched = Server::start(|_| status(200));
    let host = host(&format!(
        "[probes.slow]\nplugin = \"tcp\"\ntimeout = \"100s\"\nsettings = {{ address = \"{{{{target}}}}\", expect = \"x\" }}\n\
         [[monitor]]\nname = \"shop\"\npulse = {{ plugin = \"http\", settings = {{ url = \"{}\" }} }}\n",
        watched.url("/")
    ));
    let path = format!("/probe?module=slow&target={silent}");
    let running = |count: usize| {
        host.wait_for(&format!("{count} probes"), || {
            let figures = ask(&host, "/metrics").1;
            figures
                .contains(&format!("pulse_host_probes_running {count}\n"))
                .then_some(())
        });
    };
    let asked: Vec<TcpStream> = (0..16).map(|_| send(&host, &path, None, "")).collect();
    running(16);
    let (status, head, text) = answer(send(&host, &path, None, ""));
    assert_eq!(status, 503, "{text}");
    assert!(head.contains("retry-after: 1"), "{head}");
    let before = watched.count();
    host.wait_for("checks that go on", || {
        (watched.count() > before + 3).then_some(())
    });
    drop(asked);
    running(0);
    let figures = ask(&host, "/metrics").1;
    assert!(
        figures.contains("pulse_host_probes_total{result=\"refused\"} 1"),
        "{figures}"
    );
    host.stop();
}
