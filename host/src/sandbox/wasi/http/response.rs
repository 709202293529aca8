//! Answers, as they come in.

use super::{
    super::{Alive, View},
    ErrorCode,
    fields::{Fields, TooLarge},
    flow::Flow,
    types,
};
use bytes::Bytes;
use std::sync::Arc;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynInputStream, DynPollable, InputStream, Pollable, StreamError, StreamResult, subscribe,
};

/// An answer that is waited for.
pub struct FutureResponse {
    /// None once it was taken.
    flow: Option<Flow>,
    _alive: Alive,
}

impl FutureResponse {
    pub fn new(flow: Flow, alive: &Alive) -> Self {
        Self {
            flow: Some(flow),
            _alive: Arc::clone(alive),
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FutureResponse {
    async fn ready(&mut self) {
        if let Some(flow) = &self.flow {
            flow.until(|progress| progress.head.is_some()).await;
        }
    }
}

/// An answer whose head is there.
pub struct IncomingResponse {
    status: u16,
    fields: Fields,
    /// None once its body was taken.
    flow: Option<Flow>,
}

/// The body of an answer.
pub struct IncomingBody {
    flow: Flow,
    streamed: bool,
}

/// What follows the body.
pub struct FutureTrailers {
    flow: Flow,
    taken: bool,
}

type Got<T> = wasmtime::Result<Option<Result<Result<T, ErrorCode>, ()>>>;

impl types::HostFutureIncomingResponse for View<'_> {
    fn subscribe(&mut self, this: Resource<FutureResponse>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn get(&mut self, this: Resource<FutureResponse>) -> Got<Resource<IncomingResponse>> {
        let future = self.table.get_mut(&this)?;
        let Some(flow) = &future.flow else {
            return Ok(Some(Err(())));
        };
        let Some(head) = flow.look(|progress| progress.head.take()) else {
            return Ok(None);
        };
        let flow = future.flow.take();
        match head {
            Ok(head) => {
                let fields = match Fields::received(head.headers, self.alive) {
                    Ok(fields) => fields,
                    Err(TooLarge(bytes)) => {
                        let code = ErrorCode::HttpResponseHeaderSectionSize(Some(bytes));
                        return Ok(Some(Ok(Err(code))));
                    }
                };
                let response = IncomingResponse {
                    status: head.status.as_u16(),
                    fields,
                    flow,
                };
                Ok(Some(Ok(Ok(self.table.push(response)?))))
            }
            Err(failure) => Ok(Some(Ok(Err(failure.into())))),
        }
    }

    fn drop(&mut self, this: Resource<FutureResponse>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl types::HostIncomingResponse for View<'_> {
    fn status(&mut self, this: Resource<IncomingResponse>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&this)?.status)
    }

    fn headers(&mut self, this: Resource<IncomingResponse>) -> wasmtime::Result<Resource<Fields>> {
        let fields = self.table.get(&this)?.fields.clone();
        Ok(self.table.push(fields)?)
    }

    fn consume(
        &mut self,
        this: Resource<IncomingResponse>,
    ) -> wasmtime::Result<Result<Resource<IncomingBody>, ()>> {
        let Some(flow) = self.table.get_mut(&this)?.flow.take() else {
            return Ok(Err(()));
        };
        let body = IncomingBody {
            flow,
            streamed: false,
        };
        Ok(Ok(self.table.push(body)?))
    }

    fn drop(&mut self, this: Resource<IncomingResponse>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl types::HostIncomingBody for View<'_> {
    fn stream(
        &mut self,
        this: Resource<IncomingBody>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, ()>> {
        let body = self.table.get_mut(&this)?;
        if std::mem::replace(&mut body.streamed, true) {
            return Ok(Err(()));
        }
        let stream: DynInputStream = Box::new(BodyStream(body.flow.clone()));
        Ok(Ok(self.table.push_child(stream, &this)?))
    }

    fn finish(&mut self, this: Resource<IncomingBody>) -> wasmtime::Result<Resource<FutureTrailers>> {
        let body = self.table.delete(this)?;
        Ok(self.table.push(FutureTrailers {
            flow: body.flow,
            taken: false,
        })?)
    }

    fn drop(&mut self, this: Resource<IncomingBody>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// What a guest reads a body from.
struct BodyStream(Flow);

impl InputStream for BodyStream {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.0.look(|progress| {
            if let Some(frame) = &mut progress.frame {
                let bytes = frame.split_to(size.min(frame.len()));
                if frame.is_empty() {
                    progress.frame = None;
                }
                return Ok(bytes);
            }
            match &progress.end {
                None => Ok(Bytes::new()),
                Some(Ok(_)) => Err(StreamError::Closed),
                Some(Err(failure)) => {
                    let code = ErrorCode::from(failure.clone());
                    Err(StreamError::LastOperationFailed(wasmtime::Error::new(code)))
                }
            }
        })
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for BodyStream {
    async fn ready(&mut self) {
        self.0
            .until(|progress| progress.frame.is_some() || progress.end.is_some())
            .await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for FutureTrailers {
    async fn ready(&mut self) {
        if !self.taken {
            self.flow
                .until(|progress| {
                    // Nobody wants the rest of the body any more.
                    progress.frame = None;
                    progress.end.is_some()
                })
                .await;
        }
    }
}

impl types::HostFutureTrailers for View<'_> {
    fn subscribe(&mut self, this: Resource<FutureTrailers>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn get(&mut self, this: Resource<FutureTrailers>) -> Got<Option<Resource<Fields>>> {
        let trailers = self.table.get_mut(&this)?;
        if trailers.taken {
            return Ok(Some(Err(())));
        }
        let end = trailers.flow.look(|progress| {
            progress.frame = None;
            progress.end.clone()
        });
        let Some(end) = end else {
            return Ok(None);
        };
        trailers.taken = true;
        Ok(Some(Ok(match end {
            Ok(None) => Ok(None),
            Ok(Some(fields)) => match Fields::received(fields, self.alive) {
                Ok(fields) => Ok(Some(self.table.push(fields)?)),
                Err(TooLarge(bytes)) => Err(ErrorCode::HttpResponseTrailerSectionSize(Some(bytes))),
            },
            Err(failure) => Err(failure.into()),
        })))
    }

    fn drop(&mut self, this: Resource<FutureTrailers>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
