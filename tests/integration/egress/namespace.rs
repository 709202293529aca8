//! The kernel's own word for it: in a network namespace whose routes lead everywhere, not one packet leaves for what was
//! not granted.

use super::{lab, native};
use crate::support::sandbox::{Work, loopback};
use pulse_host::{
    clock::Clock,
    domain::{
        grant::{Grants, Network},
        outcome::Outcome,
    },
};
use serde_json::json;
use std::{fs, net::UdpSocket, process::Command};

/// What the inner test says when it has run to its end.
const DONE: &str = "no packet for what was not granted";
/// What it says when this machine does not let it.
const SKIPPED: &str = "skipped: ";

/// Addresses that only a mistake would send a packet to. All of them have a route in there.
const FORBIDDEN: &[&str] = &[
    "169.254.169.254",
    "168.63.129.16",
    "100.100.100.200",
    "127.0.0.1",
    "127.1.2.3",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "224.0.0.251",
    "255.255.255.255",
    "[::1]",
    "[fd00:ec2::254]",
    "[fe80::1]",
    "[::ffff:169.254.169.254]",
    "[::a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[ff02::1]",
];

#[test]
fn no_packet_leaves_for_what_was_not_granted() {
    let inner = Command::new("unshare")
        .args(["--net", "--map-root-user", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "egress::namespace::inside_the_namespace",
            "--ignored",
            "--nocapture",
        ])
        .output();
    let output = match inner {
        Ok(output) => output,
        Err(error) => return println!("{SKIPPED}unshare can't be run: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.starts_with("unshare:") {
        return println!("{SKIPPED}this machine gives no network namespace: {complaint}");
    }
    if let Some(reason) = said.lines().find(|line| line.contains(SKIPPED)) {
        return println!("{reason}");
    }
    assert!(
        output.status.success() && said.contains(DONE),
        "{said}\n{complaint}"
    );
}

/// Packets that left this namespace, IPv4 and IPv6.
fn packets() -> u64 {
    let snmp = fs::read_to_string("/proc/self/net/snmp").unwrap();
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let v4 = names
        .split(' ')
        .zip(values.split(' '))
        .find(|(name, _)| *name == "OutRequests")
        .unwrap()
        .1
        .parse::<u64>()
        .unwrap();
    let snmp6 = fs::read_to_string("/proc/self/net/snmp6").unwrap_or_default();
    let v6 = snmp6
        .lines()
        .find_map(|line| line.strip_prefix("Ip6OutRequests"))
        .map_or(0, |value| value.trim().parse().unwrap());
    v4 + v6
}

fn set_up() -> Result<(), String> {
    for line in [
        "link set lo up",
        // Whatever has no better route goes out here, and is counted before it is lost.
        "route add default dev lo",
        "-6 route add default dev lo",
    ] {
        let status = Command::new("ip").args(line.split(' ')).status();
        match status {
            Ok(status) if status.success() => {}
            // A machine without IPv6 has fewer ways out.
            Ok(_) if line.starts_with("-6") => {}
            other => return Err(format!("`ip {line}` does not work here: {other:?}")),
        }
    }
    Ok(())
}

#[test]
#[ignore = "run by `no_packet_leaves_for_what_was_not_granted`"]
fn inside_the_namespace() {
    if let Err(reason) = set_up() {
        return println!("{SKIPPED}{reason}");
    }
    // The counting counts.
    let before = packets();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.send_to(b"x", "169.254.169.254:80").unwrap();
    assert!(packets() > before, "a packet of this test's own was not counted");

    let lab = lab(Clock::system());
    let mut public = Grants {
        networks: Default::default(),
        ..loopback()
    };
    public.networks.insert(Network::Public);
    let before = packets();
    let mut tried = 0;
    for host in FORBIDDEN {
        let address = format!("{host}:80");
        for work in [
            Work::chaos(json!({"do": "http", "url": format!("http://{address}/"), "ignore-errors": true})),
            Work::chaos(json!({"do": "tcp", "address": address, "ignore-errors": true})),
            native(json!({"do": "get", "authority": address, "path": "/", "ignore-errors": true})),
            native(json!({"do": "tcp", "address": address, "ignore-errors": true})),
            native(json!({"do": "udp", "address": address, "say": "x", "ignore-errors": true})),
            native(json!({"do": "udp-connected", "address": address, "say": "x", "ignore-errors": true})),
        ] {
            tried += 1;
            let settings = work.settings.clone();
            let outcome = lab.run(&work.grants(public.clone())).outcome;
            // Some spellings no socket of that kind takes in the first place.
            assert!(
                matches!(outcome, Outcome::Denied(_) | Outcome::Answer(_)),
                "{settings}: {outcome:?}"
            );
            assert_eq!(packets(), before, "{settings}: {outcome:?}");
        }
    }
    // And what is granted leaves.
    let work = native(json!({"do": "spray", "count": 3})).grants(loopback());
    lab.run(&work);
    assert!(packets() >= before + 3);
    println!("{DONE}: {tried} tries");
}
