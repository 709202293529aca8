//! What makes the host reload: a signal, a file that changed, or a new component that faults.
//!
//! Events of the file system only say that somebody should look; what a reload finds is what counts. They are waited for
//! to end first, so that a component which is being copied is not read half-way.

use super::{
    lock,
    reload::{Done, Reloader, Suspect},
};
use crate::{plugins, sandbox::Shelf};
use anyhow::{Context as _, Result};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, event::ModifyKind};
use std::{
    collections::BTreeSet,
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
/// Folders that are watched.
const FOLDERS_MAX: usize = 8_192;
/// Suspects that may wait; one that finds no room comes again with its next quarantine.
pub(super) const SUSPECTS_MAX: usize = 64;

/// Reloads whenever there is a reason, until it is dropped.
pub(super) async fn serve(
    mut reloader: Reloader,
    shelf: Arc<Shelf>,
    mut hangup: Signal,
    mut suspects: mpsc::Receiver<Suspect>,
) {
    let mut eyes = Eyes::open(&reloader);
    reloader = match blocking(reloader, |reloader| reloader.keep_copies()).await {
        Some((reloader, ())) => reloader,
        None => return,
    };
    loop {
        let cause = tokio::select! {
            Some(()) = hangup.recv() => Cause::Signal,
            Some(suspect) = suspects.recv() => Cause::Suspect(suspect),
            () = eyes.changed() => Cause::Files,
        };
        let answer = match cause {
            Cause::Signal => blocking(reloader, |reloader| Some(reloader.reload("SIGHUP"))).await,
            Cause::Files => blocking(reloader, |reloader| Some(reloader.reload("files changed"))).await,
            Cause::Suspect(suspect) => blocking(reloader, move |reloader| reloader.suspect(&suspect)).await,
        };
        // The runtime is shutting down.
        let Some((back, done)) = answer else {
            return;
        };
        reloader = back;
        if let Some((number, after)) = done.and_then(|Done { retired }| retired) {
            let shelf = Arc::clone(&shelf);
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                shelf.forget(number);
            });
        }
        eyes.look_at(&reloader);
    }
}

enum Cause {
    Signal,
    Files,
    Suspect(Suspect),
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
    /// A folder is watched that was not before: something may have come into it in between.
    again: bool,
}

impl Eyes {
    fn open(reloader: &Reloader) -> Self {
        let (sender, events) = mpsc::channel(1);
        let own = reloader.data_dir().canonicalize().ok();
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
        let mut eyes = Self {
            watcher,
            events,
            _sender: sender,
            folders: BTreeSet::new(),
            again: false,
        };
        eyes.look_at(reloader);
        eyes.again = false;
        eyes
    }

    /// Watches what is to be watched now.
    fn look_at(&mut self, reloader: &Reloader) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted = folders(reloader);
        for gone in self.folders.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        let mut failed = None;
        let mut watched: BTreeSet<PathBuf> = self.folders.intersection(&wanted).cloned().collect();
        for folder in wanted.difference(&self.folders) {
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.again = true;
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
        if !std::mem::take(&mut self.again) && self.events.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
        let settle = async { while tokio::time::timeout(QUIET, self.events.recv()).await.is_ok() {} };
        let _ = tokio::time::timeout(QUIET_MAX, settle).await;
    }
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
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
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
