//! Configurations that come one after the other while checks run and targets fail: what stays in all of them is checked, told
//! and kept on record as if nothing had been changed.

use crate::support::{
    host::{Config, Host, colors},
    http::{Server, status},
};
use pulse_host::http::{client, tokens::Door};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};
use tempfile::TempDir;

/// Monitors that are the same in every configuration; the first few fail now and then.
const CORE: usize = 60;
const FICKLE: usize = 12;
/// Monitors of every second configuration, before all others in it.
const GUESTS: usize = 40;
/// Monitors that differ from one configuration to the next.
const CHANGED: usize = 20;
const ROUNDS: usize = 15;

/// The configuration of one round. Every fifth has a mistake.
fn configuration(server: &Server, round: usize) -> Config {
    let monitor = |name: String, lines: String| {
        format!(
            "[[monitor]]\nname = {name:?}\npulse = {{ plugin = \"http\", settings = {{ url = {:?} }} }}\n{lines}\n",
            server.url(&format!("/{name}"))
        )
    };
    let guests = if round % 2 == 1 { GUESTS } else { 0 };
    let guests = (0..guests).map(|number| monitor(format!("guest-{number}"), String::new()));
    let changed = (0..CHANGED).map(|number| {
        let lines = format!(
            "interval = \"{}ms\"\nlabels = {{ round = \"{round}\" }}",
            150 + 10 * (round % 7)
        );
        monitor(format!("changed-{number}"), lines)
    });
    let core = (0..CORE).map(|number| monitor(format!("core-{number}"), String::new()));
    let mistake = is_wrong(round).then(|| "[[monitor]]\nnmae = \"x\"\n".to_owned());
    Config::new(
        guests
            .chain(changed)
            .chain(core)
            .chain(mistake)
            .collect::<String>(),
    )
}

fn is_wrong(round: usize) -> bool {
    round % 5 == 4
}

/// What a reload of the files as they are comes to.
fn reloaded(host: &Host) -> Result<Value, String> {
    let door = Door::read(&host.folder().join("state")).unwrap().unwrap();
    client::ask(&door, "POST", "/-/reload", None).map_err(|error| format!("{error:#}"))
}

fn core(name: &Value) -> bool {
    name.as_str().unwrap().starts_with("core-")
}

#[test]
fn reloads_under_load_lose_no_check_no_alert_and_no_history() {
    let says: Arc<Vec<AtomicU16>> = Arc::new((0..FICKLE).map(|_| AtomicU16::new(200)).collect());
    let answers = Arc::clone(&says);
    let server = Server::start(move |request| {
        let number = request.path.strip_prefix("/core-");
        let number: usize = number.map_or(FICKLE, |number| number.parse().unwrap());
        status(
            answers
                .get(number)
                .map_or(200, |says| says.load(Ordering::SeqCst)),
        )
    });
    let host = Host::start_serving(TempDir::new().unwrap(), &configuration(&server, 0));
    for round in 1..=ROUNDS {
        // Some fail from here on, and those of the round before are well again.
        for (number, says) in says.iter().enumerate() {
            says.store(
                if (number + round) % 3 == 0 { 503 } else { 200 },
                Ordering::SeqCst,
            );
        }
        host.rewrite(&configuration(&server, round));
        // It may have found that out by itself.
        let came = reloaded(&host);
        assert_eq!(came.is_err(), is_wrong(round), "{round}: {came:?}");
        if let Err(said) = came {
            assert!(said.contains("nmae"), "{said}");
        }
        // Whoever fails gets to its threshold in some rounds and not in others.
        server.wait_for_more((CORE + CHANGED) * (1 + round % 4));
    }
    for says in says.iter() {
        says.store(200, Ordering::SeqCst);
    }
    host.rewrite(&configuration(&server, 0));
    reloaded(&host).unwrap();
    host.wait_for("everybody to be well", || {
        let list = host.asked("GET", "/api/v1/monitors?limit=1");
        let up = list["states"]["up"].as_u64() == Some((CORE + CHANGED) as u64);
        let open = host.asked("GET", "/api/v1/incidents?open=true");
        (up && open["incidents"].as_array().unwrap().is_empty()).then_some(())
    });
    let figures = crate::probe::ask(&host, "/metrics").1;
    for series in ["pulse_host_jobs_lost_total", "pulse_host_store_lost_total"] {
        for line in figures.lines().filter(|line| line.starts_with(series)) {
            assert!(line.ends_with(" 0"), "{line}");
        }
    }
    let (folder, ended) = host.stop_keeping_folder();
    assert_eq!(ended.status.code(), Some(0));
    for number in FICKLE..CORE {
        let up = format!(" core-{number} is up: ");
        let times = ended.log.iter().filter(|line| line.contains(&up)).count();
        assert_eq!(times, 1, "core-{number} keeps its state");
    }
    // Each incident that somebody was told of is told to its end, nothing is told twice.
    let mut told: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for alert in ended.alerts.iter().filter(|alert| core(&alert["monitor"])) {
        assert!(ids.insert(alert["delivery_id"].as_str().unwrap()), "{alert}");
        let key = alert["incident_key"].as_str().unwrap();
        told.entry(key.rsplit('/').next().unwrap())
            .or_default()
            .push(alert.clone());
    }
    assert!(told.len() > FICKLE, "{told:#?}");
    for (incident, alerts) in &told {
        let colors = colors(alerts);
        assert_eq!(colors.last(), Some(&"green"), "{incident}: {colors:?}");
        assert_eq!(
            colors.iter().filter(|color| **color == "green").count(),
            1,
            "{colors:?}"
        );
    }

    // The next process has it all on record.
    let counts: Vec<usize> = (0..CORE)
        .map(|number| server.count_of(&format!("/core-{number}")))
        .collect();
    let host = Host::start_serving(folder, &configuration(&server, 0));
    let mut on_record = BTreeSet::new();
    let mut page = "/api/v1/incidents?limit=200".to_owned();
    loop {
        let answer = host.asked("GET", &page);
        for incident in answer["incidents"].as_array().unwrap() {
            if core(&incident["monitor"]) {
                on_record.insert(incident["id"].as_str().unwrap().to_owned());
            }
        }
        let Some(next) = answer["next"].as_str() else {
            break;
        };
        page = format!("/api/v1/incidents?limit=200&before={next}");
    }
    let told: BTreeSet<String> = told.keys().map(|&id| id.to_owned()).collect();
    assert_eq!(on_record, told);
    for (number, count) in counts.iter().enumerate() {
        let history = host.asked(
            "GET",
            &format!("/api/v1/monitors/default/core-{number}/history?span=5m"),
        );
        let points = history["points"].as_array().unwrap();
        let runs: u64 = points.iter().map(|point| point["runs"].as_u64().unwrap()).sum();
        assert_eq!(runs, *count as u64, "core-{number}: {history}");
    }
    host.stop();
}
