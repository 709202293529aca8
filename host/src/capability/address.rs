//! Which class an address belongs to, and so which grant it needs.
//!
//! Architecture invariant: an IPv6 address that stands for an IPv4 address (mapped, compatible, translated,
//! NAT64, 6to4, Teredo) has that address's class, and every address that is not known to be fine is [`Class::Never`].
//!
//! Sources: the IANA special-purpose address registries for IPv4 and IPv6 (RFC 6890 and its updates).

use crate::domain::grant::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A class that an operator can grant.
    Grantable(Network),
    /// No grant reaches it; says what it is.
    Never(&'static str),
}

const PUBLIC: Class = Class::Grantable(Network::Public);
const PRIVATE: Class = Class::Grantable(Network::Private);
const LOOPBACK: Class = Class::Grantable(Network::Loopback);
const LINK_LOCAL: Class = Class::Grantable(Network::LinkLocal);

/// Metadata services of clouds that live outside the link-local ranges: Azure's, Alibaba's, Oracle's. They are
/// classed with the one at 169.254.169.254, because they hand out credentials as it does.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// The same for IPv6: Amazon's and Google's.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// The class of an address.
#[must_use]
pub fn class(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => class_v4(address),
        IpAddr::V6(address) => class_v6(address),
    }
}

fn class_v4(address: Ipv4Addr) -> Class {
    if METADATA_V4.contains(&address) {
        return LINK_LOCAL;
    }
    match address.octets() {
        [0, ..] => Class::Never("unspecified"),
        [127, ..] => LOOPBACK,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => PRIVATE,
        [169, 254, ..] => LINK_LOCAL,
        [192, 0, 0, _] | [192, 88, 99, _] => Class::Never("reserved"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Never("documentation"),
        [198, 18..=19, ..] => Class::Never("benchmarking"),
        [224..=239, ..] => Class::Never("multicast"),
        [240..=255, ..] => Class::Never("reserved"),
        _ => PUBLIC,
    }
}

fn class_v6(address: Ipv6Addr) -> Class {
    if METADATA_V6.contains(&address) {
        return LINK_LOCAL;
    }
    if address == Ipv6Addr::LOCALHOST {
        return LOOPBACK;
    }
    if let Some(embedded) = embedded_v4(address) {
        return class_v4(embedded);
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Never("unspecified"),
        [0xfc00..=0xfdff, ..] => PRIVATE,
        [0xfe80..=0xfebf, ..] => LINK_LOCAL,
        [0xff00..=0xffff, ..] => Class::Never("multicast"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Class::Never("documentation"),
        // Protocol assignments: benchmarking, ORCHID, AMT, AS112. Teredo was seen above.
        [0x2001, 0..=0x01ff, ..] => Class::Never("reserved"),
        [0x2000..=0x3fff, ..] => PUBLIC,
        _ => Class::Never("reserved"),
    }
}

/// The IPv4 address that an IPv6 address stands for.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    Some(match address.segments() {
        // Unspecified; ::1 was seen before.
        [0, 0, 0, 0, 0, 0, 0, 0] => return None,
        // Compatible (deprecated), mapped, translated (RFC 2765), NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0, high, low]
        | [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => join(high, low),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => join(high, low),
        // Teredo (RFC 4380): the client's address, all bits inverted.
        [0x2001, 0, _, _, _, _, high, low] => join(!high, !low),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Class {
        class(text.parse().unwrap())
    }

    #[test]
    fn table() {
        for (class, addresses) in [
            (
                PUBLIC,
                &[
                    "1.1.1.1",
                    "9.255.255.255",
                    "11.0.0.0",
                    "100.63.255.255",
                    "100.128.0.0",
                    "126.255.255.255",
                    "128.0.0.0",
                    "169.253.255.255",
                    "172.15.255.255",
                    "172.32.0.0",
                    "192.167.255.255",
                    "198.17.255.255",
                    "198.20.0.0",
                    "223.255.255.255",
                    "2606:4700::1111",
                    "2a00::1",
                    "::ffff:8.8.8.8",
                    "64:ff9b::8.8.8.8",
                    "2002:808:808::1",
                    "2001:0:4136:e378:8000:63bf:f7f7:f7f7",
                ][..],
            ),
            (
                PRIVATE,
                &[
                    "10.0.0.0",
                    "10.255.255.255",
                    "172.16.0.0",
                    "172.31.255.255",
                    "192.168.0.1",
                    "100.64.0.0",
                    "100.127.255.255",
                    "fc00::1",
                    "fdff::1",
                    "::ffff:10.0.0.1",
                    "::10.0.0.1",
                    "64:ff9b::192.168.1.1",
                    "2002:a00:1::1",
                ],
            ),
            (
                LOOPBACK,
                &[
                    "127.0.0.1",
                    "127.255.255.254",
                    "::1",
                    "::ffff:127.0.0.1",
                    "::127.0.0.1",
                    "::ffff:0:127.0.0.1",
                    "64:ff9b::7f00:1",
                    "2002:7f00:1::",
                    "2001:0:4136:e378:8000:63bf:80ff:fffe",
                ],
            ),
            (
                LINK_LOCAL,
                &[
                    "169.254.0.0",
                    "169.254.169.254",
                    "fe80::1",
                    "febf::1",
                    "fd00:ec2::254",
                    "fd20:ce::254",
                    "168.63.129.16",
                    "100.100.100.200",
                    "192.0.0.192",
                    "::ffff:169.254.169.254",
                    "::a9fe:a9fe",
                    "64:ff9b::a9fe:a9fe",
                    "2002:a9fe:a9fe::",
                ],
            ),
            (
                Class::Never("unspecified"),
                &["0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"],
            ),
            (
                Class::Never("multicast"),
                &["224.0.0.1", "239.255.255.255", "ff02::1"],
            ),
            (
                Class::Never("documentation"),
                &[
                    "192.0.2.1",
                    "198.51.100.1",
                    "203.0.113.1",
                    "2001:db8::1",
                    "3fff::1",
                ],
            ),
            (Class::Never("benchmarking"), &["198.18.0.1", "198.19.255.255"]),
            (
                Class::Never("reserved"),
                &[
                    "192.0.0.1",
                    "192.88.99.1",
                    "240.0.0.1",
                    "255.255.255.255",
                    "100::1",
                    "64:ff9b:1::1",
                    "fec0::1",
                    "4000::1",
                    "5f00::1",
                    "2001:2::1",
                    "2001:20::1",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(of(address), class, "{address}");
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library_on_v4(bits in any::<u32>(), tail in any::<u16>()) {
            // The plain draw hardly ever hits the small ranges; the second puts half of them into 16-bit prefixes.
            for address in [Ipv4Addr::from(bits), Ipv4Addr::from((0xa9fe << 16) | u32::from(tail))] {
                let class = class_v4(address);
                if METADATA_V4.contains(&address) {
                    continue;
                }
                prop_assert_eq!(address.is_loopback(), class == LOOPBACK);
                prop_assert_eq!(address.is_link_local(), class == LINK_LOCAL);
                prop_assert_eq!(address.is_multicast(), class == Class::Never("multicast"));
                if address.is_private() {
                    prop_assert_eq!(class, PRIVATE);
                }
                if address.is_broadcast() || address.is_unspecified() || address.is_documentation() {
                    prop_assert!(matches!(class, Class::Never(_)));
                }
            }
        }

        #[test]
        fn agrees_with_the_standard_library_on_v6(bits in any::<u128>(), prefix in 0u16..=0xffff) {
            let address = Ipv6Addr::from((bits >> 16) | (u128::from(prefix) << 112));
            let class = class_v6(address);
            prop_assert_eq!(address.is_multicast(), class == Class::Never("multicast"));
            if address.is_unicast_link_local() {
                prop_assert_eq!(class, LINK_LOCAL);
            }
            if address.is_unique_local() && !METADATA_V6.contains(&address) {
                prop_assert_eq!(class, PRIVATE);
            }
        }

        #[test]
        fn a_disguise_changes_nothing(bits in any::<u32>(), rest in any::<u64>()) {
            let plain = Ipv4Addr::from(bits);
            // `::` and `::1` are addresses of their own.
            prop_assume!(bits > 1);
            let v4 = u128::from(bits);
            let rest = u128::from(rest);
            for disguised in [
                v4,
                (0xffff << 32) | v4,
                (0xffff << 48) | v4,
                (0x0064_ff9b << 96) | v4,
                (0x2002 << 112) | (v4 << 80) | rest,
                (0x2001_0000 << 96) | (rest << 32) | u128::from(!bits),
            ] {
                let address = Ipv6Addr::from(disguised);
                prop_assert_eq!(class_v6(address), class_v4(plain), "{}", address);
            }
        }
    }
}
