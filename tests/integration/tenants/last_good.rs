//! A tenant's broken file: its last good configuration goes on, over a restart too, and nobody else notices.

use super::World;
use crate::support::{
    host::Host,
    http::{Server, status},
};
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

const TENANTS: &str = r#"
[tenants.acme]
config = "tenants/acme"
allowed-plugins = ["http"]
[tenants.beta]
config = "tenants/beta"
allowed-plugins = ["http"]
"#;

fn monitor(name: &str, server: &Server) -> String {
    format!(
        "[defaults]\ninterval = \"200ms\"\n[[monitor]]\nname = {name:?}\npulse = {{ plugin = \"http\", settings = {{ url = {:?} }} }}\n",
        server.url("/")
    )
}

/// Stops the program and leaves its folder to the next.
fn restart(host: Host, change: impl FnOnce(&World)) -> Host {
    let (folder, ended) = host.stop_keeping_folder();
    assert_eq!(ended.status.code(), Some(0));
    let world = World(folder);
    change(&world);
    world.start()
}

#[test]
fn a_broken_file_over_two_restarts_and_mended() {
    let server = Server::start(|_| status(200));
    let world = World::new(TENANTS);
    world.write("tenants/acme/a.toml", &monitor("shop", &server));
    world.write("tenants/beta/b.toml", &monitor("shop", &server));
    let host = world.start();
    host.wait_for_log(" acme/shop is up: HTTP 200");
    host.wait_for_log(" beta/shop is up: HTTP 200");
    let kept = host.folder().join("state/tenants/acme/good.json");
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let broken = "[[monitor]]\nname = \"shop\"\npluse = 5\n";
    let host = restart(host, |world| {
        world.write("tenants/acme/a.toml", broken);
        let (code, said) = world.say(&["check-config"]);
        assert_eq!(code, 2, "{said}");
        for part in [
            "tenants/acme/a.toml:3:1",
            "did you mean `pulse`?",
            "tenant acme: 2 problems in tenants/acme; its last good configuration stands in for it",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("tenant beta"), "{said}");
    });
    host.wait_for_log("tenant acme: its configuration is wrong (2 problems); its last good one");
    host.wait_for_log("tenants/acme/a.toml:3:1");
    host.wait_for_log(" acme/shop is up: HTTP 200");
    host.wait_for_log(" beta/shop is up: HTTP 200");

    // Once more, and with the file gone: what was kept is still there.
    let host = restart(host, |world| {
        std::fs::remove_file(world.path().join("tenants/acme/a.toml")).unwrap();
    });
    host.wait_for_log("there is no *.toml file in it");
    host.wait_for_log(" acme/shop is up: HTTP 200");

    let host = restart(host, |world| {
        world.write("tenants/acme/a.toml", &monitor("store", &server))
    });
    host.wait_for_log(" acme/store is up: HTTP 200");
    let ended = host.stop();
    assert!(
        !ended.logged("is wrong") && !ended.logged("acme/shop"),
        "{:#?}",
        ended.log
    );
}

#[test]
fn a_tenant_that_never_had_a_good_file_has_no_monitors_and_the_rest_runs() {
    let server = Server::start(|_| status(200));
    let world = World::new(TENANTS);
    world.write("tenants/acme/a.toml", "[host]\ntick = \"1s\"\n");
    world.write("tenants/beta/b.toml", &monitor("shop", &server));
    let (code, said) = world.say(&["check-config", "--output", "json"]);
    assert_eq!(code, 2);
    let shown: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(shown["valid"], false);
    assert_eq!(
        (&shown["problems"][0]["tenant"], &shown["problems"][0]["line"]),
        (&"acme".into(), &1.into())
    );
    assert_eq!(shown["tenants"][1]["standing"], "present");
    let (code, said) = world.say(&["probe", "beta/shop"]);
    assert!(
        code == 0 && said.contains("healthy beta/shop: HTTP 200"),
        "{said}"
    );
    let (code, said) = world.say(&["probe", "acme/shop"]);
    assert!(code == 2 && said.contains("tenants/acme/a.toml:1:2"), "{said}");

    let host = world.start();
    host.wait_for_log(
        "tenant acme: its configuration is wrong (1 problem), and it has no monitors: it never had a good",
    );
    host.wait_for_log(" beta/shop is up: HTTP 200");
    host.stop();
}

#[test]
fn what_the_operator_wrote_wrongly_is_still_an_error_of_all() {
    let world = World::new("[tenants.acme]\nconfig = \"tenants/acme\"\nallowed-plugins = [\"htpp\"]\n");
    world.write("tenants/acme/a.toml", "[plugins.http]\n");
    let (code, said) = world.say(&["run"]);
    assert_eq!(code, 2, "{said}");
    for part in [
        "pulse-host.toml:17:20",
        "did you mean `http`?",
        "tenants/acme/a.toml:1:2",
        "Nothing was started",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(
        !world.path().join("state/tenants").exists(),
        "nothing is kept of what was not in force"
    );
}

#[test]
fn figures_are_left_for_the_command_line() {
    let server = Server::start(|_| status(200));
    let world = World::new(&TENANTS.replace(
        "[tenants.beta]",
        "quotas = { monitors = 3, cpu = \"250ms\" }\n[tenants.beta]",
    ));
    world.write("tenants/acme/a.toml", &monitor("shop", &server));
    world.write("tenants/beta/b.toml", "?");
    let (code, said) = world.say(&["tenants"]);
    assert_eq!(code, 0, "{said}");
    for part in [
        "acme     present         1         http     monitors = 3, cpu = 250ms per s",
        "beta     none            0         http     none",
        "No running host has left figures",
        "tenants/beta/b.toml:1:1",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let host = world.start();
    let path = host.folder().join("state/tenants.json");
    host.wait_for("figures", || {
        let text = std::fs::read_to_string(&path).ok()?;
        let figures: serde_json::Value = serde_json::from_str(&text).unwrap();
        figures["tenants"]["acme"]["jobs"]
            .as_u64()
            .filter(|jobs| *jobs > 0)
    });
    host.wait_for_log("tenant acme in the last 10 s: ");
    let (folder, _): (TempDir, _) = host.stop_keeping_folder();
    let (_, said) = World(folder).say(&["tenants", "--output", "json"]);
    let json = said.get(..said.rfind('}').unwrap() + 1).unwrap();
    let shown: serde_json::Value = serde_json::from_str(json).unwrap();
    let acme = &shown["tenants"][1];
    assert_eq!(
        (&acme["name"], &acme["quotas"]["monitors"]),
        (&"acme".into(), &3.into())
    );
    assert!(acme["used"]["jobs"].as_u64().unwrap() > 0, "{acme}");
    assert!(acme["used"]["cpu_seconds"].as_f64().unwrap() > 0.0, "{acme}");
    assert!(shown["figures_age_seconds"].as_f64().unwrap() < 3_600.0);
}
