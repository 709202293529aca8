//! The board: how every monitor stands, for whoever looks from another thread.
//!
//! One word for each monitor, which the scheduler writes when it changes and everybody else reads without a lock. It is
//! written far more rarely than monitors are checked: a healthy one costs nothing.
//!
//! Architecture invariant: no reader can keep the scheduler waiting.

use super::{health::State, job::MonitorId, time::Wall};
use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// Where a monitor's word is, and how it is told from that of another one which had the place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Whose.
    pub monitor: MonitorId,
    /// The place on the board.
    pub slot: u32,
    /// Who the place is taken by: the lowest 20 bits count.
    pub tag: u32,
}

/// The part of a tag that counts.
#[must_use]
pub fn short_tag(tag: u32) -> u32 {
    tag & TAG_MASK
}

/// What a monitor is, beside its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// It is not checked.
    Paused,
    /// It is in a maintenance window.
    Maintenance,
    /// Somebody has said that he takes care of its trouble.
    Acknowledged,
    /// Its codes are not sent.
    Silenced,
}

impl Mark {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Paused,
        Self::Maintenance,
        Self::Acknowledged,
        Self::Silenced,
    ];

    /// The mark's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Maintenance => "maintenance",
            Self::Acknowledged => "acknowledged",
            Self::Silenced => "silenced",
        }
    }

    /// The mark of that name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mark| mark.name() == name)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Marks(u8);

impl Marks {
    /// That one, or none.
    #[must_use]
    pub fn of(mark: Mark, on: bool) -> Self {
        let mut marks = Self::default();
        marks.set(mark, on);
        marks
    }

    /// Whether the mark is among them.
    #[must_use]
    pub fn has(self, mark: Mark) -> bool {
        self.0 & mark.bit() != 0
    }

    /// Sets or takes away a mark.
    pub fn set(&mut self, mark: Mark, on: bool) {
        if on {
            self.0 |= mark.bit();
        } else {
            self.0 &= !mark.bit();
        }
    }

    /// All that are in it.
    pub fn iter(self) -> impl Iterator<Item = Mark> {
        Mark::ALL.into_iter().filter(move |mark| self.has(*mark))
    }
}

/// How one monitor stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its state.
    pub state: State,
    /// And beside that.
    pub marks: Marks,
    /// Since when it is in that state, in seconds since 1970.
    pub since: u32,
}

/// Places of the first segment; each further one has as many as all before it.
const FIRST: u32 = 1024;
/// More than there are numbers of places.
const SEGMENTS: usize = 23;
const TAG_MASK: u32 = 0xf_ffff;

/// The words of all monitors. It grows and never shrinks, and nothing in it ever moves.
#[derive(Debug)]
pub struct Board([OnceLock<Box<[AtomicU64]>>; SEGMENTS]);

impl Default for Board {
    fn default() -> Self {
        Self([const { OnceLock::new() }; SEGMENTS])
    }
}

impl Board {
    /// How the monitor of that seat stands. None: it is gone.
    #[must_use]
    pub fn read(&self, seat: Seat) -> Option<Standing> {
        let (segment, place) = locate(seat.slot);
        let word = self.0.get(segment)?.get()?.get(place)?.load(Ordering::Relaxed);
        let (tag, standing) = understood(word)?;
        (tag == short_tag(seat.tag)).then_some(standing)
    }

    /// How all monitors stand, by place, each with the part of its tag that counts. Memory is read from one end to the other:
    /// whoever wants most of them has them so in a fraction of the time that it takes to look each one up.
    pub fn sweep(&self, mut look: impl FnMut(u32, u32, Standing)) {
        // Segments are made in no certain order.
        for (segment, words) in self.0.iter().enumerate() {
            let words = words.get().into_iter().flatten();
            for (slot, word) in (first(segment)..).zip(words) {
                if let Some((tag, standing)) = understood(word.load(Ordering::Relaxed)) {
                    look(slot, tag, standing);
                }
            }
        }
    }

    /// From now on it stands like this. Where only marks have changed, it is in its state as long as before. Only the
    /// scheduler writes.
    pub fn write(&self, seat: Seat, state: State, marks: Marks, now: Wall) {
        let before = self.read(seat).filter(|before| before.state == state);
        let since = before.map_or_else(|| u32::try_from(now.0 / 1000).unwrap_or(u32::MAX), |b| b.since);
        let word = (state as u64 + 1)
            | u64::from(marks.0) << 4
            | u64::from(short_tag(seat.tag)) << 12
            | u64::from(since) << 32;
        self.put(seat.slot, word);
    }

    /// The monitor of that seat is gone.
    pub fn clear(&self, seat: Seat) {
        self.put(seat.slot, 0);
    }

    fn put(&self, slot: u32, word: u64) {
        let (segment, place) = locate(slot);
        let Some(cell) = self.0.get(segment) else {
            return;
        };
        let words = cell.get_or_init(|| {
            let length = FIRST << segment.saturating_sub(1);
            (0..length).map(|_| AtomicU64::new(0)).collect()
        });
        if let Some(cell) = words.get(place) {
            cell.store(word, Ordering::Relaxed);
        }
    }
}

/// What a word says: whose it is, and how that one stands. None: the place is free.
fn understood(word: u64) -> Option<(u32, Standing)> {
    let state = (word & 0xf).checked_sub(1)?;
    let standing = Standing {
        state: *State::ALL.get(usize::try_from(state).ok()?)?,
        marks: Marks((word >> 4) as u8),
        since: (word >> 32) as u32,
    };
    Some(((word >> 12) as u32 & TAG_MASK, standing))
}

/// The first place of a segment.
fn first(segment: usize) -> u32 {
    match segment {
        0 => 0,
        more => FIRST << (more - 1),
    }
}

/// Segment and place in it: 1024, 1024, 2048, 4096, …
fn locate(slot: u32) -> (usize, usize) {
    match slot / FIRST {
        0 => (0, slot as usize),
        more => {
            let segment = more.ilog2();
            (segment as usize + 1, (slot - (FIRST << segment)) as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(slot: u32, tag: u32) -> Seat {
        Seat {
            monitor: MonitorId(0),
            slot,
            tag,
        }
    }

    #[test]
    fn every_place_is_one_of_its_own() {
        let mut last = (0, 0);
        for slot in 1..100_000 {
            let (segment, place) = locate(slot);
            assert!(place < (FIRST as usize) << segment.saturating_sub(1), "{slot}");
            let next = if segment == last.0 { last.1 + 1 } else { 0 };
            assert_eq!(place, next, "{slot}");
            last = (segment, place);
        }
        for segment in 0..SEGMENTS {
            assert_eq!(locate(first(segment)), (segment, 0));
        }
        let (segment, place) = locate(u32::MAX);
        assert!(segment < SEGMENTS && place < (FIRST as usize) << (segment - 1));
    }

    #[test]
    fn what_is_written_is_read_and_marks_leave_the_time_alone() {
        let board = Board::default();
        for slot in [0, 1, 1023, 1024, 5000] {
            assert_eq!(board.read(seat(slot, 0)), None);
            board.write(seat(slot, 7), State::Up, Marks::default(), Wall(5_000));
            let mut marks = Marks::default();
            marks.set(Mark::Silenced, true);
            marks.set(Mark::Paused, true);
            board.write(seat(slot, 7), State::Up, marks, Wall(9_000));
            let read = board.read(seat(slot, 7)).unwrap();
            assert_eq!((read.state, read.since), (State::Up, 5));
            assert_eq!(
                read.marks.iter().collect::<Vec<_>>(),
                [Mark::Paused, Mark::Silenced]
            );
            board.write(seat(slot, 7), State::Held, marks, Wall(9_999));
            assert_eq!(board.read(seat(slot, 7)).unwrap().since, 9);
            assert_eq!(board.read(seat(slot, 8)), None, "the place is another one's");
            board.write(seat(slot, 8), State::Held, marks, Wall(11_000));
            assert_eq!(board.read(seat(slot, 8)).unwrap().since, 11, "its own time");
            board.clear(seat(slot, 8));
            assert_eq!(board.read(seat(slot, 8)), None);
        }
        for state in State::ALL {
            board.write(seat(3, 1), state, Marks::default(), Wall(0));
            assert_eq!(board.read(seat(3, 1)).unwrap().state, state);
        }
    }
    #[test]
    fn a_sweep_finds_all_that_are_there_each_once() {
        let board = Board::default();
        // The last segment first, and one between that nobody has.
        for (slot, tag) in [(9_000, 5), (0, 1), (1023, 0xff_ffff), (1024, 2), (1030, 3)] {
            board.write(seat(slot, tag), State::Degraded, Marks::default(), Wall(1_000));
        }
        board.clear(seat(1030, 3));
        let mut found = Vec::new();
        board.sweep(|slot, tag, standing| {
            assert_eq!(board.read(seat(slot, tag)), Some(standing));
            found.push((slot, tag));
        });
        assert_eq!(found, [(0, 1), (1023, 0xf_ffff), (1024, 2), (9_000, 5)]);
    }
}
