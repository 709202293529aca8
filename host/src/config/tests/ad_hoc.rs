//! Monitors that no file describes.

use super::*;

fn settings(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[test]
fn is_granted_its_target_and_nothing_else() {
    let spec = ad_hoc(
        None,
        &facts(),
        "http",
        settings(json!({ "url": "http://10.0.0.1/" })),
    )
    .unwrap();
    let pulse = spec.pulse.as_ref().unwrap();
    let grants = &pulse.profile.grants;
    assert_eq!(grants.http, [HttpGrant::Settings(vec!["url".to_owned()])]);
    assert!(grants.tcp.is_empty());
    let networks = [Network::Public, Network::Private, Network::Loopback];
    assert!(networks.iter().all(|network| grants.networks.contains(*network)));
    assert!(!grants.networks.contains(Network::LinkLocal));
    let spec = ad_hoc(None, &facts(), "tcp", settings(json!({ "address": "a:1" }))).unwrap();
    let grants = &spec.pulse.as_ref().unwrap().profile.grants;
    assert_eq!(
        grants.tcp,
        [TcpGrant::Settings {
            host: vec!["address".to_owned()],
            port: None
        }]
    );
}

#[test]
fn keeps_what_was_configured() {
    let config = config(GRANTS);
    let spec = ad_hoc(
        Some(&config),
        &facts(),
        "http",
        settings(json!({ "url": "http://a/" })),
    )
    .unwrap();
    assert!(Arc::ptr_eq(
        &spec.pulse.as_ref().unwrap().profile,
        &config.profiles["http"]
    ));
}

#[test]
fn says_what_is_wrong() {
    let wrong = |plugin: &str, value| ad_hoc(None, &facts(), plugin, settings(value)).unwrap_err();
    assert!(wrong("htp", json!({})).contains("did you mean `http`"));
    assert!(wrong("webhook", json!({})).contains("checks nothing"));
    assert!(wrong("http", json!({})).contains("`/url` of plugin `http` is missing"));
    let several = wrong("http", json!({ "url": "no url", "metod": "GET" }));
    assert!(
        several.contains("`/url`") && several.contains("did you mean `method`?"),
        "{several}"
    );
}
