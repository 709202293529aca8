//! What a right configuration becomes, and how problems are shown.

mod ad_hoc;
mod any_text;
mod commands;
mod golden;
mod managed;
mod probes;
mod published;
mod targets;
mod tenants;

use super::{interpolate::Surroundings, problem::Findings, source::Sources, *};
use crate::domain::{
    color::Color,
    grant::{HostPattern, HttpGrant, Network, TcpGrant},
    limits::Limits,
    plugin::Capability,
    spec::{Budget, Kind},
};
use serde_json::{Value, json};
use std::{fmt::Write as _, path::PathBuf, time::Duration};

/// What the plugins of this repository say of themselves, as far as the configuration cares.
fn facts() -> BTreeMap<String, Facts> {
    let facts = |name: &str, kinds: &[Kind], needs: &[Capability], required: Value, properties: Value| {
        let facts = Facts {
            name: name.into(),
            digest: name.into(),
            version: "0.1.0".to_owned(),
            summary: String::new(),
            kinds: kinds.to_vec(),
            needs: needs.to_vec(),
            schema: Arc::new(json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "additionalProperties": false,
                "required": required,
                "properties": properties,
                "$defs": {
                    "Json": {
                        "type": "object",
                        "additionalProperties": false,
                        "required": ["pointer", "equals"],
                        "properties": { "pointer": { "type": "string" }, "equals": true },
                    },
                    "Duration": { "type": "string", "pattern": "^[0-9]+(ms|s|m)$", "description": "A duration, as in \"800ms\"." },
                },
            })),
        };
        (name.to_owned(), facts)
    };
    let url = json!({ "type": "string", "format": "uri", "description": "Where the request goes." });
    BTreeMap::from([
        facts(
            "http",
            &[Kind::Pulse],
            &[Capability::Http],
            json!(["url"]),
            json!({
                "url": url,
                "method": { "enum": ["GET", "HEAD", "POST"], "default": "GET" },
                "headers": { "type": "object", "additionalProperties": { "type": "string" } },
                "bearer": { "type": ["string", "null"], "minLength": 4 },
                "expect-status": { "type": "array", "items": { "type": "string", "pattern": "^[1-5](xx|[0-9]{2})$" } },
                "json": { "type": "array", "items": { "$ref": "#/$defs/Json" } },
                "max-latency": { "anyOf": [{ "$ref": "#/$defs/Duration" }, { "type": "null" }] },
                "certificate-days": { "type": "integer", "minimum": 0, "maximum": 3650 },
            }),
        ),
        facts(
            "tcp",
            &[Kind::Pulse],
            &[Capability::Tcp],
            json!(["address"]),
            json!({ "address": { "type": "string" }, "send": { "type": "string" } }),
        ),
        facts(
            "docker",
            &[Kind::Intervention],
            &[Capability::Docker],
            json!(["container"]),
            json!({ "container": { "type": "string" }, "action": { "enum": ["restart", "start", "stop"] } }),
        ),
        facts(
            "nagios",
            &[Kind::Pulse],
            &[Capability::Command],
            json!(["command"]),
            json!({ "command": { "type": "string" }, "arguments": { "type": "object" } }),
        ),
        facts(
            "icmp",
            &[Kind::Pulse],
            &[Capability::Icmp],
            json!(["host"]),
            json!({ "host": { "type": "string" }, "count": { "type": "integer" } }),
        ),
        facts("log", &[Kind::Code], &[], json!([]), json!({})),
        facts(
            "file",
            &[Kind::Code],
            &[Capability::Files],
            json!(["path"]),
            json!({ "path": { "type": "string", "description": "Within the granted directory." } }),
        ),
        facts(
            "webhook",
            &[Kind::Intervention, Kind::Code],
            &[Capability::Http],
            json!(["url"]),
            json!({ "url": url, "method": { "type": "string" }, "body": { "type": "string" } }),
        ),
    ])
}

fn surroundings() -> Surroundings {
    Surroundings::fixed(&[
        ("HOME", "/home/op"),
        ("TOKEN", "s3cret"),
        ("SHORT", "abc"),
        ("ACME_SHOP_TOKEN", "correct-horse-battery"),
        ("URL", "http://10.0.0.1/"),
    ])
}

fn draft(text: &str) -> Draft {
    let mut sources = Sources::default();
    sources.add("pulse-host.toml", text.to_owned(), Path::new("/etc/pulse-host"));
    Draft::read(sources, Findings::default(), &surroundings())
}

#[track_caller]
fn config(text: &str) -> Config {
    match draft(text).finish(&facts()) {
        Ok(config) => config,
        Err(problems) => panic!("{problems}"),
    }
}

fn ids(text: &str) -> Vec<String> {
    let problems = match draft(text).finish(&facts()) {
        Ok(config) => config.warnings,
        Err(problems) => problems,
    };
    let shown = serde_json::to_value(&problems).unwrap();
    shown
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Grants that let the plugins above be used.
const GRANTS: &str = r#"
[plugins.http]
grants.http = ["@settings.url"]
grants.networks = ["public", "loopback"]
[plugins.webhook]
grants.http = ["https://hooks.example.com"]
grants.networks = ["public"]
[plugins.docker]
grants.docker = { containers = ["web-*"], socket = "/run/docker.sock" }
[plugins.file]
grants.directories = [{ path = "./alerts" }]
[plugins.tcp]
grants.tcp = ["@settings.address", "*.example.com:5432", "*:*"]
grants.networks = ["private"]
"#;

fn with_grants(text: &str) -> String {
    format!("{text}\n{GRANTS}")
}

#[test]
fn the_starter_and_the_quickstart_load() {
    let config_of = |text: &str| {
        let config = config(text);
        assert!(config.warnings.is_empty(), "{}", config.warnings);
        config
    };
    let starter = config_of(starter());
    assert_eq!(starter.monitors.len(), 1);
    assert!(starter.host_entry.is_some());
    let quickstart = config_of(include_str!("../../../pulse-host.toml"));
    let [shop] = quickstart.monitors.as_slice() else {
        panic!("{} monitors", quickstart.monitors.len());
    };
    assert_eq!(shop.name(), "shop");
    let sinks: Vec<&str> = shop.sinks.iter().map(|sink| sink.name.as_ref()).collect();
    assert_eq!(sinks, ["alerts", "terminal"]);
    let repair = shop.intervention.as_ref().unwrap();
    assert_eq!(repair.max_attempts, 2);
    assert_eq!(repair.lane.profile.plugin.as_ref(), "webhook");
}

/// The example of the starter that is commented out must work too.
#[test]
fn what_the_starter_suggests_loads() {
    let text: String = starter()
        .lines()
        .map(|line| {
            let code = line.strip_prefix("# ").unwrap_or(line);
            let is_code = ["intervention = ", "[plugins.webhook]", "grants."]
                .iter()
                .any(|start| code.starts_with(start));
            format!("{}\n", if is_code { code } else { line })
        })
        .collect();
    assert!(config(&text).monitors[0].intervention.is_some());
}

#[test]
fn defaults_are_those_of_the_reference() {
    let config = config(&with_grants(
        r#"
        [[monitor]]
        name = "a"
        pulse = { plugin = "http", settings = { url = "http://a.example/" } }
        intervention = { plugin = "docker", settings = { container = "web-1" } }
        [notifiers.n]
        plugin = "log"
        "#,
    ));
    let monitor = &config.monitors[0];
    let seconds = Duration::from_secs;
    assert_eq!(
        monitor.policy,
        crate::domain::spec::Policy {
            interval: seconds(30),
            retry_interval: seconds(10),
            failure_threshold: 3,
            success_threshold: 2,
            page_after: seconds(300),
            repeat: None,
            fault_threshold: 3,
        }
    );
    let pulse = monitor.pulse.as_ref().unwrap();
    assert_eq!(pulse.timeout, seconds(5));
    assert_eq!(pulse.profile.limits, Limits::default());
    let repair = monitor.intervention.as_ref().unwrap();
    assert_eq!(repair.lane.timeout, seconds(30));
    assert_eq!((repair.max_attempts, repair.cooldown), (3, seconds(30)));
    assert_eq!(
        repair.budget,
        Budget {
            attempts: 10,
            per: seconds(3600)
        }
    );
    // Five pulses of at most 5 s, 10 s apart.
    assert_eq!(repair.verify_window, seconds(75));
    assert!(monitor.sinks.is_empty());
    assert!(config.host_entry.is_none());
    assert_eq!(
        config.host,
        HostSettings::new("/home/op/.local/state/pulse-host".into())
    );
    assert_eq!(config.profiles.len(), facts().len());
}

#[test]
fn levels_merge_tables_and_replace_the_rest() {
    let config = config(&with_grants(
        r#"
        [defaults]
        interval = "1m"
        notify = ["a"]
        notify-add = ["d"]
        labels = { team = "core", site = "x" }
        repeat = "1h"
        [templates.web]
        timeout = "2s"
        notify-add = ["b"]
        pulse = { plugin = "http", settings = { expect-status = ["2xx"], headers = { a = "1", b = "1" } } }
        [templates.strict]
        interval = "5s"
        labels.site = "y"
        pulse.settings = { expect-status = ["200"], headers.b = "2" }
        [[monitor]]
        name = "m"
        use = ["web", "strict"]
        repeat = "never"
        labels.site = "z"
        notify-add = ["c", "a"]
        pulse.settings.url = "https://example.com/"
        [[monitor]]
        name = "n"
        use = ["strict", "web"]
        notify = []
        pulse.settings.url = "https://example.com/"
        [notifiers]
        a.plugin = "log"
        b.plugin = "log"
        c = { plugin = "log", colors = ["red", "green"], max-age = "1h" }
        d.plugin = "log"
        "#,
    ));
    let [m, n] = config.monitors.as_slice() else {
        panic!("{} monitors", config.monitors.len())
    };
    assert_eq!(m.policy.interval, Duration::from_secs(5));
    assert_eq!(m.policy.retry_interval, Duration::from_secs(5));
    assert_eq!(m.policy.repeat, None);
    assert_eq!(n.policy.repeat, Some(Duration::from_secs(3600)));
    let labels: Vec<_> = m.labels.iter().map(|(k, v)| (k.as_ref(), v.as_ref())).collect();
    assert_eq!(labels, [("site", "z"), ("team", "core")]);
    let settings = |spec: &MonitorSpec| -> Value {
        serde_json::from_str(&spec.pulse.as_ref().unwrap().settings).unwrap()
    };
    assert_eq!(
        settings(m),
        json!({ "url": "https://example.com/", "expect-status": ["200"], "headers": { "a": "1", "b": "2" } })
    );
    assert_eq!(
        settings(n),
        json!({ "url": "https://example.com/", "expect-status": ["2xx"], "headers": { "a": "1", "b": "1" } })
    );
    let sinks = |spec: &MonitorSpec| -> String { spec.sinks.iter().map(|sink| sink.name.as_ref()).collect() };
    assert_eq!(sinks(m), "adbc");
    assert_eq!(sinks(n), "db");
    let c = &m.sinks[3];
    assert!(c.wants(Color::Red) && c.wants(Color::Green) && !c.wants(Color::Yellow));
    assert_eq!(c.max_age, Duration::from_secs(3600));
}

#[test]
fn what_is_the_same_is_shared() {
    let mut text = with_grants(
        r#"
        [defaults]
        notify = ["n"]
        labels.team = "core"
        pulse = { plugin = "http", settings = { url = "https://example.com/" } }
        intervention = { plugin = "docker", settings = { container = "web-1" } }
        [notifiers.n]
        plugin = "log"
        "#,
    );
    for number in 0..100 {
        let _ = writeln!(text, "[[monitor]]\nname = \"m{number}\"");
    }
    let config = config(&text);
    let first = &config.monitors[0];
    for other in &config.monitors[1..] {
        assert!(Arc::ptr_eq(first.class(), other.class()));
        assert!(Arc::ptr_eq(&first.sinks, &other.sinks));
        assert!(Arc::ptr_eq(&first.labels, &other.labels));
        assert!(Arc::ptr_eq(
            first.intervention.as_ref().unwrap(),
            other.intervention.as_ref().unwrap()
        ));
        let (first, other) = (first.pulse.as_ref().unwrap(), other.pulse.as_ref().unwrap());
        assert!(Arc::ptr_eq(&first.profile, &other.profile));
        assert!(Arc::ptr_eq(&first.settings, &other.settings));
    }
    assert!(Arc::ptr_eq(
        &config.profiles["http"],
        &first.pulse.as_ref().unwrap().profile
    ));
}

#[test]
fn grants_are_read() {
    let text = r#"
        [plugins.http]
        grants.http = ["@settings.url", "https://*.Example.com", "http://[::1]:*", "http://*:8080"]
        grants.networks = ["public", "link-local"]
        reuse = 7
        limits = { fuel = 7, cpu = "7ms", memory = "7MiB" }
        [plugins.tcp]
        grants.tcp = ["@settings.address", "db.example.com:5432", "*:*"]
        [plugins.file]
        grants.directories = [{ path = "./alerts", access = "append" }, { path = "/var/log/alerts" }]
        [plugins.docker]
        grants.docker.containers = ["web-*"]
        "#;
    let config = config(text);
    let http = &config.profiles["http"];
    let pattern = |scheme: &str, host, port| {
        HttpGrant::Pattern(crate::domain::grant::UrlPattern {
            scheme: scheme.to_owned(),
            host,
            port,
        })
    };
    assert_eq!(
        http.grants.http,
        [
            HttpGrant::Settings(vec!["url".to_owned()]),
            pattern("https", HostPattern::Suffix("example.com".to_owned()), Some(443)),
            pattern("http", HostPattern::Exact("::1".to_owned()), None),
            pattern("http", HostPattern::Any, Some(8080)),
        ]
    );
    assert!(http.grants.networks.contains(Network::LinkLocal));
    assert!(!http.grants.networks.contains(Network::Private));
    assert_eq!(http.reuse, 7);
    assert_eq!(
        http.limits,
        Limits {
            fuel: 7,
            cpu: Duration::from_millis(7),
            memory_bytes: 7 << 20
        }
    );
    assert_eq!(
        config.profiles["tcp"].grants.tcp,
        [
            TcpGrant::Settings {
                host: vec!["address".to_owned()],
                port: None
            },
            TcpGrant::Pattern {
                host: HostPattern::Exact("db.example.com".to_owned()),
                port: Some(5432)
            },
            TcpGrant::Pattern {
                host: HostPattern::Any,
                port: None
            },
        ]
    );
    let directories: Vec<_> = config.profiles["file"]
        .grants
        .directories
        .iter()
        .map(|grant| grant.path.clone())
        .collect();
    assert_eq!(
        directories,
        [PathBuf::from("/etc/pulse-host/alerts"), "/var/log/alerts".into()]
    );
    let docker = config.profiles["docker"].grants.docker.clone().unwrap();
    assert_eq!(
        (docker.containers, docker.socket),
        (vec!["web-*".to_owned()], "/var/run/docker.sock".into())
    );
    assert_eq!(*config.profiles["log"].grants, Default::default());
}

#[test]
fn the_host_is_tuned() {
    let host = draft(
        r#"
        [host]
        tick = "5ms"
        data-dir = "state"
        workers = 3
        maxima = { memory = "16MiB" }
        max-timeout = "1m"
        queues.pulse = { capacity = 100, batch = { min = 4, max = 10 }, in-flight = 7 }
        queue-wait = "2s"
        grace = "3s"
        drain = "0s"
        retry-budget = { ratio = 1, min-per-second = 0.5 }
        interventions = { attempts = 5 }
        max-hold = "1h"
        "#,
    )
    .host();
    let mut expected = HostSettings::new("/etc/pulse-host/state".into());
    expected.tick = Duration::from_millis(5);
    expected.workers = std::num::NonZeroUsize::new(3);
    expected.maxima.memory_bytes = 16 << 20;
    expected.max_timeout = Duration::from_secs(60);
    expected.queues.pulse.capacity = 100;
    expected.queues.pulse.batch_min = 4;
    expected.queues.pulse.batch_max = 10;
    expected.queues.pulse.in_flight = 7;
    expected.wished.pulse = Some(7);
    expected.queue_wait = Duration::from_secs(2);
    expected.grace = Duration::from_secs(3);
    expected.drain = Duration::ZERO;
    expected.retry_budget.ratio = 1.0;
    expected.retry_budget.min_per_second = 0.5;
    expected.interventions.attempts = 5;
    expected.max_hold = Duration::from_secs(3600);
    assert_eq!(host, expected);
}

/// Operators who lower the maxima do not have to lower every default with them.
#[test]
fn defaults_stay_within_the_maxima() {
    let config = config(&with_grants(
        r#"
        [host]
        max-timeout = "3s"
        maxima = { fuel = 1000, cpu = "10ms", memory = "1MiB" }
        [[monitor]]
        name = "m"
        pulse = { plugin = "http", timeout = "5ms", settings = { url = "https://example.com/" } }
        [notifiers.n]
        plugin = "log"
        [[host.notify]]
        notifier = "n"
        "#,
    ));
    let pulse = config.monitors[0].pulse.as_ref().unwrap();
    // The CPU budget ends before the job does.
    assert_eq!(
        pulse.profile.limits,
        Limits {
            fuel: 1000,
            cpu: Duration::from_micros(4500),
            memory_bytes: 1 << 20
        }
    );
    let entry = config.host_entry.unwrap();
    assert_eq!(entry.sinks[0].lane.timeout, Duration::from_secs(3));
    assert!(entry.pulse.is_none());
}

#[test]
fn secrets_are_filled_in_and_never_shown() {
    let text = |bearer: &str| {
        with_grants(&format!(
            r#"
            [[monitor]]
            name = "m"
            interval = "{bearer}"
            pulse = {{ plugin = "http", settings = {{ url = "${{env:URL}}", bearer = "{bearer}" }} }}
            "#
        ))
    };
    let problems = draft(&text("${env:SHORT}"))
        .finish(&facts())
        .unwrap_err()
        .to_string();
    assert!(problems.contains("/bearer"), "{problems}");
    assert!(!problems.contains("abc"), "{problems}");
    let right = text("${env:TOKEN}").replace("interval", "#");
    let config = config(&right);
    let settings = &config.monitors[0].pulse.as_ref().unwrap().settings;
    assert!(
        settings.contains("s3cret") && settings.contains("http://10.0.0.1/"),
        "{settings}"
    );
}

#[test]
fn dates_are_strings_and_dollars_escape() {
    let config = config(&with_grants(
        r#"
        [[monitor]]
        name = "m"
        pulse = { plugin = "tcp", settings = { address = "a:1", send = 2026-11-24T10:00:00Z } }
        [[monitor]]
        name = "n"
        pulse = { plugin = "tcp", settings = { address = "a:1", send = "$$5 ^ok$" } }
        "#,
    ));
    let sent = |index: usize| -> Value {
        let settings = &config.monitors[index].pulse.as_ref().unwrap().settings;
        serde_json::from_str::<Value>(settings).unwrap()["send"].clone()
    };
    assert_eq!(sent(0), "2026-11-24T10:00:00Z");
    assert_eq!(sent(1), "$5 ^ok$");
}

#[test]
fn a_mistake_in_a_template_is_one_problem() {
    let mut text =
        with_grants("[templates.t]\npulse = { plugin = \"http\", settings = { url = 5 } }\ninterval = 5");
    for number in 0..2000 {
        let _ = writeln!(text, "[[monitor]]\nname = \"m{number}\"\nuse = [\"t\"]");
    }
    assert_eq!(ids(&text), ["bad-setting", "wrong-type"]);
}

#[test]
fn problems_are_bounded() {
    let mut text = String::new();
    for number in 0..3000 {
        let _ = writeln!(text, "key{number} = 1");
    }
    let problems = draft(&text).finish(&facts()).unwrap_err();
    assert_eq!(problems.len(), 3000);
    assert!(problems.to_string().ends_with("... and 2000 more like these"));
}

#[test]
fn problems_are_json_for_programs() {
    let problems = draft("[host]\ntik = \"1s\"\n").finish(&facts()).unwrap_err();
    assert_eq!(
        serde_json::to_value(&problems).unwrap(),
        json!([{
            "file": "pulse-host.toml",
            "line": 2,
            "column": 1,
            "message": "`[host]` has no key `tik`",
            "help": "did you mean `tick`?",
            "id": "unknown-key",
        }])
    );
}

#[test]
fn color_is_only_there_when_asked_for() {
    let problems = draft("a = 1").finish(&facts()).unwrap_err();
    assert!(!problems.to_string().contains('\u{1b}'));
    assert!(problems.render(true).contains('\u{1b}'));
}

#[test]
fn what_control_characters_say_is_not_sent_to_the_terminal() {
    let problems = draft("\"\\u001b[31mx\" = 1\nnotifiers.\"\\u001b[2J\".plugin = \"log\"\n[defaults]\nnotify = [\"\\u001b[2K\"]\n[[monitor]]\nname = \"\\u001b\"")
        .finish(&facts())
        .unwrap_err();
    assert!(problems.len() >= 4, "{problems}");
    assert!(!problems.to_string().contains('\u{1b}'), "{problems:?}");
}

#[test]
fn a_missing_file_is_a_problem() {
    let problems = Draft::load(Path::new("/nowhere/pulse-host.toml"))
        .finish(&facts())
        .unwrap_err();
    assert!(
        problems.to_string().contains("/nowhere/pulse-host.toml"),
        "{problems}"
    );
    assert_eq!(problems.len(), 1);
}

#[test]
fn wrong_schemas_are_said_to_be_and_circles_end() {
    let mut facts = facts();
    let circle = |schema: Value| Facts {
        name: "http".into(),
        digest: "1".into(),
        version: String::new(),
        summary: String::new(),
        kinds: vec![Kind::Pulse],
        needs: vec![Capability::Http],
        schema: Arc::new(schema),
    };
    let cases = [
        (json!({ "$ref": "#" }), true),
        (
            json!({ "allOf": [{ "$ref": "#" }, { "$ref": "#" }], "properties": { "url": { "type": "string" } } }),
            true,
        ),
        (json!(true), true),
        (json!({ "type": "nothing" }), false),
        (json!({ "$ref": "https://example.com/elsewhere.json" }), false),
        (json!({ "properties": { "url": { "pattern": "(a" } } }), false),
        (json!(7), false),
    ];
    for (schema, right) in cases {
        let shown = schema.to_string();
        facts.insert("http".to_owned(), circle(schema));
        let text = with_grants(
            "[[monitor]]\nname = \"m\"\npulse = { plugin = \"http\", settings.url = \"https://e/\" }",
        );
        match draft(&text).finish(&facts) {
            Ok(_) => assert!(right, "{shown}"),
            Err(problems) => {
                assert!(!right, "{shown}: {problems}");
                assert!(
                    problems
                        .to_string()
                        .contains("the schema of the plugin `http` is wrong"),
                    "{problems}"
                );
            }
        }
    }
}

#[test]
fn deep_nesting_is_a_problem() {
    let keys = vec!["a"; 70].join(".");
    for text in [
        format!("{keys} = 1"),
        format!("monitor = {}1{}", "[".repeat(79), "]".repeat(79)),
        format!(
            "[{keys}]\n{keys} = {}1{}",
            format!("{{ {keys} = ").repeat(70),
            "}".repeat(70)
        ),
    ] {
        assert!(ids(&text).contains(&"too-deep".to_owned()), "{:?}", ids(&text));
    }
}

#[test]
fn whoever_waits_for_heartbeats_runs_no_plugin() {
    let hash = format!("sha256:{}", "0a".repeat(32));
    let text = format!(
        "[defaults]\npulse.plugin = \"http\"\n[templates.job]\nheartbeat = {{ every = \"1h\", hash = \"{hash}\" }}\n\
         [[monitor]]\nname = \"backup\"\nuse = [\"job\"]\nheartbeat.grace = \"5s\"\n\
         [[monitor]]\nname = \"patient\"\nuse = [\"job\"]\ninterval = \"2m\"\nfailure-threshold = 2\n\
         [[monitor]]\nname = \"shop\"\nuse = [\"job\"]\npulse = {{ plugin = \"tcp\", settings.address = \"a:1\" }}\n\
         [plugins.tcp]\ngrants.tcp = [\"a:1\"]\ngrants.networks = [\"public\"]\n"
    );
    let config = config(&text);
    let watch = |at: usize| crate::domain::deadman::Watch::of(&config.monitors[at]);
    let backup = watch(0).unwrap();
    let ms = Duration::from_millis;
    assert_eq!(
        (backup.every(), backup.grace(), backup.hash),
        (ms(3_600_000), ms(5_000), hash)
    );
    let policy = |at: usize| {
        let policy = &config.monitors[at].policy;
        (
            policy.interval,
            policy.failure_threshold,
            policy.success_threshold,
        )
    };
    assert_eq!(policy(0), (ms(5_000), 1, 1));
    assert_eq!(policy(1), (ms(120_000), 2, 1));
    assert_eq!((watch(2), policy(2)), (None, (ms(30_000), 3, 2)));
}
