//! Checks of other things than web pages, against real peers on loopback.

use crate::support::{
    dns::name_server,
    host::{Config, Host, colors},
    http::{Server, status},
    tls::{Authority, Certificate},
};
use std::sync::{Arc, Mutex};

#[test]
fn a_certificate_is_watched_until_it_ends() {
    let authority = Authority::new();
    let keys = authority.server(Certificate::Good);
    let target = Server::start_tls(keys.clone(), |_| status(200));
    let config = Config::new(format!(
        r#"
[plugins.tls]
grants.tcp = ["@settings.address"]
grants.networks = ["loopback"]
[[monitor]]
name = "shop"
pulse = {{ plugin = "tls", settings = {{ address = "{}", ca = {:?}, days = 1 }} }}
"#,
        target.address(),
        authority.pem(),
    ));
    let host = Host::start(&config);
    host.wait_for_log("shop is up: ");
    authority.renew(&keys, Certificate::Expiring);
    let alerts = host.wait_for_color("shop", "yellow");
    assert_eq!(alerts[0]["incident"]["reason"], "certificate-expiring");
    authority.renew(&keys, Certificate::Good);
    host.wait_for_color("shop", "green");
    for (certificate, reason) in [
        (Certificate::Expired, "tls-expired"),
        (Certificate::Elsewhere, "tls-name-mismatch"),
    ] {
        let before = host.alerts().len();
        authority.renew(&keys, certificate);
        let alerts = host.wait_for("red", || {
            let alerts = host.alerts();
            (colors(&alerts[before..]).last() == Some(&"red")).then_some(alerts)
        });
        assert_eq!(alerts.last().unwrap()["incident"]["reason"], reason);
        authority.renew(&keys, Certificate::Good);
        host.wait_for("green", || {
            (colors(&host.alerts()).last() == Some(&"green")).then_some(())
        });
    }
}

#[test]
fn a_name_that_leads_elsewhere_or_is_gone_is_down() {
    let address = Arc::new(Mutex::new(Some([192, 0, 2, 7])));
    let server = name_server(Arc::clone(&address));
    let config = Config::new(format!(
        r#"
[plugins.dns]
grants.dns = ["@settings.server"]
grants.networks = ["loopback"]
[[monitor]]
name = "shop"
pulse = {{ plugin = "dns", settings = {{ name = "shop.example", server = "{server}", expect = ["192.0.2.7"] }} }}
"#
    ));
    let host = Host::start(&config);
    host.wait_for_log("shop is up: ");
    for (held, reason) in [
        (Some([192, 0, 2, 8]), "unexpected-answer"),
        (None, "no-such-name"),
    ] {
        let before = host.alerts().len();
        *address.lock().unwrap() = held;
        let alerts = host.wait_for("red", || {
            let alerts = host.alerts();
            (colors(&alerts[before..]).last() == Some(&"red")).then_some(alerts)
        });
        assert_eq!(alerts.last().unwrap()["incident"]["reason"], reason);
        *address.lock().unwrap() = Some([192, 0, 2, 7]);
        host.wait_for("green", || {
            (colors(&host.alerts()).last() == Some(&"green")).then_some(())
        });
    }
}
