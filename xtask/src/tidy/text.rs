//! Habits that hold for every text file: sizes, blanks, and no notes to oneself.

use super::{
    Problem,
    source::{bare, without_tests},
    tree::Tree,
};

/// Beyond that a file has more than one job.
const CODE_LINES_MAX: usize = 800;
/// Tests are long lists rather than deep code.
const TEST_LINES_MAX: usize = 1_500;
/// Written elsewhere and kept as it came, or wrong on purpose.
const NOT_OURS: &[&str] = &[
    "fuzz/corpus/",
    "wit/deps/",
    "plugin-sdk/wit/deps/",
    "tests/config-ui/",
    "LICENSE",
];
/// What people write by hand, without the languages whose own habit is the tab.
const NO_TABS: &[&str] = &[
    ".rs", ".toml", ".md", ".wit", ".wat", ".json", ".yml", ".yaml", ".py", ".js", ".ts",
];
/// Written in two parts, so that this file does not find itself.
const NOTES: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("HA", "CK"),
];

/// Checks every text file.
pub fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.texts("", "") {
        if NOT_OURS.iter().any(|prefix| path.starts_with(prefix)) || path.ends_with(".snap") {
            continue;
        }
        if path.ends_with(".rs") {
            size(path, text, &mut problems);
        }
        let tabs_allowed = !NO_TABS.iter().any(|suffix| path.ends_with(suffix));
        for (at, line) in text.lines().enumerate() {
            // An empty line of context in a patch is a blank.
            if line.ends_with([' ', '\t']) && !(line == " " && path.ends_with(".patch")) {
                problems.push(Problem::at(path, at + 1, "ends with a blank"));
            }
            if !tabs_allowed && line.contains('\t') {
                problems.push(Problem::at(path, at + 1, "holds a tab"));
            }
            let mut words = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            if let Some(note) = words.find(|word| NOTES.contains(word)) {
                let message = format!("`{note}`: do it, or file an issue and say in words what is missing");
                problems.push(Problem::at(path, at + 1, message));
            }
        }
        if !text.is_empty() && !text.ends_with('\n') {
            problems.push(Problem::of(path, "does not end with a line feed"));
        }
    }
    problems
}

fn size(path: &str, text: &str, problems: &mut Vec<Problem>) {
    let whole = text.lines().count();
    let is_test = path.ends_with("/tests.rs") || path.split('/').any(|folder| folder == "tests");
    let code = if is_test {
        0
    } else {
        // Test modules are blanked, and blank lines at the end are what is left of them.
        without_tests(&bare(text)).trim_end().lines().count()
    };
    if code > CODE_LINES_MAX {
        let message = format!("{code} lines without its tests, and {CODE_LINES_MAX} is the most: split it");
        problems.push(Problem::of(path, message));
    } else if whole > TEST_LINES_MAX {
        let message = format!("{whole} lines with its tests, and {TEST_LINES_MAX} is the most: split it");
        problems.push(Problem::of(path, message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)]))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn blanks_tabs_notes_and_a_missing_end_are_found() {
        assert_eq!(messages("a.md", "one \n"), ["a.md:1: ends with a blank"]);
        assert_eq!(messages("a.rs", "one\n\ttwo\n"), ["a.rs:2: holds a tab"]);
        assert_eq!(messages("a.go", "one\n\ttwo\n"), [""; 0]);
        assert_eq!(messages("a.md", "one"), ["a.md: does not end with a line feed"]);
        for note in NOTES {
            assert_eq!(messages("a.rs", &format!("// {note}: later\n")).len(), 1);
            assert_eq!(
                messages("a.rs", &format!("// {note}ER, {}\n", note.to_lowercase())).len(),
                0
            );
            assert_eq!(messages("wit/deps/io.wit", &format!("// {note}\n")).len(), 0);
        }
    }

    #[test]
    fn tests_do_not_count_towards_the_size_of_code() {
        let code = "fn f() {}\n".repeat(CODE_LINES_MAX);
        let tests = format!(
            "#[cfg(test)]\nmod tests {{\n{}}}\n",
            "    fn g() {}\n".repeat(400)
        );
        assert_eq!(messages("host/src/a.rs", &format!("{code}{tests}")), [""; 0]);
        assert_eq!(
            messages("host/src/a.rs", &format!("{code}fn f() {{}}\n{tests}")).len(),
            1
        );
        assert_eq!(
            messages("host/src/a/tests.rs", &"fn f() {}\n".repeat(TEST_LINES_MAX)),
            [""; 0]
        );
        assert_eq!(
            messages("host/src/a/tests.rs", &"fn f() {}\n".repeat(TEST_LINES_MAX + 1)).len(),
            1
        );
    }
}
