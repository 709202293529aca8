//! A file of the host's own in the place of another, in one step.

use std::{
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
/// old one or the new one. What a killed process has left beside it is gone the next time: it always has the same name.
///
/// # Errors
/// When it can't be written; then the old one is still there.
pub fn replace(path: &Path, bytes: &[u8], durable: Durable) -> Result<()> {
    let mut name = path
        .file_name()
        .ok_or_else(|| Error::from(ErrorKind::InvalidInput))?
        .to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    // Not another process's own, which may be writing into it at this moment.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        // As after a kill.
        std::fs::write(dir.path().join("a.json.new"), "half").unwrap();
        for (text, durable) in [("one", Durable::Yes), ("two", Durable::No)] {
            replace(&path, text.as_bytes(), durable).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(replace(&dir.path().join("none/a"), b"", Durable::No).is_err());
    }
}
