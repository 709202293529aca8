//! Loading: the configuration, the plugins of the operator and of tenants, and the one held against the others.

use super::{
    lock,
    rollback::Rejections,
    wrong::{Why, Wrong},
};
use crate::{
    clock::Clock,
    config::{self, Config, Draft, Filed, Keep, Progress},
    domain::{host::HostSettings, managed::Documents, plugin::Facts, tenant::Tenant, time::Wall},
    plugins::{self, lock::Gate},
    sandbox::{
        self, Compiler, Library, Plugin, Sandbox, SandboxSettings,
        capacity::{self, Ceilings},
    },
    store::Managed,
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
    /// When the reading of all that began: what has changed since may not be in it.
    pub(super) since: Wall,
    /// Monitors that were given over the API, those among them that are not in effect.
    pub(super) documents: Documents,
    /// Where all of that was looked for.
    pub(super) sources: Sources,
    pub(super) folders: Folders,
}

/// Where tenants' own files lie.
#[derive(Clone, Debug, Default)]
pub(super) struct Folders {
    pub plugins: Vec<PathBuf>,
    pub configs: Vec<PathBuf>,
}

/// The same as [`Places`], to be kept.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub plugins: Vec<PathBuf>,
    pub config: Option<PathBuf>,
    pub lock: Option<PathBuf>,
}

impl Sources {
    fn of(places: Places<'_>) -> Self {
        Self {
            plugins: places.plugins.to_vec(),
            config: places.config.map(Path::to_owned),
            lock: places.lock.map(Path::to_owned),
        }
    }

    pub fn places(&self) -> Places<'_> {
        Places {
            plugins: &self.plugins,
            config: self.config.as_deref(),
            lock: self.lock.as_deref(),
        }
    }
}

impl Prepared {
    /// Whose all of it is, the operator first.
    pub(super) fn tenants(&self) -> Vec<Arc<Tenant>> {
        std::iter::once(&self.config.operator)
            .chain(self.config.tenants.iter().map(|state| &state.tenant))
            .map(Arc::clone)
            .collect()
    }
}

/// A generation of plugins and configuration that runs, beside which another is prepared.
pub(super) struct Present<'a> {
    pub sandbox: &'a Arc<Sandbox>,
    pub clock: &'a Clock,
    /// What can't be used of the new one stays as it is here.
    pub library: &'a Library,
    /// Whose accounts go on.
    pub tenants: &'a [Arc<Tenant>],
    /// What stands beside the files.
    pub filed: &'a Filed,
}

/// Finds and reads the configuration, loads the plugins, and holds the one against the others. `progress` hears how
/// the reading of targets gets on; what tenants wrote is kept where it is good, if it is to be. Then it is to be run, and
/// monitors that were given over the API are put beside those of files.
///
/// # Errors
/// When something that is no matter of configuration fails. What is wrong with the configuration is the inner
/// error.
pub fn prepare(
    places: Places<'_>,
    keep: Keep,
    progress: &mut dyn Progress,
) -> Result<Result<Prepared, Wrong>> {
    prepare_beside(places, keep, progress, None)
}

/// The same, to take the place of the present generation, in its sandbox.
pub(super) fn prepare_beside(
    places: Places<'_>,
    keep: Keep,
    progress: &mut dyn Progress,
    present: Option<Present<'_>>,
) -> Result<Result<Prepared, Wrong>> {
    let wrong = |why| {
        Ok(Err(Wrong {
            why,
            plugins: Vec::new(),
        }))
    };
    let since = match &present {
        Some(present) => present.clock.wall(),
        None => Clock::system().wall(),
    };
    let config_path = match config::default_paths(places.config) {
        Ok(path) => path,
        Err(message) => return wrong(Why::Nowhere(message)),
    };
    let mut draft = Draft::load(&config_path);
    let mut settings = draft.host();
    let gate = match lock::gate(places, Some(&config_path), settings.lock) {
        Ok(gate) => gate,
        Err(error) => return wrong(Why::Lock(error)),
    };
    let ceilings = capacity::fit(&mut settings);
    let filed = match &present {
        Some(present) => present.filed.clone(),
        // Whoever only looks looks at the files.
        None if keep == Keep::Good && settings.store.enabled => Filed {
            documents: Managed::read(&settings.data_dir)?,
            aside: None,
        },
        None => Filed::default(),
    };
    let documents = filed.documents.clone();
    draft.file(filed);
    let (sandbox, clock) = match &present {
        Some(present) => {
            draft.continue_accounts(present.tenants);
            (Arc::clone(present.sandbox), present.clock.clone())
        }
        None => {
            let clock = Clock::system();
            let settings = SandboxSettings::new(&settings, compiler()?);
            (Sandbox::new(settings, clock.clone())?, clock)
        }
    };
    let own = tenants(&draft);
    let folders = Folders {
        plugins: own.iter().map(|(_, folder, _)| folder.clone()).collect(),
        configs: draft.tenant_configs().map(Path::to_owned).collect(),
    };
    let (loaded, mut unusable) = load_all(&sandbox, places.plugins, &own);
    let rejections = Rejections::read(&settings.data_dir);
    let (loaded, rejected) = rejections.sift(&sandbox, loaded);
    let (mut library, refused) = Library::admit(loaded, &gate);
    unusable.extend(rejected.into_iter().chain(refused));
    if let Some(present) = &present {
        library = hold_on(library, present.library, &mut unusable);
    }
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
                documents,
                ceilings,
                gate,
                sandbox,
                clock,
                since,
                sources: Sources::of(places),
                folders,
            })
        }
        Err(unfit) => Err(Wrong {
            why: Why::Problems(unfit),
            plugins: unusable,
        }),
    })
}

/// Where what lies in a plugin's place now can't be used, the present one stays.
fn hold_on(library: Library, present: &Library, problems: &mut [plugins::Problem]) -> Library {
    let mut held = Vec::new();
    for plugin in present.shared() {
        if library.named(&plugin.facts.name).is_some() {
            continue;
        }
        let folder = plugin.path.parent();
        let about = |path: &Path| {
            path == plugin.path
                || Some(path) == folder && plugin.manifest.is_some()
                || path.ends_with(plugins::MANIFEST) && path.parent() == folder
        };
        let mut lies_there = false;
        for problem in problems.iter_mut().filter(|problem| about(&problem.path)) {
            lies_there = true;
            problem
                .message
                .push_str("; the one that was loaded before stays in use");
        }
        if lies_there {
            held.push(Arc::clone(plugin));
        }
    }
    library.with(held)
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

/// Tenants with plugins of their own, where those are, and what they must not lead out of.
pub(super) type Tenants = Vec<(Arc<str>, PathBuf, PathBuf)>;

pub(super) fn tenants(draft: &Draft) -> Tenants {
    draft
        .tenant_plugins()
        .map(|(name, folder, within)| (Arc::clone(name), folder.to_owned(), within.to_owned()))
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
    for (tenant, folder, within) in tenants {
        let (candidates, found_wrong) = plugins::tenant_candidates(folder, within);
        let (own, unusable, left) = sandbox::load_of_tenant(sandbox, plugins::bounded(candidates));
        let late = (left > 0).then(|| plugins::Problem {
            path: folder.clone(),
            message: format!(
                "{left} of the plugins in it were not loaded: those before them took more time than a tenant's may, so \
                 that others do not wait for them. What was compiled is compiled: the next start gets further"
            ),
        });
        let wrong = found_wrong.into_iter().chain(unusable).chain(late);
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
    library
        .named(plugin)
        .map(|plugin| Plugin::clone(plugin))
        .ok_or_else(|| {
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
