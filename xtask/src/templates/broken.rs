//! A template's plugin, broken on purpose: where it is broken, and what an operator must be told of that.

use super::Language;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::path::Path;

/// How a pulse of that language is broken.
struct Break {
    file: &'static str,
    /// Begins the line before which it breaks, after the blanks.
    before: &'static str,
    line: &'static str,
    /// The class of the outcome.
    outcome: &'static str,
    /// What must be found in it, or in the log. LINE stands for the line's number.
    told: &'static [&'static str],
}

fn plan(language: Language) -> Break {
    match language {
        Language::Rust => Break {
            file: "src/lib.rs",
            before: "let request = ",
            line: "panic!(\"made to fail\");",
            outcome: "trap",
            told: &["made to fail", "src/lib.rs:LINE"],
        },
        Language::Javascript => Break {
            file: "plugin.js",
            before: "const response = ",
            line: "throw new TypeError(\"made to fail\");",
            outcome: "plugin-fault",
            told: &["TypeError: made to fail", "plugin.js:LINE"],
        },
        // The file that runs is JavaScript; its lines are those of the source.
        Language::Typescript => Break {
            file: "plugin.ts",
            before: "const response = ",
            line: "throw new TypeError(\"made to fail\");",
            outcome: "plugin-fault",
            told: &["TypeError: made to fail", "plugin.js:LINE"],
        },
        Language::Python => Break {
            file: "plugin.py",
            before: "response = ",
            line: "raise ValueError(\"made to fail\")",
            outcome: "plugin-fault",
            told: &["ValueError: made to fail", "plugin.py:LINE in check"],
        },
        Language::Go => Break {
            file: "plugin/plugin.go",
            before: "response, err := ",
            line: "panic(\"made to fail\")",
            outcome: "plugin-fault",
            told: &["panic: made to fail", "plugin/plugin.go:LINE"],
        },
        // These two have no exceptions, and no lines at run time but those that are written into the program.
        Language::C => Break {
            file: "plugin.c",
            before: "pulse_host_http_request_t get = ",
            line: "log_line(PULSE_HOST_LOG_LEVEL_ERROR, \"%s:%d: made to fail\", __FILE__, __LINE__); abort();",
            outcome: "trap",
            told: &["plugin.c:LINE: made to fail"],
        },
        Language::Zig => Break {
            file: "plugin.zig",
            before: "const headers = ",
            line: "if (settings.url.len > 0) @panic(\"made to fail\");",
            outcome: "trap",
            told: &["made to fail"],
        },
    }
}

/// Breaks the pulse in that folder, and returns the number of the line that does it.
pub fn spoil(language: Language, folder: &Path) -> Result<usize> {
    let plan = plan(language);
    let path = folder.join(plan.file);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut lines: Vec<&str> = text.lines().collect();
    let index = lines
        .iter()
        .position(|line| line.trim_start().starts_with(plan.before))
        .with_context(|| format!("{} has no line that begins with `{}`", plan.file, plan.before))?;
    let blanks = |line: &&str| line.chars().take_while(|letter| letter.is_whitespace()).collect();
    let indent: String = lines.get(index).map(blanks).unwrap_or_default();
    let line = format!("{indent}{}", plan.line);
    lines.insert(index, &line);
    std::fs::write(&path, lines.join("\n") + "\n")?;
    Ok(index + 1)
}

/// Holds what was said of the execution against what has to be said.
pub fn told(language: Language, line: usize, ran: &Value) -> Result<()> {
    let plan = plan(language);
    let outcome = ran.get("outcome").and_then(Value::as_str).unwrap_or_default();
    if outcome != plan.outcome {
        bail!("it ended as {outcome}, and not as {}: {ran}", plan.outcome);
    }
    let said = ran.to_string();
    for words in plan.told {
        let words = words.replace("LINE", &line.to_string());
        if !said.contains(&words) {
            bail!("`{words}` is not told: {ran}");
        }
    }
    Ok(())
}
