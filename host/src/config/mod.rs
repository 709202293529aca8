//! Configuration: TOML → values with places → layers → the types of [`crate::domain`].
//!
//! A [`Draft`] is everything that can be read and checked without knowing the plugins; [`Draft::finish`] checks it
//! against what the plugins say of themselves. Both collect: a configuration is either whole and right, or all of
//! its problems are shown at once, each with its place.
//!
//! A tenant's configuration is read, checked and built by itself (`tenancy.rs`): what is wrong with it is its own trouble.
//!
//! Architecture invariant: nothing here changes anything outside the process but copies of tenants' last good files, and
//! nothing starts from a configuration that has a problem.

mod ad_hoc;
mod assembly;
mod batch;
mod body;
mod build;
mod chunk;
mod commands;
mod csv;
mod deadman;
mod depends;
mod document;
mod expand;
mod folder;
mod grants;
mod host;
mod http;
mod interpolate;
mod json;
mod keep;
mod lane;
mod layer;
mod maintenance;
mod managed;
mod metrics;
mod monitor;
mod needs;
mod notifier;
mod otlp;
mod paths;
mod plugins;
mod probes;
mod problem;
mod progress;
mod read;
mod recipe;
mod replace;
mod row;
mod scan;
mod schema;
mod source;
mod syntax;
mod template;
mod tenancy;
mod tenants;
mod tree;
mod trouble;

#[cfg(test)]
mod tests;

pub use ad_hoc::{WrongSetting, ad_hoc, wrong_settings};
pub use commands::command_by_words;
pub use folder::open_in;
#[cfg(test)]
pub(crate) use http::digest as testing_digest;
pub use managed::{Entry, Filed, Footings, Key, Refusal, Whole, entry};
pub use paths::default_paths;
pub use plugins::{dns_grant, http_grant, icmp_grant, tcp_grant};
pub use probes::Modules;
pub use problem::{Fault, Problems};
pub use progress::{Progress, Silent};
pub use read::{parse_duration, parse_size, show_duration, show_size};
pub use replace::{Durable, replace};
pub use tenancy::{Keep, Standing, TenantState};

use crate::domain::{
    grant::Grants,
    host::HostSettings,
    managed::{Aside, Places},
    order::Order,
    plugin::Facts,
    series::MetricsSettings,
    spec::{MonitorSpec, Profile},
    tenant::{Account, DEFAULT, Tenant},
};
use document::Document;
use interpolate::Surroundings;
use managed::Footing;
use problem::{Findings, Severity};
use read::Reader;
use source::Sources;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// A configuration that runs.
#[derive(Debug)]
pub struct Config {
    /// `[host]`.
    pub host: HostSettings,
    /// In the order in which they were written, those of the API behind those of files.
    pub monitors: Vec<MonitorSpec>,
    /// `[metrics]`.
    pub metrics: MetricsSettings,
    /// Where each of them was written.
    pub places: Places,
    /// What documents of the API are built on.
    pub footings: Footings,
    /// Documents of the API that are not in effect.
    pub aside: Vec<Aside>,
    /// Windows of maintenance that stand in the operator's own files.
    pub own_windows: Vec<Order>,
    /// Whose sinks hear that the prober itself is in trouble; none without `[[host.notify]]`.
    pub host_entry: Option<MonitorSpec>,
    /// Every known plugin, with what `[plugins.NAME]` grants it, which by default is nothing.
    pub profiles: BTreeMap<String, Arc<Profile>>,
    /// What `/probe` can be asked for by the operator.
    pub modules: Modules,
    /// Where monitors came from that no table of their own describes, in the order of the tables.
    pub loaded: Vec<Loaded>,
    /// Whose all of that is which stands in no tenant's configuration.
    pub operator: Arc<Tenant>,
    /// What became of each tenant's configuration, by name.
    pub tenants: Vec<TenantState>,
    /// What is allowed, but was probably not meant.
    pub warnings: Problems,
}

impl Config {
    /// All windows of maintenance, those of tenants' configurations too.
    #[must_use]
    pub fn windows(&self) -> Vec<Order> {
        let tenants = self.tenants.iter().flat_map(|state| &state.windows);
        self.own_windows.iter().chain(tenants).cloned().collect()
    }
}

/// A configuration that can't run.
#[derive(Debug)]
pub struct Unfit {
    /// What is wrong with what the operator wrote.
    pub problems: Problems,
    /// What would have become of the tenants.
    pub tenants: Vec<TenantState>,
}

/// What a list of targets came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The file, as the operator named it; none where the list stands in the configuration itself.
    pub file: Option<String>,
    /// How its monitors' names are made.
    pub name: String,
    /// How many monitors it made.
    pub monitors: usize,
}

/// A configuration that was read, but not yet checked against the plugins.
#[derive(Debug)]
pub struct Draft {
    sources: Arc<Sources>,
    findings: Findings,
    document: Document,
    /// Whether it was TOML at all.
    readable: bool,
    /// What tenants have used before.
    accounts: BTreeMap<Arc<str>, Arc<Account>>,
    /// What stands beside the files.
    filed: Filed,
}

impl Draft {
    /// Reads a file, all `*.toml` of a directory, or standard input (`-`). Problems wait for [`Draft::finish`].
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let mut findings = Findings::default();
        let sources = Sources::load(path, &mut findings);
        Self::read(sources, findings, &Surroundings::process())
    }

    /// Reads a text that is called `name`; its relative paths start at `base`.
    #[must_use]
    pub fn from_text(name: &str, text: &str, base: &Path) -> Self {
        let mut sources = Sources::default();
        sources.add(name, text.to_owned(), base);
        Self::read(sources, Findings::default(), &Surroundings::process())
    }

    fn read(sources: Sources, mut findings: Findings, surroundings: &Surroundings) -> Self {
        let unread = !findings.is_empty();
        let root = syntax::parse(&sources, 0, surroundings, &mut findings);
        let readable = root.is_some() && !unread;
        let mut reader = Reader {
            sources: &sources,
            findings: &mut findings,
        };
        // Half of a configuration would only be full of references to the other half.
        let root = root.filter(|_| readable).unwrap_or_default();
        let document = Document::read(&mut reader, &root, surroundings);
        Self {
            sources: Arc::new(sources),
            findings,
            document,
            readable,
            accounts: BTreeMap::new(),
            filed: Filed::default(),
        }
    }

    /// These documents of the API stand beside the files.
    pub fn file(&mut self, filed: Filed) {
        self.filed = filed;
    }

    /// `[host]`, with defaults where it is wrong or absent.
    #[must_use]
    pub fn host(&self) -> HostSettings {
        self.document.host.settings.clone()
    }

    /// What those tenants have used is what the tenants of the same name here go on from.
    pub fn continue_accounts<'a>(&mut self, tenants: impl IntoIterator<Item = &'a Arc<Tenant>>) {
        for tenant in tenants {
            self.accounts
                .insert(Arc::clone(&tenant.name), Arc::clone(&tenant.account));
        }
        for (name, entry) in &mut self.document.tenants {
            if let (Some(account), Some(tenant)) = (self.accounts.get(name), Arc::get_mut(&mut entry.tenant))
            {
                tenant.account = Arc::clone(account);
            }
        }
    }

    /// What `[plugins.NAME]` grants, by name; none where the configuration can't be read at all.
    #[must_use]
    pub fn grants(&self) -> Option<BTreeMap<String, Arc<Grants>>> {
        let plugins = self.document.plugins.iter();
        self.readable.then(|| {
            plugins
                .map(|(name, entry)| (name.to_string(), Arc::clone(&entry.grants)))
                .collect()
        })
    }

    /// Checks it against the plugins, by name.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn finish(self, facts: &BTreeMap<String, Facts>) -> Result<Config, Problems> {
        self.finish_telling(facts, Keep::Nothing, &mut Silent)
            .map_err(|unfit| unfit.problems)
    }

    /// Folders, or single files, with configurations of tenants.
    pub fn tenant_configs(&self) -> impl Iterator<Item = &Path> {
        let entries = self.document.tenants.values();
        entries.filter_map(|entry| Some(entry.config.as_ref()?.path.as_path()))
    }

    /// Folders with plugins of tenants, each with its tenant before it, and the folder out of which nothing in it may
    /// lead behind it. One that leads out of its tenant's own folder is none of them.
    pub fn tenant_plugins(&self) -> impl Iterator<Item = (&Arc<str>, &Path, &Path)> {
        self.document.tenants.iter().filter_map(|(name, entry)| {
            let (folder, within) = entry.own_plugins()?;
            Some((name, folder, within))
        })
    }

    /// The same; `progress` hears how the reading of targets gets on, and what tenants wrote is kept where it is good.
    /// The facts hold those of tenants' own plugins, as `tenant/plugin`.
    ///
    /// # Errors
    /// Everything that is wrong with what the operator wrote. What is wrong with a tenant's configuration is none.
    pub fn finish_telling(
        mut self,
        facts: &BTreeMap<String, Facts>,
        keep: Keep,
        progress: &mut dyn Progress,
    ) -> Result<Config, Unfit> {
        let mut warnings = Findings::default();
        if !self.readable {
            return Err(Unfit {
                problems: self.findings.into_problems(self.sources, Severity::Error),
                tenants: Vec::new(),
            });
        }
        let own: BTreeMap<String, Facts> = facts
            .iter()
            .filter(|(name, _)| !name.contains('/'))
            .map(|(name, facts)| (name.clone(), facts.clone()))
            .collect();
        let mut builder = build::builder(
            &self.document,
            &own,
            &self.sources,
            &mut self.findings,
            &mut warnings,
            build::Scope::operator(self.accounts.get(DEFAULT).cloned()),
        );
        builder.check_plugins(facts);
        let mut made = builder.build(progress);
        let terms = builder.terms(facts);
        let host_entry = builder.host_entry();
        let profiles = builder.profiles(facts);
        let modules = builder.modules();
        let operator = Arc::clone(&builder.tenant);
        let settings = self.document.host.settings.clone();
        let metrics = self.document.metrics.clone();
        let own_windows = std::mem::take(&mut self.document.windows);
        let mut footing = Footing {
            tenant: Arc::clone(&operator),
            of_operator: true,
            document: self.document,
            sources: Arc::clone(&self.sources),
            facts: Arc::new(own),
            refused: Vec::new(),
            shared: BTreeMap::new(),
            first: 0,
            monitors_max: build::MONITORS_MAX,
            monitors: made.monitors.clone(),
            places: std::mem::take(&mut made.places),
        };
        // A copy is made of what is in force, and with what is wrong nothing will be.
        let fitted = match self.findings.is_empty() {
            true => footing.fit(&self.filed, true).map_err(|blame| blame.problems),
            false => Err(self
                .findings
                .into_problems(Arc::clone(&self.sources), Severity::Error)),
        };
        let (mut aside, problems) = match fitted {
            Ok(aside) => (aside, None),
            Err(problems) => (Vec::new(), Some(problems)),
        };
        let (keep, filed) = match problems {
            None => (keep, self.filed),
            Some(_) => (Keep::Nothing, Filed::default()),
        };
        let estate = tenancy::settle(
            &settings,
            &self.sources,
            terms,
            keep,
            &filed,
            &mut made.monitors,
            progress,
        );
        if let Some(problems) = problems {
            return Err(Unfit {
                problems,
                tenants: estate.states,
            });
        }
        aside.extend(estate.aside);
        let mut footings = Footings::new(std::iter::once(footing).chain(estate.footings));
        footings.leave_out(&filed.documents, &mut aside);
        let in_effect = filed.in_effect(&aside);
        let Whole { monitors, places } = match footings.build(&in_effect, &BTreeMap::new()) {
            Ok(whole) => whole,
            // Each fitted by itself.
            Err(refusal) => {
                return Err(Unfit {
                    problems: refusal.problems,
                    tenants: estate.states,
                });
            }
        };
        Ok(Config {
            host: settings,
            metrics,
            monitors,
            places,
            footings,
            aside,
            own_windows,
            loaded: made.loaded,
            host_entry,
            profiles,
            modules,
            operator,
            tenants: estate.states,
            warnings: warnings.into_problems(self.sources, Severity::Warning),
        })
    }
}

/// What `init` writes: a commented configuration that works as it stands.
#[must_use]
pub fn starter() -> &'static str {
    include_str!("starter.toml")
}

/// A JSON Schema (draft 2020-12) of the configuration, for editors: names, types and most bounds.
#[must_use]
pub fn published_schema() -> &'static str {
    include_str!("configuration.schema.json")
}
