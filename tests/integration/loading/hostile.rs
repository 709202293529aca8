//! Everything that a stranger may put into a plugins folder, in one folder, beside plugins of honest people: each is
//! refused with its own words, nothing is waited for, and the honest ones are loaded.

use super::limits::{component, product, woven};
use crate::support::{
    host,
    sandbox::{built, in_shell, in_shell_text, root_of, wat},
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::Stdio,
};
use tempfile::TempDir;

/// A name, what is put on the disk (in the plugins folder, under names that begin with the first), and what is said
/// about it. Without words, it must be loaded under that name.
struct Case {
    name: &'static str,
    put: Box<dyn Fn(&Path)>,
    said: &'static str,
}

fn file(name: &'static str, bytes: Vec<u8>, said: &'static str) -> Case {
    Case {
        name,
        put: Box::new(move |folder| fs::write(folder.join(format!("{name}.wasm")), &bytes).unwrap()),
        said,
    }
}

/// A folder with the guest `chaos` and that manifest.
fn manifest(name: &'static str, text: String, said: &'static str) -> Case {
    Case {
        name,
        put: Box::new(move |folder| {
            let folder = folder.join(name);
            fs::create_dir(&folder).unwrap();
            fs::copy(built("chaos"), folder.join("chaos.wasm")).unwrap();
            fs::write(folder.join("plugin.toml"), &text).unwrap();
        }),
        said,
    }
}

fn other(name: &'static str, said: &'static str, put: impl Fn(&Path) + 'static) -> Case {
    Case {
        name,
        put: Box::new(put),
        said,
    }
}

/// The good guest with another name, of the same length.
fn good(name: &str) -> Vec<u8> {
    assert_eq!(name.len(), 4);
    changed(&[("\"good\"", &format!("\"{name}\""))])
}

fn changed(changes: &[(&str, &str)]) -> Vec<u8> {
    let mut text = fs::read_to_string(root_of("tests/guests/wat/in-shell/good.wat")).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    in_shell_text(&text)
}

fn cases(outside: &Path) -> Vec<Case> {
    let garbage: Vec<u8> = (0..50_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let chaos = fs::read(built("chaos")).unwrap();
    let honest = fs::read_to_string(root_of("tests/guests/chaos/plugin.toml")).unwrap();
    let lie = |right: &str, wrong: &str| {
        let text = honest.replacen(right, wrong, 1);
        assert_ne!(text, honest);
        text
    };
    let mut deep = "(component".repeat(20);
    deep.push_str(&")".repeat(20));
    let outside = outside.to_owned();
    fs::write(outside.join("outside.wasm"), good("away")).unwrap();
    fs::create_dir(outside.join("folder")).unwrap();
    fs::write(outside.join("folder/away.wasm"), good("away")).unwrap();
    fs::write(outside.join("secret"), "password = hunter2 !\n").unwrap();
    let place = move |name: &str| outside.join(name);
    let [target, folder, secret] = [place("outside.wasm"), place("folder"), place("secret")];
    vec![
        file("random-bytes", garbage.clone(), "no WebAssembly binary"),
        file(
            "random-after-head",
            [b"\0asm\x0d\0\x01\0", &garbage[..]].concat(),
            "does not compile",
        ),
        file("truncated", chaos[..chaos.len() / 2].to_vec(), "does not compile"),
        file("nothing", Vec::new(), "no WebAssembly binary"),
        file("wat-text", b"(component)".to_vec(), "no WebAssembly binary"),
        file("core-module", wat("core-module"), "core module"),
        file(
            "undeclared-import",
            in_shell("unknown-import"),
            "pulse:host/teleport@0.1.0",
        ),
        file("unknown-abi", wat("unknown-abi"), "pulse:plugin/plugin@9.0.0"),
        other("oversized", "larger than", |folder| {
            // Holes: it takes no room.
            let file = fs::File::create(folder.join("oversized.wasm")).unwrap();
            file.set_len((64 << 20) + 1).unwrap();
        }),
        file(
            "functions",
            component(200_001, 0, &[0x20, 0]),
            "more than 200000 functions",
        ),
        file(
            "locals",
            component(1_000, 20_000, &[0x20, 0]),
            "more than 10000000 locals",
        ),
        file(
            "deep-nesting",
            ::wat::parse_str(&deep).unwrap(),
            "nested more than",
        ),
        file(
            "cpu-bomb",
            component(2_000, 0, &product(2_000)),
            "more than 2s of CPU time",
        ),
        file(
            "memory-bomb",
            component(8, 10_000, &woven(400, 10_000)),
            "more than 256 MiB of memory",
        ),
        file("memory-minimum", in_shell("memory-minimum"), "memory"),
        file("table-minimum", in_shell("table-minimum"), "table"),
        file("start-loop", in_shell("start-loop"), "can't describe itself"),
        file(
            "describe-loop",
            in_shell("describe-loop"),
            "can't describe itself",
        ),
        file(
            "describe-wild",
            in_shell("describe-out-of-bounds"),
            "can't describe itself",
        ),
        file(
            "describe-long",
            changed(&[(
                "\\40\\00\\00\\00\\04\\00\\00\\00",
                "\\40\\00\\00\\00\\00\\f0\\00\\00",
            )]),
            "no plugin name",
        ),
        file("bad-schema", in_shell("describe-bad-schema"), "no JSON"),
        file(
            "path-as-name",
            changed(&[("\"good\"", "\"../a\"")]),
            "no plugin name",
        ),
        manifest(
            "lying-name",
            lie("name = \"chaos\"", "name = \"order\""),
            "calls itself `chaos`",
        ),
        manifest("lying-version", lie("0.1.0", "0.2.0"), "says version 0.2.0"),
        manifest("lying-kinds", lie("\"pulse\", ", ""), "says kinds"),
        manifest("lying-needs", lie("\"docker\", ", ""), "imports docker"),
        manifest(
            "dot-dot",
            lie("\"chaos.wasm\"", "\"../chaos.wasm\""),
            "no file name",
        ),
        manifest("absolute", lie("\"chaos.wasm\"", "\"/bin/sh\""), "no file name"),
        manifest(
            "loud",
            lie("name = \"chaos\"", "name = \"\u{1b}[31mchaos\""),
            "\\u{1b}",
        ),
        manifest(
            "endless-manifest",
            format!("{honest}# {}\n", "x".repeat(70_000)),
            "larger than",
        ),
        manifest(
            "wants-all",
            lie("needs", "[requests]\nhttp = [\"file:///etc\"]\n[x]\nneeds"),
            "unknown field `x`",
        ),
        other("link-to-file", "lies outside", {
            let target = target.clone();
            move |folder| symlink(&target, folder.join("link-to-file.wasm")).unwrap()
        }),
        other("link-to-folder", "lies outside", move |own| {
            fs::write(
                folder.join("plugin.toml"),
                "name = \"away\"\nversion = \"0.1.0\"\nkinds = [\"pulse\"]\ncomponent = \"away.wasm\"\n",
            )
            .unwrap();
            symlink(&folder, own.join("link-to-folder")).unwrap();
        }),
        other("link-to-component", "lies outside", move |folder| {
            let own = folder.join("link-to-component");
            fs::create_dir(&own).unwrap();
            fs::write(
                own.join("plugin.toml"),
                "name = \"away\"\nversion = \"0.1.0\"\nkinds = [\"pulse\"]\ncomponent = \"c.wasm\"\n",
            )
            .unwrap();
            symlink(&target, own.join("c.wasm")).unwrap();
        }),
        other("link-to-secret", "lies outside", move |folder| {
            let own = folder.join("link-to-secret");
            fs::create_dir(&own).unwrap();
            symlink(&secret, own.join("plugin.toml")).unwrap();
        }),
        other("link-to-itself", "can't be read", |folder| {
            symlink("link-to-itself.wasm", folder.join("link-to-itself.wasm")).unwrap();
        }),
        other("device", "lies outside", |folder| {
            symlink("/dev/zero", folder.join("device.wasm")).unwrap()
        }),
        other("pipe", "no regular file", |folder| {
            mkfifo(&folder.join("pipe.wasm"), Mode::from_bits_truncate(0o600)).unwrap();
        }),
        other("folder-as-file", "can't be read", |folder| {
            fs::create_dir(folder.join("folder-as-file.wasm")).unwrap();
        }),
        other("pipe-as-component", "no regular file", |folder| {
            let own = folder.join("pipe-as-component");
            fs::create_dir(&own).unwrap();
            fs::write(
                own.join("plugin.toml"),
                "name = \"away\"\nversion = \"0.1.0\"\nkinds = [\"pulse\"]\ncomponent = \"c.wasm\"\n",
            )
            .unwrap();
            mkfifo(&own.join("c.wasm"), Mode::from_bits_truncate(0o600)).unwrap();
        }),
        file("twin-a", good("twin"), "several plugins named `twin`"),
        file("twin-b", good("twin"), "several plugins named `twin`"),
        // And these are honest.
        file("good", good("good"), ""),
        file("fine", good("fine"), ""),
        other("inner-link", "", |folder| {
            let own = folder.join("inner-link");
            fs::create_dir(&own).unwrap();
            let text = "name = \"link\"\nversion = \"0.1.0\"\nkinds = [\"pulse\"]\ncomponent = \"c.wasm\"\n";
            fs::write(own.join("plugin.toml"), text).unwrap();
            fs::write(own.join("real.wasm"), good("link")).unwrap();
            symlink("real.wasm", own.join("c.wasm")).unwrap();
        }),
    ]
}

/// Lists the plugins in that folder. The plugins' names, the problems, and what was said beside that.
fn list(folder: &Path) -> (Vec<String>, Vec<String>, String) {
    let output = host::command()
        .args(["plugin", "list", "--plugins", "plugins", "--output", "json"])
        .current_dir(folder)
        .env("HOME", folder)
        .env("STATE_DIRECTORY", folder.join("state"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
    let texts = |value: &Value, of: fn(&Value) -> &Value| -> Vec<String> {
        let items = value.as_array().unwrap().iter();
        items.map(|item| of(item).as_str().unwrap().to_owned()).collect()
    };
    (
        texts(&json["plugins"], |plugin| &plugin["name"]),
        texts(&json["problems"], |problem| problem),
        error,
    )
}

fn compiled(folder: &Path, ending: &str) -> BTreeMap<PathBuf, u64> {
    fs::read_dir(folder.join("state/compiled"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|other| other == ending))
        .map(|path| {
            let inode = path.metadata().unwrap().ino();
            (path, inode)
        })
        .collect()
}

#[test]
fn whatever_lies_in_the_folder_the_honest_are_loaded() {
    let (folder, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::write(
        folder.path().join("pulse-host.toml"),
        "[host]\ncompiler.cpu = \"2s\"\ncompiler.memory = \"256MiB\"\n",
    )
    .unwrap();
    let cases = cases(outside.path());
    for case in &cases {
        (case.put)(&plugins);
    }
    let (names, problems, error) = list(folder.path());
    assert_eq!(names, ["fine", "good", "link"], "{problems:#?} {error}");
    let mut unexpected = problems.clone();
    for case in cases.iter().filter(|case| !case.said.is_empty()) {
        let begin = format!("plugins/{}", case.name);
        let about = |problem: &String| {
            let rest = problem.strip_prefix(&begin);
            rest.is_some_and(|rest| rest.starts_with(['.', '/', ':']))
        };
        let own: Vec<&String> = problems.iter().filter(|problem| about(problem)).collect();
        assert_eq!(own.len(), 1, "{}: {own:?} of {problems:#?}", case.name);
        assert!(
            own[0].contains(case.said),
            "{}: {:?} in {}",
            case.name,
            case.said,
            own[0]
        );
        assert!(
            !own[0].contains(|c: char| c.is_control() && c != '\n'),
            "{}: {own:?}",
            case.name
        );
        assert!(
            !own[0].contains("hunter2"),
            "{}: shows what the link leads to: {own:?}",
            case.name
        );
        assert!(own[0].len() < 10_000, "{}: {} bytes", case.name, own[0].len());
        unexpected.retain(|problem| !about(problem));
    }
    assert_eq!(unexpected, [""; 0]);
    assert_eq!(
        compiled(folder.path(), "tmp"),
        BTreeMap::new(),
        "nothing lies about"
    );

    // A storm of reloads: nothing is compiled again, whether it could be or not.
    let before = (
        compiled(folder.path(), "cwasm"),
        compiled(folder.path(), "refused"),
    );
    assert!(before.1.len() >= 5, "{before:?}");
    for _ in 0..3 {
        let again = list(folder.path());
        assert_eq!(again.0, names);
        assert_eq!(again.1.len(), problems.len());
    }
    let after = (
        compiled(folder.path(), "cwasm"),
        compiled(folder.path(), "refused"),
    );
    assert_eq!(after, before);

    // Somebody has changed what was compiled: it is compiled anew, and that is said.
    for path in before.0.keys() {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let (again, _, error) = list(folder.path());
    assert_eq!(again, names);
    assert!(
        error.contains("is not what was written there; compiled anew"),
        "{error}"
    );
    assert!(
        compiled(folder.path(), "cwasm")
            .iter()
            .all(|(path, inode)| before.0[path] != *inode)
    );
}

#[test]
fn a_device_that_the_operator_names_is_no_plugin() {
    let folder = TempDir::new().unwrap();
    symlink("/dev/zero", folder.path().join("plugins")).unwrap();
    let (names, problems, _) = list(folder.path());
    assert_eq!(names, [""; 0]);
    assert!(
        problems.len() == 1 && problems[0].contains("no regular file"),
        "{problems:?}"
    );
}
