//! What `deny.toml` says about sources and bans, as far as every machine can check it: from the lock files alone.

use super::{Problem, tree::Tree};
use std::collections::BTreeMap;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
/// TLS is rustls everywhere: one implementation to keep current, and no C library to find.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls"];
/// Two versions of the sandbox would be two sandboxes to keep safe.
const ONCE: &[&str] = &["wasmtime", "wasmtime-wasi", "bevy_ecs", "rustls", "tokio"];

/// Checks every `Cargo.lock`.
pub fn check(tree: &Tree) -> Vec<Problem> {
    tree.texts("", "Cargo.lock")
        .flat_map(|(path, text)| check_lock(path, text))
        .collect()
}

fn check_lock(path: &str, text: &str) -> Vec<Problem> {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => return vec![Problem::of(path, format!("is no TOML: {error}"))],
    };
    let mut problems = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in table
        .get("package")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = |key: &str| package.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        let (name, source) = (text("name"), text("source"));
        // A package without a source is one of the workspace's own.
        if !source.is_empty() && source != CRATES_IO {
            problems.push(Problem::of(
                path,
                format!("`{name}` comes from {source}, not from crates.io"),
            ));
        }
        if BANNED.contains(&name) {
            problems.push(Problem::of(
                path,
                format!("`{name}` is banned (deny.toml says why)"),
            ));
        }
        versions.entry(name).or_default().push(text("version"));
    }
    for name in ONCE {
        if let Some(several) = versions.get(name).filter(|versions| versions.len() > 1) {
            let several = several.join(" and ");
            problems.push(Problem::of(
                path,
                format!("`{name}` is there more than once: {several}"),
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_sources_bans_and_doubles_are_found() {
        let lock = r#"
version = 4
[[package]]
name = "own"
version = "0.1.0"
[[package]]
name = "fine"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
[[package]]
name = "fork"
version = "1.0.0"
source = "git+https://example.com/fork#0123"
[[package]]
name = "openssl"
version = "1.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
[[package]]
name = "wasmtime"
version = "47.0.0"
source = "registry+https://github.com/rust-lang/crates.io-index"
[[package]]
name = "wasmtime"
version = "48.0.8"
source = "registry+https://github.com/rust-lang/crates.io-index"
"#;
        let found: Vec<String> = check(&Tree::of(&[("plugins/Cargo.lock", lock)]))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "plugins/Cargo.lock: `fork` comes from git+https://example.com/fork#0123, not from crates.io",
                "plugins/Cargo.lock: `openssl` is banned (deny.toml says why)",
                "plugins/Cargo.lock: `wasmtime` is there more than once: 47.0.0 and 48.0.8",
            ]
        );
        assert_eq!(check(&Tree::of(&[("Cargo.lock", "= no")])).len(), 1);
    }
}
