//! The lock on disk. It is replaced as a whole or not at all, and what can't be read is never written over.

use super::{
    record::Record,
    text::{self, Fault},
};
use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, RandomState},
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// The lock's name, beside the operator's configuration.
pub const FILE: &str = "plugins.lock";
const BYTES_MAX: u64 = 64 << 20;

/// What stands at the top of a lock.
const COMMENT: &str = "\
What was accepted of each plugin: `pulse-host plugin lock` writes this file, `pulse-host plugin verify` checks it.
Keep it beside the configuration, and under version control. A plugin that differs from it is not used.";

/// A lock, and where it is.
#[derive(Clone, Debug)]
pub struct LockFile {
    path: PathBuf,
    comment: &'static str,
    /// What was read; none where there was no file.
    read: Option<String>,
    /// By name.
    pub records: BTreeMap<String, Record>,
}

/// Why a lock can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockError {
    /// It says something that can't be.
    Broken {
        /// The file.
        path: PathBuf,
        /// Where, and what.
        fault: Fault,
    },
    /// It can't be read or written.
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// Somebody else has written it since it was read.
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl std::fmt::Display for LockError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken { path, fault } => write!(
                f,
                "{}:{}:{}: {}\nMend that line, or take the file back from version control; without the file, every \
                 plugin that is found is taken.",
                path.display(),
                fault.line,
                fault.column,
                fault.message
            ),
            Self::Unusable { path, message } => write!(f, "{}: {message}", path.display()),
            Self::Changed { path } => write!(
                f,
                "{} was changed by somebody else meanwhile; nothing was written, try again",
                path.display()
            ),
        }
    }
}

impl std::error::Error for LockError {}

impl LockError {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Broken { path, .. } | Self::Unusable { path, .. } | Self::Changed { path } => path,
        }
    }
}

impl LockFile {
    /// Reads the lock there. None of its records where there is no such file.
    ///
    /// # Errors
    /// When it can't be read, or says something that can't be.
    pub fn read(path: &Path) -> Result<Self, LockError> {
        Self::read_as(path, COMMENT)
    }

    pub(super) fn read_as(path: &Path, comment: &'static str) -> Result<Self, LockError> {
        let read = contents(path)?;
        let records = match &read {
            None => BTreeMap::new(),
            Some(text) => text::parse(text).map_err(|fault| LockError::Broken {
                path: path.to_owned(),
                fault,
            })?,
        };
        Ok(Self {
            path: path.to_owned(),
            comment,
            read,
            records,
        })
    }

    /// An empty one, to be written there.
    pub(super) fn empty(path: &Path, comment: &'static str) -> Self {
        Self {
            path: path.to_owned(),
            comment,
            read: contents(path).ok().flatten(),
            records: BTreeMap::new(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there was a file.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.read.is_some()
    }

    /// Writes it, unless that would change nothing. Whoever reads meanwhile sees the old one or the new one.
    ///
    /// # Errors
    /// When it can't be written, or was changed by somebody else since it was read.
    pub fn write(&mut self) -> Result<(), LockError> {
        let text = text::write(self.comment, &self.records);
        if text.len() as u64 > BYTES_MAX {
            return Err(LockError::Unusable {
                path: self.path.clone(),
                message: format!("would be larger than {BYTES_MAX} bytes, and was not written"),
            });
        }
        if contents(&self.path)? != self.read {
            return Err(LockError::Changed {
                path: self.path.clone(),
            });
        }
        if self.read.as_deref() == Some(text.as_str()) {
            return Ok(());
        }
        replace(&self.path, text.as_bytes()).map_err(|error| LockError::Unusable {
            path: self.path.clone(),
            message: format!("can't be written: {error}"),
        })?;
        self.read = Some(text);
        Ok(())
    }
}

fn contents(path: &Path) -> Result<Option<String>, LockError> {
    let unusable = |message: String| LockError::Unusable {
        path: path.to_owned(),
        message,
    };
    let unreadable = |error: std::io::Error| unusable(format!("can't be read: {error}"));
    let file = match crate::plugins::open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(unusable(format!(
            "is larger than {BYTES_MAX} bytes; that is no lock"
        )));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let before = error.as_bytes().get(..at).unwrap_or_default();
            Err(LockError::Broken {
                path: path.to_owned(),
                fault: Fault {
                    line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
                    column: 1,
                    message: "this is no UTF-8".to_owned(),
                },
            })
        }
    }
}

/// Puts another file in the place of that one. A link stays, and what it leads to is replaced; so do the permissions.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unique = RandomState::new().hash_one(std::process::id());
    let fresh = folder.join(format!(".{name}.{unique:016x}"));
    let written = std::fs::File::create_new(&fresh).and_then(|mut file| {
        if let Ok(metadata) = path.metadata() {
            file.set_permissions(metadata.permissions())?;
        }
        file.write_all(bytes)?;
        // A power cut must not leave the name of a file without what is in it.
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        std::fs::File::open(folder)?.sync_all()
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    written
}
