//! Whether a plugin is what its author says, and behaves: what an operator would find out later, found out before.

use super::trial::Trial;
use crate::{
    capability::course::{Ask, Course, GuestTime, Origin, Script, Scripted, Stage},
    cases::{Scene, refusing},
    domain::{
        outcome::Outcome,
        plugin::{Capability, Facts},
        spec::Kind,
    },
    plugins::{self, Manifest},
};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::{path::Path, sync::Arc};

/// Bytes of a string that no sane setting has.
const HUGE_BYTES: usize = 256 << 10;
/// Properties that are tried with wrong values.
const PROPERTIES_MAX: usize = 100;
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
    let (trial, manifest) = match Trial::load_bare(path)? {
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
        let (ok, found) = bad_settings(&trial, facts, *kind)?;
        check(name_of(*kind), ok, found);
    }
    Ok(checks)
}

fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Pulse => "bad settings for pulse",
        Kind::Intervention => "bad settings for intervention",
        Kind::Code => "bad settings for code",
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

/// Whatever stands in its settings, a plugin says so in an ordinary way: it neither traps nor runs out of anything.
fn bad_settings(trial: &Trial, facts: &Facts, kind: Kind) -> Result<(bool, String)> {
    let tries = bad(&facts.schema);
    for (what, settings) in &tries {
        let scene = Scene::new(kind, settings.to_string());
        // Time stands still but for sleeping, so that nobody has to wait for one that does.
        let origin = Origin {
            wall: scene.scheduled_at,
            seed: [0; 16],
        };
        let time = Arc::new(GuestTime::new(origin, false));
        let course = Arc::new(Course::Played(Stage::new(time, Box::new(Nothing))));
        let ran = trial.run(&scene, Some(&course))?;
        let ordinary = matches!(
            ran.outcome,
            Outcome::Answer(_) | Outcome::PluginFault(_) | Outcome::Denied(_)
        );
        if !ordinary {
            let said = ran
                .log
                .last()
                .map_or_else(String::new, |line| format!(" (log: {})", line.message));
            return Ok((
                false,
                format!(
                    "{what} must be an ordinary failure or fault, and is {}: {}{said}",
                    ran.outcome.class(),
                    ran.outcome
                ),
            ));
        }
    }
    Ok((
        true,
        format!("{} tried, each an ordinary answer or fault", tries.len()),
    ))
}

/// Settings that can't be right, and in what.
fn bad(schema: &Value) -> Vec<(String, Value)> {
    let mut tries = vec![("an empty object".to_owned(), json!({}))];
    let properties = properties(schema);
    let right: Map<String, Value> = properties
        .iter()
        .filter(|(name, _)| is_required(schema, name))
        .map(|(name, property)| ((*name).to_owned(), sample(schema, property, name)))
        .collect();
    let huge = "x".repeat(HUGE_BYTES);
    for (name, property) in properties.iter().take(PROPERTIES_MAX) {
        let with = |value: Value| {
            let mut settings = right.clone();
            settings.insert((*name).to_owned(), value);
            Value::Object(settings)
        };
        let is_text = types(schema, property).iter().any(|kind| kind == "string");
        let wrong = if is_text { json!(7) } else { json!("seven") };
        tries.push((format!("`{name}` of another type"), with(wrong)));
        tries.push((format!("`{name}` as an array"), with(json!([[]]))));
        if is_text {
            tries.push((
                format!("`{name}` with {} KiB", HUGE_BYTES >> 10),
                with(huge.as_str().into()),
            ));
        }
    }
    tries.push(("an unknown key".to_owned(), json!({ "no-such-setting": huge })));
    tries
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
        .or_else(|| shape.get("enum")?.get(0));
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

    #[test]
    fn every_property_is_tried_beside_what_is_required() {
        let schema = json!({
            "properties": { "url": { "type": "string" }, "limit": { "$ref": "#/$defs/n" } },
            "required": ["url"],
            "$defs": { "n": { "type": "integer", "minimum": 3 } },
        });
        let tries = bad(&schema);
        let named = |what: &str| &tries.iter().find(|(name, _)| name == what).unwrap().1;
        assert_eq!(
            *named("`limit` of another type"),
            json!({ "url": "http://shop.example/", "limit": "seven" })
        );
        assert_eq!(*named("`url` of another type"), json!({ "url": 7 }));
        assert_eq!(
            named("`url` with 256 KiB")["url"].as_str().unwrap().len(),
            HUGE_BYTES
        );
        assert_eq!(tries.len(), 7);
    }
}
