use super::*;
use crate::capability::{
    Taint,
    testing::{self, Bench, bench, dead_port, loopback, read_head, serve},
};
use crate::domain::{
    grant::{HostPattern, HttpGrant, Network, UrlPattern},
    tenant::{Quotas, Tenant},
    time::Mono,
};
use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

fn get(url: impl Into<String>) -> Request {
    Request {
        method: "GET".into(),
        url: url.into(),
        headers: Vec::new(),
        body: None,
        max_redirects: 0,
        family: IpFamily::Any,
        tls: None,
        timeout_ms: None,
        max_body_bytes: None,
    }
}

/// Milliseconds after which a test that waits for a timeout gets it, wherever the call is by then.
const SOON: Option<u32> = Some(30);

async fn fails(bench: &Bench, request: Request) -> Failure {
    bench.lender.http(&loopback().done(), request).await.unwrap_err()
}

/// Answers every request with the same bytes and closes.
async fn answering(answer: impl Into<Vec<u8>>) -> SocketAddr {
    let answer: Arc<[u8]> = answer.into().into();
    serve(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(&answer).await;
        }
    })
    .await
}

/// Sends that much of an answer and then nothing more, without closing.
async fn stalling(start: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(start).await.unwrap();
        pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn an_answer_with_all_its_facts() {
    let bench = bench();
    let lease = Arc::new(loopback().done());
    let (asking, hand) = (Arc::clone(&lease), Arc::clone(&bench.hand));
    let address = serve(move |mut stream| {
        let (asking, hand) = (Arc::clone(&asking), Arc::clone(&hand));
        async move {
            let head = read_head(&mut stream).await;
            assert!(asking.waiting.on_target(Mono(0)));
            hand.advance(Duration::from_millis(7));
            stream
                .write_all(b"HTTP/1.1 201 Created\r\nA: 1\r\na: \xff2\r\n\r\n")
                .await
                .unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
        }
    })
    .await;
    let url = format!("http://web.test:{}/p?q#f", address.port());
    let answer = bench.lender.http(&lease, get(url)).await.unwrap();
    assert!(!lease.waiting.on_target(Mono(0)));
    assert_eq!((answer.status, answer.version.as_str()), (201, "HTTP/1.1"));
    let fields: Vec<_> = answer
        .headers
        .iter()
        .map(|h| (h.name.as_str(), h.value.as_str()))
        .collect();
    assert_eq!(fields, [("a", "1"), ("a", "\u{fffd}2")]);
    let sent = String::from_utf8(answer.body).unwrap();
    assert!(sent.starts_with("GET /p?q HTTP/1.1\r\n"), "{sent}");
    assert!(
        sent.contains(&format!("host: web.test:{}\r\n", address.port())),
        "{sent}"
    );
    assert_eq!(answer.url, format!("http://web.test:{}/p?q", address.port()));
    assert_eq!(answer.peer, address.to_string());
    assert_eq!(
        (answer.body_truncated, answer.redirects, answer.tls),
        (false, 0, None)
    );
    assert_eq!(
        answer.timings,
        Timings {
            resolve_us: 1,
            connect_us: 1,
            tls_us: 0,
            processing_us: 7000,
            transfer_us: 1
        }
    );
    assert_eq!(
        bench.lender.shared.sockets_free(),
        bench.lender.shared.sockets_max()
    );
}

#[tokio::test]
async fn bodies_are_sent_with_their_length() {
    let address = serve(|mut stream| async move {
        let head = read_head(&mut stream).await;
        let mut body = [0; 5];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body)
            .await
            .unwrap();
        let seen = head.contains("content-length: 5\r\n") && head.starts_with("PUT / ") && &body == b"hello";
        let answer: &[u8] = if seen {
            b"HTTP/1.0 204 No\r\n\r\n"
        } else {
            b"HTTP/1.1 500 No\r\n\r\n"
        };
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let request = Request {
        method: "PUT".into(),
        body: Some(b"hello".to_vec()),
        ..get(format!("http://{address}"))
    };
    let answer = bench().lender.http(&loopback().done(), request).await.unwrap();
    assert_eq!((answer.status, answer.version.as_str()), (204, "HTTP/1.0"));
}

#[tokio::test]
async fn a_head_request_has_no_body() {
    let address = answering("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await;
    let request = Request {
        method: "HEAD".into(),
        ..get(format!("http://{address}"))
    };
    let answer = bench().lender.http(&loopback().done(), request).await.unwrap();
    assert_eq!((answer.body.len(), answer.body_truncated), (0, false));
}

#[tokio::test]
async fn refused_reset_closed() {
    let (_socket, dead) = dead_port();
    let failure = fails(&bench(), get(format!("http://{dead}"))).await;
    assert_eq!(
        (failure.code, failure.phase),
        (ErrorCode::ConnectionRefused, Phase::Connect)
    );

    // A socket that is closed with bytes unread sends a reset.
    let reset = serve(|stream: TcpStream| async move { stream.readable().await.unwrap() }).await;
    let failure = fails(&bench(), get(format!("http://{reset}"))).await;
    assert_eq!(
        (failure.code, failure.phase),
        (ErrorCode::ConnectionReset, Phase::Processing)
    );

    let closed = answering("").await;
    let failure = fails(&bench(), get(format!("http://{closed}"))).await;
    assert_eq!(
        (failure.code, failure.phase),
        (ErrorCode::ConnectionReset, Phase::Processing)
    );

    let broken = answering("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
    let failure = fails(&bench(), get(format!("http://{broken}"))).await;
    assert_eq!(
        (failure.code, failure.phase),
        (ErrorCode::ConnectionReset, Phase::Transfer)
    );
    assert_eq!(failure.taint, None);
}

#[tokio::test]
async fn a_target_that_stalls_is_a_timeout_where_it_stalls() {
    for (start, phase) in [
        (&b""[..], Phase::Processing),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n", Phase::Processing),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
            Phase::Transfer,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            Phase::Transfer,
        ),
    ] {
        let address = stalling(start).await;
        let bench = bench();
        let failure = testing::patiently(async |timeout_ms| {
            let request = Request {
                timeout_ms: Some(timeout_ms),
                ..get(format!("http://{address}"))
            };
            let failure = fails(&bench, request).await;
            (failure.phase == phase).then_some(failure)
        })
        .await;
        assert_eq!((failure.code, failure.taint), (ErrorCode::Timeout, None));
        assert_eq!(
            bench.lender.shared.sockets_free(),
            bench.lender.shared.sockets_max()
        );
    }
}

#[tokio::test]
async fn the_job_ends_the_call() {
    let address = stalling(b"").await;
    let lease = loopback().ends(Mono(30_000_000)).done();
    let failure = bench()
        .lender
        .http(&lease, get(format!("http://{address}")))
        .await
        .unwrap_err();
    assert_eq!(failure.code, ErrorCode::Timeout);
}

#[tokio::test]
async fn broken_answers_are_protocol_errors() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
    for answer in [
        many.as_str(),
        long.as_str(),
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\na b: c\r\n\r\n",
        "HTTP/1.1 999999 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let address = answering(answer).await;
        let failure = fails(&bench(), get(format!("http://{address}"))).await;
        let start = &answer[..answer.len().min(60)];
        assert_eq!(
            (failure.code, failure.taint),
            (ErrorCode::Protocol, None),
            "{start:?}: {}",
            failure.message
        );
    }
}

/// Sends chunks until nobody takes them any more.
async fn endless() -> SocketAddr {
    serve(|mut stream| async move {
        read_head(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
        while stream.write_all(chunk.as_bytes()).await.is_ok() {}
    })
    .await
}

#[tokio::test]
async fn bodies_are_read_up_to_their_bound() {
    let endless = endless().await;
    for (wanted, length) in [
        (Some(0), 0),
        (Some(5000), 5000),
        (None, BODY_BYTES_DEFAULT),
        (Some(u32::MAX), BODY_BYTES_MAX),
    ] {
        let request = Request {
            max_body_bytes: wanted,
            ..get(format!("http://{endless}"))
        };
        let answer = bench().lender.http(&loopback().done(), request).await.unwrap();
        assert_eq!((answer.body.len(), answer.body_truncated), (length, true));
    }
    let exact = answering("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").await;
    for (wanted, body, truncated) in [(3, "abc", false), (4, "abc", false), (2, "ab", true)] {
        let request = Request {
            max_body_bytes: Some(wanted),
            ..get(format!("http://{exact}"))
        };
        let answer = bench().lender.http(&loopback().done(), request).await.unwrap();
        assert_eq!(
            (answer.body.as_slice(), answer.body_truncated),
            (body.as_bytes(), truncated)
        );
    }
}

/// Redirects `/N` to `/N-1` and answers at `/0`; `/loop` to itself; `/to?X` to X. Counts the requests.
async fn redirecting() -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let address = serve(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            let head = read_head(&mut stream).await;
            counter.fetch_add(1, Ordering::SeqCst);
            let path = head.split(' ').nth(1).unwrap();
            let to = match path.strip_prefix("/to?") {
                Some(place) => place.to_owned(),
                None => match path[1..].parse::<u32>() {
                    Ok(0) => String::new(),
                    Ok(n) => format!("{}", n - 1),
                    Err(_) => path.to_owned(),
                },
            };
            let answer = if to.is_empty() {
                "HTTP/1.1 200 OK\r\n\r\nhere".into()
            } else {
                format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    (address, count)
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_allowed() {
    let (address, count) = redirecting().await;
    let ask = async |path: &str, max_redirects: u8| {
        count.store(0, Ordering::SeqCst);
        let request = Request {
            max_redirects,
            ..get(format!("http://{address}/{path}"))
        };
        bench().lender.http(&loopback().done(), request).await
    };
    let answer = ask("3", 3).await.unwrap();
    assert_eq!(
        (answer.status, answer.redirects, answer.body.as_slice()),
        (200, 3, &b"here"[..])
    );
    assert_eq!(answer.url, format!("http://{address}/0"));
    let answer = ask("3", 0).await.unwrap();
    assert_eq!((answer.status, answer.redirects), (302, 0));
    assert_eq!(ask("3", 2).await.unwrap_err().code, ErrorCode::TooManyRedirects);
    assert_eq!(count.load(Ordering::SeqCst), 3);
    assert_eq!(
        ask("loop", 255).await.unwrap_err().code,
        ErrorCode::TooManyRedirects
    );
    assert_eq!(count.load(Ordering::SeqCst), usize::from(REDIRECTS_MAX) + 1);
}

#[tokio::test]
async fn a_redirect_can_not_leave_the_grants() {
    let (address, count) = redirecting().await;
    let only = loopback().http([HttpGrant::Pattern(UrlPattern {
        scheme: "http".into(),
        host: HostPattern::Exact("127.0.0.1".into()),
        port: None,
    })]);
    for (lease, place, wanted) in [
        (only.clone(), "http://127.0.0.2/", "http://127.0.0.2:80"),
        (only, "https://127.0.0.1/", "https://127.0.0.1:443"),
        (
            loopback(),
            "http://169.254.169.254/",
            "169.254.169.254 (a link-local address)",
        ),
        (
            loopback(),
            "http://[fd00:ec2::254]/",
            "[fd00:ec2::254] (a link-local address)",
        ),
        (
            loopback(),
            "http://[::ffff:10.0.0.1]/",
            "[::ffff:10.0.0.1] (a private address)",
        ),
    ] {
        count.store(0, Ordering::SeqCst);
        let request = Request {
            max_redirects: 5,
            ..get(format!("http://{address}/to?{place}"))
        };
        let failure = bench().lender.http(&lease.done(), request).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::Denied, "{place}");
        let Some(Taint::Denied(denial)) = failure.taint else {
            panic!("{place} left no taint");
        };
        assert_eq!(denial.wanted, wanted);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn nothing_is_dialled_without_a_grant() {
    let (address, count) = redirecting().await;
    let port = address.port();
    for (lease, url) in [
        (testing::lease(), format!("http://{address}/0")),
        (
            loopback().networks([Network::Public]),
            format!("http://{address}/0"),
        ),
        (loopback().networks([]), format!("http://localhost:{port}/0")),
        (loopback(), format!("http://mixed.test:{port}/0")),
    ] {
        let lease = lease.ends(Mono::NEVER).done();
        let failure = bench().lender.http(&lease, get(url.clone())).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::Denied, "{url}");
        assert!(matches!(failure.taint, Some(Taint::Denied(_))), "{url}");
    }
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let address = answering("HTTP/1.1 200 OK\r\n\r\n").await;
    let url = format!("http://fallback.test:{}/", address.port());
    let answer = bench().lender.http(&loopback().done(), get(url)).await.unwrap();
    assert_eq!(answer.peer, address.to_string());
}

#[tokio::test]
async fn a_name_that_no_resolver_answers_for_is_the_hosts_trouble() {
    let failure = fails(&bench(), get("http://unheard.test/")).await;
    assert_eq!(
        (failure.code, failure.phase),
        (ErrorCode::ResolveFailed, Phase::Resolve)
    );
    assert!(matches!(failure.taint, Some(Taint::Host(_))));
}

#[tokio::test]
async fn malformed_urls_reach_nobody() {
    for url in [
        "http://2130706433/",
        "http://u@127.0.0.1/",
        "127.0.0.1",
        "http://0x7f.1/",
    ] {
        let failure = fails(&bench(), get(url)).await;
        assert_eq!(
            (failure.code, failure.taint),
            (ErrorCode::InvalidRequest, None),
            "{url}"
        );
    }
}

#[tokio::test]
async fn no_free_socket_is_the_hosts_trouble() {
    let address = stalling(b"").await;
    let bench = testing::bench_with_sockets(1);
    let lease = loopback().done();
    // The first call, polled until it holds the only socket.
    let mut first = Box::pin(bench.lender.http(&lease, get(format!("http://{address}"))));
    while bench.lender.shared.sockets_free() > 0 {
        tokio::select! {
            biased;
            _ = &mut first => panic!("answered by nobody"),
            () = tokio::task::yield_now() => {}
        }
    }
    let request = Request {
        timeout_ms: SOON,
        ..get(format!("http://{address}"))
    };
    let failure = fails(&bench, request).await;
    assert_eq!(failure.code, ErrorCode::Host);
    assert!(matches!(failure.taint, Some(Taint::Host(_))));
    drop(first);
    assert_eq!(bench.lender.shared.sockets_free(), 1);
    assert!(!lease.waiting.on_target(Mono(0)));
}

/// A tenant whose targets all hang waits for itself.
#[tokio::test]
async fn hanging_connections_of_one_tenant_leave_the_others_theirs() {
    let silent = testing::silent().await;
    let answers = answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let bench = testing::bench_with_sockets(8);
    let [greedy, modest] = ["greedy", "modest"].map(|name| Arc::new(Tenant::new(name, Quotas::default())));
    let lease = loopback().tenant(&modest).done();
    let asked = async || {
        let request = get(format!("http://{answers}"));
        bench.lender.http(&lease, request).await.unwrap().status
    };
    // From here on there are two that use the network.
    assert_eq!(asked().await, 204);
    let leases: Vec<_> = (0..20).map(|_| loopback().tenant(&greedy).done()).collect();
    let mut hanging: Vec<_> = leases
        .iter()
        .map(|lease| Box::pin(bench.lender.http(lease, get(format!("http://{silent}")))))
        .collect();
    while bench.lender.shared.sockets_free() > 2 {
        for call in &mut hanging {
            tokio::select! {
                biased;
                _ = call => panic!("answered by nobody"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    for _ in 0..3 {
        assert_eq!(asked().await, 204);
    }
    assert_eq!(greedy.account.used().connections, 6);
    // It is told that this is its own doing.
    let request = Request {
        timeout_ms: SOON,
        ..get(format!("http://{silent}"))
    };
    let lease = loopback().tenant(&greedy).done();
    let failure = bench.lender.http(&lease, request).await.unwrap_err();
    assert!(matches!(failure.taint, Some(Taint::Quota(_))), "{failure:?}");
    assert!(
        failure.message.contains(
            "the tenant `greedy` has 6 sockets open, which is three quarters of the host's 8, the most while"
        ),
        "{failure:?}"
    );
    drop(hanging);
    assert_eq!(greedy.account.used().connections, 0);
    assert_eq!(modest.account.used().requests, 4);
}

#[tokio::test]
async fn a_call_that_is_dropped_closes_its_connection() {
    let (gone, mut told) = tokio::sync::mpsc::unbounded_channel();
    let address = serve(move |mut stream| {
        let gone = gone.clone();
        async move {
            read_head(&mut stream).await;
            gone.send("asked").unwrap();
            let mut rest = Vec::new();
            let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
            gone.send("closed").unwrap();
        }
    })
    .await;
    let bench = bench();
    let lease = loopback().done();
    tokio::select! {
        _ = bench.lender.http(&lease, get(format!("http://{address}"))) => panic!("answered by nobody"),
        word = told.recv() => assert_eq!(word, Some("asked")),
    }
    assert_eq!(told.recv().await, Some("closed"));
}
