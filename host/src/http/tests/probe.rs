//! What is asked for and can't be had. What can is in the integration tests: it takes a plugin.

use super::*;
use crate::{
    domain::{
        probe::{Filling, Module, Piece},
        spec::Profile,
    },
    operate::terms::{Deal, OfTenant},
};

fn module(name: &str, named_by: Option<&str>) -> Arc<Module> {
    Arc::new(Module {
        name: name.into(),
        profile: Arc::new(Profile {
            plugin: "http".into(),
            digest: "".into(),
            limits: Default::default(),
            grants: Arc::default(),
            reuse: 0,
        }),
        timeout: Duration::from_secs(5),
        settings: Filling::Table(vec![("url".into(), Filling::Text(vec![Piece::Target]))]),
        named_by: named_by.map(Into::into),
        hidden: Vec::new(),
    })
}

fn named(modules: &[&Arc<Module>]) -> std::collections::BTreeMap<Arc<str>, Arc<Module>> {
    let modules = modules.iter();
    modules
        .map(|module| (Arc::clone(&module.name), Arc::clone(module)))
        .collect()
}

#[tokio::test]
async fn who_asks_for_what_is_not_there_hears_what_is() {
    let site = site(HttpSettings {
        tokens: vec![token("acme", Role::Operator, Some("acme"))],
        ..HttpSettings::default()
    });
    let (http, shop, own) = (
        module("http", Some("server-name")),
        module("shop", None),
        module("acme/probe", None),
    );
    let of_acme = OfTenant {
        modules: named(&[&own]),
        ..OfTenant::default()
    };
    site.app.terms.replace(Deal {
        modules: named(&[&http, &shop]),
        tenants: [("acme".into(), of_acme)].into(),
        ..Deal::default()
    });
    let shown = [("authorization", "Bearer acme")];
    for (path, theirs, wrong) in [
        ("?target=a&module=x%1B", false, "there are http, shop"),
        ("?target=a&module=x%1B", false, "`x\\u{1b}`"),
        ("?target=a&module=acme/probe", false, "there are http, shop"),
        ("?target=a&module=shop", true, "there are acme/probe"),
        ("?target=a", true, "there are acme/probe"),
        ("", false, "target: name what is to be probed"),
        ("?target=", false, "target: it is empty"),
        ("?target=a%0Ab", false, "target: it holds a control character"),
        (
            "?target=a&module=shop&hostname=b",
            false,
            "the module `shop` takes none",
        ),
        ("?target=a&hostname=b", false, "this target is not https"),
        ("?target=a&debug=1", false, "debug"),
        ("?targets=a", false, "unknown field `targets`"),
    ] {
        let path = format!("/probe{path}");
        let answer = match theirs {
            true => ask(&site, "GET", &path, AWAY, &shown).await,
            false => get(&site, &path).await,
        };
        let text = answer.text.replace("\\\\", "\\");
        assert!(
            answer.status == StatusCode::BAD_REQUEST && text.contains(wrong),
            "{path}: {} {text}",
            answer.status
        );
    }
    let shown = format!("Bearer {LOCAL}");
    let impatient = [
        ("authorization", &*shown),
        ("x-prometheus-scrape-timeout-seconds", "soon"),
    ];
    let answer = ask(&site, "GET", "/probe?target=a", HERE, &impatient).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    // As it is while a reload is under way: the module is there, and its plugin is not.
    let answer = get(&site, "/probe?target=a").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    let figures = get(&site, "/metrics").await.text;
    assert!(
        figures.contains("pulse_host_probes_total{result=\"success\"} 0"),
        "{figures}"
    );
}
