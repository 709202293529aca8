//! A plugin's JSON Schema: checking settings against it, and telling what it knows about them.
//!
//! The schema comes from a third party. It is compiled with a regular expression engine that runs in linear time,
//! and refers to nothing outside itself.

use super::read::{list, nearest, short};
use jsonschema::{
    PatternOptions, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::Value;

/// Complaints about one settings object that are kept.
const COMPLAINTS_MAX: usize = 50;
/// Size of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;
/// References are followed that often when a description or property is looked up.
const REFERENCES_MAX: usize = 8;
/// Schemas that are looked at when properties are listed: shapes may refer to shapes in circles.
const VISITED_MAX: usize = 200;

/// What is wrong with one setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    /// JSON pointer, segment by segment, from the settings object.
    pub path: Vec<String>,
    /// The key below `path` that should not be there.
    pub key: Option<String>,
    /// The key below `path` that should be there.
    pub missing: Option<String>,
    /// Goes on after "the setting …".
    pub wrong: String,
    pub help: Option<String>,
}

/// A schema, ready to check with.
#[derive(Debug)]
pub(super) struct Schema<'s> {
    pub document: &'s Value,
    validator: Validator,
}

impl<'s> Schema<'s> {
    /// Compiles a schema.
    pub fn compile(document: &'s Value) -> Result<Self, String> {
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX);
        jsonschema::draft202012::options()
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .with_pattern_options(patterns)
            .build(document)
            .map(|validator| Self { document, validator })
            .map_err(|error| short(&error.to_string()))
    }

    /// Whether nothing is wrong with the settings.
    pub fn is_valid(&self, settings: &Value) -> bool {
        self.validator.is_valid(settings)
    }

    /// Everything that is wrong with the settings. Quotes no value.
    pub fn check(&self, settings: &Value) -> Vec<Complaint> {
        if self.is_valid(settings) {
            return Vec::new();
        }
        let mut complaints = Vec::new();
        for error in self.validator.iter_errors(settings).take(COMPLAINTS_MAX) {
            self.complain(&error, &mut complaints);
        }
        complaints
    }

    fn complain(&self, error: &ValidationError<'_>, complaints: &mut Vec<Complaint>) {
        use ValidationErrorKind as Kind;
        let mut push = |key: Option<&str>, missing: Option<&str>, wrong: String, help: Option<String>| {
            complaints.push(Complaint {
                path: segments(error.instance_path().as_str()),
                key: key.map(str::to_owned),
                missing: missing.map(str::to_owned),
                wrong,
                help,
            });
        };
        let place = self.above(error);
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                let known = self.properties(place);
                for key in unexpected {
                    let help = match nearest(key, &known) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("there is {}", list(&known)),
                    };
                    push(Some(key), None, "is unknown".to_owned(), Some(help));
                }
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let about = self.property(place, key).and_then(|schema| self.about(schema));
                push(None, Some(key), "is missing".to_owned(), about);
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => match likeliest(context) {
                Some(errors) => errors
                    .iter()
                    .take(COMPLAINTS_MAX)
                    .for_each(|error| self.complain(error, complaints)),
                None => push(
                    None,
                    None,
                    format!("has none of the {} shapes it may have", context.len()),
                    self.about(place),
                ),
            },
            _ => push(None, None, wrong(error), self.about(place)),
        }
    }

    /// The schema whose keyword the error is about.
    fn above(&self, error: &ValidationError<'_>) -> &'s Value {
        let path = error.schema_path().as_str();
        let above = path.rsplit_once('/').map_or("", |(above, _)| above);
        self.document.pointer(above).unwrap_or(&Value::Null)
    }

    /// The first paragraph of its description, in one line.
    fn about(&self, schema: &'s Value) -> Option<String> {
        let text = self
            .follow(schema)
            .get("description")
            .or_else(|| schema.get("description"))?
            .as_str()?;
        let first = text.split("\n\n").next()?;
        let line = first.split_whitespace().collect::<Vec<_>>().join(" ");
        const SHOWN_MAX: usize = 300;
        (!line.is_empty()).then(|| line.chars().take(SHOWN_MAX).collect())
    }

    fn follow(&self, schema: &'s Value) -> &'s Value {
        follow(self.document, schema)
    }

    fn property(&self, schema: &'s Value, name: &str) -> Option<&'s Value> {
        self.follow(schema).get("properties")?.get(name)
    }

    fn properties(&self, schema: &'s Value) -> Vec<&'s str> {
        property_names(self.document, schema)
    }
}

/// Names of the properties that an object of this schema may have.
pub(super) fn property_names<'s>(document: &'s Value, schema: &'s Value) -> Vec<&'s str> {
    let mut names: Vec<&str> = Vec::new();
    visit(document, schema, &mut |name, _| {
        if !names.contains(&name) {
            names.push(name);
        }
    });
    names
}

/// Calls `see` for each property of an object, also where it may have one of several shapes.
pub(super) fn visit<'s>(document: &'s Value, schema: &'s Value, see: &mut impl FnMut(&'s str, &'s Value)) {
    let mut left = vec![schema];
    for _ in 0..VISITED_MAX {
        let Some(schema) = left.pop().map(|schema| follow(document, schema)) else {
            return;
        };
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            for (name, schema) in properties {
                see(name, follow(document, schema));
            }
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            if let Some(shapes) = schema.get(keyword).and_then(Value::as_array) {
                left.extend(shapes.iter().rev().take(VISITED_MAX));
            }
        }
    }
}

/// Which JSON types a schema lets a value have; all of them where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wants {
    pub text: bool,
    pub integer: bool,
    pub fraction: bool,
    pub boolean: bool,
}

impl Wants {
    const ANY: Self = Self {
        text: true,
        integer: true,
        fraction: true,
        boolean: true,
    };

    fn add(&mut self, kind: &str) {
        match kind {
            "string" => self.text = true,
            "integer" => self.integer = true,
            "number" => (self.integer, self.fraction) = (true, true),
            "boolean" => self.boolean = true,
            _ => {}
        }
    }
}

/// What the value at that path, segment by segment from the settings object, may be.
pub(super) fn wants(document: &Value, path: &[String]) -> Wants {
    let mut schemas = vec![document];
    for segment in path {
        let mut below = Vec::new();
        for schema in shapes(document, &schemas) {
            let found = if let Some(found) = schema.get("properties").and_then(|all| all.get(segment)) {
                Some(found)
            } else if let Ok(index) = segment.parse::<usize>() {
                let first = schema.get("prefixItems").and_then(|items| items.get(index));
                first.or_else(|| schema.get("items"))
            } else {
                None
            };
            below.extend(found.or_else(|| schema.get("additionalProperties")));
        }
        schemas = below;
    }
    let mut wants = Wants::default();
    for schema in shapes(document, &schemas) {
        match schema.get("type") {
            Some(Value::String(kind)) => wants.add(kind),
            Some(Value::Array(kinds)) => kinds
                .iter()
                .filter_map(Value::as_str)
                .for_each(|kind| wants.add(kind)),
            _ => {
                let options = schema.get("enum").and_then(Value::as_array);
                for option in options.into_iter().flatten().chain(schema.get("const")) {
                    wants.add(match option {
                        Value::String(_) => "string",
                        Value::Number(number) if number.is_f64() => "number",
                        Value::Number(_) => "integer",
                        Value::Bool(_) => "boolean",
                        _ => "",
                    });
                }
            }
        }
    }
    if wants == Wants::default() {
        Wants::ANY
    } else {
        wants
    }
}

/// The schemas, and the shapes that they are put together from.
fn shapes<'s>(document: &'s Value, schemas: &[&'s Value]) -> Vec<&'s Value> {
    let mut left = schemas.to_vec();
    let mut all = Vec::new();
    while let Some(schema) = left.pop().map(|schema| follow(document, schema)) {
        if all.len() >= VISITED_MAX {
            break;
        }
        all.push(schema);
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let shapes = schema.get(keyword).and_then(Value::as_array);
            left.extend(shapes.into_iter().flatten().take(VISITED_MAX));
        }
    }
    all
}

fn follow<'s>(document: &'s Value, schema: &'s Value) -> &'s Value {
    let mut schema = schema;
    for _ in 0..REFERENCES_MAX {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| document.pointer(pointer));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

/// Of the shapes that a value may have, the one it was probably meant to have: the one where the mistake lies
/// deepest, then the one with the fewest. None if they all fail at once, in the same place.
fn likeliest<'e>(shapes: &'e [Vec<ValidationError<'static>>]) -> Option<&'e [ValidationError<'static>]> {
    let rank = |errors: &&Vec<ValidationError<'static>>| {
        let depth = errors
            .iter()
            .map(|error| error.instance_path().as_str().matches('/').count())
            .max();
        (depth, std::cmp::Reverse(errors.len()))
    };
    let mistaken_kind = |errors: &Vec<ValidationError<'static>>| {
        matches!(
            errors.as_slice(),
            [error] if matches!(error.kind(), ValidationErrorKind::Type { .. })
        )
    };
    if shapes.iter().all(mistaken_kind) {
        return None;
    }
    shapes
        .iter()
        .filter(|errors| !mistaken_kind(errors))
        .max_by_key(rank)
        .map(Vec::as_slice)
}

fn wrong(error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Kind;
    match error.kind() {
        Kind::Type {
            kind: TypeKind::Single(kind),
        } => format!("must be of type {kind}"),
        Kind::Type {
            kind: TypeKind::Multiple(kinds),
        } => {
            let kinds: Vec<String> = kinds.iter().map(|kind| kind.to_string()).collect();
            format!("must be of type {}", kinds.join(" or "))
        }
        Kind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
            format!("must be one of {}", options.join(", "))
        }
        Kind::Constant { expected_value } => format!("must be {expected_value}"),
        Kind::Format { format } => format!("is no valid {format}"),
        Kind::Pattern { pattern } => format!("must match the pattern {}", short(pattern)),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::MinProperties { limit } => format!("must have at least {limit} keys"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} keys"),
        Kind::UniqueItems => "must not hold the same item twice".to_owned(),
        Kind::OneOfMultipleValid { .. } => "fits several shapes of which it may have only one".to_owned(),
        kind => format!("breaks the rule `{}` of the plugin's schema", kind.keyword()),
    }
}

fn segments(pointer: &str) -> Vec<String> {
    pointer
        .split('/')
        .skip(1)
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// As a JSON pointer.
pub(super) fn pointer<'p>(path: impl IntoIterator<Item = &'p str>) -> String {
    path.into_iter()
        .map(|segment| format!("/{}", segment.replace('~', "~0").replace('/', "~1")))
        .collect()
}
