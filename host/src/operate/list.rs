//! Lists of monitors: filtered, searched, sorted and cut into pages.
//!
//! A page says where the next one begins by what its last monitor is called and how it stands, not by a number: whatever
//! comes, goes or changes meanwhile, nothing that stays as it is is left out or told twice.

use super::{
    bits::Bits,
    directory::{Directory, Values},
};
use crate::domain::{
    board::{Board, Mark, Standing},
    health::State,
    selector::Selector,
};
use std::{collections::BinaryHeap, sync::Arc};

/// Monitors on one page.
pub const PAGE_MAX: usize = 1000;
/// Groups of one summary.
pub const GROUPS_MAX: usize = 1000;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// That tenant's only; none: everybody's.
    pub tenant: Option<Arc<str>>,
    /// Which.
    pub selector: Selector,
    /// Text in their names; empty: any.
    pub search: String,
    /// Their states; empty: any.
    pub states: Vec<State>,
    /// One of these is said of them; empty: whatever is said of them.
    pub marks: Vec<Mark>,
    /// In which order.
    pub order: Order,
    /// At most that many; [`PAGE_MAX`] at most.
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
}

/// In which order monitors are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// By tenant and name.
    #[default]
    Name,
    /// The worst first; of those that are alike, what changed last.
    State,
    /// What changed last.
    Since,
}

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    order: Order,
    rank: u8,
    since: u32,
    tenant: String,
    name: String,
}

/// One monitor of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its row.
    pub row: usize,
    /// How it stands.
    pub standing: Standing,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The monitors.
    pub entries: Vec<Entry>,
    /// How many there are on all pages.
    pub total: u64,
    /// How many there would be in each state, whatever states were asked for.
    pub states: Counts,
    /// Where the next page begins; none: this was the last.
    pub next: Option<Cursor>,
}

/// How bad a state is, the worst first.
#[must_use]
pub fn rank(state: State) -> u8 {
    match state {
        State::Down => 0,
        State::Held => 1,
        State::Verifying => 2,
        State::Degraded => 3,
        State::Unknown => 4,
        State::Unreachable => 5,
        State::Up => 6,
    }
}

/// Rows that fit what is asked for, but for states and marks.
#[must_use]
pub fn fitting(directory: &Directory, query: &Query) -> Option<Bits> {
    let mut bits: Option<Bits> = None;
    let mut keep = |more: Bits| match &mut bits {
        Some(bits) => bits.keep(&more),
        none => *none = Some(more),
    };
    if !query.selector.is_empty() {
        keep(directory.select(&query.selector));
    }
    if !query.search.is_empty() {
        keep(directory.search(&query.search));
    }
    bits
}

/// The page that is asked for.
#[must_use]
pub fn list(directory: &Directory, board: &Board, query: &Query) -> Page {
    let bits = fitting(directory, query);
    let scope = match &query.tenant {
        Some(tenant) => directory.of_tenant(tenant),
        None => 0..directory.len(),
    };
    let limit = query.limit.clamp(1, PAGE_MAX);
    let beyond = query
        .cursor
        .as_ref()
        .and_then(|cursor| cursor.key(directory, query.order));
    let mut page = Page {
        entries: Vec::new(),
        total: 0,
        states: [0; State::ALL.len()],
        next: None,
    };
    // The least keys behind the cursor, and one more, which tells whether there is another page.
    let mut first: BinaryHeap<u64> = BinaryHeap::with_capacity(limit + 2);
    directory.standings(board, &scope, bits.as_ref(), |row, _, standing| {
        if !query.marks.is_empty() && !query.marks.iter().any(|mark| standing.marks.has(*mark)) {
            return;
        }
        if let Some(count) = page.states.get_mut(standing.state as usize) {
            *count += 1;
        }
        if !query.states.is_empty() && !query.states.contains(&standing.state) {
            return;
        }
        page.total += 1;
        let key = key(query.order, standing, row);
        if beyond.is_some_and(|beyond| key <= beyond) {
            return;
        }
        if first.len() <= limit {
            first.push(key);
        } else if first.peek().is_some_and(|last| key < *last) {
            first.pop();
            first.push(key);
        }
    });
    let mut keys = first.into_sorted_vec();
    let more = keys.len() > limit;
    keys.truncate(limit);
    for key in keys {
        let row = (key & ROW_MASK) as usize;
        let Some(found) = directory.row(row) else {
            continue;
        };
        // As it stood when it was sorted, so that the page is in order.
        let Some(standing) = board.read(found.seat) else {
            continue;
        };
        page.entries.push(Entry { row, standing });
        if more {
            page.next = Some(Cursor {
                order: query.order,
                rank: (key >> 60) as u8,
                since: !((key >> ROW_BITS) as u32),
                tenant: found.spec.tenant.name.to_string(),
                name: found.spec.name().to_owned(),
            });
        }
    }
    page
}

/// Rows have that many bits in a key: more monitors than one host ever has.
const ROW_BITS: u32 = 28;
const ROW_MASK: u64 = (1 << ROW_BITS) - 1;

/// What sorts as the order says: rank, time from the latest, row.
fn key(order: Order, standing: Standing, row: usize) -> u64 {
    let (rank, since) = match order {
        Order::Name => (0, u32::MAX),
        Order::State => (rank(standing.state), standing.since),
        Order::Since => (0, standing.since),
    };
    u64::from(rank) << 60 | u64::from(!since) << ROW_BITS | row as u64 & ROW_MASK
}

impl Cursor {
    /// The key of the last row that is not behind it. None: all are.
    fn key(&self, directory: &Directory, order: Order) -> Option<u64> {
        let (rank, since) = match order {
            Order::Name => (0, u32::MAX),
            _ => (self.rank, self.since),
        };
        let place = directory.place(&self.tenant, &self.name);
        let exact = directory
            .spec(place)
            .is_some_and(|spec| spec.name() == self.name && *spec.tenant.name == *self.tenant);
        let upto = u64::from(rank) << 60 | u64::from(!since) << ROW_BITS;
        match (exact, place.checked_sub(1)) {
            (true, _) => Some(upto | place as u64),
            // It is gone: what comes next is not.
            (false, Some(before)) => Some(upto | before as u64),
            (false, None) => upto.checked_sub(1),
        }
    }

    /// Reads what [`Cursor`] is written as. None: it is none of that order.
    #[must_use]
    pub fn parse(text: &str, order: Order) -> Option<Self> {
        let mut parts = text.splitn(4, '/');
        let head = parts.next()?;
        let since = parts.next()?.parse().ok()?;
        let tenant = parts.next()?.to_owned();
        let name = parts.next()?.to_owned();
        let (letter, rank) = head.split_at_checked(1)?;
        (letter == order.letter()).then_some(())?;
        let rank = rank.parse().ok().filter(|rank| *rank < 16)?;
        Some(Self {
            order,
            rank,
            since,
            tenant,
            name,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letter = self.order.letter();
        write!(
            f,
            "{letter}{}/{}/{}/{}",
            self.rank, self.since, self.tenant, self.name
        )
    }
}

impl Order {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Name, Self::State, Self::Since];

    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::State => "state",
            Self::Since => "since",
        }
    }

    fn letter(self) -> &'static str {
        match self {
            Self::Name => "n",
            Self::State => "s",
            Self::Since => "c",
        }
    }
}

/// By state, in the order of [`State::ALL`].
pub type Counts = [u64; State::ALL.len()];

/// How many monitors are in each state, by the values of a label.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Value and counts, by value; the empty value stands for those that lack the label.
    pub groups: Vec<(Arc<str>, Counts)>,
    /// Groups that were left out, since there are more than [`GROUPS_MAX`].
    pub left_out: u64,
}

/// Counts the fitting monitors by the value of a label, of `plugin` or of `tenant`.
#[must_use]
pub fn summary(directory: &Directory, board: &Board, query: &Query, label: &str) -> Summary {
    let bits = fitting(directory, query);
    let scope = match &query.tenant {
        Some(tenant) => directory.of_tenant(tenant),
        None => 0..directory.len(),
    };
    let empty: Arc<str> = "".into();
    let one = |counts: Option<&mut Counts>, standing: Standing| {
        if let Some(count) = counts.and_then(|counts| counts.get_mut(standing.state as usize)) {
            *count += 1;
        }
    };
    let mut groups = Vec::new();
    if label == "tenant" {
        let tenants: Vec<_> = directory.tenants().collect();
        let mut counts = vec![Counts::default(); tenants.len()];
        directory.standings(board, &scope, bits.as_ref(), |row, _, standing| {
            let at = tenants.partition_point(|(_, rows)| rows.end <= row);
            one(counts.get_mut(at), standing);
        });
        groups.extend(tenants.into_iter().map(|(name, _)| Arc::clone(name)).zip(counts));
    } else {
        let values = directory.values(label);
        let all = values.as_ref().map_or(&[][..], Values::all);
        let mut counts = vec![Counts::default(); all.len()];
        let mut without = Counts::default();
        directory.standings(board, &scope, bits.as_ref(), |_, class, standing| {
            match values.as_ref().and_then(|values| values.of(class)) {
                Some(value) => one(counts.get_mut(value), standing),
                None => one(Some(&mut without), standing),
            }
        });
        groups.extend(all.iter().map(Arc::clone).zip(counts));
        groups.push((empty, without));
    }
    groups.retain(|(_, counts)| counts.iter().any(|count| *count > 0));
    groups.sort_unstable();
    let left_out = groups.len().saturating_sub(GROUPS_MAX) as u64;
    groups.truncate(GROUPS_MAX);
    Summary { groups, left_out }
}
