//! Components that were put in the place of others while the host ran, faulted at once, and were taken back.
//!
//! A digest that was rolled back is refused from then on, over restarts too: until other bytes lie in its place, or its
//! entry is taken out of the file. So that there is something to go back to after a restart, the data directory holds
//! a copy of each component that is in use.

use crate::{
    config::{Durable, replace},
    domain::time::Wall,
    plugins::{self, Digest, Found, Manifest, Problem},
    sandbox::{self, Library, Plugin, Sandbox},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    io::{Read as _, Result},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The file, in the data directory.
const FILE: &str = "plugins-rejected.json";
/// The folder of copies, in the data directory.
const COPIES: &str = "components";
/// Those that are kept; the oldest go.
const REJECTIONS_MAX: usize = 256;
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a reason.
const REASON_MAX: usize = 512;

/// One digest that is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The plugin's name, as the operator knows it.
    pub plugin: String,
    /// The component that is refused.
    pub digest: String,
    /// The one that it had taken the place of.
    pub before: String,
    /// Why.
    pub reason: String,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// Everything that is refused.
#[derive(Debug)]
pub(super) struct Rejections {
    data_dir: PathBuf,
    list: Vec<Rejection>,
}

impl Rejections {
    /// Those of that data directory. What can't be read counts as empty, and is told.
    pub fn read(data_dir: &Path) -> Self {
        let path = data_dir.join(FILE);
        let read = || -> Result<Vec<Rejection>> {
            let mut text = String::new();
            match std::fs::File::open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
                opened => opened?.take(FILE_BYTES_MAX).read_to_string(&mut text)?,
            };
            Ok(serde_json::from_str(&text)?)
        };
        let list = read().unwrap_or_else(|error| {
            tracing::warn!(
                "{} can't be read ({error}): what was rolled back before is not known, and may be tried once more",
                path.display()
            );
            Vec::new()
        });
        Self {
            data_dir: data_dir.to_owned(),
            list,
        }
    }

    /// One more, from now on and over restarts.
    ///
    /// # Errors
    /// When it can't be written; it holds until the host ends all the same.
    pub fn add(&mut self, plugin: &str, digest: &str, before: &str, reason: &str, now: Wall) -> Result<()> {
        let cut = reason.get(..reason.floor_char_boundary(REASON_MAX));
        self.list.push(Rejection {
            plugin: plugin.to_owned(),
            digest: digest.to_owned(),
            before: before.to_owned(),
            reason: cut.unwrap_or_default().to_owned(),
            at: now.0,
        });
        let over = self.list.len().saturating_sub(REJECTIONS_MAX);
        self.list.drain(..over);
        let text = serde_json::to_vec_pretty(&self.list)?;
        replace(&self.data_dir.join(FILE), &text, Durable::Yes)
    }

    /// The entry for that plugin with that component.
    fn find(&self, plugin: &Plugin) -> Option<&Rejection> {
        let mut list = self.list.iter();
        list.find(|entry| entry.plugin == *plugin.facts.name && entry.digest == plugin.digest.as_str())
    }

    /// Of what was loaded, what is not refused; in the place of each that is, the one before it, where that can be had.
    /// And what is to be said of it.
    pub fn sift(&self, sandbox: &Arc<Sandbox>, loaded: Vec<Plugin>) -> (Vec<Plugin>, Vec<Problem>) {
        let mut good = Vec::with_capacity(loaded.len());
        let mut problems = Vec::new();
        for plugin in loaded {
            let Some(entry) = self.find(&plugin) else {
                good.push(plugin);
                continue;
            };
            let stands_in = stand_in(&self.data_dir, sandbox, entry, &plugin);
            let instead = if stands_in.is_some() {
                "; the one before it is used"
            } else {
                ""
            };
            problems.push(Problem {
                path: plugin.path.clone(),
                message: format!(
                    "this component of `{}` faulted as soon as it was used ({}) and was rolled back{instead}. It is refused \
                     until another lies there, or its entry is taken out of {}",
                    entry.plugin,
                    entry.reason,
                    self.data_dir.join(FILE).display()
                ),
            });
            good.extend(stands_in);
        }
        (good, problems)
    }
}

/// The component that a rejected one had taken the place of, out of the copies, as if it lay there still.
fn stand_in(data_dir: &Path, sandbox: &Arc<Sandbox>, entry: &Rejection, rejected: &Plugin) -> Option<Plugin> {
    let (component, manifest) = places(data_dir, &entry.before);
    let bytes = plugins::read_bytes(&component).ok()?;
    let digest = Digest::of(&bytes);
    if digest.as_str() != entry.before {
        return None;
    }
    let manifest = match std::fs::read_to_string(manifest) {
        Ok(text) => Some(Manifest::parse(&text).ok()?),
        Err(_) => None,
    };
    let found = Found {
        path: rejected.path.clone(),
        manifest,
        bytes,
        digest,
    };
    let plugin = sandbox::load(sandbox, found).ok()?;
    Some(match entry.plugin.split_once('/') {
        Some((tenant, _)) => plugin.of_tenant(tenant),
        None => plugin,
    })
}

fn places(data_dir: &Path, digest: &str) -> (PathBuf, PathBuf) {
    let folder = data_dir.join(COPIES);
    (
        folder.join(format!("{digest}.wasm")),
        folder.join(format!("{digest}.toml")),
    )
}

/// Copies what is in use and not yet there, and removes what nobody can go back to any more. `on_probation`: digests
/// that another has taken the place of lately.
///
/// # Errors
/// The first that came up; the rest was copied as far as possible.
pub(super) fn keep_copies<'a>(
    data_dir: &Path,
    library: &'a Library,
    rejections: &'a Rejections,
    on_probation: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    let mut wanted: BTreeMap<&str, Option<&Plugin>> = library
        .iter()
        .map(|plugin| (plugin.digest.as_str(), Some(plugin)))
        .collect();
    let before = rejections.list.iter().map(|entry| entry.before.as_str());
    for digest in before.chain(on_probation) {
        wanted.entry(digest).or_insert(None);
    }
    std::fs::create_dir_all(data_dir.join(COPIES))?;
    let mut failed = None;
    for (digest, plugin) in &wanted {
        let (component, manifest) = places(data_dir, digest);
        let Some(plugin) = plugin.filter(|_| !component.exists()) else {
            continue;
        };
        let copied = plugins::read_bytes(&plugin.path).and_then(|bytes| {
            // It may be another by now; that one comes with the next reload.
            if Digest::of(&bytes) != plugin.digest {
                return Ok(());
            }
            if let Some(about) = &plugin.manifest {
                replace(&manifest, about.text.as_bytes(), Durable::No)?;
            }
            replace(&component, &bytes, Durable::No)
        });
        failed = failed.or(copied.err());
    }
    let names: HashSet<&str> = wanted.into_keys().collect();
    for entry in std::fs::read_dir(data_dir.join(COPIES))?.flatten() {
        let path = entry.path();
        let known = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| names.contains(stem));
        if !known {
            let _ = std::fs::remove_file(path);
        }
    }
    failed.map_or(Ok(()), Err)
}
