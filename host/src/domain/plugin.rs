//! What is known about a plugin once it was loaded: its own description, and what its component says.

use super::spec::Kind;
use std::sync::Arc;

/// What the host lends and an operator grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// `grants.http` and `grants.networks`.
    Http,
    /// `grants.tcp` and `grants.networks`.
    Tcp,
    /// `grants.tcp` and `grants.networks`.
    Tls,
    /// `grants.dns`, and `grants.networks` for servers that the plugin names.
    Dns,
    /// `grants.icmp` and `grants.networks`.
    Icmp,
    /// `grants.docker`.
    Docker,
    /// `grants.commands`.
    Command,
    /// `grants.directories`.
    Files,
    /// `grants.http` and `grants.networks`, through the standard `wasi:http`.
    WasiHttp,
    /// `grants.tcp`, `grants.udp` and `grants.networks`, through the standard `wasi:sockets`.
    WasiSockets,
}

impl Capability {
    /// All capabilities that need a grant.
    pub const ALL: [Self; 10] = [
        Self::Http,
        Self::Tcp,
        Self::Tls,
        Self::Dns,
        Self::Icmp,
        Self::Docker,
        Self::Command,
        Self::Files,
        Self::WasiHttp,
        Self::WasiSockets,
    ];

    /// Its name in a manifest's `needs`: the interface's in `pulse:host`, or `wasi-` and the package's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dns => "dns",
            Self::Icmp => "icmp",
            Self::Docker => "docker",
            Self::Command => "command",
            Self::Files => "files",
            Self::WasiHttp => "wasi-http",
            Self::WasiSockets => "wasi-sockets",
        }
    }

    /// Whether a case can hold what is done through it, so that it can be recorded and played. Connections of the
    /// plugin's own can't be held.
    #[must_use]
    pub fn is_repeatable(self) -> bool {
        match self {
            Self::Http
            | Self::Tcp
            | Self::Tls
            | Self::Dns
            | Self::Icmp
            | Self::Docker
            | Self::Command
            | Self::Files => true,
            Self::WasiHttp | Self::WasiSockets => false,
        }
    }

    /// How the names of the interfaces begin that stand for it among a component's imports.
    #[must_use]
    pub fn imports(self) -> &'static [&'static str] {
        match self {
            Self::Http => &["pulse:host/http@"],
            Self::Tcp => &["pulse:host/tcp@"],
            Self::Tls => &["pulse:host/tls@"],
            Self::Dns => &["pulse:host/dns@"],
            Self::Icmp => &["pulse:host/icmp@"],
            Self::Docker => &["pulse:host/docker@"],
            Self::Command => &["pulse:host/command@"],
            Self::Files => &["pulse:host/files@"],
            Self::WasiHttp => &["wasi:http/outgoing-handler@"],
            // The rest of the package can be imported without being able to reach anything.
            Self::WasiSockets => &[
                "wasi:sockets/tcp-create-socket@",
                "wasi:sockets/udp-create-socket@",
                "wasi:sockets/ip-name-lookup@",
            ],
        }
    }
}

/// What the configuration needs to know about a plugin.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its name, everywhere.
    pub name: Arc<str>,
    /// SHA-256 of its component in hexadecimal.
    pub digest: Arc<str>,
    /// Semantic version.
    pub version: String,
    /// One line for people.
    pub summary: String,
    /// The kinds it exports, sorted.
    pub kinds: Vec<Kind>,
    /// What it imports and therefore needs grants for, sorted.
    pub needs: Vec<Capability>,
    /// JSON Schema (draft 2020-12) of its settings.
    pub schema: Arc<serde_json::Value>,
}
