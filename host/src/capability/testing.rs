//! What the tests of the lent interfaces share: leases and servers on loopback.

use super::{Lease, Lender, Shared, Waiting};
use crate::{
    clock::Clock,
    domain::{
        grant::{DirectoryGrant, DockerGrant, Grants, HostPattern, HttpGrant, Network, TcpGrant, UrlPattern},
        limits::Limits,
        spec::Profile,
        time::Mono,
    },
};
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
};

/// Builds a [`Lease`].
#[derive(Clone)]
pub(super) struct LeaseMaker {
    grants: Grants,
    settings: String,
    ends: Mono,
}

/// A lease that grants nothing and does not end.
pub(super) fn lease() -> LeaseMaker {
    LeaseMaker {
        grants: Grants::default(),
        settings: "{}".into(),
        ends: Mono::NEVER,
    }
}

/// A lease that grants any URL and any pair on loopback, and ends in a minute by the system's clock.
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
        .ends(Clock::system().mono().after(Duration::from_secs(60)))
}

impl LeaseMaker {
    pub(super) fn http(mut self, grants: impl IntoIterator<Item = HttpGrant>) -> Self {
        self.grants.http = grants.into_iter().collect();
        self
    }

    pub(super) fn tcp(mut self, grants: impl IntoIterator<Item = TcpGrant>) -> Self {
        self.grants.tcp = grants.into_iter().collect();
        self
    }

    pub(super) fn networks(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
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

    pub(super) fn settings(mut self, settings: &str) -> Self {
        self.settings = settings.into();
        self
    }

    pub(super) fn ends(mut self, ends: Mono) -> Self {
        self.ends = ends;
        self
    }

    pub(super) fn done(self) -> Lease {
        Lease {
            monitor: "monitor".into(),
            tenant: "default".into(),
            profile: Arc::new(Profile {
                plugin: "test".into(),
                limits: Limits::default(),
                grants: Arc::new(self.grants),
                reuse: 0,
            }),
            settings: self.settings.into(),
            ends: self.ends,
            waiting: Arc::new(Waiting::default()),
        }
    }
}

/// A lender on the system's clock.
pub(super) fn lender() -> Lender {
    Lender::new(Shared::new(Clock::system()).unwrap())
}

/// Serves every connection with `serve`, on a port of the system's choice, until the test's runtime ends.
pub(super) async fn serve<F, W>(mut serve: F) -> SocketAddr
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

/// Reads up to the blank line that ends a request's head, and nothing beyond it.
pub(super) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
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
