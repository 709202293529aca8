//! Quantiles of many durations in few bytes: how many lie in each bucket of [`super::histogram`], which are at most 1/32
//! wide, and nothing of the buckets that are empty. Two of them together are one of all.

use super::histogram::{BUCKETS, index, upper};
use std::collections::BTreeMap;

/// What an encoded one begins with.
const VERSION: u8 = 1;

/// Counts of durations in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch(BTreeMap<u16, u32>);

impl Sketch {
    /// Counts one duration, in microseconds.
    pub fn record(&mut self, us: u64) {
        // There are fewer buckets than that.
        let bucket = u16::try_from(index(us)).unwrap_or(u16::MAX);
        let count = self.0.entry(bucket).or_default();
        *count = count.saturating_add(1);
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts whatever the other has counted.
    pub fn add(&mut self, other: &Self) {
        for (bucket, more) in &other.0 {
            let count = self.0.entry(*bucket).or_default();
            *count = count.saturating_add(*more);
        }
    }

    /// The duration in microseconds that so many of a hundred do not exceed, up to 1/32 too long. None: nothing was
    /// counted.
    #[must_use]
    pub fn percentile(&self, percent: u32) -> Option<u64> {
        let all: u64 = self.0.values().map(|count| u64::from(*count)).sum();
        let rank = (all * u64::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.0.iter().find(|(_, count)| {
            seen += u64::from(**count);
            seen >= rank
        });
        found.map(|(bucket, _)| upper(u64::from(*bucket)))
    }

    /// As it is kept: each bucket's distance from the one before and its count, in groups of seven bits (LEB128).
    #[must_use]
    pub fn encoded(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let mut last = 0;
        for (bucket, count) in &self.0 {
            put(&mut bytes, u32::from(bucket - last));
            put(&mut bytes, *count);
            last = *bucket;
        }
        bytes
    }

    /// What was kept. None: nothing of this version.
    #[must_use]
    pub fn decoded(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let mut counts = BTreeMap::new();
        let mut last = 0_u16;
        while !rest.is_empty() {
            let (distance, count) = (take(&mut rest)?, take(&mut rest)?);
            let bucket = last.checked_add(u16::try_from(distance).ok()?)?;
            let again = distance == 0 && !counts.is_empty();
            if again || usize::from(bucket) >= BUCKETS || count == 0 {
                return None;
            }
            counts.insert(bucket, count);
            last = bucket;
        }
        Some(Self(counts))
    }
}

#[allow(clippy::cast_possible_truncation)]
fn put(bytes: &mut Vec<u8>, mut number: u32) {
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_apart_is_as_if_it_were_counted_together() {
        let (mut one, mut two, mut all) = (Sketch::default(), Sketch::default(), Sketch::default());
        assert_eq!(all.percentile(50), None);
        for us in 1..=10_000 {
            all.record(us);
            if us % 3 == 0 { &mut one } else { &mut two }.record(us);
        }
        one.add(&two);
        assert_eq!(one, all);
        for (percent, exact) in [(50, 5_000), (95, 9_500), (99, 9_900), (100, 10_000)] {
            let found = all.percentile(percent).unwrap();
            assert!(
                found >= exact && found - exact <= exact / 32 + 1,
                "{percent}: {found}"
            );
        }
        assert_eq!(all.percentile(0), Some(1));
    }

    #[test]
    fn it_is_kept_in_few_bytes_and_nothing_else_is_taken_for_one() {
        let mut sketch = Sketch::default();
        assert_eq!(Sketch::decoded(&sketch.encoded()), Some(sketch.clone()));
        for us in [0, 1, 40, 1_500, 1_501, 2_000_000, u64::MAX] {
            sketch.record(us);
        }
        (0..1_000).for_each(|_| sketch.record(1_500));
        let bytes = sketch.encoded();
        assert!(bytes.len() < 32, "{}", bytes.len());
        assert_eq!(Sketch::decoded(&bytes), Some(sketch));
        for wrong in [
            &[][..],
            &[2],
            &[1, 3],
            &[1, 3, 0],
            &[1, 3, 1, 0, 1],
            &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1],
            &[1, 0xff, 0x7f, 1],
            &[1, 3, 0x80],
        ] {
            assert_eq!(Sketch::decoded(wrong), None, "{wrong:?}");
        }
    }
}
