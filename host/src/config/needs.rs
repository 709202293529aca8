//! What a plugin needs to be granted, and the lines that would grant it.

use super::{plugins::DOCKER_SOCKET, schema::visit};
use crate::domain::{
    grant::{Grants, HostGrant, HttpGrant, Network, NetworkSet, TcpGrant},
    plugin::{Capability, Facts},
};
use serde_json::Value;

/// One line that is missing in `[plugins.NAME]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// `http` and the like.
    pub grant: &'static str,
    /// The whole line.
    pub line: String,
}

/// What the plugin imports and was not granted at all. A grant that is too narrow shows only when it is used.
pub(super) fn missing(facts: &Facts, grants: &Grants) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut add = |grant, line: String| missing.push(Missing { grant, line });
    let targets = Targets::of(facts);
    // Of two ways to the same grant only one asks for it.
    let first = |capability: &Capability| match capability {
        Capability::WasiHttp => !facts.needs.contains(&Capability::Http),
        Capability::Tls => !facts.needs.contains(&Capability::Tcp),
        Capability::WasiSockets => ![Capability::Tcp, Capability::Tls]
            .iter()
            .any(|other| facts.needs.contains(other)),
        _ => true,
    };
    for capability in &facts.needs {
        match capability {
            Capability::Http | Capability::WasiHttp if grants.http.is_empty() && first(capability) => {
                let url = targets.url.map_or("https://*.example.com".to_owned(), |name| {
                    format!("@settings.{name}")
                });
                add("http", format!("grants.http = [\"{url}\"]"));
            }
            Capability::WasiSockets if !grants.udp.is_empty() => {}
            Capability::Tcp | Capability::Tls | Capability::WasiSockets
                if grants.tcp.is_empty() && first(capability) =>
            {
                let address = targets.tcp().unwrap_or("db.example.com:5432".to_owned());
                add("tcp", format!("grants.tcp = [\"{address}\"]"));
            }
            Capability::Dns if grants.dns.is_empty() => {
                let server = targets.server.map_or("system".to_owned(), |name| {
                    format!("@settings.{name}\", \"system")
                });
                add("dns", format!("grants.dns = [\"{server}\"]"));
            }
            Capability::Icmp if grants.icmp.is_empty() => {
                let host = targets
                    .host
                    .map_or("gate.example.com".to_owned(), |name| format!("@settings.{name}"));
                add("icmp", format!("grants.icmp = [\"{host}\"]"));
            }
            Capability::Command if grants.commands.is_empty() => add(
                "commands",
                "grants.commands = [\"NAME\"] # as in [commands.NAME]".to_owned(),
            ),
            Capability::Docker if grants.docker.is_none() => add(
                "docker",
                format!("grants.docker = {{ containers = [\"web-*\"], socket = \"{DOCKER_SOCKET}\" }}"),
            ),
            Capability::Files if grants.directories.is_empty() => add(
                "directories",
                "grants.directories = [{ path = \"./alerts\", access = \"append\" }]".to_owned(),
            ),
            _ => {}
        }
    }
    let network = |capability: &Capability| match capability {
        Capability::Docker | Capability::Command | Capability::Files => false,
        // The system's own name servers are no plugin's choice.
        Capability::Dns => grants.dns.iter().any(|grant| *grant != TcpGrant::System),
        _ => true,
    };
    if grants.networks == NetworkSet::default() && facts.needs.iter().any(network) {
        add(
            "networks",
            "grants.networks = [\"public\", \"private\", \"loopback\"]".to_owned(),
        );
    }
    missing
}

/// Grants for a single probe by an operator who named the target: that target, wherever it is, and nothing else.
pub(super) fn implied(facts: &Facts) -> Grants {
    let targets = Targets::of(facts);
    let mut grants = Grants::default();
    for capability in &facts.needs {
        match capability {
            Capability::Http | Capability::WasiHttp if grants.http.is_empty() => grants
                .http
                .extend(targets.url.map(|name| HttpGrant::Settings(vec![name.to_owned()]))),
            Capability::Tcp | Capability::Tls | Capability::WasiSockets if grants.tcp.is_empty() => {
                grants.tcp.extend(targets.tcp_grant());
            }
            Capability::Dns if grants.dns.is_empty() => {
                grants.dns.push(TcpGrant::System);
                grants.dns.extend(targets.server.map(|name| TcpGrant::Settings {
                    host: vec![name.to_owned()],
                    port: None,
                }));
            }
            Capability::Icmp if grants.icmp.is_empty() => {
                let host = targets
                    .host
                    .map(|name| HostGrant::Settings(vec![name.to_owned()]));
                grants.icmp.extend(host);
            }
            // A container, a command or a directory is no target that a setting names; these are granted by hand.
            _ => {}
        }
    }
    let reaches = [
        !grants.http.is_empty(),
        !grants.tcp.is_empty(),
        !grants.dns.is_empty(),
        !grants.icmp.is_empty(),
    ];
    if reaches.contains(&true) {
        for network in [Network::Public, Network::Private, Network::Loopback] {
            grants.networks.insert(network);
        }
    }
    grants
}

/// The settings that name what is checked.
#[derive(Default)]
struct Targets<'f> {
    url: Option<&'f str>,
    address: Option<&'f str>,
    host: Option<&'f str>,
    port: Option<&'f str>,
    server: Option<&'f str>,
}

impl<'f> Targets<'f> {
    fn of(facts: &'f Facts) -> Self {
        let mut targets = Self::default();
        let mut any_uri = None;
        visit(
            &facts.schema,
            &facts.schema,
            &mut |name, schema: &Value| match name {
                "url" => targets.url = Some(name),
                "address" => targets.address = Some(name),
                "host" => targets.host = Some(name),
                "port" => targets.port = Some(name),
                "server" => targets.server = Some(name),
                _ if schema.get("format").and_then(Value::as_str) == Some("uri") => {
                    any_uri.get_or_insert(name);
                }
                _ => {}
            },
        );
        targets.url = targets.url.or(any_uri);
        targets
    }

    fn tcp(&self) -> Option<String> {
        match (self.address, self.host, self.port) {
            (Some(address), ..) => Some(format!("@settings.{address}")),
            (None, Some(host), Some(port)) => Some(format!("@settings.{host}:@settings.{port}")),
            _ => None,
        }
    }

    fn tcp_grant(&self) -> Option<TcpGrant> {
        match (self.address, self.host, self.port) {
            (Some(address), ..) => Some(TcpGrant::Settings {
                host: vec![address.to_owned()],
                port: None,
            }),
            (None, Some(host), Some(port)) => Some(TcpGrant::Settings {
                host: vec![host.to_owned()],
                port: Some(vec![port.to_owned()]),
            }),
            _ => None,
        }
    }
}
