//! The published schema, held against the keys that the code reads, the documentation, and the cases of what is wrong.

use crate::config::{
    commands, deadman, document, grants, host, http, layer, maintenance, metrics, notifier, otlp, plugins,
    probes, published_schema, tenants, trouble,
};
use regex::Regex;
use serde_json::Value;
use std::{collections::BTreeSet, fmt::Write as _, path::Path};

fn schema() -> Value {
    serde_json::from_str(published_schema()).unwrap()
}

#[test]
fn it_has_the_keys_that_the_code_reads() {
    let schema = schema();
    for (place, keys) in [
        ("", document::KEYS_TOP),
        ("/$defs/defaults", layer::KEYS_DEFAULTS),
        ("/$defs/monitor", layer::KEYS_MONITOR),
        ("/$defs/pulse", layer::KEYS_PULSE),
        ("/$defs/intervention", layer::KEYS_INTERVENTION),
        ("/$defs/heartbeat", deadman::KEYS_BEAT),
        ("/$defs/selector", layer::KEYS_SELECTOR),
        ("/$defs/budget", layer::KEYS_BUDGET),
        ("/$defs/limits", layer::KEYS_LIMITS),
        ("/$defs/notifier", notifier::KEYS_NOTIFIER),
        ("/$defs/maintenance", maintenance::KEYS_MAINTENANCE),
        ("/$defs/probe", probes::KEYS_PROBE),
        ("/$defs/metrics", metrics::KEYS_METRICS),
        ("/$defs/plugin", plugins::KEYS_PLUGIN),
        ("/$defs/grants", grants::KEYS_GRANTS),
        ("/$defs/grants/properties/docker", plugins::KEYS_DOCKER_GRANT),
        (
            "/$defs/grants/properties/directories/items",
            plugins::KEYS_DIRECTORY_GRANT,
        ),
        ("/$defs/command", commands::KEYS_COMMAND),
        ("/$defs/command/properties/limits", commands::KEYS_COMMAND_LIMITS),
        (
            "/$defs/command/properties/params/additionalProperties",
            commands::KEYS_PARAM,
        ),
        ("/$defs/tenant", tenants::KEYS_TENANT),
        ("/$defs/tenant/properties/quotas", tenants::KEYS_QUOTAS),
        ("/$defs/host", host::KEYS_HOST),
        ("/$defs/host/properties/store", host::KEYS_STORE),
        ("/$defs/host/properties/compiler", host::KEYS_COMPILER),
        ("/$defs/host/properties/maxima", layer::KEYS_LIMITS),
        ("/$defs/host/properties/queues", host::KEYS_QUEUES),
        ("/$defs/queue", host::KEYS_QUEUE),
        ("/$defs/queue/properties/batch", host::KEYS_BATCH),
        ("/$defs/host/properties/retry-budget", host::KEYS_RETRY_BUDGET),
        ("/$defs/host/properties/interventions", layer::KEYS_BUDGET),
        ("/$defs/host/properties/quarantine", trouble::KEYS_QUARANTINE),
        (
            "/$defs/host/properties/correlated-failure",
            trouble::KEYS_CORRELATED,
        ),
        ("/$defs/host/properties/heartbeat", host::KEYS_HEARTBEAT),
        ("/$defs/host/properties/otlp", otlp::KEYS_OTLP),
        ("/$defs/host/properties/notify/items", host::KEYS_HOST_NOTIFY),
        ("/$defs/host/properties/http", http::KEYS_HTTP),
        (
            "/$defs/host/properties/http/properties/tokens/items",
            http::KEYS_TOKEN,
        ),
    ] {
        let table = schema.pointer(place).unwrap_or_else(|| panic!("no {place}"));
        let named: BTreeSet<&str> = table["properties"]
            .as_object()
            .unwrap()
            .keys()
            .map(|key| &**key)
            .collect();
        assert_eq!(named, keys.iter().copied().collect(), "{place}");
        assert_eq!(table["additionalProperties"], false, "{place}");
    }
}

/// Sections of `docs/config.md` and what their tables describe.
const SECTIONS: [(&str, &str); 11] = [
    ("Monitors", "/$defs/monitor"),
    ("Check and repair", ""),
    ("Heartbeats", ""),
    ("Notifiers", "/$defs/notifier"),
    ("Maintenance", "/$defs/maintenance"),
    ("Probes", "/$defs/probe"),
    ("Metrics", "/$defs/metrics"),
    ("Plugins", "/$defs/plugin"),
    ("Commands", "/$defs/command"),
    ("Tenants", "/$defs/tenant"),
    ("Host", "/$defs/host"),
];

/// Where a key of the documentation stands in the schema, as a JSON pointer.
fn place_of(schema: &Value, base: &str, key: &str) -> String {
    let followed = |at: String| {
        let found = schema.pointer(&at).and_then(|node| node["$ref"].as_str());
        found.map_or(at, |target| target.trim_start_matches('#').to_owned())
    };
    let mut at = base.to_owned();
    for (depth, word) in key.split('.').enumerate() {
        let word = word
            .strip_suffix("[]")
            .map_or((word, ""), |word| (word, "/items"));
        at = match (word.0, depth) {
            (word, 0) if base.is_empty() => format!("/$defs/{word}"),
            ("NAME", _) => followed(at) + "/additionalProperties",
            ("KIND", _) => followed(at) + "/properties/pulse",
            (word, _) => format!("{}/properties/{word}", followed(at)),
        };
        if !word.1.is_empty() {
            at = followed(at) + word.1;
        }
    }
    at
}

/// A sentence of what a cell says.
fn sentence(cell: &str) -> String {
    let links = Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap();
    let text = links
        .replace_all(cell, "$1")
        .replace(", see below", "")
        .replace('`', "");
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

/// A default that is a single value.
fn value(cell: &str) -> Option<Value> {
    let text = cell.trim_matches('`');
    let number = text.replace(['_', ','], "");
    let text = if number.bytes().all(|byte| byte.is_ascii_digit()) {
        &number
    } else {
        text
    };
    serde_json::from_str(text).ok()
}

/// What an editor shows is what the documentation says, and so are the defaults.
#[test]
fn its_words_are_those_of_the_documentation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("../docs/config.md")).unwrap();
    let (mut schema, mut base, mut described) = (schema(), None, 0);
    for line in text.lines() {
        if line.starts_with('#') {
            let title = line.trim_start_matches('#').trim();
            base = SECTIONS
                .iter()
                .find(|(section, _)| *section == title)
                .map(|(_, base)| *base);
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let (Some(base), [keys, default, meaning]) = (base, &cells[..]) else {
            continue;
        };
        for key in keys
            .split(", ")
            .filter_map(|key| key.strip_prefix('`')?.strip_suffix('`'))
        {
            let mut words = sentence(meaning);
            let single = value(default);
            let said = ["required", "none", "needed", "needed then", ""].contains(default);
            if single.is_none() && !said {
                let default = sentence(default);
                let mut letters = default.chars();
                let first = letters
                    .next()
                    .map(|first| first.to_lowercase().to_string())
                    .unwrap_or_default();
                write!(words, " Default: {first}{}", letters.as_str()).unwrap();
            }
            // Monitors and their defaults have the same keys.
            for base in [base, "/$defs/defaults"]
                .into_iter()
                .take(if base == "/$defs/monitor" { 2 } else { 1 })
            {
                let place = place_of(&schema, base, key);
                let Some(node) = schema.pointer_mut(&place).and_then(Value::as_object_mut) else {
                    assert!(base == "/$defs/defaults", "{key}: no {place}");
                    continue;
                };
                node.insert("description".to_owned(), words.clone().into());
                match &single {
                    Some(single) => _ = node.insert("default".to_owned(), single.clone()),
                    None => _ = node.remove("default"),
                }
                described += 1;
            }
        }
    }
    assert!(described > 150, "{described} keys");
    let wanted = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    let file = root.join("src/config/configuration.schema.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &wanted).unwrap();
    }
    let present = std::fs::read_to_string(file).unwrap();
    assert!(
        present == wanted,
        "the schema says something else than docs/config.md; UPDATE_GOLDEN=1 rewrites it"
    );
}

/// A table as JSON has it. Times have no place in JSON.
fn json(table: &toml::Table) -> Value {
    fn of(value: &toml::Value) -> Value {
        match value {
            toml::Value::Datetime(time) => time.to_string().into(),
            toml::Value::Array(items) => items.iter().map(of).collect(),
            toml::Value::Table(table) => json(table),
            toml::Value::String(text) => text.as_str().into(),
            toml::Value::Integer(number) => (*number).into(),
            toml::Value::Float(number) => (*number).into(),
            toml::Value::Boolean(is) => (*is).into(),
        }
    }
    table
        .iter()
        .map(|(key, value)| (key.clone(), of(value)))
        .collect()
}

#[test]
fn every_configuration_of_the_documentation_fits() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = std::fs::read_dir(root.join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut seen = 0;
    for page in pages
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .chain([root.join("README.md")])
    {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            let Ok(table) = block.parse::<toml::Table>() else {
                continue;
            };
            // Others are manifests, cases and locks of plugins, or a part of a table.
            if table.is_empty() || !table.keys().all(|key| document::KEYS_TOP.contains(&&**key)) {
                continue;
            }
            let wrong: Vec<String> = validator
                .iter_errors(&json(&table))
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(wrong.is_empty(), "{}: {wrong:#?}\n{block}", page.display());
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen} configurations");
    let starter = json(&crate::config::starter().parse().unwrap());
    assert!(validator.is_valid(&starter));
}

#[test]
fn it_agrees_with_the_cases_of_what_is_wrong() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/config-ui");
    let (mut fit, mut unfit) = (0, 0);
    for entry in std::fs::read_dir(cases).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else {
            continue;
        };
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let Ok(table) = text.parse::<toml::Table>() else {
            continue;
        };
        let said = std::fs::read_to_string(path.with_extension("err")).unwrap();
        let is_valid = validator.is_valid(&json(&table));
        let kinds: BTreeSet<&str> = said
            .lines()
            .filter_map(|line| line.strip_prefix("error[")?.split(']').next())
            .collect();
        if kinds.contains("unknown-key") || kinds.contains("wrong-type") {
            assert!(!is_valid, "{}: an editor finds nothing wrong", path.display());
            unfit += 1;
        } else if kinds.is_empty() {
            assert!(is_valid, "{}: an editor finds something wrong", path.display());
            fit += 1;
        }
    }
    assert!(fit >= 2 && unfit >= 8, "{fit}, {unfit}");
}
