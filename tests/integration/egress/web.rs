//! `wasi:http` in a guest.

use super::{denial, lab, native, read_head, report, serve, trouble, without, words};
use crate::support::{
    http::{Reply, Server, status},
    sandbox::Silent,
};
use pulse_host::{
    clock::Clock,
    domain::outcome::{Outcome, Status},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

fn get(server: impl ToString) -> Value {
    json!({"do": "get", "authority": server.to_string(), "path": "/a?b=c"})
}

#[test]
fn a_request_and_its_answer() {
    let lab = lab(Clock::system());
    let server = Server::start(|request| match request.path.as_str() {
        "/large" => Reply::Answer(200, vec![], "x".repeat(1 << 20)),
        "/empty" => status(204),
        "/elsewhere" => Reply::Answer(
            302,
            vec![("location", "http://169.254.169.254/".into())],
            "go".into(),
        ),
        path => Reply::Answer(
            200,
            vec![("connection", "keep-alive".into())],
            format!("you asked for {path}"),
        ),
    });
    assert_eq!(
        words(&lab.run(&native(get(server.address())))),
        "200 20 you asked for /a?b=c"
    );
    let request = &server.requests()[0];
    assert_eq!(
        request.header("host"),
        Some(server.address().to_string().as_str())
    );
    assert_eq!(request.header("connection"), Some("close"));
    let path = |path: &str| json!({"do": "get", "authority": server.address().to_string(), "path": path});
    let large = lab.run(&native(path("/large")));
    assert!(words(&large).starts_with("200 1048576 xxx"), "{large:?}");
    assert_eq!(words(&lab.run(&native(path("/empty")))), "204 0 ");
    // A redirect is an answer; following it is the guest's own business, and another request.
    assert_eq!(words(&lab.run(&native(path("/elsewhere")))), "302 2 go");
}

/// The head of an answer is there before its body is, however long that takes.
#[test]
fn a_body_that_never_ends_is_read_as_it_comes() {
    let lab = lab(Clock::system());
    let endless = serve(|mut stream| {
        read_head(&mut stream);
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        let mut write = |text: &str| stream.write_all(text.as_bytes()).is_ok();
        if write(head) {
            while write(&chunk) {}
        }
    });
    let head = json!({"do": "get-head", "authority": endless.to_string()});
    assert_eq!(words(&lab.run(&native(head))), "200");
    let whole = lab.run(&native(get(endless)));
    let bytes: usize = trouble(&whole)
        .strip_prefix("after ")
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap();
    assert!((1 << 20..=16 << 20).contains(&bytes), "{whole:?}");
    assert!(trouble(&whole).contains("HttpProtocolError"), "{whole:?}");
}

#[test]
fn a_body_that_is_written_while_it_is_sent() {
    let lab = lab(Clock::system());
    // Chunks, since nobody has said how long it will be.
    let server = serve(|stream| {
        let mut reader = BufReader::new(stream);
        read_head(&mut reader);
        let mut line = String::new();
        let mut bytes = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).unwrap();
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk).unwrap();
            bytes += length;
            if length == 0 {
                break;
            }
        }
        let said = format!("{bytes} bytes");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{said}", said.len());
        reader.get_mut().write_all(answer.as_bytes()).unwrap();
    });
    let post = json!({"do": "post", "authority": server.to_string(), "say": "x".repeat(4000), "count": 100});
    assert_eq!(words(&lab.run(&native(post))), "200 12 400000 bytes");

    let server = Server::start(|request| Reply::Answer(201, vec![], format!("{} bytes", request.body.len())));
    let post = |length: &str, count: u32| {
        native(json!({
            "do": "post",
            "authority": server.address().to_string(),
            "fields": [["content-length", length]],
            "say": "four",
            "count": count,
        }))
    };
    assert_eq!(words(&lab.run(&post("8", 2))), "201 7 8 bytes");
    // What it says about the length and what it sends are one.
    for (length, count) in [("8", 1), ("8", 3), ("+8", 2), ("8, 8", 2)] {
        let result = lab.run(&post(length, count));
        assert_eq!(report(&result).status, Status::Unhealthy, "{length} {count}");
    }
    assert_eq!(server.count(), 1, "{:?}", server.requests());
    // Nor can it be as long as the guest likes, whatever it says before.
    let result = lab.run(&post("107374182400", 1));
    assert!(
        trouble(&result).contains("HttpRequestBodySize(Some(107374182400))"),
        "{result:?}"
    );
    assert_eq!(server.count(), 1, "{:?}", server.requests());
    let endless = serve(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let post =
        json!({"do": "post", "authority": endless.to_string(), "say": "x".repeat(4096), "count": 100_000});
    assert!(trouble(&lab.run(&native(post))).contains("HttpRequestBodySize"));
}

#[test]
fn parts_that_would_make_it_another_request_are_refused() {
    let lab = lab(Clock::system());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    for (field, value) in [
        ("path", json!("http://169.254.169.254/latest")),
        ("path", json!("@169.254.169.254/")),
        ("path", json!("/a b")),
        ("path", json!("/\r\nHost: b")),
        ("authority", json!("user@127.0.0.1")),
        ("authority", json!("2130706433")),
        ("authority", json!("127.0.0.1:0")),
        ("authority", json!("127.0.0.1/..")),
        ("authority", json!("")),
        ("scheme", json!("gopher")),
        ("fields", json!([["host", "169.254.169.254"]])),
        ("fields", json!([["transfer-encoding", "chunked"]])),
        ("fields", json!([["connection", "keep-alive"]])),
        ("fields", json!([["x", "a\r\nb: c"]])),
        ("fields", json!([["x\r\ny", "a"]])),
        ("fields", json!([["content-length", "7"]])),
        ("fields", json!([["x", "y".repeat(32 << 10)]])),
    ] {
        let mut settings = json!({"do": "get", "authority": authority, "path": "/"});
        settings[field] = value.clone();
        let result = lab.run(&native(settings));
        assert_eq!(
            report(&result).status,
            Status::Unhealthy,
            "{field} {value}: {result:?}"
        );
    }
    let many: Vec<[String; 2]> = (0..101)
        .map(|index| [format!("x-{index}"), String::new()])
        .collect();
    let result = lab.run(&native(
        json!({"do": "get", "authority": authority, "fields": many}),
    ));
    assert_eq!(report(&result).status, Status::Unhealthy);
    assert!(listener.accept().is_err());
}

#[test]
fn without_a_grant_nothing_is_asked() {
    let lab = lab(Clock::system());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    for part in ["http", "networks"] {
        let mut settings = get(address);
        settings["ignore-errors"] = true.into();
        let job = lab.job(&native(settings).grants(without(part)));
        let account = Arc::clone(&job.spec.tenant.account);
        let result = lab.wait_for(async |executor| executor.execute(job).await);
        assert!(
            denial(&result).grant.contains(&format!("grants.{part} = [")),
            "{result:?}"
        );
        assert_eq!(denial(&result).capability, "http");
        assert_eq!(account.used().denials, 1);
    }
    assert!(listener.accept().is_err());
    lab.assert_works("denials");
}

#[test]
fn who_waits_for_an_answer_waits_for_its_target() {
    let (clock, _hand) = Clock::manual(
        pulse_host::domain::time::Mono(1),
        pulse_host::domain::time::Wall(0),
    );
    let lab = lab(clock);
    let target = Silent::new();
    // By a clock that stands still the call is not late, and the guest has the last word.
    let result = lab.run(&native(get(target.address)).timeout(Duration::from_millis(500)));
    assert!(trouble(&result).contains("HttpResponseTimeout"), "{result:?}");
    // Its own patience is a timer beside the request.
    let mut settings = get(target.address);
    settings["do"] = "get-impatient".into();
    settings["ms"] = 20.into();
    let result = lab.run(&native(settings));
    assert_eq!(trouble(&result), "no answer in time");
    lab.assert_works("a silent target");
}

/// A patience of the guest's own ends while the guest does something else: that the guest looks late is nothing that the
/// host could be blamed for.
#[test]
fn a_patience_that_ends_while_nobody_looks_is_the_targets_silence() {
    let lab = lab(Clock::system());
    let target = Silent::new();
    let mut settings = get(target.address);
    settings["do"] = "get-later".into();
    settings["first-byte-ms"] = 100.into();
    settings["ms"] = 800.into();
    let result = lab.run(&native(settings));
    assert!(trouble(&result).contains("HttpResponseTimeout"), "{result:?}");
    // And while it looks.
    let mut settings = get(target.address);
    settings["first-byte-ms"] = 100.into();
    let result = lab.run(&native(settings));
    assert!(trouble(&result).contains("HttpResponseTimeout"), "{result:?}");
}

#[test]
fn what_is_under_way_ends_with_the_instance() {
    let lab = lab(Clock::system());
    let mut target = Silent::new();
    let job = lab.job(&native(get(target.address)).timeout(Duration::from_secs(60)));
    let account = Arc::clone(&job.spec.tenant.account);
    lab.wait_for(async |executor| {
        tokio::select! {
            biased;
            result = executor.execute(job) => panic!("it ended: {result:?}"),
            () = target.taken() => {}
        }
    });
    assert_eq!(account.used().connections, 0);
    lab.assert_works("a job that was dropped");
}

#[test]
fn refusals_and_broken_answers_are_the_targets() {
    let lab = lab(Clock::system());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(
        trouble(&lab.run(&native(get(port)))),
        "ErrorCode::ConnectionRefused"
    );
    let closes = serve(drop);
    let result = lab.run(&native(get(closes)));
    assert!(matches!(&result.outcome, Outcome::Answer(_)), "{result:?}");
    assert_eq!(report(&result).status, Status::Unhealthy);
}
