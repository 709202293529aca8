//! Lists held against a model that looks at every monitor by itself.

use super::{
    bits::Bits,
    directory::Directory,
    list::{Cursor, Order, Query, list, rank, summary},
};
use crate::domain::{
    board::{Board, Mark, Marks, Seat},
    health::State,
    job::MonitorId,
    spec::{Draft, MonitorSpec},
    tenant::{DEFAULT, Quotas, Tenant},
    time::Wall,
};
use proptest::prelude::*;
use std::sync::Arc;

struct Model {
    monitors: Vec<(MonitorSpec, State, Marks, u32)>,
    directory: Directory,
    board: Board,
}

/// Of each monitor: tenant, label, state, mark, time.
fn model(recipe: &[(u8, u8, u8, u8, u8)]) -> Model {
    let tenants: Vec<Arc<Tenant>> = [DEFAULT, "acme", "zeta"]
        .map(|name| Arc::new(Tenant::new(name, Quotas::default())))
        .into();
    let board = Board::default();
    let (mut monitors, mut specs, mut seats) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (tenant, label, state, mark, since)) in recipe.iter().enumerate() {
        // Some differ behind the sixteenth byte only, and some in the case of a letter.
        let mut draft = Draft::check(&format!(
            "{}-and-more-{}",
            ["Shop-of-the-town", "a/b", "é"][at % 3],
            at * 7919 % 100
        ));
        draft.tenant = Arc::clone(&tenants[usize::from(*tenant) % 3]);
        if label % 4 > 0 {
            draft.labels = [("site".into(), format!("s{}", label % 4).into())].into();
        }
        let seat = Seat {
            monitor: MonitorId(at as u64),
            slot: u32::try_from(recipe.len() - at).unwrap(),
            tag: 3,
        };
        let state = State::ALL[usize::from(*state) % 7];
        let mut marks = Marks::default();
        marks.set(Mark::ALL[usize::from(*mark) % 4], mark % 5 > 0);
        board.write(seat, state, marks, Wall(u64::from(since % 4) * 1000));
        monitors.push((draft.ready(), state, marks, u32::from(since % 4)));
        specs.push(draft.ready());
        seats.push(seat);
    }
    Model {
        directory: Directory::new(&specs, &seats),
        monitors,
        board,
    }
}

fn called(spec: &MonitorSpec) -> String {
    format!("{}/{}", spec.tenant, spec.name())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pages_hold_what_a_look_at_each_finds(
        recipe in prop::collection::vec(any::<(u8, u8, u8, u8, u8)>(), 0..60),
        selector in prop::sample::select(vec!["", "site=s1", "site!=s1", "site=~\"s[12]\"", "site!~\"s.\"", "tenant=acme", "monitor=~\".*b.*\",site!=\"\"", "plugin=http", "none=\"\"", "none=x"]),
        search in prop::sample::select(vec!["", "SHOP", "acme/", "É", "-1", "nothing"]),
        order in prop::sample::select(Order::ALL.to_vec()),
        state in prop::option::of(0..7_usize),
        mark in prop::option::of(0..4_usize),
        tenant in prop::option::of(prop::sample::select(vec![DEFAULT, "acme", "nobody"])),
        limit in 1..8_usize,
    ) {
        let model = model(&recipe);
        let mut query = Query {
            tenant: tenant.map(Arc::from),
            selector: selector.parse().unwrap(),
            search: search.to_owned(),
            states: state.map(|at| State::ALL[at]).into_iter().collect(),
            marks: mark.map(|at| Mark::ALL[at]).into_iter().collect(),
            order,
            limit,
            cursor: None,
        };
        let mut wanted: Vec<_> = model.monitors.iter().filter(|(spec, state, marks, _)| {
            let shown = if &*spec.tenant.name == DEFAULT { spec.name().to_owned() } else { called(spec) };
            tenant.is_none_or(|tenant| &*spec.tenant.name == tenant)
                && query.selector.matches(spec)
                && shown.to_lowercase().contains(&search.to_lowercase())
                && (query.states.is_empty() || query.states.contains(state))
                && query.marks.iter().all(|mark| marks.has(*mark))
        }).collect();
        let name = |spec: &MonitorSpec| (spec.tenant.name.to_string(), spec.name().to_owned());
        wanted.sort_by_key(|(spec, state, _, since)| match order {
            Order::Name => (0, 0, name(spec)),
            Order::State => (rank(*state), u32::MAX - since, name(spec)),
            Order::Since => (0, u32::MAX - since, name(spec)),
        });
        let mut found = Vec::new();
        loop {
            let page = list(&model.directory, &model.board, &query);
            prop_assert_eq!(page.total, wanted.len() as u64);
            prop_assert!(page.entries.len() <= limit);
            for entry in &page.entries {
                found.push(called(&model.directory.row(entry.row).unwrap().spec));
            }
            let Some(next) = page.next else { break };
            prop_assert_eq!(page.entries.len(), limit);
            // As it goes over the wire.
            query.cursor = Some(Cursor::parse(&next.to_string(), order).unwrap());
        }
        let wanted: Vec<String> = wanted.iter().map(|(spec, ..)| called(spec)).collect();
        prop_assert_eq!(found, wanted);
    }

    #[test]
    fn summaries_add_up(recipe in prop::collection::vec(any::<(u8, u8, u8, u8, u8)>(), 0..60)) {
        let model = model(&recipe);
        for by in ["site", "tenant", "plugin", "none"] {
            let told = summary(&model.directory, &model.board, &Query::default(), by);
            for (value, counts) in &told.groups {
                for (state, count) in State::ALL.iter().zip(counts) {
                    let really = model.monitors.iter().filter(|(spec, is, ..)| {
                        let has = match by {
                            "tenant" => &*spec.tenant.name,
                            "plugin" => "http",
                            label => crate::domain::selector::label(spec.class(), label),
                        };
                        is == state && has == &**value
                    });
                    prop_assert_eq!(*count, really.count() as u64, "{} {}", by, value);
                }
            }
            let all: u64 = told.groups.iter().flat_map(|(_, counts)| counts).sum();
            prop_assert_eq!(all, recipe.len() as u64);
        }
    }
}

#[test]
fn what_comes_and_goes_between_two_pages_leaves_the_others_alone() {
    let recipe: Vec<_> = (0..20).map(|n| (0, n, 1, 0, 0)).collect();
    let before = model(&recipe);
    let query = Query {
        limit: 10,
        ..Query::default()
    };
    let first = list(&before.directory, &before.board, &query);
    let names: Vec<String> = first
        .entries
        .iter()
        .map(|entry| called(&before.directory.row(entry.row).unwrap().spec))
        .collect();
    // The last of the page, after which the next one begins, is gone.
    let last = names.last().unwrap();
    let (mut specs, mut seats) = (Vec::new(), Vec::new());
    for row in (0..before.directory.len()).map(|row| before.directory.row(row).unwrap()) {
        if called(&row.spec) != *last {
            specs.push(row.spec);
            seats.push(row.seat);
        }
    }
    let after = Directory::new(&specs, &seats);
    let rest = list(
        &after,
        &before.board,
        &Query {
            cursor: first.next,
            ..query
        },
    );
    assert_eq!(rest.entries.len(), 10);
    let row = before.directory.place(DEFAULT, last.split_once('/').unwrap().1) + 1;
    assert_eq!(
        called(&after.row(rest.entries[0].row).unwrap().spec),
        called(&before.directory.row(row).unwrap().spec)
    );
}

#[test]
fn bits_know_their_rows() {
    let mut bits = Bits::none(130);
    for row in [0, 63, 64, 129] {
        bits.insert(row);
    }
    bits.insert(130);
    assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
    bits.keep(&Bits::all(130));
    bits.remove(64);
    assert_eq!((bits.count(), bits.has(63), bits.has(64)), (3, true, false));
    assert_eq!(Bits::all(130).count(), 130);
    let mut more = Bits::none(130);
    more.insert(7);
    more.add(&bits);
    assert_eq!(more.count(), 4);
    for rows in [0, 1, 63, 64, 65, 130] {
        let some = Bits::of((0..rows).map(|row| row % 3 == 0));
        let same: Vec<usize> = (0..rows).filter(|row| row % 3 == 0).collect();
        assert_eq!(some.iter().collect::<Vec<_>>(), same);
        assert_eq!(Bits::of((0..rows).map(|_| true)), Bits::all(rows));
    }
}

#[test]
fn who_is_gone_is_not_counted_whether_the_whole_board_is_read_or_a_few_places() {
    let model = model(&vec![(0, 0, 2, 0, 0); 100]);
    let seat = |row: usize| model.directory.seat(row).unwrap();
    model.board.clear(seat(3));
    // Another one has its place by now, which a later directory knows.
    let successor = Seat { tag: 4, ..seat(5) };
    model.board.write(successor, State::Up, Marks::default(), Wall(0));
    for bits in [None, Some(Bits::of((0..100).map(|row| row < 7)))] {
        let (mut rows, scope) = (Vec::new(), 1..100);
        let wanted = |row: &usize| bits.as_ref().is_none_or(|bits| bits.has(*row));
        model
            .directory
            .standings(&model.board, &scope, bits.as_ref(), |row, _, standing| {
                assert_eq!(Some(standing), model.board.read(seat(row)));
                rows.push(row);
            });
        rows.sort_unstable();
        let there = |row: &usize| *row != 3 && *row != 5;
        assert_eq!(rows, (1..100).filter(wanted).filter(there).collect::<Vec<_>>());
    }
}
