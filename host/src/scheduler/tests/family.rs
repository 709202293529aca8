//! Monitors that depend on others.

use super::*;

fn member(name: &str, parents: &[u32]) -> Draft {
    let mut spec = spec(name);
    spec.intervention = None;
    spec.policy.failure_threshold = 2;
    spec.parents = parents.into();
    spec
}

impl Rig {
    /// Goes on by that time; pulses of monitors that `down` names fail, codes are taken. Returns who was told what.
    fn live(&mut self, seconds: u64, down: impl Fn(&str) -> bool) -> Vec<(String, Color)> {
        let mut told = Vec::new();
        for _ in 0..seconds * 10 {
            self.pulses(&down);
            for job in self.take(Kind::Code) {
                told.push((job.spec.name().to_owned(), color(&job)));
                self.send(&job, receipt());
            }
        }
        self.run();
        told
    }

    /// A tenth of a second, in which nobody takes codes.
    fn pulses(&mut self, down: impl Fn(&str) -> bool) {
        self.hand.advance(Duration::from_millis(100));
        self.scheduler.run();
        for job in self.take(Kind::Pulse) {
            let down = down(job.spec.name());
            self.send(
                &job,
                report(if down { Status::Unhealthy } else { Status::Healthy }),
            );
        }
    }

    /// Goes on, and nobody takes codes, until so many wait in the boxes of that monitor.
    fn until_boxed(&mut self, name: &str, codes: usize, down: &[&str]) {
        for _ in 0..1000 {
            self.pulses(|name| down.contains(&name));
            let mut query = self.scheduler.world.query::<&Monitor>();
            let mut monitors = query.iter(&self.scheduler.world);
            let monitor = monitors.find(|monitor| monitor.spec.name() == name).unwrap();
            let boxed = monitor.case.as_ref().map_or(0, |case| case.sinks[0].outbox.len());
            if boxed == codes {
                return;
            }
        }
        panic!("{name} never has {codes} codes");
    }
}

#[test]
fn one_dead_parent_of_three_thousand_children_is_one_page() {
    let children = (0..3000).map(|n| member(&format!("shop-{n}"), &[0]));
    let specs = std::iter::once(member("router", &[])).chain(children).collect();
    let mut rig = Rig::new(specs, |settings| settings.queues.pulse.in_flight = 4000);
    rig.live(12, |_| false);
    let told = rig.live(60, |_| true);
    assert_eq!(told, [("router".to_owned(), Yellow), ("router".to_owned(), Red)]);
    assert_eq!(
        rig.snapshot().states.get("unreachable"),
        Some(&3000),
        "{:?}",
        rig.snapshot().states
    );
    let told = rig.live(60, |_| false);
    assert_eq!(told, [("router".to_owned(), Green)]);
    assert_eq!(rig.snapshot().states.get("up"), Some(&3001));
}

#[test]
fn a_child_that_is_down_by_itself_speaks_when_its_parent_has_answered() {
    let mut rig = Rig::new(vec![member("shop", &[1]), member("router", &[])], |_| {});
    rig.live(12, |_| false);
    let told = rig.live(60, |name| name == "shop");
    assert_eq!(told, [("shop".to_owned(), Yellow), ("shop".to_owned(), Red)]);
    assert!(!rig.has(|fact| matches!(
        fact,
        Fact::State {
            to: State::Unreachable,
            ..
        }
    )));
    assert_eq!(rig.live(60, |_| false), [("shop".to_owned(), Green)]);
}

#[test]
fn what_is_still_true_when_the_parent_is_back_is_said_then() {
    let mut rig = Rig::new(vec![member("shop", &[1]), member("router", &[])], |_| {});
    rig.live(12, |_| false);
    let told = rig.live(60, |_| true);
    assert!(told.iter().all(|(name, _)| name == "router"), "{told:?}");
    let told = rig.live(60, |name| name == "shop");
    assert_eq!(told.first(), Some(&("router".to_owned(), Green)));
    let shop: Vec<Color> = told
        .iter()
        .filter(|(name, _)| name == "shop")
        .map(|(_, color)| *color)
        .collect();
    assert_eq!(shop, [Red], "who hears red needs no yellow for the same");
}

#[test]
fn a_grandchild_is_silent_too_and_one_well_parent_of_two_is_not_enough() {
    let specs = vec![
        member("core", &[]),
        member("edge", &[0]),
        member("other", &[]),
        member("shop", &[1, 2]),
    ];
    let mut rig = Rig::new(specs, |_| {});
    rig.live(12, |_| false);
    let told = rig.live(60, |name| name != "other");
    assert!(told.iter().all(|(name, _)| name == "core"), "{told:?}");
}

/// A parent that is found down just after its child takes the child's unsent codes back.
#[test]
fn codes_that_were_not_sent_yet_are_held_and_dropped_if_the_child_is_well_again() {
    for recovers in [true, false] {
        let specs = vec![member("first", &[]), member("shop", &[2]), member("router", &[])];
        let mut rig = Rig::new(specs, |settings| {
            settings.queues.code.capacity = 1;
            settings.queues.code.batch_max = 1;
        });
        rig.live(12, |_| false);
        // The channel holds one code, that of the first monitor; the others wait.
        rig.until_boxed("first", 1, &["first"]);
        rig.until_boxed("shop", 1, &["first", "shop"]);
        rig.until_boxed("router", 2, &["first", "shop", "router"]);
        let told = rig.live(60, |name| name == "first" || (name == "shop" && !recovers));
        let shop: Vec<Color> = told
            .iter()
            .filter(|(name, _)| name == "shop")
            .map(|(_, color)| *color)
            .collect();
        let expected: &[Color] = if recovers { &[] } else { &[Yellow, Red] };
        assert_eq!(shop, expected, "{told:?}");
        assert_eq!(rig.scheduler.unfinished().codes, 0);
    }
}

/// Whoever waits for his parent waits on, whatever else the new configuration says.
#[test]
fn a_reload_does_not_answer_for_the_parent() {
    let (shop, router) = (member("shop", &[1]), member("router", &[]));
    let mut rig = Rig::new(vec![shop.clone(), router.clone()], |_| {});
    rig.live(12, |_| false);
    // The shop fails, and its router's answer is on its way.
    let asked = loop {
        rig.hand.advance(Duration::from_millis(100));
        rig.scheduler.run();
        let jobs = rig.take(Kind::Pulse);
        let failing = jobs.iter().any(|job| job.spec.name() == "shop");
        for job in &jobs {
            let down = job.spec.name() == "shop";
            rig.send(
                job,
                report(if down { Status::Unhealthy } else { Status::Healthy }),
            );
        }
        if failing {
            break rig.next(Kind::Pulse);
        }
    };
    assert_eq!(asked.spec.name(), "router");
    let other = member("other", &[]);
    let mut moved = shop;
    moved.parents = [2].into();
    let monitors = vec![other.ready(), moved.ready(), router.ready()];
    rig.scheduler.reload(monitors, None);
    rig.pass(200);
    assert!(
        rig.take(Kind::Code).is_empty(),
        "nobody knows yet whose fault it is"
    );
    rig.answer(&asked, report(Status::Unhealthy));
    let told = rig.live(60, |name| name != "other");
    assert!(told.iter().all(|(name, _)| name == "router"), "{told:?}");
}
