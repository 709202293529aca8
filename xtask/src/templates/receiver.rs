//! Who the templates' plugins talk to: a thread that answers `/STATUS` with that status, and keeps what it was sent.

use crate::stopwatch;
use anyhow::{Context as _, Result};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: u64 = 16 << 10;
const BODY_BYTES_MAX: u64 = 64 << 10;

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub method: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_ms: u128,
}

/// A running receiver. It ends when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no port on loopback")?;
        let address = listener.local_addr()?;
        let received = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (keep, stopped) = (Arc::clone(&received), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("receiver".to_owned())
            .spawn(move || {
                for stream in listener.incoming().flatten() {
                    if stopped.load(Ordering::Relaxed) {
                        return;
                    }
                    // Kept before it is answered: who has the answer finds the request here.
                    let _ = answer(&stream, |request| {
                        keep.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    });
                }
            })?;
        Ok(Self {
            address,
            received,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it answers with that status.
    pub fn url(&self, status: u16) -> String {
        format!("http://{}/{status}", self.address)
    }

    /// What has come since the last time.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(mut stream: &TcpStream, keep: impl FnOnce(Received)) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream).take(HEAD_BYTES_MAX);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let method = words.next().context("no method")?.to_owned();
    let status: u16 = words
        .next()
        .and_then(|path| path.strip_prefix('/')?.parse().ok())
        .context("no status")?;
    let mut received = Received {
        method,
        at_ms: stopwatch::now_ms(),
        ..Received::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        received
            .headers
            .insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = received
        .headers
        .get("content-length")
        .map_or(Ok(0), |length| length.parse())?;
    reader.set_limit(BODY_BYTES_MAX.min(length));
    reader.read_to_string(&mut received.body)?;
    keep(received);
    write!(
        stream,
        "HTTP/1.1 {status} Whatever\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )?;
    Ok(())
}
