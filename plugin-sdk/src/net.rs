//! The vocabulary of the network interfaces.

pub use crate::bindings::lent::pulse::host::net::{
    Certificate, ClientCertificate, Error, ErrorCode, IpFamily, Phase, Timings, TlsFacts, TlsOptions,
};
use std::time::Duration;

impl ErrorCode {
    /// The word for a report's reason.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::net::ErrorCode::CertificateExpired.reason(), "tls-expired");
    /// ```
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::InvalidRequest => "invalid-request",
            Self::NameNotFound => "name-not-found",
            Self::ResolveFailed => "resolve-failed",
            Self::ConnectionRefused => "connection-refused",
            Self::ConnectionReset => "connection-reset",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::CertificateExpired => "tls-expired",
            Self::CertificateNameMismatch => "tls-name-mismatch",
            Self::CertificateUntrusted => "tls-untrusted",
            Self::TlsFailed => "tls-failed",
            Self::Protocol => "protocol-error",
            Self::TooManyRedirects => "too-many-redirects",
            Self::Host => "host-error",
        }
    }
}

impl Error {
    /// Whether the peer may have seen the request: what was asked for may have happened.
    ///
    /// ```
    /// use pulse_plugin_sdk::{net::{ErrorCode, Phase}, testing::net_error};
    ///
    /// assert!(net_error(ErrorCode::Timeout, Phase::Processing, "").after_sending());
    /// assert!(!net_error(ErrorCode::Timeout, Phase::Connect, "").after_sending());
    /// ```
    #[must_use]
    pub fn after_sending(&self) -> bool {
        matches!(self.phase, Phase::Processing | Phase::Transfer)
    }
}

impl Timings {
    /// All phases together.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::testing::response(200, "").timings.total().as_millis(), 25);
    /// ```
    #[must_use]
    pub fn total(&self) -> Duration {
        [
            self.resolve_us,
            self.connect_us,
            self.tls_us,
            self.processing_us,
            self.transfer_us,
        ]
        .into_iter()
        .map(Duration::from_micros)
        .fold(Duration::ZERO, Duration::saturating_add)
    }
}

impl TlsFacts {
    /// Seconds from `now_ms` (milliseconds since the Unix epoch) to the end of the peer's own certificate;
    /// negative when it has ended. None if the peer showed no certificate. The rest of the chain is left out: a
    /// server may send an old cross-signature that nobody needs to verify it.
    ///
    /// ```
    /// assert_eq!(pulse_plugin_sdk::testing::tls_facts(100).seconds_left(40_000), Some(60));
    /// ```
    #[must_use]
    pub fn seconds_left(&self, now_ms: u64) -> Option<i64> {
        let now = i64::try_from(now_ms / 1_000).unwrap_or(i64::MAX);
        self.certificates
            .first()
            .map(|leaf| leaf.not_after.saturating_sub(now))
    }
}
