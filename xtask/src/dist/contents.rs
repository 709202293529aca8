//! What is in the archive.

use crate::{plugins, shell};
use anyhow::{Context as _, Result, bail};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// The program.
pub const PROGRAM: &str = "pulse-host";
/// What `--plugins` takes.
pub const PLUGINS: &str = "plugins";
/// A configuration to begin with.
pub const STARTER: &str = "pulse-host.toml";

/// From the repository as they are.
const FILES: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE",
    "LICENSE-APACHE",
    "LICENSE-MIT",
];
/// The unit, which lies in a folder of the repository.
const UNIT: (&str, &str) = ("dist/pulse-host.service", "pulse-host.service");
const DOCS: &str = "docs";
/// Shells, and what each of them calls the file that completes a command.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "completions/pulse-host.bash"),
    ("zsh", "completions/_pulse-host"),
    ("fish", "completions/pulse-host.fish"),
];

/// What was put in, for whoever looks whether it is there.
#[derive(Debug, Default)]
pub struct Packed {
    /// Files, from the archive's folder.
    pub files: Vec<PathBuf>,
    /// How many of them are components of plugins.
    pub plugins: usize,
}

impl Packed {
    /// Writes a file of the archive. Nothing of what it was copied from but its bytes comes with it.
    fn put(&mut self, stage: &Path, name: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
        let path = stage.join(&name);
        let writing = || format!("writing {}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(stage)).with_context(writing)?;
        fs::write(&path, bytes).with_context(writing)?;
        self.files.push(name.as_ref().to_owned());
        Ok(())
    }

    fn copy(&mut self, from: &Path, stage: &Path, name: impl AsRef<Path>) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        self.put(stage, name, &bytes)
    }
}

/// Puts everything into a folder that is not there yet.
pub fn put(root: &Path, program: &Path, stage: &Path) -> Result<Packed> {
    let mut packed = Packed::default();
    packed.copy(program, stage, PROGRAM)?;
    let packed_program = stage.join(PROGRAM);
    fs::set_permissions(&packed_program, fs::Permissions::from_mode(0o755))?;
    for name in FILES {
        packed.copy(&root.join(name), stage, name)?;
    }
    packed.copy(&root.join(UNIT.0), stage, UNIT.1)?;
    put_docs(root, Path::new(DOCS), stage, &mut packed)?;
    put_plugins(root, stage, &mut packed)?;
    for (shell, name) in COMPLETIONS {
        let script = say(&packed_program, &["completions", shell])?;
        packed.put(stage, name, script.as_bytes())?;
    }
    let starter = say(&packed_program, &["init", "--path", "-"])?;
    packed.put(stage, STARTER, starter.as_bytes())?;
    Ok(packed)
}

/// What the packed program writes.
fn say(program: &Path, args: &[&str]) -> Result<String> {
    let said = shell::output(Command::new(program).args(args))?;
    if said.trim().is_empty() {
        bail!("`pulse-host {}` wrote nothing", args.join(" "));
    }
    Ok(said)
}

fn put_docs(root: &Path, folder: &Path, stage: &Path, packed: &mut Packed) -> Result<()> {
    let from = root.join(folder);
    for entry in fs::read_dir(&from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let name = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            put_docs(root, &name, stage, packed)?;
        } else if name.extension().is_some_and(|extension| extension == "md") {
            packed.copy(&entry.path(), stage, name)?;
        }
    }
    Ok(())
}

/// Of each plugin what the host reads, and what people do.
fn put_plugins(root: &Path, stage: &Path, packed: &mut Packed) -> Result<()> {
    for folder in plugins::plugin_folders(&root.join(PLUGINS))? {
        let name = folder.file_name().context("a plugin's folder has no name")?;
        let place = Path::new(PLUGINS).join(name);
        let component = plugins::component(&folder)?;
        for file in ["plugin.toml", "README.md", component.as_str()] {
            packed.copy(&folder.join(file), stage, place.join(file))?;
        }
        packed.plugins += 1;
    }
    Ok(())
}
