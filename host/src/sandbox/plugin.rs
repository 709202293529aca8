//! Loaded plugins: compiled, linked, asked for their description, and checked against what their manifest says.

use super::{
    Sandbox,
    abi::{self, Description, Exports},
    compile, execute, schema,
    store::State,
};
use crate::{
    capability::log,
    domain::{
        deadman,
        limits::Limits,
        outcome::Outcome,
        plugin::{Capability, Facts},
    },
    plugins::{
        self, Digest, Found, Manifest, Problem, Reach,
        lock::{Gate, Loaded, Verdict},
    },
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use wasmtime::component::InstancePre;

/// What the description may take.
const DESCRIBE_LIMITS: Limits = Limits {
    fuel: 200_000_000,
    cpu: Duration::from_secs(1),
    memory_bytes: 64 << 20,
};
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a plugin could not say what it is. No configuration has these limits.
fn undescribed(outcome: &Outcome) -> String {
    let own = match outcome {
        Outcome::OutOfFuel { .. } | Outcome::OutOfCpu { .. } | Outcome::OutOfMemory { .. } => {
            "; to describe itself each plugin has so much, whatever is configured: compute less before that"
        }
        _ => "",
    };
    format!("can't describe itself: {outcome}{own}")
}

/// What reading a tenant's plugins and asking them for their descriptions may take in all. Compiling them has
/// `compiler.timeout` in all: everybody waits for it when the host starts.
const TENANT_ASKING_MAX: Duration = Duration::from_secs(30);

/// A plugin that is ready to run: a handle.
#[derive(Clone)]
pub struct Plugin {
    /// What the configuration needs to know.
    pub facts: Facts,
    /// Where its component is.
    pub path: PathBuf,
    /// SHA-256 of the component.
    pub digest: Digest,
    /// Size of the component in bytes.
    pub size_bytes: usize,
    /// Everything that it imports, by full name, sorted.
    pub imports: Vec<String>,
    /// What its author wants to reach, which is granted by nobody but the operator.
    pub requests: Reach,
    /// What its manifest says; none for a bare file.
    pub manifest: Option<Arc<Manifest>>,
    ready: Arc<Seats>,
}

/// A plugin in every engine.
struct Seats {
    first: Ready,
    others: Vec<Ready>,
}

/// What was loaded before, so that a reload compiles and asks only what is new. Whatever nobody uses any more goes when
/// the next is loaded.
#[derive(Default)]
pub(super) struct Known(Mutex<Vec<Plugin>>);

impl Known {
    fn entries(&self) -> MutexGuard<'_, Vec<Plugin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same component with the same words about it, wherever it lies now.
    fn find(&self, found: &Found) -> Option<Plugin> {
        let entries = self.entries();
        let plugin = entries.iter().find(|plugin| {
            plugin.digest == found.digest && plugin.manifest.as_deref() == found.manifest.as_ref()
        })?;
        Some(Plugin {
            path: found.path.clone(),
            ..plugin.clone()
        })
    }

    fn keep(&self, plugin: &Plugin) {
        let mut entries = self.entries();
        entries.retain(|plugin| Arc::strong_count(&plugin.ready) > 1);
        entries.push(plugin.clone());
    }
}

/// A plugin in one engine.
pub struct Ready {
    pub(super) pre: InstancePre<State>,
    pub(super) exports: Box<dyn Exports>,
}

impl Plugin {
    /// The version of `pulse:plugin` that it was made for.
    #[must_use]
    pub fn abi(&self) -> &'static str {
        self.ready.first.exports.version()
    }

    /// The same as a tenant's own: in its namespace, so that it is never taken for another's.
    #[must_use]
    pub fn of_tenant(mut self, tenant: &str) -> Self {
        self.facts.name = format!("{tenant}/{}", self.facts.name).into();
        self
    }

    /// Asks it once more what it is, in a fresh instance without any grant: the text of all that it says, to be
    /// compared. Blocks.
    ///
    /// # Errors
    /// One line for people.
    pub fn describe(&self, sandbox: &Arc<Sandbox>) -> Result<String, String> {
        let loading = Loading {
            path: &self.path,
            ready: &self.ready.first,
        };
        let described = block_on(execute::describe(
            sandbox,
            &loading,
            DESCRIBE_LIMITS,
            DESCRIBE_TIMEOUT,
        ))?;
        let Description {
            name,
            version,
            summary,
            settings_schema,
        } = described.map_err(|outcome| undescribed(&outcome))?;
        Ok([name, version, summary, settings_schema].join("\n"))
    }

    /// What a lock is about.
    #[must_use]
    pub fn loaded(&self) -> Loaded<'_> {
        Loaded {
            facts: &self.facts,
            digest: &self.digest,
            size: self.size_bytes,
            imports: &self.imports,
            requests: &self.requests,
        }
    }

    /// The plugin in the engine of that seat.
    pub(super) fn ready(&self, seat: usize) -> &Ready {
        seat.checked_sub(1)
            .and_then(|seat| self.ready.others.get(seat))
            .unwrap_or(&self.ready.first)
    }
}

/// A plugin on its way to being loaded.
pub struct Loading<'a> {
    pub(super) path: &'a Path,
    pub(super) ready: &'a Ready,
}

/// The loaded plugins by name.
#[derive(Default)]
pub struct Library(BTreeMap<Arc<str>, Arc<Plugin>>);

impl Library {
    /// Loads everything that was found, whatever a lock says, and tells what can't be used and why. Blocks; not for a
    /// thread that runs a runtime.
    #[must_use]
    pub fn load(sandbox: &Arc<Sandbox>, found: Vec<Found>) -> (Self, Vec<Problem>) {
        let (plugins, mut problems) = load_all(sandbox, found.into_iter().map(Ok));
        let (library, more) = Self::admit(plugins, &Gate::wide_open());
        problems.extend(more);
        (library, problems)
    }

    /// Of what was loaded, those that the gate lets in. It is asked before names are compared: a stranger who takes the
    /// name of a plugin that is locked does not keep that one out.
    #[must_use]
    pub fn admit(plugins: Vec<Plugin>, gate: &Gate) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut refuse = |plugin: Plugin, why: &str| {
            let why = format!("plugin `{}` {why}", plugin.facts.name);
            problems.push(Problem {
                message: log::escaped(&why, log::LINE_BYTES_MAX),
                path: plugin.path,
            });
        };
        let mut admitted = Vec::new();
        let mut within = Vec::new();
        let mut locked: BTreeMap<Arc<str>, PathBuf> = BTreeMap::new();
        for plugin in plugins {
            match gate.verdict(plugin.loaded()) {
                Verdict::Same if gate.lock().is_none() => admitted.push(plugin),
                Verdict::Same => match locked.get(&plugin.facts.name) {
                    None => {
                        locked.insert(Arc::clone(&plugin.facts.name), plugin.path.clone());
                        admitted.push(plugin);
                    }
                    Some(first) => {
                        let why = format!("is the same as {}, which is used", first.display());
                        refuse(plugin, &why);
                    }
                },
                Verdict::Within(changes) => within.push((plugin, changes)),
                Verdict::Refused(why) => refuse(plugin, &why),
            }
        }
        for (plugin, changes) in within {
            // The one that was accepted is there.
            if let Some(path) = locked.get(&plugin.facts.name) {
                let why = format!("is locked as it is in {}, which is used", path.display());
                refuse(plugin, &why);
                continue;
            }
            let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
            tracing::info!(
                "plugin {} changed within what it asked for and was granted, and is taken: {}",
                plugin.facts.name,
                log::escaped(&changes.join("; "), log::LINE_BYTES_MAX)
            );
            admitted.push(plugin);
        }
        let (plugins, doubles) = plugins::unique(
            admitted,
            |plugin| Arc::clone(&plugin.facts.name),
            |plugin| plugin.path.as_path(),
        );
        problems.extend(doubles);
        let shared = plugins.into_iter().map(|(name, plugin)| (name, Arc::new(plugin)));
        (Self(shared.collect()), problems)
    }

    /// The same with these in it, under their names.
    #[must_use]
    pub fn with(&self, plugins: impl IntoIterator<Item = Arc<Plugin>>) -> Self {
        let mut all = self.0.clone();
        all.extend(
            plugins
                .into_iter()
                .map(|plugin| (Arc::clone(&plugin.facts.name), plugin)),
        );
        Self(all)
    }

    /// The plugin of that name, if it is that very component.
    #[must_use]
    pub fn get(&self, name: &str, digest: &str) -> Option<&Arc<Plugin>> {
        self.0
            .get(name)
            .filter(|plugin| digest.is_empty() || *plugin.facts.digest == *digest)
    }

    /// One plugin by itself.
    #[must_use]
    pub fn of(plugin: Plugin) -> Self {
        Self([(Arc::clone(&plugin.facts.name), Arc::new(plugin))].into())
    }

    /// The plugin of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<Plugin>> {
        self.0.get(name)
    }

    /// All plugins, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Plugin> {
        self.0.values().map(AsRef::as_ref)
    }

    /// The same, to be held.
    pub fn shared(&self) -> impl Iterator<Item = &Arc<Plugin>> {
        self.0.values()
    }
}

/// Loads one after the other, whatever a lock says. Each is read when its turn comes: all components together may be
/// larger than the memory.
pub fn load_all(
    sandbox: &Arc<Sandbox>,
    found: impl IntoIterator<Item = Result<Found, Problem>>,
) -> (Vec<Plugin>, Vec<Problem>) {
    load_some(sandbox, &mut found.into_iter(), None)
}

/// The same of a tenant's, until they have taken so much time that it is more than others should have to wait for. Tells
/// also how many were left then.
pub fn load_of_tenant(
    sandbox: &Arc<Sandbox>,
    mut found: impl ExactSizeIterator<Item = Result<Found, Problem>>,
) -> (Vec<Plugin>, Vec<Problem>, usize) {
    let most = Spent {
        compiling: sandbox.settings.compiling.timeout,
        asking: TENANT_ASKING_MAX,
    };
    let (loaded, problems) = load_some(sandbox, &mut found, Some(most));
    (loaded, problems, found.len())
}

/// The time that plugins have taken.
#[derive(Clone, Copy, Default)]
struct Spent {
    compiling: Duration,
    /// And everything else.
    asking: Duration,
}

fn load_some(
    sandbox: &Arc<Sandbox>,
    found: &mut dyn Iterator<Item = Result<Found, Problem>>,
    most: Option<Spent>,
) -> (Vec<Plugin>, Vec<Problem>) {
    let (mut loaded, mut problems) = (Vec::new(), Vec::new());
    let begun = sandbox.clock.mono();
    let mut spent = Spent::default();
    // What is left is not even read.
    while most.is_none_or(|most| spent.compiling <= most.compiling && spent.asking <= most.asking) {
        let Some(found) = found.next() else {
            break;
        };
        let found = match found {
            Ok(found) => found,
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let path = found.path.clone();
        match load_timed(sandbox, found, &mut spent.compiling) {
            Ok(plugin) => loaded.push(plugin),
            Err(messages) => problems.extend(messages.into_iter().map(|message| Problem {
                path: path.clone(),
                message,
            })),
        }
        spent.asking = sandbox.clock.mono().since(begun).saturating_sub(spent.compiling);
    }
    compile::make_room(&sandbox.settings.data_dir, &sandbox.settings.compiling);
    (loaded, problems)
}

/// Compiles, links, asks and checks one plugin.
///
/// # Errors
/// Everything that is wrong with it, each in one bounded line: most of what they quote is the plugin's own.
pub fn load(sandbox: &Arc<Sandbox>, found: Found) -> Result<Plugin, Vec<String>> {
    load_timed(sandbox, found, &mut Duration::default())
}

/// The same; adds the time that compiling takes.
fn load_timed(sandbox: &Arc<Sandbox>, found: Found, compiling: &mut Duration) -> Result<Plugin, Vec<String>> {
    try_load(sandbox, found, compiling).map_err(|messages| {
        messages
            .iter()
            .map(|message| log::escaped(message, log::LINE_BYTES_MAX))
            .collect()
    })
}

fn try_load(sandbox: &Arc<Sandbox>, found: Found, compiling: &mut Duration) -> Result<Plugin, Vec<String>> {
    if let Some(plugin) = sandbox.known.find(&found) {
        return Ok(plugin);
    }
    let settings = &sandbox.settings;
    let engines: Vec<_> = sandbox.seats().map(|seat| &seat.engine).collect();
    let begun = sandbox.clock.mono();
    let compiled = compile::load(
        &engines,
        &settings.compiler,
        &settings.compiling,
        &settings.data_dir,
        &found,
    );
    *compiling = compiling.saturating_add(sandbox.clock.mono().since(begun));
    let components = compiled.map_err(|message| vec![message])?;
    let mut seats = sandbox.seats().zip(&components).map(|(seat, component)| {
        let pre = seat.linker.instantiate_pre(component).map_err(|error| {
            let own = Capability::ALL.map(Capability::name);
            let own: Vec<&str> = own.into_iter().filter(|name| !name.starts_with("wasi")).collect();
            vec![format!(
                "asks for what the host does not lend: {}; the host lends pulse:host@0.1.0 (log, {}) and \
                 wasi:{{io,clocks,random,cli,http,sockets}}@0.2",
                super::classify::one_line(&error),
                own.join(", ")
            )]
        })?;
        let exports = abi::recognise(&pre).map_err(|message| vec![message])?;
        Ok::<_, Vec<String>>(Ready { pre, exports })
    });
    let first = seats
        .next()
        .ok_or_else(|| vec!["there is no engine".to_owned()])??;
    let others: Vec<Ready> = seats.collect::<Result<_, _>>()?;
    let component = first.pre.component();
    let mut imports: Vec<String> = component
        .component_type()
        .imports(component.engine())
        .map(|(name, _)| name.to_owned())
        .collect();
    imports.sort();
    let loading = Loading {
        path: &found.path,
        ready: &first,
    };
    let description = block_on(execute::describe(
        sandbox,
        &loading,
        DESCRIBE_LIMITS,
        DESCRIBE_TIMEOUT,
    ))
    .and_then(|described| described.map_err(|outcome| undescribed(&outcome)))
    .map_err(|message| vec![message])?;
    let mut needs = needs(&imports);
    // Each call is held against the grants in any case: what is left out here is only what an operator is asked for.
    if let Some(manifest) = &found.manifest {
        needs.retain(|need| !manifest.unused.contains(need));
    }
    let schema = check(
        &description,
        found.manifest.as_ref(),
        &first.exports.kinds(),
        &needs,
    )?;
    let mut summary = description.summary;
    super::answer::line(&mut summary);
    let plugin = Plugin {
        facts: Facts {
            name: description.name.into(),
            digest: found.digest.as_str().into(),
            version: description.version,
            summary,
            kinds: first.exports.kinds(),
            needs,
            schema: Arc::new(schema),
        },
        path: found.path,
        digest: found.digest,
        size_bytes: found.bytes.len(),
        imports,
        requests: match &found.manifest {
            Some(manifest) => manifest.requests.clone(),
            None => Reach::default(),
        },
        manifest: found.manifest.map(Arc::new),
        ready: Arc::new(Seats { first, others }),
    };
    sandbox.known.keep(&plugin);
    Ok(plugin)
}

/// A short-lived runtime of its own: describing happens before the workers exist.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    Ok(runtime.block_on(future))
}

fn needs(imports: &[String]) -> Vec<Capability> {
    Capability::ALL
        .into_iter()
        .filter(|capability| {
            let stands = |import: &String| capability.imports().iter().any(|begin| import.starts_with(begin));
            imports.iter().any(stands)
        })
        .collect()
}

/// Holds the description against the rules and the manifest. Returns the schema.
fn check(
    description: &Description,
    manifest: Option<&Manifest>,
    kinds: &[crate::domain::spec::Kind],
    needs: &[Capability],
) -> Result<serde_json::Value, Vec<String>> {
    let mut wrong = Vec::new();
    if !plugins::name_is_valid(&description.name) {
        wrong.push(format!(
            "describes itself wrongly: {}",
            plugins::name_rule(&description.name)
        ));
    }
    if description.name == deadman::PLUGIN {
        wrong.push(format!(
            "describes itself wrongly: `{}` is what the host itself does for heartbeat monitors; take another name",
            deadman::PLUGIN
        ));
    }
    if !plugins::version_is_valid(&description.version) {
        wrong.push(format!(
            "describes itself wrongly: `{}` is no semantic version such as 1.0.0",
            plugins::shown(&description.version)
        ));
    }
    let schema = schema::parse(&description.settings_schema).unwrap_or_else(|message| {
        wrong.push(message);
        serde_json::Value::Null
    });
    if let Some(manifest) = manifest {
        if manifest.name != description.name {
            wrong.push(format!(
                "the manifest names it `{}`, but it calls itself `{}`; the two must agree",
                manifest.name,
                plugins::shown(&description.name)
            ));
        }
        if manifest.version != description.version {
            wrong.push(format!(
                "the manifest says version {}, but it calls itself {}; the two must agree",
                manifest.version,
                plugins::shown(&description.version)
            ));
        }
        if manifest.kinds != kinds {
            wrong.push(format!(
                "the manifest says kinds {}, but the component exports {}",
                list(manifest.kinds.iter().map(|kind| kind.name())),
                list(kinds.iter().map(|kind| kind.name()))
            ));
        }
        if let Some(need) = needs.iter().find(|need| !manifest.needs.contains(need)) {
            wrong.push(format!(
                "the component imports {0}, which the manifest does not ask for; add \"{0}\" to needs, or to unused if nothing calls it",
                need.name()
            ));
        }
    }
    if wrong.is_empty() { Ok(schema) } else { Err(wrong) }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        names.join(" and ")
    }
}
