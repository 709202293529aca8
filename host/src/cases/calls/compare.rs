//! What was asked for beside what a case says about it.

use super::{
    super::format::{Call, Command, Dns, Docker, Files, Handshake, Http, Icmp, Tcp, Tls},
    header,
};
use crate::capability::course::Ask;

/// What was asked for, cut down to what a case says about it: where the two differ, they differ there.
pub fn as_far_as(wanted: &Call, got: Call) -> Call {
    Call {
        http: narrow(wanted.http.as_ref(), got.http, |wanted, got| Http {
            method: only(&wanted.method, got.method),
            url: only(&wanted.url, got.url),
            headers: wanted
                .headers
                .as_ref()
                .map(|wanted| same_fields(wanted, got.headers)),
            body: only(&wanted.body, got.body),
            body_hex: only(&wanted.body_hex, got.body_hex),
            max_redirects: only(&wanted.max_redirects, got.max_redirects),
            family: only(&wanted.family, got.family),
            timeout_ms: only(&wanted.timeout_ms, got.timeout_ms),
            max_body_bytes: only(&wanted.max_body_bytes, got.max_body_bytes),
            tls: within(wanted.tls.as_ref(), got.tls, same_tls),
        }),
        tcp: narrow(wanted.tcp.as_ref(), got.tcp, |wanted, got| Tcp {
            host: only(&wanted.host, got.host),
            port: only(&wanted.port, got.port),
            family: only(&wanted.family, got.family),
            timeout_ms: only(&wanted.timeout_ms, got.timeout_ms),
            max_bytes: only(&wanted.max_bytes, got.max_bytes),
            tls: within(wanted.tls.as_ref(), got.tls, same_tls),
            steps: only(&wanted.steps, got.steps),
        }),
        tls: narrow(wanted.tls.as_ref(), got.tls, |wanted, got| Handshake {
            host: only(&wanted.host, got.host),
            port: only(&wanted.port, got.port),
            family: only(&wanted.family, got.family),
            timeout_ms: only(&wanted.timeout_ms, got.timeout_ms),
            alpn: only(&wanted.alpn, got.alpn),
            tls: within(wanted.tls.as_ref(), got.tls, same_tls),
            before: only(&wanted.before, got.before),
        }),
        dns: narrow(wanted.dns.as_ref(), got.dns, |wanted, got| Dns {
            name: only(&wanted.name, got.name),
            kind: only(&wanted.kind, got.kind),
            server: only(&wanted.server, got.server),
            recursion: only(&wanted.recursion, got.recursion),
            timeout_ms: only(&wanted.timeout_ms, got.timeout_ms),
        }),
        icmp: narrow(wanted.icmp.as_ref(), got.icmp, |wanted, got| Icmp {
            host: only(&wanted.host, got.host),
            family: only(&wanted.family, got.family),
            count: only(&wanted.count, got.count),
            interval_ms: only(&wanted.interval_ms, got.interval_ms),
            wait_ms: only(&wanted.wait_ms, got.wait_ms),
            payload_bytes: only(&wanted.payload_bytes, got.payload_bytes),
            timeout_ms: only(&wanted.timeout_ms, got.timeout_ms),
        }),
        command: narrow(wanted.command.as_ref(), got.command, |wanted, got| Command {
            name: only(&wanted.name, got.name),
            timeout_ms: only(&wanted.timeout_ms, got.timeout_ms),
            arguments: only(&wanted.arguments, got.arguments),
        }),
        docker: narrow(wanted.docker.as_ref(), got.docker, |wanted, got| Docker {
            stop_timeout_s: only(&wanted.stop_timeout_s, got.stop_timeout_s),
            ..got
        }),
        files: narrow(wanted.files.as_ref(), got.files, |wanted, got| Files {
            path: only(&wanted.path, got.path),
            line: only(&wanted.line, got.line),
        }),
        ..Call::default()
    }
}

/// What is asked for, without what comes of it.
pub fn question(call: &Call) -> Call {
    Call {
        http: call.http.clone(),
        tcp: call.tcp.clone(),
        tls: call.tls.clone(),
        dns: call.dns.clone(),
        icmp: call.icmp.clone(),
        command: call.command.clone(),
        docker: call.docker.clone(),
        files: call.files.clone(),
        ..Call::default()
    }
}

/// Whether a call of the case has answers for what was asked: the same interface, and the same kind of answer.
pub fn fits(call: &Call, ask: &Ask) -> bool {
    let inspects = call.docker.as_ref().map(|docker| docker.inspect.is_some());
    match ask {
        Ask::Http(_) => call.http.is_some(),
        Ask::Tcp(_) => call.tcp.is_some(),
        Ask::Tls(_) => call.tls.is_some(),
        Ask::Dns(_) => call.dns.is_some(),
        Ask::Ping(_) => call.icmp.is_some(),
        Ask::Run(_) => call.command.is_some(),
        Ask::Inspect { .. } => inspects == Some(true),
        Ask::Restart { .. } | Ask::Start { .. } | Ask::Stop { .. } => inspects == Some(false),
        Ask::Append { .. } => call.files.is_some(),
    }
}

fn narrow<T>(wanted: Option<&T>, got: Option<T>, both: impl FnOnce(&T, T) -> T) -> Option<T> {
    match (wanted, got) {
        (Some(wanted), Some(got)) => Some(both(wanted, got)),
        (_, got) => got,
    }
}

/// The same of what counts only where it is written.
fn within<T>(wanted: Option<&T>, got: Option<T>, both: impl FnOnce(&T, T) -> T) -> Option<T> {
    wanted.zip(got).map(|(wanted, got)| both(wanted, got))
}

fn only<T>(wanted: &Option<T>, got: Option<T>) -> Option<T> {
    wanted.as_ref().and(got)
}

fn same_tls(wanted: &Tls, got: Tls) -> Tls {
    Tls {
        ca: only(&wanted.ca, got.ca),
        client_chain: only(&wanted.client_chain, got.client_chain),
        client_key: only(&wanted.client_key, got.client_key),
        server_name: only(&wanted.server_name, got.server_name),
        insecure: only(&wanted.insecure, got.insecure),
    }
}

/// The fields that are wanted as they were sent, and of those that were sent the ones with their names.
fn same_fields(wanted: &[String], got: Option<Vec<String>>) -> Vec<String> {
    let names: Vec<String> = wanted
        .iter()
        .map(|field| header(field).name.to_ascii_lowercase())
        .collect();
    let got = got.unwrap_or_default();
    let with_their_names: Vec<String> = got
        .into_iter()
        .filter(|field| names.contains(&header(field).name.to_ascii_lowercase()))
        .collect();
    let same = |one: &String, two: &String| {
        let (one, two) = (header(one), header(two));
        one.name.eq_ignore_ascii_case(&two.name) && one.value == two.value
    };
    if wanted
        .iter()
        .all(|wanted| with_their_names.iter().any(|got| same(wanted, got)))
    {
        wanted.to_vec()
    } else {
        with_their_names
    }
}
