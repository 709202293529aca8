//! The cache of compiled components: written by a child process, used while it is whole and nobody else's.

use super::{load, sandbox};
use crate::support::sandbox::{built, found, in_shell, program};
use pulse_host::{plugins, sandbox::Compiler};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

/// Compiles nothing: what loads with it comes from the cache.
fn no_compiler() -> Compiler {
    Compiler::Child("/nonexistent/compiler".into())
}

/// Loads the good guest. The problem, if there is one.
fn try_load(data: &Path, compiler: Compiler) -> Result<(), String> {
    let (names, problems) = load(&sandbox(data, compiler), vec![found(in_shell("good"))]);
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => {
            assert_eq!(names, ["good"]);
            Ok(())
        }
    }
}

/// The one artefact there is.
fn artefact(data: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir(data.join("compiled"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "cwasm"))
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.pop().unwrap()
}

fn names(data: &Path) -> Vec<String> {
    let entries = fs::read_dir(data.join("compiled")).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_child_compiles_and_what_it_made_is_used_again() {
    let data = tempfile::tempdir().unwrap();
    assert!(
        try_load(data.path(), no_compiler())
            .unwrap_err()
            .contains("can't be started")
    );
    assert_eq!(
        names(data.path()),
        [""; 0],
        "a compiler that can't be started leaves nothing"
    );

    let sandbox = sandbox(data.path(), Compiler::Child(program()));
    let chaos = || plugins::read(&built("chaos")).unwrap();
    let (loaded, problems) = load(&sandbox, vec![chaos()]);
    assert_eq!((loaded, problems), (vec!["chaos".to_owned()], vec![]));
    let compiled = artefact(data.path());
    let metadata = fs::metadata(&compiled).unwrap();
    assert_eq!(metadata.mode() & 0o777, 0o600);
    assert_eq!(
        fs::metadata(data.path().join("compiled")).unwrap().mode() & 0o777,
        0o700
    );
    assert_eq!(
        names(data.path()).len(),
        2,
        "the artefact and its digest: {:?}",
        names(data.path())
    );

    // The same bytes, another file and a process of its own, as it were: nothing is compiled.
    let (loaded, problems) = load(&super::sandbox(data.path(), no_compiler()), vec![chaos()]);
    assert_eq!((loaded, problems), (vec!["chaos".to_owned()], vec![]));
    let after = fs::metadata(&compiled).unwrap();
    assert_eq!(
        (after.ino(), after.mtime_nsec()),
        (metadata.ino(), metadata.mtime_nsec())
    );

    // Other bytes are another artefact.
    let (loaded, problems) = load(&sandbox, vec![found(in_shell("good"))]);
    assert_eq!((loaded, problems), (vec!["good".to_owned()], vec![]));
    assert_eq!(names(data.path()).len(), 4);
}

#[test]
fn a_child_says_why_it_could_not() {
    let data = tempfile::tempdir().unwrap();
    let mut broken = in_shell("good");
    broken.truncate(broken.len() - 20);
    let sandbox = sandbox(data.path(), Compiler::Child(program()));
    let (loaded, problems) = load(&sandbox, vec![found(broken)]);
    assert!(loaded.is_empty());
    assert!(problems[0].contains("does not compile: "), "{problems:?}");
    assert!(!problems[0].contains(char::is_control), "{problems:?}");
    let left = names(data.path());
    assert!(
        left.len() == 1 && left[0].ends_with(".refused"),
        "why is remembered: {left:?}"
    );
    let data = tempfile::tempdir().unwrap();

    // One that dies without a word, or does nothing and says that all is well.
    for (program, part) in [
        ("/bin/false", "could not be compiled"),
        ("/bin/true", "No such file"),
    ] {
        let error = try_load(data.path(), Compiler::Child(program.into())).unwrap_err();
        assert!(error.contains(part), "{program}: {error}");
        assert_eq!(names(data.path()), [""; 0], "{program}");
    }
}

/// Something that is done to the cache.
type Harm = (&'static str, fn(&Path));

#[test]
fn what_is_not_trusted_is_compiled_anew() {
    fn flip(path: &Path, at: impl Fn(usize) -> usize) {
        let mut bytes = fs::read(path).unwrap();
        let at = at(bytes.len());
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let seal = |path: &Path| path.with_extension("sha256");
    let mut harms: Vec<Harm> = vec![
        ("nothing in it", |path| fs::write(path, b"").unwrap()),
        ("half of it", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("something else in it", |path| {
            fs::write(path, b"\x7fELF of another").unwrap()
        }),
        ("another head", |path| flip(path, |_| 3)),
        // In the machine code, where wasmtime does not look.
        ("a bit in the middle", |path| flip(path, |length| length / 2)),
        ("a bit at the end", |path| flip(path, |length| length - 1)),
        ("writable by all", |path| mode(path, 0o666)),
        ("writable by the group", |path| mode(path, 0o620)),
        ("a link", |path| {
            let elsewhere = path.with_extension("moved");
            fs::rename(path, &elsewhere).unwrap();
            symlink(&elsewhere, path).unwrap();
        }),
        ("a link to nowhere", |path| {
            fs::remove_file(path).unwrap();
            symlink("/nonexistent/artefact", path).unwrap();
        }),
        ("no digest", |path| {
            fs::remove_file(path.with_extension("sha256")).unwrap()
        }),
        ("another digest", |path| {
            flip(&path.with_extension("sha256"), |_| 0)
        }),
        ("a digest writable by all", |path| {
            mode(&path.with_extension("sha256"), 0o666)
        }),
    ];
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        // Only root can give files away.
        harms.push(("somebody else's", |path| chown(path, Some(65_534), None).unwrap()));
        harms.push(("a digest of somebody else's", |path| {
            chown(path.with_extension("sha256"), Some(65_534), None).unwrap();
        }));
    }
    let data = tempfile::tempdir().unwrap();
    try_load(data.path(), Compiler::InProcess).unwrap();
    let path = artefact(data.path());
    let (whole, sealed) = (fs::read(&path).unwrap(), fs::read(seal(&path)).unwrap());
    for (name, harm) in harms {
        harm(&path);
        // Without a compiler there is nothing that could be loaded.
        let error = try_load(data.path(), no_compiler()).expect_err(name);
        assert!(error.contains("can't be started"), "{name}: {error}");
        try_load(data.path(), Compiler::InProcess).unwrap_or_else(|error| panic!("{name}: {error}"));
        // And now it is whole, and ours alone, again.
        try_load(data.path(), no_compiler()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(metadata.is_file() && metadata.mode() & 0o777 == 0o600, "{name}");
        assert_eq!(fs::read(&path).unwrap(), whole, "{name}");
        assert_eq!(fs::read(seal(&path)).unwrap(), sealed, "{name}");
    }
}

#[test]
fn a_folder_that_others_can_write_is_closed_and_one_that_is_not_ours_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("compiled");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    try_load(data.path(), Compiler::InProcess).unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);

    let elsewhere = data.path().join("elsewhere");
    fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    let error = try_load(data.path(), Compiler::InProcess).unwrap_err();
    assert!(error.contains("does not belong to this user"), "{error}");

    fs::remove_file(&folder).unwrap();
    fs::write(&folder, b"").unwrap();
    let error = try_load(data.path(), Compiler::InProcess).unwrap_err();
    assert!(error.contains("can't be used"), "{error}");
}

#[test]
fn what_a_killed_process_left_behind_is_removed() {
    let data = tempfile::tempdir().unwrap();
    try_load(data.path(), Compiler::InProcess).unwrap();
    let path = artefact(data.path());
    let left = |name: &str, age_s: u64| {
        let path = data.path().join("compiled").join(name);
        fs::write(&path, b"half an artefact").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - std::time::Duration::from_secs(age_s))
            .unwrap();
        path
    };
    let [old, young] = [left("old.tmp", 100_000), left("young.tmp", 60)];
    fs::remove_file(&path).unwrap();
    try_load(data.path(), Compiler::InProcess).unwrap();
    assert!(!old.exists());
    assert!(young.exists(), "somebody may be writing it");
}

#[test]
fn several_at_once_do_not_disturb_each_other() {
    let data = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| scope.spawn(|| try_load(data.path(), Compiler::InProcess)))
            .collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Ok(()));
        }
    });
    assert_eq!(names(data.path()).len(), 2, "{:?}", names(data.path()));
}
