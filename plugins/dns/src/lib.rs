//! Checks what a name server answers.
//!
//! Invariant: only what the server said, or that a named server said nothing, is held against it. Trouble of the
//! system's own name servers is the prober's.

use pulse_plugin_sdk::{
    Fault, Measurement, Pulse, PulseJob, Report, Worries,
    dns::{self, RecordType},
    export_plugin,
    settings::{Address, Span},
    text,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// What an operator may set.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The name to ask for, always taken as complete. With `type = "PTR"` an address will do as well.
    #[schemars(length(min = 1))]
    name: String,
    /// What to ask for.
    #[serde(default, rename = "type")]
    kind: Kind,
    /// Whom to ask: `host:port`; an IPv6 address stands in brackets. Default: the system's name servers.
    server: Option<Address>,
    /// Whether the server is to ask others. Without it, an authoritative server says what it knows itself.
    #[serde(default = "yes")]
    recursion: bool,

    /// Data that must be among the answers, as zone files have it: `192.0.2.7`, `10 mail.example.com.`. Upper and lower
    /// case are the same but for TXT, and a dot at the end is not looked at.
    #[serde(default)]
    expect: Vec<String>,
    /// Nothing but what is expected may be among the answers.
    #[serde(default)]
    only: bool,
    /// So many records of that type must come at least.
    min_count: Option<u32>,
    /// The name must not exist.
    #[serde(default)]
    absent: bool,
    /// The server must answer for the zone itself.
    #[serde(default)]
    authoritative: bool,
    /// An answer that takes longer is degraded.
    max_latency: Option<Span>,
}

fn yes() -> bool {
    true
}

/// Types of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum Kind {
    #[default]
    A,
    Aaaa,
    Caa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Soa,
    Srv,
    Txt,
}

impl From<Kind> for RecordType {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::A => Self::A,
            Kind::Aaaa => Self::Aaaa,
            Kind::Caa => Self::Caa,
            Kind::Cname => Self::Cname,
            Kind::Mx => Self::Mx,
            Kind::Ns => Self::Ns,
            Kind::Ptr => Self::Ptr,
            Kind::Soa => Self::Soa,
            Kind::Srv => Self::Srv,
            Kind::Txt => Self::Txt,
        }
    }
}

impl Settings {
    fn question(&self) -> Result<dns::Request, Fault> {
        let expects = !self.expect.is_empty() || self.min_count.is_some();
        if self.absent && expects {
            let text =
                "`absent` contradicts `expect` and `min-count`: a name that must not exist has no records";
            return Err(Fault::InvalidSettings(text.into()));
        }
        if self.only && self.expect.is_empty() {
            return Err(Fault::InvalidSettings("`only` needs `expect`".into()));
        }
        let question = dns::Request::of(&self.name, self.kind.into()).recursion(self.recursion);
        Ok(match &self.server {
            // An address with colons goes in brackets.
            Some(server) if server.host.contains(':') => {
                question.server(format!("[{}]:{}", server.host, server.port))
            }
            Some(server) => question.server(format!("{}:{}", server.host, server.port)),
            None => question,
        })
    }

    /// One spelling of a record's data.
    fn plain(&self, data: &str) -> String {
        if self.kind == Kind::Txt {
            return data.to_owned();
        }
        data.trim_end_matches('.').to_ascii_lowercase()
    }
}

/// The plugin.
pub struct Dns;

impl Pulse for Dns {
    type Settings = Settings;

    fn run(job: PulseJob<Settings>) -> Result<Report, Fault> {
        let question = job.settings.question()?.timeout(job.attempt.budget());
        match question.query() {
            Ok(response) => Ok(report(&job.settings, &response)),
            Err(error) => Report::from_error(&error),
        }
    }
}

fn report(settings: &Settings, response: &dns::Response) -> Report {
    let wanted = RecordType::from(settings.kind).name();
    // Aliases on the way stand among the answers as well.
    let found: Vec<&dns::Answer> = response
        .answers
        .iter()
        .filter(|answer| answer.kind == wanted)
        .collect();
    let report = wrong(settings, response, &found).unwrap_or_else(|| {
        let took = response.timings.total();
        let words = match found.first() {
            None if settings.absent => format!("{} does not exist", text::excerpt(&settings.name, 200)),
            None => format!("{}, no {wanted} record", response.rcode),
            Some(first) if found.len() == 1 => text::excerpt(&first.data, 200),
            Some(first) => format!("{} and {} more", text::excerpt(&first.data, 200), found.len() - 1),
        };
        Worries::new()
            .slow(took, settings.max_latency)
            .report(format!("{words} · {}", text::milliseconds(took)))
    });
    report.with(measurements(response, &found))
}

fn wrong(settings: &Settings, response: &dns::Response, found: &[&dns::Answer]) -> Option<Report> {
    let name = text::excerpt(&settings.name, 200);
    let server = text::excerpt(&response.server, 100);
    let exists = match response.rcode.as_str() {
        "NOERROR" => true,
        "NXDOMAIN" => false,
        rcode => {
            let rcode = text::excerpt(rcode, 50);
            return Some(Report::unhealthy(
                "server-failure",
                format!("{server} answered {rcode} for {name}"),
            ));
        }
    };
    // Before anything else that it says is believed.
    if settings.authoritative && !response.authoritative {
        return Some(Report::unhealthy(
            "not-authoritative",
            format!("{server} does not answer for the zone of {name} itself"),
        ));
    }
    // The code is about the last name of a chain of aliases (RFC 6604, section 3); the first one exists.
    let target = last_alias(response).map(|alias| text::excerpt(&alias.data, 200));
    match (exists, target) {
        (true, _) if settings.absent => {
            return Some(Report::unhealthy(
                "name-exists",
                format!("{name} exists, according to {server}"),
            ));
        }
        (false, Some(target)) if settings.absent => {
            return Some(Report::unhealthy(
                "name-exists",
                format!("{name} exists, as an alias of {target}, which does not, according to {server}"),
            ));
        }
        (false, None) if settings.absent => return None,
        (true, _) => {}
        (false, Some(target)) => {
            return Some(Report::unhealthy(
                "no-such-name",
                format!("{name} is an alias, and there is no name {target}, according to {server}"),
            ));
        }
        (false, None) => {
            return Some(Report::unhealthy(
                "no-such-name",
                format!("there is no name {name}, according to {server}"),
            ));
        }
    }
    let has: Vec<String> = found.iter().map(|answer| settings.plain(&answer.data)).collect();
    let expected: Vec<String> = settings.expect.iter().map(|data| settings.plain(data)).collect();
    let all = || match has.as_slice() {
        [] => "nothing".to_owned(),
        has => text::excerpt(&has.join(", "), 400),
    };
    if let Some(missing) = expected.iter().find(|data| !has.contains(data)) {
        let missing = text::excerpt(missing, 200);
        return Some(Report::unhealthy(
            "unexpected-answer",
            format!("{missing} is not among the answers: {}", all()),
        ));
    }
    if settings.only
        && let Some(other) = has.iter().find(|data| !expected.contains(data))
    {
        let other = text::excerpt(other, 200);
        return Some(Report::unhealthy(
            "unexpected-answer",
            format!("nobody expects {other}: {}", all()),
        ));
    }
    // A check that asks for nothing in particular wants something.
    let least = settings.min_count.unwrap_or(1) as usize;
    if found.len() < least {
        return Some(Report::unhealthy(
            "too-few-answers",
            format!("{} records, expected at least {least}", found.len()),
        ));
    }
    None
}

/// The alias at which a chain of them ends, in whatever order they came.
fn last_alias(response: &dns::Response) -> Option<&dns::Answer> {
    let aliases = || response.answers.iter().filter(|answer| answer.kind == "CNAME");
    let leads_on = |alias: &dns::Answer| {
        let target = alias.data.trim_end_matches('.');
        aliases().any(|next| next.name.eq_ignore_ascii_case(target))
    };
    // In a circle there is no end.
    aliases()
        .find(|alias| !leads_on(alias))
        .or_else(|| aliases().next_back())
}

#[allow(clippy::cast_precision_loss, reason = "there are at most 128 records")]
fn measurements(response: &dns::Response, found: &[&dns::Answer]) -> impl Iterator<Item = Measurement> {
    let timings = &response.timings;
    let ttl = found.iter().map(|answer| answer.ttl).min();
    [
        Some(Measurement::seconds("duration", timings.total())),
        Some(Measurement::seconds(
            "query_duration",
            Duration::from_micros(timings.processing_us),
        )),
        Some(Measurement::new("records", found.len() as f64, "")),
        ttl.map(|ttl| Measurement::new("least_ttl", f64::from(ttl), "s")),
    ]
    .into_iter()
    .flatten()
}

export_plugin! {
    name: "dns",
    summary: "Checks what a name server answers",
    pulse: Dns,
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

    fn settings(more: &Value) -> Value {
        let mut settings = json!({"name": "shop.example"});
        let more = more.as_object().unwrap().clone();
        settings.as_object_mut().unwrap().extend(more);
        settings
    }

    fn check(more: &Value, answer: dns::Response) -> Report {
        let host = Host::new().dns(move |_| Ok(answer.clone()));
        host.run(|| testing::pulse::<Exports>(&settings(more))).0.unwrap()
    }

    fn reason(report: &Report) -> &str {
        report.reason.as_deref().unwrap_or_default()
    }

    const TWO: &[(&str, &str, &str)] = &[
        ("shop.example", "CNAME", "web.example."),
        ("web.example", "A", "192.0.2.7"),
        ("web.example", "A", "192.0.2.8"),
    ];

    fn rcode(rcode: &str) -> dns::Response {
        let mut response = testing::dns_response(&[]);
        response.rcode = rcode.into();
        response
    }

    #[test]
    fn manifest_and_readme_agree() {
        let (manifest, readme) = (include_str!("../plugin.toml"), include_str!("../README.md"));
        testing::check_manifest::<Exports>(manifest, readme).unwrap();
    }

    #[test]
    fn a_name_with_an_address_is_healthy_and_measured() {
        let report = check(&json!({}), testing::dns_response(TWO));
        assert_eq!(
            (report.status, report.summary.as_str()),
            (Status::Healthy, "192.0.2.7 and 1 more · 2.0 ms")
        );
        let measured: Vec<_> = report
            .measurements
            .iter()
            .map(|number| (number.name.as_str(), number.value, number.unit.as_str()))
            .collect();
        assert_eq!(
            measured,
            [
                ("duration", 0.002, "s"),
                ("query_duration", 0.002, "s"),
                ("records", 2.0, ""),
                ("least_ttl", 300.0, "s")
            ]
        );
        let readme = include_str!("../README.md");
        for (name, ..) in measured {
            assert!(readme.contains(&format!("| `{name}` |")), "{name} in the README");
        }
    }

    #[test]
    fn the_question_is_what_the_settings_say() {
        let host = Host::new().dns(|request| {
            assert_eq!(
                (request.name.as_str(), request.kind),
                ("shop.example", RecordType::Mx)
            );
            assert_eq!(request.server.as_deref(), Some("[2001:db8::53]:53"));
            assert!(!request.recursion);
            assert_eq!(request.timeout_ms, Some(4_900));
            Ok(testing::dns_response(&[(
                "shop.example",
                "MX",
                "10 Mail.Example.",
            )]))
        });
        let settings = settings(&json!({
            "type": "MX", "server": "[2001:db8::53]:53", "recursion": false, "expect": ["10 mail.example"],
        }));
        let report = host.run(|| testing::pulse::<Exports>(&settings)).0.unwrap();
        assert_eq!(report.status, Status::Healthy, "{}", report.summary);
    }

    #[test]
    fn what_is_expected() {
        for (more, expected) in [
            (json!({"expect": ["192.0.2.7"]}), ""),
            (json!({"expect": ["192.0.2.7", "192.0.2.8"], "only": true}), ""),
            (json!({"expect": ["192.0.2.9"]}), "unexpected-answer"),
            (
                json!({"expect": ["192.0.2.7"], "only": true}),
                "unexpected-answer",
            ),
            (json!({"min-count": 2}), ""),
            (json!({"min-count": 3}), "too-few-answers"),
            (json!({"absent": true}), "name-exists"),
            (json!({"authoritative": true}), "not-authoritative"),
            (json!({"type": "TXT"}), "too-few-answers"),
            (json!({"type": "TXT", "min-count": 0}), ""),
            (json!({"type": "CNAME", "expect": ["web.example"]}), ""),
            (json!({"max-latency": 1}), "slow"),
        ] {
            let report = check(&more, testing::dns_response(TWO));
            assert_eq!(reason(&report), expected, "{more}: {}", report.summary);
        }
        let text = testing::dns_response(&[("shop.example", "TXT", "V=spf1.")]);
        let exact = json!({"type": "TXT", "expect": ["v=spf1"]});
        assert_eq!(
            reason(&check(&exact, text)),
            "unexpected-answer",
            "texts are compared as they are"
        );
    }

    #[test]
    fn what_the_server_makes_of_the_name() {
        assert_eq!(reason(&check(&json!({}), rcode("NXDOMAIN"))), "no-such-name");
        let absent = check(&json!({"absent": true}), rcode("NXDOMAIN"));
        assert_eq!(
            (absent.status, absent.summary.as_str()),
            (Status::Healthy, "shop.example does not exist · 2.0 ms")
        );
        for code in ["SERVFAIL", "REFUSED", "RCODE23"] {
            for more in [json!({}), json!({"absent": true})] {
                let report = check(&more, rcode(code));
                assert_eq!(reason(&report), "server-failure");
                assert!(report.summary.contains(code));
            }
        }
    }

    #[test]
    fn an_alias_exists_even_where_what_it_stands_for_does_not() {
        let dangling = |authoritative| {
            let mut response = testing::dns_response(&[
                ("web.example", "CNAME", "gone.example."),
                ("shop.example", "CNAME", "Web.example."),
            ]);
            response.rcode = "NXDOMAIN".into();
            response.authoritative = authoritative;
            response
        };
        for (more, expected, words) in [
            (
                json!({}),
                "no-such-name",
                "shop.example is an alias, and there is no name gone.example., according to 192.0.2.53:53",
            ),
            (
                json!({"absent": true}),
                "name-exists",
                "shop.example exists, as an alias of gone.example., which does not, according to 192.0.2.53:53",
            ),
        ] {
            let report = check(&more, dangling(false));
            assert_eq!(
                (reason(&report), report.summary.as_str()),
                (expected, words),
                "{more}"
            );
        }
        let mut round = testing::dns_response(&[
            ("shop.example", "CNAME", "web.example."),
            ("web.example", "CNAME", "shop.example."),
        ]);
        round.rcode = "NXDOMAIN".into();
        assert_eq!(reason(&check(&json!({}), round)), "no-such-name");
    }

    #[test]
    fn what_others_told_the_server_is_not_believed_where_it_must_answer_itself() {
        for code in ["NOERROR", "NXDOMAIN"] {
            for more in [
                json!({"authoritative": true}),
                json!({"authoritative": true, "absent": true}),
            ] {
                let report = check(&more, rcode(code));
                assert_eq!(reason(&report), "not-authoritative", "{code} {more}");
            }
        }
        let mut own = rcode("NXDOMAIN");
        own.authoritative = true;
        let report = check(&json!({"authoritative": true, "absent": true}), own);
        assert_eq!(report.status, Status::Healthy, "{}", report.summary);
        let report = check(&json!({"authoritative": true}), rcode("SERVFAIL"));
        assert_eq!(reason(&report), "server-failure");
    }

    #[test]
    fn settings_that_contradict_each_other_are_faults() {
        for more in [json!({"absent": true, "expect": ["a"]}), json!({"only": true})] {
            let result = testing::pulse::<Exports>(&settings(&more));
            assert!(matches!(result, Err(Fault::InvalidSettings(_))), "{more}");
        }
    }

    #[test]
    fn a_silent_server_is_unhealthy_and_the_host_s_trouble_is_not() {
        let failing = |code| {
            let host = Host::new().dns(move |_| Err(testing::net_error(code, Phase::Processing, "in words")));
            host.run(|| testing::pulse::<Exports>(&settings(&json!({})))).0
        };
        assert_eq!(reason(&failing(ErrorCode::Timeout).unwrap()), "timeout");
        assert_eq!(failing(ErrorCode::Host), Err(Fault::Internal("in words".into())));
    }
}
