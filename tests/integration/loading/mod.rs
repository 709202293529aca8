//! Loading: what is no plugin is refused with a reason, whatever it is; and what was compiled is kept, but only trusted
//! when it is whole and nobody else could have written it.

mod cache;
mod fuzz;
mod hostile;
mod limits;
mod lock;
mod mutants;
mod refused;

use crate::support::sandbox::settings;
use pulse_host::{
    clock::Clock,
    domain::host::CompilerSettings,
    plugins::Found,
    sandbox::{Compiler, Library, Sandbox, SandboxSettings},
};
use std::{path::Path, sync::Arc};

/// A sandbox that keeps what it compiles there.
fn sandbox(data_dir: &Path, compiler: Compiler) -> Arc<Sandbox> {
    sandbox_with(data_dir, compiler, CompilerSettings::default())
}

/// The same, and what compiling may take.
fn sandbox_with(data_dir: &Path, compiler: Compiler, compiling: CompilerSettings) -> Arc<Sandbox> {
    let settings = SandboxSettings {
        data_dir: data_dir.to_owned(),
        compiler,
        compiling,
        ..settings(2)
    };
    Sandbox::new(settings, Clock::system()).unwrap()
}

/// The names of what was loaded, and the problems with the rest.
fn load(sandbox: &Arc<Sandbox>, found: Vec<Found>) -> (Vec<String>, Vec<String>) {
    let (library, problems) = Library::load(sandbox, found);
    let names = library
        .iter()
        .map(|plugin| plugin.facts.name.to_string())
        .collect();
    (names, problems.iter().map(ToString::to_string).collect())
}
