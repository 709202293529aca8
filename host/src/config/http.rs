//! `[host.http]`: where the host listens, and whom it believes.

use super::{
    host::HOUR,
    problem::Problem,
    read::{Reader, Spot, list, nearest},
    tree::{Node, Table},
};
use crate::domain::access::{Anonymous, Digest, HttpSettings, Role, TlsFiles, Token};
use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

/// Keys of `[host.http]`.
pub const KEYS_HTTP: &[&str] = &[
    "anonymous",
    "cert",
    "connections",
    "key",
    "listen",
    "names",
    "timeout",
    "tokens",
];
/// Keys of `[[host.http.tokens]]`.
pub const KEYS_TOKEN: &[&str] = &["hash", "name", "role", "tenant"];

/// What stands for no address.
const OFF: &str = "off";
/// What a hash begins with.
const SHA256: &str = "sha256:";
const TOKENS_MAX: usize = 1000;
const NAMES_MAX: usize = 100;

/// Reads `[host.http]`. Where it is wrong, the default stands.
pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> HttpSettings {
    let mut http = HttpSettings::default();
    let Some(table) = reader.table(node, "http") else {
        return http;
    };
    reader.known_keys(table, KEYS_HTTP, "`[host.http]`");
    let mut text = |key: &'static str| table.get(key).and_then(|node| reader.string(node, key));
    let (listen, anonymous, cert, key) = (text("listen"), text("anonymous"), text("cert"), text("key"));
    if let Some(listen) = listen {
        match listen.value.parse() {
            Ok(address) => http.listen = Some(address),
            Err(_) if &*listen.value == OFF => http.listen = None,
            Err(_) => reader.report(
                Problem::new("bad-address", listen.at, "the host can't listen there")
                    .help("an address and a port: listen = \"127.0.0.1:9273\" or \"[::1]:9273\"; listen = \"off\" for nowhere"),
            ),
        }
    }
    if let Some(name) = anonymous {
        match Anonymous::ALL
            .into_iter()
            .find(|known| known.name() == &*name.value)
        {
            Some(known) => http.anonymous = known,
            None => reader.report(unknown(
                "unknown-role",
                &name,
                "there is no such access",
                &Anonymous::ALL.map(Anonymous::name),
            )),
        }
    }
    http.tls = match (cert, key) {
        (Some(cert), Some(key)) => Some(TlsFiles {
            cert: path(reader, &cert),
            key: path(reader, &key),
        }),
        (None, None) => None,
        (Some(alone), None) | (None, Some(alone)) => {
            reader.report(
                Problem::new(
                    "missing-key",
                    alone.at,
                    "TLS needs both a certificate and its key",
                )
                .help("cert = \"host.pem\" and key = \"host.key\", both in PEM"),
            );
            None
        }
    };
    if let Some(connections) = table
        .get("connections")
        .and_then(|node| reader.small(node, "http.connections", 1..=100_000))
    {
        http.connections = connections.value as usize;
    }
    if let Some(timeout) = table
        .get("timeout")
        .and_then(|node| reader.duration(node, "http.timeout", Duration::from_secs(1)..=HOUR))
    {
        http.timeout = timeout.value;
    }
    if let Some(node) = table.get("names") {
        read_names(reader, node, &mut http);
    }
    if let Some(node) = table.get("tokens") {
        read_tokens(reader, node, &mut http);
    }
    http
}

fn path(reader: &Reader<'_>, spot: &Spot<Arc<str>>) -> PathBuf {
    reader.sources.resolve(spot.at, &spot.value)
}

fn read_names(reader: &mut Reader<'_>, node: &Node, http: &mut HttpSettings) {
    for name in reader.strings(node, "http.names").unwrap_or_default() {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if http.names.len() == NAMES_MAX {
            let text = format!("more than {NAMES_MAX} names");
            reader.report(Problem::new("out-of-range", name.at, text));
            return;
        }
        if name.value.is_empty() || !name.value.chars().all(fits) {
            reader
                .report(Problem::new("bad-name", name.at, "this is no host's name").help(
                    "as it stands in the address bar, without a port: names = [\"pulse.example.org\"]",
                ));
        } else {
            http.names.push(name.value.to_ascii_lowercase());
        }
    }
}

fn read_tokens(reader: &mut Reader<'_>, node: &Node, http: &mut HttpSettings) {
    let mut names = HashSet::new();
    for item in reader
        .array(
            node,
            "http.tokens",
            "tables, each written as [[host.http.tokens]]",
        )
        .unwrap_or_default()
    {
        let Some(table) = reader.table(item, "http.tokens") else {
            continue;
        };
        if http.tokens.len() == TOKENS_MAX {
            let text = format!("more than {TOKENS_MAX} tokens");
            reader.report(Problem::new("out-of-range", item.at, text));
            return;
        }
        reader.known_keys(table, KEYS_TOKEN, "a token");
        let Some(token) = read_token(reader, item, table) else {
            continue;
        };
        if names.insert(Arc::clone(&token.name)) {
            http.tokens.push(token);
        } else {
            let text = format!("two tokens are called `{}`", token.name);
            reader.report(
                Problem::new("duplicate-name", item.at, text)
                    .help("the name is how one knows who did something"),
            );
        }
    }
}

fn read_token(reader: &mut Reader<'_>, item: &Node, table: &Table) -> Option<Token> {
    let mut needed = |key: &'static str, help: &str| match table.get(key) {
        Some(node) => reader.string(node, key),
        None => {
            reader
                .report(Problem::new("missing-key", item.at, format!("a token without `{key}`")).help(help));
            None
        }
    };
    let name = needed("name", "who has it: name = \"deploy\"");
    let hash = needed("hash", "`pulse-host token new` makes a token and prints its hash");
    let role = needed("role", "role = \"viewer\", \"operator\" or \"admin\"");
    let tenant = match table.get("tenant") {
        Some(node) => {
            let tenant = reader.string(node, "tenant")?;
            Some(tenant.value)
        }
        None => None,
    };
    let (name, hash, role) = (name?, hash?, role?);
    let fits = reader.name(name.at, &name.value, "a token");
    let Some(known) = Role::from_name(&role.value) else {
        reader.report(unknown(
            "unknown-role",
            &role,
            "there is no such role",
            &Role::ALL.map(Role::name),
        ));
        return None;
    };
    let Some(digest) = digest(&hash.value) else {
        // It may be the token itself: it is not shown.
        reader.report(
            Problem::new("bad-hash", hash.at, "this is no hash of a token")
                .help("`sha256:` and 64 hexadecimal digits, as `pulse-host token new` prints it; the token itself stands nowhere"),
        );
        return None;
    };
    fits.then_some(Token {
        name: name.value,
        digest,
        role: known,
        tenant,
    })
}

/// Reads `sha256:` and 64 hexadecimal digits.
pub(crate) fn digest(text: &str) -> Option<Digest> {
    let hex = text.strip_prefix(SHA256)?.as_bytes();
    let mut digest = Digest::default();
    if hex.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    // `from_str_radix` takes a sign.
    hex.iter().all(u8::is_ascii_hexdigit).then_some(digest)
}

fn unknown(id: &'static str, spot: &Spot<Arc<str>>, text: &str, known: &[&str]) -> Problem {
    let help = match nearest(&spot.value, known) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("there is {}", list(known)),
    };
    Problem::new(id, spot.at, text).help(help)
}
