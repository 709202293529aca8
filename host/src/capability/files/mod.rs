//! `files`: lines appended to files in granted directories.
//!
//! Architecture invariant: no path leads out of its directory, whatever links lie there; only regular files are
//! written to; a line is there as a whole or not at all, and lines of concurrent jobs never mix. Disk work never runs
//! on a worker's thread, and a disk that hangs holds up a bounded number of threads.

mod path;
#[cfg(test)]
mod tests;

use super::{Lease, Lender, Taint, error::Blame, log::one_line};
use crate::domain::{grant::DirectoryGrant, outcome::Denial};
use path::Relative;
use rustix::{
    fs::{FileType, Mode, OFlags, Stat},
    io::Errno,
};
use std::{
    hash::{BuildHasher, RandomState},
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::Semaphore;

/// Bytes of a line, without its line feed.
pub const LINE_BYTES_MAX: usize = 64 << 10;
/// Writes that may run or hang at the same time, over all workers.
const WRITES_MAX: usize = 8;
/// Locks, of which each file has one by its device and inode. Two files that share one wait for each other at worst.
const LOCKS: usize = 64;
/// A new directory is for the host's user and group.
const DIRECTORY_MODE: Mode = Mode::RWXU.union(Mode::RGRP).union(Mode::XGRP);
/// A new file as well.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP);

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No granted directory holds that path.
    Denied(String),
    /// The path is absolute, leaves the directory, or is no file name.
    InvalidPath(String),
    /// The line holds a line feed, or is longer than 64 KiB.
    InvalidLine(String),
    /// The operating system refused; nothing was written.
    Io(String),
}

/// What went wrong, and whether the execution is tainted by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For the guest.
    pub error: Error,
    /// For the host.
    pub taint: Option<Taint>,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, taint: None }
    }
}

/// What all workers share.
#[derive(Debug)]
pub(super) struct Files {
    locks: Arc<[Mutex<()>; LOCKS]>,
    hasher: RandomState,
    writes: Arc<Semaphore>,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            locks: Arc::new([const { Mutex::new(()) }; LOCKS]),
            hasher: RandomState::new(),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
        }
    }
}

/// Why the host refuses a path or a line before it looks at grants, if it does.
pub(super) fn refusal(path: &str, line: &str) -> Option<Failure> {
    check(path, line).err()
}

fn check(path: &str, line: &str) -> Result<Relative, Failure> {
    let relative = Relative::parse(path).map_err(Error::InvalidPath)?;
    if line.contains('\n') {
        return Err(Error::InvalidLine("the line holds a line feed".into()).into());
    }
    if line.len() > LINE_BYTES_MAX {
        return Err(Error::InvalidLine(format!("the line is longer than {LINE_BYTES_MAX} bytes")).into());
    }
    Ok(relative)
}

/// Appends one line.
pub(super) async fn append_line(
    lender: &Lender,
    lease: &Lease,
    path: &str,
    line: &str,
) -> Result<(), Failure> {
    let relative = check(path, line)?;
    if lease.profile().grants.directories.is_empty() {
        return Err(denied(lease, &relative));
    }
    let files = &lender.shared.files;
    let left = lease.ends.since(lender.shared.clock.mono());
    let write = async {
        let permit = Arc::clone(&files.writes).acquire_owned().await;
        let grants = Arc::clone(&lease.profile().grants);
        let (locks, hasher) = (Arc::clone(&files.locks), files.hasher.clone());
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        let work = tokio::task::spawn_blocking(move || {
            // A write that hangs keeps its permit, although nobody waits for it any more.
            let _permit = permit;
            let (file, stat) = open(&grants.directories, &relative)?;
            let lock = usize::try_from(hasher.hash_one((stat.st_dev, stat.st_ino))).unwrap_or(0) % LOCKS;
            let _lock = locks
                .get(lock)
                .map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
            append(&file, &bytes).map_err(Refusal::Io)
        });
        work.await
    };
    match tokio::time::timeout(left, write).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(refusal))) => Err(refusal.into_failure()),
        Ok(Err(error)) => Err(host(format!("the write did not end well: {error}"))),
        Err(_) => Err(host("the disk did not take the line in time".into())),
    }
}

fn denied(lease: &Lease, path: &Relative) -> Failure {
    let denial = Denial {
        capability: "files",
        wanted: one_line(&path.to_string()),
        grant: format!(
            "[plugins.{}] grants.directories = [{{ path = \"./{}\", access = \"append\" }}]",
            lease.profile().plugin,
            lease.profile().plugin
        ),
    };
    Failure {
        error: Error::Denied(format!(
            "no granted directory holds {}; to allow it: {}",
            denial.wanted, denial.grant
        )),
        taint: Some(Taint::Denied(denial)),
    }
}

fn host(message: String) -> Failure {
    Failure {
        error: Error::Io(message.clone()),
        taint: Some(Taint::Host(message)),
    }
}

/// Why a file was not written.
#[derive(Debug)]
enum Refusal {
    Path(String),
    Io(io::Error),
}

impl Refusal {
    fn into_failure(self) -> Failure {
        match self {
            Self::Path(message) => Error::InvalidPath(message).into(),
            Self::Io(error) => {
                let message = error.to_string();
                // Permissions are about this very file; want of descriptors or memory is not.
                let permission = error.kind() == io::ErrorKind::PermissionDenied;
                match Blame::of(&error) {
                    Blame::Host if !permission => host(message),
                    Blame::Host | Blame::Peer => Error::Io(message).into(),
                }
            }
        }
    }
}

/// Opens the file in the first granted directory that has the file's own directory.
fn open(directories: &[DirectoryGrant], path: &Relative) -> Result<(OwnedFd, Stat), Refusal> {
    let mut missing = None;
    for directory in directories {
        let root = match path::open_root(&directory.path, DIRECTORY_MODE) {
            Ok(root) => root,
            Err(errno) => {
                missing = Some(errno);
                continue;
            }
        };
        match path::open_beneath(&root, path, flags(), FILE_MODE) {
            Ok(file) => return checked(file),
            Err(Errno::NOENT | Errno::NOTDIR) => missing = Some(Errno::NOENT),
            Err(Errno::LOOP | Errno::XDEV) => {
                return Err(Refusal::Path(format!("{path} goes through a symbolic link")));
            }
            Err(Errno::ISDIR) => return Err(Refusal::Path(format!("{path} is a directory"))),
            // A pipe without a reader.
            Err(Errno::NXIO) => return Err(Refusal::Path(format!("{path} is no regular file"))),
            Err(errno) => return Err(Refusal::Io(errno.into())),
        }
    }
    Err(Refusal::Io(missing.unwrap_or(Errno::NOENT).into()))
}

/// Not blocking, so that a pipe in the file's place can't hang the thread.
fn flags() -> OFlags {
    OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
}

fn checked(file: OwnedFd) -> Result<(OwnedFd, Stat), Refusal> {
    let stat = rustix::fs::fstat(&file).map_err(|errno| Refusal::Io(errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        Ok((file, stat))
    } else {
        Err(Refusal::Path("that is no regular file".into()))
    }
}

/// Writes all of it or takes back what was written. The caller holds the file's lock.
fn append(file: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    let before = rustix::fs::fstat(file)?.st_size;
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(file, rest) {
            Ok(0) => return take_back(file, before, io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) if rest.len() == bytes.len() => return Err(errno.into()),
            Err(errno) => return take_back(file, before, errno.into()),
        }
    }
    Ok(())
}

/// A half line would spoil the next one. If even that fails, the error that is reported is the first one.
fn take_back(file: &OwnedFd, before: i64, error: io::Error) -> io::Result<()> {
    let length = u64::try_from(before).unwrap_or(0);
    if let Err(errno) = rustix::fs::ftruncate(file, length) {
        tracing::warn!(%errno, "half a line stays in a file: it could not be taken back");
    }
    Err(error)
}
