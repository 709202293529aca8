//! Compiles components, and keeps what was compiled on disk by digest.
//!
//! Compiling runs in a child process of the same program, under limits of memory and CPU time: an in-process
//! compilation can be neither cancelled nor capped, and what it allocates stays with the host.
//!
//! Loading a forged artefact is execution of foreign code. So the cache is a folder that only the host's own user
//! can write, which is checked before every use; artefacts are named by the component's digest and by everything
//! of the engine that shapes machine code.

use super::engine;
use crate::plugins::{Digest, Found};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{
    hash::{Hash as _, Hasher as _},
    io::Write as _,
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

/// Loads a component: from the cache, or by compiling it into the cache.
///
/// # Errors
/// One line for people: it is no valid component, or the cache can't be used.
pub fn load(
    engine: &Engine,
    compiler: &Compiler,
    data_dir: &Path,
    found: &Found,
) -> Result<Component, String> {
    let Found {
        path, bytes, digest, ..
    } = found;
    let folder = data_dir.join("compiled");
    make_private(&folder)?;
    let artefact = folder.join(format!("{digest}-{:016x}.cwasm", fingerprint(engine)));
    if artefact.exists() {
        match open(engine, &artefact) {
            Ok(component) => return Ok(component),
            Err(error) => tracing::warn!("{error}; compiled anew"),
        }
    }
    tracing::info!(
        "compiling {} ({} KiB); this is done once for each version of a plugin",
        path.display(),
        bytes.len() >> 10
    );
    let fresh = folder.join(format!("{digest}-{}.tmp", std::process::id()));
    let compiled = match compiler {
        Compiler::InProcess => write_compiled(engine, bytes, &fresh),
        Compiler::Child(program) => compile_in_child(program, &folder, bytes, digest, &fresh),
    };
    let moved = compiled.and_then(|()| {
        std::fs::rename(&fresh, &artefact)
            .map_err(|error| format!("{} can't be written: {error}", artefact.display()))
    });
    if let Err(error) = moved {
        let _ = std::fs::remove_file(&fresh);
        return Err(error);
    }
    open(engine, &artefact)
}

/// What the child does: reads a component, compiles it, writes the artefact.
///
/// # Errors
/// One line for people.
pub fn child(from: &Path, to: &Path) -> Result<(), String> {
    limit(Resource::As, CHILD_MEMORY_BYTES)?;
    limit(Resource::Cpu, CHILD_CPU_SECONDS)?;
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
    let from = folder.join(format!("{digest}-{}.wasm", std::process::id()));
    write_private(&from, bytes)?;
    let outcome = run_child(program, &from, to);
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
        use std::io::Read as _;
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

fn open(engine: &Engine, artefact: &Path) -> Result<Component, String> {
    let metadata =
        std::fs::symlink_metadata(artefact).map_err(|error| format!("{}: {error}", artefact.display()))?;
    if !metadata.is_file() || metadata.uid() != own_user() || metadata.mode() & 0o022 != 0 {
        return Err(format!(
            "{} does not belong to this user alone and is not trusted",
            artefact.display()
        ));
    }
    // SAFETY: the artefact was written by this program (see `write_compiled`) into a folder that nobody else can
    // write, which was checked above and in `make_private`; wasmtime checks version and settings itself.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize_file(engine, artefact) };
    component.map_err(|error| format!("{}: {}", artefact.display(), super::classify::one_line(&error)))
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
    let _ = std::fs::remove_file(path);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|error| format!("{} can't be written: {error}", path.display()))
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}
