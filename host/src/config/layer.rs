//! What `[defaults]`, a template or a monitor says, each read once and then laid over one another.
//!
//! Invariant: every layer is checked whether anybody uses it or not, and each value is checked where it was written,
//! so that a mistake in a template is one problem and not one per monitor.

use super::{
    deadman::BeatLayer,
    problem::Problem,
    read::{Reader, Spot},
    source::At,
    tree::{Node, Table, Value},
};
use crate::domain::{host::HostSettings, limits::Limits, spec::Budget};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Keys of `[defaults]` and of templates.
pub const KEYS_DEFAULTS: &[&str] = &[
    "depends-on",
    "failure-threshold",
    "fault-threshold",
    "heartbeat",
    "intervention",
    "interval",
    "labels",
    "notify",
    "notify-add",
    "page-after",
    "pulse",
    "repeat",
    "retry-interval",
    "success-threshold",
    "timeout",
];
/// Keys of `[[monitor]]`.
pub const KEYS_MONITOR: &[&str] = &[
    "depends-on",
    "failure-threshold",
    "fault-threshold",
    "heartbeat",
    "intervention",
    "interval",
    "key",
    "labels",
    "name",
    "notify",
    "notify-add",
    "page-after",
    "pulse",
    "repeat",
    "retry-interval",
    "success-threshold",
    "targets",
    "timeout",
    "use",
];
/// Keys of an entry of `depends-on` that is no name.
pub const KEYS_SELECTOR: &[&str] = &["labels"];
/// Keys of `pulse`.
pub const KEYS_PULSE: &[&str] = &["limits", "plugin", "settings", "timeout"];
/// Keys of `intervention`.
pub const KEYS_INTERVENTION: &[&str] = &[
    "budget",
    "cooldown",
    "limits",
    "max-attempts",
    "plugin",
    "settings",
    "timeout",
    "verify-window",
];
/// Keys of `budget` and of `[host] interventions`.
pub const KEYS_BUDGET: &[&str] = &["attempts", "per"];
/// Keys of `limits` and of `[host.maxima]`.
pub const KEYS_LIMITS: &[&str] = &["cpu", "fuel", "memory"];

/// What to do about a key of a monitor that a sub-table's header swallowed.
const SWALLOWED: &str = "it belongs one level up: write it before the sub-table's header, or write the sub-table with dotted keys";

const LABELS_MAX: usize = 64;
const LABEL_NAME_BYTES_MAX: usize = 64;
pub(super) const LABEL_VALUE_BYTES_MAX: usize = 1024;
/// Entries of one `depends-on`.
const DEPENDS_ON_MAX: usize = 64;

const MS: Duration = Duration::from_millis(1);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// Less is a load test, not a check.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// What one level says about monitors. None: nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub interval: Option<Spot<Duration>>,
    pub retry_interval: Option<Spot<Duration>>,
    pub timeout: Option<Spot<Duration>>,
    pub failure_threshold: Option<Spot<u32>>,
    pub success_threshold: Option<Spot<u32>>,
    pub page_after: Option<Spot<Duration>>,
    /// `"never"` is a value of its own: it switches off what a lower level switched on.
    pub repeat: Option<Option<Duration>>,
    pub fault_threshold: Option<Spot<u32>>,
    pub labels: BTreeMap<Arc<str>, Spot<Arc<str>>>,
    pub depends_on: Option<Arc<[Dependency]>>,
    pub notify: Option<Vec<Spot<Arc<str>>>>,
    pub notify_add: Vec<Spot<Arc<str>>>,
    pub pulse: LaneLayer,
    /// In place of `pulse`: whichever of them is said last counts.
    pub heartbeat: Option<BeatLayer>,
    pub intervention: Option<InterventionLayer>,
}

/// One entry of `depends-on`.
#[derive(Clone, Debug)]
pub(super) struct Dependency {
    pub at: At,
    pub on: On,
}

/// Whom it names.
#[derive(Clone, Debug)]
pub(super) enum On {
    /// The monitor of that name.
    Name(Arc<str>),
    /// Every monitor that has all these labels; never none.
    Labels(BTreeMap<Arc<str>, Spot<Arc<str>>>),
}

/// What one level says about a lane.
#[derive(Clone, Debug, Default)]
pub(super) struct LaneLayer {
    pub plugin: Option<Spot<Arc<str>>>,
    pub settings: Option<Spot<Table>>,
    pub timeout: Option<Spot<Duration>>,
    pub limits: PartialLimits,
    /// The plugin or the settings could not be read, which was reported: nothing is missing.
    pub spoiled: bool,
}

/// What one level says about repairs.
#[derive(Clone, Debug)]
pub(super) struct InterventionLayer {
    pub at: At,
    pub lane: LaneLayer,
    pub max_attempts: Option<Spot<u32>>,
    pub cooldown: Option<Spot<Duration>>,
    pub verify_window: Option<Spot<Duration>>,
    pub budget: PartialBudget,
}

/// Some of the caps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartialLimits {
    pub fuel: Option<u64>,
    pub cpu: Option<Spot<Duration>>,
    pub memory_bytes: Option<u64>,
}

/// Some of a budget.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartialBudget {
    pub attempts: Option<u32>,
    pub per: Option<Duration>,
}

impl Layer {
    /// Reads what the table says. Its keys were checked by the caller, who knows what it is.
    pub fn read(reader: &mut Reader<'_>, table: &Table, host: &HostSettings) -> Self {
        let mut duration = |key: &'static str, low, high| {
            table
                .get(key)
                .and_then(|node| reader.duration(node, key, low..=high))
        };
        let interval = duration("interval", INTERVAL_MIN, YEAR);
        let retry_interval = duration("retry-interval", INTERVAL_MIN, YEAR);
        let timeout = duration("timeout", MS, host.max_timeout);
        let page_after = duration("page-after", MS, YEAR);
        let mut count = |key: &'static str| table.get(key).and_then(|node| reader.small(node, key, 1..=1000));
        let failure_threshold = count("failure-threshold");
        let success_threshold = count("success-threshold");
        let fault_threshold = count("fault-threshold");
        let repeat = table.get("repeat").and_then(|node| match &node.value {
            Value::String(text) if text.as_ref() == "never" => Some(None),
            _ => reader
                .duration(node, "repeat", Duration::from_secs(1)..=YEAR)
                .map(|span| Some(span.value)),
        });
        Self {
            interval,
            retry_interval,
            timeout,
            failure_threshold,
            success_threshold,
            page_after,
            repeat,
            fault_threshold,
            labels: table
                .get("labels")
                .map(|node| read_labels(reader, node))
                .unwrap_or_default(),
            depends_on: table.get("depends-on").map(|node| read_depends_on(reader, node)),
            notify: table
                .get("notify")
                .and_then(|node| reader.strings(node, "notify")),
            notify_add: table
                .get("notify-add")
                .and_then(|node| reader.strings(node, "notify-add"))
                .unwrap_or_default(),
            pulse: table
                .get("pulse")
                .and_then(|node| reader.table(node, "pulse"))
                .map(|pulse| {
                    reader.known_keys_beside(pulse, KEYS_PULSE, "`pulse`", KEYS_MONITOR, SWALLOWED);
                    LaneLayer::read(reader, pulse, "pulse", host)
                })
                .unwrap_or_default(),
            heartbeat: table.entry("heartbeat").and_then(|entry| {
                if let Some(pulse) = table.entry("pulse") {
                    let text = "a monitor is watched by checks or by heartbeats, and this says both";
                    let help = "leave one of them out; what defaults or templates say of the other does not count then";
                    let problem = Problem::new("both", entry.key, text).help(help);
                    reader.report(problem.note(pulse.key, "the check"));
                }
                BeatLayer::read(reader, &entry.node)
            }),
            intervention: table
                .entry("intervention")
                .and_then(|entry| {
                    let table = reader.table(&entry.node, "intervention")?;
                    Some((entry.key, table))
                })
                .map(|(at, table)| InterventionLayer::read(reader, at, table, host)),
        }
    }

    /// This layer over `base`: tables merge, everything else is replaced, `notify-add` adds up.
    pub fn over(&self, base: &Self) -> Self {
        let mut labels = base.labels.clone();
        labels.extend(
            self.labels
                .iter()
                .map(|(name, value)| (Arc::clone(name), value.clone())),
        );
        Self {
            interval: self.interval.or(base.interval),
            retry_interval: self.retry_interval.or(base.retry_interval),
            timeout: self.timeout.or(base.timeout),
            failure_threshold: self.failure_threshold.or(base.failure_threshold),
            success_threshold: self.success_threshold.or(base.success_threshold),
            page_after: self.page_after.or(base.page_after),
            repeat: self.repeat.or(base.repeat),
            fault_threshold: self.fault_threshold.or(base.fault_threshold),
            labels,
            depends_on: self.depends_on.clone().or_else(|| base.depends_on.clone()),
            notify: self.notify.clone().or_else(|| base.notify.clone()),
            notify_add: base.notify_add.iter().chain(&self.notify_add).cloned().collect(),
            pulse: self.pulse.over(&base.pulse),
            heartbeat: match (&self.heartbeat, &base.heartbeat) {
                (Some(over), Some(base)) => Some(over.over(base)),
                (Some(only), None) => Some(only.clone()),
                (None, below) if self.pulse.plugin.is_none() => below.clone(),
                (None, _) => None,
            },
            intervention: match (&self.intervention, &base.intervention) {
                (Some(over), Some(base)) => Some(over.over(base)),
                (Some(only), None) | (None, Some(only)) => Some(only.clone()),
                (None, None) => None,
            },
        }
    }
}

impl LaneLayer {
    /// Reads plugin, settings, timeout and limits; `what` is the lane's name in problems.
    pub fn read(reader: &mut Reader<'_>, table: &Table, what: &str, host: &HostSettings) -> Self {
        let plugin = table
            .get("plugin")
            .and_then(|node| reader.string(node, &format!("{what}.plugin")));
        let settings = table.get("settings").and_then(|node| {
            let value = reader.table(node, &format!("{what}.settings"))?.clone();
            check_numbers(reader, node);
            Some(Spot { at: node.at, value })
        });
        Self {
            spoiled: (plugin.is_none() && table.get("plugin").is_some())
                || (settings.is_none() && table.get("settings").is_some()),
            plugin,
            settings,
            timeout: table
                .get("timeout")
                .and_then(|node| reader.duration(node, &format!("{what}.timeout"), MS..=host.max_timeout)),
            limits: table
                .get("limits")
                .map(|node| PartialLimits::read(reader, node, &format!("{what}.limits"), &host.maxima))
                .unwrap_or_default(),
        }
    }

    fn over(&self, base: &Self) -> Self {
        Self {
            plugin: self.plugin.clone().or_else(|| base.plugin.clone()),
            settings: match (&self.settings, &base.settings) {
                (Some(over), Some(base)) => Some(Spot {
                    at: over.at,
                    value: base.value.overlaid(&over.value),
                }),
                (Some(only), None) | (None, Some(only)) => Some(only.clone()),
                (None, None) => None,
            },
            timeout: self.timeout.or(base.timeout),
            limits: self.limits.or(&base.limits),
            spoiled: self.spoiled || base.spoiled,
        }
    }
}

impl InterventionLayer {
    fn read(reader: &mut Reader<'_>, at: At, table: &Table, host: &HostSettings) -> Self {
        reader.known_keys_beside(
            table,
            KEYS_INTERVENTION,
            "`intervention`",
            KEYS_MONITOR,
            SWALLOWED,
        );
        let budget = table
            .get("budget")
            .and_then(|node| reader.table(node, "intervention.budget"))
            .map(|table| {
                reader.known_keys(table, KEYS_BUDGET, "`budget`");
                read_budget(reader, table, "intervention.budget")
            })
            .unwrap_or_default();
        Self {
            at,
            lane: LaneLayer::read(reader, table, "intervention", host),
            max_attempts: table
                .get("max-attempts")
                .and_then(|node| reader.small(node, "intervention.max-attempts", 1..=1000)),
            cooldown: table
                .get("cooldown")
                .and_then(|node| reader.duration(node, "intervention.cooldown", MS..=YEAR)),
            verify_window: table
                .get("verify-window")
                .and_then(|node| reader.duration(node, "intervention.verify-window", MS..=YEAR)),
            budget,
        }
    }

    fn over(&self, base: &Self) -> Self {
        Self {
            at: self.at,
            lane: self.lane.over(&base.lane),
            max_attempts: self.max_attempts.or(base.max_attempts),
            cooldown: self.cooldown.or(base.cooldown),
            verify_window: self.verify_window.or(base.verify_window),
            budget: PartialBudget {
                attempts: self.budget.attempts.or(base.budget.attempts),
                per: self.budget.per.or(base.budget.per),
            },
        }
    }
}

impl PartialLimits {
    /// Reads caps, none of them above `maxima`.
    pub fn read(reader: &mut Reader<'_>, node: &Node, what: &str, maxima: &Limits) -> Self {
        let Some(table) = reader.table(node, what) else {
            return Self::default();
        };
        reader.known_keys(table, KEYS_LIMITS, &format!("`{what}`"));
        Self {
            fuel: table
                .get("fuel")
                .and_then(|node| reader.whole(node, &format!("{what}.fuel"), 1..=maxima.fuel))
                .map(|spot| spot.value),
            cpu: table
                .get("cpu")
                .and_then(|node| reader.duration(node, &format!("{what}.cpu"), MS..=maxima.cpu)),
            memory_bytes: table
                .get("memory")
                // One page of wasm is 64 KiB.
                .and_then(|node| {
                    reader.size(node, &format!("{what}.memory"), (64 << 10)..=maxima.memory_bytes)
                })
                .map(|spot| spot.value),
        }
    }

    fn or(&self, base: &Self) -> Self {
        Self {
            fuel: self.fuel.or(base.fuel),
            cpu: self.cpu.or(base.cpu),
            memory_bytes: self.memory_bytes.or(base.memory_bytes),
        }
    }

    /// These caps, and the others as they were.
    pub fn over(&self, base: &Limits) -> Limits {
        Limits {
            fuel: self.fuel.unwrap_or(base.fuel),
            cpu: self.cpu.map_or(base.cpu, |spot| spot.value),
            memory_bytes: self.memory_bytes.unwrap_or(base.memory_bytes),
        }
    }
}

impl PartialBudget {
    /// What was given, and the rest as it was.
    pub fn over(&self, base: Budget) -> Budget {
        Budget {
            attempts: self.attempts.unwrap_or(base.attempts),
            per: self.per.unwrap_or(base.per),
        }
    }
}

/// Reads `{ attempts, per }`; the caller checks the keys.
pub(super) fn read_budget(reader: &mut Reader<'_>, table: &Table, what: &str) -> PartialBudget {
    PartialBudget {
        attempts: table
            .get("attempts")
            .and_then(|node| reader.small(node, &format!("{what}.attempts"), 1..=1_000_000))
            .map(|spot| spot.value),
        per: table
            .get("per")
            .and_then(|node| reader.duration(node, &format!("{what}.per"), Duration::from_secs(1)..=YEAR))
            .map(|spot| spot.value),
    }
}

fn read_depends_on(reader: &mut Reader<'_>, node: &Node) -> Arc<[Dependency]> {
    const OF: &str = "names of monitors and of { labels = {...} }";
    let items = reader.array(node, "depends-on", OF).unwrap_or_default();
    if items.len() > DEPENDS_ON_MAX {
        let text = format!("more than {DEPENDS_ON_MAX} entries in one `depends-on`");
        reader.report(
            Problem::new("out-of-range", node.at, text)
                .help("monitors with a common label are one entry: { labels = { role = \"router\" } }"),
        );
    }
    let mut all = Vec::new();
    for item in items.iter().take(DEPENDS_ON_MAX) {
        let on = match &item.value {
            Value::String(name) => On::Name(Arc::clone(name)),
            Value::Table(table) => {
                reader.known_keys(table, KEYS_SELECTOR, "an entry of `depends-on`");
                let said = table
                    .get("labels")
                    .filter(|node| !matches!(&node.value, Value::Table(table) if table.is_empty()));
                let Some(said) = said else {
                    reader.report(
                        Problem::new("empty", item.at, "an entry of `depends-on` without labels")
                            .help("name what they have in common: { labels = { role = \"router\" } }"),
                    );
                    continue;
                };
                let labels = read_labels(reader, said);
                // Then something is wrong with them, which was reported.
                if labels.is_empty() {
                    continue;
                }
                On::Labels(labels)
            }
            Value::Broken => continue,
            other => {
                let text = format!("`depends-on` holds {OF}, not {}", other.kind());
                reader.report(Problem::new("wrong-type", item.at, text));
                continue;
            }
        };
        all.push(Dependency { at: item.at, on });
    }
    all.into()
}

fn read_labels(reader: &mut Reader<'_>, node: &Node) -> BTreeMap<Arc<str>, Spot<Arc<str>>> {
    let mut labels = BTreeMap::new();
    let Some(table) = reader.table(node, "labels") else {
        return labels;
    };
    for (name, entry) in table.iter() {
        let Some(value) = reader.string(&entry.node, "labels.NAME") else {
            continue;
        };
        if name.is_empty() || name.len() > LABEL_NAME_BYTES_MAX || name.chars().any(char::is_control) {
            reader.report(
                Problem::new("bad-name", entry.key, "this is no name for a label").help(format!(
                    "names of labels have 1 to {LABEL_NAME_BYTES_MAX} bytes and no control characters"
                )),
            );
        } else if value.value.len() > LABEL_VALUE_BYTES_MAX {
            reader.report(Problem::new(
                "out-of-range",
                value.at,
                format!("a label has at most {LABEL_VALUE_BYTES_MAX} bytes"),
            ));
        } else if labels.len() >= LABELS_MAX {
            reader.report(Problem::new(
                "out-of-range",
                entry.key,
                format!("more than {LABELS_MAX} labels"),
            ));
            break;
        } else {
            labels.insert(Arc::clone(name), value);
        }
    }
    labels
}

/// Settings become JSON, which has no infinity.
fn check_numbers(reader: &mut Reader<'_>, node: &Node) {
    match &node.value {
        Value::Float(number) if !number.is_finite() => reader.report(Problem::new(
            "out-of-range",
            node.at,
            "settings are JSON, which has neither infinity nor nan",
        )),
        Value::Array(items) => items.iter().for_each(|item| check_numbers(reader, item)),
        Value::Table(table) => table
            .iter()
            .for_each(|(_, entry)| check_numbers(reader, &entry.node)),
        _ => {}
    }
}
