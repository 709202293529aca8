//! Addresses between the interface's types and those of the standard library.

use super::network::{
    ErrorCode, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

impl From<IpAddr> for IpAddress {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::Ipv4(address.octets().into()),
            IpAddr::V6(address) => Self::Ipv6(address.segments().into()),
        }
    }
}

impl From<SocketAddr> for IpSocketAddress {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::Ipv4(Ipv4SocketAddress {
                port: address.port(),
                address: address.ip().octets().into(),
            }),
            SocketAddr::V6(address) => Self::Ipv6(Ipv6SocketAddress {
                port: address.port(),
                flow_info: address.flowinfo(),
                address: address.ip().segments().into(),
                scope_id: address.scope_id(),
            }),
        }
    }
}

impl From<IpSocketAddress> for SocketAddr {
    fn from(address: IpSocketAddress) -> Self {
        match address {
            IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address }) => {
                let octets: [u8; 4] = address.into();
                Self::V4(SocketAddrV4::new(Ipv4Addr::from(octets), port))
            }
            IpSocketAddress::Ipv6(Ipv6SocketAddress {
                port,
                flow_info,
                address,
                scope_id,
            }) => {
                let segments: [u16; 8] = address.into();
                Self::V6(SocketAddrV6::new(
                    Ipv6Addr::from(segments),
                    port,
                    flow_info,
                    scope_id,
                ))
            }
        }
    }
}

/// The other end of a connection or datagram, if it can be one on a socket of that family. An IPv4 address in the
/// clothes of an IPv6 one can't: the interface's IPv6 sockets speak nothing else.
pub fn remote(address: IpSocketAddress, family: IpAddressFamily) -> Result<SocketAddr, ErrorCode> {
    let address = SocketAddr::from(address);
    let fits = match (family, address.ip()) {
        (IpAddressFamily::Ipv4, IpAddr::V4(_)) => true,
        (IpAddressFamily::Ipv6, IpAddr::V6(ip)) => ip.to_ipv4_mapped().is_none(),
        _ => false,
    };
    if fits && !address.ip().is_unspecified() && address.port() != 0 {
        Ok(address)
    } else {
        Err(ErrorCode::InvalidArgument)
    }
}

/// Whether binding to it leaves address and port to the system.
pub fn leaves_all_open(address: IpSocketAddress, family: IpAddressFamily) -> Result<bool, ErrorCode> {
    let address = SocketAddr::from(address);
    match (family, address.ip()) {
        (IpAddressFamily::Ipv4, IpAddr::V4(_)) | (IpAddressFamily::Ipv6, IpAddr::V6(_)) => {
            Ok(address.ip().is_unspecified() && address.port() == 0)
        }
        _ => Err(ErrorCode::InvalidArgument),
    }
}
