//! A disk that is full, for real: a small file system of the test's own, in a mount namespace.

use crate::support::{
    host::{Config, Host, copy_all, state_directory},
    http::{Reply, Server, status},
};
use nix::mount::{MsFlags, mount};
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};
use tempfile::TempDir;

/// What the inner test says when it has run to its end.
const DONE: &str = "what could be done without a disk was done";
/// What it says when this machine does not let it.
const SKIPPED: &str = "skipped: ";
/// Room beside what is there at the start, in bytes.
const ROOM: u64 = 4 << 20;

#[test]
fn on_a_full_disk_it_checks_and_tells_and_repairs_nothing() {
    let inner = Command::new("unshare")
        .args(["--mount", "--map-root-user", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "recovery::disk::inside_the_namespace",
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
        return println!("{SKIPPED}this machine gives no mount namespace: {complaint}");
    }
    if let Some(reason) = said.lines().find(|line| line.contains(SKIPPED)) {
        return println!("{reason}");
    }
    assert!(
        output.status.success() && said.contains(DONE),
        "{said}\n{complaint}"
    );
}

/// Bytes of all files in there.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata().unwrap() {
            folder if folder.is_dir() => bytes_in(&entry.path()),
            file => file.len(),
        })
        .sum()
}

/// Takes all the room that is left.
fn fill(file: &Path) {
    let mut file = fs::File::create(file).unwrap();
    let zeros = [0; 4096];
    while file.write_all(&zeros).is_ok() {}
}

#[test]
#[ignore = "run by `on_a_full_disk_it_checks_and_tells_and_repairs_nothing`"]
fn inside_the_namespace() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    crate::support::host::warm_up();
    let size = format!("size={}", bytes_in(&state_directory()) * 2 + ROOM);
    if let Err(error) = mount(
        Some("none"),
        &state,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(size.as_str()),
    ) {
        return println!("{SKIPPED}no tmpfs can be mounted here: {error}");
    }
    copy_all(&state_directory(), &state);
    let says = Arc::new([AtomicU16::new(200), AtomicU16::new(200)]);
    let answers = Arc::clone(&says);
    let target = Server::start(move |request| {
        let monitor = usize::from(request.path.ends_with('1'));
        status(answers[monitor].load(Ordering::SeqCst))
    });
    let repairs = Arc::new(AtomicUsize::new(0));
    let socket = folder.path().join("engine.sock");
    let (repaired, healed) = (Arc::clone(&repairs), Arc::clone(&says));
    let _engine = Server::start_unix(&socket, move |request| {
        if request.path == "/_ping" {
            return Reply::Answer(200, vec![("api-version", "1.47".to_owned())], "OK".to_owned());
        }
        repaired.fetch_add(1, Ordering::SeqCst);
        healed.iter().for_each(|one| one.store(200, Ordering::SeqCst));
        status(204)
    });
    let monitors: String = (0..2)
        .map(|number| {
            format!(
                r#"
[[monitor]]
name = "m-{number}"
pulse = {{ plugin = "http", settings = {{ url = "{}" }} }}
intervention = {{ plugin = "docker", max-attempts = 3, cooldown = "100ms", settings = {{ container = "m-{number}", stop-timeout = "1s" }} }}
"#,
                target.url(&format!("/m-{number}"))
            )
        })
        .collect();
    let plugins = format!(
        "[plugins.docker]\ngrants.docker = {{ containers = [\"m-*\"], socket = {:?} }}\n",
        socket.display().to_string()
    );
    let host = Host::start_in(folder, &Config::new(plugins + &monitors));
    host.wait_for("checks", || (target.count() > 4).then_some(()));
    let filler = state.join("filler");
    fill(&filler);
    says[0].store(500, Ordering::SeqCst);
    let told = host.wait_for_color("m-0", "red");
    assert_eq!(
        repairs.load(Ordering::SeqCst),
        0,
        "no intent is on disk: {told:?}"
    );
    let red = told.iter().find(|alert| alert["color"] == "red").unwrap();
    let body = red["body"].as_str().unwrap();
    assert!(
        body.contains("does nothing that it can't record"),
        "red says why nothing is repaired: {body}"
    );
    // Checks go on, and the end of it is told too.
    let before = target.count();
    host.wait_for("checks to go on", || (target.count() > before + 4).then_some(()));
    says[0].store(200, Ordering::SeqCst);
    host.wait_for_color("m-0", "green");
    fs::remove_file(&filler).unwrap();
    host.wait_for_log("the store writes again");
    says[1].store(500, Ordering::SeqCst);
    host.wait_for("a repair", || (repairs.load(Ordering::SeqCst) > 0).then_some(()));
    host.wait_for_color("m-1", "green");
    // What was told while nothing could be written is on record now.
    let (folder, ended) = host.stop_keeping_folder();
    assert!(ended.status.success(), "{:?}", ended.log);
    let store = pulse_host::store::Inspected::open(&folder.path().join("state")).unwrap();
    let found = store.check().unwrap();
    assert_eq!(
        (found.is_well(), found.open, found.incidents),
        (true, 0, 2),
        "{found:?}"
    );
    println!("{DONE}");
}
