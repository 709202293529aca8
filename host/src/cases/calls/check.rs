//! Whether a call can be meant as it is written.

use super::super::format::{Answer, Call, ErrorName};
use crate::capability::{ErrorCode, icmp};
use std::collections::BTreeSet;

/// What a call is one of, as a case names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Http,
    Tcp,
    Tls,
    Dns,
    Icmp,
    Command,
    /// Changes a container.
    Docker,
    /// `docker.inspect`.
    Inspect,
    Files,
}

impl Is {
    /// None if the call is of no interface, or of several.
    fn of(call: &Call) -> Option<Self> {
        let inspects = call
            .docker
            .as_ref()
            .is_some_and(|docker| docker.inspect.is_some());
        let docker = if inspects { Self::Inspect } else { Self::Docker };
        let mut all = [
            call.http.is_some().then_some(Self::Http),
            call.tcp.is_some().then_some(Self::Tcp),
            call.tls.is_some().then_some(Self::Tls),
            call.dns.is_some().then_some(Self::Dns),
            call.icmp.is_some().then_some(Self::Icmp),
            call.command.is_some().then_some(Self::Command),
            call.docker.is_some().then_some(docker),
            call.files.is_some().then_some(Self::Files),
        ]
        .into_iter()
        .flatten();
        let first = all.next();
        first.filter(|_| all.next().is_none())
    }

    /// For people.
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dns => "dns",
            Self::Icmp => "icmp",
            Self::Command => "command",
            Self::Docker => "docker",
            Self::Inspect => "docker.inspect",
            Self::Files => "files",
        }
    }

    /// Errors of its own; none: those of `net`.
    fn errors(self) -> Option<&'static [ErrorName]> {
        match self {
            Self::Http | Self::Tcp | Self::Tls | Self::Dns | Self::Icmp => None,
            Self::Command => Some(&[
                ErrorName::InvalidArgument,
                ErrorName::Unavailable,
                ErrorName::TimedOut,
                ErrorName::Stopped,
            ]),
            Self::Docker | Self::Inspect => Some(&[
                ErrorName::NotFound,
                ErrorName::Rejected,
                ErrorName::Unavailable,
                ErrorName::EffectUnknown,
            ]),
            Self::Files => Some(&[ErrorName::InvalidPath, ErrorName::InvalidLine, ErrorName::Io]),
        }
    }

    /// Keys of its answer.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Http => &[
                "status",
                "headers",
                "body",
                "body-hex",
                "body-truncated",
                "url",
                "redirects",
                "version",
                "peer",
                "timings",
                "tls",
            ],
            Self::Tcp => &["received", "received-hex", "unmet", "peer", "timings", "tls"],
            Self::Tls => &["tls", "refusal", "chain-hex", "peer", "timings"],
            Self::Dns => &[
                "records",
                "rcode",
                "authoritative",
                "transport",
                "server",
                "timings",
            ],
            Self::Icmp => &["replies", "sent", "resolve-us", "peer"],
            Self::Command => &[
                "exit-code",
                "signal",
                "stdout",
                "stderr",
                "stdout-truncated",
                "stderr-truncated",
                "duration-us",
            ],
            Self::Inspect => &["container"],
            Self::Docker | Self::Files => &[],
        }
    }

    /// What its answer can't do without, and what that is.
    fn needs(self, answer: &Answer) -> Option<&'static str> {
        match self {
            Self::Http if answer.status.is_none() => Some("an answer over http has a status"),
            Self::Tls if answer.tls.is_none() => Some(
                "an answer to tls has what the handshake showed: answer.tls.certificates = [{ subject = \"CN=shop.example\", not-after = 1800000000 }]",
            ),
            Self::Icmp if answer.replies.is_none() => {
                Some("an answer to icmp has the replies, or none: answer.replies = [{ rtt-us = 1_000 }]")
            }
            Self::Command if answer.exit_code.is_some() == answer.signal.is_some() => {
                Some("an answer to command says how it ended: answer.exit-code = 0, or answer.signal = 9")
            }
            Self::Inspect if answer.container.is_none() => {
                Some("an answer to docker.inspect has a container, with its state")
            }
            _ => None,
        }
    }
}

/// What is wrong with a call as it is written, whatever is asked for.
pub fn wrong(call: &Call) -> Option<String> {
    let Some(is) = Is::of(call) else {
        return Some("a call is one of http, tcp, tls, dns, icmp, docker, command and files: write for example http.url = \"http://shop.example/\"".to_owned());
    };
    let ends = [
        call.answer.is_some(),
        call.error.is_some(),
        call.denied.is_some(),
        call.never == Some(true),
    ];
    let ends = ends.iter().filter(|is| **is).count();
    if ends > 1 {
        return Some("a call ends in one way: with answer, error, denied = {} or never = true".to_owned());
    }
    if let Some(docker) = &call.docker {
        let acts = [&docker.restart, &docker.start, &docker.stop, &docker.inspect];
        if acts.iter().filter(|act| act.is_some()).count() != 1 {
            return Some(
                "docker is asked for one thing: restart, start, stop or inspect, with a container's name"
                    .to_owned(),
            );
        }
    }
    // Those whose answer says nothing.
    if ends == 0 && !is.keys().is_empty() {
        return Some(
            "nothing comes of this call: write answer, error, denied = {} or never = true".to_owned(),
        );
    }
    if let Some(error) = &call.error
        && let Some(wrong) = wrong_error(is, error.code)
    {
        return Some(wrong);
    }
    let answer = call.answer.as_ref()?;
    wrong_key(is, answer)
        .or_else(|| is.needs(answer).map(str::to_owned))
        .or_else(|| wrong_echoes(answer))
}

/// What no echo request can be answered with.
fn wrong_echoes(answer: &Answer) -> Option<String> {
    let sent = answer.sent.unwrap_or_else(|| icmp::COUNT_MAX.into());
    if sent > icmp::COUNT_MAX.into() {
        return Some(format!("at most {} echo requests are sent", icmp::COUNT_MAX));
    }
    let mut answered = BTreeSet::new();
    for (place, echo) in (0..).zip(answer.replies.iter().flatten()) {
        let sequence = echo.sequence.unwrap_or(place);
        if sequence >= sent {
            return Some(format!(
                "request {sequence} is answered, and {sent} are sent, from 0 on"
            ));
        }
        if !answered.insert(sequence) {
            return Some(format!("request {sequence} is answered twice"));
        }
    }
    None
}

fn wrong_error(is: Is, code: ErrorName) -> Option<String> {
    use super::super::words::Named as _;
    let (fits, codes): (bool, Vec<&str>) = match is.errors() {
        None => (
            matches!(code, ErrorName::Net(_)),
            ErrorCode::ALL.iter().map(|code| code.name()).collect(),
        ),
        Some(own) => (own.contains(&code), own.iter().map(|code| code.name()).collect()),
    };
    (!fits).then(|| format!("this interface has no such error; it has {}", codes.join(", ")))
}

/// The first key of an answer that belongs to another interface.
fn wrong_key(is: Is, answer: &Answer) -> Option<String> {
    let written = toml::Table::try_from(answer).ok()?;
    let wrong = written.keys().find(|key| !is.keys().contains(&key.as_str()))?;
    Some(match is.keys() {
        [] => format!("`{wrong}`: an answer to {} has no keys", is.name()),
        keys => format!(
            "`{wrong}` is no key of an answer to {}, which has {}",
            is.name(),
            keys.join(", ")
        ),
    })
}
