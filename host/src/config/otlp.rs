//! `[host.otlp]`: who collects spans of executions and incidents.

use super::{
    host::is_web_address,
    problem::Problem,
    read::Reader,
    tree::{Node, Table},
};
use crate::domain::host::Otlp;
use std::sync::Arc;

/// Keys of `[host.otlp]`.
pub const KEYS_OTLP: &[&str] = &["headers", "sample", "url"];

/// What is appended to an address (the OTLP specification: `OTEL_EXPORTER_OTLP_ENDPOINT`).
const PATH: &str = "/v1/traces";
const SAMPLE: f64 = 0.01;
const HEADERS_MAX: usize = 20;

/// Reads `[host.otlp]`. Where it is wrong, there is none.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Otlp> {
    let table = reader.table(node, "otlp")?;
    reader.known_keys(table, KEYS_OTLP, "`[host.otlp]`");
    // Each is read whatever is wrong with the others, so that all problems are told at once.
    let sample = match table.get("sample") {
        Some(node) => reader.number(node, "otlp.sample", 0.0..=1.0).map(|it| it.value),
        None => Some(SAMPLE),
    };
    let headers = match table.get("headers") {
        Some(node) => {
            let table = reader.table(node, "otlp.headers");
            table.and_then(|table| read_headers(reader, table))
        }
        None => Some(Vec::new()),
    };
    let url = read_url(reader, node, table);
    Some(Otlp {
        url: url?,
        headers: headers?,
        sample: sample?,
    })
}

fn read_url(reader: &mut Reader<'_>, whole: &Node, table: &Table) -> Option<Arc<str>> {
    let Some(node) = table.get("url") else {
        reader.report(
            Problem::new("missing-key", whole.at, "`[host.otlp]` without `url`").help(
                "the address of a collector that takes OTLP over HTTP: url = \"http://127.0.0.1:4318\"",
            ),
        );
        return None;
    };
    let url = reader.string(node, "url")?;
    if !is_web_address(&url.value) {
        reader.report(
            Problem::new("bad-address", url.at, "this is no http:// or https:// URL")
                .help("url = \"http://127.0.0.1:4318\""),
        );
        return None;
    }
    let base = url.value.trim_end_matches('/');
    let base = base.strip_suffix(PATH).unwrap_or(base);
    Some(format!("{base}{PATH}").into())
}

fn read_headers(reader: &mut Reader<'_>, table: &Table) -> Option<Vec<(Arc<str>, Arc<str>)>> {
    let mut headers = Some(Vec::new());
    for (index, (name, entry)) in table.iter().enumerate() {
        let Some(value) = reader.string(&entry.node, &format!("otlp.headers.{name}")) else {
            headers = None;
            continue;
        };
        let trouble = if index == HEADERS_MAX {
            Some((entry.key, "there are too many headers"))
        } else if ::http::HeaderName::try_from(&**name).is_err() {
            Some((entry.key, "this is no name of a header"))
        } else if ::http::HeaderValue::try_from(&*value.value).is_err() {
            Some((value.at, "a header can't have this value"))
        } else {
            None
        };
        if let Some((at, what)) = trouble {
            reader.report(
                Problem::new("bad-header", at, what)
                    .help("at most 20: headers = { authorization = \"Bearer ${env:OTLP_TOKEN}\" }"),
            );
            headers = None;
        }
        if let Some(headers) = &mut headers {
            headers.push((Arc::clone(name), value.value));
        }
    }
    headers
}
