//! Grants as they were written, and how those of a tenant narrow those of a plugin.
//!
//! Invariant: what a tenant is granted is covered by what the plugin is granted. Names and addresses are held against
//! both when they are used; what shows here already is an error at its line.

use super::{
    commands::{self, Commands},
    plugins::{dns_grant, http_grant, icmp_grant, read_directory, read_docker, read_network, tcp_grant},
    problem::Problem,
    read::{Reader, Spot, list},
    source::At,
    tree::Table,
};
use crate::domain::grant::{
    DirectoryGrant, DockerGrant, Grants, HostGrant, HostPattern, HttpGrant, Network, NetworkSet, TcpGrant,
};
use std::{path::Component, sync::Arc};

/// Keys of `grants`.
pub const KEYS_GRANTS: &[&str] = &[
    "commands",
    "directories",
    "dns",
    "docker",
    "http",
    "icmp",
    "networks",
    "tcp",
    "udp",
];

/// What a table of grants says. None: nothing about that.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    pub http: Option<Vec<Spot<HttpGrant>>>,
    pub tcp: Option<Vec<Spot<TcpGrant>>>,
    pub udp: Option<Vec<Spot<TcpGrant>>>,
    pub dns: Option<Vec<Spot<TcpGrant>>>,
    pub icmp: Option<Vec<Spot<HostGrant>>>,
    pub networks: Option<Vec<Spot<Network>>>,
    pub docker: Option<Spot<DockerGrant>>,
    /// By name.
    pub commands: Option<Vec<Spot<Arc<str>>>>,
    pub directories: Option<Vec<Spot<DirectoryGrant>>>,
}

impl Written {
    /// Reads a table of grants.
    pub fn read(reader: &mut Reader<'_>, table: &Table) -> Self {
        reader.known_keys(table, KEYS_GRANTS, "`grants`");
        let texts = |reader: &mut Reader<'_>, key| {
            table
                .get(key)
                .map(|node| reader.strings(node, &format!("grants.{key}")).unwrap_or_default())
        };
        let bad = |reader: &mut Reader<'_>, at, text: String, help| {
            reader.report(Problem::new("bad-grant", at, text).help(help));
        };
        let http = texts(reader, "http").map(|texts| {
            let grant = |text: Spot<Arc<str>>| match http_grant(&text.value) {
                Ok(value) => Some(Spot { at: text.at, value }),
                Err(wrong) => {
                    bad(reader, text.at, format!("this grants no URL: {wrong}"),
                        "write \"@settings.url\", \"https://*.example.com\" or \"http://10.0.0.1:8080\"; `:*` is any port");
                    None
                }
            };
            texts.into_iter().filter_map(grant).collect()
        });
        let pairs = |reader: &mut Reader<'_>, key| {
            type Read = fn(&str) -> Result<TcpGrant, String>;
            let texts = texts(reader, key)?;
            let (read, help): (Read, _) = match key {
                "dns" => (
                    dns_grant,
                    "write \"system\", \"@settings.server\", \"10.0.0.53:53\", \"ns1.example.com:53\" or \"*:53\"",
                ),
                _ => (
                    tcp_grant,
                    "write \"@settings.address\", \"@settings.host:@settings.port\", \"db.example.com:5432\", \"*.example.com:5432\" or \"*:*\"",
                ),
            };
            let grant = |text: Spot<Arc<str>>| match read(&text.value) {
                Ok(value) => Some(Spot { at: text.at, value }),
                Err(wrong) => {
                    bad(reader, text.at, format!("this grants no address: {wrong}"), help);
                    None
                }
            };
            Some(texts.into_iter().filter_map(grant).collect())
        };
        let (tcp, udp) = (pairs(reader, "tcp"), pairs(reader, "udp"));
        let dns = pairs(reader, "dns");
        let icmp = texts(reader, "icmp").map(|texts| {
            let grant = |text: Spot<Arc<str>>| match icmp_grant(&text.value) {
                Ok(value) => Some(Spot { at: text.at, value }),
                Err(wrong) => {
                    bad(reader, text.at, format!("this grants no host: {wrong}"),
                        "write \"@settings.host\", \"10.0.0.1\", \"gate.example.com\", \"*.example.com\" or \"*\"");
                    None
                }
            };
            texts.into_iter().filter_map(grant).collect()
        });
        let commands = texts(reader, "commands");
        let networks = texts(reader, "networks").map(|names| {
            let names = names.iter();
            names.filter_map(|name| read_network(reader, name)).collect()
        });
        let docker = table.get("docker").and_then(|node| {
            let value = read_docker(reader, node)?;
            Some(Spot { at: node.at, value })
        });
        let directories = table
            .get("directories")
            .and_then(|node| reader.array(node, "grants.directories", "tables"))
            .map(|items| {
                let directory = |item| read_directory(reader, item);
                items.iter().filter_map(directory).collect()
            });
        Self {
            http,
            tcp,
            udp,
            dns,
            icmp,
            networks,
            docker,
            commands,
            directories,
        }
    }

    /// The settings that grants name, and where.
    pub fn named_settings(&self) -> Vec<Spot<Vec<String>>> {
        let mut named = Vec::new();
        for grant in self.http.iter().flatten() {
            if let HttpGrant::Settings(path) = &grant.value {
                named.push(Spot {
                    at: grant.at,
                    value: path.clone(),
                });
            }
        }
        for grant in self.tcp.iter().chain(&self.udp).chain(&self.dns).flatten() {
            if let TcpGrant::Settings { host, port } = &grant.value {
                let paths = std::iter::once(host).chain(port);
                named.extend(paths.map(|path| Spot {
                    at: grant.at,
                    value: path.clone(),
                }));
            }
        }
        for grant in self.icmp.iter().flatten() {
            if let HostGrant::Settings(path) = &grant.value {
                named.push(Spot {
                    at: grant.at,
                    value: path.clone(),
                });
            }
        }
        named
    }

    /// What is granted, where nothing else is to be heeded.
    pub fn grants(&self, reader: &mut Reader<'_>, declared: &Commands) -> Grants {
        Grants {
            http: values(self.http.as_ref()),
            tcp: values(self.tcp.as_ref()),
            udp: values(self.udp.as_ref()),
            dns: values(self.dns.as_ref()),
            icmp: values(self.icmp.as_ref()),
            commands: commands::granted(reader, declared, self.commands.as_ref()),
            networks: set(self.networks.as_ref()),
            docker: self.docker.as_ref().map(|docker| docker.value.clone()),
            directories: values(self.directories.as_ref()),
            http_within: None,
            tcp_within: None,
            udp_within: None,
            dns_within: None,
            icmp_within: None,
            commands_within: None,
        }
    }

    /// What is left of a plugin's grants. What is wider than those is reported.
    pub fn narrow(
        &self,
        reader: &mut Reader<'_>,
        plugin: &str,
        defined: Option<At>,
        base: &Grants,
    ) -> Grants {
        let mut narrow = base.clone();
        let mut wide = |at, key: &str, present: Vec<String>| {
            let text = format!("this grants more than [plugins.{plugin}] does");
            let present: Vec<&str> = present.iter().map(String::as_str).collect();
            let help = match present.as_slice() {
                [] => format!("a tenant's grants can only be narrower; the plugin has no grants.{key}"),
                present => format!(
                    "a tenant's grants can only be narrower than grants.{key} of the plugin: {}",
                    list(present)
                ),
            };
            let mut problem = Problem::new("wider-grant", at, text).help(help);
            if let Some(defined) = defined {
                problem = problem.note(defined, "the plugin's own");
            }
            reader.report(problem);
        };
        if let Some(entries) = &self.http {
            for entry in entries {
                if !base.http.iter().any(|base| covers_http(base, &entry.value)) {
                    wide(
                        entry.at,
                        "http",
                        base.http.iter().map(ToString::to_string).collect(),
                    );
                }
            }
            narrow.http_within = Some(values(Some(entries)));
        }
        let mut pairs = |key, entries: &Option<Vec<Spot<TcpGrant>>>, base: &[TcpGrant]| {
            let entries = entries.as_ref()?;
            for entry in entries {
                if !base.iter().any(|base| covers_tcp(base, &entry.value)) {
                    wide(entry.at, key, base.iter().map(ToString::to_string).collect());
                }
            }
            Some(values(Some(entries)))
        };
        narrow.tcp_within = pairs("tcp", &self.tcp, &base.tcp);
        narrow.udp_within = pairs("udp", &self.udp, &base.udp);
        narrow.dns_within = pairs("dns", &self.dns, &base.dns);
        if let Some(entries) = &self.icmp {
            for entry in entries {
                if !base.icmp.iter().any(|base| covers_icmp(base, &entry.value)) {
                    let present = base.icmp.iter().map(ToString::to_string);
                    wide(entry.at, "icmp", present.collect());
                }
            }
            narrow.icmp_within = Some(values(Some(entries)));
        }
        if let Some(entries) = &self.commands {
            let is_granted = |name: &str| base.commands.iter().any(|command| &*command.name == name);
            for entry in entries.iter().filter(|entry| !is_granted(&entry.value)) {
                let present = base.commands.iter().map(|command| command.name.to_string());
                wide(entry.at, "commands", present.collect());
            }
            narrow.commands_within = Some(values(Some(entries)));
        }
        if let Some(entries) = &self.networks {
            let present = Network::ALL
                .into_iter()
                .filter(|network| base.networks.contains(*network));
            for entry in entries {
                if !base.networks.contains(entry.value) {
                    let names = present.clone().map(|network| network.name().to_owned());
                    wide(entry.at, "networks", names.collect());
                }
            }
            narrow.networks = NetworkSet::default();
            for network in present.filter(|network| entries.iter().any(|entry| entry.value == *network)) {
                narrow.networks.insert(network);
            }
        }
        if let Some(entry) = &self.docker {
            let present = base.docker.as_ref();
            let covered = present.is_some_and(|base| {
                base.socket == entry.value.socket
                    && entry.value.containers.iter().all(|name| {
                        base.containers
                            .iter()
                            .any(|pattern| covers_name(pattern.as_bytes(), name.as_bytes()))
                    })
            });
            if !covered {
                let names = present
                    .map(|docker| docker.containers.clone())
                    .unwrap_or_default();
                wide(entry.at, "docker", names);
            }
            narrow.docker = covered.then(|| entry.value.clone());
        }
        if let Some(entries) = &self.directories {
            let covered = |entry: &&Spot<DirectoryGrant>| {
                let path = &entry.value.path;
                let below = base.directories.iter().any(|base| path.starts_with(&base.path));
                below && !path.components().any(|part| part == Component::ParentDir)
            };
            for entry in entries.iter().filter(|entry| !covered(entry)) {
                let paths = base
                    .directories
                    .iter()
                    .map(|directory| directory.path.display().to_string());
                wide(entry.at, "directories", paths.collect());
            }
            let entries = entries.iter().filter(covered);
            narrow.directories = entries.map(|entry| entry.value.clone()).collect();
        }
        narrow
    }
}

fn values<T: Clone>(spots: Option<&Vec<Spot<T>>>) -> Vec<T> {
    let spots = spots.into_iter().flatten();
    spots.map(|spot| spot.value.clone()).collect()
}

fn set(networks: Option<&Vec<Spot<Network>>>) -> NetworkSet {
    let mut set = NetworkSet::default();
    for network in networks.into_iter().flatten() {
        set.insert(network.value);
    }
    set
}

/// Whether the first may cover all that the second does. Where the first names a setting, its value decides when it is
/// used, and must be covered by both then.
fn covers_http(base: &HttpGrant, narrow: &HttpGrant) -> bool {
    match (base, narrow) {
        (HttpGrant::Settings(_), HttpGrant::Pattern(_)) => true,
        (HttpGrant::Settings(base), HttpGrant::Settings(narrow)) => base == narrow,
        (HttpGrant::Pattern(base), HttpGrant::Pattern(narrow)) => {
            base.scheme == narrow.scheme
                && covers_host(&base.host, &narrow.host)
                && (base.port.is_none() || base.port == narrow.port)
        }
        // It is up to the tenant what its settings name.
        (HttpGrant::Pattern(_), HttpGrant::Settings(_)) => false,
    }
}

fn covers_tcp(base: &TcpGrant, narrow: &TcpGrant) -> bool {
    match (base, narrow) {
        (TcpGrant::Settings { .. }, TcpGrant::Pattern { .. }) => true,
        (TcpGrant::Settings { .. }, TcpGrant::Settings { .. }) => base == narrow,
        (
            TcpGrant::Pattern { host, port },
            TcpGrant::Pattern {
                host: narrow,
                port: narrow_port,
            },
        ) => covers_host(host, narrow) && (port.is_none() || port == narrow_port),
        (TcpGrant::System, TcpGrant::System) => true,
        (TcpGrant::Pattern { .. }, TcpGrant::Settings { .. })
        | (TcpGrant::System, _)
        | (_, TcpGrant::System) => false,
    }
}

fn covers_icmp(base: &HostGrant, narrow: &HostGrant) -> bool {
    match (base, narrow) {
        (HostGrant::Settings(_), HostGrant::Pattern(_)) => true,
        (HostGrant::Settings(base), HostGrant::Settings(narrow)) => base == narrow,
        (HostGrant::Pattern(base), HostGrant::Pattern(narrow)) => covers_host(base, narrow),
        // It is up to the tenant what its settings name.
        (HostGrant::Pattern(_), HostGrant::Settings(_)) => false,
    }
}

fn covers_host(base: &HostPattern, narrow: &HostPattern) -> bool {
    let below = |name: &str, suffix: &str| {
        let front = name
            .strip_suffix(suffix)
            .and_then(|front| front.strip_suffix('.'));
        front.is_some_and(|front| !front.is_empty())
    };
    match (base, narrow) {
        (HostPattern::Any, _) => true,
        (_, HostPattern::Any) | (HostPattern::Exact(_), HostPattern::Suffix(_)) => false,
        (HostPattern::Exact(base), HostPattern::Exact(narrow)) => base == narrow,
        (HostPattern::Suffix(base), HostPattern::Suffix(narrow)) => base == narrow || below(narrow, base),
        (HostPattern::Suffix(base), HostPattern::Exact(narrow)) => below(narrow, base),
    }
}

/// Whether a pattern with `*` covers everything that another one does: the other's `*` is only covered by its own.
fn covers_name(base: &[u8], narrow: &[u8]) -> bool {
    let (mut at, mut narrow_at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = narrow.get(narrow_at) {
        if base.get(at) == Some(&b'*') {
            star = Some((at, narrow_at));
            at += 1;
        } else if base.get(at) == Some(byte) {
            at += 1;
            narrow_at += 1;
        } else if let Some((star_at, from)) = star {
            star = Some((star_at, from + 1));
            at = star_at + 1;
            narrow_at = from + 1;
        } else {
            return false;
        }
    }
    base.get(at..)
        .unwrap_or_default()
        .iter()
        .all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrower_and_wider() {
        let http = |base, narrow| covers_http(&http_grant(base).unwrap(), &http_grant(narrow).unwrap());
        for (base, narrow) in [
            ("https://*.a.com", "https://b.a.com"),
            ("https://*.a.com", "https://*.b.a.com"),
            ("https://*.a.com:*", "https://b.a.com:8443"),
            ("https://*", "https://10.0.0.1"),
            ("@settings.url", "https://b.a.com"),
            ("@settings.url", "@settings.url"),
        ] {
            assert!(http(base, narrow), "{base} covers {narrow}");
        }
        for (base, narrow) in [
            ("https://*.a.com", "https://a.com"),
            ("https://*.a.com", "https://b.xa.com"),
            ("https://*.b.a.com", "https://*.a.com"),
            ("https://b.a.com", "https://*.a.com"),
            ("https://*.a.com", "https://*"),
            ("https://*.a.com", "http://b.a.com:443"),
            ("https://*.a.com", "https://b.a.com:*"),
            ("https://*", "@settings.url"),
            ("@settings.url", "@settings.proxy"),
        ] {
            assert!(!http(base, narrow), "{base} does not cover {narrow}");
        }
        let tcp = |base, narrow| covers_tcp(&tcp_grant(base).unwrap(), &tcp_grant(narrow).unwrap());
        assert!(tcp("*:*", "a:1") && tcp("@settings.address", "a:1") && tcp("*.a:1", "b.a:1"));
        assert!(!tcp("a:1", "a:2") && !tcp("a:1", "a:*") && !tcp("*:*", "@settings.address"));
    }

    #[test]
    fn hosts_that_may_be_asked_for_an_echo() {
        let icmp = |base, narrow| covers_icmp(&icmp_grant(base).unwrap(), &icmp_grant(narrow).unwrap());
        for (base, narrow) in [
            ("*", "10.0.0.1"),
            ("*.a.com", "b.a.com"),
            ("::1", "[::1]"),
            ("@settings.host", "10.0.0.1"),
            ("@settings.host", "@settings.host"),
        ] {
            assert!(icmp(base, narrow), "{base} covers {narrow}");
        }
        for (base, narrow) in [("*", "@settings.host"), ("10.0.0.1", "*"), ("*.a.com", "a.com")] {
            assert!(!icmp(base, narrow), "{base} does not cover {narrow}");
        }
    }

    #[test]
    fn names_of_containers() {
        for (base, narrow) in [
            ("*", "*"),
            ("web-*", "web-1"),
            ("web-*", "web-a*"),
            ("*a*", "xay"),
            ("a", "a"),
        ] {
            assert!(covers_name(base.as_bytes(), narrow.as_bytes()), "{base} {narrow}");
        }
        for (base, narrow) in [
            ("web-*", "*"),
            ("web-*", "we*"),
            ("a*c", "a*"),
            ("a", "*"),
            ("a", "b"),
            ("", "a"),
        ] {
            assert!(
                !covers_name(base.as_bytes(), narrow.as_bytes()),
                "{base} {narrow}"
            );
        }
    }
}
