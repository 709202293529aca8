//! What stands in the file of a case, key by key. Reading and writing go through the same types.

use super::words::{Hex, Moment, Size, Span, Word};
use crate::{
    capability::{ErrorCode, Phase, dns},
    domain::{color::Color, outcome::Status, spec::Kind},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Spanned;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct File {
    pub kind: Option<Word<Kind>>,
    pub clock: Option<Moment>,
    pub seed: Option<Hex>,
    pub recorded: Option<Recorded>,
    pub subject: Subject,
    pub attempt: Attempt,
    pub limits: Limits,
    pub incident: Option<Incident>,
    pub intervention: Option<Intervention>,
    pub code: Option<Code>,
    pub settings: toml::Table,
    pub call: Vec<Spanned<Call>>,
    pub expect: Option<Spanned<Expect>>,
}

/// Says that the host wrote it, and of what.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recorded {
    pub plugin: String,
    pub version: String,
    pub digest: String,
    pub fuel: Option<u64>,
    /// Calls that were not kept for want of room.
    #[serde(default)]
    pub calls_cut: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Subject {
    pub monitor: Option<String>,
    pub tenant: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Attempt {
    pub number: Option<u32>,
    pub timeout: Option<Span>,
    pub scheduled_at: Option<Moment>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Limits {
    pub fuel: Option<u64>,
    pub cpu: Option<Span>,
    pub memory: Option<Size>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Incident {
    pub id: Option<String>,
    pub key: Option<String>,
    pub opened_at: Option<Moment>,
    pub summary: Option<String>,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Intervention {
    pub idempotency_key: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Code {
    pub color: Option<Word<Color>>,
    pub title: Option<String>,
    pub body: Option<String>,
    pub happened_at: Option<Moment>,
    pub reminder: Option<bool>,
    pub incident_key: Option<String>,
    pub delivery_id: Option<String>,
    /// False: it belongs to no incident.
    pub incident: Option<bool>,
}

/// One lent call: what must be asked for, and what comes of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Call {
    pub after: Option<Span>,
    pub never: Option<bool>,
    pub http: Option<Http>,
    pub tcp: Option<Tcp>,
    pub tls: Option<Handshake>,
    pub dns: Option<Dns>,
    pub icmp: Option<Icmp>,
    pub docker: Option<Docker>,
    pub command: Option<Command>,
    pub files: Option<Files>,
    pub denied: Option<Denied>,
    pub error: Option<Error>,
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Http {
    pub method: Option<String>,
    pub url: Option<String>,
    /// `name: value`.
    pub headers: Option<Vec<String>>,
    pub body: Option<String>,
    pub body_hex: Option<Hex>,
    pub max_redirects: Option<u8>,
    pub family: Option<String>,
    pub timeout_ms: Option<u32>,
    pub max_body_bytes: Option<u32>,
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Tls {
    pub ca: Option<String>,
    pub client_chain: Option<String>,
    pub client_key: Option<String>,
    pub server_name: Option<String>,
    pub insecure: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Tcp {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub family: Option<String>,
    pub timeout_ms: Option<u32>,
    pub max_bytes: Option<u32>,
    pub tls: Option<Tls>,
    pub steps: Option<Vec<Step>>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    Send(String),
    SendHex(Hex),
    Contains(String),
    ContainsHex(Hex),
    /// Always true.
    Line(bool),
    Starttls(Tls),
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Handshake {
    pub host: Option<String>,
    pub port: Option<u16>,
    pub family: Option<String>,
    pub timeout_ms: Option<u32>,
    pub alpn: Option<Vec<String>>,
    pub tls: Option<Tls>,
    /// What is said in the clear.
    pub before: Option<Vec<Step>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Dns {
    pub name: Option<String>,
    pub kind: Option<Word<dns::Kind>>,
    pub server: Option<String>,
    pub recursion: Option<bool>,
    pub timeout_ms: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Icmp {
    pub host: Option<String>,
    pub family: Option<String>,
    pub count: Option<u8>,
    pub interval_ms: Option<u32>,
    pub wait_ms: Option<u32>,
    pub payload_bytes: Option<u16>,
    pub timeout_ms: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Command {
    pub name: Option<String>,
    pub timeout_ms: Option<u32>,
    /// Values by the names of placeholders.
    pub arguments: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Docker {
    pub restart: Option<String>,
    pub start: Option<String>,
    pub stop: Option<String>,
    pub inspect: Option<String>,
    pub stop_timeout_s: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Files {
    pub path: Option<String>,
    pub line: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Denied {
    pub phase: Option<Word<Phase>>,
    pub capability: Option<String>,
    pub wanted: Option<String>,
    pub grant: Option<String>,
    pub message: Option<String>,
}

/// How a call failed: by a code of `net`, or by the name of the interface's own error.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Error {
    pub code: ErrorName,
    pub phase: Option<Word<Phase>>,
    pub message: Option<String>,
    /// The failure is the host's own, and the execution says nothing about its target.
    pub tainted: Option<bool>,
}

/// A code of `net`, or an error of `docker`, `command` or `files`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorName {
    Net(ErrorCode),
    NotFound,
    Rejected,
    Unavailable,
    EffectUnknown,
    InvalidArgument,
    TimedOut,
    Stopped,
    InvalidPath,
    InvalidLine,
    Io,
}

impl ErrorName {
    const OTHERS: [(Self, &'static str); 10] = [
        (Self::NotFound, "not-found"),
        (Self::Rejected, "rejected"),
        (Self::Unavailable, "unavailable"),
        (Self::EffectUnknown, "effect-unknown"),
        (Self::InvalidArgument, "invalid-argument"),
        (Self::TimedOut, "timed-out"),
        (Self::Stopped, "stopped"),
        (Self::InvalidPath, "invalid-path"),
        (Self::InvalidLine, "invalid-line"),
        (Self::Io, "io"),
    ];
}

impl super::words::Named for ErrorName {
    const WHAT: &'static str = "error";

    fn all() -> Vec<Self> {
        let net = ErrorCode::ALL.into_iter().map(Self::Net);
        net.chain(Self::OTHERS.iter().map(|(error, _)| *error)).collect()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Net(code) => code.name(),
            other => Self::OTHERS
                .iter()
                .find(|(error, _)| *error == other)
                .map_or("", |(_, name)| name),
        }
    }
}

impl<'de> Deserialize<'de> for ErrorName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Word::<Self>::deserialize(from).map(|word| word.0)
    }
}

impl Serialize for ErrorName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Word(*self).serialize(to)
    }
}

/// What a call is answered with. Which keys fit depends on the interface.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Answer {
    pub status: Option<u16>,
    pub version: Option<String>,
    pub headers: Option<Vec<String>>,
    pub body: Option<String>,
    pub body_hex: Option<Hex>,
    pub body_truncated: Option<bool>,
    pub url: Option<String>,
    pub redirects: Option<u8>,
    pub received: Option<String>,
    pub received_hex: Option<Hex>,
    pub unmet: Option<u32>,
    pub peer: Option<String>,
    pub timings: Option<Timings>,
    pub tls: Option<TlsFacts>,
    /// The chain in DER.
    pub chain_hex: Option<Vec<Hex>>,
    pub refusal: Option<Refusal>,
    pub server: Option<String>,
    pub transport: Option<Word<dns::Transport>>,
    pub rcode: Option<String>,
    pub authoritative: Option<bool>,
    pub records: Option<Vec<Record>>,
    pub resolve_us: Option<u64>,
    pub sent: Option<u16>,
    pub replies: Option<Vec<Echo>>,
    pub exit_code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Option<String>,
    pub stderr: Option<String>,
    pub stdout_truncated: Option<bool>,
    pub stderr_truncated: Option<bool>,
    pub duration_us: Option<u64>,
    pub container: Option<Container>,
}

/// What is wrong with a chain.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Refusal {
    pub code: Word<ErrorCode>,
    pub phase: Option<Word<Phase>>,
    pub message: Option<String>,
}

/// One record of what a name server answers. Whose it is and of what kind: as it was asked, where it says nothing else.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Record {
    pub name: Option<String>,
    pub kind: Option<String>,
    pub ttl: Option<u32>,
    pub data: String,
}

/// One answer to an echo request: to which, from 0 on. Without that: to that of its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Echo {
    pub sequence: Option<u16>,
    pub rtt_us: u64,
    pub ttl: Option<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Timings {
    pub resolve_us: u64,
    pub connect_us: u64,
    pub tls_us: u64,
    pub processing_us: u64,
    pub transfer_us: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TlsFacts {
    #[serde(default = "tls_version")]
    pub version: String,
    #[serde(default = "tls_cipher")]
    pub cipher: String,
    pub alpn: Option<String>,
    pub certificates: Vec<Certificate>,
}

fn tls_version() -> String {
    "TLSv1.3".to_owned()
}

fn tls_cipher() -> String {
    "TLS_AES_128_GCM_SHA256".to_owned()
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Certificate {
    #[serde(default)]
    pub subject: String,
    #[serde(default)]
    pub issuer: String,
    #[serde(default)]
    pub names: Vec<String>,
    #[serde(default)]
    pub not_before: i64,
    pub not_after: i64,
    #[serde(default)]
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Container {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub image: String,
    pub state: String,
    #[serde(default)]
    pub exit_code: i32,
    pub health: Option<String>,
}

/// What must come of it. What is not named may be anything.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Expect {
    pub outcome: Option<String>,
    pub status: Option<Word<Status>>,
    pub summary: Option<String>,
    pub reason: Option<String>,
    pub fault: Option<Fault>,
    pub failure: Option<Failure>,
    pub after: Option<Span>,
    pub receipt: Option<String>,
    pub message: Option<String>,
    pub log: Option<Vec<String>>,
    pub measurements: Option<Vec<Measurement>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    InvalidSettings(String),
    Unsupported(String),
    Internal(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    Retryable(String),
    Permanent(String),
    EffectUnknown(String),
}

#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Measurement {
    pub name: String,
    pub value: Option<f64>,
    pub unit: Option<String>,
}
