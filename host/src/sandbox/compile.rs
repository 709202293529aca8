//! Compiles components, and keeps what was compiled on disk by digest.
//!
//! Compiling runs in a child process of the same program, under limits of memory and CPU time: an in-process
//! compilation can be neither cancelled nor capped, and what it allocates stays with the host. This process itself
//! never looks further into a component than at its first eight bytes.

mod cache;
mod child;
mod progress;
mod screen;

pub use child::{SUBCOMMAND, main as child_main, own_program};
pub use screen::screen;

use crate::{domain::host::CompilerSettings, plugins::Found};
use cache::{Cache, Unusable};
use child::Failure;
use progress::Progress;
use std::path::{Path, PathBuf};
use wasmtime::{Engine, component::Component};

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
    settings: &CompilerSettings,
    data_dir: &Path,
    found: &Found,
) -> Result<Vec<Component>, String> {
    let Some(engine) = engines.first() else {
        return Ok(Vec::new());
    };
    let Found {
        path, bytes, digest, ..
    } = found;
    if bytes.len() as u64 > settings.component_bytes {
        return Err(format!(
            "has {} bytes; at most {} are compiled ([host] compiler.max-size)",
            bytes.len(),
            settings.component_bytes
        ));
    }
    let cache = Cache::open(data_dir)?;
    let entry = cache.entry(engine, digest);
    if entry.exists() {
        match cache.load(engines, &entry) {
            Ok(components) => return Ok(components),
            Err(Unusable::Unfit(message)) => return Err(message),
            Err(Unusable::Damaged(message)) => tracing::warn!("{message}; compiled anew"),
        }
    }
    let circumstances = child::circumstances(settings);
    if let Some(message) = cache.refused(&entry, &circumstances) {
        return Err(message);
    }
    tracing::info!(
        "compiling {} ({} KiB); this is done once for each version of a plugin",
        path.display(),
        bytes.len() >> 10
    );
    let fresh = cache.scratch(digest);
    let compiled = match compiler {
        Compiler::InProcess => child::precompile(engine, bytes)
            .and_then(|compiled| cache::write_private(&fresh, &compiled))
            .map_err(Failure::Host),
        Compiler::Child(program) => {
            // The bytes that were looked at are the bytes that are compiled, whatever happens to the plugin's file.
            let from = cache.scratch(digest);
            let outcome = cache::write_private(&from, bytes)
                .map_err(Failure::Host)
                .and_then(|()| {
                    let mut progress = Progress::new(path, bytes.len());
                    child::run(program, &from, &fresh, settings, |waited| progress.so_far(waited))
                });
            let _ = std::fs::remove_file(&from);
            outcome
        }
    };
    match &compiled {
        Err(Failure::Component(message)) => {
            cache.refuse(&entry, &circumstances, message, cache::REFUSAL_AGE);
        }
        Err(Failure::Slow(message)) => {
            cache.refuse(&entry, &circumstances, message, cache::SLOW_AGE);
        }
        Ok(()) | Err(Failure::Host(_)) => {}
    }
    let kept = compiled
        .map_err(Failure::into_message)
        .and_then(|()| cache.keep(&fresh, &entry));
    let _ = std::fs::remove_file(&fresh);
    kept?;
    cache.load(engines, &entry).map_err(Unusable::into_message)
}

/// Removes from the cache in that data directory what is no longer of use, as far as the settings want that.
pub fn make_room(data_dir: &Path, settings: &CompilerSettings) {
    let made =
        Cache::open(data_dir).and_then(|cache| cache.make_room(settings).map_err(|error| error.to_string()));
    if let Err(error) = made {
        tracing::warn!("no room could be made among compiled components: {error}");
    }
}
