//! What operators say of monitors while the host runs.

use super::*;
use crate::{
    domain::{
        board::{Mark, Seat},
        health::State,
    },
    scheduler::control::Checking,
};

impl Rig {
    /// Its only monitor.
    fn seat(&mut self) -> Seat {
        let seats = self.scheduler.take_seats();
        assert_eq!(seats.len(), 1);
        seats[0]
    }

    fn mark(&mut self, seat: Seat, mark: Mark, on: bool) -> usize {
        let changed = self.scheduler.mark(&[seat.monitor], mark, on, "w1");
        self.check();
        changed
    }

    fn stands(&self, seat: Seat) -> (State, Vec<Mark>) {
        let standing = self.scheduler.board().read(seat).unwrap();
        (standing.state, standing.marks.iter().collect())
    }
}

#[test]
fn a_paused_monitor_is_not_checked_and_its_late_answer_is_stale() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let seat = rig.seat();
    let job = rig.next(Kind::Pulse);
    assert_eq!(rig.mark(seat, Mark::Paused, true), 1);
    assert_eq!(rig.mark(seat, Mark::Paused, true), 0, "it was paused before");
    assert_eq!(rig.scheduler.check(seat.monitor), Checking::Paused);
    rig.answer(&job, report(Status::Unhealthy));
    assert_eq!(rig.stands(seat), (State::Unknown, vec![Mark::Paused]));
    rig.pass(60_000);
    assert!(rig.take(Kind::Pulse).is_empty());
    assert_eq!(rig.mark(seat, Mark::Paused, false), 1);
    rig.pass(10);
    let again = rig.take(Kind::Pulse);
    assert_eq!(again.len(), 1, "at once, since nobody knows how it is");
    rig.answer(&again[0], report(Status::Healthy));
    assert_eq!(rig.stands(seat), (State::Up, vec![]));
    assert_eq!(
        rig.scheduler.world.resource::<Tally>().0.skipped_slots,
        0,
        "a pause misses nothing"
    );
    rig.healthy();
}

#[test]
fn maintenance_is_told_on_both_edges_and_keeps_everything_else_quiet() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let seat = rig.seat();
    rig.healthy();
    assert_eq!(rig.mark(seat, Mark::Maintenance, true), 1);
    assert_eq!(rig.deliver(), Color::Gray);
    rig.unhealthy();
    assert_eq!(rig.stands(seat), (State::Down, vec![Mark::Maintenance]));
    rig.pass(500);
    assert!(rig.take(Kind::Code).is_empty() && rig.take(Kind::Intervention).is_empty());
    assert_eq!(rig.mark(seat, Mark::Maintenance, false), 1);
    assert_eq!(rig.deliver(), Color::Gray);
    rig.healthy();
    assert_eq!(rig.stands(seat), (State::Up, vec![]));
}

#[test]
fn a_window_that_recurs_is_told_each_time() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let seat = rig.seat();
    rig.healthy();
    let mut ids = std::collections::HashSet::new();
    for _ in 0..3 {
        for on in [true, false] {
            assert_eq!(rig.mark(seat, Mark::Maintenance, on), 1);
            let job = rig.next(Kind::Code);
            assert!(
                ids.insert(delivery_id(&job)),
                "a receiver would take it for the last one"
            );
            rig.answer(&job, receipt());
            rig.healthy();
            rig.pass(2_000);
            rig.healthy();
        }
    }
}

#[test]
fn who_acknowledges_is_not_reminded_and_hears_of_the_end() {
    let mut shop = spec("shop");
    shop.intervention = None;
    shop.policy.repeat = Some(Duration::from_secs(60));
    let mut rig = Rig::new(vec![shop], |_| {});
    let seat = rig.seat();
    assert_eq!(
        rig.mark(seat, Mark::Acknowledged, true),
        0,
        "there is nothing to take care of"
    );
    rig.unhealthy();
    assert_eq!(rig.deliver(), Color::Red);
    assert_eq!(rig.mark(seat, Mark::Acknowledged, true), 1);
    for _ in 0..130 {
        rig.unhealthy();
    }
    assert!(rig.take(Kind::Code).is_empty(), "somebody takes care of it");
    rig.healthy();
    assert_eq!(rig.deliver(), Color::Green);
    assert_eq!(
        rig.stands(seat),
        (State::Up, vec![]),
        "the next trouble is another one"
    );
}

#[test]
fn a_silenced_monitor_says_nothing_but_that_it_is_well_to_who_heard_of_it() {
    let mut shop = spec("shop");
    shop.intervention = None;
    let mut rig = Rig::new(vec![shop], |_| {});
    let seat = rig.seat();
    rig.mark(seat, Mark::Silenced, true);
    rig.unhealthy();
    rig.healthy();
    rig.pass(500);
    assert!(rig.take(Kind::Code).is_empty(), "nobody was told of anything");
    assert_eq!(rig.scheduler.world.resource::<Tally>().0.silenced_codes, 1);
    rig.mark(seat, Mark::Silenced, false);
    rig.unhealthy();
    assert_eq!(rig.deliver(), Color::Red);
    rig.mark(seat, Mark::Silenced, true);
    rig.healthy();
    assert_eq!(rig.deliver(), Color::Green);
}

#[test]
fn a_check_that_is_wished_for_comes_at_once_and_is_kept_for_who_looks() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let seat = rig.seat();
    rig.healthy();
    assert_eq!(rig.scheduler.check(seat.monitor), Checking::Due);
    rig.pass(10);
    let job = rig.take(Kind::Pulse).remove(0);
    assert_eq!(rig.scheduler.check(seat.monitor), Checking::UnderWay);
    rig.answer(&job, report(Status::Healthy));
    let detail = rig.scheduler.detail(seat.monitor).unwrap();
    assert_eq!(
        (detail.runs.len(), detail.runs[0].class),
        (1, "answer"),
        "the first was not looked at"
    );
    for _ in 0..30 {
        rig.healthy();
    }
    assert_eq!(rig.scheduler.detail(seat.monitor).unwrap().runs.len(), 20);
    for _ in 0..62 {
        rig.healthy();
    }
    assert!(
        rig.scheduler.detail(seat.monitor).unwrap().runs.is_empty(),
        "nobody has looked for ten minutes"
    );
    let host = rig
        .scheduler
        .world
        .resource::<resources::HostDesk>()
        .entity
        .unwrap();
    let host = crate::domain::job::MonitorId(host.to_bits());
    assert!(rig.scheduler.detail(host).is_none());
    assert_eq!(rig.scheduler.check(host), Checking::Gone);
}

#[test]
fn the_board_forgets_who_is_removed() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let seat = rig.seat();
    rig.healthy();
    assert_eq!(rig.stands(seat).0, State::Up);
    rig.scheduler.reload(vec![spec("other").ready()], None);
    let other = rig.seat();
    assert_eq!(rig.scheduler.board().read(seat), None);
    assert_eq!(rig.stands(other).0, State::Unknown);
    assert!(rig.scheduler.detail(seat.monitor).is_none());
}
