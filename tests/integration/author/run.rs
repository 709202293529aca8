//! `plugin run`, `plugin verify PATH` and `plugin bench`.

use super::{Plugin, guest, pulse_host};
use crate::support::{
    host,
    http::{Reply, Server, status},
};
use serde_json::{Value, json};
use std::path::Path;

fn http() -> String {
    host::plugins().join("http").to_str().unwrap().to_owned()
}

fn chaos() -> String {
    guest("chaos").to_str().unwrap().to_owned()
}

#[test]
fn nothing_is_granted_and_each_denial_names_the_flag_that_leads_on() {
    let server = Server::start(|_| Reply::Answer(200, Vec::new(), "hello".into()));
    let settings = json!({ "url": server.url("/") }).to_string();
    let http = http();
    let mut words = vec![
        "plugin",
        "run",
        &http,
        "--settings",
        &settings,
        "--output",
        "json",
    ];
    let mut flags: Vec<String> = Vec::new();
    for _ in 0..2 {
        let with: Vec<&str> = words
            .iter()
            .copied()
            .chain(flags.iter().map(String::as_str))
            .collect();
        let run = pulse_host(&with);
        assert_eq!(run.code, 1, "{run:?}");
        let json = run.json();
        assert_eq!(json["outcome"], "denied");
        let allow = json["allow"].as_str().unwrap().to_owned();
        let (flag, grant) = allow.split_once(' ').unwrap();
        flags.extend([flag.to_owned(), grant.to_owned()]);
    }
    assert_eq!(server.count(), 0);
    words.extend(flags.iter().map(String::as_str));
    let run = pulse_host(&words);
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    let json = run.json();
    assert_eq!(
        (&json["result"], &json["outcome"]),
        (&json!("healthy"), &json!("answer"))
    );
    assert_eq!(json["calls"].as_array().unwrap().len(), 1);
    assert_eq!(json["calls"][0]["answer"], "200, 5 bytes");
    assert!(json["usage"]["fuel"].as_u64().unwrap() > 0);
    let text = pulse_host(
        &words
            .iter()
            .copied()
            .filter(|word| *word != "json" && *word != "--output")
            .collect::<Vec<_>>(),
    );
    for part in [
        "healthy http: HTTP 200",
        "call ",
        "GET http://127.0.0.1:",
        " in host calls",
        "status_code",
        "fuel",
    ] {
        assert!(text.out.contains(part), "{part} in {}", text.out);
    }
}

#[test]
fn what_the_plugin_made_of_it_is_the_exit_code() {
    let server = Server::start(|_| status(500));
    let settings = json!({ "url": server.url("/") }).to_string();
    let grant = format!("http={}", server.url("").trim_end_matches('/'));
    let run = pulse_host(&[
        "plugin",
        "run",
        &http(),
        "--settings",
        &settings,
        "--grant",
        &grant,
        "--grant",
        "networks=loopback",
    ]);
    assert_eq!(run.code, 1);
    assert!(run.out.starts_with("unhealthy http: "), "{}", run.out);
    for (kind, deed, code, word) in [
        ("pulse", "degraded", 0, "degraded"),
        ("pulse", "fault-internal", 1, "plugin-fault"),
        ("pulse", "trap", 1, "trap"),
        ("pulse", "spin", 1, "out-of-fuel"),
        ("intervention", "done", 0, "done"),
        ("intervention", "effect-unknown", 1, "effect-unknown"),
        ("code", "receipt", 0, "delivered"),
        ("code", "retryable", 1, "retryable"),
    ] {
        let settings = json!({ "do": deed }).to_string();
        let run = pulse_host(&[
            "plugin",
            "run",
            &chaos(),
            "--kind",
            kind,
            "--settings",
            &settings,
            "--output",
            "json",
        ]);
        assert_eq!(run.code, code, "{deed}: {run:?}");
        assert_eq!(run.json()["result"], word, "{deed}");
    }
}

#[test]
fn limits_are_those_of_the_flags() {
    let settings = json!({ "do": "alloc", "bytes": 100_000_000 }).to_string();
    let words = [
        "plugin",
        "run",
        &chaos(),
        "--kind",
        "pulse",
        "--settings",
        &settings,
        "--output",
        "json",
    ];
    let small = pulse_host(&[&words[..], &["--memory", "16MiB"]].concat());
    assert_eq!(
        (small.code, &small.json()["outcome"]),
        (1, &json!("out-of-memory"))
    );
    let large = pulse_host(
        &[
            &words[..],
            &[
                "--memory",
                "128MiB",
                "--fuel",
                "9000000000",
                "--cpu",
                "20s",
                "--timeout",
                "60s",
            ],
        ]
        .concat(),
    );
    assert_eq!(
        (large.code, &large.json()["result"]),
        (0, &json!("healthy")),
        "{large:?}"
    );
}

#[test]
fn what_is_wrong_is_code_2_and_shows_where() {
    let settings = r#"{"url": 7, "methd": "GET"}"#;
    for (words, parts) in [
        (
            vec!["--settings", settings],
            vec![
                "--settings:1:9:",
                "^",
                "must be of type string",
                "--settings:1:12:",
                "did you mean `method`?",
            ],
        ),
        (
            vec!["--settings", "{\"url\":\n \"x\",}"],
            vec!["--settings:2:", "no JSON"],
        ),
        (vec!["--settings", "{}"], vec!["is missing"]),
        (vec!["--settings", "@/no/such/file"], vec!["/no/such/file"]),
        (
            vec![
                "--settings",
                "{\"url\":\"http://a/\"}",
                "--grant",
                "http=a",
                "--grant",
                "x=y",
            ],
            vec!["--grant http=a: it has no scheme", "--grant x=y: grants are"],
        ),
        (
            vec!["--settings", "{\"url\":\"http://a/\"}", "--kind", "code"],
            vec!["exports no code; it exports pulse"],
        ),
    ] {
        let http = http();
        let all: Vec<&str> = ["plugin", "run", &http]
            .into_iter()
            .chain(words.iter().copied())
            .collect();
        let run = pulse_host(&all);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{words:?}: {run:?}");
        for part in parts {
            assert!(run.err.contains(part), "{words:?}: {part} in {}", run.err);
        }
    }
    let several = pulse_host(&["plugin", "run", &chaos(), "--settings", "{\"do\":\"healthy\"}"]);
    assert_eq!(several.code, 2);
    assert!(
        several
            .err
            .contains("--kind pulse or --kind intervention or --kind code"),
        "{}",
        several.err
    );
}

fn check<'a>(json: &'a Value, name: &str) -> &'a Value {
    let checks = json["checks"].as_array().unwrap();
    checks
        .iter()
        .find(|check| check["name"] == name)
        .unwrap_or_else(|| panic!("{name} in {json}"))
}

#[test]
fn the_plugins_that_come_with_the_host_are_what_they_say() {
    let mut paths: Vec<_> = std::fs::read_dir(host::plugins())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("plugin.toml").exists())
        .collect();
    paths.sort();
    assert!(paths.len() >= 10, "{paths:?}");
    for path in paths {
        let name = path.display();
        let run = pulse_host(&["plugin", "verify", path.to_str().unwrap(), "--output", "json"]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{name}: {run:?}");
        for check in run.json()["checks"].as_array().unwrap() {
            assert_eq!(check["ok"], true, "{name}: {check}");
        }
    }
}

#[test]
fn a_manifest_that_says_something_else_is_found() {
    let plugin = Plugin::http(&[]);
    let manifest = plugin.file("plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let text = text
        .replace("[\"pulse\"]", "[\"pulse\", \"code\"]")
        .replace("[\"http\"]", "[\"http\", \"tcp\"]")
        .replace("0.1.0", "0.2.0");
    std::fs::write(&manifest, text).unwrap();
    let run = pulse_host(&["plugin", "verify", plugin.path(), "--output", "json"]);
    assert_eq!(run.code, 1, "{run:?}");
    let json = run.json();
    for (name, part) in [
        ("manifest", "says http 0.2.0"),
        (
            "kinds",
            "the manifest says pulse, code, and the component exports pulse",
        ),
        ("imports", "the manifest names \"tcp\", which is not imported"),
    ] {
        let check = check(&json, name);
        assert_eq!(check["ok"], false);
        assert!(check["found"].as_str().unwrap().contains(part), "{check}");
    }
    assert_eq!(check(&json, "describe")["ok"], true);
    let text = pulse_host(&["plugin", "verify", plugin.path()]);
    assert_eq!(
        text.out
            .lines()
            .filter(|line| line.starts_with("failed  "))
            .count(),
        3,
        "{}",
        text.out
    );
}

/// What it does then, its settings say, and its schema allows each of it.
#[test]
fn a_plugin_that_its_settings_can_break_is_found() {
    let plugin = Plugin::chaos(&[]);
    let run = pulse_host(&["plugin", "verify", plugin.path(), "--output", "json"]);
    assert_eq!(run.code, 1, "{run:?}");
    let json = run.json();
    for kind in ["pulse", "intervention", "code"] {
        let check = check(&json, &format!("settings for {kind}"));
        assert_eq!(check["ok"], false, "{json}");
        let found = check["found"].as_str().unwrap();
        assert!(
            found.starts_with('`') && found.contains(", which its schema allows, "),
            "{found}"
        );
    }
    assert_eq!(check(&json, "schema")["ok"], true);
}

#[test]
fn what_is_no_plugin_is_a_failed_check() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("empty.wasm");
    std::fs::write(&path, wat::parse_str("(component)").unwrap()).unwrap();
    let run = pulse_host(&["plugin", "verify", path.to_str().unwrap(), "--output", "json"]);
    assert_eq!(run.code, 1);
    assert_eq!(check(&run.json(), "component")["ok"], false);
}

#[test]
fn figures_and_limits_come_from_runs() {
    let case = "settings = { url = \"http://shop.example/\" }\n[[call]]\nhttp.url = \"http://shop.example/\"\nanswer.status = 200\n[expect]\nstatus = \"healthy\"\n";
    let plugin = Plugin::http(&[("healthy", case)]);
    let file = plugin.file("tests/healthy.toml");
    let words = [
        "plugin",
        "bench",
        plugin.path(),
        "--case",
        file.to_str().unwrap(),
        "--count",
        "20",
    ];
    let run = pulse_host(&[&words[..], &["--output", "json"]].concat());
    assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
    let json = run.json();
    assert_eq!((&json["count"], &json["bad"]), (&json!(20), &json!(0)));
    // A script and a virtual clock: every run is the same.
    assert_eq!(json["fuel"]["min"], json["fuel"]["max"]);
    let fuel = json["fuel"]["max"].as_u64().unwrap();
    assert!(json["suggested"]["fuel"].as_u64().unwrap() >= 2 * fuel);
    assert!(json["peak_memory_bytes"]["max"].as_u64().unwrap() > 0);
    // Runs in one instance, whose calls the case answers as well: it has read its settings before.
    assert!(json["reused_cpu_nanoseconds"]["median"].as_u64().unwrap() > 0);
    let least = json["fuel"]["min"].as_u64().unwrap();
    assert!(json["reused_fuel"]["max"].as_u64().unwrap() < least, "{json}");
    assert!(json["compile_seconds"].as_f64().unwrap() > 0.0);
    // What is suggested is a configuration.
    let suggested: toml::Table = json["suggested"]["toml"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        suggested["plugins"]["http"]["limits"]["fuel"]
            .as_integer()
            .unwrap(),
        i64::try_from(json["suggested"]["fuel"].as_u64().unwrap()).unwrap()
    );
    let text = pulse_host(&words);
    for part in [
        "compile",
        "load from cache",
        "fresh: CPU",
        "reused: CPU",
        "median",
        "[plugins.http]",
    ] {
        assert!(text.out.contains(part), "{part} in {}", text.out);
    }
}

#[test]
fn limits_that_are_too_small_are_told_with_what_would_do() {
    let up = "settings = { url = \"http://shop.example/\" }\n[[call]]\nhttp.url = \"http://shop.example/\"\nanswer.status = 200\n[expect]\nstatus = \"healthy\"\n";
    let of = |limits: &str| format!("limits = {{ {limits} }}\n{up}");
    let plugin = Plugin::http(&[
        ("fuel", &of("fuel = 1_000")),
        ("memory", &of("memory = \"64KiB\"")),
        ("room", up),
    ]);
    let run = pulse_host(&["plugin", "test", plugin.path(), "--output", "json"]);
    assert_eq!(run.code, 1, "{run:?}");
    let json = run.json();
    let fuel = |name: &str| {
        let cases = json["cases"].as_array().unwrap();
        let case = cases.iter().find(|case| case["name"] == name).unwrap();
        (
            case["fuel"].as_u64().unwrap(),
            case["warnings"].to_string(),
            case["outcome"].clone(),
        )
    };
    let (enough, none, _) = fuel("room");
    assert_eq!(none, "[]");
    for (name, outcome) in [("fuel", "out-of-fuel"), ("memory", "out-of-memory")] {
        let (_, told, came) = fuel(name);
        assert_eq!(came, outcome, "{json}");
        assert!(told.contains(&format!("it takes {enough} fuel, ")), "{told}");
    }
    let file = plugin.file("tests/fuel.toml");
    let words = [
        "plugin",
        "bench",
        plugin.path(),
        "--count",
        "3",
        "--output",
        "json",
        "--case",
    ];
    let run = pulse_host(&[&words[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(run.code, 1, "{run:?}");
    let json = run.json();
    let told = json["too_small"].as_str().unwrap();
    assert!(told.contains("limits.fuel = 1000;"), "{told}");
    assert_eq!(
        (&json["bad"], &json["fuel"]["max"]),
        (&json!(0), &json!(enough)),
        "{json}"
    );
}

#[test]
fn an_instance_that_is_used_again_is_measured_beside_fresh_ones() {
    let run = pulse_host(&[
        "plugin",
        "bench",
        &chaos(),
        "--kind",
        "pulse",
        "--settings",
        "{\"do\":\"healthy\"}",
        "--count",
        "5",
        "--output",
        "json",
    ]);
    assert_eq!(run.code, 0, "{run:?}");
    let json = run.json();
    assert!(
        json["reused_cpu_nanoseconds"]["median"].as_u64().unwrap() > 0,
        "{json}"
    );
    let fuel = |key: &str, which: &str| json[key][which].as_u64().unwrap();
    assert!(fuel("reused_fuel", "max") < fuel("fuel", "min"), "{json}");
    assert!(Path::new(&chaos()).metadata().unwrap().len() == json["size_bytes"].as_u64().unwrap());
    let bad = pulse_host(&[
        "plugin",
        "bench",
        &chaos(),
        "--kind",
        "pulse",
        "--settings",
        "{\"do\":\"trap\"}",
        "--count",
        "5",
        "--output",
        "json",
    ]);
    // Five in fresh instances, and five that were to share one.
    assert_eq!((bad.code, &bad.json()["bad"]), (1, &json!(10)));
}
