use super::{
    ErrorCode, Failure, Taint,
    dns::{Kind, NOISE_MAX, Request, Response, Transport},
    resolve::Resolver,
    testing::{LeaseMaker, bench, lease, patiently},
};
use crate::domain::{
    grant::{HostPattern, Network, TcpGrant},
    tenant::{Quotas, Tenant},
    time::Mono,
};
use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
};

/// A name server on loopback, over UDP and TCP on one port, that answers by the first label.
async fn server() -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // Somebody else may have that port over TCP.
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        let mut lost = true;
        while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
            let asked = Message::from_vec(&buffer[..length]).unwrap();
            let label = label(&asked);
            // The first datagram about it is lost.
            if label == "silent" || label == "lossy" && std::mem::take(&mut lost) {
                continue;
            }
            if label == "forged" {
                let mut forged = answer(&asked);
                forged.metadata.id = forged.metadata.id.wrapping_add(1);
                udp.send_to(&forged.to_vec().unwrap(), peer).await.unwrap();
                udp.send_to(b"noise", peer).await.unwrap();
            }
            let (noise, bytes) = match label.as_str() {
                "drowned" => (NOISE_MAX + 1, 5),
                "noisy" => (NOISE_MAX, 5),
                "heavy" => (1, 1_200),
                _ => (0, 0),
            };
            for _ in 0..noise {
                udp.send_to(&vec![b'n'; bytes], peer).await.unwrap();
            }
            let mut answer = answer(&asked);
            if label == "long" {
                answer.answers.clear();
                answer.metadata.truncation = true;
            }
            udp.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await.unwrap();
            let bytes = answer(&Message::from_vec(&bytes).unwrap()).to_vec().unwrap();
            stream
                .write_u16(u16::try_from(bytes.len()).unwrap())
                .await
                .unwrap();
            stream.write_all(&bytes).await.unwrap();
        }
    });
    address
}

fn label(asked: &Message) -> String {
    let name = asked.queries[0].name().to_utf8();
    name.split('.').next().unwrap().to_owned()
}

fn answer(asked: &Message) -> Message {
    let query = asked.queries[0].clone();
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    answer.metadata.authoritative = !asked.metadata.recursion_desired;
    answer.add_query(query.clone());
    let name = query.name().clone();
    let host = |text: &str| Name::from_ascii(text).unwrap();
    let mut put = |data| {
        answer.add_answer(Record::from_rdata(name.clone(), 300, data));
    };
    match (label(asked).as_str(), query.query_type()) {
        ("gone", _) => answer.metadata.response_code = ResponseCode::NXDomain,
        ("broken", _) => answer.metadata.response_code = ResponseCode::ServFail,
        ("long", _) => (0..200).for_each(|last| put(RData::A(rdata::A::new(192, 0, 2, last)))),
        ("alias", _) => put(RData::CNAME(rdata::CNAME(host("web.example.")))),
        (_, RecordType::A) => put(RData::A(rdata::A::new(192, 0, 2, 7))),
        (_, RecordType::MX) => put(RData::MX(rdata::MX::new(10, host("mail.example.")))),
        (_, RecordType::TXT) => put(RData::TXT(rdata::TXT::new(vec![
            "v=spf1 ".into(),
            "-all\u{7}".into(),
        ]))),
        (_, RecordType::PTR) => put(RData::PTR(rdata::PTR(host("web.example.")))),
        _ => {}
    }
    answer
}

fn any() -> LeaseMaker {
    let any = TcpGrant::Pattern {
        host: HostPattern::Any,
        port: None,
    };
    lease()
        .dns([any])
        .networks([Network::Loopback])
        .ends(Mono(0).after(Duration::from_secs(60)))
}

fn request(server: Option<SocketAddr>, name: &str, kind: Kind) -> Request {
    Request {
        name: name.into(),
        kind,
        server: server.map(|server| server.to_string()),
        recursion: true,
        timeout_ms: None,
    }
}

async fn ask(server: SocketAddr, name: &str, kind: Kind) -> Result<Response, Failure> {
    let request = request(Some(server), name, kind);
    bench().lender.dns(&any().done(), request).await
}

#[tokio::test]
async fn answers_as_zone_files_have_them() {
    let server = server().await;
    for (name, kind, shown) in [
        ("web.example", Kind::A, "web.example 300 A 192.0.2.7"),
        ("web.example.", Kind::Mx, "web.example 300 MX 10 mail.example."),
        ("web.example", Kind::Txt, "web.example 300 TXT v=spf1 -all\\u{7}"),
        ("alias.example", Kind::A, "alias.example 300 CNAME web.example."),
        (
            "inner_score.example",
            Kind::A,
            "inner_score.example 300 A 192.0.2.7",
        ),
        ("_dmarc.example", Kind::A, "_dmarc.example 300 A 192.0.2.7"),
        (
            "192.0.2.7",
            Kind::Ptr,
            "7.2.0.192.in-addr.arpa 300 PTR web.example.",
        ),
    ] {
        let response = ask(server, name, kind).await.unwrap();
        assert_eq!(
            (response.rcode.as_str(), response.transport),
            ("NOERROR", Transport::Udp)
        );
        assert_eq!(response.server, server.to_string());
        let answer = &response.answers[0];
        let line = format!("{} {} {} {}", answer.name, answer.ttl, answer.kind, answer.data);
        assert_eq!(line, shown);
        assert!(response.timings.processing_us > 0);
    }
    let mut own = request(Some(server), "web.example", Kind::Srv);
    own.recursion = false;
    let response = bench().lender.dns(&any().done(), own).await.unwrap();
    assert!(response.authoritative && response.answers.is_empty());
}

#[tokio::test]
async fn that_there_is_no_such_name_is_an_answer() {
    let server = server().await;
    for (name, rcode) in [("gone.example", "NXDOMAIN"), ("broken.example", "SERVFAIL")] {
        let response = ask(server, name, Kind::A).await.unwrap();
        assert_eq!((response.rcode.as_str(), response.answers.len()), (rcode, 0));
    }
}

#[tokio::test]
async fn what_is_too_long_comes_over_tcp_and_is_bounded() {
    let response = ask(server().await, "long.example", Kind::A).await.unwrap();
    assert_eq!(
        (response.transport, response.answers.len()),
        (Transport::Tcp, 128)
    );
}

#[tokio::test]
async fn a_datagram_that_is_lost_is_sent_again_and_a_forged_one_is_no_answer() {
    let server = server().await;
    for name in ["lossy.example", "forged.example", "noisy.example"] {
        let response = ask(server, name, Kind::A).await.unwrap();
        assert_eq!(response.answers[0].data, "192.0.2.7", "{name}");
    }
}

#[tokio::test]
async fn a_server_that_sends_noise_is_left_alone_after_a_while_and_read_no_faster_than_the_tenant_may() {
    let server = server().await;
    let failure = ask(server, "drowned.example", Kind::A).await.unwrap_err();
    assert_eq!(failure.code, ErrorCode::Protocol, "{failure}");

    let tenant = Arc::new(Tenant::new(
        "a",
        Quotas {
            bytes_per_second: Some(100),
            ..Quotas::default()
        },
    ));
    let message = patiently(async |timeout_ms| {
        let mut request = request(Some(server), "heavy.example", Kind::A);
        request.timeout_ms = Some(timeout_ms);
        let lease = any().tenant(&tenant).done();
        let failure = bench().lender.dns(&lease, request).await.unwrap_err();
        match failure.taint {
            Some(Taint::Quota(message)) => Some(message),
            _ => None,
        }
    })
    .await;
    assert!(
        message.contains("the tenant `a` has sent and received"),
        "{message}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_the_target_if_it_was_named_and_the_host_s_own_otherwise() {
    let server = server().await;
    let failure = patiently(async |timeout_ms| {
        let mut request = request(Some(server), "silent.example", Kind::A);
        request.timeout_ms = Some(timeout_ms);
        let failure = bench().lender.dns(&any().done(), request).await.unwrap_err();
        (failure.code == ErrorCode::Timeout && failure.taint.is_none()).then_some(failure)
    })
    .await;
    assert_eq!(failure.code, ErrorCode::Timeout);

    let mut bench = bench();
    bench.lender.resolver = Resolver::with_server(server);
    let system = lease()
        .dns([TcpGrant::System])
        .ends(Mono(0).after(Duration::from_secs(60)));
    let mut silent = request(None, "silent.example", Kind::A);
    silent.timeout_ms = Some(50);
    let failure = bench
        .lender
        .dns(&system.clone().done(), silent)
        .await
        .unwrap_err();
    assert_eq!(failure.code, ErrorCode::ResolveFailed, "{failure}");
    assert!(matches!(failure.taint, Some(Taint::Host(_))), "{failure:?}");
    let good = request(None, "web.example", Kind::A);
    let response = bench.lender.dns(&system.done(), good).await.unwrap();
    assert_eq!(response.server, server.to_string());
}

#[tokio::test]
async fn a_server_is_a_target_like_any_other() {
    let server = server().await;
    let denied = async |maker: LeaseMaker, named: bool| {
        let request = request(named.then_some(server), "web.example", Kind::A);
        let failure = bench().lender.dns(&maker.done(), request).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::Denied, "{failure}");
        failure.message
    };
    let message = denied(lease(), true).await;
    assert!(
        message.contains(&format!("grants.dns = [\"{server}\"]")),
        "{message}"
    );
    let message = denied(any(), false).await;
    assert!(message.contains("\"system\"]"), "{message}");
    let message = denied(any().networks([Network::Public]), true).await;
    assert!(message.contains("grants.networks"), "{message}");
    for (name, address) in [("a..b", "127.0.0.1:53"), ("a.b", "127.0.0.1")] {
        let mut request = request(None, name, Kind::A);
        request.server = Some(address.into());
        let failure = bench().lender.dns(&any().done(), request).await.unwrap_err();
        assert_eq!(failure.code, ErrorCode::InvalidRequest, "{name} {address}");
    }
}
