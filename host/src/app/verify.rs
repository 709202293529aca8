//! Whether a plugin is what its author says, and behaves: what an operator would find out later, found out before.

use super::{room, trial::Trial};
use crate::{
    capability::course::{Ask, Course, GuestTime, Origin, Script, Scripted, Stage},
    cases::{Scene, refusing},
    domain::{
        limits::Limits,
        outcome::{Answer, Outcome, Status},
        plugin::{Capability, Facts},
        spec::Kind,
    },
    plugins::{self, Manifest},
};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::{path::Path, sync::Arc, time::Duration};

/// Bytes of a string that no sane setting has.
const HUGE_BYTES: usize = 256 << 10;
/// Properties that are tried with other values.
const PROPERTIES_MAX: usize = 100;
/// Values of a list of choices that are tried, and shapes within shapes.
const CHOICES_MAX: usize = 64;
const SHAPES_DEEP: usize = 4;
/// Items of a list that is long.
const ITEMS: usize = 1_000;
/// Lists in each other. What reads settings for the host itself goes no deeper than 128.
const NESTED: usize = 100;
/// Of a value that is told as it is.
const SHOWN_BYTES: usize = 40;
/// What one attempt may take of real time: on a busy machine, with an interpreter that reads a long text.
const TIMEOUT: Duration = Duration::from_secs(60);
/// CPU time after which no more is tried: one that is slow and well-behaved must not be waited for all day.
const CPU_MAX: Duration = Duration::from_secs(120);
/// Above that a component is worth a word: interpreters bring 20 MB.
const BYTES_USUAL: usize = 32 << 20;

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found; of a failure, what would be right.
    pub found: String,
}

/// Looks at everything that can be looked at.
///
/// # Errors
/// When there is no such plugin at all, or this machine can't run wasm.
pub fn verify(path: &Path) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    let mut check = |name, ok, found: String| checks.push(Check { name, ok, found });
    let (trial, manifest) = match Trial::load_bare(path, room::roomy(Limits::default()).memory_bytes)? {
        Ok(loaded) => loaded,
        Err(messages) => {
            check("component", false, messages.join("; "));
            return Ok(checks);
        }
    };
    let plugin = trial.plugin()?;
    let facts = &plugin.facts;
    check(
        "component",
        true,
        format!("compiles and links; {} {}", facts.name, facts.version),
    );
    check("abi", true, format!("pulse:plugin@{}", plugin.abi()));
    let usual = plugin.size_bytes <= BYTES_USUAL;
    check(
        "size",
        usual,
        if usual {
            format!("{} bytes", plugin.size_bytes)
        } else {
            format!(
                "{} bytes; more than {BYTES_USUAL} are unusual, and no host takes more than {}",
                plugin.size_bytes,
                plugins::COMPONENT_BYTES_MAX
            )
        },
    );
    match &manifest {
        None => check(
            "manifest",
            true,
            "none beside it: nothing to hold it against".to_owned(),
        ),
        Some(manifest) => against(manifest, facts, &mut check),
    }
    let properties = properties(&facts.schema).len();
    check(
        "schema",
        true,
        format!("a JSON Schema (draft 2020-12) with {properties} properties"),
    );
    let (ok, found) = match (plugin.describe(&trial.sandbox), plugin.describe(&trial.sandbox)) {
        (Ok(one), Ok(two)) if one == two => (true, "says the same in two fresh instances".to_owned()),
        (Ok(_), Ok(_)) => (
            false,
            "says something else each time: a description must not depend on clocks or random numbers"
                .to_owned(),
        ),
        (Err(error), _) | (_, Err(error)) => (false, error),
    };
    check("describe", ok, found);
    for kind in &facts.kinds {
        let (ok, found) = try_settings(&trial, facts, *kind)?;
        check(name_of(*kind), ok, found);
    }
    Ok(checks)
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Pulse => "settings for pulse",
        Kind::Intervention => "settings for intervention",
        Kind::Code => "settings for code",
    }
}

fn against(manifest: &Manifest, facts: &Facts, check: &mut impl FnMut(&'static str, bool, String)) {
    let same = manifest.name == *facts.name && manifest.version == facts.version;
    check(
        "manifest",
        same,
        if same {
            "agrees in name and version".to_owned()
        } else {
            format!(
                "says {} {}, and the component calls itself {} {}; the two must agree",
                manifest.name, manifest.version, facts.name, facts.version
            )
        },
    );
    let words = |kinds: &[Kind]| {
        kinds
            .iter()
            .map(|kind| kind.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let same = manifest.kinds == facts.kinds;
    check(
        "kinds",
        same,
        if same {
            words(&facts.kinds)
        } else {
            format!(
                "the manifest says {}, and the component exports {}",
                words(&manifest.kinds),
                words(&facts.kinds)
            )
        },
    );
    let names = |needs: Vec<Capability>| {
        let names: Vec<String> = needs.iter().map(|need| format!("\"{}\"", need.name())).collect();
        names.join(", ")
    };
    let missing: Vec<Capability> = facts
        .needs
        .iter()
        .copied()
        .filter(|need| !manifest.needs.contains(need) && !manifest.unused.contains(need))
        .collect();
    let in_vain: Vec<Capability> = (manifest.needs.iter().chain(&manifest.unused))
        .copied()
        .filter(|need| !facts.needs.contains(need))
        .collect();
    let mut wrong = Vec::new();
    if !missing.is_empty() {
        wrong.push(format!(
            "imports {0}, which the manifest does not ask for: add {0} to needs, or to unused if nothing calls it",
            names(missing)
        ));
    }
    if !in_vain.is_empty() {
        wrong.push(format!(
            "the manifest names {0}, which is not imported: remove {0} from needs or unused",
            names(in_vain)
        ));
    }
    check(
        "imports",
        wrong.is_empty(),
        if !wrong.is_empty() {
            wrong.join("; ")
        } else if manifest.needs.is_empty() {
            "nothing that needs a grant".to_owned()
        } else {
            format!("{}, as the manifest says", names(manifest.needs.clone()))
        },
    );
}

/// Nothing that is lent is there.
struct Nothing;

impl Script for Nothing {
    fn next(&mut self, ask: &Ask) -> Scripted {
        refusing(ask, "nothing is lent while settings are tried")
    }
}

/// Whatever stands in its settings, a plugin says so in an ordinary way: it neither traps nor runs out of anything. It
/// has room, so that an interpreter is not accused of what it takes by itself.
fn try_settings(trial: &Trial, facts: &Facts, kind: Kind) -> Result<(bool, String)> {
    let tries = tries(&facts.schema);
    let usual = Limits::default();
    let (mut cpu, mut dearest, mut refused) = (Duration::ZERO, (0, 0), 0);
    for (done, one) in tries.iter().enumerate() {
        let (what, settings, allowed) = (&one.what, &one.settings, one.allowed);
        if cpu > CPU_MAX {
            return Ok((
                true,
                format!(
                    "{done} of {} tried, each an ordinary answer or fault; no more, since these took {cpu:.0?} of CPU time",
                    tries.len()
                ),
            ));
        }
        let mut scene = Scene::new(kind, settings.to_string());
        scene.limits = room::roomy(usual);
        scene.timeout = TIMEOUT;
        // Time stands still but for sleeping, so that nobody has to wait for one that does.
        let origin = Origin {
            wall: scene.scheduled_at,
            seed: [0; 16],
        };
        let time = Arc::new(GuestTime::new(origin, false));
        let course = Arc::new(Course::Played(Stage::new(time, Box::new(Nothing))));
        let ran = trial.run(&scene, Some(&course))?;
        cpu += ran.usage.cpu;
        dearest = (
            ran.usage.fuel.max(dearest.0),
            ran.usage.peak_memory_bytes.max(dearest.1),
        );
        refused += usize::from(!allowed);
        let whose = if allowed {
            "which its schema allows"
        } else {
            "which its schema refuses"
        };
        let wrong = match &ran.outcome {
            Outcome::Answer(answer) if !one.may_pass && is_good(answer) => {
                "is told as a success; a schema and its plugin must want the same"
            }
            Outcome::Answer(_) | Outcome::PluginFault(_) | Outcome::Denied(_) => continue,
            outcome if room::is_short(outcome) => {
                "runs out of what it is given, and that is many times of what is usual"
            }
            _ => "must be an ordinary failure or fault",
        };
        let said = ran
            .log
            .last()
            .map_or_else(String::new, |line| format!(" (log: {})", line.message));
        return Ok((
            false,
            format!(
                "{what}, {whose}, {wrong}: {}: {}{said}",
                ran.outcome.class(),
                ran.outcome
            ),
        ));
    }
    let (fuel, memory) = dearest;
    let dear = if fuel > usual.fuel || memory > usual.memory_bytes {
        format!(
            "; the dearest took {fuel} fuel and {} KiB, and the default limits are {} and {} KiB",
            memory.div_ceil(1 << 10),
            usual.fuel,
            usual.memory_bytes >> 10
        )
    } else {
        String::new()
    };
    Ok((
        true,
        format!(
            "{} tried, {refused} of which its schema refuses, each an ordinary answer or fault{dear}",
            tries.len()
        ),
    ))
}

/// Whether it says that all is well, or was done.
fn is_good(answer: &Answer) -> bool {
    match answer {
        Answer::Pulse(report) => report.status == Status::Healthy,
        Answer::Intervention(result) => result.is_ok(),
        Answer::Code(result) => result.is_ok(),
    }
}

/// One attempt.
struct Try {
    what: String,
    settings: Value,
    /// By the plugin's own schema.
    allowed: bool,
    /// It may be told as a success: the schema allows it, or would without the null in it, which to most languages is as
    /// good as nothing.
    may_pass: bool,
}

/// Settings at the edges of what a schema allows, and beyond them.
fn tries(schema: &Value) -> Vec<Try> {
    let properties = properties(schema);
    let right: Map<String, Value> = properties
        .iter()
        .filter(|(name, _)| is_required(schema, name))
        .map(|(name, property)| ((*name).to_owned(), sample(schema, property, name)))
        .collect();
    let huge = || Value::from("x".repeat(HUGE_BYTES));
    let with = |name: &str, value: Value| {
        let mut settings = right.clone();
        settings.insert(name.to_owned(), value);
        Value::Object(settings)
    };
    let mut tries = vec![
        ("an empty object".to_owned(), json!({})),
        ("an unknown key".to_owned(), json!({ "no-such-setting": huge() })),
        (
            "an unknown key beside what is needed".to_owned(),
            with("no-such-setting", json!(1)),
        ),
    ];
    for (name, property) in properties.iter().take(PROPERTIES_MAX) {
        let mut values = Vec::new();
        edges(schema, property, &mut values, 0);
        // Of each type, whatever the property's is.
        values.extend([
            Value::Null,
            json!(7),
            json!("seven"),
            json!(true),
            json!({ "a": {} }),
            json!([[]]),
            nested(),
            huge(),
        ]);
        let mut seen = Vec::new();
        for value in values {
            if !seen.contains(&value) {
                seen.push(value.clone());
                tries.push((format!("`{name}` as {}", shown(&value)), with(name, value)));
            }
        }
    }
    // The plugin was loaded, and so this is a schema; of one that is none everything is tried all the same.
    let schema = jsonschema::draft202012::new(schema).ok();
    tries
        .into_iter()
        .map(|(what, settings)| {
            let is_valid = |settings: &Value| schema.as_ref().is_none_or(|schema| schema.is_valid(settings));
            let allowed = is_valid(&settings);
            Try {
                may_pass: allowed || is_valid(&without_nulls(&settings)),
                allowed,
                what,
                settings,
            }
        })
        .collect()
}

fn without_nulls(settings: &Value) -> Value {
    let entries = settings.as_object().into_iter().flatten();
    entries
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// As deep as a reader of JSON goes that guards its stack, and deeper than one goes that does not think of it.
fn nested() -> Value {
    (0..NESTED).fold(json!([]), |inner, _| json!([inner]))
}

/// A value as it is told: the beginning of one that is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= SHOWN_BYTES {
        return text;
    }
    match value {
        Value::String(text) if text.len() >= 1 << 10 => format!("{} KiB of text", text.len() >> 10),
        Value::String(text) => format!("a text of {} bytes", text.len()),
        Value::Array(items) if items.len() > 1 => format!("a list of {}", items.len()),
        _ => format!("{NESTED} lists in each other"),
    }
}

/// The least, the greatest, the shortest and the longest that a schema allows, and what lies just beyond.
fn edges(schema: &Value, property: &Value, values: &mut Vec<Value>, depth: usize) {
    if depth > SHAPES_DEEP {
        return;
    }
    let shape = followed(schema, property);
    for key in ["anyOf", "oneOf", "allOf"] {
        for one in shape
            .get(key)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .take(CHOICES_MAX)
        {
            edges(schema, one, values, depth + 1);
        }
    }
    values.extend(shape.get("const").cloned());
    let listed = ["enum", "examples"]
        .into_iter()
        .filter_map(|key| shape.get(key)?.as_array());
    values.extend(listed.flatten().take(CHOICES_MAX).cloned());
    values.extend(shape.get("default").cloned());
    let length = |key: &str| {
        let length = shape.get(key).and_then(Value::as_u64)?;
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= HUGE_BYTES)
    };
    for kind in types(schema, property) {
        match kind.as_str() {
            "string" => {
                values.extend([json!(""), json!(" "), json!("\u{0}\u{202e}ä\u{1f600}")]);
                for length in [length("minLength"), length("maxLength")].into_iter().flatten() {
                    values.push("x".repeat(length).into());
                    values.push("x".repeat(length + 1).into());
                }
            }
            "integer" | "number" => {
                values.extend([json!(0), json!(-1), json!(0.5), json!(i64::MIN), json!(u64::MAX)]);
                for key in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] {
                    if let Some(bound) = shape.get(key).and_then(Value::as_i64) {
                        values.extend([-1, 0, 1].map(|step| json!(bound.saturating_add(step))));
                    }
                }
            }
            "boolean" => values.extend([json!(true), json!(false)]),
            "array" => {
                let item = shape
                    .get("items")
                    .map_or(Value::Null, |item| sample(schema, item, ""));
                let least = length("minItems").unwrap_or(0).min(ITEMS);
                values.push(Value::Array(vec![item.clone(); least]));
                values.push(json!([item]));
                values.push(Value::Array(vec![item; ITEMS]));
            }
            "object" => values.extend([json!({}), json!({ "": "" })]),
            _ => {}
        }
    }
}

fn properties(schema: &Value) -> Vec<(&str, &Value)> {
    let own = schema.get("properties").and_then(Value::as_object);
    own.into_iter()
        .flatten()
        .map(|(name, property)| (name.as_str(), property))
        .collect()
}

fn is_required(schema: &Value, name: &str) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    required.is_some_and(|names| names.iter().any(|one| one == name))
}

/// Where a property's shape stands.
fn followed<'s>(schema: &'s Value, property: &'s Value) -> &'s Value {
    let reference = property
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|text| text.strip_prefix('#'));
    reference
        .and_then(|place| schema.pointer(place))
        .unwrap_or(property)
}

fn types(schema: &Value, property: &Value) -> Vec<String> {
    match followed(schema, property).get("type") {
        Some(Value::String(kind)) => vec![kind.clone()],
        Some(Value::Array(kinds)) => kinds
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// A value that may be right.
fn sample(schema: &Value, property: &Value, name: &str) -> Value {
    let shape = followed(schema, property);
    let given = shape
        .get("default")
        .or_else(|| shape.get("examples")?.get(0))
        .or_else(|| shape.get("enum")?.get(0))
        .or_else(|| shape.get("const"))
        .or_else(|| shape.get("oneOf")?.get(0)?.get("const"));
    if let Some(given) = given {
        return given.clone();
    }
    match types(schema, property).first().map(String::as_str) {
        Some("integer" | "number") => shape.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ if name.contains("url") => json!("http://shop.example/"),
        _ if name.contains("address") => json!("shop.example:80"),
        _ => json!("text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Value {
        json!({
            "properties": {
                "url": { "type": "string" },
                "limit": { "$ref": "#/$defs/n" },
                "mode": { "oneOf": [{ "const": "a" }, { "enum": ["b", "c"] }] },
                "span": { "anyOf": [{ "type": "string", "maxLength": 3 }, { "type": "null" }] },
                "codes": { "type": "array", "minItems": 2, "items": { "type": "integer", "minimum": 100 } },
            },
            "required": ["url"],
            "additionalProperties": false,
            "$defs": { "n": { "type": "integer", "minimum": 3, "maximum": 9 } },
        })
    }

    fn allowed(tries: &[Try], what: &str) -> (bool, Value) {
        let found = tries.iter().find(|one| one.what == what);
        let found = found.unwrap_or_else(|| {
            let all: Vec<&str> = tries.iter().map(|one| &*one.what).collect();
            panic!("{what} is not among {all:?}")
        });
        (found.allowed, found.settings.clone())
    }

    #[test]
    fn every_property_is_tried_beside_what_is_required() {
        let tries = tries(&schema());
        assert_eq!(
            allowed(&tries, "`limit` as \"seven\""),
            (false, json!({ "url": "http://shop.example/", "limit": "seven" }))
        );
        assert_eq!(allowed(&tries, "`url` as 7"), (false, json!({ "url": 7 })));
        let (is_allowed, huge) = allowed(&tries, "`url` as 256 KiB of text");
        assert!(is_allowed);
        assert_eq!(huge["url"].as_str().unwrap().len(), HUGE_BYTES);
        assert!(!allowed(&tries, "an empty object").0);
        let may_pass = |what: &str| tries.iter().find(|one| one.what == what).unwrap().may_pass;
        assert!(may_pass("`limit` as null") && !allowed(&tries, "`limit` as null").0);
        assert!(!may_pass("`url` as null") && !may_pass("`limit` as 0.5") && may_pass("`limit` as 7"));
        assert!(!allowed(&tries, "an unknown key beside what is needed").0);
        assert!(!allowed(&tries, "`url` as 100 lists in each other").0);
    }

    #[test]
    fn edges_are_what_a_schema_just_allows_and_just_refuses() {
        let tries = tries(&schema());
        for (what, is_allowed) in [
            ("`limit` as 2", false),
            ("`limit` as 3", true),
            ("`limit` as 9", true),
            ("`limit` as 10", false),
            ("`limit` as -1", false),
            ("`mode` as \"a\"", true),
            ("`mode` as \"c\"", true),
            ("`mode` as \"seven\"", false),
            ("`span` as \"xxx\"", true),
            ("`span` as \"xxxx\"", false),
            ("`span` as null", true),
            ("`codes` as [100,100]", true),
            ("`codes` as [100]", false),
            ("`codes` as a list of 1000", true),
            ("`url` as \"\"", true),
        ] {
            assert_eq!(allowed(&tries, what).0, is_allowed, "{what}");
        }
        let mut named: Vec<&str> = tries.iter().map(|one| &*one.what).collect();
        named.sort_unstable();
        named.dedup();
        assert_eq!(named.len(), tries.len(), "nothing is tried twice");
    }
}
