//! Calls a webhook: to repair (one templated request) or to alert (Alertmanager's webhook payload, version 4).
//!
//! Both kinds share one settings type. A schema of two alternatives could only say that neither fits.

mod alert;
mod payload;
mod repair;
mod settings;
mod template;

use alert::Alert;
use pulse_plugin_sdk::{Attempt, Subject, export_plugin};
use repair::Repair;

/// The placeholders that both kinds know. A label that a monitor lacks is empty: one template serves many.
fn common_value(subject: &Subject, attempt: &Attempt, name: &str) -> Option<String> {
    Some(match name {
        "monitor" => subject.monitor.clone(),
        "tenant" => subject.tenant.clone(),
        "attempt" => attempt.number.to_string(),
        _ => subject
            .label(name.strip_prefix("labels.")?)
            .unwrap_or_default()
            .to_owned(),
    })
}

export_plugin! {
    name: "webhook",
    summary: "Calls a webhook, to repair or to alert",
    intervention: Repair,
    code: Alert,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::testing;

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }
}
