//! A lent call, and what came of it, as a case writes them.

use super::super::{
    format::{
        Answer, Call, Certificate, Command, Container, Denied, Dns, Docker, Echo, Error, ErrorName, Files,
        Handshake, Http, Icmp, Record, Refusal, Step, Tcp, Timings, Tls, TlsFacts,
    },
    words::{Hex, Span, Word},
};
use crate::{
    capability::{
        Failure, Phase, Taint, command,
        course::{Ask, Called, Reply},
        dns, docker, files, handshake, http, icmp, net, tcp,
    },
    domain::outcome::Denial,
};

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
        Ask::Tls(request) => {
            call.tls = Some(Handshake {
                host: Some(request.host.clone()),
                port: Some(request.port),
                family: Some(family(request.family).to_owned()),
                timeout_ms: request.timeout_ms,
                alpn: Some(request.alpn.clone()),
                tls: Some(tls(&request.tls)),
                before: Some(request.before.iter().map(step).collect()),
            });
        }
        Ask::Dns(request) => {
            call.dns = Some(Dns {
                name: Some(request.name.clone()),
                kind: Some(Word(request.kind)),
                server: request.server.clone(),
                recursion: Some(request.recursion),
                timeout_ms: request.timeout_ms,
            });
        }
        Ask::Ping(request) => {
            call.icmp = Some(Icmp {
                host: Some(request.host.clone()),
                family: Some(family(request.family).to_owned()),
                count: Some(request.count),
                interval_ms: Some(request.interval_ms),
                wait_ms: Some(request.wait_ms),
                payload_bytes: Some(request.payload_bytes),
                timeout_ms: request.timeout_ms,
            });
        }
        Ask::Run(request) => {
            call.command = Some(Command {
                name: Some(request.name.clone()),
                timeout_ms: request.timeout_ms,
                arguments: Some(request.arguments.iter().cloned().collect()),
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
        Some(Reply::Tls(Ok(response))) => call.answer = Some(tls_answer(response)),
        Some(Reply::Dns(Ok(response))) => call.answer = Some(dns_answer(response)),
        Some(Reply::Icmp(Ok(response))) => call.answer = Some(icmp_answer(response)),
        Some(Reply::Command(Ok(response))) => call.answer = Some(command_answer(response)),
        Some(Reply::Command(Err(failure))) => {
            use command::Error as E;
            let code = match &failure.error {
                E::Denied(_) => None,
                E::InvalidArgument(_) => Some(ErrorName::InvalidArgument),
                E::Unavailable(_) => Some(ErrorName::Unavailable),
                E::TimedOut(_) => Some(ErrorName::TimedOut),
                E::Stopped(_) => Some(ErrorName::Stopped),
            };
            own_error(&mut call, code, failure.error.message(), failure.taint.as_ref());
        }
        Some(
            Reply::Http(Err(failure))
            | Reply::Tcp(Err(failure))
            | Reply::Tls(Err(failure))
            | Reply::Dns(Err(failure))
            | Reply::Icmp(Err(failure)),
        ) => net(&mut call, failure),
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

fn text_or_hex(bytes: &[u8]) -> (Option<String>, Option<Hex>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(Hex(bytes.to_vec()))),
    }
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

fn tls_answer(response: &handshake::Response) -> Answer {
    Answer {
        peer: Some(response.peer.clone()),
        timings: Some(timings(response.timings)),
        tls: Some(tls_facts(&response.tls)),
        chain_hex: Some(response.chain.iter().cloned().map(Hex).collect()),
        refusal: response.refusal.as_ref().map(|failure| Refusal {
            code: Word(failure.code),
            phase: Some(Word(failure.phase)),
            message: Some(failure.message.clone()),
        }),
        ..Answer::default()
    }
}

fn dns_answer(response: &dns::Response) -> Answer {
    let record = |answer: &dns::Answer| Record {
        name: Some(answer.name.clone()),
        kind: Some(answer.kind.clone()),
        ttl: Some(answer.ttl),
        data: answer.data.clone(),
    };
    Answer {
        server: Some(response.server.clone()),
        transport: Some(Word(response.transport)),
        rcode: Some(response.rcode.clone()),
        authoritative: Some(response.authoritative),
        records: Some(response.answers.iter().map(record).collect()),
        timings: Some(timings(response.timings)),
        ..Answer::default()
    }
}

fn icmp_answer(response: &icmp::Response) -> Answer {
    let echo = |reply: &icmp::Reply| Echo {
        sequence: Some(reply.sequence),
        rtt_us: reply.rtt_us,
        ttl: reply.ttl,
    };
    Answer {
        peer: Some(response.peer.clone()),
        resolve_us: Some(response.resolve_us),
        sent: Some(response.sent),
        replies: Some(response.replies.iter().map(echo).collect()),
        ..Answer::default()
    }
}

fn command_answer(response: &command::Response) -> Answer {
    let (exit_code, signal) = match response.ending {
        command::Ending::Exited(code) => (Some(code), None),
        command::Ending::Killed(signal) => (None, Some(signal)),
    };
    Answer {
        exit_code,
        signal,
        stdout: Some(response.stdout.clone()),
        stderr: Some(response.stderr.clone()),
        stdout_truncated: Some(response.stdout_truncated),
        stderr_truncated: Some(response.stderr_truncated),
        duration_us: Some(response.duration_us),
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
