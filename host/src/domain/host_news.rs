//! What the host's own sinks are told about the host itself.

use super::{board::Mark, event::Fact, tenant};
use std::sync::Arc;

/// What an operator said of a monitor, or took back.
#[must_use]
pub fn marked(mark: Mark, on: bool, why: &str) -> String {
    let what = match (mark, on) {
        (Mark::Paused, true) => "paused",
        (Mark::Paused, false) => "checked again",
        (Mark::Maintenance, true) => "in maintenance",
        (Mark::Maintenance, false) => "out of maintenance",
        (Mark::Acknowledged, true) => "acknowledged",
        (Mark::Acknowledged, false) => "not acknowledged any more",
        (Mark::Silenced, true) => "silenced",
        (Mark::Silenced, false) => "not silenced any more",
    };
    match why {
        "" => what.to_owned(),
        why => format!("{what} ({why})"),
    }
}

/// Title and body; none for facts that are not about the host.
pub fn of(fact: &Fact) -> Option<(String, String)> {
    Some(match fact {
        Fact::Quarantined {
            plugin,
            digest,
            tenant,
            faults,
            of,
            message,
            pause,
        } => {
            let whose = whose(plugin, tenant.as_ref());
            let widely = match tenant {
                Some(_) => "",
                None => " Several tenants have the same trouble with it, and none is well.",
            };
            (
                format!("{whose} is quarantined"),
                format!(
                    "{faults} of its last {of} executions ended in trouble of its own, the last: {message}.{widely}\n\
                     Its checks are unknown, it repairs nothing, and its codes wait. It is tried again in {:.0?}.\n\
                     component: sha256:{digest}",
                    pause
                ),
            )
        }
        Fact::Readmitted {
            plugin,
            digest,
            tenant,
            held,
        } => (
            format!("{} is out of quarantine", whose(plugin, tenant.as_ref())),
            format!("Monitors that are checked again: {held}\ncomponent: sha256:{digest}"),
        ),
        Fact::RepairsPaused { tenant, failed, of } => (
            format!("interventions{} pause", of_tenant(tenant.as_ref())),
            format!(
                "{failed} of {of} monitors that were alive failed at about the same time. The likely cause is this host, \
                 or what it reaches them by, and repairs would do harm."
            ),
        ),
        Fact::RepairsResume {
            tenant,
            failing,
            lasted,
            too_long,
        } => {
            let why = if *too_long {
                "They have paused for as long as they may"
            } else {
                "Most of what had failed is back"
            };
            (
                format!("interventions{} go on", of_tenant(tenant.as_ref())),
                format!("{why}, after {lasted:.0?}. Monitors that still fail: {failing}"),
            )
        }
        Fact::Unrecorded { message } => (
            "pulse-host can't write to its data directory".to_owned(),
            format!(
                "{message}\nMonitors are checked and alerts are sent all the same, but a restart would forget what happens \
                 now. Nothing is repaired: what can't be put on record is not done."
            ),
        ),
        Fact::RecordedAgain { dropped } => (
            "pulse-host writes to its data directory again".to_owned(),
            format!("Repairs go on. Facts and figures that are not on record, since the start: {dropped}"),
        ),
        _ => return None,
    })
}

fn whose(plugin: &str, tenant: Option<&Arc<str>>) -> String {
    match tenant {
        Some(tenant) if tenant.as_ref() != tenant::DEFAULT => format!("the plugin {plugin} of {tenant}"),
        Some(_) => format!("the plugin {plugin}"),
        None => format!("the plugin {plugin} of all tenants"),
    }
}

fn of_tenant(tenant: Option<&Arc<str>>) -> String {
    match tenant {
        Some(tenant) if tenant.as_ref() != tenant::DEFAULT => format!(" of {tenant}"),
        Some(_) => String::new(),
        None => " of all tenants".to_owned(),
    }
}
