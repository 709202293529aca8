//! The lock as text: TOML, sorted, the same bytes for the same contents, so that a change of it is a readable diff.

use super::record::Record;
use crate::domain::{plugin::Capability, spec::Kind};
use crate::plugins::{Reach, full_name_is_valid, version_is_valid};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt::Write as _};

/// What this program writes and reads.
const FORMAT: i64 = 1;
/// Plugins in one lock.
pub const PLUGINS_MAX: usize = 4_096;
/// Imports of one plugin. A component that says more is refused long before.
const LIST_MAX: usize = 4_096;

/// A place in the text, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLock {
    format: toml::Spanned<i64>,
    #[serde(default)]
    plugins: BTreeMap<toml::Spanned<String>, RawRecord>,
}

type Texts = Vec<toml::Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecord {
    version: toml::Spanned<String>,
    digest: toml::Spanned<String>,
    size: toml::Spanned<i64>,
    kinds: Texts,
    needs: Texts,
    imports: Texts,
    schema: toml::Spanned<String>,
    settings: Texts,
    #[serde(default)]
    requests: BTreeMap<toml::Spanned<String>, Texts>,
    #[serde(default)]
    grants: BTreeMap<toml::Spanned<String>, Texts>,
}

/// Reads a lock.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(text: &str) -> Result<BTreeMap<String, Record>, Fault> {
    let fault = |at: usize, message: String| {
        let before = text.get(..at).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Fault {
            line: 1 + before.bytes().filter(|byte| *byte == b'\n').count(),
            column: 1 + line.chars().count(),
            message,
        }
    };
    let raw: RawLock = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
        fault(at, message)
    })?;
    if *raw.format.get_ref() != FORMAT {
        let message = format!(
            "format {} is not known to this version of pulse-host, which knows {FORMAT}; was it written by a newer one?",
            raw.format.get_ref()
        );
        return Err(fault(raw.format.span().start, message));
    }
    let mut records = BTreeMap::new();
    for (name, record) in raw.plugins {
        let at = name.span().start;
        if !full_name_is_valid(name.get_ref()) {
            let message = format!(
                "`{}` is no plugin name: 1 to 64 lower-case letters, digits and inner hyphens, perhaps after a \
                 tenant's name and a slash",
                name.get_ref().escape_debug()
            );
            return Err(fault(at, message));
        }
        if records.len() >= PLUGINS_MAX {
            return Err(fault(at, format!("more than {PLUGINS_MAX} plugins")));
        }
        let record = record.checked().map_err(|(at, message)| fault(at, message))?;
        records.insert(name.into_inner(), record);
    }
    Ok(records)
}

type Wrong = (usize, String);

impl RawRecord {
    fn checked(self) -> Result<Record, Wrong> {
        if !version_is_valid(self.version.get_ref()) {
            let message = format!(
                "`{}` is no semantic version such as 1.0.0",
                self.version.get_ref().escape_debug()
            );
            return Err((self.version.span().start, message));
        }
        let size = u64::try_from(*self.size.get_ref())
            .map_err(|_| (self.size.span().start, "a size is a number of bytes".to_owned()))?;
        Ok(Record {
            version: self.version.into_inner(),
            digest: digest(&self.digest)?,
            size,
            kinds: known(self.kinds, "kind", &Kind::ALL.map(Kind::name))?,
            needs: known(
                self.needs,
                "lent interface",
                &Capability::ALL.map(Capability::name),
            )?,
            imports: plain(self.imports)?,
            requests: reach(self.requests)?,
            schema: digest(&self.schema)?,
            settings: plain(self.settings)?,
            grants: reach(self.grants)?,
        })
    }
}

fn digest(text: &toml::Spanned<String>) -> Result<String, Wrong> {
    let digits = text.get_ref().strip_prefix("sha256:").unwrap_or_default();
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() == 64 && digits.bytes().all(hex) {
        return Ok(digits.to_owned());
    }
    let message = "this is no digest: `sha256:` and 64 digits 0-9, a-f".to_owned();
    Err((text.span().start, message))
}

fn plain(texts: Texts) -> Result<Vec<String>, Wrong> {
    if let Some(first) = texts.get(LIST_MAX) {
        return Err((first.span().start, format!("more than {LIST_MAX} entries")));
    }
    let mut texts: Vec<String> = texts.into_iter().map(toml::Spanned::into_inner).collect();
    texts.sort();
    texts.dedup();
    Ok(texts)
}

fn known(texts: Texts, what: &str, names: &[&str]) -> Result<Vec<String>, Wrong> {
    if let Some(other) = texts
        .iter()
        .find(|text| !names.contains(&text.get_ref().as_str()))
    {
        let message = format!(
            "there is no {what} `{}`; there are {}",
            other.get_ref().escape_debug(),
            names.join(", ")
        );
        return Err((other.span().start, message));
    }
    // In the order of their kind, as everywhere.
    let given = |name: &&&str| texts.iter().any(|text| text.get_ref() == **name);
    Ok(names
        .iter()
        .filter(given)
        .map(|name| (*name).to_owned())
        .collect())
}

fn reach(keys: BTreeMap<toml::Spanned<String>, Texts>) -> Result<Reach, Wrong> {
    let mut reach = Reach::default();
    for (key, entries) in keys {
        if !Reach::keys().any(|known| known == key.get_ref()) {
            let message = format!(
                "there is no grant `{}`; there are {}",
                key.get_ref().escape_debug(),
                Reach::keys().collect::<Vec<_>>().join(", ")
            );
            return Err((key.span().start, message));
        }
        for entry in entries {
            reach
                .insert(key.get_ref(), entry.get_ref())
                .map_err(|wrong| (entry.span().start, wrong))?;
        }
    }
    Ok(reach)
}

/// Writes a lock under that comment.
#[must_use]
pub fn write(comment: &str, records: &BTreeMap<String, Record>) -> String {
    let mut text = String::new();
    for line in comment.lines() {
        text.push_str(format!("# {line}").trim_end());
        text.push('\n');
    }
    // Writing to a string does not fail.
    let _ = writeln!(text, "\nformat = {FORMAT}");
    for (name, record) in records {
        let key = if name.contains('/') {
            quoted(name)
        } else {
            name.clone()
        };
        let _ = writeln!(text, "\n[plugins.{key}]");
        let _ = writeln!(text, "version = {}", quoted(&record.version));
        let _ = writeln!(text, "digest = \"sha256:{}\"", record.digest);
        let _ = writeln!(text, "size = {}", record.size);
        let _ = writeln!(text, "kinds = {}", short(&record.kinds));
        let _ = writeln!(text, "needs = {}", short(&record.needs));
        let _ = writeln!(text, "imports = {}", list(&record.imports));
        let _ = writeln!(text, "schema = \"sha256:{}\"", record.schema);
        let _ = writeln!(text, "settings = {}", list(&record.settings));
        for (table, reach) in [("requests", &record.requests), ("grants", &record.grants)] {
            let mut keys: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for (key, entry) in reach.entries() {
                keys.entry(key).or_default().push(entry.to_owned());
            }
            for (key, entries) in keys {
                let _ = writeln!(text, "{table}.{key} = {}", list(&entries));
            }
        }
    }
    text
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn short(entries: &[String]) -> String {
    let entries: Vec<String> = entries.iter().map(|entry| quoted(entry)).collect();
    format!("[{}]", entries.join(", "))
}

/// One entry a line, so that one more is one line of a diff.
fn list(entries: &[String]) -> String {
    if entries.is_empty() {
        return "[]".to_owned();
    }
    let entries: String = entries
        .iter()
        .map(|entry| format!("    {},\n", quoted(entry)))
        .collect();
    format!("[\n{entries}]")
}
