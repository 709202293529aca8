//! Whether a call can be meant as it is written.

use super::super::format::{Call, ErrorName};
use crate::capability::ErrorCode;

/// What is wrong with a call as it is written, whatever is asked for.
pub fn wrong(call: &Call) -> Option<String> {
    let asks = [
        call.http.is_some(),
        call.tcp.is_some(),
        call.docker.is_some(),
        call.files.is_some(),
    ];
    if asks.iter().filter(|is| **is).count() != 1 {
        return Some("a call is one of http, tcp, docker and files: write for example http.url = \"http://shop.example/\"".to_owned());
    }
    let ends = [
        call.answer.is_some(),
        call.error.is_some(),
        call.denied.is_some(),
        call.never == Some(true),
    ];
    let ends = ends.iter().filter(|is| **is).count();
    if ends > 1 {
        return Some("a call ends in one way: with answer, error, denied = {} or never = true".to_owned());
    }
    if let Some(docker) = &call.docker {
        let acts = [&docker.restart, &docker.start, &docker.stop, &docker.inspect];
        if acts.iter().filter(|act| act.is_some()).count() != 1 {
            return Some(
                "docker is asked for one thing: restart, start, stop or inspect, with a container's name"
                    .to_owned(),
            );
        }
    }
    let inspects = call
        .docker
        .as_ref()
        .is_some_and(|docker| docker.inspect.is_some());
    let says_nothing = call.docker.is_some() && !inspects || call.files.is_some();
    if ends == 0 && !says_nothing {
        return Some(
            "nothing comes of this call: write answer, error, denied = {} or never = true".to_owned(),
        );
    }
    if let Some(error) = &call.error {
        let net = matches!(error.code, ErrorName::Net(_));
        let of_files = matches!(
            error.code,
            ErrorName::InvalidPath | ErrorName::InvalidLine | ErrorName::Io
        );
        let fits = match (call.docker.is_some(), call.files.is_some()) {
            (true, _) => !net && !of_files,
            (_, true) => of_files,
            _ => net,
        };
        if !fits {
            let codes: Vec<&str> = match (call.docker.is_some(), call.files.is_some()) {
                (true, _) => vec!["not-found", "rejected", "unavailable", "effect-unknown"],
                (_, true) => vec!["invalid-path", "invalid-line", "io"],
                _ => ErrorCode::ALL.iter().map(|code| code.name()).collect(),
            };
            return Some(format!(
                "this interface has no such error; it has {}",
                codes.join(", ")
            ));
        }
    }
    let answer = call.answer.as_ref()?;
    let of_http = answer.status.is_some()
        || answer.version.is_some()
        || answer.headers.is_some()
        || answer.body.is_some()
        || answer.body_hex.is_some()
        || answer.body_truncated.is_some()
        || answer.url.is_some()
        || answer.redirects.is_some();
    let of_tcp = answer.received.is_some() || answer.received_hex.is_some() || answer.unmet.is_some();
    let of_both = answer.peer.is_some() || answer.timings.is_some() || answer.tls.is_some();
    let of_inspect = answer.container.is_some();
    let (is_http, is_tcp) = (call.http.is_some(), call.tcp.is_some());
    if of_http && !is_http || of_tcp && !is_tcp || of_both && !is_http && !is_tcp || of_inspect && !inspects {
        return Some("this answer has keys of another interface: http has status, headers, body, url, redirects, version; tcp received and unmet; both peer, timings and tls; docker.inspect container".to_owned());
    }
    match (is_http, inspects) {
        (true, _) if answer.status.is_none() => Some("an answer over http has a status".to_owned()),
        (_, true) if !of_inspect => {
            Some("an answer to docker.inspect has a container, with its state".to_owned())
        }
        _ => None,
    }
}
