//! Where a guest wants to go: host names, addresses and URLs in their one canonical spelling.
//!
//! Architecture invariant: a spelling that another parser could read as another host (user information, decimal,
//! octal, hexadecimal or short addresses, percent-encoded or full-width hosts, backslashes, control characters)
//! is refused before any grant is looked at.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};
use url::Url;

/// Longest URL.
pub const URL_BYTES_MAX: usize = 8 << 10;

/// A host, canonical.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Lower case, ASCII, without a trailing dot.
    Name(String),
    /// An address.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Host {
    /// Reads a host as it stands in a `host` field: a name or an address, IPv6 with or without brackets.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner
                .parse::<Ipv6Addr>()
                .map(|address| Self::Address(address.into()))
                .map_err(|_| format!("`{text}` is no IPv6 address"));
        }
        // The standard library reads dotted decimal only, without leading zeros.
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        if text.contains(['%', '@', '/', '\\', ':']) {
            return Err(format!("`{text}` is no host name"));
        }
        match url::Host::parse(text) {
            Ok(url::Host::Domain(name)) => Self::name(text, &name),
            Ok(url::Host::Ipv4(address)) => Err(format!(
                "`{text}` is an unusual spelling of {address}; write it so"
            )),
            Ok(url::Host::Ipv6(_)) | Err(_) => Err(format!("`{text}` is no host name")),
        }
    }

    fn name(text: &str, canonical: &str) -> Result<Self, String> {
        let name = canonical.strip_suffix('.').unwrap_or(canonical);
        let labels_fit = name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        });
        // ASCII that canonicalises to something else was an encoding of some kind.
        let plain = !text.is_ascii() || text.eq_ignore_ascii_case(canonical);
        if !labels_fit || name.len() > 253 || !plain {
            return Err(format!("`{text}` is no host name"));
        }
        Ok(Self::Name(name.to_owned()))
    }
}

/// A URL that was taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebTarget {
    /// Canonical, without fragment.
    pub url: Url,
    /// Whether the scheme is `https`.
    pub secure: bool,
    /// The host.
    pub host: Host,
    /// The port, given or the scheme's.
    pub port: u16,
}

impl WebTarget {
    /// Reads an absolute `http:` or `https:` URL.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > URL_BYTES_MAX {
            return Err(format!("the URL is longer than {URL_BYTES_MAX} bytes"));
        }
        // The URL standard strips or rewrites these; a host that looks at the raw text would see another URL.
        if text
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
        {
            return Err("the URL holds a space, a backslash or a control character".into());
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("the URL is not absolute: it starts with `http://` or `https://`")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(format!("the scheme `{scheme}` is neither `http` nor `https`")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err("the URL holds user information; send a header in its place".into());
        }
        let host = Host::parse(host_of(authority)?)?;
        let mut url = Url::parse(text).map_err(|error| format!("no URL: {error}"))?;
        url.set_fragment(None);
        let default = if secure { 443 } else { 80 };
        let port = url.port_or_known_default().unwrap_or(default);
        // Two parsers that agree: what is checked is what is asked for.
        let agreed = match (url.host(), &host) {
            (Some(url::Host::Domain(seen)), Host::Name(name)) => {
                seen.strip_suffix('.').unwrap_or(seen) == name
            }
            (Some(url::Host::Ipv4(seen)), Host::Address(address)) => IpAddr::from(seen) == *address,
            (Some(url::Host::Ipv6(seen)), Host::Address(address)) => IpAddr::from(seen) == *address,
            _ => false,
        };
        if !agreed {
            return Err(format!("`{authority}` can be read in more than one way"));
        }
        if port == 0 {
            return Err("port 0 can't be connected to".into());
        }
        Ok(Self {
            url,
            secure,
            host,
            port,
        })
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }

    /// `scheme://host:port`, always with the port.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}:{}", self.scheme(), self.host, self.port)
    }

    /// Whether both go to the same scheme, host and port.
    #[must_use]
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }

    /// `host` or `host:port`, as the `host` header wants it.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.url.port() {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`; the URL parser checks the port.
fn host_of(authority: &str) -> Result<&str, String> {
    let host = match authority.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']').ok_or("a bracket is not closed")?;
            authority.get(..end + 2)
        }
        None => authority.split(':').next(),
    };
    host.filter(|host| !host.is_empty())
        .ok_or_else(|| "the URL has no host".into())
}

/// Reads `host:port` or `[v6]:port`.
///
/// # Errors
/// What is wrong with it, for people.
pub fn host_and_port(text: &str) -> Result<(Host, u16), String> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| format!("`{text}` is no `host:port`"))?;
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("`{text}`: an IPv6 address goes in brackets"));
    }
    let port = port
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("`{port}` is no port"))?;
    Ok((Host::parse(host)?, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_urls() {
        for (text, origin, authority, url) in [
            (
                "http://example.com",
                "http://example.com:80",
                "example.com",
                "http://example.com/",
            ),
            (
                "HTTP://Example.COM:80/a?b#c",
                "http://example.com:80",
                "example.com",
                "http://example.com/a?b",
            ),
            (
                "https://a.b.c:8443/",
                "https://a.b.c:8443",
                "a.b.c:8443",
                "https://a.b.c:8443/",
            ),
            (
                "https://example.com./x",
                "https://example.com:443",
                "example.com",
                "https://example.com./x",
            ),
            (
                "http://127.0.0.1:8080/",
                "http://127.0.0.1:8080",
                "127.0.0.1:8080",
                "http://127.0.0.1:8080/",
            ),
            (
                "http://[::1]:8080/",
                "http://[::1]:8080",
                "[::1]:8080",
                "http://[::1]:8080/",
            ),
            (
                "http://[0:0:0:0:0:0:0:1]/",
                "http://[::1]:80",
                "[::1]",
                "http://[::1]/",
            ),
            (
                "http://bücher.example/",
                "http://xn--bcher-kva.example:80",
                "xn--bcher-kva.example",
                "http://xn--bcher-kva.example/",
            ),
            (
                "http://my_host/?q=a@b",
                "http://my_host:80",
                "my_host",
                "http://my_host/?q=a@b",
            ),
        ] {
            let target = WebTarget::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(target.origin(), origin, "{text}");
            assert_eq!(target.authority(), authority, "{text}");
            assert_eq!(target.url.as_str(), url, "{text}");
        }
    }

    #[test]
    fn evasive_urls_are_refused() {
        for text in [
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://127.0.0.1./",
            "http://127.0.0.01/",
            "http://0/",
            "http://1.2.3.256/",
            "http://①②⑦.⓪.⓪.①/",
            "http://127。0。0。1/",
            "http://%31%32%37.0.0.1/",
            "http://127.0.0.1%2f@example.com/",
            "http://user@example.com/",
            "http://user:pass@example.com/",
            "http://example.com@127.0.0.1/",
            "http://@127.0.0.1/",
            "http://example.com\\@127.0.0.1/",
            "http:\\\\127.0.0.1/",
            "http:/127.0.0.1/",
            "http:127.0.0.1",
            "http:///127.0.0.1/",
            "http://",
            "http://:80/",
            "http://exa\tmple.com/",
            "http://example.com/\r\nX: y",
            "http://example.com/ HTTP/1.1",
            " http://example.com/",
            "http://example.com:0/",
            "http://example.com:99999/",
            "http://example.com:80:80/",
            "http://[::1/",
            "http://[::1%25eth0]/",
            "http://[fe80::1%eth0]/",
            "http://[::1]x/",
            "http://[127.0.0.1]/",
            "http://a..b/",
            "http://exam\u{ad}ple.com:x/",
            "http://ex%61mple.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "//example.com/",
            "/path",
            "",
        ] {
            assert!(WebTarget::parse(text).is_err(), "{text:?} was taken");
        }
        let long = format!("http://example.com/{}", "a".repeat(URL_BYTES_MAX));
        assert!(WebTarget::parse(&long).is_err());
    }

    #[test]
    fn pairs() {
        assert_eq!(
            host_and_port("[::1]:25").unwrap(),
            (Host::Address(Ipv6Addr::LOCALHOST.into()), 25)
        );
        assert_eq!(
            host_and_port("Db.local:5432").unwrap(),
            (Host::Name("db.local".into()), 5432)
        );
        for text in [
            "db",
            "db:",
            "db:0",
            "db:65536",
            "::1:25",
            ":25",
            "0x7f.1:25",
            "a b:25",
            "a:b:25",
        ] {
            assert!(host_and_port(text).is_err(), "{text:?} was taken");
        }
    }

    proptest! {
        /// Whatever is taken means the same host to the URL parser, and stays itself when it is read again.
        #[test]
        fn what_is_taken_is_unambiguous(authority in "[a-z0-9.:@%\\[\\]x_/\\\\-]{0,24}") {
            if let Ok(target) = WebTarget::parse(&format!("http://{authority}/")) {
                let again = WebTarget::parse(target.url.as_str()).unwrap();
                prop_assert_eq!(&again, &target);
                prop_assert!(target.url.username().is_empty() && target.url.password().is_none());
            }
        }
    }
}
