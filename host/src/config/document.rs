//! The whole configuration, read as far as it can be without knowing the plugins.

use super::{
    chunk::Format,
    commands::{self, Commands},
    folder::beneath,
    host::Host,
    interpolate::Surroundings,
    layer::{KEYS_DEFAULTS, KEYS_MONITOR, Layer},
    maintenance::{self, Whose},
    metrics,
    notifier::{self, Notifier},
    plugins::{self, PluginEntry},
    probes::{self, Probe},
    problem::Problem,
    read::{Party, Reader, Spot},
    source::At,
    tenants::{self, TenantEntry},
    tree::{Node, Table, Value},
};
use crate::domain::{host::HostSettings, order::Order, series::MetricsSettings};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a configuration consists of.
pub const KEYS_TOP: &[&str] = &[
    "commands",
    "defaults",
    "host",
    "maintenance",
    "metrics",
    "monitor",
    "notifiers",
    "plugins",
    "probes",
    "templates",
    "tenants",
];
/// What a tenant's configuration consists of.
pub const KEYS_TENANT_TOP: &[&str] = &["defaults", "maintenance", "monitor", "notifiers", "templates"];
/// What to say of the rest.
const ONLY_OPERATOR: &str = "only the operator's own files have it";
/// Templates that one monitor uses.
const USES_MAX: usize = 64;

/// What to say of `name` and the like in defaults and templates.
const ONLY_MONITORS: &str = "only a [[monitor]] has it; it may use several templates";

/// The name of the host's own entry, whose sinks hear that the prober is in trouble.
pub(super) const HOST_ENTRY: &str = "pulse-host";

/// Everything that was written.
#[derive(Debug)]
pub(super) struct Document {
    pub host: Host,
    pub commands: Commands,
    pub plugins: BTreeMap<Arc<str>, PluginEntry>,
    pub notifiers: BTreeMap<Arc<str>, Notifier>,
    /// What `/probe` does under a name.
    pub probes: BTreeMap<Arc<str>, Probe>,
    pub defaults: Layer,
    pub templates: BTreeMap<Arc<str>, Layer>,
    pub monitors: Vec<RawMonitor>,
    /// Which of them have series of their own.
    pub metrics: MetricsSettings,
    /// Windows of maintenance.
    pub windows: Vec<Order>,
    pub tenants: BTreeMap<Arc<str>, TenantEntry>,
}

/// One `[[monitor]]`.
#[derive(Debug)]
pub(super) struct RawMonitor {
    /// Empty, and at the table's own place, where it is missing.
    pub name: Spot<Arc<str>>,
    pub uses: Vec<Spot<Arc<str>>>,
    /// One monitor for each of them, in place of one.
    pub targets: Option<Spot<Targets>>,
    /// The field that identifies a target.
    pub key: Option<Spot<Arc<str>>>,
    pub layer: Layer,
}

/// What a `[[monitor]]` is expanded from.
#[derive(Clone, Debug)]
pub(super) enum Targets {
    /// One in each row of a file.
    File {
        /// Absolute, or below a tenant's folder.
        path: PathBuf,
        /// As the operator would name it.
        shown: String,
        format: Format,
    },
    /// Tables.
    Inline(Arc<[Node]>),
    /// Something else, which was reported.
    Broken,
}

impl Document {
    /// Reads all of it.
    pub fn read(reader: &mut Reader<'_>, root: &Table, surroundings: &Surroundings) -> Self {
        reader.known_keys(root, KEYS_TOP, "a configuration");
        // First, since everything else is bounded by it.
        let host = Host::read(reader, root.get("host"), surroundings);
        let defaults = read_defaults(reader, root, &host.settings);
        let commands = commands::read(reader, root.get("commands"));
        let tenants = tenants::read(reader, root.get("tenants"), &host.settings.data_dir);
        Self {
            plugins: plugins::read(reader, root.get("plugins"), &host.settings, &commands),
            commands,
            notifiers: notifier::read(reader, root.get("notifiers"), &host.settings),
            probes: probes::read(reader, root.get("probes"), &host.settings),
            defaults,
            templates: read_templates(reader, root.get("templates"), &host.settings),
            monitors: read_monitors(reader, root.get("monitor"), &host.settings, Party::Operator),
            metrics: metrics::read(reader, root.get("metrics")),
            windows: maintenance::read(reader, root.get("maintenance"), &Whose::Operator(&tenants)),
            tenants,
            host,
        }
    }

    /// Reads all of a tenant's: what is the operator's is given, and can't be written.
    pub fn of_tenant(
        reader: &mut Reader<'_>,
        root: &Table,
        settings: &HostSettings,
        plugins: BTreeMap<Arc<str>, PluginEntry>,
        tables_max: usize,
        tenant: &Arc<str>,
    ) -> Self {
        let place = "a tenant's configuration";
        reader.known_keys_beside(root, KEYS_TENANT_TOP, place, KEYS_TOP, ONLY_OPERATOR);
        Self {
            host: Host {
                settings: settings.clone(),
                notify: Vec::new(),
            },
            commands: Commands::new(),
            plugins,
            notifiers: notifier::read(reader, root.get("notifiers"), settings),
            probes: BTreeMap::new(),
            defaults: read_defaults(reader, root, settings),
            templates: read_templates(reader, root.get("templates"), settings),
            monitors: read_monitors(
                reader,
                root.get("monitor"),
                settings,
                Party::Tenant { tables_max },
            ),
            metrics: MetricsSettings::default(),
            windows: maintenance::read(reader, root.get("maintenance"), &Whose::Tenant(tenant)),
            tenants: BTreeMap::new(),
        }
    }
}

fn read_defaults(reader: &mut Reader<'_>, root: &Table, host: &HostSettings) -> Layer {
    root.get("defaults")
        .and_then(|node| reader.table(node, "defaults"))
        .map(|table| {
            reader.known_keys_beside(table, KEYS_DEFAULTS, "`[defaults]`", KEYS_MONITOR, ONLY_MONITORS);
            Layer::read(reader, table, host)
        })
        .unwrap_or_default()
}

fn read_templates(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    host: &HostSettings,
) -> BTreeMap<Arc<str>, Layer> {
    let mut templates = BTreeMap::new();
    let Some(table) = node.and_then(|node| reader.table(node, "templates")) else {
        return templates;
    };
    for (name, entry) in table.iter() {
        if let Some(table) = reader.table(&entry.node, "templates.NAME")
            && reader.name(entry.key, name, "a template")
        {
            reader.known_keys_beside(table, KEYS_DEFAULTS, "a template", KEYS_MONITOR, ONLY_MONITORS);
            templates.insert(Arc::clone(name), Layer::read(reader, table, host));
        }
    }
    templates
}

fn read_monitors(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    host: &HostSettings,
    party: Party,
) -> Vec<RawMonitor> {
    let Some(items) =
        node.and_then(|node| reader.array(node, "monitor", "tables, each written as [[monitor]]"))
    else {
        return Vec::new();
    };
    let mut names: HashMap<Arc<str>, At> = HashMap::with_capacity(items.len());
    let mut monitors = Vec::with_capacity(items.len());
    for (number, item) in items.iter().enumerate() {
        if let Party::Tenant { tables_max } = party
            && number >= tables_max
        {
            let text = format!("more than {tables_max} tables of monitors, and so many monitors are allowed");
            reader.report(Problem::new("quota", item.at, text));
            break;
        }
        let Some(table) = reader.table(item, "monitor") else {
            continue;
        };
        reader.known_keys(table, KEYS_MONITOR, "a monitor");
        let targets = table.get("targets").map(|node| Spot {
            at: node.at,
            value: read_targets(reader, node, party),
        });
        let key = table.get("key").and_then(|node| reader.string(node, "key"));
        if let Some(key) = &key
            && targets.is_none()
        {
            reader.report(
                Problem::new("missing-key", key.at, "`key` without `targets`").help(
                    "it names the field that identifies a row of targets: targets = \"targets.ndjson\"",
                ),
            );
        }
        let name = read_name(reader, item, table, targets.is_some(), &mut names);
        monitors.push(RawMonitor {
            name,
            uses: read_uses(reader, table),
            targets,
            key,
            layer: Layer::read(reader, table, host),
        });
    }
    monitors
}

fn read_uses(reader: &mut Reader<'_>, table: &Table) -> Vec<Spot<Arc<str>>> {
    let mut uses = table
        .get("use")
        .and_then(|node| reader.strings(node, "use"))
        .unwrap_or_default();
    if let Some(beyond) = uses.get(USES_MAX) {
        let text = format!("more than {USES_MAX} templates for one monitor");
        reader.report(Problem::new("out-of-range", beyond.at, text));
        uses.truncate(USES_MAX);
    }
    uses
}

/// Reads what was put over the API under that name: the same keys, but for those that make several monitors of one table.
pub(super) fn read_put(
    reader: &mut Reader<'_>,
    node: &Node,
    name: &Arc<str>,
    host: &HostSettings,
) -> Option<RawMonitor> {
    let table = reader.table(node, "monitor")?;
    reader.known_keys(table, KEYS_MONITOR, "a monitor");
    for key in ["targets", "key"] {
        if let Some(entry) = table.entry(key) {
            let text = format!("`{key}` can't be said over the API: a document is one monitor");
            let help = "put a document for each; a list of targets stands in a file";
            reader.report(Problem::new("bad-targets", entry.key, text).help(help));
        }
    }
    let mut at = node.at;
    if let Some(said) = table.get("name").and_then(|node| reader.string(node, "name")) {
        at = said.at;
        if said.value != *name {
            let text = format!("this is put under the name `{name}`");
            let help =
                "leave `name` out, or let it be the same; a monitor of another name is another monitor";
            reader.report(Problem::new("other-name", at, text).help(help));
        }
    }
    if reader.name(at, name, "a monitor") && **name == *HOST_ENTRY {
        reader.report(reserved(at));
    }
    Some(RawMonitor {
        name: Spot {
            at,
            value: Arc::clone(name),
        },
        uses: read_uses(reader, table),
        targets: None,
        key: None,
        layer: Layer::read(reader, table, host),
    })
}

fn reserved(at: At) -> Problem {
    Problem::new(
        "reserved-name",
        at,
        format!("`{HOST_ENTRY}` is the host's own name"),
    )
    .help("its alerts are configured as [[host.notify]]")
}

fn read_targets(reader: &mut Reader<'_>, node: &Node, party: Party) -> Targets {
    match &node.value {
        Value::Array(items) => {
            let tables = items
                .iter()
                .filter(|item| reader.table(item, "targets").is_some());
            Targets::Inline(tables.cloned().collect())
        }
        Value::String(text) => {
            let path = match party {
                Party::Operator => reader.sources.resolve(node.at, text),
                Party::Tenant { .. } => match beneath(Path::new(text.as_ref())) {
                    Some(path) => path,
                    None => {
                        let wrong = "this names no file in the tenant's own folder";
                        let help = "write the path as it is from there, without `..`";
                        reader.report(Problem::new("bad-targets", node.at, wrong).help(help));
                        return Targets::Broken;
                    }
                },
            };
            let Some(format) = Format::of(&path) else {
                reader.report(
                    Problem::new("bad-targets", node.at, "this names no list of targets").help(
                        "a file that ends in .ndjson or .jsonl has one JSON object in each line, one that ends in .csv a header and one record in each line",
                    ),
                );
                return Targets::Broken;
            };
            let shown = reader.sources.shown(node.at, text);
            Targets::File { path, shown, format }
        }
        Value::Broken => Targets::Broken,
        other => {
            let text = format!(
                "`targets` must be the path of a file or an array of tables, not {}",
                other.kind()
            );
            reader.report(Problem::new("wrong-type", node.at, text));
            Targets::Broken
        }
    }
}

fn read_name(
    reader: &mut Reader<'_>,
    item: &Node,
    table: &Table,
    template: bool,
    names: &mut HashMap<Arc<str>, At>,
) -> Spot<Arc<str>> {
    let nameless = Spot {
        at: item.at,
        value: Arc::from(""),
    };
    let Some(node) = table.get("name") else {
        reader.report(
            Problem::new("missing-key", item.at, "a monitor without `name`").help("name it: name = \"shop\""),
        );
        return nameless;
    };
    let Some(name) = reader.string(node, "name") else {
        return nameless;
    };
    if !reader.name(name.at, &name.value, "a monitor") {
        return nameless;
    }
    if template {
        // What becomes of it in each row is looked at there.
        return name;
    }
    if name.value.as_ref() == HOST_ENTRY {
        reader.report(reserved(name.at));
    } else if let Some(first) = names.get(&name.value) {
        reader.report(
            Problem::new(
                "duplicate-name",
                name.at,
                format!("the monitor `{}` is defined twice", name.value),
            )
            .note(*first, "first defined here"),
        );
    } else {
        names.insert(Arc::clone(&name.value), name.at);
    }
    name
}
