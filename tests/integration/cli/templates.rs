//! The generated files in `host/templates`, against what the generators make of the WIT as it is now. That the templates
//! build and run is `cargo xtask templates`' business.

use super::run;
use crate::support::root;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use wit_bindgen_core::{Files, WorldGenerator, wit_parser::Resolve};

const KINDS: [&str; 3] = ["pulse", "intervention", "code"];

/// By path from `host/templates`.
type Generated = BTreeMap<PathBuf, Vec<u8>>;

/// The WIT of a new plugin of that kind, as its author has it.
fn wit_of_a_new_plugin(kind: &str, place: &Path) -> PathBuf {
    let run = run(place, &["plugin", "new", kind, "--kind", kind, "--lang", "c"]);
    assert_eq!(run.code, 0, "{}", run.err);
    place.join(kind).join("wit")
}

fn generate(wit: &Path, mut generator: Box<dyn WorldGenerator>) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut files = Files::default();
    generator.generate(&mut resolve, world, &mut files).unwrap();
    let files = files.iter();
    files
        .map(|(path, bytes)| (PathBuf::from(path), bytes.to_vec()))
        .collect()
}

fn c(wit: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let options = wit_bindgen_c::Opts {
        // `build.sh` embeds the component's type.
        no_object_file: true,
        ..wit_bindgen_c::Opts::default()
    };
    generate(wit, options.build())
}

fn go(wit: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = generate(wit, wit_bindgen_go::Opts::default().build());
    // The project has its own.
    files.remove(Path::new("go.mod"));
    files
}

fn generated() -> Generated {
    let place = tempfile::tempdir().unwrap();
    let wits = KINDS.map(|kind| wit_of_a_new_plugin(kind, place.path()));
    let mut all = Generated::new();
    for (kind, wit) in KINDS.iter().zip(&wits) {
        for (path, bytes) in c(wit) {
            all.insert(
                Path::new("c-bindings").join(kind).join("bindings").join(path),
                bytes,
            );
        }
    }
    let gos = wits.each_ref().map(|wit| go(wit));
    for (kind, files) in KINDS.iter().zip(&gos) {
        for (path, bytes) in files {
            let same = gos.iter().all(|other| other.get(path) == Some(bytes));
            let folder = if same { "all" } else { kind };
            all.insert(Path::new("go-bindings").join(folder).join(path), bytes.clone());
        }
    }
    all
}

/// Files below a folder, by path from `host/templates`.
fn present(templates: &Path, folder: &Path, found: &mut Generated) {
    for entry in std::fs::read_dir(templates.join(folder)).unwrap() {
        let path = folder.join(entry.unwrap().file_name());
        if templates.join(&path).is_dir() {
            present(templates, &path, found);
        } else {
            let bytes = std::fs::read(templates.join(&path)).unwrap();
            found.insert(path, bytes);
        }
    }
}

#[test]
fn bindings_are_what_the_wit_makes_them() {
    let templates = root().join("host/templates");
    let wanted = generated();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        for (path, bytes) in &wanted {
            let path = templates.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    let mut found = Generated::new();
    for folder in ["c-bindings", "go-bindings"] {
        present(&templates, Path::new(folder), &mut found);
    }
    // What the generated code uses comes with the generator, not out of it.
    found.retain(|path, _| !path.starts_with("go-bindings/all/pkg"));
    let differs = |path: &&PathBuf| wanted.get(*path) != found.get(*path);
    let differing: Vec<&PathBuf> = wanted.keys().chain(found.keys()).filter(differs).collect();
    assert!(
        differing.is_empty(),
        "generated from another WIT, or superfluous (UPDATE_GOLDEN=1 writes them anew): {differing:?}"
    );
}

#[test]
fn what_is_there_is_left_as_it_is_and_a_wrong_name_is_told_the_right_one() {
    let place = tempfile::tempdir().unwrap();
    let new = |name: &str| run(place.path(), &["plugin", "new", name, "--lang", "rust"]);
    let wrong = new("Shop_Check");
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("`shop-check` would be one"), "{}", wrong.err);
    let first = new("shop-check");
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(
        first.out.contains("rustup target add wasm32-wasip2"),
        "{}",
        first.out
    );
    let source = place.path().join("shop-check/src/lib.rs");
    std::fs::write(&source, "mine").unwrap();
    let second = new("shop-check");
    assert_eq!(second.code, 1);
    assert!(
        second.err.contains("exists already and was left as it is"),
        "{}",
        second.err
    );
    assert_eq!(std::fs::read_to_string(&source).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
}
