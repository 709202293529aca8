//! What operators say of monitors: the order, the record and the board agree.

use super::*;
use crate::{
    domain::{
        board::Mark,
        order::{Order, What, Whom},
        schedule::Schedule,
        time::Wall,
    },
    http::orders::settle,
};
use serde_json::json;

async fn send(site: &Site, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .body(Body::from(match body {
            Value::Null => String::new(),
            body => body.to_string(),
        }))
        .unwrap();
    sent(site, request, AWAY).await
}

async fn post(site: &Site, path: &str, body: Value) -> Answer {
    send(site, "POST", path, LOCAL, &body).await
}

/// Names of the monitors that have the mark.
async fn marked(site: &Site, mark: Mark) -> Vec<String> {
    let path = format!("/api/v1/monitors?mark={}", mark.name());
    let list = get(site, &path).await.json();
    let all = list["monitors"].as_array().unwrap().iter();
    all.map(|one| {
        format!(
            "{}/{}",
            one["tenant"].as_str().unwrap(),
            one["name"].as_str().unwrap()
        )
    })
    .collect()
}

#[tokio::test]
async fn a_monitor_is_paused_by_its_name_and_resumed() {
    let site = site(HttpSettings::default());
    let path = "/api/v1/monitors/default/shop";
    let answer = post(
        &site,
        &format!("{path}/pause"),
        json!({ "comment": "moving", "for": "2h" }),
    )
    .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let order = answer.json();
    assert_eq!(order["changed"], true);
    let order = &order["order"];
    assert_eq!(
        (
            &order["by"],
            &order["comment"],
            &order["monitor"],
            &order["active"]
        ),
        (&json!("local"), &json!("moving"), &json!("shop"), &json!(true))
    );
    assert!(order["unkept"].as_str().unwrap().contains("the store is off"));
    assert_eq!(marked(&site, Mark::Paused).await, ["default/shop"]);
    // Once more: the present one is replaced.
    let again = post(&site, &format!("{path}/pause"), Value::Null).await.json();
    assert_eq!(again["changed"], false);
    let list = get(&site, "/api/v1/pauses").await.json();
    assert_eq!(list["orders"].as_array().unwrap().len(), 1);
    assert_eq!(list["orders"][0]["until"], Value::Null);
    let refused = post(&site, &format!("{path}/check"), Value::Null).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);
    assert_eq!(
        post(&site, &format!("{path}/resume"), Value::Null).await.json()["changed"],
        true
    );
    assert!(marked(&site, Mark::Paused).await.is_empty());
    assert_eq!(
        post(&site, &format!("{path}/resume"), Value::Null).await.json()["changed"],
        false
    );
    let checked = post(&site, &format!("{path}/check"), Value::Null).await;
    assert_eq!(checked.status, StatusCode::OK, "{}", checked.text);
}

#[tokio::test]
async fn a_selector_means_all_that_fit_and_no_more() {
    let site = site(HttpSettings::default());
    let made = post(
        &site,
        "/api/v1/silences",
        json!({ "selector": "site=a", "for": "1h" }),
    )
    .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let made = made.json();
    assert_eq!((&made["changed"], &made["active"]), (&json!(1), &json!(true)));
    assert_eq!(marked(&site, Mark::Silenced).await, ["default/shop"]);
    // Another one over it: what both mean stays silenced until both are over.
    let all = post(&site, "/api/v1/silences", json!({ "selector": "" }))
        .await
        .json();
    assert_eq!(all["changed"], 2);
    let path = |made: &Value| format!("/api/v1/silences/{}", made["id"].as_str().unwrap());
    assert_eq!(get(&site, &path(&made)).await.json()["selector"], "site=a");
    let ended = send(&site, "DELETE", &path(&made), LOCAL, &Value::Null).await;
    assert_eq!(ended.json()["changed"], 0);
    assert_eq!(marked(&site, Mark::Silenced).await.len(), 3);
    let ended = send(&site, "DELETE", &path(&all), LOCAL, &Value::Null).await;
    assert_eq!(ended.json()["changed"], 3);
    assert!(marked(&site, Mark::Silenced).await.is_empty());
    let gone = send(&site, "DELETE", &path(&all), LOCAL, &Value::Null).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    // A pause of many can't be taken back for one of them.
    let paused = post(&site, "/api/v1/pauses", json!({ "selector": "monitor=shop" }))
        .await
        .json();
    assert_eq!(paused["changed"], 2);
    let refused = post(&site, "/api/v1/monitors/acme/shop/resume", Value::Null).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(
        refused.text.contains(paused["id"].as_str().unwrap()),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn windows_are_those_of_the_configuration_and_of_the_api() {
    let site = site(HttpSettings::default());
    let order = |id: &str, schedule| Order {
        id: id.into(),
        what: What::Maintenance,
        whom: Whom::All {
            tenant: None,
            selector: "site=a".parse().unwrap(),
        },
        schedule,
        by: "".into(),
        comment: "".into(),
        made_at: Wall(0),
        incident: None,
    };
    let begun = order("config:now", Schedule::from_now(Wall(5), None));
    site.app.orders.configure(vec![begun]);
    assert_eq!(settle(&site.app).await.unwrap(), 1);
    assert_eq!(marked(&site, Mark::Maintenance).await, ["default/shop"]);
    let list = get(&site, "/api/v1/maintenance").await.json();
    assert_eq!(list["orders"][0]["configured"], true);
    let refused = send(
        &site,
        "DELETE",
        "/api/v1/maintenance/config:now",
        LOCAL,
        &Value::Null,
    )
    .await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);
    // One to come, and one that recurs.
    let later = post(
        &site,
        "/api/v1/maintenance",
        json!({ "selector": "", "from": "2099-01-01T22:00:00Z", "for": "2h", "comment": "new year" }),
    )
    .await
    .json();
    assert_eq!(
        (
            &later["active"],
            &later["changed"],
            &later["until"],
            &later["next_change"]
        ),
        (
            &json!(false),
            &json!(0),
            &json!("2099-01-02T00:00:00Z"),
            &json!("2099-01-01T22:00:00Z")
        )
    );
    let weekly =
        json!({ "selector": "site=b", "days": ["sat"], "at": "22:00", "for": "6h", "zone": "Europe/Berlin" });
    let weekly = post(&site, "/api/v1/maintenance", weekly).await.json();
    assert_eq!(
        (&weekly["days"], &weekly["at"], &weekly["for"], &weekly["zone"]),
        (
            &json!(["sat"]),
            &json!("22:00"),
            &json!("6h"),
            &json!("Europe/Berlin")
        )
    );
    // A reload takes the window out.
    site.app.orders.configure(Vec::new());
    assert_eq!(settle(&site.app).await.unwrap(), 1);
    assert!(marked(&site, Mark::Maintenance).await.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_an_order_is_said() {
    let site = site(HttpSettings::default());
    let silences = "/api/v1/silences";
    for (path, body, wrong) in [
        (silences, json!({}), "selector: which monitors"),
        (
            silences,
            json!({ "selector": "x" }),
            "selector: `x` is no condition",
        ),
        (silences, json!({ "selector": "", "for": "soon" }), "for: "),
        (
            silences,
            json!({ "selector": "", "for": "20000d" }),
            "for: between",
        ),
        (
            silences,
            json!({ "selector": "", "until": "2001-01-01T00:00:00Z" }),
            "until: it ends before",
        ),
        (
            silences,
            json!({ "selector": "", "from": "2001-01-01T00:00:00Z", "for": "1h" }),
            "until: that is past",
        ),
        (
            silences,
            json!({ "selector": "", "until": "soon" }),
            "until: a point in time",
        ),
        (
            silences,
            json!({ "selector": "", "days": ["monday"], "at": "10:00", "for": "1h" }),
            "days: `monday`",
        ),
        (
            silences,
            json!({ "selector": "", "days": ["mon"], "for": "1h" }),
            "at: when it begins",
        ),
        (
            silences,
            json!({ "selector": "", "at": "10:00" }),
            "for: how long",
        ),
        (
            silences,
            json!({ "selector": "", "at": "10:00", "for": "8d" }),
            "for: an occurrence",
        ),
        (
            silences,
            json!({ "selector": "", "zone": "Nowhere" }),
            "zone: `Nowhere`",
        ),
        (
            silences,
            json!({ "selector": "", "comment": "two\nlines" }),
            "comment: one line",
        ),
        (
            silences,
            json!({ "selector": "", "comment": "x".repeat(2000) }),
            "comment: at most",
        ),
        (silences, json!({ "selektor": "" }), "unknown field `selektor`"),
        (
            "/api/v1/monitors/default/shop/pause",
            json!({ "for": "0s" }),
            "for: ",
        ),
        (
            "/api/v1/monitors/default/shop/pause",
            json!([1]),
            "the body is not",
        ),
    ] {
        let answer = post(&site, path, body.clone()).await;
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            answer.status == StatusCode::BAD_REQUEST && detail.contains(wrong),
            "{body}: {detail}"
        );
    }
    let none = post(&site, "/api/v1/monitors/default/none/pause", Value::Null).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    let nothing = post(&site, "/api/v1/monitors/default/shop/acknowledge", Value::Null).await;
    assert_eq!(nothing.status, StatusCode::CONFLICT);
    assert!(nothing.text.contains("no open incident"), "{}", nothing.text);
    assert!(
        get(&site, silences).await.json()["orders"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let long = Value::String("x".repeat(100_000));
    assert_eq!(
        post(&site, silences, long).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}

#[tokio::test]
async fn a_tenant_says_nothing_of_others_and_hears_nothing_of_them() {
    let site = site(HttpSettings {
        tokens: vec![token("acme", Role::Operator, Some("acme"))],
        ..HttpSettings::default()
    });
    let own = send(
        &site,
        "POST",
        "/api/v1/silences",
        "acme",
        &json!({ "selector": "" }),
    )
    .await
    .json();
    assert_eq!(
        (&own["changed"], &own["tenant"], &own["by"]),
        (&json!(1), &json!("acme"), &json!("acme"))
    );
    assert_eq!(marked(&site, Mark::Silenced).await, ["acme/shop"]);
    let foreign = json!({ "selector": "", "tenant": "default" });
    for (path, body) in [
        ("/api/v1/silences", &foreign),
        ("/api/v1/monitors/default/shop/pause", &Value::Null),
    ] {
        let refused = send(&site, "POST", path, "acme", body).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{path}");
    }
    let operators = post(
        &site,
        "/api/v1/silences",
        json!({ "selector": "", "tenant": "default" }),
    )
    .await
    .json();
    let seen = send(&site, "GET", "/api/v1/silences", "acme", &Value::Null)
        .await
        .json();
    assert_eq!(seen["orders"].as_array().unwrap().len(), 1);
    let path = format!("/api/v1/silences/{}", operators["id"].as_str().unwrap());
    for method in ["GET", "DELETE"] {
        let refused = send(&site, method, &path, "acme", &Value::Null).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{method}");
    }
}
