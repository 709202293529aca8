//! Counts, one change at a time.

use super::*;

const SETTINGS: CorrelatedSettings = CorrelatedSettings {
    window: Duration::from_secs(60),
    ratio: 0.7,
    monitors_min: 10,
    longest: Duration::from_secs(1800),
};
const OFTEN: Duration = Duration::from_secs(30);

/// Monitors by the queue of their checks.
struct Field {
    correlated: Correlated,
    now: Mono,
    monitors: Vec<(u16, Duration, Standing, Mono)>,
}

impl Field {
    /// So many of each tenant and plugin, all alive.
    fn new(users: &[(&str, usize, Duration)]) -> Self {
        let mut field = Self {
            correlated: Correlated::new(Some(SETTINGS)),
            now: Mono(0),
            monitors: Vec::new(),
        };
        for (flow, (tenant, count, interval)) in (0..).zip(users) {
            field.correlated.bind(flow, &Arc::from(*tenant));
            let monitor = (flow, *interval, Standing::Nothing, Mono::NEVER);
            field.monitors.resize(field.monitors.len() + count, monitor);
        }
        field.pass(1000);
        for place in 0..field.monitors.len() {
            field.set(place, Standing::Alive);
        }
        field
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        self.correlated.turn(self.now);
    }

    fn set(&mut self, place: usize, to: Standing) {
        let (flow, interval, standing, onset) = &mut self.monitors[place];
        let from = std::mem::replace(standing, to);
        self.correlated
            .moves(*flow, *interval, (from, to), onset, self.now);
    }

    /// So many of a queue fail that did not.
    fn fail(&mut self, flow: u16, count: usize) {
        self.change(flow, count, Standing::Alive, Standing::Failing);
    }

    fn heal(&mut self, flow: u16, count: usize) {
        self.change(flow, count, Standing::Failing, Standing::Alive);
    }

    fn change(&mut self, flow: u16, count: usize, from: Standing, to: Standing) {
        let places: Vec<usize> = (0..self.monitors.len())
            .filter(|place| self.monitors[*place].0 == flow && self.monitors[*place].2 == from)
            .take(count)
            .collect();
        assert_eq!(places.len(), count);
        places.into_iter().for_each(|place| self.set(place, to));
    }

    fn news(&mut self) -> Vec<(bool, Option<String>)> {
        self.correlated
            .news
            .drain(..)
            .map(|fact| match fact {
                Fact::RepairsPaused { tenant, .. } => (true, tenant.map(|name| name.to_string())),
                Fact::RepairsResume { tenant, .. } => (false, tenant.map(|name| name.to_string())),
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn of(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[test]
fn most_must_fail_and_enough_of_them() {
    let mut field = Field::new(&[("a", 20, OFTEN)]);
    field.fail(0, 13);
    assert_eq!((field.news(), field.correlated.pauses(0)), (vec![], false));
    field.fail(0, 1);
    assert_eq!(field.news(), [(true, of("a"))], "14 of 20");
    assert!(field.correlated.pauses(0));
    field.fail(0, 6);
    assert_eq!(field.news(), [], "once");
    let mut field = Field::new(&[("few", 9, OFTEN)]);
    field.fail(0, 9);
    assert_eq!(field.news(), []);
}

#[test]
fn what_fails_one_after_the_other_does_not_count_together() {
    let mut field = Field::new(&[("a", 20, OFTEN)]);
    for _ in 0..20 {
        field.fail(0, 1);
        field.pass(20);
    }
    assert_eq!(field.news(), []);
    assert_eq!(field.correlated.all.count.fresh, 2, "what is left of the window");
}

#[test]
fn a_flapping_target_counts_once() {
    let mut field = Field::new(&[("a", 20, OFTEN)]);
    for _ in 0..100 {
        field.fail(0, 1);
        field.heal(0, 1);
    }
    let count = field.correlated.all.count;
    assert_eq!((count.fresh, count.failing, count.alive), (0, 0, 20 * WHOLE));
    assert_eq!(field.news(), []);
}

#[test]
fn where_there_are_several_plugins_more_than_one_must_see_it() {
    let mut field = Field::new(&[("a", 30, OFTEN), ("a", 3, OFTEN)]);
    field.fail(0, 30);
    assert_eq!(field.news(), [], "the other plugin's targets are well");
    field.fail(1, 1);
    assert_eq!(field.news(), [(true, of("a"))]);
    assert!(field.correlated.pauses(0) && field.correlated.pauses(1));
}

#[test]
fn rare_checks_count_as_far_as_they_could_have_been_done() {
    let day = Duration::from_secs(86_400);
    let mut field = Field::new(&[("a", 10, OFTEN), ("a", 1000, day)]);
    field.fail(0, 9);
    field.fail(1, 1);
    assert_eq!(
        field.news(),
        [(true, of("a"))],
        "nobody has looked at the thousand"
    );
}

#[test]
fn it_ends_when_most_are_back_or_after_the_longest_time() {
    let mut field = Field::new(&[("a", 20, OFTEN)]);
    field.fail(0, 20);
    field.pass(600);
    assert_eq!(field.news(), [(true, of("a"))], "as long as they fail");
    field.heal(0, 12);
    assert_eq!(field.news(), []);
    field.heal(0, 2);
    assert_eq!(field.news(), [(false, of("a"))], "6 of 20 still fail");
    assert!(!field.correlated.pauses(0));
    let mut field = Field::new(&[("a", 20, OFTEN)]);
    field.fail(0, 20);
    field.pass(1790);
    assert!(field.correlated.pauses(0));
    field.pass(10);
    assert_eq!(field.news(), [(true, of("a")), (false, of("a"))]);
    field.pass(60);
    assert_eq!(field.news(), [], "it does not begin again by itself");
}

#[test]
fn what_failed_before_does_not_keep_it_up() {
    let mut field = Field::new(&[("a", 40, OFTEN)]);
    field.fail(0, 20);
    field.pass(100);
    assert_eq!(field.news(), [], "half of them");
    field.fail(0, 16);
    assert_eq!(field.news(), [(true, of("a"))], "most of those that were left");
    field.heal(0, 10);
    assert_eq!(field.news(), [(false, of("a"))]);
}

#[test]
fn a_tenant_whose_targets_are_all_down_pauses_itself_alone() {
    let mut field = Field::new(&[("big", 10_000, OFTEN), ("a", 20, OFTEN), ("b", 5, OFTEN)]);
    field.fail(0, 10_000);
    field.fail(1, 5);
    field.fail(2, 1);
    assert_eq!(field.news(), [(true, of("big"))], "they are most of all monitors");
    assert!(field.correlated.pauses(0) && !field.correlated.pauses(1) && !field.correlated.pauses(2));
}

#[test]
fn when_most_tenants_fail_the_small_ones_pause_too_but_for_the_healthy() {
    let mut field = Field::new(&[("a", 8, OFTEN), ("b", 8, OFTEN), ("c", 8, OFTEN), ("d", 3, OFTEN)]);
    for flow in 0..3 {
        field.fail(flow, 8);
    }
    assert_eq!(
        field.news(),
        [(true, None)],
        "each is too small to tell on its own"
    );
    assert!((0..3).all(|flow| field.correlated.pauses(flow)));
    field.fail(3, 1);
    assert!(!field.correlated.pauses(3), "most of its own are well");
    (0..3).for_each(|flow| field.heal(flow, 7));
    assert_eq!(field.news(), [(false, None)]);
}

#[test]
fn a_fault_between_does_not_hide_a_failure() {
    let mut field = Field::new(&[("a", 20, OFTEN)]);
    field.change(0, 20, Standing::Alive, Standing::WasAlive);
    assert_eq!(field.correlated.all.count.alive, 0);
    field.change(0, 20, Standing::WasAlive, Standing::Failing);
    assert_eq!(field.news(), [(true, of("a"))]);
    let mut field = Field::new(&[("a", 20, OFTEN)]);
    field.change(0, 20, Standing::Alive, Standing::Nothing);
    field.change(0, 20, Standing::Nothing, Standing::Failing);
    assert_eq!(
        field.news(),
        [],
        "of what never lived nobody can say that it died"
    );
}

#[test]
fn counts_never_drift() {
    let mut field = Field::new(&[("a", 7, OFTEN), ("b", 9, Duration::from_secs(300))]);
    let all = [
        Standing::Nothing,
        Standing::Alive,
        Standing::Failing,
        Standing::WasAlive,
    ];
    let mut seed = 1_u64;
    for _ in 0..20_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let place = (seed >> 33) as usize % field.monitors.len();
        field.set(place, all[(seed >> 60) as usize % 4]);
        if seed.is_multiple_of(5) {
            field.pass(seed >> 61);
        }
        let fresh = field.monitors.iter().filter(|(_, _, standing, onset)| {
            *standing == Standing::Failing && field.correlated.is_fresh(*onset)
        });
        assert_eq!(field.correlated.all.count.fresh, fresh.count() as u64);
    }
    for place in 0..field.monitors.len() {
        field.set(place, Standing::Alive);
    }
    let count = field.correlated.all.count;
    let rare = field.correlated.weight(Duration::from_secs(300));
    assert_eq!((count.failing, count.fresh), (0, 0));
    assert_eq!(count.alive, 7 * WHOLE + 9 * rare);
    assert_eq!(field.correlated.seen, 2);
    assert_eq!(field.correlated.hit, 0);
}
