//! Traces: what happened in the executions that opened incidents, as cases that `pulse-host replay` plays again.
//!
//! Invariant: when everything fails at once, the host has better things to do. What is noted at the same time, what is
//! written in a minute, and what lies in the folder is bounded, and nobody waits for the disk.

use crate::{
    capability::course::{Course, Notes, Origin, Repeat, fresh_seed},
    cases::{RECORDED_BYTES_MAX, Record, Scene},
    clock::Clock,
    domain::time::{Mono, Wall},
    sandbox::{Happened, Keeper, Noting},
};
use anyhow::{Context as _, Result, anyhow};
use std::{
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

/// The folder in the data directory.
pub const FOLDER: &str = "traces";
/// Traces that are kept; the oldest go.
pub const KEPT_MAX: usize = 64;
/// Executions that are noted at the same time.
const NOTED_MAX: usize = 32;
/// Traces that wait to be written.
const WAITING_MAX: usize = 8;
/// Traces that are written in a minute.
const PER_MINUTE: u32 = 16;
const MINUTE: Duration = Duration::from_secs(60);

/// Takes traces and writes them, on a thread of its own.
pub struct Traces {
    clock: Clock,
    noted: Arc<Semaphore>,
    written: Mutex<Written>,
    desk: SyncSender<Happened>,
}

/// How many in the minute that began then.
struct Written {
    since: Mono,
    count: u32,
}

impl Traces {
    /// In that data directory. The thread ends with the value.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(data_dir: &Path, clock: Clock) -> std::io::Result<Arc<Self>> {
        let (desk, waiting) = sync_channel(WAITING_MAX);
        let (folder, own) = (data_dir.join(FOLDER), clock.clone());
        std::thread::Builder::new()
            .name("traces".to_owned())
            .spawn(move || write_all(&folder, &waiting, &own))?;
        Ok(Arc::new(Self {
            written: Mutex::new(Written {
                since: clock.mono(),
                count: 0,
            }),
            clock,
            noted: Arc::new(Semaphore::new(NOTED_MAX)),
            desk,
        }))
    }

    /// One of this minute's.
    fn admit(&self) -> bool {
        let now = self.clock.mono();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(written.since) >= MINUTE {
            *written = Written { since: now, count: 0 };
        }
        written.count += 1;
        written.count <= PER_MINUTE
    }
}

impl Keeper for Traces {
    fn begin(&self) -> Option<Noting> {
        let permit = Arc::clone(&self.noted).try_acquire_owned().ok()?;
        // Without a seed nothing could be repeated.
        let seed = fresh_seed().ok()?;
        let wall = self.clock.wall();
        let notes = Notes::new(
            self.clock.clone(),
            RECORDED_BYTES_MAX,
            Repeat::Numbers(Origin { wall, seed }),
        );
        Some(Noting {
            course: Arc::new(Course::Noted(notes)),
            permit,
        })
    }

    fn keep(&self, happened: Happened) {
        if self.admit() && self.desk.try_send(happened).is_err() {
            tracing::debug!("a trace was not kept: others are still being written");
        }
    }
}

fn write_all(folder: &Path, waiting: &Receiver<Happened>, clock: &Clock) {
    while let Ok(happened) = waiting.recv() {
        match write(folder, &happened, clock.wall()) {
            Ok(path) => tracing::info!(
                monitor = happened.job.spec.name(),
                tenant = &*happened.job.spec.tenant.name,
                "what this check did is kept; to repeat it offline: pulse-host replay {}",
                path.display()
            ),
            Err(error) => tracing::warn!("a trace could not be kept: {error:#}"),
        }
    }
}

fn write(folder: &Path, happened: &Happened, now: Wall) -> Result<PathBuf> {
    let scene = Scene::of(&happened.job).context("the job has no lane")?;
    let (calls, calls_cut) = happened.noting.course.noted();
    let origin = happened.noting.course.origin().context("it can't be repeated")?;
    let record = Record {
        scene: &scene,
        origin,
        facts: &happened.facts,
        calls: &calls,
        calls_cut,
        outcome: &happened.outcome,
        log: &happened.log,
        fuel: happened.fuel,
    };
    let cut = if calls_cut > 0 {
        format!(
            "\n{calls_cut} of its calls were not kept, for want of room ({} KiB).",
            RECORDED_BYTES_MAX >> 10
        )
    } else {
        String::new()
    };
    let head = format!(
        "The check of {}/{} that failed as often as its failure-threshold allows.{cut}\n\
         pulse-host replay plays it again, offline.",
        scene.tenant, scene.monitor
    );
    let text = record.text(&head).map_err(|error| anyhow!(error))?;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let plain = |text: &str| -> String {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        text.chars()
            .take(48)
            .map(|c| if fits(c) { c } else { '_' })
            .collect()
    };
    let name = format!(
        "{}-{}-{:x}.toml",
        plain(&scene.tenant),
        plain(&scene.monitor),
        now.0
    );
    let path = folder.join(name);
    // First: on a disk that is full there is room for the newest only where the oldest were.
    make_room(folder)?;
    put(&path, &text)?;
    Ok(path)
}

/// Writes all of it, or leaves nothing.
fn put(path: &Path, text: &str) -> Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes())
        .inspect_err(|_| {
            // Half of a trace is none. What can't be removed goes with the oldest.
            let _ = std::fs::remove_file(path);
        })
        .with_context(|| path.display().to_string())
}

/// Removes the oldest, so that there is room for one more.
fn make_room(folder: &Path) -> Result<()> {
    let mut traces = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "toml")
            // Whoever looks through traces removes some.
            && let Some(about) = there(entry.metadata())?
        {
            traces.push((about.modified()?, path));
        }
    }
    traces.sort();
    for (_, path) in traces.iter().take((traces.len() + 1).saturating_sub(KEPT_MAX)) {
        there(std::fs::remove_file(path))?;
    }
    Ok(())
}

/// None where a file has gone meanwhile.
fn there<T>(result: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_room_for_so_many() {
        let (clock, hand) = Clock::manual(Mono(1), Wall(0));
        let folder = tempfile::TempDir::new().unwrap();
        let traces = Traces::start(folder.path(), clock).unwrap();
        let admitted = (0..100).filter(|_| traces.admit()).count();
        assert_eq!(admitted, PER_MINUTE as usize);
        hand.advance(MINUTE);
        assert!(traces.admit());
    }

    #[test]
    fn so_many_are_noted_at_once() {
        let (clock, _hand) = Clock::manual(Mono(1), Wall(0));
        let folder = tempfile::TempDir::new().unwrap();
        let traces = Traces::start(folder.path(), clock).unwrap();
        let mut noted: Vec<Noting> = (0..100).map_while(|_| traces.begin()).collect();
        assert_eq!(noted.len(), NOTED_MAX);
        noted.pop();
        assert!(traces.begin().is_some());
    }

    #[test]
    fn a_guest_that_is_noted_has_the_clocks_of_all_others() {
        let (clock, _hand) = Clock::manual(Mono(1), Wall(7));
        let folder = tempfile::TempDir::new().unwrap();
        let traces = Traces::start(folder.path(), clock).unwrap();
        let noting = traces.begin().unwrap();
        assert!(noting.course.time().is_none());
        assert_eq!(noting.course.origin().unwrap().wall, Wall(7));
    }

    #[test]
    fn the_oldest_go() {
        let folder = tempfile::TempDir::new().unwrap();
        for number in 0..KEPT_MAX + 3 {
            let path = folder.path().join(format!("{number}.toml"));
            let file = std::fs::File::create(path).unwrap();
            let when = std::time::UNIX_EPOCH + Duration::from_secs(number as u64);
            file.set_modified(when).unwrap();
        }
        make_room(folder.path()).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), KEPT_MAX - 1);
        assert!(!folder.path().join("3.toml").exists() && folder.path().join("4.toml").exists());
    }

    #[test]
    fn a_trace_that_can_t_be_written_leaves_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("full.toml");
        // Takes every byte and keeps none of them.
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        assert!(put(&path, "x").is_err());
        assert!(path.symlink_metadata().is_err());
        put(&path, "x").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "x");
    }
}
