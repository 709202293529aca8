//! Why there is no good answer, and what that means for each kind of job.

use super::{Request, Response};
use crate::{
    ActionFailure, DeliveryFailure, Fault, Report,
    net::{Error, ErrorCode},
    text, time,
};
use serde::de::DeserializeOwned;
use std::fmt;

/// Why there is no good answer.
///
/// A check that leaves with `?` and becomes a report at the end:
///
/// ```
/// use pulse_plugin_sdk::{Fault, Report, http::{Failure, Request}, testing::{Host, response}};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Health {
///     queued: u64,
/// }
///
/// fn check(url: &str) -> Result<Report, Failure> {
///     let health: Health = Request::get(url).call()?.json()?;
///     Ok(Report::healthy(format!("{} queued", health.queued)))
/// }
///
/// fn run(url: &str) -> Result<Report, Fault> {
///     check(url).or_else(|failure| Report::from_failure(&failure))
/// }
///
/// let host = Host::new().http(|_| Ok(response(500, "out of memory")));
/// let (report, _) = host.run(|| run("http://shop.example/health"));
/// assert_eq!(report.unwrap().summary, "HTTP 500: out of memory");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The exchange failed: there is no answer, or none as a whole.
    Exchange(Error),
    /// The answer's status is not 2xx.
    Status(Box<Response>),
    /// The body is not what was asked for; says why.
    Body(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exchange(error) => f.write_str(&error.message),
            Self::Status(response) => f.write_str(&response.words()),
            Self::Body(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Exchange(error)
    }
}

impl Request {
    /// Sends the request and takes nothing but success for an answer: [`Request::send`] and
    /// [`Response::error_for_status`] in one.
    ///
    /// ```
    /// use pulse_plugin_sdk::{http::{Failure, Request}, testing::{Host, response}};
    ///
    /// let host = Host::new().http(|_| Ok(response(404, "")));
    /// let (answer, _) = host.run(|| Request::get("http://shop.example/").call());
    /// assert!(matches!(answer, Err(Failure::Status(response)) if response.status == 404));
    /// ```
    ///
    /// # Errors
    /// The exchange failed, or the status is not 2xx.
    pub fn call(&self) -> Result<Response, Failure> {
        self.send()?.error_for_status()
    }
}

impl Response {
    /// Whether the status is 2xx.
    ///
    /// ```
    /// use pulse_plugin_sdk::testing::response;
    ///
    /// assert!(response(204, "").is_success());
    /// assert!(!response(302, "").is_success());
    /// ```
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.status / 100 == 2
    }

    /// The answer, if its status is 2xx. A redirect that was not followed is no success either.
    ///
    /// ```
    /// use pulse_plugin_sdk::testing::response;
    ///
    /// assert!(response(200, "").error_for_status().is_ok());
    /// assert_eq!(response(503, "busy\n").error_for_status().unwrap_err().to_string(), "HTTP 503: busy");
    /// ```
    ///
    /// # Errors
    /// The answer itself, as a [`Failure::Status`].
    pub fn error_for_status(self) -> Result<Self, Failure> {
        if self.is_success() {
            Ok(self)
        } else {
            Err(Failure::Status(Box::new(self)))
        }
    }

    /// Reads the body as JSON. The error says where in it a value is wrong.
    ///
    /// ```
    /// use pulse_plugin_sdk::testing::response;
    /// use serde::Deserialize;
    ///
    /// #[derive(Debug, Deserialize)]
    /// struct Health {
    ///     queued: u64,
    /// }
    ///
    /// assert_eq!(response(200, r#"{"queued": 3}"#).json::<Health>().unwrap().queued, 3);
    /// let failure = response(200, r#"{"queued": "many"}"#).json::<Health>().unwrap_err();
    /// assert!(failure.to_string().starts_with("body: /queued: invalid type"));
    /// ```
    ///
    /// # Errors
    /// The body is no such JSON, or was cut off where it became too long.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        crate::settings::parse(&self.text()).map_err(|error| {
            let cut = if self.body_truncated {
                format!(" (only the first {} bytes were read)", self.body.len())
            } else {
                String::new()
            };
            Failure::Body(format!("body: {}{cut}", text::excerpt(&error, 300)))
        })
    }
}

impl Report {
    /// The verdict about a target that gave no good answer: unhealthy, with the error's own reason,
    /// `unexpected-status` or `body-mismatch`.
    ///
    /// ```
    /// use pulse_plugin_sdk::{Report, http::Failure, testing::response};
    ///
    /// let failure = Failure::Status(Box::new(response(503, "")));
    /// let report = Report::from_failure(&failure).unwrap();
    /// assert_eq!(report.reason.as_deref(), Some("unexpected-status"));
    /// ```
    ///
    /// # Errors
    /// Where the failure is none of the target's; see [`Report::from_error`].
    pub fn from_failure(failure: &Failure) -> Result<Self, Fault> {
        match failure {
            Failure::Exchange(error) => Self::from_error(error),
            Failure::Status(_) => Ok(Self::unhealthy("unexpected-status", failure.to_string())),
            Failure::Body(_) => Ok(Self::unhealthy("body-mismatch", failure.to_string())),
        }
    }
}

impl ActionFailure {
    /// What a request without a good answer means for a repair. In doubt the effect is unknown: only what surely
    /// never reached the receiver's own code, or what it surely refused, is called undone.
    ///
    /// ```
    /// use pulse_plugin_sdk::{ActionFailure, http::{Failure, Request}, testing::response};
    ///
    /// let request = Request::post("https://ops.example/restart");
    /// let after = |status| ActionFailure::from_failure(&Failure::Status(Box::new(response(status, ""))), &request);
    /// assert!(matches!(after(429), ActionFailure::Retryable(_)));
    /// assert!(matches!(after(403), ActionFailure::Permanent(_)));
    /// assert!(matches!(after(500), ActionFailure::EffectUnknown(_)));
    /// ```
    #[must_use]
    pub fn from_failure(failure: &Failure, request: &Request) -> Self {
        let words = failure.to_string();
        match failure {
            Failure::Exchange(error) => match error.code {
                ErrorCode::InvalidRequest => Self::Permanent(words),
                // Where redirects are followed, the error may be that of a later hop, after the first one did what
                // was asked.
                _ if request.max_redirects > 0 || error.after_sending() => Self::EffectUnknown(words),
                ErrorCode::Denied
                | ErrorCode::CertificateExpired
                | ErrorCode::CertificateNameMismatch
                | ErrorCode::CertificateUntrusted => Self::Permanent(words),
                _ => Self::Retryable(words),
            },
            // The first of several may have done what was asked, whatever the last one says.
            Failure::Status(response) if response.redirects > 0 => Self::EffectUnknown(words),
            Failure::Status(response) => match response.status {
                // Refused before anything was done: it came too slowly, too early, too often, or the receiver is
                // not taking any.
                408 | 425 | 429 | 503 => Self::Retryable(words),
                // Not a thing that this receiver does.
                501 | 505 => Self::Permanent(words),
                // It began and broke, a proxy lost sight of it, or it was done: many applications answer a form so.
                302 | 303 | 500..=599 => Self::EffectUnknown(words),
                // The request belongs elsewhere, or is refused.
                _ => Self::Permanent(words),
            },
            // The receiver took the request, and what it said of it can't be read.
            Failure::Body(_) => Self::EffectUnknown(words),
        }
    }
}

/// A receiver that may have taken the alert gets it again: a repeat carries the same delivery id. Only what it refuses,
/// and what can never be sent, is permanent.
impl From<Failure> for DeliveryFailure {
    fn from(failure: Failure) -> Self {
        let words = failure.to_string();
        match failure {
            Failure::Exchange(error) => match error.code {
                ErrorCode::Denied | ErrorCode::InvalidRequest => Self::permanent(words),
                _ => Self::retryable(words, None),
            },
            Failure::Status(response) => match response.status {
                408 | 425 | 429 | 500..=599 => Self::retryable(words, response.retry_after(time::now_ms())),
                _ => Self::permanent(words),
            },
            Failure::Body(_) => Self::retryable(words, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        http::Header,
        net::Phase,
        testing::{net_error, response},
    };

    fn exchange(code: ErrorCode, phase: Phase) -> Failure {
        net_error(code, phase, "in words").into()
    }

    #[test]
    fn an_answer_that_is_cut_off_says_so() {
        let mut cut = response(200, "[1, 2");
        cut.body_truncated = true;
        let failure = cut.json::<Vec<u8>>().unwrap_err().to_string();
        assert!(
            failure.ends_with("(only the first 5 bytes were read)"),
            "{failure}"
        );
    }

    #[test]
    fn a_repair_in_doubt_is_unknown() {
        let direct = Request::post("http://a");
        let following = Request::post("http://a").redirects(1);
        let is = |failure: &Failure, request: &Request| match ActionFailure::from_failure(failure, request) {
            ActionFailure::Retryable(_) => "retryable",
            ActionFailure::Permanent(_) => "permanent",
            ActionFailure::EffectUnknown(_) => "unknown",
        };
        let refused = exchange(ErrorCode::ConnectionRefused, Phase::Connect);
        assert_eq!(is(&refused, &direct), "retryable");
        assert_eq!(is(&refused, &following), "unknown");
        let silent = exchange(ErrorCode::Timeout, Phase::Processing);
        assert_eq!(is(&silent, &direct), "unknown");
        let denied = exchange(ErrorCode::Denied, Phase::Prepare);
        assert_eq!(is(&denied, &direct), "permanent");
        assert_eq!(is(&Failure::Body(String::new()), &direct), "unknown");
        let mut busy = response(503, "");
        assert_eq!(
            is(&Failure::Status(Box::new(busy.clone())), &following),
            "retryable"
        );
        busy.redirects = 1;
        assert_eq!(is(&Failure::Status(Box::new(busy)), &following), "unknown");
    }

    #[test]
    fn an_alert_is_sent_again_unless_it_was_refused() {
        let busy = |wish: &str| {
            let mut busy = response(429, "");
            busy.headers.push(Header {
                name: "Retry-After".into(),
                value: wish.into(),
            });
            DeliveryFailure::from(Failure::Status(Box::new(busy)))
        };
        assert!(matches!(busy("30"), DeliveryFailure::Retryable(retry) if retry.after_ms == Some(30_000)));
        assert!(matches!(busy("soon"), DeliveryFailure::Retryable(retry) if retry.after_ms.is_none()));
        let gone = DeliveryFailure::from(Failure::Status(Box::new(response(410, ""))));
        assert!(matches!(gone, DeliveryFailure::Permanent(_)));
        let silent = DeliveryFailure::from(exchange(ErrorCode::Timeout, Phase::Processing));
        assert!(matches!(silent, DeliveryFailure::Retryable(_)));
    }

    #[test]
    fn a_denial_is_no_verdict_about_the_target() {
        let denied = exchange(ErrorCode::Denied, Phase::Prepare);
        assert!(matches!(
            Report::from_failure(&denied),
            Err(Fault::Unsupported(_))
        ));
        let report = Report::from_failure(&Failure::Body("body: no".into())).unwrap();
        assert_eq!(report.reason.as_deref(), Some("body-mismatch"));
    }
}
