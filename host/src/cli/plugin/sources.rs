//! The sources of a plugin, as far as a change of them is a reason to build it again.
//!
//! That something was written is only a reason to look: what counts is whether the contents are others. So a build that
//! writes into its own folder is not the reason for the next one.

use anyhow::{Context as _, Result};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// Folders into which tools put what they make or fetch.
const MADE: [&str; 8] = [
    "target",
    "node_modules",
    "__pycache__",
    "zig-out",
    "zig-cache",
    "dist",
    "build",
    "venv",
];
/// Folders that are watched.
const FOLDERS_MAX: usize = 1_000;
/// Files that are looked at.
const FILES_MAX: usize = 10_000;
/// Of a file that is looked at.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The contents of all sources.
pub type Contents = BTreeMap<PathBuf, [u8; 32]>;

/// The sources below a folder.
pub struct Sources {
    root: PathBuf,
    watcher: RecommendedWatcher,
}

impl Sources {
    /// Has `changed` called when something may have changed.
    pub fn watch(root: &Path, changed: impl Fn() + Send + 'static) -> Result<Self> {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // That a file was read changes nothing, and reading is what follows.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                changed();
            }
        })
        .with_context(|| format!("{} can't be watched", root.display()))?;
        let mut sources = Self {
            root: root.to_owned(),
            watcher,
        };
        // Watched before anything is read, so that no change falls between.
        sources.look()?;
        Ok(sources)
    }

    /// What is there now, and watched from here on: every folder anew, since one that went and came back under its
    /// name is another one.
    pub fn look(&mut self) -> Result<Contents> {
        let mut contents = Contents::new();
        let mut folders = vec![self.root.clone()];
        let mut watched = 0;
        while let Some(folder) = folders.pop() {
            if watched >= FOLDERS_MAX {
                tracing::warn!("more than {FOLDERS_MAX} folders; the rest is not watched");
                break;
            }
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Err(error) if has_gone(&error) && folder != self.root => continue,
                watching => watching.with_context(|| format!("{} can't be watched", folder.display()))?,
            }
            watched += 1;
            // One that has gone meanwhile has nothing in it.
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let Ok(kind) = entry.file_type() else {
                    continue;
                };
                if kind.is_dir() && !name.starts_with('.') && !MADE.contains(&&*name) {
                    folders.push(path);
                } else if kind.is_file() && is_source(&name) && contents.len() < FILES_MAX {
                    contents.extend(digest(&path).map(|digest| (path, digest)));
                }
            }
        }
        Ok(contents)
    }
}

fn has_gone(error: &notify::Error) -> bool {
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Hidden files, what editors leave beside a file, and what was built are none.
fn is_source(name: &str) -> bool {
    let made = [".wasm", ".o", ".swp", "~", ".tmp", ".pyc"];
    !name.starts_with('.') && !made.iter().any(|end| name.ends_with(end))
}

fn digest(path: &Path) -> Option<[u8; 32]> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).ok()?;
    let mut hasher = Sha256::new();
    let mut bounded = file.take(FILE_BYTES_MAX);
    std::io::copy(&mut bounded, &mut hasher).ok()?;
    Some(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn only_other_contents_count_and_what_is_made_does_not() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("target")).unwrap();
        std::fs::write(path("a.rs"), "one").unwrap();
        let (sender, changed) = channel();
        let mut sources = Sources::watch(folder.path(), move || {
            let _ = sender.send(());
        })
        .unwrap();
        let before = sources.look().unwrap();
        std::fs::write(path("a.rs"), "one").unwrap();
        std::fs::write(path("target/b.rs"), "made").unwrap();
        std::fs::write(path("a.wasm"), "made").unwrap();
        changed.recv().unwrap();
        assert_eq!(sources.look().unwrap(), before);
        std::fs::create_dir(path("src")).unwrap();
        std::fs::write(path("src/c.rs"), "two").unwrap();
        let after = sources.look().unwrap();
        assert_ne!(after, before);
        // A folder that goes and comes back is watched again.
        std::fs::remove_dir_all(path("src")).unwrap();
        assert_eq!(sources.look().unwrap(), before);
        std::fs::create_dir(path("src")).unwrap();
        std::fs::write(path("src/c.rs"), "two").unwrap();
        assert_eq!(sources.look().unwrap(), after);
        // One that goes between two looks, too.
        std::fs::rename(path("src"), path("target/src")).unwrap();
        std::fs::create_dir(path("src")).unwrap();
        std::fs::write(path("src/c.rs"), "two").unwrap();
        assert_eq!(sources.look().unwrap(), after);
        while changed.try_recv().is_ok() {}
        std::fs::write(path("src/c.rs"), "three").unwrap();
        changed.recv().unwrap();
        assert_ne!(sources.look().unwrap(), after);
    }
}
