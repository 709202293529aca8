//! What is pinned about a plugin, and in which ways another state of it differs.

use super::outline;
use crate::{
    domain::{
        grant::Grants,
        plugin::{Capability, Facts},
    },
    plugins::{Digest, Reach},
};
use serde::Serialize;
use std::{collections::BTreeSet, fmt};

/// What is pinned about a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Semantic version.
    pub version: String,
    /// SHA-256 of the component, 64 lower-case digits.
    pub digest: String,
    /// Size of the component in bytes.
    pub size: u64,
    /// The kinds it exports, by name, sorted.
    pub kinds: Vec<String>,
    /// What of that needs a grant, by name, sorted.
    pub needs: Vec<String>,
    /// Everything that it imports, sorted.
    pub imports: Vec<String>,
    /// What its author asks for.
    pub requests: Reach,
    /// SHA-256 of its settings' schema.
    pub schema: String,
    /// The settings in lines, see [`outline::outline`].
    pub settings: Vec<String>,
    /// What it was granted when it was accepted.
    pub grants: Reach,
}

/// A plugin that was loaded, as far as a lock is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Loaded<'a> {
    /// What it says of itself.
    pub facts: &'a Facts,
    /// Of its component.
    pub digest: &'a Digest,
    /// Of its component, in bytes.
    pub size: usize,
    /// Everything that it imports, sorted.
    pub imports: &'a [String],
    /// What its author asks for.
    pub requests: &'a Reach,
}

impl Record {
    /// What is to be pinned of a plugin that has these grants.
    #[must_use]
    pub fn of(plugin: Loaded<'_>, grants: Option<&Grants>) -> Self {
        let facts = plugin.facts;
        Self {
            version: facts.version.clone(),
            digest: plugin.digest.as_str().to_owned(),
            size: plugin.size as u64,
            kinds: facts.kinds.iter().map(|kind| kind.name().to_owned()).collect(),
            needs: facts.needs.iter().map(|need| need.name().to_owned()).collect(),
            imports: plugin.imports.to_vec(),
            requests: plugin.requests.clone(),
            schema: Digest::of(facts.schema.to_string().as_bytes())
                .as_str()
                .to_owned(),
            settings: outline::outline(&facts.schema),
            grants: grants.map(Reach::granted).unwrap_or_default(),
        }
    }
}

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which part of the record.
    pub field: &'static str,
    /// What is no more.
    pub was: Option<String>,
    /// What is there now.
    pub now: Option<String>,
    /// It goes beyond what was asked for or granted before, or may not fit the settings that are there; says why.
    pub beyond: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.was, &self.now) {
            (Some(was), Some(now)) => write!(f, "{}: {was} -> {now}", self.field)?,
            (None, Some(now)) => write!(f, "{}: + {now}", self.field)?,
            (Some(was), None) => write!(f, "{}: - {was}", self.field)?,
            (None, None) => f.write_str(self.field)?,
        }
        match &self.beyond {
            Some(why) => write!(f, " ({why})"),
            None => Ok(()),
        }
    }
}

/// Everything that differs, grants aside: those are the operator's.
#[must_use]
pub fn changes(old: &Record, new: &Record) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut one = |field, was: &str, now: &str| {
        if was != now {
            changes.push(Change {
                field,
                was: Some(was.to_owned()),
                now: Some(now.to_owned()),
                beyond: None,
            });
        }
    };
    one("version", &old.version, &new.version);
    one("digest", &short(&old.digest), &short(&new.digest));
    if old.digest != new.digest && short(&old.digest) == short(&new.digest) {
        one("digest", &old.digest, &new.digest);
    }
    one("size", &bytes(old.size), &bytes(new.size));
    let no = |_: &str| None;
    list("kinds", &old.kinds, &new.kinds, no, &mut changes);
    let lost = changes
        .iter_mut()
        .filter(|change| change.field == "kinds" && change.now.is_none());
    lost.for_each(|change| change.beyond = Some("monitors may use it as one".to_owned()));
    let need_beyond = |need: &str| {
        (!granted(&old.grants, need)).then(|| "it needed no such grant, and has none".to_owned())
    };
    list("needs", &old.needs, &new.needs, need_beyond, &mut changes);
    list("imports", &old.imports, &new.imports, no, &mut changes);
    let texts = |reach: &Reach| -> Vec<String> {
        reach
            .entries()
            .map(|(key, entry)| format!("{key} {entry}"))
            .collect()
    };
    let asked_beyond = |text: &str| {
        let (key, entry) = text.split_once(' ')?;
        let known = old.requests.covers(key, entry) || old.grants.covers(key, entry);
        (!known).then(|| "neither asked for nor granted before".to_owned())
    };
    let (was, now) = (texts(&old.requests), texts(&new.requests));
    list("requests", &was, &now, asked_beyond, &mut changes);
    if old.schema != new.schema {
        list("settings", &old.settings, &new.settings, no, &mut changes);
        changes.push(Change {
            field: "schema",
            was: Some(short(&old.schema)),
            now: Some(short(&new.schema)),
            beyond: outline::incompatible(&old.settings, &new.settings),
        });
    }
    changes
}

/// Grants that a plugin has now, beyond those that it was accepted with.
#[must_use]
pub fn grants_beyond(old: &Record, now: &Reach) -> Vec<Change> {
    now.entries()
        .filter(|(key, entry)| !old.grants.covers(key, entry))
        .map(|(key, entry)| Change {
            field: "grants",
            was: None,
            now: Some(format!("{key} {entry}")),
            beyond: Some("not granted when it was locked".to_owned()),
        })
        .collect()
}

/// Grants that it was accepted with and no longer has: harmless, but no longer what stands in the lock.
#[must_use]
pub fn grants_gone(old: &Record, now: &Reach) -> Vec<Change> {
    old.grants
        .entries()
        .filter(|(key, entry)| !now.contains(key, entry))
        .map(|(key, entry)| Change {
            field: "grants",
            was: Some(format!("{key} {entry}")),
            now: None,
            beyond: None,
        })
        .collect()
}

/// Whether something was granted for what stands in `needs`.
fn granted(grants: &Reach, need: &str) -> bool {
    let capability = Capability::ALL
        .into_iter()
        .find(|capability| capability.name() == need);
    capability.is_some_and(|capability| match capability {
        Capability::Http | Capability::WasiHttp => grants.has("http"),
        Capability::Tcp | Capability::Tls => grants.has("tcp"),
        Capability::WasiSockets => grants.has("tcp") || grants.has("udp"),
        Capability::Dns => grants.has("dns"),
        Capability::Icmp => grants.has("icmp"),
        Capability::Command => grants.has("commands"),
        Capability::Docker => grants.has("containers"),
        Capability::Files => grants.has("directories"),
    })
}

fn list(
    field: &'static str,
    old: &[String],
    new: &[String],
    beyond: impl Fn(&str) -> Option<String>,
    changes: &mut Vec<Change>,
) {
    let (was, now): (BTreeSet<&String>, BTreeSet<&String>) = (old.iter().collect(), new.iter().collect());
    changes.extend(was.difference(&now).map(|gone| Change {
        field,
        was: Some((*gone).clone()),
        now: None,
        beyond: None,
    }));
    changes.extend(now.difference(&was).map(|added| Change {
        field,
        was: None,
        now: Some((*added).clone()),
        beyond: beyond(added),
    }));
}

/// Enough of a digest to tell it from others; the whole stands in the lock.
fn short(digest: &str) -> String {
    digest.chars().take(16).collect()
}

fn bytes(size: u64) -> String {
    format!("{size} bytes")
}
