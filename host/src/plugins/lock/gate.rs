//! Who is let in: what is loaded, held against the lock; and without a lock, what is to be said about plugins that ask
//! for more than when they were last seen.

use super::{
    file::{LockError, LockFile},
    record::{Change, Loaded, Record, changes},
};
use crate::domain::{grant::Grants, host::LockPolicy};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// Changes that one message tells.
const CHANGES_SHOWN_MAX: usize = 12;

/// What the lock says about a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as it was locked, or there is no lock.
    Same,
    /// It has changed within what it had asked for and been granted, and that is allowed.
    Within(Vec<Change>),
    /// It is not used; says why.
    Refused(String),
}

/// The lock, and how strict it is.
#[derive(Clone, Debug)]
pub struct Gate {
    lock: Option<LockFile>,
    policy: LockPolicy,
}

impl Gate {
    /// Reads the lock there, if there is one.
    ///
    /// # Errors
    /// When it can't be used: a lock that can't be read must not let everybody in.
    pub fn open(path: &Path, policy: LockPolicy) -> Result<Self, LockError> {
        let lock = LockFile::read(path)?;
        Ok(Self {
            lock: lock.exists().then_some(lock),
            policy,
        })
    }

    /// A gate that is open to all.
    #[must_use]
    pub fn wide_open() -> Self {
        Self {
            lock: None,
            policy: LockPolicy::Exact,
        }
    }

    /// The lock, if there is one.
    #[must_use]
    pub fn lock(&self) -> Option<&LockFile> {
        self.lock.as_ref()
    }

    /// What is to become of that plugin.
    #[must_use]
    pub fn verdict(&self, plugin: Loaded<'_>) -> Verdict {
        let Some(lock) = &self.lock else {
            return Verdict::Same;
        };
        let name = &*plugin.facts.name;
        let accept = format!("`pulse-host plugin lock --accept {name}` takes it");
        let Some(locked) = lock.records.get(name) else {
            let place = lock.path().display();
            return Verdict::Refused(format!("is not in {place}; {accept}"));
        };
        let changes = changes(locked, &Record::of(plugin, None));
        if changes.is_empty() {
            return Verdict::Same;
        }
        let beyond: Vec<&Change> = changes.iter().filter(|change| change.beyond.is_some()).collect();
        if self.policy == LockPolicy::WithinGrants && beyond.is_empty() {
            return Verdict::Within(changes);
        }
        let why = match self.policy {
            LockPolicy::Exact => "changed since it was locked",
            LockPolicy::WithinGrants => "changed beyond what it was locked with",
        };
        // What weighs most is said first, in case not everything can be said.
        let shown: Vec<&Change> = beyond
            .into_iter()
            .chain(changes.iter().filter(|change| change.beyond.is_none()))
            .collect();
        Verdict::Refused(format!("{why}: {}; {accept}", told(&shown)))
    }

    /// What is granted now beyond what stands in the lock, for each plugin that is locked.
    #[must_use]
    pub fn grants_beyond(&self, grants: &BTreeMap<String, Arc<Grants>>) -> Vec<(String, String)> {
        let records = self.lock.iter().flat_map(|lock| &lock.records);
        records
            .filter_map(|(name, locked)| {
                let now = crate::plugins::Reach::granted(grants.get(name)?);
                let beyond = super::record::grants_beyond(locked, &now);
                (!beyond.is_empty()).then(|| (name.clone(), told(&beyond.iter().collect::<Vec<_>>())))
            })
            .collect()
    }
}

fn told(changes: &[&Change]) -> String {
    let mut texts: Vec<String> = changes
        .iter()
        .take(CHANGES_SHOWN_MAX)
        .map(ToString::to_string)
        .collect();
    if changes.len() > CHANGES_SHOWN_MAX {
        texts.push(format!("and {} more", changes.len() - CHANGES_SHOWN_MAX));
    }
    texts.join("; ")
}

/// What stands at the top of the file of what was last seen.
const SEEN_COMMENT: &str = "\
The plugins as this host last saw them, so that it can say which of them want more than before. This is no lock:
nothing here was accepted by anybody.";
/// Its name in the data directory.
const SEEN_FILE: &str = "plugins.seen";

/// Notes what is there now. Returns what is to be said about plugins that changed since this host last noted them, and
/// apart from that whether they could be noted: what was found out is told in any case.
pub fn note_seen(
    data_dir: &Path,
    plugins: &BTreeMap<String, Record>,
) -> (Vec<Announcement>, Result<(), String>) {
    let path = data_dir.join(SEEN_FILE);
    let mut seen = match LockFile::read_as(&path, SEEN_COMMENT) {
        Ok(seen) => seen,
        // It is a note of the host's own: one that says nothing is worth as much as none, and would never be written again.
        Err(error @ LockError::Broken { .. }) => {
            tracing::warn!(
                "what plugins there were before is not known any more, and is noted anew: {error}"
            );
            let _ = std::fs::remove_file(&path);
            LockFile::empty(&path, SEEN_COMMENT)
        }
        // Next time it can be read again, and then tells what changed.
        Err(error) => return (Vec::new(), Err(error.to_string())),
    };
    let mut announcements = Vec::new();
    for (name, now) in plugins {
        if let Some(before) = seen.records.get(name) {
            announcements.extend(Announcement::of(name, before, now));
        }
        seen.records.insert(name.clone(), now.clone());
    }
    // What comes and goes must not fill the disk.
    let gone: Vec<String> = seen
        .records
        .keys()
        .filter(|name| !plugins.contains_key(*name))
        .cloned()
        .collect();
    let room = super::text::PLUGINS_MAX.saturating_sub(plugins.len());
    for name in gone.iter().skip(room) {
        seen.records.remove(name);
    }
    let noted = match seen.write() {
        // Another host with the same data directory has just noted the same.
        Ok(()) | Err(LockError::Changed { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    (announcements, noted)
}

/// A plugin that is not what it was when it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its name.
    pub name: String,
    /// What changed.
    pub text: String,
    /// It imports or asks for more than before.
    pub grew: bool,
}

impl Announcement {
    fn of(name: &str, before: &Record, now: &Record) -> Option<Self> {
        // Whatever it was granted: who asks for more says so.
        let ungranted = Record {
            grants: crate::plugins::Reach::default(),
            ..before.clone()
        };
        let changes = changes(&ungranted, now);
        if changes.is_empty() {
            return None;
        }
        let grown: Vec<&Change> = changes
            .iter()
            .filter(|change| match change.field {
                "needs" | "requests" => change.beyond.is_some(),
                "imports" => change.now.is_some(),
                _ => false,
            })
            .collect();
        let grew = !grown.is_empty();
        let shown = if grew { grown } else { changes.iter().collect() };
        Some(Self {
            name: name.to_owned(),
            text: told(&shown),
            grew,
        })
    }
}
