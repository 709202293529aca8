//! Another generation of plugins and configuration takes the place of the one that runs.
//!
//! It is read, compiled and checked whole beside the present one; only then are plugins swapped and the scheduler gets
//! the difference. Whatever is wrong changes nothing and is said. A component that can't be used leaves the one before
//! it in its place, and one that faults as soon as it is used is taken back and stays refused.
//!
//! Architecture invariant: plugins go first, so that no job is made for one that the workers don't have; what they took
//! the place of stays until nothing can be out any more that was made for it.

use super::{
    load::{Folders, Prepared, Present, Sources, prepare_beside},
    lock,
    managed::Estate,
    rollback::{self, Rejections},
    supervisor::Supervisor,
    tenants,
};
use crate::{
    capability::log,
    clock::Clock,
    config::{Config, Keep, Silent},
    domain::{
        event::Fact,
        host::HostSettings,
        managed::Places,
        series::{MONITORS_MAX, MetricsSettings},
        spec::MonitorSpec,
        tenant::{DEFAULT, Roster},
        time::Mono,
    },
    http::tokens::Tokens,
    journal::counted,
    operate::{
        directory::{self, Directory},
        orders::Orders,
        reloads::Reloads,
        series::Series,
        terms::{Deal, OfTenant, Terms},
    },
    plugins::lock::LockFile,
    sandbox::{Library, Sandbox, Shelf},
    scheduler::{Control, control::Applied, reload::Reloaded},
};
use anyhow::{Result, anyhow};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A component that faults within that time after it took another's place, and never ended well, is rolled back.
const PROBATION: Duration = Duration::from_secs(600);

/// A component that was put into quarantine and has not ended well once: for all of its users, for the operator's own
/// monitors, or for the tenant whose plugin it is. A tenant that makes the operator's plugin fault takes it from nobody
/// else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    plugin: Arc<str>,
    digest: Arc<str>,
    reason: Arc<str>,
}

impl Suspect {
    /// What that fact says of a component, if anything.
    #[must_use]
    pub fn of(fact: &Fact) -> Option<Self> {
        match fact {
            Fact::Quarantined {
                plugin,
                digest,
                faults,
                of,
                message,
                tenant,
                ..
            } if faults == of && concerns_all(plugin, tenant.as_deref()) => Some(Self {
                plugin: Arc::clone(plugin),
                digest: Arc::clone(digest),
                reason: Arc::clone(message),
            }),
            _ => None,
        }
    }
}

/// Whether what that tenant's executions say of the plugin is so for everybody who uses it. None: those of all.
fn concerns_all(plugin: &str, tenant: Option<&str>) -> bool {
    let owner = plugin.split_once('/').map_or(DEFAULT, |(owner, _)| owner);
    tenant.is_none_or(|tenant| tenant == owner)
}

/// A component that another took the place of.
struct Successor {
    digest: Arc<str>,
    before: Arc<str>,
    since: Mono,
}

/// Replaces what runs.
pub(super) struct Reloader {
    pub(super) managed: Estate,
    sources: Sources,
    config_path: PathBuf,
    folders: Folders,
    sandbox: Arc<Sandbox>,
    shelf: Arc<Shelf>,
    pub(super) control: Control,
    tenants: Roster,
    pub(super) seen: Seen,
    pub(super) clock: Clock,
    /// As it was when the host started; most of it can't change while it runs.
    host: HostSettings,
    /// On probation, by plugin.
    successors: HashMap<Arc<str>, Successor>,
    /// As it was read last.
    metrics: MetricsSettings,
    rejections: Rejections,
}

/// What others see of the generation that runs.
#[derive(Clone)]
pub(super) struct Seen {
    /// Its monitors.
    pub directory: directory::Shelf,
    /// What is said of them, its windows of maintenance among that.
    pub orders: Orders,
    /// Whom the API believes.
    pub tokens: Arc<Tokens>,
    /// What became of reloads.
    pub reloads: Reloads,
    /// On which terms plugins run and tenants live.
    pub terms: Terms,
    /// Which of its monitors have series of their own.
    pub series: Series,
    /// The service manager.
    pub supervisor: Supervisor,
}

impl Seen {
    /// From now on these monitors have series of their own.
    pub fn choose(&self, directory: &Directory, settings: &MetricsSettings, control: &Control) {
        // A scheduler that has stopped counts nothing any more.
        let _ = control.choose(self.series.choose(directory, settings));
        let left_out = self.series.present().left_out;
        if left_out > 0 {
            tracing::warn!(
                "{} that `monitors` in [metrics] means have no series of their own: there are {MONITORS_MAX} at most, by tenant and name",
                counted(left_out as u64, "monitor")
            );
        }
    }
}

/// Why a reload is made that nobody asked for.
pub(super) const FILES_CHANGED: &str = "files changed";

/// What of a configuration is told of plugins and tenants.
pub(super) fn deal(config: &Config) -> Deal {
    let tenants = config.tenants.iter().map(|state| {
        let terms = OfTenant {
            plugins: state.plugins.clone(),
            modules: state.modules.clone(),
            standing: state.standing.to_string(),
        };
        (Arc::clone(&state.tenant.name), terms)
    });
    Deal {
        profiles: config.profiles.clone(),
        modules: config.modules.clone(),
        tenants: tenants.collect(),
    }
}

/// What a reload came to.
#[derive(Debug)]
pub(super) struct Done {
    /// What changed, or what is wrong.
    pub told: Result<String, String>,
    /// The change of the shelf, for [`Shelf::forget`], and after what time.
    pub retired: Option<(u64, Duration)>,
}

impl Reloader {
    /// Of what was prepared and runs now.
    pub fn new(
        prepared: &Prepared,
        shelf: Arc<Shelf>,
        control: Control,
        tenants: Roster,
        seen: Seen,
        managed: Estate,
    ) -> Self {
        Self {
            managed,
            sources: prepared.sources.clone(),
            config_path: prepared.config_path.clone(),
            folders: prepared.folders.clone(),
            sandbox: Arc::clone(&prepared.sandbox),
            rejections: Rejections::read(&prepared.config.host.data_dir),
            shelf,
            control,
            tenants,
            seen,
            clock: prepared.clock.clone(),
            host: prepared.config.host.clone(),
            metrics: prepared.config.metrics.clone(),
            successors: HashMap::new(),
        }
    }

    /// Where plugins and configuration lie: whatever changes there may be a reason to reload.
    pub fn sources(&self) -> (&Sources, &Path) {
        (&self.sources, &self.config_path)
    }

    /// The folders of tenants.
    pub fn tenant_folders(&self) -> &Folders {
        &self.folders
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.host.data_dir
    }

    /// Copies components, so that there is something to go back to. Blocks.
    pub fn keep_copies(&self) {
        let now = self.clock.mono();
        let successors = self.successors.values();
        let on_probation = successors
            .filter(|successor| now.since(successor.since) <= PROBATION)
            .map(|successor| &*successor.before);
        let library = self.shelf.library();
        let kept = rollback::keep_copies(self.data_dir(), &library, &self.rejections, on_probation);
        if let Err(error) = kept {
            tracing::warn!(
                "no copy of each component could be kept in {}; one that is rolled back may be missing after a restart: \
                 {error}",
                self.data_dir().display()
            );
        }
    }

    /// Reads everything anew. What is wrong is logged and changes nothing. Blocks, for as long as compiling takes.
    pub fn reload(&mut self, why: &str) -> Done {
        self.seen.supervisor.reloading();
        let done = if self.config_path == Path::new("-") {
            let wrong = "nothing can be reloaded, the configuration came from standard input";
            tracing::error!("{why}: {wrong}");
            Done {
                told: Err(wrong.to_owned()),
                retired: None,
            }
        } else {
            self.try_reload(why).unwrap_or_else(|error| {
                tracing::error!("{why}: nothing was changed, what ran before goes on: {error:#}");
                Done {
                    told: Err(format!("{error:#}")),
                    retired: None,
                }
            })
        };
        self.seen.reloads.note(self.clock.wall(), done.told.clone());
        self.seen.supervisor.reloaded(&done.told);
        done
    }

    fn try_reload(&mut self, why: &str) -> Result<Done> {
        let before = self.shelf.library();
        let roster = self.tenants.all();
        let present = Present {
            sandbox: &self.sandbox,
            clock: &self.clock,
            library: &before,
            tenants: &roster,
            filed: &self.managed.filed(),
        };
        let places = self.sources.places();
        let prepared = prepare_beside(places, Keep::Good, &mut Silent, Some(present))?
            .map_err(|wrong| anyhow!("{}", wrong.text(false).trim_end()))?;
        let tenants = prepared.tenants();
        let Prepared {
            config,
            library,
            gate,
            folders,
            ..
        } = prepared;
        self.folders = folders;
        if !config.warnings.is_empty() {
            tracing::warn!("{}", config.warnings.render(false));
        }
        tenants::announce(&config.tenants, self.clock.wall());
        let grants = config
            .profiles
            .iter()
            .map(|(name, profile)| (name.clone(), Arc::clone(&profile.grants)));
        lock::announce(&gate, &library, &config.host, &grants.collect());
        self.seen.tokens.replace(&config.host.http.tokens);
        if !says_the_same(&config.host, &self.host) {
            tracing::warn!(
                "[host] says something else than when the host started; that takes effect at the next start"
            );
        }
        let changes = changes(&before, &library);
        for change in &changes {
            self.note(change);
        }
        let retired = (!changes.is_empty()).then(|| self.shelf.replace(library));
        self.tenants.replace(tenants);
        self.seen.terms.replace(deal(&config));
        let windows = config.windows();
        self.managed.found(
            config.footings,
            config.aside,
            config.host_entry,
            self.clock.wall(),
        );
        self.metrics = config.metrics;
        let reloaded = self
            .put_into_effect(config.monitors, config.places)
            .ok_or_else(|| anyhow!("the host is stopping"))?;
        self.seen.orders.configure(windows);
        let nothing = reloaded.changes() == 0 && changes.is_empty();
        let told = if nothing {
            "nothing has changed".to_owned()
        } else {
            told(&changes, reloaded)
        };
        if nothing && why == FILES_CHANGED {
            // A log that lies beside the configuration is a file, too, and must not have itself read for ever.
            tracing::debug!("{why}: {told}");
        } else {
            tracing::info!("{why}: {told}");
        }
        if retired.is_some() {
            self.keep_copies();
        }
        let longest = self.host.queue_wait + self.host.max_timeout + self.host.grace;
        Ok(Done {
            told: Ok(told),
            retired: retired.map(|number| (number, longest)),
        })
    }

    /// Has these watched from now on, and told of. None: the host is stopping.
    pub(super) fn put_into_effect(&mut self, monitors: Vec<MonitorSpec>, places: Places) -> Option<Reloaded> {
        // Each is a handle.
        let all = monitors.clone();
        let Applied { reloaded, seats } = self.control.reload(monitors, self.managed.host_entry())?;
        self.sandbox.switches().configure(&all, self.clock.now());
        let directory = Directory::new(&all, &seats).written(places);
        self.seen.choose(&directory, &self.metrics, &self.control);
        self.seen.directory.replace(directory);
        self.managed.show();
        Some(reloaded)
    }

    fn note(&mut self, change: &Change) {
        match change {
            Change::Replaced { name, before, now } => {
                let at = self.clock.mono();
                // What was on probation itself is nothing to go back to.
                let before = match self.successors.get(name) {
                    Some(last) if last.digest == *before && at.since(last.since) <= PROBATION => &last.before,
                    _ => before,
                };
                let successor = Successor {
                    digest: Arc::clone(now),
                    before: Arc::clone(before),
                    since: at,
                };
                self.successors.insert(Arc::clone(name), successor);
            }
            Change::Added { name, .. } | Change::Removed { name } => {
                self.successors.remove(name);
            }
        }
    }

    /// A component is in quarantine. If it took another's place lately, that one comes back, and it is refused from now
    /// on. Blocks.
    pub fn suspect(&mut self, suspect: &Suspect) -> Option<Done> {
        let now = self.clock.mono();
        let successor = self.successors.get(&suspect.plugin).filter(|successor| {
            successor.digest == suspect.digest && now.since(successor.since) <= PROBATION
        })?;
        let before = Arc::clone(&successor.before);
        self.successors.remove(&suspect.plugin);
        if self.is_locked(suspect) {
            tracing::error!(
                "plugin {}: its new component has faulted as soon as it was used ({}). It is not rolled back, because \
                 plugins.lock pins it: put the one before in its place and accept that (pulse-host plugin lock --accept {})",
                suspect.plugin,
                log::escaped(&suspect.reason, log::LINE_BYTES_MAX),
                suspect.plugin
            );
            return None;
        }
        let added = self.rejections.add(
            &suspect.plugin,
            &suspect.digest,
            &before,
            &suspect.reason,
            self.clock.wall(),
        );
        if let Err(error) = added {
            tracing::error!(
                "plugin {}: its new component faults and can't be rolled back, because that can't be written down: {error}",
                suspect.plugin
            );
            return None;
        }
        tracing::error!(
            "plugin {}: its new component has faulted as soon as it was used ({}) and is rolled back to the one before",
            suspect.plugin,
            log::escaped(&suspect.reason, log::LINE_BYTES_MAX)
        );
        let done = self.reload("rollback");
        // The one before has nothing to prove.
        self.successors.remove(&suspect.plugin);
        Some(done)
    }

    /// Whether the lock lets nothing else in under that name.
    fn is_locked(&self, suspect: &Suspect) -> bool {
        let path = lock::path(self.sources.places(), Some(&self.config_path));
        let locked = LockFile::read(&path).ok();
        let record =
            locked.and_then(|lock| Some(lock.records.get(&*suspect.plugin)?.digest == *suspect.digest));
        record.unwrap_or(false)
    }
}

/// Whether what can't change while the host runs is the same.
fn says_the_same(one: &HostSettings, other: &HostSettings) -> bool {
    let mut alike = one.clone();
    alike.http.tokens.clone_from(&other.http.tokens);
    alike == *other
}

/// How a plugin differs from before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added {
        name: Arc<str>,
    },
    Removed {
        name: Arc<str>,
    },
    Replaced {
        name: Arc<str>,
        before: Arc<str>,
        now: Arc<str>,
    },
}

fn changes(before: &Library, now: &Library) -> Vec<Change> {
    let mut changes = Vec::new();
    for plugin in now.iter() {
        let name = Arc::clone(&plugin.facts.name);
        match before.named(&name) {
            None => changes.push(Change::Added { name }),
            Some(old) if old.facts.digest != plugin.facts.digest => changes.push(Change::Replaced {
                name,
                before: Arc::clone(&old.facts.digest),
                now: Arc::clone(&plugin.facts.digest),
            }),
            Some(_) => {}
        }
    }
    let gone = before
        .iter()
        .filter(|plugin| now.named(&plugin.facts.name).is_none());
    changes.extend(gone.map(|plugin| Change::Removed {
        name: Arc::clone(&plugin.facts.name),
    }));
    changes
}

/// In one line.
pub(super) fn told(changes: &[Change], reloaded: Reloaded) -> String {
    let mut parts = Vec::new();
    for (count, what) in [
        (reloaded.added, "new"),
        (reloaded.changed, "changed"),
        (reloaded.removed, "removed"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", counted(count as u64, "monitor")));
        }
    }
    parts.push(format!("{} as before", counted(reloaded.kept as u64, "monitor")));
    for change in changes {
        parts.push(match change {
            Change::Added { name } => format!("plugin {name} is new"),
            Change::Removed { name } => format!("plugin {name} is gone"),
            Change::Replaced { name, before, now } => format!(
                "plugin {name} is another build ({} instead of {})",
                now.get(..12).unwrap_or(now),
                before.get(..12).unwrap_or(before)
            ),
        });
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_takes_the_operators_plugin_from_nobody() {
        let fact = |plugin: &str, tenant: Option<&str>, of| Fact::Quarantined {
            plugin: plugin.into(),
            digest: "1".into(),
            tenant: tenant.map(Arc::from),
            faults: 5,
            of,
            message: "trapped".into(),
            pause: Duration::from_secs(30),
        };
        for (plugin, tenant, of, suspected) in [
            ("http", None, 5, true),
            ("http", Some(DEFAULT), 5, true),
            ("http", Some("acme"), 5, false),
            ("acme/probe", Some("acme"), 5, true),
            ("http", None, 6, false),
        ] {
            let suspect = Suspect::of(&fact(plugin, tenant, of));
            assert_eq!(suspect.is_some(), suspected, "{plugin} {tenant:?} {of}");
        }
    }
}
