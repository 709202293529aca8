//! What the host lends in `pulse:host@0.1.0`: translation between the interface's types and those of `capability/`.

use super::generated::pulse::host::{command, dns, docker, files, http, icmp, log, net, tcp, tls};
use crate::{capability, sandbox::store::State};
use std::sync::Arc;
use wasmtime::component::{HasSelf, Linker};

/// Lends everything of this version.
pub fn lend(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    log::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    net::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    http::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    tcp::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    tls::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    dns::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    icmp::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    docker::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    command::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    files::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => capability::log::Level::Debug,
            log::Level::Info => capability::log::Level::Info,
            log::Level::Warn => capability::log::Level::Warn,
            log::Level::Error => capability::log::Level::Error,
        };
        self.lease.write_log(level, &message);
        Ok(())
    }
}

impl net::Host for State {}

/// Has a lent call done, and keeps the books: its time is the host's, and its taint is the execution's.
macro_rules! lent {
    ($state:ident, $lender:ident, $lease:ident, $call:expr) => {{
        let ($lender, $lease) = (Arc::clone(&$state.lender), Arc::clone(&$state.lease));
        $state.enter();
        let outside = Arc::clone(&$state.outside);
        let result = outside.errands.send(move || async move { $call.await }).await;
        $state.leave();
        $state.lease.acts();
        result.map_err(|failure| {
            $state.lease.taint(failure.taint.clone());
            failure
        })
    }};
}

impl http::Host for State {
    async fn send(&mut self, request: http::Request) -> wasmtime::Result<Result<http::Response, net::Error>> {
        let request = request.into();
        let result = lent!(self, lender, lease, lender.http(&lease, request));
        Ok(result.map(Into::into).map_err(Into::into))
    }
}

impl tcp::Host for State {
    async fn dialogue(
        &mut self,
        request: tcp::Request,
    ) -> wasmtime::Result<Result<tcp::Response, net::Error>> {
        let request = request.into();
        let result = lent!(self, lender, lease, lender.tcp(&lease, request));
        Ok(result.map(Into::into).map_err(Into::into))
    }
}

impl tls::Host for State {
    async fn handshake(
        &mut self,
        request: tls::Request,
    ) -> wasmtime::Result<Result<tls::Response, net::Error>> {
        let request = request.into();
        let result = lent!(self, lender, lease, lender.tls(&lease, request));
        Ok(result.map(Into::into).map_err(Into::into))
    }
}

impl dns::Host for State {
    async fn query(&mut self, request: dns::Request) -> wasmtime::Result<Result<dns::Response, net::Error>> {
        let request = request.into();
        let result = lent!(self, lender, lease, lender.dns(&lease, request));
        Ok(result.map(Into::into).map_err(Into::into))
    }
}

impl icmp::Host for State {
    async fn ping(&mut self, request: icmp::Request) -> wasmtime::Result<Result<icmp::Response, net::Error>> {
        let request = request.into();
        let result = lent!(self, lender, lease, lender.icmp(&lease, request));
        Ok(result.map(Into::into).map_err(Into::into))
    }
}

impl command::Host for State {
    async fn run(
        &mut self,
        request: command::Request,
    ) -> wasmtime::Result<Result<command::Response, command::Error>> {
        let request = request.into();
        let result = lent!(self, lender, lease, lender.command(&lease, request));
        Ok(result.map(Into::into).map_err(|failure| failure.error.into()))
    }
}

impl docker::Host for State {
    async fn restart(
        &mut self,
        name: String,
        stop_timeout_s: u32,
    ) -> wasmtime::Result<Result<(), docker::Error>> {
        let result = lent!(
            self,
            lender,
            lease,
            lender.docker_restart(&lease, &name, stop_timeout_s)
        );
        Ok(result.map_err(|failure| failure.error.into()))
    }

    async fn start(&mut self, name: String) -> wasmtime::Result<Result<(), docker::Error>> {
        let result = lent!(self, lender, lease, lender.docker_start(&lease, &name));
        Ok(result.map_err(|failure| failure.error.into()))
    }

    async fn stop(
        &mut self,
        name: String,
        stop_timeout_s: u32,
    ) -> wasmtime::Result<Result<(), docker::Error>> {
        let result = lent!(
            self,
            lender,
            lease,
            lender.docker_stop(&lease, &name, stop_timeout_s)
        );
        Ok(result.map_err(|failure| failure.error.into()))
    }

    async fn inspect(&mut self, name: String) -> wasmtime::Result<Result<docker::Container, docker::Error>> {
        let result = lent!(self, lender, lease, lender.docker_inspect(&lease, &name));
        Ok(result.map(Into::into).map_err(|failure| failure.error.into()))
    }
}

impl files::Host for State {
    async fn append_line(
        &mut self,
        path: String,
        line: String,
    ) -> wasmtime::Result<Result<(), files::Error>> {
        let result = lent!(self, lender, lease, lender.append_line(&lease, &path, &line));
        Ok(result.map_err(|failure| failure.error.into()))
    }
}

impl From<http::Request> for capability::http::Request {
    fn from(request: http::Request) -> Self {
        Self {
            method: request.method,
            url: request.url,
            headers: request
                .headers
                .into_iter()
                .map(|header| capability::http::Header {
                    name: header.name,
                    value: header.value,
                })
                .collect(),
            body: request.body,
            max_redirects: request.max_redirects,
            family: request.family.into(),
            tls: request.tls.map(Into::into),
            timeout_ms: request.timeout_ms,
            max_body_bytes: request.max_body_bytes,
        }
    }
}

impl From<capability::http::Response> for http::Response {
    fn from(response: capability::http::Response) -> Self {
        Self {
            status: response.status,
            version: response.version,
            headers: response
                .headers
                .into_iter()
                .map(|header| http::Header {
                    name: header.name,
                    value: header.value,
                })
                .collect(),
            body: response.body,
            body_truncated: response.body_truncated,
            url: response.url,
            redirects: response.redirects,
            peer: response.peer,
            timings: response.timings.into(),
            tls: response.tls.map(Into::into),
        }
    }
}

impl From<tcp::Request> for capability::tcp::Request {
    fn from(request: tcp::Request) -> Self {
        Self {
            host: request.host,
            port: request.port,
            family: request.family.into(),
            tls: request.tls.map(Into::into),
            steps: request.steps.into_iter().map(Into::into).collect(),
            timeout_ms: request.timeout_ms,
            max_bytes: request.max_bytes,
        }
    }
}

impl From<net::Step> for capability::tcp::Step {
    fn from(step: net::Step) -> Self {
        use capability::tcp::Expectation;
        match step {
            net::Step::Send(bytes) => Self::Send(bytes),
            net::Step::Expect(net::Expectation::Contains(bytes)) => {
                Self::Expect(Expectation::Contains(bytes))
            }
            net::Step::Expect(net::Expectation::Line) => Self::Expect(Expectation::Line),
            net::Step::Starttls(options) => Self::StartTls(options.into()),
        }
    }
}

impl From<tls::Request> for capability::handshake::Request {
    fn from(request: tls::Request) -> Self {
        Self {
            host: request.host,
            port: request.port,
            family: request.family.into(),
            tls: request.tls.into(),
            alpn: request.alpn,
            before: request.before.into_iter().map(Into::into).collect(),
            timeout_ms: request.timeout_ms,
        }
    }
}

impl From<capability::handshake::Response> for tls::Response {
    fn from(response: capability::handshake::Response) -> Self {
        Self {
            peer: response.peer,
            timings: response.timings.into(),
            tls: response.tls.into(),
            chain: response.chain,
            refusal: response.refusal.map(Into::into),
        }
    }
}

impl From<capability::tcp::Response> for tcp::Response {
    fn from(response: capability::tcp::Response) -> Self {
        Self {
            peer: response.peer,
            received: response.received,
            unmet: response.unmet,
            timings: response.timings.into(),
            tls: response.tls.map(Into::into),
        }
    }
}

impl From<dns::Request> for capability::dns::Request {
    fn from(request: dns::Request) -> Self {
        use capability::dns::Kind;
        Self {
            name: request.name,
            kind: match request.kind {
                dns::RecordType::A => Kind::A,
                dns::RecordType::Aaaa => Kind::Aaaa,
                dns::RecordType::Caa => Kind::Caa,
                dns::RecordType::Cname => Kind::Cname,
                dns::RecordType::Mx => Kind::Mx,
                dns::RecordType::Ns => Kind::Ns,
                dns::RecordType::Ptr => Kind::Ptr,
                dns::RecordType::Soa => Kind::Soa,
                dns::RecordType::Srv => Kind::Srv,
                dns::RecordType::Txt => Kind::Txt,
            },
            server: request.server,
            recursion: request.recursion,
            timeout_ms: request.timeout_ms,
        }
    }
}

impl From<capability::dns::Response> for dns::Response {
    fn from(response: capability::dns::Response) -> Self {
        Self {
            server: response.server,
            transport: match response.transport {
                capability::dns::Transport::Udp => dns::Transport::Udp,
                capability::dns::Transport::Tcp => dns::Transport::Tcp,
            },
            rcode: response.rcode,
            authoritative: response.authoritative,
            answers: response
                .answers
                .into_iter()
                .map(|answer| dns::Answer {
                    name: answer.name,
                    kind: answer.kind,
                    ttl: answer.ttl,
                    data: answer.data,
                })
                .collect(),
            timings: response.timings.into(),
        }
    }
}

impl From<icmp::Request> for capability::icmp::Request {
    fn from(request: icmp::Request) -> Self {
        Self {
            host: request.host,
            family: request.family.into(),
            count: request.count,
            interval_ms: request.interval_ms,
            wait_ms: request.wait_ms,
            payload_bytes: request.payload_bytes,
            timeout_ms: request.timeout_ms,
        }
    }
}

impl From<capability::icmp::Response> for icmp::Response {
    fn from(response: capability::icmp::Response) -> Self {
        let replies = response.replies.into_iter().map(|reply| icmp::Reply {
            sequence: reply.sequence,
            rtt_us: reply.rtt_us,
            ttl: reply.ttl,
        });
        Self {
            peer: response.peer,
            resolve_us: response.resolve_us,
            sent: response.sent,
            replies: replies.collect(),
        }
    }
}

impl From<command::Request> for capability::command::Request {
    fn from(request: command::Request) -> Self {
        let arguments = request.arguments.into_iter();
        Self {
            name: request.name,
            arguments: arguments
                .map(|argument| (argument.name, argument.value))
                .collect(),
            timeout_ms: request.timeout_ms,
        }
    }
}

impl From<capability::command::Response> for command::Response {
    fn from(response: capability::command::Response) -> Self {
        Self {
            ending: match response.ending {
                capability::command::Ending::Exited(code) => command::Ending::Exited(code),
                capability::command::Ending::Killed(signal) => command::Ending::Killed(signal),
            },
            stdout: response.stdout,
            stderr: response.stderr,
            stdout_truncated: response.stdout_truncated,
            stderr_truncated: response.stderr_truncated,
            duration_us: response.duration_us,
        }
    }
}

impl From<capability::command::Error> for command::Error {
    fn from(error: capability::command::Error) -> Self {
        use capability::command::Error;
        match error {
            Error::Denied(message) => Self::Denied(message),
            Error::InvalidArgument(message) => Self::InvalidArgument(message),
            Error::Unavailable(message) => Self::Unavailable(message),
            Error::TimedOut(message) => Self::TimedOut(message),
            Error::Stopped(message) => Self::Stopped(message),
        }
    }
}

impl From<net::IpFamily> for capability::net::IpFamily {
    fn from(family: net::IpFamily) -> Self {
        match family {
            net::IpFamily::Any => Self::Any,
            net::IpFamily::V4 => Self::V4,
            net::IpFamily::V6 => Self::V6,
        }
    }
}

impl From<net::TlsOptions> for capability::net::TlsOptions {
    fn from(options: net::TlsOptions) -> Self {
        Self {
            ca: options.ca,
            client_certificate: options.client_certificate.map(|certificate| {
                capability::net::ClientCertificate {
                    chain: certificate.chain,
                    key: certificate.key,
                }
            }),
            server_name: options.server_name,
            insecure: options.insecure,
        }
    }
}

impl From<capability::net::Timings> for net::Timings {
    fn from(timings: capability::net::Timings) -> Self {
        Self {
            resolve_us: timings.resolve_us,
            connect_us: timings.connect_us,
            tls_us: timings.tls_us,
            processing_us: timings.processing_us,
            transfer_us: timings.transfer_us,
        }
    }
}

impl From<capability::net::TlsFacts> for net::TlsFacts {
    fn from(facts: capability::net::TlsFacts) -> Self {
        Self {
            version: facts.version,
            cipher: facts.cipher,
            alpn: facts.alpn,
            certificates: facts
                .certificates
                .into_iter()
                .map(|certificate| net::Certificate {
                    subject: certificate.subject,
                    issuer: certificate.issuer,
                    names: certificate.names,
                    not_before: certificate.not_before,
                    not_after: certificate.not_after,
                    sha256: certificate.sha256,
                })
                .collect(),
        }
    }
}

impl From<capability::Failure> for net::Error {
    fn from(failure: capability::Failure) -> Self {
        use capability::{ErrorCode, Phase};
        Self {
            code: match failure.code {
                ErrorCode::Denied => net::ErrorCode::Denied,
                ErrorCode::InvalidRequest => net::ErrorCode::InvalidRequest,
                ErrorCode::NameNotFound => net::ErrorCode::NameNotFound,
                ErrorCode::ResolveFailed => net::ErrorCode::ResolveFailed,
                ErrorCode::ConnectionRefused => net::ErrorCode::ConnectionRefused,
                ErrorCode::ConnectionReset => net::ErrorCode::ConnectionReset,
                ErrorCode::Unreachable => net::ErrorCode::Unreachable,
                ErrorCode::Timeout => net::ErrorCode::Timeout,
                ErrorCode::CertificateExpired => net::ErrorCode::CertificateExpired,
                ErrorCode::CertificateNameMismatch => net::ErrorCode::CertificateNameMismatch,
                ErrorCode::CertificateUntrusted => net::ErrorCode::CertificateUntrusted,
                ErrorCode::TlsFailed => net::ErrorCode::TlsFailed,
                ErrorCode::Protocol => net::ErrorCode::Protocol,
                ErrorCode::TooManyRedirects => net::ErrorCode::TooManyRedirects,
                ErrorCode::Host => net::ErrorCode::Host,
            },
            phase: match failure.phase {
                Phase::Prepare => net::Phase::Prepare,
                Phase::Resolve => net::Phase::Resolve,
                Phase::Connect => net::Phase::Connect,
                Phase::Tls => net::Phase::Tls,
                Phase::Processing => net::Phase::Processing,
                Phase::Transfer => net::Phase::Transfer,
            },
            message: failure.message,
        }
    }
}

impl From<capability::docker::Container> for docker::Container {
    fn from(container: capability::docker::Container) -> Self {
        Self {
            id: container.id,
            name: container.name,
            image: container.image,
            state: container.state,
            exit_code: container.exit_code,
            health: container.health,
        }
    }
}

impl From<capability::docker::Error> for docker::Error {
    fn from(error: capability::docker::Error) -> Self {
        use capability::docker::Error;
        match error {
            Error::Denied(message) => Self::Denied(message),
            Error::NotFound(message) => Self::NotFound(message),
            Error::Rejected(message) => Self::Rejected(message),
            Error::Unavailable(message) => Self::Unavailable(message),
            Error::EffectUnknown(message) => Self::EffectUnknown(message),
        }
    }
}

impl From<capability::files::Error> for files::Error {
    fn from(error: capability::files::Error) -> Self {
        use capability::files::Error;
        match error {
            Error::Denied(message) => Self::Denied(message),
            Error::InvalidPath(message) => Self::InvalidPath(message),
            Error::InvalidLine(message) => Self::InvalidLine(message),
            Error::Io(message) => Self::Io(message),
        }
    }
}
