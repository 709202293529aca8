//! One case: read from its file, written into one, and what an execution makes of it.

use super::{
    calls,
    diff::Diff,
    excerpt, expect,
    format::{Attempt, Call, Code, Expect, File, Incident, Intervention, Limits, Recorded, Subject},
    scene::{self, Scene},
    script::{CaseScript, Progress, Wrong, written},
    secrets,
    words::{Hex, Moment, Size, Span, Word},
};
use crate::{
    capability::{
        course::{Called, Course, GuestTime, Origin, REDACTED, Seed, Stage},
        log::Line,
    },
    domain::{job, limits, outcome::Outcome, plugin::Facts, spec::Kind},
};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use toml::Spanned;

/// Bytes of a case.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
/// What is kept of the calls of one execution that is recorded.
pub const RECORDED_BYTES_MAX: usize = 64 << 10;
/// Calls of a case.
const CALLS_MAX: usize = 1_000;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its file.
    pub path: PathBuf,
    /// What the plugin is given.
    pub scene: Scene,
    /// Where its clock and its random numbers begin.
    pub origin: Origin,
    /// What it was recorded of, if it was.
    pub recorded: Option<Recorded>,
    calls: Arc<[Call]>,
    expect: Expect,
}

/// One thing that did not go as the case says.
#[derive(Clone, Debug)]
pub enum Failed {
    /// A call was to be another one: its number from 1, and how it differs.
    Call(usize, Diff),
    /// A call that the case does not have, as it would be written there.
    Unexpected(String),
    /// Calls that were not made, as they are written.
    Missing(Vec<String>),
    /// Something else came of it.
    Came(Diff),
    /// Recorded, and did not use the same fuel: what was recorded, and what was used.
    Fuel(u64, u64),
}

/// A case under way.
pub struct Playing {
    /// What is to be executed along.
    pub course: Arc<Course>,
    progress: Arc<Mutex<Progress>>,
}

impl Case {
    /// Reads a case for that plugin.
    ///
    /// # Errors
    /// Everything that is wrong with it, with its place.
    pub fn parse(path: &Path, text: &str, facts: &Facts) -> Result<Self, String> {
        let name = path.display().to_string();
        let file: File = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            excerpt::at(&name, text, span, error.message())
        })?;
        let mut wrong = String::new();
        let mut problem = |span: std::ops::Range<usize>, message: &str| {
            wrong.push_str(&excerpt::at(&name, text, span, message));
        };
        let kind = match (file.kind, facts.kinds.as_slice()) {
            (Some(Word(kind)), kinds) => {
                if !kinds.contains(&kind) {
                    problem(
                        key(text, "kind"),
                        &format!("the plugin `{}` exports no {kind}", facts.name),
                    );
                }
                kind
            }
            (None, [kind]) => *kind,
            (None, kinds) => {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                let message = format!(
                    "the plugin has several kinds; name one: kind = \"{}\"",
                    names.join("\" or \"")
                );
                problem(0..0, &message);
                Kind::Pulse
            }
        };
        let seed: Option<Seed> = match &file.seed {
            None => Some([0; 16]),
            Some(Hex(bytes)) => bytes.as_slice().try_into().ok(),
        };
        if seed.is_none() {
            problem(key(text, "seed"), "a seed has 16 bytes: 32 hexadecimal digits");
        }
        for call in &file.call {
            if let Some(message) = calls::wrong(call.as_ref()) {
                problem(call.span(), &message);
            }
        }
        if file.call.len() > CALLS_MAX {
            problem(0..0, &format!("a case has at most {CALLS_MAX} calls"));
        }
        match &file.expect {
            None => problem(
                text.len()..text.len(),
                "the case has no [expect]: what must come of it, be it only outcome = \"answer\"",
            ),
            Some(expect) => {
                if let Some(message) = expect::wrong(expect.as_ref()) {
                    problem(expect.span(), &message);
                }
            }
        }
        for (table, there, wanted) in [
            ("code", file.code.is_some(), Kind::Code),
            ("intervention", file.intervention.is_some(), Kind::Intervention),
        ] {
            if there && kind != wanted {
                problem(key(text, table), &format!("a {kind} has no [{table}]"));
            }
        }
        let settings = match serde_json::to_value(&file.settings) {
            Ok(settings) => settings.to_string(),
            Err(error) => {
                problem(
                    key(text, "settings"),
                    &format!("these settings are no JSON: {error}"),
                );
                String::new()
            }
        };
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let scene = scene_of(&file, kind, settings);
        Ok(Self {
            path: path.to_owned(),
            origin: Origin {
                wall: file.clock.map_or(scene.scheduled_at, |moment| moment.0),
                seed: seed.unwrap_or_default(),
            },
            scene,
            recorded: file.recorded,
            calls: file.call.into_iter().map(Spanned::into_inner).collect(),
            expect: file.expect.map(Spanned::into_inner).unwrap_or_default(),
        })
    }

    /// Reads the file of a case.
    ///
    /// # Errors
    /// It can't be read, or everything that is wrong with it.
    pub fn read(path: &Path, facts: &Facts) -> Result<Self, String> {
        Self::parse(path, &text_of(path)?, facts)
    }

    /// Its name: that of its file.
    #[must_use]
    pub fn name(&self) -> String {
        self.path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// What an execution takes along.
    #[must_use]
    pub fn play(&self) -> Playing {
        let time = Arc::new(GuestTime::new(self.origin, false));
        let (script, progress) = CaseScript::new(Arc::clone(&self.calls), self.recorded.is_some());
        Playing {
            course: Arc::new(Course::Played(Stage::new(time, Box::new(script)))),
            progress,
        }
    }

    /// What several executions in one instance take along, one after the other: to measure what that costs, not to hold
    /// them to what the case says.
    #[must_use]
    pub fn play_in_kept_instance(&self, times: u32) -> Vec<Arc<Course>> {
        let time = Arc::new(GuestTime::new(self.origin, false));
        let course = |_| {
            let (script, _) = CaseScript::new(Arc::clone(&self.calls), self.recorded.is_some());
            let stage = Stage::new(Arc::clone(&time), Box::new(script));
            Arc::new(Course::Played(stage.in_kept_instance()))
        };
        (0..times).map(course).collect()
    }

    /// What did not go as the case says, with the component of that digest.
    #[must_use]
    pub fn failures(
        &self,
        playing: &Playing,
        digest: &str,
        outcome: &Outcome,
        log: &[Line],
        fuel: u64,
    ) -> Vec<Failed> {
        let progress = playing.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let mut failed: Vec<Failed> = progress
            .wrong
            .iter()
            .map(|wrong| match wrong {
                Wrong::Differs(index, diff) => Failed::Call(index + 1, diff.clone()),
                Wrong::Unexpected(written) => Failed::Unexpected(written.clone()),
            })
            .collect();
        let missing = self.calls.get(progress.made..).unwrap_or_default();
        if !missing.is_empty() {
            failed.push(Failed::Missing(
                missing
                    .iter()
                    .map(|call| written(&calls::question(call)))
                    .collect(),
            ));
        }
        let came = expect::came(outcome, log);
        let diff = match &self.recorded {
            Some(_) => expect::compare_all(&self.expect, &came),
            None => expect::compare(&self.expect, came),
        };
        failed.extend(diff.map(Failed::Came));
        // Another component may come to the same end by another way.
        let recorded = self
            .recorded
            .as_ref()
            .filter(|recorded| recorded.digest == digest)
            .and_then(|recorded| recorded.fuel);
        if let Some(recorded) = recorded.filter(|recorded| *recorded != fuel && failed.is_empty()) {
            failed.push(Failed::Fuel(recorded, fuel));
        }
        failed
    }
}

/// Settings as the plugin is given them when a case that holds them is played: in the order in which a table is written
/// and read.
///
/// # Errors
/// They are no JSON object, or can't be written as TOML.
pub fn as_played(settings: &str) -> Result<String, String> {
    let table: toml::Table = serde_json::from_str(settings).map_err(|error| error.to_string())?;
    let text = toml::to_string(&table).map_err(|error| error.to_string())?;
    let table: toml::Table = toml::from_str(&text).map_err(|error| error.to_string())?;
    let settings = serde_json::to_value(table).map_err(|error| error.to_string())?;
    Ok(settings.to_string())
}

/// The text of a case's file.
///
/// # Errors
/// It can't be read.
pub fn text_of(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let name = path.display();
    let file = std::fs::File::open(path).map_err(|error| format!("{name}: {error}\n"))?;
    let mut text = String::new();
    match file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text) {
        Ok(_) if text.len() as u64 > FILE_BYTES_MAX => Err(format!(
            "{name}: a case has at most {} KiB\n",
            FILE_BYTES_MAX >> 10
        )),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{name}: {error}\n")),
    }
}

/// Of what a file says that it was recorded.
///
/// # Errors
/// It can't be read as a case, or was not recorded.
pub fn recorded_in(path: &Path) -> Result<Recorded, String> {
    let text = text_of(path)?;
    let name = path.display().to_string();
    let file: File = toml::from_str(&text)
        .map_err(|error| excerpt::at(&name, &text, error.span().unwrap_or(0..0), error.message()))?;
    file.recorded
        .ok_or_else(|| format!("{name}: was not recorded by the host: it has no [recorded]\n"))
}

/// Where a key or table begins; approximately, for a message.
fn key(text: &str, name: &str) -> std::ops::Range<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let begin = line.trim_start().trim_start_matches('[');
        if begin.starts_with(name) {
            let start = at + (line.len() - begin.len());
            return start..start + name.len();
        }
        at += line.len();
    }
    0..0
}

fn scene_of(file: &File, kind: Kind, settings: String) -> Scene {
    let mut scene = Scene::new(kind, settings);
    let set = |into: &mut String, from: &Option<String>| {
        if let Some(text) = from {
            into.clone_from(text);
        }
    };
    set(&mut scene.monitor, &file.subject.monitor);
    set(&mut scene.tenant, &file.subject.tenant);
    if let Some(labels) = &file.subject.labels {
        scene.labels = labels
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
    }
    let attempt = &file.attempt;
    scene.attempt = attempt.number.unwrap_or(scene.attempt);
    scene.timeout = attempt.timeout.map_or(scene.timeout, |span| span.0);
    scene.scheduled_at = attempt.scheduled_at.map_or(scene.scheduled_at, |moment| moment.0);
    let caps = &mut scene.limits;
    caps.fuel = file.limits.fuel.unwrap_or(caps.fuel);
    caps.cpu = file.limits.cpu.map_or(caps.cpu, |span| span.0);
    caps.memory_bytes = file.limits.memory.map_or(caps.memory_bytes, |size| size.0);
    let mut incident = scene.incident.take().unwrap_or_else(scene::incident);
    if let Some(own) = &file.incident {
        set(&mut incident.id, &own.id);
        set(&mut incident.key, &own.key);
        set(&mut incident.summary, &own.summary);
        set(&mut incident.reason, &own.reason);
        incident.opened_at = own.opened_at.map_or(incident.opened_at, |moment| moment.0);
    }
    scene.code.incident_key.clone_from(&incident.key);
    scene.incident = Some(incident);
    if let Some(intervention) = &file.intervention {
        set(&mut scene.idempotency_key, &intervention.idempotency_key);
    }
    if let Some(code) = &file.code {
        let into = &mut scene.code;
        if let Some(Word(color)) = code.color {
            into.color = color;
            into.title = format!("{} is {color}", scene.monitor);
            into.delivery_id = format!("01jdf0/{color}/1/alerts");
        }
        set(&mut into.title, &code.title);
        set(&mut into.body, &code.body);
        set(&mut into.incident_key, &code.incident_key);
        set(&mut into.delivery_id, &code.delivery_id);
        into.happened_at = code.happened_at.map_or(into.happened_at, |moment| moment.0);
        into.reminder = code.reminder.unwrap_or(into.reminder);
        if code.incident == Some(false) {
            scene.incident = None;
        }
    }
    scene
}

/// What was executed, to be written down.
pub struct Record<'a> {
    /// What the plugin was given.
    pub scene: &'a Scene,
    /// Where its clock and its random numbers began.
    pub origin: Origin,
    /// The plugin.
    pub facts: &'a Facts,
    /// Its calls.
    pub calls: &'a [Called],
    /// Calls that were not kept.
    pub calls_cut: u64,
    /// What came of it.
    pub outcome: &'a Outcome,
    /// What it logged.
    pub log: &'a [Line],
    /// What it used.
    pub fuel: u64,
}

impl Record<'_> {
    /// As a case that can be played, without what nobody may read: the scene's secrets, and what the plugin's schema or
    /// a setting's name makes one. `head`: lines that say what it is.
    ///
    /// # Errors
    /// The settings can't be written as TOML: they hold a null.
    pub fn text(&self, head: &str) -> Result<String, String> {
        let Scene { code, .. } = self.scene;
        let unwritable =
            |error: serde_json::Error| format!("these settings can't be written as TOML: {error}");
        let mut settings: serde_json::Value =
            serde_json::from_str(&self.scene.settings).map_err(unwritable)?;
        let before = settings.clone();
        let marked = secrets::hide(&self.facts.schema, &mut settings)?;
        // What comes back in another order takes the plugin another amount to read.
        let whole = before == settings
            && self.scene.secrets.is_empty()
            && as_played(&self.scene.settings).is_ok_and(|played| played == self.scene.settings);
        let settings = settings.to_string();
        let settings = marked.redact(&settings);
        let settings: toml::Table =
            serde_json::from_str(&self.scene.secrets.redact(&settings)).map_err(unwritable)?;
        let caps = self.scene.limits;
        let own = |kind: Kind| self.scene.kind == kind;
        let mut outcome = self.outcome.clone();
        marked.redact_outcome(&mut outcome);
        let mut log = self.log.to_vec();
        log.iter_mut()
            .for_each(|line| marked.redact_in(&mut line.message));
        let expect = expect::came(&outcome, &log);
        let mut file = File {
            kind: Some(Word(self.scene.kind)),
            clock: Some(Moment(self.origin.wall)),
            seed: Some(Hex(self.origin.seed.to_vec())),
            recorded: Some(Recorded {
                plugin: self.facts.name.to_string(),
                version: self.facts.version.clone(),
                digest: self.facts.digest.to_string(),
                fuel: None,
                calls_cut: self.calls_cut,
            }),
            subject: Subject {
                monitor: Some(self.scene.monitor.clone()),
                tenant: Some(self.scene.tenant.clone()),
                labels: Some(self.scene.labels.iter().cloned().collect()),
            },
            attempt: Attempt {
                number: Some(self.scene.attempt),
                timeout: Some(Span(self.scene.timeout)),
                scheduled_at: Some(Moment(self.scene.scheduled_at)),
            },
            limits: capped(caps),
            incident: self
                .scene
                .incident
                .as_ref()
                .filter(|_| !own(Kind::Pulse))
                .map(incident_of),
            intervention: own(Kind::Intervention).then(|| Intervention {
                idempotency_key: Some(self.scene.idempotency_key.clone()),
            }),
            code: own(Kind::Code).then(|| Code {
                color: Some(Word(code.color)),
                title: Some(code.title.clone()),
                body: Some(code.body.clone()),
                happened_at: Some(Moment(code.happened_at)),
                reminder: Some(code.reminder),
                incident_key: Some(code.incident_key.clone()),
                delivery_id: Some(code.delivery_id.clone()),
                incident: self.scene.incident.is_none().then_some(false),
            }),
            settings,
            call: self
                .calls
                .iter()
                .filter(|called| !called.refused)
                .map(|called| Spanned::new(0..0, calls::noted(&called.without(&marked))))
                .collect(),
            expect: Some(Spanned::new(0..0, expect)),
        };
        let written =
            |file: &File| toml::to_string(file).map_err(|error| format!("can't be written as TOML: {error}"));
        let mut body = written(&file)?;
        // What was replaced, also in an answer, has another length, and so what is played takes another amount.
        if whole && !holds_replaced(&body) {
            if let Some(recorded) = &mut file.recorded {
                recorded.fuel = Some(self.fuel);
            }
            body = written(&file)?;
        }
        let head: String = head.lines().map(|line| format!("# {line}\n")).collect();
        Ok(head + &body)
    }
}

/// Whether something stands there in place of what nobody may read, as text or as bytes in hexadecimal.
fn holds_replaced(body: &str) -> bool {
    let hex: String = REDACTED.bytes().map(|byte| format!("{byte:02x}")).collect();
    body.contains(REDACTED) || body.contains(&hex)
}

fn capped(caps: limits::Limits) -> Limits {
    Limits {
        fuel: Some(caps.fuel),
        cpu: Some(Span(caps.cpu)),
        memory: Some(Size(caps.memory_bytes)),
    }
}

fn incident_of(incident: &job::Incident) -> Incident {
    Incident {
        id: Some(incident.id.clone()),
        key: Some(incident.key.clone()),
        opened_at: Some(Moment(incident.opened_at)),
        summary: Some(incident.summary.clone()),
        reason: Some(incident.reason.clone()),
    }
}
