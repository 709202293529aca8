//! Documents of the API beside files.

use super::{
    tenants::{World, monitor, monitors},
    *,
};
use crate::domain::{
    managed::{Document, Documents},
    secret::{CLOSE, OPEN},
    time::Wall,
};
use std::collections::BTreeSet;

fn documents(all: &[(&str, &str, &str)]) -> Documents {
    let mut documents = Documents::default();
    for (tenant, name, text) in all {
        let document = Document {
            text: (*text).into(),
            at: Wall(1),
            by: "deploy".into(),
        };
        documents.put(&Arc::from(*tenant), &Arc::from(*name), Arc::new(document));
    }
    documents
}

/// As the host starts.
fn starting(all: &[(&str, &str, &str)]) -> Filed {
    Filed {
        documents: documents(all),
        aside: None,
    }
}

/// As it reloads: all of them are in effect.
fn running(all: &[(&str, &str, &str)]) -> Filed {
    Filed {
        aside: Some(BTreeSet::new()),
        ..starting(all)
    }
}

fn put(tenant: &str, name: &str) -> BTreeMap<Key, u32> {
    BTreeMap::from([((Arc::from(tenant), Arc::from(name)), 1)])
}

fn aside(config: &Config) -> Vec<String> {
    let shown = |one: &Aside| format!("{}/{}: {}", one.tenant, one.name, one.why);
    config.aside.iter().map(shown).collect()
}

/// What is wrong with the document when it is put into a host that runs.
#[track_caller]
fn refused(tenant: &str, name: &str, text: &str) -> Refusal {
    let mut config = World::new().load(Keep::Nothing);
    let documents = documents(&[(tenant, name, text)]);
    *config.footings.build(&documents, &put(tenant, name)).unwrap_err()
}

const GOOD: &str = r#"{"pulse": {"plugin": "http", "settings": {"url": "https://a.example.com"}}}"#;

#[test]
fn a_document_is_a_monitor_like_that_of_a_file() {
    let text = r#"{
        "name": "api", "use": ["t"], "notify": ["alerts", "ops"], "depends-on": ["router", "other"],
        "failure-threshold": 5, "labels": {"site": "a"},
        "pulse": {"plugin": "http", "settings": {"url": "https://a.example.com", "bearer": "${secret:token}"}}
    }"#;
    let all = [
        ("acme", "api", text),
        ("acme", "other", GOOD),
        ("default", "mine", GOOD),
    ];
    for filed in [starting(&all), running(&all)] {
        let config = World::new().load_beside(Keep::Nothing, filed).unwrap();
        assert_eq!(aside(&config), [] as [&str; 0]);
        let api = monitor(&config, "acme", "api");
        assert_eq!(api.policy.interval, Duration::from_secs(7), "the template's");
        assert_eq!(api.policy.failure_threshold, 5);
        let sinks: Vec<&str> = api.sinks.iter().map(|sink| &*sink.name).collect();
        assert_eq!(sinks, ["alerts", "ops"]);
        let settings = api.assignment(Kind::Pulse, 0).unwrap().settings;
        assert!(settings.contains(&format!("{OPEN}token{CLOSE}")), "{settings}");
        let parents: Vec<&str> = api
            .parents
            .iter()
            .map(|parent| config.monitors[*parent as usize].name())
            .collect();
        assert_eq!(parents, ["router", "other"]);
        // Behind all files, and those of files are where they were.
        let names = monitors(&config);
        assert_eq!(
            names[names.len() - 3..],
            ["default/mine", "acme/api", "acme/other"]
        );
        let shop = monitor(&config, "acme", "shop");
        let parents = shop.parents.iter().map(|parent| &*names[*parent as usize]);
        assert_eq!(parents.collect::<Vec<_>>(), ["acme/router"]);
        let owners: Vec<String> = (0..)
            .zip(&names)
            .map(|(at, _)| config.places.owner(at).to_string())
            .collect();
        let owner = |name: &str| {
            let at = names.iter().position(|known| known == name).unwrap();
            owners[at].rsplit('/').next().unwrap().to_owned()
        };
        assert_eq!(owner("acme/api"), "the API");
        assert_eq!(owner("default/first"), "pulse-host.toml:14");
        assert_eq!(owner("acme/router"), "acme.toml:7");
        assert_eq!(owner("acme/list-2"), "list.csv:3");
    }
}

#[test]
fn what_is_wrong_is_told_by_pointer_and_all_at_once() {
    let text = "{\n \"use\": [\"none\"],\n \"intervall\": \"1s\",\n \"notify\": [\"nobody\"],\n \
        \"pulse\": {\"plugin\": \"http\", \"settings\": {\"url\": 7}}}";
    let refusal = refused("acme", "api", text);
    let told: Vec<(&str, Option<usize>, &str)> = refusal
        .faults
        .iter()
        .map(|fault| (fault.id, fault.line, fault.pointer.as_deref().unwrap_or("none")))
        .collect();
    assert_eq!(
        told,
        [
            ("unknown-template", Some(2), "/use/0"),
            ("unknown-key", Some(3), "/intervall"),
            ("unknown-notifier", Some(4), "/notify/0"),
            ("bad-setting", Some(5), "/pulse/settings/url"),
        ],
        "{}",
        refusal.problems
    );
    assert!(
        refusal
            .faults
            .iter()
            .all(|fault| fault.help.is_some() && fault.monitor.is_some())
    );
    assert_eq!(
        refusal.blamed.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["api"]
    );
}

#[test]
fn a_document_reaches_nothing_that_a_file_of_its_party_would_not() {
    let url = |url: &str| format!(r#"{{"pulse": {{"plugin": "http", "settings": {{"url": "{url}"}}}}}}"#);
    for (tenant, text, told) in [
        (
            "default",
            url("https://a/${env:TOKEN}"),
            "can't be said over the API",
        ),
        (
            "default",
            url("https://a/${file:/etc/passwd}"),
            "can't be said over the API",
        ),
        (
            "default",
            url("https://a/${secret:token}"),
            "can't be said over the API",
        ),
        (
            "acme",
            url("https://a/${env:TOKEN}"),
            "is for the operator's own files",
        ),
        (
            "acme",
            url("https://a/${secret:other}"),
            "there is no secret `other`",
        ),
        ("acme", url("https://a/\u{fdd0}token\u{fdd1}"), "U+FDD0"),
        ("default", url("https://a/\u{fdd0}token\u{fdd1}"), "U+FDD0"),
        (
            "acme",
            r#"{"targets": "/etc/passwd", "key": "id"}"#.to_owned(),
            "can't be said over the API",
        ),
        (
            "default",
            r#"{"name": "other"}"#.to_owned(),
            "put under the name `api`",
        ),
        ("beta", r#"{"use": ["t"]}"#.to_owned(), "there is no template `t`"),
        (
            "beta",
            r#"{"pulse": {"plugin": "acme/probe"}}"#.to_owned(),
            "acme/probe",
        ),
        ("default", "[]".to_owned(), "must be a table"),
        ("default", "{".to_owned(), "no valid JSON"),
        (
            "acme",
            GOOD.replace("pulse\"", "depends-on\": [\"first\"], \"pulse\""),
            "there is no monitor `first`",
        ),
        (
            "acme",
            GOOD.replace("pulse\"", "depends-on\": [\"api\"], \"pulse\""),
            "depends on itself",
        ),
    ] {
        let refusal = refused(tenant, "api", &text);
        let shown = refusal.problems.to_string();
        assert!(shown.contains(told), "{text}: {shown}");
        assert!(!shown.contains("root:"), "{shown}");
    }
    for name in ["", "pulse-host", "a\nb"] {
        assert!(!refused("default", name, GOOD).faults.is_empty(), "{name:?}");
    }
}

#[test]
fn who_stands_in_a_file_is_told_with_the_place() {
    for (name, place) in [("shop", "acme.toml:10"), ("list-2", "list.csv:3")] {
        let refusal = refused("acme", name, GOOD);
        assert_eq!(refusal.faults.len(), 1);
        let fault = &refusal.faults[0];
        assert_eq!(fault.id, "duplicate-name");
        assert!(fault.detail.ends_with(place), "{}", fault.detail);
    }
}

#[test]
fn where_there_is_no_room_for_all_it_is_the_new_one_that_has_none() {
    let mut config = World::new().load(Keep::Nothing);
    let mut all: Vec<(String, &str)> = (0..6).map(|number| (format!("m{number}"), GOOD)).collect();
    let own = |all: &[(String, &'static str)]| {
        let all: Vec<(&str, &str, &str)> = all.iter().map(|(name, text)| ("acme", &**name, *text)).collect();
        documents(&all)
    };
    assert!(
        config.footings.build(&own(&all), &BTreeMap::new()).is_ok(),
        "10 are allowed, 4 are there"
    );
    // First by its name.
    all.push(("a".to_owned(), GOOD));
    let refusal = config.footings.build(&own(&all), &put("acme", "a")).unwrap_err();
    assert_eq!(
        refusal.blamed.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["a"]
    );
    assert!(refusal.faults[0].detail.contains("quota"), "{:?}", refusal.faults);
}

#[test]
fn whoever_closes_a_circle_is_to_blame() {
    let on = |name: &str| GOOD.replace("pulse\"", &format!("depends-on\": [\"{name}\"], \"pulse\""));
    let mut config = World::new().load(Keep::Nothing);
    let (a, b, c) = (on("b"), on("c"), on("a"));
    let all = documents(&[("acme", "a", &a), ("acme", "b", &b), ("acme", "c", &c)]);
    let refusal = config.footings.build(&all, &put("acme", "c")).unwrap_err();
    assert!(refusal.blamed.contains("c"), "{:?}", refusal.blamed);
    assert!(
        refusal.problems.to_string().contains("in a circle"),
        "{}",
        refusal.problems
    );
}

/// While the host runs, a file that takes a name changes nothing; when it starts, the file goes first.
#[test]
fn a_file_that_takes_a_name_is_refused_by_a_host_that_runs_and_wins_when_it_starts() {
    let world = World::new();
    let all = [("default", "shop", GOOD), ("default", "mine", GOOD)];
    let unfit = world.load_beside(Keep::Nothing, running(&all)).unwrap_err();
    let told = unfit.problems.to_string();
    assert!(
        told.contains("default/shop (API)") && told.contains("pulse-host.toml:17"),
        "{told}"
    );
    let config = world.load_beside(Keep::Nothing, starting(&all)).unwrap();
    let told = aside(&config);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("default/shop: a file has the monitor `shop` already"),
        "{told:?}"
    );
    assert!(monitors(&config).contains(&"default/mine".to_owned()));
    // What was set aside stays so, and keeps nobody from reloading.
    let filed = Filed {
        aside: Some(BTreeSet::from([("default".into(), "shop".into())])),
        ..starting(&all)
    };
    assert_eq!(aside(&world.load_beside(Keep::Nothing, filed).unwrap()).len(), 1);
}

#[test]
fn a_tenants_file_that_puts_a_document_out_of_effect_is_not_in_force() {
    let world = World::new();
    let all = [
        (
            "acme",
            "api",
            r#"{"use": ["t"], "pulse": {"plugin": "http", "settings": {"url": "https://a.example.com"}}}"#,
        ),
        (
            "acme",
            "child",
            &GOOD.replace("pulse\"", "depends-on\": [\"api\"], \"pulse\""),
        ),
        ("acme", "good", GOOD),
    ];
    let config = world.load_beside(Keep::Good, running(&all)).unwrap();
    assert_eq!(config.tenants[0].standing.to_string(), "present");
    let other = "[[monitor]]\nname = \"new\"\npulse = { plugin = \"http\", settings = { url = \"https://a.example.com\" } }\n";
    world.write("tenants/acme/acme.toml", other);
    let config = world.load_beside(Keep::Good, running(&all)).unwrap();
    assert_eq!(config.tenants[0].standing.to_string(), "last good");
    let told = config.tenants[0].standing.problems().unwrap().to_string();
    assert!(
        told.contains("acme/api (API)") && told.contains("no template `t`"),
        "{told}"
    );
    assert!(monitors(&config).contains(&"acme/api".to_owned()) && aside(&config).is_empty());
    // When the host starts, the file goes first; who depends on what stands back stands back too.
    let config = world.load_beside(Keep::Nothing, starting(&all)).unwrap();
    assert_eq!(config.tenants[0].standing.to_string(), "present");
    let names: BTreeSet<&str> = config.aside.iter().map(|one| &*one.name).collect();
    assert_eq!(names, BTreeSet::from(["api", "child"]), "{:?}", aside(&config));
    let own: Vec<String> = monitors(&config)
        .into_iter()
        .filter(|name| name.starts_with("acme/"))
        .collect();
    assert_eq!(own, ["acme/new", "acme/good"]);
}

/// The terms are the operator's: a tenant's documents keep him from nothing.
#[test]
fn an_operator_who_takes_a_tenant_or_a_plugin_away_is_not_held_up() {
    let world = World::new();
    let all = [("beta", "api", GOOD), ("gone", "api", GOOD)];
    let config = world.load_beside(Keep::Good, running(&all)).unwrap();
    assert_eq!(
        aside(&config),
        ["gone/api: the tenant `gone` has no configuration in force"]
    );
    let terms = std::fs::read_to_string(world.path("pulse-host.toml")).unwrap();
    let less = terms.replace("allowed-plugins = [\"http\"]\n", "allowed-plugins = [\"log\"]\n");
    assert_ne!(less, terms);
    world.write("pulse-host.toml", &less);
    world.write("tenants/beta.toml", "");
    let config = world.load_beside(Keep::Good, running(&all)).unwrap();
    assert_eq!(config.aside.len(), 2, "{:?}", aside(&config));
}

#[test]
fn files_stand_on_their_own() {
    let world = World::new();
    let beta = "[[monitor]]\nname = \"shop\"\ndepends-on = [\"api\"]\npulse = { plugin = \"http\", settings = { url = \"https://b.example.com\" } }\n";
    world.write("tenants/beta.toml", beta);
    let config = world
        .load_beside(Keep::Nothing, starting(&[("beta", "api", GOOD)]))
        .unwrap();
    assert_eq!(config.tenants[1].standing.to_string(), "none");
}

#[test]
fn a_name_in_an_import_is_found_or_told() {
    assert_eq!(entry("{\"name\": \"shop\"}", 7).unwrap().name.as_ref(), "shop");
    for (text, line, pointer, told) in [
        ("{\"name\":\n}", 8, None, "no valid JSON"),
        ("[]", 7, Some(""), "no JSON object"),
        ("{}", 7, Some(""), "without `name`"),
        ("{\"name\": 1}", 7, Some("/name"), "must be a string"),
        ("{\"name\": \"\"}", 7, Some("/name"), "is empty"),
    ] {
        let fault = *entry(text, 7).unwrap_err();
        assert_eq!(
            (fault.line, fault.pointer.as_deref()),
            (Some(line), pointer),
            "{text}"
        );
        assert!(
            fault.detail.contains(told) && fault.help.is_some(),
            "{text}: {}",
            fault.detail
        );
    }
}
