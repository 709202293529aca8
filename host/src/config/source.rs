//! The files that a configuration was read from, and places in them.
//!
//! Every value keeps the place where it was written, so that a problem which shows only after defaults, templates
//! and monitors were put together still points at the very line to mend.

use super::problem::{Findings, Place, Problem};
use std::{
    collections::HashMap,
    ffi::OsStr,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Greatest size of one file. Offsets are `u32`.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Greatest number of files in a directory.
const FILES_MAX: usize = 10_000;
/// What standard input is called in problems.
const STDIN: &str = "<stdin>";

/// Files from this number on are [`Excerpts`].
const EXCERPTS: u32 = 1 << 31;

/// A piece of a file, in bytes: one key, one value, one header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct At {
    pub file: u32,
    pub start: u32,
    pub end: u32,
}

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// As the operator named it.
    pub name: String,
    pub text: String,
    /// What relative paths in it are relative to; absolute.
    pub base: PathBuf,
    /// Offset of the first byte of each line.
    lines: Vec<usize>,
    /// Number of the text's first line in its file.
    first_line: usize,
}

/// All files, in the order in which they were read. A tenant's follow the operator's, so that places in both can stand
/// in one problem.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources(Vec<Arc<Source>>);

impl Sources {
    /// Reads a file, all `*.toml` of a directory, or standard input.
    pub fn load(path: &Path, findings: &mut Findings) -> Self {
        let mut sources = Self::default();
        if path == Path::new("-") {
            match read_bounded(std::io::stdin().lock()) {
                Ok(bytes) => sources.add_bytes(STDIN, bytes, Path::new("."), findings),
                Err(error) => findings.report(unreadable(STDIN, &error)),
            }
        } else if path.is_dir() {
            match list(path) {
                Ok(files) if files.is_empty() => findings.report(
                    Problem::new(
                        "no-files",
                        Place::File(shown(path)),
                        "this directory holds no *.toml file",
                    )
                    .help("`pulse-host init` writes a commented configuration to start from"),
                ),
                Ok(files) if files.len() > FILES_MAX => findings.report(Problem::new(
                    "too-many-files",
                    Place::File(shown(path)),
                    format!(
                        "{} files in one directory; at most {FILES_MAX} are read",
                        files.len()
                    ),
                )),
                Ok(files) => files
                    .iter()
                    .for_each(|file| sources.load_file(file, path, findings)),
                Err(error) => findings.report(unreadable(&shown(path), &error)),
            }
        } else {
            let base = path.parent().unwrap_or(Path::new("."));
            sources.load_file(path, base, findings);
        }
        sources
    }

    fn load_file(&mut self, path: &Path, base: &Path, findings: &mut Findings) {
        let name = shown(path);
        match std::fs::File::open(path).and_then(read_bounded) {
            Ok(bytes) => self.add_bytes(&name, bytes, base, findings),
            Err(error) => findings.report(unreadable(&name, &error)),
        }
    }

    pub fn add_bytes(&mut self, name: &str, bytes: Vec<u8>, base: &Path, findings: &mut Findings) {
        match String::from_utf8(bytes) {
            Ok(text) => {
                self.add(name, text, base);
            }
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let line = 1 + error
                    .as_bytes()
                    .iter()
                    .take(valid)
                    .filter(|byte| **byte == b'\n')
                    .count();
                findings.report(Problem::new(
                    "not-utf8",
                    Place::File(name.to_owned()),
                    format!("line {line} is not UTF-8 text"),
                ));
            }
        }
    }

    /// Adds a text and returns its number.
    pub fn add(&mut self, name: &str, text: String, base: &Path) -> u32 {
        let base = if base.as_os_str().is_empty() {
            Path::new(".")
        } else {
            base
        };
        // Fails only without a current directory; then a relative path is as good as it gets.
        let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
        self.0.push(Arc::new(Source::new(name, text, base, 1)));
        u32::try_from(self.0.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Adds what came over the API, whose first line is counted so; nothing in it is relative to any place.
    pub fn add_document(&mut self, name: &str, text: &str, first_line: u32) -> u32 {
        let line = usize::try_from(first_line).unwrap_or(1).max(1);
        let source = Source::new(name, text.to_owned(), PathBuf::new(), line);
        self.0.push(Arc::new(source));
        self.len().saturating_sub(1)
    }

    /// Files from that number on, with their numbers.
    pub fn from(&self, first: u32) -> impl Iterator<Item = (u32, &Source)> {
        let skipped = usize::try_from(first).unwrap_or(usize::MAX);
        (first..).zip(self.0.iter().skip(skipped).map(AsRef::as_ref))
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// The file of that place.
    pub fn get(&self, at: At) -> Option<&Source> {
        self.0.get(usize::try_from(at.file).ok()?).map(AsRef::as_ref)
    }

    /// A path as the operator would name it from where he is.
    pub fn shown(&self, at: At, path: &str) -> String {
        match self.get(at).and_then(|source| Path::new(&source.name).parent()) {
            Some(parent) => parent.join(path).display().to_string(),
            None => path.to_owned(),
        }
    }

    /// The path as it is meant in the file of that place. Makes it absolute, follows nothing and touches nothing.
    pub fn resolve(&self, at: At, path: &str) -> PathBuf {
        match self.get(at) {
            // `components` drops the `.` in `./alerts`, which would else show up in messages.
            Some(source) => source.base.join(path).components().collect(),
            None => PathBuf::from(path),
        }
    }
}

/// Lines of files that are too large to be kept: those that a problem points at.
#[derive(Debug, Default)]
pub(super) struct Excerpts {
    list: Vec<Source>,
    /// By file and line.
    known: HashMap<(String, u32), u32>,
}

impl Excerpts {
    /// The place of a whole record, which begins on that line of its file.
    pub fn add(&mut self, name: &str, line: u32, text: &str) -> At {
        let end = u32::try_from(text.len()).unwrap_or(u32::MAX);
        let next = EXCERPTS.saturating_add(u32::try_from(self.list.len()).unwrap_or(u32::MAX));
        let file = *self.known.entry((name.to_owned(), line)).or_insert(next);
        if file == next {
            let source = Source::new(name, text.to_owned(), PathBuf::new(), line as usize);
            self.list.push(source);
        }
        At { file, start: 0, end }
    }

    /// The record of that place, if it is one.
    pub fn get(&self, at: At) -> Option<&Source> {
        let number = at.file.checked_sub(EXCERPTS)?;
        self.list.get(usize::try_from(number).ok()?)
    }
}

impl Source {
    fn new(name: &str, text: String, base: PathBuf, first_line: usize) -> Self {
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(offset, _)| offset + 1))
            .collect();
        Self {
            name: name.to_owned(),
            text,
            base,
            lines,
            first_line,
        }
    }

    /// Line and column (in characters) of an offset, both from 1.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let before = self
            .text
            .get(start..offset.min(self.text.len()))
            .unwrap_or_default();
        (self.first_line + line - 1, before.chars().count() + 1)
    }

    /// Offset and text of a line, counted from 1, without its end.
    pub fn line(&self, line: usize) -> (usize, &str) {
        let line = line.saturating_sub(self.first_line - 1);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let end = self.lines.get(line).copied().unwrap_or(self.text.len());
        let text = self.text.get(start..end).unwrap_or_default();
        (start, text.trim_end_matches(['\n', '\r']))
    }
}

/// The `*.toml` of a directory, sorted by name, without hidden ones: an editor's backup is no configuration.
pub(super) fn list(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension() == Some(OsStr::new("toml")) && !hidden && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_bounded(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!(
            "larger than {} MiB",
            FILE_BYTES_MAX >> 20
        )));
    }
    Ok(bytes)
}

pub(super) fn unreadable(name: &str, error: &std::io::Error) -> Problem {
    Problem::new(
        "unreadable",
        Place::File(name.to_owned()),
        format!("can't be read: {error}"),
    )
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
