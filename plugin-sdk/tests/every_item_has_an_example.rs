//! Who looks an item up wants to see it used. Each example is a doc test, so that it is right.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

const ITEMS: [&str; 6] = [
    "pub fn ",
    "pub const fn ",
    "pub struct ",
    "pub enum ",
    "pub trait ",
    "macro_rules! ",
];
/// Modules that authors don't see.
const HIDDEN: [&str; 4] = ["bindings.rs", "pages.rs", "panic.rs", "settings/memo.rs"];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if !HIDDEN.iter().any(|hidden| path.ends_with(hidden)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

/// The public items of a source whose doc comments have no example.
fn bare(source: &str) -> Vec<String> {
    let (mut bare, mut documented, mut example, mut hidden_at) = (Vec::new(), false, false, None);
    for line in source.lines() {
        let code = line.trim_start();
        let depth = line.len() - code.len();
        if code == "#[cfg(test)]" && depth == 0 {
            break;
        }
        if hidden_at.is_some_and(|at| at < depth || code.is_empty()) {
            continue;
        }
        hidden_at = None;
        if let Some(doc) = code.strip_prefix("///") {
            example |= doc.trim_start().starts_with("```");
            documented = true;
            continue;
        }
        if code.starts_with("pub mod private") {
            hidden_at = Some(depth);
        } else if documented && !example && ITEMS.iter().any(|item| code.starts_with(item)) {
            bare.push(code.to_owned());
        }
        // What a macro writes is documented where it is written to.
        if code.starts_with("macro_rules!") {
            hidden_at = Some(depth);
        }
        // Attributes stand between a comment and its item.
        if !code.starts_with('#') && !code.ends_with(")]") {
            (documented, example) = (false, false);
        }
    }
    bare
}

#[test]
fn every_public_item_has_an_example() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found)?;
    assert!(found.len() > 20, "{found:?}");
    let mut wrong = String::new();
    for path in found {
        for item in bare(&fs::read_to_string(&path)?) {
            wrong.push_str(&format!(
                "{}: {item}\n",
                path.strip_prefix(&root).unwrap().display()
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "these have no example in their doc comment:\n{wrong}"
    );
    Ok(())
}

#[test]
fn what_is_found_bare() {
    let source = "/// One.\npub fn one() {}\n/// Two.\n/// ```\n/// ```\n#[must_use]\npub fn two() {}\n\
                  pub mod private {\n    /// Three.\n    pub fn three() {}\n}\n/// Four.\n#[derive(Debug)]\npub struct Four;\n";
    assert_eq!(bare(source), ["pub fn one() {}", "pub struct Four;"]);
}
