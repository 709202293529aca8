//! The dependency direction of `docs/architecture.md`, for `host/src`.
//!
//! `domain ← {clock, config, queue} ← {scheduler, plugins, capability} ← sandbox ← http ← app ← cli/main`; `journal` and
//! `telemetry` stand beside `app` and know only what they report, and `operate` below `http` knows the scheduler. Code for tests may look everywhere.

use super::{
    Problem,
    source::{Token, bare, tokens, without_tests},
    tree::Tree,
};

const SOURCES: &str = "host/src/";

/// A top-level module.
struct Layer {
    name: &'static str,
    /// It may use what has a lower rank.
    rank: u8,
    /// Where given, it may use these only: by name, or as `module::part`.
    only: Option<&'static [&'static str]>,
}

const fn layer(rank: u8, name: &'static str) -> Layer {
    Layer {
        name,
        rank,
        only: None,
    }
}

const fn narrow(rank: u8, name: &'static str, only: &'static [&'static str]) -> Layer {
    Layer {
        name,
        rank,
        only: Some(only),
    }
}

const LAYERS: &[Layer] = &[
    layer(0, "domain"),
    layer(1, "clock"),
    layer(1, "config"),
    layer(1, "queue"),
    narrow(2, "ledger", &["domain", "queue"]),
    narrow(3, "scheduler", &["domain", "clock", "queue", "ledger"]),
    narrow(3, "store", &["domain", "clock", "ledger"]),
    layer(2, "plugins"),
    layer(2, "capability"),
    layer(3, "sandbox"),
    layer(4, "cases"),
    narrow(4, "journal", &["domain", "clock", "scheduler::stats"]),
    narrow(4, "telemetry", &["domain", "clock", "scheduler::stats"]),
    narrow(4, "operate", &["domain", "clock", "scheduler", "store"]),
    layer(5, "http"),
    layer(6, "app"),
    layer(7, "cli"),
    layer(8, "main"),
];

/// What a module must not name, whatever its crate depends on.
struct Ban {
    modules: &'static [&'static str],
    names: &'static [&'static str],
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        modules: &["domain"],
        names: &["bevy_ecs", "wasmtime", "wasmtime_wasi", "tokio", "hyper"],
        why: "the domain is plain types: no ECS, no wasm, no I/O",
    },
    Ban {
        modules: &["scheduler"],
        names: &["wasmtime", "wasmtime_wasi", "tokio"],
        why: "the scheduler's thread never blocks and knows neither runtime nor sandbox",
    },
    Ban {
        modules: &["sandbox", "capability"],
        names: &["bevy_ecs"],
        why: "only the scheduler knows the ECS",
    },
];

const CLOCKS: &[&str] = &["Instant", "SystemTime", "Utc", "Local"];
const CLOCK_FILE: &str = "host/src/clock.rs";
const MAIN: (&str, usize) = ("host/src/main.rs", 100);

/// Checks every file of the host.
pub fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.texts(SOURCES, ".rs") {
        let Some(inner) = path.strip_prefix(SOURCES) else {
            continue;
        };
        let module: Vec<&str> = inner
            .trim_end_matches(".rs")
            .trim_end_matches("/mod")
            .split('/')
            .collect();
        if module.last() == Some(&"tests") || inner == "lib.rs" {
            continue;
        }
        let bare = without_tests(&bare(text));
        check_file(path, &module, &tokens(&bare), &mut problems);
    }
    if let Some(text) = tree.text(MAIN.0)
        && text.lines().count() > MAIN.1
    {
        problems.push(Problem::of(
            MAIN.0,
            format!("over {} lines: wiring belongs into app.rs", MAIN.1),
        ));
    }
    problems
}

fn check_file(path: &str, module: &[&str], tokens: &[Token<'_>], problems: &mut Vec<Problem>) {
    let Some(top) = module.first().copied() else {
        return;
    };
    let Some(layer) = Layer::named(top) else {
        problems.push(Problem::of(
            path,
            format!("the module `{top}` has no place in the dependency direction: give it one in xtask/src/tidy/layers.rs"),
        ));
        return;
    };
    for used in uses(tokens, module.len()) {
        if used.module != top && !layer.may_use(&used) {
            problems.push(Problem::at(
                path,
                used.line,
                format!(
                    "`{top}` must not use `{}`: dependencies point one way",
                    used.path()
                ),
            ));
        }
    }
    for (at, token) in tokens.iter().enumerate() {
        for ban in BANS {
            if ban.modules.contains(&top) && ban.names.contains(&token.text) {
                problems.push(Problem::at(
                    path,
                    token.line,
                    format!("`{top}` must not name `{}`: {}", token.text, ban.why),
                ));
            }
        }
        let text = |offset: usize| tokens.get(at + offset).map_or("", |token| token.text);
        if path != CLOCK_FILE && CLOCKS.contains(&token.text) && text(1) == "::" && text(2) == "now" {
            problems.push(Problem::at(
                path,
                token.line,
                format!("only {CLOCK_FILE} reads clocks: ask the Clock for the time"),
            ));
        }
    }
}

impl Layer {
    fn named(name: &str) -> Option<&'static Self> {
        LAYERS.iter().find(|layer| layer.name == name)
    }

    fn may_use(&self, used: &Use<'_>) -> bool {
        match self.only {
            Some(names) => names
                .iter()
                .any(|name| *name == used.module || *name == used.path()),
            None => Self::named(used.module).is_some_and(|other| other.rank < self.rank),
        }
    }
}

/// A top-level module that a file names, and what of it.
#[derive(Debug, PartialEq, Eq)]
struct Use<'a> {
    module: &'a str,
    part: Option<&'a str>,
    line: usize,
}

impl Use<'_> {
    fn path(&self) -> String {
        match self.part {
            Some(part) => format!("{}::{part}", self.module),
            None => self.module.to_owned(),
        }
    }
}

/// Everything after `crate::` or `pulse_host::`, or after as many `super::` as lead to the root.
fn uses<'a>(tokens: &[Token<'a>], depth: usize) -> Vec<Use<'a>> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut uses = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut supers = 0;
        while text(at + 2 * supers) == "super" && text(at + 2 * supers + 1) == "::" {
            supers += 1;
        }
        // `crate` as in `pub(crate)` is followed by no path.
        let from_root = matches!(text(at), "crate" | "pulse_host") && text(at + 1) == "::";
        if from_root {
            branches(tokens, at + 2, &mut uses);
            at += 2;
        } else if supers > 0 {
            let after = at + 2 * supers;
            let mut found = Vec::new();
            branches(tokens, after, &mut found);
            if supers >= depth {
                // Deeper in an inline module the same chain leads elsewhere: only names of the root count.
                uses.extend(
                    found
                        .into_iter()
                        .filter(|used| Layer::named(used.module).is_some()),
                );
            }
            at = after;
        } else {
            at += 1;
        }
    }
    uses
}

/// One name with what follows it, or each of a `{…}` group. `Type`s of the root are no modules.
fn branches<'a>(tokens: &[Token<'a>], at: usize, uses: &mut Vec<Use<'a>>) {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut one = |at: usize| {
        if let Some(token) = tokens.get(at).filter(|token| Layer::named(token.text).is_some()) {
            let next = text(at + 2);
            if text(at + 1) == "::" && next == "{" {
                for part in group(tokens, at + 2) {
                    uses.push(Use {
                        module: token.text,
                        part: Some(text(part)),
                        line: token.line,
                    });
                }
            } else {
                let part = (text(at + 1) == "::").then_some(next);
                uses.push(Use {
                    module: token.text,
                    part,
                    line: token.line,
                });
            }
        }
    };
    if text(at) == "{" {
        group(tokens, at).into_iter().for_each(&mut one);
    } else {
        one(at);
    }
}

/// Where the members of a `{…}` group begin.
fn group(tokens: &[Token<'_>], open: usize) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut depth = 0usize;
    let mut fresh = false;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "{" => {
                depth += 1;
                fresh = depth == 1;
            }
            "}" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            "," => fresh = depth == 1,
            _ => {
                if fresh && depth == 1 {
                    starts.push(at);
                }
                fresh = false;
            }
        }
    }
    starts
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
    fn lower_layers_may_be_used_and_higher_ones_may_not() {
        let fine = [
            (
                "host/src/queue.rs",
                "use crate::domain::{job::Job, host::PerKind};",
            ),
            (
                "host/src/scheduler/mod.rs",
                "use crate::{clock::Clock, domain::{event::Event}, queue::Bell};",
            ),
            (
                "host/src/sandbox/worker.rs",
                "use crate::{capability::Lease, plugins::Catalogue, queue::Inlet};",
            ),
            (
                "host/src/app.rs",
                "use crate::{sandbox::Pool, scheduler::Running, journal, config::Config};",
            ),
            ("host/src/cli/run.rs", "use crate::app;"),
            ("host/src/main.rs", "fn main() { pulse_host::cli::main() }"),
            (
                "host/src/journal.rs",
                "use crate::{clock::Clock, scheduler::stats::{Snapshot, Stats}};",
            ),
            (
                "host/src/domain/health/mod.rs",
                "use super::{plugin::Facts, color::Color}; use crate::domain::job;",
            ),
            ("host/src/lib.rs", "pub mod app; pub mod domain;"),
        ];
        for (path, text) in fine {
            assert_eq!(messages(path, text), [""; 0], "{path}: {text}");
        }
        let wrong = [
            ("host/src/domain/job.rs", "use crate::clock::Clock;"),
            (
                "host/src/domain/health/pulse.rs",
                "use super::super::super::clock::Clock;",
            ),
            ("host/src/queue.rs", "use super::config;"),
            ("host/src/queue.rs", "fn f() { crate::scheduler::run() }"),
            (
                "host/src/scheduler/mod.rs",
                "use crate::{\n    domain::job,\n    sandbox::Pool,\n};",
            ),
            ("host/src/scheduler/pulse.rs", "use crate::config::Config;"),
            ("host/src/plugins/mod.rs", "use crate::capability::Lease;"),
            ("host/src/sandbox/mod.rs", "use crate::app;"),
            (
                "host/src/journal.rs",
                "use crate::scheduler::{stats::Stats, wheel::Wheel};",
            ),
            ("host/src/app.rs", "use crate::cli;"),
        ];
        for (path, text) in wrong {
            assert_eq!(
                messages(path, text).len(),
                1,
                "{path}: {text}: {:?}",
                messages(path, text)
            );
        }
        let group = messages(
            "host/src/scheduler/mod.rs",
            "use crate::{\n    domain::job,\n    sandbox::Pool,\n};",
        );
        assert!(group[0].starts_with("host/src/scheduler/mod.rs:3: "), "{group:?}");
    }

    #[test]
    fn comments_strings_and_tests_are_no_uses() {
        let text = "//! See [`crate::app`].\nconst A: &str = \"crate::app\";\n\
                    #[cfg(test)]\nmod tests {\n    use crate::app;\n}\n";
        assert_eq!(messages("host/src/domain/time.rs", text), [""; 0]);
        assert_eq!(
            messages("host/src/domain/health/tests.rs", "use crate::app;"),
            [""; 0]
        );
    }

    #[test]
    fn runtime_sandbox_and_ecs_are_named_only_where_they_belong() {
        assert_eq!(
            messages("host/src/scheduler/wheel.rs", "use tokio::time;").len(),
            1
        );
        assert_eq!(
            messages("host/src/scheduler/wheel.rs", "fn f(e: &wasmtime::Engine) {}").len(),
            1
        );
        assert_eq!(
            messages("host/src/capability/tcp.rs", "use bevy_ecs::world::World;").len(),
            1
        );
        assert_eq!(
            messages("host/src/domain/job.rs", "use bevy_ecs::world::World;").len(),
            1
        );
        assert_eq!(
            messages("host/src/capability/tcp.rs", "use tokio::net::TcpStream;").len(),
            0
        );
    }

    #[test]
    fn one_file_reads_clocks() {
        let read = "#[allow(clippy::disallowed_methods)]\nfn f() { std::time::Instant::now(); }";
        assert_eq!(messages("host/src/sandbox/worker.rs", read).len(), 1);
        assert_eq!(messages("host/src/clock.rs", read).len(), 0);
    }

    #[test]
    fn a_new_module_needs_a_place_and_main_stays_short() {
        assert!(messages("host/src/helpers.rs", "")[0].contains("`helpers` has no place"));
        assert_eq!(messages("host/src/main.rs", &"\n".repeat(101)).len(), 1);
    }
}
