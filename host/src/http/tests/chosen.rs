//! Series of single monitors.

use super::*;
use crate::domain::{
    outcome::Status,
    series::{Counts, Ending, MetricsSettings},
    time::Wall,
};

/// Chooses them, and returns what is counted of each.
pub(super) fn choose(site: &Site, selector: &str, labels: &[&str]) -> Vec<Arc<Counts>> {
    let settings = MetricsSettings {
        monitors: Some(selector.parse().unwrap()),
        labels: labels.iter().map(|label| (*label).into()).collect(),
    };
    let counted = site.app.series.choose(&site.app.directory.present(), &settings);
    counted.into_iter().map(|(_, counts)| counts).collect()
}

fn of_monitors(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.starts_with("pulse_host_monitor_"))
        .collect()
}

#[tokio::test]
async fn those_that_are_chosen_have_series_and_a_tenant_sees_its_own() {
    let site = site(HttpSettings {
        tokens: vec![token("acme", Role::Viewer, Some("acme"))],
        ..HttpSettings::default()
    });
    let shown = [("authorization", "Bearer acme")];
    let none = ask(&site, "GET", "/metrics", HERE, &[]).await.text;
    assert_eq!(of_monitors(&none), [""; 0]);
    assert!(none.contains("pulse_host_monitors_left_out 0\n"), "{none}");
    let counts = choose(&site, "monitor!=none", &["site"]);
    counts[1].add(
        Ending::Verdict(Status::Unhealthy),
        Wall(1_700_000_000_500),
        Duration::from_millis(250),
    );
    let all = ask(&site, "GET", "/metrics", HERE, &[]).await.text;
    let name = "tenant=\"default\",monitor=\"a/b c\",label_site=\"<b>\"";
    for line in [
        format!("pulse_host_monitor_state{{{name},state=\"unknown\"}} 1"),
        format!("pulse_host_monitor_last_check_timestamp_seconds{{{name}}} 1700000000.5"),
        format!("pulse_host_monitor_last_check_duration_seconds{{{name}}} 0.25"),
        format!("pulse_host_monitor_checks_total{{{name},outcome=\"unhealthy\"}} 1"),
        format!("pulse_host_monitor_checks_total{{{name},outcome=\"fault\"}} 0"),
    ] {
        assert!(all.contains(&format!("{line}\n")), "{line} is not in {all}");
    }
    // Nobody knows of any whether it is up.
    assert!(!all.contains("pulse_host_monitor_up{"), "{all}");
    assert_eq!(
        of_monitors(&all)
            .iter()
            .filter(|line| line.contains("_state{"))
            .count(),
        3
    );
    let own = ask(&site, "GET", "/metrics", AWAY, &shown).await;
    assert_eq!(own.status, StatusCode::OK);
    let lines: Vec<&str> = own.text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(lines.len() > 10, "{lines:?}");
    for line in lines {
        assert!(line.contains("{tenant=\"acme\""), "{line}");
    }
    choose(&site, "site=a", &[]);
    let some = ask(&site, "GET", "/metrics", HERE, &[]).await.text;
    let lines = of_monitors(&some);
    assert!(!lines.is_empty());
    for line in lines {
        assert!(line.contains("{tenant=\"default\",monitor=\"shop\""), "{line}");
    }
}
