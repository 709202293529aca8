//! What comes at the same moment, in the wrong order, twice, or not in time.

use super::*;

impl Rig {
    /// Sends a result that the scheduler takes with its next run.
    pub(super) fn send(&self, job: &Job, outcome: Outcome) {
        let now = self.clock.mono();
        let result = JobResult {
            key: job.key,
            outcome,
            usage: Usage::default(),
            due: job.due,
            sent: job.sent,
            started: now,
            finished: now,
        };
        assert!(futures_now(self.results.send(vec![result])));
    }

    /// Codes that were delivered, in this order.
    fn delivered(&self) -> Vec<Color> {
        self.facts
            .iter()
            .filter_map(|(_, fact)| match fact {
                Fact::Delivered { alert, .. } => Some(alert.color),
                _ => None,
            })
            .collect()
    }
}

fn code_failure(failure: DeliveryFailure) -> Outcome {
    Outcome::Answer(Answer::Code(Err(failure)))
}

#[test]
fn a_late_receipt_that_comes_together_with_the_next_tries_answer_settles_one_code_only() {
    let answers = [
        receipt(),
        code_failure(DeliveryFailure::Permanent("known already".to_owned())),
        code_failure(DeliveryFailure::Retryable {
            message: "busy".to_owned(),
            after: None,
        }),
        Outcome::Trap("t".to_owned()),
    ];
    for answer in answers {
        let mut rig = Rig::new(vec![spec("shop")], |_| {});
        rig.unhealthy();
        let first = rig.next(Kind::Code);
        let repair = rig.next(Kind::Intervention);
        rig.answer(&repair, done());
        let again = rig.next(Kind::Code);
        assert_eq!((color(&first), color(&again)), (Yellow, Yellow));
        rig.send(&again, answer.clone());
        rig.send(&first, receipt());
        rig.run();
        assert_eq!(rig.delivered(), [Yellow], "{answer:?}");
        assert!(
            !rig.has(|fact| matches!(fact, Fact::Undeliverable { .. })),
            "{answer:?}"
        );
        assert_eq!(rig.deliver(), Cyan, "{answer:?}");
    }
}

/// What the scripted executor does with a job, and when.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Good,
    Middling,
    Bad,
    Useless,
    Trap,
    Refused,
    Expired,
    Lost,
    /// Is answered together with the next that is held.
    Held(bool),
    Twice,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        6 => Just(Turn::Good),
        1 => Just(Turn::Middling),
        4 => Just(Turn::Bad),
        1 => Just(Turn::Useless),
        1 => Just(Turn::Trap),
        1 => Just(Turn::Refused),
        1 => Just(Turn::Expired),
        2 => Just(Turn::Lost),
        3 => any::<bool>().prop_map(Turn::Held),
        1 => Just(Turn::Twice),
    ]
}

fn outcome(kind: Kind, turn: Turn) -> Outcome {
    let text = String::new();
    match (turn, kind) {
        (Turn::Refused, _) => Outcome::NoCapacity(text),
        (Turn::Expired, _) => Outcome::Expired,
        (Turn::Trap, _) => Outcome::Trap(text),
        (Turn::Middling, Kind::Pulse) => report(Status::Degraded),
        (Turn::Bad | Turn::Useless | Turn::Held(false), Kind::Pulse) => report(Status::Unhealthy),
        (Turn::Useless, Kind::Code) => code_failure(DeliveryFailure::Permanent(text)),
        (Turn::Bad | Turn::Middling | Turn::Held(false), Kind::Code) => {
            code_failure(DeliveryFailure::Retryable {
                message: text,
                after: None,
            })
        }
        (Turn::Useless, Kind::Intervention) => {
            Outcome::Answer(Answer::Intervention(Err(ActionFailure::Permanent(text))))
        }
        (Turn::Bad, Kind::Intervention) => {
            Outcome::Answer(Answer::Intervention(Err(ActionFailure::Retryable(text))))
        }
        (Turn::Middling | Turn::Held(false), Kind::Intervention) => {
            Outcome::Answer(Answer::Intervention(Err(ActionFailure::EffectUnknown(text))))
        }
        (_, Kind::Pulse) => report(Status::Healthy),
        (_, Kind::Intervention) => done(),
        (_, Kind::Code) => receipt(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order, and many at once: the figures agree with the lanes (checked after each
    /// run), each code leaves its box once, in its order, and not before it was sent.
    #[test]
    fn any_order_of_results_keeps_lanes_and_boxes_in_order(
        turns in proptest::collection::vec(turn(), 200..800),
        capacity in 1usize..6,
        threshold in 1u32..3,
    ) {
        let specs = (0..3).map(|n| {
            let mut spec = spec(&format!("m{n}"));
            let policy = Policy { failure_threshold: threshold, success_threshold: threshold, ..spec.policy.clone() };
            spec.policy = policy;
            spec.sinks = Arc::new([sink("a"), sink("b")]);
            spec
        }).collect();
        let mut rig = Rig::new(specs, |settings| {
            for kind in Kind::ALL {
                settings.queues.get_mut(kind).capacity = capacity;
            }
        });
        let mut held: Vec<(Job, Outcome)> = Vec::new();
        let mut sent: HashMap<(Arc<str>, Arc<str>), Vec<String>> = HashMap::new();
        let mut turns = turns.into_iter();
        let mut over = 0;
        while over < 6_000 {
            rig.pass(20);
            for kind in Kind::ALL {
                for job in rig.take(kind) {
                    if let Payload::Code(alert) = &job.payload {
                        let name = Arc::clone(&job.spec.sinks[usize::from(job.key.sink)].name);
                        let seen = sent.entry((Arc::<str>::from(job.spec.name()), name)).or_default();
                        match seen.iter().position(|before| *before == alert.cause_id) {
                            None => seen.push(alert.cause_id.clone()),
                            Some(at) => prop_assert_eq!(at + 1, seen.len(), "an older code was sent after a newer one"),
                        }
                    }
                    let turn = turns.next().unwrap_or(Turn::Good);
                    let outcome = outcome(kind, turn);
                    match turn {
                        Turn::Lost => {}
                        Turn::Held(_) => held.push((job, outcome)),
                        Turn::Twice => {
                            rig.send(&job, outcome.clone());
                            rig.send(&job, outcome);
                        }
                        _ => rig.send(&job, outcome),
                    }
                }
            }
            // Long enough for some of them to be given up and sent again meanwhile.
            let oldest = held.first().map_or(Mono::NEVER, |(job, _)| job.due);
            if rig.clock.mono() > oldest.after(Duration::from_millis(5_200)) {
                for (job, outcome) in held.drain(..).rev() {
                    rig.send(&job, outcome);
                }
            }
            over += usize::from(turns.len() == 0);
        }
        rig.run();
        let mut left: HashMap<(Arc<str>, Arc<str>), Vec<String>> = HashMap::new();
        for (monitor, fact) in &rig.facts {
            let (sink, alert, aged) = match fact {
                Fact::Delivered { sink, alert, .. } => (sink, alert, false),
                Fact::Undeliverable { sink, alert, message } => (sink, alert, message.contains("max-age")),
                _ => continue,
            };
            let key = (Arc::clone(monitor), Arc::clone(sink));
            // What was too old before its turn came was never sent.
            if !aged || sent.get(&key).is_some_and(|ids| ids.contains(&alert.cause_id)) {
                left.entry(key).or_default().push(alert.cause_id.clone());
            }
        }
        prop_assert_eq!(left, sent);
        let snapshot = rig.snapshot();
        prop_assert_eq!(snapshot.states.get("up"), Some(&3), "{:?}", snapshot.states);
        prop_assert_eq!(snapshot.outbox, 0);
        prop_assert_eq!(rig.scheduler.unfinished().jobs(), 0);
    }
}

#[test]
fn a_stall_that_outlasts_the_verification_is_no_failed_repair() {
    let mut spec = spec("shop");
    let mut repair = InterventionSpec {
        lane: lane(),
        ..*spec.intervention.take().unwrap()
    };
    repair.max_attempts = 1;
    spec.intervention = Some(Arc::new(repair));
    let mut rig = Rig::new(vec![spec], |_| {});
    rig.unhealthy();
    assert_eq!(rig.deliver(), Yellow);
    let job = rig.next(Kind::Intervention);
    rig.answer(&job, done());
    assert_eq!(rig.deliver(), Cyan);
    rig.hand.advance(Duration::from_secs(60));
    rig.run();
    rig.pass(50);
    assert!(rig.take(Kind::Code).is_empty(), "no pulse has looked since");
    rig.healthy();
    assert_eq!(rig.deliver(), Green);
}

#[test]
fn a_refund_gives_back_the_refused_interventions_own_spend() {
    let mut rig = Rig::new(vec![spec("refused"), spec("repaired")], |settings| {
        settings.interventions = Budget {
            attempts: 2,
            per: Duration::from_secs(30),
        };
    });
    let mut refused: Option<(Job, Mono)> = None;
    let mut repaired = None;
    while repaired.is_none() {
        rig.pass(10);
        for job in rig.take(Kind::Pulse) {
            let first = job.spec.name() == "refused";
            let bad = first || refused.is_some();
            rig.answer(
                &job,
                report(if bad { Status::Unhealthy } else { Status::Healthy }),
            );
        }
        for job in rig.take(Kind::Intervention) {
            if job.spec.name() == "refused" {
                refused = Some((job, rig.clock.mono()));
            } else {
                repaired = Some(rig.clock.mono());
            }
        }
    }
    let ((job, before), after) = (refused.unwrap(), repaired.unwrap());
    assert!(before < after);
    let left = |rig: &mut Rig, at: Mono| {
        rig.scheduler
            .world
            .resource_mut::<Budgets>()
            .interventions
            .left(at)
    };
    assert_eq!(left(&mut rig, after), 0);
    let entity = Entity::from_bits(job.key.monitor.0);
    let attempt = rig.lane(entity, Kind::Intervention, 0).attempt();
    assert_eq!(attempt, job.key.attempt, "not lost yet");
    rig.answer(&job, Outcome::NoCapacity("none".to_owned()));
    assert_eq!(left(&mut rig, after), 1);
    let window = Duration::from_secs(30);
    assert_eq!(
        left(&mut rig, Mono(after.after(window).0 - 1)),
        1,
        "the repair still counts"
    );
    assert_eq!(left(&mut rig, after.after(window)), 2);
}

/// A monitor without repairs.
pub(super) fn plain(name: &str, policy: impl FnOnce(&mut Policy)) -> Draft {
    let mut spec = spec(name);
    policy(&mut spec.policy);
    spec.intervention = None;
    spec
}

#[test]
fn a_check_between_two_slots_does_not_cost_the_next_slot() {
    let mut spec = plain("shop", |policy| policy.retry_interval = policy.interval);
    spec.intervention = Some(Arc::new(InterventionSpec {
        lane: lane(),
        max_attempts: 2,
        cooldown: Duration::from_secs(1),
        verify_window: Duration::from_secs(3),
        budget: Budget {
            attempts: 10,
            per: Duration::from_secs(3600),
        },
    }));
    let mut rig = Rig::new(vec![spec], |_| {});
    rig.unhealthy();
    let job = rig.next(Kind::Intervention);
    rig.answer(&job, done());
    // The window passes before the next slot: a pulse out of turn looks.
    let look = rig.next(Kind::Pulse);
    rig.answer(&look, report(Status::Healthy));
    let next = rig.next(Kind::Pulse);
    let pause = next.due.since(look.due);
    assert!(pause <= Duration::from_secs(10), "nobody looked for {pause:?}");
}

#[test]
fn slots_that_retries_stood_in_for_are_not_skipped() {
    let mut rig = Rig::new(vec![plain("shop", |_| {})], |settings| {
        settings.queue_wait = Duration::from_secs(600);
    });
    // Ten retries of a second each reach beyond the next slot.
    for _ in 0..10 {
        rig.unhealthy();
    }
    rig.healthy();
    rig.healthy();
    assert_eq!(rig.snapshot().skipped_slots, 0);
    let slow = rig.next(Kind::Pulse);
    rig.pass(25_000);
    rig.answer(&slow, report(Status::Unhealthy));
    rig.pass(200);
    assert_eq!(rig.snapshot().skipped_slots, 2, "nothing stood in for these");
}

#[test]
fn a_retry_interval_above_the_interval_replaces_it_too() {
    let mut rig = Rig::new(
        vec![plain("shop", |policy| {
            policy.retry_interval = Duration::from_secs(25)
        })],
        |_| {},
    );
    rig.unhealthy();
    let failed = rig.clock.mono();
    let next = rig.next(Kind::Pulse);
    assert_eq!(next.due, failed.after(Duration::from_secs(25)));
    rig.answer(&next, report(Status::Healthy));
    let regular = rig.next(Kind::Pulse);
    assert!(regular.due.since(next.due) <= Duration::from_secs(10));
    assert_eq!(rig.snapshot().skipped_slots, 0, "none was missed");
}

#[test]
fn a_flapping_target_does_not_fill_the_wheel() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    for _ in 0..100 {
        rig.unhealthy();
        rig.healthy();
        for kind in [Kind::Code, Kind::Intervention] {
            for job in rig.take(kind) {
                rig.answer(&job, if kind == Kind::Code { receipt() } else { done() });
            }
        }
    }
    let kept = rig.scheduler.world.resource::<Alarm>().0.len();
    assert!(kept < 20, "{kept} entries for one monitor");
}

#[test]
fn news_of_the_last_dispatch_are_told_before_the_host_stops() {
    let mut rig = Rig::new(vec![plain("shop", |_| {})], |_| {});
    rig.unhealthy();
    while !rig.has(|fact| matches!(fact, Fact::Undeliverable { .. })) {
        rig.pass(10);
        for job in rig.take(Kind::Code) {
            rig.answer(&job, Outcome::NoCapacity("none".to_owned()));
        }
        for job in rig.take(Kind::Pulse) {
            rig.answer(&job, report(Status::Unhealthy));
        }
    }
    rig.scheduler.drain();
    let left = rig.scheduler.unfinished();
    assert_eq!(
        (left.pending.code, left.codes),
        (0, 0),
        "it was given up at dispatch"
    );
    assert!(left.codes_needed > 0, "and the host's own sinks do not know yet");
    assert_eq!(rig.deliver(), Purple);
    assert_eq!(rig.scheduler.unfinished().codes_needed, 0);
}

#[test]
fn a_flood_of_news_is_cut_and_the_rest_is_counted() {
    let specs = (0..40)
        .map(|n| {
            plain(&format!("m{n}"), |policy| {
                (policy.fault_threshold, policy.interval) = (1, Duration::from_millis(900))
            })
        })
        .collect();
    let mut rig = Rig::new(specs, |settings| {
        settings.queues.pulse.capacity = 1000;
        settings.quarantine = None;
    });
    rig.hand.advance(Duration::from_millis(900));
    rig.run();
    let jobs = rig.take(Kind::Pulse);
    assert_eq!(jobs.len(), 40);
    for job in &jobs {
        rig.send(job, Outcome::Trap("t".to_owned()));
    }
    rig.run();
    let host = rig.scheduler.world.resource::<HostDesk>().entity.unwrap();
    let told = rig
        .scheduler
        .world
        .get::<Monitor>(host)
        .unwrap()
        .case
        .as_ref()
        .unwrap()
        .sinks[0]
        .outbox
        .len();
    assert!(told > 0 && told < 40, "{told}");
    assert_eq!(rig.snapshot().dropped_news as usize, 40 - told);
}

#[test]
fn an_answer_after_the_loss_counts_although_the_next_attempt_was_refused_meanwhile() {
    let mut rig = Rig::new(vec![spec("shop")], |_| {});
    rig.unhealthy();
    rig.deliver();
    let lost = rig.next(Kind::Intervention);
    let refused = loop {
        rig.pass(10);
        for job in rig.take(Kind::Pulse) {
            rig.answer(&job, report(Status::Unhealthy));
        }
        if let Some(job) = rig.take(Kind::Intervention).pop() {
            break job;
        }
    };
    rig.answer(&refused, Outcome::NoCapacity("none".to_owned()));
    rig.answer(&lost, done());
    rig.pass(10);
    let told: Vec<Color> = rig.take(Kind::Code).iter().map(color).collect();
    assert_eq!(told, [Cyan], "the effect is proved");
    for _ in 0..150 {
        rig.pass(10);
        assert!(
            rig.take(Kind::Intervention).is_empty(),
            "done again before a pulse has looked"
        );
    }
}
