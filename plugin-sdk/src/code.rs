//! Alerts.

use crate::{
    Attempt, Incident, JsonSchema, Subject,
    net::{Error, ErrorCode},
};
use serde::de::DeserializeOwned;
use std::time::Duration;

pub use crate::bindings::code::exports::pulse::plugin::code::{Color, DeliveryFailure, Receipt, Retry};

/// Who must be told?
pub trait Code {
    /// The settings of this plugin's jobs.
    type Settings: DeserializeOwned + JsonSchema;

    /// Sends one alert. A repeat carries the same delivery id.
    ///
    /// # Errors
    /// An alert that the receiver did not take.
    fn notify(job: CodeJob<Self::Settings>) -> Result<Receipt, DeliveryFailure>;
}

/// One alert for one sink.
#[derive(Clone, Debug)]
pub struct CodeJob<S> {
    /// For whom.
    pub subject: Subject,
    /// Which attempt, and how long it may take.
    pub attempt: Attempt,
    /// The settings.
    pub settings: S,
    /// What happened.
    pub color: Color,
    /// One line for people, such as `shop is down`.
    pub title: String,
    /// More lines for people.
    pub body: String,
    /// When it happened, in milliseconds since the Unix epoch.
    pub happened_at: u64,
    /// True for a reminder of a color that was sent before.
    pub reminder: bool,
    /// The episode that the color belongs to; none for maintenance outside any episode.
    pub incident: Option<Incident>,
    /// What receivers group by; equals `incident.key` where there is an incident.
    pub incident_key: String,
    /// The same for every repeat of this very alert to this very sink, so that a receiver can drop repeats.
    pub delivery_id: String,
}

impl Color {
    /// All colors.
    pub const ALL: [Self; 6] = [
        Self::Yellow,
        Self::Red,
        Self::Cyan,
        Self::Green,
        Self::Gray,
        Self::Purple,
    ];

    /// The color's name as it stands in configuration, logs and payloads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yellow => "yellow",
            Self::Red => "red",
            Self::Cyan => "cyan",
            Self::Green => "green",
            Self::Gray => "gray",
            Self::Purple => "purple",
        }
    }
}

impl Receipt {
    /// The receiver took it and gave no id of its own.
    pub fn taken(summary: impl Into<String>) -> Self {
        Self {
            id: None,
            summary: summary.into(),
        }
    }
}

impl DeliveryFailure {
    /// Sending it again may work, after the time that the receiver wished for.
    pub fn retryable(message: impl Into<String>, after: Option<Duration>) -> Self {
        Self::Retryable(Retry {
            message: message.into(),
            after_ms: after.map(|span| u32::try_from(span.as_millis()).unwrap_or(u32::MAX)),
        })
    }

    /// Sending it again is useless.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Permanent(message.into())
    }

    /// What a failed exchange with the receiver means: it may have taken the alert or not, so it is sent again, unless
    /// the request itself can never work. A repeat carries the same delivery id.
    #[must_use]
    pub fn from_error(error: &Error) -> Self {
        match error.code {
            ErrorCode::Denied | ErrorCode::InvalidRequest => Self::permanent(&error.message),
            _ => Self::retryable(&error.message, None),
        }
    }
}
