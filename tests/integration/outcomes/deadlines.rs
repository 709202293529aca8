//! What a deadline that passes means: the target's failure if the guest waited for it, the prober's trouble otherwise.
//!
//! Most of it goes by a clock that is moved by hand, so that no machine is too slow: what is late is what is made late.
//! Real timers only end what waits.

use super::report;
use crate::support::sandbox::{Lab, Silent, Work, loopback, roomy};
use pulse_host::{
    clock::Clock,
    domain::{
        limits::Limits,
        outcome::{Outcome, Status},
        time::{Mono, Wall},
    },
};
use serde_json::json;
use std::time::Duration;

#[test]
fn who_sleeps_or_computes_blames_nobody() {
    let lab = Lab::new(1, &[]);
    let brief = Duration::from_millis(100);
    let endless = Limits {
        fuel: 1 << 60,
        ..roomy()
    };
    for work in [
        Work::chaos(json!({"do": "sleep", "ms": 1_000_000})),
        Work::chaos(json!({"do": "spin"})).limits(endless),
        Work::chaos(json!({"do": "log-flood", "count": u32::MAX})).limits(endless),
    ] {
        let result = lab.run(&work.timeout(brief));
        assert_eq!(result.outcome, Outcome::Deadline);
        assert!(result.usage.wall >= brief && result.usage.host == Duration::ZERO);
        lab.assert_works("a deadline");
    }
}

/// A call ends a little before the job does, so that the operator reads the plugin's words in place of a bare cut.
#[test]
fn of_a_silent_target_the_guest_has_the_last_word() {
    let (clock, _hand) = Clock::manual(Mono(1), Wall(0));
    let lab = Lab::with_clock(1, &[], clock);
    let target = Silent::new();
    let work = Work::chaos(target.get())
        .grants(loopback())
        .timeout(Duration::from_secs(1));
    let result = lab.run(&work);
    let report = report(&result);
    assert_eq!(
        (report.status, report.reason.as_deref()),
        (Status::Unhealthy, Some("timeout"))
    );
    lab.assert_works("a silent target");
}

/// By a clock that stands still, a call that follows one which timed out is given the same time again: the job's own
/// deadline passes in the middle of it.
#[test]
fn of_a_silent_target_that_is_tried_again_the_deadline_has_it() {
    let (clock, _hand) = Clock::manual(Mono(1), Wall(0));
    let lab = Lab::with_clock(1, &[], clock);
    let target = Silent::new();
    for deed in [
        target.get(),
        json!({"do": "tcp-wait", "address": target.address.to_string()}),
    ] {
        let mut again = deed;
        again["count"] = 2.into();
        let work = Work::chaos(again)
            .grants(loopback())
            .timeout(Duration::from_secs(2));
        assert_eq!(lab.run(&work).outcome, Outcome::DeadlineWaiting);
        lab.assert_works("a silent target");
    }
}

#[test]
fn a_host_that_looks_late_blames_itself() {
    let (clock, hand) = Clock::manual(Mono(1), Wall(0));
    let lab = Lab::with_clock(1, &[], clock);
    let mut target = Silent::new();
    // Nobody knows whether the target answered in time.
    let work = Work::chaos(target.get())
        .grants(loopback())
        .timeout(Duration::from_secs(1));
    let result = lab.run_while(&work, async || {
        target.taken().await;
        hand.advance(Duration::from_secs(10));
    });
    let outcome = result.outcome;
    assert!(
        matches!(&outcome, Outcome::HostError(message) if message.contains("late")),
        "{outcome:?}"
    );
    lab.assert_works("a late host");

    // The same where it is the job's deadline that is seen late: no longer the target's.
    let mut again = work;
    again.settings["count"] = 2.into();
    let again = again.timeout(Duration::from_secs(2));
    let result = lab.run_while(&again, async || {
        target.taken().await;
        target.taken().await;
        hand.advance(Duration::from_secs(10));
    });
    assert_eq!(result.outcome, Outcome::Deadline);
    lab.assert_works("a late host");
}

#[test]
fn a_host_that_refuses_a_call_for_its_own_reasons_says_nothing_about_the_target() {
    let (clock, hand) = Clock::manual(Mono(1), Wall(0));
    let lab = Lab::with_clock(1, &[], clock);
    let target = Silent::new();
    // The guest sleeps, and when it asks for the call its time is up.
    for hides in [false, true] {
        let mut settings = target.get();
        settings["ms"] = 50.into();
        settings["ignore-errors"] = hides.into();
        settings["then"] = "unhealthy".into();
        let work = Work::chaos(settings).grants(loopback());
        let outcome = lab.run_while(&work, async || hand.advance(work.timeout)).outcome;
        assert!(
            matches!(&outcome, Outcome::HostError(message) if message.contains("time was up")),
            "{outcome:?}"
        );
        lab.assert_works("a tainted execution");
    }
    let outcome = lab.run(&Work::of("nobody")).outcome;
    assert!(
        matches!(&outcome, Outcome::HostError(message) if message.contains("`nobody`")),
        "{outcome:?}"
    );
}
