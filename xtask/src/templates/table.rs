//! The table of languages and kinds in docs/benchmarks.md, measured by `plugin bench`.

use super::{Language, trial::Built};
use crate::shell;
use anyhow::{Context as _, Result};
use serde_json::Value;
use std::{path::Path, process::Command};

pub const HEAD: &str = "\
| language | kind | source lines | component | build | compile | load | CPU a run | in a kept instance | fuel | memory |
|---|---|---|---|---|---|---|---|---|---|---|";

/// What an author writes or changes: the plugin itself, without the helper.
pub fn sources(language: Language) -> &'static str {
    match language {
        Language::Rust => "src/lib.rs",
        Language::Javascript => "plugin.js",
        Language::Typescript => "plugin.ts",
        Language::Python => "plugin.py",
        Language::C => "plugin.c",
        Language::Zig => "plugin.zig",
        Language::Go => "plugin/plugin.go",
    }
}

/// Lines that say something, without tests.
fn lines(language: Language, text: &str) -> usize {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    // The templates in Python have no text that would begin a line so.
    let comments: &[&str] = match language {
        Language::Python => &["#", "\"\"\""],
        _ => &["//"],
    };
    let says = |line: &&str| !line.is_empty() && !comments.iter().any(|mark| line.starts_with(mark));
    code.lines().map(str::trim).filter(says).count()
}

/// One row.
pub fn row(program: &Path, language: Language, kind: &str, built: &Built) -> Result<String> {
    let text = std::fs::read_to_string(built.folder.join(sources(language)))?;
    let mut bench = Command::new(program);
    bench.args([
        "plugin",
        "bench",
        ".",
        "--case",
        "tests/healthy.toml",
        "--output",
        "json",
    ]);
    let said = shell::output(bench.current_dir(&built.folder))?;
    let said: Value = serde_json::from_str(&said).context("plugin bench said no JSON")?;
    let number = |path: &str| said.pointer(path).and_then(Value::as_f64);
    let shown = |path: &str, unit: f64, digits: usize| {
        number(path).map_or_else(|| "-".to_owned(), |value| format!("{:.digits$}", value / unit))
    };
    Ok(format!(
        "| {} | {kind} | {} | {} KB | {:.1} s | {} s | {} ms | {} µs | {} µs | {} | {} KiB |",
        language.name(),
        lines(language, &text),
        shown("/size_bytes", 1e3, 0),
        built.took.as_secs_f64(),
        shown("/compile_seconds", 1.0, 2),
        shown("/load_seconds", 1e-3, 1),
        shown("/fresh_cpu_nanoseconds/median", 1e3, 0),
        shown("/reused_cpu_nanoseconds/median", 1e3, 0),
        shown("/fuel/median", 1.0, 0),
        shown("/peak_memory_bytes/median", 1024.0, 0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_blanks_and_comments_are_no_source_lines() {
        let rust = "//! Says.\n\n#[a]\nfn a() {\n    // why\n    b();\n}\n\n#[cfg(test)]\nmod tests {}\n";
        assert_eq!(lines(Language::Rust, rust), 4);
        assert_eq!(lines(Language::C, "#include \"a.h\"\n// why\nint a;\n"), 2);
        let python = "\"\"\"Says.\"\"\"\n\ndef a():\n    # why\n    b(1)  # c\n";
        assert_eq!(lines(Language::Python, python), 2);
    }
}
