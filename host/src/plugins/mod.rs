//! Finds plugins on disk and reads what their manifests say. Nothing is compiled or run here.
//!
//! A plugins folder holds one subfolder per plugin with a `plugin.toml` and its component, and bare `*.wasm` files.
//! The manifest's `name` is the plugin's name everywhere; the folder's name means nothing.

pub mod lock;
mod manifest;
mod reach;

pub use manifest::{
    Build, FILE as MANIFEST, Manifest, full_name_is_valid, name_is_valid, name_rule, shown, version_is_valid,
};
pub use reach::Reach;

use crate::config;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Greatest size of a component; interpreters bring 20 MB.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;
const MANIFEST_BYTES_MAX: u64 = 64 << 10;
/// Plugins in all folders together.
const PLUGINS_MAX: usize = 4_096;
/// Plugins of a tenant's own.
const TENANT_PLUGINS_MAX: usize = 64;
/// Their components together.
const TENANT_BYTES_MAX: u64 = 256 << 20;
/// Files and folders in a plugins folder that are looked at.
const ENTRIES_MAX: usize = 16 * PLUGINS_MAX;
/// Of one problem that is shown.
const PROBLEM_CHARS_MAX: usize = 8 << 10;

/// SHA-256 of a component's bytes, lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Arc<str>);

impl Digest {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::hex(&Sha256::digest(bytes))
    }

    /// Of everything that can be read there.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of_reader(mut reader: impl std::io::Read) -> std::io::Result<Self> {
        let mut hasher = Sha256::new();
        std::io::copy(&mut reader, &mut hasher)?;
        Ok(Self::hex(&hasher.finalize()))
    }

    fn hex(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(64);
        for byte in bytes {
            text.push_str(&format!("{byte:02x}"));
        }
        Self(text.into())
    }

    /// The 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A component that was found, read but not looked into.
#[derive(Debug)]
pub struct Found {
    /// Where its bytes are.
    pub path: PathBuf,
    /// What is said about it; none for a bare file.
    pub manifest: Option<Manifest>,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Their digest.
    pub digest: Digest,
}

/// Something that is no usable plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        plain(&self.path.display().to_string(), f)?;
        f.write_str(": ")?;
        plain(&self.message, f)
    }
}

/// Names of files and lines of manifests are a stranger's: neither may speak to the terminal.
fn plain(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for c in text.chars().take(PROBLEM_CHARS_MAX) {
        if c.is_control() && c != '\n' {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

/// Reads one component: a `.wasm` file, a folder with a `plugin.toml`, or that manifest itself.
///
/// # Errors
/// When there is no such thing, it is too large, or its manifest is wrong.
pub fn read(path: &Path) -> Result<Found, Problem> {
    read_within(path, None)
}

/// The same of what was found in a folder, out of which it must not lead.
fn read_within(path: &Path, found_in: Option<&Path>) -> Result<Found, Problem> {
    let problem = |path: &Path, message: String| Problem {
        path: path.to_owned(),
        message,
    };
    let folder = if path.is_dir() {
        Some(path)
    } else if path.file_name().is_some_and(|name| name == manifest::FILE) {
        path.parent().map(|folder| {
            if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            }
        })
    } else {
        None
    };
    let bounds: Vec<&Path> = folder.into_iter().chain(found_in).collect();
    let (component, manifest) = match folder {
        Some(folder) => {
            let file = folder.join(manifest::FILE);
            let text = String::from_utf8(read_file(&file, MANIFEST_BYTES_MAX, &bounds)?)
                .map_err(|_| problem(&file, "is not UTF-8".to_owned()))?;
            let manifest = Manifest::parse(&text).map_err(|message| problem(&file, message))?;
            let component = folder.join(&manifest.component);
            if !component.exists() {
                let command = manifest.build.as_ref().map(|build| build.command.join(" "));
                return Err(problem(
                    &component,
                    format!(
                        "is named by {} but does not exist; build it first{}",
                        file.display(),
                        command.map_or_else(String::new, |command| format!(": {command}"))
                    ),
                ));
            }
            (component, Some(manifest))
        }
        None => (path.to_owned(), None),
    };
    let bytes = read_file(&component, COMPONENT_BYTES_MAX, &bounds)?;
    if !bytes.starts_with(b"\0asm") {
        return Err(problem(
            &component,
            "is no WebAssembly binary; it must be a component, built for example with \
             `cargo build --release --target wasm32-wasip2`"
                .to_owned(),
        ));
    }
    if bytes.get(4..8) == Some(&[1, 0, 0, 0]) {
        return Err(problem(
            &component,
            "is a core module, not a component; wrap it with `wasm-tools component new`".to_owned(),
        ));
    }
    Ok(Found {
        path: component,
        manifest,
        digest: Digest::of(&bytes),
        bytes,
    })
}

/// Reads a file that lies in these folders, whatever links say.
fn read_file(path: &Path, bytes_max: u64, bounds: &[&Path]) -> Result<Vec<u8>, Problem> {
    use std::io::Read as _;
    let problem = |message: String| Problem {
        path: path.to_owned(),
        message,
    };
    let unreadable = |error: std::io::Error| problem(format!("can't be read: {error}"));
    // A device is not even opened: for some that alone does something.
    let real = path.canonicalize().map_err(unreadable)?;
    within(&real, path, bounds)?;
    let file = match bounds.last() {
        Some(folder) => open_below(folder, &real),
        None => open_regular(path),
    };
    let file = file.map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(problem(format!("is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// The bytes of what may be a component.
///
/// # Errors
/// When they can't be read, or are too many.
pub fn read_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    read_file(path, COMPONENT_BYTES_MAX, &[]).map_err(|problem| std::io::Error::other(problem.message))
}

/// A link must lead out of none of these folders.
fn within(real: &Path, path: &Path, bounds: &[&Path]) -> Result<(), Problem> {
    for folder in bounds {
        let inside = folder.canonicalize().is_ok_and(|folder| real.starts_with(folder));
        if !inside {
            return Err(Problem {
                path: path.to_owned(),
                message: format!(
                    "lies outside {}; a link must not lead out of the folder in which it is. Copy what it leads to, \
                     or name that path itself (--plugins)",
                    folder.display()
                ),
            });
        }
    }
    Ok(())
}

/// Opens a file by its real path in a folder. Whoever may write in the folder may have put a link in the file's place
/// since that path was looked at: it leads nowhere.
fn open_below(folder: &Path, real: &Path) -> std::io::Result<std::fs::File> {
    let folder = folder.canonicalize()?;
    let inner = real
        .strip_prefix(&folder)
        .map_err(|_| std::io::Error::other("it is no longer where it was"))?;
    config::open_in(&folder, inner)
}

/// Opens a file, and nothing that only looks like one.
fn open_regular(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Not blocking: a pipe in the file's place would hold the host up until somebody writes into it.
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    Ok(file)
}

/// Something that looks like a plugin, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    path: PathBuf,
    /// The folder in which it was found, out of which it must not lead; none if the operator named it.
    found_in: Option<PathBuf>,
}

impl Candidate {
    /// Reads it.
    ///
    /// # Errors
    /// See [`read`]; and when it is a link out of the folder in which it was found.
    pub fn read(&self) -> Result<Found, Problem> {
        read_within(&self.path, self.found_in.as_deref())
    }
}

/// What looks like a plugin in a tenant's folder. None of it, nor that folder itself, may lead out of `within`.
#[must_use]
pub fn tenant_candidates(folder: &Path, within: &Path) -> (Vec<Candidate>, Vec<Problem>) {
    let (mut candidates, mut problems) = candidates(&[folder.to_owned()]);
    if candidates.len() > TENANT_PLUGINS_MAX {
        problems.push(Problem {
            path: folder.to_owned(),
            message: format!(
                "holds {} plugins; only the first {TENANT_PLUGINS_MAX} of a tenant's are taken",
                candidates.len()
            ),
        });
        candidates.truncate(TENANT_PLUGINS_MAX);
    }
    for candidate in &mut candidates {
        candidate.found_in = Some(within.to_owned());
    }
    (candidates, problems)
}

/// Reads them one after the other, as long as they are not too large together.
pub fn bounded(candidates: Vec<Candidate>) -> impl ExactSizeIterator<Item = Result<Found, Problem>> {
    let mut left = TENANT_BYTES_MAX;
    candidates.into_iter().map(move |candidate| {
        let found = candidate.read()?;
        left = left
            .checked_sub(found.bytes.len() as u64)
            .ok_or_else(|| Problem {
                path: found.path.clone(),
                message: format!(
                    "is too much: the components of a tenant have at most {} MiB in all",
                    TENANT_BYTES_MAX >> 20
                ),
            })?;
        Ok(found)
    })
}

/// What looks like a plugin below the given folders, and the given files; in the order of their paths.
#[must_use]
pub fn candidates(paths: &[PathBuf]) -> (Vec<Candidate>, Vec<Problem>) {
    let mut candidates = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        if !path.is_dir() || path.join(manifest::FILE).is_file() {
            candidates.push(Candidate {
                path: path.clone(),
                found_in: None,
            });
            continue;
        }
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => {
                problems.push(Problem {
                    path: path.clone(),
                    message: format!("can't be read: {error}"),
                });
                continue;
            }
        };
        let mut entries = entries.flatten();
        let mut here: Vec<PathBuf> = entries
            .by_ref()
            .take(ENTRIES_MAX)
            .map(|entry| entry.path())
            .filter(|path| {
                path.join(manifest::FILE).is_file() || path.extension().is_some_and(|ending| ending == "wasm")
            })
            .collect();
        if entries.next().is_some() {
            problems.push(Problem {
                path: path.clone(),
                message: format!(
                    "holds more than {ENTRIES_MAX} files and folders; the rest was not looked at"
                ),
            });
        }
        here.sort();
        candidates.extend(here.into_iter().map(|found| Candidate {
            path: found,
            found_in: Some(path.clone()),
        }));
    }
    if candidates.len() > PLUGINS_MAX {
        problems.push(Problem {
            path: paths.first().cloned().unwrap_or_default(),
            message: format!(
                "holds {} plugins; only the first {PLUGINS_MAX} are taken",
                candidates.len()
            ),
        });
        candidates.truncate(PLUGINS_MAX);
    }
    (candidates, problems)
}

/// Sorts out plugins of one name: none of them is taken, since nobody can know which one was meant.
pub fn unique<T>(
    plugins: Vec<T>,
    name: impl Fn(&T) -> Arc<str>,
    path: impl Fn(&T) -> &Path,
) -> (BTreeMap<Arc<str>, T>, Vec<Problem>) {
    let mut by_name: BTreeMap<Arc<str>, Vec<T>> = BTreeMap::new();
    for plugin in plugins {
        by_name.entry(name(&plugin)).or_default().push(plugin);
    }
    let (mut kept, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, mut plugins) in by_name {
        if let [_] = plugins.as_slice()
            && let Some(plugin) = plugins.pop()
        {
            kept.insert(name, plugin);
            continue;
        }
        let paths: Vec<String> = plugins
            .iter()
            .map(|plugin| path(plugin).display().to_string())
            .collect();
        for plugin in &plugins {
            problems.push(Problem {
                path: path(plugin).to_owned(),
                message: format!(
                    "there are several plugins named `{name}` ({}); none of them is taken, remove or rename all but one",
                    paths.join(", ")
                ),
            });
        }
    }
    (kept, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "name = \"a\"\nversion = \"1.0.0\"\nkinds = [\"pulse\"]\ncomponent = \"a.wasm\"\n";

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn finds_folders_and_bare_files_and_says_what_is_wrong_with_the_rest() {
        let dir = folder();
        let component = b"\0asm\x0d\0\x01\0";
        for name in ["one", "two", "outside", "missing"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("plugin.toml"), MANIFEST).unwrap();
        }
        std::fs::write(dir.path().join("one/a.wasm"), component).unwrap();
        std::fs::write(dir.path().join("two/a.wasm"), b"\0asm\x01\0\0\0").unwrap();
        std::fs::write(dir.path().join("bare.wasm"), component).unwrap();
        std::fs::write(dir.path().join("text.wasm"), b"(component)").unwrap();
        std::os::unix::fs::symlink("../bare.wasm", dir.path().join("outside/a.wasm")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("pipe.wasm"),
            fifo,
            0o600.into(),
            0,
        )
        .unwrap();

        let (candidates, problems) = candidates(&[dir.path().to_owned()]);
        assert_eq!(problems, []);
        let read: Vec<_> = candidates.iter().map(Candidate::read).collect();
        let found = read.iter().filter_map(|read| read.as_ref().ok());
        let problems = read.iter().filter_map(|read| read.as_ref().err());
        let names: Vec<_> = found
            .map(|plugin| plugin.path.strip_prefix(dir.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["bare.wasm", "one/a.wasm"]);
        let problems: Vec<String> = problems.map(ToString::to_string).collect();
        assert_eq!(problems.len(), 5, "{problems:?}");
        for (problem, part) in problems.iter().zip([
            "does not exist",
            "lies outside",
            "no regular file",
            "no WebAssembly binary",
            "core module",
        ]) {
            assert!(problem.contains(part), "{problem}");
        }
    }

    /// The folder is another's, who puts a link in a file's place after it was looked at.
    #[test]
    fn what_became_a_link_meanwhile_is_not_followed() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = dir.path().canonicalize().unwrap();
        std::fs::create_dir(folder.join("one")).unwrap();
        let real = folder.join("one/a.wasm");
        std::fs::write(&real, "").unwrap();
        std::fs::write(outside.path().join("a.wasm"), "").unwrap();
        assert!(open_below(dir.path(), &real).is_ok());
        std::fs::remove_file(&real).unwrap();
        std::os::unix::fs::symlink(outside.path().join("a.wasm"), &real).unwrap();
        assert!(open_below(dir.path(), &real).is_err());
        std::fs::remove_dir_all(folder.join("one")).unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.join("one")).unwrap();
        assert!(open_below(dir.path(), &real).is_err());
    }

    #[test]
    fn of_several_plugins_with_one_name_none_is_taken() {
        let plugins = vec![("a", "1"), ("b", "2"), ("a", "3")];
        let (kept, problems) = unique(plugins, |plugin| plugin.0.into(), |plugin| Path::new(plugin.1));
        assert_eq!(kept.keys().map(AsRef::as_ref).collect::<Vec<&str>>(), ["b"]);
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn the_digest_is_sha_256() {
        assert_eq!(Digest::of_reader(&b"abc"[..]).unwrap(), Digest::of(b"abc"));
        assert_eq!(
            Digest::of(b"abc").as_str(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
