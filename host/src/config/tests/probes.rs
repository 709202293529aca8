//! What `/probe` can be asked for, and what `/metrics` tells of monitors.

use super::*;
use crate::domain::probe::{Ask, Module};

fn names(modules: &Modules) -> Vec<&str> {
    modules.keys().map(AsRef::as_ref).collect()
}

fn asked(module: &Module, target: &str, hostname: Option<&str>) -> Value {
    module.settings(Ask { target, hostname }).unwrap()
}

#[test]
fn plugins_that_check_over_the_network_are_modules_as_they_are() {
    let config = config(GRANTS);
    // What runs commands, repairs or tells is none.
    assert_eq!(names(&config.modules), ["http", "icmp", "tcp"]);
    let http = &config.modules["http"];
    assert_eq!(http.profile, config.profiles["http"]);
    assert_eq!(http.timeout, Duration::from_secs(5));
    assert_eq!(
        asked(http, "a.example", None),
        json!({ "url": "http://a.example" })
    );
    let granted = &config.modules["icmp"].profile.grants;
    assert_eq!(**granted, Grants::default(), "nothing that nobody has granted");
}

#[test]
fn a_module_is_a_check_with_places_for_what_is_asked() {
    let config = config(&with_grants(
        r#"
[host]
max-timeout = "10s"
[probes.shop]
plugin = "http"
timeout = "9s"
limits.fuel = 7000
settings = { url = "https://{{target}}/{{{{x", bearer = "t-${env:TOKEN}", headers = { a = "{{ hostname }}:{{target}}" } }
[probes.http]
plugin = "http"
settings = { url = "{{target}}", method = "HEAD" }
"#,
    ));
    assert_eq!(names(&config.modules), ["http", "icmp", "shop", "tcp"]);
    let shop = &config.modules["shop"];
    assert_eq!(
        asked(shop, "a.example", Some("b")),
        json!({
            "url": "https://a.example/{{x",
            "bearer": "t-s3cret",
            "headers": { "a": "b:a.example" },
        })
    );
    assert_eq!(
        (shop.timeout, shop.profile.limits.fuel),
        (Duration::from_secs(9), 7000)
    );
    assert_eq!(shop.profile.grants, config.profiles["http"].grants);
    assert_eq!(shop.hidden, ["t-s3cret".into()]);
    assert!(
        shop.settings(Ask {
            target: "a",
            hostname: None
        })
        .is_err()
    );
    let http = &config.modules["http"];
    assert_eq!(
        asked(http, "a.example", None),
        json!({ "url": "http://a.example", "method": "HEAD" })
    );
    assert!(http.hidden.is_empty());
}

#[test]
fn monitors_have_series_of_their_own_where_somebody_says_so() {
    let silent = config(GRANTS).metrics;
    assert!(silent.monitors.is_none() && silent.labels.is_empty());
    let metrics = config("[metrics]\nmonitors = 'site=\"a\"'\nlabels = [\"site\", \"the-role\"]\n").metrics;
    assert_eq!(metrics.monitors.unwrap().to_string(), "site=\"a\"");
    assert_eq!(metrics.labels, ["site".into(), "the-role".into()]);
    let all = config("[metrics]\nmonitors = ''\n").metrics;
    assert!(all.monitors.unwrap().is_empty());
}
