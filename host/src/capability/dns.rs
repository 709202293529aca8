//! `dns`: one question to a name server, in a datagram, and over TCP where the answer is too long for one.
//!
//! Architecture invariant: a server that the guest names goes through the same checks as any other target, and what it
//! does is the target's; what the system's own name servers fail to say is the prober's trouble. An answer counts only
//! if it comes from the very address that was asked, with the same number and the same question.

use super::{
    Lease, Lender,
    call::{Call, Stage},
    dial::{self, Destination},
    egress::{self, Transport as Granted},
    error::{ErrorCode, Failure, Phase},
    log::one_line,
    net::{IpFamily, Timings},
    socket::Options,
    stream::Stream,
    target::{Host, host_and_port},
};
use hickory_resolver::proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use std::{
    fmt::Write as _,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
};

/// Records of an answer, and bytes of one's data.
pub const ANSWERS_MAX: usize = 128;
pub const DATA_BYTES_MAX: usize = 4 << 10;
/// Addresses that are asked, one after the other.
const SERVERS_MAX: usize = 3;
/// A datagram that is lost is sent again after that time, that often.
const RESEND_AFTER: Duration = Duration::from_millis(800);
const SENDS_MAX: u32 = 3;
/// Without extensions no datagram is longer; what is, is read as far as this.
const DATAGRAM_BYTES: usize = 4 << 10;
/// Datagrams of one server that are no answer, before it is left alone.
pub(super) const NOISE_MAX: u32 = 64;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Who may issue certificates.
    Caa,
    /// The name that this one stands for.
    Cname,
    /// Mail servers.
    Mx,
    /// Name servers.
    Ns,
    /// Names of an address.
    Ptr,
    /// Start of authority.
    Soa,
    /// Servers of a service.
    Srv,
    /// Texts.
    Txt,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::A,
        Self::Aaaa,
        Self::Caa,
        Self::Cname,
        Self::Mx,
        Self::Ns,
        Self::Ptr,
        Self::Soa,
        Self::Srv,
        Self::Txt,
    ];

    /// Its name in zone files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Caa => "CAA",
            Self::Cname => "CNAME",
            Self::Mx => "MX",
            Self::Ns => "NS",
            Self::Ptr => "PTR",
            Self::Soa => "SOA",
            Self::Srv => "SRV",
            Self::Txt => "TXT",
        }
    }

    fn record_type(self) -> RecordType {
        match self {
            Self::A => RecordType::A,
            Self::Aaaa => RecordType::AAAA,
            Self::Caa => RecordType::CAA,
            Self::Cname => RecordType::CNAME,
            Self::Mx => RecordType::MX,
            Self::Ns => RecordType::NS,
            Self::Ptr => RecordType::PTR,
            Self::Soa => RecordType::SOA,
            Self::Srv => RecordType::SRV,
            Self::Txt => RecordType::TXT,
        }
    }
}

/// How the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// Over TCP.
    Tcp,
}

impl Transport {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// Its name in the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The name; with [`Kind::Ptr`] an address will do as well.
    pub name: String,
    /// What to ask for.
    pub kind: Kind,
    /// Whom to ask, as `host:port`; none is the system's name servers.
    pub server: Option<String>,
    /// Whether the server is to ask others.
    pub recursion: bool,
    /// Milliseconds for everything; never more than the job has left.
    pub timeout_ms: Option<u32>,
}

/// One record of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose it is, without the dot at its end.
    pub name: String,
    /// `A`, `CNAME` and so on.
    pub kind: String,
    /// Seconds that it may be kept.
    pub ttl: u32,
    /// The data as zone files have it.
    pub data: String,
}

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Address and port that answered.
    pub server: String,
    /// How the answer came.
    pub transport: Transport,
    /// `NOERROR`, `NXDOMAIN` and so on.
    pub rcode: String,
    /// Whether the server answers for the zone itself.
    pub authoritative: bool,
    /// The answer section.
    pub answers: Vec<Answer>,
    /// Phase timings.
    pub timings: Timings,
}

/// Why the host refuses a question before it looks at grants, if it does.
pub(super) fn refusal(request: &Request) -> Option<Failure> {
    if request.timeout_ms == Some(0) {
        return Some(Failure::invalid("timeout-ms is 0"));
    }
    let server = || request.server.as_deref().map(named_server).transpose();
    question(request).and_then(|_| server()).err()
}

/// Asks once.
pub(super) async fn query(lender: &Lender, lease: &Lease, request: Request) -> Result<Response, Failure> {
    let call = Call::begin(lease, &lender.shared.clock, request.timeout_ms)?;
    // Large, and most jobs do without.
    let work = Box::pin(ask(lender, &call, request));
    call.bound(work).await
}

async fn ask(lender: &Lender, call: &Call<'_>, request: Request) -> Result<Response, Failure> {
    let question = question(&request)?;
    let start = call.now();
    let (servers, own) = match &request.server {
        Some(text) => {
            let (host, port) = named_server(text)?;
            egress::check_pair(call.lease, Granted::Dns, &host, port)
                .map_err(|denial| Failure::denied(Phase::Prepare, denial))?;
            let to = Destination {
                capability: "dns",
                host: &host,
                port,
                family: IpFamily::Any,
            };
            let addresses = dial::resolve(lender, call, to).await?;
            let servers: Vec<_> = addresses
                .iter()
                .map(|address| SocketAddr::new(*address, port))
                .collect();
            (servers, false)
        }
        None => {
            egress::check_system_dns(call.lease).map_err(|denial| Failure::denied(Phase::Prepare, denial))?;
            lender.shared.admit(call.lease, Phase::Prepare)?;
            (lender.resolver.servers()?.to_vec(), true)
        }
    };
    let resolve_us = if own { 0 } else { call.micros_since(start) };
    let tries = servers.len().min(SERVERS_MAX);
    let mut told = None;
    for (index, server) in servers.into_iter().take(SERVERS_MAX).enumerate() {
        let share = call.left() / u32::try_from(tries - index).unwrap_or(u32::MAX);
        let due = call.now().after(share);
        let asked = one(lender, call, &question, server, own, resolve_us);
        let failure = match tokio::time::timeout(share, asked).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(failure)) => failure,
            Err(_) => call.timed_out(due, share),
        }
        .at(server);
        told = Some(failure.or_what_tells_more(told));
    }
    let failure = told.unwrap_or_else(|| Failure::host(Phase::Resolve, "there is no name server to ask"));
    if own && failure.taint.is_none() {
        return Err(Failure::new(ErrorCode::ResolveFailed, Phase::Resolve, &failure.message).tainted());
    }
    Err(failure)
}

fn named_server(text: &str) -> Result<(Host, u16), Failure> {
    host_and_port(text).map_err(|error| Failure::invalid(format!("server: {error}")))
}

fn question(request: &Request) -> Result<Message, Failure> {
    let name = match (request.kind, request.name.parse::<IpAddr>()) {
        (Kind::Ptr, Ok(address)) => Name::from(address),
        // Underscores stand in names of services, and within labels as well.
        _ => Name::from_str_relaxed(&request.name)
            .map_err(|error| Failure::invalid(format!("`{}` is no name: {error}", request.name)))?,
    };
    let mut name = name;
    name.set_fqdn(true);
    let mut message = Message::query();
    message.metadata.recursion_desired = request.recursion;
    message.add_query(Query::query(name, request.kind.record_type()));
    Ok(message)
}

async fn one(
    lender: &Lender,
    call: &Call<'_>,
    question: &Message,
    server: SocketAddr,
    own: bool,
    resolve_us: u64,
) -> Result<Response, Failure> {
    let stage = if own { Stage::Resolve } else { Stage::Processing };
    let bytes = question
        .to_vec()
        .map_err(|error| Failure::invalid(format!("this can't be asked: {error}")))?;
    let start = call.now();
    let mut transport = Transport::Udp;
    let mut answer = datagram(lender, call, question, &bytes, server, stage).await?;
    if answer.metadata.truncation {
        transport = Transport::Tcp;
        answer = stream(lender, call, question, &bytes, server, stage).await?;
    }
    Ok(Response {
        server: server.to_string(),
        transport,
        rcode: rcode(answer.metadata.response_code),
        authoritative: answer.metadata.authoritative,
        answers: answers(&answer),
        timings: Timings {
            resolve_us,
            processing_us: call.micros_since(start),
            ..Timings::default()
        },
    })
}

async fn datagram(
    lender: &Lender,
    call: &Call<'_>,
    question: &Message,
    bytes: &[u8],
    server: SocketAddr,
    stage: Stage,
) -> Result<Message, Failure> {
    let permit = lender.shared.socket(call).await;
    let mut pace = lender.shared.pace(call.lease);
    call.enter(stage);
    // What the system's own servers do is no target's.
    let _waiting = (stage == Stage::Processing).then(|| call.wait_for_target());
    let failed = |error: std::io::Error| Failure::io(call.phase(), &error);
    #[cfg(test)]
    if let Some(recorder) = &lender.shared.recorder {
        return Err(failed(recorder.record(server)));
    }
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of its own for each question: who wants to forge an answer has to guess it.
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    let account = &permit.tenant.account;
    let mut buffer = vec![0; DATAGRAM_BYTES];
    let mut noise = 0;
    for send in 1..=SENDS_MAX {
        if let Some(pace) = &mut pace {
            poll_fn(|cx| pace.poll_ready(cx)).await;
            pace.charge(bytes.len());
        }
        socket.send(bytes).await.map_err(failed)?;
        account.add_sent(bytes.len() as u64);
        let heard = async {
            loop {
                // Who sends without being asked is read no faster than the tenant may.
                if let Some(pace) = &mut pace {
                    poll_fn(|cx| pace.poll_ready(cx)).await;
                }
                let length = socket.recv(&mut buffer).await.map_err(failed)?;
                account.add_received(length as u64);
                if let Some(pace) = &mut pace {
                    pace.charge(length);
                }
                let heard = buffer.get(..length).unwrap_or_default();
                // Anything else is noise, or somebody's attempt.
                if let Some(answer) = Message::from_vec(heard)
                    .ok()
                    .filter(|answer| fits(question, answer))
                {
                    return Ok(answer);
                }
                noise += 1;
                if noise > NOISE_MAX {
                    let what = format!("more than {NOISE_MAX} datagrams came that are no answer");
                    return Err(Failure::new(ErrorCode::Protocol, call.phase(), what));
                }
            }
        };
        if send == SENDS_MAX {
            return heard.await;
        }
        if let Ok(answer) = tokio::time::timeout(RESEND_AFTER, heard).await {
            return answer;
        }
    }
    Err(Failure::host(call.phase(), "nothing was asked"))
}

async fn stream(
    lender: &Lender,
    call: &Call<'_>,
    question: &Message,
    bytes: &[u8],
    server: SocketAddr,
    stage: Stage,
) -> Result<Message, Failure> {
    let permit = lender.shared.socket(call).await;
    call.enter(stage);
    let _waiting = (stage == Stage::Processing).then(|| call.wait_for_target());
    let failed = |error: std::io::Error| Failure::io(call.phase(), &error);
    let stream = dial::open(lender, server, &Options::default())
        .await
        .map_err(failed)?;
    let mut stream = Stream::new(stream, permit, lender.shared.pace(call.lease));
    let length = u16::try_from(bytes.len()).map_err(|_| Failure::invalid("the question is too long"))?;
    let framed = [&length.to_be_bytes(), bytes].concat();
    stream.write_all(&framed).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.map_err(failed)?;
    Message::from_vec(&buffer)
        .ok()
        .filter(|answer| fits(question, answer))
        .ok_or_else(|| {
            Failure::new(
                ErrorCode::Protocol,
                call.phase(),
                "the answer is to no question of ours",
            )
        })
}

/// Whether a message answers that question. A server that refuses may leave the question out.
fn fits(question: &Message, answer: &Message) -> bool {
    let refuses = !matches!(
        answer.metadata.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    );
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && (answer.queries == question.queries || refuses && answer.queries.is_empty())
}

/// As RFC 6895 has it in its registry, which is how tools show it.
fn rcode(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".into(),
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        ResponseCode::NotAuth => "NOTAUTH".into(),
        other => format!("RCODE{}", u16::from(other)),
    }
}

fn answers(message: &Message) -> Vec<Answer> {
    let shown = |record: &hickory_resolver::proto::rr::Record| {
        let mut data = String::new();
        match &record.data {
            RData::TXT(text) => {
                for part in &text.txt_data {
                    data.push_str(&String::from_utf8_lossy(part));
                }
            }
            // Some kinds have no form for people; they are no answers to what can be asked for.
            other => write!(data, "{other}").ok()?,
        }
        let name = record.name.to_utf8();
        Some(Answer {
            name: one_line(name.strip_suffix('.').unwrap_or(&name)),
            kind: record.record_type().to_string(),
            ttl: record.ttl,
            data: super::log::escaped(&data, DATA_BYTES_MAX),
        })
    };
    message
        .answers
        .iter()
        .filter_map(shown)
        .take(ANSWERS_MAX)
        .collect()
}
