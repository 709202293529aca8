//! What a tenant may use of the network, whichever interface its plugins use.

use super::{host_error, lab, native, report, serve, words};
use crate::support::{
    http::{Server, status},
    sandbox::{Silent, Work, loopback},
};
use pulse_host::{
    clock::Clock,
    domain::{
        job::{Job, JobResult},
        outcome::{Outcome, Status},
        tenant::{Account, Quotas},
        time::{Mono, Wall},
    },
};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::UdpSocket,
    sync::Arc,
    time::Duration,
};

fn chaos(settings: serde_json::Value) -> Work {
    Work::chaos(settings).grants(loopback())
}

fn run(lab: &crate::support::sandbox::Lab, job: Job) -> (JobResult, Arc<Account>) {
    let account = Arc::clone(&job.spec.tenant.account);
    let result = lab.wait_for(async |executor| executor.execute(job).await);
    (result, account)
}

#[test]
fn so_many_requests_a_second_by_whatever_interface() {
    let (clock, hand) = Clock::manual(Mono(1), Wall(0));
    let lab = lab(clock);
    let server = Server::start(|_| status(200));
    let address = server.address().to_string();
    let quotas = Quotas {
        requests_per_second: Some(1),
        ..Quotas::default()
    };
    let works = [
        chaos(json!({"do": "http", "url": server.url("/")})),
        chaos(json!({"do": "tcp", "address": address})),
        native(json!({"do": "get", "authority": address, "path": "/", "ignore-errors": true})),
        native(json!({"do": "tcp-read", "address": address, "count": 0, "ignore-errors": true})),
        native(json!({"do": "spray", "count": 1, "ignore-errors": true})),
        native(json!({"do": "resolve", "address": "localhost:1", "ignore-errors": true})),
    ]
    .map(|work| work.quotas(quotas));
    for (index, work) in works.iter().enumerate() {
        // The last one's request was this second's.
        if index > 0 {
            let (result, account) = run(&lab, lab.job(work));
            assert!(
                host_error(&result).starts_with("quota: the tenant `default`"),
                "{index}: {result:?}"
            );
            assert_eq!(account.used().denials, 1, "{index}");
        }
        hand.advance(Duration::from_secs(1));
        let (result, account) = run(&lab, lab.job(work));
        assert!(
            matches!(result.outcome, Outcome::Answer(_)),
            "{index}: {result:?}"
        );
        assert_eq!(
            (account.used().requests, account.used().denials),
            (1, 0),
            "{index}"
        );
        // Another tenant has its own.
        let (result, _) = run(
            &lab,
            lab.job(&work.clone().tenant(["a", "b", "c", "d", "e", "f"][index])),
        );
        assert!(
            matches!(result.outcome, Outcome::Answer(_)),
            "{index}: {result:?}"
        );
    }
}

/// A spray is as many requests as there are datagrams.
#[test]
fn a_spray_of_datagrams_is_cut_short() {
    let (clock, _hand) = Clock::manual(Mono(1), Wall(0));
    let lab = lab(clock);
    let quotas = Quotas {
        requests_per_second: Some(50),
        ..Quotas::default()
    };
    let (result, account) = run(
        &lab,
        lab.job(&native(json!({"do": "spray", "count": 20_000})).quotas(quotas)),
    );
    assert!(
        host_error(&result).contains("its 50 requests of this second"),
        "{result:?}"
    );
    assert_eq!(account.used().requests, 50);
    assert_eq!(account.used().bytes_sent, 50 * 5);
}

/// By a clock that stands still, so that no timer is late however busy the machine is.
#[test]
fn connections_are_counted_and_more_than_the_quota_wait() {
    let lab = lab(Clock::manual(Mono(1), Wall(0)).0);
    let target = Silent::new();
    let quotas = Quotas {
        connections: Some(3),
        ..Quotas::default()
    };
    let many = |count: u32| {
        native(json!({"do": "tcp-many", "address": target.address.to_string(), "count": count}))
            .quotas(quotas)
    };
    let (result, account) = run(&lab, lab.job(&many(3)));
    assert_eq!(words(&result), "holds 3");
    assert_eq!((account.used().connections, account.used().requests), (0, 3));
    let (result, account) = run(&lab, lab.job(&many(4).timeout(Duration::from_secs(1))));
    assert_eq!(
        host_error(&result),
        "quota: the tenant `default` has 3 sockets open, which is its quota"
    );
    assert_eq!(account.used().connections, 0);
    // Who gives up waiting for a place, and reports that as a timeout of the target's, is not believed.
    let mut target = Silent::new();
    let work = |settings| native(settings).quotas(quotas);
    let address = target.address.to_string();
    let hold = lab.job(&work(json!({"do": "tcp-many", "address": address, "count": 4})));
    let race = lab.job(&work(json!({"do": "tcp-or-timer", "address": address, "ms": 50})));
    lab.wait_for(async |executor| {
        let held = {
            let executor = Arc::clone(&executor);
            tokio::spawn(async move { executor.execute(hold).await })
        };
        for _ in 0..3 {
            target.taken().await;
        }
        let raced = executor.execute(race).await;
        assert!(host_error(&raced).starts_with("quota"), "{raced:?}");
        held.abort();
        assert!(held.await.unwrap_err().is_cancelled());
    });
}

/// Bytes wait; a deadline that passes meanwhile is none of the target's.
#[test]
fn bytes_are_counted_and_more_than_the_quota_wait() {
    let lab = lab(Clock::system());
    let giver = serve(|mut stream| {
        let _ = stream.write_all(&[1; 200_000]);
    });
    let quotas = |per_second| Quotas {
        bytes_per_second: Some(per_second),
        ..Quotas::default()
    };
    let read = |count: u32, per_second| {
        native(json!({"do": "tcp-read", "address": giver.to_string(), "count": count}))
            .quotas(quotas(per_second))
            .timeout(Duration::from_millis(700))
    };
    let (result, account) = run(&lab, lab.job(&read(200_000, 1 << 30)));
    assert_eq!(words(&result), "read 200000");
    assert_eq!(account.used().bytes_received, 200_000);
    let (result, _) = run(&lab, lab.job(&read(200_000, 1000).tenant("slow")));
    assert_eq!(result.outcome, Outcome::Deadline);

    // The same under the lent interfaces: the call says whose trouble it is.
    let server = Server::start(|_| crate::support::http::Reply::Answer(200, vec![], "x".repeat(500_000)));
    let (clock, _hand) = Clock::manual(Mono(1), Wall(0));
    let lab = super::lab(clock);
    let work = chaos(json!({"do": "http", "url": server.url("/")}))
        .quotas(quotas(1000))
        .timeout(Duration::from_millis(700));
    let (result, _) = run(&lab, lab.job(&work));
    assert!(
        host_error(&result).contains("sent and received its bytes of this second"),
        "{result:?}"
    );
}

#[test]
fn bytes_of_every_kind_are_in_the_account() {
    let lab = lab(Clock::system());
    let echo = serve(|mut stream| {
        let mut said = [0; 5];
        stream.read_exact(&mut said).unwrap();
        stream.write_all(b"heard\n").unwrap();
    });
    let (result, account) = run(
        &lab,
        lab.job(&native(
            json!({"do": "tcp", "address": echo.to_string(), "say": "hello"}),
        )),
    );
    assert_eq!(words(&result), "heard");
    let used = account.used();
    assert_eq!((used.bytes_sent, used.bytes_received, used.requests), (5, 6, 1));
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::spawn(move || {
        let (length, from) = server.recv_from(&mut [0; 64]).unwrap();
        server.send_to(&vec![b'x'; 2 * length], from).unwrap();
    });
    let (result, account) = run(
        &lab,
        lab.job(&native(
            json!({"do": "udp", "address": address.to_string(), "say": "four"}),
        )),
    );
    assert_eq!(report(&result).status, Status::Healthy);
    let used = account.used();
    assert_eq!((used.bytes_sent, used.bytes_received, used.requests), (4, 8, 1));
    let server = Server::start(|_| status(200));
    let (_, account) = run(
        &lab,
        lab.job(&chaos(json!({"do": "http", "url": server.url("/")}))),
    );
    let used = account.used();
    assert!(
        used.bytes_sent > 50 && used.bytes_received > 20 && used.requests == 1,
        "{used:?}"
    );
}
