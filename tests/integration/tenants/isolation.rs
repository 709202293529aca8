//! What is one tenant's can't be used, named or reached by another.

use super::World;
use crate::support::http::{Server, status};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

const TENANTS: &str = r#"
[plugins."acme/chaos"]
grants.http = ["@settings.url"]
grants.tcp = ["@settings.address"]
grants.networks = ["loopback"]
grants.docker = { containers = ["none"] }
grants.directories = [{ path = "./alerts" }]
[notifiers.ops]
plugin = "file"
settings = { path = "ops.ndjson" }
[tenants.acme]
config = "tenants/acme"
plugins = "tenants/acme/plugins"
allowed-plugins = ["http", "file"]
secrets.token = "${env:HOME}-of-acme"
[tenants.acme.grants.http]
http = ["http://127.0.0.1:*"]
[tenants.beta]
config = "tenants/beta"
allowed-plugins = ["http", "file"]
shared-notifiers = ["ops"]
[tenants.beta.grants.http]
http = ["http://localhost:*"]
"#;

const ALERTS: &str = r#"
[defaults]
interval = "200ms"
retry-interval = "100ms"
failure-threshold = 1
notify = ["alerts"]
[notifiers.alerts]
plugin = "file"
"#;

#[test]
fn the_same_names_are_different_things_and_codes_go_to_ones_own_notifiers() {
    let down = Server::start(|_| status(503));
    let monitor = |name: &str, extra: &str| {
        format!(
            "[[monitor]]\nname = \"{name}\"\n{extra}pulse = {{ plugin = \"http\", settings = {{ url = \"{}\" }} }}\n",
            down.url("/")
        )
    };
    let world = World::new(&TENANTS.replace("http://localhost:*", "http://127.0.0.1:*"));
    world.write(
        "tenants/acme/a.toml",
        &format!(
            "{ALERTS}settings = {{ path = \"acme.ndjson\" }}\n{}",
            monitor("shop", "")
        ),
    );
    world.write(
        "tenants/beta/b.toml",
        &format!(
            "{ALERTS}settings = {{ path = \"beta.ndjson\" }}\n{}{}",
            monitor("shop", ""),
            monitor("other", "depends-on = [\"shop\"]\nnotify-add = [\"ops\"]\n")
        ),
    );
    world.give_chaos("acme");
    let host = world.start();
    let alerts = |file: &str| {
        let path = host.folder().join("alerts").join(file);
        host.wait_for(file, || {
            let text = std::fs::read_to_string(&path).ok()?;
            let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let alerts: Vec<serde_json::Value> =
                lines.map(|line| serde_json::from_str(line).unwrap()).collect();
            alerts
                .iter()
                .any(|alert| alert["color"] == "red")
                .then_some(alerts)
        })
    };
    for tenant in ["acme", "beta"] {
        for alert in alerts(&format!("{tenant}.ndjson")) {
            assert_eq!(alert["tenant"], tenant, "{alert}");
            let key = alert["incident_key"].as_str().unwrap();
            assert!(key.starts_with(&format!("{tenant}/shop/")), "{key}");
        }
    }
    host.wait_for_log("beta/other can't be reached");
    assert_eq!(host.logged(" acme/other"), 0);
    host.stop();
}

/// Whatever a tenant puts into its folder, the others run.
#[test]
fn a_link_in_the_place_of_its_plugins_stops_nobody() {
    let server = Server::start(|_| status(200));
    let world = World::new(
        "[tenants.acme]\nconfig = \"tenants/acme\"\nplugins = \"tenants/acme/plugins\"\n\
         [tenants.beta]\nconfig = \"tenants/beta\"\nplugins = \"tenants/beta/plugins\"\nallowed-plugins = [\"http\"]\n",
    );
    world.write("tenants/acme/a.toml", "");
    world.write(
        "tenants/beta/b.toml",
        &format!(
            "[[monitor]]\nname = \"shop\"\npulse = {{ plugin = \"http\", settings = {{ url = \"{}\" }} }}\n",
            server.url("/")
        ),
    );
    world.give_chaos("beta");
    std::os::unix::fs::symlink("../beta/plugins", world.path().join("tenants/acme/plugins")).unwrap();
    let (code, said) = world.say(&["plugin", "list"]);
    assert!(
        said.contains("beta/chaos") && !said.contains("acme/chaos"),
        "{code} {said}"
    );
    let host = world.start();
    host.wait_for_log("the plugins of the tenant `acme` are not used");
    host.wait_for_log(" beta/shop is up: HTTP 200");
    host.stop();
}

#[test]
fn nothing_of_another_can_be_named() {
    let world = World::new(TENANTS);
    world.write(
        "tenants/acme/a.toml",
        "[templates.mine]\n[notifiers.mine]\nplugin = \"file\"\nsettings = { path = \"a\" }\n\
         [[monitor]]\nname = \"shop\"\npulse = { plugin = \"acme/chaos\", settings = { do = \"healthy\" } }\n",
    );
    world.write("tenants/acme/list.csv", "id\n1\n");
    world.give_chaos("acme");
    let wrong = [
        ("use = [\"mine\"]", "there is no template `mine`"),
        ("notify = [\"mine\"]", "there is no notifier `mine`"),
        ("notify = [\"acme/mine\"]", "there is no notifier `acme/mine`"),
        ("depends-on = [\"shop\"]", "there is no monitor `shop`"),
        ("depends-on = [\"acme/shop\"]", "there is no monitor `acme/shop`"),
        (
            "intervention.plugin = \"acme/chaos\"",
            "there is no plugin `acme/chaos`",
        ),
        (
            "intervention.plugin = \"docker\"",
            "the plugin `docker` is not allowed for the tenant `beta`",
        ),
        (
            "pulse.settings.bearer = \"${secret:token}\"",
            "there is no secret `token`",
        ),
        (
            "pulse.settings.bearer = \"${env:HOME}\"",
            "`${env:HOME}` is for the operator's own files",
        ),
        (
            "targets = \"../acme/list.csv\"",
            "this names no file in the tenant's own folder",
        ),
    ];
    let mut text = String::new();
    for (number, (line, _)) in wrong.iter().enumerate() {
        text.push_str(&format!(
            "[[monitor]]\nname = \"m{number}\"\npulse.plugin = \"http\"\npulse.settings.url = \"http://localhost/\"\n{line}\n"
        ));
    }
    world.write("tenants/beta/b.toml", &text);
    let (code, said) = world.say(&["check-config"]);
    assert_eq!(code, 2);
    // Dependencies are looked at once everything else is there.
    for (line, part) in wrong.iter().filter(|(line, _)| !line.starts_with("depends-on")) {
        assert!(said.contains(part), "{line}: {part} in {said}");
    }
    assert!(!said.contains("tenants/acme/a.toml"), "{said}");
    for (line, part) in wrong.iter().filter(|(line, _)| line.starts_with("depends-on")) {
        world.write(
            "tenants/beta/b.toml",
            &format!("[[monitor]]\nname = \"m\"\npulse = {{ plugin = \"http\", settings = {{ url = \"http://localhost/\" }} }}\n{line}\n"),
        );
        let (code, said) = world.say(&["check-config"]);
        assert!(code == 2 && said.contains(part), "{line}: {part} in {said}");
    }
}

#[test]
fn a_plugin_reaches_only_what_both_the_operator_and_the_tenants_grants_cover() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = Server::start(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        status(200)
    });
    let world = World::new(TENANTS);
    let monitor = format!(
        "[[monitor]]\nname = \"shop\"\npulse = {{ plugin = \"http\", settings = {{ url = \"{}\" }} }}\n",
        server.url("/")
    );
    world.write("tenants/acme/a.toml", &monitor);
    world.write("tenants/beta/b.toml", &monitor);
    world.give_chaos("acme");
    let (code, said) = world.say(&["probe", "acme/shop"]);
    assert!(code == 0, "{said}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let (code, said) = world.say(&["probe", "beta/shop"]);
    assert!(code == 1 && said.contains("denied"), "{said}");
    assert!(
        said.contains("[tenants.beta.grants.http]"),
        "the line to change: {said}"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1, "nothing was sent");
}

#[test]
fn a_plugin_that_is_a_link_to_anothers_is_none() {
    let world = World::new(&TENANTS.replace(
        "[tenants.beta]\n",
        "[tenants.beta]\nplugins = \"tenants/beta/plugins\"\n",
    ));
    world.write("tenants/acme/a.toml", "[defaults]\n");
    world.write(
        "tenants/beta/b.toml",
        "[[monitor]]\nname = \"stolen\"\npulse = { plugin = \"beta/chaos\", settings = { do = \"healthy\" } }\n",
    );
    world.give_chaos("acme");
    let plugins = world.path().join("tenants/beta/plugins");
    std::fs::create_dir_all(plugins.join("inner")).unwrap();
    let theirs = world.path().join("tenants/acme/plugins/chaos");
    std::os::unix::fs::symlink(&theirs, plugins.join("folder")).unwrap();
    std::os::unix::fs::symlink(theirs.join("chaos.wasm"), plugins.join("bare.wasm")).unwrap();
    std::os::unix::fs::symlink(theirs.join("plugin.toml"), plugins.join("inner/plugin.toml")).unwrap();
    std::os::unix::fs::symlink(theirs.join("chaos.wasm"), plugins.join("inner/chaos.wasm")).unwrap();
    let (code, said) = world.say(&["check-config"]);
    assert!(
        code == 2 && said.contains("there is no plugin `beta/chaos`"),
        "{said}"
    );
    assert_eq!(
        said.matches("(a plugin of the tenant `beta`)").count(),
        3,
        "{said}"
    );
}
