//! The running program and monitors that are put over its API.

use crate::support::{
    host::{Config, Host},
    http::{Reply, Server, status},
};
use pulse_host::http::{
    client::{self, Answer},
    tokens::Door,
};
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tempfile::TempDir;

const TEMPLATE: &str = "[templates.web]\npulse = { plugin = \"http\" }\n";

/// A file's own monitor, which is on line 3 of what a configuration ends with.
fn filed(server: &Server) -> String {
    format!(
        "{TEMPLATE}[[monitor]]\nname = \"filed\"\nuse = [\"web\"]\npulse.settings = {{ url = \"{}\" }}\n",
        server.url("/filed")
    )
}

fn document(server: &Server, path: &str) -> Value {
    json!({ "use": ["web"], "pulse": { "settings": { "url": server.url(path) } } })
}

fn send(host: &Host, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let door = Door::read(&host.folder().join("state")).unwrap().unwrap();
    client::send(&door, method, path, fields, body.into()).unwrap()
}

#[track_caller]
fn asked(host: &Host, method: &str, path: &str, body: &str, expected: u16) -> Value {
    let answer = send(host, method, path, &[], body);
    assert_eq!(
        answer.status.as_u16(),
        expected,
        "{method} {path}: {}",
        answer.body
    );
    answer.body
}

fn total(host: &Host) -> u64 {
    host.asked("GET", "/api/v1/monitors?limit=1")["total"]
        .as_u64()
        .unwrap()
}

#[test]
fn a_monitor_that_was_put_is_checked_and_outlasts_a_kill() {
    let fails = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&fails);
    let server = Server::start(move |request| {
        let fails = seen.load(Ordering::Relaxed) && request.path == "/shop";
        status(if fails { 500 } else { 200 })
    });
    let config = Config::new(filed(&server));
    let host = Host::start_serving(TempDir::new().unwrap(), &config);
    let path = "/api/v1/monitors/default/shop";
    let body = document(&server, "/shop").to_string();
    let created = asked(&host, "PUT", path, &body, 201);
    assert_eq!(created["outcome"], "created");
    host.wait_for("a check", || (server.count_of("/shop") > 0).then_some(()));
    assert_eq!(asked(&host, "PUT", path, &body, 200)["outcome"], "unchanged");
    for (name, value) in [("if-none-match", "*"), ("if-match", "\"other\"")] {
        let answer = send(&host, "PUT", path, &[(name, value)], &body);
        assert_eq!(answer.status.as_u16(), 412, "{}", answer.body);
    }
    let etag = format!("\"{}\"", created["etag"].as_str().unwrap());
    let mut other = document(&server, "/shop");
    other["labels"] = json!({ "a": "b" });
    let other = other.to_string();
    let answer = send(&host, "PUT", path, &[("if-match", &etag)], &other);
    assert_eq!(answer.body["outcome"], "replaced", "{}", answer.body);
    fails.store(true, Ordering::Relaxed);
    let incident = host.wait_for("an incident", || {
        let shop = host.asked("GET", path);
        (shop["state"] == "down").then(|| shop["incident"]["id"].clone())
    });
    let folder = host.kill_keeping_folder();
    let host = Host::start_serving(folder, &config);
    let shop = host.asked("GET", path);
    assert_eq!(shop["incident"]["id"], incident, "{shop}");
    assert_eq!(shop["managed_by"]["kind"], "api");
    assert_eq!(shop["managed_by"]["document"]["labels"], json!({ "a": "b" }));
    assert_eq!(asked(&host, "DELETE", path, "", 200)["removed"], 1);
    asked(&host, "GET", path, "", 404);
    asked(&host, "DELETE", path, "", 404);
    let folder = host.kill_keeping_folder();
    assert_eq!(total(&Host::start_serving(folder, &config)), 1);
}

#[test]
fn many_are_put_all_or_none() {
    let server = Server::start(|_| status(200));
    let host = Host::start_serving(TempDir::new().unwrap(), &Config::new(filed(&server)));
    let path = "/api/v1/monitors/default";
    let named = |number: u32| {
        let mut document = document(&server, &format!("/m{number}"));
        document["name"] = format!("m{number}").into();
        document["interval"] = "1m".into();
        document.to_string()
    };
    let lines =
        |numbers: std::ops::Range<u32>| numbers.map(|number| named(number) + "\n").collect::<String>();
    let tried = asked(
        &host,
        "POST",
        &format!("{path}?dry-run=true"),
        &lines(0..1000),
        200,
    );
    assert_eq!((&tried["created"], total(&host)), (&json!(1000), 1));
    let done = asked(&host, "POST", path, &lines(0..1000), 200);
    assert_eq!((&done["created"], total(&host)), (&json!(1000), 1001));
    // Every mistake is told, and none of the others is put.
    let wrong = format!(
        "{}{}\nnonsense\n{}\n{}\n",
        lines(1000..1010),
        json!({ "name": "a", "use": ["none"] }),
        named(1000),
        named(1).replace("\"m1\"", "\"filed\""),
    );
    let told = asked(&host, "POST", path, &wrong, 422);
    let told: Vec<(&str, u64)> = told["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["id"].as_str().unwrap(), error["line"].as_u64().unwrap()))
        .collect();
    for expected in [
        ("syntax", 12),
        ("duplicate-name", 13),
        ("unknown-template", 11),
        ("duplicate-name", 14),
    ] {
        assert!(told.contains(&expected), "{expected:?}: {told:?}");
    }
    assert_eq!(total(&host), 1001);
    let rest: Vec<Value> = (990..1010)
        .map(|number| serde_json::from_str(&named(number)).unwrap())
        .collect();
    let rest = serde_json::to_string_pretty(&rest).unwrap();
    let done = asked(&host, "POST", &format!("{path}?mode=replace"), &rest, 200);
    assert_eq!(
        (
            &done["created"],
            &done["removed"],
            &done["unchanged"],
            &done["replaced"]
        ),
        (&json!(10), &json!(990), &json!(0), &json!(10)),
        "written otherwise is another document"
    );
    assert_eq!(total(&host), 21);
    let page = host.asked("GET", "/api/v1/documents?limit=2&after=default/m1008");
    assert_eq!(page["documents"][0]["name"], "m1009", "{page}");
}

#[test]
fn what_a_file_says_is_the_files() {
    let server = Server::start(|_| status(200));
    let config = Config::new(filed(&server));
    let host = Host::start_serving(TempDir::new().unwrap(), &config);
    let path = "/api/v1/monitors/default/filed";
    let by = host.asked("GET", path)["managed_by"].clone();
    let place = format!("{}:{}", by["file"].as_str().unwrap(), by["line"]);
    assert!(place.contains("pulse-host.toml:"), "{by}");
    for (method, body) in [
        ("PUT", document(&server, "/x").to_string()),
        ("DELETE", String::new()),
    ] {
        let told = asked(&host, method, path, &body, 409);
        assert!(told["detail"].as_str().unwrap().contains(&place), "{told}");
    }
    // A file takes what was put: while the host runs that is refused, when it starts the file goes first.
    asked(
        &host,
        "PUT",
        "/api/v1/monitors/default/shop",
        &document(&server, "/put").to_string(),
        201,
    );
    asked(
        &host,
        "PUT",
        "/api/v1/monitors/default/other",
        &document(&server, "/other").to_string(),
        201,
    );
    let more = format!(
        "{}[[monitor]]\nname = \"shop\"\nuse = [\"web\"]\npulse.settings = {{ url = \"{}\" }}\n",
        filed(&server),
        server.url("/written")
    );
    let taken = Config::new(more);
    host.rewrite(&taken);
    let told = asked(&host, "POST", "/-/reload", "", 422);
    let told = told["detail"].as_str().unwrap();
    assert!(
        told.contains("default/shop (API)") && told.contains("pulse-host.toml"),
        "{told}"
    );
    let put = server.count_of("/put");
    host.wait_for("what was put", || (server.count_of("/put") > put).then_some(()));
    let (folder, _) = host.stop_keeping_folder();
    let host = Host::start_serving(folder, &taken);
    host.wait_for("what the file says", || {
        (server.count_of("/written") > 0).then_some(())
    });
    host.wait_for_log("default/shop, which was put over the API, is set aside");
    let aside = host.asked("GET", "/api/v1/documents?set-aside=true");
    assert_eq!(aside["documents"].as_array().unwrap().len(), 1, "{aside}");
    assert!(
        aside["documents"][0]["set_aside"]
            .as_str()
            .unwrap()
            .contains("shop")
    );
    let shop = host.asked("GET", "/api/v1/monitors/default/shop");
    assert_eq!(shop["managed_by"]["kind"], "file", "{shop}");
    let events = host.asked("GET", "/api/v1/events");
    let events = events["events"].as_array().unwrap();
    assert!(
        events.iter().any(|event| event["what"] == "set-aside"),
        "{events:?}"
    );
    assert_eq!(total(&host), 3);
    // And nothing is lost.
    host.rewrite(&config);
    asked(&host, "POST", "/-/reload", "", 200);
    let shop = host.asked("GET", "/api/v1/monitors/default/shop");
    assert_eq!(shop["managed_by"]["kind"], "api", "{shop}");
}

#[test]
fn a_template_that_is_gone_takes_no_other_monitor_with_it() {
    let server = Server::start(|_| status(200));
    let config = Config::new(filed(&server));
    let host = Host::start_serving(TempDir::new().unwrap(), &config);
    asked(
        &host,
        "PUT",
        "/api/v1/monitors/default/shop",
        &document(&server, "/put").to_string(),
        201,
    );
    let gone = Config::new(format!(
        "[[monitor]]\nname = \"filed\"\npulse = {{ plugin = \"http\", settings = {{ url = \"{}\" }} }}\n",
        server.url("/filed")
    ));
    host.rewrite(&gone);
    let told = asked(&host, "POST", "/-/reload", "", 422);
    assert!(
        told["detail"].as_str().unwrap().contains("default/shop (API)"),
        "{told}"
    );
    let (folder, _) = host.stop_keeping_folder();
    let host = Host::start_serving(folder, &gone);
    assert_eq!(total(&host), 1);
    asked(&host, "GET", "/api/v1/monitors/default/shop", "", 404);
    host.wait_for_log("there is no template `web`");
    assert_eq!(
        asked(&host, "DELETE", "/api/v1/monitors/default/shop", "", 200)["removed"],
        1
    );
}

#[test]
fn without_a_store_nothing_is_taken() {
    let server = Server::start(|_| Reply::Close);
    let config = Config::new(filed(&server)).host("store.enabled = false");
    let host = Host::start_serving(TempDir::new().unwrap(), &config);
    let path = "/api/v1/monitors/default/shop";
    let told = asked(&host, "PUT", path, &document(&server, "/put").to_string(), 501);
    assert!(told["detail"].as_str().unwrap().contains("data-dir"), "{told}");
    asked(&host, "GET", path, "", 404);
}

/// What can't be put on disk is not in effect.
#[test]
fn a_store_that_takes_nothing_changes_nothing() {
    let server = Server::start(|_| status(200));
    let host = Host::start_serving(TempDir::new().unwrap(), &Config::new(filed(&server)));
    let path = "/api/v1/monitors/default/shop";
    let body = document(&server, "/put").to_string();
    let database = rusqlite::Connection::open(host.folder().join("state/pulse-host.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let told = asked(&host, "PUT", path, &body, 503);
    assert!(
        told["detail"].as_str().unwrap().contains("nothing has changed"),
        "{told}"
    );
    asked(&host, "GET", path, "", 404);
    database.execute_batch("ROLLBACK").unwrap();
    asked(&host, "PUT", path, &body, 201);
}

#[test]
fn a_file_of_monitors_is_imported_from_the_command_line() {
    let server = Server::start(|_| status(200));
    let host = Host::start_serving(TempDir::new().unwrap(), &Config::new(filed(&server)));
    let mut good = document(&server, "/shop");
    good["name"] = "shop".into();
    let file = host.folder().join("shops.ndjson");
    let run = |text: String, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        let output = crate::support::host::command()
            .args(["monitors", "import"])
            .arg(&file)
            .arg("--data-dir")
            .arg(host.folder().join("state"))
            .args(more)
            .output()
            .unwrap();
        let both = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&both).into_owned(),
        )
    };
    let (ok, told) = run(format!("{good}\n{{\"name\": \"a\", \"use\": [\"none\"]}}\n"), &[]);
    assert!(
        !ok && told.contains("shops.ndjson:2:") && told.contains("there is no template `none`"),
        "{told}"
    );
    let (ok, told) = run(good.to_string(), &["--dry-run"]);
    assert!(ok && told.contains("1 created"), "{told}");
    assert_eq!(total(&host), 1);
    let (ok, told) = run(good.to_string(), &["--replace"]);
    assert!(ok && told.contains("1 created"), "{told}");
    assert_eq!(total(&host), 2);
}
