//! The command line, driven as a person or a script drives it.

mod config;
mod help;
mod plugin;
mod probe;
mod templates;
mod terminal;

use crate::support::host;
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// How a command ended.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Everything that the program said.
    fn said(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// The program in that folder, which is also its user's home.
fn command(folder: &Path, args: &[&str]) -> Command {
    host::warm_up();
    let mut command = host::command();
    command
        .args(args)
        .current_dir(folder)
        .env("HOME", folder)
        .env("PULSE_HOST_PLUGINS", host::plugins());
    command
}

fn run(folder: &Path, args: &[&str]) -> Run {
    run_with(command(folder, args), "")
}

fn run_with(mut command: Command, input: &str) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read it closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let run = Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(!run.said().contains('\u{1b}'), "escape codes in a pipe: {run:?}");
    run
}

/// A folder with that configuration.
fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("pulse-host.toml"), config).unwrap();
    folder
}
