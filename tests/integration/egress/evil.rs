//! Servers that do their worst, under every interface that speaks with them: each execution ends in exactly one outcome,
//! the target's, and leaves nothing open.
//!
//! The clock stands still, so that no machine is too slow; only timers end what waits.

use super::{denial, lab, native, read_head, report, serve, words};
use crate::support::{
    sandbox::{Lab, Work, loopback},
    tls,
};
use pulse_host::{
    clock::Clock,
    domain::{
        outcome::{Outcome, Status},
        time::{Mono, Wall},
    },
};
use serde_json::json;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

/// What ends by a timer ends by this one.
const BRIEF: Duration = Duration::from_millis(400);
/// How long a server that dribbles waits between two bytes.
const DRIBBLE: Duration = Duration::from_millis(20);

/// How a server behaves once it has read a request's head.
type Deed = fn(&mut TcpStream) -> std::io::Result<()>;

const DEEDS: &[(&str, Deed)] = &[
    ("says nothing", |stream| {
        std::io::copy(stream, &mut std::io::sink()).map(|_| ())
    }),
    ("closes at once", |_| Ok(())),
    ("a byte at a time of a head that never ends", |stream| {
        loop {
            stream.write_all(b"H")?;
            std::thread::sleep(DRIBBLE);
        }
    }),
    ("a byte at a time of a good answer that is too long", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
        loop {
            stream.write_all(b"x")?;
            std::thread::sleep(DRIBBLE);
        }
    }),
    ("fields without end", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(b"x-more: and more\r\n")?;
        }
    }),
    ("one field without end", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx-long: ")?;
        loop {
            stream.write_all(&[b'y'; 4096])?;
        }
    }),
    ("a status line without end", |stream| {
        stream.write_all(b"HTTP/1.1 200 ")?;
        loop {
            stream.write_all(&[b'O'; 4096])?;
        }
    }),
    ("interim answers without end", |stream| {
        loop {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
    }),
    ("two lengths", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!")
    }),
    ("a length that is none", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello")
    }),
    ("a length beyond all numbers", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\nhello")
    }),
    ("a body that is shorter than it says", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello")
    }),
    ("a carriage return within a field", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 0\r\n\r\n")
    }),
    ("a NUL within a field", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n")
    }),
    ("a field without a name", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n: b\r\ncontent-length: 0\r\n\r\n")
    }),
    ("no HTTP at all", |stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n")
    }),
    ("a version of the future", |stream| {
        stream.write_all(b"HTTP/9.9 200 OK\r\n\r\n")
    }),
    ("a chunk that is too long for a number", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff1\r\nx")
    }),
    ("an extension of a chunk without end", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;")?;
        loop {
            stream.write_all(&[b'e'; 4096])?;
        }
    }),
    ("trailers without end", |stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")?;
        loop {
            stream.write_all(b"x-more: and more\r\n")?;
        }
    }),
];

/// The two ways in which a guest asks for a page.
fn pages(scheme: &str, address: SocketAddr) -> [Work; 2] {
    [
        Work::chaos(json!({"do": "http", "url": format!("{scheme}://{address}/")})).grants(everywhere()),
        native(json!({"do": "get", "scheme": scheme, "authority": address.to_string(), "path": "/"}))
            .grants(everywhere()),
    ]
}

/// All of loopback, over TLS too.
fn everywhere() -> pulse_host::domain::grant::Grants {
    let mut grants = loopback();
    let mut secure = grants.http.clone();
    for grant in &mut secure {
        if let pulse_host::domain::grant::HttpGrant::Pattern(pattern) = grant {
            pattern.scheme = "https".into();
        }
    }
    grants.http.extend(secure);
    grants
}

/// By a clock that stands still.
fn still() -> Lab {
    lab(Clock::manual(Mono(1), Wall(0)).0)
}

/// Runs the job; it is the target's failure, once, and nothing stays open.
fn is_the_targets(lab: &Lab, name: &str, work: Work) {
    let job = lab.job(&work.timeout(BRIEF));
    let account = Arc::clone(&job.spec.tenant.account);
    let result = lab.wait_for(async |executor| executor.execute(job).await);
    match &result.outcome {
        Outcome::DeadlineWaiting => {}
        Outcome::Answer(_) => assert_eq!(report(&result).status, Status::Unhealthy, "{name}: {result:?}"),
        other => panic!("{name}: {other:?}"),
    }
    assert_eq!(account.used().connections, 0, "{name}");
    lab.assert_works(name);
}

#[test]
fn answers_that_are_an_attack_are_the_targets_failure() {
    let lab = still();
    for (name, deed) in DEEDS {
        let address = serve(move |mut stream| {
            read_head(&mut stream);
            // It goes on until the client has gone.
            let _ = deed(&mut stream);
        });
        for work in pages("http", address) {
            is_the_targets(&lab, name, work);
        }
    }
}

#[test]
fn a_target_that_takes_no_connection_is_a_timeout() {
    let lab = still();
    // A listener whose queue is full: the kernel drops whatever else knocks.
    let (address, _held) = lab.wait_for(async |_| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(
            Duration::from_millis(300),
            tokio::net::TcpStream::connect(address),
        )
        .await
        {
            held.push(stream);
        }
        (address, (listener, held))
    });
    for work in pages("http", address) {
        is_the_targets(&lab, "a full queue", work);
    }
    let text = address.to_string();
    is_the_targets(
        &lab,
        "a full queue, lent tcp",
        Work::chaos(json!({"do": "tcp-wait", "address": text})).grants(loopback()),
    );
    is_the_targets(
        &lab,
        "a full queue, std::net",
        native(json!({"do": "tcp", "address": text})),
    );
}

#[test]
fn tls_that_goes_wrong_is_the_targets_failure() {
    let lab = still();
    let silent = serve(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let plain = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    let dribbling = serve(|mut stream| {
        while stream.write_all(b"\x16").is_ok() {
            std::thread::sleep(DRIBBLE);
        }
    });
    // A record of a length that no record has.
    let oversized = serve(|mut stream| {
        let _ = stream.read(&mut [0; 512]);
        let _ = stream.write_all(&[0x16, 3, 3, 0xff, 0xff]);
        while stream.write_all(&[0; 4096]).is_ok() {}
    });
    let keys = tls::Authority::new().server(tls::Certificate::Good);
    let unknown = serve(move |stream| {
        let _ = keys.accept(stream);
    });
    for (name, address) in [
        ("silence", silent),
        ("plain text", plain),
        ("a byte at a time", dribbling),
        ("an oversized record", oversized),
        ("an unknown authority", unknown),
    ] {
        for work in pages("https", address) {
            is_the_targets(&lab, name, work);
        }
    }
}

#[test]
fn redirects_to_what_is_not_granted_are_denied() {
    let lab = still();
    for location in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:a9fe:a9fe]/",
        "//169.254.169.254/",
        "https://10.0.0.1/",
    ] {
        let address = serve(move |mut stream| {
            read_head(&mut stream);
            let answer = format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes());
        });
        let [lent, own] = pages("http", address);
        let result = lab.run(&lent);
        assert_eq!(denial(&result).capability, "http", "{location}");
        // Its language's own client sees the redirect, and would have to ask again.
        assert!(matches!(lab.run(&own).outcome, Outcome::Answer(_)), "{location}");
    }
}

#[test]
fn a_flood_is_read_as_far_as_the_guest_wants_and_a_peer_that_reads_nothing_is_waited_for() {
    let lab = still();
    let endless = serve(|mut stream| while stream.write_all(&[b'x'; 4096]).is_ok() {});
    let address = endless.to_string();
    let job = lab.job(&native(
        json!({"do": "tcp-read", "address": address, "count": 5_000_000}),
    ));
    let account = Arc::clone(&job.spec.tenant.account);
    let result = lab.wait_for(async |executor| executor.execute(job).await);
    assert!(words(&result).starts_with("read 5"), "{result:?}");
    // What is read beyond that waits in the kernel, not here.
    let received = account.used().bytes_received;
    assert!((5_000_000..5_200_000).contains(&received), "{received}");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    is_the_targets(
        &lab,
        "a peer that reads nothing",
        native(json!({"do": "tcp-write", "address": address, "count": 20_000_000})),
    );
}
