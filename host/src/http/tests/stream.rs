//! The live stream, piece by piece.

use super::*;
use crate::domain::{
    event::{Event, Fact},
    job::MonitorId,
};

/// The stream of whoever shows that token.
async fn open(site: &Site, token: &str) -> (StatusCode, Body) {
    let mut request = Request::builder()
        .uri("/api/v1/stream")
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap();
    let peer: SocketAddr = AWAY.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    let service = TowerToHyperService::new(routes::router(&site.app));
    let answer = service.call(request).await.unwrap();
    (answer.status(), answer.into_body())
}

/// The next piece; empty: it is over.
async fn piece(body: &mut Body) -> String {
    use axum::body::HttpBody as _;
    let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context));
    // As with all that never comes: a machine that is that busy has other troubles.
    let frame = tokio::time::timeout(Duration::from_secs(120), frame)
        .await
        .unwrap();
    frame
        .map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
        .unwrap_or_default()
}

fn purple(tenant: &str, message: &str) -> Event {
    let mut draft = Draft::check("shop");
    draft.tenant = Arc::new(Tenant::new(tenant, Quotas::default()));
    Event {
        at: crate::domain::time::Wall(1_700_000_000_000),
        monitor: MonitorId(1),
        spec: draft.ready(),
        fact: Fact::Purple {
            faults: 3,
            message: message.to_owned(),
        },
    }
}

#[tokio::test]
async fn each_hears_what_he_may_until_the_host_stops() {
    let site = site(HttpSettings {
        tokens: vec![token("acme", Role::Viewer, Some("acme"))],
        timeout: Duration::from_millis(50),
        ..HttpSettings::default()
    });
    let (status, mut all) = open(&site, LOCAL).await;
    assert_eq!(status, StatusCode::OK);
    let (_, mut acme) = open(&site, "acme").await;
    let first = piece(&mut all).await;
    assert!(first.starts_with("event: states\ndata: {"), "{first}");
    let own = piece(&mut acme).await;
    let counts: Value = serde_json::from_str(own.split("data: ").nth(1).unwrap()).unwrap();
    assert_eq!(counts["unknown"], 1, "its own monitor: {own}");
    // Longer than any other request may take.
    tokio::time::sleep(Duration::from_millis(200)).await;
    site.app.feed.tell(&purple("default", "a\r\nevent: x"));
    site.app.feed.tell(&purple("acme", "b"));
    // Between them there may be other counts.
    let events = async |body: &mut Body| loop {
        let piece = piece(body).await;
        if piece.is_empty() || piece.starts_with("event: event") {
            return piece;
        }
    };
    let heard = events(&mut all).await;
    assert_eq!(
        heard.lines().filter(|line| line.starts_with("event: ")).count(),
        1
    );
    let heard: Value = serde_json::from_str(heard.split("data: ").nth(1).unwrap()).unwrap();
    assert_eq!(
        (&heard["what"], &heard["tenant"], &heard["at"]),
        (
            &"purple".into(),
            &"default".into(),
            &"2023-11-14T22:13:20Z".into()
        )
    );
    let heard = events(&mut acme).await;
    assert!(
        heard.contains("in a row: b\""),
        "the first that is its own: {heard}"
    );
    site.app.feed.close();
    while !events(&mut all).await.is_empty() {}
    assert_eq!(events(&mut acme).await, "");
    assert_eq!(open(&site, LOCAL).await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let site = site(HttpSettings {
        tokens: vec![token("eye", Role::Viewer, None)],
        ..HttpSettings::default()
    });
    let (_, mut body) = open(&site, "eye").await;
    assert!(piece(&mut body).await.starts_with("event: states"));
    site.app.tokens.replace(&[]);
    while !piece(&mut body).await.is_empty() {}
}

#[tokio::test]
async fn streams_are_so_many_and_make_room_when_they_end() {
    let site = site(HttpSettings::default());
    let mut open_ones = Vec::new();
    for _ in 0..super::super::feed::LISTENERS_MAX {
        open_ones.push(open(&site, LOCAL).await);
    }
    assert!(open_ones.iter().all(|(status, _)| *status == StatusCode::OK));
    assert_eq!(open(&site, LOCAL).await.0, StatusCode::SERVICE_UNAVAILABLE);
    drop(open_ones);
    // Each is told by its body's end.
    for _ in 0..1000 {
        if open(&site, LOCAL).await.0 == StatusCode::OK {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no stream has ended");
}
