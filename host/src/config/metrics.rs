//! `[metrics]`: which monitors have series of their own.

use super::{problem::Problem, read::Reader, tree::Node};
use crate::domain::{
    selector::Selector,
    series::{LABELS_MAX, MetricsSettings, exposed},
};
use std::collections::HashMap;

/// Keys of `[metrics]`.
pub const KEYS_METRICS: &[&str] = &["labels", "monitors"];

/// Reads it. Where it is wrong, nobody has any.
pub(super) fn read(reader: &mut Reader<'_>, node: Option<&Node>) -> MetricsSettings {
    let mut settings = MetricsSettings::default();
    let Some(table) = node.and_then(|node| reader.table(node, "metrics")) else {
        return settings;
    };
    reader.known_keys(table, KEYS_METRICS, "`[metrics]`");
    if let Some(text) = table
        .get("monitors")
        .and_then(|node| reader.string(node, "monitors"))
    {
        match text.value.parse::<Selector>() {
            Ok(selector) => settings.monitors = Some(selector),
            Err(wrong) => reader.report(Problem::new("bad-selector", text.at, wrong)),
        }
    }
    let labels = table
        .get("labels")
        .and_then(|node| reader.strings(node, "labels"));
    let mut names = HashMap::new();
    for label in labels.unwrap_or_default() {
        if settings.labels.len() == LABELS_MAX {
            let text = format!("more than {LABELS_MAX} labels for series");
            reader.report(Problem::new("out-of-range", label.at, text));
            break;
        }
        let name = exposed(&label.value);
        if let Some(first) = names.get(&name) {
            let text = format!("two labels are `{name}` in metrics, where other characters are `_`");
            reader.report(Problem::new("duplicate-name", label.at, text).note(*first, "the first is here"));
            continue;
        }
        names.insert(name, label.at);
        settings.labels.push(label.value);
    }
    settings
}
