//! What a plugin may reach over the network: the grants by name, then the class of every address.
//!
//! Architecture invariant: both checks stand between the guest and the socket, in this order, for each request and
//! each redirect. A denial names the configuration line that would allow it.

use super::{
    Lease,
    address::{Class, class},
    log::one_line,
    target::{Host, WebTarget, host_and_port},
};
use crate::domain::{
    grant::{Grants, HostGrant, HostPattern, HttpGrant, Network, TcpGrant, UrlPattern},
    outcome::Denial,
};
use std::net::{IpAddr, SocketAddr};

/// Entries of a grant that a denial repeats; a longer list is shortened to the line to add.
const SHOWN_MAX: usize = 8;

/// Checks scheme, host and port against `grants.http`.
///
/// # Errors
/// What no grant covers.
pub fn check_http(lease: &Lease, target: &WebTarget) -> Result<(), Denial> {
    let settings = Settings::of(lease);
    let grants = &lease.profile().grants;
    let covers = |grant: &HttpGrant| match grant {
        HttpGrant::Settings(path) => settings.text(path).is_some_and(|text| {
            // As a rule it is the very URL.
            text == target.url.as_str() || WebTarget::parse(text).is_ok_and(|own| own.same_origin(target))
        }),
        HttpGrant::Pattern(pattern) => {
            pattern.scheme == target.scheme()
                && matches(&pattern.host, &target.host)
                && pattern.port.is_none_or(|port| port == target.port)
        }
    };
    if grants.http.iter().any(covers) && within(grants.http_within.as_ref(), covers) {
        return Ok(());
    }
    let wanted = target.origin();
    Err(Denial {
        capability: "http",
        grant: match &grants.http_within {
            Some(left) if grants.http.iter().any(covers) => {
                tenant_line(lease, "http", left.iter().map(shown_http), &wanted)
            }
            _ => line(lease, "http", grants.http.iter().map(shown_http), &wanted),
        },
        wanted: one_line(&wanted),
    })
}

/// What goes to a host and a port, and is granted in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
    Dns,
}

impl Transport {
    /// The key below `grants`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Dns => "dns",
        }
    }

    /// What is granted, and what is left of it for a tenant.
    fn of(self, grants: &Grants) -> (&[TcpGrant], Option<&Vec<TcpGrant>>) {
        match self {
            Self::Tcp => (&grants.tcp, grants.tcp_within.as_ref()),
            Self::Udp => (&grants.udp, grants.udp_within.as_ref()),
            Self::Dns => (&grants.dns, grants.dns_within.as_ref()),
        }
    }

    /// Whether both cover what `covers` looks for.
    fn allows(self, grants: &Grants, covers: impl Fn(&TcpGrant) -> bool) -> bool {
        let (granted, left) = self.of(grants);
        granted.iter().any(&covers) && within(left, covers)
    }
}

/// Checks host and port against `grants.tcp` or `grants.udp`.
pub(super) fn check_pair(lease: &Lease, transport: Transport, host: &Host, port: u16) -> Result<(), Denial> {
    let settings = Settings::of(lease);
    if transport.allows(&lease.profile().grants, |grant| {
        covers(&settings, grant, host, port)
    }) {
        return Ok(());
    }
    Err(no_pair(lease, transport, host, port))
}

/// Checks that the system's own name servers may be asked.
pub(super) fn check_system_dns(lease: &Lease) -> Result<(), Denial> {
    let is_system = |grant: &TcpGrant| *grant == TcpGrant::System;
    let grants = &lease.profile().grants;
    if Transport::Dns.allows(grants, is_system) {
        return Ok(());
    }
    let narrowed = grants.dns.iter().any(is_system);
    Err(denied_pair(lease, Transport::Dns, "system", narrowed))
}

/// Checks that echo requests may be sent to a host.
pub(super) fn check_icmp(lease: &Lease, host: &Host) -> Result<(), Denial> {
    let settings = Settings::of(lease);
    let grants = &lease.profile().grants;
    let covers = |grant: &HostGrant| match grant {
        HostGrant::Settings(path) => settings
            .text(path)
            .is_some_and(|text| Host::parse(text).is_ok_and(|own| own == *host)),
        HostGrant::Pattern(pattern) => matches(pattern, host),
    };
    let granted = grants.icmp.iter().any(covers);
    if granted && within(grants.icmp_within.as_ref(), covers) {
        return Ok(());
    }
    let wanted = host.to_string();
    Err(Denial {
        capability: "icmp",
        grant: match &grants.icmp_within {
            Some(left) if granted => {
                tenant_line(lease, "icmp", left.iter().map(ToString::to_string), &wanted)
            }
            _ => line(
                lease,
                "icmp",
                grants.icmp.iter().map(ToString::to_string),
                &wanted,
            ),
        },
        wanted: one_line(&wanted),
    })
}

/// Checks the address and port that a socket is to be connected to. It may be granted as such, or be what a granted
/// name was resolved to in this execution; what class of address it is in is checked in both cases.
pub(super) fn check_peer(lease: &Lease, transport: Transport, peer: SocketAddr) -> Result<(), Denial> {
    let settings = Settings::of(lease);
    let grants = &lease.profile().grants;
    let allows = |host: &Host| transport.allows(grants, |grant| covers(&settings, grant, host, peer.port()));
    let address = Host::Address(peer.ip());
    if !allows(&address) {
        let names = lease.names();
        let mut named = names.of(peer.ip()).peekable();
        let wanted = named.peek().map_or(&address, |name| *name).clone();
        if !named.any(allows) {
            return Err(no_pair(lease, transport, &wanted, peer.port()));
        }
    }
    check_addresses(lease, transport.name(), &address, &[peer.ip()])
}

/// Checks that a name may be looked up: some grant of `tcp` or `udp` covers it, with whatever port.
pub(super) fn check_name(lease: &Lease, host: &Host) -> Result<(), Denial> {
    let settings = Settings::of(lease);
    let grants = &lease.profile().grants;
    let granted = |grant: &TcpGrant| match grant {
        TcpGrant::Settings { host: path, port } => settings
            .pair(path, port.as_deref())
            .is_some_and(|(own, _)| own == *host),
        TcpGrant::Pattern { host: pattern, .. } => matches(pattern, host),
        TcpGrant::System => false,
    };
    if Transport::Tcp.allows(grants, granted) || Transport::Udp.allows(grants, granted) {
        return Ok(());
    }
    // The line to add to is one that the plugin has.
    let narrowed = |transport: Transport| transport.of(grants).0.iter().any(granted);
    let transport = match narrowed(Transport::Tcp) {
        false if narrowed(Transport::Udp) || grants.tcp.is_empty() && !grants.udp.is_empty() => {
            Transport::Udp
        }
        _ => Transport::Tcp,
    };
    let narrowed = narrowed(transport);
    let mut denial = denied_pair(lease, transport, &format!("{host}:*"), narrowed);
    denial.wanted = one_line(&format!("to look up {host}"));
    Err(denial)
}

fn covers(settings: &Settings<'_>, grant: &TcpGrant, host: &Host, port: u16) -> bool {
    match grant {
        TcpGrant::Settings {
            host: path,
            port: port_path,
        } => settings
            .pair(path, port_path.as_deref())
            .is_some_and(|own| own == (host.clone(), port)),
        TcpGrant::Pattern {
            host: pattern,
            port: own,
        } => matches(pattern, host) && own.is_none_or(|own| own == port),
        TcpGrant::System => false,
    }
}

/// Whether what is left of a grant for this tenant covers it as well.
fn within<G>(left: Option<&Vec<G>>, covers: impl Fn(&G) -> bool) -> bool {
    left.is_none_or(|left| left.iter().any(covers))
}

fn no_pair(lease: &Lease, transport: Transport, host: &Host, port: u16) -> Denial {
    let settings = Settings::of(lease);
    let (granted, _) = transport.of(&lease.profile().grants);
    let narrowed = granted.iter().any(|grant| covers(&settings, grant, host, port));
    denied_pair(lease, transport, &format!("{host}:{port}"), narrowed)
}

/// `narrowed`: the plugin may, and the tenant may not.
fn denied_pair(lease: &Lease, transport: Transport, wanted: &str, narrowed: bool) -> Denial {
    let key = transport.name();
    let (granted, left) = transport.of(&lease.profile().grants);
    Denial {
        capability: key,
        grant: match left {
            Some(left) if narrowed => tenant_line(lease, key, left.iter().map(shown_tcp), wanted),
            _ => line(lease, key, granted.iter().map(shown_tcp), wanted),
        },
        wanted: one_line(wanted),
    }
}

/// Checks every address that a name resolved to against `grants.networks`. One that is not granted spoils all:
/// a mixed answer is how a name is rebound to an inner address.
///
/// # Errors
/// The first address of a class that is not granted.
pub fn check_addresses(
    lease: &Lease,
    capability: &'static str,
    host: &Host,
    addresses: &[IpAddr],
) -> Result<(), Denial> {
    let grants = &lease.profile().grants;
    for address in addresses {
        let (kind, network) = match class(*address) {
            Class::Grantable(network) if grants.networks.contains(network) => continue,
            Class::Grantable(network) => (network.name(), Some(network)),
            Class::Never(kind) => (kind, None),
        };
        let wanted = match host {
            Host::Address(_) => format!("{host} (a {kind} address)"),
            Host::Name(name) => format!("{name}, which resolves to {address} (a {kind} address)"),
        };
        return Err(Denial {
            capability,
            wanted,
            grant: match network {
                Some(network) => networks_line(lease, grants, network),
                None => format!("no grant reaches {kind} addresses"),
            },
        });
    }
    Ok(())
}

/// Whether a pattern covers a host.
fn matches(pattern: &HostPattern, host: &Host) -> bool {
    match (pattern, host) {
        (HostPattern::Any, _) => true,
        (HostPattern::Exact(_) | HostPattern::Suffix(_), Host::Address(address)) => match pattern {
            HostPattern::Exact(text) => Host::parse(text).is_ok_and(|own| own == Host::Address(*address)),
            _ => false,
        },
        (HostPattern::Exact(text), Host::Name(name)) => text.strip_suffix('.').unwrap_or(text) == name,
        (HostPattern::Suffix(suffix), Host::Name(name)) => name
            .strip_suffix(suffix.strip_suffix('.').unwrap_or(suffix))
            .and_then(|front| front.strip_suffix('.'))
            .is_some_and(|front| !front.is_empty()),
    }
}

/// The job's settings, read when the first grant looks into them.
struct Settings<'a> {
    text: &'a str,
    value: std::cell::OnceCell<serde_json::Value>,
}

impl<'a> Settings<'a> {
    fn of(lease: &'a Lease) -> Self {
        Self {
            text: lease.settings(),
            value: std::cell::OnceCell::new(),
        }
    }

    fn at(&self, path: &[String]) -> Option<&serde_json::Value> {
        let value = self
            .value
            .get_or_init(|| serde_json::from_str(self.text).unwrap_or_default());
        path.iter().try_fold(value, |value, key| match value {
            serde_json::Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            value => value.get(key),
        })
    }

    fn text(&self, path: &[String]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// Host and port, from one setting that holds both or from two.
    fn pair(&self, host: &[String], port: Option<&[String]>) -> Option<(Host, u16)> {
        let text = self.text(host)?;
        match port {
            None => host_and_port(text).ok(),
            Some(port) => Some((Host::parse(text).ok()?, self.port(port)?)),
        }
    }

    fn port(&self, path: &[String]) -> Option<u16> {
        match self.at(path)? {
            serde_json::Value::Number(number) => u16::try_from(number.as_u64()?).ok(),
            serde_json::Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

fn networks_line(lease: &Lease, grants: &Grants, wanted: Network) -> String {
    let names: Vec<_> = Network::ALL
        .into_iter()
        .filter(|network| *network == wanted || grants.networks.contains(*network))
        .map(|network| format!("\"{}\"", network.name()))
        .collect();
    format!(
        "[plugins.{}] grants.networks = [{}]",
        table_key(&lease.profile().plugin),
        names.join(", ")
    )
}

/// The line as it would be with what was wanted added.
pub(super) fn line(lease: &Lease, key: &str, present: impl Iterator<Item = String>, wanted: &str) -> String {
    let entries = entries(present, wanted);
    let plugin = table_key(&lease.profile().plugin);
    one_line(&format!("[plugins.{plugin}] grants.{key} = [{entries}]"))
}

/// The same of what is left of a grant for a tenant.
pub(super) fn tenant_line(
    lease: &Lease,
    key: &str,
    present: impl Iterator<Item = String>,
    wanted: &str,
) -> String {
    let entries = entries(present, wanted);
    let (tenant, plugin) = (lease.tenant(), table_key(&lease.profile().plugin));
    one_line(&format!("[tenants.{tenant}.grants.{plugin}] {key} = [{entries}]"))
}

/// A plugin's name as a key of TOML: that of a tenant's own has a slash in it.
fn table_key(plugin: &str) -> std::borrow::Cow<'_, str> {
    if plugin.contains('/') {
        quoted(plugin).into()
    } else {
        plugin.into()
    }
}

fn entries(present: impl Iterator<Item = String>, wanted: &str) -> String {
    let mut entries: Vec<_> = present.take(SHOWN_MAX + 1).collect();
    if entries.len() > SHOWN_MAX {
        entries = vec!["…".into()];
    } else {
        entries = entries.iter().map(|entry| quoted(entry)).collect();
    }
    entries.push(quoted(wanted));
    entries.join(", ")
}

pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn shown_host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Any => "*".into(),
        HostPattern::Exact(text) if text.contains(':') && !text.starts_with('[') => format!("[{text}]"),
        HostPattern::Exact(text) => text.clone(),
        HostPattern::Suffix(suffix) => format!("*.{suffix}"),
    }
}

fn shown_port(port: Option<u16>) -> String {
    port.map_or_else(|| "*".into(), |port| port.to_string())
}

fn shown_http(grant: &HttpGrant) -> String {
    match grant {
        HttpGrant::Settings(path) => format!("@settings.{}", path.join(".")),
        HttpGrant::Pattern(UrlPattern { scheme, host, port }) => {
            format!("{scheme}://{}:{}", shown_host(host), shown_port(*port))
        }
    }
}

fn shown_tcp(grant: &TcpGrant) -> String {
    match grant {
        TcpGrant::Settings { host, port: None } => format!("@settings.{}", host.join(".")),
        TcpGrant::Settings {
            host,
            port: Some(port),
        } => format!("@settings.{}:@settings.{}", host.join("."), port.join(".")),
        TcpGrant::Pattern { host, port } => format!("{}:{}", shown_host(host), shown_port(*port)),
        TcpGrant::System => "system".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{self, LeaseMaker},
        *,
    };

    fn pattern(scheme: &str, host: HostPattern, port: Option<u16>) -> HttpGrant {
        HttpGrant::Pattern(UrlPattern {
            scheme: scheme.into(),
            host,
            port,
        })
    }

    fn http(maker: &LeaseMaker, url: &str) -> Result<(), Denial> {
        check_http(&maker.clone().done(), &WebTarget::parse(url).unwrap())
    }

    #[test]
    fn nothing_is_granted_by_default() {
        let denial = http(&testing::lease(), "https://example.com/x").unwrap_err();
        assert_eq!(
            denial,
            Denial {
                capability: "http",
                wanted: "https://example.com:443".into(),
                grant: "[plugins.test] grants.http = [\"https://example.com:443\"]".into(),
            }
        );
        let denial = check_pair(
            &testing::lease().done(),
            Transport::Tcp,
            &Host::Name("db".into()),
            5432,
        )
        .unwrap_err();
        assert_eq!(denial.grant, "[plugins.test] grants.tcp = [\"db:5432\"]");
    }

    #[test]
    fn patterns() {
        use HostPattern::{Any, Exact, Suffix};
        for (grant, url, granted) in [
            (
                pattern("https", Suffix("example.com".into()), Some(443)),
                "https://a.example.com",
                true,
            ),
            (
                pattern("https", Suffix("example.com".into()), Some(443)),
                "https://a.b.example.com.",
                true,
            ),
            (
                pattern("https", Suffix("example.com".into()), Some(443)),
                "https://example.com",
                false,
            ),
            (
                pattern("https", Suffix("example.com".into()), Some(443)),
                "https://badexample.com",
                false,
            ),
            (
                pattern("https", Suffix("example.com".into()), Some(443)),
                "http://a.example.com:443",
                false,
            ),
            (
                pattern("https", Suffix("example.com".into()), Some(443)),
                "https://a.example.com:444",
                false,
            ),
            (
                pattern("https", Suffix("example.com".into()), None),
                "https://a.example.com:444",
                true,
            ),
            (
                pattern("http", Suffix("0.0.1".into()), None),
                "http://127.0.0.1",
                false,
            ),
            (
                pattern("http", Exact("127.0.0.1".into()), Some(80)),
                "http://127.0.0.1",
                true,
            ),
            (
                pattern("http", Exact("::1".into()), Some(80)),
                "http://[::1]",
                true,
            ),
            (
                pattern("http", Exact("[::1]".into()), Some(80)),
                "http://[0::1]",
                true,
            ),
            (
                pattern("http", Exact("127.0.0.1".into()), Some(80)),
                "http://[::ffff:127.0.0.1]",
                false,
            ),
            (
                pattern("http", Exact("example.com".into()), Some(80)),
                "http://EXAMPLE.com.",
                true,
            ),
            (pattern("http", Any, None), "http://[::1]:9", true),
        ] {
            let maker = testing::lease().http([grant.clone()]);
            assert_eq!(http(&maker, url).is_ok(), granted, "{grant:?} {url}");
        }
    }

    #[test]
    fn the_settings_grant_is_for_that_very_origin() {
        let maker = testing::lease()
            .settings(r#"{"url":"http://a.example:8080/x","deep":{"list":["https://b.example"]}}"#)
            .http([
                HttpGrant::Settings(vec!["url".into()]),
                HttpGrant::Settings(vec!["deep".into(), "list".into(), "0".into()]),
            ]);
        for url in ["http://a.example:8080/other", "https://b.example/"] {
            assert!(http(&maker, url).is_ok(), "{url}");
        }
        for url in [
            "http://a.example/",
            "https://a.example:8080/",
            "http://b.example/",
            "http://c.example:8080/",
        ] {
            assert!(http(&maker, url).is_err(), "{url}");
        }
        let denial = http(&maker, "http://a.example/").unwrap_err();
        assert_eq!(
            denial.grant,
            "[plugins.test] grants.http = [\"@settings.url\", \"@settings.deep.list.0\", \"http://a.example:80\"]"
        );
    }

    #[test]
    fn settings_that_are_no_url_grant_nothing() {
        for settings in [
            "{}",
            r#"{"url":7}"#,
            r#"{"url":"a.example"}"#,
            r#"{"url":"http://x@a.example"}"#,
            "no JSON",
        ] {
            let maker = testing::lease()
                .settings(settings)
                .http([HttpGrant::Settings(vec!["url".into()])]);
            assert!(http(&maker, "http://a.example").is_err(), "{settings}");
        }
    }

    #[test]
    fn tcp_grants() {
        let settings = r#"{"address":"db.example:5432","host":"[::1]","port":25,"text":"26"}"#;
        let path = |key: &str| vec![key.to_owned()];
        let db = Host::Name("db.example".into());
        let own = Host::parse("::1").unwrap();
        let maker = |grant: TcpGrant| testing::lease().settings(settings).tcp([grant]).done();
        let pair = TcpGrant::Settings {
            host: path("address"),
            port: None,
        };
        assert!(check_pair(&maker(pair.clone()), Transport::Tcp, &db, 5432).is_ok());
        assert!(check_pair(&maker(pair.clone()), Transport::Tcp, &db, 5433).is_err());
        assert!(check_pair(&maker(pair), Transport::Tcp, &own, 5432).is_err());
        let two = TcpGrant::Settings {
            host: path("host"),
            port: Some(path("port")),
        };
        assert!(check_pair(&maker(two.clone()), Transport::Tcp, &own, 25).is_ok());
        assert!(check_pair(&maker(two), Transport::Tcp, &own, 26).is_err());
        let text = TcpGrant::Settings {
            host: path("host"),
            port: Some(path("text")),
        };
        assert!(check_pair(&maker(text), Transport::Tcp, &own, 26).is_ok());
        let any = TcpGrant::Pattern {
            host: HostPattern::Suffix("example".into()),
            port: None,
        };
        assert!(check_pair(&maker(any.clone()), Transport::Tcp, &db, 1).is_ok());
        assert!(check_pair(&maker(any), Transport::Tcp, &own, 1).is_err());
    }

    #[test]
    fn a_look_up_that_is_denied_names_the_transport_that_there_is() {
        let grant = |host: &str| TcpGrant::Pattern {
            host: HostPattern::Exact(host.into()),
            port: Some(53),
        };
        let host = Host::Name("other.example".into());
        let tcp = testing::lease().tcp([grant("dns.example")]);
        let udp = testing::lease().udp([grant("dns.example")]);
        let both = tcp.clone().udp([grant("dns.example")]);
        for (maker, transport) in [
            (testing::lease(), "tcp"),
            (tcp, "tcp"),
            (udp, "udp"),
            (both, "tcp"),
        ] {
            let denial = check_name(&maker.done(), &host).unwrap_err();
            assert_eq!(denial.capability, transport, "{denial:?}");
            let key = format!("grants.{transport} = [");
            assert!(
                denial.grant.contains(&key) && denial.grant.contains("other.example:*"),
                "{denial:?}"
            );
        }
    }

    #[test]
    fn every_address_counts() {
        let lease = testing::lease()
            .networks([Network::Public, Network::Loopback])
            .done();
        let name = Host::Name("a.example".into());
        let addresses = |list: &[&str]| -> Vec<IpAddr> { list.iter().map(|a| a.parse().unwrap()).collect() };
        let check = |list: &[&str]| check_addresses(&lease, "http", &name, &addresses(list));
        assert!(check(&["8.8.8.8", "127.0.0.1", "::1"]).is_ok());
        assert_eq!(
            check(&["8.8.8.8", "10.0.0.1"]).unwrap_err(),
            Denial {
                capability: "http",
                wanted: "a.example, which resolves to 10.0.0.1 (a private address)".into(),
                grant: "[plugins.test] grants.networks = [\"public\", \"private\", \"loopback\"]".into(),
            }
        );
        assert_eq!(
            check(&["169.254.169.254"]).unwrap_err().grant,
            "[plugins.test] grants.networks = [\"public\", \"loopback\", \"link-local\"]"
        );
        assert_eq!(
            check(&["224.0.0.1"]).unwrap_err().grant,
            "no grant reaches multicast addresses"
        );
    }
}
