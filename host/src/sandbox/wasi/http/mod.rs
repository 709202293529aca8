//! `wasi:http`: requests that go out. Nothing comes in, so that the half of the interface which is for servers is
//! there only as far as a guest can get with it: it can build an answer, and has nobody to give it to.

mod body;
#[cfg(test)]
pub(super) mod evasion;
mod fields;
mod flow;
mod request;
mod response;
mod server;

use super::{View, Wasi};
use crate::{
    capability::{ErrorCode as Why, Failure, Phase},
    sandbox::store::State,
};
use wasmtime::component::{Linker, Resource, ResourceTableError};

mod generated {
    wasmtime::component::bindgen!({
        path: [
            "../wit/deps/io.wit",
            "../wit/deps/clocks.wit",
            "../wit/deps/random.wit",
            "../wit/deps/filesystem.wit",
            "../wit/deps/sockets.wit",
            "../wit/deps/cli.wit",
            "../wit/deps/http.wit",
        ],
        inline: "
            package pulse:http;
            world http {
                import wasi:http/types@0.2.12;
                import wasi:http/outgoing-handler@0.2.12;
            }
        ",
        imports: { default: trappable },
        require_store_data_send: true,
        trappable_error_type: {
            "wasi:http/types.error-code" => super::HttpError,
            "wasi:http/types.header-error" => super::FieldError,
        },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:http/types.fields": super::fields::Fields,
            "wasi:http/types.outgoing-request": super::request::OutgoingRequest,
            "wasi:http/types.request-options": super::request::RequestOptions,
            "wasi:http/types.outgoing-body": super::body::OutgoingBody,
            "wasi:http/types.future-incoming-response": super::response::FutureResponse,
            "wasi:http/types.incoming-response": super::response::IncomingResponse,
            "wasi:http/types.incoming-body": super::response::IncomingBody,
            "wasi:http/types.future-trailers": super::response::FutureTrailers,
            "wasi:http/types.incoming-request": super::server::IncomingRequest,
            "wasi:http/types.outgoing-response": super::server::OutgoingResponse,
            "wasi:http/types.response-outparam": super::server::ResponseOutparam,
        },
    });
}

use generated::wasi::http::{
    outgoing_handler,
    types::{self, DnsErrorPayload, ErrorCode, HeaderError},
};

/// Lends it.
pub fn lend(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    types::add_to_linker::<State, Wasi>(linker, &types::LinkOptions::default(), State::network)?;
    outgoing_handler::add_to_linker::<State, Wasi>(linker, State::network)
}

/// What a call comes to when it fails.
pub enum HttpError {
    /// What the guest is told.
    Code(ErrorCode),
    /// The guest broke the rules of the interface.
    Trap(wasmtime::Error),
}

type HttpResult<T> = Result<T, HttpError>;

impl From<ErrorCode> for HttpError {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<ResourceTableError> for HttpError {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

/// What setting a field comes to when it fails.
pub enum FieldError {
    /// What the guest is told.
    Code(HeaderError),
    /// The guest broke the rules of the interface.
    Trap(wasmtime::Error),
}

type FieldResult<T> = Result<T, FieldError>;

impl From<HeaderError> for FieldError {
    fn from(code: HeaderError) -> Self {
        Self::Code(code)
    }
}

impl From<ResourceTableError> for FieldError {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<Failure> for ErrorCode {
    fn from(failure: Failure) -> Self {
        match failure.code {
            Why::Denied => Self::HttpRequestDenied,
            Why::InvalidRequest => Self::HttpRequestUriInvalid,
            Why::NameNotFound => Self::DnsError(DnsErrorPayload {
                rcode: Some("NXDOMAIN".to_owned()),
                info_code: None,
            }),
            Why::ResolveFailed => Self::DnsTimeout,
            Why::ConnectionRefused => Self::ConnectionRefused,
            Why::ConnectionReset => Self::ConnectionTerminated,
            Why::Unreachable => Self::DestinationUnavailable,
            Why::Timeout => match failure.phase {
                Phase::Prepare | Phase::Resolve => Self::DnsTimeout,
                Phase::Connect | Phase::Tls => Self::ConnectionTimeout,
                Phase::Processing => Self::HttpResponseTimeout,
                Phase::Transfer => Self::ConnectionReadTimeout,
            },
            Why::CertificateExpired | Why::CertificateNameMismatch | Why::CertificateUntrusted => {
                Self::TlsCertificateError
            }
            Why::TlsFailed => Self::TlsProtocolError,
            Why::Protocol => Self::HttpProtocolError,
            Why::TooManyRedirects => Self::LoopDetected,
            Why::Host => Self::InternalError(Some(failure.message)),
        }
    }
}

impl types::Host for View<'_> {
    fn convert_error_code(&mut self, error: HttpError) -> wasmtime::Result<ErrorCode> {
        match error {
            HttpError::Code(code) => Ok(code),
            HttpError::Trap(error) => Err(error),
        }
    }

    fn convert_header_error(&mut self, error: FieldError) -> wasmtime::Result<HeaderError> {
        match error {
            FieldError::Code(code) => Ok(code),
            FieldError::Trap(error) => Err(error),
        }
    }

    fn http_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<ErrorCode>().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        outgoing_handler::Host as _,
        types::{
            HostFields, HostFutureIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
            HostRequestOptions, Scheme,
        },
        *,
    };
    use crate::{
        capability::testing::{self, Recorder},
        sandbox::wasi::Alive,
    };
    use std::sync::Arc;
    use wasmtime::component::ResourceTable;

    fn options_alone(view: &mut View<'_>) {
        HostRequestOptions::new(view).unwrap();
    }

    fn a_body_without_its_message(view: &mut View<'_>) {
        let fields = HostFields::new(view).unwrap();
        let answer = HostOutgoingResponse::new(view, fields).unwrap();
        let borrowed = Resource::new_borrow(answer.rep());
        assert!(HostOutgoingResponse::body(view, borrowed).unwrap().is_ok());
        HostOutgoingResponse::drop(view, answer).unwrap();
    }

    fn a_future_whose_answer_was_taken(view: &mut View<'_>) {
        let fields = HostFields::new(view).unwrap();
        let request = HostOutgoingRequest::new(view, fields).unwrap();
        let borrowed = || Resource::new_borrow(request.rep());
        let scheme = view.set_scheme(borrowed(), Some(Scheme::Http)).unwrap();
        let authority = view
            .set_authority(borrowed(), Some("127.0.0.1".to_owned()))
            .unwrap();
        assert!(scheme.is_ok() && authority.is_ok());
        let Ok(future) = view.handle(request, None) else {
            panic!("no future")
        };
        let got = HostFutureIncomingResponse::get(view, Resource::new_borrow(future.rep())).unwrap();
        assert!(
            matches!(got, Some(Ok(Err(ErrorCode::HttpRequestDenied)))),
            "{got:?}"
        );
    }

    /// An instance in which something is left is not used again, and that is seen by what is alive.
    #[tokio::test]
    async fn whatever_is_left_behind_is_seen() {
        for leave in [
            options_alone,
            a_body_without_its_message,
            a_future_whose_answer_was_taken,
        ] {
            let (lease, alive) = (Arc::new(testing::lease().done()), Alive::default());
            let lender = testing::recorded(&Recorder::default(), Box::new(|_| Vec::new()));
            let mut table = ResourceTable::new();
            leave(&mut View {
                table: &mut table,
                lease: &lease,
                lender: &lender,
                alive: &alive,
            });
            assert!(Arc::strong_count(&alive) > 1);
            drop(table);
            assert_eq!(Arc::strong_count(&alive), 1);
        }
    }
}
