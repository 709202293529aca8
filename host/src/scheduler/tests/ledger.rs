//! What is put on record, what waits for that, and how another process goes on from there.

use super::*;
use crate::{
    domain::{
        health::{Exhausted, InterventionEnd},
        saved::{MonitorKey, Recalled},
    },
    ledger::{self, Keeper, Next, Record},
};

/// A store that a test tells how far it has got.
struct Shelf {
    keeper: Keeper,
    /// What was handed over last, by monitor; and its number.
    handed: HashMap<MonitorKey, (u64, Option<Recalled>)>,
    /// What is on disk: what a new process would find.
    disk: HashMap<MonitorKey, Recalled>,
    facts: usize,
    samples: usize,
}

impl Shelf {
    /// Takes what was handed over, and keeps it in memory.
    fn take(&mut self) {
        while let Next::Record(record) = self.keeper.next(Duration::ZERO) {
            match record {
                Record::State(state) => {
                    let recalled = state.saved.map(|saved| Recalled {
                        tenant: Arc::clone(&state.spec.tenant.name),
                        name: state.spec.name().into(),
                        // As it is read from a database.
                        saved: serde_json::from_str(&serde_json::to_string(&saved).unwrap()).unwrap(),
                    });
                    self.handed.insert(state.key, (state.seq, recalled));
                }
                Record::Fact { .. } => self.facts += 1,
                Record::Samples { samples, .. } => self.samples += samples.len(),
                Record::Gone { key, .. } => {
                    self.handed.insert(key, (0, None));
                }
                Record::Places(_) => {}
            }
        }
    }

    /// Everything that was handed over is on disk now.
    fn sync(&mut self) {
        self.take();
        let mut last = 0;
        for (key, (seq, recalled)) in self.handed.drain() {
            last = last.max(seq);
            match recalled {
                Some(recalled) => self.disk.insert(key, recalled),
                None => self.disk.remove(&key),
            };
        }
        self.keeper.acknowledge(last);
    }
}

fn rig(specs: Vec<Draft>) -> (Rig, Shelf) {
    let (writer, keeper) = ledger::ledger(Arc::default());
    let shelf = Shelf {
        keeper,
        handed: HashMap::new(),
        disk: HashMap::new(),
        facts: 0,
        samples: 0,
    };
    (Rig::on_record(specs, Some(writer), |_| {}), shelf)
}

/// Another process after that one, which was killed: `later` by the wall clock.
fn again(specs: Vec<Draft>, disk: HashMap<MonitorKey, Recalled>, later: Duration) -> (Rig, Shelf, usize) {
    let (mut rig, shelf) = rig(specs);
    rig.hand.advance(later);
    let recollection = rig.scheduler.recall(disk);
    (rig, shelf, recollection.orphans.len())
}

#[test]
fn no_code_is_sent_and_nothing_is_done_before_it_is_on_record() {
    let (mut rig, mut shelf) = rig(vec![spec("m")]);
    rig.unhealthy();
    rig.pass(2000);
    assert!(rig.take(Kind::Code).is_empty() && rig.take(Kind::Intervention).is_empty());
    shelf.sync();
    rig.run();
    // Its box and the intent went the same way, one after the other or together.
    shelf.sync();
    rig.run();
    let repairs = rig.take(Kind::Intervention);
    assert_eq!(repairs.len(), 1);
    let codes: Vec<Color> = rig.take(Kind::Code).iter().map(color).collect();
    assert_eq!(codes, [Color::Yellow]);
    assert!(shelf.facts >= 2, "its episode and its incident");
    assert_eq!(shelf.samples, 1);
}

#[test]
fn a_monitor_that_is_well_is_not_put_down() {
    let (mut rig, mut shelf) = rig(vec![spec("m")]);
    for _ in 0..5 {
        rig.healthy();
    }
    shelf.sync();
    assert!(shelf.disk.is_empty());
    assert_eq!((shelf.facts, shelf.samples), (0, 5));
}

#[test]
fn what_recovers_is_forgotten_but_for_its_budget() {
    let mut with = spec("with");
    with.class.intervention = None;
    let (mut rig, mut shelf) = rig(vec![with]);
    rig.unhealthy();
    shelf.sync();
    assert_eq!(shelf.disk.len(), 1);
    while rig.deliver() != Color::Red {
        shelf.sync();
    }
    rig.healthy();
    shelf.sync();
    assert_eq!(rig.deliver(), Color::Green);
    rig.pass(1000);
    shelf.sync();
    assert!(shelf.disk.is_empty(), "{:?}", shelf.disk);
}

#[test]
fn a_code_that_was_not_delivered_is_sent_by_the_next_process_under_its_old_id() {
    let specs = || vec![spec("m")];
    let (mut first, mut shelf) = rig(specs());
    first.unhealthy();
    first.pass(20);
    shelf.sync();
    let sent = first.next(Kind::Code);
    let Payload::Code(alert) = &sent.payload else {
        panic!("{:?}", sent.payload);
    };
    // Killed here: nobody knows whether it arrived.
    let (mut second, mut shelf, orphans) = again(specs(), shelf.disk, Duration::from_secs(30));
    assert_eq!(orphans, 0);
    second.run();
    shelf.sync();
    let repeated = second.next(Kind::Code);
    let Payload::Code(again) = &repeated.payload else {
        panic!("{:?}", repeated.payload);
    };
    assert_eq!(again.delivery_id("a"), alert.delivery_id("a"));
    assert_eq!(again, alert);
}

#[test]
fn an_intervention_that_may_have_been_done_is_looked_at_and_not_done_again() {
    let specs = || vec![spec("m")];
    let (mut first, mut shelf) = rig(specs());
    first.unhealthy();
    first.pass(20);
    // Yellow and the intent are on disk; it is killed before or after the intervention ran.
    shelf.sync();
    first.pass(20);
    shelf.sync();
    for sent in [false, true] {
        if sent {
            first.next(Kind::Intervention);
        }
        let (mut second, mut shelf, _) = again(specs(), shelf.disk.clone(), Duration::from_secs(5));
        shelf.sync();
        second.run();
        assert!(second.has(|fact| matches!(
            fact,
            Fact::Intervention {
                number: 1,
                end: InterventionEnd::Unknown(_),
                ..
            }
        )));
        second.pass(500);
        shelf.sync();
        second.run();
        assert!(
            second.take(Kind::Intervention).is_empty(),
            "before a pulse has looked"
        );
        second.healthy();
        for _ in 0..3 {
            shelf.sync();
            second.pass(20);
        }
        let told: Vec<Color> = second.take(Kind::Code).iter().map(color).collect();
        assert_eq!(told, [Color::Yellow], "the first in the box, again");
        assert!(second.take(Kind::Intervention).is_empty(), "it helped");
    }
}

#[test]
fn attempts_and_budgets_count_on() {
    let specs = || vec![spec("m")];
    let (mut first, mut shelf) = rig(specs());
    first.unhealthy();
    let done = |rig: &mut Rig, shelf: &mut Shelf| {
        for _ in 0..200 {
            shelf.sync();
            for job in rig.take(Kind::Code) {
                rig.answer(&job, receipt());
            }
            for job in rig.take(Kind::Pulse) {
                rig.answer(&job, report(Status::Unhealthy));
            }
            if let Some(job) = rig.take(Kind::Intervention).pop() {
                let Payload::Intervention(order) = &job.payload else {
                    panic!("{:?}", job.payload);
                };
                let key = order.idempotency_key.clone();
                let why = "not yet".to_owned();
                rig.answer(
                    &job,
                    Outcome::Answer(Answer::Intervention(Err(ActionFailure::Retryable(why)))),
                );
                rig.pass(20);
                shelf.sync();
                return Some(key);
            }
            rig.pass(100);
        }
        None
    };
    assert!(done(&mut first, &mut shelf).is_some());
    let (mut second, mut shelf, _) = again(specs(), shelf.disk, Duration::from_secs(1));
    let key = done(&mut second, &mut shelf).expect("the second attempt");
    assert!(key.contains("/2/"), "{key}");
    assert_eq!(
        done(&mut second, &mut shelf),
        None,
        "two attempts are all there are"
    );
    assert!(second.has(|fact| matches!(fact, Fact::Exhausted(Exhausted::Attempts))));
}

#[test]
fn when_nothing_can_be_put_on_record_codes_are_sent_and_nothing_is_done() {
    let (mut rig, mut shelf) = rig(vec![spec("m")]);
    rig.unhealthy();
    rig.pass(20);
    shelf.take();
    shelf.keeper.set_trouble(Some("disk full"));
    rig.pass(20);
    let codes: Vec<Color> = rig.take(Kind::Code).iter().map(color).collect();
    assert!(codes.contains(&Color::Yellow), "{codes:?}");
    rig.pass(2000);
    assert!(rig.take(Kind::Intervention).is_empty());
    assert!(rig.has(|fact| matches!(fact, Fact::Exhausted(Exhausted::Unrecorded))));
    assert!(rig.has(|fact| matches!(fact, Fact::Unrecorded { .. })));
    shelf.keeper.set_trouble(None);
    rig.pass(20);
    assert!(rig.has(|fact| matches!(fact, Fact::RecordedAgain { .. })));
}

#[test]
fn what_was_in_trouble_is_looked_at_soon_and_not_all_at_once() {
    let specs = || {
        (0..100)
            .map(|number| spec(&format!("m{number}")))
            .collect::<Vec<_>>()
    };
    let (mut first, mut shelf) = rig(specs());
    for _ in 0..2000 {
        first.pass(10);
        for job in first.take(Kind::Pulse) {
            first.answer(&job, report(Status::Unhealthy));
        }
        shelf.sync();
    }
    assert_eq!(
        shelf.disk.len(),
        100 + usize::from(shelf.disk.contains_key(&MonitorKey::HOST))
    );
    let (mut second, _, _) = again(specs(), shelf.disk, Duration::from_secs(3600));
    let mut seen = 0;
    for _ in 0..120 {
        second.pass(10);
        let now = second.take(Kind::Pulse).len();
        assert!(now < 20, "{now} at once");
        seen += now;
    }
    assert_eq!(seen, 100, "all of them within the retry interval");
    assert_eq!(
        second.snapshot().states.get("down").copied().unwrap_or(0)
            + second.snapshot().states.get("verifying").copied().unwrap_or(0)
            + second.snapshot().states.get("held").copied().unwrap_or(0),
        100
    );
}

#[test]
fn what_is_configured_no_more_is_handed_back() {
    let (mut first, mut shelf) = rig(vec![spec("m"), spec("n")]);
    for _ in 0..1200 {
        first.pass(10);
        for job in first.take(Kind::Pulse) {
            first.answer(&job, report(Status::Unhealthy));
        }
    }
    shelf.sync();
    let (second, _, orphans) = again(vec![spec("n")], shelf.disk, Duration::ZERO);
    assert_eq!(orphans, 1);
    drop(second);
}
