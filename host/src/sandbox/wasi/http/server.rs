//! The half of the interface that is for servers. No request ever comes in, so that of two of its resources there is
//! none, and the third can be built and dropped.

use super::{
    super::View,
    ErrorCode, HttpError, HttpResult,
    body::OutgoingBody,
    fields::Fields,
    response::IncomingBody,
    types::{self, Method, Scheme},
};
use wasmtime::component::Resource;

/// A request that came in; there is none.
pub enum IncomingRequest {}

/// Who waits for an answer; there is nobody.
pub enum ResponseOutparam {}

/// An answer that nobody will be given.
pub struct OutgoingResponse {
    status: u16,
    fields: Fields,
    has_body: bool,
}

impl types::HostIncomingRequest for View<'_> {
    fn method(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<Method> {
        match *self.table.get(&this)? {}
    }

    fn path_with_query(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<Option<String>> {
        match *self.table.get(&this)? {}
    }

    fn scheme(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<Option<Scheme>> {
        match *self.table.get(&this)? {}
    }

    fn authority(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<Option<String>> {
        match *self.table.get(&this)? {}
    }

    fn headers(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<Resource<Fields>> {
        match *self.table.get(&this)? {}
    }

    fn consume(
        &mut self,
        this: Resource<IncomingRequest>,
    ) -> wasmtime::Result<Result<Resource<IncomingBody>, ()>> {
        match *self.table.get(&this)? {}
    }

    fn drop(&mut self, this: Resource<IncomingRequest>) -> wasmtime::Result<()> {
        match self.table.delete(this)? {}
    }
}

impl types::HostResponseOutparam for View<'_> {
    fn send_informational(
        &mut self,
        this: Resource<ResponseOutparam>,
        _status: u16,
        _fields: Resource<Fields>,
    ) -> HttpResult<()> {
        match *self.table.get(&this).map_err(HttpError::from)? {}
    }

    fn set(
        &mut self,
        this: Resource<ResponseOutparam>,
        _response: Result<Resource<OutgoingResponse>, ErrorCode>,
    ) -> wasmtime::Result<()> {
        match self.table.delete(this)? {}
    }

    fn drop(&mut self, this: Resource<ResponseOutparam>) -> wasmtime::Result<()> {
        match self.table.delete(this)? {}
    }
}

impl types::HostOutgoingResponse for View<'_> {
    fn new(&mut self, fields: Resource<Fields>) -> wasmtime::Result<Resource<OutgoingResponse>> {
        let mut fields = self.table.delete(fields)?;
        fields.fix();
        Ok(self.table.push(OutgoingResponse {
            status: 200,
            fields,
            has_body: false,
        })?)
    }

    fn status_code(&mut self, this: Resource<OutgoingResponse>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&this)?.status)
    }

    fn set_status_code(
        &mut self,
        this: Resource<OutgoingResponse>,
        status: u16,
    ) -> wasmtime::Result<Result<(), ()>> {
        let response = self.table.get_mut(&this)?;
        if !(100..=999).contains(&status) {
            return Ok(Err(()));
        }
        response.status = status;
        Ok(Ok(()))
    }

    fn headers(&mut self, this: Resource<OutgoingResponse>) -> wasmtime::Result<Resource<Fields>> {
        let fields = self.table.get(&this)?.fields.clone();
        Ok(self.table.push(fields)?)
    }

    fn body(
        &mut self,
        this: Resource<OutgoingResponse>,
    ) -> wasmtime::Result<Result<Resource<OutgoingBody>, ()>> {
        let response = self.table.get_mut(&this)?;
        if std::mem::replace(&mut response.has_body, true) {
            return Ok(Err(()));
        }
        let (body, ..) = OutgoingBody::new(None, self.alive);
        Ok(Ok(self.table.push(body)?))
    }

    fn drop(&mut self, this: Resource<OutgoingResponse>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
