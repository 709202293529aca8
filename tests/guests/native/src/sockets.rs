//! What goes through `std::net`.

use crate::{Deed, Settings};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    time::Duration,
};
use wasip2::{
    clocks::monotonic_clock,
    io::poll::poll,
    sockets::{
        instance_network::instance_network,
        network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress},
        tcp_create_socket::create_tcp_socket,
    },
};

pub fn perform(settings: &Settings) -> Result<String, String> {
    let address = settings.address.as_deref().unwrap_or("127.0.0.1:9");
    let count = settings.count.unwrap_or(1);
    match settings.deed {
        Deed::TcpOrTimer => race(address, settings.ms.unwrap_or(0)),
        deed => with_std(deed, settings, address, count).map_err(|error| error.to_string()),
    }
}

fn with_std(deed: Deed, settings: &Settings, address: &str, count: u32) -> std::io::Result<String> {
    let say = settings.say.as_deref();
    match deed {
        Deed::Tcp => {
            let mut stream = TcpStream::connect(address)?;
            if let Some(say) = say {
                stream.write_all(say.as_bytes())?;
            }
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line)?;
            Ok(line.trim_end().to_owned())
        }
        Deed::TcpRead => {
            let mut stream = TcpStream::connect(address)?;
            let (mut buffer, mut read) = ([0; 8192], 0);
            while read < count as usize {
                match stream.read(&mut buffer)? {
                    0 => break,
                    length => read += length,
                }
            }
            Ok(format!("read {read}"))
        }
        Deed::TcpWrite => {
            let mut stream = TcpStream::connect(address)?;
            let mut left = count as usize;
            while left > 0 {
                let length = left.min(8192);
                stream.write_all(&[7; 8192][..length])?;
                left -= length;
            }
            Ok(format!("wrote {count}"))
        }
        Deed::TcpMany => {
            let mut streams = Vec::new();
            for _ in 0..count {
                streams.push(TcpStream::connect(address)?);
            }
            Ok(format!("holds {}", streams.len()))
        }
        Deed::TcpLeave => {
            std::mem::forget(TcpStream::connect(address)?);
            Ok("left it".into())
        }
        Deed::TcpThenSleep => {
            let stream = TcpStream::connect(address)?;
            std::thread::sleep(Duration::from_millis(settings.ms.unwrap_or(0)));
            Ok(format!("slept beside {}", stream.peer_addr()?))
        }
        Deed::Resolve => {
            let found: Vec<String> = address
                .to_socket_addrs()?
                .map(|found| found.to_string())
                .collect();
            Ok(found.join(" "))
        }
        Deed::Udp | Deed::UdpConnected => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            let say = say.unwrap_or_default().as_bytes();
            let mut buffer = [0; 2048];
            let length = if deed == Deed::Udp {
                socket.send_to(say, address)?;
                socket.recv_from(&mut buffer)?.0
            } else {
                socket.connect(address)?;
                socket.send(say)?;
                socket.recv(&mut buffer)?
            };
            Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
        }
        Deed::Spray => {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            let mut sent = 0;
            for index in 0..count {
                let [.., high, low] = index.to_be_bytes();
                sent += u32::from(
                    socket
                        .send_to(b"spray", std::net::SocketAddr::from(([127, 0, high, low], 9)))
                        .is_ok(),
                );
            }
            Ok(format!("sprayed {sent}"))
        }
        Deed::Listen => {
            let listener = TcpListener::bind(address)?;
            Ok(format!("listens on {}", listener.local_addr()?))
        }
        Deed::Bind => Ok(format!("bound to {}", UdpSocket::bind(address)?.local_addr()?)),
        _ => unreachable!("no deed of sockets"),
    }
}

/// Waits for the connection or the timer, and then reports as if the connection were the target's trouble.
fn race(address: &str, ms: u64) -> Result<String, String> {
    let address: std::net::SocketAddrV4 = address.parse().map_err(|_| "no address".to_owned())?;
    let [a, b, c, d] = address.ip().octets();
    let network = instance_network();
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).map_err(|code| format!("{code:?}"))?;
    let remote = IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port: address.port(),
        address: (a, b, c, d),
    });
    socket
        .start_connect(&network, remote)
        .map_err(|code| format!("{code:?}"))?;
    let connected = socket.subscribe();
    let timer = monotonic_clock::subscribe_duration(ms * 1_000_000);
    if poll(&[&connected, &timer]).contains(&0) {
        Ok("connected in time".into())
    } else {
        Err("not connected in time".into())
    }
}
