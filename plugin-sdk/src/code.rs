//! Alerts.

use crate::{
    Attempt, Incident, JsonSchema, Subject,
    net::{Error, ErrorCode},
};
use serde::de::DeserializeOwned;
use std::{rc::Rc, time::Duration};

pub use crate::bindings::code::exports::pulse::plugin::code::{Color, DeliveryFailure, Receipt, Retry};

/// Who must be told?
///
/// ```
/// use pulse_plugin_sdk::{Code, CodeJob, DeliveryFailure, Receipt, http::Request, serde_json::json};
///
/// struct Chat;
///
/// impl Code for Chat {
///     type Settings = String; // the hook's URL
///
///     fn notify(job: CodeJob<String>) -> Result<Receipt, DeliveryFailure> {
///         Request::post(&*job.settings)
///             .header("idempotency-key", &job.delivery_id)
///             .json(&json!({"text": format!("{} {}", job.color.name(), job.title)}))
///             .timeout(job.attempt.budget())
///             .call()?;
///         Ok(Receipt::taken("posted"))
///     }
/// }
/// ```
pub trait Code {
    /// The settings of this plugin's jobs.
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Sends one alert. A repeat carries the same delivery id.
    ///
    /// # Errors
    /// An alert that the receiver did not take.
    fn notify(job: CodeJob<Self::Settings>) -> Result<Receipt, DeliveryFailure>;
}

/// One alert for one sink.
///
/// ```
/// use pulse_plugin_sdk::{Color, testing};
///
/// let job = testing::code_job(Color::Red, "https://chat.example/hook");
/// assert_eq!((job.title.as_str(), job.reminder), ("shop is red", false));
/// ```
#[derive(Clone, Debug)]
pub struct CodeJob<S> {
    /// For whom.
    pub subject: Subject,
    /// Which attempt, and how long it may take.
    pub attempt: Attempt,
    /// The settings, read once for as long as the instance lives.
    pub settings: Rc<S>,
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
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::Color::Purple.name(), "purple");
    /// ```
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
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::Receipt::taken("posted").id, None);
    /// ```
    pub fn taken(summary: impl Into<String>) -> Self {
        Self {
            id: None,
            summary: summary.into(),
        }
    }
}

impl DeliveryFailure {
    /// Sending it again may work, after the time that the receiver wished for.
    ///
    /// ```
    /// use pulse_plugin_sdk::DeliveryFailure;
    /// use std::time::Duration;
    ///
    /// let failure = DeliveryFailure::retryable("too many requests", Some(Duration::from_secs(30)));
    /// assert!(matches!(failure, DeliveryFailure::Retryable(retry) if retry.after_ms == Some(30_000)));
    /// ```
    pub fn retryable(message: impl Into<String>, after: Option<Duration>) -> Self {
        Self::Retryable(Retry {
            message: message.into(),
            after_ms: after.map(|span| u32::try_from(span.as_millis()).unwrap_or(u32::MAX)),
        })
    }

    /// Sending it again is useless.
    ///
    /// ```
    /// use pulse_plugin_sdk::DeliveryFailure;
    ///
    /// assert!(matches!(DeliveryFailure::permanent("no such channel"), DeliveryFailure::Permanent(_)));
    /// ```
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::Permanent(message.into())
    }

    /// What a failed exchange with the receiver means: it may have taken the alert or not, so it is sent again, unless
    /// the request itself can never work. A repeat carries the same delivery id.
    ///
    /// ```
    /// use pulse_plugin_sdk::{DeliveryFailure, net::{ErrorCode, Phase}, testing};
    ///
    /// let refused = testing::net_error(ErrorCode::ConnectionRefused, Phase::Connect, "refused");
    /// assert!(matches!(DeliveryFailure::from_error(&refused), DeliveryFailure::Retryable(_)));
    /// ```
    #[must_use]
    pub fn from_error(error: &Error) -> Self {
        match error.code {
            ErrorCode::Denied | ErrorCode::InvalidRequest => Self::permanent(&error.message),
            _ => Self::retryable(&error.message, None),
        }
    }
}
