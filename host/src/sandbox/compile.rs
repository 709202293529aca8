//! Compiles components, and keeps what was compiled on disk by digest.
//!
//! Compiling runs in a child process of the same program, under limits of memory and CPU time: an in-process
//! compilation can be neither cancelled nor capped, and what it allocates stays with the host.
//!
//! Loading a forged artefact is execution of foreign code. So the cache is a folder that only the host's own user
//! can write, which is checked before every use; artefacts are named by the component's digest and by everything
//! of the engine that shapes machine code. A damaged artefact is no better than a forged one, and wasmtime looks at little
//! more than its head: beside each lies its own digest.

use super::engine;
use crate::plugins::{Digest, Found};
use rustix::{
    fs::OFlags,
    process::{Resource, Rlimit, setrlimit},
};
use std::{
    hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState},
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use wasmtime::{Engine, component::Component};

/// The child's address space.
const CHILD_MEMORY_BYTES: u64 = 8 << 30;
/// The child's CPU time.
const CHILD_CPU_SECONDS: u64 = 300;
/// How long the parent waits for it.
const CHILD_WALL: Duration = Duration::from_secs(600);
const CHILD_POLL: Duration = Duration::from_millis(2);
/// What it may write: machine code is some times larger than the component.
const CHILD_FILE_BYTES: u64 = 2 << 30;

/// Ending of files that are nobody's once their process is gone.
const SCRATCH: &str = "tmp";
/// No compilation takes that long.
const SCRATCH_AGE: Duration = Duration::from_secs(3_600);

/// A digest, and no more of what may be there in its place.
const SEAL_BYTES_MAX: u64 = 128;

/// The hidden subcommand that compiles: `pulse-host compile-component FROM TO`.
pub const SUBCOMMAND: &str = "compile-component";

/// Who compiles.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// A child process: this program, which knows [`SUBCOMMAND`].
    Child(PathBuf),
    /// This process itself: for tests and benchmarks, whose program is another one.
    InProcess,
}

/// Loads a component into each of the engines, which are of one making: from the cache, or by compiling it into the
/// cache. What the engines map of the artefact is the same pages.
///
/// # Errors
/// One line for people: it is no valid component, or the cache can't be used.
pub fn load(
    engines: &[&Engine],
    compiler: &Compiler,
    data_dir: &Path,
    found: &Found,
) -> Result<Vec<Component>, String> {
    let Some(engine) = engines.first() else {
        return Ok(Vec::new());
    };
    let Found {
        path, bytes, digest, ..
    } = found;
    let folder = data_dir.join("compiled");
    make_private(&folder)?;
    let artefact = folder.join(format!("{digest}-{:016x}.cwasm", fingerprint(engine)));
    if artefact.symlink_metadata().is_ok() {
        match open(engines, &artefact) {
            Ok(components) => return Ok(components),
            Err(error) => tracing::warn!("{error}; compiled anew"),
        }
    }
    tracing::info!(
        "compiling {} ({} KiB); this is done once for each version of a plugin",
        path.display(),
        bytes.len() >> 10
    );
    let fresh = scratch(&folder, digest);
    let compiled = match compiler {
        Compiler::InProcess => write_compiled(engine, bytes, &fresh),
        Compiler::Child(program) => compile_in_child(program, &folder, bytes, digest, &fresh),
    };
    let kept = compiled.and_then(|()| keep(&folder, digest, &fresh, &artefact));
    let _ = std::fs::remove_file(&fresh);
    kept?;
    open(engines, &artefact)
}

/// Puts a compiled component and its digest where they are looked for. Whoever looks between the two sees an artefact
/// that does not match, and compiles for himself.
fn keep(folder: &Path, digest: &Digest, fresh: &Path, artefact: &Path) -> Result<(), String> {
    let unwritable = |error: std::io::Error| format!("{} can't be written: {error}", artefact.display());
    sweep(folder, fresh).map_err(unwritable)?;
    let seal = std::fs::File::open(fresh)
        .and_then(Digest::of_reader)
        .map_err(unwritable)?;
    let fresh_seal = scratch(folder, digest);
    write_private(&fresh_seal, seal.as_str().as_bytes())?;
    let moved =
        std::fs::rename(fresh, artefact).and_then(|()| std::fs::rename(&fresh_seal, sealed(artefact)));
    let _ = std::fs::remove_file(&fresh_seal);
    moved.map_err(unwritable)
}

/// Where the artefact's own digest is.
fn sealed(artefact: &Path) -> PathBuf {
    artefact.with_extension("sha256")
}

/// The name of a file that nobody else has, also not a process that has the same number in another container.
fn scratch(folder: &Path, digest: &Digest) -> PathBuf {
    let unique = RandomState::new().hash_one(std::process::id());
    folder.join(format!("{digest}-{unique:016x}.{SCRATCH}"))
}

/// Removes what processes that were killed left behind: scratch files much older than this fresh one.
fn sweep(folder: &Path, fresh: &Path) -> std::io::Result<()> {
    let now = fresh.metadata()?.modified()?;
    for entry in std::fs::read_dir(folder)?.flatten() {
        let path = entry.path();
        let age = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .map(|modified| now.duration_since(modified));
        if path.extension().is_some_and(|ending| ending == SCRATCH)
            && matches!(age, Ok(Ok(age)) if age > SCRATCH_AGE)
        {
            let _ = std::fs::remove_file(path);
        }
    }
    Ok(())
}

/// What the child does: reads a component, compiles it, writes the artefact.
///
/// # Errors
/// One line for people.
pub fn child(from: &Path, to: &Path) -> Result<(), String> {
    limit(Resource::As, CHILD_MEMORY_BYTES)?;
    limit(Resource::Cpu, CHILD_CPU_SECONDS)?;
    limit(Resource::Fsize, CHILD_FILE_BYTES)?;
    let bytes = std::fs::read(from).map_err(|error| format!("{} can't be read: {error}", from.display()))?;
    let engine = Engine::new(&engine::base()).map_err(|error| format!("no engine: {error}"))?;
    write_compiled(&engine, &bytes, to)
}

fn limit(resource: Resource, most: u64) -> Result<(), String> {
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(resource, limit).map_err(|error| format!("no limit could be set: {error}"))
}

fn write_compiled(engine: &Engine, bytes: &[u8], to: &Path) -> Result<(), String> {
    let compiled = engine
        .precompile_component(bytes)
        .map_err(|error| format!("does not compile: {}", super::classify::one_line(&error)))?;
    write_private(to, &compiled)
}

fn compile_in_child(
    program: &Path,
    folder: &Path,
    bytes: &[u8],
    digest: &Digest,
    to: &Path,
) -> Result<(), String> {
    // The bytes that were looked at are the bytes that are compiled, whatever happens to the plugin's file.
    let from = scratch(folder, digest);
    let outcome = write_private(&from, bytes).and_then(|()| run_child(program, &from, to));
    let _ = std::fs::remove_file(&from);
    outcome
}

fn run_child(program: &Path, from: &Path, to: &Path) -> Result<(), String> {
    let mut child = Command::new(program)
        .arg(SUBCOMMAND)
        .args([from, to])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("the compiler {} can't be started: {error}", program.display()))?;
    let mut waited = Duration::ZERO;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if waited < CHILD_WALL => {
                std::thread::sleep(CHILD_POLL);
                waited += CHILD_POLL;
            }
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "took longer than {CHILD_WALL:?} to compile and was stopped"
                ));
            }
            Err(error) => return Err(format!("the compiler got lost: {error}")),
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(4096).read_to_string(&mut said);
    }
    let last = said
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    Err(match (last, status.code()) {
        ("", _) | (_, None) => format!(
            "could not be compiled within {} s of CPU time and {} GiB of memory ({status})",
            CHILD_CPU_SECONDS,
            CHILD_MEMORY_BYTES >> 30
        ),
        (line, Some(_)) => line.to_owned(),
    })
}

fn fingerprint(engine: &Engine) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn open(engines: &[&Engine], artefact: &Path) -> Result<Vec<Component>, String> {
    let seal = std::io::read_to_string(open_private(&sealed(artefact))?.take(SEAL_BYTES_MAX))
        .map_err(|error| format!("{}: {error}", sealed(artefact).display()))?;
    let digest = Digest::of_reader(open_private(artefact)?)
        .map_err(|error| format!("{}: {error}", artefact.display()))?;
    if seal != digest.as_str() {
        return Err(format!("{} is not what was written there", artefact.display()));
    }
    // SAFETY: the artefact was written by this program (see `write_compiled`) into a folder that nobody else can
    // write, which was checked in `open_private` and in `make_private`, and it is whole; wasmtime checks version and
    // settings itself.
    #[allow(unsafe_code)]
    let load = |engine: &&Engine| unsafe { Component::deserialize_file(engine, artefact) };
    let components: wasmtime::Result<Vec<Component>> = engines.iter().map(load).collect();
    components.map_err(|error| format!("{}: {}", artefact.display(), super::classify::one_line(&error)))
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

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), String> {
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
