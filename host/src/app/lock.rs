//! The lock of plugins, as far as the wiring knows it: where it is, who is let in by it, and what is to be said where
//! there is none.

use super::load::{Places, load_all, small_sandbox_for, tenants};
use crate::{
    capability::log,
    config::{self, Draft},
    domain::{
        grant::Grants,
        host::{HostSettings, LockPolicy},
    },
    plugins::{
        self,
        lock::{self, Gate, LockError, LockFile, Record},
    },
    sandbox::{Library, Plugin},
};
use anyhow::{Result, anyhow};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where the lock is: where it was said to be, or beside the configuration.
pub(super) fn path(places: Places<'_>, config: Option<&Path>) -> PathBuf {
    if let Some(path) = places.lock {
        return path.to_owned();
    }
    let beside = match config {
        Some(config) if config.is_dir() => config,
        Some(config) => config.parent().unwrap_or(Path::new("")),
        None => Path::new(""),
    };
    beside.join(lock::FILE)
}

/// The gate of that configuration.
pub(super) fn gate(places: Places<'_>, config: Option<&Path>, policy: LockPolicy) -> Result<Gate, LockError> {
    Gate::open(&path(places, config), policy)
}

/// What is to be said when the host starts: grants that nobody accepted, and without a lock, plugins that changed since
/// this host last ran.
pub(super) fn announce(
    gate: &Gate,
    library: &Library,
    settings: &HostSettings,
    grants: &BTreeMap<String, Arc<Grants>>,
) {
    for (name, text) in gate.grants_beyond(grants) {
        tracing::warn!(
            "plugin {name} is granted more than when it was locked: {text}; `pulse-host plugin lock --accept {name}` \
             accepts that"
        );
    }
    let records: BTreeMap<String, Record> = library
        .iter()
        .map(|plugin| {
            let name = plugin.facts.name.to_string();
            let record = Record::of(plugin.loaded(), grants.get(&name).map(AsRef::as_ref));
            (name, record)
        })
        .collect();
    let (announcements, noted) = lock::note_seen(&settings.data_dir, &records);
    if let Err(error) = noted {
        tracing::warn!(
            "what plugins there are could not be noted, and is compared with what was noted before: {error}"
        );
    }
    // What a lock has let in was looked at by somebody.
    if gate.lock().is_some() {
        return;
    }
    for change in announcements {
        let (name, text) = (&change.name, log::escaped(&change.text, log::LINE_BYTES_MAX));
        if change.grew {
            tracing::warn!(
                "PLUGIN {name} WANTS MORE THAN WHEN IT WAS LAST SEEN: {text}. Nothing of that is granted by itself; \
                 `pulse-host plugin inspect {name}` shows it, and `pulse-host plugin lock` keeps plugins as they are"
            );
        } else {
            tracing::info!("plugin {name} changed since it was last seen: {text}");
        }
    }
}

/// All plugins and the lock, side by side.
pub struct Survey {
    /// The lock, which may not be there yet.
    pub lock: LockFile,
    /// How strictly it is kept.
    pub policy: LockPolicy,
    /// Every plugin that can be loaded, whatever the lock says, by name.
    pub plugins: BTreeMap<String, Plugin>,
    /// Names that several plugins have, so that none of them is meant.
    pub ambiguous: BTreeSet<String>,
    /// What can't be used, and why.
    pub problems: Vec<plugins::Problem>,
    /// What the configuration grants.
    pub grants: BTreeMap<String, Arc<Grants>>,
}

impl Survey {
    /// What would be pinned of that plugin now.
    #[must_use]
    pub fn record(&self, plugin: &Plugin) -> Record {
        Record::of(
            plugin.loaded(),
            self.grants.get(&*plugin.facts.name).map(AsRef::as_ref),
        )
    }
}

/// Loads every plugin, and reads the lock and what the configuration grants.
///
/// # Errors
/// When the configuration or the lock can't be read, or this machine can't run wasm.
pub fn survey(places: Places<'_>) -> Result<Survey> {
    let config = configuration(places)?;
    let path = path(places, config.as_ref().map(|(path, _)| path.as_path()));
    let (settings, grants) = match &config {
        Some((path, draft)) => {
            let grants = draft.grants().ok_or_else(|| {
                anyhow!(
                    "{} can't be read, so that nobody knows what it grants; `pulse-host check-config` says what is wrong",
                    path.display()
                )
            })?;
            (Some(draft.host()), grants)
        }
        None => (None, BTreeMap::new()),
    };
    let policy = settings
        .as_ref()
        .map(|settings| settings.lock)
        .unwrap_or_default();
    let lock = LockFile::read(&path)?;
    let sandbox = small_sandbox_for(settings)?;
    let tenants = config
        .as_ref()
        .map(|(_, draft)| tenants(draft))
        .unwrap_or_default();
    let (loaded, mut problems) = load_all(&sandbox, places.plugins, &tenants);
    let (chosen, others) = choose(&lock, loaded);
    problems.extend(others);
    let names: BTreeSet<String> = chosen
        .iter()
        .map(|plugin| plugin.facts.name.to_string())
        .collect();
    let (plugins, doubles) = plugins::unique(
        chosen,
        |plugin| Arc::clone(&plugin.facts.name),
        |plugin| plugin.path.as_path(),
    );
    problems.extend(doubles);
    let ambiguous = names
        .into_iter()
        .filter(|name| !plugins.contains_key(name.as_str()))
        .collect();
    Ok(Survey {
        ambiguous,
        lock,
        policy,
        plugins: plugins
            .into_iter()
            .map(|(name, plugin)| (name.to_string(), plugin))
            .collect(),
        problems,
        grants,
    })
}

/// Of several plugins with one name, the one that is as it was locked is the one that was meant.
fn choose(lock: &LockFile, loaded: Vec<Plugin>) -> (Vec<Plugin>, Vec<plugins::Problem>) {
    let mut chosen: BTreeMap<Arc<str>, Plugin> = BTreeMap::new();
    let (locked, rest): (Vec<Plugin>, Vec<Plugin>) =
        loaded.into_iter().partition(|plugin| is_locked(lock, plugin));
    let mut others = Vec::new();
    for plugin in locked {
        if chosen.contains_key(&plugin.facts.name) {
            others.push(plugin);
        } else {
            chosen.insert(Arc::clone(&plugin.facts.name), plugin);
        }
    }
    let (rest, more): (Vec<Plugin>, Vec<Plugin>) = rest
        .into_iter()
        .partition(|plugin| !chosen.contains_key(&plugin.facts.name));
    others.extend(more);
    let problems = others.into_iter().map(|plugin| plugins::Problem {
        message: format!(
            "is named `{}`, and another plugin is locked under that name",
            plugin.facts.name
        ),
        path: plugin.path,
    });
    (chosen.into_values().chain(rest).collect(), problems.collect())
}

fn is_locked(lock: &LockFile, plugin: &Plugin) -> bool {
    lock.records
        .get(&*plugin.facts.name)
        .is_some_and(|record| record.digest == plugin.digest.as_str())
}

/// The configuration, if there is one. Only one that somebody has named must be there.
pub(super) fn configuration(places: Places<'_>) -> Result<Option<(PathBuf, Draft)>> {
    match config::default_paths(places.config) {
        Ok(path) => {
            let draft = Draft::load(&path);
            Ok(Some((path, draft)))
        }
        Err(message) if places.config.is_some() => Err(anyhow!(message)),
        Err(_) => Ok(None),
    }
}
