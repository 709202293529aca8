//! The standard `wasi:sockets` and `wasi:http`, over the same way out as what the host lends itself.
//!
//! Architecture invariant: nothing here opens a socket, resolves a name or decides about a grant: that is
//! `capability/`. What is under way here lives in the instance's table and is polled on the instance's own time, so that
//! it ends with the instance and nobody else pays for it. A guest that waits for one of these pollables waits for its
//! target; one that sleeps or computes beside them does not.

mod address;
#[cfg(test)]
mod evasion_tests;
mod http;
mod lookup;
mod pending;
mod tcp;
mod tcp_stream;
mod udp;

use super::store::State;
use crate::capability::{ErrorCode as Why, Failure, Lease, Lender};
use std::sync::{Arc, atomic::AtomicUsize};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable, ResourceTableError};

mod generated {
    wasmtime::component::bindgen!({
        path: [
            "../wit/deps/io.wit",
            "../wit/deps/clocks.wit",
            "../wit/deps/sockets.wit",
        ],
        inline: "
            package pulse:sockets;
            world sockets {
                import wasi:sockets/instance-network@0.2.12;
                import wasi:sockets/network@0.2.12;
                import wasi:sockets/ip-name-lookup@0.2.12;
                import wasi:sockets/tcp-create-socket@0.2.12;
                import wasi:sockets/tcp@0.2.12;
                import wasi:sockets/udp-create-socket@0.2.12;
                import wasi:sockets/udp@0.2.12;
            }
        ",
        imports: { default: trappable },
        require_store_data_send: true,
        trappable_error_type: {
            "wasi:sockets/network.error-code" => super::SocketError,
        },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:sockets/network.network": super::Network,
            "wasi:sockets/ip-name-lookup.resolve-address-stream": super::lookup::Addresses,
            "wasi:sockets/tcp.tcp-socket": super::tcp::TcpSocket,
            "wasi:sockets/udp.udp-socket": super::udp::UdpSocket,
            "wasi:sockets/udp.incoming-datagram-stream": super::udp::Incoming,
            "wasi:sockets/udp.outgoing-datagram-stream": super::udp::Outgoing,
        },
    });
}

use generated::wasi::sockets::{
    instance_network, ip_name_lookup,
    network::{self, ErrorCode},
    tcp as tcp_bindings, tcp_create_socket, udp as udp_bindings, udp_create_socket,
};

/// What stands for the network in `wasi:sockets`. It is no capability: what may be reached is the grants' business.
pub struct Network;

/// An instance, as these interfaces see it.
pub struct View<'a> {
    pub table: &'a mut ResourceTable,
    pub lease: &'a Arc<Lease>,
    pub lender: &'a Arc<Lender>,
    /// Held by everything that outlives a call: an instance in which something is left is not used again.
    pub alive: &'a Alive,
}

/// Counts what is alive, and what of it grows.
pub type Alive = Arc<Held>;

/// See [`Alive`].
#[derive(Debug, Default)]
pub struct Held {
    /// Bytes of all header fields.
    field_bytes: AtomicUsize,
}

struct Wasi;

impl HasData for Wasi {
    type Data<'a> = View<'a>;
}

/// Lends them.
pub fn lend(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    instance_network::add_to_linker::<State, Wasi>(linker, State::network)?;
    network::add_to_linker::<State, Wasi>(linker, &network::LinkOptions::default(), State::network)?;
    ip_name_lookup::add_to_linker::<State, Wasi>(linker, State::network)?;
    tcp_create_socket::add_to_linker::<State, Wasi>(linker, State::network)?;
    tcp_bindings::add_to_linker::<State, Wasi>(linker, State::network)?;
    udp_create_socket::add_to_linker::<State, Wasi>(linker, State::network)?;
    udp_bindings::add_to_linker::<State, Wasi>(linker, State::network)?;
    http::lend(linker)
}

/// What a socket call comes to when it fails.
pub enum SocketError {
    /// What the guest is told.
    Code(ErrorCode),
    /// The guest broke the rules of the interface.
    Trap(wasmtime::Error),
}

type SocketResult<T> = Result<T, SocketError>;

impl From<ErrorCode> for SocketError {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<ResourceTableError> for SocketError {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<wasmtime::Error> for SocketError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl From<&Failure> for ErrorCode {
    fn from(failure: &Failure) -> Self {
        match failure.code {
            Why::Denied => Self::AccessDenied,
            Why::InvalidRequest => Self::InvalidArgument,
            Why::NameNotFound => Self::NameUnresolvable,
            Why::ResolveFailed => Self::TemporaryResolverFailure,
            Why::ConnectionRefused => Self::ConnectionRefused,
            Why::ConnectionReset => Self::ConnectionReset,
            Why::Unreachable => Self::RemoteUnreachable,
            Why::Timeout => Self::Timeout,
            Why::Host => Self::NewSocketLimit,
            _ => Self::Unknown,
        }
    }
}

impl From<Failure> for SocketError {
    fn from(failure: Failure) -> Self {
        Self::Code((&failure).into())
    }
}

impl network::Host for View<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        match error {
            SocketError::Code(code) => Ok(code),
            SocketError::Trap(error) => Err(error),
        }
    }

    fn network_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<ErrorCode>> {
        let error = self.table.get(&error)?.downcast_ref::<std::io::Error>();
        Ok(error.map(|error| match error.kind() {
            std::io::ErrorKind::ConnectionReset => ErrorCode::ConnectionReset,
            std::io::ErrorKind::ConnectionAborted => ErrorCode::ConnectionAborted,
            std::io::ErrorKind::ConnectionRefused => ErrorCode::ConnectionRefused,
            std::io::ErrorKind::TimedOut => ErrorCode::Timeout,
            _ => ErrorCode::Unknown,
        }))
    }
}

impl network::HostNetwork for View<'_> {
    fn drop(&mut self, this: Resource<Network>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl instance_network::Host for View<'_> {
    fn instance_network(&mut self) -> wasmtime::Result<Resource<Network>> {
        Ok(self.table.push(Network)?)
    }
}
