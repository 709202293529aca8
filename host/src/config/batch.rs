//! What became of some rows: texts of many monitors in a few buffers, which are used again.

/// One row's monitor, in a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// Where its name begins; its settings follow.
    pub start: usize,
    pub name_bytes: usize,
    pub settings_bytes: usize,
    /// Where its parts begin and end.
    pub parts: (usize, usize),
    /// What identifies it, if it is not its name.
    pub key: Option<u64>,
    /// Where the row stands: line and offset in a file, or number in a list.
    pub line: u32,
    pub offset: u32,
}

/// What became of some rows, in their order.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Names, each with the settings of its check behind it.
    pub text: String,
    /// Parts as bytes, each with its length behind it (`u32`, little-endian), so that equal bytes are equal parts.
    pub part_bytes: Vec<u8>,
    pub made: Vec<Made>,
}

impl Batch {
    pub fn clear(&mut self) {
        self.text.clear();
        self.part_bytes.clear();
        self.made.clear();
    }

    pub fn name(&self, made: &Made) -> &str {
        let end = made.start + made.name_bytes;
        self.text.get(made.start..end).unwrap_or_default()
    }

    /// The settings of its check, where rows have their own.
    pub fn settings(&self, made: &Made) -> Option<&str> {
        let start = made.start + made.name_bytes;
        self.text
            .get(start..start + made.settings_bytes)
            .filter(|text| !text.is_empty())
    }

    /// What tells its class from those of other rows.
    pub fn parts(&self, made: &Made) -> &[u8] {
        self.part_bytes
            .get(made.parts.0..made.parts.1)
            .unwrap_or_default()
    }
}

/// Takes parts apart again.
pub(super) fn split_parts(mut parts: &[u8]) -> Vec<&str> {
    let mut texts = Vec::new();
    while let Some((rest, length)) = parts.split_last_chunk::<4>() {
        let start = rest.len().saturating_sub(u32::from_le_bytes(*length) as usize);
        let (before, text) = rest.split_at(start.min(rest.len()));
        texts.push(std::str::from_utf8(text).unwrap_or_default());
        parts = before;
    }
    texts.reverse();
    texts
}

/// Appends one of the row's parts.
pub(super) fn push_part(text: &str, into: &mut Vec<u8>) -> Option<()> {
    into.extend_from_slice(text.as_bytes());
    into.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_split_as_they_were_put(texts in prop::collection::vec("[a\0é]{0,5}", 0..5)) {
            let mut bytes = Vec::new();
            for text in &texts {
                push_part(text, &mut bytes).unwrap();
            }
            prop_assert_eq!(split_parts(&bytes), texts);
        }
    }
}
