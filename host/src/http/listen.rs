//! Listening, and serving connections within bounds: how many there are, how long a request's head may take to come, and how
//! long a peer that takes nothing is waited for.

use super::{App, routes};
use crate::domain::access::{HttpSettings, TlsFiles};
use anyhow::{Context as _, Result};
use axum::{
    Router,
    extract::{ConnectInfo, Request},
    middleware::Next,
    response::Response,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::TlsAcceptor;

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Header fields of a request.
const HEADERS_MAX: usize = 64;
/// A head that takes longer to come is nobody's.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// So long nothing is accepted where the system has no descriptor left.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// A socket that listens, before anything is served.
pub struct Listening {
    listener: std::net::TcpListener,
    /// Where it listens, with the port that was chosen.
    pub address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listening {
    /// Binds the socket and reads the certificate. None: the host is to listen nowhere.
    ///
    /// # Errors
    /// When either can't be had; says which setting is meant.
    pub fn bind(settings: &HttpSettings) -> Result<Option<Self>> {
        let Some(wanted) = settings.listen else {
            return Ok(None);
        };
        let listener = std::net::TcpListener::bind(wanted).with_context(|| {
            format!(
                "the host can't listen on {wanted}: is another one running? `listen` in [host.http] says where, and \"off\" for nowhere"
            )
        })?;
        listener
            .set_nonblocking(true)
            .context("the socket can't be used")?;
        let address = listener.local_addr().context("the socket has no address")?;
        let tls = settings.tls.as_ref().map(acceptor).transpose()?;
        Ok(Some(Self {
            listener,
            address,
            tls,
        }))
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Serves until it is dropped.
    pub(super) async fn serve(self, app: App) {
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!("HTTP is not served: {error}");
                return;
            }
        };
        let router = routes::router(&app);
        let room = Arc::new(Semaphore::new(app.settings.connections));
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(_) => {
                    // One that was gone already, or no descriptor.
                    tokio::time::sleep(NO_DESCRIPTOR).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                app.traffic.refused.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let _ = stream.set_nodelay(true);
            let (router, tls, app) = (router.clone(), self.tls.clone(), app.clone());
            tokio::spawn(async move {
                app.traffic.open.fetch_add(1, Ordering::Relaxed);
                connection(stream, peer, router, tls, permit).await;
                app.traffic.open.fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<TlsAcceptor>,
    _permit: OwnedSemaphorePermit,
) {
    match tls {
        None => speak(stream, peer, router).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_MAX, tls.accept(stream)).await {
                speak(stream, peer, router).await;
            }
        }
    }
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
) {
    let router = router.layer(axum::Extension(ConnectInfo(peer)));
    // How it ends is the peer's business.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
}

fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor> {
    let certs = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .with_context(|| format!("`cert` in [host.http]: {} can't be read", files.cert.display()))?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("`key` in [host.http]: {} can't be read", files.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS can't be had")?
        .with_no_client_auth()
        .with_single_cert(certs, key)
        .context("certificate and key of [host.http] do not go together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What went through.
#[derive(Debug, Default)]
pub struct Traffic {
    open: AtomicU64,
    refused: AtomicU64,
    /// Answers by the first digit of their status: 1 to 5.
    answered: [AtomicU64; 5],
}

/// Classes of statuses, in their order.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

impl Traffic {
    /// Connections that are open, those that found no room, and answers by class.
    pub fn figures(&self) -> (u64, u64, impl Iterator<Item = (&'static str, u64)>) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let answered = CLASSES.into_iter().zip(self.answered.iter().map(of));
        (of(&self.open), of(&self.refused), answered)
    }

    fn count(&self, status: u16) {
        let class = usize::from(status / 100).checked_sub(1);
        if let Some(count) = class.and_then(|class| self.answered.get(class)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counts answers.
pub async fn counted(
    axum::extract::State(app): axum::extract::State<App>,
    request: Request,
    next: Next,
) -> Response {
    let answer = next.run(request).await;
    app.traffic.count(answer.status().as_u16());
    answer
}
