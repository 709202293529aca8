//! What codes say to people.

use super::Policy;
use crate::domain::color::Color;

/// One line: which monitor, what happened.
pub fn title(monitor: &str, color: Color, cause: &str) -> String {
    match color {
        Color::Yellow if cause == "degraded" => format!("{monitor} is degraded"),
        Color::Yellow => format!("{monitor} is failing"),
        Color::Red => format!("{monitor} is down"),
        Color::Cyan => format!("{monitor} was repaired, verifying"),
        Color::Green => format!("{monitor} is healthy again"),
        Color::Gray => format!("{monitor}: maintenance"),
        Color::Purple => format!("{monitor} can't be checked"),
    }
}

/// The report's summary, its reason, and what the host has to add; each on its own line, if there is one.
pub fn body(summary: &str, reason: &str, why: &str) -> String {
    let mut body = String::with_capacity(summary.len() + reason.len() + why.len() + 12);
    body.push_str(summary);
    if !reason.is_empty() {
        if !body.is_empty() {
            body.push('\n');
        }
        body.push_str("reason: ");
        body.push_str(reason);
    }
    if !why.is_empty() {
        if !body.is_empty() {
            body.push('\n');
        }
        body.push_str(why);
    }
    body
}

pub fn failing(policy: &Policy) -> String {
    if policy.failure_threshold > 1 {
        format!(
            "it counts as down after {} failures in a row",
            policy.failure_threshold
        )
    } else {
        String::new()
    }
}

pub fn page_after(policy: &Policy) -> String {
    format!("down for {:?} already, repairs go on", policy.page_after)
}

pub fn reminder(count: u32) -> String {
    format!("reminder {count}: still down")
}
