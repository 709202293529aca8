//! Loading: the configuration, the plugins of the operator and of tenants, and the one held against the others.

use super::{
    lock,
    wrong::{Why, Wrong},
};
use crate::{
    clock::Clock,
    config::{self, Config, Draft, Keep, Progress},
    domain::{host::HostSettings, plugin::Facts},
    plugins::{self, lock::Gate},
    sandbox::{
        self, Compiler, Library, Plugin, Sandbox, SandboxSettings,
        capacity::{self, Ceilings},
    },
};
use anyhow::{Context as _, Result, anyhow};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where plugins and configuration are.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Folders with plugins, or single plugins.
    pub plugins: &'a [PathBuf],
    /// The configuration; none: where one is looked for.
    pub config: Option<&'a Path>,
    /// The lock of plugins; none: beside the configuration.
    pub lock: Option<&'a Path>,
}

/// Plugins and configuration, loaded and valid; nothing runs yet.
pub struct Prepared {
    /// Where the configuration was.
    pub config_path: PathBuf,
    /// What it says.
    pub config: Config,
    /// The plugins.
    pub library: Arc<Library>,
    /// What may run at the same time.
    pub(super) ceilings: Ceilings,
    pub(super) gate: Gate,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) clock: Clock,
}

/// Finds and reads the configuration, loads the plugins, and holds the one against the others. `progress` hears how
/// the reading of targets gets on; what tenants wrote is kept where it is good, if it is to be.
///
/// # Errors
/// When something that is no matter of configuration fails. What is wrong with the configuration is the inner
/// error.
pub fn prepare(
    places: Places<'_>,
    keep: Keep,
    progress: &mut dyn Progress,
) -> Result<Result<Prepared, Wrong>> {
    let config_path = match config::default_paths(places.config) {
        Ok(path) => path,
        Err(message) => {
            return Ok(Err(Wrong {
                why: Why::Nowhere(message),
                plugins: Vec::new(),
            }));
        }
    };
    let draft = Draft::load(&config_path);
    let mut settings = draft.host();
    let gate = match lock::gate(places, Some(&config_path), settings.lock) {
        Ok(gate) => gate,
        Err(error) => {
            return Ok(Err(Wrong {
                why: Why::Lock(error),
                plugins: Vec::new(),
            }));
        }
    };
    let ceilings = capacity::fit(&mut settings);
    let clock = Clock::system();
    let sandbox = Sandbox::new(SandboxSettings::new(&settings, compiler()?), clock.clone())?;
    let (library, unusable) = load_plugins(&sandbox, places.plugins, &tenants(&draft), &gate);
    Ok(match draft.finish_telling(&facts(&library), keep, progress) {
        Ok(mut config) => {
            config.host.queues = settings.queues;
            for problem in &unusable {
                tracing::warn!("plugin not usable: {problem}");
            }
            Ok(Prepared {
                config_path,
                config,
                library: Arc::new(library),
                ceilings,
                gate,
                sandbox,
                clock,
            })
        }
        Err(unfit) => Err(Wrong {
            why: Why::Problems(unfit),
            plugins: unusable,
        }),
    })
}

/// Components are compiled by this very program, as a child.
pub(super) fn compiler() -> Result<Compiler> {
    let program = sandbox::compile::own_program().context("the path of this program is unknown")?;
    Ok(Compiler::Child(program))
}

/// What looks like a plugin below the given paths, each to be read when its turn comes.
fn candidates(
    paths: &[PathBuf],
) -> (
    impl Iterator<Item = Result<plugins::Found, plugins::Problem>>,
    Vec<plugins::Problem>,
) {
    let (candidates, problems) = plugins::candidates(paths);
    (candidates.into_iter().map(|candidate| candidate.read()), problems)
}

/// Tenants with plugins of their own, and where those are.
pub(super) type Tenants = Vec<(Arc<str>, PathBuf)>;

pub(super) fn tenants(draft: &Draft) -> Tenants {
    draft
        .tenant_plugins()
        .map(|(name, path)| (Arc::clone(name), path.to_owned()))
        .collect()
}

/// Finds and loads every plugin below the given paths, and those of tenants, each in its tenant's namespace.
pub(super) fn load_all(
    sandbox: &Arc<Sandbox>,
    paths: &[PathBuf],
    tenants: &Tenants,
) -> (Vec<Plugin>, Vec<plugins::Problem>) {
    let (candidates, mut problems) = candidates(paths);
    let (mut loaded, more) = sandbox::load_all(sandbox, candidates);
    problems.extend(more);
    for (tenant, folder) in tenants {
        let (candidates, found_wrong) = plugins::tenant_candidates(folder);
        let (own, unusable) = sandbox::load_all(sandbox, plugins::bounded(candidates));
        let wrong = found_wrong.into_iter().chain(unusable);
        problems.extend(wrong.map(|problem| plugins::Problem {
            message: format!("{} (a plugin of the tenant `{tenant}`)", problem.message),
            ..problem
        }));
        loaded.extend(own.into_iter().map(|plugin| plugin.of_tenant(tenant)));
    }
    (loaded, problems)
}

/// Loads every plugin below the given paths, and those of tenants, as far as the gate lets them in.
pub(super) fn load_plugins(
    sandbox: &Arc<Sandbox>,
    paths: &[PathBuf],
    tenants: &Tenants,
    gate: &Gate,
) -> (Library, Vec<plugins::Problem>) {
    let (loaded, mut problems) = load_all(sandbox, paths, tenants);
    let (library, refused) = Library::admit(loaded, gate);
    problems.extend(refused);
    (library, problems)
}

/// What the configuration needs to know about the plugins.
pub(super) fn facts(library: &Library) -> BTreeMap<String, Facts> {
    library
        .iter()
        .map(|plugin| (plugin.facts.name.to_string(), plugin.facts.clone()))
        .collect()
}

/// A sandbox for one execution at a time, with the host's settings if there are any.
pub(super) fn small_sandbox_for(settings: Option<HostSettings>) -> Result<Arc<Sandbox>> {
    let settings = settings.unwrap_or_else(|| Draft::from_text("", "", Path::new(".")).host());
    let mut settings = SandboxSettings::new(&settings, compiler()?);
    settings.engines = std::num::NonZeroUsize::MIN;
    settings.slots = 16;
    Sandbox::new(settings, Clock::system())
}

pub(super) fn small_sandbox() -> Result<Arc<Sandbox>> {
    small_sandbox_for(None)
}

/// Loads every plugin that the lock lets in, to look at them.
///
/// # Errors
/// When this machine can't run wasm, or the lock can't be used.
pub fn load_for_inspection(places: Places<'_>) -> Result<(Library, Vec<plugins::Problem>)> {
    let config = lock::configuration(places)?;
    let settings = config.as_ref().map(|(_, draft)| draft.host());
    let policy = settings
        .as_ref()
        .map(|settings| settings.lock)
        .unwrap_or_default();
    let gate = lock::gate(places, config.as_ref().map(|(path, _)| path.as_path()), policy)?;
    let tenants = config
        .as_ref()
        .map(|(_, draft)| tenants(draft))
        .unwrap_or_default();
    let sandbox = small_sandbox_for(settings)?;
    Ok(load_plugins(&sandbox, places.plugins, &tenants, &gate))
}

/// Loads one plugin, whatever a lock says: by its name in the given folders or a tenant's, or by its path.
///
/// # Errors
/// When there is no such plugin, or it can't be used; says why.
pub fn inspect(places: Places<'_>, plugin: &str) -> Result<Plugin> {
    let path = Path::new(plugin);
    let named = plugins::full_name_is_valid(plugin) && !path.exists();
    if !named {
        let found = plugins::read(path).map_err(|problem| anyhow!("{problem}"))?;
        return sandbox::load(&small_sandbox()?, found)
            .map_err(|messages| anyhow!("{} is not usable: {}", path.display(), messages.join("; ")));
    }
    let config = lock::configuration(places)?;
    let tenants = config
        .as_ref()
        .map(|(_, draft)| tenants(draft))
        .unwrap_or_default();
    let sandbox = small_sandbox_for(config.map(|(_, draft)| draft.host()))?;
    let (library, problems) = load_plugins(&sandbox, places.plugins, &tenants, &Gate::wide_open());
    let names: Vec<String> = library
        .iter()
        .map(|plugin| plugin.facts.name.to_string())
        .collect();
    library.into_plugin(plugin).ok_or_else(|| {
        let near = names
            .iter()
            .find(|name| strsim::damerau_levenshtein(name, plugin) <= 2);
        let mut message = match near {
            Some(near) => format!("there is no usable plugin `{plugin}`; did you mean `{near}`?"),
            None if names.is_empty() => format!("there is no usable plugin `{plugin}`, nor any other"),
            None => format!(
                "there is no usable plugin `{plugin}`; there is {}",
                names.join(", ")
            ),
        };
        for problem in problems {
            message.push_str(&format!("\nnot usable: {problem}"));
        }
        anyhow!(message)
    })
}
