//! Compiled components on disk.
//!
//! Loading a forged artefact is execution of foreign code. So the cache is a folder that only the host's own user
//! can write, which is checked before every use; artefacts are named by the component's digest and by everything
//! of the engine that shapes machine code. A damaged artefact is no better than a forged one, and wasmtime looks at little
//! more than its head: beside each lies its own digest. Components that could not be compiled are remembered too, so
//! that one which takes all the time there is takes it once.
//!
//! Invariant: once plugins have been loaded, the folder is no larger than it may be, but for what was used in the last ten
//! minutes: that stays, because another process may be about to load it, and the next loading looks at it again.

use crate::{domain::host::CompilerSettings, plugins::Digest};
use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use wasmtime::{Engine, component::Component};

/// The folder's name in the data directory.
const FOLDER: &str = "compiled";
/// Ending of files that are nobody's once their process is gone.
const SCRATCH: &str = "tmp";
/// No compilation takes that long.
const SCRATCH_AGE: Duration = Duration::from_secs(3_600);
/// How long a component that could not be compiled is not tried again.
pub(super) const REFUSAL_AGE: Duration = Duration::from_secs(24 * 3_600);
/// The same of one that took too long: on a machine that is less busy, it may be quick enough.
pub(super) const SLOW_AGE: Duration = Duration::from_secs(3_600);
/// What was used that recently is being loaded.
const IN_USE_AGE: Duration = Duration::from_secs(600);
/// Files that are looked at when room is made.
const FILES_MAX: usize = 100_000;

/// A digest, and no more of what may be there in its place.
const SEAL_BYTES_MAX: u64 = 128;
const REFUSAL_BYTES_MAX: u64 = 8 << 10;

/// The folder of compiled components.
pub(super) struct Cache {
    folder: PathBuf,
}

/// Where one component's artefact is, or would be.
pub(super) struct Entry {
    digest: Digest,
    artefact: PathBuf,
}

/// Why an artefact can't be used.
pub(super) enum Unusable {
    /// It is not what was written there, or somebody else could have written it.
    Damaged(String),
    /// It is whole and does not fit the engines: to compile it anew would change nothing.
    Unfit(String),
}

impl Unusable {
    pub fn into_message(self) -> String {
        match self {
            Self::Damaged(message) | Self::Unfit(message) => message,
        }
    }
}

impl Entry {
    /// Where the artefact's own digest is.
    fn seal(&self) -> PathBuf {
        self.artefact.with_extension("sha256")
    }

    /// Why it could not be compiled.
    fn refusal(&self) -> PathBuf {
        self.artefact.with_extension("refused")
    }

    pub fn exists(&self) -> bool {
        self.artefact.symlink_metadata().is_ok()
    }
}

impl Cache {
    /// Makes the folder in that data directory, or checks it.
    pub fn open(data_dir: &Path) -> Result<Self, String> {
        let folder = data_dir.join(FOLDER);
        make_private(&folder)?;
        Ok(Self { folder })
    }

    pub fn entry(&self, engine: &Engine, digest: &Digest) -> Entry {
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let name = format!("{digest}-{:016x}.cwasm", hasher.finish());
        Entry {
            digest: digest.clone(),
            artefact: self.folder.join(name),
        }
    }

    /// The name of a file that nobody else has, also not a process that has the same number in another container.
    pub fn scratch(&self, digest: &Digest) -> PathBuf {
        let unique = RandomState::new().hash_one(std::process::id());
        self.folder.join(format!("{digest}-{unique:016x}.{SCRATCH}"))
    }

    /// Loads an artefact into each of the engines.
    pub fn load(&self, engines: &[&Engine], entry: &Entry) -> Result<Vec<Component>, Unusable> {
        self.check(entry).map_err(Unusable::Damaged)?;
        let artefact = &entry.artefact;
        // SAFETY: the artefact was written by this program (see `super::load`) into a folder that nobody else can
        // write, which was checked in `open_private` and in `make_private`, and it is whole; wasmtime checks version and
        // settings itself.
        #[allow(unsafe_code)]
        let load = |engine: &&Engine| unsafe { Component::deserialize_file(engine, artefact) };
        let components: wasmtime::Result<Vec<Component>> = engines.iter().map(load).collect();
        components.map_err(|error| Unusable::Unfit(crate::sandbox::classify::one_line(&error)))
    }

    /// Whether an artefact is whole, and nobody else's.
    fn check(&self, entry: &Entry) -> Result<(), String> {
        let (artefact, seal) = (&entry.artefact, entry.seal());
        let sealed = std::io::read_to_string(open_private(&seal)?.take(SEAL_BYTES_MAX))
            .map_err(|error| format!("{}: {error}", seal.display()))?;
        let file = open_private(artefact)?;
        let digest = Digest::of_reader(&file).map_err(|error| format!("{}: {error}", artefact.display()))?;
        if sealed != digest.as_str() {
            return Err(format!("{} is not what was written there", artefact.display()));
        }
        // Says that it was used, for whoever makes room. Where that can't be said, it ages.
        let used = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_NOW,
            },
            last_modification: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
        };
        let _ = rustix::fs::futimens(&file, &used);
        Ok(())
    }

    /// Puts a compiled component and its digest where they are looked for. Whoever looks between the two sees an
    /// artefact that does not match, and compiles for himself.
    pub fn keep(&self, fresh: &Path, entry: &Entry) -> Result<(), String> {
        let artefact = &entry.artefact;
        let unwritable = |error: std::io::Error| format!("{} can't be written: {error}", artefact.display());
        let seal = std::fs::File::open(fresh)
            .and_then(Digest::of_reader)
            .map_err(unwritable)?;
        let fresh_seal = self.scratch(&entry.digest);
        write_private(&fresh_seal, seal.as_str().as_bytes())?;
        let moved =
            std::fs::rename(fresh, artefact).and_then(|()| std::fs::rename(&fresh_seal, entry.seal()));
        let _ = std::fs::remove_file(&fresh_seal);
        moved.map_err(unwritable)
    }

    /// Remembers for that long that it could not be compiled in these circumstances.
    pub fn refuse(&self, entry: &Entry, circumstances: &str, message: &str, age: Duration) {
        let fresh = self.scratch(&entry.digest);
        // If it can't be remembered, it is found out again.
        if write_private(
            &fresh,
            format!("{circumstances}\n{}\n{message}", age.as_secs()).as_bytes(),
        )
        .is_ok()
        {
            let _ = std::fs::rename(&fresh, entry.refusal());
        }
        let _ = std::fs::remove_file(&fresh);
    }

    /// Why it could not be compiled in these circumstances, if that was found out lately.
    pub fn refused(&self, entry: &Entry, circumstances: &str) -> Option<String> {
        let path = entry.refusal();
        let file = open_private(&path).ok()?;
        let now = self.now().ok()?;
        let age = now
            .duration_since(file.metadata().ok()?.modified().ok()?)
            .unwrap_or_default();
        let text = std::io::read_to_string(file.take(REFUSAL_BYTES_MAX)).ok()?;
        let (before, rest) = text.split_once('\n')?;
        let (seconds, message) = rest.split_once('\n')?;
        let remembered = Duration::from_secs(seconds.parse().ok()?).min(REFUSAL_AGE);
        (before == circumstances && age < remembered && !message.is_empty()).then(|| {
            format!(
                "{message} (found out earlier, and tried again {} h after; at once when {} is removed)",
                remembered.as_secs() / 3_600,
                path.display()
            )
        })
    }

    /// The time by the clock of the file system, which also dates the files.
    fn now(&self) -> std::io::Result<SystemTime> {
        let path = self.scratch(&Digest::of(b"now"));
        let made = std::fs::File::create_new(&path).and_then(|file| file.metadata()?.modified());
        let _ = std::fs::remove_file(&path);
        made
    }

    /// Removes what is too old, what killed processes left behind, and what has not been used for longest until the
    /// rest fits. What was used just now stays.
    pub fn make_room(&self, settings: &CompilerSettings) -> std::io::Result<()> {
        let now = self.now()?;
        let age =
            |time: std::io::Result<SystemTime>| time.ok().and_then(|time| now.duration_since(time).ok());
        // By stem: an artefact goes with its digest.
        let mut groups: BTreeMap<OsString, Group> = BTreeMap::new();
        for entry in std::fs::read_dir(&self.folder)?.flatten().take(FILES_MAX) {
            let path = entry.path();
            let (Ok(metadata), Some(stem)) = (path.symlink_metadata(), path.file_stem()) else {
                continue;
            };
            let ending = path
                .extension()
                .and_then(|ending| ending.to_str())
                .unwrap_or_default();
            let too_old = match ending {
                SCRATCH => age(metadata.modified()).is_some_and(|age| age > SCRATCH_AGE),
                "refused" => age(metadata.modified()).is_some_and(|age| age > REFUSAL_AGE),
                _ => false,
            };
            if too_old {
                let _ = std::fs::remove_file(&path);
                continue;
            }
            if !matches!(ending, "cwasm" | "sha256" | "refused") {
                continue;
            }
            let group = groups.entry(stem.to_owned()).or_default();
            group.bytes += metadata.len();
            // Only an artefact is dated by its use.
            let used = match ending {
                "cwasm" => metadata.accessed().max_with(metadata.modified()),
                _ => metadata.modified().ok(),
            };
            if ending == "cwasm" || group.used.is_none() {
                group.used = used.or(group.used);
            }
            group.paths.push(path);
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by_key(|group| group.used);
        let mut bytes: u64 = groups.iter().map(|group| group.bytes).sum();
        for group in groups {
            let unused = group
                .used
                .and_then(|used| now.duration_since(used).ok())
                .unwrap_or_default();
            let superfluous = bytes > settings.cache_bytes && unused > IN_USE_AGE;
            if superfluous || unused > settings.cache_age {
                for path in &group.paths {
                    let _ = std::fs::remove_file(path);
                }
                bytes = bytes.saturating_sub(group.bytes);
            }
        }
        Ok(())
    }
}

/// The files of one component.
#[derive(Default)]
struct Group {
    paths: Vec<PathBuf>,
    bytes: u64,
    used: Option<SystemTime>,
}

trait Later {
    fn max_with(self, other: Self) -> Option<SystemTime>;
}

impl Later for std::io::Result<SystemTime> {
    /// The later of the two that are known.
    fn max_with(self, other: Self) -> Option<SystemTime> {
        self.ok().max(other.ok())
    }
}

/// Opens a file that only this user can write.
fn open_private(path: &Path) -> Result<std::fs::File, String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let unreadable = |error: std::io::Error| format!("{}: {error}", path.display());
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() || metadata.uid() != own_user() || metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "{} does not belong to this user alone and is not trusted",
            path.display()
        ));
    }
    Ok(file)
}

/// Makes a folder that only this user can enter, or checks that it is one.
fn make_private(folder: &Path) -> Result<(), String> {
    let unusable = |error: std::io::Error| {
        format!(
            "the folder for compiled components {} can't be used: {error}; choose another with [host] data-dir",
            folder.display()
        )
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(unusable)?;
    let metadata = std::fs::symlink_metadata(folder).map_err(unusable)?;
    if !metadata.is_dir() || metadata.uid() != own_user() {
        return Err(format!(
            "{} does not belong to this user; compiled components from there are not trusted. Remove it, or choose \
             another with [host] data-dir",
            folder.display()
        ));
    }
    if metadata.mode() & 0o022 != 0 {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(unusable)?;
    }
    Ok(())
}

pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            // A power cut must not leave the name of a file without what is in it.
            file.sync_all()
        })
        .map_err(|error| format!("{} can't be written: {error}", path.display()))
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}
