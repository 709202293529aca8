//! Declared commands and echo requests in the running program: real processes, with limits, and real packets.

use crate::support::{
    host::{self, Config, Host},
    http::{Server, status},
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tempfile::TempDir;

/// A program of the operator's.
fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// One check of the monitor `m`, whose plugin is `nagios`, as `probe` shows it: for programs, and with all else that it says.
fn probe(folder: &Path, declared: &str, settings: &str) -> (String, String) {
    host::warm_up();
    let config = format!(
        "{declared}\n[[monitor]]\nname = \"m\"\npulse = {{ plugin = \"nagios\", settings = {{ command = \"check\" {settings} }} }}\n"
    );
    fs::write(folder.join("pulse-host.toml"), config).unwrap();
    let output = host::command()
        .args(["probe", "m", "--output", "json", "--plugins"])
        .arg(host::plugins())
        .env("A_SECRET_OF_THE_HOST", "hunter2hunter2")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let out = text(&output.stdout);
    let said = format!("{out}{}", text(&output.stderr));
    (out, said)
}

fn declared(program: &Path, more: &str) -> String {
    format!(
        "[commands.check]\nprogram = {program:?}\n{more}\n[plugins.nagios]\ngrants.commands = [\"check\"]\n"
    )
}

#[test]
fn a_check_made_for_nagios_is_understood() {
    let folder = TempDir::new().unwrap();
    let program = script(
        folder.path(),
        "check",
        "echo \"DISK $2 | /=50%;80;90 used=3MB\"; exit $1",
    );
    let args = "args = [\"{code}\", \"{text}\"]\nparams.code = { pattern = \"[0-9]\" }\nparams.text = { pattern = \"[A-Z]*\" }";
    for (code, status) in [(0, "healthy"), (1, "degraded"), (2, "unhealthy")] {
        let settings = format!(", arguments = {{ code = \"{code}\", text = \"FINE\" }}");
        let (out, said) = probe(folder.path(), &declared(&program, args), &settings);
        let json: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(json["status"], status, "{said}");
        assert!(said.contains("DISK FINE") && said.contains("\"root\""), "{said}");
    }
    // What no pattern allows is run by nobody.
    for text in ["FINE; touch escaped", "$(touch escaped)", "A\\nB", "../A", ""] {
        let settings = format!(", arguments = {{ code = \"0\", text = \"{text}\" }}");
        let (_, said) = probe(folder.path(), &declared(&program, args), &settings);
        let refused = said.contains("does not match");
        assert_eq!(refused, !text.is_empty(), "{text}: {said}");
    }
    assert!(!folder.path().join("escaped").exists());
}

#[test]
fn a_command_has_its_limits_from_its_first_instruction_on_and_nothing_of_the_hosts() {
    let folder = TempDir::new().unwrap();
    let program = script(
        folder.path(),
        "check",
        "echo \"$(ulimit -v) $(ulimit -t) $(ulimit -n) $(ulimit -c) $(pwd) [$(/usr/bin/env | /usr/bin/cut -d= -f1 | /usr/bin/sort | /usr/bin/tr '\\n' ' ')] $(cat)\"",
    );
    let more = "limits = { memory = \"512MiB\", cpu = \"7s\" }\ndir = \"/usr\"\nenv.OWN = \"1\"";
    let (_, said) = probe(folder.path(), &declared(&program, more), "");
    // The shell adds PWD and the like itself.
    assert!(said.contains("524288 7 1024 0 /usr ["), "{said}");
    assert!(
        said.contains("LANG ") && said.contains("OWN ") && said.contains("PATH "),
        "{said}"
    );
    for foreign in ["A_SECRET_OF_THE_HOST", "HOME ", "STATE_DIRECTORY", "hunter2"] {
        assert!(!said.contains(foreign), "{foreign}: {said}");
    }
}

#[test]
fn limits_end_a_command_and_not_the_host() {
    let folder = TempDir::new().unwrap();
    let spin = script(folder.path(), "spin", "while :; do :; done");
    let more = "limits.cpu = \"1s\"\ntimeout = \"1m\"";
    let declared_spin = declared(&spin, more) + "[defaults]\ntimeout = \"60s\"\n";
    let (_, said) = probe(folder.path(), &declared_spin, "");
    assert!(said.contains("was killed by signal"), "{said}");
    let hungry = script(folder.path(), "hungry", "x=a; while :; do x=$x$x$x$x; done");
    let more = "limits.memory = \"64MiB\"\ntimeout = \"1m\"";
    let declared_hungry = declared(&hungry, more) + "[defaults]\ntimeout = \"60s\"\n";
    let (_, said) = probe(folder.path(), &declared_hungry, "");
    assert!(
        said.contains("exited with") || said.contains("was killed"),
        "{said}"
    );
    let slow = script(folder.path(), "slow", "exec sleep 1000");
    let (_, said) = probe(folder.path(), &declared(&slow, "timeout = \"300ms\""), "");
    assert!(
        said.contains("\"timeout\"") && said.contains("did not end within"),
        "{said}"
    );
}

#[test]
fn what_can_not_be_started_is_no_failure_of_the_target() {
    let folder = TempDir::new().unwrap();
    let plain = folder.path().join("plain");
    fs::write(&plain, "no program").unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    for (declared, words) in [
        (declared(Path::new("/no/such/program"), ""), "No such file"),
        (declared(&plain, ""), "Permission denied"),
        (
            declared(Path::new("/bin/true"), "dir = \"/no/such\""),
            "/no/such: No such file",
        ),
    ] {
        let (_, said) = probe(folder.path(), &declared, "");
        assert!(said.contains("host-error") && said.contains(words), "{said}");
    }
}

#[test]
fn a_name_that_is_not_granted_is_denied_and_the_line_is_named() {
    let folder = TempDir::new().unwrap();
    let (program, mark) = (PathBuf::from("/usr/bin/touch"), folder.path().join("mark"));
    let declared = format!(
        "[commands.check]\nprogram = {program:?}\nargs = [{mark:?}]\n[commands.other]\nprogram = \"/bin/true\"\n[plugins.nagios]\ngrants.commands = [\"other\"]\n"
    );
    let (_, said) = probe(folder.path(), &declared, "");
    assert!(said.contains("denied"), "{said}");
    assert!(
        said.contains(r#"grants.commands = [\"other\", \"check\"]"#),
        "{said}"
    );
    assert!(!mark.exists());
}

#[test]
fn a_tenant_runs_what_its_own_grants_leave_of_a_plugins_commands() {
    let tenant = TempDir::new().unwrap();
    let mark = tenant.path().join("mark");
    fs::write(
        tenant.path().join("acme.toml"),
        r#"
[[monitor]]
name = "mine"
pulse = { plugin = "nagios", settings = { command = "check" } }
[[monitor]]
name = "not-mine"
pulse = { plugin = "nagios", settings = { command = "mark" } }
"#,
    )
    .unwrap();
    let config = Config::new(format!(
        r#"
[commands.check]
program = "/bin/echo"
args = ["fine"]
[commands.mark]
program = "/usr/bin/touch"
args = [{mark:?}]
[plugins.nagios]
grants.commands = ["check", "mark"]
[tenants.acme]
config = {:?}
allowed-plugins = ["nagios"]
[tenants.acme.grants.nagios]
commands = ["check"]
"#,
        tenant.path()
    ));
    let host = Host::start(&config);
    host.wait_for_log("mine is up: fine");
    let line = host.wait_for_log("not-mine could not be checked");
    assert!(
        line.contains(r#"[tenants.acme.grants.nagios] commands = ["check", "mark"]"#),
        "{line}"
    );
    host.stop();
    assert!(!mark.exists());
}

#[test]
fn a_command_repairs_and_what_it_leaves_behind_is_gone() {
    let folder = TempDir::new().unwrap();
    let up = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&up);
    let target = Server::start(move |request| {
        if request.path == "/repair" {
            state.store(true, Ordering::SeqCst);
        }
        status(if state.load(Ordering::SeqCst) { 200 } else { 503 })
    });
    let pids = folder.path().join("pids");
    // The shell can't speak to the target itself; bash can.
    let repair = format!(
        "sleep 1000 &\necho $! > {0}.new && mv {0}.new {0}\nexec /bin/bash -c 'exec 3<>/dev/tcp/127.0.0.1/'$1'; printf \"GET /repair HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n\" >&3; head -c 12 <&3'",
        pids.display()
    );
    let program = script(folder.path(), "repair", &repair);
    let config = Config::new(format!(
        r#"
[commands.repair]
program = {program:?}
args = ["{{port}}"]
params.port = {{ pattern = "[0-9]+" }}
[plugins.command]
grants.commands = ["repair"]
[[monitor]]
name = "shop"
pulse = {{ plugin = "http", settings = {{ url = "{}" }} }}
intervention = {{ plugin = "command", settings = {{ command = "repair", arguments = {{ port = "{}" }} }} }}
"#,
        target.url("/"),
        target.address().port(),
    ));
    let host = Host::start(&config);
    let alerts = host.wait_for_color("shop", "green");
    assert!(alerts.iter().any(|alert| alert["color"] == "cyan"), "{alerts:?}");
    let pid = fs::read_to_string(&pids).unwrap();
    host.wait_for("its end", || (!lives(&pid)).then_some(()));
    host.stop();
}

#[test]
fn a_command_does_not_outlive_the_host() {
    let folder = TempDir::new().unwrap();
    let pids = folder.path().join("pids");
    let text = format!(
        "echo $$ > {0}.new && mv {0}.new {0}\nexec sleep 1000",
        pids.display()
    );
    let program = script(folder.path(), "check", &text);
    let config = Config::new(format!(
        "{}[[monitor]]\nname = \"m\"\ntimeout = \"60s\"\npulse = {{ plugin = \"nagios\", settings = {{ command = \"check\" }} }}\n",
        declared(&program, "timeout = \"10m\"")
    ));
    let host = Host::start(&config);
    let pid = host.wait_for("its start", || fs::read_to_string(&pids).ok());
    assert!(lives(&pid));
    host.signal(nix::sys::signal::Signal::SIGKILL);
    host.wait();
    for _ in 0..2_000 {
        if !lives(&pid) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("{pid} lives on");
}

/// Whether a process of that number is there, other than as what is left of one that nobody has asked about.
fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| {
        !stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
    })
}

#[test]
fn loopback_is_up_and_measured_or_the_host_says_what_it_lacks() {
    let config = Config::new(
        r#"
[plugins.icmp]
grants.icmp = ["@settings.host"]
grants.networks = ["loopback"]
[[monitor]]
name = "v4"
pulse = { plugin = "icmp", settings = { host = "127.0.0.1", count = 2, interval = "10ms" } }
[[monitor]]
name = "v6"
pulse = { plugin = "icmp", settings = { host = "::1", count = 1 } }
[[monitor]]
name = "elsewhere"
pulse = { plugin = "icmp", settings = { host = "10.0.0.1", count = 1 } }
"#,
    );
    let host = Host::start(&config);
    let line = host.wait_for_log("elsewhere could not be checked");
    assert!(line.contains("10.0.0.1 (a private address)"), "{line}");
    for name in ["v4", "v6"] {
        let line = host.wait_for(name, || {
            let log = host.log();
            let about = log.iter().find(|line| {
                line.contains(&format!("{name} is up: "))
                    || line.contains(&format!("{name} could not be checked"))
            });
            about.cloned()
        });
        if line.contains("could not be checked") {
            assert!(
                line.contains("ping_group_range") || line.contains("no socket"),
                "{line}"
            );
            eprintln!("skipped: {line}");
        } else {
            assert!(line.contains(" answers · "), "{line}");
        }
    }
    host.stop();
}
