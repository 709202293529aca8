//! What operators say of monitors, and keep saying until it is over: pauses, maintenance, silences, acknowledgements.

use super::{
    board::Mark, saved::MonitorKey, schedule::Schedule, selector::Selector, spec::MonitorSpec, time::Wall,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Bytes of a comment.
pub const COMMENT_BYTES_MAX: usize = 1024;

/// One order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Order {
    /// Its name among all others: of one that stands in the configuration, `config:` and its name there.
    pub id: Arc<str>,
    /// What is said.
    pub what: What,
    /// Of whom.
    pub whom: Whom,
    /// When it holds.
    pub schedule: Schedule,
    /// Who said so: a token's name, or nobody where it stands in the configuration.
    #[serde(default)]
    pub by: Arc<str>,
    /// Why.
    #[serde(default)]
    pub comment: Arc<str>,
    /// Since when it is known.
    pub made_at: Wall,
    /// Of an acknowledgement: the incident that is meant. With it, it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Arc<str>>,
}

/// What is said of a monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is not checked.
    Pause,
    /// It is expected to fail: checks go on, codes and interventions wait.
    Maintenance,
    /// Its codes are not sent.
    Silence,
    /// Somebody takes care of its incident.
    Acknowledgement,
}

impl What {
    /// What it makes of a monitor.
    #[must_use]
    pub fn mark(self) -> Mark {
        match self {
            Self::Pause => Mark::Paused,
            Self::Maintenance => Mark::Maintenance,
            Self::Silence => Mark::Silenced,
            Self::Acknowledgement => Mark::Acknowledged,
        }
    }
}

/// Of which monitors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", untagged)]
pub enum Whom {
    /// One.
    One {
        /// Its tenant's name.
        tenant: Arc<str>,
        /// Its name.
        monitor: Arc<str>,
        /// Who it is, should its name change.
        key: u64,
    },
    /// All that a selector means, now and later.
    All {
        /// Of that tenant only; none: of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<Arc<str>>,
        /// Which.
        selector: Selector,
    },
}

impl Whom {
    /// That monitor.
    #[must_use]
    pub fn one(spec: &MonitorSpec) -> Self {
        Self::One {
            tenant: Arc::clone(&spec.tenant.name),
            monitor: spec.name().into(),
            key: MonitorKey::of(spec).0,
        }
    }

    /// The tenant whose business it is; none: the operator's.
    #[must_use]
    pub fn tenant(&self) -> Option<&Arc<str>> {
        match self {
            Self::One { tenant, .. } => Some(tenant),
            Self::All { tenant, .. } => tenant.as_ref(),
        }
    }

    /// Whether that monitor is meant.
    #[must_use]
    pub fn means(&self, spec: &MonitorSpec) -> bool {
        match self {
            Self::One { tenant, key, .. } => *tenant == spec.tenant.name && MonitorKey::of(spec).0 == *key,
            Self::All { tenant, selector } => {
                tenant.as_ref().is_none_or(|tenant| *tenant == spec.tenant.name) && selector.matches(spec)
            }
        }
    }
}

impl Order {
    /// Whether it stands in the configuration, and can be taken back there only.
    #[must_use]
    pub fn is_configured(&self) -> bool {
        self.id.starts_with(CONFIGURED)
    }

    /// What the facts about it say: who, and why.
    #[must_use]
    pub fn why(&self) -> String {
        match (&*self.by, &*self.comment) {
            ("", "") => String::new(),
            ("", comment) => comment.to_owned(),
            (by, "") => format!("by {by}"),
            (by, comment) => format!("by {by}: {comment}"),
        }
    }
}

/// What ids of orders of the configuration begin with.
pub const CONFIGURED: &str = "config:";
