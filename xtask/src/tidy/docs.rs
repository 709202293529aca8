//! That the docs agree with the code.
//!
//! A table whose contents the code decides is announced by a comment on a line of its own before it:
//! - `<!-- tidy: names FILE FUNCTION -->`: the names in the first column are exactly the string literals in that
//!   function (such as `Outcome::class`).
//! - `<!-- tidy: keys FOLDER -->`: each key in the first column is made of string literals that occur in that
//!   folder's code. And every name in a `const KEYS…: &[&str]` of that folder occurs in some such table.
//! - `<!-- tidy: tests -->`: each name in the last column is a test function somewhere in the tree.
//!
//! Names are what stands in backticks. Beside that, every relative link leads to a file, every path in backticks
//! that names a file of the tree's source exists, and every file in `docs/` is linked from README.md or
//! docs/architecture.md.

use super::{
    Problem,
    source::{bare, literals},
    tree::Tree,
};
use std::collections::BTreeSet;

const ENTRANCES: &[&str] = &["README.md", "docs/architecture.md"];

/// Checks every Markdown file.
pub fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut documented = BTreeSet::new();
    let mut key_folders = BTreeSet::new();
    for (path, text) in tree.texts("", ".md") {
        for table in tables(text) {
            match table.words.as_slice() {
                ["names", file, function] => check_names(tree, path, &table, file, function, &mut problems),
                ["keys", folder] => {
                    key_folders.insert((*folder).to_owned());
                    documented.extend(table.first().flat_map(|(_, key)| parts(key)).map(str::to_owned));
                    check_keys(tree, path, &table, folder, &mut problems);
                }
                ["tests"] => check_tests(tree, path, &table, &mut problems),
                _ => problems.push(Problem::at(
                    path,
                    table.line,
                    "tidy knows `names FILE FUNCTION`, `keys FOLDER` and `tests`",
                )),
            }
        }
        links(tree, path, text, &mut problems);
        paths(tree, path, text, &mut problems);
    }
    for folder in key_folders {
        undocumented(tree, &folder, &documented, &mut problems);
    }
    unreachable(tree, &mut problems);
    problems
}

/// An announced table.
struct Table<'a> {
    words: Vec<&'a str>,
    /// Of the announcement.
    line: usize,
    /// Cells of each row, without head and rule.
    rows: Vec<(usize, Vec<&'a str>)>,
}

impl<'a> Table<'a> {
    /// Names in the first column with their line.
    fn first(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.column(|cells| cells.first().copied())
    }

    /// Names in the last column with their line.
    fn last(&self) -> impl Iterator<Item = (usize, &'a str)> {
        self.column(|cells| cells.last().copied())
    }

    fn column(&self, pick: fn(&[&'a str]) -> Option<&'a str>) -> impl Iterator<Item = (usize, &'a str)> {
        self.rows.iter().flat_map(move |(line, cells)| {
            ticked(pick(cells).unwrap_or_default())
                .into_iter()
                .map(|name| (*line, name))
        })
    }
}

fn tables(text: &str) -> Vec<Table<'_>> {
    let mut tables = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        let Some(words) = line
            .trim()
            .strip_prefix("<!-- tidy:")
            .and_then(|line| line.strip_suffix("-->"))
        else {
            continue;
        };
        while lines.next_if(|(_, line)| line.trim().is_empty()).is_some() {}
        let mut rows = Vec::new();
        while let Some((at, line)) = lines.next_if(|(_, line)| line.trim_start().starts_with('|')) {
            let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
            rows.push((at + 1, inner.split(" | ").map(str::trim).collect()));
        }
        tables.push(Table {
            words: words.split_whitespace().collect(),
            line: at + 1,
            rows: rows.into_iter().skip(2).collect(),
        });
    }
    tables
}

/// What stands in backticks.
fn ticked(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn check_names(
    tree: &Tree,
    path: &str,
    table: &Table<'_>,
    file: &str,
    function: &str,
    problems: &mut Vec<Problem>,
) {
    let Some(wanted) = tree.text(file).and_then(|text| literals_of(text, function)) else {
        problems.push(Problem::at(
            path,
            table.line,
            format!("{file} has no `fn {function}`"),
        ));
        return;
    };
    let found: BTreeSet<&str> = table.first().map(|(_, name)| name).collect();
    for (line, name) in table.first() {
        if !wanted.contains(name) {
            let message = format!("`{name}` is not among the names in `{function}` of {file}");
            problems.push(Problem::at(path, line, message));
        }
    }
    for name in wanted.iter().filter(|name| !found.contains(name.as_str())) {
        let message = format!("the table lacks `{name}`, which `{function}` of {file} names");
        problems.push(Problem::at(path, table.line, message));
    }
}

/// String literals in the body of the first function of that name.
fn literals_of(text: &str, function: &str) -> Option<BTreeSet<String>> {
    let bare = bare(text);
    let head = format!("fn {function}(");
    let start = bare.find(&head)?;
    let open = start + bare.get(start..)?.find('{')?;
    let mut depth = 0usize;
    // `bare` has as many characters as `text`, but perhaps fewer bytes: count characters.
    let skipped = bare.get(..open)?.chars().count();
    let mut body = String::new();
    for (plain, original) in bare.chars().zip(text.chars()).skip(skipped) {
        body.push(original);
        match plain {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(literals(&body).into_iter().collect());
                }
            }
            _ => {}
        }
    }
    None
}

/// The names that make up a key: `queues.KIND.batch` is `queues` and `batch`, as capitals stand for any name.
fn parts(key: &str) -> impl Iterator<Item = &str> {
    key.split(['.', '[', ']', ' ', '=', '{', '}', ',', '"'])
        .filter(|part| part.chars().any(|c| c.is_ascii_lowercase()))
}

fn check_keys(tree: &Tree, path: &str, table: &Table<'_>, folder: &str, problems: &mut Vec<Problem>) {
    let known: BTreeSet<String> = code(tree, folder).flat_map(|(_, text)| literals(text)).collect();
    if known.is_empty() {
        problems.push(Problem::at(
            path,
            table.line,
            format!("{folder} holds no code that could know these keys"),
        ));
        return;
    }
    for (line, key) in table.first() {
        for part in parts(key).filter(|part| !known.contains(*part)) {
            problems.push(Problem::at(
                path,
                line,
                format!("no code in {folder} knows the key `{part}`"),
            ));
        }
    }
}

fn code<'a>(tree: &'a Tree, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    tree.texts(folder, ".rs")
        .filter(|(path, _)| !path.ends_with("/tests.rs"))
}

/// Names in `const KEYS…: &[&str] = &[…];` that no table of keys holds.
fn undocumented(tree: &Tree, folder: &str, documented: &BTreeSet<String>, problems: &mut Vec<Problem>) {
    for (path, text) in code(tree, folder) {
        for list in text.split("const KEYS").skip(1) {
            let Some((head, body)) = list.split_once('=') else {
                continue;
            };
            if !head.contains("&str") {
                continue;
            }
            let body = body.split_once(';').map_or(body, |(body, _)| body);
            for key in literals(body).iter().filter(|key| !documented.contains(*key)) {
                problems.push(Problem::of(
                    path,
                    format!("the key `{key}` is in no table of keys in docs/"),
                ));
            }
        }
    }
}

fn check_tests(tree: &Tree, path: &str, table: &Table<'_>, problems: &mut Vec<Problem>) {
    let tests: BTreeSet<&str> = tree
        .texts("", ".rs")
        .flat_map(|(_, text)| test_names(text))
        .collect();
    for (line, name) in table.last().filter(|(_, name)| !name.contains(['/', '.'])) {
        if !tests.contains(name) {
            problems.push(Problem::at(path, line, format!("there is no test `{name}`")));
        }
    }
}

/// Functions after a `#[test]` or `#[tokio::test]`, and what takes their place in `proptest!`.
fn test_names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut armed = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            armed = true;
        } else if armed {
            let line = line.trim_start_matches("async ");
            if let Some(rest) = line.strip_prefix("fn ") {
                names.extend(rest.split(['(', '<']).next());
                armed = false;
            }
        }
    }
    names
}

/// Relative links in `[…](target)`.
fn links(tree: &Tree, path: &str, text: &str, problems: &mut Vec<Problem>) {
    for (line, target) in targets(text) {
        if target.contains("://") || target.starts_with(['#', '<']) || target.starts_with("mailto:") {
            continue;
        }
        let file = target.split('#').next().unwrap_or_default();
        match resolve(path, file) {
            Some(resolved) if tree.has(&resolved) => {}
            _ => problems.push(Problem::at(
                path,
                line,
                format!("the link to {target} leads nowhere"),
            )),
        }
    }
}

/// Link targets outside of code blocks.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut targets = Vec::new();
    let mut in_block = false;
    for (at, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            let found = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            targets.extend(found.map(|target| (at + 1, target)));
        }
    }
    targets
}

/// A path relative to a file's folder, from the root.
fn resolve(from: &str, to: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Folders whose files are named in full in the docs.
const NAMED: &[&str] = &[
    "host/",
    "plugin-sdk/",
    "plugins/",
    "tests/",
    "xtask/",
    "docs/",
    "wit/",
    ".ci/",
];

/// Paths in backticks. What is built (`target/`, `*.wasm`) and patterns are no files of the tree.
fn paths(tree: &Tree, path: &str, text: &str, problems: &mut Vec<Problem>) {
    for (at, line) in text.lines().enumerate() {
        for name in ticked(line) {
            let is_path = NAMED.iter().any(|folder| name.starts_with(folder))
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
            let is_built = name.contains("/target") || name.ends_with(".wasm");
            // A capital stands for any name.
            let is_pattern = name
                .split(['/', '.'])
                .any(|part| !part.is_empty() && part == part.to_uppercase());
            let is_pattern = is_pattern && !name.ends_with(".md");
            if is_path && !is_built && !is_pattern && !tree.has(name) {
                problems.push(Problem::at(path, at + 1, format!("there is no {name}")));
            }
        }
    }
}

/// Every file in `docs/` can be found by somebody who starts at an entrance.
fn unreachable(tree: &Tree, problems: &mut Vec<Problem>) {
    let linked: BTreeSet<String> = ENTRANCES
        .iter()
        .filter_map(|entrance| Some((*entrance, tree.text(entrance)?)))
        .flat_map(|(entrance, text)| {
            targets(text)
                .into_iter()
                .filter_map(move |(_, target)| resolve(entrance, target.split('#').next()?))
        })
        .collect();
    for (path, _) in tree.texts("docs/", "") {
        if !linked.contains(path) && !ENTRANCES.contains(&path) {
            problems.push(Problem::of(
                path,
                "is linked from neither README.md nor docs/architecture.md",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).iter().map(ToString::to_string).collect()
    }

    const OUTCOME: (&str, &str) = (
        "host/src/domain/outcome.rs",
        "impl Outcome {\n    /// \"ä\": no name.\n    fn class(&self) -> &'static str {\n        match self { Self::A => \"a\", \
         Self::B { .. } => \"b-c\" }\n    }\n    fn other() -> &'static str { \"d\" }\n}\n",
    );

    #[test]
    fn a_table_of_names_is_exactly_what_the_function_says() {
        let table = |rows: &str| {
            format!(
                "<!-- tidy: names host/src/domain/outcome.rs class -->\n\n| class | meaning |\n|---|---|\n{rows}\ntext\n"
            )
        };
        assert_eq!(
            messages(&[OUTCOME, ("A.md", &table("| `a` | x |\n| `b-c` | y |\n"))]),
            [""; 0]
        );
        let wrong = messages(&[OUTCOME, ("A.md", &table("| `a` | `b-c` |\n| `d` | y |\n"))]);
        assert_eq!(
            wrong,
            [
                "A.md:6: `d` is not among the names in `class` of host/src/domain/outcome.rs",
                "A.md:1: the table lacks `b-c`, which `class` of host/src/domain/outcome.rs names",
            ]
        );
        assert_eq!(
            messages(&[("A.md", &table("| `a` | x |\n"))]).len(),
            1,
            "no such function"
        );
    }

    #[test]
    fn keys_are_known_to_the_code_and_the_code_s_keys_to_the_docs() {
        let reader = (
            "host/src/config/host.rs",
            "const KEYS: &[&str] = &[\"tick\", \"queues\"];\nfn f(t: T) { t.get(\"capacity\") }\n",
        );
        let table = |rows: &str| {
            format!("<!-- tidy: keys host/src/config/ -->\n| key | default |\n|---|---|\n{rows}")
        };
        let fine = table("| `tick` | `\"10ms\"` |\n| `queues.KIND.capacity` | 512 |\n");
        assert_eq!(messages(&[reader, ("A.md", &fine)]), [""; 0]);
        let wrong = messages(&[reader, ("A.md", &table("| `tick` | |\n| `tock` | |\n"))]);
        assert_eq!(
            wrong,
            [
                "A.md:5: no code in host/src/config/ knows the key `tock`",
                "host/src/config/host.rs: the key `queues` is in no table of keys in docs/",
            ]
        );
        assert_eq!(
            messages(&[("A.md", &fine)]).len(),
            1,
            "a folder without code proves nothing"
        );
    }

    #[test]
    fn tests_that_docs_name_are_there() {
        let code = (
            "host/src/a.rs",
            "#[test]\nfn one() {}\n#[tokio::test]\nasync fn two() {}\nfn three() {}\n",
        );
        let table = |name: &str| {
            format!("<!-- tidy: tests -->\n| rule | test |\n|---|---|\n| `x` | `host/src/a.rs`: `{name}` |\n")
        };
        for name in ["one", "two"] {
            assert_eq!(messages(&[code, ("A.md", &table(name))]), [""; 0]);
        }
        assert_eq!(
            messages(&[code, ("A.md", &table("three"))]),
            ["A.md:4: there is no test `three`"]
        );
    }

    #[test]
    fn links_lead_somewhere_and_every_doc_is_linked() {
        let readme = (
            "README.md",
            "[a](docs/a.md#top) [web](https://example.com/) [c](#here)\n```\n[x](nowhere)\n```\n",
        );
        let a = ("docs/a.md", "[up](../README.md) [beside](./b.md)\n");
        let b = (
            "docs/b.md",
            "[away](../../etc) `docs/none.rs` `docs/NAME.toml` `plugins/target`\n",
        );
        assert_eq!(
            messages(&[readme, a, b]),
            [
                "docs/b.md:1: the link to ../../etc leads nowhere",
                "docs/b.md:1: there is no docs/none.rs",
                "docs/b.md: is linked from neither README.md nor docs/architecture.md",
            ]
        );
    }

    #[test]
    fn an_unknown_announcement_is_said() {
        assert_eq!(messages(&[("A.md", "<!-- tidy: nams a b -->\n")]).len(), 1);
    }
}
