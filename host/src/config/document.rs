//! The whole configuration, read as far as it can be without knowing the plugins.

use super::{
    host::Host,
    interpolate::Surroundings,
    layer::{KEYS_DEFAULTS, KEYS_MONITOR, Layer},
    notifier::{self, Notifier},
    plugins::{self, PluginEntry},
    problem::Problem,
    read::{Reader, Spot},
    source::At,
    tree::{Node, Table},
};
use crate::domain::host::HostSettings;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What a configuration consists of.
pub const KEYS_TOP: &[&str] = &["defaults", "host", "monitor", "notifiers", "plugins", "templates"];

/// What to say of `name` and `use` in defaults and templates.
const ONLY_MONITORS: &str = "only a [[monitor]] has it; it may use several templates";

/// The name of the host's own entry, whose sinks hear that the prober is in trouble.
pub(super) const HOST_ENTRY: &str = "pulse-host";

/// Everything that was written.
#[derive(Debug)]
pub(super) struct Document {
    pub host: Host,
    pub plugins: BTreeMap<Arc<str>, PluginEntry>,
    pub notifiers: BTreeMap<Arc<str>, Notifier>,
    pub defaults: Layer,
    pub templates: BTreeMap<Arc<str>, Layer>,
    pub monitors: Vec<RawMonitor>,
}

/// One `[[monitor]]`.
#[derive(Debug)]
pub(super) struct RawMonitor {
    /// Empty, and at the table's own place, where it is missing.
    pub name: Spot<Arc<str>>,
    pub uses: Vec<Spot<Arc<str>>>,
    pub layer: Layer,
}

impl Document {
    /// Reads all of it.
    pub fn read(reader: &mut Reader<'_>, root: &Table, surroundings: &Surroundings) -> Self {
        reader.known_keys(root, KEYS_TOP, "a configuration");
        // First, since everything else is bounded by it.
        let host = Host::read(reader, root.get("host"), surroundings);
        let defaults = root
            .get("defaults")
            .and_then(|node| reader.table(node, "defaults"))
            .map(|table| {
                reader.known_keys_beside(table, KEYS_DEFAULTS, "`[defaults]`", KEYS_MONITOR, ONLY_MONITORS);
                Layer::read(reader, table, &host.settings)
            })
            .unwrap_or_default();
        Self {
            plugins: plugins::read(reader, root.get("plugins"), &host.settings),
            notifiers: notifier::read(reader, root.get("notifiers"), &host.settings),
            defaults,
            templates: read_templates(reader, root.get("templates"), &host.settings),
            monitors: read_monitors(reader, root.get("monitor"), &host.settings),
            host,
        }
    }
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

fn read_monitors(reader: &mut Reader<'_>, node: Option<&Node>, host: &HostSettings) -> Vec<RawMonitor> {
    let Some(items) =
        node.and_then(|node| reader.array(node, "monitor", "tables, each written as [[monitor]]"))
    else {
        return Vec::new();
    };
    let mut names: HashMap<Arc<str>, At> = HashMap::with_capacity(items.len());
    let mut monitors = Vec::with_capacity(items.len());
    for item in items {
        let Some(table) = reader.table(item, "monitor") else {
            continue;
        };
        reader.known_keys(table, KEYS_MONITOR, "a monitor");
        let name = read_name(reader, item, table, &mut names);
        let uses = table
            .get("use")
            .and_then(|node| reader.strings(node, "use"))
            .unwrap_or_default();
        monitors.push(RawMonitor {
            name,
            uses,
            layer: Layer::read(reader, table, host),
        });
    }
    monitors
}

fn read_name(
    reader: &mut Reader<'_>,
    item: &Node,
    table: &Table,
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
    if name.value.as_ref() == HOST_ENTRY {
        reader.report(
            Problem::new(
                "reserved-name",
                name.at,
                format!("`{HOST_ENTRY}` is the host's own name"),
            )
            .help("its alerts are configured as [[host.notify]]"),
        );
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
