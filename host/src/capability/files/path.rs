//! Paths below a granted directory, and opening them without ever leaving it.

use super::super::log::one_line;
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};
use std::{
    ffi::OsStr,
    fmt,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::DirBuilderExt},
    },
    path::Path,
};

/// Bytes of a path, and of one part of it.
const PATH_BYTES_MAX: usize = 1024;
const PART_BYTES_MAX: usize = 255;

/// A path that names a file below a directory: parts without `.`, `..`, or anything empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relative(String);

impl fmt::Display for Relative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Relative {
    /// Reads a guest's path; says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > PATH_BYTES_MAX {
            return Err(format!("the path is longer than {PATH_BYTES_MAX} bytes"));
        }
        if text.starts_with('/') {
            return Err(format!(
                "the path {} is absolute; write it relative to the granted directory",
                one_line(text)
            ));
        }
        if text.chars().any(char::is_control) {
            return Err("the path holds a control character".into());
        }
        for part in text.split('/') {
            match part {
                "" => return Err("the path has an empty part".into()),
                "." | ".." => return Err(format!("the path {} holds `{part}`", one_line(text))),
                part if part.len() > PART_BYTES_MAX => {
                    return Err(format!(
                        "a part of the path is longer than {PART_BYTES_MAX} bytes"
                    ));
                }
                _ => {}
            }
        }
        Ok(Self(text.to_owned()))
    }
}

/// Opens a granted directory, and makes it if there is none. Links in the operator's own path are the operator's.
pub(super) fn open_root(path: &Path, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = || openat(CWD, path, flags, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    match std::fs::DirBuilder::new().mode(mode.as_raw_mode()).create(path) {
        // Somebody else may have made it meanwhile.
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
        }
        _ => open(),
    }
}

/// Opens a path below a directory without following any link.
pub(super) fn open_beneath(
    root: &OwnedFd,
    path: &Relative,
    flags: OFlags,
    mode: Mode,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(root, path.0.as_str(), flags, mode, resolve) {
        // A kernel before 5.6, or a filter that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_part_by_part(root, path, flags, mode),
        opened => opened,
    }
}

/// The same with calls that every kernel has: one part after the other, each without following a link.
fn open_part_by_part(root: &OwnedFd, path: &Relative, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let part = |text: &str| OsStr::from_bytes(text.as_bytes()).to_owned();
    let mut parts = path.0.split('/').map(part);
    let last = parts.next_back().ok_or(Errno::INVAL)?;
    let mut directory: Option<OwnedFd> = None;
    for part in parts {
        let beneath = directory.as_ref().unwrap_or(root).as_fd();
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        directory = Some(openat(beneath, part, step, Mode::empty()).map_err(|errno| {
            // The link itself is no directory; that it is a link can't be told apart and need not be.
            if errno == Errno::NOTDIR {
                Errno::LOOP
            } else {
                errno
            }
        })?);
    }
    openat(directory.as_ref().unwrap_or(root), last, flags, mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths() {
        for text in ["a", "a.ndjson", "a/b/c", "ä", "..a", "a..", "a b"] {
            assert!(Relative::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "/",
            "/etc/passwd",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "a//b",
            "a/",
            "./a",
            "a\0b",
            "a\nb",
            &"a".repeat(256),
            &"a/".repeat(600),
        ] {
            assert!(Relative::parse(text).is_err(), "{text:?} was taken");
        }
    }

    /// Both ways of opening refuse the same things.
    #[test]
    fn no_way_out() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        std::fs::create_dir(inside.path().join("sub")).unwrap();
        symlink(outside.path(), inside.path().join("dir")).unwrap();
        symlink(outside.path().join("secret"), inside.path().join("file")).unwrap();
        symlink("/proc/self", inside.path().join("magic")).unwrap();
        symlink("sub", inside.path().join("within")).unwrap();
        let root = open_root(inside.path(), Mode::empty()).unwrap();
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
        for open in [open_beneath, open_part_by_part] {
            for path in ["dir/secret", "dir/new", "file", "magic/fd/1", "within/x"] {
                let path = Relative::parse(path).unwrap();
                let error = open(&root, &path, flags, Mode::RUSR).unwrap_err();
                assert_eq!(error, Errno::LOOP, "{path}");
            }
            for path in ["new", "sub/new"] {
                let path = Relative::parse(path).unwrap();
                assert!(
                    open(&root, &path, flags, Mode::RUSR | Mode::WUSR).is_ok(),
                    "{path}"
                );
            }
            let missing = Relative::parse("none/new").unwrap();
            assert_eq!(
                open(&root, &missing, flags, Mode::RUSR).unwrap_err(),
                Errno::NOENT
            );
        }
        assert!(!outside.path().join("new").exists());
    }
}
