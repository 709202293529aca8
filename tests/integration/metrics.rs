//! Series of single monitors, as the running program tells them.

use crate::{
    probe::ask,
    support::{
        host::{Config, Host},
        http::{Server, status},
        sockets,
    },
};
use tempfile::TempDir;

/// The value of a series, if it is there.
fn value(figures: &str, series: &str) -> Option<f64> {
    let line = figures.lines().find_map(|line| line.strip_prefix(series));
    line.map(|value| value.trim().parse().unwrap())
}

#[test]
fn a_chosen_monitor_has_series_that_tell_of_its_checks_until_it_is_chosen_no_more() {
    let server = Server::start(|_| status(200));
    let dead = sockets::dead();
    let monitor = |name: &str, plugin: &str, settings: String, labels: &str| {
        format!(
            "[[monitor]]\nname = \"{name}\"\nlabels = {{ {labels} }}\npulse = {{ plugin = \"{plugin}\", settings = {{ {settings} }} }}\n"
        )
    };
    let url = format!("url = \"{}\"", server.url("/"));
    let monitors = [
        monitor("good", "http", url.clone(), "watched = \"yes\", site = \"a\""),
        monitor(
            "bad",
            "tcp",
            format!("address = \"{}\"", dead.address),
            "watched = \"yes\"",
        ),
        monitor("other", "http", url, "site = \"a\""),
    ]
    .concat();
    let chosen = "[metrics]\nmonitors = 'watched=\"yes\"'\nlabels = [\"site\"]\n";
    let config = Config::new(format!("{chosen}{monitors}"));
    let host = Host::start_serving(TempDir::new().unwrap(), &config);
    let (good, bad) = (
        "{tenant=\"default\",monitor=\"good\",label_site=\"a\"",
        "{tenant=\"default\",monitor=\"bad\",label_site=\"\"",
    );
    let figures = host.wait_for("what is known of both", || {
        let figures = ask(&host, "/metrics").1;
        let of = |name: &str, labels: &str| value(&figures, &format!("pulse_host_monitor_{name}{labels}"));
        let known = of("up", &format!("{good}}}")) == Some(1.0)
            && of("up", &format!("{bad}}}")) == Some(0.0)
            && of("checks_total", &format!("{good},outcome=\"healthy\"}}")) >= Some(3.0)
            && of("checks_total", &format!("{bad},outcome=\"unhealthy\"}}")) >= Some(2.0)
            && of("last_check_duration_seconds", &format!("{good}}}")) > Some(0.0)
            && of("last_check_timestamp_seconds", &format!("{bad}}}")) > Some(1.6e9);
        known.then_some(figures)
    });
    assert!(
        figures.contains(&format!("pulse_host_monitor_state{bad},state=\"down\"}} 1\n")),
        "{figures}"
    );
    assert!(!figures.contains("monitor=\"other\""), "{figures}");
    assert_eq!(
        value(
            &figures,
            &format!("pulse_host_monitor_checks_total{good},outcome=\"unhealthy\"}}")
        ),
        Some(0.0)
    );
    // The others are chosen in their place, and later nobody is.
    let before = value(
        &figures,
        &format!("pulse_host_monitor_checks_total{good},outcome=\"healthy\"}}"),
    )
    .unwrap();
    let others = "[metrics]\nmonitors = 'site=\"a\"'\n";
    host.rewrite(&Config::new(format!("{others}{monitors}")));
    let figures = host.wait_for("the other choice", || {
        let figures = ask(&host, "/metrics").1;
        (figures.contains("monitor=\"other\"") && !figures.contains("monitor=\"bad\"")).then_some(figures)
    });
    let after = value(
        &figures,
        "pulse_host_monitor_checks_total{tenant=\"default\",monitor=\"good\",outcome=\"healthy\"}",
    );
    assert!(
        after >= Some(before),
        "what was counted goes on: {before}, {after:?}"
    );
    host.rewrite(&Config::new(monitors));
    host.wait_for("no series of single monitors", || {
        (!ask(&host, "/metrics").1.contains("monitor=\"")).then_some(())
    });
    host.stop();
}
