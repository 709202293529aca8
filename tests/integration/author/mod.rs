//! What authors of plugins use: one run, cases without a network, recording and replaying, verifying, measuring, and
//! the loop that builds and tries.

mod cases;
mod dev;
mod record;
mod run;
mod traces;

use crate::support::{host, root};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;

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
}

/// The program, with these words.
fn command(words: &[&str]) -> Command {
    host::warm_up();
    let mut command = host::command();
    command.args(words);
    command
}

fn pulse_host(words: &[&str]) -> Run {
    let output = command(words).stdin(Stdio::null()).output().unwrap();
    let run = Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    assert!(
        !format!("{run:?}").contains("\\u{1b}"),
        "escape codes in a pipe: {run:?}"
    );
    run
}

/// A plugin's folder of its own, with manifest and component, and with these cases.
struct Plugin {
    folder: TempDir,
}

impl Plugin {
    fn of(manifest: &Path, component: &Path, cases: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::copy(manifest.join("plugin.toml"), folder.path().join("plugin.toml")).unwrap();
        std::fs::copy(component, folder.path().join(component.file_name().unwrap())).unwrap();
        std::fs::create_dir(folder.path().join("tests")).unwrap();
        for (name, text) in cases {
            std::fs::write(folder.path().join(format!("tests/{name}.toml")), text).unwrap();
        }
        Self { folder }
    }

    /// One that comes with the host.
    fn named(name: &str, cases: &[(&str, &str)]) -> Self {
        let folder = host::plugins().join(name);
        Self::of(&folder, &folder.join(format!("{name}.wasm")), cases)
    }

    fn http(cases: &[(&str, &str)]) -> Self {
        Self::named("http", cases)
    }

    fn chaos(cases: &[(&str, &str)]) -> Self {
        Self::of(&root().join("tests/guests/chaos"), &guest("chaos"), cases)
    }

    fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A guest that was built for tests.
fn guest(name: &str) -> PathBuf {
    root().join(format!("tests/guests/target/wasm32-wasip2/release/{name}.wasm"))
}
