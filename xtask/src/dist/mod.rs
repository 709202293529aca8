//! `cargo xtask dist`: one archive to install from. It holds the program, its plugins and whatever belongs beside them on a
//! machine, and it is unpacked and tried before anybody hears of it.
//!
//! Of the same files it comes out the same to the byte: names in order, one time, one owner. It takes GNU tar, gzip and
//! sha256sum, which are also what it is opened with.

mod contents;
mod pack;
mod trial;

use crate::{demo, plugins, shell};
use anyhow::{Context as _, Result, bail};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// How the program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    /// For use.
    Release,
    /// For a look at what is in an archive: with the build that tests have made already.
    Dev,
}

/// An archive's name, of which its only folder is called too.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name(String);

impl Name {
    fn new(version: &str, target: &str, profile: Profile) -> Self {
        // Nobody shall take it for the other one.
        let suffix = match profile {
            Profile::Release => "",
            Profile::Dev => "-dev",
        };
        Self(format!("pulse-host-{version}-{target}{suffix}"))
    }

    fn archive(&self) -> String {
        format!("{}.tar.gz", self.0)
    }
}

/// Makes the archive; `--profile dev` makes one of a development build.
pub fn run(args: &[String]) -> Result<()> {
    let profile = parse(args)?;
    plugins::build(&[], plugins::Lock::Fixed)?;
    let archive = make(profile)?;
    let bytes = std::fs::metadata(&archive)?.len();
    println!("{} ({} KB)", archive.display(), bytes.div_ceil(1000));
    Ok(())
}

/// The same as a step of all tests, with the plugins and the program that these have built.
pub fn step() -> Result<String> {
    let archive = make(Profile::Dev)?;
    Ok(archive
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned())
}

fn parse(args: &[String]) -> Result<Profile> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["--profile", "release"] => Ok(Profile::Release),
        ["--profile", "dev"] => Ok(Profile::Dev),
        _ => bail!(
            "`cargo xtask dist` takes `--profile release`, which is the default, or `--profile dev`, and not `{}`",
            words.join(" ")
        ),
    }
}

/// Builds the program, packs it with what belongs to it, and tries what was packed. Says where the archive is.
fn make(profile: Profile) -> Result<PathBuf> {
    let program = build(profile)?;
    let root = shell::root()?;
    let version = version(&root)?;
    let name = Name::new(&version, &target()?, profile);
    let out = target_directory()?.join("dist");
    let stage = out.join(&name.0);
    if stage.exists() {
        // Of a run that was cut off.
        std::fs::remove_dir_all(&stage).with_context(|| format!("removing {}", stage.display()))?;
    }
    let packed = contents::put(&root, &program, &stage)?;
    pack::sums(&stage)?;
    let archive = pack::archive(&out, &name, pack::date(&root)?)?;
    std::fs::remove_dir_all(&stage)?;
    trial::run(&archive, &name, &version, packed)?;
    Ok(archive)
}

/// The program without its debug information, which is two thirds of it and which the kernel never loads; the symbols
/// stay, so that a backtrace has names.
fn build(profile: Profile) -> Result<PathBuf> {
    match profile {
        Profile::Release => {
            let mut command = shell::cargo(&["rustc", "--message-format", "json-render-diagnostics"])?;
            command
                .args([
                    "--locked",
                    "--release",
                    "--package",
                    "pulse-host",
                    "--bin",
                    "pulse-host",
                ])
                .args(["--", "-C", "strip=debuginfo"]);
            demo::built(&mut command)
        }
        Profile::Dev => demo::build_host_among(&["--locked", "--workspace", "--bins", "--tests"]),
    }
}

/// The version of the workspace.
fn version(root: &Path) -> Result<String> {
    let path = root.join("Cargo.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let manifest: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    let version = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("package")?.get("version")?.as_str());
    Ok(version
        .with_context(|| format!("{} has no workspace.package.version", path.display()))?
        .to_owned())
}

/// What the compiler builds for.
fn target() -> Result<String> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = shell::output(Command::new(program).arg("-vV").current_dir(shell::root()?))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.trim().to_owned())
}

fn target_directory() -> Result<PathBuf> {
    let mut command = shell::cargo(&["metadata", "--no-deps", "--locked", "--format-version", "1"])?;
    let metadata: serde_json::Value = serde_json::from_str(&shell::output(&mut command)?)?;
    let folder = metadata
        .get("target_directory")
        .and_then(|folder| folder.as_str());
    Ok(folder.context("cargo metadata names no target directory")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_development_build_is_never_called_like_a_release() {
        let name = |profile| Name::new("1.2.3", "x86_64-unknown-linux-gnu", profile).archive();
        assert_eq!(
            name(Profile::Release),
            "pulse-host-1.2.3-x86_64-unknown-linux-gnu.tar.gz"
        );
        assert_ne!(name(Profile::Dev), name(Profile::Release));
    }

    #[test]
    fn only_profiles_that_exist_are_taken() {
        let parse = |line: &str| parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("").unwrap(), Profile::Release);
        assert_eq!(parse("--profile release").unwrap(), Profile::Release);
        assert_eq!(parse("--profile dev").unwrap(), Profile::Dev);
        for wrong in ["--profile", "--profile fast", "dev", "--profile dev now"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(
                error.contains(wrong) && error.contains("--profile dev"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_version_is_the_workspaces() {
        assert_eq!(
            version(&shell::root().unwrap()).unwrap(),
            env!("CARGO_PKG_VERSION")
        );
    }
}
