//! `[notifiers.NAME]`: where codes go.

use super::{
    layer::LaneLayer,
    problem::Problem,
    read::{Reader, Spot, list, nearest},
    source::At,
    tree::{Node, Table},
};
use crate::domain::{
    color::{Color, ColorSet},
    host::HostSettings,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Keys of `[notifiers.NAME]`.
pub const KEYS_NOTIFIER: &[&str] = &["colors", "limits", "max-age", "plugin", "settings", "timeout"];

const MAX_AGE_DEFAULT: Duration = Duration::from_secs(86_400);

/// A notifier, not yet checked against its plugin.
#[derive(Debug)]
pub(super) struct Notifier {
    /// Its name's place.
    pub at: At,
    pub lane: LaneLayer,
    pub colors: ColorSet,
    pub max_age: Duration,
}

/// Reads `[notifiers]`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    host: &HostSettings,
) -> BTreeMap<Arc<str>, Notifier> {
    let mut notifiers = BTreeMap::new();
    let Some(table) = node.and_then(|node| reader.table(node, "notifiers")) else {
        return notifiers;
    };
    for (name, entry) in table.iter() {
        if let Some(table) = reader.table(&entry.node, "notifiers.NAME")
            && reader.name(entry.key, name, "a notifier")
        {
            notifiers.insert(Arc::clone(name), read_one(reader, entry.key, table, host));
        }
    }
    notifiers
}

fn read_one(reader: &mut Reader<'_>, at: At, table: &Table, host: &HostSettings) -> Notifier {
    reader.known_keys(table, KEYS_NOTIFIER, "a notifier");
    let colors = match table.get("colors").map(|node| reader.strings(node, "colors")) {
        Some(Some(names)) => read_colors(reader, &names),
        Some(None) | None => Color::ALL.into_iter().collect(),
    };
    let max_age = table
        .get("max-age")
        .and_then(|node| {
            let range = Duration::from_secs(1)..=Duration::from_secs(365 * 86_400);
            reader.duration(node, "max-age", range)
        })
        .map_or(MAX_AGE_DEFAULT, |span| span.value);
    Notifier {
        at,
        lane: LaneLayer::read(reader, table, "notifier", host),
        colors,
        max_age,
    }
}

fn read_colors(reader: &mut Reader<'_>, names: &[Spot<Arc<str>>]) -> ColorSet {
    let mut colors = ColorSet::EMPTY;
    for name in names {
        if let Some(color) = Color::from_name(&name.value) {
            colors.insert(color);
        } else {
            let known = Color::ALL.map(Color::name);
            let help = match nearest(&name.value, &known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("colors are {}", list(&known)),
            };
            reader.report(Problem::new("unknown-color", name.at, "there is no such color").help(help));
        }
    }
    colors
}
