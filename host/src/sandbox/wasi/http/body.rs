//! The body of a request, and the stream that it is written to.

use super::{
    super::{Alive, View},
    ErrorCode, HttpError, HttpResult,
    fields::Fields,
    flow::{Flow, WeakFlow},
    types,
};
use crate::capability::http::upload::{Upload, UploadError};
use bytes::Bytes;
use std::{
    future::pending,
    sync::{Arc, OnceLock},
};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynOutputStream, OutputStream, Pollable, StreamError, StreamResult};

/// The body of a request.
pub struct OutgoingBody {
    upload: Upload,
    stream: Option<BodyStream>,
    done: bool,
    _alive: Alive,
}

/// Where the exchange is told of, once there is one: who waits for room in the body carries it on.
#[derive(Clone, Default)]
pub struct Sink(Arc<OnceLock<WeakFlow>>);

impl Sink {
    pub fn attach(&self, flow: &Flow) {
        let _ = self.0.set(flow.downgrade());
    }

    fn flow(&self) -> Option<Flow> {
        self.0.get()?.upgrade()
    }
}

impl OutgoingBody {
    pub fn new(declared: Option<u64>, alive: &Alive) -> (Self, Upload, Sink) {
        let (upload, sink) = (Upload::new(declared), Sink::default());
        let body = Self {
            upload: upload.clone(),
            stream: Some(BodyStream {
                upload: upload.clone(),
                sink: sink.clone(),
            }),
            done: false,
            _alive: Arc::clone(alive),
        };
        (body, upload, sink)
    }
}

impl Drop for OutgoingBody {
    fn drop(&mut self) {
        if !self.done {
            self.upload.give_up();
        }
    }
}

impl From<UploadError> for ErrorCode {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Closed => Self::ConnectionTerminated,
            UploadError::Size(bytes) => Self::HttpRequestBodySize(Some(bytes)),
        }
    }
}

impl types::HostOutgoingBody for View<'_> {
    fn write(
        &mut self,
        this: Resource<OutgoingBody>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let Some(stream) = self.table.get_mut(&this)?.stream.take() else {
            return Ok(Err(()));
        };
        let stream: DynOutputStream = Box::new(stream);
        Ok(Ok(self.table.push_child(stream, &this)?))
    }

    fn finish(&mut self, this: Resource<OutgoingBody>, trailers: Option<Resource<Fields>>) -> HttpResult<()> {
        let mut body = self.table.delete(this)?;
        if let Some(trailers) = trailers {
            let trailers = self.table.delete(trailers)?;
            if !trailers.headers().is_empty() {
                // Servers hardly ever look at them, and what relays a request may take them for fields of its head.
                return Err(ErrorCode::HttpRequestTrailerSectionSize(Some(0)).into());
            }
        }
        body.done = true;
        body.upload
            .finish()
            .map_err(|error| HttpError::Code(error.into()))?;
        Ok(())
    }

    fn drop(&mut self, this: Resource<OutgoingBody>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// What a guest writes a body to.
pub struct BodyStream {
    upload: Upload,
    sink: Sink,
}

impl BodyStream {
    fn failed(error: UploadError) -> StreamError {
        match error {
            UploadError::Closed => StreamError::Closed,
            error @ UploadError::Size(_) => {
                StreamError::LastOperationFailed(wasmtime::Error::new(ErrorCode::from(error)))
            }
        }
    }

    fn carry_on(&self) {
        if let Some(flow) = self.sink.flow() {
            flow.look(|_| ());
        }
    }
}

impl OutputStream for BodyStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.upload.room().map_err(Self::failed)? {
            return Err(StreamError::trap("write exceeds what check-write allows"));
        }
        self.upload.write(&bytes).map_err(Self::failed)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.carry_on();
        self.upload.room().map(|_| ()).map_err(Self::failed)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.carry_on();
        self.upload.room().map_err(Self::failed)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for BodyStream {
    async fn ready(&mut self) {
        if self.upload.room() != Ok(0) {
            return;
        }
        match self.sink.flow() {
            Some(flow) => flow.until(|_| self.upload.room() != Ok(0)).await,
            // The request was given up before it was sent, or never sent: nobody will ever make room.
            None => pending().await,
        }
    }
}
