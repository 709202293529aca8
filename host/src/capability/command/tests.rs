//! Commands as processes. Their limits are the launcher's, which the tests of the whole program look at.

use super::*;
use crate::{
    capability::testing::{self, Bench, LeaseMaker},
    clock::Clock,
    domain::{
        command::{Allowed, Arg, Param, Pattern},
        tenant::{Quotas, Tenant},
        time::{Mono, Wall},
    },
};
use std::{collections::BTreeMap, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

/// A script of the shell, called `run`.
fn script(text: &str) -> Command {
    // The braces of a script are no placeholders.
    let text = text.replace('{', "{{").replace('}', "}}");
    Command {
        name: "run".into(),
        program: "/bin/sh".into(),
        args: ["-c", &text].iter().map(|arg| Arg::parse(arg).unwrap()).collect(),
        params: BTreeMap::new(),
        timeout: MINUTE,
        output_max: 1 << 10,
        env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
        dir: "/".into(),
        memory_bytes: 1 << 40,
        cpu_seconds: 3600,
    }
}

fn echoing(pattern: &str) -> Command {
    let param = Param {
        allowed: Allowed::Pattern(Pattern::new(pattern).unwrap()),
        bytes_max: 100,
        leading_dash: false,
    };
    Command {
        program: "/bin/echo".into(),
        args: ["-n", "<{word}>"]
            .iter()
            .map(|arg| Arg::parse(arg).unwrap())
            .collect(),
        params: BTreeMap::from([("word".into(), param)]),
        ..script("")
    }
}

/// A lender that starts commands by itself.
fn bench_with(slots: usize) -> Bench {
    let (clock, hand) = Clock::manual(Mono(0), Wall(0));
    let mut shared = Shared::with_sockets(clock, 4);
    shared.launcher = launch::Launcher::Plain;
    shared.processes = super::super::places::Places::new(slots, Arc::clone(&shared.throttles.count));
    let lender = Lender {
        shared: Arc::new(shared),
        resolver: super::super::resolve::Resolver::fixed(""),
    };
    Bench { lender, hand }
}

fn lease(command: Command) -> LeaseMaker {
    testing::lease().commands([command]).ends(Mono(0).after(MINUTE))
}

fn request() -> Request {
    Request {
        name: "run".into(),
        arguments: Vec::new(),
        timeout_ms: None,
    }
}

async fn ran(command: Command) -> Result<Response, Failure> {
    run(&bench_with(4).lender, &lease(command).done(), request()).await
}

/// Whether a process of that number is there, other than as what is left of one that nobody has asked about.
fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| {
        !stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
    })
}

/// Waits until it does not.
async fn dies(pid: &str) {
    for _ in 0..2_000 {
        if !lives(pid) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{pid} lives on");
}

#[tokio::test]
async fn both_outputs_and_the_end_come_back() {
    let response = ran(script("echo out; echo err >&2; exit 3")).await.unwrap();
    assert_eq!(response.ending, Ending::Exited(3));
    assert_eq!(
        (response.stdout.as_str(), response.stderr.as_str()),
        ("out\n", "err\n")
    );
    assert!(!response.stdout_truncated && !response.stderr_truncated);
    let killed = ran(script("kill -TERM $$")).await.unwrap();
    assert_eq!(killed.ending, Ending::Killed(15));
}

#[tokio::test]
async fn nothing_of_the_hosts_environment_and_no_input() {
    let mut command = script("pwd; cat; /usr/bin/env");
    command.env.insert("OWN".into(), "a b".into());
    command.dir = "/usr".into();
    let response = ran(command).await.unwrap();
    let mut lines: Vec<&str> = response.stdout.lines().collect();
    assert_eq!(lines.remove(0), "/usr");
    // The shell adds these itself.
    lines.retain(|line| {
        !["PWD=", "OLDPWD=", "SHLVL=", "_="]
            .iter()
            .any(|own| line.starts_with(own))
    });
    lines.sort_unstable();
    assert_eq!(lines, ["OWN=a b", "PATH=/usr/bin:/bin"]);
    assert!(
        std::env::vars_os().count() > 2,
        "or there would be nothing to leak"
    );
}

#[tokio::test]
async fn a_value_is_one_argument_and_no_shell_sees_it() {
    let bench = bench_with(4);
    let lease = lease(echoing(".*")).done();
    let nasty = "$(id) `id` ; id > /tmp/x | \" ' \\ * {word}";
    let with = |value: &str| Request {
        arguments: vec![("word".into(), value.into())],
        ..request()
    };
    let response = run(&bench.lender, &lease, with(nasty)).await.unwrap();
    assert_eq!(response.stdout, format!("<{nasty}>"));
    for bad in ["a\nb", "a\0b", &"x".repeat(101)] {
        let failure = run(&bench.lender, &lease, with(bad)).await.unwrap_err();
        assert!(
            matches!(failure.error, Error::InvalidArgument(_)),
            "{bad:?}: {failure:?}"
        );
        assert_eq!(failure.taint, None);
    }
    assert!(matches!(
        run(&bench.lender, &lease, request()).await.unwrap_err().error,
        Error::InvalidArgument(why) if why == "`run`: `word` is missing"
    ));
}

#[tokio::test]
async fn what_it_writes_is_read_to_the_end_and_kept_up_to_a_bound() {
    // More than a pipe holds, to both: who reads one of them only would wait for ever.
    let response = ran(script(
        "head -c 300000 /dev/zero | tr '\\0' a; head -c 300000 /dev/zero | tr '\\0' b >&2",
    ))
    .await
    .unwrap();
    assert_eq!(response.ending, Ending::Exited(0));
    assert_eq!(
        (response.stdout, response.stdout_truncated),
        ("a".repeat(1 << 10), true)
    );
    assert_eq!(
        (response.stderr, response.stderr_truncated),
        ("b".repeat(1 << 10), true)
    );
}

#[tokio::test]
async fn who_writes_for_ever_is_stopped() {
    let failure = ran(script("exec cat /dev/zero")).await.unwrap_err();
    assert!(matches!(failure.error, Error::Stopped(_)), "{failure:?}");
}

#[tokio::test]
async fn what_it_leaves_behind_is_killed_with_it() {
    let response = ran(script("sleep 1000 & echo $!")).await.unwrap();
    assert_eq!(response.ending, Ending::Exited(0));
    dies(&response.stdout).await;
}

#[tokio::test]
async fn who_left_the_group_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let text = format!(
        "setsid sh -c 'echo $$; : > {0}; exec sleep 1000' & while ! [ -e {0} ]; do sleep 0.01; done; echo done",
        mark.display()
    );
    let response = ran(script(&text)).await.unwrap();
    let mut lines = response.stdout.lines();
    // It is the command's own doing, and the test's to clean up.
    let stray = lines.next().and_then(|line| line.parse().ok());
    let stray = rustix::process::Pid::from_raw(stray.unwrap()).unwrap();
    let killed = rustix::process::kill_process(stray, rustix::process::Signal::KILL);
    assert_eq!((lines.next(), killed), (Some("done"), Ok(())));
}

#[tokio::test]
async fn a_deadline_kills_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let command = script(&format!(
        "sh -c 'sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait' & wait",
        pids.display()
    ));
    let bench = bench_with(4);
    let lease = lease(command).done();
    let text = testing::patiently(async |timeout_ms| {
        let _ = std::fs::remove_file(&pids);
        let request = Request {
            timeout_ms: Some(timeout_ms),
            ..request()
        };
        let failure = run(&bench.lender, &lease, request).await.unwrap_err();
        assert!(
            matches!(&failure.error, Error::TimedOut(why) if why.contains("did not end within")),
            "{failure:?}"
        );
        assert_eq!(failure.taint, None);
        std::fs::read_to_string(&pids).ok()
    })
    .await;
    for pid in text.split_whitespace() {
        dies(pid).await;
    }
    assert_eq!(bench.lender.shared.processes.free(), 4);
}

#[tokio::test]
async fn who_is_not_waited_for_any_more_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let bench = bench_with(1);
    let lease = lease(script(&format!(
        "sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait",
        file.display()
    )))
    .done();
    let pid = {
        let mut call = std::pin::pin!(run(&bench.lender, &lease, request()));
        loop {
            tokio::select! {
                ended = &mut call => panic!("{ended:?}"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
            if let Ok(pid) = std::fs::read_to_string(&file) {
                break pid;
            }
        }
    };
    assert!(pid.trim().parse::<u32>().is_ok());
    dies(&pid).await;
    assert_eq!(bench.lender.shared.processes.free(), 1);
}

#[tokio::test]
async fn a_name_that_is_not_granted_is_denied_with_the_line_that_would() {
    let bench = bench_with(4);
    let lease = lease(script("")).done();
    let other = Request {
        name: "rm \"x".into(),
        ..request()
    };
    let failure = run(&bench.lender, &lease, other).await.unwrap_err();
    assert!(matches!(failure.error, Error::Denied(_)));
    let Some(Taint::Denied(denial)) = failure.taint else {
        panic!("{failure:?}");
    };
    assert_eq!(denial.capability, "command");
    assert_eq!(
        denial.grant,
        "[plugins.test] grants.commands = [\"run\", \"rm \\\"x\"]"
    );
}

#[tokio::test]
async fn a_tenant_has_what_is_left_for_it() {
    let bench = bench_with(4);
    let tenant = Arc::new(Tenant::new("acme", Quotas::default()));
    let command = || script("exit 0");
    let none = lease(command()).tenant(&tenant).commands_within(&[]).done();
    let failure = run(&bench.lender, &none, request()).await.unwrap_err();
    let Some(Taint::Denied(denial)) = failure.taint else {
        panic!("{failure:?}");
    };
    assert_eq!(denial.grant, "[tenants.acme.grants.test] commands = [\"run\"]");
    let own = lease(command()).tenant(&tenant).commands_within(&["run"]).done();
    assert!(run(&bench.lender, &own, request()).await.is_ok());
}

#[tokio::test]
async fn beyond_the_hosts_and_the_tenants_places_nothing_is_run() {
    let quota = |commands| {
        let quotas = Quotas {
            commands,
            ..Quotas::default()
        };
        Arc::new(Tenant::new("acme", quotas))
    };
    for (slots, quota, part) in [
        (1, quota(None), "[host] command-slots"),
        (4, quota(Some(1)), "which is its quota"),
    ] {
        let bench = bench_with(slots);
        let held = lease(script("exec sleep 1000")).tenant(&quota).done();
        let mut holding = std::pin::pin!(run(&bench.lender, &held, request()));
        while bench.lender.shared.processes.free() == slots {
            tokio::select! {
                ended = &mut holding => panic!("{ended:?}"),
                () = tokio::time::sleep(Duration::from_millis(1)) => {}
            }
        }
        let short = Request {
            timeout_ms: Some(30),
            ..request()
        };
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let fresh = lease(script(&format!("touch {}", mark.display())))
            .tenant(&quota)
            .done();
        let failure = run(&bench.lender, &fresh, short.clone()).await.unwrap_err();
        assert!(
            matches!(&failure.error, Error::Unavailable(why) if why.contains(part)),
            "{failure:?}"
        );
        assert!(matches!(failure.taint, Some(Taint::Capacity(_))), "{failure:?}");
        // Who has done something before can't say that nothing was run.
        fresh.acts();
        let failure = run(&bench.lender, &fresh, short).await.unwrap_err();
        assert!(matches!(failure.taint, Some(Taint::Host(_))), "{failure:?}");
        assert!(!mark.exists());
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_no_failure_of_the_target() {
    let mut command = script("");
    command.program = "/no/such/program".into();
    let failure = ran(command).await.unwrap_err();
    assert!(matches!(failure.error, Error::Unavailable(_)), "{failure:?}");
    // The lease is that of a check.
    assert!(matches!(failure.taint, Some(Taint::Host(_))));
}

#[tokio::test]
async fn a_host_that_looks_late_blames_itself() {
    let bench = bench_with(4);
    let lease = lease(script("exec sleep 1000")).done();
    let request = Request {
        timeout_ms: Some(200),
        ..request()
    };
    let hand = Arc::clone(&bench.hand);
    let late = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        hand.advance(Duration::from_secs(5));
    };
    let (result, ()) = tokio::join!(run(&bench.lender, &lease, request), late);
    let failure = result.unwrap_err();
    assert!(matches!(failure.error, Error::TimedOut(_)), "{failure:?}");
    assert!(matches!(failure.taint, Some(Taint::Host(_))));
}
