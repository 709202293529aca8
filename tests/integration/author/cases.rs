//! `plugin test`: cases and how they fail.

use super::{Plugin, pulse_host};
use crate::support::host;
use pulse_host::domain::color::Color;
use serde_json::{Value, json};
use std::path::Path;

const URL: &str = "settings = { url = \"http://shop.example/\" }\n";

fn test(plugin: &Plugin) -> (i32, Value) {
    let run = pulse_host(&["plugin", "test", plugin.path(), "--output", "json"]);
    assert_eq!(run.err, "", "{run:?}");
    (run.code, run.json())
}

fn case<'a>(json: &'a Value, name: &str) -> &'a Value {
    let cases = json["cases"].as_array().unwrap();
    cases
        .iter()
        .find(|case| case["name"] == name)
        .unwrap_or_else(|| panic!("{name} in {json}"))
}

fn failures(json: &Value, name: &str) -> String {
    let lines = case(json, name)["failures"].as_array().unwrap();
    lines
        .iter()
        .map(|line| format!("{}\n", line.as_str().unwrap()))
        .collect()
}

#[test]
fn flags_that_would_change_nothing_are_a_mistake() {
    let plugin = Plugin::http(&[]);
    for words in [
        &[
            "plugin",
            "test",
            plugin.path(),
            "--settings",
            "{\"url\":\"http://a/\"}",
        ][..],
        &["plugin", "test", plugin.path(), "--timeout", "5s"],
        &["plugin", "dev", plugin.path(), "--fuel", "7"],
    ] {
        let run = pulse_host(words);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{words:?}: {run:?}");
        let part = format!("{} would change nothing", words[3]);
        assert!(run.err.contains(&part), "{}", run.err);
    }
}

#[test]
fn every_answer_and_failure_of_the_network_can_be_scripted() {
    let with = |rest: &str| format!("{URL}[[call]]\nhttp.url = \"http://shop.example/\"\n{rest}");
    let plugin = Plugin::http(&[
        (
            "healthy",
            &with(
                "http.method = \"GET\"\nanswer = { status = 200, body = \"ok\" }\n[expect]\nstatus = \"healthy\"\nlog = []\n",
            ),
        ),
        (
            "slow",
            &with(
                "after = \"1h\"\nanswer.status = 200\n[expect]\nstatus = \"unhealthy\"\nreason = \"timeout\"\n",
            ),
        ),
        (
            "never",
            &with("never = true\n[expect]\nstatus = \"unhealthy\"\nreason = \"timeout\"\n"),
        ),
        (
            "refused",
            &with(
                "error.code = \"connection-refused\"\n[expect]\nstatus = \"unhealthy\"\nreason = \"connection-refused\"\n",
            ),
        ),
        (
            "expired",
            &with(
                "error = { code = \"certificate-expired\", message = \"it ended\" }\n[expect]\nreason = \"tls-expired\"\n",
            ),
        ),
        // The host's own trouble says nothing about the target, whatever the plugin makes of it.
        (
            "host",
            &with("error.code = \"host\"\n[expect]\noutcome = \"host-error\"\n"),
        ),
        ("denied", &with("denied = {}\n[expect]\noutcome = \"denied\"\n")),
        // What the host would cut it cuts here, too.
        (
            "redirects",
            &with(
                "answer = { status = 200, redirects = 40 }\n[expect]\nstatus = \"unhealthy\"\nreason = \"too-many-redirects\"\n",
            ),
        ),
    ]);
    let (code, json) = test(&plugin);
    assert_eq!(
        (code, &json["ok"], &json["failed"]),
        (0, &json!(8), &json!(0)),
        "{json:#}"
    );
}

#[test]
fn what_differs_is_shown_line_by_line_and_all_cases_run() {
    let wrong_url = format!(
        "{URL}[[call]]\nhttp.url = \"http://shop.exampl/\"\nanswer.status = 200\n[expect]\nstatus = \"healthy\"\n"
    );
    let in_vain = format!(
        "{URL}[[call]]\nhttp.url = \"http://shop.example/\"\nanswer.status = 500\n[[call]]\nhttp.method = \"POST\"\nanswer.status = 200\n[expect]\nstatus = \"healthy\"\n"
    );
    let no_calls = format!("{URL}[expect]\nstatus = \"healthy\"\n");
    let plugin = Plugin::http(&[
        ("wrong-url", &wrong_url),
        ("in-vain", &in_vain),
        ("no-calls", &no_calls),
    ]);
    let (code, json) = test(&plugin);
    assert_eq!((code, &json["failed"]), (1, &json!(3)));
    let wrong_url = failures(&json, "wrong-url");
    for part in [
        "call 1 is not what the case says",
        "- url = \"http://shop.exampl/\"",
        "+ url = \"http://shop.example/\"",
    ] {
        assert!(wrong_url.contains(part), "{part} in {wrong_url}");
    }
    let in_vain = failures(&json, "in-vain");
    for part in [
        "a call was not made:",
        "method = \"POST\"",
        "- status = \"healthy\"",
        "+ status = \"unhealthy\"",
        "+ reason = ",
    ] {
        assert!(in_vain.contains(part), "{part} in {in_vain}");
    }
    // As it would be written in the case: it can be pasted, and then only its answer is missing.
    let no_calls = failures(&json, "no-calls");
    let written: String = no_calls
        .lines()
        .skip(1)
        .take_while(|line| !line.contains("something else came"))
        .map(|line| format!("{}\n", line.trim_start()))
        .collect();
    let written: toml::Table = written.parse().unwrap();
    assert_eq!(
        written["call"][0]["http"]["url"].as_str(),
        Some("http://shop.example/")
    );
    let again = format!(
        "{URL}{}answer.status = 200\n[expect]\nstatus = \"healthy\"\n",
        "[[call]]\nhttp.url = \"http://shop.example/\"\n"
    );
    std::fs::write(plugin.file("tests/no-calls.toml"), again).unwrap();
    let run = pulse_host(&["plugin", "test", plugin.path(), "--case", "no-calls"]);
    assert_eq!(run.code, 0, "{run:?}");
    let none = pulse_host(&["plugin", "test", plugin.path(), "--case", "nocalls"]);
    assert_eq!(none.code, 2);
    assert!(
        none.err
            .contains("there is no case `nocalls`; there is in-vain, no-calls, wrong-url"),
        "{}",
        none.err
    );
}

#[test]
fn a_case_that_is_wrong_shows_where_and_what_would_be_right() {
    let plugin = Plugin::http(&[
        ("unknown-key", "setings = {}\n[expect]\nstatus = \"healthy\"\n"),
        (
            "no-error",
            &format!(
                "{URL}[[call]]\nhttp.url = \"http://a/\"\nerror.code = \"timout\"\n[expect]\nstatus = \"healthy\"\n"
            ),
        ),
        (
            "several",
            &format!(
                "{URL}seed = \"00\"\n[[call]]\nhttp.url = \"http://a/\"\nanswer.received = \"x\"\n[[call]]\nafter = \"1ms\"\n"
            ),
        ),
        ("nothing", &format!("{URL}[expect]\n")),
        ("syntax", "settings = {\n"),
    ]);
    let (code, json) = test(&plugin);
    assert_eq!((code, &json["failed"]), (1, &json!(5)));
    for (name, parts) in [
        (
            "unknown-key",
            vec!["unknown-key.toml:1:1: unknown field `setings`", "^^^^^^^"],
        ),
        (
            "no-error",
            vec!["no-error.toml:4:14: there is no error code `timout`; did you mean `timeout`?"],
        ),
        (
            "several",
            vec![
                "a seed has 16 bytes",
                ":3:1: `received` is no key of an answer to http, which has status, headers, ",
                ":6:1: a call is one of",
                "has no [expect]",
            ],
        ),
        ("nothing", vec![":2:1: the case expects nothing"]),
        ("syntax", vec!["syntax.toml:1:"]),
    ] {
        let unread = case(&json, name)["unreadable"].as_str().unwrap();
        for part in parts {
            // An error may also be called by the name of its own list.
            let either = part.replace("no error code", "no error");
            assert!(
                unread.contains(part) || unread.contains(&either),
                "{name}: {part} in {unread}"
            );
        }
    }
}

#[test]
fn clocks_stand_still_but_for_calls_and_sleep_and_random_numbers_have_a_seed() {
    let clocks = |rest: &str| {
        format!(
            "kind = \"pulse\"\n{rest}[settings]\ndo = \"clocks\"\n[expect]\nmeasurements = [\n  {{ name = \"wall_clock\", value = 1795502400000.0 }},\n  {{ name = \"monotonic_clock\", value = 1000000000.0 }},\n  {{ name = \"monotonic_step\", value = 0.0 }},\n  {{ name = \"calls\" }},\n]\n"
        )
    };
    let slept = "kind = \"pulse\"\n[settings]\ndo = \"sleep\"\nms = 3600000\n[attempt]\ntimeout = \"2h\"\n[expect]\nsummary = \"slept\"\n";
    let too_long =
        "kind = \"pulse\"\n[settings]\ndo = \"sleep\"\nms = 3600000\n[expect]\noutcome = \"deadline\"\n";
    let random = |seed: &str| {
        format!(
            "kind = \"pulse\"\nseed = \"{seed}\"\n[settings]\ndo = \"random\"\n[expect]\nmeasurements = [{{ name = \"random\", value = 0.5 }}]\n"
        )
    };
    let plugin = Plugin::chaos(&[
        ("clocks", &clocks("")),
        ("clock", &clocks("clock = 2026-11-24T06:40:00Z\n")),
        ("slept", slept),
        ("too-long", too_long),
        ("one", &random("000102030405060708090a0b0c0d0e0f")),
        ("same", &random("000102030405060708090a0b0c0d0e0f")),
        ("other", &random("100102030405060708090a0b0c0d0e0f")),
    ]);
    let (_, json) = test(&plugin);
    for name in ["clocks", "clock", "slept", "too-long"] {
        assert_eq!(case(&json, name)["ok"], true, "{name}: {}", failures(&json, name));
    }
    let number = |name| {
        let text = failures(&json, name);
        text.lines()
            .find(|line| line.contains("+ value"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(number("one"), number("same"));
    assert_ne!(number("one"), number("other"));
}

#[test]
fn repairs_and_alerts_are_given_what_the_case_says() {
    let docker = "kind = \"intervention\"\n[settings]\ndo = \"docker\"\ncontainer = \"web\"\n[[call]]\ndocker.restart = \"web\"\n[expect]\noutcome = \"answer\"\nlog = []\n";
    let unknown = "kind = \"intervention\"\n[settings]\ndo = \"docker\"\ncontainer = \"web\"\n[[call]]\ndocker.restart = \"web\"\nerror.code = \"effect-unknown\"\n[expect]\nfailure.effect-unknown = 'Error::EffectUnknown(\"scripted\")'\n";
    let files = "kind = \"code\"\n[settings]\ndo = \"append\"\npath = \"a.log\"\ncount = 1\n[[call]]\nfiles.path = \"a.log\"\n[expect]\noutcome = \"answer\"\n";
    let receipt = "kind = \"code\"\n[code]\ncolor = \"green\"\n[settings]\ndo = \"receipt\"\n[expect]\nreceipt = \"receipt-1\"\n";
    let chaos = Plugin::chaos(&[
        ("docker", docker),
        ("unknown", unknown),
        ("files", files),
        ("receipt", receipt),
    ]);
    let (code, json) = test(&chaos);
    assert_eq!(code, 0, "{json:#}");
    let pulse_has_no_code = "kind = \"pulse\"\n[code]\ncolor = \"green\"\n[settings]\ndo = \"healthy\"\n[expect]\nstatus = \"healthy\"\n";
    let chaos = Plugin::chaos(&[("wrong", pulse_has_no_code)]);
    let (_, json) = test(&chaos);
    assert!(
        case(&json, "wrong")["unreadable"]
            .as_str()
            .unwrap()
            .contains("a pulse has no [code]"),
        "{json}"
    );
}

/// The reasons that a plugin's README lists.
fn reasons(readme: &str) -> Vec<String> {
    let table = readme.split("## Reasons").nth(1).unwrap_or_default();
    let rows = table.lines().take_while(|line| !line.starts_with("## "));
    rows.filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(reason, _)| reason.to_owned())
        .collect()
}

/// What no case of a plugin shows and one should: each reason of its README, each of its kinds, each color of a code, and
/// that what it needs was not granted.
fn not_shown(folder: &Path, cases: &[toml::Table]) -> Vec<String> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let manifest: toml::Table = read("plugin.toml").parse().unwrap();
    let listed = |key: &str| {
        let words = manifest[key].as_array().unwrap().iter();
        words
            .map(|word| word.as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let kinds = listed("kinds");
    let of_kind = |kind: &str| -> Vec<&toml::Table> {
        let own = |case: &toml::Table| match case.get("kind") {
            Some(own) => own.as_str() == Some(kind),
            None => kinds[0] == kind,
        };
        cases.iter().filter(|case| own(case)).collect()
    };
    let mut missing = Vec::new();
    let mut want = |shown: bool, what: String| {
        if !shown {
            missing.push(format!("{}: no case {what}", folder.display()));
        }
    };
    for reason in reasons(&read("README.md")) {
        let expects = |case: &toml::Table| {
            case["expect"].get("reason").and_then(|word| word.as_str()) == Some(reason.as_str())
        };
        want(cases.iter().any(expects), format!("expects {reason}"));
    }
    for kind in &kinds {
        want(!of_kind(kind).is_empty(), format!("is of the kind {kind}"));
        if kind == "code" {
            for color in Color::ALL.map(Color::name) {
                let of = |case: &toml::Table| match case.get("code").and_then(|code| code.get("color")) {
                    Some(of) => of.as_str() == Some(color),
                    None => color == "red",
                };
                want(of_kind(kind).into_iter().any(of), format!("is of {color}"));
            }
        }
        for interface in listed("needs") {
            let denied = |case: &toml::Table| {
                let calls = case.get("call").and_then(|calls| calls.as_array());
                calls
                    .into_iter()
                    .flatten()
                    .any(|call| call.get(&interface).is_some() && call.get("denied").is_some())
            };
            want(
                of_kind(kind).into_iter().any(denied),
                format!("of a {kind} is denied {interface}"),
            );
        }
    }
    missing
}

#[test]
fn every_plugin_that_comes_with_the_host_has_cases_for_all_it_tells_apart_and_they_hold() {
    let mut plugins = 0;
    for entry in std::fs::read_dir(host::plugins()).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("plugin.toml").is_file() {
            continue;
        }
        plugins += 1;
        let run = pulse_host(&["plugin", "test", folder.to_str().unwrap()]);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
        let cases: Vec<toml::Table> = std::fs::read_dir(folder.join("tests"))
            .unwrap()
            .map(|file| {
                let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
                text.parse().unwrap()
            })
            .collect();
        assert_eq!(not_shown(&folder, &cases), [""; 0]);
    }
    assert!(plugins >= 13, "only {plugins} plugins were found");
}
