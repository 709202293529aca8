//! What the tests of the lent interfaces share: leases and servers on loopback.

use super::{
    Lease, Lender, Shared,
    log::LogBook,
    resolve::{Resolver, Script},
};
use crate::{
    clock::{Clock, Hand},
    domain::{
        command::Command,
        grant::{
            DirectoryGrant, DockerGrant, Grants, HostGrant, HostPattern, HttpGrant, Network, TcpGrant,
            UrlPattern,
        },
        job::Job,
        limits::Limits,
        spec::{Class, MonitorSpec, Profile},
        tenant::Tenant,
        time::{Mono, Wall},
    },
};
use std::{
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
};

/// Builds a [`Lease`].
#[derive(Clone)]
pub(crate) struct LeaseMaker {
    grants: Grants,
    settings: String,
    ends: Mono,
    tenant: Arc<Tenant>,
}

/// A lease that grants nothing and does not end.
pub(crate) fn lease() -> LeaseMaker {
    LeaseMaker {
        grants: Grants::default(),
        settings: "{}".into(),
        ends: Mono::NEVER,
        tenant: Arc::new(Tenant::unlimited()),
    }
}

/// A lease that grants any URL and any pair on loopback, and ends after a minute of the manual clock.
pub(super) fn loopback() -> LeaseMaker {
    lease()
        .http(["http", "https"].map(|scheme| {
            HttpGrant::Pattern(UrlPattern {
                scheme: scheme.into(),
                host: HostPattern::Any,
                port: None,
            })
        }))
        .tcp([TcpGrant::Pattern {
            host: HostPattern::Any,
            port: None,
        }])
        .networks([Network::Loopback])
        .ends(Mono(0).after(Duration::from_secs(60)))
}

impl LeaseMaker {
    pub(crate) fn http(mut self, grants: impl IntoIterator<Item = HttpGrant>) -> Self {
        self.grants.http = grants.into_iter().collect();
        self
    }

    pub(crate) fn tcp(mut self, grants: impl IntoIterator<Item = TcpGrant>) -> Self {
        self.grants.tcp = grants.into_iter().collect();
        self
    }

    pub(crate) fn udp(mut self, grants: impl IntoIterator<Item = TcpGrant>) -> Self {
        self.grants.udp = grants.into_iter().collect();
        self
    }

    pub(super) fn dns(mut self, grants: impl IntoIterator<Item = TcpGrant>) -> Self {
        self.grants.dns = grants.into_iter().collect();
        self
    }

    pub(super) fn icmp(mut self, grants: impl IntoIterator<Item = HostGrant>) -> Self {
        self.grants.icmp = grants.into_iter().collect();
        self
    }

    pub(super) fn commands(mut self, commands: impl IntoIterator<Item = Command>) -> Self {
        self.grants.commands = commands.into_iter().map(Arc::new).collect();
        self
    }

    /// What a tenant has of the commands.
    pub(super) fn commands_within(mut self, names: &[&str]) -> Self {
        self.grants.commands_within = Some(names.iter().map(|name| (*name).into()).collect());
        self
    }

    pub(crate) fn networks(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.grants.networks = Default::default();
        for network in networks {
            self.grants.networks.insert(network);
        }
        self
    }

    pub(super) fn docker(mut self, grant: DockerGrant) -> Self {
        self.grants.docker = Some(grant);
        self
    }

    pub(super) fn directories(mut self, paths: impl IntoIterator<Item = std::path::PathBuf>) -> Self {
        self.grants.directories = paths.into_iter().map(|path| DirectoryGrant { path }).collect();
        self
    }

    pub(super) fn tenant(mut self, tenant: &Arc<Tenant>) -> Self {
        self.tenant = Arc::clone(tenant);
        self
    }

    pub(super) fn settings(mut self, settings: &str) -> Self {
        self.settings = settings.into();
        self
    }

    pub(crate) fn ends(mut self, ends: Mono) -> Self {
        self.ends = ends;
        self
    }

    pub(crate) fn done(self) -> Lease {
        let profile = Arc::new(Profile {
            plugin: "test".into(),
            digest: "".into(),
            limits: Limits::default(),
            grants: Arc::new(self.grants),
            reuse: 0,
        });
        let alone = MonitorSpec::alone("monitor", profile, &self.settings, Duration::ZERO);
        let class = Class {
            tenant: self.tenant,
            ..Class::clone(alone.class())
        };
        let job = Job::alone(
            MonitorSpec::new(Arc::new(class), None, "monitor", None),
            Mono(0),
            Wall(0),
        );
        Lease::new(job, self.ends, LogBook::default())
    }
}

/// A lender whose clock stands still, so that no timer counts as late however slow the machine is.
pub(super) struct Bench {
    pub(super) lender: Lender,
    pub(super) hand: Arc<Hand>,
}

/// See [`Bench`]. Names are those of `HOSTS` and no others; the wall clock shows 2026-11-24.
pub(super) fn bench() -> Bench {
    bench_with_sockets(64)
}

/// `fallback.test` has an address that refuses and one that may not; `mixed.test` has an inner one.
const HOSTS: &str = "127.0.0.1 web.test other.test\n127.0.0.2 fallback.test\n127.0.0.1 fallback.test\n\
    127.0.0.1 mixed.test\n10.0.0.1 mixed.test\n";

pub(super) fn bench_with_sockets(sockets: usize) -> Bench {
    let (clock, hand) = Clock::manual(Mono(0), Wall(1_795_478_400_000));
    let lender = Lender {
        shared: Arc::new(Shared::with_sockets(clock, sockets)),
        resolver: Resolver::fixed(HOSTS),
    };
    Bench { lender, hand }
}

/// Stands in for the network: notes where a connection or a datagram was to go to, and lets nothing out. What was to be
/// connected to is refused, or is a server on loopback in its place.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    dialled: Arc<Mutex<Vec<SocketAddr>>>,
    stand_in: Option<SocketAddr>,
}

impl Recorder {
    pub(crate) fn with_stand_in(stand_in: SocketAddr) -> Self {
        Self {
            stand_in: Some(stand_in),
            ..Self::default()
        }
    }

    pub(super) async fn open(&self, peer: SocketAddr) -> std::io::Result<TcpStream> {
        let refused = self.record(peer);
        match self.stand_in {
            Some(stand_in) => TcpStream::connect(stand_in).await,
            None => Err(refused),
        }
    }

    pub(super) fn record(&self, peer: SocketAddr) -> std::io::Error {
        self.dialled.lock().unwrap().push(peer);
        std::io::ErrorKind::ConnectionRefused.into()
    }

    /// Everything since the last time.
    pub(crate) fn take(&self) -> Vec<SocketAddr> {
        std::mem::take(&mut self.dialled.lock().unwrap())
    }
}

/// A lender whose network is that recorder, and whose names are answered by that script.
pub(crate) fn recorded(recorder: &Recorder, script: Script) -> Arc<Lender> {
    let (clock, _hand) = Clock::manual(Mono(0), Wall(1_795_478_400_000));
    let mut shared = Shared::with_sockets(clock, 64);
    shared.recorder = Some(recorder.clone());
    let mut resolver = Resolver::fixed("");
    resolver.script = Some(script);
    Arc::new(Lender {
        shared: Arc::new(shared),
        resolver,
    })
}

/// Serves every connection with `serve`, on a port of the system's choice, until the test's runtime ends.
pub(crate) async fn serve<F, W>(mut serve: F) -> SocketAddr
where
    F: FnMut(TcpStream) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Accepts every connection and never says anything.
pub(super) async fn silent() -> SocketAddr {
    serve(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await
}

/// Reads up to the blank line that ends a request's head, and nothing beyond it.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

/// A port on loopback that nobody listens on: bound, never listening, and held so that nobody else gets it.
pub(super) fn dead_port() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Gives a call that must run into its timeout more and more of it, until the timeout meets what the test is about: on
/// a machine that is busy a short one may pass before that.
pub(super) async fn patiently<T>(mut attempt: impl AsyncFnMut(u32) -> Option<T>) -> T {
    for timeout_ms in [50, 500, 5000, 20_000] {
        if let Some(met) = attempt(timeout_ms).await {
            return met;
        }
    }
    panic!("no timeout was the one that was waited for");
}
