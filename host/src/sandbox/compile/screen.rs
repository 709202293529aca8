//! A look at a component before it is compiled: whether it is one, with nothing in it that the sandbox does without,
//! and whether compiling it would come to something that no honest component comes to.
//!
//! The compiler's time goes with functions, their sizes and their locals, and a few bytes can ask for very much of that:
//! fifty thousand locals are five bytes. The limits of the child hold in any case; this finds out at once, and says
//! what is wrong.
//!
//! Invariant: the work done here is in proportion to the size of the component. What is accepted here is still validated
//! by the compiler itself.

use crate::sandbox::engine::ABSENT;
use wasmparser::{FunctionBody, Parser, Payload, Validator, WasmFeatures};

/// A Python interpreter has 20,000.
const FUNCTIONS_MAX: u64 = 200_000;
/// The loop of an interpreter has 200 KiB.
const FUNCTION_BYTES_MAX: usize = 2 << 20;
/// Of one function.
const LOCALS_MAX: u64 = 20_000;
/// Of all functions: a hundred times what interpreters have.
const ALL_LOCALS_MAX: u64 = 10_000_000;
/// Modules and components, however deep.
const MODULES_MAX: u64 = 256;
const DEPTH_MAX: usize = 16;
/// Sections, definitions of types, instances, imports, exports, aliases, and canonical functions.
const ITEMS_MAX: u64 = 1_000_000;

/// What a guest's modules may use: what the sandbox's engines accept, but for several memories, which these have for
/// wasmtime's own adapters. This is the very parser that the compiler uses, so that both mean the same by it.
fn features() -> WasmFeatures {
    let mut features = WasmFeatures::default();
    for absent in ABSENT {
        features.set(*absent, false);
    }
    features.set(WasmFeatures::MULTI_MEMORY, false);
    features
}

/// Counts against a bound.
struct Bound {
    what: &'static str,
    most: u64,
    count: u64,
}

impl Bound {
    const fn new(what: &'static str, most: u64) -> Self {
        Self { what, most, count: 0 }
    }

    fn add(&mut self, more: u64) -> Result<(), String> {
        self.count = self.count.saturating_add(more);
        if self.count > self.most {
            return Err(format!(
                "has more than {} {}; that is not compiled",
                self.most, self.what
            ));
        }
        Ok(())
    }
}

/// Looks through a component.
///
/// # Errors
/// One line for people: why it is not compiled.
pub fn screen(bytes: &[u8]) -> Result<(), String> {
    let broken = |error: wasmparser::BinaryReaderError| {
        let text = error.to_string();
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        format!(
            "does not compile: {}",
            crate::capability::log::escaped(&line, 1 << 10)
        )
    };
    let mut validator = Validator::new_with_features(features());
    let mut functions = Bound::new("functions", FUNCTIONS_MAX);
    let mut locals = Bound::new("locals", ALL_LOCALS_MAX);
    let mut modules = Bound::new("modules", MODULES_MAX);
    let mut items = Bound::new("parts", ITEMS_MAX);
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(broken)?;
        items.add(1)?;
        match &payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                modules.add(1)?;
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(format!(
                        "is nested more than {DEPTH_MAX} deep; that is not compiled"
                    ));
                }
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CodeSectionStart { count, .. } => functions.add(u64::from(*count))?,
            Payload::CodeSectionEntry(body) => look_at(body, &mut locals).map_err(|wrong| match wrong {
                Wrong::Broken(error) => broken(error),
                Wrong::Large(message) => message,
            })?,
            Payload::TypeSection(reader) => items.add(u64::from(reader.count()))?,
            Payload::ImportSection(reader) => items.add(u64::from(reader.count()))?,
            Payload::ExportSection(reader) => items.add(u64::from(reader.count()))?,
            Payload::CoreTypeSection(reader) => items.add(u64::from(reader.count()))?,
            Payload::ComponentCanonicalSection(reader) => items.add(u64::from(reader.count()))?,
            Payload::ComponentImportSection(reader) => items.add(u64::from(reader.count()))?,
            Payload::ComponentExportSection(reader) => items.add(u64::from(reader.count()))?,
            Payload::ComponentTypeSection(reader) => items.add(u64::from(reader.count()))?,
            Payload::ComponentAliasSection(reader) => items.add(u64::from(reader.count()))?,
            Payload::ComponentInstanceSection(reader) => items.add(u64::from(reader.count()))?,
            Payload::InstanceSection(reader) => items.add(u64::from(reader.count()))?,
            _ => {}
        }
        // Bodies of functions are the compiler's to check, in as many threads as it has.
        validator.payload(&payload).map_err(broken)?;
    }
    Ok(())
}

enum Wrong {
    Broken(wasmparser::BinaryReaderError),
    Large(String),
}

fn look_at(body: &FunctionBody<'_>, locals: &mut Bound) -> Result<(), Wrong> {
    let bytes = body.range().len();
    if bytes > FUNCTION_BYTES_MAX {
        return Err(Wrong::Large(format!(
            "has a function of {bytes} bytes; at most {FUNCTION_BYTES_MAX} are compiled"
        )));
    }
    let mut own = 0_u64;
    for group in body.get_locals_reader().map_err(Wrong::Broken)? {
        let (count, _) = group.map_err(Wrong::Broken)?;
        own = own.saturating_add(u64::from(count));
    }
    if own > LOCALS_MAX {
        return Err(Wrong::Large(format!(
            "has a function with {own} locals; at most {LOCALS_MAX} are compiled"
        )));
    }
    locals.add(own).map_err(Wrong::Large)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sections that say how much is in them, by their numbers in a component and in a module.
    #[test]
    fn whatever_there_can_be_many_of_is_counted() {
        // Two million, and nothing after that: it is refused before anybody looks for them.
        let many = |id: u8| [id, 4, 0x80, 0x89, 0x7a, 0];
        for id in [2, 3, 5, 6, 7, 8, 10, 11] {
            let bytes = [b"\0asm\x0d\0\x01\0", &many(id)[..]].concat();
            let said = screen(&bytes).unwrap_err();
            assert!(said.contains("more than 1000000 parts"), "{id}: {said}");
        }
        for id in [1, 2, 7] {
            let module = [b"\0asm\x01\0\0\0", &many(id)[..]].concat();
            let bytes = [b"\0asm\x0d\0\x01\0", &[1, 14][..], &module].concat();
            let said = screen(&bytes).unwrap_err();
            assert!(said.contains("more than 1000000 parts"), "module, {id}: {said}");
        }
    }

    #[test]
    fn an_empty_component_passes_and_what_is_none_does_not() {
        assert_eq!(screen(b"\0asm\x0d\0\x01\0"), Ok(()));
        for bytes in [&b""[..], b"\0asm", b"(component)", b"\0asm\x0d\0\x01\0\x01"] {
            assert!(
                screen(bytes).unwrap_err().starts_with("does not compile: "),
                "{bytes:?}"
            );
        }
    }
}
