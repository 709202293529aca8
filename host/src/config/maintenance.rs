//! `[[maintenance]]`: when monitors are expected to fail.

use super::{
    problem::Problem,
    read::{Reader, Spot},
    tenants::{TenantEntry, did_you_mean},
    tree::{Node, Table, Value},
};
use crate::domain::{
    order::{COMMENT_BYTES_MAX, CONFIGURED, Order, What, Whom},
    schedule::{Days, LASTS_MAX, Lasts, Recurring, Schedule, Zone},
    selector::Selector,
    tenant::DEFAULT,
    time::Wall,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// Keys of `[[maintenance]]`.
pub const KEYS_MAINTENANCE: &[&str] = &[
    "at", "comment", "days", "for", "from", "name", "selector", "tenant", "until", "zone",
];

const WINDOWS_MAX: usize = 1000;

/// What to say of a window without times.
const TIMES: &str = "once: from = 2026-12-01T22:00:00+01:00 and until = …; or again and again: days = [\"sat\"], at = \"22:00\", for = \"2h\", zone = \"Europe/Berlin\"";

/// Whose configuration it is.
pub(super) enum Whose<'a> {
    /// The operator's, who has these tenants.
    Operator(&'a BTreeMap<Arc<str>, TenantEntry>),
    /// That tenant's.
    Tenant(&'a Arc<str>),
}

/// Reads `[[maintenance]]`.
pub(super) fn read(reader: &mut Reader<'_>, node: Option<&Node>, whose: &Whose<'_>) -> Vec<Order> {
    let items =
        node.and_then(|node| reader.array(node, "maintenance", "tables, each written as [[maintenance]]"));
    let mut windows = Vec::new();
    let mut names = HashSet::new();
    for item in items.unwrap_or_default() {
        if windows.len() == WINDOWS_MAX {
            let text = format!("more than {WINDOWS_MAX} windows of maintenance");
            reader.report(Problem::new("out-of-range", item.at, text));
            break;
        }
        let Some(table) = reader.table(item, "maintenance") else {
            continue;
        };
        reader.known_keys(table, KEYS_MAINTENANCE, "a window of maintenance");
        let Some((name, order)) = read_one(reader, item, table, whose) else {
            continue;
        };
        if names.insert(Arc::clone(&name.value)) {
            windows.push(order);
        } else {
            let text = format!("two windows of maintenance are called `{}`", name.value);
            reader.report(
                Problem::new("duplicate-name", name.at, text)
                    .help("the name is how alerts and people tell them apart"),
            );
        }
    }
    windows
}

fn read_one(
    reader: &mut Reader<'_>,
    item: &Node,
    table: &Table,
    whose: &Whose<'_>,
) -> Option<(Spot<Arc<str>>, Order)> {
    let name = match table.get("name") {
        Some(node) => reader
            .string(node, "name")
            .filter(|name| reader.name(name.at, &name.value, "a window of maintenance")),
        None => {
            reader.report(
                Problem::new("missing-key", item.at, "a window of maintenance without `name`")
                    .help("name it: name = \"backup\""),
            );
            None
        }
    };
    let selector = match table.get("selector") {
        Some(node) => reader.string(node, "selector").and_then(|text| {
            text.value
                .parse::<Selector>()
                .map_err(|wrong| reader.report(Problem::new("bad-selector", text.at, wrong)))
                .ok()
        }),
        None => {
            reader.report(
                Problem::new(
                    "missing-key",
                    item.at,
                    "a window of maintenance without `selector`",
                )
                .help("say which monitors: selector = 'site=\"a\"'; selector = \"\" means all of them"),
            );
            None
        }
    };
    let of = match (table.get("tenant"), whose) {
        (None, Whose::Operator(_)) => None,
        (None, Whose::Tenant(tenant)) => Some(Arc::clone(tenant)),
        (Some(node), Whose::Operator(tenants)) => {
            let tenant = reader.string(node, "tenant")?;
            if &*tenant.value != DEFAULT && !tenants.contains_key(&tenant.value) {
                let text = format!("there is no tenant `{}`", reader.quoted(tenant.at, &tenant.value));
                let known: Vec<&str> = tenants.keys().map(AsRef::as_ref).collect();
                let help = did_you_mean(
                    &tenant.value,
                    &known,
                    "tenants",
                    "tenants are defined as [tenants.NAME]",
                );
                reader.report(Problem::new("unknown-tenant", tenant.at, text).help(help));
            }
            Some(tenant.value)
        }
        (Some(node), Whose::Tenant(_)) => {
            reader.report(
                Problem::new("unknown-key", node.at, "a tenant's window has no key `tenant`")
                    .help("it is about its own monitors anyway"),
            );
            None
        }
    };
    let comment = table
        .get("comment")
        .and_then(|node| reader.string(node, "comment"))
        .filter(|comment| {
            let fits = comment.value.len() <= COMMENT_BYTES_MAX;
            if !fits {
                let text = format!("a comment has at most {COMMENT_BYTES_MAX} bytes");
                reader.report(Problem::new("out-of-range", comment.at, text));
            }
            fits
        });
    let schedule = read_schedule(reader, item, table);
    let (name, selector, schedule) = (name?, selector?, schedule?);
    let id = match whose {
        Whose::Tenant(tenant) => format!("{CONFIGURED}{tenant}/{}", name.value),
        Whose::Operator(_) => format!("{CONFIGURED}{}", name.value),
    };
    let order = Order {
        id: id.into(),
        what: What::Maintenance,
        whom: Whom::All { tenant: of, selector },
        schedule,
        by: Arc::default(),
        comment: comment.map_or_else(|| Arc::clone(&name.value), |comment| comment.value),
        made_at: Wall(0),
        incident: None,
    };
    Some((name, order))
}

fn read_schedule(reader: &mut Reader<'_>, item: &Node, table: &Table) -> Option<Schedule> {
    let has = |key| table.get(key).is_some();
    let (once, again) = (
        has("from") || has("until"),
        has("days") || has("at") || has("for"),
    );
    let zone = match table.get("zone") {
        None => Zone::default(),
        Some(node) => {
            let name = reader.string(node, "zone")?;
            parsed(reader, &name, "bad-zone")?
        }
    };
    match (once, again) {
        (true, false) => {
            let from = point(reader, item, table, "from", &zone);
            let until = point(reader, item, table, "until", &zone);
            let (from, until) = (from?, until?);
            if until.value <= from.value {
                reader.report(Problem::new("bad-time", until.at, "it ends before it begins"));
                return None;
            }
            Some(Schedule::Once {
                from: from.value,
                until: Some(until.value),
            })
        }
        (false, true) => {
            let days = match table.get("days") {
                None => Some(Days::ALL),
                Some(node) => reader.strings(node, "days").and_then(|names| {
                    Days::named(names.iter().map(|name| &*name.value))
                        .map_err(|wrong| reader.report(Problem::new("bad-days", node.at, wrong)))
                        .ok()
                }),
            };
            let mut needed = |key: &'static str, help: &str| {
                let node = table.get(key);
                if node.is_none() {
                    let text = format!("a window that recurs without `{key}`");
                    reader.report(Problem::new("missing-key", item.at, text).help(help));
                }
                node
            };
            let at = needed("at", "when it begins: at = \"22:00\"");
            let lasts = needed("for", "how long it lasts: for = \"2h\"");
            let at = at
                .and_then(|node| reader.string(node, "at"))
                .and_then(|at| parsed(reader, &at, "bad-time"));
            let lasts = lasts
                .and_then(|node| reader.duration(node, "for", Duration::from_secs(1)..=LASTS_MAX))
                .and_then(|span| Lasts::new(span.value).ok());
            Some(Schedule::Recurring(Recurring {
                days: days?,
                at: at?,
                lasts: lasts?,
                zone,
            }))
        }
        (true, true) => {
            let text = "a window is either once (`from`, `until`) or recurs (`days`, `at`, `for`)";
            reader.report(Problem::new("bad-time", item.at, text).help(TIMES));
            None
        }
        (false, false) => {
            let text = "a window of maintenance without times";
            reader.report(Problem::new("missing-key", item.at, text).help(TIMES));
            None
        }
    }
}

fn parsed<T: std::str::FromStr<Err = String>>(
    reader: &mut Reader<'_>,
    text: &Spot<Arc<str>>,
    id: &'static str,
) -> Option<T> {
    text.value
        .parse()
        .map_err(|wrong| reader.report(Problem::new(id, text.at, wrong)))
        .ok()
}

/// A point in time: a date of TOML, or the same as a string.
fn point(
    reader: &mut Reader<'_>,
    item: &Node,
    table: &Table,
    key: &'static str,
    zone: &Zone,
) -> Option<Spot<Wall>> {
    let Some(node) = table.get(key) else {
        let text = format!("a window of maintenance without `{key}`");
        reader.report(Problem::new("missing-key", item.at, text).help(TIMES));
        return None;
    };
    let (Value::Datetime(text) | Value::String(text)) = &node.value else {
        reader.wrong_type(node, key, "a date such as 2026-12-01T22:00:00+01:00");
        return None;
    };
    match zone.point(text) {
        Ok(value) => Some(Spot { at: node.at, value }),
        Err(wrong) => {
            reader.report(Problem::new("bad-time", node.at, wrong));
            None
        }
    }
}
