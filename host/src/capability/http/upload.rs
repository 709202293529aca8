//! The body of a request that is written while it is sent.
//!
//! Architecture invariant: at most [`WAITING_BYTES_MAX`] wait here, and at most
//! [`REQUEST_BODY_BYTES_MAX`](super::REQUEST_BODY_BYTES_MAX) go through.

use super::REQUEST_BODY_BYTES_MAX;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// Bytes that were written and wait to be sent.
pub const WAITING_BYTES_MAX: usize = 64 << 10;

/// The guest's end of a body; the connection has the other.
#[derive(Clone, Debug)]
pub struct Upload(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// What the head of the request says, if it says anything.
    declared: Option<u64>,
    written: u64,
    /// One buffer, however small the pieces are in which it is written: they lie in the host's memory.
    waiting: BytesMut,
    end: Option<End>,
    /// Whoever waits for more of it.
    wake: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finished,
    /// The guest let it go: what was sent is no whole request.
    Broken,
    /// The connection let it go: nobody reads any more.
    Unread,
}

/// Why a body can't be written or finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadError {
    /// Nobody reads it any more.
    Closed,
    /// That many bytes are more than the body may have, or not as many as it was to have.
    Size(u64),
}

impl Upload {
    /// A body of that length, or of any.
    #[must_use]
    pub fn new(declared: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(State {
            declared,
            written: 0,
            waiting: BytesMut::new(),
            end: None,
            wake: None,
        })))
    }

    /// Bytes that can be written at once. Zero: not yet.
    ///
    /// # Errors
    /// Nobody reads it any more.
    pub fn room(&self) -> Result<usize, UploadError> {
        let state = self.lock();
        match state.end {
            None => Ok(WAITING_BYTES_MAX.saturating_sub(state.waiting.len())),
            Some(_) => Err(UploadError::Closed),
        }
    }

    /// Adds bytes, no more than there is room for.
    ///
    /// # Errors
    /// The body is longer than it may be, or nobody reads it any more.
    pub fn write(&self, bytes: &[u8]) -> Result<(), UploadError> {
        let mut state = self.lock();
        if state.end.is_some() {
            return Err(UploadError::Closed);
        }
        let written = state.written.saturating_add(bytes.len() as u64);
        let max = REQUEST_BODY_BYTES_MAX as u64;
        if written > state.declared.map_or(max, |declared| declared.min(max)) {
            state.finish(End::Broken);
            return Err(UploadError::Size(written));
        }
        state.written = written;
        if !bytes.is_empty() {
            state.waiting.extend_from_slice(bytes);
            state.wake();
        }
        Ok(())
    }

    /// The body is complete.
    ///
    /// # Errors
    /// It is shorter than the head says.
    pub fn finish(&self) -> Result<(), UploadError> {
        let mut state = self.lock();
        match (state.end, state.declared) {
            (Some(End::Broken), _) => Err(UploadError::Size(state.written)),
            (_, Some(declared)) if declared != state.written => {
                state.finish(End::Broken);
                Err(UploadError::Size(state.written))
            }
            _ => {
                state.finish(End::Finished);
                Ok(())
            }
        }
    }

    /// The guest gives it up; without effect on one that is finished.
    pub fn give_up(&self) {
        self.lock().finish(End::Broken);
    }

    /// Whether the target, and not the guest, has the next move.
    #[must_use]
    pub fn is_with_the_target(&self) -> bool {
        let state = self.lock();
        state.end.is_some() || !state.waiting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end that is sent.
    pub(super) fn outgoing(&self) -> OutgoingBody {
        OutgoingBody(self.clone())
    }
}

impl State {
    fn finish(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            self.wake();
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.wake.take() {
            waker.wake();
        }
    }
}

/// See [`Upload::outgoing`].
#[derive(Debug)]
pub(super) struct OutgoingBody(Upload);

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut state = self.0.lock();
        if !state.waiting.is_empty() {
            let bytes = std::mem::take(&mut state.waiting).freeze();
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        match state.end {
            Some(End::Finished) => Poll::Ready(None),
            Some(End::Broken | End::Unread) => {
                let error = io::Error::other("the guest has not finished the body of its request");
                Poll::Ready(Some(Err(error)))
            }
            None => {
                state.wake = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.lock();
        state.end == Some(End::Finished) && state.waiting.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.0.lock();
        match (state.declared, state.end) {
            (Some(declared), _) => {
                let left = declared.saturating_sub(state.written) + state.waiting.len() as u64;
                SizeHint::with_exact(left)
            }
            // Whole before anything is sent: there is no need to send it in pieces.
            (None, Some(End::Finished)) => SizeHint::with_exact(state.waiting.len() as u64),
            (None, _) => SizeHint::default(),
        }
    }
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.finish(End::Unread);
        state.waiting = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(body: &mut OutgoingBody) -> Poll<Option<Result<Bytes, io::Error>>> {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(body)
            .poll_frame(&mut cx)
            .map(|frame| frame.map(|frame| frame.map(|frame| frame.into_data().unwrap())))
    }

    #[test]
    fn so_much_waits_and_so_much_goes_through() {
        let upload = Upload::new(None);
        let mut body = upload.outgoing();
        assert!(next(&mut body).is_pending() && !upload.is_with_the_target());
        let mut written = 0;
        while written < REQUEST_BODY_BYTES_MAX {
            upload.write(&vec![1; WAITING_BYTES_MAX]).unwrap();
            written += WAITING_BYTES_MAX;
            assert_eq!(upload.room(), Ok(0));
            assert!(upload.is_with_the_target());
            assert!(matches!(next(&mut body), Poll::Ready(Some(Ok(_)))));
        }
        assert_eq!(
            upload.write(&[1]),
            Err(UploadError::Size(REQUEST_BODY_BYTES_MAX as u64 + 1))
        );
        // What has gone out is no whole request.
        assert!(matches!(next(&mut body), Poll::Ready(Some(Err(_)))));
        assert_eq!(upload.room(), Err(UploadError::Closed));
    }

    #[test]
    fn many_small_pieces_are_one_large_one() {
        let upload = Upload::new(None);
        let mut body = upload.outgoing();
        for index in 0..WAITING_BYTES_MAX {
            assert_eq!(upload.room(), Ok(WAITING_BYTES_MAX - index));
            upload.write(&[1]).unwrap();
        }
        assert_eq!(upload.room(), Ok(0));
        match next(&mut body) {
            Poll::Ready(Some(Ok(bytes))) => assert_eq!(bytes.len(), WAITING_BYTES_MAX),
            other => panic!("{other:?}"),
        }
        assert_eq!(upload.room(), Ok(WAITING_BYTES_MAX));
        assert!(next(&mut body).is_pending());
        // Nothing is kept that nobody will read.
        upload.write(&vec![1; WAITING_BYTES_MAX]).unwrap();
        drop(body);
        assert_eq!(upload.lock().waiting.capacity(), 0);
    }

    #[test]
    fn no_word_about_the_length_lifts_the_bound() {
        let upload = Upload::new(Some(100 << 30));
        let mut body = upload.outgoing();
        for _ in 0..REQUEST_BODY_BYTES_MAX / WAITING_BYTES_MAX {
            upload.write(&vec![1; WAITING_BYTES_MAX]).unwrap();
            assert!(matches!(next(&mut body), Poll::Ready(Some(Ok(_)))));
        }
        assert_eq!(
            upload.write(&[1]),
            Err(UploadError::Size(REQUEST_BODY_BYTES_MAX as u64 + 1))
        );
    }

    #[test]
    fn what_was_declared_is_what_is_sent() {
        for (written, fits) in [(4, false), (5, true)] {
            let upload = Upload::new(Some(5));
            let mut body = upload.outgoing();
            assert_eq!(body.size_hint().exact(), Some(5));
            upload.write(&vec![1; written]).unwrap();
            assert_eq!(
                body.size_hint().exact(),
                Some(5),
                "what waits is still to be sent"
            );
            assert_eq!(upload.finish().is_ok(), fits);
            assert!(matches!(next(&mut body), Poll::Ready(Some(Ok(_)))));
            match next(&mut body) {
                Poll::Ready(None) => assert!(fits && body.is_end_stream()),
                Poll::Ready(Some(Err(_))) => assert!(!fits),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(Upload::new(Some(5)).write(&[1; 6]), Err(UploadError::Size(6)));
        // One that is whole before it is sent needs no chunks.
        let upload = Upload::new(None);
        upload.write(&[1; 3]).unwrap();
        upload.finish().unwrap();
        assert_eq!(upload.outgoing().size_hint().exact(), Some(3));
    }

    #[test]
    fn either_end_can_let_go() {
        let upload = Upload::new(None);
        let mut body = upload.outgoing();
        upload.give_up();
        assert!(matches!(next(&mut body), Poll::Ready(Some(Err(_)))));
        let upload = Upload::new(None);
        upload.write(&[1; 3]).unwrap();
        drop(upload.outgoing());
        assert_eq!(upload.room(), Err(UploadError::Closed));
        assert_eq!(upload.write(&[1]), Err(UploadError::Closed));
    }
}
