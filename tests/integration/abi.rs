//! The interface between plugins and host is what others have built upon.

use super::support::root;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, fmt::Write as _, fs};

/// Of the packages `pulse:plugin@0.1.0` and `pulse:host@0.1.0`, without comments and blanks. With `icmp` and `command`
/// they are complete, and frozen: whatever comes is added beside what is here.
const DIGEST: &str = "0ad4529bf70a0e8779ca90a783f45b813932a35efc0e6661a43052854ff76160";

/// What 0.2.0 of the tests changes: a report has several reasons.
const CHANGED: (&str, &str) = (
    "/// Machine-readable reason in kebab case (`connection-refused`, `tls-expired`); none when healthy.\n    \
     reason: option<string>,",
    "/// Machine-readable reasons in kebab case, the gravest first; none when healthy.\n    reasons: list<string>,",
);

/// The WIT texts of a folder, by name.
fn texts(folder: &str) -> BTreeMap<String, String> {
    fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

/// What a component sees of it: words and marks.
fn normalised(wit: &str) -> String {
    let mut words = String::new();
    for line in wit.lines() {
        let code = line.split_once("//").map_or(line, |(code, _)| code);
        for word in code.split_whitespace() {
            words.push_str(word);
            words.push(' ');
        }
    }
    words
}

fn digest() -> String {
    let mut hash = Sha256::new();
    for folder in ["wit/plugin", "wit/host"] {
        for (name, text) in texts(folder) {
            hash.update(format!("{folder}/{name}\n{}\n", normalised(&text)));
        }
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[test]
fn the_interface_is_frozen() {
    let digest = digest();
    assert!(
        digest == DIGEST,
        "wit/plugin or wit/host says something else than what plugins were built for.\n\
         - A type of 0.1.0 never changes, and no function goes: do it in a new version of the package, beside the old one\n\
         \x20 (host/src/sandbox/abi/next shows how).\n\
         - To pulse:host a function or an interface may be added; to pulse:plugin only an interface, since the host calls\n\
         \x20 every function of those that plugins export. If that is all you did, accept it:\n\n\
         \x20   sed -i s/{DIGEST}/{digest}/ tests/integration/abi.rs\n"
    );
}

#[test]
fn comments_and_blanks_are_no_part_of_the_interface() {
    let one = "/// Doc.\ninterface a {\n  f: func(); // why\n}\n";
    assert_eq!(normalised(one), normalised("interface a {\n\n    f: func();\n}"));
    assert_ne!(normalised(one), normalised("interface a { g: func(); }"));
}

/// So that the proof of two versions side by side is about this interface, and about one change.
#[test]
fn the_next_version_of_the_tests_is_a_copy_with_one_change() {
    let mut expected = texts("wit/plugin");
    for text in expected.values_mut() {
        *text = text.replace("package pulse:plugin@0.1.0", "package pulse:plugin@0.2.0");
    }
    let plugin = expected.get_mut("plugin.wit").unwrap();
    assert_eq!(plugin.matches(CHANGED.0).count(), 1);
    *plugin = plugin.replace(CHANGED.0, CHANGED.1);
    for (name, text) in texts("tests/abi/0.2.0") {
        assert!(
            expected.remove(&name).as_deref() == Some(&*text),
            "tests/abi/0.2.0/{name} is not wit/plugin/{name} with the new version and the one change: make the same \
             change there"
        );
    }
    assert!(expected.is_empty(), "tests/abi/0.2.0 lacks {expected:?}");
}
