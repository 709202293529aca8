//! The whole host stands still for a while.

use super::*;

#[test]
fn a_host_that_stood_still_gives_its_workers_their_time_back() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    let pulse = rig.next(Kind::Pulse);
    rig.hand.advance(Duration::from_secs(60));
    rig.run();
    assert!(
        !rig.has(|fact| matches!(fact, Fact::Lost { .. })),
        "nobody had a chance to answer"
    );
    rig.answer(&pulse, report(Status::Healthy));
    assert_eq!(rig.snapshot().healthy, 1);
    let stalls = rig.snapshot();
    assert_eq!((stalls.stalls, stalls.stalled.as_secs()), (1, 59));

    // What does not come although there was time for it is lost.
    let _lost = rig.next(Kind::Pulse);
    rig.hand.advance(Duration::from_secs(60));
    rig.run();
    rig.pass(3_000);
    assert_eq!(rig.snapshot().kinds.pulse.lost, 0);
    rig.pass(2_000);
    assert_eq!(rig.snapshot().kinds.pulse.lost, 1);
}

#[test]
fn time_is_given_back_once() {
    let mut shop = spec("shop");
    let mut quick = lane();
    quick.timeout = Duration::from_millis(500);
    shop.class.sinks = Arc::new([Arc::new(Sink {
        lane: quick,
        ..Arc::into_inner(sink("a")).unwrap()
    })]);
    let mut rig = Rig::new(vec![shop], |settings| settings.tick = Duration::from_secs(1));
    // The code takes the seat of the pulse, whose entry in the wheel comes out in the same stall as its own.
    rig.unhealthy();
    rig.next(Kind::Code);
    rig.pass(2_400);
    rig.hand.advance(Duration::from_secs(5));
    rig.run();
    assert_eq!(rig.snapshot().stalls, 1);
    assert_eq!(rig.snapshot().kinds.code.lost, 0);
    rig.pass(20);
    assert_eq!(
        rig.snapshot().kinds.code.lost,
        1,
        "its deadline moved by one stall, not by two"
    );
}

#[test]
fn what_fell_due_while_the_host_stood_still_is_spread_again() {
    for (stall_s, within_s) in [(5, 5), (60, 10)] {
        let specs = (0..1000).map(|n| spec(&format!("m{n}"))).collect();
        let mut rig = Rig::new(specs, |settings| settings.queues.pulse.capacity = 10_000);
        for _ in 0..1_000 {
            rig.pass(10);
            for job in rig.take(Kind::Pulse) {
                rig.answer(&job, report(Status::Healthy));
            }
        }
        let skipped = rig.snapshot().skipped_slots;
        rig.hand.advance(Duration::from_secs(stall_s));
        let mut per_second = Vec::new();
        for _ in 0..within_s {
            let mut count = 0;
            for _ in 0..100 {
                rig.run();
                let jobs = rig.take(Kind::Pulse);
                count += jobs.len();
                for job in jobs {
                    rig.answer(&job, report(Status::Healthy));
                }
                rig.hand.advance(Duration::from_millis(10));
            }
            per_second.push(count);
        }
        // The usual rate is 100 a second; what was missed comes on top for as long as it was missed, or in place
        // of it where a whole interval was missed.
        assert!(
            per_second.iter().all(|count| *count <= 280),
            "{stall_s} s: {per_second:?}"
        );
        let all: usize = per_second.iter().sum();
        assert!(
            all >= 1000 * usize::try_from(within_s).unwrap() / 10,
            "{per_second:?}"
        );
        let skipped = rig.snapshot().skipped_slots - skipped;
        assert_eq!(skipped > 0, stall_s > 10, "{skipped} slots were missed for good");
    }
}
