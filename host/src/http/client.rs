//! One request: to a host that runs, for its own subcommands, or to a dead man's switch.

use super::tokens::Door;
use anyhow::{Context as _, Result, anyhow, bail};
use axum::http::{Request, Response, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Reloads of a large configuration take their time.
const PATIENCE: Duration = Duration::from_secs(120);
/// So do imports of many monitors.
const CHANGE_PATIENCE: Duration = Duration::from_secs(600);
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Asks, and returns what is answered, or what is wrong with the request in the host's own words. Blocks.
///
/// # Errors
/// When the host can't be reached, or refuses.
pub fn ask(door: &Door, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime could be had")?;
    let asked = async {
        tokio::time::timeout(PATIENCE, exchange(door, method, path, body))
            .await
            .map_err(|_| anyhow!("{} has not answered for two minutes", door.url))?
    };
    runtime.block_on(asked)
}

/// Asks for a URL, and nothing but that it is answered well matters. What goes wrong is said without the URL, which may be
/// a secret.
///
/// # Errors
/// When nobody answers, or not with 2xx.
pub async fn ping(url: &str) -> Result<()> {
    let url: Uri = url.parse().map_err(|_| anyhow!("its URL is none"))?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority(&url))
        .header(
            header::USER_AGENT,
            concat!("pulse-host/", env!("CARGO_PKG_VERSION")),
        )
        .body(Full::default())?;
    let (status, _) = sent(&url, request).await?;
    if status.is_success() {
        return Ok(());
    }
    bail!("it answered {status}")
}

/// Sends a request whose address is whole, and returns what is answered, whatever it is.
///
/// # Errors
/// When nobody answers.
pub async fn forward(request: Request<Bytes>) -> Result<Response<Bytes>> {
    let (mut head, body) = request.into_parts();
    let url = std::mem::take(&mut head.uri);
    head.uri = url.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    head.headers.insert(header::HOST, authority(&url).parse()?);
    let (status, body) = sent(&url, Request::from_parts(head, Full::new(body))).await?;
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    Ok(answer)
}

/// What is answered, whatever it is.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The JSON; null: it was none.
    pub body: Value,
}

/// The same with whatever body and fields; what the host refuses is an answer too. Blocks.
///
/// # Errors
/// When the host can't be reached.
pub fn send(door: &Door, method: &str, path: &str, fields: &[(&str, &str)], body: Vec<u8>) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime could be had")?;
    let asked = async {
        tokio::time::timeout(CHANGE_PATIENCE, request(door, method, path, fields, body.into()))
            .await
            .map_err(|_| anyhow!("{} has not answered for ten minutes", door.url))?
    };
    runtime.block_on(asked)
}

async fn request(
    door: &Door,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: Bytes,
) -> Result<Answer> {
    let base: Uri = door
        .url
        .parse()
        .with_context(|| format!("{} is no URL", door.url))?;
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, authority(&base));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    if !door.token.is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", door.token));
    }
    let request = request.body(Full::new(body))?;
    let (status, bytes) = sent(&base, request)
        .await
        .with_context(|| format!("no pulse-host answers at {}", door.url))?;
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(Answer { status, body })
}

async fn exchange(door: &Door, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
    let text = body.map(Value::to_string).unwrap_or_default();
    let fields = [("content-type", "application/json")];
    let Answer { status, body: value } = request(door, method, path, &fields, text.into()).await?;
    if status.is_success() {
        return Ok(value);
    }
    let detail = value.get("detail").and_then(Value::as_str);
    match (status, detail) {
        (StatusCode::UNAUTHORIZED, _) => {
            bail!("the host does not know this token (--token, PULSE_HOST_TOKEN)")
        }
        (_, Some(detail)) => bail!("{}", detail.trim_end()),
        (status, None) => bail!("it answered {status}: is that a pulse-host?"),
    }
}

fn authority(url: &Uri) -> String {
    url.authority().map(ToString::to_string).unwrap_or_default()
}

/// Sends a request to where a URL points, and returns the answer.
async fn sent(base: &Uri, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
    let host = base.host().context("the URL names no host")?;
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let tls = match base.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => bail!("only http:// and https:// are understood"),
    };
    let port = base.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let stream = TcpStream::connect((name, port))
        .await
        .with_context(|| format!("{name} can't be reached"))?;
    if !tls {
        return speak(stream, request).await;
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned())?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(server, stream)
        .await
        .with_context(|| format!("its certificate is not one for {name} that this machine trusts"))?;
    speak(stream, request).await
}

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let bytes = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
        .collect()
        .await
        .map_err(|error| anyhow!("the answer broke off: {error}"))?
        .to_bytes();
    Ok((status, bytes))
}
