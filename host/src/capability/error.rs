//! Why a lent network call failed, in the vocabulary of `net.wit`, and whose trouble that is.
//!
//! Architecture invariant: what the host could not do for a reason of its own carries a [`Taint`], so that no
//! monitor turns red because its prober ran out of descriptors.

use super::{Taint, log::one_line};
use crate::domain::outcome::Denial;
use std::{
    error::Error as StdError,
    fmt, io,
    net::{IpAddr, SocketAddr},
};

/// What went wrong: `net.error-code`, one to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// No grant covers it.
    Denied,
    /// The request itself is malformed.
    InvalidRequest,
    /// The name does not exist.
    NameNotFound,
    /// The name could not be looked up, for a reason of the resolver's.
    ResolveFailed,
    /// Nothing listens there.
    ConnectionRefused,
    /// The peer broke the connection off.
    ConnectionReset,
    /// No route to the network or host.
    Unreachable,
    /// The time was up.
    Timeout,
    /// The certificate's validity has ended, or not begun.
    CertificateExpired,
    /// The certificate is for another name.
    CertificateNameMismatch,
    /// The certificate is not trusted.
    CertificateUntrusted,
    /// The handshake failed otherwise.
    TlsFailed,
    /// The peer broke the rules of the protocol.
    Protocol,
    /// More redirects than allowed.
    TooManyRedirects,
    /// The host itself could not do it.
    Host,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 15] = [
        Self::Denied,
        Self::InvalidRequest,
        Self::NameNotFound,
        Self::ResolveFailed,
        Self::ConnectionRefused,
        Self::ConnectionReset,
        Self::Unreachable,
        Self::Timeout,
        Self::CertificateExpired,
        Self::CertificateNameMismatch,
        Self::CertificateUntrusted,
        Self::TlsFailed,
        Self::Protocol,
        Self::TooManyRedirects,
        Self::Host,
    ];

    /// Its name in the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::InvalidRequest => "invalid-request",
            Self::NameNotFound => "name-not-found",
            Self::ResolveFailed => "resolve-failed",
            Self::ConnectionRefused => "connection-refused",
            Self::ConnectionReset => "connection-reset",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNameMismatch => "certificate-name-mismatch",
            Self::CertificateUntrusted => "certificate-untrusted",
            Self::TlsFailed => "tls-failed",
            Self::Protocol => "protocol",
            Self::TooManyRedirects => "too-many-redirects",
            Self::Host => "host",
        }
    }
}

/// A part of an exchange: `net.phase`, one to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Before anything was sent: checking the request and its grants.
    Prepare,
    /// Looking the name up.
    Resolve,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the request sent to the first byte of the answer; or a dialogue.
    Processing,
    /// From the first byte of the answer to the last.
    Transfer,
}

impl Phase {
    /// All phases.
    pub const ALL: [Self; 6] = [
        Self::Prepare,
        Self::Resolve,
        Self::Connect,
        Self::Tls,
        Self::Processing,
        Self::Transfer,
    ];

    /// Its name in the interface.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Processing => "processing",
            Self::Transfer => "transfer",
        }
    }
}

/// An exchange that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub code: ErrorCode,
    /// Where in the exchange.
    pub phase: Phase,
    /// One line for people, without control characters.
    pub message: String,
    /// Set when the execution can say nothing about its target any more.
    pub taint: Option<Taint>,
}

impl Failure {
    /// A failure that is the target's or the guest's.
    pub(super) fn new(code: ErrorCode, phase: Phase, message: impl AsRef<str>) -> Self {
        Self {
            code,
            phase,
            message: one_line(message.as_ref()),
            taint: None,
        }
    }

    /// The guest asked for something malformed.
    pub(super) fn invalid(message: impl AsRef<str>) -> Self {
        Self::new(ErrorCode::InvalidRequest, Phase::Prepare, message)
    }

    /// The host's own trouble.
    pub(super) fn host(phase: Phase, message: impl AsRef<str>) -> Self {
        Self::new(ErrorCode::Host, phase, message).tainted()
    }

    /// No grant covers it.
    pub(super) fn denied(phase: Phase, denial: Denial) -> Self {
        let message = format!("no grant covers {}; to allow it: {}", denial.wanted, denial.grant);
        Self {
            taint: Some(Taint::Denied(denial)),
            ..Self::new(ErrorCode::Denied, phase, message)
        }
    }

    /// The tenant has used that quota up.
    pub(super) fn quota(phase: Phase, message: impl AsRef<str>) -> Self {
        let failure = Self::new(ErrorCode::Host, phase, format!("quota: {}", message.as_ref()));
        Self {
            taint: Some(Taint::Quota(failure.message.clone())),
            ..failure
        }
    }

    /// The same failure, as trouble of the host's.
    pub(super) fn tainted(mut self) -> Self {
        self.taint = Some(Taint::Host(self.message.clone()));
        self
    }

    /// The same failure, with the address that was tried: a name may have several.
    pub(super) fn at(self, address: SocketAddr) -> Self {
        self.with(address)
    }

    /// The same where there is no port.
    pub(super) fn at_host(self, address: IpAddr) -> Self {
        self.with(address)
    }

    fn with(mut self, address: impl fmt::Display) -> Self {
        self.message = one_line(&format!("{address}: {}", self.message));
        if let Some(Taint::Host(message) | Taint::Capacity(message) | Taint::Quota(message)) = &mut self.taint
        {
            message.clone_from(&self.message);
        }
        self
    }

    /// Of the failures of several addresses the one to report: the first tells most, but one that only says that this
    /// family or network is not to be had here tells least. `told` is what the addresses before came to.
    pub(super) fn or_what_tells_more(self, told: Option<Self>) -> Self {
        let vague = |failure: &Self| matches!(failure.code, ErrorCode::Unreachable | ErrorCode::Host);
        match told {
            Some(first) if !vague(&first) || vague(&self) => first,
            _ => self,
        }
    }

    /// What an error of the operating system's means in that phase.
    pub(super) fn io(phase: Phase, error: &io::Error) -> Self {
        if let Some(tls) = find::<rustls::Error>(error) {
            return Self::tls(phase, tls);
        }
        let message = error.to_string();
        if let Some(code) = peer_code(error.kind()) {
            // Of the system's own errors the kind says as much, without a number that nobody looks up.
            let kind = error.raw_os_error().map(|_| error.kind().to_string());
            return Self::new(code, phase, kind.unwrap_or(message));
        }
        match Blame::of(error) {
            Blame::Host => Self::host(phase, message),
            Blame::Peer if phase == Phase::Tls => Self::new(ErrorCode::TlsFailed, phase, message),
            Blame::Peer => Self::new(ErrorCode::Protocol, phase, message),
        }
    }

    /// What an error of the TLS library's means.
    pub(super) fn tls(phase: Phase, error: &rustls::Error) -> Self {
        use rustls::CertificateError as C;
        let code = match error {
            rustls::Error::InvalidCertificate(
                C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. },
            ) => ErrorCode::CertificateExpired,
            rustls::Error::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
                ErrorCode::CertificateNameMismatch
            }
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
                ErrorCode::CertificateUntrusted
            }
            rustls::Error::FailedToGetCurrentTime | rustls::Error::FailedToGetRandomBytes => {
                return Self::host(phase, error.to_string());
            }
            _ => ErrorCode::TlsFailed,
        };
        Self::new(code, phase, error.to_string())
    }

    /// What an error of the HTTP library's means in that phase.
    pub(super) fn hyper(phase: Phase, error: &hyper::Error) -> Self {
        if let Some(io) = find::<io::Error>(error) {
            return Self::io(phase, io);
        }
        if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
            return Self::new(
                ErrorCode::ConnectionReset,
                phase,
                "the peer closed the connection before the answer was complete",
            );
        }
        Self::new(ErrorCode::Protocol, phase, causes(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Failure {}

/// Whose trouble an error of the operating system's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// The other side's.
    Peer,
    /// Descriptors, ports, memory, a firewall or an interface of this host.
    Host,
}

impl Blame {
    pub(super) fn of(error: &io::Error) -> Self {
        use io::ErrorKind as K;
        use rustix::io::Errno;
        let own = [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::ADDRNOTAVAIL,
            Errno::ACCESS,
            Errno::PERM,
            Errno::NETDOWN,
            Errno::AFNOSUPPORT,
        ];
        let by_number = error
            .raw_os_error()
            .is_some_and(|number| own.iter().any(|errno| errno.raw_os_error() == number));
        let by_kind = matches!(
            error.kind(),
            K::OutOfMemory | K::AddrNotAvailable | K::PermissionDenied | K::NetworkDown
        );
        if by_number || by_kind {
            Self::Host
        } else {
            Self::Peer
        }
    }
}

fn peer_code(kind: io::ErrorKind) -> Option<ErrorCode> {
    use io::ErrorKind as K;
    Some(match kind {
        K::ConnectionRefused => ErrorCode::ConnectionRefused,
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof | K::NotConnected => {
            ErrorCode::ConnectionReset
        }
        K::HostUnreachable | K::NetworkUnreachable => ErrorCode::Unreachable,
        K::TimedOut => ErrorCode::Timeout,
        _ => return None,
    })
}

/// The first cause of that type, the error itself included. An `io::Error` hides what it wraps from `source`.
fn find<'e, T: StdError + 'static>(error: &'e (dyn StdError + 'static)) -> Option<&'e T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        line = format!("{line}: {error}");
        next = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    fn io(errno: Errno) -> Failure {
        Failure::io(
            Phase::Connect,
            &io::Error::from_raw_os_error(errno.raw_os_error()),
        )
    }

    #[test]
    fn of_several_failures_the_first_that_is_not_of_this_network_is_told() {
        let told = |errnos: &[Errno]| {
            let mut told = None;
            for (index, errno) in (1..).zip(errnos) {
                let failure = io(*errno).at(SocketAddr::from(([127, 0, 0, index], 53)));
                told = Some(failure.or_what_tells_more(told));
            }
            told.unwrap().message
        };
        let (refused, reset) = (Errno::CONNREFUSED, Errno::CONNRESET);
        let (unreachable, own) = (Errno::NETUNREACH, Errno::MFILE);
        assert!(told(&[refused, reset]).starts_with("127.0.0.1:53: "));
        assert!(told(&[unreachable, refused, reset]).starts_with("127.0.0.2:53: "));
        assert!(told(&[own, unreachable, reset]).starts_with("127.0.0.3:53: "));
        assert!(told(&[unreachable, own]).starts_with("127.0.0.1:53: "));
        assert!(told(&[refused, own]).starts_with("127.0.0.1:53: "));
    }

    #[test]
    fn the_peers_errors_taint_nothing() {
        for (errno, code) in [
            (Errno::CONNREFUSED, ErrorCode::ConnectionRefused),
            (Errno::CONNRESET, ErrorCode::ConnectionReset),
            (Errno::PIPE, ErrorCode::ConnectionReset),
            (Errno::HOSTUNREACH, ErrorCode::Unreachable),
            (Errno::NETUNREACH, ErrorCode::Unreachable),
            (Errno::TIMEDOUT, ErrorCode::Timeout),
        ] {
            let failure = io(errno);
            assert_eq!((failure.code, failure.taint), (code, None), "{errno:?}");
        }
    }

    #[test]
    fn the_hosts_own_errors_taint() {
        for errno in [
            Errno::MFILE,
            Errno::NFILE,
            Errno::NOBUFS,
            Errno::NOMEM,
            Errno::ADDRNOTAVAIL,
            Errno::PERM,
            Errno::ACCESS,
            Errno::NETDOWN,
        ] {
            let failure = io(errno);
            assert_eq!(failure.code, ErrorCode::Host, "{errno:?}");
            assert!(matches!(failure.taint, Some(Taint::Host(_))), "{errno:?}");
        }
    }

    #[test]
    fn certificate_errors_are_found_inside_io_errors() {
        use rustls::CertificateError as C;
        for (error, code) in [
            (C::Expired, ErrorCode::CertificateExpired),
            (C::NotValidYet, ErrorCode::CertificateExpired),
            (C::NotValidForName, ErrorCode::CertificateNameMismatch),
            (C::UnknownIssuer, ErrorCode::CertificateUntrusted),
        ] {
            let error = rustls::Error::InvalidCertificate(error);
            let wrapped = io::Error::new(io::ErrorKind::InvalidData, error);
            assert_eq!(Failure::io(Phase::Tls, &wrapped).code, code);
        }
    }

    #[test]
    fn messages_are_one_line() {
        let failure = Failure::invalid("a\nb\u{1b}[31m");
        assert_eq!(failure.message, "a\\nb\\u{1b}[31m");
    }
}
