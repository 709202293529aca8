//! One bindings module per version of the plugin interface, behind one trait.
//!
//! A component's version is recognised by the names of the interfaces that it exports. What it may import is the
//! sum of what all versions lend, of the harmless part of WASI 0.2, and of `wasi:sockets` and `wasi:http` as this host
//! has them.

#[cfg(test)]
mod next;
mod v0_1;

use super::store::State;
use crate::{
    capability::log,
    domain::{
        job::Job,
        outcome::{Answer, PluginFault},
        spec::Kind,
    },
};
use std::pin::Pin;
use wasmtime::{
    Engine, Store,
    component::{Instance, InstancePre, Linker},
};

/// Of the exports of a component that is no plugin, a message names that many, up to that length.
const NAMES_MAX: usize = 5;
const NAME_BYTES_MAX: usize = 100;

/// What a plugin says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One line.
    pub summary: String,
    /// JSON Schema of its settings, as text.
    pub settings_schema: String,
}

/// The job does not fit the plugin, which is checked when the configuration is loaded: a mistake of the host's.
#[derive(Debug)]
pub struct Misfit(pub String);

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misfit {}

/// What a guest answered: by the interface's own types, before it is bounded.
pub type Answered = Result<Answer, PluginFault>;

/// A future that borrows the store of one instance.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = wasmtime::Result<T>> + Send + 'a>>;

/// The exports of one component, of whatever version.
pub trait Exports: Send + Sync {
    /// The version of `pulse:plugin` that the component was made for.
    fn version(&self) -> &'static str;

    /// The kinds that it exports, sorted.
    fn kinds(&self) -> Vec<Kind>;

    /// Asks it for its description.
    fn describe<'a>(&'a self, store: &'a mut Store<State>, instance: &'a Instance) -> Call<'a, Description>;

    /// Runs one job of a kind that it exports.
    fn run<'a>(
        &'a self,
        store: &'a mut Store<State>,
        instance: &'a Instance,
        job: &'a Job,
    ) -> Call<'a, Answered>;
}

/// What a version makes of a component: none if it exports nothing of that version.
type Recognise = fn(&InstancePre<State>) -> Result<Option<Box<dyn Exports>>, String>;

/// The versions that this host knows, oldest first. The tests know one more, which shows that there is room for it.
const VERSIONS: &[(&str, Recognise)] = &[
    (v0_1::VERSION, v0_1::recognise),
    #[cfg(test)]
    (next::VERSION, next::recognise),
];

/// Everything that a component may import.
///
/// # Errors
/// When two interfaces claim one name, which the tests rule out.
pub fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasi(&mut linker)?;
    super::wasi::lend(&mut linker)?;
    v0_1::lend(&mut linker)?;
    Ok(linker)
}

/// Recognises what a component exports.
///
/// # Errors
/// One line for people: it is no plugin, or made for a version that this host does not know.
pub fn recognise(pre: &InstancePre<State>) -> Result<Box<dyn Exports>, String> {
    for (_, recognise) in VERSIONS {
        if let Some(exports) = recognise(pre)? {
            return Ok(exports);
        }
    }
    let engine = pre.engine();
    let exported: Vec<String> = pre
        .component()
        .component_type()
        .exports(engine)
        .map(|(name, _)| log::escaped(name, NAME_BYTES_MAX))
        .collect();
    let known: Vec<&str> = VERSIONS.iter().map(|(version, _)| *version).collect();
    let known = known.join(" and ");
    Err(
        match exported.iter().find(|name| name.starts_with("pulse:plugin/")) {
            Some(other) => format!("was made for {other}; this host knows pulse:plugin@{known}"),
            None if exported.is_empty() => {
                format!("exports nothing; a plugin exports interfaces of pulse:plugin@{known}")
            }
            None => format!(
                "exports {}{}, but none of the interfaces of pulse:plugin@{known}, so it is no plugin",
                exported.get(..NAMES_MAX).unwrap_or(&exported).join(", "),
                match exported.len().saturating_sub(NAMES_MAX) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                }
            ),
        },
    )
}

/// Clocks, random, standard streams, and what standard libraries drag in. No arguments, no environment, no
/// files.
fn wasi(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use wasmtime_wasi::{
        WasiView as _,
        cli::{WasiCli, WasiCliView as _},
        filesystem::{WasiFilesystem, WasiFilesystemView as _},
        p2::bindings::{cli, filesystem, random},
        random::WasiRandom,
    };
    wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(linker)?;
    super::guest_time::lend(linker)?;
    cli::environment::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::exit::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_input::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_output::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stdin::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stdout::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    cli::terminal_stderr::add_to_linker::<State, WasiCli>(linker, State::cli)?;
    // Without a preopened directory these can do nothing; many standard libraries import them all the same.
    filesystem::types::add_to_linker::<State, WasiFilesystem>(linker, State::filesystem)?;
    filesystem::preopens::add_to_linker::<State, WasiFilesystem>(linker, State::filesystem)?;
    random::insecure::add_to_linker::<State, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<State, WasiRandom>(linker, |state| state.ctx().ctx.random())?;
    Ok(())
}
