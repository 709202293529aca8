//! Monitors that are expanded from lists of targets, and what monitors depend on.

use super::*;
use std::{fmt::Write as _, io::Write as _};
use tempfile::TempDir;

/// A folder with these files, of which the first is the configuration.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(folder: &TempDir, progress: &mut dyn Progress) -> Result<Config, Problems> {
    let mut findings = Findings::default();
    let sources = Sources::load(&folder.path().join("pulse-host.toml"), &mut findings);
    Draft::read(sources, findings, &surroundings())
        .finish_telling(&facts(), Keep::Nothing, progress)
        .map_err(|unfit| unfit.problems)
}

#[track_caller]
fn loaded(files: &[(&str, &str)]) -> Config {
    match load(&folder(files), &mut Silent) {
        Ok(config) => config,
        Err(problems) => panic!("{problems}"),
    }
}

fn names(config: &Config) -> Vec<&str> {
    config.monitors.iter().map(MonitorSpec::name).collect()
}

fn settings(spec: &MonitorSpec) -> Value {
    serde_json::from_str(spec.assignment(Kind::Pulse, 0).unwrap().settings).unwrap()
}

fn labels(spec: &MonitorSpec) -> Vec<(&str, &str)> {
    spec.labels
        .iter()
        .map(|(name, value)| (name.as_ref(), value.as_ref()))
        .collect()
}

/// The names of those that a monitor depends on.
fn parents<'c>(config: &'c Config, name: &str) -> Vec<&'c str> {
    let spec = config.monitors.iter().find(|spec| spec.name() == name).unwrap();
    spec.parents
        .iter()
        .map(|parent| config.monitors[*parent as usize].name())
        .collect()
}

const TABLE: &str = r#"
    [templates.web]
    labels = { team = "core", at = "{{site}}/{{id}}" }
    pulse = { plugin = "http", settings = { headers = { x-site = "{{site}}" } } }
    [[monitor]]
    name = "first"
    pulse = { plugin = "tcp", settings = { address = "{{not}}:1" } }
    [[monitor]]
    name = "shop-{{id}}"
    use = ["web"]
    targets = TARGETS
    labels.team = "shops"
    pulse.settings.url = "http://a.example/"
    pulse.settings.headers.x-id = "{{{{{{id}}}}-{{port}}"
    pulse.settings.certificate-days = "{{port}}"
    [[monitor]]
    name = "last"
    pulse = { plugin = "tcp", settings = { address = "b:1" } }
"#;

fn table(targets: &str) -> String {
    with_grants(&TABLE.replace("TARGETS", targets))
}

#[test]
fn a_list_says_the_same_in_every_format() {
    let inline = r#"[{ id = "a\"", port = 80, site = "x" }, { site = "y", id = 7, port = 81 }]"#;
    let ndjson = "{\"id\": \"a\\\"\", \"port\": 80, \"site\": \"x\"}\n\n{\"site\":\"y\",\"more\":[{}],\"id\":7,\"port\":81}";
    let csv = "port,id,site\r\n80,\"a\"\"\",x\r\n\r\n81,7,y\r\n";
    for (targets, file, text) in [
        (inline, "none", ""),
        (r#""l.ndjson""#, "l.ndjson", ndjson),
        (r#""./l.jsonl""#, "l.jsonl", ndjson),
        (r#""l.csv""#, "l.csv", csv),
        (r#""l.CSV""#, "l.CSV", &format!("\u{feff}{csv}")),
    ] {
        let config = loaded(&[("pulse-host.toml", &table(targets)), (file, text)]);
        assert_eq!(
            names(&config),
            ["first", "shop-a\"", "shop-7", "last"],
            "{targets}"
        );
        let [first, a, seven, _] = config.monitors.as_slice() else {
            panic!("four");
        };
        assert_eq!(
            settings(first),
            json!({ "address": "{{not}}:1" }),
            "only rows are filled in"
        );
        assert_eq!(
            settings(a),
            json!({
                "url": "http://a.example/", "certificate-days": 80,
                "headers": { "x-id": "{{a\"}}-80", "x-site": "x" },
            }),
            "{targets}"
        );
        assert_eq!(
            settings(seven),
            json!({
                "url": "http://a.example/", "certificate-days": 81,
                "headers": { "x-id": "{{7}}-81", "x-site": "y" },
            })
        );
        assert_eq!(labels(seven), [("at", "y/7"), ("team", "shops")]);
        assert_eq!(config.loaded.len(), 1);
        assert_eq!(config.loaded[0].monitors, 2);
        assert_eq!(config.loaded[0].file.is_some(), file != "none");
    }
}

#[test]
fn rows_with_the_same_labels_share_a_class() {
    let mut rows = String::new();
    for number in 0..20_000 {
        let site = number % 3;
        let _ = writeln!(rows, r#"{{"id": "h{number}", "port": 80, "site": "{site}"}}"#);
    }
    let text = table(r#""l.ndjson""#).replace("{{site}}/{{id}}", "{{site}}");
    let config = loaded(&[("pulse-host.toml", &text), ("l.ndjson", &rows)]);
    assert_eq!(config.monitors.len(), 20_002);
    let rows = &config.monitors[1..20_001];
    for (number, spec) in rows.iter().enumerate() {
        assert_eq!(spec.name(), format!("shop-h{number}"), "rows stay in order");
        assert!(Arc::ptr_eq(spec.class(), rows[number % 3].class()));
    }
    assert!(!Arc::ptr_eq(rows[0].class(), rows[1].class()));
}

#[test]
fn what_is_a_number_stays_one_where_the_plugin_wants_one() {
    let text = with_grants(
        r#"
        [[monitor]]
        name = "{{n}}"
        targets = "l.EXT"
        pulse.plugin = "http"
        pulse.settings = { url = "http://a.example/", bearer = "{{n}}", certificate-days = "{{n}}", json = [{ pointer = "{{n}}", equals = "{{n}}" }, { pointer = "", equals = "{{b}}" }] }
        "#,
    );
    let ndjson = loaded(&[
        ("pulse-host.toml", &text.replace("EXT", "ndjson")),
        ("l.ndjson", r#"{"n": 1234, "b": true}"#),
    ]);
    // Where anything may stand, JSON says what it is; in CSV there is only text.
    let expected = |equals: Value, yes: Value| {
        json!({
            "url": "http://a.example/", "bearer": "1234", "certificate-days": 1234,
            "json": [{ "pointer": "1234", "equals": equals }, { "pointer": "", "equals": yes }],
        })
    };
    assert_eq!(settings(&ndjson.monitors[0]), expected(json!(1234), json!(true)));
    let csv = loaded(&[
        ("pulse-host.toml", &text.replace("EXT", "csv")),
        ("l.csv", "n,b\n1234,true\n"),
    ]);
    assert_eq!(settings(&csv.monitors[0]), expected(json!("1234"), json!("true")));
}

#[test]
fn what_a_row_says_is_data() {
    let text = table(r#""l.ndjson""#);
    let row = r#"{"id": "${env:TOKEN}{{site}}$$", "port": 80, "site": "\",\"method\":\"POST"}"#;
    let config = loaded(&[("pulse-host.toml", &text), ("l.ndjson", row)]);
    let shop = &config.monitors[1];
    assert_eq!(shop.name(), "shop-${env:TOKEN}{{site}}$$");
    assert_eq!(settings(shop)["headers"]["x-site"], "\",\"method\":\"POST");
    assert_eq!(settings(shop).get("method"), None);
}

#[test]
fn repairs_are_filled_in_and_shared() {
    let text = with_grants(
        r#"
        [[monitor]]
        name = "{{id}}"
        targets = [{ id = "a", on = "web-1" }, { id = "b", on = "web-1" }, { id = "c", on = "web-2" }]
        pulse = { plugin = "http", settings = { url = "http://a.example/" } }
        intervention = { plugin = "docker", settings = { container = "{{on}}" } }
        "#,
    );
    let config = config(&text);
    let repair = |index: usize| config.monitors[index].intervention.clone().unwrap();
    assert!(Arc::ptr_eq(&repair(0), &repair(1)));
    assert_eq!(repair(2).lane.settings.as_ref(), r#"{"container":"web-2"}"#);
    assert!(Arc::ptr_eq(
        config.monitors[0].class(),
        config.monitors[1].class()
    ));
    assert_eq!(
        settings(&config.monitors[2]),
        json!({ "url": "http://a.example/" })
    );
}

#[test]
fn a_key_identifies_a_row_whatever_it_is_called() {
    let table = |key: &str, name: &str| {
        let text = r#"
            [[monitor]]
            name = "{{name}}"
            KEY
            targets = [{ id = 1, name = "NAME" }, { id = 2, name = "other" }]
            pulse = { plugin = "tcp", settings = { address = "a:1" } }
            [[monitor]]
            name = "second-{{name}}"
            KEY
            targets = [{ id = 1, name = "NAME" }]
            pulse = { plugin = "tcp", settings = { address = "a:1" } }
        "#;
        let config = config(&with_grants(&text.replace("KEY", key).replace("NAME", name)));
        config
            .monitors
            .iter()
            .map(MonitorSpec::identity)
            .collect::<Vec<_>>()
    };
    let keyed = table("key = \"id\"", "a");
    assert_eq!(keyed, table("key = \"id\"", "b"));
    assert!(keyed[0] != keyed[1] && keyed[0] != keyed[2]);
    let (named, renamed) = (table("", "a"), table("", "b"));
    assert!(named[0] != renamed[0] && named[1] == renamed[1]);
}

#[test]
fn a_hundred_rows_with_problems_are_shown_and_the_others_counted() {
    let mut rows = String::new();
    for number in 0..5_000 {
        let port = if number % 2 == 0 { "80" } else { "\"x\"" };
        let _ = writeln!(
            rows,
            r#"{{"id": "h{number}", "port": {port}, "site": "{}"}}"#,
            "y".repeat(60)
        );
    }
    let folder = folder(&[("pulse-host.toml", &table(r#""l.ndjson""#)), ("l.ndjson", &rows)]);
    let problems = load(&folder, &mut Silent).unwrap_err();
    assert_eq!(problems.len(), 101);
    let shown = serde_json::to_value(&problems).unwrap();
    let shown = shown.as_array().unwrap();
    for (number, problem) in shown[..100].iter().enumerate() {
        assert_eq!(
            problem["line"],
            2 * number + 2,
            "the first ones, in order: {problem}"
        );
    }
    assert_eq!(shown[100]["message"], "2400 more rows of this list with problems");
    assert!(problems.to_string().ends_with("l.ndjson"), "{problems}");
}

#[test]
fn a_mistake_in_the_table_is_said_once_and_not_for_each_row() {
    let mut rows = String::new();
    for number in 0..300_000 {
        let _ = writeln!(rows, r#"{{"id": "h{number}", "port": 80, "site": "a"}}"#);
    }
    let text = table(r#""l.ndjson""#).replace("pulse.settings.url", "pulse.settings.ulr");
    let folder = folder(&[("pulse-host.toml", &text), ("l.ndjson", &rows)]);
    /// How far it was read.
    #[derive(Default)]
    struct Rows(u64);
    impl Progress for Rows {
        fn begin(&mut self, _: &str, _: u64) {}
        fn advance(&mut self, rows: u64, _: u64) {
            self.0 += rows;
        }
        fn end(&mut self, _: u64) {}
    }
    let mut read = Rows::default();
    let problems = load(&folder, &mut read).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems}");
    assert!(read.0 < 200_000, "nothing is gained by reading on: {}", read.0);
}

#[test]
fn progress_is_told_to_the_end() {
    #[derive(Default)]
    struct Told(Vec<String>, u64, u64);
    impl Progress for Told {
        fn begin(&mut self, file: &str, bytes: u64) {
            let name = Path::new(file).file_name().unwrap().to_str().unwrap();
            self.0.push(format!("{name} {bytes}"));
        }
        fn advance(&mut self, rows: u64, bytes: u64) {
            self.1 += rows;
            assert!(bytes >= self.2);
            self.2 = bytes;
        }
        fn end(&mut self, monitors: u64) {
            self.0.push(format!("{monitors} monitors"));
        }
    }
    for count in [2, 20_000] {
        let mut rows = String::from("id,port,site\n");
        for number in 0..count {
            let _ = writeln!(rows, "h{number},80,a");
        }
        let folder = folder(&[("pulse-host.toml", &table(r#""l.csv""#)), ("l.csv", &rows)]);
        let mut told = Told::default();
        let config = load(&folder, &mut told).unwrap();
        assert_eq!(config.monitors.len(), count + 2);
        assert_eq!(
            told.0,
            [format!("l.csv {}", rows.len()), format!("{count} monitors")]
        );
        assert_eq!((told.1, told.2), (count as u64, rows.len() as u64));
    }
}

#[test]
fn an_empty_list_is_a_warning() {
    for (targets, text) in [
        ("[]", ""),
        (r#""l.ndjson""#, "\n \n"),
        (r#""l.csv""#, "id,port,site\n"),
    ] {
        let file = targets.trim_matches('"');
        let config = loaded(&[("pulse-host.toml", &table(targets)), (file, text)]);
        assert_eq!(names(&config), ["first", "last"]);
        assert!(
            config.warnings.to_string().contains("makes no monitor"),
            "{}",
            config.warnings
        );
    }
}

#[test]
fn long_lines_and_bytes_that_are_no_text_are_refused() {
    let folder = folder(&[("pulse-host.toml", &table(r#""l.ndjson""#))]);
    let mut file = std::fs::File::create(folder.path().join("l.ndjson")).unwrap();
    let good = r#"{"id": "a", "port": 80, "site": "a"}"#;
    writeln!(file, "{good}").unwrap();
    writeln!(
        file,
        r#"{{"id": "b", "port": 80, "site": "{}"}}"#,
        "b".repeat(70 << 10)
    )
    .unwrap();
    file.write_all(b"{\"id\": \"c\xff\", \"port\": 80, \"site\": \"a\"}\n")
        .unwrap();
    writeln!(
        file,
        r#"{{"id": "d", "port": 80, "site": "{}"}}"#,
        "d".repeat(1 << 20)
    )
    .unwrap();
    writeln!(file, r#"{{"id": "e"}}"#).unwrap();
    let shown = load(&folder, &mut Silent).unwrap_err();
    let shown = serde_json::to_value(&shown).unwrap();
    let lines: Vec<(u64, &str)> = shown
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            (
                problem["line"].as_u64().unwrap(),
                problem["message"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(lines[0], (2, "this line is no JSON object: more than 64 KiB"));
    assert_eq!(lines[1], (3, "this line is no JSON object: it is not UTF-8 text"));
    assert_eq!(lines[2], (4, "this line is no JSON object: more than 64 KiB"));
    assert_eq!(lines[3].0, 5);
}

#[test]
fn settings_of_a_row_are_bounded() {
    let text = |bytes: usize| {
        let header = format!("headers.x-site = \"{{{{site}}}}{}\"", "y".repeat(bytes));
        table(r#"[{ id = "a", port = 80, site = "x" }]"#)
            .replace("headers = { x-site = \"{{site}}\" }", &header)
    };
    assert_eq!(config(&text(60 << 10)).monitors.len(), 3);
    assert_eq!(ids(&text(64 << 10)), ["out-of-range"]);
}

#[test]
fn monitors_depend_on_names_and_labels() {
    let config = config(&with_grants(
        r#"
        [defaults]
        pulse = { plugin = "tcp", settings = { address = "a:1" } }
        depends-on = ["gateway", { labels = { role = "dns" } }]
        [templates.alone]
        depends-on = []
        [[monitor]]
        name = "shop-{{id}}"
        targets = [{ id = 1, site = "a" }, { id = 2, site = "b" }, { id = 3, site = "a" }]
        depends-on = ["router-{{site}}", { labels = { role = "switch", site = "{{site}}" } }]
        [[monitor]]
        name = "router-{{site}}"
        targets = [{ site = "a" }, { site = "b" }]
        labels = { role = "router", site = "{{site}}" }
        [[monitor]]
        name = "switch-{{n}}"
        targets = [{ n = 1, site = "a" }, { n = 2, site = "b" }, { n = 3, site = "a" }]
        labels = { role = "switch", site = "{{site}}" }
        depends-on = ["router-{{site}}", "router-{{site}}"]
        [[monitor]]
        name = "gateway"
        use = ["alone"]
        [[monitor]]
        name = "dns"
        labels.role = "dns"
        use = ["alone"]
        "#,
    ));
    assert_eq!(parents(&config, "shop-1"), ["router-a", "switch-1", "switch-3"]);
    assert_eq!(parents(&config, "shop-2"), ["router-b", "switch-2"]);
    assert_eq!(
        parents(&config, "switch-2"),
        ["router-b"],
        "named twice, told once"
    );
    assert_eq!(parents(&config, "router-a"), ["gateway", "dns"]);
    assert!(parents(&config, "gateway").is_empty());
    let by_name = |name: &str| config.monitors.iter().find(|spec| spec.name() == name).unwrap();
    assert!(Arc::ptr_eq(by_name("shop-1").class(), by_name("shop-3").class()));
    assert!(Arc::ptr_eq(
        &by_name("router-a").parents,
        &by_name("router-b").parents
    ));
}

#[test]
fn nobody_is_his_own_parent_because_a_common_list_names_him() {
    let config = config(&with_grants(
        r#"
        [defaults]
        pulse = { plugin = "tcp", settings = { address = "a:1" } }
        depends-on = [{ labels = { role = "router" } }]
        [[monitor]]
        name = "router"
        labels.role = "router"
        [[monitor]]
        name = "{{id}}"
        targets = [{ id = "a", via = "router" }, { id = "b", via = "b" }]
        depends-on = ["{{via}}"]
        "#,
    ));
    assert!(parents(&config, "router").is_empty());
    assert_eq!(parents(&config, "a"), ["router"]);
    assert!(parents(&config, "b").is_empty());
}

#[test]
fn settings_of_rows_survive_that_parents_are_found() {
    let text = table(r#"[{ id = "a", port = 1, site = "x" }]"#).replace(
        "labels.team = \"shops\"",
        "labels.team = \"shops\"\ndepends-on = [\"last\"]",
    );
    let config = config(&text);
    assert_eq!(parents(&config, "shop-a"), ["last"]);
    assert_eq!(settings(&config.monitors[1])["certificate-days"], 1);
    assert_eq!(labels(&config.monitors[1])[0], ("at", "x/a"));
}

#[test]
fn too_many_parents_are_refused_and_as_many_as_allowed_are_not() {
    let text = |count: usize| {
        let mut text = with_grants(
            "[defaults]\npulse = { plugin = \"tcp\", settings = { address = \"a:1\" } }\n\
             [[monitor]]\nname = \"child\"\ndepends-on = [{ labels = { a = \"b\" } }]\n",
        );
        for number in 0..count {
            let _ = writeln!(text, "[[monitor]]\nname = \"p{number}\"\nlabels.a = \"b\"");
        }
        text
    };
    assert_eq!(parents(&config(&text(256)), "child").len(), 256);
    assert_eq!(ids(&text(300)), ["out-of-range"]);
}

#[test]
fn a_long_chain_is_no_circle_and_its_end_tied_to_its_start_is_one() {
    let chain = |last: &str| {
        let mut rows = String::new();
        for number in 0..50_000 {
            let _ = writeln!(rows, r#"{{"id": "{number}", "via": "{}"}}"#, number + 1);
        }
        let _ = writeln!(rows, r#"{{"id": "50000", "via": "{last}"}}"#);
        let text = with_grants(
            r#"
            [[monitor]]
            name = "end"
            pulse = { plugin = "tcp", settings = { address = "a:1" } }
            [[monitor]]
            name = "{{id}}"
            targets = "l.ndjson"
            depends-on = ["{{via}}"]
            pulse = { plugin = "tcp", settings = { address = "a:1" } }
            "#,
        );
        load(
            &folder(&[("pulse-host.toml", &text), ("l.ndjson", &rows)]),
            &mut Silent,
        )
    };
    let config = chain("end").unwrap();
    assert_eq!(parents(&config, "50000"), ["end"]);
    let problems = chain("0").unwrap_err();
    assert_eq!(problems.len(), 1);
    let shown = problems.to_string();
    assert!(
        shown.contains("(49991 more)") && shown.contains("`0` → `1`"),
        "{shown}"
    );
}
