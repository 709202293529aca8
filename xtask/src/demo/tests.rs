use super::*;

const QUICKSTART: &str = r#"
[[monitor]]
name = "shop"
pulse.settings.url = "http://127.0.0.1:8080/"
intervention = { plugin = "webhook", budget = { attempts = 3, per = "1h" }, settings = { url = "http://127.0.0.1:8081/restart" } }
"#;

/// A root and a scratch folder of the test's own.
struct Place(Scene, PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        let scene = Scene {
            root: folder.join("root"),
            scratch: folder.join("scratch"),
        };
        std::fs::create_dir_all(&scene.root).unwrap();
        std::fs::create_dir_all(&scene.scratch).unwrap();
        std::fs::write(scene.root.join("pulse-host.toml"), QUICKSTART).unwrap();
        Self(scene, folder)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

/// Called as pulse-host is: `--plugins ./plugins --config FILE`. What a script starts it ends by SIGKILL: a child
/// that has not got as far as its own program yet would swallow anything else.
fn program(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "pulse-host"]);
    command
}

fn options(seconds: u64, colors: &[&str]) -> Options {
    Options {
        seconds: Some(Duration::from_secs(seconds)),
        expect: Some(colors.iter().map(|color| (*color).to_owned()).collect()),
        ports: Ports::Free,
    }
}

#[test]
fn it_ends_as_soon_as_the_colors_have_come() {
    let place = Place::new("demo-colors");
    // Writes what it was told to watch, too: the copy must not name the quickstart's ports.
    let script = r#"
        folder=$(dirname "$4"); mkdir "$folder/alerts"
        grep -q -e :8080/ -e :8081/ "$4" && exit 9
        trap 'kill -KILL $!; exit 0' TERM
        for color in yellow cyan green red; do echo "{\"color\":\"$color\"}" >> "$folder/alerts/alerts.ndjson"; done
        sleep 600 & wait"#;
    let code = watch(
        &place.0,
        &options(600, &["yellow", "cyan", "green"]),
        program(script),
    )
    .unwrap();
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(
        std::fs::read_dir(&place.0.scratch).unwrap().count(),
        0,
        "the copy is removed"
    );
}

#[test]
fn other_colors_than_expected_fail_and_the_copy_stays_for_a_look() {
    let place = Place::new("demo-wrong");
    let script = r#"folder=$(dirname "$4"); mkdir "$folder/alerts"; echo '{"color":"red"}' > "$folder/alerts/alerts.ndjson""#;
    let error = watch(&place.0, &options(600, &["yellow"]), program(script))
        .unwrap_err()
        .to_string();
    assert!(error.contains("yellow; it sent: red"), "{error}");
    assert_eq!(std::fs::read_dir(&place.0.scratch).unwrap().count(), 1);
}

#[test]
fn it_ends_after_its_time_and_a_failing_program_fails_the_demo() {
    let place = Place::new("demo-time");
    let stopped = "trap 'kill -KILL $!; exit 5' TERM; sleep 600 & wait";
    // The signal may come before the trap is set: either way it ends, and not well.
    let code = watch(
        &place.0,
        &Options {
            expect: None,
            ..options(0, &[])
        },
        program(stopped),
    )
    .unwrap();
    assert!(
        code == ExitCode::from(5) || code == ExitCode::from(128 + 15),
        "{code:?}"
    );
}

#[test]
fn the_copy_names_other_ports_and_a_quickstart_without_them_is_refused() {
    let changed = readdress(QUICKSTART, SERVICE, "127.0.0.1:4000").unwrap();
    assert!(
        changed.contains("http://127.0.0.1:4000/\"") && changed.contains("http://127.0.0.1:8081/restart")
    );
    assert!(readdress(&changed, SERVICE, "127.0.0.1:4000").is_err());
}

#[test]
fn the_budget_is_told_as_it_is_configured() {
    assert_eq!(budget(QUICKSTART), Some((3, "1h".to_owned())));
    assert_eq!(budget("[[monitor]]\nname = \"shop\"\n"), None);
}

#[test]
fn the_program_is_where_cargo_says() {
    let messages = r#"
{"reason":"compiler-artifact","target":{"name":"anyhow"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"pulse_host"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"pulse-host"},"profile":{"test":true},"executable":"/t/debug/deps/pulse_host-1"}
{"reason":"compiler-artifact","target":{"name":"pulse-host"},"profile":{"test":false},"executable":"/t/debug/pulse-host"}
{"reason":"build-finished","success":true}"#;
    assert_eq!(executable(messages), Some(PathBuf::from("/t/debug/pulse-host")));
    assert_eq!(executable("not JSON"), None);
}
