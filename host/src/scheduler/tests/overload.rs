//! More is due than there is room for, or all of it at once.

use super::{races::plain, *};

#[test]
fn first_pulses_are_spread_over_the_interval() {
    let specs = (0..1000).map(|n| spec(&format!("m{n}"))).collect();
    let mut rig = Rig::new(specs, |settings| settings.queues.pulse.capacity = 10_000);
    let mut per_second = Vec::new();
    for _ in 0..10 {
        rig.hand.advance(Duration::from_secs(1));
        rig.run();
        let jobs = rig.take(Kind::Pulse);
        for job in &jobs {
            rig.answer(job, report(Status::Healthy));
        }
        per_second.push(jobs.len());
    }
    assert_eq!(per_second.iter().sum::<usize>(), 1000);
    assert!(
        per_second.iter().all(|count| (60..140).contains(count)),
        "{per_second:?}"
    );
}

#[test]
fn a_full_channel_leaves_lanes_needed_and_the_most_overdue_go_first() {
    let specs = (0..50).map(|n| spec(&format!("m{n}"))).collect();
    let mut rig = Rig::new(specs, |settings| {
        settings.queues.pulse = QueueSettings {
            capacity: 8,
            batch_min: 1,
            batch_max: 3,
            in_flight: 8,
        };
        settings.queue_wait = Duration::from_secs(600);
    });
    rig.pass(10_000);
    let counts = rig.snapshot().kinds.pulse;
    assert_eq!((counts.pending, counts.sent), (8, 8));
    assert!(counts.full >= 1);
    assert_eq!(rig.scheduler.world.resource::<Needed>().0.pulse.len(), 42);
    let mut dues = Vec::new();
    while dues.len() < 50 {
        for job in rig.take(Kind::Pulse) {
            dues.push(job.due);
            rig.answer(&job, report(Status::Healthy));
        }
        rig.run();
    }
    let ms: Vec<u64> = dues.iter().map(|due| due.0.div_ceil(1_000_000)).collect();
    assert!(ms.windows(2).all(|pair| pair[0] <= pair[1]), "{ms:?}");
}

#[test]
fn under_load_no_batch_is_smaller_than_the_least_and_the_rest_of_a_burst_is_not_kept_back() {
    // All are due within less than what counts as a stall.
    let specs = (0..50)
        .map(|n| {
            let mut spec = spec(&format!("m{n}"));
            spec.policy.interval = Duration::from_millis(900);
            spec
        })
        .collect();
    let mut rig = Rig::new(specs, |settings| {
        settings.queues.pulse = QueueSettings {
            capacity: 8,
            batch_min: 3,
            batch_max: 5,
            in_flight: 64,
        };
    });
    rig.hand.advance(Duration::from_millis(900));
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 50 {
        rig.run();
        let batch = rig
            .inlets
            .pulse
            .try_recv()
            .expect("something is due and the channel has room");
        sizes.push(batch.len());
    }
    let (last, full) = sizes.split_last().unwrap();
    assert!(full.iter().all(|size| (3..=5).contains(size)), "{sizes:?}");
    assert!((1..=5).contains(last), "{sizes:?}");
}

#[test]
fn nobody_listening_is_a_full_channel() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    for kind in Kind::ALL {
        rig.scheduler.world.resource::<Outlets>().0.get(kind).close();
    }
    rig.pass(20_000);
    assert_eq!(rig.snapshot().kinds.pulse.sent, 0);
    assert_eq!(rig.scheduler.world.resource::<Needed>().0.pulse.len(), 1);
}

#[test]
fn missed_slots_are_skipped_and_counted_and_lateness_does_not_drift() {
    let mut rig = Rig::new(vec![spec("shop")], |settings| {
        settings.queue_wait = Duration::from_secs(600);
    });
    let first = rig.next(Kind::Pulse);
    rig.answer(&first, report(Status::Healthy));
    // The workers are busy with something else.
    rig.pass(35_000);
    let late = rig.next(Kind::Pulse);
    assert_eq!(late.due, first.due.after(Duration::from_secs(10)));
    rig.answer(&late, report(Status::Healthy));
    let next = rig.next(Kind::Pulse);
    assert_eq!(next.due, first.due.after(Duration::from_secs(40)));
    assert_eq!(rig.snapshot().skipped_slots, 2);
}

/// Neither a plugin whose targets all hang nor a notifier whose receiver does delays the others.
#[test]
fn whoever_hangs_waits_for_himself() {
    let mut specs: Vec<Draft> = (0..100).map(|n| plain(&format!("quick-{n}"), |_| {})).collect();
    specs.extend((0..200).map(|n| {
        let mut spec = plain(&format!("hangs-{n}"), |_| {});
        let check = spec.pulse.as_mut().unwrap();
        check.profile = Arc::new(Profile {
            plugin: "hangs".into(),
            digest: "2".into(),
            ..Arc::into_inner(lane().profile).unwrap()
        });
        spec
    }));
    let mut rig = Rig::new(specs, |settings| {
        settings.queues.pulse.in_flight = 16;
        settings.grace = Duration::from_secs(5);
    });
    let mut latest = Duration::ZERO;
    let mut quick = 0;
    for _ in 0..6_000 {
        rig.hand.advance(Duration::from_millis(10));
        rig.scheduler.run();
        let now = rig.clock.mono();
        for job in rig.take(Kind::Pulse) {
            if job.spec.name().starts_with("quick") {
                quick += 1;
                latest = latest.max(now.since(job.due));
                rig.send(&job, report(Status::Healthy));
            }
        }
    }
    rig.run();
    assert!(quick >= 500, "{quick}");
    assert!(latest <= Duration::from_millis(100), "{latest:?}");
    let counts = rig.snapshot().kinds.pulse;
    assert!(
        counts.pending <= 16 && counts.needed > 100 && counts.lost > 20,
        "{counts:?}"
    );
}
