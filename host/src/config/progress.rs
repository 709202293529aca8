//! Who is told how the reading of a long list of targets gets on.

/// Is told while a list of targets is read. Whoever shows it decides when and how.
pub trait Progress {
    /// A file of targets is begun; its name, and its size in bytes.
    fn begin(&mut self, file: &str, bytes: u64);
    /// So much of it has been read: rows, and bytes of the file.
    fn advance(&mut self, rows: u64, bytes: u64);
    /// It was read, or given up. How many monitors it made.
    fn end(&mut self, monitors: u64);
}

/// Nobody wants to know.
#[derive(Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _: &str, _: u64) {}
    fn advance(&mut self, _: u64, _: u64) {}
    fn end(&mut self, _: u64) {}
}
