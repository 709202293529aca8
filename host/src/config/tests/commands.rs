//! Commands that plugins may have run.

use super::*;

const DECLARED: &str = r#"
[commands.disk]
program = "/bin/true"
args = ["-p", "{path}", "--{{literal}}"]
params.path = { pattern = "/[a-z/]*", max-length = 64 }
timeout = "5s"
output-max = "4KiB"
dir = "/tmp"
env.TOKEN = "${env:TOKEN}"
limits = { memory = "64MiB", cpu = "3s" }

[commands.other]
program = "/bin/true"

[plugins.nagios]
grants.commands = ["other", "disk"]
"#;

#[test]
fn a_grant_is_what_was_declared_under_its_names() {
    let config = config(DECLARED);
    let grants = &config.profiles["nagios"].grants;
    let names: Vec<&str> = grants.commands.iter().map(|command| &*command.name).collect();
    assert_eq!(names, ["disk", "other"]);
    let disk = &grants.commands[0];
    let fill = |path: &str| disk.fill(&[("path".to_owned(), path.to_owned())]);
    assert_eq!(fill("/var/lib").unwrap(), ["-p", "/var/lib", "--{literal}"]);
    assert!(fill("/var/../x").is_err() && fill(&format!("/{}", "a".repeat(64))).is_err());
    assert_eq!(
        (disk.timeout, disk.output_max, disk.memory_bytes, disk.cpu_seconds),
        (Duration::from_secs(5), 4 << 10, 64 << 20, 3)
    );
    assert_eq!(disk.dir, Path::new("/tmp"));
    let env: Vec<(&str, &str)> = disk.env.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        env,
        [
            ("LANG", "C.UTF-8"),
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            ),
            ("TOKEN", "s3cret")
        ]
    );
    let other = &grants.commands[1];
    assert_eq!(
        (other.timeout, other.output_max),
        (Duration::from_secs(30), 64 << 10)
    );
}

#[test]
fn another_declaration_is_another_grant() {
    let one = config(DECLARED);
    let other = config(&DECLARED.replace("/[a-z/]*", "/[a-z]*"));
    let same = config(DECLARED);
    let grants = |config: &Config| Arc::clone(&config.profiles["nagios"].grants);
    assert_ne!(grants(&one), grants(&other));
    assert_eq!(grants(&one), grants(&same));
}

#[test]
fn one_by_words_lets_the_person_fill_in_anything() {
    let command = command_by_words("disk:/bin/echo -w {warn}").unwrap();
    assert_eq!(&*command.name, "disk");
    assert_eq!(
        command.fill(&[("warn".into(), "-5 $x\n".into())]).unwrap(),
        ["-w", "-5 $x\n"]
    );
    for bad in [
        "disk",
        "disk:",
        "disk:bin/echo",
        "Disk:/bin/echo",
        "disk:/bin/echo {",
    ] {
        assert!(command_by_words(bad).is_err(), "{bad}");
    }
}
