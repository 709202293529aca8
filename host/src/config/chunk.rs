//! A file of targets in pieces: a stream of whole records, read a little at a time.
//!
//! Invariant: what is held of the file at any time is bounded, however long it, or a line of it, is.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

/// Longest record. A row is a target, not a document.
pub(super) const RECORD_BYTES_MAX: usize = 64 << 10;
/// Size of a piece: large enough that handing it to another thread costs nothing, small enough to stay in a cache.
const CHUNK_BYTES: usize = 256 << 10;
/// Greatest size of a file. Offsets are `u32`.
const FILE_BYTES_MAX: u64 = u32::MAX as u64;

/// How the records of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object in each line.
    Ndjson,
    /// A header, then one record in each line; lines end within quotation marks, too.
    Csv,
}

impl Format {
    /// By the file's ending.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }
}

/// Some records.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// Whole lines, with their ends.
    pub bytes: Vec<u8>,
    /// Number of the first line, from 1.
    pub line: u32,
    /// Where the first line begins in the file.
    pub offset: u32,
    /// It is the beginning of a record that is longer than any may be; the rest was skipped.
    pub too_long: bool,
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Chunks {
    file: File,
    format: Format,
    /// Read, but not handed out.
    rest: Vec<u8>,
    line: u32,
    offset: u32,
    ended: bool,
    /// Size of the file when it was opened, in bytes.
    pub bytes: u64,
}

impl Chunks {
    /// Begins to read a file.
    ///
    /// # Errors
    /// It can't be read, is no regular file, or is too large.
    pub fn new(mut file: File, format: Format) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(std::io::Error::other("it is no regular file"));
        }
        if metadata.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!(
                "it is larger than {} GiB",
                (FILE_BYTES_MAX + 1) >> 30
            )));
        }
        // A byte order mark is no part of the first record.
        let mut mark = [0; 3];
        let mut read = 0;
        while let Some(rest) = mark.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read(rest)? {
                0 => break,
                more => read += more,
            }
        }
        let marked = read == 3 && mark == [0xEF, 0xBB, 0xBF];
        if !marked {
            file.seek(SeekFrom::Start(0))?;
        }
        Ok(Self {
            file,
            format,
            rest: Vec::new(),
            line: 1,
            offset: if marked { 3 } else { 0 },
            ended: false,
            bytes: metadata.len(),
        })
    }

    /// The next records, in a buffer that is used again; none at the end.
    ///
    /// # Errors
    /// The file can't be read on.
    pub fn next(&mut self, mut buffer: Vec<u8>) -> std::io::Result<Option<Chunk>> {
        buffer.clear();
        std::mem::swap(&mut buffer, &mut self.rest);
        self.fill(&mut buffer)?;
        if buffer.is_empty() {
            return Ok(None);
        }
        let mut too_long = false;
        if !self.ended || buffer.len() > CHUNK_BYTES {
            let end = self.whole(&buffer);
            if end > 0 {
                self.rest.extend_from_slice(buffer.get(end..).unwrap_or_default());
                buffer.truncate(end);
            } else {
                too_long = true;
            }
        }
        let mut chunk = Chunk {
            line: self.line,
            offset: self.offset,
            too_long,
            bytes: buffer,
        };
        self.pass(&chunk.bytes)?;
        if too_long {
            self.skip_line(chunk.bytes.ends_with(b"\n"))?;
            chunk.bytes.truncate(RECORD_BYTES_MAX);
        }
        Ok(Some(chunk))
    }

    /// Reads until there is enough for a piece, or nothing more.
    fn fill(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<()> {
        while buffer.len() < CHUNK_BYTES && !self.ended {
            let read = (&mut self.file)
                .take((CHUNK_BYTES - buffer.len()) as u64)
                .read_to_end(buffer)?;
            self.ended = read == 0;
        }
        Ok(())
    }

    /// Counts what was handed out.
    fn pass(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let lines = memchr::memchr_iter(b'\n', bytes).count();
        let too_large = || std::io::Error::other("it has grown beyond what can be read");
        self.line = u32::try_from(lines)
            .ok()
            .and_then(|lines| self.line.checked_add(lines))
            .ok_or_else(too_large)?;
        self.offset = u32::try_from(bytes.len())
            .ok()
            .and_then(|bytes| self.offset.checked_add(bytes))
            .ok_or_else(too_large)?;
        Ok(())
    }

    /// Up to where the bytes are whole records.
    fn whole(&self, bytes: &[u8]) -> usize {
        match self.format {
            Format::Ndjson => memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1),
            Format::Csv => {
                let (mut quoted, mut end) = (false, 0);
                for at in memchr::memchr2_iter(b'\n', b'"', bytes) {
                    match bytes.get(at) {
                        Some(b'"') => quoted = !quoted,
                        _ if !quoted => end = at + 1,
                        _ => {}
                    }
                }
                end
            }
        }
    }

    /// Skips what is left of a line, unless it has ended.
    fn skip_line(&mut self, ended: bool) -> std::io::Result<()> {
        let mut skipped = Vec::new();
        let mut found = ended;
        while !found {
            skipped.clear();
            self.fill(&mut skipped)?;
            if skipped.is_empty() {
                return Ok(());
            }
            let end = memchr::memchr(b'\n', &skipped).map(|end| end + 1);
            found = end.is_some();
            let end = end.unwrap_or(skipped.len());
            self.pass(skipped.get(..end).unwrap_or_default())?;
            self.rest = skipped.split_off(end);
        }
        Ok(())
    }
}

/// The lines of a chunk as records, without their ends: `see(line, offset, record)` with the number of the first line
/// and its place in the file.
pub(super) fn records(chunk: &Chunk, format: Format, mut see: impl FnMut(u32, u32, &[u8])) {
    let mut line = chunk.line;
    let mut start = 0;
    let bytes = chunk.bytes.as_slice();
    while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
        let length = match format {
            Format::Ndjson => memchr::memchr(b'\n', rest),
            Format::Csv => {
                let mut quoted = false;
                memchr::memchr2_iter(b'\n', b'"', rest).find(|at| {
                    let quote = rest.get(*at) == Some(&b'"');
                    quoted ^= quote;
                    !quote && !quoted
                })
            }
        };
        let length = length.unwrap_or(rest.len());
        let record = rest.get(..length).unwrap_or_default();
        let offset = chunk
            .offset
            .saturating_add(u32::try_from(start).unwrap_or(u32::MAX));
        see(line, offset, record.strip_suffix(b"\r").unwrap_or(record));
        let lines = match format {
            Format::Ndjson => 1,
            Format::Csv => 1 + memchr::memchr_iter(b'\n', record).count(),
        };
        line = line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        start += length + 1;
    }
}

/// The record that begins at that offset, as far as it is shown; empty if it is no longer there.
pub(super) fn reread(file: std::io::Result<File>, offset: u32) -> String {
    const SHOWN_BYTES_MAX: u64 = 8 << 10;
    let read = move || -> std::io::Result<Vec<u8>> {
        let mut file = file?;
        file.seek(SeekFrom::Start(u64::from(offset)))?;
        let mut bytes = Vec::new();
        file.take(SHOWN_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let end = memchr::memchr(b'\n', &bytes).unwrap_or(bytes.len());
    let line = bytes.get(..end).unwrap_or_default();
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// Line, record and whether it was too long, as read through chunks.
    fn read(text: &[u8], format: Format) -> Vec<(u32, String, bool)> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        let mut chunks = Chunks::new(File::open(file.path()).unwrap(), format).unwrap();
        let mut all = Vec::new();
        let mut buffer = Vec::new();
        while let Some(chunk) = chunks.next(buffer).unwrap() {
            assert!(chunk.bytes.len() <= CHUNK_BYTES);
            records(&chunk, format, |line, offset, record| {
                let record = String::from_utf8(record.to_vec()).unwrap();
                if !chunk.too_long {
                    assert_eq!(
                        reread(File::open(file.path()), offset),
                        record.split('\n').next().unwrap().trim_end_matches('\r')
                    );
                }
                all.push((line, record, chunk.too_long));
            });
            buffer = chunk.bytes;
        }
        all
    }

    #[test]
    fn every_line_of_a_long_file_comes_once_and_in_order() {
        let lines: Vec<String> = (0..50_000)
            .map(|n| format!("line {n} {}", "x".repeat(n % 50)))
            .collect();
        for end in ["\n", "\r\n"] {
            let read = read(format!("\u{feff}{}", lines.join(end)).as_bytes(), Format::Ndjson);
            assert_eq!(read.len(), lines.len());
            for (number, (line, text, too_long)) in read.iter().enumerate() {
                assert_eq!(
                    (*line as usize, text, *too_long),
                    (number + 1, &lines[number], false)
                );
            }
        }
    }

    #[test]
    fn a_record_goes_on_within_quotation_marks() {
        let records: Vec<String> = (0..30_000).map(|n| format!("{n},\"a\r\n\"\"b\n\"")).collect();
        let read = read(records.join("\n").as_bytes(), Format::Csv);
        assert_eq!(read.len(), records.len());
        for (number, (line, text, _)) in read.iter().enumerate() {
            assert_eq!((*line as usize, text), (3 * number + 1, &records[number]));
        }
    }

    #[test]
    fn a_line_without_an_end_takes_no_more_memory_than_a_chunk() {
        let long = "y".repeat(3 * CHUNK_BYTES + 7);
        for text in [format!("a\n{long}\nb\n"), format!("a\n{long}")] {
            let read = read(text.as_bytes(), Format::Ndjson);
            assert_eq!((read[0].0, read[0].1.as_str(), read[0].2), (1, "a", false));
            assert_eq!(
                (read[1].0, read[1].1.len(), read[1].2),
                (2, RECORD_BYTES_MAX, true)
            );
            if text.ends_with("b\n") {
                assert_eq!(read[2], (3, "b".to_owned(), false));
            }
            assert_eq!(read.len(), if text.ends_with("b\n") { 3 } else { 2 });
        }
        // A quotation mark that nothing closes swallows the rest; it ends at the next line.
        let read = read(
            format!("a,\"b\n{}", "c\n".repeat(CHUNK_BYTES)).as_bytes(),
            Format::Csv,
        );
        assert!(read[0].2);
    }

    #[test]
    fn an_empty_file_has_no_records() {
        assert!(read(b"", Format::Csv).is_empty());
        assert_eq!(read(b"\n\n", Format::Ndjson).len(), 2);
        assert!(Chunks::new(File::open("/").unwrap(), Format::Csv).is_err());
    }
}
