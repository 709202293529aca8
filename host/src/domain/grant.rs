//! Grants: what a plugin may reach. Data and matching; asking and enforcing is `capability/`.

use super::command::Command;
use std::{fmt, sync::Arc};

/// Everything that one plugin was granted. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// `grants.http`: which URLs.
    pub http: Vec<HttpGrant>,
    /// `grants.tcp`: which `host:port` pairs.
    pub tcp: Vec<TcpGrant>,
    /// `grants.udp`: the same for datagrams.
    pub udp: Vec<TcpGrant>,
    /// `grants.dns`: which name servers.
    pub dns: Vec<TcpGrant>,
    /// `grants.icmp`: whom echo requests may be sent to.
    pub icmp: Vec<HostGrant>,
    /// `grants.networks`: which classes of address, for all of these alike.
    pub networks: NetworkSet,
    /// `grants.docker`.
    pub docker: Option<DockerGrant>,
    /// `grants.commands`: what the operator declared under the names that stand there, sorted by name.
    pub commands: Vec<Arc<Command>>,
    /// `grants.directories`.
    pub directories: Vec<DirectoryGrant>,
    /// What a tenant's own grants for the plugin leave of `http`: a URL must be covered by both. None: all.
    pub http_within: Option<Vec<HttpGrant>>,
    /// The same of `tcp`.
    pub tcp_within: Option<Vec<TcpGrant>>,
    /// The same of `udp`.
    pub udp_within: Option<Vec<TcpGrant>>,
    /// The same of `dns`.
    pub dns_within: Option<Vec<TcpGrant>>,
    /// The same of `icmp`.
    pub icmp_within: Option<Vec<HostGrant>>,
    /// The same of `commands`, by name.
    pub commands_within: Option<Vec<Arc<str>>>,
}

/// One entry of `grants.http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpGrant {
    /// `@settings.url`: scheme, host and port of the URL that stands there in the job's own settings. Holds the
    /// path below `settings`, such as `["url"]`.
    Settings(Vec<String>),
    /// `https://*.example.com:443`.
    Pattern(UrlPattern),
}

/// One entry of `grants.tcp`, `grants.udp` or `grants.dns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpGrant {
    /// `@settings.host:@settings.port` is written `@settings.address` where one setting holds both, or
    /// `["host", "port"]` paths where two do.
    Settings {
        /// Path below `settings` of the host, or of `host:port` when `port` is none.
        host: Vec<String>,
        /// Path below `settings` of the port.
        port: Option<Vec<String>>,
    },
    /// `*.example.com:5432`; `*` as port is any port.
    Pattern {
        /// The host part.
        host: HostPattern,
        /// None: any port.
        port: Option<u16>,
    },
    /// `system`: the name servers of the system's own configuration. In `grants.dns` only.
    System,
}

/// One entry of `grants.icmp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostGrant {
    /// `@settings.host`: the host that stands there in the job's own settings. Holds the path below `settings`.
    Settings(Vec<String>),
    /// `*.example.com`, `10.0.0.1`, `*`.
    Pattern(HostPattern),
}

/// `scheme://host[:port]`, as in `https://*.example.com:443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPattern {
    /// `http` or `https`.
    pub scheme: String,
    /// The host part.
    pub host: HostPattern,
    /// None: any port (`:*`). Without a port in the pattern, the scheme's default.
    pub port: Option<u16>,
}

/// A host name, an address, `*.suffix` (at least one label before it), or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Any name or address.
    Any,
    /// This very name or address, lower case.
    Exact(String),
    /// Names that end in `.suffix`, lower case, stored without the leading `*.`.
    Suffix(String),
}

impl fmt::Display for HttpGrant {
    /// As it is written in `grants.http`, always with the port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(path) => write!(f, "@settings.{}", path.join(".")),
            Self::Pattern(UrlPattern { scheme, host, port }) => {
                write!(f, "{scheme}://{host}:{}", ShownPort(*port))
            }
        }
    }
}

impl fmt::Display for TcpGrant {
    /// As it is written in `grants.tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings { host, port: None } => write!(f, "@settings.{}", host.join(".")),
            Self::Settings {
                host,
                port: Some(port),
            } => write!(f, "@settings.{}:@settings.{}", host.join("."), port.join(".")),
            Self::Pattern { host, port } => write!(f, "{host}:{}", ShownPort(*port)),
            Self::System => f.write_str("system"),
        }
    }
}

impl fmt::Display for HostGrant {
    /// As it is written in `grants.icmp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(path) => write!(f, "@settings.{}", path.join(".")),
            Self::Pattern(pattern) => pattern.fmt(f),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(text) if text.contains(':') && !text.starts_with('[') => write!(f, "[{text}]"),
            Self::Exact(text) => f.write_str(text),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

struct ShownPort(Option<u16>);

impl fmt::Display for ShownPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(port) => port.fmt(f),
            None => f.write_str("*"),
        }
    }
}

/// Classes of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// Globally reachable unicast.
    Public,
    /// RFC 1918, unique local IPv6, shared address space (RFC 6598).
    Private,
    /// 127.0.0.0/8 and ::1.
    Loopback,
    /// 169.254.0.0/16 and fe80::/10, where metadata services live.
    LinkLocal,
}

impl Network {
    /// All classes.
    pub const ALL: [Self; 4] = [Self::Public, Self::Private, Self::Loopback, Self::LinkLocal];

    /// The class's name as it stands in `grants.networks`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
        }
    }

    /// The class of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|network| network.name() == name)
    }
}

/// A set of address classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NetworkSet(u8);

impl NetworkSet {
    /// Adds a class.
    pub fn insert(&mut self, network: Network) {
        self.0 |= 1 << network as u8;
    }

    /// Whether the class is in the set.
    #[must_use]
    pub fn contains(self, network: Network) -> bool {
        self.0 & (1 << network as u8) != 0
    }
}

/// `grants.docker`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerGrant {
    /// Container names; `*` stands for any run of characters.
    pub containers: Vec<String>,
    /// Path of the engine's unix socket.
    pub socket: std::path::PathBuf,
}

/// One entry of `grants.directories`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryGrant {
    /// The directory, absolute (the configuration file's own directory is the base of a relative one).
    pub path: std::path::PathBuf,
}
