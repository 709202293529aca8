//! `wasi:sockets/udp`: datagrams to granted addresses and back. Each is a request of its tenant's, so that a spray is
//! as bounded as anything else.

use super::{
    Alive, ErrorCode, Network, SocketError, SocketResult, View, address,
    network::{IpAddressFamily, IpSocketAddress},
    pending::{Pending, on_target},
    udp_bindings, udp_create_socket,
};
use crate::capability::{
    Failure, Lease,
    net::IpFamily,
    socket::{self, BUFFER_BYTES_MAX, DATAGRAM_BYTES_MAX, Datagrams, Options},
};
use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

/// Datagrams that one call sends or brings.
const DATAGRAMS_MAX: usize = 16;
/// One call brings no more once it has so many bytes.
const RECEIVED_BYTES_MAX: usize = 64 << 10;
const HOP_LIMIT: u8 = 64;

/// A socket, from its making to its end.
pub struct UdpSocket {
    family: IpAddressFamily,
    options: Options,
    state: State,
    alive: Alive,
}

enum State {
    Fresh,
    Binding(Pending<Result<Datagrams, Failure>>),
    Bound(Open),
    Closed,
}

/// The descriptor, which a socket and its two streams share.
#[derive(Clone)]
struct Open {
    shared: Arc<Mutex<Datagrams>>,
    lease: Arc<Lease>,
    _alive: Alive,
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Datagrams> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UdpSocket {
    fn open(&self) -> SocketResult<&Open> {
        match &self.state {
            State::Bound(open) => Ok(open),
            _ => Err(ErrorCode::InvalidState.into()),
        }
    }

    fn set(&mut self, change: impl FnOnce(&mut Options)) -> SocketResult<()> {
        change(&mut self.options);
        match &self.state {
            State::Bound(open) => open
                .lock()
                .configure(&self.options)
                .map_err(|_| ErrorCode::Unknown.into()),
            _ => Ok(()),
        }
    }
}

/// What arrives.
pub struct Incoming {
    open: Open,
    /// The peer that was found to be granted last.
    accepted: Option<SocketAddr>,
}

/// What is sent.
pub struct Outgoing {
    open: Open,
    /// The peer that was found to be granted last.
    checked: Option<SocketAddr>,
    allowed: usize,
}

#[wasmtime_wasi::async_trait]
impl Pollable for UdpSocket {
    async fn ready(&mut self) {
        if let State::Binding(pending) = &mut self.state {
            pending.ready().await;
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        let (mut readable, asked) = {
            let socket = self.open.lock();
            (Box::pin(socket.readable()), socket.has_asked())
        };
        let ready = |cx: &mut Context<'_>| {
            ready!(self.open.lock().poll_pace(cx));
            readable.as_mut().poll(cx)
        };
        // Nobody answers a socket that has asked nothing.
        if asked {
            on_target(&self.open.lease, ready).await;
        } else {
            poll_fn(ready).await;
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {
        poll_fn(|cx| self.open.lock().poll_writable(cx)).await;
    }
}

impl udp_create_socket::Host for View<'_> {
    fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        Ok(self.table.push(UdpSocket {
            family,
            options: Options::default(),
            state: State::Fresh,
            alive: Arc::clone(self.alive),
        })?)
    }
}

impl udp_bindings::Host for View<'_> {}

impl udp_bindings::HostUdpSocket for View<'_> {
    fn start_bind(
        &mut self,
        this: Resource<UdpSocket>,
        network: Resource<Network>,
        local: IpSocketAddress,
    ) -> SocketResult<()> {
        self.table.get(&network)?;
        let socket = self.table.get_mut(&this)?;
        if !matches!(socket.state, State::Fresh) {
            return Err(ErrorCode::InvalidState.into());
        }
        if !address::leaves_all_open(local, socket.family)? {
            let local = SocketAddr::from(local);
            return Err(socket::no_listening(self.lease, &format!("to bind a socket to {local}")).into());
        }
        let family = match socket.family {
            IpAddressFamily::Ipv4 => IpFamily::V4,
            IpAddressFamily::Ipv6 => IpFamily::V6,
        };
        let (lender, lease) = (Arc::clone(self.lender), Arc::clone(self.lease));
        socket.state = State::Binding(Pending::new(self.lease, |_| async move {
            lender.datagrams(&lease, family).await
        }));
        Ok(())
    }

    fn finish_bind(&mut self, this: Resource<UdpSocket>) -> SocketResult<()> {
        let socket = self.table.get_mut(&this)?;
        let State::Binding(pending) = &mut socket.state else {
            return Err(ErrorCode::NotInProgress.into());
        };
        let Some(result) = pending.take() else {
            return Err(ErrorCode::WouldBlock.into());
        };
        socket.state = State::Closed;
        let datagrams = result?;
        if socket.options != Options::default() {
            datagrams
                .configure(&socket.options)
                .map_err(|_| ErrorCode::Unknown)?;
        }
        socket.state = State::Bound(Open {
            shared: Arc::new(Mutex::new(datagrams)),
            lease: Arc::clone(self.lease),
            _alive: Arc::clone(&socket.alive),
        });
        Ok(())
    }

    fn stream(
        &mut self,
        this: Resource<UdpSocket>,
        remote: Option<IpSocketAddress>,
    ) -> SocketResult<(Resource<Incoming>, Resource<Outgoing>)> {
        let in_use = self
            .table
            .iter_children(&this)?
            .any(|child| child.is::<Incoming>() || child.is::<Outgoing>());
        if in_use {
            return Err(SocketError::Trap(wasmtime::Error::msg(
                "the streams of a UDP socket are dropped before there are new ones",
            )));
        }
        let socket = self.table.get(&this)?;
        let open = socket.open()?.clone();
        let peer = remote
            .map(|remote| address::remote(remote, socket.family))
            .transpose()?;
        if let Some(peer) = peer {
            self.lender.check_datagrams(self.lease, peer)?;
        }
        let connected = open.lock().connect(peer);
        connected.map_err(|error| socket::failed(self.lease, &error))?;
        let incoming = Incoming {
            open: open.clone(),
            accepted: None,
        };
        let incoming = self.table.push_child(incoming, &this)?;
        let outgoing = Outgoing {
            open,
            checked: peer,
            allowed: 0,
        };
        Ok((incoming, self.table.push_child(outgoing, &this)?))
    }

    fn local_address(&mut self, this: Resource<UdpSocket>) -> SocketResult<IpSocketAddress> {
        let local = self.table.get(&this)?.open()?.lock().local();
        Ok(local.map_err(|_| ErrorCode::Unknown)?.into())
    }

    fn remote_address(&mut self, this: Resource<UdpSocket>) -> SocketResult<IpSocketAddress> {
        let peer = self.table.get(&this)?.open()?.lock().peer();
        Ok(peer.ok_or(ErrorCode::InvalidState)?.into())
    }

    fn address_family(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<IpAddressFamily> {
        Ok(self.table.get(&this)?.family)
    }

    fn unicast_hop_limit(&mut self, this: Resource<UdpSocket>) -> SocketResult<u8> {
        Ok(self.table.get(&this)?.options.hop_limit.unwrap_or(HOP_LIMIT))
    }

    fn set_unicast_hop_limit(&mut self, this: Resource<UdpSocket>, value: u8) -> SocketResult<()> {
        let socket = self.table.get_mut(&this)?;
        if value == 0 {
            return Err(ErrorCode::InvalidArgument.into());
        }
        socket.set(|options| options.hop_limit = Some(value))
    }

    fn receive_buffer_size(&mut self, this: Resource<UdpSocket>) -> SocketResult<u64> {
        let bytes = self.table.get(&this)?.options.receive_bytes;
        Ok(bytes.unwrap_or(BUFFER_BYTES_MAX))
    }

    fn set_receive_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> SocketResult<()> {
        let socket = self.table.get_mut(&this)?;
        if value == 0 {
            return Err(ErrorCode::InvalidArgument.into());
        }
        socket.set(|options| options.receive_bytes = Some(value.min(BUFFER_BYTES_MAX)))
    }

    fn send_buffer_size(&mut self, this: Resource<UdpSocket>) -> SocketResult<u64> {
        let bytes = self.table.get(&this)?.options.send_bytes;
        Ok(bytes.unwrap_or(BUFFER_BYTES_MAX))
    }

    fn set_send_buffer_size(&mut self, this: Resource<UdpSocket>, value: u64) -> SocketResult<()> {
        let socket = self.table.get_mut(&this)?;
        if value == 0 {
            return Err(ErrorCode::InvalidArgument.into());
        }
        socket.set(|options| options.send_bytes = Some(value.min(BUFFER_BYTES_MAX)))
    }

    fn subscribe(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<UdpSocket>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl udp_bindings::HostIncomingDatagramStream for View<'_> {
    fn receive(
        &mut self,
        this: Resource<Incoming>,
        max_results: u64,
    ) -> SocketResult<Vec<udp_bindings::IncomingDatagram>> {
        let Incoming { open, accepted } = self.table.get_mut(&this)?;
        let max = usize::try_from(max_results)
            .unwrap_or(usize::MAX)
            .min(DATAGRAMS_MAX);
        let mut datagrams = Vec::new();
        if max == 0 {
            return Ok(datagrams);
        }
        let mut room = vec![0; DATAGRAM_BYTES_MAX];
        let mut bytes = 0;
        // Only for as long as this call: a name that is looked up meanwhile could open what is closed now.
        let mut refused = None;
        let mut socket = open.lock();
        // What is not for the guest counts as well, so that a flood of it does not hold this thread.
        for _ in 0..DATAGRAMS_MAX {
            if datagrams.len() == max || bytes >= RECEIVED_BYTES_MAX {
                break;
            }
            match socket.receive(&mut room) {
                Ok(None) => break,
                Ok(Some((length, from))) => {
                    let own = match socket.peer() {
                        Some(peer) => peer == from,
                        None if *accepted == Some(from) => true,
                        None if refused == Some(from) => false,
                        None => self.lender.takes_datagrams(self.lease, from),
                    };
                    *(if own { &mut *accepted } else { &mut refused }) = Some(from);
                    if own {
                        bytes += length;
                        datagrams.push(udp_bindings::IncomingDatagram {
                            data: room.get(..length).unwrap_or_default().to_vec(),
                            remote_address: from.into(),
                        });
                    }
                }
                // The next call shows it, if it lasts.
                Err(_) if !datagrams.is_empty() => break,
                Err(error) => return Err(socket::failed(self.lease, &error).into()),
            }
        }
        Ok(datagrams)
    }

    fn subscribe(&mut self, this: Resource<Incoming>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<Incoming>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl udp_bindings::HostOutgoingDatagramStream for View<'_> {
    fn check_send(&mut self, this: Resource<Outgoing>) -> SocketResult<u64> {
        let stream = self.table.get_mut(&this)?;
        let mut cx = Context::from_waker(Waker::noop());
        stream.allowed = match stream.open.lock().poll_writable(&mut cx) {
            Poll::Ready(()) => DATAGRAMS_MAX,
            Poll::Pending => 0,
        };
        Ok(stream.allowed as u64)
    }

    fn send(
        &mut self,
        this: Resource<Outgoing>,
        datagrams: Vec<udp_bindings::OutgoingDatagram>,
    ) -> SocketResult<u64> {
        let stream = self.table.get_mut(&this)?;
        if datagrams.len() > stream.allowed {
            return Err(SocketError::Trap(wasmtime::Error::msg(
                "more datagrams than check-send allows",
            )));
        }
        stream.allowed = 0;
        let mut sent = 0;
        for datagram in datagrams {
            match send(self.lender, self.lease, stream, &datagram) {
                Ok(Some(())) => sent += 1,
                Ok(None) => break,
                // Of several, the guest hears how many went out; what went wrong taints the execution all the same.
                Err(_) if sent > 0 => break,
                Err(code) => return Err(code.into()),
            }
        }
        Ok(sent)
    }

    fn subscribe(&mut self, this: Resource<Outgoing>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<Outgoing>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

fn send(
    lender: &crate::capability::Lender,
    lease: &Lease,
    stream: &mut Outgoing,
    datagram: &udp_bindings::OutgoingDatagram,
) -> Result<Option<()>, ErrorCode> {
    let mut socket = stream.open.lock();
    let local = socket.local().map_err(|_| ErrorCode::Unknown)?;
    let family = match local {
        SocketAddr::V4(_) => IpAddressFamily::Ipv4,
        SocketAddr::V6(_) => IpAddressFamily::Ipv6,
    };
    let named = datagram
        .remote_address
        .map(|remote| address::remote(remote, family))
        .transpose()?;
    let peer = match (named, socket.peer()) {
        (Some(named), Some(only)) if named != only => return Err(ErrorCode::InvalidArgument),
        (named, only) => named.or(only).ok_or(ErrorCode::InvalidArgument)?,
    };
    if datagram.data.len() > DATAGRAM_BYTES_MAX {
        return Err(ErrorCode::DatagramTooLarge);
    }
    if stream.checked != Some(peer) {
        lender
            .check_datagrams(lease, peer)
            .map_err(|failure| ErrorCode::from(&failure))?;
        stream.checked = Some(peer);
    }
    lender
        .send_datagram(lease, &mut socket, &datagram.data, peer)
        .map_err(|failure| ErrorCode::from(&failure))
}
