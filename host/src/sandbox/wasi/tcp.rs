//! `wasi:sockets/tcp`: connections that go out. A socket has no descriptor before it has the permit for one.

use super::{
    Alive, ErrorCode, Network, SocketResult, View, address,
    network::{IpAddressFamily, IpSocketAddress},
    pending::Pending,
    tcp_bindings::{self, ShutdownType},
    tcp_create_socket,
    tcp_stream::{Connection, Input, Output},
};
use crate::capability::{
    Failure,
    socket::{self, BUFFER_BYTES_MAX, Options},
    stream::Stream,
};
use std::{io, sync::Arc, time::Duration};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, Pollable, subscribe};

/// What the options are while nobody has set them; the system's own defaults.
const KEEP_IDLE: Duration = Duration::from_secs(7200);
const KEEP_INTERVAL: Duration = Duration::from_secs(75);
const KEEP_COUNT: u32 = 9;
const HOP_LIMIT: u8 = 64;
/// Linux takes no more.
const KEEP_MAX: Duration = Duration::from_secs(32_767);
const KEEP_COUNT_MAX: u32 = 127;

/// A socket, from its making to its end.
pub struct TcpSocket {
    family: IpAddressFamily,
    options: Options,
    state: State,
    alive: Alive,
}

enum State {
    Fresh,
    Binding,
    Bound,
    /// With the options that it began with.
    Connecting(Pending<Result<Stream, Failure>>, Options),
    Connected(Connection),
    Closed,
}

impl TcpSocket {
    /// Changes the options, and the connection if there is one.
    fn set(&mut self, change: impl FnOnce(&mut Options)) -> SocketResult<()> {
        change(&mut self.options);
        match &self.state {
            State::Connected(connection) => connection
                .lock()
                .configure(&self.options)
                .map_err(|error| code(&error).into()),
            State::Closed => Err(ErrorCode::InvalidState.into()),
            _ => Ok(()),
        }
    }

    fn connection(&self) -> SocketResult<&Connection> {
        match &self.state {
            State::Connected(connection) => Ok(connection),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }
}

fn code(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::NotConnected => ErrorCode::InvalidState,
        io::ErrorKind::InvalidInput => ErrorCode::InvalidArgument,
        io::ErrorKind::ConnectionReset => ErrorCode::ConnectionReset,
        _ => ErrorCode::Unknown,
    }
}

fn not_zero<T: Default + PartialEq>(value: T) -> SocketResult<T> {
    if value == T::default() {
        Err(ErrorCode::InvalidArgument.into())
    } else {
        Ok(value)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for TcpSocket {
    async fn ready(&mut self) {
        if let State::Connecting(pending, _) = &mut self.state {
            pending.ready().await;
        }
    }
}

impl tcp_create_socket::Host for View<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        Ok(self.table.push(TcpSocket {
            family,
            options: Options::default(),
            state: State::Fresh,
            alive: Arc::clone(self.alive),
        })?)
    }
}

impl tcp_bindings::Host for View<'_> {}

impl tcp_bindings::HostTcpSocket for View<'_> {
    fn start_bind(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<Network>,
        local: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let socket = self.table.get_mut(&this)?;
        if !matches!(socket.state, State::Fresh) {
            return Err(ErrorCode::InvalidState.into());
        }
        if !address::leaves_all_open(local, socket.family)? {
            let local = std::net::SocketAddr::from(local);
            return Err(socket::no_listening(self.lease, &format!("to bind a socket to {local}")).into());
        }
        socket.state = State::Binding;
        Ok(())
    }

    fn finish_bind(&mut self, this: Resource<TcpSocket>) -> SocketResult<()> {
        let socket = self.table.get_mut(&this)?;
        if !matches!(socket.state, State::Binding) {
            return Err(ErrorCode::NotInProgress.into());
        }
        socket.state = State::Bound;
        Ok(())
    }

    fn start_connect(
        &mut self,
        this: Resource<TcpSocket>,
        network: Resource<Network>,
        remote: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let socket = self.table.get_mut(&this)?;
        if !matches!(socket.state, State::Fresh | State::Bound) {
            return Err(ErrorCode::InvalidState.into());
        }
        let peer = address::remote(remote, socket.family)?;
        let (lender, lease, options) = (Arc::clone(self.lender), Arc::clone(self.lease), socket.options);
        let pending = Pending::new(self.lease, |on_target| async move {
            lender.connect(&lease, peer, &options, &on_target).await
        });
        socket.state = State::Connecting(pending, options);
        Ok(())
    }

    fn finish_connect(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> SocketResult<(Resource<DynInputStream>, Resource<DynOutputStream>)> {
        let socket = self.table.get_mut(&this)?;
        let State::Connecting(pending, begun_with) = &mut socket.state else {
            return Err(ErrorCode::NotInProgress.into());
        };
        let Some(result) = pending.take() else {
            return Err(ErrorCode::WouldBlock.into());
        };
        let changed = socket.options != *begun_with;
        socket.state = State::Closed;
        let stream = result?;
        if changed {
            stream.configure(&socket.options).map_err(|error| code(&error))?;
        }
        let connection = Connection::new(stream, self.lease, &socket.alive);
        socket.state = State::Connected(connection.clone());
        let input: DynInputStream = Box::new(Input::new(connection.clone()));
        let output: DynOutputStream = Box::new(Output::new(connection));
        let input = self.table.push_child(input, &this)?;
        let output = self.table.push_child(output, &this)?;
        Ok((input, output))
    }

    fn start_listen(&mut self, this: Resource<TcpSocket>) -> SocketResult<()> {
        self.table.get(&this)?;
        Err(socket::no_listening(self.lease, "to listen for connections").into())
    }

    fn finish_listen(&mut self, this: Resource<TcpSocket>) -> SocketResult<()> {
        self.table.get(&this)?;
        Err(ErrorCode::NotInProgress.into())
    }

    fn accept(
        &mut self,
        this: Resource<TcpSocket>,
    ) -> SocketResult<(
        Resource<TcpSocket>,
        Resource<DynInputStream>,
        Resource<DynOutputStream>,
    )> {
        self.table.get(&this)?;
        Err(ErrorCode::InvalidState.into())
    }

    fn local_address(&mut self, this: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        let local = self.table.get(&this)?.connection()?.lock().local();
        Ok(local.map_err(|error| code(&error))?.into())
    }

    fn remote_address(&mut self, this: Resource<TcpSocket>) -> SocketResult<IpSocketAddress> {
        let peer = self.table.get(&this)?.connection()?.lock().peer();
        Ok(peer.map_err(|error| code(&error))?.into())
    }

    fn is_listening(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<bool> {
        self.table.get(&this)?;
        Ok(false)
    }

    fn address_family(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.family)
    }

    fn set_listen_backlog_size(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        self.table.get(&this)?;
        not_zero(value)?;
        // A hint about something that never happens.
        Ok(())
    }

    fn keep_alive_enabled(&mut self, this: Resource<TcpSocket>) -> SocketResult<bool> {
        Ok(self.table.get(&this)?.options.keep_alive.unwrap_or(false))
    }

    fn set_keep_alive_enabled(&mut self, this: Resource<TcpSocket>, value: bool) -> SocketResult<()> {
        self.table
            .get_mut(&this)?
            .set(|options| options.keep_alive = Some(value))
    }

    fn keep_alive_idle_time(&mut self, this: Resource<TcpSocket>) -> SocketResult<u64> {
        let idle = self.table.get(&this)?.options.keep_idle.unwrap_or(KEEP_IDLE);
        Ok(crate::domain::time::nanos(idle))
    }

    fn set_keep_alive_idle_time(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        let value = seconds(not_zero(value)?);
        self.table
            .get_mut(&this)?
            .set(|options| options.keep_idle = Some(value))
    }

    fn keep_alive_interval(&mut self, this: Resource<TcpSocket>) -> SocketResult<u64> {
        let interval = self.table.get(&this)?.options.keep_interval;
        Ok(crate::domain::time::nanos(interval.unwrap_or(KEEP_INTERVAL)))
    }

    fn set_keep_alive_interval(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        let value = seconds(not_zero(value)?);
        self.table
            .get_mut(&this)?
            .set(|options| options.keep_interval = Some(value))
    }

    fn keep_alive_count(&mut self, this: Resource<TcpSocket>) -> SocketResult<u32> {
        Ok(self.table.get(&this)?.options.keep_count.unwrap_or(KEEP_COUNT))
    }

    fn set_keep_alive_count(&mut self, this: Resource<TcpSocket>, value: u32) -> SocketResult<()> {
        let value = not_zero(value)?.min(KEEP_COUNT_MAX);
        self.table
            .get_mut(&this)?
            .set(|options| options.keep_count = Some(value))
    }

    fn hop_limit(&mut self, this: Resource<TcpSocket>) -> SocketResult<u8> {
        Ok(self.table.get(&this)?.options.hop_limit.unwrap_or(HOP_LIMIT))
    }

    fn set_hop_limit(&mut self, this: Resource<TcpSocket>, value: u8) -> SocketResult<()> {
        let value = not_zero(value)?;
        self.table
            .get_mut(&this)?
            .set(|options| options.hop_limit = Some(value))
    }

    fn receive_buffer_size(&mut self, this: Resource<TcpSocket>) -> SocketResult<u64> {
        let bytes = self.table.get(&this)?.options.receive_bytes;
        Ok(bytes.unwrap_or(BUFFER_BYTES_MAX))
    }

    fn set_receive_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        let value = not_zero(value)?.min(BUFFER_BYTES_MAX);
        self.table
            .get_mut(&this)?
            .set(|options| options.receive_bytes = Some(value))
    }

    fn send_buffer_size(&mut self, this: Resource<TcpSocket>) -> SocketResult<u64> {
        let bytes = self.table.get(&this)?.options.send_bytes;
        Ok(bytes.unwrap_or(BUFFER_BYTES_MAX))
    }

    fn set_send_buffer_size(&mut self, this: Resource<TcpSocket>, value: u64) -> SocketResult<()> {
        let value = not_zero(value)?.min(BUFFER_BYTES_MAX);
        self.table
            .get_mut(&this)?
            .set(|options| options.send_bytes = Some(value))
    }

    fn subscribe(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn shutdown(&mut self, this: Resource<TcpSocket>, direction: ShutdownType) -> SocketResult<()> {
        self.table.get(&this)?.connection()?.shut(match direction {
            ShutdownType::Receive => std::net::Shutdown::Read,
            ShutdownType::Send => std::net::Shutdown::Write,
            ShutdownType::Both => std::net::Shutdown::Both,
        });
        Ok(())
    }

    fn drop(&mut self, this: Resource<TcpSocket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

/// Whole seconds are what the system counts in.
fn seconds(nanos: u64) -> Duration {
    Duration::from_nanos(nanos).clamp(Duration::from_secs(1), KEEP_MAX)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{instance_network::Host as _, network::Ipv4SocketAddress},
        tcp_bindings::HostTcpSocket as _,
        tcp_create_socket::Host as _,
        *,
    };
    use crate::{
        capability::testing::{self, Recorder},
        domain::grant::{HostPattern, Network as Class, TcpGrant},
    };
    use wasmtime::component::ResourceTable;

    #[tokio::test]
    async fn what_is_set_of_a_connection_before_it_is_there_is_set_of_it() {
        let stand_in = testing::serve(|stream| async move {
            let _open = stream;
            std::future::pending::<()>().await;
        })
        .await;
        let any = TcpGrant::Pattern {
            host: HostPattern::Any,
            port: None,
        };
        let lease = Arc::new(testing::lease().tcp([any]).networks([Class::Public]).done());
        let lender = testing::recorded(&Recorder::with_stand_in(stand_in), Box::new(|_| Vec::new()));
        let (mut table, alive) = (ResourceTable::new(), Alive::default());
        let mut view = View {
            table: &mut table,
            lease: &lease,
            lender: &lender,
            alive: &alive,
        };
        let network = view.instance_network().unwrap();
        let Ok(socket) = view.create_tcp_socket(IpAddressFamily::Ipv4) else {
            panic!("no socket")
        };
        let this = || Resource::new_borrow(socket.rep());
        let remote = IpSocketAddress::Ipv4(Ipv4SocketAddress {
            port: 80,
            address: (1, 1, 1, 1),
        });
        assert!(view.start_connect(this(), network, remote).is_ok());
        assert!(view.set_hop_limit(this(), 7).is_ok());
        view.table.get_mut(&socket).unwrap().ready().await;
        assert!(view.finish_connect(this()).is_ok());
        let State::Connected(connection) = &view.table.get(&socket).unwrap().state else {
            panic!("not connected")
        };
        assert_eq!(connection.lock().hop_limit(), 7);
    }
}
