//! `cargo xtask setup`: installs what a build needs beside Rust itself, and says what it does.

use crate::shell;
use anyhow::{Result, bail};
use std::{path::Path, process::Command};

/// What plugins are built for.
pub const WASM_TARGET: &str = "wasm32-wasip2";

/// Adds the wasm target, rustfmt and clippy where they are missing.
pub fn run() -> Result<()> {
    // The target comes as a folder of the toolchain, whether rustup or a distribution installed it.
    let sysroot = shell::output(
        Command::new("rustc")
            .args(["--print", "sysroot"])
            .current_dir(shell::root()?),
    )?;
    let libraries = Path::new(sysroot.trim()).join("lib/rustlib").join(WASM_TARGET);
    if !libraries.is_dir() {
        rustup(&["target", "add", WASM_TARGET])?;
    }
    for (component, subcommand) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if !shell::works(&mut shell::cargo(&[subcommand, "--version"])?) {
            rustup(&["component", "add", component])?;
        }
    }
    Ok(())
}

fn rustup(args: &[&str]) -> Result<()> {
    if !shell::works(Command::new("rustup").arg("--version")) {
        let what = args.last().copied().unwrap_or_default();
        bail!("this toolchain lacks {what}, and there is no rustup to add it: install it with the toolchain");
    }
    // In the repository's root, rust-toolchain.toml says which toolchain is meant.
    shell::run(Command::new("rustup").args(args).current_dir(shell::root()?))
}
