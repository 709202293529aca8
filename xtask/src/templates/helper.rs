//! What the helpers beside the plugins do that no case of a template reaches: they are run outside of any component, with
//! nothing in the host's place.

use super::Language;
use crate::shell;
use anyhow::{Context as _, Result};
use std::{path::Path, process::Command};

/// One invalid byte spoils nothing else, wherever it stands.
const JAVASCRIPT: &str = r#"
import { strict as assert } from "node:assert";
for (const [bytes, text] of [
  [[0xc3, 0xa4, 0xff, 0xc3, 0xb6], "ä\ufffdö"],
  [[0x61, 0xe2, 0x82], "a\ufffd\ufffd"],
  [[0xed, 0xa0, 0x80, 0xe2, 0x82, 0xac], "\ufffd\ufffd\ufffd€"],
  [[0xc0, 0xaf, 0xf0, 0x9f, 0x9a, 0x80, 0xf5], "\ufffd\ufffd🚀\ufffd"],
  [[0xc3, 0xa4], "ä"],
]) {
  assert.equal(textOf(Uint8Array.from(bytes)), text);
}
"#;

/// A setting that is a list may have a default, and no two jobs share it.
const PYTHON: &str = r#"
import json, sys
from dataclasses import dataclass
from unittest.mock import MagicMock
for name in ["componentize_py_types", "wit_world", "wit_world.imports"]:
    sys.modules[name] = MagicMock(Err=Exception)
import pulse

@dataclass
class Settings:
    url: str = pulse.setting("Where.")
    codes: list[int] = pulse.setting("Which.", default=[200])
    tries: int = pulse.setting("How often.", default=1)

schema = json.loads(pulse.schema(Settings))
codes = {"type": "array", "items": {"type": "integer"}, "description": "Which.", "default": [200]}
assert schema["properties"]["codes"] == codes, schema
assert schema["required"] == ["url"], schema
one, other = (pulse._read(Settings, '{"url": "a"}') for _ in range(2))
assert one.codes == [200] and one.tries == 1, one
one.codes.append(404)
assert other.codes == [200], other
assert pulse._read(Settings, '{"url": "a", "codes": [204]}').codes == [204]
"#;

/// Runs what there is for that language; `work` is a folder for what is run.
pub fn hold(language: Language, folder: &Path, work: &Path) -> Result<()> {
    let (program, file, text) = match language {
        Language::Javascript | Language::Typescript => {
            let helper = std::fs::read_to_string(folder.join("pulse.js"))?;
            // What it imports is the host's, and there is none.
            let own: Vec<&str> = helper
                .lines()
                .filter(|line| !line.starts_with("import "))
                .collect();
            ("node", "helper.mjs", format!("{}\n{JAVASCRIPT}", own.join("\n")))
        }
        Language::Python => ("python3", "helper.py", PYTHON.to_owned()),
        Language::Rust | Language::C | Language::Zig | Language::Go => return Ok(()),
    };
    let file = work.join(file);
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    let mut command = Command::new(program);
    command
        .env("PYTHONPATH", folder)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    shell::run(command.arg(&file)).context("the helper beside the plugin")
}
