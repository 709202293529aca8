//! What the helpers beside the plugins do that no case of a template reaches: they are run outside of any component, with
//! nothing in the host's place.

use super::Language;
use crate::shell;
use anyhow::{Context as _, Result};
use std::{path::Path, process::Command};

/// One invalid byte spoils nothing else, wherever it stands; and settings stand within settings.
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
// Settings within settings are read as the outer ones are, and say where they are wrong.
const shape = {
  steps: setting.list(setting.object({ maxTries: setting.integer({ default: 1 }), url: setting.text() })),
  fields: setting.map(setting.text(), { default: {} }),
};
assert.deepEqual(schemaOf(shape).properties.steps.items, {
  type: "object",
  properties: { "max-tries": { type: "integer", default: 1 }, url: { type: "string" } },
  required: ["url"],
  additionalProperties: false,
});
assert.deepEqual(schemaOf(shape).properties.fields.additionalProperties, { type: "string" });
assert.deepEqual(readSettings(shape, '{"steps":[{"url":"a"},{"url":"b","max-tries":2}],"fields":{"x-A":"c"}}'), {
  steps: [{ maxTries: 1, url: "a" }, { maxTries: 2, url: "b" }],
  fields: { "x-A": "c" },
});
assert.throws(() => readSettings(shape, '{"steps":[{}, 7],"fields":{"a":1}}'), {
  message: "/steps/0/url: is missing; /steps/1: must be a table; /fields/a: must be a text",
});
"#;

/// A setting that is a list or a table may have a default, and no two jobs share it; one that may be left out is none.
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
    token: str | None = pulse.setting("By what.", default=None, writeOnly=True)
    headers: dict[str, str] = pulse.setting("With what.", default={})
    name: str = pulse.setting("Who.", default="abc", minLength=2, maxLength=4, pattern="^a")
    hosts: list[str] = pulse.setting("Which.", default=[], maxItems=1)

schema = json.loads(pulse.schema(Settings))
codes = {"type": "array", "items": {"type": "integer"}, "description": "Which.", "default": [200]}
assert schema["properties"]["codes"] == codes, schema
assert schema["required"] == ["url"], schema
assert schema["properties"]["token"] == {"type": "string", "description": "By what.", "writeOnly": True}, schema
headers = {"type": "object", "additionalProperties": {"type": "string"}, "description": "With what.", "default": {}}
assert schema["properties"]["headers"] == headers, schema
one, other = (pulse._read(Settings, '{"url": "a"}') for _ in range(2))
assert one.codes == [200] and one.tries == 1, one
one.codes.append(404)
assert other.codes == [200], other
one.headers["a"] = "b"
assert one.token is None and other.headers == {}, other
assert pulse._read(Settings, '{"url": "a", "codes": [204]}').codes == [204]
assert pulse._read(Settings, '{"url": "a", "headers": {"a": "b"}, "token": "c"}').headers == {"a": "b"}
for wrong, told in [
    ('"headers": []', "/headers: must be a table"),
    ('"headers": {"a": 1}', "/headers: must be of type string"),
    ('"token": 1', "/token: must be of type string"),
    ('"name": "a"', "/name: must have at least 2 characters"),
    ('"name": "abcde"', "/name: must have at most 4 characters"),
    ('"name": "bcd"', "/name: must match ^a"),
    ('"hosts": ["a", "b"]', "/hosts: must have at most 1 items"),
]:
    try:
        pulse._read(Settings, '{"url": "a", ' + wrong + "}")
        raise AssertionError(wrong)
    except pulse.Fault as fault:
        assert fault.message == told, fault.message

worries = pulse.Worries()
worries.add("slow", "slower than 1 ms")
pulse.degraded = lambda *given: given
assert worries.report("up") == ("slow", "up, slower than 1 ms", None)
response = pulse.Response(MagicMock(status=503, body=b" no \n memory \xff"))
assert response.words() == "HTTP 503: no memory \ufffd", response.words()
assert pulse.milliseconds(0.0124) == "12 ms"
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
