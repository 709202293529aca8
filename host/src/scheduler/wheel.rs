//! A hierarchical timing wheel: when which lane must be looked at again.
//!
//! Two levels of slots over one slab of entries linked into lists: 4,096 slots of a millisecond, then 1,024
//! slots of 4,096 ms (70 minutes), then one list for what is farther off. Inserting is O(1), and so is turning,
//! per entry that falls due; empty slots cost one bit each. (G. Varghese and A. Lauck, "Hashed and hierarchical
//! timing wheels", 1987.)
//!
//! Entries are never removed: whoever gets one compares its time with the lane's own and drops it if they
//! differ.
//!
//! Architecture invariant: an entry never comes out before its time.

use crate::domain::time::Mono;

const NEAR: u64 = 4096;
const FAR: u64 = 1024;
const NONE: u32 = u32::MAX;
const TICK_NS: u64 = 1_000_000;

/// One thing to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<T> {
    /// When.
    pub at: Mono,
    /// What.
    pub item: T,
}

#[derive(Debug)]
struct Node<T> {
    entry: Entry<T>,
    next: u32,
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel<T> {
    /// The last tick that was turned.
    tick: u64,
    near: Box<[u32]>,
    /// One bit for each near slot that holds anything.
    near_bits: Box<[u64]>,
    far: Box<[u32]>,
    far_count: usize,
    overflow: Vec<Entry<T>>,
    slab: Vec<Node<T>>,
    free: u32,
    len: usize,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel whose time is `now`.
    #[must_use]
    pub fn new(now: Mono) -> Self {
        Self {
            tick: now.0 / TICK_NS,
            near: vec![NONE; NEAR as usize].into(),
            near_bits: vec![0; NEAR as usize / 64].into(),
            far: vec![NONE; FAR as usize].into(),
            far_count: 0,
            overflow: Vec::new(),
            slab: Vec::new(),
            free: NONE,
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
    pub fn insert(&mut self, at: Mono, item: T) {
        if at == Mono::NEVER {
            return;
        }
        self.len += 1;
        self.place(Entry { at, item });
    }

    /// The earliest time at which turning may bring anything out. Never later than the first entry's time,
    /// and earlier only by the coarseness of the far level.
    #[must_use]
    pub fn next_at(&self) -> Mono {
        let block_end = (self.tick / NEAR + 1) * NEAR;
        let next = self.next_near(self.tick + 1, block_end);
        if next < block_end {
            return Mono(next.saturating_mul(TICK_NS));
        }
        if self.far_count > 0 || !self.overflow.is_empty() {
            return Mono(block_end.saturating_mul(TICK_NS));
        }
        Mono::NEVER
    }

    /// Turns the wheel to `now` and hands out every entry whose time has come, in the order of milliseconds.
    pub fn turn(&mut self, now: Mono, mut out: impl FnMut(Entry<T>)) {
        let target = now.0 / TICK_NS;
        while self.tick < target {
            let block_end = (self.tick / NEAR + 1) * NEAR;
            let stop = target.min(block_end - 1);
            let next = self.next_near(self.tick + 1, stop + 1);
            if next <= stop {
                self.tick = next;
                self.empty_slot(next, &mut out);
            } else if stop < target {
                // Nothing more in this block: on to the next, or over all of them if nothing is kept.
                if self.len == 0 {
                    self.tick = target;
                } else {
                    self.tick = block_end - 1;
                    self.enter_block(block_end);
                    self.tick = block_end;
                    self.empty_slot(block_end, &mut out);
                }
            } else {
                self.tick = stop;
            }
        }
    }

    fn place(&mut self, entry: Entry<T>) {
        let tick = entry.at.0.div_ceil(TICK_NS).max(self.tick + 1);
        let (block, current) = (tick / NEAR, self.tick / NEAR);
        if block == current {
            self.link_near(tick, entry);
        } else if block - current < FAR {
            let node = self.node(entry);
            if let Some(head) = self.far.get_mut((block % FAR) as usize) {
                link(&mut self.slab, head, node);
                self.far_count += 1;
            }
        } else {
            self.overflow.push(entry);
        }
    }

    fn link_near(&mut self, tick: u64, entry: Entry<T>) {
        let node = self.node(entry);
        let slot = (tick % NEAR) as usize;
        if let (Some(head), Some(bits)) = (self.near.get_mut(slot), self.near_bits.get_mut(slot / 64)) {
            link(&mut self.slab, head, node);
            *bits |= 1 << (slot % 64);
        }
    }

    /// A free node with that entry.
    fn node(&mut self, entry: Entry<T>) -> u32 {
        if let Some(node) = self.slab.get_mut(self.free as usize) {
            let index = self.free;
            self.free = node.next;
            *node = Node { entry, next: NONE };
            return index;
        }
        self.slab.push(Node { entry, next: NONE });
        // Four thousand million entries do not fit into memory.
        u32::try_from(self.slab.len() - 1).unwrap_or(NONE)
    }

    /// Moves the far slot of the block that begins at `tick` into the near level.
    fn enter_block(&mut self, tick: u64) {
        let block = tick / NEAR;
        let mut node = self
            .far
            .get_mut((block % FAR) as usize)
            .map_or(NONE, |head| std::mem::replace(head, NONE));
        while let Some(Node { entry, next }) = self.slab.get(node as usize) {
            let (at, next) = (entry.at.0.div_ceil(TICK_NS).max(tick), *next);
            let slot = (at % NEAR) as usize;
            if let (Some(head), Some(bits)) = (self.near.get_mut(slot), self.near_bits.get_mut(slot / 64)) {
                link(&mut self.slab, head, node);
                *bits |= 1 << (slot % 64);
            }
            self.far_count -= 1;
            node = next;
        }
        if !self.overflow.is_empty() && block.is_multiple_of(FAR / 2) {
            // Twice in each round of the far level, so that nothing in here can fall due unseen.
            let overflow = std::mem::take(&mut self.overflow);
            for entry in overflow {
                self.place(entry);
            }
        }
    }

    fn empty_slot(&mut self, tick: u64, out: &mut impl FnMut(Entry<T>)) {
        let slot = (tick % NEAR) as usize;
        if let Some(bits) = self.near_bits.get_mut(slot / 64) {
            *bits &= !(1 << (slot % 64));
        }
        let mut index = self
            .near
            .get_mut(slot)
            .map_or(NONE, |head| std::mem::replace(head, NONE));
        while let Some(node) = self.slab.get_mut(index as usize) {
            let next = node.next;
            node.next = self.free;
            self.free = index;
            self.len -= 1;
            out(node.entry);
            index = next;
        }
    }

    /// The first tick in `from..to`, all of one block, whose slot holds anything; `to` if there is none.
    fn next_near(&self, from: u64, to: u64) -> u64 {
        let mut tick = from;
        while tick < to {
            let slot = tick % NEAR;
            let bits = self.near_bits.get((slot / 64) as usize).copied().unwrap_or(0) >> (slot % 64);
            if bits != 0 {
                return (tick + u64::from(bits.trailing_zeros())).min(to);
            }
            tick = (tick / 64 + 1) * 64;
        }
        to
    }
}

fn link<T>(slab: &mut [Node<T>], head: &mut u32, index: u32) {
    if let Some(node) = slab.get_mut(index as usize) {
        node.next = *head;
        *head = index;
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
            6,
            7,
            4095,
            4096,
            4097,
            8192,
            5_000_000,
            2_592_000_000,
            10_000_000_000,
        ];
        for at in times {
            wheel.insert(ms(at), at);
        }
        wheel.insert(Mono::NEVER, 1);
        for at in times {
            while wheel.next_at() < ms(at) {
                let next = wheel.next_at();
                wheel.turn(next, |entry| panic!("{entry:?} before {at}"));
            }
            let mut out = Vec::new();
            wheel.turn(ms(at), |entry| out.push(entry.item));
            assert_eq!(out, [at]);
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
            steps in proptest::collection::vec((0u64..3, proptest::collection::vec(0u64..40, 0..6)), 1..200),
        ) {
            let mut now = ms(start);
            let mut wheel = Wheel::new(now);
            let mut model: Vec<(Mono, u32)> = Vec::new();
            let mut id = 0;
            for (jump, inserts) in steps {
                for exponent in inserts {
                    let at = Mono(now.0 + (1u64 << exponent) + u64::from(id) * 7919);
                    wheel.insert(at, id);
                    model.push((at, id));
                    id += 1;
                }
                let first = model.iter().map(|(at, _)| Mono(at.0.div_ceil(TICK_NS) * TICK_NS)).min().unwrap_or(Mono::NEVER);
                prop_assert!(wheel.next_at() <= first.max(Mono(now.0 / TICK_NS * TICK_NS + TICK_NS)));
                now = match jump {
                    0 => Mono(now.0 + 500_000),
                    1 => wheel.next_at().min(Mono(now.0 + (1 << 41))).max(now),
                    _ => Mono(now.0 + 9_000 * TICK_NS),
                };
                let mut out = Vec::new();
                wheel.turn(now, |entry| out.push((entry.at, entry.item)));
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
