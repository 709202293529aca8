//! `[host.quarantine]` and `[host.correlated-failure]`: when the prober's own trouble is taken for what it is.

use super::{
    host::{DAY, HOUR},
    problem::Problem,
    read::Reader,
    tree::{Node, Table, Value},
};
use crate::domain::host::{CorrelatedSettings, QuarantineSettings};
use std::{ops::RangeInclusive, time::Duration};

/// Keys of `[host.quarantine]`.
pub const KEYS_QUARANTINE: &[&str] = &[
    "enabled",
    "first-pause",
    "longest-pause",
    "min-faults",
    "ratio",
    "tenants",
    "window",
];
/// Keys of `[host.correlated-failure]`.
pub const KEYS_CORRELATED: &[&str] = &["enabled", "longest", "min-monitors", "ratio", "window"];
const SECOND: Duration = Duration::from_secs(1);
/// Below that share a plugin that is well would be quarantined.
const SHARE_MIN: f64 = 0.05;

/// Reads `[host.quarantine]`; none: switched off. Where it is wrong, the default stands.
pub(super) fn read_quarantine(reader: &mut Reader<'_>, node: &Node) -> Option<QuarantineSettings> {
    let mut read = QuarantineSettings::default();
    let Some(table) = reader.table(node, "quarantine") else {
        return Some(read);
    };
    reader.known_keys(table, KEYS_QUARANTINE, "`[host.quarantine]`");
    let share = SHARE_MIN..=1.0;
    take_duration(
        reader,
        table,
        "quarantine.window",
        &mut read.window,
        SECOND..=HOUR,
    );
    take_number(reader, table, "quarantine.ratio", &mut read.ratio, share);
    take_count(
        reader,
        table,
        "quarantine.min-faults",
        &mut read.faults_min,
        1..=1_000_000,
    );
    let (first, longest) = ("quarantine.first-pause", "quarantine.longest-pause");
    take_duration(reader, table, first, &mut read.pause_first, SECOND..=DAY);
    take_duration(reader, table, longest, &mut read.pause_longest, SECOND..=DAY);
    // A pause that is given alone moves the other out of its way.
    match (table.get("first-pause"), table.get("longest-pause")) {
        (Some(at), Some(_)) if read.pause_first > read.pause_longest => reader.report(
            Problem::new(
                "out-of-range",
                at.at,
                "`first-pause` is longer than `longest-pause`",
            )
            .help("each pause is twice as long as the one before, up to `longest-pause`"),
        ),
        (None, _) => read.pause_first = read.pause_first.min(read.pause_longest),
        (_, None) => read.pause_longest = read.pause_longest.max(read.pause_first),
        _ => {}
    }
    take_count(
        reader,
        table,
        "quarantine.tenants",
        &mut read.tenants,
        2..=1_000_000,
    );
    is_enabled(reader, table, "quarantine.enabled").then_some(read)
}

/// Reads `[host.correlated-failure]`; none: switched off. Where it is wrong, the default stands.
pub(super) fn read_correlated(reader: &mut Reader<'_>, node: &Node) -> Option<CorrelatedSettings> {
    let mut read = CorrelatedSettings::default();
    let Some(table) = reader.table(node, "correlated-failure") else {
        return Some(read);
    };
    reader.known_keys(table, KEYS_CORRELATED, "`[host.correlated-failure]`");
    let window = "correlated-failure.window";
    take_duration(reader, table, window, &mut read.window, SECOND..=HOUR);
    let ratio = "correlated-failure.ratio";
    take_number(reader, table, ratio, &mut read.ratio, 0.5..=1.0);
    let count = "correlated-failure.min-monitors";
    take_count(reader, table, count, &mut read.monitors_min, 2..=10_000_000);
    let longest = "correlated-failure.longest";
    take_duration(reader, table, longest, &mut read.longest, SECOND..=DAY);
    is_enabled(reader, table, "correlated-failure.enabled").then_some(read)
}

/// The last part of a dotted key, as it stands in its table.
fn last(key: &'static str) -> &'static str {
    key.rsplit('.').next().unwrap_or(key)
}

fn take_duration(
    reader: &mut Reader<'_>,
    table: &Table,
    key: &'static str,
    target: &mut Duration,
    range: RangeInclusive<Duration>,
) {
    if let Some(node) = table.get(last(key))
        && let Some(span) = reader.duration(node, key, range)
    {
        *target = span.value;
    }
}

fn take_number(
    reader: &mut Reader<'_>,
    table: &Table,
    key: &'static str,
    target: &mut f64,
    range: RangeInclusive<f64>,
) {
    if let Some(node) = table.get(last(key))
        && let Some(number) = reader.number(node, key, range)
    {
        *target = number.value;
    }
}

fn take_count(
    reader: &mut Reader<'_>,
    table: &Table,
    key: &'static str,
    target: &mut u32,
    range: RangeInclusive<u32>,
) {
    if let Some(node) = table.get(last(key))
        && let Some(count) = reader.small(node, key, range)
    {
        *target = count.value;
    }
}

pub(super) fn is_enabled(reader: &mut Reader<'_>, table: &Table, key: &'static str) -> bool {
    let Some(node) = table.get(last(key)) else {
        return true;
    };
    if let Value::Boolean(on) = node.value {
        return on;
    }
    reader.wrong_type(node, key, "true or false");
    true
}
