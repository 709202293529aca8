//! The archive as whoever installs it finds it: unpacked somewhere else, with nothing of this repository around.

use super::{
    Name,
    contents::{PLUGINS, PROGRAM, Packed, STARTER},
    pack,
};
use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A folder of this process that goes with this value.
pub struct Temporary(pub PathBuf);

impl Temporary {
    /// A new one.
    pub fn new(what: &str) -> Result<Self> {
        let name = format!("xtask-dist-{what}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Unpacks the archive, and runs the program in it with the plugins in it.
pub fn run(archive: &Path, name: &Name, version: &str, mut packed: Packed) -> Result<()> {
    pack::verify(&archive.with_file_name(format!("{}.sha256", name.archive())))?;
    let place = Temporary::new("trial")?;
    pack::unpack(archive, &place.0)?;
    let folder = place.0.join(&name.0);
    pack::verify(&folder.join(pack::SUMS))?;
    packed.files.push(pack::SUMS.into());
    packed.files.sort();
    let found = pack::files(&folder)?;
    if found != packed.files {
        bail!("the archive holds {found:?}, and should hold {:?}", packed.files);
    }
    let say = |args: &[&str]| {
        let mut command = Command::new(folder.join(PROGRAM));
        // What this machine is set up for must not make it run.
        command.args(args).env_clear().current_dir(&folder);
        shell::output(command.env("HOME", &place.0))
    };
    let said = say(&["--version"])?;
    if said.trim() != format!("pulse-host {version}") {
        bail!("the packed program says that it is {said:?}, and not pulse-host {version}");
    }
    let said = say(&["check-config", "--plugins", PLUGINS, "--config", STARTER])?;
    let plugins = format!(" {} plugins", packed.plugins);
    if !said.lines().next().unwrap_or_default().ends_with(&plugins) {
        bail!("the packed program finds other than{plugins} beside it: {said}");
    }
    Ok(())
}
