//! A hierarchical timing wheel: when which lane must be looked at again.
//!
//! Three levels of 256 slots: of a millisecond, of 256 ms, and of 65.5 s (4.6 hours in all); what is farther off waits
//! in one list. A slot is a chain of chunks of entries that lie side by side, so that emptying one reads memory in
//! order. Inserting is O(1), and so is turning, per entry that falls due: each moves down a level at most twice. Empty
//! slots cost one bit each. (G. Varghese and A. Lauck, "Hashed and hierarchical timing wheels", 1987.)
//!
//! Entries are never removed, and carry no time: whoever gets one looks at what it is about, and at nothing but
//! that. One that is outdated finds nothing to be done.
//!
//! Architecture invariant: an entry never comes out before its time.

use crate::domain::time::Mono;

const TICK_NS: u64 = 1_000_000;
const BITS: u32 = 8;
const SLOTS: u64 = 1 << BITS;
const LEVELS: usize = 3;
/// What the wheel holds; beyond that, entries wait in the list.
const SPAN: u64 = 1 << (BITS * LEVELS as u32);
/// Entries of a chunk: 512 bytes with its header.
const CHUNK: usize = 41;

/// One thing to be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Whose, in two halves: 12 bytes instead of 16 for each of a million.
    key: [u32; 2],
    /// What.
    tag: u16,
    /// The low bits of its tick: where it belongs on the levels below.
    low: u16,
}

impl Entry {
    #[allow(clippy::cast_possible_truncation)] // The halves and the low bits are what is meant.
    fn new(tick: u64, key: u64, tag: u16) -> Self {
        Self {
            key: [(key >> 32) as u32, key as u32],
            tag,
            low: tick as u16,
        }
    }

    fn key(self) -> u64 {
        let [high, low] = self.key;
        u64::from(high) << 32 | u64::from(low)
    }
}

#[derive(Debug)]
struct Chunk {
    next: Option<Box<Chunk>>,
    len: usize,
    entries: [Entry; CHUNK],
}

/// One level: chains of chunks, and one bit for each slot that holds any.
#[derive(Debug)]
struct Level {
    slots: Box<[Option<Box<Chunk>>]>,
    bits: [u64; SLOTS as usize / 64],
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel {
    /// The last tick that was turned.
    tick: u64,
    levels: [Level; LEVELS],
    /// What is farther off: its tick, and the entry.
    overflow: Vec<(u64, Entry)>,
    /// Emptied chunks, to be used again.
    spare: Option<Box<Chunk>>,
    len: usize,
}

impl Wheel {
    /// An empty wheel whose time is `now`.
    #[must_use]
    pub fn new(now: Mono) -> Self {
        Self {
            tick: now.0 / TICK_NS,
            levels: std::array::from_fn(|_| Level {
                slots: (0..SLOTS).map(|_| None).collect(),
                bits: [0; SLOTS as usize / 64],
            }),
            overflow: Vec::new(),
            spare: None,
            len: 0,
        }
    }

    /// Entries in the wheel, outdated ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the wheel holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts an entry in. One whose time has come already comes out with the next turn; [`Mono::NEVER`] is not
    /// kept at all.
    pub fn insert(&mut self, at: Mono, key: u64, tag: u16) {
        if at == Mono::NEVER {
            return;
        }
        self.len += 1;
        let tick = at.0.div_ceil(TICK_NS).max(self.tick + 1);
        self.place(tick, Entry::new(tick, key, tag));
    }

    /// The earliest time at which turning may bring anything out. Never later than the first entry's time, and
    /// earlier only by the coarseness of the upper levels.
    #[must_use]
    pub fn next_at(&self) -> Mono {
        if self.len == 0 {
            return Mono::NEVER;
        }
        let next = self.next_near(self.tick + 1).unwrap_or(block_end(self.tick));
        Mono(next.saturating_mul(TICK_NS))
    }

    /// Turns the wheel to `now` and hands out every entry whose time has come, in the order of milliseconds.
    pub fn turn(&mut self, now: Mono, mut out: impl FnMut(u64, u16)) {
        let target = now.0 / TICK_NS;
        while self.tick < target {
            if self.len == 0 {
                self.tick = target;
                return;
            }
            let end = block_end(self.tick);
            match self.next_near(self.tick + 1) {
                Some(next) if next <= target => {
                    self.tick = next;
                    self.empty(0, next, |_, entry| out(entry.key(), entry.tag));
                }
                _ if end <= target => {
                    self.tick = end;
                    self.descend();
                    self.empty(0, end, |_, entry| out(entry.key(), entry.tag));
                }
                _ => self.tick = target,
            }
        }
    }

    /// The tick has just entered a new block of the lowest level: fills it from the levels above.
    fn descend(&mut self) {
        let tick = self.tick;
        if tick.is_multiple_of(SPAN / 2) {
            // Twice in each round of the highest level, so that nothing in there can fall due unseen.
            for (at, entry) in std::mem::take(&mut self.overflow) {
                self.place(at, entry);
            }
        }
        for level in (1..LEVELS).rev() {
            let below = BITS * level as u32;
            if !tick.is_multiple_of(1 << below) {
                continue;
            }
            let mask = (1_u64 << below) - 1;
            self.empty(level, tick >> below, |wheel, entry| {
                wheel.place(tick | (u64::from(entry.low) & mask), entry);
            });
        }
    }

    fn place(&mut self, tick: u64, entry: Entry) {
        if tick - self.tick < SLOTS {
            self.push(0, tick, entry);
            return;
        }
        for level in 1..LEVELS {
            let shift = BITS * level as u32;
            // A slot is free to be filled again only when the wheel has passed it.
            if (tick >> shift) - (self.tick >> shift) < SLOTS {
                self.push(level, tick >> shift, entry);
                return;
            }
        }
        self.overflow.push((tick, entry));
    }

    fn push(&mut self, level: usize, slot: u64, entry: Entry) {
        let Some(level) = self.levels.get_mut(level) else {
            return;
        };
        let slot = (slot % SLOTS) as usize;
        let (Some(head), Some(bits)) = (level.slots.get_mut(slot), level.bits.get_mut(slot / 64)) else {
            return;
        };
        *bits |= 1 << (slot % 64);
        let full = head.as_ref().is_none_or(|chunk| chunk.len == CHUNK);
        if full {
            let mut fresh = match self.spare.take() {
                Some(mut chunk) => {
                    self.spare = chunk.next.take();
                    chunk
                }
                None => Box::new(Chunk {
                    next: None,
                    len: 0,
                    entries: [Entry::default(); CHUNK],
                }),
            };
            fresh.next = head.take();
            *head = Some(fresh);
        }
        if let Some(chunk) = head
            && let Some(place) = chunk.entries.get_mut(chunk.len)
        {
            *place = entry;
            chunk.len += 1;
        }
    }

    /// Hands out what a slot holds. At level 0 the entries have left the wheel then.
    fn empty(&mut self, level: usize, slot: u64, mut out: impl FnMut(&mut Self, Entry)) {
        let index = (slot % SLOTS) as usize;
        let mut chain = None;
        if let Some(level) = self.levels.get_mut(level)
            && let (Some(head), Some(bits)) = (level.slots.get_mut(index), level.bits.get_mut(index / 64))
        {
            *bits &= !(1 << (index % 64));
            chain = head.take();
        }
        while let Some(mut chunk) = chain {
            chain = chunk.next.take();
            if level == 0 {
                self.len -= chunk.len;
            }
            for entry in chunk.entries.iter().take(chunk.len) {
                out(self, *entry);
            }
            chunk.len = 0;
            chunk.next = self.spare.take();
            self.spare = Some(chunk);
        }
    }

    /// The first tick from `from` to the end of its block whose slot holds anything.
    fn next_near(&self, from: u64) -> Option<u64> {
        let level = self.levels.first()?;
        let (mut tick, end) = (from, block_end(from - 1));
        while tick < end {
            let slot = tick % SLOTS;
            let bits = level.bits.get((slot / 64) as usize).copied().unwrap_or(0) >> (slot % 64);
            if bits != 0 {
                let next = tick + u64::from(bits.trailing_zeros());
                return (next < end).then_some(next);
            }
            tick = (tick / 64 + 1) * 64;
        }
        None
    }
}

/// The first tick of the lowest level's next block.
fn block_end(tick: u64) -> u64 {
    (tick / SLOTS + 1) * SLOTS
}

impl Drop for Wheel {
    /// A chain that dropped itself link by link would need as deep a stack.
    fn drop(&mut self) {
        let slots = self.levels.iter_mut().flat_map(|level| level.slots.iter_mut());
        for head in slots.chain([&mut self.spare]) {
            let mut chain = head.take();
            while let Some(mut chunk) = chain {
                chain = chunk.next.take();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Mono {
        Mono(ms * TICK_NS)
    }

    #[test]
    fn far_and_overflowing_entries_come_out_on_time() {
        let mut wheel = Wheel::new(ms(5));
        let times = [
            6, 7, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 5_000_000, 16_777_215, 16_777_216,
            40_000_000,
        ];
        for at in times {
            wheel.insert(ms(at), at, 7);
        }
        wheel.insert(Mono::NEVER, 1, 7);
        for at in times {
            while wheel.next_at() < ms(at) {
                let next = wheel.next_at();
                wheel.turn(next, |key, _| panic!("{key} before {at}"));
            }
            let mut out = Vec::new();
            wheel.turn(ms(at), |key, tag| out.push((key, tag)));
            assert_eq!(out, [(at, 7)]);
        }
        assert!(wheel.is_empty());
        assert_eq!(wheel.next_at(), Mono::NEVER);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// Against a sorted list: never early, never later than one turn after its millisecond, none lost.
        #[test]
        fn agrees_with_a_sorted_list(
            start in 0u64..10_000,
            steps in proptest::collection::vec((0u64..4, proptest::collection::vec(0u64..46, 0..6)), 1..200),
        ) {
            let mut now = ms(start);
            let mut wheel = Wheel::new(now);
            let mut model: Vec<(Mono, u64)> = Vec::new();
            let mut id = 0;
            for (jump, inserts) in steps {
                for exponent in inserts {
                    let at = Mono(now.0 + (1u64 << exponent) + id * 7919);
                    wheel.insert(at, id, 0);
                    model.push((at, id));
                    id += 1;
                }
                let first = model.iter().map(|(at, _)| Mono(at.0.div_ceil(TICK_NS) * TICK_NS)).min().unwrap_or(Mono::NEVER);
                prop_assert!(wheel.next_at() <= first.max(Mono(now.0 / TICK_NS * TICK_NS + TICK_NS)));
                now = match jump {
                    0 => Mono(now.0 + 500_000),
                    1 => wheel.next_at().min(Mono(now.0 + (1 << 41))).max(now),
                    2 => Mono(now.0 + 9_000 * TICK_NS),
                    _ => Mono(now.0 + (1 << 43)),
                };
                let mut out = Vec::new();
                wheel.turn(now, |key, _| {
                    let at = model.iter().find(|(_, id)| *id == key).unwrap().0;
                    out.push((at, key));
                });
                let ticks: Vec<u64> = out.iter().map(|(at, _)| at.0.div_ceil(TICK_NS)).collect();
                prop_assert!(ticks.windows(2).all(|pair| pair[0] <= pair[1]) , "in order");
                out.sort_unstable();
                let edge = Mono(now.0 / TICK_NS * TICK_NS);
                let mut due: Vec<_> = model.iter().copied().filter(|(at, _)| *at <= edge).collect();
                due.sort_unstable();
                // What was inserted with a time that lies in the present millisecond comes with the next turn.
                prop_assert!(out.iter().all(|entry| entry.0 <= now));
                for entry in &due {
                    let fresh = entry.0.0.div_ceil(TICK_NS) <= now.0 / TICK_NS;
                    prop_assert!(!fresh || out.contains(entry), "{entry:?} is late");
                }
                model.retain(|entry| !out.contains(entry));
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
