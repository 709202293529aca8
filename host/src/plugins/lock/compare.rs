//! The plugins that are there and the lock, name by name.

use super::record::{Change, Record, changes, grants_beyond, grants_gone};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How a plugin stands to the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is as it was locked.
    Same,
    /// It is not in the lock.
    New,
    /// It is not as it was locked, but stays within what it had asked for and been granted.
    Within,
    /// It is not as it was locked.
    Changed,
    /// It is in the lock and nowhere else.
    Missing,
}

/// One plugin beside its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Its name.
    pub name: String,
    /// The version that is there; where it is missing, the one that is locked.
    pub version: String,
    /// How it stands.
    pub state: State,
    /// What differs.
    pub changes: Vec<Change>,
}

/// Compares everything that is there with everything that is locked, by name.
#[must_use]
pub fn compare(locked: &BTreeMap<String, Record>, now: &BTreeMap<String, Record>) -> Vec<Comparison> {
    let names: BTreeSet<&String> = locked.keys().chain(now.keys()).collect();
    names
        .into_iter()
        .filter_map(|name| one(name, locked.get(name), now.get(name)))
        .collect()
}

fn one(name: &str, locked: Option<&Record>, now: Option<&Record>) -> Option<Comparison> {
    let made = |record: &Record, state, changes| Comparison {
        name: name.to_owned(),
        version: record.version.clone(),
        state,
        changes,
    };
    Some(match (locked, now) {
        (None, None) => return None,
        (Some(locked), None) => made(locked, State::Missing, Vec::new()),
        (None, Some(now)) => made(now, State::New, everything(now)),
        (Some(locked), Some(now)) => {
            let mut changes = changes(locked, now);
            changes.extend(grants_gone(locked, &now.grants));
            changes.extend(grants_beyond(locked, &now.grants));
            let state = if changes.is_empty() {
                State::Same
            } else if changes.iter().all(|change| change.beyond.is_none()) {
                State::Within
            } else {
                State::Changed
            };
            made(now, state, changes)
        }
    })
}

/// What somebody who accepts a new plugin should have seen.
fn everything(now: &Record) -> Vec<Change> {
    let entry = |field, now: String| Change {
        field,
        was: None,
        now: Some(now),
        beyond: None,
    };
    let reach = |field: &'static str, reach: &super::Reach| -> Vec<Change> {
        reach
            .entries()
            .map(|(key, text)| entry(field, format!("{key} {text}")))
            .collect()
    };
    let mut all = vec![
        entry("digest", now.digest.clone()),
        entry("size", format!("{} bytes", now.size)),
    ];
    all.extend(now.kinds.iter().map(|kind| entry("kinds", kind.clone())));
    all.extend(now.needs.iter().map(|need| entry("needs", need.clone())));
    all.extend(now.imports.iter().map(|import| entry("imports", import.clone())));
    all.extend(reach("requests", &now.requests));
    all.extend(now.settings.iter().map(|line| entry("settings", line.clone())));
    all.extend(reach("grants", &now.grants));
    all
}
