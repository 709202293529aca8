//! Another configuration takes the place of the present one.

use super::*;
use crate::domain::host::QuarantineSettings;
use crate::scheduler::reload::Reloaded;

fn ready(drafts: &[&Draft]) -> Vec<MonitorSpec> {
    drafts.iter().map(|draft| draft.ready()).collect()
}

fn counts(added: usize, changed: usize, kept: usize, removed: usize) -> Reloaded {
    Reloaded {
        added,
        changed,
        kept,
        removed,
    }
}

impl Rig {
    fn reload(&mut self, drafts: &[&Draft]) -> Reloaded {
        let mut host_entry = spec("pulse-host");
        (host_entry.pulse, host_entry.intervention) = (None, None);
        host_entry.sinks = Arc::new([sink("host")]);
        let reloaded = self.scheduler.reload(ready(drafts), Some(host_entry.ready()));
        self.run();
        reloaded
    }
}

#[test]
fn what_says_the_same_keeps_its_slot_its_attempt_and_what_is_out() {
    let (shop, other) = (spec("shop"), spec("other"));
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let job = rig.next(Kind::Pulse);
    assert_eq!(rig.reload(&[&other, &shop]), counts(1, 0, 1, 0));
    rig.answer(&job, report(Status::Healthy));
    assert_eq!(rig.snapshot().kinds.pulse.stale, 0);
    assert_eq!(rig.snapshot().states.get("up"), Some(&1));
    rig.pass(20_000);
    let names: Vec<_> = rig
        .take(Kind::Pulse)
        .iter()
        .map(|job| job.spec.name().to_owned())
        .collect();
    assert!(
        names.contains(&"other".to_owned()) && names.contains(&"shop".to_owned()),
        "{names:?}"
    );
}

#[test]
fn a_changed_check_gives_up_what_is_out_and_comes_again() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let job = rig.next(Kind::Pulse);
    let mut changed = spec("shop");
    changed.pulse.as_mut().unwrap().settings = r#"{"other":1}"#.into();
    assert_eq!(rig.reload(&[&changed]), counts(0, 1, 0, 0));
    rig.answer(&job, report(Status::Unhealthy));
    assert_eq!(
        rig.snapshot().kinds.pulse.stale,
        1,
        "an answer to what is asked no more"
    );
    assert_eq!(rig.snapshot().states.get("unknown"), Some(&1));
    let job = rig.next(Kind::Pulse);
    assert_eq!(job.assignment().unwrap().settings, r#"{"other":1}"#);
}

#[test]
fn a_monitor_that_is_gone_leaves_nothing_behind_and_says_what_it_could_not_say() {
    let mut rig = Rig::new(vec![spec("shop"), spec("other")], |_| {});
    loop {
        rig.pass(10);
        let jobs = rig.take(Kind::Pulse);
        if let Some(job) = jobs.iter().find(|job| job.spec.name() == "shop") {
            rig.answer(&job.clone(), report(Status::Unhealthy));
            break;
        }
    }
    let code = rig.next(Kind::Code);
    assert_eq!(rig.reload(&[&spec("other")]), counts(0, 0, 1, 1));
    assert!(
        rig.has(|fact| matches!(fact, Fact::Undeliverable { message, .. } if message.contains("removed")))
    );
    assert_eq!(rig.snapshot().states.values().sum::<u64>(), 1);
    rig.answer(&code, receipt());
    assert_eq!(rig.snapshot().kinds.code.stale, 1);
}

#[test]
fn codes_follow_their_sink_to_its_new_number_and_those_of_a_lost_sink_are_recorded() {
    let mut shop = spec("shop");
    shop.intervention = None;
    shop.sinks = Arc::new([sink("a"), sink("b")]);
    let mut rig = Rig::new(vec![shop.clone()], |_| {});
    rig.unhealthy();
    rig.pass(10);
    let out = rig.take(Kind::Code);
    assert_eq!(out.len(), 2);
    shop.sinks = Arc::new([sink("b"), sink("c")]);
    assert_eq!(rig.reload(&[&shop]), counts(0, 1, 0, 0));
    assert!(rig.has(|fact| matches!(fact, Fact::Undeliverable { sink, .. } if &**sink == "a")));
    // The answer that still comes belongs to a number that means another sink now: the code is sent again.
    for job in &out {
        rig.answer(job, receipt());
    }
    rig.pass(10);
    let jobs = rig.take(Kind::Code);
    let mut told: Vec<&str> = jobs
        .iter()
        .map(|job| &*job.spec.sinks[usize::from(job.key.sink)].name)
        .collect();
    told.sort_unstable();
    assert_eq!(told, ["b", "host"], "b again, and the host's own sink hears of a");
    for job in &jobs {
        rig.answer(job, receipt());
    }
    assert_eq!(rig.scheduler.unfinished().codes, 0);
}

#[test]
fn a_running_repair_whose_configuration_changes_counts_as_done_perhaps() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    rig.unhealthy();
    rig.deliver();
    let job = rig.next(Kind::Intervention);
    let mut changed = spec("shop");
    let repair = changed.intervention.take().unwrap();
    changed.intervention = Some(Arc::new(InterventionSpec {
        lane: Lane {
            settings: r#"{"other":1}"#.into(),
            ..lane()
        },
        cooldown: Duration::from_secs(7),
        budget: repair.budget,
        ..*repair
    }));
    assert_eq!(rig.reload(&[&changed]), counts(0, 1, 0, 0));
    assert_eq!(
        rig.snapshot().states.get("verifying"),
        Some(&1),
        "a pulse decides before anything is repeated"
    );
    rig.answer(&job, done());
    assert!(rig.has(|fact| matches!(
        fact,
        Fact::Late {
            kind: Kind::Intervention,
            ..
        }
    )));
}

/// The same with another build of its plugins.
fn rebuilt(mut draft: Draft) -> Draft {
    let lane = || {
        let lane = lane();
        Lane {
            profile: Arc::new(Profile {
                digest: "another".into(),
                ..Profile::clone(&lane.profile)
            }),
            ..lane
        }
    };
    let check = draft.class.pulse.as_mut().unwrap();
    check.profile = lane().profile;
    let repair = draft.class.intervention.take().unwrap();
    draft.class.intervention = Some(Arc::new(InterventionSpec {
        lane: lane(),
        budget: repair.budget,
        ..*repair
    }));
    let sinks = draft.class.sinks.iter().map(|sink| {
        Arc::new(Sink {
            lane: lane(),
            name: Arc::clone(&sink.name),
            ..**sink
        })
    });
    draft.class.sinks = sinks.collect();
    draft
}

#[test]
fn another_build_of_a_plugin_lets_the_old_one_finish() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let pulse = rig.next(Kind::Pulse);
    assert_eq!(rig.reload(&[&rebuilt(spec("shop"))]), counts(0, 1, 0, 0));
    rig.answer(&pulse, report(Status::Unhealthy));
    let [code, repair] = [Kind::Code, Kind::Intervention].map(|kind| rig.next(kind));
    assert_eq!(&*code.assignment().unwrap().profile.digest, "another");
    // And back again.
    assert_eq!(rig.reload(&[&spec("shop")]), counts(0, 1, 0, 0));
    rig.answer(&code, receipt());
    rig.answer(&repair, done());
    let snapshot = rig.snapshot();
    assert_eq!(
        [
            snapshot.kinds.pulse.stale,
            snapshot.kinds.intervention.stale,
            snapshot.kinds.code.stale
        ],
        [0; 3]
    );
    assert_eq!(snapshot.states.get("verifying"), Some(&1));
    rig.pass(10);
    let Payload::Code(said) = &code.payload else {
        unreachable!()
    };
    let again = |job: &Job| matches!(&job.payload, Payload::Code(alert) if alert.color == said.color);
    assert!(!rig.take(Kind::Code).iter().any(again), "nothing is said twice");
}

#[test]
fn a_new_build_is_not_blamed_for_what_the_old_one_did() {
    let mut rig = Rig::new(vec![spec("shop")], |settings| {
        settings.quarantine = Some(QuarantineSettings {
            faults_min: 1,
            ..QuarantineSettings::default()
        });
    });
    let pulse = rig.next(Kind::Pulse);
    rig.pass(10);
    rig.reload(&[&rebuilt(spec("shop"))]);
    rig.answer(&pulse, Outcome::Trap("unreachable".to_owned()));
    assert!(!rig.has(|fact| matches!(fact, Fact::Quarantined { .. })));
    let pulse = rig.next(Kind::Pulse);
    rig.answer(&pulse, Outcome::Trap("unreachable".to_owned()));
    assert!(rig.has(|fact| matches!(fact, Fact::Quarantined { digest, .. } if &**digest == "another")));
}

#[test]
fn a_pulse_that_is_in_the_wheel_twice_is_moved_once_by_a_stall() {
    let mut changed = spec("shop");
    changed.class.pulse.as_mut().unwrap().timeout = Duration::from_secs(3);
    let mut rig = Rig::new(vec![spec("shop")], |settings| {
        settings.tick = Duration::from_secs(1)
    });
    assert_eq!(rig.reload(&[&changed]), counts(0, 1, 0, 0));
    let at = |rig: &Rig| {
        let mut views = rig.scheduler.monitors().filter_map(|id| rig.scheduler.view(id));
        let shop = views.find(|view| view.spec().name() == "shop").unwrap();
        shop.pulse().at
    };
    let due = at(&rig);
    while rig.clock.mono().after(Duration::from_millis(500)) < due {
        rig.pass(10);
    }
    rig.hand.advance(Duration::from_secs(5));
    rig.run();
    assert_eq!(rig.snapshot().stalls, 1);
    assert!(
        at(&rig).since(due) < Duration::from_secs(5),
        "moved by {:?}",
        at(&rig).since(due)
    );
}
