//! An outside watcher hears from a host that is well, and from no other.

use super::monitors;
use crate::support::{
    host::{Config, Host},
    http::{Server, status},
};
use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

#[test]
fn a_host_that_is_well_is_heard_of_and_its_secret_address_is_not() {
    let says = Arc::new(AtomicU16::new(503));
    let heard = Arc::clone(&says);
    let watcher = Server::start(move |_| status(heard.load(Ordering::Acquire)));
    let target = Server::start(|_| status(200));
    let lines = format!(
        "heartbeat.url = {:?}\nheartbeat.every = \"1s\"",
        watcher.url("/ping/s3cret")
    );
    let host = Host::start(&Config::new(monitors(1, &target, "")).host(&lines));
    let said = host.wait_for_log("is not taken");
    assert!(said.contains("it answered 503"), "{said}");
    says.store(200, Ordering::Release);
    host.wait_for_log("the heartbeat is taken");
    let request = &watcher.requests()[0];
    assert_eq!((&*request.method, &*request.path), ("GET", "/ping/s3cret"));
    assert_eq!(host.logged("s3cret"), 0);
}
