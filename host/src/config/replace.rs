//! A file of the host's own in the place of another, in one step.

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{Error, ErrorKind, Result, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Whether a file must also be there after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// It is waited for.
    Yes,
    /// There is another one soon.
    No,
}

/// Writes a file, which only this user can read, beside its place, and puts it there. Whoever reads meanwhile sees the
/// old one or the new one. Each process has a name of its own for what lies beside, so that none moves another's half; what a
/// killed one has left is gone the next time.
///
/// # Errors
/// When it can't be written; then the old one is still there.
pub fn replace(path: &Path, bytes: &[u8], durable: Durable) -> Result<()> {
    let name = path
        .file_name()
        .and_then(OsStr::to_str)
        .ok_or_else(|| Error::from(ErrorKind::InvalidInput))?;
    let begin = format!("{name}.new-");
    let own = std::process::id();
    let beside = path.with_file_name(format!("{begin}{own}"));
    sweep(path, &begin, own)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    if durable == Durable::Yes {
        file.sync_all()?;
    }
    std::fs::rename(&beside, path)?;
    if durable == Durable::Yes
        && let Some(folder) = path.parent()
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Removes what this process, or one that is gone, has left beside.
fn sweep(path: &Path, begin: &str, own: u32) -> Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    for entry in std::fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(begin));
        let Some(process) = process.and_then(|number| number.parse::<u32>().ok()) else {
            continue;
        };
        let gone = || {
            let pid = rustix::process::Pid::from_raw(process.cast_signed());
            pid.is_none_or(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
        };
        if process == own || gone() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        // As after a kill.
        for process in [std::process::id(), i32::MAX.cast_unsigned()] {
            std::fs::write(dir.path().join(format!("a.json.new-{process}")), "half").unwrap();
        }
        for (text, durable) in [("one", Durable::Yes), ("two", Durable::No)] {
            replace(&path, text.as_bytes(), durable).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        // Somebody else's, who may be writing at this moment.
        let others = dir
            .path()
            .join(format!("a.json.new-{}", std::os::unix::process::parent_id()));
        std::fs::write(&others, "half").unwrap();
        replace(&path, b"three", Durable::No).unwrap();
        assert_eq!(std::fs::read_to_string(&others).unwrap(), "half");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(replace(&dir.path().join("none/a"), b"", Durable::No).is_err());
    }
}
