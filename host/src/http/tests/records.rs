//! What is on record, with a store behind it.

use super::*;
use crate::{
    domain::{
        event::{Event, Fact},
        host::StoreSettings,
        job::{Incident, MonitorId},
        saved::MonitorKey,
        time::Wall,
    },
    ledger::{self, Place, Record, Sample, Verdict},
    queue::Bell,
    store::Store,
};
use tempfile::TempDir;

const AT: Wall = Wall(1_700_000_000_000);
/// The begin of the five minutes in which that lies.
const SPAN: &str = "2023-11-14T22:10:00Z";

/// A store with an open and an ended incident of `default/shop`, one of `acme/shop`, an event of each, and two checks.
pub fn recorded(folder: &TempDir) -> Reader {
    let days = |days: u64| Duration::from_secs(days * 86_400);
    let settings = StoreSettings {
        // It happened long ago.
        incidents: days(20 * 365),
        history_fine: days(20 * 365),
        ..StoreSettings::default()
    };
    let (writer, keeper) = ledger::ledger(Arc::new(Bell::default()));
    let running = Store::open(folder.path(), settings, Clock::system())
        .unwrap()
        .start(keeper)
        .unwrap();
    let monitors = monitors();
    let (own, acme) = (&monitors[0], &monitors[1]);
    let fact = |spec: &MonitorSpec, fact| Record::Fact {
        key: MonitorKey::of(spec),
        event: Box::new(Event {
            at: AT,
            monitor: MonitorId(1),
            spec: spec.clone(),
            fact,
        }),
    };
    let opened = |id: &str| Fact::Opened {
        incident: Incident {
            id: id.to_owned(),
            key: "k".to_owned(),
            opened_at: AT,
            summary: "<b>no</b>".to_owned(),
            reason: "refused".to_owned(),
        },
    };
    let purple = || Fact::Purple {
        faults: 3,
        message: "no".to_owned(),
    };
    for record in [
        fact(own, purple()),
        fact(acme, purple()),
        fact(own, opened("a1")),
        fact(
            own,
            Fact::Closed {
                id: "a1".to_owned(),
                lasted_ms: 2000,
            },
        ),
        fact(acme, opened("b2")),
        fact(own, opened("c3")),
        Record::Places(vec![Place {
            place: 0,
            key: MonitorKey::of(own),
            quantiles: true,
        }]),
        Record::Samples {
            at: AT,
            samples: [(1000, Verdict::Alive), (3000, Verdict::Failed)]
                .map(|(took_us, verdict)| Sample {
                    place: 0,
                    took_us,
                    verdict,
                })
                .into(),
        },
    ] {
        writer.try_send(record).unwrap();
    }
    drop(writer);
    let reader = running.reader();
    running.stop();
    reader
}

fn ids<'v>(body: &'v Value, of: &str) -> Vec<&'v str> {
    let rows = body[of].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn incidents_are_told_by_the_page_and_step_by_step() {
    let folder = TempDir::new().unwrap();
    let site = site_with(HttpSettings::default(), Some(recorded(&folder)));
    let list = async |rest: &str| get(&site, &format!("/api/v1/incidents{rest}")).await.json();
    let first = list("?limit=2").await;
    assert_eq!(ids(&first, "incidents"), ["c3", "b2"]);
    assert_eq!(first["next"], "b2");
    let rest = list("?limit=2&before=b2").await;
    assert_eq!(
        (ids(&rest, "incidents"), &rest["next"]),
        (vec!["a1"], &Value::Null)
    );
    assert_eq!(ids(&list("?open=true").await, "incidents"), ["c3", "b2"]);
    assert_eq!(ids(&list("?open=false").await, "incidents"), ["a1"]);
    assert_eq!(ids(&list("?tenant=acme").await, "incidents"), ["b2"]);
    assert_eq!(
        ids(&list("?monitor=default/shop").await, "incidents"),
        ["c3", "a1"]
    );
    assert!(ids(&list("?monitor=default/other").await, "incidents").is_empty());
    let one = get(&site, "/api/v1/incidents/a1").await.json();
    assert_eq!(
        (&one["opened_at"], &one["incident_at"], &one["summary"]),
        (&"2023-11-14T22:13:20Z".into(), &Value::Null, &"<b>no</b>".into())
    );
    let timeline = one["timeline"].as_array().unwrap();
    assert_eq!(
        (timeline.len(), &timeline[0]["what"], &timeline[1]["line"]),
        (2, &"opened".into(), &"over after 2s".into())
    );
    assert_eq!(timeline[0]["detail"]["reason"], "refused");
    for (path, status, wrong) in [
        ("?limit=1001", StatusCode::BAD_REQUEST, "limit: 1 to 1000"),
        ("?before=xyz", StatusCode::BAD_REQUEST, "before: the id"),
        ("?open=maybe", StatusCode::BAD_REQUEST, "open"),
        ("?monitor=shop", StatusCode::BAD_REQUEST, "monitor: TENANT/NAME"),
        ("/ff", StatusCode::NOT_FOUND, "no incident ff"),
        ("/xyz", StatusCode::NOT_FOUND, "no incident xyz"),
    ] {
        let answer = get(&site, &format!("/api/v1/incidents{path}")).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text.contains(wrong), "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn events_and_sums_of_checks_are_told() {
    let folder = TempDir::new().unwrap();
    let site = site_with(HttpSettings::default(), Some(recorded(&folder)));
    let events = get(&site, "/api/v1/events?limit=1").await.json();
    assert_eq!(
        (&events["events"][0]["what"], &events["events"][0]["tenant"]),
        (&"purple".into(), &"acme".into())
    );
    let next = events["next"].as_i64().unwrap();
    let events = get(&site, &format!("/api/v1/events?before={next}")).await.json();
    assert_eq!(
        (&events["events"][0]["tenant"], &events["next"]),
        (&"default".into(), &Value::Null)
    );
    let path = "/api/v1/monitors/default/shop/history";
    let told = get(&site, &format!("{path}?from={SPAN}&to=2023-11-14T23:00:00Z"))
        .await
        .json();
    assert_eq!(
        told,
        serde_json::json!({ "span": "5m", "points": [{
            "at": SPAN, "runs": 2, "failures": 1, "faults": 0, "min_us": 1000, "mean_us": 2000, "max_us": 3000, "p50_us": 1007, "p95_us": 3007, "p99_us": 3007,
        }] })
    );
    let now = get(&site, path).await.json();
    assert_eq!(
        now["points"],
        serde_json::json!([]),
        "of the last day there is nothing"
    );
    for (query, wrong) in [
        ("?span=2m", "span: one of 5m, 1h, 1d"),
        ("?from=yesterday", "from: a time since 1970"),
        ("?to=1960-01-01T00:00:00Z", "to: a time since 1970"),
        (
            "?from=2023-01-01T00:00:00Z&to=2024-01-01T00:00:00Z",
            "1000 are the most",
        ),
        ("?from=2024-01-01T00:00:00Z&to=2023-01-01T00:00:00Z", "behind"),
    ] {
        let answer = get(&site, &format!("{path}{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.text.contains(wrong), "{query}: {}", answer.text);
    }
    let none = get(&site, "/api/v1/monitors/default/none/history").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_tenant_reads_its_own_only() {
    let folder = TempDir::new().unwrap();
    let settings = HttpSettings {
        tokens: vec![token("acme", Role::Admin, Some("acme"))],
        ..HttpSettings::default()
    };
    let site = site_with(settings, Some(recorded(&folder)));
    let shown = [("authorization", "Bearer acme")];
    let ask = async |path: &str| ask(&site, "GET", path, AWAY, &shown).await;
    let incidents = ask("/api/v1/incidents").await.json();
    assert_eq!(ids(&incidents, "incidents"), ["b2"]);
    let events = ask("/api/v1/events").await.json();
    assert_eq!(events["events"].as_array().unwrap().len(), 1);
    assert_eq!(ask("/api/v1/incidents/b2").await.status, StatusCode::OK);
    // What is another one's is as if it were not there.
    let (others, nobodys) = (
        ask("/api/v1/incidents/a1").await,
        ask("/api/v1/incidents/a2").await,
    );
    assert_eq!(others.text.replace("a1", "a2"), nobodys.text);
    for path in [
        "/api/v1/incidents/a1",
        "/api/v1/incidents?tenant=default",
        "/api/v1/incidents?monitor=default/shop",
        "/api/v1/events?tenant=default",
        "/api/v1/monitors/default/shop/history",
    ] {
        assert_eq!(ask(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn without_a_store_that_is_said() {
    let site = site(HttpSettings::default());
    for path in ["/api/v1/incidents", "/api/v1/incidents/a1", "/api/v1/events"] {
        let answer = get(&site, path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.text.contains("[host.store]"), "{}", answer.text);
    }
    let folder = TempDir::new().unwrap();
    let reader = recorded(&folder);
    std::fs::write(
        folder.path().join(crate::store::DATABASE),
        "no database at all, but long enough to be one",
    )
    .unwrap();
    let site = site_with(HttpSettings::default(), Some(reader));
    let answer = get(&site, "/api/v1/incidents").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    assert!(answer.text.contains("store check"), "{}", answer.text);
}
