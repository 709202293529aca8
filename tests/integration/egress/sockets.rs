//! `std::net` in a guest, which is `wasi:sockets`.

use super::{denial, lab, native, report, serve, trouble, without, words};
use crate::support::sandbox::{Silent, loopback};
use pulse_host::{
    clock::Clock,
    domain::{
        grant::{Grants, HostPattern, Network, TcpGrant},
        outcome::{Outcome, Status},
        time::{Mono, Wall},
    },
};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
    time::Duration,
};

#[test]
fn a_languages_own_client_works_unchanged() {
    let lab = lab(Clock::system());
    let echo = serve(|mut stream| {
        let mut said = [0; 5];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(b"heard ").unwrap();
        stream.write_all(&said).unwrap();
        stream.write_all(b"\nand more\n").unwrap();
    });
    for address in [echo.to_string(), format!("localhost:{}", echo.port())] {
        let work = native(json!({"do": "tcp", "address": address, "say": "hello"}));
        assert_eq!(words(&lab.run(&work)), "heard hello", "{address}");
    }
    let giver = serve(|mut stream| stream.write_all(&[1; 300_000]).unwrap());
    let work = native(json!({"do": "tcp-read", "address": giver.to_string(), "count": 300_000}));
    assert_eq!(words(&lab.run(&work)), "read 300000");
    let taker = serve(|mut stream| {
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    let work = native(json!({"do": "tcp-write", "address": taker.to_string(), "count": 300_000}));
    assert_eq!(words(&lab.run(&work)), "wrote 300000");
}

#[test]
fn names_are_looked_up_by_the_hosts_own_resolver() {
    let lab = lab(Clock::system());
    let job = lab.job(&native(json!({"do": "resolve", "address": "localhost:80"})));
    let account = std::sync::Arc::clone(&job.spec.tenant.account);
    let result = lab.wait_for(async |executor| executor.execute(job).await);
    assert!(words(&result).contains("127.0.0.1:80"), "{result:?}");
    assert_eq!(account.used().requests, 1);
    // A name that no grant covers is not even looked up, and who tries names no port.
    let mut grants = loopback();
    grants.tcp = vec![TcpGrant::Pattern {
        host: HostPattern::Suffix("example.com".into()),
        port: Some(80),
    }];
    grants.udp.clear();
    let work = native(json!({"do": "resolve", "address": "localhost:80", "ignore-errors": true}));
    let result = lab.run(&work.grants(grants));
    assert_eq!(
        denial(&result).grant,
        "[plugins.native] grants.tcp = [\"*.example.com:80\", \"localhost:*\"]"
    );
    assert_eq!(denial(&result).wanted, "to look up localhost");
}

/// An address is reached through the name's grant only after this very execution had the name resolved to it.
#[test]
fn a_name_that_is_granted_opens_what_it_resolves_to_and_only_that() {
    let lab = lab(Clock::system());
    let echo = serve(|mut stream| stream.write_all(b"hello\n").unwrap());
    let named = |port| {
        let mut grants = Grants {
            tcp: vec![TcpGrant::Pattern {
                host: HostPattern::Exact("localhost".into()),
                port: Some(port),
            }],
            ..Grants::default()
        };
        grants.networks.insert(Network::Loopback);
        grants
    };
    let tcp = |address: String| native(json!({"do": "tcp", "address": address, "ignore-errors": true}));
    let by_name = tcp(format!("localhost:{}", echo.port()));
    assert_eq!(
        words(&lab.run(&by_name.clone().grants(named(echo.port())))),
        "hello"
    );
    let by_address = tcp(echo.to_string()).grants(named(echo.port()));
    assert_eq!(denial(&lab.run(&by_address)).wanted, echo.to_string());
    let other_port = by_name.clone().grants(named(1));
    let result = lab.run(&other_port);
    assert_eq!(denial(&result).wanted, format!("localhost:{}", echo.port()));
    // The class of the address counts as it does everywhere.
    let mut elsewhere = named(echo.port());
    elsewhere.networks = Default::default();
    elsewhere.networks.insert(Network::Public);
    let result = lab.run(&by_name.grants(elsewhere));
    assert!(
        denial(&result)
            .grant
            .contains("grants.networks = [\"public\", \"loopback\"]"),
        "{result:?}"
    );
}

#[test]
fn without_a_grant_nothing_is_reached_whatever_the_guest_makes_of_it() {
    let lab = lab(Clock::system());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let stream = listener.local_addr().unwrap().to_string();
    let datagram = datagrams.local_addr().unwrap().to_string();
    for (settings, part) in [
        (json!({"do": "tcp", "address": stream}), "tcp"),
        (json!({"do": "tcp", "address": stream}), "networks"),
        (json!({"do": "udp", "address": datagram, "say": "x"}), "udp"),
        (json!({"do": "udp", "address": datagram, "say": "x"}), "networks"),
        (
            json!({"do": "udp-connected", "address": datagram, "say": "x"}),
            "udp",
        ),
    ] {
        let mut settings = settings;
        settings["ignore-errors"] = true.into();
        let job = lab.job(&native(settings.clone()).grants(without(part)));
        let account = std::sync::Arc::clone(&job.spec.tenant.account);
        let result = lab.wait_for(async |executor| executor.execute(job).await);
        let denial = denial(&result);
        assert!(
            denial.grant.contains(&format!("grants.{part} = [")),
            "{settings}: {denial:?}"
        );
        let used = account.used();
        assert_eq!(
            (used.denials, used.requests, used.connections),
            (1, 0, 0),
            "{settings}"
        );
    }
    assert!(listener.accept().is_err() && datagrams.recv(&mut [0; 9]).is_err());
    lab.assert_works("denials");
}

#[test]
fn nothing_can_be_listened_on_or_bound_to() {
    let lab = lab(Clock::system());
    for settings in [
        json!({"do": "listen", "address": "127.0.0.1:0"}),
        json!({"do": "listen", "address": "0.0.0.0:0"}),
        json!({"do": "bind", "address": "127.0.0.1:0"}),
        json!({"do": "bind", "address": "0.0.0.0:5353"}),
    ] {
        let mut settings = settings;
        settings["ignore-errors"] = true.into();
        let result = lab.run(&native(settings.clone()));
        assert_eq!(denial(&result).capability, "wasi-sockets", "{settings}");
        assert!(denial(&result).grant.contains("no grant allows to listen"));
    }
}

#[test]
fn datagrams_go_out_and_come_back_from_who_was_asked() {
    let lab = lab(Clock::system());
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((length, from)) = server.recv_from(&mut buffer) {
            // Somebody else is faster, which concerns only a socket that is connected.
            let other = UdpSocket::bind("127.0.0.1:0").unwrap();
            if &buffer[..length] == b"connected" {
                other.send_to(b"not from me", from).unwrap();
            }
            server.send_to(b"answer", from).unwrap();
        }
    });
    let work = native(json!({"do": "udp", "address": address.to_string(), "say": "hello"}));
    assert_eq!(words(&lab.run(&work)), "answer");
    let work = native(json!({"do": "udp-connected", "address": address.to_string(), "say": "connected"}));
    assert_eq!(words(&lab.run(&work)), "answer");
}

#[test]
fn refusals_of_a_target_are_the_targets() {
    let lab = lab(Clock::system());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let result = lab.run(&native(json!({"do": "tcp", "address": port.to_string()})));
    assert!(trouble(&result).contains("refused"), "{result:?}");
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let work = native(json!({"do": "udp-connected", "address": gone.to_string(), "say": "x"}));
    assert_eq!(report(&lab.run(&work)).status, Status::Unhealthy);
}

/// By a clock that stands still, so that no timer is late however busy the machine is.
#[test]
fn who_waits_for_a_socket_waits_for_its_target_and_who_sleeps_beside_it_does_not() {
    let lab = lab(Clock::manual(Mono(1), Wall(0)).0);
    let target = Silent::new();
    let address = target.address.to_string();
    let brief = Duration::from_secs(1);
    let quiet = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (settings, expected) in [
        (json!({"do": "tcp", "address": address}), Outcome::DeadlineWaiting),
        (
            json!({"do": "udp", "address": quiet.local_addr().unwrap().to_string(), "say": "x"}),
            Outcome::DeadlineWaiting,
        ),
        (
            json!({"do": "tcp-then-sleep", "address": address, "ms": 1_000_000}),
            Outcome::Deadline,
        ),
    ] {
        let result = lab.run(&native(settings.clone()).timeout(brief));
        assert_eq!(result.outcome, expected, "{settings}");
        lab.assert_works("a deadline");
    }
}

/// What an instance holds on to would be the next job's to pay for.
#[test]
fn an_instance_that_leaves_a_connection_open_is_not_used_again() {
    let lab = lab(Clock::system());
    let target = Silent::new();
    let leave = native(json!({"do": "tcp-leave", "address": target.address.to_string()})).reuse(100);
    let job = lab.job(&leave);
    let account = std::sync::Arc::clone(&job.spec.tenant.account);
    let result = lab.wait_for(async |executor| executor.execute(job).await);
    assert_eq!(words(&result), "left it");
    assert_eq!(account.used().connections, 0);
}

#[test]
fn what_a_plugin_needs_is_told_by_what_it_imports() {
    use crate::support::sandbox::{built, settings};
    use pulse_host::{domain::plugin::Capability, plugins, sandbox};
    let sandbox = sandbox::Sandbox::new(settings(1), Clock::system()).unwrap();
    let native = sandbox::load(&sandbox, plugins::read(&built("native")).unwrap()).unwrap();
    assert_eq!(
        native.facts.needs,
        [Capability::WasiHttp, Capability::WasiSockets]
    );
    let chaos = sandbox::load(&sandbox, crate::support::sandbox::chaos()).unwrap();
    assert!(!chaos.facts.needs.contains(&Capability::WasiSockets));
}
