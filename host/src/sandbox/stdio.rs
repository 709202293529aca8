//! A guest's standard output and error become log lines, within the bounds of its log.

use crate::capability::{
    Lease,
    log::{self, Level},
};
use bytes::Bytes;
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// Longest line that is put together from several writes; a little more than the log takes, which then shows that it
/// was cut.
const LINE_BYTES_MAX: usize = log::LINE_BYTES_MAX + 4;
/// Bytes that one write may carry.
const WRITE_BYTES_MAX: usize = 64 << 10;

/// Whose log it is: the running job's; none between jobs, and then nothing is written.
pub type Running = Arc<Mutex<Option<Arc<Lease>>>>;

/// One of the two streams.
#[derive(Clone)]
pub struct LineStream {
    running: Running,
    line: Arc<Mutex<Vec<u8>>>,
    level: Level,
}

impl LineStream {
    /// Lines of standard output are information.
    #[must_use]
    pub fn stdout(running: &Running) -> Self {
        Self::new(running, Level::Info)
    }

    /// Lines of standard error are warnings.
    #[must_use]
    pub fn stderr(running: &Running) -> Self {
        Self::new(running, Level::Warn)
    }

    fn new(running: &Running, level: Level) -> Self {
        Self {
            running: Arc::clone(running),
            line: Arc::default(),
            level,
        }
    }

    fn take(&self, bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            let room = LINE_BYTES_MAX.saturating_sub(line.len());
            line.extend(text.iter().take(room));
            if ended {
                self.put(&line);
                line.clear();
            }
        }
    }

    /// The job has ended: what was not ended by a line feed is a line all the same, and must not become the beginning
    /// of the next job's.
    pub fn finish(&self) {
        let line = std::mem::take(&mut *self.line.lock().unwrap_or_else(PoisonError::into_inner));
        if !line.is_empty() {
            self.put(&line);
        }
    }

    fn put(&self, line: &[u8]) {
        if let Some(lease) = &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            lease.write_log(self.level, &String::from_utf8_lossy(line));
        }
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES_MAX)
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
