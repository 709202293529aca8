//! What makes the host reload: a signal, a file that changed, a new component that faults, or a change over the API.
//!
//! Events of the file system only say that somebody should look; what a reload finds is what counts. They are waited for
//! to end first, so that a component which is being copied is not read half-way.

use super::{
    lock,
    reload::{Done, FILES_CHANGED, Reloader, Suspect},
};
use crate::{
    domain::time::Wall,
    http::{
        Wish,
        change::{CHANGES_MAX, Change},
    },
    plugins,
    sandbox::Shelf,
};
use anyhow::{Context as _, Result};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, event::ModifyKind};
use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

/// Files that were quiet for that long are read.
const QUIET: Duration = Duration::from_millis(300);
/// Files that never are quiet are read that long after the first event all the same.
const QUIET_MAX: Duration = Duration::from_secs(5);
/// After a reload because of files, others are waited for so many times as long as it took: whoever writes all the time,
/// such as a tenant in his own folder, has the host read for a fifth of one core's time at most.
const REST: u32 = 4;
const REST_MAX: Duration = Duration::from_secs(60);
/// Folders that are watched, and entries of one folder that are looked at for folders in it.
const FOLDERS_MAX: usize = 8_192;
/// By how much the time of a file may be behind: a tick of the slowest kernels.
const TICK_MS: u64 = 10;
/// Suspects that may wait; one that finds no room comes again with its next quarantine.
pub(super) const SUSPECTS_MAX: usize = 64;

/// Reloads whenever there is a reason, until it is dropped. `since`: when the reading of what runs began.
pub(super) async fn serve(
    mut reloader: Reloader,
    since: Wall,
    shelf: Arc<Shelf>,
    mut hangup: Signal,
    mut suspects: mpsc::Receiver<Suspect>,
    mut wishes: mpsc::Receiver<Wish>,
    mut changes: mpsc::Receiver<Change>,
) {
    let own = reloader.data_dir().canonicalize().ok();
    let mut eyes = Eyes::open(own.clone());
    let Some((back, wanted)) = blocking(reloader, |reloader| {
        reloader.keep_copies();
        folders(reloader)
    })
    .await
    else {
        return;
    };
    reloader = back;
    eyes.look_at(wanted);
    // Nothing was watched before: what has changed since it was read is found by its time, or not at all.
    let watched = eyes.folders.clone();
    let Some((back, changed)) = blocking(reloader, move |_| {
        watched
            .iter()
            .any(|folder| has_changed(folder, own.as_deref(), since))
    })
    .await
    else {
        return;
    };
    reloader = back;
    eyes.pending = changed;
    loop {
        let cause = tokio::select! {
            Some(()) = hangup.recv() => Cause::Signal,
            Some(suspect) = suspects.recv() => Cause::Suspect(suspect),
            Some(wish) = wishes.recv() => {
                // What is read now is what all of them want, who have asked so far.
                let others = std::iter::from_fn(|| wishes.try_recv().ok());
                Cause::Asked(std::iter::once(wish).chain(others).collect())
            }
            Some(change) = changes.recv() => {
                // Those that wait together come into force together.
                let others = std::iter::from_fn(|| changes.try_recv().ok());
                Cause::Changes(std::iter::once(change).chain(others).take(CHANGES_MAX).collect())
            }
            () = eyes.changed() => Cause::Files,
        };
        let of_files = matches!(cause, Cause::Files);
        let answer = blocking(reloader, move |reloader| {
            let (begun, clock) = (reloader.clock().mono(), reloader.clock().clone());
            let done = match cause {
                Cause::Signal => Some(reloader.reload("SIGHUP")),
                Cause::Files => Some(reloader.reload(FILES_CHANGED)),
                Cause::Suspect(suspect) => reloader.suspect(&suspect),
                Cause::Changes(changes) => {
                    reloader.change(changes);
                    None
                }
                Cause::Asked(wishes) => {
                    let by: Vec<&str> = wishes.iter().map(|wish| &*wish.by).collect();
                    let done = reloader.reload(&format!("asked for by {}", by.join(", ")));
                    for wish in wishes {
                        // Who asked may have gone.
                        let _ = wish.told.send(done.told.clone());
                    }
                    Some(done)
                }
            };
            (done, clock.mono().since(begun), folders(reloader))
        });
        // None: the runtime is shutting down.
        let Some((back, (done, took, wanted))) = answer.await else {
            return;
        };
        reloader = back;
        if of_files {
            eyes.rest = (took * REST).min(REST_MAX);
        }
        if let Some((number, after)) = done.and_then(|Done { retired, .. }| retired) {
            let shelf = Arc::clone(&shelf);
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                shelf.forget(number);
            });
        }
        eyes.look_at(wanted);
    }
}

enum Cause {
    Signal,
    Files,
    Suspect(Suspect),
    Asked(Vec<Wish>),
    Changes(Vec<Change>),
}

/// Runs what blocks where nothing else waits for it.
async fn blocking<T: Send + 'static>(
    mut reloader: Reloader,
    work: impl FnOnce(&mut Reloader) -> T + Send + 'static,
) -> Option<(Reloader, T)> {
    let done = tokio::task::spawn_blocking(move || {
        let answer = work(&mut reloader);
        (reloader, answer)
    });
    done.await.ok()
}

/// The signal that asks for a reload.
///
/// # Errors
/// When no handler can be installed.
pub(super) fn hangup() -> Result<Signal> {
    signal(SignalKind::hangup()).context("no handler for SIGHUP")
}

/// Watches folders.
struct Eyes {
    /// None: nothing can be watched here.
    watcher: Option<RecommendedWatcher>,
    events: mpsc::Receiver<()>,
    /// So that the channel stays open where nothing is watched.
    _sender: mpsc::Sender<()>,
    folders: BTreeSet<PathBuf>,
    /// Something has changed that nobody has looked at: kept here, since whoever waits for it may stop half-way.
    pending: bool,
    /// That long nobody is to look.
    rest: Duration,
}

impl Eyes {
    /// What happens in the folder `own` is of the host itself.
    fn open(own: Option<PathBuf>) -> Self {
        let (sender, events) = mpsc::channel(1);
        let told = sender.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let matters = match event {
                Ok(event) => {
                    let changes = matches!(
                        event.kind,
                        EventKind::Create(_)
                            | EventKind::Remove(_)
                            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Name(_) | ModifyKind::Any)
                    );
                    let others = |path: &PathBuf| own.as_ref().is_none_or(|own| !path.starts_with(own));
                    // Without a path, events were lost.
                    changes && (event.paths.is_empty() || event.paths.iter().any(others))
                        || event.need_rescan()
                }
                Err(_) => true,
            };
            if matters {
                // One that waits already says the same.
                let _ = told.try_send(());
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!("files can't be watched ({error}); SIGHUP makes the host reload them");
            })
            .ok();
        Self {
            watcher,
            events,
            _sender: sender,
            folders: BTreeSet::new(),
            pending: false,
            rest: Duration::ZERO,
        }
    }

    /// Watches these folders from now on. Something may have come into a new one in between.
    fn look_at(&mut self, wanted: BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for gone in self.folders.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        let mut failed = None;
        let mut watched: BTreeSet<PathBuf> = self.folders.intersection(&wanted).cloned().collect();
        for folder in wanted.difference(&self.folders) {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.pending = true;
                    watched.insert(folder.clone());
                }
                Err(error) => failed = failed.or(Some((folder.clone(), error))),
            }
        }
        if let Some((folder, error)) = failed {
            tracing::warn!(
                "{} can't be watched ({error}); SIGHUP makes the host reload what changes there",
                folder.display()
            );
        }
        self.folders = watched;
    }

    /// Something changed, and is quiet now.
    async fn changed(&mut self) {
        tokio::time::sleep(self.rest).await;
        self.rest = Duration::ZERO;
        if !self.pending && self.events.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        self.pending = true;
        let settle = async { while tokio::time::timeout(QUIET, self.events.recv()).await.is_ok() {} };
        let _ = tokio::time::timeout(QUIET_MAX, settle).await;
        self.pending = false;
    }
}

/// Whether a folder, or a file in it, has become another since then. A file system tells the time of the kernel's last tick.
fn has_changed(folder: &Path, own: Option<&Path>, since: Wall) -> bool {
    let since = i64::try_from(since.0.saturating_sub(TICK_MS)).unwrap_or(i64::MAX);
    let is_later = |path: &Path| {
        path.metadata().is_ok_and(|about| {
            let ms = about.ctime().saturating_mul(1_000) + about.ctime_nsec() / 1_000_000;
            ms >= since
        })
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths = entries.take(FOLDERS_MAX).map(|entry| entry.path());
    // What was removed shows in the folder alone; one in which the host has just made its own shows that.
    let holds_own = own.is_some_and(|own| own.parent() == Some(folder));
    !holds_own && is_later(folder) || paths.any(|path| Some(&*path) != own && is_later(&path))
}

/// The folders in which a change matters: those of plugins, one level down too, and those of configurations.
fn folders(reloader: &Reloader) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut add = |path: &Path| {
        if folders.len() < FOLDERS_MAX
            && let Ok(real) = path.canonicalize()
        {
            folders.insert(real);
        }
    };
    let holder = |path: &Path| match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let (sources, config) = reloader.sources();
    let tenants = reloader.tenant_folders();
    for path in sources.plugins.iter().chain(&tenants.plugins) {
        if !path.is_dir() {
            add(&holder(path));
            continue;
        }
        add(path);
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        for entry in entries.take(FOLDERS_MAX) {
            if entry.path().join(plugins::MANIFEST).is_file() {
                add(&entry.path());
            }
        }
    }
    for path in std::iter::once(config).chain(tenants.configs.iter().map(AsRef::as_ref)) {
        if path.is_dir() {
            add(path);
        } else if path != Path::new("-") {
            add(&holder(path));
        }
    }
    add(&holder(&lock::path(sources.places(), Some(config))));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn what_became_another_while_it_was_read_is_found_by_its_time() {
        let folder = tempfile::TempDir::new().unwrap();
        let (file, own) = (folder.path().join("a.toml"), folder.path().join("data"));
        let before = Clock::system().wall();
        std::fs::create_dir(&own).unwrap();
        assert!(
            !has_changed(folder.path(), Some(&own), before),
            "it is the host's own"
        );
        assert!(has_changed(folder.path(), None, before));
        std::fs::write(&file, "a").unwrap();
        let after = Wall(before.0 + 60_000);
        let changed = |since| has_changed(folder.path(), Some(&own), since);
        assert!(changed(before), "it was written a moment ago");
        assert!(!changed(after));
        // The host's own folder is no matter: only of what lies beside it.
        let inner = own.join("inner");
        std::fs::create_dir(&inner).unwrap();
        assert!(!has_changed(&own, Some(&inner), after) && has_changed(&own, None, before));
        assert!(!has_changed(&folder.path().join("none"), None, before));
    }
}
