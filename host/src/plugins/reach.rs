//! What a plugin's author asks for, and what an operator has granted, in one form that can be compared, shown and
//! kept: texts as they are written in the configuration, by key, sorted.
//!
//! Asking grants nothing. Invariant: an entry counts as covered only if everything that it allows is allowed by one
//! other entry; where that can't be told, it is not covered.

use crate::{
    config,
    domain::grant::{Grants, HostGrant, HostPattern, HttpGrant, Network, TcpGrant},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// A key, what is no entry of it, and whether one entry covers another.
struct Rule {
    key: &'static str,
    /// Whether an author can ask for it: he does not know the operator's directories and commands.
    askable: bool,
    canonical: fn(&str) -> Result<String, String>,
    covers: fn(&str, &str) -> bool,
}

const RULES: &[Rule] = &[
    Rule {
        key: "commands",
        askable: false,
        canonical: |text| Ok(text.to_owned()),
        covers: |wide, narrow| wide == narrow,
    },
    Rule {
        key: "containers",
        askable: true,
        canonical: container,
        covers: container_covers,
    },
    Rule {
        key: "directories",
        askable: false,
        canonical: |text| Ok(text.to_owned()),
        covers: |wide, narrow| wide == narrow,
    },
    Rule {
        key: "dns",
        askable: true,
        canonical: |text| config::dns_grant(text).map(|grant| grant.to_string()),
        covers: dns_covers,
    },
    Rule {
        key: "http",
        askable: true,
        canonical: |text| config::http_grant(text).map(|grant| grant.to_string()),
        covers: http_covers,
    },
    Rule {
        key: "icmp",
        askable: true,
        canonical: |text| config::icmp_grant(text).map(|grant| grant.to_string()),
        covers: icmp_covers,
    },
    Rule {
        key: "networks",
        askable: true,
        canonical: network,
        covers: |wide, narrow| wide == narrow,
    },
    Rule {
        key: "tcp",
        askable: true,
        canonical: |text| config::tcp_grant(text).map(|grant| grant.to_string()),
        covers: tcp_covers,
    },
    Rule {
        key: "udp",
        askable: true,
        canonical: |text| config::tcp_grant(text).map(|grant| grant.to_string()),
        covers: tcp_covers,
    },
];

/// What is asked for, or was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reach(BTreeMap<&'static str, BTreeSet<String>>);

impl Reach {
    /// What was granted.
    #[must_use]
    pub fn granted(grants: &Grants) -> Self {
        let mut reach = Self::default();
        let mut put = |key, text: String| {
            reach.0.entry(key).or_default().insert(text);
        };
        for grant in &grants.http {
            put("http", grant.to_string());
        }
        for grant in &grants.tcp {
            put("tcp", grant.to_string());
        }
        for grant in &grants.udp {
            put("udp", grant.to_string());
        }
        for grant in &grants.dns {
            put("dns", grant.to_string());
        }
        for grant in &grants.icmp {
            put("icmp", grant.to_string());
        }
        for command in &grants.commands {
            put("commands", command.name.to_string());
        }
        for network in Network::ALL {
            if grants.networks.contains(network) {
                put("networks", network.name().to_owned());
            }
        }
        for container in grants.docker.iter().flat_map(|docker| &docker.containers) {
            put("containers", container.clone());
        }
        for directory in &grants.directories {
            put("directories", directory.path.display().to_string());
        }
        reach
    }

    /// Adds an entry, in its one spelling. How many there may be, and how long they may be, is the business of whoever
    /// reads them: what an operator has granted is his own.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn insert(&mut self, key: &str, text: &str) -> Result<(), String> {
        let rule = RULES
            .iter()
            .find(|rule| rule.key == key)
            .ok_or_else(|| format!("there is no grant `{}`", key.escape_debug()))?;
        let text = (rule.canonical)(text)?;
        self.0.entry(rule.key).or_default().insert(text);
        Ok(())
    }

    /// The keys that an author can ask for.
    pub fn askable() -> impl Iterator<Item = &'static str> {
        RULES.iter().filter(|rule| rule.askable).map(|rule| rule.key)
    }

    /// All keys.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        RULES.iter().map(|rule| rule.key)
    }

    /// Nothing at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeSet::is_empty)
    }

    /// Whether there is an entry of that key.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|entries| !entries.is_empty())
    }

    /// Every entry with its key, sorted.
    pub fn entries(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .iter()
            .flat_map(|(key, entries)| entries.iter().map(|entry| (*key, entry.as_str())))
    }

    /// Whether that very entry is in it.
    #[must_use]
    pub fn contains(&self, key: &str, entry: &str) -> bool {
        self.0.get(key).is_some_and(|entries| entries.contains(entry))
    }

    /// Whether one of its entries allows everything that this one does.
    #[must_use]
    pub fn covers(&self, key: &str, entry: &str) -> bool {
        let Some(rule) = RULES.iter().find(|rule| rule.key == key) else {
            return false;
        };
        self.0.get(key).is_some_and(|entries| {
            entries
                .iter()
                .any(|own| own == entry || (rule.covers)(own, entry))
        })
    }
}

fn network(text: &str) -> Result<String, String> {
    match Network::from_name(text) {
        Some(network) => Ok(network.name().to_owned()),
        None => Err(format!(
            "there is no such class of address; they are {}",
            Network::ALL.map(Network::name).join(", ")
        )),
    }
}

fn container(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-*".contains(c);
    if text.is_empty() || !text.chars().all(fits) {
        return Err(
            "names of containers hold letters, digits, `_`, `.`, `-`, and `*` for any run of them".to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// A pattern covers another if it matches its text: a star of the other is met by a star only.
fn container_covers(wide: &str, narrow: &str) -> bool {
    let (pattern, text) = (wide.as_bytes(), narrow.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while read < text.len() {
        match (pattern.get(at), text.get(read)) {
            (Some(b'*'), _) => {
                retry = Some((at, read));
                at += 1;
            }
            (Some(one), Some(other)) if one == other && *other != b'*' => {
                at += 1;
                read += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    at = star + 1;
                    read = from + 1;
                    retry = Some((star, read));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == b'*')
}

fn http_covers(wide: &str, narrow: &str) -> bool {
    match (config::http_grant(wide), config::http_grant(narrow)) {
        (Ok(HttpGrant::Pattern(wide)), Ok(HttpGrant::Pattern(narrow))) => {
            wide.scheme == narrow.scheme
                && port_covers(wide.port, narrow.port)
                && host_covers(&wide.host, &narrow.host)
        }
        (Ok(wide), Ok(narrow)) => wide == narrow,
        _ => false,
    }
}

fn tcp_covers(wide: &str, narrow: &str) -> bool {
    pair_covers(config::tcp_grant(wide), config::tcp_grant(narrow))
}

fn dns_covers(wide: &str, narrow: &str) -> bool {
    pair_covers(config::dns_grant(wide), config::dns_grant(narrow))
}

fn icmp_covers(wide: &str, narrow: &str) -> bool {
    match (config::icmp_grant(wide), config::icmp_grant(narrow)) {
        (Ok(HostGrant::Pattern(wide)), Ok(HostGrant::Pattern(narrow))) => host_covers(&wide, &narrow),
        (Ok(wide), Ok(narrow)) => wide == narrow,
        _ => false,
    }
}

fn pair_covers(wide: Result<TcpGrant, String>, narrow: Result<TcpGrant, String>) -> bool {
    match (wide, narrow) {
        (
            Ok(TcpGrant::Pattern { host: wide, port }),
            Ok(TcpGrant::Pattern {
                host: narrow,
                port: other,
            }),
        ) => port_covers(port, other) && host_covers(&wide, &narrow),
        (Ok(wide), Ok(narrow)) => wide == narrow,
        _ => false,
    }
}

fn port_covers(wide: Option<u16>, narrow: Option<u16>) -> bool {
    wide.is_none_or(|port| narrow == Some(port))
}

fn host_covers(wide: &HostPattern, narrow: &HostPattern) -> bool {
    use HostPattern::{Any, Exact, Suffix};
    let below = |name: &str, suffix: &str| {
        name.strip_suffix(suffix)
            .and_then(|front| front.strip_suffix('.'))
            .is_some_and(|front| !front.is_empty())
    };
    match (wide, narrow) {
        (Any, _) => true,
        (_, Any) | (Exact(_), Suffix(_)) => false,
        (Suffix(wide), Suffix(narrow)) => wide == narrow || below(narrow, wide),
        // An address ends in no name.
        (Suffix(suffix), Exact(name)) => name.parse::<IpAddr>().is_err() && below(name, suffix),
        (Exact(wide), Exact(narrow)) => wide == narrow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(entries: &[(&str, &str)]) -> Reach {
        let mut reach = Reach::default();
        for (key, text) in entries {
            reach.insert(key, text).unwrap();
        }
        reach
    }

    #[test]
    fn an_entry_has_one_spelling() {
        let reach = reach(&[
            ("http", "HTTPS://Example.com"),
            ("http", "https://example.com:443"),
            ("http", "http://[::1]:*"),
            ("tcp", "@settings.host:@settings.port"),
            ("networks", "public"),
        ]);
        let entries: Vec<_> = reach.entries().collect();
        assert_eq!(
            entries,
            [
                ("http", "http://[::1]:*"),
                ("http", "https://example.com:443"),
                ("networks", "public"),
                ("tcp", "@settings.host:@settings.port"),
            ]
        );
    }

    #[test]
    fn what_covers_what() {
        for (key, wide, narrow, covered) in [
            ("http", "https://*.example.com", "https://a.example.com", true),
            ("http", "https://*.example.com", "https://a.b.example.com", true),
            ("http", "https://*.example.com", "https://*.b.example.com", true),
            ("http", "https://*.example.com", "https://example.com", false),
            ("http", "https://*.example.com", "https://badexample.com", false),
            ("http", "https://*.b.example.com", "https://*.example.com", false),
            ("http", "https://*.example.com", "http://a.example.com:443", false),
            (
                "http",
                "https://*.example.com",
                "https://a.example.com:444",
                false,
            ),
            (
                "http",
                "https://*.example.com:*",
                "https://a.example.com:444",
                true,
            ),
            ("http", "https://a.example.com", "https://a.example.com:*", false),
            ("http", "https://*", "https://127.0.0.1", true),
            ("http", "https://*", "http://127.0.0.1:443", false),
            ("http", "@settings.url", "@settings.url", true),
            ("http", "@settings.url", "@settings.other", false),
            ("http", "@settings.url", "https://a.example", false),
            // Any URL of one scheme is not what the settings say, which may have the other.
            ("http", "https://*:*", "@settings.url", false),
            ("tcp", "*:5432", "db.example:5432", true),
            ("tcp", "*:*", "*:1", true),
            ("tcp", "*:1", "*:*", false),
            ("tcp", "[::1]:1", "[::1]:1", true),
            ("tcp", "@settings.address", "@settings.host:@settings.port", false),
            ("icmp", "*.example.com", "a.example.com", true),
            ("icmp", "*", "[::1]", true),
            ("icmp", "*", "@settings.host", false),
            ("icmp", "10.0.0.1", "*", false),
            ("commands", "a", "a", true),
            ("commands", "*", "a", false),
            ("networks", "public", "public", true),
            ("networks", "public", "private", false),
            ("containers", "web-*", "web-1", true),
            ("containers", "web-*", "web-*-a", true),
            ("containers", "*", "web-*", true),
            ("containers", "*-a*", "x-b-a-*", true),
            ("containers", "web-*", "we*", false),
            ("containers", "web-*", "*", false),
            ("containers", "web-1", "web-*", false),
            ("containers", "a*b", "a*", false),
            ("containers", "web-1", "web-1", true),
        ] {
            let own = self::reach(&[(key, wide)]);
            let entry = self::reach(&[(key, narrow)]);
            let (_, entry) = entry.entries().next().unwrap();
            assert_eq!(own.covers(key, entry), covered, "{wide} over {narrow}");
        }
    }

    #[test]
    fn nonsense_is_no_entry() {
        for (key, text) in [
            ("http", "ftp://a"),
            ("http", "https://a/path"),
            ("tcp", "a"),
            ("networks", "lan"),
            ("containers", "a b"),
            ("containers", ""),
            ("sockets", "a"),
        ] {
            assert!(Reach::default().insert(key, text).is_err(), "{key} {text}");
        }
    }
}
