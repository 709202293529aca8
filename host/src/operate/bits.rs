//! A set of rows.

/// One bit for each row of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    rows: usize,
}

impl Bits {
    /// None of so many rows.
    #[must_use]
    pub fn none(rows: usize) -> Self {
        Self {
            words: vec![0; rows.div_ceil(64)],
            rows,
        }
    }

    /// All of so many rows.
    #[must_use]
    pub fn all(rows: usize) -> Self {
        let mut bits = Self {
            words: vec![u64::MAX; rows.div_ceil(64)],
            rows,
        };
        let beyond = rows % 64;
        if beyond > 0
            && let Some(last) = bits.words.last_mut()
        {
            *last = (1 << beyond) - 1;
        }
        bits
    }

    /// Those for which it is true, by row.
    #[must_use]
    pub fn of(rows: impl ExactSizeIterator<Item = bool>) -> Self {
        let mut bits = Self::none(rows.len());
        let (mut word, mut at) = (0, 0);
        for is in rows {
            word |= u64::from(is) << (at % 64);
            at += 1;
            if at % 64 == 0
                && let Some(full) = bits.words.get_mut(at / 64 - 1)
            {
                *full = std::mem::take(&mut word);
            }
        }
        if let Some(last) = bits.words.get_mut(at / 64) {
            *last = word;
        }
        bits
    }

    /// Whether the row is in it.
    #[must_use]
    pub fn has(&self, row: usize) -> bool {
        self.words
            .get(row / 64)
            .is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Puts a row in.
    pub fn insert(&mut self, row: usize) {
        if row < self.rows
            && let Some(word) = self.words.get_mut(row / 64)
        {
            *word |= 1 << (row % 64);
        }
    }

    /// Takes a row out.
    pub fn remove(&mut self, row: usize) {
        if let Some(word) = self.words.get_mut(row / 64) {
            *word &= !(1 << (row % 64));
        }
    }

    /// Keeps what is in the other too.
    pub fn keep(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
    }

    /// Adds what is in the other.
    pub fn add(&mut self, other: &Self) {
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word |= other;
        }
    }

    /// How many are in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rows in it, in order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                (bit < 64).then(|| {
                    left &= left - 1;
                    at * 64 + bit
                })
            })
        })
    }
}
