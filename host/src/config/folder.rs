//! A tenant's folder, and reading files in it without ever leaving it.
//!
//! Invariant: whatever a tenant writes and whatever links it puts there, nothing outside its folder is opened, and what
//! is read of the folder is bounded. Links that stay in the folder are followed: that is how a Kubernetes volume is made.

use super::{
    problem::{Findings, Place, Problem},
    source::{Sources, list, unreadable},
};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs::File,
    io::{Error, ErrorKind, Read as _, Result},
    os::fd::{AsFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

/// `*.toml` of a folder together: what is more than a list goes into a list of targets.
pub(super) const TOML_BYTES_MAX: u64 = 4 << 20;
/// `*.toml` of a folder.
const FILES_MAX: usize = 1_000;
/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 100_000;
/// Lists of targets together.
pub(super) const TARGETS_BYTES_MAX: u64 = 1 << 30;

/// Where files that a configuration names may be.
#[derive(Debug)]
pub(super) enum Files<'a> {
    /// What came over the API names no files.
    Nowhere,
    /// The operator's: anywhere.
    Anywhere,
    /// A tenant's: in its folder.
    Within(&'a Folder),
    /// A tenant's: in a copy, which was made of that folder.
    Copied(&'a Folder, &'a Folder),
}

impl Files<'_> {
    /// Opens a file for reading.
    pub fn open(&self, path: &Path) -> Result<File> {
        match self {
            Self::Nowhere => Err(ErrorKind::PermissionDenied.into()),
            Self::Anywhere => File::open(path),
            Self::Within(folder) => folder.open_list(path),
            Self::Copied(copy, origin) => copy.open_list(path).map_err(|error| {
                // Why it was not copied says more than that it was not.
                let why = (error.kind() == ErrorKind::NotFound).then(|| origin.open_list(path).err());
                why.flatten().unwrap_or(error)
            }),
        }
    }

    /// Opens it again, to show some of it.
    pub fn reopen(&self, path: &Path) -> Result<File> {
        match self {
            Self::Nowhere => Err(ErrorKind::PermissionDenied.into()),
            Self::Anywhere => File::open(path),
            Self::Within(folder) | Self::Copied(folder, _) => folder.open_file(path),
        }
    }
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    root: OwnedFd,
    path: PathBuf,
    /// The only file of it, if it is not the whole folder.
    only: Option<PathBuf>,
    /// How it is called in problems.
    shown: String,
    /// Bytes of lists that may still be opened.
    left: Cell<u64>,
    /// What was counted of each list: one that is opened again, to be copied or for another monitor, is the same.
    counted: RefCell<BTreeMap<PathBuf, u64>>,
}

impl Folder {
    /// Opens the folder of that path, or the one that the file of that path is in.
    pub fn open(path: &Path, shown: &str) -> Result<Self> {
        let (folder, only) = match path.file_name() {
            Some(name) if !path.is_dir() => (path.parent().unwrap_or(Path::new("/")), Some(name.into())),
            _ => (path, None),
        };
        let shown = match &only {
            Some(_) => Path::new(shown).parent().unwrap_or(Path::new("")),
            None => Path::new(shown),
        };
        Self::new(folder, only, shown.display().to_string())
    }

    /// Opens a folder whose only file is meant, or all of it.
    pub fn new(path: &Path, only: Option<PathBuf>, shown: String) -> Result<Self> {
        Ok(Self {
            root: open_root(path)?,
            path: path.to_owned(),
            only,
            shown,
            left: Cell::new(TARGETS_BYTES_MAX),
            counted: RefCell::default(),
        })
    }

    /// Where it is.
    #[cfg(test)]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The only file of it that is meant.
    pub fn only(&self) -> Option<&Path> {
        self.only.as_deref()
    }

    /// Reads its configuration into the sources. What can't be read is reported.
    pub fn load(&self, sources: &mut Sources, findings: &mut Findings) {
        let names = match self.names() {
            Ok(names) => names,
            Err(error) => return findings.report(unreadable(&self.shown, &error)),
        };
        let mut left = TOML_BYTES_MAX;
        for name in names {
            let shown = self.shown(&name);
            let mut bytes = Vec::new();
            let read = self
                .open_file(&name)
                .and_then(|file| file.take(left + 1).read_to_end(&mut bytes));
            match read {
                Err(error) => findings.report(unreadable(&shown, &error)),
                Ok(length) if length as u64 > left => {
                    let text = format!(
                        "the configuration of a tenant has at most {} MiB in all",
                        TOML_BYTES_MAX >> 20
                    );
                    let help = "many monitors that differ in a few words are a list of targets";
                    return findings.report(Problem::new("too-large", Place::File(shown), text).help(help));
                }
                Ok(length) => {
                    left -= length as u64;
                    sources.add_bytes(&shown, bytes, &self.path, findings);
                }
            }
        }
    }

    /// The names of its `*.toml`.
    pub fn names(&self) -> Result<Vec<PathBuf>> {
        if let Some(only) = &self.only {
            return Ok(vec![only.clone()]);
        }
        // Whoever fills the folder must not fill the memory.
        if std::fs::read_dir(&self.path)?.nth(ENTRIES_MAX).is_some() {
            return Err(Error::other(format!(
                "there are more than {ENTRIES_MAX} entries in it"
            )));
        }
        let files = list(&self.path)?;
        if files.is_empty() {
            return Err(Error::other("there is no *.toml file in it"));
        }
        if files.len() > FILES_MAX {
            return Err(Error::other(format!(
                "there are {} *.toml files in it; at most {FILES_MAX} are read",
                files.len()
            )));
        }
        Ok(files
            .iter()
            .filter_map(|path| path.file_name().map(PathBuf::from))
            .collect())
    }

    /// How a file of it is called in problems.
    pub fn shown(&self, name: &Path) -> String {
        Path::new(&self.shown).join(name).display().to_string()
    }

    /// Opens a list of targets below it, unless that would be too much.
    pub fn open_list(&self, path: &Path) -> Result<File> {
        // What lies beside a file may be anybody's.
        if self.only.is_some() {
            return Err(Error::other(
                "a tenant with one file and no folder of its own has no lists",
            ));
        }
        let file = self.open_file(path)?;
        let bytes = file.metadata()?.len();
        let mut counted = self.counted.borrow_mut();
        let counted = counted
            .entry(beneath(path).unwrap_or_else(|| path.to_owned()))
            .or_default();
        let more = bytes.saturating_sub(*counted);
        let left = self.left.get().checked_sub(more).ok_or_else(|| {
            Error::other(format!(
                "the lists of a tenant have at most {} GiB in all",
                TARGETS_BYTES_MAX >> 30
            ))
        })?;
        self.left.set(left);
        *counted += more;
        Ok(file)
    }

    /// Opens a regular file below it.
    pub fn open_file(&self, path: &Path) -> Result<File> {
        open_beneath(&self.root, path).map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::XDEV | Errno::LOOP) => Error::other("it lies outside the tenant's own folder"),
            _ => error,
        })
    }
}

/// Opens the folder there, to open files beneath it.
fn open_root(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// Opens a regular file beneath a folder, whatever becomes of links there meanwhile.
///
/// # Errors
/// When it can't be opened or is something else; `EXDEV` or `ELOOP` when the way leads out of the folder.
pub fn open_in(folder: &Path, path: &Path) -> Result<File> {
    open_beneath(&open_root(folder)?, path)
}

fn open_beneath(root: &OwnedFd, path: &Path) -> Result<File> {
    let path = beneath(path).ok_or(Errno::XDEV)?;
    // Not blocking: a pipe in the file's place would hold the host up until somebody writes into it.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let opened = match openat2(root, &path, flags, Mode::empty(), resolve) {
        // A kernel before 5.6, or a filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_part_by_part(root, &path, flags),
        opened => opened,
    };
    let file = File::from(opened?);
    if !file.metadata()?.is_file() {
        return Err(Error::other("it is no regular file"));
    }
    Ok(file)
}

/// The same with calls that every kernel has: one part after the other, each without following a link.
fn open_part_by_part(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut parts = path.components();
    let last = parts.next_back().ok_or(Errno::INVAL)?;
    let mut folder: Option<OwnedFd> = None;
    for part in parts {
        let beneath = folder.as_ref().unwrap_or(root).as_fd();
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        folder = Some(openat(beneath, part.as_os_str(), step, Mode::empty())?);
    }
    let beneath = folder.as_ref().unwrap_or(root).as_fd();
    openat(beneath, last.as_os_str(), flags | OFlags::NOFOLLOW, Mode::empty())
}

/// A path below a folder in its plain form, if it is one.
pub(super) fn beneath(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => plain.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!plain.as_os_str().is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_that_stay_below() {
        let plain = |text| beneath(Path::new(text)).map(|path| path.display().to_string());
        assert_eq!(plain("a/./b.csv").as_deref(), Some("a/b.csv"));
        for bad in ["", ".", "..", "/a", "a/../b", "../a", "a/.."] {
            assert_eq!(plain(bad), None, "{bad}");
        }
    }

    /// Both ways of opening refuse what leads out; only the first follows links that stay.
    #[test]
    fn nothing_leads_out() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret.toml"), "x").unwrap();
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        std::fs::create_dir_all(inner.join("deep")).unwrap();
        std::fs::write(inner.join("a.toml"), "a = 1").unwrap();
        std::fs::write(dir.path().join("b.toml"), "b").unwrap();
        symlink("a.toml", inner.join("good.toml")).unwrap();
        symlink("../b.toml", inner.join("up.toml")).unwrap();
        symlink(inner.join("a.toml"), inner.join("absolute.toml")).unwrap();
        symlink(outside.path(), inner.join("away")).unwrap();
        symlink("/proc/self/fd", inner.join("magic")).unwrap();
        let folder = Folder::open(&inner, "tenants/acme").unwrap();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let slow = |path: &str| open_part_by_part(&folder.root, Path::new(path), flags);
        let fast = |path: &str| folder.open_file(Path::new(path));
        assert!(fast("a.toml").is_ok() && slow("a.toml").is_ok());
        assert!(fast("good.toml").is_ok());
        for bad in ["up.toml", "absolute.toml", "away/secret.toml", "magic/0"] {
            assert!(fast(bad).is_err(), "{bad}");
            assert!(slow(bad).is_err(), "{bad}");
        }
        for bad in [
            "../b.toml",
            "/etc/passwd",
            "deep",
            "none.toml",
            "deep/../../b.toml",
        ] {
            assert!(fast(bad).is_err(), "{bad}");
        }

        let (mut sources, mut findings) = (Sources::default(), Findings::default());
        folder.load(&mut sources, &mut findings);
        let names: Vec<&str> = sources.from(0).map(|(_, source)| source.name.as_str()).collect();
        assert_eq!(names, ["tenants/acme/a.toml", "tenants/acme/good.toml"]);
        let problems = findings.into_problems(sources.into(), super::super::problem::Severity::Error);
        assert_eq!(problems.len(), 2, "{problems}");
    }

    #[test]
    fn what_is_read_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let half = "#".repeat(TOML_BYTES_MAX as usize / 2);
        std::fs::write(dir.path().join("a.toml"), &half).unwrap();
        std::fs::write(dir.path().join("b.toml"), &half).unwrap();
        let problems = || {
            let folder = Folder::open(dir.path(), "acme").unwrap();
            let (mut sources, mut findings) = (Sources::default(), Findings::default());
            folder.load(&mut sources, &mut findings);
            findings.into_problems(sources.into(), super::super::problem::Severity::Error)
        };
        assert!(problems().is_empty());
        std::fs::write(dir.path().join("c.toml"), "#").unwrap();
        let problems = problems().to_string();
        assert!(
            problems.contains("at most 4 MiB") && problems.contains("acme/c.toml"),
            "{problems}"
        );

        let big = File::create(dir.path().join("big.csv")).unwrap();
        big.set_len(TARGETS_BYTES_MAX / 2 + 1).unwrap();
        let folder = Folder::open(dir.path(), "acme").unwrap();
        assert!(folder.open_list(Path::new("big.csv")).is_ok());
        assert!(
            folder.open_list(Path::new("./big.csv")).is_ok(),
            "it is the same list"
        );
        std::fs::copy(dir.path().join("c.toml"), dir.path().join("small.csv")).unwrap();
        assert!(folder.open_list(Path::new("small.csv")).is_ok());
        big.set_len(TARGETS_BYTES_MAX).unwrap();
        assert!(folder.open_list(Path::new("big.csv")).is_err(), "it has grown");
        big.set_len(TARGETS_BYTES_MAX / 2 + 1).unwrap();
        let other = File::create(dir.path().join("other.csv")).unwrap();
        other.set_len(TARGETS_BYTES_MAX / 2 + 1).unwrap();
        assert!(folder.open_list(Path::new("other.csv")).is_err());
    }

    #[test]
    fn a_file_alone_is_a_folder_with_one_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), "").unwrap();
        std::fs::write(dir.path().join("b.toml"), "").unwrap();
        let folder = Folder::open(&dir.path().join("b.toml"), "tenants/b.toml").unwrap();
        assert_eq!(folder.names().unwrap(), [PathBuf::from("b.toml")]);
        assert_eq!(folder.shown(Path::new("x.csv")), "tenants/x.csv");
        std::fs::write(dir.path().join("a.csv"), "").unwrap();
        assert!(
            folder.open_list(Path::new("a.csv")).is_err(),
            "it may be another's"
        );
    }
}
