//! Grant patterns against URLs and against the addresses that are dialled.

use pulse_host::{
    capability::{
        Lease, address, check_addresses, check_http,
        log::LogBook,
        target::{Host, WebTarget},
    },
    config,
    domain::{
        grant::{Grants, HostPattern, HttpGrant, Network, UrlPattern},
        job::Job,
        limits::Limits,
        spec::{MonitorSpec, Profile},
        time::{Mono, Wall},
    },
    plugins::Reach,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

/// Three lines: a pattern of `grants.http`, a URL, an address. What is let through is what the pattern says by another
/// reading of it, and no address that only an inner network has is let through as a public one.
pub fn grants(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let mut next = || lines.next().unwrap_or_default();
    let (pattern, url, address) = (next(), next(), next());
    if let (Ok(HttpGrant::Pattern(pattern)), Ok(target)) =
        (config::http_grant(pattern), WebTarget::parse(url))
    {
        let grant = HttpGrant::Pattern(pattern.clone());
        let granted = check_http(&lease(vec![grant.clone()]), &target).is_ok();
        if granted {
            assert!(fits(&pattern, &target), "{grant} let {} through", target.origin());
        }
        // What covers a pattern allows whatever that one allows.
        let mut wide = Reach::default();
        if wide.insert("http", &grant.to_string()).is_ok()
            && wide.covers("http", &target.origin())
            && !target.origin().contains('[')
        {
            assert!(
                granted,
                "{grant} covers {} and does not let it through",
                target.origin()
            );
        }
    }
    let address = address.parse::<IpAddr>().unwrap_or_else(|_| {
        let mut bytes = [0; 16];
        for (byte, given) in bytes.iter_mut().zip(data) {
            *byte = *given;
        }
        Ipv6Addr::from(bytes).into()
    });
    let lease = lease(Vec::new());
    if check_addresses(&lease, "http", &Host::Address(address), &[address]).is_ok() {
        assert!(
            !is_inner(address),
            "{address} passes for public: {:?}",
            address::class(address)
        );
    }
}

/// The pattern's meaning, read off its text and the target's.
fn fits(pattern: &UrlPattern, target: &WebTarget) -> bool {
    let origin = target.origin();
    let Some((scheme, rest)) = origin.split_once("://") else {
        return false;
    };
    let Some((host, port)) = rest.rsplit_once(':') else {
        return false;
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host_fits = match &pattern.host {
        HostPattern::Any => true,
        HostPattern::Exact(name) => {
            let name = name.trim_end_matches('.');
            name == host
                || name
                    .parse::<IpAddr>()
                    .ok()
                    .is_some_and(|own| host.parse() == Ok(own))
        }
        HostPattern::Suffix(suffix) => {
            host.parse::<IpAddr>().is_err()
                && host.len() > suffix.trim_end_matches('.').len() + 1
                && host.ends_with(&format!(".{}", suffix.trim_end_matches('.')))
        }
    };
    pattern.scheme == scheme && host_fits && pattern.port.is_none_or(|own| own.to_string() == port)
}

/// Whether an address is one that must not be reached as a public one, by what the standard library and the RFCs say
/// of it, and not by the code that is tested.
fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_inner_v4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h] = address.segments();
            let v4 = |high: u16, low: u16| {
                let [one, two] = high.to_be_bytes();
                let [three, four] = low.to_be_bytes();
                is_inner_v4(Ipv4Addr::new(one, two, three, four))
            };
            address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                // Link-local, site-local, unique local, documentation.
                || (a & 0xffc0) == 0xfe80
                || (a & 0xffc0) == 0xfec0
                || (a & 0xfe00) == 0xfc00
                || (a, b) == (0x2001, 0xdb8)
                // An IPv4 address in it: mapped, compatible, NAT64, 6to4.
                || ((a, b, c, d, e, f) == (0, 0, 0, 0, 0, 0xffff) && v4(g, h))
                || ((a, b, c, d, e, f) == (0, 0, 0, 0, 0, 0) && v4(g, h))
                || ((a, b, c, d, e, f) == (0x64, 0xff9b, 0, 0, 0, 0) && v4(g, h))
                || (a == 0x2002 && v4(b, c))
        }
    }
}

fn is_inner_v4(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_unspecified()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
}

/// A lease that grants these URLs and public addresses.
fn lease(http: Vec<HttpGrant>) -> Lease {
    let mut grants = Grants {
        http,
        ..Grants::default()
    };
    grants.networks.insert(Network::Public);
    let profile = Arc::new(Profile {
        plugin: "fuzz".into(),
        digest: "0".into(),
        limits: Limits::default(),
        grants: Arc::new(grants),
        reuse: 0,
    });
    let job = Job::alone(
        MonitorSpec::alone("fuzz", profile, "{}", Duration::from_secs(1)),
        Mono(0),
        Wall(0),
    );
    Lease::new(job, Mono::NEVER, LogBook::default())
}
