//! Ten thousand generated ways to ask for what was not granted, by every interface that leads out, against a resolver
//! and a network that only take notes.
//!
//! What may be dialled is decided here by a table of its own, not by the code under test.

use super::{
    Alive, ErrorCode, Network, View,
    instance_network::Host as _,
    ip_name_lookup::{Host as _, HostResolveAddressStream as _},
    network::{IpAddress, IpAddressFamily},
    tcp_bindings::HostTcpSocket as _,
    tcp_create_socket::Host as _,
    udp_bindings::{HostOutgoingDatagramStream as _, HostUdpSocket, OutgoingDatagram},
    udp_create_socket::Host as _,
};
use crate::{
    capability::{
        Lease, Lender, http, net, tcp,
        testing::{self, Recorder},
    },
    domain::{
        grant::{HostPattern, HttpGrant, Network as Class, TcpGrant, UrlPattern},
        time::Mono,
    },
};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::io::AsyncWriteExt as _;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::p2::Pollable;

/// How many.
const CASES: u32 = 10_000;

/// SplitMix64 (Steele, Lea, Flood 2014): the same cases in every run.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    fn bits(&mut self) -> u32 {
        u32::try_from(self.next() >> 32).unwrap()
    }
}

/// Prefixes that no grant of this test reaches: everything but global unicast.
const FORBIDDEN_V4: &[(&str, u32)] = &[
    ("0.0.0.0", 8),
    ("10.0.0.0", 8),
    ("100.64.0.0", 10),
    ("127.0.0.0", 8),
    ("168.63.129.16", 32),
    ("169.254.0.0", 16),
    ("172.16.0.0", 12),
    ("192.0.0.0", 24),
    ("192.168.0.0", 16),
    ("198.18.0.0", 15),
    ("224.0.0.0", 4),
    ("240.0.0.0", 4),
];

/// Whether dialling it would be a break-out.
fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => FORBIDDEN_V4.iter().any(|(prefix, length)| {
            let prefix = u32::from(prefix.parse::<Ipv4Addr>().unwrap());
            (u32::from(address) ^ prefix) >> (32 - length) == 0
        }),
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            let v4 =
                |bits: u128| is_forbidden(Ipv4Addr::from(u32::try_from(bits & 0xffff_ffff).unwrap()).into());
            let top = |length: u32| bits >> (128 - length);
            match bits {
                // Compatible, mapped, translated, NAT64: the last 32 bits. 6to4: those behind the prefix. Teredo:
                // the last 32, inverted.
                _ if top(96) == 0
                    || top(96) == 0xffff
                    || top(96) == 0xffff_0000
                    || top(96) == 0x64_ff9b << 64 =>
                {
                    v4(bits)
                }
                _ if top(16) == 0x2002 => v4(bits >> 80),
                _ if top(32) == 0x2001_0000 => v4(!bits),
                // Global unicast and nothing else; Teredo's neighbours are assignments of protocols.
                _ => top(3) != 1 || top(23) == 0x20_0100 >> 1,
            }
        }
    }
}

fn forbidden_v4(draw: &mut Draw) -> Ipv4Addr {
    let bits = draw.bits();
    let [_, b, c, d] = bits.to_be_bytes();
    match draw.below(12) {
        0..=3 => Ipv4Addr::new(169, 254, 169, 254),
        4 => Ipv4Addr::new(127, 0, 0, 1),
        5 => Ipv4Addr::new(127, b, c, d),
        6 => Ipv4Addr::new(10, b, c, d),
        7 => Ipv4Addr::new(172, 16 + b % 16, c, d),
        8 => Ipv4Addr::new(192, 168, c, d),
        9 => Ipv4Addr::new(100, 64 + b % 64, c, d),
        10 => draw.of(&[
            Ipv4Addr::new(168, 63, 129, 16),
            Ipv4Addr::new(100, 100, 100, 200),
            Ipv4Addr::new(192, 0, 0, 192),
        ]),
        _ => Ipv4Addr::new(draw.of(&[0, 224, 240, 255]), b, c, d),
    }
}

fn public_v4(draw: &mut Draw) -> Ipv4Addr {
    Ipv4Addr::new(draw.of(&[1, 8, 93, 142]), 8, draw.bits().to_be_bytes()[2], 8)
}

fn forbidden_address(draw: &mut Draw) -> IpAddr {
    match draw.below(3) {
        0 => forbidden_v4(draw).into(),
        1 => {
            let v4 = u128::from(u32::from(forbidden_v4(draw)));
            let rest = u128::from(draw.next());
            Ipv6Addr::from(draw.of(&[
                v4,
                (0xffff << 32) | v4,
                (0xffff << 48) | v4,
                (0x0064_ff9b << 96) | v4,
                (0x2002 << 112) | (v4 << 80) | rest,
                (0x2001_0000 << 96) | (rest << 32) | (!v4 & 0xffff_ffff),
            ]))
            .into()
        }
        _ => {
            let text = draw.of(&[
                "::1",
                "::",
                "fd00:ec2::254",
                "fd20:ce::254",
                "fe80::1",
                "fe80::a9fe:a9fe",
                "fc00::1",
                "ff02::1",
                "64:ff9b:1::a9fe:a9fe",
                "100::1",
                "fec0::1",
                "2001:2::1",
                "5f00::1",
            ]);
            IpAddr::V6(text.parse().unwrap())
        }
    }
}

/// One of the ways in which somebody has written an address in order to be misread.
fn spelled(draw: &mut Draw, address: IpAddr) -> String {
    let IpAddr::V4(v4) = address else {
        let IpAddr::V6(v6) = address else { unreachable!() };
        let whole = v6.segments().map(|part| format!("{part:04x}")).join(":");
        return match draw.below(7) {
            0 => format!("[{v6}]"),
            1 => format!("[{whole}]"),
            2 => format!("[{}]", whole.to_uppercase()),
            3 => format!("[{v6}%25eth0]"),
            4 => format!("[{v6}%lo]"),
            5 => v6.to_string(),
            _ => format!("[::ffff:{v6}]"),
        };
    };
    let [a, b, c, d] = v4.octets();
    let bits = u32::from(v4);
    let low = u32::from(c) << 8 | u32::from(d);
    match draw.below(22) {
        0 | 1 => v4.to_string(),
        2 => bits.to_string(),
        3 => format!("0x{bits:x}"),
        4 => format!("0X{bits:X}"),
        5 => format!("0{bits:o}"),
        6 => format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
        7 => format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
        8 => format!("{a}.{b}.{low}"),
        9 => format!("{a}.{}", (u32::from(b) << 16) | low),
        10 => format!("{a:03}.{b:03}.{c:03}.{d:03}"),
        11 => format!("{v4}."),
        12 => format!("{a}.{b}.{c}.0x{d:x}"),
        13 => v4.to_string().chars().map(full_width).collect(),
        14 => v4.to_string().replace('.', "。"),
        15 => v4
            .to_string()
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect(),
        16 => format!("{a}.{b}.{c}.{}", u32::from(d) + 256),
        17 => format!("[::ffff:{v4}]"),
        18 => format!("[::{v4}]"),
        19 => format!("[64:ff9b::{v4}]"),
        20 => format!("[2002:{:x}:{low:x}::]", bits >> 16),
        _ => format!(
            "{}.{}",
            v4,
            draw.of(&["nip.test", "good.test.evil.test", "xip.test"])
        ),
    }
}

fn full_width(c: char) -> char {
    match c {
        '0'..='9' => char::from_u32(0xff10 + u32::from(c) - u32::from('0')).unwrap(),
        '.' => '．',
        c => c,
    }
}

/// A name; what it resolves to is the script's business.
fn named(draw: &mut Draw) -> String {
    let kind = draw.of(&["plain", "inner", "mixed", "rebind", "six", "many"]);
    let number = draw.below(1000);
    let good = format!("{kind}{number}.good.test");
    match draw.below(14) {
        0..=4 => good,
        5 => good.to_uppercase(),
        6 => format!("{good}."),
        7 => format!("{good}.."),
        8 => format!("{kind}{number}.evil.test"),
        9 => format!("{kind}{number}.good.test.evil.test"),
        10 => format!("{kind}{number}xgood.test"),
        11 => good.replace("good", "go\u{ad}od"),
        12 => good.chars().map(|c| if c == 'g' { 'ｇ' } else { c }).collect(),
        _ => good.replace('.', "%2e"),
    }
}

fn host(draw: &mut Draw) -> String {
    match draw.below(8) {
        0..=2 => named(draw),
        3 => {
            let public = IpAddr::V4(public_v4(draw));
            spelled(draw, public)
        }
        _ => {
            let address = forbidden_address(draw);
            spelled(draw, address)
        }
    }
}

fn url(draw: &mut Draw, host: &str) -> String {
    let scheme = draw.of(&[
        "http", "http", "http", "HTTP", "https", "hTTps", "ftp", "gopher", "file",
    ]);
    let port = draw.of(&[
        "", "", "", ":80", ":8080", ":0", ":65536", ":+80", ":080", ":", ":80:80", ":22",
    ]);
    let other = draw.of(&["plain1.good.test", "169.254.169.254", "127.0.0.1"]);
    let path = draw.of(&[
        "/",
        "",
        "/latest/meta-data/",
        "?a=@b",
        "#@x",
        "/..;/",
        "//169.254.169.254/",
    ]);
    match draw.below(16) {
        0..=8 => format!("{scheme}://{host}{port}{path}"),
        9 => format!("{scheme}://{other}@{host}{port}{path}"),
        10 => format!("{scheme}://{host}{port}@{other}{path}"),
        11 => format!("{scheme}://{other}\\@{host}{path}"),
        12 => format!("{scheme}://{other}#@{host}{path}"),
        13 => format!("{scheme}:///{host}{port}{path}"),
        14 => format!("{scheme}://{host}\t{port}{path}"),
        _ => format!("{scheme}://{other}:80%40{host}{path}"),
    }
}

/// What names resolve to, and what they were resolved to in this case.
struct Names(Mutex<(Draw, HashMap<String, Vec<IpAddr>>)>);

impl Names {
    /// With a TTL of zero: each look-up is a new one.
    fn answer(&self, name: &str) -> Vec<IpAddr> {
        let mut inner = self.0.lock().unwrap();
        let (draw, told) = &mut *inner;
        let public = IpAddr::V4(public_v4(draw));
        let answer = if name.starts_with("plain") {
            vec![public]
        } else if name.starts_with("mixed") {
            let mut both = vec![public, forbidden_address(draw)];
            let turn = draw.below(2);
            both.rotate_left(turn);
            both
        } else if name.starts_with("rebind") {
            // Good when it is looked at, bad when it is gone to, or the other way round.
            match draw.below(2) {
                0 => vec![public],
                _ => vec![forbidden_address(draw)],
            }
        } else if name.starts_with("six") {
            vec!["2606:4700::1111".parse().unwrap()]
        } else if name.starts_with("many") {
            let mut many: Vec<_> = (0..40).map(|_| IpAddr::V4(public_v4(draw))).collect();
            many.push(forbidden_address(draw));
            many
        } else {
            vec![forbidden_address(draw)]
        };
        told.entry(name.to_owned()).or_default().extend(&answer);
        answer
    }
}

/// What the plugin of this test may reach: anything below `good.test`, and with `wide` whatever has a name or an address
/// at all; in both cases only what is public.
fn lease(wide: bool) -> Arc<Lease> {
    let host = || match wide {
        true => HostPattern::Any,
        false => HostPattern::Suffix("good.test".into()),
    };
    let pair = |port| TcpGrant::Pattern { host: host(), port };
    let maker = testing::lease()
        .http(["http", "https"].map(|scheme| {
            HttpGrant::Pattern(UrlPattern {
                scheme: scheme.into(),
                host: host(),
                port: None,
            })
        }))
        .tcp([pair(Some(80)), pair(Some(8080)), pair(Some(443))])
        .udp([pair(Some(80)), pair(Some(8080))])
        .networks([Class::Public])
        .ends(Mono(0).after(Duration::from_secs(60)));
    Arc::new(maker.done())
}

/// One guest.
pub(super) struct Guest {
    lender: Arc<Lender>,
    lease: Arc<Lease>,
    table: ResourceTable,
    alive: Alive,
}

impl Guest {
    pub(super) fn view(&mut self) -> View<'_> {
        View {
            table: &mut self.table,
            lease: &self.lease,
            lender: &self.lender,
            alive: &self.alive,
        }
    }

    pub(super) async fn ready<T: Pollable>(&mut self, what: &Resource<T>) {
        self.table.get_mut(what).unwrap().ready().await;
    }

    async fn lent_http(&self, url: &str) {
        let request = http::Request {
            method: "GET".into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            max_redirects: 5,
            family: net::IpFamily::Any,
            tls: None,
            timeout_ms: None,
            max_body_bytes: None,
        };
        let _ = self.lender.http(&self.lease, request).await;
    }

    async fn lent_tcp(&self, host: &str, port: u16) {
        let request = tcp::Request {
            host: host.into(),
            port,
            family: net::IpFamily::Any,
            tls: None,
            steps: Vec::new(),
            timeout_ms: None,
            max_bytes: None,
        };
        let _ = self.lender.tcp(&self.lease, request).await;
    }

    fn network(&mut self) -> Resource<Network> {
        self.view().instance_network().unwrap()
    }

    async fn look_up(&mut self, name: &str) -> Vec<IpAddr> {
        let network = self.network();
        let Ok(stream) = self.view().resolve_addresses(network, name.into()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        loop {
            let stream = Resource::new_borrow(stream.rep());
            match self.view().resolve_next_address(stream) {
                Ok(Some(IpAddress::Ipv4(address))) => found.push(IpAddr::from(<[u8; 4]>::from(address))),
                Ok(Some(IpAddress::Ipv6(address))) => found.push(IpAddr::from(<[u16; 8]>::from(address))),
                Err(super::SocketError::Code(ErrorCode::WouldBlock)) => panic!("the script answers at once"),
                _ => return found,
            }
        }
    }

    async fn wasi_tcp(&mut self, peer: SocketAddr) {
        let family = family(peer);
        let Ok(socket) = self.view().create_tcp_socket(family) else {
            return;
        };
        let borrowed = || Resource::new_borrow(socket.rep());
        let network = self.network();
        if self
            .view()
            .start_connect(borrowed(), network, peer.into())
            .is_ok()
        {
            self.ready(&socket).await;
            let _ = self.view().finish_connect(borrowed());
        }
    }

    async fn wasi_udp(&mut self, peer: SocketAddr, connected: bool) {
        let Ok(socket) = self.view().create_udp_socket(family(peer)) else {
            return;
        };
        let borrowed = || Resource::new_borrow(socket.rep());
        let network = self.network();
        let any: SocketAddr = match peer {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        if HostUdpSocket::start_bind(&mut self.view(), borrowed(), network, any.into()).is_err() {
            return;
        }
        self.ready(&socket).await;
        // Without IPv6 on this machine there is no such socket.
        if HostUdpSocket::finish_bind(&mut self.view(), borrowed()).is_err() {
            return;
        }
        let remote = connected.then(|| peer.into());
        let Ok((_, outgoing)) = self.view().stream(borrowed(), remote) else {
            return;
        };
        let outgoing = || Resource::new_borrow(outgoing.rep());
        self.ready(&outgoing()).await;
        let _ = self.view().check_send(outgoing());
        let datagram = OutgoingDatagram {
            data: b"x".to_vec(),
            remote_address: (!connected).then(|| peer.into()),
        };
        let _ = self.view().send(outgoing(), vec![datagram]);
    }

    async fn wasi_http(&mut self, url: &str, path: Option<&str>) {
        super::http::evasion::get(self, url, path).await;
    }
}

fn family(peer: SocketAddr) -> IpAddressFamily {
    match peer {
        SocketAddr::V4(_) => IpAddressFamily::Ipv4,
        SocketAddr::V6(_) => IpAddressFamily::Ipv6,
    }
}

/// Answers every request with a redirect to whatever the case under way says.
async fn redirecting(to: Arc<Mutex<String>>) -> SocketAddr {
    testing::serve(move |mut stream| {
        let to = Arc::clone(&to);
        async move {
            // Whoever speaks TLS to it would wait for an answer in TLS.
            let mut first = [0];
            if stream.peek(&mut first).await.is_err() || first != *b"G" {
                return;
            }
            testing::read_head(&mut stream).await;
            let location: String = to.lock().unwrap().chars().filter(|c| *c != '\t').collect();
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await
}

#[tokio::test]
async fn ten_thousand_evasions_and_no_forbidden_dial() {
    let location = Arc::<Mutex<String>>::default();
    let recorder = Recorder::with_stand_in(redirecting(Arc::clone(&location)).await);
    let names = Arc::new(Names(Mutex::new((Draw(7), HashMap::new()))));
    let lender = {
        let names = Arc::clone(&names);
        testing::recorded(&recorder, Box::new(move |name| names.answer(name)))
    };
    let mut draw = Draw(1);
    let mut dials = [0_u32; 6];
    for case in 0..CASES {
        names.0.lock().unwrap().1.clear();
        let wide = draw.below(2) == 0;
        let host = host(&mut draw);
        let url = url(&mut draw, &host);
        let port = draw.of(&[80, 80, 8080, 443, 22, 0]);
        let way = draw.below(dials.len());
        let mut guest = Guest {
            lender: Arc::clone(&lender),
            lease: lease(wide),
            table: ResourceTable::new(),
            alive: Alive::default(),
        };
        match way {
            0 => guest.lent_http(&url).await,
            // Through a target that is granted and redirects to one that need not be.
            1 => {
                location.lock().unwrap().clone_from(&url);
                guest.lent_http("http://plain0.good.test/").await;
            }
            2 => guest.lent_tcp(&host, port).await,
            3 => {
                let path = draw.of(&[
                    None,
                    None,
                    None,
                    Some("http://169.254.169.254/"),
                    Some("@127.0.0.1/"),
                ]);
                guest.wasi_http(&url, path).await;
            }
            // The address itself, and whatever the name resolves to, looked up again in between.
            4 | 5 => {
                let mut peers = vec![forbidden_address(&mut draw)];
                for _ in 0..2 {
                    peers.extend(guest.look_up(&host).await.into_iter().take(3));
                }
                // What a name was said to have may be remembered from an execution before, or guessed.
                peers.extend(names.0.lock().unwrap().1.values().flatten().take(3));
                for peer in peers {
                    let peer = SocketAddr::new(peer, port);
                    match way {
                        4 => guest.wasi_tcp(peer).await,
                        _ => {
                            let connected = draw.below(2) == 0;
                            guest.wasi_udp(peer, connected).await;
                        }
                    }
                }
            }
            _ => unreachable!(),
        }
        let told = names.0.lock().unwrap().1.clone();
        for dialled in recorder.take() {
            dials[way] += 1;
            let what =
                format!("case {case}, way {way}, wide {wide}: {host:?} {url:?} {port} dialled {dialled}");
            assert!(!is_forbidden(dialled.ip()), "{what}");
            let by_name = told
                .iter()
                .any(|(name, addresses)| name.ends_with(".good.test") && addresses.contains(&dialled.ip()));
            assert!(wide || by_name, "{what}: no name that is granted has it");
            assert!(
                matches!(way, 0 | 1 | 3) || [80, 8080, 443].contains(&dialled.port()),
                "{what}"
            );
        }
    }
    println!("{CASES} evasions; dials that were granted, by interface: {dials:?}");
    // Where nothing is let through, nothing is shown.
    assert!(dials.iter().all(|dials| *dials > 20), "{dials:?}");
}

/// The table of this test is no copy of the code's, but they agree about what is public.
#[test]
fn the_table_knows_what_it_forbids() {
    let mut draw = Draw(3);
    for _ in 0..10_000 {
        let address = forbidden_address(&mut draw);
        assert!(is_forbidden(address), "{address}");
        let public = public_v4(&mut draw);
        assert!(!is_forbidden(public.into()), "{public}");
    }
}
