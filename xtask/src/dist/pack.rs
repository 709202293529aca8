//! From a folder to an archive, and the sums of both.

use super::Name;
use crate::shell;
use anyhow::{Context as _, Result, bail};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Sums of all other files of the archive.
pub const SUMS: &str = "SHA256SUMS";

/// The time that all files of the archive have, in seconds since 1970: what `SOURCE_DATE_EPOCH` says, else that of the last
/// commit; where there is neither, the very first.
pub fn date(root: &Path) -> Result<u64> {
    if let Some(said) = std::env::var_os("SOURCE_DATE_EPOCH") {
        let seconds = said.to_str().and_then(|said| said.parse().ok());
        return seconds.context("SOURCE_DATE_EPOCH must be a number of seconds since 1970");
    }
    let mut git = Command::new("git");
    git.args(["log", "-1", "--format=%ct"]).current_dir(root);
    let said = git.stderr(Stdio::null()).output();
    let seconds = said
        .ok()
        .and_then(|said| String::from_utf8(said.stdout).ok()?.trim().parse().ok());
    Ok(seconds.unwrap_or(0))
}

/// Files in a folder and its folders, named from there, in order.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = folders.pop() {
        let path = folder.join(&inner);
        for entry in fs::read_dir(&path).with_context(|| format!("reading {}", path.display()))? {
            let entry = entry?;
            let name = inner.join(entry.file_name());
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(name),
                kind if kind.is_file() => found.push(name),
                _ => bail!("{} is neither a file nor a folder", entry.path().display()),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Writes the sums of all files of a folder into it.
pub fn sums(folder: &Path) -> Result<()> {
    let files = files(folder)?;
    let said = sum(folder, files.iter().map(|file| file.as_os_str()))?;
    Ok(fs::write(folder.join(SUMS), said)?)
}

fn sum<'f>(folder: &Path, files: impl Iterator<Item = &'f OsStr>) -> Result<String> {
    let mut command = Command::new("sha256sum");
    shell::output(command.arg("--").args(files).current_dir(folder))
}

/// Holds files against their sums.
pub fn verify(sums: &Path) -> Result<()> {
    let folder = sums.parent().context("sums lie in a folder")?;
    let name = sums.file_name().context("sums have a name")?;
    let mut command = Command::new("sha256sum");
    command.args(["--check", "--strict", "--quiet", "--"]).arg(name);
    shell::output(command.current_dir(folder)).map(drop)
}

/// Packs the folder of that name, and writes the archive's sum beside it.
pub fn archive(out: &Path, name: &Name, seconds: u64) -> Result<PathBuf> {
    let archive = out.join(name.archive());
    let mut command = Command::new("tar");
    command
        .args(["--create", "--format=ustar", "--sort=name"])
        .args(["--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"])
        .arg(format!("--mtime=@{seconds}"))
        // Neither name nor time of its own in the compressed file.
        .arg("--use-compress-program=gzip -n -9")
        .arg("--file")
        .arg(&archive)
        .arg("--")
        .arg(&name.0)
        // Neither may add options of its own.
        .env_remove("TAR_OPTIONS")
        .env_remove("GZIP")
        .current_dir(out);
    shell::output(&mut command).context("GNU tar and gzip make the archive")?;
    let file = name.archive();
    let said = sum(out, std::iter::once(OsStr::new(&file)))?;
    fs::write(out.join(format!("{file}.sha256")), said)?;
    Ok(archive)
}

/// Unpacks an archive into a folder that is there.
pub fn unpack(archive: &Path, into: &Path) -> Result<()> {
    let mut command = Command::new("tar");
    command.args(["--extract", "--gzip", "--file"]).arg(archive);
    shell::output(command.env_remove("TAR_OPTIONS").current_dir(into)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::{Profile, trial::Temporary};
    use std::{
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
        time::{Duration, SystemTime},
    };

    fn name() -> Name {
        Name::new("1.0.0", "here", Profile::Release)
    }

    /// A folder to pack: with these rights, and as old as that.
    fn folder(out: &Path, order: &[&str], mode: u32, age: Duration) -> PathBuf {
        let folder = out.join(name().0);
        for file in order {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("text of {file}")).unwrap();
            let old = fs::File::options().write(true).open(&path).unwrap();
            old.set_modified(SystemTime::UNIX_EPOCH + age).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        sums(&folder).unwrap();
        folder
    }

    #[test]
    fn the_same_files_make_the_same_archive_whoever_packs_them_and_when() {
        let (one, two) = (Temporary::new("one").unwrap(), Temporary::new("two").unwrap());
        folder(&one.0, &["a", "b/c", "b/d"], 0o600, Duration::from_secs(7));
        folder(&two.0, &["b/d", "b/c", "a"], 0o664, Duration::from_secs(9_000));
        let [one, two] = [one, two].map(|out| {
            let archive = archive(&out.0, &name(), 1_000_000_000).unwrap();
            verify(&out.0.join("pulse-host-1.0.0-here.tar.gz.sha256")).unwrap();
            fs::read(archive).unwrap()
        });
        assert!(one == two, "{} and {} bytes", one.len(), two.len());
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed_and_no_more() {
        let out = Temporary::new("round").unwrap();
        let program = folder(&out.0, &["program", "docs/x.md"], 0o640, Duration::ZERO).join("program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
        let archive = archive(&out.0, &name(), 1_000_000_000).unwrap();
        let there = Temporary::new("there").unwrap();
        unpack(&archive, &there.0).unwrap();
        let folder = there.0.join(name().0);
        let names: Vec<String> = files(&folder)
            .unwrap()
            .iter()
            .map(|name| name.display().to_string())
            .collect();
        assert_eq!(names, ["SHA256SUMS", "docs/x.md", "program"]);
        let of = |name: &str| fs::metadata(folder.join(name)).unwrap();
        assert_eq!(of("program").mode() & 0o111, 0o111, "everybody may run it");
        assert_eq!(of("docs/x.md").mode() & 0o111, 0);
        assert_eq!(of("docs/x.md").mtime(), 1_000_000_000);
        verify(&folder.join(SUMS)).unwrap();
        fs::write(folder.join("docs/x.md"), "another text").unwrap();
        assert!(verify(&folder.join(SUMS)).is_err());
    }
}
