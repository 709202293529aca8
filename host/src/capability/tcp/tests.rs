use super::*;
use crate::capability::{
    ErrorCode, Taint,
    testing::{self, bench, dead_port, loopback, serve, silent},
};
use std::net::SocketAddr;
use tokio::io::AsyncBufReadExt;

fn to(address: SocketAddr, steps: Vec<Step>) -> Request {
    Request {
        host: address.ip().to_string(),
        port: address.port(),
        family: IpFamily::Any,
        tls: None,
        steps,
        timeout_ms: None,
        max_bytes: None,
    }
}

fn send(text: &str) -> Step {
    Step::Send(text.into())
}

fn contains(text: &str) -> Step {
    Step::Expect(Expectation::Contains(text.into()))
}

const LINE: Step = Step::Expect(Expectation::Line);

/// Greets, then answers every line with `got LINE`; `quit` closes.
async fn chatty() -> SocketAddr {
    serve(|mut stream| async move {
        stream.write_all(b"220 hello\r\n").await.unwrap();
        let (reader, mut writer) = stream.split();
        let mut lines = tokio::io::BufReader::new(reader).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line == "quit" {
                break;
            }
            writer
                .write_all(format!("got {line}\n").as_bytes())
                .await
                .unwrap();
        }
    })
    .await
}

async fn talk(request: Request) -> Result<Response, Failure> {
    bench().lender.tcp(&loopback().done(), request).await
}

#[tokio::test]
async fn connecting_is_a_dialogue_without_steps() {
    let address = chatty().await;
    let answer = talk(to(address, vec![])).await.unwrap();
    assert_eq!(answer.peer, address.to_string());
    assert_eq!((answer.unmet, answer.received.len(), answer.tls), (None, 0, None));
    assert_eq!((answer.timings.connect_us, answer.timings.processing_us), (1, 0));
}

#[tokio::test]
async fn a_dialogue() {
    let address = chatty().await;
    let steps = vec![
        LINE,
        send("a\nb\n"),
        contains("got a"),
        contains("got b"),
        LINE,
        send("quit\n"),
        LINE,
    ];
    let answer = talk(to(address, steps)).await.unwrap();
    assert_eq!(answer.received, b"220 hello\r\ngot a\ngot b\n");
    assert_eq!(answer.unmet, Some(6), "nothing comes after quit");
    assert_eq!(answer.timings.processing_us, 1);
}

#[tokio::test]
async fn what_came_earlier_is_read_only_once() {
    let address = chatty().await;
    let steps = vec![send("a\nquit\n"), contains("got a"), contains("220")];
    let answer = talk(to(address, steps)).await.unwrap();
    assert_eq!(answer.unmet, Some(2));
}

#[tokio::test]
async fn a_peer_that_says_too_much_leaves_the_expectation_unmet() {
    let address =
        serve(|mut stream| async move { while stream.write_all(&[b'x'; 4096]).await.is_ok() {} }).await;
    for (wanted, received) in [
        (Some(10), 10),
        (None, RECEIVED_BYTES_DEFAULT),
        (Some(u32::MAX), RECEIVED_BYTES_MAX),
    ] {
        let request = Request {
            max_bytes: wanted,
            ..to(address, vec![LINE])
        };
        let answer = talk(request).await.unwrap();
        assert_eq!((answer.received.len(), answer.unmet), (received, Some(0)));
    }
}

#[tokio::test]
async fn a_silent_peer_is_a_timeout() {
    let address = silent().await;
    let failure = testing::patiently(async |timeout_ms| {
        let request = Request {
            timeout_ms: Some(timeout_ms),
            ..to(address, vec![LINE])
        };
        let failure = talk(request).await.unwrap_err();
        (failure.phase == Phase::Processing).then_some(failure)
    })
    .await;
    assert_eq!((failure.code, failure.taint), (ErrorCode::Timeout, None));
}

#[tokio::test]
async fn refused_and_reset() {
    let (_socket, dead) = dead_port();
    let failure = talk(to(dead, vec![])).await.unwrap_err();
    assert_eq!(
        (failure.code, failure.phase),
        (ErrorCode::ConnectionRefused, Phase::Connect)
    );
    // A socket that is closed with bytes unread sends a reset.
    let reset = serve(|stream: tokio::net::TcpStream| async move { stream.readable().await.unwrap() }).await;
    let failure = talk(to(reset, vec![send("x"), LINE])).await.unwrap_err();
    assert_eq!(
        (failure.code, failure.phase),
        (ErrorCode::ConnectionReset, Phase::Processing)
    );
}

#[tokio::test]
async fn malformed_dialogues_reach_nobody() {
    let address = chatty().await;
    let tls = || Step::StartTls(TlsOptions::default());
    let big = |bytes: usize| "x".repeat(bytes);
    for request in [
        to(address, vec![LINE; STEPS_MAX + 1]),
        to(address, vec![tls(), tls()]),
        Request {
            tls: Some(TlsOptions::default()),
            ..to(address, vec![tls()])
        },
        to(address, vec![send(&big(SENT_BYTES_MAX)), send("x")]),
        to(address, vec![contains(&big(NEEDLE_BYTES_MAX + 1))]),
        Request {
            port: 0,
            ..to(address, vec![])
        },
        Request {
            host: "0x7f.1".into(),
            ..to(address, vec![])
        },
        Request {
            host: "a b".into(),
            ..to(address, vec![])
        },
    ] {
        let failure = talk(request).await.unwrap_err();
        assert_eq!((failure.code, failure.taint), (ErrorCode::InvalidRequest, None));
    }
}

#[tokio::test]
async fn nothing_is_dialled_without_a_grant() {
    let address = chatty().await;
    for lease in [testing::lease(), loopback().networks([]), loopback().tcp([])] {
        let failure = bench()
            .lender
            .tcp(&lease.done(), to(address, vec![]))
            .await
            .unwrap_err();
        assert_eq!(failure.code, ErrorCode::Denied);
        assert!(matches!(failure.taint, Some(Taint::Denied(_))));
    }
}
