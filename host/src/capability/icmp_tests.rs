//! Echo requests to loopback. Where the machine gives no socket for them, the tests say so and end.

use super::{
    ErrorCode, Failure, Lender, Phase, Taint, icmp,
    net::IpFamily,
    testing::{self, LeaseMaker, Recorder},
};
use crate::domain::{
    grant::{HostGrant, HostPattern, Network},
    tenant::{Quotas, Tenant},
    time::Mono,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};

fn anywhere() -> LeaseMaker {
    testing::lease()
        .icmp([HostGrant::Pattern(HostPattern::Any)])
        .networks([Network::Loopback])
        .ends(Mono(0).after(Duration::from_secs(60)))
}

fn request(host: &str) -> icmp::Request {
    icmp::Request {
        host: host.into(),
        family: IpFamily::Any,
        count: 1,
        interval_ms: 10,
        wait_ms: 5_000,
        payload_bytes: 56,
        timeout_ms: None,
    }
}

async fn ping(lease: &LeaseMaker, request: icmp::Request) -> Result<icmp::Response, Failure> {
    testing::bench().lender.icmp(&lease.clone().done(), request).await
}

/// None, and a word about it, where this machine can't ask at all.
fn possible(result: Result<icmp::Response, Failure>) -> Option<icmp::Response> {
    match result {
        Ok(response) => Some(response),
        Err(failure) if failure.code == ErrorCode::Host => {
            assert!(matches!(failure.taint, Some(Taint::Host(_))), "{failure:?}");
            eprintln!("skipped: {failure}");
            None
        }
        Err(failure) => panic!("{failure:?}"),
    }
}

#[tokio::test]
async fn loopback_answers_over_both_families() {
    for host in ["127.0.0.1", "::1"] {
        for payload_bytes in [16, 56, 9_000] {
            let request = icmp::Request {
                count: 3,
                payload_bytes,
                ..request(host)
            };
            let Some(response) = possible(ping(&anywhere(), request).await) else {
                continue;
            };
            assert_eq!((response.peer.as_str(), response.sent), (host, 3));
            assert_eq!(response.resolve_us, 0);
            let mut sequences: Vec<u16> = response.replies.iter().map(|reply| reply.sequence).collect();
            sequences.sort_unstable();
            assert_eq!(sequences, [0, 1, 2], "{host} {payload_bytes}");
            assert!(response.replies.iter().all(|reply| reply.rtt_us > 0));
        }
    }
}

#[tokio::test]
async fn two_that_ask_at_the_same_time_get_their_own_answers() {
    let bench = testing::bench();
    let (one, other) = (anywhere().done(), anywhere().done());
    let many = || icmp::Request {
        count: 5,
        ..request("127.0.0.1")
    };
    let (one, other) = tokio::join!(bench.lender.icmp(&one, many()), bench.lender.icmp(&other, many()));
    for result in [one, other] {
        if let Some(response) = possible(result) {
            assert_eq!(response.replies.len(), 5);
        }
    }
    assert_eq!(
        bench.lender.shared.sockets_free(),
        bench.lender.shared.sockets_max()
    );
}

#[tokio::test]
async fn a_name_is_looked_up_and_named_by_its_address() {
    if let Some(response) = possible(ping(&anywhere(), request("web.test")).await) {
        assert_eq!(response.peer, "127.0.0.1");
        assert!(response.resolve_us > 0);
    }
}

#[tokio::test]
async fn nobody_is_asked_whom_no_grant_covers() {
    let denial = |failure: Failure| match failure.taint {
        Some(Taint::Denied(denial)) => denial,
        other => panic!("{other:?}"),
    };
    let exact = |host: &str| {
        testing::lease()
            .icmp([HostGrant::Pattern(HostPattern::Exact(host.into()))])
            .networks([Network::Loopback])
    };
    let failure = ping(&exact("127.0.0.2"), request("127.0.0.1")).await.unwrap_err();
    assert_eq!((failure.code, failure.phase), (ErrorCode::Denied, Phase::Prepare));
    assert_eq!(
        denial(failure).grant,
        "[plugins.test] grants.icmp = [\"127.0.0.2\", \"127.0.0.1\"]"
    );
    // The name is granted, its address is not.
    let failure = ping(&exact("mixed.test"), request("mixed.test"))
        .await
        .unwrap_err();
    let denial = denial(failure);
    assert_eq!(denial.capability, "icmp");
    assert!(
        denial.wanted.contains("10.0.0.1 (a private address)"),
        "{denial:?}"
    );
}

#[tokio::test]
async fn a_setting_grants_the_host_that_it_names() {
    let lease = |host: &str| {
        testing::lease()
            .settings(&format!("{{\"host\": \"{host}\"}}"))
            .icmp([HostGrant::Settings(vec!["host".into()])])
            .networks([Network::Loopback])
    };
    let _ = possible(ping(&lease("::1"), request("[::1]")).await);
    let failure = ping(&lease("other.test"), request("web.test")).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Denied);
}

#[tokio::test]
async fn evasive_addresses_reach_nothing() {
    let recorder = Recorder::default();
    let lender = testing::recorded(&recorder, Box::new(|_| Vec::new()));
    let lease = anywhere().done();
    for host in [
        "2130706433",
        "0x7f.1",
        "127.1",
        "169.254.169.254",
        "10.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let failure = lender.icmp(&lease, request(host)).await.unwrap_err();
        assert!(
            matches!(failure.code, ErrorCode::Denied | ErrorCode::InvalidRequest),
            "{host}: {failure:?}"
        );
    }
    assert_eq!(recorder.take(), []);
    let _ = lender.icmp(&lease, request("127.0.0.1")).await.unwrap_err();
    assert_eq!(recorder.take(), ["127.0.0.1:0".parse::<SocketAddr>().unwrap()]);
}

#[tokio::test]
async fn each_request_counts_against_the_tenants_quota() {
    let quotas = Quotas {
        requests_per_second: Some(2),
        ..Quotas::default()
    };
    let tenant = Arc::new(Tenant::new("acme", quotas));
    let lease = anywhere().tenant(&tenant);
    let request = icmp::Request {
        count: 3,
        ..request("127.0.0.1")
    };
    let failure = ping(&lease, request).await.unwrap_err();
    if matches!(failure.taint, Some(Taint::Host(_))) {
        eprintln!("skipped: {failure}");
        return;
    }
    assert!(matches!(failure.taint, Some(Taint::Quota(_))), "{failure:?}");
}

#[tokio::test]
async fn more_than_the_host_may_send_waits_until_its_end_and_is_the_hosts_trouble() {
    let (clock, hand) = crate::clock::Clock::manual(Mono(0), crate::domain::time::Wall(0));
    let mut shared = super::Shared::with_sockets(clock, 4);
    shared.echo_rate = 1;
    let lender = Lender {
        shared: Arc::new(shared),
        resolver: super::resolve::Resolver::fixed(""),
    };
    let lease = anywhere().ends(Mono(0).after(Duration::from_secs(1))).done();
    let twice = icmp::Request {
        count: 2,
        ..request("127.0.0.1")
    };
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // To the end of the call, but not so far that a second request was allowed.
        hand.advance(Duration::from_millis(990));
    };
    let (result, ()) = tokio::join!(lender.icmp(&lease, twice), later);
    let failure = result.unwrap_err();
    if !failure.message.contains("echo-rate") {
        assert_eq!(possible(Err(failure)), None);
        return;
    }
    assert_eq!(failure.code, ErrorCode::Host);
}
