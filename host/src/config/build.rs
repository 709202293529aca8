//! From what was written to what runs: layers put together, references followed, settings checked against schemas.
//!
//! Invariant: what monitors have in common they share, so that one more monitor costs little more than its name
//! and its own settings.

use super::{
    Loaded,
    assembly::Assembly,
    document::{Document, HOST_ENTRY},
    folder::Files,
    layer::{InterventionLayer, Layer},
    problem::{Findings, Problem},
    progress::{Progress, Silent},
    read::{Reader, Spot, list, nearest, show_duration},
    schema::{Schema, property_names},
    source::{At, Sources},
    tree::Table,
};
use crate::domain::{
    limits::Limits,
    managed::Places,
    plugin::Facts,
    spec::{Budget, Class, InterventionSpec, Kind, Label, Lane, MonitorSpec, Policy, Profile, Sink},
    tenant::{Account, Tenant},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// A pulse, unless `timeout` says otherwise.
pub(super) const PULSE_TIMEOUT: Duration = Duration::from_secs(5);
/// An intervention: stopping a container alone may take ten seconds.
pub(super) const INTERVENTION_TIMEOUT: Duration = Duration::from_secs(30);
/// A code.
const CODE_TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_secs(30);
/// How often at most it is looked whether heartbeats came, unless something else is said.
const BEAT_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A failing monitor is looked at more often, unless it is looked at that often anyway.
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(10);
const PAGE_AFTER: Duration = Duration::from_secs(300);
const COOLDOWN: Duration = Duration::from_secs(30);
const VERIFY_WINDOW_MIN: Duration = Duration::from_secs(10);
const BUDGET: Budget = Budget {
    attempts: 10,
    per: Duration::from_secs(3600),
};
/// Each sink is a lane of its own in the scheduler.
const SINKS_MAX: usize = 64;

/// What the builder makes.
#[derive(Debug, Default)]
pub(super) struct Built {
    pub monitors: Vec<MonitorSpec>,
    pub loaded: Vec<Loaded>,
    /// Where each monitor was written.
    pub places: Places,
}

/// The monitors of files, which documents of the API are put beside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside<'a> {
    pub monitors: &'a [MonitorSpec],
    pub places: &'a Places,
    /// The place of the first document's monitor in the list of all.
    pub first: u32,
    /// The number of the document that each table is.
    pub documents: &'a [u32],
}

/// All monitors together; they are numbered with `u32`, and a million is what the host is made for.
pub(super) const MONITORS_MAX: usize = 16_000_000;

/// Of a tenant without `quotas.monitors`: one alone must not take all the places that there are.
pub(super) const TENANT_MONITORS: usize = 1_000_000;

/// Whose configuration is built, and within which bounds.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub tenant: Arc<Tenant>,
    /// Where files that it names may be.
    pub files: Files<'a>,
    /// Plugins that are there, but not for it.
    pub refused: Vec<&'a str>,
    /// The operator's notifiers that it may use.
    pub shared: BTreeMap<Arc<str>, Arc<Sink>>,
    /// How many monitors there are before its own.
    pub first: u32,
    /// How many it may have.
    pub monitors_max: usize,
    /// Bytes of names and settings that it may have.
    pub bytes_max: usize,
    /// What is built are documents of the API, beside these.
    pub beside: Option<Beside<'a>>,
}

impl Scope<'_> {
    /// That of the operator, who has used that much already.
    pub fn operator(account: Option<Arc<Account>>) -> Self {
        let mut tenant = Tenant::unlimited();
        tenant.account = account.unwrap_or_default();
        Self {
            tenant: Arc::new(tenant),
            files: Files::Anywhere,
            refused: Vec::new(),
            shared: BTreeMap::new(),
            first: 0,
            monitors_max: MONITORS_MAX,
            bytes_max: usize::MAX,
            beside: None,
        }
    }
}

/// Puts everything together. Reports into the findings; what is returned is of use only without any.
pub(super) fn builder<'a>(
    document: &'a Document,
    facts: &'a BTreeMap<String, Facts>,
    sources: &'a Sources,
    findings: &'a mut Findings,
    warnings: &'a mut Findings,
    scope: Scope<'a>,
) -> Builder<'a> {
    Builder {
        document,
        facts,
        reader: Reader { sources, findings },
        warnings,
        tenant: scope.tenant,
        files: scope.files,
        refused: scope.refused,
        shared: scope.shared,
        first: scope.first,
        monitors_max: scope.monitors_max,
        bytes_left: scope.bytes_max,
        beside: scope.beside,
        no_parents: Arc::new([]),
        schemas: HashMap::new(),
        checked: HashSet::new(),
        granted: HashSet::new(),
        profiles: HashMap::new(),
        labels: HashSet::new(),
        classes: HashMap::new(),
        interventions: HashMap::new(),
        sinks: BTreeMap::new(),
        sink_lists: HashMap::new(),
        bases: HashMap::new(),
    }
}

/// Whose lane is being built.
#[derive(Clone, Debug)]
pub(super) struct Owner<'a> {
    /// `monitor `shop``.
    pub who: String,
    /// Where its name stands.
    pub at: At,
    pub kind: Kind,
    /// What stands before a setting's name where it would be written.
    pub prefix: &'a str,
    /// It uses a template that is not there, which was reported: nothing is missing.
    pub partial: bool,
    /// The settings that it was given itself, not by a template.
    pub own: Option<&'a Table>,
}

/// All the shared parts of an intervention; the pointers are those of interned values.
type InterventionKey = (
    *const Profile,
    Arc<str>,
    Duration,
    u32,
    Duration,
    Duration,
    u32,
    Duration,
);

/// All the shared parts of a class but its tenant, who is the same for all that one builder makes; the pointers are
/// those of interned values.
type ClassKey = (
    *const [Label],
    Policy,
    Option<(*const Profile, Duration, Arc<str>)>,
    Option<*const InterventionSpec>,
    *const [Arc<Sink>],
    *const [u32],
);

pub(super) struct Builder<'a> {
    pub document: &'a Document,
    pub facts: &'a BTreeMap<String, Facts>,
    pub reader: Reader<'a>,
    pub warnings: &'a mut Findings,
    pub tenant: Arc<Tenant>,
    pub files: Files<'a>,
    pub refused: Vec<&'a str>,
    shared: BTreeMap<Arc<str>, Arc<Sink>>,
    pub first: u32,
    pub monitors_max: usize,
    bytes_left: usize,
    pub beside: Option<Beside<'a>>,
    /// Of who depends on nobody.
    pub no_parents: Arc<[u32]>,
    /// By plugin; none where the schema itself is wrong.
    pub schemas: HashMap<&'a str, Option<Arc<Schema<'a>>>>,
    /// Settings that satisfy their plugin's schema.
    pub checked: HashSet<(&'a str, Arc<str>)>,
    /// Plugins whose grants were looked at.
    pub granted: HashSet<&'a str>,
    pub profiles: HashMap<(Arc<str>, Limits), Arc<Profile>>,
    labels: HashSet<Arc<[Label]>>,
    classes: HashMap<ClassKey, Arc<Class>>,
    interventions: HashMap<InterventionKey, Arc<InterventionSpec>>,
    /// By name; none where the notifier is wrong.
    sinks: BTreeMap<Arc<str>, Option<Arc<Sink>>>,
    sink_lists: HashMap<Vec<Arc<str>>, Arc<[Arc<Sink>]>>,
    /// Defaults and templates, by the list of templates.
    bases: HashMap<Vec<Arc<str>>, Arc<Layer>>,
}

impl<'a> Builder<'a> {
    /// Builds all monitors.
    pub fn build(&mut self, progress: &mut dyn Progress) -> Built {
        self.build_sinks();
        let mut assembly = Assembly::default();
        for (table, raw) in (0..).zip(&self.document.monitors) {
            self.add(table, raw, &mut assembly, progress);
            if !self.is_within_bounds(&mut assembly, raw.name.at) {
                break;
            }
        }
        self.connect(&mut assembly);
        Built {
            places: self.places(&assembly),
            monitors: assembly.monitors,
            loaded: assembly.loaded,
        }
    }

    /// Builds the monitors of documents, each of which is a table, beside those of files. `unread`: names of those that are
    /// no table.
    pub fn build_beside(&mut self, unread: Vec<Arc<str>>) -> Vec<MonitorSpec> {
        let Some(beside) = self.beside else {
            return Vec::new();
        };
        self.build_sinks();
        let mut assembly = Assembly::beside(beside.monitors);
        assembly.unbuilt.extend(unread);
        for (table, raw) in (0..).zip(&self.document.monitors) {
            let document = self.document_of(table);
            self.reader.findings.about = document;
            let before = assembly.monitors.len();
            self.add(table, raw, &mut assembly, &mut Silent);
            if assembly.monitors.len() == before {
                // What is wrong may have been said about another one that says the same.
                self.reader.findings.blamed.extend(document);
            } else if !self.is_within_bounds(&mut assembly, raw.name.at) {
                assembly.pop();
            }
        }
        self.reader.findings.about = None;
        self.connect(&mut assembly);
        assembly.monitors.split_off(beside.monitors.len())
    }

    /// The number of the document that this table is.
    pub(super) fn document_of(&self, table: u32) -> Option<u32> {
        self.beside?.documents.get(table as usize).copied()
    }

    /// Whether a tenant's configuration stays within what it may take; says it once if not.
    pub(super) fn is_within_bounds(&mut self, assembly: &mut Assembly, at: At) -> bool {
        let text = if assembly.monitors.len() > self.monitors_max {
            match self.tenant.quotas.monitors {
                Some(most) if u64::try_from(self.monitors_max) == Ok(most) => {
                    format!(
                        "more than {most} monitors, which is the quota of the tenant `{}`",
                        self.tenant
                    )
                }
                None if self.monitors_max == TENANT_MONITORS => format!(
                    "more than {TENANT_MONITORS} monitors; the tenant `{}` needs `quotas.monitors` for that",
                    self.tenant
                ),
                _ => format!("more than {MONITORS_MAX} monitors in all"),
            }
        } else if self.bytes_left == 0 {
            format!(
                "the names and settings of the monitors of the tenant `{}` take too much memory",
                self.tenant
            )
        } else {
            return true;
        };
        assembly.gaps = true;
        self.reader.report(Problem::new("quota", at, text));
        false
    }

    /// That much is kept for a monitor.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
    }

    /// Whether too much was kept.
    pub(super) fn is_spent(&self) -> bool {
        self.bytes_left == 0
    }

    /// What each plugin may reach and use.
    pub fn profiles(&mut self, facts: &BTreeMap<String, Facts>) -> BTreeMap<String, Arc<Profile>> {
        facts
            .iter()
            .map(|(name, facts)| {
                let limits = self.plugin_limits(name);
                (name.clone(), self.profile(facts, limits))
            })
            .collect()
    }

    /// `[plugins.NAME]` must name a plugin, and its grants settings which that plugin has. A tenant's own plugins are
    /// among `all`; that one of them is not there or has other settings is the tenant's trouble, and nobody else's.
    pub fn check_plugins(&mut self, all: &BTreeMap<String, Facts>) {
        for (tenant, entry) in &self.document.tenants {
            if let Some(plugins) = entry.plugins.as_ref().filter(|_| entry.astray) {
                let text = format!(
                    "the plugins of the tenant `{tenant}` are not used: this leads out of the tenant's folder"
                );
                let help = "whoever can write in that folder can put a link there; where the plugins lie elsewhere, name that place";
                self.warnings
                    .report(Problem::new("astray", plugins.at, text).help(help));
            }
        }
        for (name, declared) in &self.document.commands {
            let Some(command) = &declared.command else {
                continue;
            };
            if !command.program.is_file() {
                let text = format!("there is no program for the command `{name}` here");
                let help = "until there is, whoever runs it fails";
                self.warnings
                    .report(Problem::new("no-program", declared.program_at, text).help(help));
            }
        }
        for (name, entry) in &self.document.plugins {
            let Some(facts) = all.get(name.as_ref()) else {
                self.no_such_plugin(entry.at, name);
                continue;
            };
            let known = property_names(&facts.schema, &facts.schema);
            for named in &entry.named_settings {
                let Some(first) = named.value.first() else {
                    continue;
                };
                if known.is_empty() || known.contains(&first.as_str()) {
                    continue;
                }
                let help = match nearest(first, &known) {
                    Some(near) => format!("did you mean `@settings.{near}`?"),
                    None => format!("its settings are {}", list(&known)),
                };
                let text = format!("the plugin `{name}` has no setting `{first}`");
                let problem = Problem::new("bad-grant", named.at, text).help(help);
                if name.contains('/') {
                    self.warnings.report(problem);
                } else {
                    self.reader.report(problem);
                }
            }
        }
    }

    fn no_such_plugin(&mut self, at: At, name: &str) {
        let tenant = name.split_once('/').and_then(|(tenant, plugin)| {
            let entry = self.document.tenants.get(tenant)?;
            entry.plugins.as_ref()?;
            Some((tenant, plugin))
        });
        let Some((tenant, plugin)) = tenant else {
            return self.unknown_plugin(at, name, None);
        };
        let text = format!("the tenant `{tenant}` has no usable plugin `{plugin}`");
        self.warnings.report(Problem::new("unknown-plugin", at, text));
    }

    fn build_sinks(&mut self) {
        self.sinks = std::mem::take(&mut self.shared)
            .into_iter()
            .map(|(name, sink)| (name, Some(sink)))
            .collect();
        for (name, notifier) in &self.document.notifiers {
            if self.sinks.contains_key(name) {
                let text = format!("the notifier `{name}` is the operator's, who shares it");
                let help = "it can be used as it is; give this one another name";
                self.reader
                    .report(Problem::new("duplicate-name", notifier.at, text).help(help));
                continue;
            }
            let owner = Owner {
                who: format!("the notifier `{name}`"),
                at: notifier.at,
                kind: Kind::Code,
                prefix: "settings.",
                partial: false,
                own: notifier.lane.settings.as_ref().map(|spot| &spot.value),
            };
            let sink = if notifier.lane.plugin.is_some() {
                self.lane(&owner, &notifier.lane, CODE_TIMEOUT).map(|lane| {
                    Arc::new(Sink {
                        name: Arc::clone(name),
                        lane,
                        colors: notifier.colors,
                        max_age: notifier.max_age,
                    })
                })
            } else {
                self.no_plugin(&owner, &notifier.lane, "plugin");
                None
            };
            self.sinks.insert(Arc::clone(name), sink);
        }
    }

    pub fn host_entry(&mut self) -> Option<MonitorSpec> {
        let notify = &self.document.host.notify;
        if notify.is_empty() {
            return None;
        }
        let sinks = self.sink_list(notify.iter());
        let policy = self.policy(&Layer::default());
        let class = Class {
            tenant: Arc::clone(&self.tenant),
            labels: Arc::new([]),
            policy,
            pulse: None,
            intervention: None,
            sinks,
            parents: Arc::new([]),
        };
        Some(MonitorSpec::new(Arc::new(class), None, HOST_ENTRY, None))
    }

    /// The notifiers that could be built.
    pub fn sinks(&self) -> &BTreeMap<Arc<str>, Option<Arc<Sink>>> {
        &self.sinks
    }

    /// The one list of labels that says this.
    pub(super) fn labels(&mut self, labels: Vec<Label>) -> Arc<[Label]> {
        if let Some(known) = self.labels.get(labels.as_slice()) {
            return Arc::clone(known);
        }
        let shared: Arc<[Label]> = labels.into();
        self.labels.insert(Arc::clone(&shared));
        shared
    }

    /// Defaults, then the templates in order.
    pub(super) fn base(&mut self, uses: &[Spot<Arc<str>>]) -> Arc<Layer> {
        let key: Vec<Arc<str>> = uses.iter().map(|name| Arc::clone(&name.value)).collect();
        if let Some(known) = self.bases.get(&key)
            && uses
                .iter()
                .all(|name| self.document.templates.contains_key(&name.value))
        {
            return Arc::clone(known);
        }
        let mut layer = self.document.defaults.clone();
        for name in uses {
            if let Some(template) = self.document.templates.get(&name.value) {
                layer = template.over(&layer);
                continue;
            }
            let known: Vec<&str> = self.document.templates.keys().map(AsRef::as_ref).collect();
            let text = format!(
                "there is no template `{}`",
                self.reader.quoted(name.at, &name.value)
            );
            let help = match nearest(&name.value, &known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None if known.is_empty() => "templates are defined as [templates.NAME]".to_owned(),
                None => format!("templates are {}", list(&known)),
            };
            self.reader
                .report(Problem::new("unknown-template", name.at, text).help(help));
        }
        let layer = Arc::new(layer);
        self.bases.insert(key, Arc::clone(&layer));
        layer
    }

    /// The one class that says all this.
    pub(super) fn class(&mut self, class: Class) -> Arc<Class> {
        let key = (
            Arc::as_ptr(&class.labels),
            class.policy.clone(),
            class.pulse.as_ref().map(|check| {
                (
                    Arc::as_ptr(&check.profile),
                    check.timeout,
                    Arc::clone(&check.settings),
                )
            }),
            class.intervention.as_ref().map(Arc::as_ptr),
            Arc::as_ptr(&class.sinks),
            Arc::as_ptr(&class.parents),
        );
        let shared = self.classes.entry(key).or_insert_with(|| Arc::new(class));
        Arc::clone(shared)
    }

    pub(super) fn policy(&self, layer: &Layer) -> Policy {
        // Whoever waits for heartbeats has waited already when he finds silence, and one heartbeat is proof of life.
        let beat = layer.heartbeat.as_ref();
        let interval = beat.map_or(INTERVAL, |beat| INTERVAL.min(beat.grace()).max(BEAT_INTERVAL_MIN));
        let interval = layer.interval.map_or(interval, |span| span.value);
        let (failures, successes) = if beat.is_some() { (1, 1) } else { (3, 2) };
        Policy {
            interval,
            retry_interval: layer
                .retry_interval
                .map_or(interval.min(RETRY_INTERVAL_MAX), |span| span.value),
            failure_threshold: layer.failure_threshold.map_or(failures, |count| count.value),
            success_threshold: layer.success_threshold.map_or(successes, |count| count.value),
            page_after: layer.page_after.map_or(PAGE_AFTER, |span| span.value),
            repeat: layer.repeat.flatten(),
            fault_threshold: layer.fault_threshold.map_or(3, |count| count.value),
        }
    }

    pub(super) fn warn_of_times(&mut self, layer: &Layer, policy: &Policy) {
        if let Some(written) = layer.retry_interval
            && policy.retry_interval > policy.interval
        {
            self.warnings.report(Problem::new(
                "retry-above-interval",
                written.at,
                format!(
                    "while it fails, a monitor is checked less often ({}) than while it is well ({})",
                    show_duration(policy.retry_interval),
                    show_duration(policy.interval)
                ),
            ));
        }
    }

    /// The repair that runs that lane.
    pub(super) fn intervention(
        &mut self,
        layer: &InterventionLayer,
        policy: &Policy,
        pulse_timeout: Duration,
        lane: Lane,
    ) -> Arc<InterventionSpec> {
        // Enough for a service that starts slowly, fails just short of the threshold and then proves itself.
        let pulses = policy.failure_threshold.saturating_add(policy.success_threshold);
        let window = (policy.retry_interval + pulse_timeout)
            .saturating_mul(pulses)
            .max(VERIFY_WINDOW_MIN);
        let spec = InterventionSpec {
            lane,
            max_attempts: layer.max_attempts.map_or(3, |count| count.value),
            cooldown: layer.cooldown.map_or(COOLDOWN, |span| span.value),
            verify_window: layer.verify_window.map_or(window, |span| span.value),
            budget: layer.budget.over(BUDGET),
        };
        let key = (
            Arc::as_ptr(&spec.lane.profile),
            Arc::clone(&spec.lane.settings),
            spec.lane.timeout,
            spec.max_attempts,
            spec.cooldown,
            spec.verify_window,
            spec.budget.attempts,
            spec.budget.per,
        );
        let shared = self.interventions.entry(key).or_insert_with(|| Arc::new(spec));
        Arc::clone(shared)
    }

    pub(super) fn sink_list<'n>(
        &mut self,
        names: impl Iterator<Item = &'n Spot<Arc<str>>>,
    ) -> Arc<[Arc<Sink>]> {
        let mut key: Vec<Arc<str>> = Vec::new();
        for name in names {
            if !self.sinks.contains_key(&name.value) {
                let known: Vec<&str> = self.sinks.keys().map(AsRef::as_ref).collect();
                let text = format!(
                    "there is no notifier `{}`",
                    self.reader.quoted(name.at, &name.value)
                );
                let help = match nearest(&name.value, &known) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None if known.is_empty() => "notifiers are defined as [notifiers.NAME]".to_owned(),
                    None => format!("notifiers are {}", list(&known)),
                };
                self.reader
                    .report(Problem::new("unknown-notifier", name.at, text).help(help));
            } else if key.contains(&name.value) {
                // Named by several levels: told once.
            } else if key.len() >= SINKS_MAX {
                let text = format!("more than {SINKS_MAX} notifiers for one monitor");
                self.reader.report(Problem::new("out-of-range", name.at, text));
                break;
            } else {
                key.push(Arc::clone(&name.value));
            }
        }
        if let Some(known) = self.sink_lists.get(&key) {
            return Arc::clone(known);
        }
        let shared: Arc<[Arc<Sink>]> = key
            .iter()
            .filter_map(|name| self.sinks.get(name).cloned().flatten())
            .collect();
        self.sink_lists.insert(key, Arc::clone(&shared));
        shared
    }
}
