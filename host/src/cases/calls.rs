//! Between lent calls and how they are written in a case.

use super::{
    format::{
        Answer, Call, Certificate, Container, Denied, Docker, Error, ErrorName, Files, Http, Step, Tcp,
        Timings, Tls, TlsFacts,
    },
    words::{Hex, Span, Word},
};
use crate::{
    capability::{
        ErrorCode, Failure, Phase, Taint,
        course::{Ask, Called, Reply, Scripted},
        docker, files, http, net, tcp,
    },
    domain::outcome::Denial,
};
use std::time::Duration;

/// What a call is written like: everything that was asked for.
pub fn asked(ask: &Ask) -> Call {
    let mut call = Call::default();
    match ask {
        Ask::Http(request) => {
            let (body, body_hex) = request.body.as_deref().map_or((None, None), text_or_hex);
            call.http = Some(Http {
                method: Some(request.method.clone()),
                url: Some(request.url.clone()),
                headers: (!request.headers.is_empty()).then(|| fields(&request.headers)),
                body,
                body_hex,
                max_redirects: Some(request.max_redirects),
                family: Some(family(request.family).to_owned()),
                timeout_ms: request.timeout_ms,
                max_body_bytes: request.max_body_bytes,
                tls: request.tls.as_ref().map(tls),
            });
        }
        Ask::Tcp(request) => {
            call.tcp = Some(Tcp {
                host: Some(request.host.clone()),
                port: Some(request.port),
                family: Some(family(request.family).to_owned()),
                timeout_ms: request.timeout_ms,
                max_bytes: request.max_bytes,
                tls: request.tls.as_ref().map(tls),
                steps: Some(request.steps.iter().map(step).collect()),
            });
        }
        Ask::Restart { name, stop_timeout_s } => {
            call.docker = Some(Docker {
                restart: Some(name.clone()),
                stop_timeout_s: Some(*stop_timeout_s),
                ..Docker::default()
            });
        }
        Ask::Stop { name, stop_timeout_s } => {
            call.docker = Some(Docker {
                stop: Some(name.clone()),
                stop_timeout_s: Some(*stop_timeout_s),
                ..Docker::default()
            });
        }
        Ask::Start { name } => {
            call.docker = Some(Docker {
                start: Some(name.clone()),
                ..Docker::default()
            });
        }
        Ask::Inspect { name } => {
            call.docker = Some(Docker {
                inspect: Some(name.clone()),
                ..Docker::default()
            });
        }
        Ask::Append { path, line } => {
            call.files = Some(Files {
                path: Some(path.clone()),
                line: Some(line.clone()),
            });
        }
    }
    call
}

fn step(step: &tcp::Step) -> Step {
    match step {
        tcp::Step::Send(bytes) => match text_or_hex(bytes) {
            (Some(text), _) => Step::Send(text),
            (None, hex) => Step::SendHex(hex.unwrap_or(Hex(Vec::new()))),
        },
        tcp::Step::Expect(tcp::Expectation::Contains(bytes)) => match text_or_hex(bytes) {
            (Some(text), _) => Step::Contains(text),
            (None, hex) => Step::ContainsHex(hex.unwrap_or(Hex(Vec::new()))),
        },
        tcp::Step::Expect(tcp::Expectation::Line) => Step::Line(true),
        tcp::Step::StartTls(options) => Step::Starttls(tls(options)),
    }
}

fn tls(options: &net::TlsOptions) -> Tls {
    let certificate = options.client_certificate.as_ref();
    Tls {
        ca: options.ca.clone(),
        client_chain: certificate.map(|certificate| certificate.chain.clone()),
        client_key: certificate.map(|certificate| certificate.key.clone()),
        server_name: options.server_name.clone(),
        insecure: Some(options.insecure),
    }
}

fn family(family: net::IpFamily) -> &'static str {
    match family {
        net::IpFamily::Any => "any",
        net::IpFamily::V4 => "v4",
        net::IpFamily::V6 => "v6",
    }
}

fn fields(headers: &[http::Header]) -> Vec<String> {
    headers
        .iter()
        .map(|header| format!("{}: {}", header.name, header.value))
        .collect()
}

fn header(field: &str) -> http::Header {
    let (name, value) = field.split_once(':').unwrap_or((field, ""));
    http::Header {
        name: name.trim().to_owned(),
        value: value.trim_start().to_owned(),
    }
}

fn text_or_hex(bytes: &[u8]) -> (Option<String>, Option<Hex>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(Hex(bytes.to_vec()))),
    }
}

fn bytes(text: Option<&String>, hex: Option<&Hex>) -> Vec<u8> {
    match (text, hex) {
        (_, Some(hex)) => hex.0.clone(),
        (Some(text), None) => text.clone().into_bytes(),
        (None, None) => Vec::new(),
    }
}

/// A call that was noted, with what came of it.
pub fn noted(called: &Called) -> Call {
    let mut call = asked(&called.ask);
    call.after = Some(Span(called.took));
    let net = |call: &mut Call, failure: &Failure| match &failure.taint {
        Some(Taint::Denied(denial)) => {
            call.denied = Some(denied(denial, Some(failure.phase), &failure.message));
        }
        taint => {
            call.error = Some(Error {
                code: ErrorName::Net(failure.code),
                phase: Some(Word(failure.phase)),
                message: Some(failure.message.clone()),
                tainted: taint.as_ref().map(|_| true),
            });
        }
    };
    let docker = |call: &mut Call, failure: &docker::Failure| {
        use docker::Error as E;
        let (code, message) = match &failure.error {
            E::Denied(message) => (None, message),
            E::NotFound(message) => (Some(ErrorName::NotFound), message),
            E::Rejected(message) => (Some(ErrorName::Rejected), message),
            E::Unavailable(message) => (Some(ErrorName::Unavailable), message),
            E::EffectUnknown(message) => (Some(ErrorName::EffectUnknown), message),
        };
        own_error(call, code, message, failure.taint.as_ref());
    };
    match &called.reply {
        None => call.never = Some(true),
        Some(Reply::Http(Ok(response))) => call.answer = Some(http_answer(response)),
        Some(Reply::Tcp(Ok(response))) => call.answer = Some(tcp_answer(response)),
        Some(Reply::Http(Err(failure)) | Reply::Tcp(Err(failure))) => net(&mut call, failure),
        Some(Reply::Docker(Ok(())) | Reply::Files(Ok(()))) => call.answer = Some(Answer::default()),
        Some(Reply::Container(Ok(container))) => {
            call.answer = Some(Answer {
                container: Some(Container {
                    id: container.id.clone(),
                    name: container.name.clone(),
                    image: container.image.clone(),
                    state: container.state.clone(),
                    exit_code: container.exit_code,
                    health: container.health.clone(),
                }),
                ..Answer::default()
            });
        }
        Some(Reply::Docker(Err(failure)) | Reply::Container(Err(failure))) => docker(&mut call, failure),
        Some(Reply::Files(Err(failure))) => {
            use files::Error as E;
            let (code, message) = match &failure.error {
                E::Denied(message) => (None, message),
                E::InvalidPath(message) => (Some(ErrorName::InvalidPath), message),
                E::InvalidLine(message) => (Some(ErrorName::InvalidLine), message),
                E::Io(message) => (Some(ErrorName::Io), message),
            };
            own_error(&mut call, code, message, failure.taint.as_ref());
        }
    }
    call
}

fn own_error(call: &mut Call, code: Option<ErrorName>, message: &str, taint: Option<&Taint>) {
    match (code, taint) {
        (None, Some(Taint::Denied(denial))) => call.denied = Some(denied(denial, None, message)),
        (code, taint) => {
            call.error = Some(Error {
                code: code.unwrap_or(ErrorName::Rejected),
                phase: None,
                message: Some(message.to_owned()),
                tainted: taint.map(|_| true),
            });
        }
    }
}

fn denied(denial: &Denial, phase: Option<Phase>, message: &str) -> Denied {
    Denied {
        phase: phase.filter(|phase| *phase != Phase::Prepare).map(Word),
        capability: Some(denial.capability.to_owned()),
        wanted: Some(denial.wanted.clone()),
        grant: Some(denial.grant.clone()),
        message: Some(message.to_owned()),
    }
}

fn http_answer(response: &http::Response) -> Answer {
    let (body, body_hex) = text_or_hex(&response.body);
    Answer {
        status: Some(response.status),
        version: Some(response.version.clone()),
        headers: Some(fields(&response.headers)),
        body,
        body_hex,
        body_truncated: Some(response.body_truncated),
        url: Some(response.url.clone()),
        redirects: Some(response.redirects),
        peer: Some(response.peer.clone()),
        timings: Some(timings(response.timings)),
        tls: response.tls.as_ref().map(tls_facts),
        ..Answer::default()
    }
}

fn tcp_answer(response: &tcp::Response) -> Answer {
    let (received, received_hex) = text_or_hex(&response.received);
    Answer {
        received,
        received_hex,
        unmet: response.unmet,
        peer: Some(response.peer.clone()),
        timings: Some(timings(response.timings)),
        tls: response.tls.as_ref().map(tls_facts),
        ..Answer::default()
    }
}

fn timings(timings: net::Timings) -> Timings {
    Timings {
        resolve_us: timings.resolve_us,
        connect_us: timings.connect_us,
        tls_us: timings.tls_us,
        processing_us: timings.processing_us,
        transfer_us: timings.transfer_us,
    }
}

fn tls_facts(facts: &net::TlsFacts) -> TlsFacts {
    TlsFacts {
        version: facts.version.clone(),
        cipher: facts.cipher.clone(),
        alpn: facts.alpn.clone(),
        certificates: facts
            .certificates
            .iter()
            .map(|certificate| Certificate {
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

/// What is wrong with a call as it is written, whatever is asked for.
pub fn wrong(call: &Call) -> Option<String> {
    let asks = [
        call.http.is_some(),
        call.tcp.is_some(),
        call.docker.is_some(),
        call.files.is_some(),
    ];
    if asks.iter().filter(|is| **is).count() != 1 {
        return Some("a call is one of http, tcp, docker and files: write for example http.url = \"http://shop.example/\"".to_owned());
    }
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
    let inspects = call
        .docker
        .as_ref()
        .is_some_and(|docker| docker.inspect.is_some());
    let says_nothing = call.docker.is_some() && !inspects || call.files.is_some();
    if ends == 0 && !says_nothing {
        return Some(
            "nothing comes of this call: write answer, error, denied = {} or never = true".to_owned(),
        );
    }
    if let Some(error) = &call.error {
        let net = matches!(error.code, ErrorName::Net(_));
        let of_files = matches!(
            error.code,
            ErrorName::InvalidPath | ErrorName::InvalidLine | ErrorName::Io
        );
        let fits = match (call.docker.is_some(), call.files.is_some()) {
            (true, _) => !net && !of_files,
            (_, true) => of_files,
            _ => net,
        };
        if !fits {
            let codes: Vec<&str> = match (call.docker.is_some(), call.files.is_some()) {
                (true, _) => vec!["not-found", "rejected", "unavailable", "effect-unknown"],
                (_, true) => vec!["invalid-path", "invalid-line", "io"],
                _ => ErrorCode::ALL.iter().map(|code| code.name()).collect(),
            };
            return Some(format!(
                "this interface has no such error; it has {}",
                codes.join(", ")
            ));
        }
    }
    let answer = call.answer.as_ref()?;
    let of_http = answer.status.is_some()
        || answer.version.is_some()
        || answer.headers.is_some()
        || answer.body.is_some()
        || answer.body_hex.is_some()
        || answer.body_truncated.is_some()
        || answer.url.is_some()
        || answer.redirects.is_some();
    let of_tcp = answer.received.is_some() || answer.received_hex.is_some() || answer.unmet.is_some();
    let of_both = answer.peer.is_some() || answer.timings.is_some() || answer.tls.is_some();
    let of_inspect = answer.container.is_some();
    let (is_http, is_tcp) = (call.http.is_some(), call.tcp.is_some());
    if of_http && !is_http || of_tcp && !is_tcp || of_both && !is_http && !is_tcp || of_inspect && !inspects {
        return Some("this answer has keys of another interface: http has status, headers, body, url, redirects, version; tcp received and unmet; both peer, timings and tls; docker.inspect container".to_owned());
    }
    match (is_http, inspects) {
        (true, _) if answer.status.is_none() => Some("an answer over http has a status".to_owned()),
        (_, true) if !of_inspect => {
            Some("an answer to docker.inspect has a container, with its state".to_owned())
        }
        _ => None,
    }
}

/// What comes of the call, asked for like this.
pub fn scripted(call: &Call, ask: &Ask) -> Scripted {
    let reply = (call.never != Some(true)).then(|| reply(call, ask));
    let timed = match &reply {
        Some(Reply::Http(Ok(response))) => Some(response.timings),
        Some(Reply::Tcp(Ok(response))) => Some(response.timings),
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
        (None, None) => Duration::ZERO,
    };
    Scripted { reply, after }
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
    let known = ["http", "tcp", "udp", "docker", "files"].into_iter();
    let denial = Denial {
        capability: denied
            .capability
            .as_ref()
            .and_then(|name| known.into_iter().find(|known| known == name))
            .unwrap_or(capability),
        wanted: denied.wanted.clone().unwrap_or_else(|| ask.wanted()),
        grant: denied.grant.clone().unwrap_or_else(|| {
            format!(
                "grants.{}",
                if capability == "files" {
                    "directories"
                } else {
                    capability
                }
            )
        }),
    };
    let message = denied
        .message
        .clone()
        .unwrap_or_else(|| format!("no grant covers {}; to allow it: {}", denial.wanted, denial.grant));
    let taint = Some(Taint::Denied(denial));
    let failure = || Failure {
        code: ErrorCode::Denied,
        phase: denied.phase.map_or(Phase::Prepare, |phase| phase.0),
        message: message.clone(),
        taint: taint.clone(),
    };
    let docker = || docker::Failure {
        error: docker::Error::Denied(message.clone()),
        taint: taint.clone(),
    };
    match ask {
        Ask::Http(_) => Reply::Http(Err(failure())),
        Ask::Tcp(_) => Reply::Tcp(Err(failure())),
        Ask::Inspect { .. } => Reply::Container(Err(docker())),
        Ask::Restart { .. } | Ask::Start { .. } | Ask::Stop { .. } => Reply::Docker(Err(docker())),
        Ask::Append { .. } => Reply::Files(Err(files::Failure {
            error: files::Error::Denied(message.clone()),
            taint: taint.clone(),
        })),
    }
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
const PEER: &str = "192.0.2.7";

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
        timings: took(answer.timings),
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
        timings: took(answer.timings),
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

fn took(timings: Option<Timings>) -> net::Timings {
    let timings = timings.unwrap_or(TIMINGS);
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

/// What was asked for, cut down to what a case says about it: where the two differ, they differ there.
pub fn as_far_as(wanted: &Call, got: Call) -> Call {
    Call {
        http: narrow(wanted.http.as_ref(), got.http, |wanted, got| Http {
            method: only(&wanted.method, got.method),
            url: only(&wanted.url, got.url),
            headers: wanted
                .headers
                .as_ref()
                .map(|wanted| same_fields(wanted, got.headers)),
            body: only(&wanted.body, got.body),
            body_hex: only(&wanted.body_hex, got.body_hex),
            max_redirects: only(&wanted.max_redirects, got.max_redirects),
            family: only(&wanted.family, got.family),
            timeout_ms: only(&wanted.timeout_ms, got.timeout_ms),
            max_body_bytes: only(&wanted.max_body_bytes, got.max_body_bytes),
            tls: within(wanted.tls.as_ref(), got.tls, same_tls),
        }),
        tcp: narrow(wanted.tcp.as_ref(), got.tcp, |wanted, got| Tcp {
            host: only(&wanted.host, got.host),
            port: only(&wanted.port, got.port),
            family: only(&wanted.family, got.family),
            timeout_ms: only(&wanted.timeout_ms, got.timeout_ms),
            max_bytes: only(&wanted.max_bytes, got.max_bytes),
            tls: within(wanted.tls.as_ref(), got.tls, same_tls),
            steps: only(&wanted.steps, got.steps),
        }),
        docker: narrow(wanted.docker.as_ref(), got.docker, |wanted, got| Docker {
            stop_timeout_s: only(&wanted.stop_timeout_s, got.stop_timeout_s),
            ..got
        }),
        files: narrow(wanted.files.as_ref(), got.files, |wanted, got| Files {
            path: only(&wanted.path, got.path),
            line: only(&wanted.line, got.line),
        }),
        ..Call::default()
    }
}

/// What is asked for, without what comes of it.
pub fn question(call: &Call) -> Call {
    Call {
        http: call.http.clone(),
        tcp: call.tcp.clone(),
        docker: call.docker.clone(),
        files: call.files.clone(),
        ..Call::default()
    }
}

fn narrow<T>(wanted: Option<&T>, got: Option<T>, both: impl FnOnce(&T, T) -> T) -> Option<T> {
    match (wanted, got) {
        (Some(wanted), Some(got)) => Some(both(wanted, got)),
        (_, got) => got,
    }
}

/// The same of what counts only where it is written.
fn within<T>(wanted: Option<&T>, got: Option<T>, both: impl FnOnce(&T, T) -> T) -> Option<T> {
    wanted.zip(got).map(|(wanted, got)| both(wanted, got))
}

fn only<T>(wanted: &Option<T>, got: Option<T>) -> Option<T> {
    wanted.as_ref().and(got)
}

fn same_tls(wanted: &Tls, got: Tls) -> Tls {
    Tls {
        ca: only(&wanted.ca, got.ca),
        client_chain: only(&wanted.client_chain, got.client_chain),
        client_key: only(&wanted.client_key, got.client_key),
        server_name: only(&wanted.server_name, got.server_name),
        insecure: only(&wanted.insecure, got.insecure),
    }
}

/// The fields that are wanted as they were sent, and of those that were sent the ones with their names.
fn same_fields(wanted: &[String], got: Option<Vec<String>>) -> Vec<String> {
    let names: Vec<String> = wanted
        .iter()
        .map(|field| header(field).name.to_ascii_lowercase())
        .collect();
    let got = got.unwrap_or_default();
    let with_their_names: Vec<String> = got
        .into_iter()
        .filter(|field| names.contains(&header(field).name.to_ascii_lowercase()))
        .collect();
    let same = |one: &String, two: &String| {
        let (one, two) = (header(one), header(two));
        one.name.eq_ignore_ascii_case(&two.name) && one.value == two.value
    };
    if wanted
        .iter()
        .all(|wanted| with_their_names.iter().any(|got| same(wanted, got)))
    {
        wanted.to_vec()
    } else {
        with_their_names
    }
}

/// Whether a call of the case has answers for what was asked: the same interface, and the same kind of answer.
pub fn fits(call: &Call, ask: &Ask) -> bool {
    let inspects = call.docker.as_ref().map(|docker| docker.inspect.is_some());
    match ask {
        Ask::Http(_) => call.http.is_some(),
        Ask::Tcp(_) => call.tcp.is_some(),
        Ask::Inspect { .. } => inspects == Some(true),
        Ask::Restart { .. } | Ask::Start { .. } | Ask::Stop { .. } => inspects == Some(false),
        Ask::Append { .. } => call.files.is_some(),
    }
}
