//! Tenants' configurations: each is read, checked and built by itself, on the operator's terms.
//!
//! Invariant: what is wrong with one tenant's configuration costs nobody else anything. Its last good one goes on, also
//! over a restart; a tenant that never had a good one has no monitors. Everything about the terms (plugins, grants,
//! quotas, secrets) is the operator's, and is as it is now, whichever of the two is in force.

use super::{
    Loaded, Problems,
    build::{self, Builder, Built, MONITORS_MAX, Scope, TENANT_MONITORS},
    document::{Document, Targets},
    folder::{Files, Folder},
    interpolate::Surroundings,
    keep::{Shelf, Stage},
    managed::{Filed, Footing},
    plugins::PluginEntry,
    probes::{self, Modules},
    problem::{Findings, Problem, Severity},
    progress::Progress,
    read::{Reader, list},
    source::{At, Sources, unreadable},
    syntax,
    tenants::{Place, TenantEntry, did_you_mean},
};
use crate::domain::{
    host::HostSettings,
    managed::Aside,
    order::Order,
    plugin::Facts,
    spec::{MonitorSpec, Sink},
    tenant::Tenant,
    time::Wall,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Names and settings of all monitors of a tenant: a row of a few bytes can make settings of 64 KiB.
const BYTES_MAX: usize = 256 << 20;

/// Lists of targets that a tenant's configuration names: each is a file that is copied, and stands in a record.
const LISTS_MAX: usize = 1_000;

/// Whether good configurations of tenants are kept for worse times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// They are only looked at.
    Nothing,
    /// They are copied into the data directory.
    Good,
}

/// What became of a tenant's configuration.
#[derive(Debug)]
pub struct TenantState {
    /// Who it is.
    pub tenant: Arc<Tenant>,
    /// Its folder or file, as the operator named it.
    pub config: String,
    /// The plugins that it may use, sorted.
    pub plugins: Vec<String>,
    /// What `/probe` can be asked for by it: plugins that it may use, as they are granted to it.
    pub modules: Modules,
    /// Its windows of maintenance.
    pub windows: Vec<Order>,
    /// How many monitors it has now.
    pub monitors: usize,
    /// Where monitors came from that no table of their own describes.
    pub loaded: Vec<Loaded>,
    /// Which of its configurations is in force.
    pub standing: Standing,
    /// What is allowed, but was probably not meant.
    pub warnings: Problems,
    /// Why no copy could be kept of a good configuration.
    pub unkept: Option<String>,
}

/// Which of a tenant's configurations is in force.
#[derive(Debug)]
pub enum Standing {
    /// The present one, which is good.
    Present,
    /// The last good one, since something is wrong with the present one.
    LastGood {
        /// What is wrong.
        problems: Problems,
        /// When the last good one was kept.
        kept: Wall,
    },
    /// None: something is wrong with the present one, and with the last good one.
    None {
        /// What is wrong with the present one.
        problems: Problems,
        /// Why there is no other, for people.
        why: String,
        /// What is wrong with the last good one by now.
        stale: Option<Problems>,
    },
}

impl Standing {
    /// What is wrong with the present configuration.
    #[must_use]
    pub fn problems(&self) -> Option<&Problems> {
        match self {
            Self::Present => None,
            Self::LastGood { problems, .. } | Self::None { problems, .. } => Some(problems),
        }
    }
}

/// What the operator lets a tenant use.
#[derive(Debug)]
pub(super) struct Terms {
    tenant: Arc<Tenant>,
    config: Place,
    /// What it may use, as it is granted to it.
    plugins: BTreeMap<Arc<str>, PluginEntry>,
    facts: Arc<BTreeMap<String, Facts>>,
    /// Plugins of the operator's that it may not use.
    refused: Vec<String>,
    shared: BTreeMap<Arc<str>, Arc<Sink>>,
}

impl Builder<'_> {
    /// The terms of every tenant whose table says where its configuration is.
    pub fn terms(&mut self, all: &BTreeMap<String, Facts>) -> Vec<Terms> {
        let tenants = &self.document.tenants;
        let terms = tenants.values().map(|entry| self.terms_of(entry, all));
        terms.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    fn terms_of(&mut self, entry: &TenantEntry, all: &BTreeMap<String, Facts>) -> Option<Terms> {
        let tenant = &entry.tenant;
        let own = format!("{tenant}/");
        let mut facts: BTreeMap<String, Facts> = all
            .iter()
            .filter(|(name, _)| name.starts_with(&own))
            .map(|(name, facts)| (name.clone(), facts.clone()))
            .collect();
        for name in &entry.allowed {
            if let Some((known, found)) = self.facts.get_key_value(name.value.as_ref()) {
                facts.insert(known.clone(), found.clone());
            } else if name.value.starts_with(&own) {
                let text = format!("`{}` is the tenant's own, and need not be allowed", name.value);
                self.warnings
                    .report(Problem::new("allowed-anyway", name.at, text));
            } else {
                self.unknown_plugin(name.at, &name.value, None);
            }
        }
        for (name, (at, _)) in &entry.grants {
            if !entry.allowed.iter().any(|allowed| allowed.value == *name) {
                let text = format!("grants for `{name}`, which the tenant is not allowed to use");
                let help = if name.starts_with(&own) {
                    format!("grants for its own plugins stand in [plugins.\"{name}\"]")
                } else {
                    format!("allow it first: allowed-plugins = [\"{name}\"]")
                };
                self.reader
                    .report(Problem::new("not-allowed", *at, text).help(help));
            }
        }
        let plugins = facts
            .keys()
            .filter_map(|name| self.narrowed(name, entry))
            .collect();
        let refused = self.facts.keys().filter(|name| !facts.contains_key(*name));
        let refused = refused.cloned().collect();
        Some(Terms {
            tenant: Arc::clone(tenant),
            config: entry.config.clone()?,
            plugins,
            facts: Arc::new(facts),
            refused,
            shared: self.shared(entry),
        })
    }

    /// What is granted to a plugin when this tenant uses it.
    fn narrowed(&mut self, name: &str, entry: &TenantEntry) -> Option<(Arc<str>, PluginEntry)> {
        let plugin = self.document.plugins.get_key_value(name);
        let grants = match (plugin, entry.grants.get(name)) {
            (None, None) => return None,
            (Some((_, plugin)), None) => Arc::clone(&plugin.grants),
            (plugin, Some((_, written))) => {
                let defined: Option<At> = plugin.map(|(_, plugin)| plugin.at);
                let base = plugin
                    .map(|(_, plugin)| Arc::clone(&plugin.grants))
                    .unwrap_or_default();
                Arc::new(written.narrow(&mut self.reader, name, defined, &base))
            }
        };
        let (name, plugin) = plugin?;
        let narrowed = PluginEntry {
            grants,
            ..plugin.clone()
        };
        Some((Arc::clone(name), narrowed))
    }

    fn shared(&mut self, entry: &TenantEntry) -> BTreeMap<Arc<str>, Arc<Sink>> {
        let mut shared = BTreeMap::new();
        for name in &entry.shared {
            match self.sinks().get(&name.value) {
                Some(Some(sink)) => {
                    shared.insert(Arc::clone(&name.value), Arc::clone(sink));
                }
                // Something is wrong with it, which was reported.
                Some(None) => {}
                None => {
                    let known: Vec<&str> = self.document.notifiers.keys().map(AsRef::as_ref).collect();
                    let none = "notifiers are defined as [notifiers.NAME]";
                    let help = did_you_mean(&name.value, &known, "notifiers", none);
                    let text = format!(
                        "there is no notifier `{}`",
                        self.reader.quoted(name.at, &name.value)
                    );
                    self.reader
                        .report(Problem::new("unknown-notifier", name.at, text).help(help));
                }
            }
        }
        shared
    }
}

/// What became of all tenants.
#[derive(Default)]
pub(super) struct Estate {
    pub states: Vec<TenantState>,
    /// Of those that have a configuration in force.
    pub footings: Vec<Footing>,
    /// Documents that are not in effect.
    pub aside: Vec<Aside>,
}

/// Builds the monitors of all tenants' files, behind those that are there, and sees which documents fit them.
pub(super) fn settle(
    settings: &HostSettings,
    sources: &Sources,
    terms: Vec<Terms>,
    keep: Keep,
    filed: &Filed,
    monitors: &mut Vec<MonitorSpec>,
    progress: &mut dyn Progress,
) -> Estate {
    let shelf = Shelf::new(&settings.data_dir);
    let mut estate = Estate::default();
    for terms in terms {
        let mut office = Office {
            settings,
            sources,
            terms: &terms,
            filed,
            first: monitors.len(),
            progress: &mut *progress,
        };
        let settled = office.settle(&shelf, keep);
        let count = settled.built.monitors.len();
        estate.aside.extend(settled.aside);
        estate.states.push(TenantState {
            tenant: Arc::clone(&terms.tenant),
            config: terms.config.shown.clone(),
            modules: probes::usual(&terms.facts, &terms.plugins, settings),
            plugins: terms.facts.keys().cloned().collect(),
            windows: settled.windows,
            monitors: count,
            loaded: settled.built.loaded,
            standing: settled.standing,
            warnings: settled.warnings,
            unkept: settled.unkept,
        });
        estate.footings.extend(settled.footing);
        monitors.extend(settled.built.monitors);
    }
    estate
}

/// What came of a tenant's configurations.
struct Settled {
    built: Built,
    footing: Option<Footing>,
    aside: Vec<Aside>,
    windows: Vec<Order>,
    standing: Standing,
    warnings: Problems,
    unkept: Option<String>,
}

impl Settled {
    fn of(good: Good, aside: Vec<Aside>, standing: Standing, unkept: Option<String>) -> Self {
        Self {
            built: good.built,
            footing: Some(good.footing),
            aside,
            windows: good.windows,
            standing,
            warnings: good.warnings,
            unkept,
        }
    }
}

/// A configuration of a tenant that is good.
struct Good {
    built: Built,
    /// What documents of the API are built on.
    footing: Footing,
    windows: Vec<Order>,
    warnings: Problems,
}

/// Where one tenant's configuration is built.
struct Office<'a> {
    settings: &'a HostSettings,
    sources: &'a Sources,
    terms: &'a Terms,
    filed: &'a Filed,
    /// Monitors before its own.
    first: usize,
    progress: &'a mut dyn Progress,
}

impl Office<'_> {
    fn settle(&mut self, shelf: &Shelf, keep: Keep) -> Settled {
        let tenant = Arc::clone(&self.terms.tenant);
        let place = &self.terms.config;
        let mut stage = None;
        let mut unkept = None;
        if keep == Keep::Good {
            match shelf.stage(&tenant.name) {
                Ok(begun) => stage = Some(begun),
                Err(error) => unkept = Some(error.to_string()),
            }
        }
        let mut only = None;
        let present = match Folder::open(&place.path, &place.shown) {
            Ok(folder) => {
                only = folder.only().map(Path::to_owned);
                self.attempt(&folder, &mut stage, &mut unkept)
            }
            Err(error) => Err(self.nowhere(&error)),
        };
        let mut keep_it = |unkept: &mut Option<String>| {
            if let Some(stage) = stage.take()
                && let Err(error) = stage.keep(&place.path, only.as_deref())
            {
                *unkept = Some(error.to_string());
            }
        };
        // A document that was in effect is not put out of it by a file that changes: what was in force goes on.
        let (present, problems) = match present {
            Ok(mut good) => match good.footing.fit(self.filed, true) {
                Ok(aside) => {
                    keep_it(&mut unkept);
                    return Settled::of(good, aside, Standing::Present, unkept);
                }
                Err(blame) => (Some(good), blame.problems),
            },
            Err(problems) => (None, problems),
        };
        let mut stale = None;
        let (why, kept) = match shelf.last_good(&tenant.name, &place.path) {
            Ok(Some(kept)) => match self.attempt(&kept.folder, &mut None, &mut None) {
                Ok(good) => (String::new(), Some((good, kept.at))),
                Err(problems) => {
                    stale = Some(problems);
                    let why = "its last good configuration does not fit what the operator allows now";
                    (why.to_owned(), None)
                }
            },
            Ok(None) => ("it never had a good configuration".to_owned(), None),
            Err(why) => (why, None),
        };
        let mut last = None;
        if let Some((mut good, kept)) = kept {
            if let Ok(aside) = good.footing.fit(self.filed, true) {
                return Settled::of(good, aside, Standing::LastGood { problems, kept }, None);
            }
            last = Some((good, kept));
        }
        // Under neither, since the terms are others now: then it is the documents that stand back.
        if let Some(mut good) = present {
            let aside = good.footing.fit(self.filed, false).unwrap_or_default();
            keep_it(&mut unkept);
            return Settled::of(good, aside, Standing::Present, unkept);
        }
        if let Some((mut good, kept)) = last {
            let aside = good.footing.fit(self.filed, false).unwrap_or_default();
            return Settled::of(good, aside, Standing::LastGood { problems, kept }, None);
        }
        Settled {
            built: Built::default(),
            footing: None,
            aside: Vec::new(),
            windows: Vec::new(),
            standing: Standing::None { problems, why, stale },
            warnings: Findings::default().into_problems(Arc::default(), Severity::Warning),
            unkept: None,
        }
    }

    fn nowhere(&self, error: &std::io::Error) -> Problems {
        let mut findings = Findings::default();
        findings.report(unreadable(&self.terms.config.shown, error));
        findings.into_problems(Arc::default(), Severity::Error)
    }

    /// Reads what is in a folder, and builds from it. What is read is put on the stage, and read from there.
    fn attempt(
        &mut self,
        folder: &Folder,
        stage: &mut Option<Stage>,
        unkept: &mut Option<String>,
    ) -> Result<Good, Problems> {
        let terms = self.terms;
        let mut findings = Findings::default();
        let mut warnings = Findings::default();
        let mut sources = self.sources.clone();
        let first_file = sources.len();
        folder.load(&mut sources, &mut findings);
        let unread = !findings.is_empty();
        let surroundings = Surroundings::of(&terms.tenant);
        let root = syntax::parse(&sources, first_file, &surroundings, &mut findings);
        let root = root.filter(|_| !unread);
        let readable = root.is_some();
        let mut reader = Reader {
            sources: &sources,
            findings: &mut findings,
        };
        let quota = terms.tenant.quotas.monitors;
        let quota = quota.and_then(|most| usize::try_from(most).ok());
        let room = MONITORS_MAX.saturating_sub(self.first);
        let monitors_max = quota.unwrap_or(TENANT_MONITORS).min(room);
        let mut document = Document::of_tenant(
            &mut reader,
            &root.unwrap_or_default(),
            self.settings,
            terms.plugins.clone(),
            monitors_max,
            &terms.tenant.name,
        );
        let readable = readable && are_few_lists(&document, reader.findings);
        let mut staged = None;
        if readable && let Some(begun) = stage {
            let shown = folder.shown(Path::new(""));
            let copied = copy(folder, &sources, first_file, &document, begun)
                .and_then(|()| begun.folder(folder.only(), &shown));
            match copied {
                Ok(copied) => staged = Some(copied),
                // It is no less good for that.
                Err(error) => {
                    *unkept = Some(error.to_string());
                    *stage = None;
                }
            }
        }
        let mut built = None;
        if readable {
            let scope = Scope {
                tenant: Arc::clone(&terms.tenant),
                files: match &staged {
                    Some(copy) => Files::Copied(copy, folder),
                    None => Files::Within(folder),
                },
                refused: terms.refused.iter().map(String::as_str).collect(),
                shared: terms.shared.clone(),
                first: u32::try_from(self.first).unwrap_or(u32::MAX),
                monitors_max,
                bytes_max: BYTES_MAX,
                beside: None,
            };
            let mut builder = build::builder(
                &document,
                &terms.facts,
                &sources,
                &mut findings,
                &mut warnings,
                scope,
            );
            built = Some(builder.build(self.progress));
        }
        let sources = Arc::new(sources);
        match built {
            Some(built) if findings.is_empty() => Ok(Good {
                windows: std::mem::take(&mut document.windows),
                footing: Footing {
                    tenant: Arc::clone(&terms.tenant),
                    of_operator: false,
                    document,
                    sources: Arc::clone(&sources),
                    facts: Arc::clone(&terms.facts),
                    refused: terms.refused.clone(),
                    shared: terms.shared.clone(),
                    first: u32::try_from(self.first).unwrap_or(u32::MAX),
                    monitors_max,
                    monitors: built.monitors.clone(),
                    places: built.places.clone(),
                },
                built,
                warnings: warnings.into_problems(sources, Severity::Warning),
            }),
            _ => Err(findings.into_problems(sources, Severity::Error)),
        }
    }
}

/// The lists that a configuration names, and where it does.
fn lists(document: &Document) -> impl Iterator<Item = (&PathBuf, At)> {
    document.monitors.iter().filter_map(|raw| {
        let targets = raw.targets.as_ref()?;
        match &targets.value {
            Targets::File { path, .. } => Some((path, targets.at)),
            _ => None,
        }
    })
}

/// Whether these are no more lists than a tenant may have; says so if not.
fn are_few_lists(document: &Document, findings: &mut Findings) -> bool {
    let mut known = BTreeSet::new();
    for (path, at) in lists(document) {
        known.insert(path);
        if known.len() > LISTS_MAX {
            let text = format!("more than {LISTS_MAX} lists of targets");
            let help = "a list may have any number of rows";
            findings.report(Problem::new("too-many", at, text).help(help));
            return false;
        }
    }
    true
}

/// Copies the files of a folder, and the lists that they name. A list that is not there is found out where it is read.
fn copy(
    folder: &Folder,
    sources: &Sources,
    first_file: u32,
    document: &Document,
    stage: &mut Stage,
) -> std::io::Result<()> {
    for (_, source) in sources.from(first_file) {
        let name = Path::new(&source.name).file_name().unwrap_or_default();
        stage.add(Path::new(name), source.text.as_bytes())?;
    }
    let lists: BTreeSet<&PathBuf> = lists(document).map(|(path, _)| path).collect();
    for path in lists {
        if let Ok(file) = folder.open_list(path) {
            stage.add(path, std::io::Read::take(file, super::folder::TARGETS_BYTES_MAX))?;
        }
    }
    Ok(())
}

impl std::fmt::Display for Standing {
    /// One word, or two.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Present => "present",
            Self::LastGood { .. } => "last good",
            Self::None { .. } => "none",
        })
    }
}

impl TenantState {
    /// The plugins, for people.
    #[must_use]
    pub fn shown_plugins(&self) -> String {
        let names: Vec<&str> = self.plugins.iter().map(String::as_str).collect();
        list(&names)
    }
}
