//! `plugins.lock`, with the real program: what is pinned, refused, shown and accepted.

use crate::support::{
    host::{self, Host},
    sandbox::{in_shell_text, root_of},
};
use serde_json::Value;
use std::{fs, path::PathBuf, process::Stdio};
use tempfile::TempDir;

/// A plugin of the tests: the good guest, with changes to its text.
fn guest(changes: &[(&str, &str)], imports: &[&str]) -> Vec<u8> {
    let mut text = fs::read_to_string(root_of("tests/guests/wat/in-shell/good.wat")).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    let imports: String = imports
        .iter()
        .map(|name| format!("(import \"{name}\" (instance))\n"))
        .collect();
    in_shell_text(&format!("{imports}{text}"))
}

/// Whatever it says of itself is as before, but its bytes are others.
fn other_bytes() -> Vec<u8> {
    guest(
        &[(
            "(i32.const 0x100))\n)",
            "(i32.const 0x100))\n  (func (export \"unused\"))\n)",
        )],
        &[],
    )
}

struct Site {
    folder: TempDir,
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }

    fn states(&self) -> Vec<(String, String)> {
        let json = self.json();
        let plugins = json["plugins"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        plugins
            .iter()
            .map(|one| (text(&one["name"]), text(&one["state"])))
            .collect()
    }
}

impl Site {
    /// A folder with a configuration, two plugins, and nothing else.
    fn new() -> Self {
        let site = Self {
            folder: TempDir::new().unwrap(),
        };
        fs::create_dir(site.path("plugins")).unwrap();
        fs::create_dir(site.path("plugins/second")).unwrap();
        site.put("plugins/good.wasm", &guest(&[], &[]));
        site.put(
            "plugins/second/second.wasm",
            &guest(&[("\"good\"", "\"next\"")], &["pulse:host/http@0.1.0"]),
        );
        site.manifest("http = [\"https://*.example.com\"]");
        site.put(
            "pulse-host.toml",
            b"[plugins.next]\ngrants.http = [\"https://*.example.com\"]\ngrants.networks = [\"public\"]\n\
              [[monitor]]\nname = \"m\"\npulse = { plugin = \"good\" }\n",
        );
        site
    }

    fn manifest(&self, requests: &str) {
        let text = format!(
            "name = \"next\"\nversion = \"0.1.0\"\nkinds = [\"pulse\"]\ncomponent = \"second.wasm\"\n\
             needs = [\"http\", \"tcp\"]\n[requests]\n{requests}\n"
        );
        self.put("plugins/second/plugin.toml", text.as_bytes());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.path("plugins.lock")).unwrap()
    }

    fn run(&self, args: &[&str]) -> Said {
        let output = host::command()
            .args(args)
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path())
            .env("STATE_DIRECTORY", self.path("state"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn states(&self, command: &str) -> (i32, Vec<(String, String)>) {
        let said = self.run(&["plugin", command, "--output", "json"]);
        (said.code, said.states())
    }
}

fn states(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, state)| ((*name).to_owned(), (*state).to_owned()))
        .collect()
}

#[test]
fn the_first_lock_pins_everything_and_nothing_else_changes_it() {
    let site = Site::new();
    let none = site.run(&["plugin", "verify"]);
    assert_eq!(none.code, 1);
    assert!(none.err.contains("there is no lock at"), "{}", none.err);
    let made = site.run(&["plugin", "lock"]);
    assert_eq!((made.code, made.err.as_str()), (0, ""), "{}", made.out);
    assert!(made.out.contains("plugins.lock was made"), "{}", made.out);
    let lock = site.lock();
    for part in [
        "[plugins.good]\n",
        "[plugins.next]\n",
        "requests.http = [\n    \"https://*.example.com:443\",\n]\n",
        "grants.networks = [\n    \"public\",\n]\n",
        "    \"pulse:host/http@0.1.0\",\n",
        "needs = [\"http\"]\n",
    ] {
        assert!(lock.contains(part), "{part} in {lock}");
    }
    for (command, code) in [("lock", 0), ("verify", 0)] {
        let same = states(&[("good", "same"), ("next", "same")]);
        assert_eq!(site.states(command), (code, same));
    }
    // Other bytes, one more plugin, and one that is gone.
    site.put("plugins/good.wasm", &other_bytes());
    site.put("plugins/more.wasm", &guest(&[("\"good\"", "\"more\"")], &[]));
    fs::rename(site.path("plugins/second"), site.path("away")).unwrap();
    let differ = states(&[("good", "within"), ("more", "new"), ("next", "missing")]);
    assert_eq!(site.states("lock"), (1, differ.clone()));
    assert_eq!(site.states("verify"), (1, differ));
    assert_eq!(site.lock(), lock, "nobody has accepted anything");

    let shown = site.run(&["plugin", "lock"]);
    for part in [
        "good 0.1.0: changed, within",
        "  digest    ",
        "more 0.1.0: not in the lock",
        "next 0.1.0: in the lock, but not there",
        "--accept NAME",
    ] {
        assert!(shown.out.contains(part), "{part} in {}", shown.out);
    }
    // One by name, and only that one.
    let one = site.run(&["plugin", "lock", "--accept", "good", "--output", "json"]);
    assert_eq!(one.code, 1);
    assert_eq!(one.json()["plugins"][0]["accepted"], true);
    assert_eq!(one.json()["plugins"][1]["accepted"], false);
    let after = states(&[("good", "same"), ("more", "new"), ("next", "missing")]);
    assert_eq!(site.states("verify"), (1, after));
    // All that are there; the one that is away stays until it is named.
    assert_eq!(site.run(&["plugin", "lock", "--accept"]).code, 1);
    let after = states(&[("good", "same"), ("more", "same"), ("next", "missing")]);
    assert_eq!(site.states("verify"), (1, after));
    assert_eq!(site.run(&["plugin", "lock", "--accept", "next"]).code, 0);
    assert_eq!(
        site.states("verify"),
        (0, states(&[("good", "same"), ("more", "same")]))
    );
    let unknown = site.run(&["plugin", "lock", "--accept", "mor"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("did you mean `more`?"), "{}", unknown.err);
    // Another place for it.
    assert_eq!(site.run(&["plugin", "lock", "--lock", "other.lock"]).code, 0);
    assert_eq!(fs::read_to_string(site.path("other.lock")).unwrap(), site.lock());
}

#[test]
fn what_changed_is_not_used_and_the_others_are() {
    let site = Site::new();
    assert_eq!(site.run(&["plugin", "lock"]).code, 0);
    site.put(
        "plugins/second/second.wasm",
        &guest(
            &[("\"good\"", "\"next\"")],
            &["pulse:host/http@0.1.0", "pulse:host/tcp@0.1.0"],
        ),
    );
    site.manifest("http = [\"https://*.example.com\", \"https://evil.example\"]");
    let list = site.run(&["plugin", "list", "--output", "json"]);
    assert_eq!(list.code, 1);
    let list = list.json();
    assert_eq!(list["plugins"].as_array().unwrap().len(), 1);
    assert_eq!(list["plugins"][0]["name"], "good");
    let problem = list["problems"][0].as_str().unwrap();
    for part in [
        "plugin `next` changed since it was locked",
        "needs: + tcp",
        "requests: + http https://evil.example:443",
        "imports: + pulse:host/tcp@0.1.0",
        "`pulse-host plugin lock --accept next` takes it",
    ] {
        assert!(problem.contains(part), "{part} in {problem}");
    }
    // A configuration that does not use it is not touched; one that does says why it can't.
    let check = site.run(&["check-config"]);
    assert_eq!(check.code, 2, "[plugins.next] stands in it: {}", check.out);
    assert!(check.err.contains("changed since it was locked"), "{}", check.err);
    site.put(
        "other.toml",
        b"[[monitor]]\nname = \"m\"\npulse = { plugin = \"good\" }\n",
    );
    let check = site.run(&["check-config", "--config", "other.toml"]);
    assert_eq!(check.code, 0, "{}", check.err);
    // It can still be looked at.
    let inspect = site.run(&["plugin", "inspect", "next"]);
    assert!(
        inspect.out.contains("https://evil.example:443"),
        "{}",
        inspect.out
    );
    assert_eq!(site.run(&["plugin", "lock", "--accept", "next"]).code, 0);
    assert_eq!(site.run(&["check-config"]).code, 0);
    assert_eq!(site.run(&["plugin", "list"]).code, 0);
}

#[test]
fn within_grants_takes_what_asks_for_no_more() {
    let site = Site::new();
    assert_eq!(site.run(&["plugin", "lock"]).code, 0);
    let config = fs::read_to_string(site.path("pulse-host.toml")).unwrap();
    let usable = || {
        let list = site.run(&["plugin", "list", "--output", "json"]).json();
        list["plugins"].as_array().unwrap().len()
    };
    site.put("plugins/good.wasm", &other_bytes());
    assert_eq!(usable(), 1);
    site.put(
        "pulse-host.toml",
        format!("[host]\nlock = \"within-grants\"\n{config}").as_bytes(),
    );
    assert_eq!(usable(), 2);
    site.manifest("http = [\"https://a.example.com\"]");
    assert_eq!(usable(), 2);
    site.manifest("http = [\"https://a.example\"]");
    assert_eq!(usable(), 1);
    site.put(
        "pulse-host.toml",
        format!("[host]\nlock = \"loose\"\n{config}").as_bytes(),
    );
    let check = site.run(&["check-config"]);
    assert!(
        check.code == 2 && check.err.contains("within-grants"),
        "{}",
        check.err
    );
}

#[test]
fn a_stranger_with_the_name_of_a_locked_plugin_does_not_keep_it_out() {
    let site = Site::new();
    assert_eq!(site.run(&["plugin", "lock"]).code, 0);
    site.put("plugins/another.wasm", &other_bytes());
    let list = site.run(&["plugin", "list", "--output", "json"]).json();
    let names: Vec<&str> = list["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["good", "next"]);
    assert!(
        list["problems"][0]
            .as_str()
            .unwrap()
            .contains("another.wasm: plugin `good` changed"),
        "{list}"
    );
    let verify = site.run(&["plugin", "verify"]);
    assert_eq!(verify.code, 1);
    assert!(
        verify.out.contains("another plugin is locked under that name"),
        "{}",
        verify.out
    );
    assert!(verify.out.contains("2 plugins as locked"), "{}", verify.out);
}

/// Also one that stays within what was granted, and one that is the very same.
#[test]
fn whoever_has_the_name_of_a_locked_plugin_is_told_apart() {
    let site = Site::new();
    assert_eq!(site.run(&["plugin", "lock"]).code, 0);
    let config = fs::read_to_string(site.path("pulse-host.toml")).unwrap();
    site.put(
        "pulse-host.toml",
        format!("[host]\nlock = \"within-grants\"\n{config}").as_bytes(),
    );
    site.put("plugins/another.wasm", &other_bytes());
    site.put("plugins/same.wasm", &guest(&[], &[]));
    let list = site.run(&["plugin", "list", "--output", "json"]).json();
    let names: Vec<&Value> = list["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["good", "next"]);
    let problems = list["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{list}");
    assert!(
        problems[0]
            .as_str()
            .unwrap()
            .contains("same.wasm: plugin `good` is the same as"),
        "{list}"
    );
    assert!(
        problems[1]
            .as_str()
            .unwrap()
            .contains("another.wasm: plugin `good` is locked as it is"),
        "{list}"
    );
    // Without the one that was locked, nobody knows which of two was meant, and neither is accepted nor forgotten.
    for gone in ["plugins/good.wasm", "plugins/same.wasm"] {
        fs::remove_file(site.path(gone)).unwrap();
    }
    site.put("plugins/more.wasm", &guest(&[("WAT.", "XYZ.")], &[]));
    let lock = site.lock();
    let accept = site.run(&["plugin", "lock", "--accept", "good"]);
    assert!(
        accept.code == 2 && accept.err.contains("several plugins named `good`"),
        "{}",
        accept.err
    );
    assert_eq!(site.lock(), lock);
}

#[test]
fn a_plugin_of_a_tenant_is_pinned_in_its_namespace() {
    let site = Site::new();
    fs::create_dir_all(site.path("acme/plugins")).unwrap();
    site.put("acme/plugins/good.wasm", &other_bytes());
    let config = fs::read_to_string(site.path("pulse-host.toml")).unwrap();
    let tenant = "[tenants.acme]\nconfig = \"acme/monitors.toml\"\nplugins = \"acme/plugins\"\n";
    site.put("acme/monitors.toml", b"");
    site.put("pulse-host.toml", format!("{tenant}{config}").as_bytes());
    let made = site.run(&["plugin", "lock"]);
    assert_eq!(made.code, 0, "{} {}", made.out, made.err);
    assert!(
        site.lock().contains("[plugins.\"acme/good\"]\n"),
        "{}",
        site.lock()
    );
    assert_eq!(
        site.states("verify"),
        (
            0,
            states(&[("acme/good", "same"), ("good", "same"), ("next", "same")])
        )
    );
    // The tenant changes its own, and nobody else's is touched.
    site.put("acme/plugins/good.wasm", &guest(&[("WAT.", "XYZ.")], &[]));
    let list = site.run(&["plugin", "list", "--output", "json"]).json();
    let names: Vec<&Value> = list["plugins"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["good", "next"]);
    let problem = list["problems"][0].as_str().unwrap();
    assert!(
        problem.contains("plugin `acme/good` changed since it was locked"),
        "{problem}"
    );
    assert_eq!(site.run(&["plugin", "lock", "--accept", "acme/good"]).code, 0);
    assert!(
        site.run(&["plugin", "inspect", "acme/good"])
            .out
            .contains("acme/good 0.1.0")
    );
}

#[test]
fn a_broken_lock_stops_everything_and_is_left_alone() {
    let site = Site::new();
    assert_eq!(site.run(&["plugin", "lock"]).code, 0);
    let broken = site.lock().replacen("size = ", "size = many ", 1);
    site.put("plugins.lock", broken.as_bytes());
    let line = 1 + broken.split("size = many").next().unwrap().matches('\n').count();
    for args in [
        &["check-config"][..],
        &["run"],
        &["probe", "m"],
        &["plugin", "list"],
        &["plugin", "lock"],
        &["plugin", "lock", "--accept"],
        &["plugin", "verify"],
    ] {
        let said = site.run(args);
        assert_eq!(said.code, 2, "{args:?}: {} {}", said.out, said.err);
        assert!(
            said.err.contains(&format!("plugins.lock:{line}:")),
            "{args:?}: {}",
            said.err
        );
        assert_eq!(site.lock(), broken, "{args:?}");
    }
    let json = site.run(&["check-config", "--output", "json"]).json();
    assert_eq!(json["problems"][0]["line"], line, "{json}");
    // Without what the configuration grants, nobody knows what is accepted.
    site.put("pulse-host.toml", b"[plugins");
    fs::remove_file(site.path("plugins.lock")).unwrap();
    let said = site.run(&["plugin", "lock"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("check-config"), "{}", said.err);
    assert!(!site.path("plugins.lock").exists());
}

/// Runs the host in that folder until it says what it watches, and returns its log.
fn started(site: Site) -> (Site, Vec<String>) {
    let mut command = host::command();
    command
        .args(["--plugins", "plugins"])
        .env("STATE_DIRECTORY", site.path("state"));
    let (folder, ended) = Host::spawn(site.folder, command).stop_keeping_folder();
    assert!(ended.status.success(), "{:?}", ended.log);
    (Site { folder }, ended.log)
}

#[test]
fn without_a_lock_who_wants_more_is_announced_once() {
    const LOUD: &str = "WANTS MORE THAN WHEN IT WAS LAST SEEN";
    let loud = |log: &[String]| {
        log.iter()
            .filter(|line| line.contains(LOUD))
            .cloned()
            .collect::<Vec<_>>()
    };
    let (site, log) = started(Site::new());
    assert_eq!(loud(&log), [""; 0]);
    site.put("plugins/good.wasm", &guest(&[], &["pulse:host/log@0.1.0"]));
    site.manifest("http = [\"https://*.example.com\", \"https://other.example\"]");
    let (site, log) = started(site);
    let said = loud(&log);
    assert_eq!(said.len(), 2, "{log:?}");
    assert!(
        said[0].contains("PLUGIN good") && said[0].contains("imports: + pulse:host/log@0.1.0"),
        "{said:?}"
    );
    assert!(
        said[1].contains("PLUGIN next") && said[1].contains("https://other.example:443"),
        "{said:?}"
    );
    let (site, log) = started(site);
    assert_eq!(loud(&log), [""; 0], "it was said");
    // With a lock the lock decides, and grants that nobody accepted are told.
    assert_eq!(site.run(&["plugin", "lock"]).code, 0);
    let config = fs::read_to_string(site.path("pulse-host.toml")).unwrap();
    let wider = config.replace("[\"public\"]", "[\"public\", \"private\"]");
    site.put("pulse-host.toml", wider.as_bytes());
    let (_, log) = started(site);
    assert_eq!(loud(&log), [""; 0]);
    let told = log
        .iter()
        .find(|line| line.contains("granted more than when it was locked"))
        .unwrap();
    assert!(told.contains("networks private"), "{told}");
}
