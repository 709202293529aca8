//! `cargo xtask bench NAME`: runs one benchmark of `host/benches`.

use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::{collections::BTreeSet, path::Path};

/// Runs `NAME [--json FILE] [ARG…]`; what follows the name goes to the benchmark.
pub fn run(args: &[String]) -> Result<()> {
    let benches = shell::root()?.join("host/benches");
    let known = known(&benches)?;
    let Some((name, args)) = args.split_first() else {
        bail!("which benchmark? {}", list(&known));
    };
    if !known.contains(name) {
        bail!("there is no benchmark `{name}`; {}", list(&known));
    }
    let here = std::env::current_dir()?;
    let mut command = shell::cargo(&["bench", "--package", "pulse-host", "--bench", name, "--"])?;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        command.arg(arg);
        if arg == "--json" {
            let file = args.next().context("`--json` needs a file")?;
            // The benchmark runs in its package's folder; the file is meant from here.
            command.arg(here.join(file));
        }
    }
    shell::run(&mut command)
}

fn list(known: &BTreeSet<String>) -> String {
    if known.is_empty() {
        return "host/benches holds none".to_owned();
    }
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    format!("there are: {}", names.join(", "))
}

/// `NAME.rs` and `NAME/main.rs`, as cargo finds them.
fn known(benches: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    if !benches.is_dir() {
        return Ok(names);
    }
    for entry in std::fs::read_dir(benches)? {
        let path = entry?.path();
        let is_bench =
            path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file();
        if is_bench && let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benchmarks_are_what_cargo_takes_for_them() {
        let folder = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("headline")).unwrap();
        std::fs::create_dir_all(folder.join("common")).unwrap();
        for file in ["headline/main.rs", "common/mod.rs", "wheel.rs", "notes.md"] {
            std::fs::write(folder.join(file), "").unwrap();
        }
        let names: Vec<String> = known(&folder).unwrap().into_iter().collect();
        assert_eq!(names, ["headline", "wheel"]);
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(known(&folder).unwrap().is_empty());
    }
}
