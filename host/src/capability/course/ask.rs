//! A lent call and its answer, as plain values.

use crate::capability::{
    ErrorCode, Failure, Lease, Lender, Phase, Taint, command, dns, docker, files, handshake, http, icmp,
    log::one_line, net, tcp,
};
use crate::domain::secret::Secrets;

/// A lent call, as the guest made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `http.send`.
    Http(http::Request),
    /// `tcp.dialogue`.
    Tcp(tcp::Request),
    /// `tls.handshake`.
    Tls(handshake::Request),
    /// `dns.query`.
    Dns(dns::Request),
    /// `icmp.ping`.
    Ping(icmp::Request),
    /// `command.run`.
    Run(command::Request),
    /// `docker.restart`.
    Restart {
        /// The container.
        name: String,
        /// Seconds that it gets to stop.
        stop_timeout_s: u32,
    },
    /// `docker.start`.
    Start {
        /// The container.
        name: String,
    },
    /// `docker.stop`.
    Stop {
        /// The container.
        name: String,
        /// Seconds that it gets to stop.
        stop_timeout_s: u32,
    },
    /// `docker.inspect`.
    Inspect {
        /// The container.
        name: String,
    },
    /// `files.append-line`.
    Append {
        /// Below a granted directory.
        path: String,
        /// Without its line feed.
        line: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Of `http.send`.
    Http(Result<http::Response, Failure>),
    /// Of `tcp.dialogue`.
    Tcp(Result<tcp::Response, Failure>),
    /// Of `tls.handshake`.
    Tls(Result<handshake::Response, Failure>),
    /// Of `dns.query`.
    Dns(Result<dns::Response, Failure>),
    /// Of `icmp.ping`.
    Icmp(Result<icmp::Response, Failure>),
    /// Of `command.run`.
    Command(Result<command::Response, command::Failure>),
    /// Of what changes a container.
    Docker(Result<(), docker::Failure>),
    /// Of `docker.inspect`.
    Container(Result<docker::Container, docker::Failure>),
    /// Of `files.append-line`.
    Files(Result<(), files::Failure>),
}

impl Ask {
    /// The name of the interface.
    #[must_use]
    pub fn capability(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Tls(_) => "tls",
            Self::Dns(_) => "dns",
            Self::Ping(_) => "icmp",
            Self::Run(_) => "command",
            Self::Restart { .. } | Self::Start { .. } | Self::Stop { .. } | Self::Inspect { .. } => "docker",
            Self::Append { .. } => "files",
        }
    }

    /// What is asked for, in a few words: a target without what is sent to it.
    #[must_use]
    pub fn wanted(&self) -> String {
        one_line(&match self {
            Self::Http(request) => format!("{} {}", request.method, without_query(&request.url)),
            Self::Tcp(request) => format!("{}:{}", request.host, request.port),
            Self::Tls(request) => format!("{}:{}", request.host, request.port),
            Self::Dns(request) => format!("{} {}", request.kind.name(), request.name),
            Self::Ping(request) => request.host.clone(),
            Self::Run(request) => request.name.clone(),
            Self::Restart { name, .. } => format!("restart {name}"),
            Self::Start { name } => format!("start {name}"),
            Self::Stop { name, .. } => format!("stop {name}"),
            Self::Inspect { name } => format!("inspect {name}"),
            Self::Append { path, .. } => path.clone(),
        })
    }

    /// The same without what is a secret wherever it stands.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut ask = self.clone();
        super::notes::redact_ask(&mut ask, &Secrets::default());
        ask
    }

    /// The same as one line says it: what is asked of whom, and nothing that is sent.
    pub(super) fn outlined(&self) -> Self {
        match self {
            Self::Http(request) => Self::Http(http::Request {
                method: one_line(&request.method),
                url: one_line(&request.url),
                headers: Vec::new(),
                body: None,
                tls: None,
                ..*request
            }),
            Self::Tcp(request) => Self::Tcp(tcp::Request {
                host: one_line(&request.host),
                tls: None,
                steps: Vec::new(),
                ..*request
            }),
            Self::Tls(request) => Self::Tls(handshake::Request {
                host: one_line(&request.host),
                tls: net::TlsOptions::default(),
                alpn: Vec::new(),
                before: Vec::new(),
                ..*request
            }),
            Self::Dns(request) => Self::Dns(dns::Request {
                name: one_line(&request.name),
                server: request.server.as_deref().map(one_line),
                ..*request
            }),
            Self::Ping(request) => Self::Ping(icmp::Request {
                host: one_line(&request.host),
                ..*request
            }),
            Self::Run(request) => Self::Run(command::Request {
                name: one_line(&request.name),
                arguments: Vec::new(),
                ..*request
            }),
            Self::Restart { name, stop_timeout_s } => Self::Restart {
                name: one_line(name),
                stop_timeout_s: *stop_timeout_s,
            },
            Self::Start { name } => Self::Start { name: one_line(name) },
            Self::Stop { name, stop_timeout_s } => Self::Stop {
                name: one_line(name),
                stop_timeout_s: *stop_timeout_s,
            },
            Self::Inspect { name } => Self::Inspect { name: one_line(name) },
            Self::Append { path, .. } => Self::Append {
                path: one_line(path),
                line: String::new(),
            },
        }
    }

    /// How many header fields, steps, protocols and arguments it has.
    pub(super) fn items(&self) -> usize {
        match self {
            Self::Http(request) => request.headers.len(),
            Self::Tcp(request) => request.steps.len(),
            Self::Tls(request) => request.alpn.len() + request.before.len(),
            Self::Run(request) => request.arguments.len(),
            _ => 0,
        }
    }

    /// What of it the host refuses whatever is granted and reachable, because it is malformed.
    pub(super) fn refusal(&self) -> Option<Reply> {
        match self {
            Self::Http(request) => http::refusal(request).map(|failure| Reply::Http(Err(failure))),
            Self::Tcp(request) => tcp::refusal(request).map(|failure| Reply::Tcp(Err(failure))),
            Self::Tls(request) => handshake::refusal(request).map(|failure| Reply::Tls(Err(failure))),
            Self::Dns(request) => dns::refusal(request).map(|failure| Reply::Dns(Err(failure))),
            Self::Ping(request) => icmp::refusal(request).map(|failure| Reply::Icmp(Err(failure))),
            Self::Run(request) => command::refusal(request).map(|failure| Reply::Command(Err(failure))),
            Self::Inspect { name } => docker::refusal_of(name).map(|failure| Reply::Container(Err(failure))),
            Self::Restart { name, .. } | Self::Start { name } | Self::Stop { name, .. } => {
                docker::refusal_of(name).map(|failure| Reply::Docker(Err(failure)))
            }
            Self::Append { path, line } => {
                files::refusal(path, line).map(|failure| Reply::Files(Err(failure)))
            }
        }
    }

    /// What it means for this interface that the call failed so: that it was denied, or that no answer came.
    #[must_use]
    pub fn failed(&self, failure: Failure) -> Reply {
        let denied = failure.code == ErrorCode::Denied;
        let sent = failure.phase != Phase::Prepare;
        let docker = |failure: Failure| docker::Failure {
            error: if denied {
                docker::Error::Denied(failure.message)
            } else {
                docker::Error::Unavailable(failure.message)
            },
            taint: failure.taint,
        };
        match self {
            Self::Http(_) => Reply::Http(Err(failure)),
            Self::Tcp(_) => Reply::Tcp(Err(failure)),
            Self::Tls(_) => Reply::Tls(Err(failure)),
            Self::Dns(_) => Reply::Dns(Err(failure)),
            Self::Ping(_) => Reply::Icmp(Err(failure)),
            // What was begun may have had its effect.
            Self::Run(_) if sent && !denied => Reply::Command(Err(command::Failure {
                error: command::Error::TimedOut(failure.message),
                taint: failure.taint,
            })),
            Self::Run(_) => Reply::Command(Err(command::Failure::before(failure))),
            Self::Inspect { .. } => Reply::Container(Err(docker(failure))),
            Self::Restart { .. } | Self::Start { .. } | Self::Stop { .. } => {
                Reply::Docker(Err(if sent && !denied {
                    docker::Error::EffectUnknown(failure.message).into()
                } else {
                    docker(failure)
                }))
            }
            Self::Append { .. } => Reply::Files(Err(if denied {
                files::Failure {
                    error: files::Error::Denied(failure.message),
                    taint: failure.taint,
                }
            } else {
                files::Failure {
                    error: files::Error::Io(failure.message.clone()),
                    taint: Some(Taint::Host(failure.message)),
                }
            })),
        }
    }

    /// Milliseconds that the guest gives it.
    pub(super) fn timeout_ms(&self) -> Option<u32> {
        match self {
            Self::Http(request) => request.timeout_ms,
            Self::Tcp(request) => request.timeout_ms,
            Self::Tls(request) => request.timeout_ms,
            Self::Dns(request) => request.timeout_ms,
            Self::Ping(request) => request.timeout_ms,
            Self::Run(request) => request.timeout_ms,
            _ => None,
        }
    }

    /// Does it.
    pub(super) async fn really(self, lender: &Lender, lease: &Lease) -> Reply {
        use docker::Action;
        match self {
            Self::Http(request) => Reply::Http(http::send(lender, lease, request).await),
            Self::Tcp(request) => Reply::Tcp(tcp::dialogue(lender, lease, request).await),
            Self::Tls(request) => Reply::Tls(handshake::shake(lender, lease, request).await),
            Self::Dns(request) => Reply::Dns(dns::query(lender, lease, request).await),
            Self::Ping(request) => Reply::Icmp(icmp::ping(lender, lease, request).await),
            Self::Run(request) => Reply::Command(command::run(lender, lease, request).await),
            Self::Restart { name, stop_timeout_s } => {
                Reply::Docker(docker::act(lender, lease, &name, Action::Restart { stop_timeout_s }).await)
            }
            Self::Start { name } => Reply::Docker(docker::act(lender, lease, &name, Action::Start).await),
            Self::Stop { name, stop_timeout_s } => {
                Reply::Docker(docker::act(lender, lease, &name, Action::Stop { stop_timeout_s }).await)
            }
            Self::Inspect { name } => Reply::Container(docker::inspect(lender, lease, &name).await),
            Self::Append { path, line } => {
                Reply::Files(files::append_line(lender, lease, &path, &line).await)
            }
        }
    }

    /// Each set of options of TLS in it.
    pub(super) fn each_options(&mut self, see: &mut dyn FnMut(&mut net::TlsOptions)) {
        let steps = match self {
            Self::Http(request) => {
                request.tls.iter_mut().for_each(see);
                return;
            }
            Self::Tcp(request) => {
                request.tls.iter_mut().for_each(&mut *see);
                &mut request.steps
            }
            Self::Tls(request) => {
                see(&mut request.tls);
                &mut request.before
            }
            _ => return,
        };
        for step in steps {
            if let tcp::Step::StartTls(options) = step {
                see(options);
            }
        }
    }

    /// Every text and every run of bytes in it.
    pub(super) fn each_part(
        &mut self,
        text: &mut dyn FnMut(&mut String),
        bytes: &mut dyn FnMut(&mut Vec<u8>),
    ) {
        self.each_options(&mut |options| each_option(options, text));
        match self {
            Self::Http(request) => {
                text(&mut request.method);
                text(&mut request.url);
                each_field(&mut request.headers, text);
                request.body.iter_mut().for_each(&mut *bytes);
            }
            Self::Tcp(request) => {
                text(&mut request.host);
                each_step(&mut request.steps, bytes);
            }
            Self::Tls(request) => {
                text(&mut request.host);
                request.alpn.iter_mut().for_each(text);
                each_step(&mut request.before, bytes);
            }
            Self::Dns(request) => {
                text(&mut request.name);
                request.server.iter_mut().for_each(text);
            }
            Self::Ping(request) => text(&mut request.host),
            Self::Run(request) => {
                text(&mut request.name);
                for (name, value) in &mut request.arguments {
                    text(name);
                    text(value);
                }
            }
            Self::Restart { name, .. }
            | Self::Start { name }
            | Self::Stop { name, .. }
            | Self::Inspect { name } => text(name),
            Self::Append { path, line } => {
                text(path);
                text(line);
            }
        }
    }
}

fn each_field(headers: &mut [http::Header], text: &mut dyn FnMut(&mut String)) {
    for header in headers {
        text(&mut header.name);
        text(&mut header.value);
    }
}

/// What is sent and looked for, without options of TLS.
fn each_step(steps: &mut [tcp::Step], bytes: &mut dyn FnMut(&mut Vec<u8>)) {
    for step in steps {
        if let tcp::Step::Send(part) | tcp::Step::Expect(tcp::Expectation::Contains(part)) = step {
            bytes(part);
        }
    }
}

fn each_fact(facts: &mut net::TlsFacts, text: &mut dyn FnMut(&mut String)) {
    text(&mut facts.version);
    text(&mut facts.cipher);
    facts.alpn.iter_mut().for_each(&mut *text);
    for certificate in &mut facts.certificates {
        text(&mut certificate.subject);
        text(&mut certificate.issuer);
        certificate.names.iter_mut().for_each(&mut *text);
    }
}

fn each_option(options: &mut net::TlsOptions, text: &mut dyn FnMut(&mut String)) {
    for part in [&mut options.ca, &mut options.server_name].into_iter().flatten() {
        text(part);
    }
    if let Some(certificate) = &mut options.client_certificate {
        text(&mut certificate.chain);
        text(&mut certificate.key);
    }
}

impl Reply {
    /// Why the execution says nothing about its target any more, if so.
    #[must_use]
    pub fn taint(&self) -> Option<&Taint> {
        match self {
            Self::Http(Err(failure))
            | Self::Tcp(Err(failure))
            | Self::Tls(Err(failure))
            | Self::Dns(Err(failure))
            | Self::Icmp(Err(failure)) => failure.taint.as_ref(),
            Self::Command(Err(failure)) => failure.taint.as_ref(),
            Self::Docker(Err(failure)) | Self::Container(Err(failure)) => failure.taint.as_ref(),
            Self::Files(Err(failure)) => failure.taint.as_ref(),
            _ => None,
        }
    }

    /// In a few words.
    #[must_use]
    pub fn words(&self) -> String {
        let docker = |failure: &docker::Failure| {
            let (docker::Error::Denied(message)
            | docker::Error::NotFound(message)
            | docker::Error::Rejected(message)
            | docker::Error::Unavailable(message)
            | docker::Error::EffectUnknown(message)) = &failure.error;
            message.clone()
        };
        one_line(&match self {
            Self::Http(Ok(response)) => format!("{}, {} bytes", response.status, response.body.len()),
            Self::Tcp(Ok(response)) => match response.unmet {
                None => format!("{} bytes", response.received.len()),
                Some(step) => format!("{} bytes, step {step} unmet", response.received.len()),
            },
            Self::Tls(Ok(response)) => match &response.refusal {
                None => response.tls.version.clone(),
                Some(refusal) => format!("{}, {}", response.tls.version, refusal.code.name()),
            },
            Self::Dns(Ok(response)) => format!("{}, {} records", response.rcode, response.answers.len()),
            Self::Icmp(Ok(response)) => {
                format!("{} of {} answered", response.replies.len(), response.sent)
            }
            Self::Command(Ok(response)) => {
                let ended = match response.ending {
                    command::Ending::Exited(code) => format!("exited with {code}"),
                    command::Ending::Killed(signal) => format!("killed by signal {signal}"),
                };
                format!("{ended}, {} bytes", response.stdout.len() + response.stderr.len())
            }
            Self::Command(Err(failure)) => failure.error.message().to_owned(),
            Self::Http(Err(failure))
            | Self::Tcp(Err(failure))
            | Self::Tls(Err(failure))
            | Self::Dns(Err(failure))
            | Self::Icmp(Err(failure)) => {
                format!("{}: {}", failure.code.name(), failure.message)
            }
            Self::Docker(Ok(())) | Self::Files(Ok(())) => "done".to_owned(),
            Self::Container(Ok(container)) => container.state.clone(),
            Self::Docker(Err(failure)) | Self::Container(Err(failure)) => docker(failure),
            Self::Files(Err(failure)) => {
                let (files::Error::Denied(message)
                | files::Error::InvalidPath(message)
                | files::Error::InvalidLine(message)
                | files::Error::Io(message)) = &failure.error;
                message.clone()
            }
        })
    }

    /// How many header fields, records, echoes, certificates and names in them it has.
    pub(super) fn items(&self) -> usize {
        let of = |facts: Option<&net::TlsFacts>| {
            let certificates = facts.into_iter().flat_map(|facts| &facts.certificates);
            certificates.fold(0, |sum, one| sum + 1 + one.names.len())
        };
        match self {
            Self::Http(Ok(response)) => response.headers.len() + of(response.tls.as_ref()),
            Self::Tcp(Ok(response)) => of(response.tls.as_ref()),
            Self::Tls(Ok(response)) => response.chain.len() + of(Some(&response.tls)),
            Self::Dns(Ok(response)) => response.answers.len(),
            Self::Icmp(Ok(response)) => response.replies.len(),
            _ => 0,
        }
    }

    /// Every text and every run of bytes in it that a peer, or this host in its place, has said.
    pub(super) fn each_part(
        &mut self,
        text: &mut dyn FnMut(&mut String),
        bytes: &mut dyn FnMut(&mut Vec<u8>),
    ) {
        let failed = |failure: &mut Failure, text: &mut dyn FnMut(&mut String)| {
            text(&mut failure.message);
            each_taint(&mut failure.taint, text);
        };
        match self {
            Self::Http(Ok(response)) => {
                text(&mut response.url);
                each_field(&mut response.headers, text);
                bytes(&mut response.body);
                response.tls.iter_mut().for_each(|facts| each_fact(facts, text));
            }
            Self::Tcp(Ok(response)) => {
                bytes(&mut response.received);
                response.tls.iter_mut().for_each(|facts| each_fact(facts, text));
            }
            Self::Tls(Ok(response)) => {
                each_fact(&mut response.tls, text);
                response.chain.iter_mut().for_each(bytes);
                response
                    .refusal
                    .iter_mut()
                    .for_each(|failure| failed(failure, text));
            }
            Self::Dns(Ok(response)) => {
                text(&mut response.rcode);
                for answer in &mut response.answers {
                    text(&mut answer.name);
                    text(&mut answer.kind);
                    text(&mut answer.data);
                }
            }
            Self::Command(Ok(response)) => {
                text(&mut response.stdout);
                text(&mut response.stderr);
            }
            Self::Http(Err(failure))
            | Self::Tcp(Err(failure))
            | Self::Tls(Err(failure))
            | Self::Dns(Err(failure))
            | Self::Icmp(Err(failure)) => failed(failure, text),
            Self::Icmp(Ok(_)) | Self::Docker(Ok(())) | Self::Files(Ok(())) => {}
            Self::Command(Err(failure)) => {
                text(failure.error.message_mut());
                each_taint(&mut failure.taint, text);
            }
            Self::Container(Ok(container)) => {
                text(&mut container.id);
                text(&mut container.name);
                text(&mut container.image);
                text(&mut container.state);
                container.health.iter_mut().for_each(text);
            }
            Self::Docker(Err(failure)) | Self::Container(Err(failure)) => {
                let (docker::Error::Denied(message)
                | docker::Error::NotFound(message)
                | docker::Error::Rejected(message)
                | docker::Error::Unavailable(message)
                | docker::Error::EffectUnknown(message)) = &mut failure.error;
                text(message);
                each_taint(&mut failure.taint, text);
            }
            Self::Files(Err(failure)) => {
                let (files::Error::Denied(message)
                | files::Error::InvalidPath(message)
                | files::Error::InvalidLine(message)
                | files::Error::Io(message)) = &mut failure.error;
                text(message);
                each_taint(&mut failure.taint, text);
            }
        }
    }
}

fn each_taint(taint: &mut Option<Taint>, text: &mut dyn FnMut(&mut String)) {
    match taint {
        Some(Taint::Denied(denial)) => text(&mut denial.wanted),
        Some(Taint::Quota(message) | Taint::Capacity(message) | Taint::Host(message)) => text(message),
        None => {}
    }
}

/// What stands behind `?` is as often a password as it is not.
fn without_query(url: &str) -> &str {
    url.split_once('?').map_or(url, |(url, _)| url)
}
