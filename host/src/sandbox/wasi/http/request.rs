//! Requests on their way out: what may be asked for, and how long to wait.

use super::{
    super::{Alive, View},
    ErrorCode, HttpResult,
    body::OutgoingBody,
    fields::Fields,
    flow::Flow,
    outgoing_handler,
    response::FutureResponse,
    types::{self, Method, Scheme},
};
use crate::{
    capability::{
        http::{
            REQUEST_BODY_BYTES_MAX,
            streaming::{self, Exchange, Head, Patience},
            upload::Upload,
        },
        target::{URL_BYTES_MAX, WebTarget},
    },
    domain::time::nanos,
};
use std::{sync::Arc, time::Duration};
use wasmtime::component::Resource;

/// A request that is put together.
pub struct OutgoingRequest {
    method: Method,
    scheme: Option<Scheme>,
    authority: Option<String>,
    path: Option<String>,
    fields: Fields,
    upload: Option<(Upload, super::body::Sink)>,
}

/// How long the guest wants to wait.
pub struct RequestOptions {
    patience: Patience,
    _alive: Alive,
}

impl OutgoingRequest {
    fn url(&self) -> Result<String, ErrorCode> {
        let scheme = match &self.scheme {
            Some(Scheme::Http) => "http",
            None | Some(Scheme::Https) => "https",
            Some(Scheme::Other(_)) => return Err(ErrorCode::HttpProtocolError),
        };
        let authority = self.authority.as_deref().unwrap_or_default();
        let path = self.path.as_deref().unwrap_or_default();
        if authority.len() + path.len() > URL_BYTES_MAX {
            return Err(ErrorCode::HttpRequestUriTooLong);
        }
        // Each part was checked when it was set, and so they can't become something else when put together.
        Ok(format!("{scheme}://{authority}{path}"))
    }
}

/// Whether it is a host with or without a port, and nothing but that.
fn is_authority(text: &str) -> bool {
    !text.contains(['/', '?', '#', '@', '\\'])
        && text.len() <= URL_BYTES_MAX
        && WebTarget::parse(&format!("http://{text}/")).is_ok()
}

/// Whether it is a path with or without a query: an absolute URI, or an authority, would be another target than the
/// one that is checked.
fn is_path(text: &str) -> bool {
    (text.is_empty() || text.starts_with(['/', '?']))
        && !text.contains(['#', '\\'])
        && !text.contains(|c: char| c.is_control() || c.is_whitespace())
        && text.len() <= URL_BYTES_MAX
}

fn name_of(method: &Method) -> &str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Connect => "CONNECT",
        Method::Options => "OPTIONS",
        Method::Trace => "TRACE",
        Method::Patch => "PATCH",
        Method::Other(other) => other,
    }
}

fn set<T>(place: &mut T, value: T, fits: bool) -> Result<(), ()> {
    if fits {
        *place = value;
        Ok(())
    } else {
        Err(())
    }
}

impl types::HostOutgoingRequest for View<'_> {
    fn new(&mut self, fields: Resource<Fields>) -> wasmtime::Result<Resource<OutgoingRequest>> {
        let mut fields = self.table.delete(fields)?;
        fields.fix();
        Ok(self.table.push(OutgoingRequest {
            method: Method::Get,
            scheme: None,
            authority: None,
            path: None,
            fields,
            upload: None,
        })?)
    }

    fn body(
        &mut self,
        this: Resource<OutgoingRequest>,
    ) -> wasmtime::Result<Result<Resource<OutgoingBody>, ()>> {
        let request = self.table.get_mut(&this)?;
        if request.upload.is_some() {
            return Ok(Err(()));
        }
        let Ok(declared) = request.fields.content_length() else {
            return Ok(Err(()));
        };
        let (body, upload, sink) = OutgoingBody::new(declared, self.alive);
        request.upload = Some((upload, sink));
        Ok(Ok(self.table.push(body)?))
    }

    fn method(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<Method> {
        Ok(self.table.get(&this)?.method.clone())
    }

    fn set_method(
        &mut self,
        this: Resource<OutgoingRequest>,
        method: Method,
    ) -> wasmtime::Result<Result<(), ()>> {
        let fits = streaming::method(name_of(&method)).is_ok();
        Ok(set(&mut self.table.get_mut(&this)?.method, method, fits))
    }

    fn path_with_query(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&this)?.path.clone())
    }

    fn set_path_with_query(
        &mut self,
        this: Resource<OutgoingRequest>,
        path: Option<String>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let fits = path.as_deref().is_none_or(is_path);
        Ok(set(&mut self.table.get_mut(&this)?.path, path, fits))
    }

    fn scheme(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<Option<Scheme>> {
        Ok(self.table.get(&this)?.scheme.clone())
    }

    fn set_scheme(
        &mut self,
        this: Resource<OutgoingRequest>,
        scheme: Option<Scheme>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let fits = !matches!(scheme, Some(Scheme::Other(_)));
        Ok(set(&mut self.table.get_mut(&this)?.scheme, scheme, fits))
    }

    fn authority(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&this)?.authority.clone())
    }

    fn set_authority(
        &mut self,
        this: Resource<OutgoingRequest>,
        authority: Option<String>,
    ) -> wasmtime::Result<Result<(), ()>> {
        let fits = authority.as_deref().is_none_or(is_authority);
        Ok(set(&mut self.table.get_mut(&this)?.authority, authority, fits))
    }

    fn headers(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<Resource<Fields>> {
        let fields = self.table.get(&this)?.fields.clone();
        Ok(self.table.push(fields)?)
    }

    fn drop(&mut self, this: Resource<OutgoingRequest>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl types::HostRequestOptions for View<'_> {
    fn new(&mut self) -> wasmtime::Result<Resource<RequestOptions>> {
        Ok(self.table.push(RequestOptions {
            patience: Patience::default(),
            _alive: Arc::clone(self.alive),
        })?)
    }

    fn connect_timeout(&mut self, this: Resource<RequestOptions>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&this)?.patience.connect.map(nanos))
    }

    fn set_connect_timeout(
        &mut self,
        this: Resource<RequestOptions>,
        wait: Option<u64>,
    ) -> wasmtime::Result<Result<(), ()>> {
        self.table.get_mut(&this)?.patience.connect = wait.map(Duration::from_nanos);
        Ok(Ok(()))
    }

    fn first_byte_timeout(&mut self, this: Resource<RequestOptions>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&this)?.patience.first_byte.map(nanos))
    }

    fn set_first_byte_timeout(
        &mut self,
        this: Resource<RequestOptions>,
        wait: Option<u64>,
    ) -> wasmtime::Result<Result<(), ()>> {
        self.table.get_mut(&this)?.patience.first_byte = wait.map(Duration::from_nanos);
        Ok(Ok(()))
    }

    fn between_bytes_timeout(&mut self, this: Resource<RequestOptions>) -> wasmtime::Result<Option<u64>> {
        Ok(self.table.get(&this)?.patience.between_bytes.map(nanos))
    }

    fn set_between_bytes_timeout(
        &mut self,
        this: Resource<RequestOptions>,
        wait: Option<u64>,
    ) -> wasmtime::Result<Result<(), ()>> {
        self.table.get_mut(&this)?.patience.between_bytes = wait.map(Duration::from_nanos);
        Ok(Ok(()))
    }

    fn drop(&mut self, this: Resource<RequestOptions>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl outgoing_handler::Host for View<'_> {
    fn handle(
        &mut self,
        request: Resource<OutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> HttpResult<Resource<FutureResponse>> {
        let patience = match options {
            Some(options) => self.table.get(&options)?.patience,
            None => Patience::default(),
        };
        let request = self.table.delete(request)?;
        let url = request.url()?;
        let declared = request
            .fields
            .content_length()
            .map_err(|()| ErrorCode::HttpRequestBodySize(None))?;
        let max = match request.upload {
            Some(_) => REQUEST_BODY_BYTES_MAX as u64,
            None => 0,
        };
        if declared.is_some_and(|bytes| bytes > max) {
            return Err(ErrorCode::HttpRequestBodySize(declared).into());
        }
        let method = name_of(&request.method).to_owned();
        let (upload, sink) = request.upload.unzip();
        let head = Head {
            method,
            url,
            fields: request.fields.headers().clone(),
            upload,
        };
        let exchange = Exchange::new(self.lender, self.lease, head, patience).map_err(ErrorCode::from)?;
        let flow = Flow::new(exchange, self.lease, self.alive);
        if let Some(sink) = sink {
            sink.attach(&flow);
        }
        // The request is on its way while the guest does something else: as far as it comes without waiting.
        flow.look(|_| ());
        Ok(self.table.push(FutureResponse::new(flow, self.alive))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url_are_nothing_but_what_they_are_called() {
        for path in ["", "/", "/a?b=c", "?q", "/%2e%2e/", "//double", "/a:b@c"] {
            assert!(is_path(path), "{path}");
        }
        for path in [
            "http://169.254.169.254/",
            "@169.254.169.254/",
            ".evil.example/",
            ":80/",
            "a",
            "*",
            "/a b",
            "/a\r\nHost: b",
            "/#f",
            "/\\@b",
        ] {
            assert!(!is_path(path), "{path}");
        }
        for authority in ["example.com", "example.com:8080", "[::1]:80", "127.0.0.1"] {
            assert!(is_authority(authority), "{authority}");
        }
        for authority in [
            "",
            "user@example.com",
            "example.com/path",
            "example.com?q",
            "example.com#f",
            "example.com:0",
            "0x7f.1",
            "2130706433",
            "a b",
            "a\\b",
            "example.com:80:80",
        ] {
            assert!(!is_authority(authority), "{authority}");
        }
    }
}
