use super::*;
use crate::{
    domain::{
        grant::{Grants, Network},
        host::LockPolicy,
        plugin::{Capability, Facts},
        spec::Kind,
    },
    plugins::Digest,
};
use serde_json::json;
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// What a plugin is made of, to be changed.
#[derive(Clone)]
struct Made {
    facts: Facts,
    bytes: Vec<u8>,
    imports: Vec<String>,
    requests: Reach,
}

impl Made {
    fn loaded<'a>(&'a self, digest: &'a Digest) -> Loaded<'a> {
        Loaded {
            facts: &self.facts,
            digest,
            size: self.bytes.len(),
            imports: &self.imports,
            requests: &self.requests,
        }
    }

    fn record(&self, grants: Option<&Grants>) -> Record {
        Record::of(self.loaded(&Digest::of(&self.bytes)), grants)
    }

    fn verdict(&self, gate: &Gate) -> Verdict {
        gate.verdict(self.loaded(&Digest::of(&self.bytes)))
    }
}

fn reach(entries: &[(&str, &str)]) -> Reach {
    let mut reach = Reach::default();
    for (key, entry) in entries {
        reach.insert(key, entry).unwrap();
    }
    reach
}

fn http() -> Made {
    Made {
        facts: Facts {
            digest: "1".into(),
            name: "http".into(),
            version: "0.1.0".into(),
            summary: "asks".into(),
            kinds: vec![Kind::Pulse],
            needs: vec![Capability::Http],
            schema: Arc::new(
                json!({"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}),
            ),
        },
        bytes: b"one".to_vec(),
        imports: vec!["pulse:host/http@0.1.0".into(), "wasi:io/poll@0.2.6".into()],
        requests: reach(&[("http", "https://*.example.com"), ("networks", "public")]),
    }
}

fn granted() -> Grants {
    let mut grants = Grants {
        http: vec![crate::config::http_grant("https://*:*").unwrap()],
        ..Grants::default()
    };
    grants.networks.insert(Network::Public);
    grants
}

/// A gate with these plugins in the lock, and the folder of it.
fn gate(policy: LockPolicy, records: &[(&str, Record)]) -> (Gate, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut lock = LockFile::read(&path).unwrap();
    assert!(!lock.exists());
    lock.records = records
        .iter()
        .map(|(name, record)| ((*name).to_owned(), record.clone()))
        .collect();
    lock.write().unwrap();
    (Gate::open(&path, policy).unwrap(), folder)
}

#[test]
fn what_is_written_is_read_and_written_the_same() {
    let mut records = BTreeMap::new();
    records.insert("http".to_owned(), http().record(Some(&granted())));
    let mut bare = http();
    bare.facts.needs.clear();
    bare.facts.schema = Arc::new(json!({"properties": {"odd \"name\"\\\n": {"type": "string"}}}));
    bare.requests = Reach::default();
    records.insert("acme/http".to_owned(), bare.record(None));
    let text = write("A comment\n\nof lines", &records);
    assert!(
        text.starts_with("# A comment\n#\n# of lines\n\nformat = 1\n\n[plugins.\"acme/http\"]\n"),
        "{text}"
    );
    assert_eq!(parse(&text).unwrap(), records, "{text}");
    assert_eq!(write("A comment\n\nof lines", &parse(&text).unwrap()), text);
    assert_eq!(parse("format = 1").unwrap(), BTreeMap::new());
}

/// What an operator grants is his own: the bounds on what authors ask for are not for him.
#[test]
fn any_number_of_grants_is_written_and_read() {
    let mut grants = granted();
    grants.tcp = (1..=300)
        .map(|port| crate::config::tcp_grant(&format!("db.example:{port}")).unwrap())
        .collect();
    grants.docker = Some(crate::domain::grant::DockerGrant {
        containers: vec!["c".repeat(2 << 10)],
        socket: "/run/docker.sock".into(),
    });
    let records = BTreeMap::from([("http".to_owned(), http().record(Some(&grants)))]);
    assert_eq!(parse(&write("", &records)).as_ref(), Ok(&records));
}

#[test]
fn what_can_t_be_says_where_it_stands() {
    let whole = write("", &[("http".to_owned(), http().record(Some(&granted())))].into());
    let line_of = |part: &str| 1 + whole.split(part).next().unwrap().matches('\n').count();
    for (right, wrong, said) in [
        ("format = 1", "format = 2", "newer"),
        ("format = 1", "format = \"1\"", "expected i64"),
        ("format = 1", "fromat = 1", "fromat"),
        ("[plugins.http]", "[plugins.Http]", "no plugin name"),
        ("[plugins.http]", "[plugins.\"a/b/c\"]", "no plugin name"),
        ("[plugins.http]", "[plugins.http", "expected"),
        ("version = \"0.1.0\"", "version = \"1\"", "semantic version"),
        ("digest = \"sha256:", "digest = \"sha255:", "digest"),
        ("schema = \"sha256:", "schema = \"", "digest"),
        ("size = 3", "size = -3", "number of bytes"),
        ("kinds = [\"pulse\"]", "kinds = [\"puls\"]", "there is no kind"),
        (
            "needs = [\"http\"]",
            "needs = [\"sockets\"]",
            "there is no lent interface",
        ),
        ("requests.networks", "requests.nets", "there is no grant"),
        (
            "grants.http = [\n    \"https://*:*\"",
            "grants.http = [\n    \"ftp://a\"",
            "scheme",
        ),
        ("size = 3", "size = 3\nsize = 4", "duplicate"),
        ("kinds = [\"pulse\"]", "", "missing field"),
        ("size = 3", "size = 3\ncolour = 1", "colour"),
    ] {
        let text = whole.replacen(right, wrong, 1);
        assert_ne!(text, whole, "{right}");
        let fault = parse(&text).unwrap_err();
        assert!(fault.message.contains(said), "{wrong}: {fault:?}");
        assert!(!fault.message.contains('\n'), "{fault:?}");
        // Of a field that is missing only the table can be named.
        let near = line_of(right).abs_diff(fault.line);
        assert!(near <= 1 || said == "missing field", "{wrong}: {fault:?}");
        assert!(fault.column >= 1);
    }
}

#[test]
fn a_broken_lock_lets_nobody_in_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    for broken in [
        &b"format = 1\n[plugins.http]\n<<<<<<< HEAD\n"[..],
        b"format = 1\n\xff",
        b"",
    ] {
        std::fs::write(&path, broken).unwrap();
        let error = Gate::open(&path, LockPolicy::Exact).unwrap_err();
        assert!(matches!(error, LockError::Broken { .. }), "{error:?}");
        assert!(
            error.to_string().starts_with(&format!("{}:", path.display())),
            "{error}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), broken);
    }
    assert!(
        Gate::open(&path, LockPolicy::Exact)
            .unwrap_err()
            .to_string()
            .contains("plugins.lock:1:1: missing field `format`")
    );
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(
        Gate::open(&path, LockPolicy::Exact),
        Err(LockError::Unusable { .. })
    ));
}

#[test]
fn two_who_write_at_once_do_not_lose_what_the_other_took() {
    let (_, folder) = gate(LockPolicy::Exact, &[]);
    let path = folder.path().join(FILE);
    let (mut one, mut other) = (LockFile::read(&path).unwrap(), LockFile::read(&path).unwrap());
    one.records.insert("http".into(), http().record(None));
    one.write().unwrap();
    other.records.insert("tcp".into(), http().record(None));
    assert!(matches!(other.write(), Err(LockError::Changed { .. })));
    let read = LockFile::read(&path).unwrap();
    assert_eq!(read.records.keys().collect::<Vec<_>>(), ["http"]);
    // And nothing else lies about.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_link_stays_a_link_and_permissions_stay() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (real, path) = (folder.path().join("real.lock"), folder.path().join(FILE));
    std::fs::write(&real, "format = 1\n").unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("real.lock", &path).unwrap();
    let mut lock = LockFile::read(&path).unwrap();
    lock.records.insert("http".into(), http().record(None));
    lock.write().unwrap();
    assert!(path.symlink_metadata().unwrap().is_symlink());
    assert_eq!(real.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(LockFile::read(&real).unwrap().records.len(), 1);
}

#[test]
fn without_a_lock_everybody_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::open(&folder.path().join(FILE), LockPolicy::Exact).unwrap();
    assert_eq!(http().verdict(&gate), Verdict::Same);
    assert_eq!(http().verdict(&Gate::wide_open()), Verdict::Same);
}

/// What is done to a plugin, what is said about it, and whether it stays within what it was.
type Case = (&'static str, fn(&mut Made), &'static str, bool);

const CASES: &[Case] = &[
    (
        "other bytes",
        |made| made.bytes = b"two".to_vec(),
        "digest: ",
        true,
    ),
    (
        "longer",
        |made| made.bytes = b"longer".to_vec(),
        "size: 3 bytes -> 6 bytes",
        true,
    ),
    (
        "a version",
        |made| made.facts.version = "0.2.0".into(),
        "version: 0.1.0 -> 0.2.0",
        true,
    ),
    (
        "an import that needs no grant",
        |made| made.imports.push("pulse:host/log@0.1.0".into()),
        "imports: + pulse:host/log@0.1.0",
        true,
    ),
    (
        "an import less",
        |made| drop(made.imports.pop()),
        "imports: - wasi:io/poll@0.2.6",
        true,
    ),
    (
        "another lent interface",
        |made| {
            made.facts.needs.push(Capability::Tcp);
            made.imports.push("pulse:host/tcp@0.1.0".into());
        },
        "needs: + tcp",
        false,
    ),
    (
        "asks for what its other request covers",
        |made| made.requests.insert("http", "https://a.example.com").unwrap(),
        "requests: + http https://a.example.com:443",
        true,
    ),
    (
        "asks for what it was granted",
        |made| made.requests.insert("http", "https://other.example").unwrap(),
        "requests: + http https://other.example:443",
        true,
    ),
    (
        "asks for more",
        |made| made.requests.insert("http", "http://other.example").unwrap(),
        "requests: + http http://other.example:80 (neither",
        false,
    ),
    (
        "another network",
        |made| made.requests.insert("networks", "link-local").unwrap(),
        "requests: + networks link-local",
        false,
    ),
    (
        "asks for less",
        |made| made.requests = Reach::default(),
        "requests: - networks public",
        true,
    ),
    (
        "another kind",
        |made| made.facts.kinds.push(Kind::Code),
        "kinds: + code",
        true,
    ),
    (
        "no longer a check",
        |made| made.facts.kinds = vec![Kind::Code],
        "kinds: - pulse",
        false,
    ),
    (
        "one setting more",
        |made| {
            made.facts.schema = Arc::new(json!({"type": "object", "required": ["url"],
                "properties": {"url": {"type": "string"}, "more": {"type": "integer"}}}));
        },
        "settings: + more: integer",
        true,
    ),
    (
        "a setting that old configurations lack",
        |made| {
            made.facts.schema = Arc::new(json!({"type": "object", "required": ["url", "more"],
                "properties": {"url": {"type": "string"}, "more": {"type": "integer"}}}));
        },
        "`more: integer, required` is new",
        false,
    ),
];

#[test]
fn what_changed_is_refused_until_it_is_accepted() {
    let record = http().record(Some(&granted()));
    let (exact, folder) = gate(LockPolicy::Exact, &[("http", record.clone())]);
    let within = Gate::open(&folder.path().join(FILE), LockPolicy::WithinGrants).unwrap();
    assert_eq!(http().verdict(&exact), Verdict::Same);
    assert_eq!(http().verdict(&within), Verdict::Same);
    for (name, change, said, stays) in CASES {
        let mut made = http();
        change(&mut made);
        let Verdict::Refused(why) = made.verdict(&exact) else {
            panic!("{name}: was let in");
        };
        assert!(why.starts_with("changed since it was locked: "), "{name}: {why}");
        assert!(why.contains(said), "{name}: {why}");
        assert!(
            why.ends_with("`pulse-host plugin lock --accept http` takes it"),
            "{why}"
        );
        match made.verdict(&within) {
            Verdict::Within(changes) => {
                assert!(*stays, "{name}: was let in: {changes:?}");
                assert!(!changes.is_empty());
            }
            Verdict::Refused(why) => {
                assert!(!stays, "{name}: {why}");
                assert!(
                    why.starts_with("changed beyond what it was locked with: "),
                    "{why}"
                );
            }
            Verdict::Same => panic!("{name}: nothing was seen"),
        }
        // Once it is accepted, it is as it is locked.
        let (accepted, _folder) = gate(LockPolicy::Exact, &[("http", made.record(None))]);
        assert_eq!(made.verdict(&accepted), Verdict::Same, "{name}");
    }
    let mut stranger = http();
    stranger.facts.name = "other".into();
    for gate in [&exact, &within] {
        let Verdict::Refused(why) = stranger.verdict(gate) else {
            panic!("a plugin that nobody accepted was let in");
        };
        assert!(
            why.contains("plugins.lock; `pulse-host plugin lock --accept other`"),
            "{why}"
        );
    }
}

#[test]
fn grants_beyond_the_lock_are_told() {
    let (gate, _folder) = gate(LockPolicy::Exact, &[("http", http().record(Some(&granted())))]);
    let grants = |grants: Grants| BTreeMap::from([("http".to_owned(), Arc::new(grants))]);
    assert_eq!(gate.grants_beyond(&grants(granted())), []);
    assert_eq!(gate.grants_beyond(&grants(Grants::default())), []);
    let mut more = granted();
    more.networks.insert(Network::LinkLocal);
    let told = gate.grants_beyond(&grants(more));
    assert_eq!(told.len(), 1);
    assert!(told[0].1.contains("networks link-local"), "{told:?}");
}

#[test]
fn every_state_is_told_by_name() {
    let record = http().record(Some(&granted()));
    let mut within = record.clone();
    within.version = "0.1.1".into();
    let mut changed = record.clone();
    changed.needs.push("files".into());
    let locked: BTreeMap<String, Record> = ["changed", "gone", "same", "within"]
        .map(|name| (name.to_owned(), record.clone()))
        .into();
    let now: BTreeMap<String, Record> = [
        ("changed", changed),
        ("new", record.clone()),
        ("same", record),
        ("within", within),
    ]
    .map(|(name, record)| (name.to_owned(), record))
    .into();
    let compared = compare(&locked, &now);
    let states: Vec<_> = compared
        .iter()
        .map(|one| (one.name.as_str(), one.state))
        .collect();
    assert_eq!(
        states,
        [
            ("changed", State::Changed),
            ("gone", State::Missing),
            ("new", State::New),
            ("same", State::Same),
            ("within", State::Within),
        ]
    );
    let new = compared.iter().find(|one| one.name == "new").unwrap();
    for field in ["digest", "imports", "requests", "grants", "settings", "size"] {
        assert!(new.changes.iter().any(|change| change.field == field), "{field}");
    }
}

#[test]
fn who_wants_more_than_before_is_announced_once() {
    let data = tempfile::tempdir().unwrap();
    let note = |made: &Made| {
        let records = BTreeMap::from([("http".to_owned(), made.record(Some(&granted())))]);
        let (told, noted) = note_seen(data.path(), &records);
        assert_eq!(noted, Ok(()));
        told
    };
    assert_eq!(
        note(&http()),
        [],
        "the first time there is nothing to compare with"
    );
    assert_eq!(note(&http()), []);
    let mut made = http();
    made.bytes = b"two".to_vec();
    let told = note(&made);
    assert_eq!((told.len(), told[0].grew), (1, false), "{told:?}");
    for (what, grow) in [
        (
            "imports: + pulse:host/tcp@0.1.0",
            (|made: &mut Made| {
                made.facts.needs.push(Capability::Tcp);
                made.imports.push("pulse:host/tcp@0.1.0".into());
            }) as fn(&mut Made),
        ),
        ("imports: + wasi:clocks/wall-clock@0.2.6", |made| {
            made.imports.push("wasi:clocks/wall-clock@0.2.6".into())
        }),
        // Also what was granted long ago: the plugin asks for it only now.
        ("requests: + http https://b.example:443", |made| {
            made.requests.insert("http", "https://b.example").unwrap();
        }),
    ] {
        grow(&mut made);
        let told = note(&made);
        assert_eq!((told.len(), told[0].grew), (1, true), "{told:?}");
        assert!(told[0].text.contains(what), "{told:?}");
        assert_eq!(note(&made), [], "it was told");
    }
    // A plugin that was away is still known.
    assert_eq!(note_seen(data.path(), &BTreeMap::new()), (Vec::new(), Ok(())));
    let told = note(&http());
    assert_eq!((told.len(), told[0].grew), (1, false), "{told:?}");
    // A note that can't be read is no reason not to start, and is begun anew.
    for nonsense in [&b"nonsense"[..], b"\xff"] {
        std::fs::write(data.path().join("plugins.seen"), nonsense).unwrap();
        assert_eq!(note(&http()), []);
        assert_eq!(note(&made).len(), 1);
    }
}

/// What was found out is told although it can't be noted.
#[test]
fn what_can_t_be_noted_is_announced() {
    let data = tempfile::tempdir().unwrap();
    let records = |made: &Made| BTreeMap::from([("http".to_owned(), made.record(None))]);
    assert_eq!(note_seen(data.path(), &records(&http())), (Vec::new(), Ok(())));
    // It leads to a file whose name leaves no room for that of the one that is to take its place.
    let (seen, long) = (
        data.path().join("plugins.seen"),
        data.path().join("s".repeat(250)),
    );
    std::fs::rename(&seen, &long).unwrap();
    std::os::unix::fs::symlink(&long, &seen).unwrap();
    let mut made = http();
    made.bytes = b"two".to_vec();
    for _ in 0..2 {
        let (told, noted) = note_seen(data.path(), &records(&made));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(noted.unwrap_err().contains("can't be written"));
    }
    let (_, noted) = note_seen(Path::new("/proc/nowhere"), &BTreeMap::new());
    assert!(noted.is_err());
}
