//! The way out: what a guest reaches through its language's own clients, what it does not reach, and what a tenant may
//! use of it.

mod evil;
mod namespace;
mod quotas;
mod sockets;
mod web;

use crate::support::sandbox::{Lab, Work, built, loopback};
use pulse_host::{
    clock::Clock,
    domain::{
        grant::Grants,
        job::JobResult,
        outcome::{Answer, Denial, Outcome, Report, Status},
    },
    plugins,
};
use serde_json::Value;
use std::{
    io::Read,
    net::{SocketAddr, TcpListener, TcpStream},
};

/// Chaos, and the guest that knows nothing of the host's own interfaces.
fn lab(clock: Clock) -> Lab {
    let native = plugins::read(&built("native")).unwrap();
    Lab::of(8, vec![crate::support::sandbox::chaos(), native], clock)
}

/// A job of that guest, which may reach everything on loopback.
fn native(settings: Value) -> Work {
    Work::of("native").settings(settings).grants(loopback())
}

fn report(result: &JobResult) -> &Report {
    match &result.outcome {
        Outcome::Answer(Answer::Pulse(report)) => report,
        other => panic!("no report: {other:?}"),
    }
}

/// What the guest says, which must be well.
fn words(result: &JobResult) -> &str {
    let report = report(result);
    assert_eq!(report.status, Status::Healthy, "{report:?}");
    &report.summary
}

/// What the guest says, which must not be well.
fn trouble(result: &JobResult) -> &str {
    let report = report(result);
    assert_eq!(report.status, Status::Unhealthy, "{report:?}");
    &report.summary
}

fn denial(result: &JobResult) -> &Denial {
    match &result.outcome {
        Outcome::Denied(denial) => denial,
        other => panic!("not denied: {other:?}"),
    }
}

fn host_error(result: &JobResult) -> &str {
    match &result.outcome {
        Outcome::HostError(message) => message,
        other => panic!("no host error: {other:?}"),
    }
}

/// Grants on loopback without one of its parts.
fn without(part: &str) -> Grants {
    let mut grants = loopback();
    match part {
        "http" => grants.http.clear(),
        "tcp" => grants.tcp.clear(),
        "udp" => grants.udp.clear(),
        "networks" => grants.networks = Default::default(),
        other => panic!("no grants for {other}"),
    }
    grants
}

/// A server on loopback that does with each connection what it is told, in a thread of its own.
fn serve(each: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = each.clone();
            std::thread::spawn(move || each(stream));
        }
    });
    address
}

/// Reads up to the blank line that ends a request's head, and nothing beyond it.
fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}
