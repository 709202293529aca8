//! Killed at any moment, again and again: what receivers and targets have seen agrees with what is on record.
//!
//! `PULSE_HOST_KILLS=200 cargo test -p pulse-host-tests killed_at_any_moment` kills it that often.

use crate::support::{
    host::{Config, Host, alerts, command},
    http::{Reply, Server, status},
};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;

const MONITORS: usize = 12;
/// Fewer than what would pause all interventions.
const BROKEN_AT_ONCE: usize = 4;
const KILLS: usize = 6;

/// What the targets and their engine have seen, in order.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    Check(usize),
    Repair(usize),
}

/// Numbers that look like chance, and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn number(path: &str) -> usize {
    let digits: String = path
        .rsplit("m-")
        .next()
        .unwrap()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

#[test]
fn killed_at_any_moment_it_loses_nothing_and_repeats_no_repair() {
    let kills = match std::env::var("PULSE_HOST_KILLS") {
        Ok(count) => count.parse().expect("PULSE_HOST_KILLS is a number"),
        Err(_) => KILLS,
    };
    let says: Arc<Vec<AtomicU16>> = Arc::new((0..MONITORS).map(|_| AtomicU16::new(200)).collect());
    let ledger = Arc::new(Mutex::new(Vec::new()));
    let (answers, seen) = (Arc::clone(&says), Arc::clone(&ledger));
    let target = Server::start(move |request| {
        let monitor = number(&request.path);
        seen.lock().unwrap().push(Seen::Check(monitor));
        status(answers[monitor].load(Ordering::SeqCst))
    });
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("engine.sock");
    let (healed, seen) = (Arc::clone(&says), Arc::clone(&ledger));
    let engine = Server::start_unix(&socket, move |request| {
        if request.path == "/_ping" {
            return Reply::Answer(200, vec![("api-version", "1.47".to_owned())], "OK".to_owned());
        }
        let monitor = number(&request.path);
        let mut seen = seen.lock().unwrap();
        seen.push(Seen::Repair(monitor));
        // Every other repair helps.
        if seen.iter().filter(|one| **one == Seen::Repair(monitor)).count() % 2 == 0 {
            healed[monitor].store(200, Ordering::SeqCst);
        }
        status(204)
    });
    let monitors: String = (0..MONITORS)
        .map(|number| {
            format!(
                r#"
[[monitor]]
name = "m-{number}"
pulse = {{ plugin = "http", settings = {{ url = "{}" }} }}
intervention = {{ plugin = "docker", max-attempts = 3, cooldown = "100ms", settings = {{ container = "m-{number}", stop-timeout = "1s" }} }}
"#,
                target.url(&format!("/m-{number}"))
            )
        })
        .collect();
    let plugins = format!(
        "[plugins.docker]\ngrants.docker = {{ containers = [\"m-*\"], socket = {:?} }}\n",
        socket.display().to_string()
    );
    let config = Config::new(plugins + &monitors).host("interventions.attempts = 100000");
    let mut chance = Chance(42);
    let mut host = Host::start_in(folder, &config);
    // How many alerts there were when each process ended.
    let mut lives = vec![0];
    for _ in 0..kills {
        for _ in 0..chance.below(BROKEN_AT_ONCE) + 1 {
            says[chance.below(MONITORS)].store(500, Ordering::SeqCst);
        }
        std::thread::sleep(Duration::from_millis(chance.below(900) as u64 + 20));
        let folder = host.kill_keeping_folder();
        lives.push(alerts(folder.path()).len());
        host = Host::start_in(folder, &config);
    }
    for one in says.iter() {
        one.store(200, Ordering::SeqCst);
    }
    // Whoever was told of an incident is told of its end.
    host.wait_for("every incident to end", || {
        let alerts = host.alerts();
        let of = |color: Option<&str>| -> HashSet<String> {
            let fitting = alerts
                .iter()
                .filter(|alert| color.is_none_or(|color| alert["color"] == color));
            fitting
                .map(|alert| alert["incident_key"].as_str().unwrap().to_owned())
                .collect()
        };
        let open = open_on_record(&host);
        (of(None) == of(Some("green")) && open == 0).then_some(())
    });
    let told = host.alerts();
    assert!(!told.is_empty());
    // The same code is the same delivery. Only the next process may repeat what the last one could not note any more.
    lives.push(told.len());
    for life in lives.windows(2) {
        let ids: Vec<&str> = told[life[0]..life[1]].iter().map(id).collect();
        let distinct: HashSet<&&str> = ids.iter().collect();
        assert_eq!(
            distinct.len(),
            ids.len(),
            "one process told something twice: {ids:?}"
        );
    }
    let twice = told.len() - told.iter().map(id).collect::<HashSet<_>>().len();
    let mut greens: HashMap<&str, HashSet<&str>> = HashMap::new();
    for alert in told.iter().filter(|alert| alert["color"] == "green") {
        let key = alert["incident_key"].as_str().unwrap();
        greens.entry(key).or_default().insert(id(alert));
    }
    assert!(
        greens.values().all(|ids| ids.len() == 1),
        "an end that is told twice: {greens:?}"
    );
    // What was told is on record.
    let on_record = incidents(&host);
    let on_record: HashSet<&str> = on_record.iter().map(|one| one["id"].as_str().unwrap()).collect();
    for key in greens.keys() {
        let id = key.rsplit('/').next().unwrap();
        assert!(on_record.contains(id), "{key} was told, and is not on record");
    }
    // Nothing is repaired again before somebody has looked.
    let ledger = ledger.lock().unwrap();
    let mut repairs = 0;
    for monitor in 0..MONITORS {
        let mut looked = true;
        for one in ledger.iter() {
            match one {
                Seen::Check(which) if *which == monitor => looked = true,
                Seen::Repair(which) if *which == monitor => {
                    assert!(
                        looked,
                        "m-{monitor} was repaired twice, and nobody has looked in between"
                    );
                    looked = false;
                    repairs += 1;
                }
                _ => {}
            }
        }
    }
    assert!(repairs > 0, "nothing was ever repaired");
    println!(
        "{kills} kills: {} alerts of {} incidents, {repairs} repairs; {twice} codes were written twice",
        told.len(),
        greens.len()
    );
    drop(engine);
}

fn id(alert: &Value) -> &str {
    alert["delivery_id"].as_str().unwrap()
}

fn open_on_record(host: &Host) -> usize {
    incidents(host)
        .iter()
        .filter(|one| one["closed-at"].is_null())
        .count()
}

fn incidents(host: &Host) -> Vec<Value> {
    let output = command()
        .args(["incidents", "--limit", "1000", "--output", "json", "--data-dir"])
        .arg(host.folder().join("state"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
