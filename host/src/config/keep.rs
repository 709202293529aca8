//! Copies of the files with which a tenant's configuration was last right.
//!
//! Invariant: a copy is whole or it is not there. It is written beside the one before, which it replaces with the
//! rename of one small file; only the host's own user can read it; and it is used only if it is, byte for byte, what
//! was kept. It holds names of secrets, never their values.

use super::{
    folder::Folder,
    replace::{Durable, replace},
};
use crate::domain::time::Wall;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    fs::{DirBuilder, File, OpenOptions},
    io::{Error, Read, Result, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// What names the copy that counts.
const RECORD: &str = "good.json";
/// Copies that are not finished.
const UNFINISHED: &str = "next-";
const VERSION: u32 = 1;
/// The record names each file of a folder, and its lists.
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// Where the copies of all tenants are.
#[derive(Clone, Debug)]
pub(super) struct Shelf(PathBuf);

/// What a copy consists of.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// The folder or file that was copied: another one is another tenant's, whatever it is called.
    home: PathBuf,
    /// The only file of it that is meant.
    only: Option<PathBuf>,
    /// Where the copy is, beside the record.
    copy: PathBuf,
    files: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    path: PathBuf,
    bytes: u64,
    sha256: String,
}

/// A copy that can be used.
#[derive(Debug)]
pub(super) struct Kept {
    pub folder: Folder,
    /// When it was kept.
    pub at: Wall,
}

/// A copy that is being made. It is gone when it is dropped.
#[derive(Debug)]
pub(super) struct Stage {
    shelf: PathBuf,
    path: PathBuf,
    files: BTreeMap<PathBuf, Sum>,
}

/// A file that was copied.
#[derive(Debug)]
struct Sum {
    bytes: u64,
    sha256: String,
}

impl Shelf {
    pub fn new(data_dir: &Path) -> Self {
        Self(data_dir.join("tenants"))
    }

    /// Begins a copy for that tenant.
    pub fn stage(&self, tenant: &str) -> Result<Stage> {
        let shelf = self.0.join(tenant);
        private().recursive(true).create(&shelf)?;
        for entry in std::fs::read_dir(&shelf)? {
            let path = entry?.path();
            if is_unfinished(&path) {
                std::fs::remove_dir_all(path)?;
            }
        }
        let path = shelf.join(format!("{UNFINISHED}{}", std::process::id()));
        private().create(&path)?;
        Ok(Stage {
            shelf,
            path,
            files: BTreeMap::new(),
        })
    }

    /// The last good copy of that tenant's folder. None: there is none.
    ///
    /// # Errors
    /// Why it can't be used, in words for the operator.
    pub fn last_good(&self, tenant: &str, home: &Path) -> std::result::Result<Option<Kept>, String> {
        let shelf = self.0.join(tenant);
        let wrong = |error: Error| format!("the copy in {} can't be read: {error}", shelf.display());
        let Some((record, at)) = read_record(&shelf).map_err(wrong)? else {
            return Ok(None);
        };
        if record.home != home {
            let text = format!("what was kept is from another folder, {}", record.home.display());
            return Err(text);
        }
        let path = shelf.join(&record.copy);
        let shown = path.display().to_string();
        let folder = Folder::new(&path, record.only, shown).map_err(wrong)?;
        if let Some(other) = changed(&folder, &record.files).map_err(wrong)? {
            let file = path.join(&other.path);
            return Err(format!("{} is not what was kept", file.display()));
        }
        Ok(Some(Kept { folder, at }))
    }
}

/// The first of these files that is not what was kept.
fn changed<'a>(folder: &Folder, files: &'a [Entry]) -> Result<Option<&'a Entry>> {
    for entry in files {
        let mut file = folder.open_file(&entry.path)?;
        let mut hasher = Sha256::new();
        std::io::copy(&mut file, &mut hasher)?;
        if hex(&hasher.finalize()) != entry.sha256 {
            return Ok(Some(entry));
        }
    }
    Ok(None)
}

/// The record, and when it was written.
fn read_record(shelf: &Path) -> Result<Option<(Record, Wall)>> {
    let file = match File::open(shelf.join(RECORD)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let seconds = u64::try_from(file.metadata()?.mtime()).unwrap_or(0);
    let mut text = String::new();
    file.take(RECORD_BYTES_MAX).read_to_string(&mut text)?;
    let record: Record = serde_json::from_str(&text)?;
    let plain = |path: &Path| super::folder::beneath(path).as_deref() == Some(path);
    if record.version != VERSION || !plain(&record.copy) {
        return Err(Error::other("it is from another version of pulse-host"));
    }
    Ok(Some((record, Wall(seconds.saturating_mul(1000)))))
}

impl Stage {
    /// Adds a file.
    pub fn add(&mut self, path: &Path, mut bytes: impl Read) -> Result<()> {
        if self.files.contains_key(path) {
            return Ok(());
        }
        let to = self.path.join(path);
        if let Some(folder) = to.parent() {
            private().recursive(true).create(folder)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&to)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        let mut size = 0;
        loop {
            let length = bytes.read(&mut buffer)?;
            let read = buffer.get(..length).unwrap_or_default();
            if read.is_empty() {
                break;
            }
            hasher.update(read);
            file.write_all(read)?;
            size += length as u64;
        }
        let sum = Sum {
            bytes: size,
            sha256: hex(&hasher.finalize()),
        };
        self.files.insert(path.to_owned(), sum);
        Ok(())
    }

    /// What was copied so far, as a folder.
    pub fn folder(&self, only: Option<&Path>, shown: &str) -> Result<Folder> {
        Folder::new(&self.path, only.map(Path::to_owned), shown.to_owned())
    }

    /// It is good: it takes the place of the one before.
    ///
    /// The one before is held against its digests here, as on the day when it is needed: one that was damaged is replaced
    /// while there is something to replace it with.
    pub fn keep(mut self, home: &Path, only: Option<&Path>) -> Result<()> {
        let files: Vec<Entry> = std::mem::take(&mut self.files)
            .into_iter()
            .map(|(path, Sum { bytes, sha256 })| Entry { path, bytes, sha256 })
            .collect();
        let mut hasher = Sha256::new();
        for entry in &files {
            hasher.update(entry.path.as_os_str().as_encoded_bytes());
            hasher.update(b"\0");
            hasher.update(&entry.sha256);
        }
        let digest = hex(&hasher.finalize());
        let mut copy = PathBuf::from(digest.get(..32).unwrap_or(&digest));
        let present = read_record(&self.shelf).ok().flatten();
        if let Some((present, _)) = &present
            && present.home == home
            && present.only.as_deref() == only
            && present.files == files
            && Folder::new(&self.shelf.join(&present.copy), None, String::new())
                .and_then(|folder| changed(&folder, &files).map(|other| other.is_none()))
                .unwrap_or(false)
        {
            return Ok(());
        }
        for entry in &files {
            File::open(self.path.join(&entry.path))?.sync_all()?;
        }
        // The one that counts stays until the record names another.
        if present.is_some_and(|(present, _)| present.copy == copy) {
            copy.as_mut_os_string().push("-2");
        }
        let to = self.shelf.join(&copy);
        if to.exists() {
            std::fs::remove_dir_all(&to)?;
        }
        let record = Record {
            version: VERSION,
            home: home.to_owned(),
            only: only.map(Path::to_owned),
            copy: copy.clone(),
            files,
        };
        let text = serde_json::to_vec_pretty(&record)?;
        if text.len() as u64 > RECORD_BYTES_MAX {
            return Err(Error::other(format!(
                "the names of its files take more than {RECORD_BYTES_MAX} bytes"
            )));
        }
        std::fs::rename(&self.path, &to)?;
        replace(&self.shelf.join(RECORD), &text, Durable::Yes)?;
        // What is left over is in nobody's way: that it can't be removed is no reason to fail.
        for entry in std::fs::read_dir(&self.shelf)?.flatten() {
            let path = entry.path();
            if path.is_dir() && path.file_name() != Some(copy.as_os_str()) {
                let _ = std::fs::remove_dir_all(path);
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After it was kept there is nothing under that name.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn is_unfinished(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(UNFINISHED))
}

fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn keep(shelf: &Shelf, files: &[(&str, &str)]) {
        let mut stage = shelf.stage("acme").unwrap();
        for (path, text) in files {
            stage.add(Path::new(path), text.as_bytes()).unwrap();
        }
        stage.keep(Path::new("/home/acme"), None).unwrap();
    }

    fn names(path: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn text(kept: &Kept, path: &str) -> String {
        let mut text = String::new();
        let mut file = kept.folder.open_file(Path::new(path)).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_copy_replaces_the_one_before_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path());
        let home = Path::new("/home/acme");
        assert!(shelf.last_good("acme", home).unwrap().is_none());
        keep(&shelf, &[("a.toml", "one"), ("lists/b.csv", "1\n2\n")]);
        let kept = shelf.last_good("acme", home).unwrap().unwrap();
        assert_eq!(
            (text(&kept, "a.toml"), text(&kept, "lists/b.csv")),
            ("one".into(), "1\n2\n".into())
        );
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let root = dir.path().join("tenants/acme");
        assert_eq!((mode(&root), mode(&root.join("good.json"))), (0o700, 0o600));
        assert_eq!(mode(&kept.folder.path().join("lists/b.csv")), 0o600);

        keep(&shelf, &[("a.toml", "two")]);
        let kept = shelf.last_good("acme", home).unwrap().unwrap();
        assert_eq!(text(&kept, "a.toml"), "two");
        assert_eq!(
            names(&root).len(),
            2,
            "the record and one copy: {:?}",
            names(&root)
        );
        let before = names(&root);
        keep(&shelf, &[("a.toml", "two")]);
        assert_eq!(names(&root), before);
    }

    /// On the day when it is needed, there is nothing to replace it with.
    #[test]
    fn a_damaged_copy_is_replaced_while_there_is_a_good_one() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path());
        let home = Path::new("/home/acme");
        for damage in ["two", "other", ""] {
            keep(&shelf, &[("a.toml", "one")]);
            let kept = shelf.last_good("acme", home).unwrap().unwrap();
            std::fs::write(kept.folder.path().join("a.toml"), damage).unwrap();
            keep(&shelf, &[("a.toml", "one")]);
            let kept = shelf.last_good("acme", home).unwrap().unwrap();
            assert_eq!(text(&kept, "a.toml"), "one", "{damage}");
        }
    }

    #[test]
    fn a_record_that_could_not_be_read_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path());
        keep(&shelf, &[("a.toml", "one")]);
        let mut stage = shelf.stage("acme").unwrap();
        for number in 0..4_000 {
            let name = format!("{}{number}.csv", "l".repeat(200));
            stage.add(Path::new(&name), &b"id"[..]).unwrap();
        }
        let error = stage.keep(Path::new("/home/acme"), None).unwrap_err();
        assert!(error.to_string().contains("names of its files"), "{error}");
        let kept = shelf.last_good("acme", Path::new("/home/acme")).unwrap().unwrap();
        assert_eq!(text(&kept, "a.toml"), "one");
    }

    #[test]
    fn what_is_not_finished_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path());
        keep(&shelf, &[("a.toml", "one")]);
        let mut stage = shelf.stage("acme").unwrap();
        stage.add(Path::new("a.toml"), &b"half"[..]).unwrap();
        // As after a kill.
        std::mem::forget(stage);
        let kept = shelf.last_good("acme", Path::new("/home/acme")).unwrap().unwrap();
        assert_eq!(text(&kept, "a.toml"), "one");
        let stage = shelf.stage("acme").unwrap();
        drop(stage);
        assert_eq!(names(&dir.path().join("tenants/acme")).len(), 2);
    }

    #[test]
    fn a_copy_that_was_changed_or_is_of_another_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(dir.path());
        keep(&shelf, &[("a.toml", "one")]);
        let error = shelf.last_good("acme", Path::new("/home/other")).unwrap_err();
        assert!(error.contains("/home/acme"), "{error}");
        let home = Path::new("/home/acme");
        let kept = shelf.last_good("acme", home).unwrap().unwrap();
        std::fs::write(kept.folder.path().join("a.toml"), "two").unwrap();
        let error = shelf.last_good("acme", home).unwrap_err();
        assert!(error.contains("is not what was kept"), "{error}");
        std::fs::write(dir.path().join("tenants/acme/good.json"), "{").unwrap();
        assert!(shelf.last_good("acme", home).is_err());
        // And the next good one takes its place.
        keep(&shelf, &[("a.toml", "three")]);
        assert!(shelf.last_good("acme", home).unwrap().is_some());
    }
}
