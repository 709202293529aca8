//! The API's description against the API.

use super::{
    super::openapi::{made, of},
    records::recorded,
    *,
};
use std::collections::BTreeSet;
use tempfile::TempDir;

/// All that a document refers to.
fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::Object(entries) => {
            found.extend(entries.get("$ref").and_then(Value::as_str));
            entries.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn it_tells_of_every_route_and_refers_to_nothing_that_is_not_there() {
    let site = site(HttpSettings::default());
    let document = get(&site, "/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    for route in ROUTES {
        let named = format!("{} {}", route.method, route.path);
        assert!(
            of(route).is_some(),
            "say in openapi.rs what {named} takes and gives"
        );
        let told = &document["paths"][route.path][route.method.to_lowercase()];
        assert_eq!(told["summary"], route.does, "{named}");
        let parameters = told["parameters"].as_array().unwrap();
        for name in route.path.split('{').skip(1) {
            let name = name.split('}').next().unwrap();
            assert!(
                parameters
                    .iter()
                    .any(|one| one["name"] == name && one["in"] == "path"),
                "{named}: {name}"
            );
        }
        let is_open = route.access == crate::http::Access::Open;
        assert_eq!(told["security"] == serde_json::json!([]), is_open, "{named}");
        for status in ["default", "503"] {
            assert!(
                told["responses"][status]["content"]["application/problem+json"].is_object(),
                "{named}: {status}"
            );
        }
        assert_eq!(told["responses"]["401"].is_object(), !is_open, "{named}");
    }
    let paths = document["paths"].as_object().unwrap().values();
    let count: usize = paths.map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(count, ROUTES.len());
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for kind in ["schemas", "parameters"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(found.contains(&*reference), "nothing refers to {reference}");
        }
    }
}

/// A parameter that nobody has told of is answered with the names of those that there are.
#[tokio::test]
async fn routes_take_what_it_says_that_they_take() {
    let folder = TempDir::new().unwrap();
    let site = site_with(HttpSettings::default(), Some(recorded(&folder)));
    let mut asked = 0;
    for route in ROUTES.iter().filter(|route| route.method == "GET") {
        let path = route.path.replace("{tenant}", "acme").replace("{name}", "shop");
        let path = path.replace("{id}", "b2");
        let answer = get(&site, &format!("{path}?zzz=1")).await;
        let detail = match answer.status {
            StatusCode::BAD_REQUEST => answer.json()["detail"].as_str().unwrap().to_owned(),
            _ => String::new(),
        };
        let names: BTreeSet<&str> = detail.split('`').skip(3).step_by(2).collect();
        let mut told: BTreeSet<&str> = of(route).unwrap().query.iter().copied().collect();
        // What a list and its summary take is read alike, and what only a summary takes is refused then.
        if route.path == "/api/v1/monitors" {
            told.insert("by");
        }
        assert_eq!(names, told, "{}: {detail}", route.path);
        asked += usize::from(!names.is_empty());
    }
    assert!(asked >= 5, "{asked}");
}

#[tokio::test]
async fn answers_are_as_it_says() {
    let folder = TempDir::new().unwrap();
    let site = site_with(HttpSettings::default(), Some(recorded(&folder)));
    let components = made().unwrap()["components"].clone();
    let mut looked = 0;
    for route in ROUTES.iter().filter(|route| route.method == "GET") {
        let schema = of(route).unwrap().gives;
        if schema.contains('/') {
            continue;
        }
        let path = route
            .path
            .replace("{tenant}", "default")
            .replace("{name}", "shop");
        let query = match route.path {
            "/api/v1/monitors/summary" => "?by=site",
            path if path.ends_with("/history") => "?from=2023-11-14T22:00:00Z&to=2023-11-14T23:00:00Z",
            _ => "",
        };
        for id in ["a1", "c3"] {
            give_order(&site, &path, id, "default");
            let answer = get(&site, &format!("{}{query}", path.replace("{id}", id))).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
            let whole = serde_json::json!({
                "$ref": format!("#/components/schemas/{schema}"),
                "components": components,
            });
            let validator = jsonschema::validator_for(&whole).unwrap();
            let wrong: Vec<String> = validator
                .iter_errors(&answer.json())
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(wrong.is_empty(), "{path}: {wrong:?}");
        }
        looked += 1;
    }
    assert!(looked >= 10, "{looked}");
    let problem = get(&site, "/api/v1/monitors?limit=0").await.json();
    let whole = serde_json::json!({ "$ref": "#/components/schemas/Problem", "components": components });
    assert!(
        jsonschema::validator_for(&whole).unwrap().is_valid(&problem),
        "{problem}"
    );
}
