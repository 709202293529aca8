//! Who may do what over HTTP: `[host.http]`, validated.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// What somebody may do. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Say something of monitors: pause, acknowledge, maintenance, silences, check now.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The role's name in configuration and API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Bytes of a SHA-256.
pub type Digest = [u8; 32];

/// Who shows a token with that digest may do what the role may. The token itself is known to whoever was given it only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is called in the log and where its deeds are told.
    pub name: Arc<str>,
    /// SHA-256 of the token.
    pub digest: Digest,
    /// What it is good for.
    pub role: Role,
    /// Whose monitors only; none: everybody's.
    pub tenant: Option<Arc<str>>,
}

/// What is told to a peer on this machine that shows no token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// Whether the host is alive and ready, and nothing else.
    Health,
    /// That, and the host's own figures.
    #[default]
    Metrics,
    /// That, and whatever a viewer may see.
    Viewer,
}

impl Anonymous {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Health, Self::Metrics, Self::Viewer];

    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Viewer => "viewer",
        }
    }
}

/// Certificate and key for TLS, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and the root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `[host.http]`, validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where to listen; none: nowhere. Port 0: any that is free.
    pub listen: Option<SocketAddr>,
    /// Names beside addresses and `localhost` by which the host may be called: in `Host` of a request.
    pub names: Vec<String>,
    /// What somebody on this machine is told without a token.
    pub anonymous: Anonymous,
    /// None: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whom to believe.
    pub tokens: Vec<Token>,
    /// Connections at the same time; at least 1.
    pub connections: usize,
    /// How long one request may take, but for streams; and how long its head may take to come.
    pub timeout: Duration,
}

/// Where the host listens if nothing else is said.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:9273";

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN.parse().ok(),
            names: Vec::new(),
            anonymous: Anonymous::default(),
            tls: None,
            tokens: Vec::new(),
            connections: 256,
            timeout: Duration::from_secs(30),
        }
    }
}
