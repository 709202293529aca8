//! What comes of a call by what a case says, with what it leaves out.

use super::{
    super::{
        format::{Answer, Call, Denied, Error, ErrorName, Refusal, Timings, TlsFacts},
        words::Hex,
    },
    header,
};
use crate::{
    capability::{
        ErrorCode, Failure, Phase, Taint, command,
        course::{Ask, Reply, Scripted},
        dns, docker, files, handshake, http, icmp, net, tcp,
    },
    domain::{outcome::Denial, plugin::Capability},
};
use std::time::Duration;

/// What comes of the call, asked for like this.
pub fn scripted(call: &Call, ask: &Ask) -> Scripted {
    let reply = (call.never != Some(true)).then(|| reply(call, ask));
    let took = match (ask, &reply) {
        (Ask::Ping(request), Some(Reply::Icmp(Ok(response)))) => icmp::takes(request, response),
        (_, Some(Reply::Command(Ok(response)))) => Duration::from_micros(response.duration_us),
        _ => Duration::ZERO,
    };
    let timed = match &reply {
        Some(Reply::Http(Ok(response))) => Some(response.timings),
        Some(Reply::Tcp(Ok(response))) => Some(response.timings),
        Some(Reply::Tls(Ok(response))) => Some(response.timings),
        Some(Reply::Dns(Ok(response))) => Some(response.timings),
        _ => None,
    };
    let after = match (call.after, timed) {
        (Some(span), _) => span.0,
        (None, Some(timings)) => Duration::from_micros(
            [
                timings.resolve_us,
                timings.connect_us,
                timings.tls_us,
                timings.processing_us,
                timings.transfer_us,
            ]
            .iter()
            .fold(0, |sum: u64, part| sum.saturating_add(*part)),
        ),
        (None, None) => took,
    };
    Scripted {
        reply,
        after,
        recorded: false,
    }
}

fn reply(call: &Call, ask: &Ask) -> Reply {
    if let Some(denied) = &call.denied {
        return refused(denied, ask);
    }
    let empty = Answer::default();
    let answer = call.answer.as_ref().unwrap_or(&empty);
    let error = call.error.as_ref();
    let message = error.and_then(|error| error.message.clone());
    let taint = |message: &str, own: bool| {
        let tainted = error.and_then(|error| error.tainted).unwrap_or(own);
        tainted.then(|| Taint::Host(message.to_owned()))
    };
    let net = |error: &Error| {
        let code = match error.code {
            ErrorName::Net(code) => code,
            _ => ErrorCode::Host,
        };
        let message = message.clone().unwrap_or_else(|| code.name().replace('-', " "));
        Failure {
            code,
            phase: error.phase.map_or_else(|| usual_phase(code), |phase| phase.0),
            taint: taint(&message, code == ErrorCode::Host),
            message,
        }
    };
    let docker = |error: &Error| {
        use docker::Error as E;
        let message = message.clone().unwrap_or_else(|| "scripted".to_owned());
        docker::Failure {
            taint: taint(&message, false),
            error: match error.code {
                ErrorName::NotFound => E::NotFound(message),
                ErrorName::Unavailable => E::Unavailable(message),
                ErrorName::EffectUnknown => E::EffectUnknown(message),
                _ => E::Rejected(message),
            },
        }
    };
    match ask {
        Ask::Http(request) => Reply::Http(match error {
            Some(error) => Err(net(error)),
            None => Ok(response(answer, request)),
        }),
        Ask::Tcp(request) => Reply::Tcp(match error {
            Some(error) => Err(net(error)),
            None => Ok(dialogue(answer, request)),
        }),
        Ask::Tls(request) => Reply::Tls(match error {
            Some(error) => Err(net(error)),
            None => Ok(shaken(answer, request)),
        }),
        Ask::Dns(request) => Reply::Dns(match error {
            Some(error) => Err(net(error)),
            None => Ok(answered(answer, request)),
        }),
        Ask::Ping(request) => Reply::Icmp(match error {
            Some(error) => Err(net(error)),
            None => Ok(echoed(answer, request)),
        }),
        Ask::Run(_) => Reply::Command(match error {
            None => Ok(ran(answer)),
            Some(error) => {
                use command::Error as E;
                let message = message.clone().unwrap_or_else(|| "scripted".to_owned());
                Err(command::Failure {
                    taint: taint(&message, false),
                    error: match error.code {
                        ErrorName::InvalidArgument => E::InvalidArgument(message),
                        ErrorName::TimedOut => E::TimedOut(message),
                        ErrorName::Stopped => E::Stopped(message),
                        _ => E::Unavailable(message),
                    },
                })
            }
        }),
        Ask::Inspect { name } => Reply::Container(match (error, &answer.container) {
            (Some(error), _) => Err(docker(error)),
            (None, Some(container)) => Ok(docker::Container {
                id: container.id.clone(),
                name: if container.name.is_empty() {
                    name.clone()
                } else {
                    container.name.clone()
                },
                image: container.image.clone(),
                state: container.state.clone(),
                exit_code: container.exit_code,
                health: container.health.clone(),
            }),
            (None, None) => Err(docker::Error::NotFound(format!("no such container: {name}")).into()),
        }),
        Ask::Restart { .. } | Ask::Start { .. } | Ask::Stop { .. } => {
            Reply::Docker(error.map_or(Ok(()), |error| Err(docker(error))))
        }
        Ask::Append { .. } => Reply::Files(error.map_or(Ok(()), |error| {
            use files::Error as E;
            let message = message.clone().unwrap_or_else(|| "scripted".to_owned());
            Err(files::Failure {
                taint: taint(&message, false),
                error: match error.code {
                    ErrorName::InvalidPath => E::InvalidPath(message),
                    ErrorName::InvalidLine => E::InvalidLine(message),
                    _ => E::Io(message),
                },
            })
        })),
    }
}

/// Where a failure shows as a rule.
fn usual_phase(code: ErrorCode) -> Phase {
    match code {
        ErrorCode::Denied | ErrorCode::InvalidRequest | ErrorCode::Host => Phase::Prepare,
        ErrorCode::NameNotFound | ErrorCode::ResolveFailed => Phase::Resolve,
        ErrorCode::ConnectionRefused | ErrorCode::Unreachable => Phase::Connect,
        ErrorCode::CertificateExpired
        | ErrorCode::CertificateNameMismatch
        | ErrorCode::CertificateUntrusted
        | ErrorCode::TlsFailed => Phase::Tls,
        ErrorCode::ConnectionReset
        | ErrorCode::Timeout
        | ErrorCode::Protocol
        | ErrorCode::TooManyRedirects => Phase::Processing,
    }
}

fn refused(denied: &Denied, ask: &Ask) -> Reply {
    let capability = ask.capability();
    // Sockets of a plugin's own are no calls of a case, but what is denied of `dns` may be a datagram.
    let mut known = Capability::ALL.into_iter().map(Capability::name).chain(["udp"]);
    let denial = Denial {
        capability: denied
            .capability
            .as_ref()
            .and_then(|name| known.find(|known| known == name))
            .unwrap_or(capability),
        wanted: denied.wanted.clone().unwrap_or_else(|| ask.wanted()),
        grant: denied.grant.clone().unwrap_or_else(|| {
            format!(
                "grants.{}",
                match capability {
                    "files" => "directories",
                    "command" => "commands",
                    "tls" => "tcp",
                    other => other,
                }
            )
        }),
    };
    let message = denied
        .message
        .clone()
        .unwrap_or_else(|| format!("no grant covers {}; to allow it: {}", denial.wanted, denial.grant));
    ask.failed(Failure {
        code: ErrorCode::Denied,
        phase: denied.phase.map_or(Phase::Prepare, |phase| phase.0),
        message,
        taint: Some(Taint::Denied(denial)),
    })
}

/// Of an answer that says nothing about it, as in the SDK's harness: 1 ms to connect, 20 ms to process and 4 ms to
/// transfer.
const TIMINGS: Timings = Timings {
    resolve_us: 0,
    connect_us: 1_000,
    tls_us: 0,
    processing_us: 20_000,
    transfer_us: 4_000,
};

/// The same for a handshake, and for a question.
const TIMINGS_OF_TLS: Timings = Timings {
    resolve_us: 0,
    connect_us: 1_000,
    tls_us: 3_000,
    processing_us: 0,
    transfer_us: 0,
};
const TIMINGS_OF_DNS: Timings = Timings {
    resolve_us: 0,
    connect_us: 0,
    tls_us: 0,
    processing_us: 2_000,
    transfer_us: 0,
};

/// How long a command runs, as in the SDK's harness.
const COMMAND_US: u64 = 30_000;

const PEER: &str = "192.0.2.7";
/// The name server, and how long what it says may be kept.
const SERVER: &str = "192.0.2.53:53";
const TTL_S: u32 = 300;

fn response(answer: &Answer, request: &http::Request) -> http::Response {
    let port = if request.url.starts_with("https:") {
        443
    } else {
        80
    };
    http::Response {
        status: answer.status.unwrap_or(200),
        version: answer.version.clone().unwrap_or_else(|| "HTTP/1.1".to_owned()),
        headers: answer
            .headers
            .iter()
            .flatten()
            .map(|field| header(field))
            .collect(),
        body: bytes(answer.body.as_ref(), answer.body_hex.as_ref()),
        body_truncated: answer.body_truncated.unwrap_or(false),
        url: answer.url.clone().unwrap_or_else(|| request.url.clone()),
        redirects: answer.redirects.unwrap_or(0),
        peer: answer.peer.clone().unwrap_or_else(|| format!("{PEER}:{port}")),
        timings: took(answer.timings.unwrap_or(TIMINGS)),
        tls: answer.tls.as_ref().map(handshake),
    }
}

fn dialogue(answer: &Answer, request: &tcp::Request) -> tcp::Response {
    let received = bytes(answer.received.as_ref(), answer.received_hex.as_ref());
    tcp::Response {
        peer: answer
            .peer
            .clone()
            .unwrap_or_else(|| format!("{PEER}:{}", request.port)),
        unmet: answer.unmet.or_else(|| unmet(&request.steps, &received)),
        received,
        timings: took(answer.timings.unwrap_or(TIMINGS)),
        tls: answer.tls.as_ref().map(handshake),
    }
}

/// The first step whose expectation the bytes don't meet: each looks behind what the one before it found.
fn unmet(steps: &[tcp::Step], received: &[u8]) -> Option<u32> {
    let mut rest = received;
    for (index, step) in (0..).zip(steps) {
        let needle: &[u8] = match step {
            tcp::Step::Expect(tcp::Expectation::Contains(needle)) => needle,
            tcp::Step::Expect(tcp::Expectation::Line) => b"\n",
            _ => continue,
        };
        let Some(at) = memchr::memmem::find(rest, needle) else {
            return Some(index);
        };
        rest = rest.get(at + needle.len()..).unwrap_or_default();
    }
    None
}

fn shaken(answer: &Answer, request: &handshake::Request) -> handshake::Response {
    let port = request.port;
    handshake::Response {
        peer: answer.peer.clone().unwrap_or_else(|| format!("{PEER}:{port}")),
        timings: took(answer.timings.unwrap_or(TIMINGS_OF_TLS)),
        tls: answer.tls.as_ref().map_or_else(no_facts, handshake),
        chain: answer
            .chain_hex
            .iter()
            .flatten()
            .map(|der| der.0.clone())
            .collect(),
        refusal: answer.refusal.as_ref().map(refusal),
    }
}

/// What a handshake showed of which the case says nothing: [`check`](super::wrong) lets none such through.
fn no_facts() -> net::TlsFacts {
    net::TlsFacts {
        version: String::new(),
        cipher: String::new(),
        alpn: None,
        certificates: Vec::new(),
    }
}

fn refusal(refusal: &Refusal) -> Failure {
    let code = refusal.code.0;
    let message = || code.name().replace('-', " ");
    Failure {
        code,
        phase: refusal.phase.map_or(Phase::Tls, |phase| phase.0),
        message: refusal.message.clone().unwrap_or_else(message),
        taint: None,
    }
}

fn answered(answer: &Answer, request: &dns::Request) -> dns::Response {
    dns::Response {
        server: answer.server.clone().unwrap_or_else(|| SERVER.to_owned()),
        transport: answer.transport.map_or(dns::Transport::Udp, |word| word.0),
        rcode: answer.rcode.clone().unwrap_or_else(|| "NOERROR".to_owned()),
        authoritative: answer.authoritative.unwrap_or(false),
        answers: answer
            .records
            .iter()
            .flatten()
            .map(|record| dns::Answer {
                name: record.name.clone().unwrap_or_else(|| request.name.clone()),
                kind: record
                    .kind
                    .clone()
                    .unwrap_or_else(|| request.kind.name().to_owned()),
                ttl: record.ttl.unwrap_or(TTL_S),
                data: record.data.clone(),
            })
            .collect(),
        timings: took(answer.timings.unwrap_or(TIMINGS_OF_DNS)),
    }
}

fn echoed(answer: &Answer, request: &icmp::Request) -> icmp::Response {
    icmp::Response {
        peer: answer.peer.clone().unwrap_or_else(|| PEER.to_owned()),
        resolve_us: answer.resolve_us.unwrap_or(0),
        sent: answer.sent.unwrap_or_else(|| request.count.into()),
        replies: (0..)
            .zip(answer.replies.iter().flatten())
            .map(|(place, echo)| icmp::Reply {
                sequence: echo.sequence.unwrap_or(place),
                rtt_us: echo.rtt_us,
                ttl: echo.ttl,
            })
            .collect(),
    }
}

fn ran(answer: &Answer) -> command::Response {
    command::Response {
        ending: match (answer.exit_code, answer.signal) {
            (None, Some(signal)) => command::Ending::Killed(signal),
            (code, _) => command::Ending::Exited(code.unwrap_or(0)),
        },
        stdout: answer.stdout.clone().unwrap_or_default(),
        stderr: answer.stderr.clone().unwrap_or_default(),
        stdout_truncated: answer.stdout_truncated.unwrap_or(false),
        stderr_truncated: answer.stderr_truncated.unwrap_or(false),
        duration_us: answer.duration_us.unwrap_or(COMMAND_US),
    }
}

fn took(timings: Timings) -> net::Timings {
    net::Timings {
        resolve_us: timings.resolve_us,
        connect_us: timings.connect_us,
        tls_us: timings.tls_us,
        processing_us: timings.processing_us,
        transfer_us: timings.transfer_us,
    }
}

fn handshake(facts: &TlsFacts) -> net::TlsFacts {
    net::TlsFacts {
        version: facts.version.clone(),
        cipher: facts.cipher.clone(),
        alpn: facts.alpn.clone(),
        certificates: facts
            .certificates
            .iter()
            .map(|certificate| net::Certificate {
                subject: certificate.subject.clone(),
                issuer: certificate.issuer.clone(),
                names: certificate.names.clone(),
                not_before: certificate.not_before,
                not_after: certificate.not_after,
                sha256: certificate.sha256.clone(),
            })
            .collect(),
    }
}

fn bytes(text: Option<&String>, hex: Option<&Hex>) -> Vec<u8> {
    match (text, hex) {
        (_, Some(hex)) => hex.0.clone(),
        (Some(text), None) => text.clone().into_bytes(),
        (None, None) => Vec::new(),
    }
}
