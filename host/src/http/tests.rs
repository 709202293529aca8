//! The router with a scheduler behind it, without a socket.

mod chosen;
mod matrix;
mod openapi;
mod probe;
mod records;
mod stream;

use super::{App, Parts, ROUTES, listen::Listening, metric_names, routes, tokens};
use crate::{
    clock::Clock,
    domain::{
        access::{Anonymous, HttpSettings, Role, Token},
        host::{HostSettings, PerKind},
        spec::{Draft, MonitorSpec},
        tenant::{Quotas, Roster, Tenant},
    },
    operate::{
        directory::{Directory, Shelf},
        orders::Orders,
    },
    queue,
    scheduler::{self, Running, Scheduler},
    store::Reader,
};
use axum::{
    body::Body,
    extract::ConnectInfo,
    http::{Request, StatusCode, header},
};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::mpsc;

mod orders;

const LOCAL: &str = "pht_local";
const HERE: &str = "127.0.0.1:5000";
const AWAY: &str = "192.0.2.7:5000";

struct Site {
    app: App,
    running: Option<Running>,
    _kept: Kept,
}

/// What would stop the scheduler from sending if it were gone.
type Kept = (
    PerKind<queue::Inlet>,
    queue::ResultSender,
    async_channel::Receiver<crate::domain::event::Event>,
);

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.stop(Duration::ZERO);
        }
    }
}

fn monitors() -> Vec<MonitorSpec> {
    let acme = Arc::new(Tenant::new("acme", Quotas::default()));
    let mut own = Draft::check("shop");
    own.labels = [("site".into(), "a".into())].into();
    let mut others = Draft::check("shop");
    others.tenant = acme;
    let mut slashed = Draft::check("a/b c");
    slashed.labels = [("site".into(), "<b>".into())].into();
    [own, others, slashed].iter().map(Draft::ready).collect()
}

fn token(name: &str, role: Role, tenant: Option<&str>) -> Token {
    let hash = tokens::hash(name);
    let digest = crate::config::testing_digest(&hash).unwrap();
    Token {
        name: name.into(),
        digest,
        role,
        tenant: tenant.map(Arc::from),
    }
}

fn site(settings: HttpSettings) -> Site {
    site_with(settings, None)
}

fn site_with(settings: HttpSettings, records: Option<Reader>) -> Site {
    let host = HostSettings::new("/nowhere".into());
    let (outlets, inlets) = queue::channels(&host.queues);
    let (results, receiver, bell) = queue::results(16);
    let (events, told) = async_channel::bounded(64);
    let (clock, monitors) = (Clock::system(), monitors());
    let mut scheduler = Scheduler::new(scheduler::Parts {
        monitors: monitors.clone(),
        host_entry: None,
        settings: host,
        outlets,
        results: receiver,
        events,
        workers: 1,
        ledger: None,
        clock: clock.clone(),
    });
    let board = scheduler.board();
    let seats = scheduler.take_seats();
    let running = Running::start(scheduler, bell).unwrap();
    let directory = Shelf::default();
    directory.replace(Directory::new(&monitors, &seats));
    let tenants = Roster::new(monitors.iter().map(|spec| Arc::clone(&spec.tenant)));
    let app = App::new(Parts {
        tokens: Arc::new(tokens::Tokens::new(&settings.tokens, LOCAL)),
        settings,
        clock,
        board,
        directory,
        beats: Default::default(),
        exports: Default::default(),
        switches: Default::default(),
        orders: Orders::new(None, Clock::system()),
        control: running.control(),
        stats: running.stats(),
        tenants,
        plugins: Arc::default(),
        reloads: Default::default(),
        records,
        written: Some(Arc::default()),
        terms: Default::default(),
        series: Default::default(),
        feed: Default::default(),
        prober: None,
        wishes: mpsc::channel(1).0,
        book: Default::default(),
        changes: Some(mpsc::channel(1).0),
    });
    app.filled.store(true, std::sync::atomic::Ordering::Release);
    Site {
        app,
        running: Some(running),
        _kept: (inlets, results, told),
    }
}

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}", self.text))
    }
}

async fn ask(site: &Site, method: &str, path: &str, peer: &str, fields: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    sent(site, request, peer).await
}

async fn sent(site: &Site, mut request: Request<Body>, peer: &str) -> Answer {
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    let service = TowerToHyperService::new(routes::router(&site.app));
    let answer = service.call(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let endless = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == "text/event-stream");
    let bytes = match endless {
        true => axum::body::Bytes::new(),
        false => axum::body::to_bytes(body, 1 << 20).await.unwrap(),
    };
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

async fn get(site: &Site, path: &str) -> Answer {
    let shown = format!("Bearer {LOCAL}");
    ask(site, "GET", path, HERE, &[("authorization", &shown)]).await
}

#[tokio::test]
async fn a_tenants_token_sees_its_own_monitors_only() {
    let site = site(HttpSettings {
        tokens: vec![token("acme", Role::Admin, Some("acme"))],
        ..HttpSettings::default()
    });
    let shown = [("authorization", "Bearer acme")];
    let list = ask(&site, "GET", "/api/v1/monitors", AWAY, &shown).await.json();
    assert_eq!(
        (&list["total"], &list["monitors"][0]["tenant"]),
        (&1.into(), &"acme".into())
    );
    for path in [
        "/api/v1/monitors?tenant=default",
        "/api/v1/monitors/default/shop",
        "/api/v1/monitors/default/none",
    ] {
        assert_eq!(
            ask(&site, "GET", path, AWAY, &shown).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let labels = ask(&site, "GET", "/api/v1/labels", AWAY, &shown).await.json();
    assert_eq!(
        labels["labels"],
        serde_json::json!([]),
        "those are the operator's"
    );
    let summary = ask(&site, "GET", "/api/v1/monitors/summary?by=tenant", AWAY, &shown)
        .await
        .json();
    assert_eq!(summary["groups"].as_array().unwrap().len(), 1);
    let status = ask(&site, "GET", "/api/v1/status", AWAY, &shown).await.json();
    assert!(status.get("monitors").is_none(), "{status}");
}

#[tokio::test]
async fn lists_and_details_say_how_monitors_are() {
    let site = site(HttpSettings::default());
    let list = get(&site, "/api/v1/monitors?limit=2").await.json();
    let names = |list: &Value| -> Vec<String> {
        let all = list["monitors"].as_array().unwrap().iter();
        all.map(|one| {
            format!(
                "{}/{}",
                one["tenant"].as_str().unwrap(),
                one["name"].as_str().unwrap()
            )
        })
        .collect()
    };
    assert_eq!(
        (names(&list), &list["total"]),
        (
            vec!["acme/shop".to_owned(), "default/a/b c".to_owned()],
            &3.into()
        )
    );
    let next = list["next"]
        .as_str()
        .unwrap()
        .replace('/', "%2F")
        .replace(' ', "%20");
    let rest = get(&site, &format!("/api/v1/monitors?limit=2&cursor={next}"))
        .await
        .json();
    assert_eq!(
        (names(&rest), &rest["next"]),
        (vec!["default/shop".to_owned()], &Value::Null)
    );
    let found = get(
        &site,
        "/api/v1/monitors?selector=site!%3D%22%22&search=SHOP&state=unknown",
    )
    .await
    .json();
    assert_eq!(names(&found), ["default/shop"]);
    let one = get(&site, "/api/v1/monitors/default/a%2Fb%20c").await.json();
    assert_eq!(
        (&one["name"], &one["state"], &one["labels"]["site"]),
        (&"a/b c".into(), &"unknown".into(), &"<b>".into())
    );
    assert_eq!(one["lanes"][0]["kind"], "pulse");
    for (path, wrong) in [
        ("?selector=x", "selector: `x` is no condition"),
        ("?state=dead", "state: one of unknown, up"),
        ("?sort=age", "sort: one of name, state, since"),
        ("?limit=0", "limit: 1 to 1000"),
        ("?cursor=x", "cursor: none of this order"),
        ("?colour=red", "unknown field `colour`"),
        ("/summary", "by: the label"),
    ] {
        let answer = get(&site, &format!("/api/v1/monitors{path}")).await;
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            answer.status == StatusCode::BAD_REQUEST && detail.contains(wrong),
            "{path}: {detail}"
        );
    }
    assert_eq!(get(&site, "/api/v2").await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        get(&site, "/-/reload").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn a_browser_is_no_way_in() {
    let site = site(HttpSettings {
        anonymous: Anonymous::Viewer,
        ..HttpSettings::default()
    });
    let path = "/api/v1/monitors";
    for (fields, status) in [
        (&[][..], StatusCode::OK),
        (&[("host", "127.0.0.1:9273")][..], StatusCode::OK),
        (&[("host", "evil.example")][..], StatusCode::MISDIRECTED_REQUEST),
        (
            &[("host", "localhost:1"), ("origin", "http://localhost:1")][..],
            StatusCode::OK,
        ),
        (
            &[("host", "localhost:1"), ("origin", "http://localhost:2")][..],
            StatusCode::FORBIDDEN,
        ),
        (
            &[("host", "localhost:1"), ("origin", "null")][..],
            StatusCode::FORBIDDEN,
        ),
        (
            &[("host", "localhost:1"), ("origin", "https://evil.example")][..],
            StatusCode::FORBIDDEN,
        ),
        (
            &[("host", "localhost:1"), ("sec-fetch-site", "cross-site")][..],
            StatusCode::FORBIDDEN,
        ),
        (
            &[("host", "localhost:1"), ("sec-fetch-site", "same-origin")][..],
            StatusCode::OK,
        ),
        (
            &[
                ("host", "localhost:1"),
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-mode", "navigate"),
            ][..],
            StatusCode::OK,
        ),
    ] {
        let answer = ask(&site, "GET", path, HERE, fields).await;
        assert_eq!(answer.status, status, "{fields:?}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(
            answer.headers["content-security-policy"]
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'")
        );
        assert!(answer.headers.get("access-control-allow-origin").is_none());
    }
    assert_eq!(
        ask(&site, "GET", path, AWAY, &[]).await.status,
        StatusCode::FORBIDDEN,
        "not from elsewhere"
    );
    let post = ask(&site, "POST", "/-/reload", HERE, &[]).await;
    assert_eq!(post.status, StatusCode::FORBIDDEN);
    assert!(post.text.contains("pulse-host token new"), "{}", post.text);
}

#[tokio::test]
async fn figures_are_those_that_are_documented() {
    let site = site(HttpSettings::default());
    chosen::choose(&site, "", &[]);
    let answer = ask(&site, "GET", "/metrics", HERE, &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let mut families: Vec<&str> = Vec::new();
    for line in answer.text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(rest) => families.push(rest.split(' ').next().unwrap()),
            None if line.starts_with('#') => {}
            None => {
                let family = families.last().unwrap();
                assert!(line.starts_with(family), "{line} stands below {family}");
                let value = line.rsplit(' ').next().unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
    families.sort_unstable();
    let mut names = metric_names().to_vec();
    names.sort_unstable();
    assert_eq!(families, names);
    // The document says of each what the host itself says.
    let document = include_str!("../../../docs/metrics.md");
    for name in &names {
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| `{name}` |")))
            .unwrap_or_else(|| panic!("{name} is not documented"));
        let cells: Vec<&str> = row.split(" | ").collect();
        let kind = format!("# TYPE {name} {}\n", cells[1].trim());
        assert!(answer.text.contains(&kind), "{row}: not `{}`", cells[1]);
        if !name.starts_with("process_") {
            let help = format!(
                "# HELP {name} {}.\n",
                cells.last().unwrap().trim_end_matches(" |")
            );
            assert!(answer.text.contains(&help), "{row}: the host says something else");
        }
        // Labels that it has, among those that are told of it.
        for line in answer
            .text
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")))
        {
            let labels = line.split_once('{').unwrap().1.split_once('}').unwrap().0;
            for label in labels.split("\",").filter_map(|label| label.split_once('=')) {
                assert!(
                    label.0 == "le" || cells[2].contains(&format!("`{}`", label.0)),
                    "{row}: nothing of `{}`",
                    label.0
                );
            }
        }
    }
    assert!(
        answer
            .text
            .contains("pulse_host_tenant_jobs_total{tenant=\"acme\"} 0")
    );
}

/// Over a socket: heads that never end, or are too long.
#[tokio::test]
async fn a_head_has_bounds() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let settings = HttpSettings {
        listen: "127.0.0.1:0".parse().ok(),
        ..HttpSettings::default()
    };
    let listening = Listening::bind(&settings).unwrap().unwrap();
    let address = listening.address;
    assert!(address.port() > 0);
    let site = site(settings);
    let serving = tokio::spawn(listening.serve(site.app.clone()));
    let said = |text: String| async move {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        // It may be refused before it is sent whole.
        let _ = stream.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    assert!(said(format!("{head}\r\n")).await.starts_with("HTTP/1.1 200"));
    let many: String = (0..200).map(|n| format!("x{n}: y\r\n")).collect();
    assert!(
        said(format!("{head}{many}\r\n"))
            .await
            .starts_with("HTTP/1.1 431")
    );
    let long = format!("{head}x: {}\r\n\r\n", "y".repeat(100_000));
    assert!(!said(long).await.contains("200 OK"));
    let garbage = said("\u{16}\u{3}\u{1}hello\r\n\r\n".to_owned()).await;
    assert!(garbage.starts_with("HTTP/1.1 400"), "{garbage}");
    serving.abort();
}

#[test]
fn where_another_one_listens_is_an_error_that_names_the_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = HttpSettings {
        listen: taken.local_addr().ok(),
        ..HttpSettings::default()
    };
    let error = Listening::bind(&settings).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("[host.http]"), "{error}");
    let off = HttpSettings {
        listen: None,
        ..HttpSettings::default()
    };
    assert!(Listening::bind(&off).unwrap().is_none());
}

/// An order of that id, which is acme's or the operator's, of the kind that a path is about; none if it is about none.
fn give_order(site: &Site, path: &str, id: &str, tenant: &str) {
    use crate::domain::{
        order::{Order, What, Whom},
        schedule::Schedule,
        time::Wall,
    };
    let what = match path.split('/').nth(3) {
        Some("pauses") => What::Pause,
        Some("silences") => What::Silence,
        Some("maintenance") => What::Maintenance,
        _ => return,
    };
    let order = Order {
        id: id.into(),
        what,
        whom: Whom::All {
            tenant: Some(tenant.into()),
            selector: "site=nowhere".parse().unwrap(),
        },
        schedule: Schedule::from_now(Wall(5), None),
        by: "somebody".into(),
        comment: "".into(),
        made_at: Wall(5),
        incident: None,
    };
    let _ = site.app.orders.add(order).unwrap();
}

#[tokio::test]
async fn the_dashboard_is_for_everybody_and_holds_nothing_of_anybody() {
    let site = site(HttpSettings::default());
    let page = ask(&site, "GET", "/", AWAY, &[]).await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = page.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split(';').any(|part| part.trim() == rule), "{rule}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for asset in page.text.split("\"/assets/").skip(1) {
        let name = asset.split('"').next().unwrap();
        let path = format!("/assets/{name}");
        let answer = ask(&site, "GET", &path, AWAY, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(!answer.text.is_empty(), "{path}");
        let tag = answer.headers[header::ETAG].to_str().unwrap();
        for known in [tag.to_owned(), format!("\"x\", W/{tag}")] {
            let again = ask(&site, "GET", &path, AWAY, &[("if-none-match", &known)]).await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
            assert_eq!(again.text, "");
        }
        let other = ask(&site, "GET", &path, AWAY, &[("if-none-match", "\"x\"")]).await;
        assert_eq!(other.status, StatusCode::OK, "{path}");
    }
    for path in [
        "/assets/",
        "/assets/none.js",
        "/assets/..%2findex.html",
        "/assets/app.js/x",
    ] {
        let answer = ask(&site, "GET", path, AWAY, &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}
