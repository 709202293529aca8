//! What targets do to a check, and what it makes of that.

use crate::support::{
    host::{Config, Host, colors},
    http::{Server, status},
    sockets,
    tls::{Authority, Certificate},
};

fn monitor(name: &str, plugin: &str, settings: &str) -> String {
    format!(
        "[[monitor]]\nname = {name:?}\ntimeout = \"2s\"\npulse = {{ plugin = {plugin:?}, settings = {{ {settings} }} }}\n"
    )
}

fn http(name: &str, url: &str, more: &str) -> String {
    monitor(name, "http", &format!("url = {url:?}{more}"))
}

#[test]
fn every_way_to_be_down_has_its_reason() {
    let dead = sockets::dead();
    let authority = Authority::new();
    let stranger = Authority::new();
    let ca = format!(", ca = {:?}", authority.pem());
    let tls = |certificate| Server::start_tls(authority.server(certificate), |_| status(200)).https("/");
    let mutual = Server::start_tls(authority.mutual(), |_| status(200)).https("/");
    let (chain, key) = authority.client();
    let (foreign_chain, foreign_key) = stranger.client();
    let client =
        |chain: &str, key: &str| format!("{ca}, client-certificate = {{ chain = {chain:?}, key = {key:?} }}");
    let url = |address: std::net::SocketAddr| format!("http://{address}/");
    let down = [
        (
            "refused",
            http("refused", &url(dead.address), ""),
            "connection-refused",
        ),
        (
            "reset",
            http("reset", &url(sockets::resetting()), ""),
            "connection-reset",
        ),
        ("silent", http("silent", &url(sockets::silent()), ""), "timeout"),
        (
            "no-http",
            http("no-http", &url(sockets::lines(|_| "hello\n".into())), ""),
            "protocol-error",
        ),
        (
            "expired",
            http("expired", &tls(Certificate::Expired), &ca),
            "tls-expired",
        ),
        (
            "elsewhere",
            http("elsewhere", &tls(Certificate::Elsewhere), &ca),
            "tls-name-mismatch",
        ),
        (
            "untrusted",
            http("untrusted", &tls(Certificate::Good), ""),
            "tls-untrusted",
        ),
        ("no-client", http("no-client", &mutual, &ca), "tls-failed"),
        (
            "wrong-client",
            http("wrong-client", &mutual, &client(&foreign_chain, &foreign_key)),
            "tls-failed",
        ),
    ];
    let up = [
        ("own-ca", http("own-ca", &tls(Certificate::Good), &ca)),
        ("client", http("client", &mutual, &client(&chain, &key))),
        (
            "insecure",
            http("insecure", &tls(Certificate::Expired), ", insecure = true"),
        ),
    ];
    let text = down.iter().map(|(_, text, _)| text.as_str());
    let config: String = text.chain(up.iter().map(|(_, text)| text.as_str())).collect();
    let host = Host::start(&Config::new(config));
    for (name, _, reason) in &down {
        let alerts = host.wait_for_color(name, "red");
        assert_eq!(colors(&alerts), ["yellow", "red"], "{name}");
        assert_eq!(alerts[1]["incident"]["reason"], *reason, "{name}: {}", alerts[1]);
    }
    for (name, _) in &up {
        host.wait_for_log(&format!(" {name} is up: "));
        assert_eq!(host.alerts_of(name), [] as [serde_json::Value; 0]);
    }
    let refused = &host.alerts_of("refused")[1];
    let summary = refused["incident"]["summary"].as_str().unwrap();
    assert!(summary.contains(&dead.address.to_string()), "where: {summary}");
    let insecure = host.wait_for_log(" insecure is up: ");
    assert!(insecure.contains("NOT verified"), "{insecure}");
}

#[test]
fn a_tcp_dialogue_is_judged_by_what_is_said() {
    let server = sockets::lines(|line| match line {
        "PING" => "+PONG\r\n".to_owned(),
        other => format!("-ERR unknown command {other}\r\n"),
    });
    let dead = sockets::dead();
    let tcp = |name: &str, address: std::net::SocketAddr, more: &str| {
        monitor(name, "tcp", &format!("address = \"{address}\"{more}"))
    };
    let host = Host::start(&Config::new(
        tcp("port", server, "")
            + &tcp("ping", server, r#", send = "PING\r\n", expect-line = "+PONG""#)
            + &tcp("wrong", server, r#", send = "QUIT\r\n", expect-line = "+OK""#)
            + &tcp(
                "mute",
                sockets::silent(),
                r#", send = "PING\r\n", expect = "PONG""#,
            )
            + &tcp("dead", dead.address, ""),
    ));
    for (name, reason) in [
        ("wrong", "unexpected-answer"),
        ("mute", "timeout"),
        ("dead", "connection-refused"),
    ] {
        let alerts = host.wait_for_color(name, "red");
        assert_eq!(alerts[1]["incident"]["reason"], reason, "{name}: {}", alerts[1]);
    }
    let wrong = &host.alerts_of("wrong")[1]["incident"]["summary"];
    assert!(
        wrong.as_str().unwrap().contains("-ERR unknown command QUIT"),
        "{wrong}"
    );
    for name in ["port", "ping"] {
        host.wait_for_log(&format!(" {name} is up: "));
        assert_eq!(host.alerts_of(name), [] as [serde_json::Value; 0]);
    }
}
