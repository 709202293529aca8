//! The package carries a copy of the WIT, because a published package can't reach out of its folder.

use std::{collections::BTreeMap, fs, io, path::Path};

fn texts(root: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for folder in ["host", "plugin"] {
        for entry in fs::read_dir(root.join(folder))? {
            let entry = entry?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            texts.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(texts)
}

#[test]
fn the_copy_equals_the_original() -> io::Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let original = texts(&package.join("../wit"))?;
    assert!(original.contains_key("plugin/world.wit"));
    assert!(
        original == texts(&package.join("wit"))?,
        "plugin-sdk/wit differs from wit: copy wit/host and wit/plugin over it"
    );
    Ok(())
}
