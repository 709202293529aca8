//! All routes by all callers. Whoever adds a route says here who may use it, apart from the table of routes.

use super::{records::recorded, *};
use tempfile::TempDir;

/// Who asks, in the order of the columns: whose token, and from where. Nobody shows none, and nobody has the stranger's.
const CALLERS: [(&str, &str); 12] = [
    ("", HERE),
    ("", AWAY),
    ("stranger", HERE),
    ("viewer", AWAY),
    ("operator", AWAY),
    ("admin", AWAY),
    ("acme-viewer", AWAY),
    ("acme-operator", AWAY),
    ("acme-admin", AWAY),
    ("other-viewer", AWAY),
    ("other-operator", AWAY),
    ("other-admin", AWAY),
];

/// A method, a path, and for each caller: `+` is let in, `-` is refused, `0` is told that there is nothing. What a path names
/// is acme's.
#[rustfmt::skip]
const EXPECTED: &[(&str, &str, &str)] = &[
    ("GET",  "/",                                         "++++++++++++"),
    ("GET",  "/assets/{file}",                            "++++++++++++"),
    ("GET",  "/healthz",                                  "++++++++++++"),
    ("GET",  "/readyz",                                   "++++++++++++"),
    ("GET",  "/metrics",                                  "+--+++++++++"),
    ("GET",  "/probe",                                    "----++-++-++"),
    ("POST", "/-/reload",                                 "-----+------"),
    ("GET",  "/api/v1/openapi.json",                      "---+++++++++"),
    ("GET",  "/api/v1/status",                            "---+++++++++"),
    ("GET",  "/api/v1/monitors",                          "---+++++++++"),
    ("GET",  "/api/v1/monitors/summary",                  "---+++++++++"),
    ("GET",  "/api/v1/monitors/{tenant}/{name}",          "---++++++000"),
    ("PUT",  "/api/v1/monitors/{tenant}/{name}",          "-----+--+--0"),
    ("DELETE","/api/v1/monitors/{tenant}/{name}",         "-----+--+--0"),
    ("POST", "/api/v1/monitors/{tenant}",                 "-----+--+--0"),
    ("GET",  "/api/v1/documents",                         "-----+--+--+"),
    ("GET",  "/api/v1/monitors/{tenant}/{name}/history",  "---++++++000"),
    ("POST", "/api/v1/monitors/{tenant}/{name}/pause",              "----++-++-00"),
    ("POST", "/api/v1/monitors/{tenant}/{name}/resume",             "----++-++-00"),
    ("POST", "/api/v1/monitors/{tenant}/{name}/check",              "----++-++-00"),
    ("POST", "/api/v1/monitors/{tenant}/{name}/acknowledge",        "----++-++-00"),
    ("POST", "/api/v1/monitors/{tenant}/{name}/unacknowledge",      "----++-++-00"),
    ("GET",  "/api/v1/pauses",                                      "---+++++++++"),
    ("POST", "/api/v1/pauses",                                      "----++-++-++"),
    ("GET",  "/api/v1/pauses/{id}",                                 "---++++++000"),
    ("DELETE","/api/v1/pauses/{id}",                                 "----++-++-00"),
    ("GET",  "/api/v1/silences",                                    "---+++++++++"),
    ("POST", "/api/v1/silences",                                    "----++-++-++"),
    ("GET",  "/api/v1/silences/{id}",                               "---++++++000"),
    ("DELETE","/api/v1/silences/{id}",                               "----++-++-00"),
    ("GET",  "/api/v1/maintenance",                                 "---+++++++++"),
    ("POST", "/api/v1/maintenance",                                 "----++-++-++"),
    ("GET",  "/api/v1/maintenance/{id}",                            "---++++++000"),
    ("DELETE","/api/v1/maintenance/{id}",                            "----++-++-00"),
    ("POST", "/api/v1/heartbeats/{tenant}/{name}",        "------------"),
    ("GET",  "/api/v1/labels",                            "---+++++++++"),
    ("GET",  "/api/v1/incidents",                         "---+++++++++"),
    ("GET",  "/api/v1/incidents/{id}",                    "---++++++000"),
    ("GET",  "/api/v1/events",                            "---+++++++++"),
    ("GET",  "/api/v1/plugins",                           "---+++++++++"),
    ("GET",  "/api/v1/tenants",                           "---+++++++++"),
    ("GET",  "/api/v1/stream",                            "---+++++++++"),
];

#[tokio::test]
async fn every_route_is_used_by_whom_it_is_for_and_by_nobody_else() {
    let folder = TempDir::new().unwrap();
    let mut settings = HttpSettings::default();
    for role in Role::ALL {
        settings.tokens.push(token(role.name(), role, None));
        for tenant in ["acme", "other"] {
            let name = format!("{tenant}-{}", role.name());
            settings.tokens.push(token(&name, role, Some(tenant)));
        }
    }
    let site = site_with(settings, Some(recorded(&folder)));
    for (method, path, _) in EXPECTED {
        assert!(
            ROUTES
                .iter()
                .any(|route| (route.method, route.path) == (*method, *path)),
            "there is no route {method} {path} any more"
        );
    }
    for route in ROUTES {
        let named = format!("{} {}", route.method, route.path);
        let (_, _, expected) = EXPECTED
            .iter()
            .find(|(method, path, _)| (*method, *path) == (route.method, route.path))
            .unwrap_or_else(|| panic!("say in EXPECTED who may use {named}"));
        assert_eq!(expected.len(), CALLERS.len(), "{named}");
        let path = route.path.replace("{tenant}", "acme").replace("{name}", "shop");
        let path = path.replace("{id}", "b2").replace("{file}", "app.js");
        for ((token, peer), expected) in CALLERS.iter().zip(expected.chars()) {
            let shown = format!("Bearer {token}");
            let fields = [("authorization", &*shown)];
            let fields = if token.is_empty() { &[][..] } else { &fields[..] };
            give_order(&site, &path, "b2", "acme");
            let answer = ask(&site, route.method, &path, peer, fields).await;
            let found = match answer.status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => '-',
                StatusCode::NOT_FOUND => '0',
                _ => '+',
            };
            assert_eq!(
                found, expected,
                "{named} by `{token}` from {peer}: {} {}",
                answer.status, answer.text
            );
            if found != '+' {
                assert_eq!(answer.headers[header::CONTENT_TYPE], "application/problem+json");
                assert_eq!(answer.json()["status"], answer.status.as_u16());
            }
        }
    }
}
