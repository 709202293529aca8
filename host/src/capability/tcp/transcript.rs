//! Everything that a peer said, and how far the expectations have read it.

use memchr::memmem::Finder;

/// Bytes received so far, at most a given number.
pub(super) struct Transcript {
    bytes: Vec<u8>,
    /// What lies before was read by an expectation.
    read: usize,
    max: usize,
}

/// One expectation's search: each byte is looked at about once, however small the pieces that arrive.
pub(super) struct Search<'n> {
    finder: Finder<'n>,
    from: usize,
}

impl Transcript {
    pub(super) fn new(max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            read: 0,
            max,
        }
    }

    /// How much more may be received.
    pub(super) fn room(&self) -> usize {
        self.max.saturating_sub(self.bytes.len())
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A search in what no expectation has read yet.
    pub(super) fn search<'n>(&self, needle: &'n [u8]) -> Search<'n> {
        Search {
            finder: Finder::new(needle),
            from: self.read,
        }
    }

    /// Whether the needle is there; what it ends is read then.
    pub(super) fn find(&mut self, search: &mut Search<'_>) -> bool {
        let unseen = self.bytes.get(search.from..).unwrap_or_default();
        let length = search.finder.needle().len();
        if let Some(at) = search.finder.find(unseen) {
            self.read = search.from + at + length;
            return true;
        }
        // A needle may have begun in the last bytes.
        let keep = length.saturating_sub(1).min(unseen.len());
        search.from = self.bytes.len() - keep;
        false
    }

    /// Counts all that is there as read.
    pub(super) fn skip(&mut self) {
        self.read = self.bytes.len();
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn expectations_read_one_after_the_other() {
        let mut transcript = Transcript::new(100);
        transcript.push(b"a\nb\nc");
        let line = |transcript: &mut Transcript| {
            let mut search = transcript.search(b"\n");
            transcript.find(&mut search)
        };
        assert!(line(&mut transcript));
        assert!(line(&mut transcript));
        assert!(!line(&mut transcript), "c is no whole line");
        let mut none = transcript.search(b"");
        assert!(transcript.find(&mut none));
        transcript.skip();
        let mut gone = transcript.search(b"c");
        assert!(!transcript.find(&mut gone));
    }

    proptest! {
        /// However the bytes are cut into pieces, the needle is found where it is first.
        #[test]
        fn pieces_make_no_difference(
            pieces in prop::collection::vec(prop::collection::vec(0u8..3, 0..6), 0..12),
            needle in prop::collection::vec(0u8..3, 1..5),
        ) {
            let whole = pieces.concat();
            let expected = whole
                .windows(needle.len())
                .position(|window| window == needle)
                .map(|at| at + needle.len());
            let mut transcript = Transcript::new(usize::MAX);
            let mut search = transcript.search(&needle);
            let mut found = None;
            for piece in &pieces {
                transcript.push(piece);
                if found.is_none() && transcript.find(&mut search) {
                    found = Some(transcript.read);
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
