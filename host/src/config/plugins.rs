//! `[plugins.NAME]`: what a plugin may reach and use.

use super::{
    commands::Commands,
    grants::Written,
    layer::PartialLimits,
    problem::Problem,
    read::{Reader, Spot, list, nearest},
    source::At,
    tree::{Node, Table, Value},
};
use crate::domain::{
    grant::{
        DirectoryGrant, DockerGrant, Grants, HostGrant, HostPattern, HttpGrant, Network, NetworkSet,
        TcpGrant, UrlPattern,
    },
    host::HostSettings,
};
use std::{collections::BTreeMap, net::Ipv6Addr, path::PathBuf, sync::Arc};

/// Keys of `[plugins.NAME]`.
pub const KEYS_PLUGIN: &[&str] = &["grants", "limits", "reuse"];
/// Keys of `grants.docker`.
pub const KEYS_DOCKER_GRANT: &[&str] = &["containers", "socket"];
/// Keys of an entry of `grants.directories`.
pub const KEYS_DIRECTORY_GRANT: &[&str] = &["access", "path"];

/// The engine's socket unless `grants.docker` says otherwise.
pub(super) const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// An instance that never ends is a leak.
const REUSE_MAX: u32 = 1_000_000;

/// What was written about a plugin that need not exist.
#[derive(Clone, Debug)]
pub(super) struct PluginEntry {
    /// Its name's place.
    pub at: At,
    pub grants: Arc<Grants>,
    pub limits: PartialLimits,
    pub reuse: u32,
    /// Grants that were written, but could not be read, which was reported: they are not missing.
    pub unread: Vec<&'static str>,
    /// Which settings the grants name, and where: whether the plugin has them is only known with its schema.
    pub named_settings: Vec<Spot<Vec<String>>>,
}

/// Reads `[plugins]`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    node: Option<&Node>,
    host: &HostSettings,
    commands: &Commands,
) -> BTreeMap<Arc<str>, PluginEntry> {
    let mut plugins = BTreeMap::new();
    let Some(table) = node.and_then(|node| reader.table(node, "plugins")) else {
        return plugins;
    };
    for (name, entry) in table.iter() {
        let Some(table) = reader.table(&entry.node, "plugins.NAME") else {
            continue;
        };
        reader.known_keys(table, KEYS_PLUGIN, "`[plugins.NAME]`");
        let (mut named_settings, mut unread) = (Vec::new(), Vec::new());
        let grants = table
            .get("grants")
            .and_then(|node| reader.table(node, "grants"))
            .map(|table| {
                let written = Written::read(reader, table);
                named_settings = written.named_settings();
                let grants = written.grants(reader, commands);
                unread = written_in_vain(table, &grants);
                grants
            })
            .unwrap_or_default();
        let limits = table
            .get("limits")
            .map(|node| PartialLimits::read(reader, node, "limits", &host.maxima))
            .unwrap_or_default();
        let reuse = table
            .get("reuse")
            .and_then(|node| reader.small(node, "reuse", 0..=REUSE_MAX))
            .map_or(0, |spot| spot.value);
        let read = PluginEntry {
            at: entry.key,
            grants: Arc::new(grants),
            limits,
            reuse,
            unread,
            named_settings,
        };
        plugins.insert(Arc::clone(name), read);
    }
    plugins
}

/// Grants that are empty although something was written there.
fn written_in_vain(table: &Table, grants: &Grants) -> Vec<&'static str> {
    let empty = [
        ("commands", grants.commands.is_empty()),
        ("directories", grants.directories.is_empty()),
        ("dns", grants.dns.is_empty()),
        ("docker", grants.docker.is_none()),
        ("http", grants.http.is_empty()),
        ("icmp", grants.icmp.is_empty()),
        ("networks", grants.networks == NetworkSet::default()),
        ("tcp", grants.tcp.is_empty()),
        ("udp", grants.udp.is_empty()),
    ];
    let written = |key| match table.get(key).map(|node| &node.value) {
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
        None => false,
    };
    empty
        .into_iter()
        .filter(|(key, empty)| *empty && written(key))
        .map(|(key, _)| key)
        .collect()
}

pub(super) fn read_network(reader: &mut Reader<'_>, name: &Spot<Arc<str>>) -> Option<Spot<Network>> {
    match Network::from_name(&name.value) {
        Some(value) => Some(Spot { at: name.at, value }),
        None => {
            let known = Network::ALL.map(Network::name);
            let help = match nearest(&name.value, &known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("classes of address are {}", list(&known)),
            };
            let text = "there is no such class of address";
            reader.report(Problem::new("unknown-network", name.at, text).help(help));
            None
        }
    }
}

pub(super) fn read_docker(reader: &mut Reader<'_>, node: &Node) -> Option<DockerGrant> {
    let table = reader.table(node, "grants.docker")?;
    reader.known_keys(table, KEYS_DOCKER_GRANT, "`grants.docker`");
    let socket = table
        .get("socket")
        .and_then(|node| reader.string(node, "grants.docker.socket"))
        .map_or_else(
            || PathBuf::from(DOCKER_SOCKET),
            |path| reader.sources.resolve(path.at, &path.value),
        );
    let Some(containers) = table.get("containers") else {
        reader.report(
            Problem::new("missing-key", node.at, "`grants.docker` without `containers`")
                .help("name them, `*` stands for any run of characters: containers = [\"web-*\"]"),
        );
        return None;
    };
    let mut patterns = Vec::new();
    for name in reader.strings(containers, "grants.docker.containers")? {
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-*".contains(c);
        if name.value.is_empty() || !name.value.chars().all(fits) {
            reader.report(
                Problem::new("bad-grant", name.at, "no container can have this name")
                    .help("names of containers hold letters, digits, `_`, `.` and `-`; `*` stands for any run of them"),
            );
        } else {
            patterns.push(name.value.to_string());
        }
    }
    Some(DockerGrant {
        containers: patterns,
        socket,
    })
}

pub(super) fn read_directory(reader: &mut Reader<'_>, item: &Node) -> Option<Spot<DirectoryGrant>> {
    let table = reader.table(item, "grants.directories")?;
    reader.known_keys(table, KEYS_DIRECTORY_GRANT, "an entry of `grants.directories`");
    if let Some(access) = table.get("access").and_then(|node| reader.string(node, "access"))
        && access.value.as_ref() != "append"
    {
        reader.report(
            Problem::new("bad-grant", access.at, "there is no such access")
                .help("plugins can only append lines: access = \"append\""),
        );
    }
    let Some(path) = table.get("path") else {
        reader.report(
            Problem::new(
                "missing-key",
                item.at,
                "an entry of `grants.directories` without `path`",
            )
            .help("name the directory: path = \"./alerts\""),
        );
        return None;
    };
    let path = reader.string(path, "path")?;
    if path.value.is_empty() {
        reader.report(Problem::new("empty", path.at, "`path` is empty"));
        return None;
    }
    Some(Spot {
        at: path.at,
        value: DirectoryGrant {
            path: reader.sources.resolve(path.at, &path.value),
        },
    })
}

/// Reads `@settings.url` or `scheme://host[:port]`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn http_grant(text: &str) -> Result<HttpGrant, String> {
    if let Some(path) = settings_path(text)? {
        return Ok(HttpGrant::Settings(path));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("it has no scheme".to_owned());
    };
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return Err("its scheme is neither http nor https".to_owned()),
    };
    if rest.contains(['/', '?', '#']) {
        return Err("it goes on after host and port, and a grant covers all paths".to_owned());
    }
    let (host, port) = split_port(rest);
    let port = match port {
        None => Some(default_port),
        Some(port) => parse_port(port)?,
    };
    Ok(HttpGrant::Pattern(UrlPattern {
        scheme,
        host: host_pattern(host)?,
        port,
    }))
}

/// Reads `@settings.address`, `@settings.host:@settings.port` or `host:port`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn tcp_grant(text: &str) -> Result<TcpGrant, String> {
    if text.starts_with('@') {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let expected = || "`@` names a setting, such as `@settings.port`".to_owned();
        let port = match port {
            Some(port) => Some(settings_path(port)?.ok_or_else(expected)?),
            None => None,
        };
        let host = settings_path(host)?.ok_or_else(expected)?;
        return Ok(TcpGrant::Settings { host, port });
    }
    match split_port(text) {
        (host, Some(port)) => Ok(TcpGrant::Pattern {
            host: host_pattern(host)?,
            port: parse_port(port)?,
        }),
        (_, None) => Err("it has no port".to_owned()),
    }
}

/// Reads `system`, or what [`tcp_grant`] does.
///
/// # Errors
/// What is wrong with it, for people.
pub fn dns_grant(text: &str) -> Result<TcpGrant, String> {
    if text == "system" {
        return Ok(TcpGrant::System);
    }
    tcp_grant(text)
}

/// Reads `@settings.host`, a name, an address, `*.example.com` or `*`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn icmp_grant(text: &str) -> Result<HostGrant, String> {
    if let Some(path) = settings_path(text)? {
        return Ok(HostGrant::Settings(path));
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(HostGrant::Pattern(HostPattern::Exact(address.to_string())));
    }
    if split_port(text).1.is_some() {
        return Err("it has a port, and echo requests go to none".to_owned());
    }
    host_pattern(text).map(HostGrant::Pattern)
}

/// The path below `settings`, if the text names one.
fn settings_path(text: &str) -> Result<Option<Vec<String>>, String> {
    let Some(rest) = text.strip_prefix('@') else {
        return Ok(None);
    };
    let path: Vec<String> = rest
        .strip_prefix("settings.")
        .unwrap_or_default()
        .split('.')
        .map(str::to_owned)
        .collect();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if path.iter().any(|part| part.is_empty() || !part.chars().all(fits)) {
        return Err("`@` names a setting, such as `@settings.url`".to_owned());
    }
    Ok(Some(path))
}

/// Host and port; the colons of an address in brackets belong to it.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rfind(']') {
        Some(end) => match text.split_at_checked(end + 1) {
            Some((host, rest)) => (
                host,
                rest.strip_prefix(':').or((!rest.is_empty()).then_some(rest)),
            ),
            None => (text, None),
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    }
}

/// None: any port.
fn parse_port(text: &str) -> Result<Option<u16>, String> {
    if text == "*" {
        return Ok(None);
    }
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(port)),
        _ => Err("its port is no number from 1 to 65535".to_owned()),
    }
}

fn host_pattern(text: &str) -> Result<HostPattern, String> {
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    if text.is_empty() {
        return Err("it has no host".to_owned());
    }
    if text.contains('@') {
        return Err("user names have no place in it".to_owned());
    }
    let (suffix, name) = match text.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, text),
    };
    if name.contains('*') {
        return Err("`*` stands alone or for the first labels, as in `*.example.com`".to_owned());
    }
    // The very parser that URLs go through, so that both sides of a comparison are in one form.
    match url::Host::parse(name) {
        Ok(url::Host::Domain(domain)) if suffix => Ok(HostPattern::Suffix(domain)),
        Ok(_) if suffix => Err("addresses have no names below them".to_owned()),
        Ok(url::Host::Domain(domain)) => Ok(HostPattern::Exact(domain)),
        Ok(url::Host::Ipv4(address)) if address.to_string() == name => {
            Ok(HostPattern::Exact(name.to_owned()))
        }
        Ok(url::Host::Ipv4(address)) => Err(format!("write the address as {address}")),
        Ok(url::Host::Ipv6(address)) => Ok(HostPattern::Exact(address.to_string())),
        Err(_) => Err("its host is neither a name nor an address".to_owned()),
    }
}
