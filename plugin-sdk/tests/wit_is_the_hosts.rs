//! The package carries a copy of the WIT, because a published package can't reach out of its folder.

use std::{collections::BTreeMap, fs, path::Path};

fn texts(root: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    for folder in ["host", "plugin"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
            texts.insert(name, fs::read_to_string(path).unwrap());
        }
    }
    texts
}

#[test]
fn the_copy_equals_the_original() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let original = texts(&package.join("../wit"));
    assert!(original.contains_key("plugin/world.wit"));
    assert!(
        original == texts(&package.join("wit")),
        "plugin-sdk/wit differs from wit: copy wit/host and wit/plugin over it"
    );
}
