//! Checks that a host answers echo requests, how fast, and how many of them.
//!
//! Invariant: only what did not come back is held against the target. That this host may not send echo requests is the
//! prober's trouble.

use pulse_plugin_sdk::{
    Fault, Measurement, Pulse, PulseJob, Report, Worries, export_plugin,
    icmp::{Request, Response},
    settings::{IpFamily, Span},
    text,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// What an operator may set.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// Name or address of the host.
    #[schemars(length(min = 1))]
    host: String,
    /// How many echo requests.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    count: u8,
    /// From one request to the next; at least 10 ms. Default: 200 ms.
    interval: Option<Span>,
    /// How long the last answers are waited for. Default: 1 s.
    wait: Option<Span>,
    /// Bytes behind the header of each request.
    #[serde(default = "usual")]
    #[schemars(range(min = 16, max = 9_000))]
    payload: u16,
    /// Per cent of the requests: where more are lost, the host is degraded.
    #[serde(default)]
    #[schemars(range(max = 100))]
    warning_loss: u8,
    /// Per cent of the requests: where so many are lost, or more, the host is unhealthy.
    #[serde(default = "all")]
    #[schemars(range(min = 1, max = 100))]
    max_loss: u8,
    /// A mean round trip that takes longer is degraded.
    max_latency: Option<Span>,
    /// Which address family to use.
    #[serde(default)]
    ip_family: IpFamily,
}

fn three() -> u8 {
    3
}

fn usual() -> u16 {
    56
}

fn all() -> u8 {
    100
}

/// The plugin.
pub struct Icmp;

impl Pulse for Icmp {
    type Settings = Settings;

    fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
        let settings = &job.settings;
        let interval = settings.interval.map_or(Duration::from_millis(200), Span::get);
        let wait = settings.wait.map_or(Duration::from_secs(1), Span::get);
        let budget = job.attempt.budget();
        let needed =
            interval.saturating_mul(u32::from(settings.count) - u32::from(settings.count > 0)) + wait;
        if needed > budget {
            return Err(Fault::InvalidSettings(format!(
                "`count`, `interval` and `wait` come to {}, and the check has only {}: raise its timeout",
                text::milliseconds(needed),
                text::milliseconds(budget)
            )));
        }
        let request = Request::to(&settings.host)
            .times(settings.count, interval)
            .wait(wait)
            .payload(settings.payload)
            .family(settings.ip_family.into())
            .timeout(budget);
        match request.ping() {
            Ok(response) => Ok(report(settings, &response)),
            Err(error) => Report::from_error(&error),
        }
    }
}

fn report(settings: &Settings, response: &Response) -> Report {
    let (sent, lost) = (u32::from(response.sent), u32::from(response.lost()));
    let peer = text::excerpt(&response.peer, 100);
    let answered = response.round_trips().count();
    let mean = response
        .round_trips()
        .sum::<Duration>()
        .checked_div(u32::try_from(answered).unwrap_or(u32::MAX));
    // Without fractions, and without a division by nothing.
    let is_over = |per_cent: u8| lost * 100 > sent * u32::from(per_cent);
    let is_at_least = |per_cent: u8| lost > 0 && lost * 100 >= sent * u32::from(per_cent);
    let report = match mean {
        None => Report::unhealthy(
            "no-reply",
            format!("{peer} answered none of {sent} echo requests"),
        ),
        Some(_) if is_at_least(settings.max_loss) => Report::unhealthy(
            "packet-loss",
            format!("{peer} did not answer {lost} of {sent} echo requests"),
        ),
        Some(mean) => Worries::new()
            .when(
                is_over(settings.warning_loss),
                "packet-loss",
                format!("{lost} of {sent} were lost"),
            )
            .slow(mean, settings.max_latency)
            .report(format!("{peer} answers · {}", text::milliseconds(mean))),
    };
    report.with(measurements(response, mean))
}

fn measurements(response: &Response, mean: Option<Duration>) -> impl Iterator<Item = Measurement> {
    let resolve = Duration::from_micros(response.resolve_us);
    let seconds = |name: &str, span: Option<Duration>| span.map(|span| Measurement::seconds(name, span));
    let ttl = response.replies.iter().filter_map(|reply| reply.ttl).min();
    [
        Measurement::ratio("loss", response.lost().into(), response.sent.into()),
        seconds("duration", mean.map(|mean| resolve + mean)),
        seconds("resolve_duration", Some(resolve)),
        seconds("rtt_min", response.round_trips().min()),
        seconds("rtt_mean", mean),
        seconds("rtt_max", response.round_trips().max()),
        ttl.map(|ttl| Measurement::count("ttl", ttl.into())),
    ]
    .into_iter()
    .flatten()
}

export_plugin! {
    name: "icmp",
    summary: "Checks that a host answers echo requests",
    pulse: Icmp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulse_plugin_sdk::{
        Status,
        icmp::Reply,
        net::{self, ErrorCode, Phase},
        testing::{self, Host},
    };
    use serde_json::{Value, json};

    fn settings(more: &Value) -> Value {
        let mut settings = json!({"host": "gate.example"});
        let more = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(more);
        settings
    }

    fn check(more: &Value, answer: Response) -> Report {
        let host = Host::new().icmp(move |_| Ok(answer.clone()));
        host.run(|| testing::pulse::<Exports>(&settings(more))).0.unwrap()
    }

    fn reason(report: &Report) -> &str {
        report.reason.as_deref().unwrap_or_default()
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn a_host_that_answers_is_healthy_and_measured() {
        let mut response = testing::echoes(3, &[1_000, 2_000, 6_000]);
        response.resolve_us = 500;
        response.replies[1].ttl = Some(61);
        let report = check(&json!({}), response);
        assert_eq!(
            (report.status, report.summary.as_str()),
            (Status::Healthy, "192.0.2.1 answers · 3.0 ms")
        );
        let measured: Vec<_> = report
            .measurements
            .iter()
            .map(|number| (number.name.as_str(), number.value, number.unit.as_str()))
            .collect();
        assert_eq!(
            measured,
            [
                ("loss", 0.0, "1"),
                ("duration", 0.0035, "s"),
                ("resolve_duration", 0.0005, "s"),
                ("rtt_min", 0.001, "s"),
                ("rtt_mean", 0.003, "s"),
                ("rtt_max", 0.006, "s"),
                ("ttl", 61.0, ""),
            ]
        );
        let readme = include_str!("../README.md");
        for (name, ..) in measured {
            assert!(readme.contains(&format!("| `{name}` |")), "{name} in the README");
        }
    }

    #[test]
    fn the_request_is_what_the_settings_say() {
        let host = Host::new().icmp(|request| {
            assert_eq!(
                (
                    request.host.as_str(),
                    request.count,
                    request.interval_ms,
                    request.wait_ms
                ),
                ("gate.example", 5, 50, 300)
            );
            assert_eq!(
                (request.payload_bytes, request.family),
                (1_472, net::IpFamily::V6)
            );
            assert_eq!(request.timeout_ms, Some(4_900));
            Ok(testing::echoes(5, &[1; 5]))
        });
        let more =
            json!({"count": 5, "interval": "50ms", "wait": "300ms", "payload": 1472, "ip-family": "v6"});
        let report = host
            .run(|| testing::pulse::<Exports>(&settings(&more)))
            .0
            .unwrap();
        assert_eq!(report.status, Status::Healthy, "{}", report.summary);
    }

    #[test]
    fn what_is_lost() {
        for (more, answered, status, expected) in [
            (json!({}), 4, Status::Healthy, ""),
            (json!({}), 3, Status::Degraded, "packet-loss"),
            (json!({"warning-loss": 25}), 3, Status::Healthy, ""),
            (json!({"warning-loss": 24}), 3, Status::Degraded, "packet-loss"),
            (json!({"max-loss": 25}), 3, Status::Unhealthy, "packet-loss"),
            (json!({"max-loss": 26}), 3, Status::Degraded, "packet-loss"),
            (json!({"max-loss": 1}), 4, Status::Healthy, ""),
            (json!({"warning-loss": 100}), 0, Status::Unhealthy, "no-reply"),
            (json!({"max-latency": "1ms"}), 4, Status::Degraded, "slow"),
        ] {
            let report = check(&more, testing::echoes(4, &[2_000; 4][..answered]));
            assert_eq!((report.status, reason(&report)), (status, expected), "{more}");
        }
        let silent = check(&json!({}), testing::echoes(3, &[]));
        assert_eq!(silent.summary, "192.0.2.1 answered none of 3 echo requests");
        assert_eq!(silent.measurements[0].value, 1.0);
    }

    #[test]
    fn what_does_not_fit_into_the_timeout_is_said() {
        let settings = settings(&json!({"count": 100, "interval": "1s"}));
        let result = testing::pulse::<Exports>(&settings);
        assert!(matches!(result, Err(Fault::InvalidSettings(why)) if why.contains("timeout")));
    }

    #[test]
    fn what_the_host_may_not_do_is_no_failure_of_the_target() {
        let failing = |code| {
            let host =
                Host::new().icmp(move |_| Err(testing::net_error(code, Phase::Processing, "in words")));
            host.run(|| testing::pulse::<Exports>(&settings(&json!({})))).0
        };
        assert_eq!(failing(ErrorCode::Host), Err(Fault::Internal("in words".into())));
        assert_eq!(reason(&failing(ErrorCode::Unreachable).unwrap()), "unreachable");
        assert_eq!(
            reason(&failing(ErrorCode::NameNotFound).unwrap()),
            "name-not-found"
        );
    }

    #[test]
    fn answers_out_of_order_are_answers() {
        let mut response = testing::echoes(2, &[1_000, 2_000]);
        response.replies.reverse();
        response.replies.push(Reply {
            sequence: 7,
            rtt_us: 1,
            ttl: None,
        });
        assert_eq!(check(&json!({}), response).status, Status::Healthy);
    }
}
