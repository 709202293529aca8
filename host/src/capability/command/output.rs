//! What a command writes: read to the end, kept up to a bound.

use super::FLOOD_BYTES;
use rustix::io::Errno;
use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// Bytes of one read.
const CHUNK_BYTES: usize = 32 << 10;
/// Bytes that are looked for after the end: more than any pipe holds.
const REST_BYTES: usize = 4 << 20;

/// It wrote more than anybody can mean to.
#[derive(Debug)]
pub(super) struct Flood;

/// The reading end of one output.
pub(super) struct Output {
    pipe: Option<Receiver>,
    kept: Vec<u8>,
    max: usize,
    seen: u64,
}

impl Output {
    /// Keeps that many bytes.
    pub(super) fn new(pipe: Receiver, max: usize) -> Self {
        Self {
            pipe: Some(pipe),
            kept: Vec::new(),
            max,
            seen: 0,
        }
    }

    /// Reads until nobody writes any more.
    pub(super) async fn drain(&mut self) -> Result<(), Flood> {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk).await {
                Ok(0) | Err(_) => self.pipe = None,
                Ok(length) => self.take(chunk.get(..length).unwrap_or_default()),
            }
            if self.seen > FLOOD_BYTES {
                return Err(Flood);
            }
            // Who always has more to say must not keep the thread from its other jobs.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        let room = self.max.saturating_sub(self.kept.len());
        self.kept
            .extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }

    /// Reads what there is, without waiting, and returns what was kept of all: the text, and whether there was more.
    pub(super) fn finish(mut self) -> (String, bool) {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut left = REST_BYTES;
        while let Some(pipe) = &self.pipe
            && left > 0
        {
            // Beside the runtime, which has perhaps not heard yet that there is something.
            match rustix::io::read(pipe.as_fd(), &mut *chunk) {
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => self.pipe = None,
                Ok(length) => {
                    self.take(chunk.get(..length).unwrap_or_default());
                    left = left.saturating_sub(length);
                }
            }
        }
        let longer = self.seen > self.kept.len() as u64;
        let (text, cut) = text(&self.kept, longer, self.max);
        (text, longer || cut)
    }
}

/// A reading end that never blocks, and its writing end.
pub(super) fn pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((Receiver::from_owned_fd(reader.into())?, writer.into()))
}

/// Bytes as a text of at most `max` bytes. What was cut in the middle of a character ends before it.
fn text(bytes: &[u8], longer: bool, max: usize) -> (String, bool) {
    let mut whole = bytes;
    if longer && let Some(chunk) = bytes.utf8_chunks().last() {
        // A character that only lacks its end: the longest has four bytes.
        let broken = chunk.invalid();
        let begun = matches!(std::str::from_utf8(broken), Err(error) if error.error_len().is_none());
        if begun {
            whole = bytes.get(..bytes.len() - broken.len()).unwrap_or(bytes);
        }
    }
    let mut text = String::from_utf8_lossy(whole).into_owned();
    let cut = text.len() > max;
    if cut {
        // Each byte that is no UTF-8 has become three.
        text.truncate(text.floor_char_boundary(max));
    }
    (text, cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_stays_within_its_bound() {
        for (bytes, longer, max, expected, cut) in [
            (&b"abc"[..], false, 3, "abc", false),
            ("aé".as_bytes(), true, 3, "aé", false),
            (&"aé".as_bytes()[..2], true, 2, "a", false),
            (&"aé".as_bytes()[..2], false, 8, "a\u{fffd}", false),
            (&b"\xff\xff\xff"[..], false, 3, "\u{fffd}", true),
            (&b"a\xff"[..], true, 2, "a", true),
            (&b""[..], false, 3, "", false),
        ] {
            assert_eq!(text(bytes, longer, max), (expected.to_owned(), cut), "{bytes:?}");
        }
    }
}
