use super::*;
use crate::{
    capability::{
        ErrorCode, Failure, Phase, Taint, command,
        course::{Ask, Called, Reply},
        dns, docker, files, handshake, icmp, net, tcp,
    },
    cases::format::Call,
    domain::outcome::Denial,
};
use std::time::Duration;

fn options() -> net::TlsOptions {
    net::TlsOptions {
        ca: Some("ca".to_owned()),
        client_certificate: Some(net::ClientCertificate {
            chain: "chain".to_owned(),
            key: "key".to_owned(),
        }),
        server_name: Some("name".to_owned()),
        insecure: true,
    }
}

fn asks() -> Vec<Ask> {
    let name = || "web".to_owned();
    vec![
        Ask::Http(http::Request {
            method: "PUT".to_owned(),
            url: "http://shop.example/".to_owned(),
            headers: vec![header("accept: a"), header("x-a: b")],
            body: Some(b"body".to_vec()),
            max_redirects: 2,
            family: net::IpFamily::V4,
            tls: Some(options()),
            timeout_ms: Some(7),
            max_body_bytes: Some(70),
        }),
        Ask::Tcp(tcp::Request {
            host: "shop.example".to_owned(),
            port: 25,
            family: net::IpFamily::V6,
            tls: Some(options()),
            steps: vec![
                tcp::Step::Send(b"a".to_vec()),
                tcp::Step::Send(vec![0xff]),
                tcp::Step::Expect(tcp::Expectation::Contains(b"b".to_vec())),
                tcp::Step::Expect(tcp::Expectation::Contains(vec![0xfe])),
                tcp::Step::Expect(tcp::Expectation::Line),
                tcp::Step::StartTls(options()),
            ],
            timeout_ms: Some(8),
            max_bytes: Some(80),
        }),
        Ask::Tls(handshake::Request {
            host: "shop.example".to_owned(),
            port: 465,
            family: net::IpFamily::V4,
            tls: options(),
            alpn: vec!["h2".to_owned()],
            before: vec![
                tcp::Step::Expect(tcp::Expectation::Line),
                tcp::Step::Send(vec![0xff]),
            ],
            timeout_ms: Some(9),
        }),
        Ask::Dns(dns::Request {
            name: "shop.example".to_owned(),
            kind: dns::Kind::Mx,
            server: Some("192.0.2.53:53".to_owned()),
            recursion: true,
            timeout_ms: Some(10),
        }),
        Ask::Restart {
            name: name(),
            stop_timeout_s: 3,
        },
        Ask::Stop {
            name: name(),
            stop_timeout_s: 4,
        },
        Ask::Start { name: name() },
        Ask::Inspect { name: name() },
        Ask::Append {
            path: "a/b".to_owned(),
            line: "c".to_owned(),
        },
        Ask::Ping(icmp::Request {
            host: "gate.example".to_owned(),
            family: net::IpFamily::V6,
            count: 3,
            interval_ms: 200,
            wait_ms: 1_000,
            payload_bytes: 56,
            timeout_ms: Some(4_900),
        }),
        Ask::Run(command::Request {
            name: "restart".to_owned(),
            arguments: vec![
                ("host".to_owned(), "web-1".to_owned()),
                ("service".to_owned(), "nginx".to_owned()),
            ],
            timeout_ms: Some(11),
        }),
    ]
}

fn facts() -> Option<net::TlsFacts> {
    Some(net::TlsFacts {
        version: "TLSv1.3".to_owned(),
        cipher: "c".to_owned(),
        alpn: Some("h2".to_owned()),
        certificates: vec![net::Certificate {
            subject: "CN=a".to_owned(),
            issuer: "CN=b".to_owned(),
            names: vec!["a".to_owned()],
            not_before: 1,
            not_after: 2,
            sha256: "00".to_owned(),
        }],
    })
}

fn timings() -> net::Timings {
    net::Timings {
        resolve_us: 1,
        connect_us: 2,
        tls_us: 3,
        processing_us: 4,
        transfer_us: 5,
    }
}

fn denial(ask: &Ask) -> Option<Taint> {
    Some(Taint::Denied(Denial {
        capability: ask.capability(),
        wanted: "what".to_owned(),
        grant: "how".to_owned(),
    }))
}

fn failures(ask: &Ask) -> Vec<Failure> {
    let failure = |code, phase, taint| Failure {
        code,
        phase,
        message: "why".to_owned(),
        taint,
    };
    let host = Some(Taint::Host("why".to_owned()));
    vec![
        failure(ErrorCode::ConnectionRefused, Phase::Connect, None),
        failure(ErrorCode::Timeout, Phase::Transfer, None),
        failure(ErrorCode::Host, Phase::Resolve, host),
        failure(ErrorCode::Denied, Phase::Prepare, denial(ask)),
        failure(ErrorCode::Denied, Phase::Processing, denial(ask)),
    ]
}

fn of_docker(ask: &Ask) -> Vec<docker::Failure> {
    let why = || "why".to_owned();
    let mut failures: Vec<docker::Failure> = vec![
        docker::Error::NotFound(why()).into(),
        docker::Error::Rejected(why()).into(),
        docker::Error::Unavailable(why()).into(),
        docker::Error::EffectUnknown(why()).into(),
    ];
    failures.push(docker::Failure {
        error: docker::Error::Unavailable(why()),
        taint: Some(Taint::Host(why())),
    });
    failures.push(docker::Failure {
        error: docker::Error::Denied(why()),
        taint: denial(ask),
    });
    failures
}

/// Of each kind that such a call can come to.
fn replies(ask: &Ask) -> Vec<Reply> {
    let why = || "why".to_owned();
    match ask {
        Ask::Http(_) => {
            let response = |body: &[u8]| {
                Reply::Http(Ok(http::Response {
                    status: 201,
                    version: "HTTP/2".to_owned(),
                    headers: vec![header("a: b"), header("a: c")],
                    body: body.to_vec(),
                    body_truncated: true,
                    url: "http://shop.example/b".to_owned(),
                    redirects: 1,
                    peer: "192.0.2.9:80".to_owned(),
                    timings: timings(),
                    tls: facts(),
                }))
            };
            let failed = failures(ask).into_iter().map(|failure| Reply::Http(Err(failure)));
            [response(b"text"), response(b"\xff\x00")]
                .into_iter()
                .chain(failed)
                .collect()
        }
        Ask::Tcp(_) => {
            let response = |received: &[u8], unmet| {
                Reply::Tcp(Ok(tcp::Response {
                    peer: "192.0.2.9:25".to_owned(),
                    received: received.to_vec(),
                    unmet,
                    timings: timings(),
                    tls: facts(),
                }))
            };
            let failed = failures(ask).into_iter().map(|failure| Reply::Tcp(Err(failure)));
            [response(b"b\xfe\n", None), response(b"text", Some(2))]
                .into_iter()
                .chain(failed)
                .collect()
        }
        Ask::Tls(_) => {
            let response = |chain: &[&[u8]], refusal| {
                Reply::Tls(Ok(handshake::Response {
                    peer: "192.0.2.9:465".to_owned(),
                    timings: timings(),
                    tls: facts().unwrap(),
                    chain: chain.iter().map(|der| der.to_vec()).collect(),
                    refusal,
                }))
            };
            let refusal = Failure {
                code: ErrorCode::CertificateExpired,
                phase: Phase::Tls,
                message: why(),
                taint: None,
            };
            let failed = failures(ask).into_iter().map(|failure| Reply::Tls(Err(failure)));
            [response(&[], None), response(&[b"DER", b"\xff"], Some(refusal))]
                .into_iter()
                .chain(failed)
                .collect()
        }
        Ask::Dns(_) => {
            let response = |transport, answers| {
                Reply::Dns(Ok(dns::Response {
                    server: "192.0.2.9:53".to_owned(),
                    transport,
                    rcode: "NXDOMAIN".to_owned(),
                    authoritative: true,
                    answers,
                    timings: timings(),
                }))
            };
            let answer = dns::Answer {
                name: "a".to_owned(),
                kind: "CNAME".to_owned(),
                ttl: 7,
                data: "b.".to_owned(),
            };
            let failed = failures(ask).into_iter().map(|failure| Reply::Dns(Err(failure)));
            [
                response(dns::Transport::Udp, Vec::new()),
                response(dns::Transport::Tcp, vec![answer.clone(), answer]),
            ]
            .into_iter()
            .chain(failed)
            .collect()
        }
        Ask::Ping(_) => of_icmp(ask),
        Ask::Run(_) => of_command(ask),
        Ask::Inspect { .. } => {
            let container = docker::Container {
                id: "1".to_owned(),
                name: "web".to_owned(),
                image: "i".to_owned(),
                state: "exited".to_owned(),
                exit_code: 3,
                health: Some("healthy".to_owned()),
            };
            let failed = of_docker(ask).into_iter().map(Err);
            std::iter::once(Ok(container))
                .chain(failed)
                .map(Reply::Container)
                .collect()
        }
        Ask::Restart { .. } | Ask::Start { .. } | Ask::Stop { .. } => {
            let failed = of_docker(ask).into_iter().map(Err);
            std::iter::once(Ok(())).chain(failed).map(Reply::Docker).collect()
        }
        Ask::Append { .. } => {
            let failed = [
                files::Error::InvalidPath(why()).into(),
                files::Error::InvalidLine(why()).into(),
                files::Failure {
                    error: files::Error::Io(why()),
                    taint: Some(Taint::Host(why())),
                },
                files::Failure {
                    error: files::Error::Denied(why()),
                    taint: denial(ask),
                },
            ];
            std::iter::once(Ok(()))
                .chain(failed.into_iter().map(Err))
                .map(Reply::Files)
                .collect()
        }
    }
}

fn of_icmp(ask: &Ask) -> Vec<Reply> {
    let response = |sent, replies| {
        Reply::Icmp(Ok(icmp::Response {
            peer: "192.0.2.9".to_owned(),
            resolve_us: 9,
            sent,
            replies,
        }))
    };
    let reply = |sequence, ttl| icmp::Reply {
        sequence,
        rtt_us: 7,
        ttl,
    };
    let failed = failures(ask).into_iter().map(|failure| Reply::Icmp(Err(failure)));
    [
        response(2, Vec::new()),
        response(3, vec![reply(1, None), reply(0, Some(61))]),
    ]
    .into_iter()
    .chain(failed)
    .collect()
}

fn of_command(ask: &Ask) -> Vec<Reply> {
    use command::{Ending, Error, Failure};
    let why = || "why".to_owned();
    let response = |ending| command::Response {
        ending,
        stdout: "out\n".to_owned(),
        stderr: String::new(),
        stdout_truncated: true,
        stderr_truncated: false,
        duration_us: 77,
    };
    let failed = [
        Error::InvalidArgument(why()).into(),
        Error::Unavailable(why()).into(),
        Error::TimedOut(why()).into(),
        Error::Stopped(why()).into(),
        Failure {
            error: Error::Unavailable(why()),
            taint: Some(Taint::Host(why())),
        },
        Failure {
            error: Error::Denied(why()),
            taint: denial(ask),
        },
    ];
    [Ending::Exited(-1), Ending::Killed(9)]
        .into_iter()
        .map(|ending| Ok(response(ending)))
        .chain(failed.into_iter().map(Err))
        .map(Reply::Command)
        .collect()
}

/// Through the text of a file.
fn read_back(call: &Call) -> Call {
    toml::from_str(&toml::to_string(call).unwrap()).unwrap()
}

#[test]
fn what_was_written_is_played_as_it_was() {
    for ask in asks() {
        let all = replies(&ask).into_iter().map(Some);
        for reply in all.chain([None]) {
            let called = Called {
                ask: ask.clone(),
                reply,
                took: Duration::from_micros(1_234),
                refused: false,
            };
            let call = read_back(&noted(&called));
            assert_eq!(wrong(&call), None, "{call:?}");
            assert_eq!(question(&call), asked(&ask));
            assert!(fits(&call, &ask));
            let played = scripted(&call, &ask);
            assert_eq!(played.reply, called.reply, "{call:?}");
            assert_eq!(played.after, called.took);
        }
    }
}

/// Each key by itself: alone it counts, and without it what was asked for there does not.
#[test]
fn only_the_keys_that_are_written_count() {
    for ask in asks() {
        let got = asked(&ask);
        let table = toml::Table::try_from(&got).unwrap();
        let (interface, keys) = table.iter().next().unwrap();
        for (key, value) in keys.as_table().unwrap() {
            let with = |value: &toml::Value| -> Call {
                let one = toml::Table::from_iter([(key.clone(), value.clone())]);
                toml::Table::from_iter([(interface.clone(), one.into())])
                    .try_into()
                    .unwrap()
            };
            let named = ["restart", "stop", "start", "inspect"];
            // What is done to a container is not left out: another one is another call.
            if interface == "docker" && !named.contains(&key.as_str()) {
                continue;
            }
            let same = with(value);
            assert_eq!(as_far_as(&same, got.clone()), same, "{interface}.{key}");
            if let Some(other) = another(key, value) {
                let other = with(&other);
                assert_ne!(as_far_as(&other, got.clone()), other, "{interface}.{key}");
            }
        }
    }
}

/// A value of the same type that was not asked for.
fn another(key: &str, value: &toml::Value) -> Option<toml::Value> {
    Some(match (key, value) {
        ("headers", _) => vec!["accept: other"].into(),
        ("steps" | "before" | "alpn", _) => toml::Value::Array(Vec::new()),
        ("kind", _) => "SOA".into(),
        (_, toml::Value::String(text)) => format!("{text}x").into(),
        (_, toml::Value::Integer(number)) => (number + 1).into(),
        (_, toml::Value::Table(table)) => {
            let (key, value) = table.iter().next()?;
            toml::Table::from_iter([(key.clone(), another(key, value)?)]).into()
        }
        _ => return None,
    })
}

#[test]
fn fields_count_by_their_names_however_they_are_spelt_and_in_whatever_order() {
    let Some(got) = asks().first().map(asked) else {
        panic!("there is one");
    };
    let with = |fields: &[&str]| -> Call {
        let text = format!("http.headers = {fields:?}");
        toml::from_str(&text).unwrap()
    };
    for (fields, counts) in [
        (&["X-A: b", "Accept: a"][..], true),
        (&["x-a: c"], false),
        (&["x-b: b"], false),
        (&[], true),
    ] {
        let wanted = with(fields);
        assert_eq!(as_far_as(&wanted, got.clone()) == wanted, counts, "{fields:?}");
    }
}

#[test]
fn options_that_are_not_written_do_not_count() {
    for (ask, text) in asks().iter().zip([
        "http.url = \"http://shop.example/\"",
        "tcp.host = \"shop.example\"",
        "tls.host = \"shop.example\"",
        "dns.name = \"shop.example\"",
    ]) {
        let wanted: Call = toml::from_str(text).unwrap();
        assert_eq!(as_far_as(&wanted, asked(ask)), wanted);
    }
}

#[test]
fn a_call_of_another_interface_shows_as_it_is() {
    let wanted: Call = toml::from_str("tcp.host = \"shop.example\"").unwrap();
    let Some(got) = asks().first().map(asked) else {
        panic!("there is one");
    };
    assert_eq!(as_far_as(&wanted, got.clone()), got);
}

#[test]
fn what_a_case_leaves_out_is_as_in_the_sdk() {
    let ask = |interface: &str| {
        asks()
            .into_iter()
            .find(|ask| ask.capability() == interface)
            .unwrap()
    };
    let call: Call = toml::from_str(
        "tls.port = 465\nanswer.tls.certificates = [{ not-after = 7 }]\nanswer.refusal.code = \"certificate-untrusted\"",
    )
    .unwrap();
    assert_eq!(wrong(&call), None);
    let played = scripted(&call, &ask("tls"));
    assert_eq!(played.after, Duration::from_millis(4));
    let Some(Reply::Tls(Ok(response))) = played.reply else {
        panic!("{:?}", played.reply);
    };
    assert_eq!(response.peer, "192.0.2.7:465");
    let refusal = response.refusal.unwrap();
    assert_eq!(
        (
            refusal.code,
            refusal.phase,
            refusal.message.as_str(),
            refusal.taint
        ),
        (
            ErrorCode::CertificateUntrusted,
            Phase::Tls,
            "certificate untrusted",
            None
        )
    );
    let call: Call = toml::from_str("dns.kind = \"MX\"\nanswer.records = [{ data = \"10 a.\" }]").unwrap();
    assert_eq!(wrong(&call), None);
    let played = scripted(&call, &ask("dns"));
    assert_eq!(played.after, Duration::from_millis(2));
    let Some(Reply::Dns(Ok(response))) = played.reply else {
        panic!("{:?}", played.reply);
    };
    assert_eq!(
        (response.server.as_str(), response.rcode.as_str()),
        ("192.0.2.53:53", "NOERROR")
    );
    assert_eq!(
        response.answers,
        [dns::Answer {
            name: "shop.example".to_owned(),
            kind: "MX".to_owned(),
            ttl: 300,
            data: "10 a.".to_owned(),
        }]
    );
    let call: Call = toml::from_str("tls.port = 465\ndenied = {}").unwrap();
    let Some(Reply::Tls(Err(failure))) = scripted(&call, &ask("tls")).reply else {
        panic!("it is denied");
    };
    let Some(Taint::Denied(denial)) = failure.taint else {
        panic!("{failure:?}");
    };
    assert_eq!(
        (denial.capability, denial.wanted.as_str(), denial.grant.as_str()),
        ("tls", "shop.example:465", "grants.tcp")
    );
}

#[test]
fn what_can_t_be_meant_is_said_with_what_can() {
    for (text, part) in [
        (
            "answer.status = 1",
            "one of http, tcp, tls, dns, icmp, docker, command and files",
        ),
        (
            "http.url = \"a\"\ndns.name = \"b\"",
            "one of http, tcp, tls, dns, icmp, docker, command and files",
        ),
        ("tls.port = 1", "nothing comes of this call"),
        ("tls.port = 1\nanswer = {}", "answer.tls.certificates"),
        (
            "tls.port = 1\nanswer.records = []",
            "`records` is no key of an answer to tls, which has tls, refusal",
        ),
        (
            "dns.name = \"a\"\nanswer.tls.certificates = []",
            "`tls` is no key of an answer to dns",
        ),
        (
            "dns.name = \"a\"\nerror.code = \"rejected\"",
            "it has denied, invalid-request",
        ),
        (
            "files.path = \"a\"\nerror.code = \"rejected\"",
            "it has invalid-path, invalid-line, io",
        ),
        (
            "docker.stop = \"a\"\nanswer.rcode = \"NOERROR\"",
            "`rcode`: an answer to docker has no keys",
        ),
        ("docker.inspect = \"a\"\nanswer = {}", "has a container"),
        ("icmp.host = \"a\"\nanswer.sent = 3", "has the replies"),
        (
            "icmp.host = \"a\"\nanswer.replies = [{ rtt-us = 1 }, { sequence = 0, rtt-us = 1 }]",
            "request 0 is answered twice",
        ),
        (
            "icmp.host = \"a\"\nanswer = { sent = 2, replies = [{ sequence = 2, rtt-us = 1 }] }",
            "request 2 is answered, and 2 are sent",
        ),
        (
            "icmp.host = \"a\"\nanswer = { sent = 101, replies = [] }",
            "at most 100",
        ),
        (
            "icmp.host = \"a\"\nanswer.exit-code = 0",
            "`exit-code` is no key of an answer to icmp",
        ),
        ("command.name = \"a\"\nanswer.stdout = \"b\"", "how it ended"),
        (
            "command.name = \"a\"\nanswer = { exit-code = 0, signal = 9 }",
            "how it ended",
        ),
        (
            "command.name = \"a\"\nerror.code = \"rejected\"",
            "it has invalid-argument, unavailable, timed-out, stopped",
        ),
    ] {
        let call: Call = toml::from_str(text).unwrap();
        let wrong = wrong(&call).unwrap_or_default();
        assert!(wrong.contains(part), "{text}: {wrong}");
    }
}
