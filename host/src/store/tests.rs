//! The store against a database in a folder of its own.

use super::*;
use crate::{
    domain::{
        color::Color,
        deadman::{Kept, Unwritten},
        event::{Event, Fact},
        health::{Effects, Episodes, Health},
        job::{Alert, Incident, MonitorId},
        outcome::{Report, Status},
        saved::Saved,
        spec::MonitorSpec,
        time::{Mono, Now},
    },
    ledger::{self, Record, Sample, State, Verdict, Writer},
    queue::Bell,
};
use std::time::Duration;
use tempfile::TempDir;

fn spec(name: &str) -> MonitorSpec {
    let profile = crate::domain::spec::Profile {
        plugin: "p".into(),
        digest: "1".into(),
        limits: Default::default(),
        grants: Arc::default(),
        reuse: 0,
    };
    MonitorSpec::alone(name, Arc::new(profile), "{}", Duration::from_secs(1))
}

const NOW: Now = Now {
    mono: Mono(1_000_000_000_000),
    wall: Wall(1_700_000_000_000),
};

/// A monitor that has failed once.
fn in_trouble(spec: &MonitorSpec) -> (Health, Incident) {
    let (mut health, mut effects) = (Health::default(), Effects::default());
    let report = Report {
        status: Status::Unhealthy,
        summary: "no".to_owned(),
        reason: Some("connection-refused".to_owned()),
        measurements: Vec::new(),
    };
    health.on_report(
        spec,
        &report,
        NOW.mono,
        NOW,
        &mut Episodes::starting_at(NOW.wall),
        &mut effects,
    );
    let incident = health.incident(spec).unwrap();
    (health, incident)
}

fn state(seq: u64, spec: &MonitorSpec, health: &Health) -> Record {
    let saved = Saved {
        health: health.memory(NOW),
        sinks: Vec::new(),
    };
    Record::State(Box::new(State {
        seq,
        at: NOW.wall,
        key: MonitorKey::of(spec),
        spec: spec.clone(),
        saved: (!saved.is_blank()).then(|| Box::new(saved)),
        urgent: true,
    }))
}

fn fact(spec: &MonitorSpec, fact: Fact) -> Record {
    Record::Fact {
        key: MonitorKey::of(spec),
        event: Box::new(Event {
            at: NOW.wall,
            monitor: MonitorId(1),
            spec: spec.clone(),
            fact,
        }),
    }
}

fn open(folder: &Path) -> Store {
    let settings = StoreSettings {
        // What these tests put down happened long ago.
        incidents: Duration::from_secs(20 * 365 * 86_400),
        ..StoreSettings::default()
    };
    Store::open(folder, settings, Clock::system()).unwrap()
}

fn start(folder: &Path) -> (Writer, Running) {
    let (writer, keeper) = ledger::ledger(Arc::new(Bell::default()));
    (writer, open(folder).start(keeper).unwrap())
}

/// Waits until that is so.
fn until(mut done: impl FnMut() -> bool) {
    // Ten minutes: a machine that is that busy has other troubles.
    for _ in 0..600_000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it never came to that");
}

fn acknowledged(writer: &Writer, seq: u64) {
    until(|| {
        assert!(writer.trouble().is_none(), "{:?}", writer.trouble());
        writer.acknowledged() >= seq
    });
}

#[test]
fn what_is_acknowledged_is_found_again() {
    let folder = TempDir::new().unwrap();
    let spec = spec("shop");
    let (health, incident) = in_trouble(&spec);
    {
        let (writer, running) = start(folder.path());
        writer
            .try_send(fact(
                &spec,
                Fact::Opened {
                    incident: incident.clone(),
                },
            ))
            .unwrap();
        writer.try_send(state(1, &spec, &health)).unwrap();
        acknowledged(&writer, 1);
        let open = running
            .reader()
            .incidents(&Wanted {
                open: Some(true),
                limit: 10,
                ..Wanted::default()
            })
            .unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!((&*open[0].id, &*open[0].summary), (&*incident.id, "no"));
        drop(writer);
        running.stop();
    }
    let mut store = open(folder.path());
    let known = store.recall().unwrap();
    let recalled = &known[&MonitorKey::of(&spec)];
    assert_eq!(
        (&*recalled.name, recalled.saved.health == health.memory(NOW)),
        ("shop", true)
    );
    // It is in no configuration any more.
    store
        .bury(&known.into_iter().collect::<Vec<_>>(), NOW.wall)
        .unwrap();
    assert!(store.recall().unwrap().is_empty());
    let (writer, keeper) = ledger::ledger(Arc::new(Bell::default()));
    let running = store.start(keeper).unwrap();
    let (row, steps) = running.reader().incident(&incident.id).unwrap().unwrap();
    assert_eq!(row.closed_at, Some(NOW.wall));
    let words: Vec<&str> = steps.iter().map(|step| &*step.what).collect();
    assert_eq!(words, ["opened", "removed"]);
    drop(writer);
    running.stop();
}

#[test]
fn an_episode_reads_as_a_story() {
    let folder = TempDir::new().unwrap();
    let spec = spec("shop");
    let (health, incident) = in_trouble(&spec);
    let alert = Arc::new(Alert {
        color: Color::Yellow,
        title: "shop is failing".to_owned(),
        body: String::new(),
        happened_at: NOW.wall,
        reminder: false,
        incident_key: incident.key.clone(),
        cause_id: "c".to_owned(),
        incident: Some(incident.clone()),
    });
    let (writer, running) = start(folder.path());
    let facts = [
        Fact::Opened {
            incident: incident.clone(),
        },
        Fact::Incident {
            incident: incident.clone(),
            failures: 3,
        },
        Fact::Closed {
            id: incident.id.clone(),
            lasted_ms: 2000,
        },
        // A receipt that comes when all is over still belongs to it.
        Fact::Delivered {
            sink: "s".into(),
            alert,
            summary: "ok".to_owned(),
        },
    ];
    for one in facts {
        writer.try_send(fact(&spec, one)).unwrap();
    }
    writer.try_send(state(1, &spec, &Health::default())).unwrap();
    acknowledged(&writer, 1);
    let (row, steps) = running.reader().incident(&incident.id).unwrap().unwrap();
    assert!(row.closed_at.is_some() && row.incident_at.is_some());
    let words: Vec<&str> = steps.iter().map(|step| &*step.what).collect();
    assert_eq!(words, ["opened", "incident", "closed", "delivered"]);
    // A fact that was lost on its way leaves no episode open for ever.
    writer.try_send(state(2, &spec, &health)).unwrap();
    acknowledged(&writer, 2);
    writer.try_send(state(3, &spec, &Health::default())).unwrap();
    acknowledged(&writer, 3);
    let open = Wanted {
        open: Some(true),
        limit: 10,
        ..Wanted::default()
    };
    assert_eq!(running.reader().incidents(&open).unwrap(), []);
    drop(writer);
    running.stop();
}

#[test]
fn checks_are_summed_up_by_span() {
    let folder = TempDir::new().unwrap();
    let (clock, hand) = Clock::manual(Mono(1), Wall(1_700_000_100_000));
    let store = Store::open(folder.path(), StoreSettings::default(), clock.clone()).unwrap();
    let (writer, keeper) = ledger::ledger(Arc::new(Bell::default()));
    let running = store.start(keeper).unwrap();
    let keys: Vec<MonitorKey> = (1..=20_000u64)
        .map(|number| MonitorKey(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let places = (0u32..).zip(&keys).map(|(place, key)| (place, *key)).collect();
    writer.try_send(Record::Places(places)).unwrap();
    for round in 0..4u32 {
        let samples = (0..20_000)
            .map(|place| Sample {
                place,
                took_us: 100 + round,
                verdict: if round == 3 {
                    Verdict::Failed
                } else {
                    Verdict::Alive
                },
            })
            .collect();
        writer
            .try_send(Record::Samples {
                at: clock.wall(),
                samples,
            })
            .unwrap();
        if round == 1 {
            // Two in this span of five minutes, two in the next.
            hand.set_wall(Wall(clock.wall().0 + 300_000));
        }
    }
    drop(writer);
    let reader = running.reader();
    running.stop();
    let all = |span| {
        reader
            .history(keys[7], span, Wall(1_699_900_000_000), Wall(1_700_090_000_000))
            .unwrap()
    };
    let fine = reader
        .history(
            keys[7],
            Span::Fine,
            Wall(1_700_000_000_000),
            Wall(1_700_001_000_000),
        )
        .unwrap();
    let runs: Vec<(u64, u64, u64)> = fine
        .iter()
        .map(|point| (point.runs, point.failures, point.max_us))
        .collect();
    assert_eq!(runs, [(2, 0, 101), (2, 1, 103)]);
    let hours = all(Span::Hour);
    assert_eq!(
        hours
            .iter()
            .map(|point| (point.runs, point.min_us, point.sum_us))
            .collect::<Vec<_>>(),
        [(4, 100, 406)]
    );
    assert_eq!(all(Span::Day).len(), 1);
}

#[test]
fn one_process_at_a_time() {
    let folder = TempDir::new().unwrap();
    let first = open(folder.path());
    let Err(second) = Store::open(folder.path(), StoreSettings::default(), Clock::system()) else {
        panic!("two at once");
    };
    let text = second.to_string();
    assert!(
        text.contains(&format!("process {}", std::process::id())),
        "{text}"
    );
    drop(first);
    open(folder.path());
}

#[test]
fn what_a_later_version_wrote_is_left_alone() {
    let folder = TempDir::new().unwrap();
    drop(open(folder.path()));
    let file = folder.path().join(DATABASE);
    let connection = Connection::open(&file).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&file).unwrap();
    let Err(wrong) = Store::open(folder.path(), StoreSettings::default(), Clock::system()) else {
        panic!("it was opened");
    };
    assert!(
        wrong.to_string().contains("later pulse-host (schema 99"),
        "{wrong}"
    );
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[test]
fn damage_is_told_and_nothing_is_overwritten() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(DATABASE);
    let garbage = b"this is no database, but it was long enough to look like one from afar".repeat(100);
    std::fs::write(&file, &garbage).unwrap();
    let Err(wrong) = Store::open(folder.path(), StoreSettings::default(), Clock::system()) else {
        panic!("it was opened");
    };
    assert!(wrong.to_string().contains("restore a backup"), "{wrong}");
    assert_eq!(std::fs::read(&file).unwrap(), garbage);
}

#[test]
fn while_nothing_can_be_written_the_last_state_waits() {
    let folder = TempDir::new().unwrap();
    let spec = spec("shop");
    let (health, _) = in_trouble(&spec);
    let (writer, running) = start(folder.path());
    // Somebody else holds the database longer than anybody waits for it.
    let other = Connection::open(folder.path().join(DATABASE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    writer.try_send(state(1, &spec, &health)).unwrap();
    until(|| writer.trouble().is_some());
    assert_eq!(writer.acknowledged(), 0);
    writer.try_send(state(2, &spec, &health)).unwrap();
    other.execute_batch("ROLLBACK").unwrap();
    until(|| writer.trouble().is_none());
    acknowledged(&writer, 2);
    assert!(running.written().failures > 0);
    drop(writer);
    running.stop();
    assert_eq!(open(folder.path()).recall().unwrap().len(), 1);
}

#[test]
fn what_is_too_old_is_forgotten() {
    let folder = TempDir::new().unwrap();
    let settings = StoreSettings {
        history_fine: Duration::from_secs(600),
        ..StoreSettings::default()
    };
    let (clock, hand) = Clock::manual(Mono(1), Wall(1_700_000_100_000));
    let key = MonitorKey(7);
    let run = |clock: &Clock| {
        let (writer, keeper) = ledger::ledger(Arc::new(Bell::default()));
        let running = Store::open(folder.path(), settings, clock.clone())
            .unwrap()
            .start(keeper)
            .unwrap();
        writer.try_send(Record::Places(vec![(0, key)])).unwrap();
        let samples = vec![Sample {
            place: 0,
            took_us: 1,
            verdict: Verdict::Alive,
        }];
        writer
            .try_send(Record::Samples {
                at: clock.wall(),
                samples,
            })
            .unwrap();
        let reader = running.reader();
        drop(writer);
        running.stop();
        reader
    };
    run(&clock);
    hand.set_wall(Wall(clock.wall().0 + 3_600_000));
    let reader = run(&clock);
    let of = |span| {
        reader
            .history(key, span, Wall(1_699_999_000_000), Wall(1_700_010_000_000))
            .unwrap()
            .len()
    };
    assert_eq!((of(Span::Fine), of(Span::Hour)), (1, 2));
}

#[test]
fn a_store_in_use_is_checked_and_copied() {
    let folder = TempDir::new().unwrap();
    let spec = spec("shop");
    let (health, incident) = in_trouble(&spec);
    let (writer, running) = start(folder.path());
    writer.try_send(fact(&spec, Fact::Opened { incident })).unwrap();
    writer.try_send(state(1, &spec, &health)).unwrap();
    acknowledged(&writer, 1);
    let store = Inspected::open(folder.path()).unwrap();
    let found = store.check().unwrap();
    assert!(found.is_well() && found.schema == PRESENT);
    assert_eq!((found.monitors, found.open, found.incidents), (1, 1, 1));
    let copy = TempDir::new().unwrap();
    let file = copy.path().join(DATABASE);
    store.backup(&file).unwrap();
    let again = store.backup(&file).unwrap_err();
    assert!(again.to_string().contains("a backup is a new file"), "{again}");
    drop(writer);
    running.stop();
    // What was copied is a store: another host goes on from it.
    assert_eq!(open(copy.path()).recall().unwrap().len(), 1);
    let Err(none) = Inspected::open(&copy.path().join("elsewhere")) else {
        panic!("there is none");
    };
    assert!(none.to_string().starts_with("there is no "), "{none}");
}

#[test]
fn heartbeats_are_found_again() {
    let folder = TempDir::new().unwrap();
    let beats = open(folder.path()).beats().unwrap();
    let (one, two) = (MonitorKey(u64::MAX), MonitorKey(7));
    let kept = |key, at, ever| Kept {
        key,
        at: Wall(at),
        ever,
    };
    let unwritten = |kept: &[Kept], gone: &[MonitorKey]| Unwritten {
        kept: kept.to_vec(),
        gone: gone.to_vec(),
    };
    beats
        .put(&unwritten(&[kept(one, 5, false), kept(two, 6, true)], &[]))
        .unwrap();
    beats.put(&unwritten(&[kept(one, 8, true)], &[two])).unwrap();
    drop(beats);
    let again = open(folder.path()).beats().unwrap();
    assert_eq!(again.all().unwrap(), [kept(one, 8, true)]);
}
