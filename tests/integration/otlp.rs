//! Spans of executions and incidents, as a collector of traces gets them from the running program.

use crate::{
    probe::ask,
    support::{
        host::{Config, Host, colors},
        http::{Request, Server, status},
    },
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode},
};
use prost::Message as _;
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tempfile::TempDir;

const SECRET: &str = "hunter2hunter2";

fn text(value: Option<&AnyValue>) -> Option<&str> {
    match value?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// All spans in those requests. Each of these must be one of this host, with what it was told to say.
fn spans(requests: &[Request]) -> Vec<Span> {
    let mut spans = Vec::new();
    for request in requests {
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("POST", "/v1/traces")
        );
        assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(request.header("x-secret"), Some(SECRET));
        let message = ExportTraceServiceRequest::decode(&*request.body).unwrap();
        for of_resource in message.resource_spans {
            let resource = of_resource.resource.unwrap();
            let name = resource.attributes.iter().find(|one| one.key == "service.name");
            assert_eq!(text(name.unwrap().value.as_ref()), Some("pulse-host"));
            for scope in of_resource.scope_spans {
                spans.extend(scope.spans);
            }
        }
    }
    spans
}

fn attribute<'a>(span: &'a Span, key: &str) -> Option<&'a str> {
    let found = span.attributes.iter().find(|one| one.key == key)?;
    text(found.value.as_ref())
}

fn is_error(span: &Span) -> bool {
    let status = span.status.as_ref();
    status.is_some_and(|status| status.code == StatusCode::Error as i32)
}

/// A configuration that tells this collector of all checks.
fn telling(collector: &Server, monitors: String) -> Config {
    Config::new(monitors).host(&format!(
        "otlp = {{ url = {:?}, sample = 1, headers = {{ x-secret = {SECRET:?} }} }}",
        collector.url("")
    ))
}

fn monitor(server: &Server) -> String {
    format!(
        "[[monitor]]\nname = \"shop\"\npulse = {{ plugin = \"http\", settings = {{ url = {:?} }} }}\n",
        server.url("/")
    )
}

#[test]
fn an_incident_is_one_trace_from_the_first_failure_to_green() {
    let collector = Server::start(|_| status(200));
    let up = Arc::new(AtomicBool::new(true));
    let state = Arc::clone(&up);
    let target = Server::start(move |_| status(if state.load(Ordering::SeqCst) { 200 } else { 503 }));
    let state = Arc::clone(&up);
    let restart = Server::start(move |_| {
        state.store(true, Ordering::SeqCst);
        status(200)
    });
    let repair = format!(
        "intervention = {{ plugin = \"webhook\", cooldown = \"100ms\", settings = {{ url = {:?} }} }}\n",
        restart.url("/restart")
    );
    let host = Host::start(&telling(&collector, monitor(&target) + &repair));
    host.wait_for_log("shop is up: ");
    up.store(false, Ordering::SeqCst);
    let alerts = host.wait_for_color("shop", "green");
    assert_eq!(colors(&alerts), ["yellow", "cyan", "green"]);
    // What was not sent yet is sent at the end.
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert!(!ended.log.join("\n").contains(SECRET));

    let spans = spans(&collector.requests());
    let ids: HashSet<_> = spans.iter().map(|span| &span.span_id).collect();
    assert_eq!(
        ids.len(),
        spans.len(),
        "each once, and each with an id of its own"
    );
    let mut roots = spans.iter().filter(|span| span.name == "incident");
    let (root, None) = (roots.next().unwrap(), roots.next()) else {
        panic!("one incident, one root");
    };
    assert_eq!((root.trace_id.len(), root.span_id.len()), (16, 8));
    assert!(root.parent_span_id.is_empty());
    assert_eq!(attribute(root, "pulse_host.monitor"), Some("shop"));
    let id = alerts[0]["incident"]["id"].as_str();
    assert_eq!(attribute(root, "pulse_host.incident"), id);

    let (within, others): (Vec<&Span>, Vec<&Span>) = spans
        .iter()
        .filter(|span| span.name != "incident")
        .partition(|span| span.trace_id == root.trace_id);
    for span in &within {
        assert_eq!(span.parent_span_id, root.span_id, "{span:?}");
    }
    let named = |name: &str| within.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let (checks, repairs, codes) = (
        named("pulse http"),
        named("intervention webhook"),
        named("code file"),
    );
    assert!(checks.len() >= 2, "two failures in a row opened it: {within:#?}");
    for check in checks {
        assert!(is_error(check), "{check:?}");
        assert_eq!(attribute(check, "pulse_host.status"), Some("unhealthy"));
    }
    assert_eq!(repairs.len(), 1);
    assert_eq!(attribute(repairs[0], "pulse_host.status"), Some("done"));
    let mut told: Vec<_> = codes
        .iter()
        .map(|code| attribute(code, "pulse_host.color"))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [Some("cyan"), Some("green"), Some("yellow")]);

    // Checks of a healthy target are no part of it.
    assert!(!others.is_empty());
    for span in others {
        assert_eq!(span.name, "pulse http");
        assert_eq!(attribute(span, "pulse_host.status"), Some("healthy"));
        assert!(span.parent_span_id.is_empty() && !is_error(span), "{span:?}");
    }
    for span in spans.iter().filter(|span| span.name != "incident") {
        let events: Vec<_> = span
            .events
            .iter()
            .map(|event| (&*event.name, event.time_unix_nano))
            .collect();
        let [("sent", sent), ("started", started)] = events[..] else {
            panic!("{events:?}");
        };
        let order = [span.start_time_unix_nano, sent, started, span.end_time_unix_nano];
        assert!(order.is_sorted(), "{order:?}");
    }
}

#[test]
fn a_collector_that_takes_nothing_is_told_of_once_and_holds_nobody_up() {
    let taking = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&taking);
    let collector = Server::start(move |_| status(if state.load(Ordering::SeqCst) { 200 } else { 400 }));
    let target = Server::start(|_| status(200));
    let config = telling(&collector, monitor(&target));
    let host = Host::start_serving(TempDir::new().unwrap(), &config);
    let count = |result: &str| {
        let series = format!("pulse_host_spans_total{{result=\"{result}\"}} ");
        let figures = ask(&host, "/metrics").1;
        let value = figures.lines().find_map(|line| line.strip_prefix(&series));
        value.unwrap().parse::<u64>().unwrap()
    };
    collector.wait_for(2);
    host.wait_for("lost spans", || (count("failed") > 0).then_some(()));
    assert_eq!(count("sent"), 0);
    let line = host.wait_for_log("spans are not taken by the collector");
    assert!(line.contains("it answered 400"), "{line}");
    taking.store(true, Ordering::SeqCst);
    host.wait_for_log("spans are taken by the collector");
    host.wait_for("spans that arrived", || (count("sent") > 0).then_some(()));
    target.wait_for_more(2);
    let ended = host.stop();
    assert_eq!(ended.status.code(), Some(0));
    let warned = ended
        .log
        .iter()
        .filter(|line| line.contains("spans are not taken"))
        .count();
    assert_eq!(warned, 1, "{:?}", ended.log);
    assert!(!ended.log.join("\n").contains(SECRET));
}
