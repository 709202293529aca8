//! `wasi:sockets/ip-name-lookup`, with the host's own resolver.

use super::{
    Alive, ErrorCode, Network, SocketResult, View, ip_name_lookup, network::IpAddress, pending::Pending,
};
use crate::capability::Failure;
use std::{net::IpAddr, sync::Arc};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

/// Addresses of a name, as they become known.
pub struct Addresses {
    pending: Option<Pending<Result<Vec<IpAddr>, Failure>>>,
    found: std::vec::IntoIter<IpAddr>,
    failed: Option<ErrorCode>,
    _alive: Alive,
}

impl Addresses {
    /// Does what can be done without waiting. False: there is more to wait for.
    fn look(&mut self) -> bool {
        if let Some(pending) = &mut self.pending {
            let Some(result) = pending.take() else {
                return false;
            };
            self.pending = None;
            match result {
                Ok(found) => self.found = found.into_iter(),
                Err(failure) => self.failed = Some((&failure).into()),
            }
        }
        true
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.ready().await;
        }
    }
}

impl ip_name_lookup::Host for View<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<Addresses>> {
        self.table.get(&network)?;
        let (lender, lease) = (Arc::clone(self.lender), Arc::clone(self.lease));
        let pending = Pending::new(self.lease, |_| async move { lender.look_up(&lease, &name).await });
        let mut addresses = Addresses {
            pending: Some(pending),
            found: Vec::new().into_iter(),
            failed: None,
            _alive: Arc::clone(self.alive),
        };
        // What is refused is refused at once.
        addresses.look();
        if let Some(code) = addresses.failed {
            return Err(code.into());
        }
        Ok(self.table.push(addresses)?)
    }
}

impl ip_name_lookup::HostResolveAddressStream for View<'_> {
    fn resolve_next_address(&mut self, this: Resource<Addresses>) -> SocketResult<Option<IpAddress>> {
        let addresses = self.table.get_mut(&this)?;
        if !addresses.look() {
            return Err(ErrorCode::WouldBlock.into());
        }
        match addresses.failed {
            Some(code) => Err(code.into()),
            None => Ok(addresses.found.next().map(Into::into)),
        }
    }

    fn subscribe(&mut self, this: Resource<Addresses>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(self.table, this)
    }

    fn drop(&mut self, this: Resource<Addresses>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
