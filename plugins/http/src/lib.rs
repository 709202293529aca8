//! Checks a URL: status, body, certificate, latency.
//!
//! Invariant: only what the target did is held against it. Settings that make no request and trouble of the host
//! are faults.

mod body;
mod settings;
mod status;
mod verdict;

use pulse_plugin_sdk::{Fault, Pulse, PulseJob, Report, export_plugin};
use settings::Settings;

/// The plugin.
pub struct Http;

impl Pulse for Http {
    type Settings = Settings;

    fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
        let checks = job.settings.checks()?;
        let request = job.settings.request()?.timeout(job.attempt.budget());
        match request.send() {
            Ok(response) => Ok(verdict::report(&job.settings, &checks, &job.attempt, &response)),
            Err(error) => Report::from_error(&error),
        }
    }
}

export_plugin! {
    name: "http",
    summary: "Checks a URL: status, body, certificate, latency",
    pulse: Http,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        Status,
        net::{ErrorCode, Phase},
        testing::{self, Host},
    };
    use serde_json::{Value, json};

    fn check(settings: &Value, host: Host) -> Result<Report, Fault> {
        host.run(|| testing::pulse::<Exports>(settings)).0
    }

    fn failing(code: ErrorCode) -> Result<Report, Fault> {
        let host = Host::new().http(move |_| Err(testing::net_error(code, Phase::Connect, "in words")));
        check(&json!({"url": "https://shop.example/"}), host)
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn a_check_is_one_request_within_the_job_s_time() {
        let host = Host::new().http(|request| {
            assert_eq!(request.url, "http://shop.example/");
            assert_eq!(request.timeout_ms, Some(4_900));
            Ok(testing::response(200, "ok"))
        });
        let report = check(&json!({"url": "http://shop.example/", "json": []}), host).unwrap();
        assert_eq!(report.status, Status::Healthy);
    }

    #[test]
    fn every_failure_of_the_target_has_its_reason_in_the_readme() {
        let readme = include_str!("../README.md");
        for (code, reason) in [
            (ErrorCode::NameNotFound, "name-not-found"),
            (ErrorCode::ResolveFailed, "resolve-failed"),
            (ErrorCode::ConnectionRefused, "connection-refused"),
            (ErrorCode::ConnectionReset, "connection-reset"),
            (ErrorCode::Unreachable, "unreachable"),
            (ErrorCode::Timeout, "timeout"),
            (ErrorCode::CertificateExpired, "tls-expired"),
            (ErrorCode::CertificateNameMismatch, "tls-name-mismatch"),
            (ErrorCode::CertificateUntrusted, "tls-untrusted"),
            (ErrorCode::TlsFailed, "tls-failed"),
            (ErrorCode::Protocol, "protocol-error"),
            (ErrorCode::TooManyRedirects, "too-many-redirects"),
        ] {
            let report = failing(code).unwrap();
            assert_eq!(report.status, Status::Unhealthy);
            assert_eq!(report.reason.as_deref(), Some(reason));
            assert_eq!(report.summary, "in words");
            assert!(
                readme.contains(&format!("| `{reason}` |")),
                "{reason} is not in the README"
            );
        }
    }

    #[test]
    fn the_host_s_trouble_is_no_failure_of_the_target() {
        assert_eq!(failing(ErrorCode::Host), Err(Fault::Internal("in words".into())));
        assert_eq!(
            failing(ErrorCode::Denied),
            Err(Fault::Unsupported("in words".into()))
        );
        assert_eq!(
            failing(ErrorCode::InvalidRequest),
            Err(Fault::InvalidSettings("in words".into()))
        );
        let nothing_lent = check(&json!({"url": "http://shop.example/"}), Host::new());
        assert!(matches!(nothing_lent, Err(Fault::Unsupported(_))));
    }

    #[test]
    fn wrong_settings_send_nothing() {
        let host = || Host::new().http(|_| panic!("sent"));
        let fault = check(
            &json!({"url": "http://a", "expect-status": ["2xx", "20x"]}),
            host(),
        );
        assert!(matches!(fault, Err(Fault::InvalidSettings(text)) if text.starts_with("/expect-status/1: ")));
        let fault = check(&json!({"url": "http://a", "body-regex": "["}), host());
        assert!(matches!(fault, Err(Fault::InvalidSettings(text)) if text.starts_with("/body-regex: ")));
    }
}
