//! Monitors that were given over the API, built beside those of files, by the same code.
//!
//! What a party's files come to is the footing of its documents: templates, notifiers and terms, and the monitors that there
//! are. A change over the API builds documents on the footings that are in force, and reads no file: nobody's half-written
//! file comes into force because somebody else puts a monitor.
//!
//! Invariants: files are valid, or not, whatever documents there are: no monitor of a file depends on one of the API. And no
//! document is in effect that was not built on the footing that is in force.

use super::{
    build::{self, Beside, Scope},
    document::{Document as Tables, read_put},
    folder::Files,
    interpolate::Surroundings,
    json::plain,
    problem::{Fault, Findings, Problems, Severity},
    read::{Reader, wrong_name},
    source::Sources,
    tree::Grower,
};
use crate::domain::{
    managed::{Aside, Document, Documents, OfTenant, Places},
    plugin::Facts,
    spec::{MonitorSpec, Sink},
    tenant::Tenant,
};
use serde::de::IgnoredAny;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Rounds in which documents stand back that do not fit: each may leave another one without what it depends on.
const ROUNDS_MAX: usize = 8;

/// Whose, and which.
pub type Key = (Arc<str>, Arc<str>);

/// Documents that stand beside files which are read.
#[derive(Clone, Debug, Default)]
pub struct Filed {
    /// All of them.
    pub documents: Documents,
    /// Those that were not in effect before. None: nothing was, the host starts; then files go first, and whatever does not
    /// fit them is set aside.
    pub aside: Option<BTreeSet<Key>>,
}

impl Filed {
    /// Whether that document was in effect.
    fn holds(&self, tenant: &Arc<str>, name: &Arc<str>) -> bool {
        let key = (Arc::clone(tenant), Arc::clone(name));
        self.aside.as_ref().is_some_and(|aside| !aside.contains(&key))
    }

    /// Those that are in effect, if these are not.
    #[must_use]
    pub fn in_effect(&self, aside: &[Aside]) -> Documents {
        let mut documents = self.documents.clone();
        for one in aside {
            documents.remove(&one.tenant, &one.name);
        }
        documents
    }
}

/// What the files of one party come to.
#[derive(Debug)]
pub(super) struct Footing {
    pub tenant: Arc<Tenant>,
    pub of_operator: bool,
    /// Without monitors, but for the time in which documents are built.
    pub document: Tables,
    pub sources: Arc<Sources>,
    pub facts: Arc<BTreeMap<String, Facts>>,
    pub refused: Vec<String>,
    pub shared: BTreeMap<Arc<str>, Arc<Sink>>,
    /// The place of its first monitor in the list of all.
    pub first: u32,
    pub monitors_max: usize,
    /// Those of its files.
    pub monitors: Vec<MonitorSpec>,
    pub places: Places,
}

/// A document to be built, and the line that counts as its first.
#[derive(Clone, Debug)]
struct Put {
    name: Arc<str>,
    document: Arc<Document>,
    line: u32,
}

/// Why documents can't be built.
#[derive(Debug)]
pub(super) struct Blame {
    pub problems: Problems,
    /// Numbers of documents that something is wrong with.
    blamed: BTreeSet<u32>,
    /// The first document among the sources of the problems.
    first_source: u32,
}

impl Footing {
    /// Which of the documents do not fit, and stand back. `protect`: of those that were in effect none stands back.
    ///
    /// # Errors
    /// One that was in effect does not fit.
    pub fn fit(&mut self, filed: &Filed, protect: bool) -> Result<Vec<Aside>, Blame> {
        let tenant = Arc::clone(&self.tenant.name);
        let Some(own) = filed.documents.of(&tenant) else {
            return Ok(Vec::new());
        };
        let held = |name: &Arc<str>| protect && filed.holds(&tenant, name);
        let mut puts = puts(own);
        // Where there is not room for all, it is those that had it.
        puts.sort_by_key(|put| !held(&put.name));
        let mut aside = Vec::new();
        for round in 0.. {
            if puts.is_empty() {
                break;
            }
            let Err(blame) = self.build(&puts, 0) else {
                break;
            };
            // What nobody is to blame for, or goes on for ever, ends with all of them.
            let hopeless = round >= ROUNDS_MAX || blame.blamed.is_empty();
            let mut number = 0;
            let before = aside.len();
            puts.retain(|put| {
                let stays = held(&put.name) || !blame.blamed.contains(&number) && !hopeless;
                if !stays {
                    let why = blame.problems.first_about(number);
                    aside.push(Aside {
                        tenant: Arc::clone(&tenant),
                        name: Arc::clone(&put.name),
                        why: why
                            .unwrap_or_else(|| "it does not fit the files any more".into())
                            .into(),
                    });
                }
                number += 1;
                stays
            });
            if aside.len() == before {
                return Err(blame);
            }
        }
        Ok(aside)
    }

    /// Builds documents. `first`: the place of the first one's monitor in the list of all.
    fn build(&mut self, puts: &[Put], first: u32) -> Result<Vec<MonitorSpec>, Blame> {
        if puts.is_empty() {
            return Ok(Vec::new());
        }
        let (mut findings, mut warnings) = (Findings::default(), Findings::default());
        let mut sources = Sources::clone(&self.sources);
        let first_source = sources.len();
        for put in puts {
            let name = format!("{}/{} (API)", self.tenant.name, put.name);
            sources.add_document(&name, &put.document.text, put.line);
        }
        let surroundings = Surroundings::of_api((!self.of_operator).then_some(&self.tenant));
        let (mut documents, mut unread) = (Vec::with_capacity(puts.len()), Vec::new());
        let mut monitors = Vec::with_capacity(puts.len());
        for (number, put) in (0_u32..).zip(puts) {
            findings.about = Some(number);
            let node = Grower {
                file: first_source.saturating_add(number),
                sources: &sources,
                surroundings: &surroundings,
                findings: &mut findings,
            }
            .json(&put.document.text);
            let mut reader = Reader {
                sources: &sources,
                findings: &mut findings,
            };
            match read_put(&mut reader, &node, &put.name, &self.document.host.settings) {
                Some(raw) => {
                    documents.push(number);
                    monitors.push(raw);
                }
                None => {
                    findings.blamed.insert(number);
                    unread.push(Arc::clone(&put.name));
                }
            }
        }
        findings.about = None;
        self.document.monitors = monitors;
        let scope = Scope {
            tenant: Arc::clone(&self.tenant),
            files: Files::Nowhere,
            refused: self.refused.iter().map(String::as_str).collect(),
            shared: self.shared.clone(),
            first: self.first,
            monitors_max: self.monitors_max,
            bytes_max: usize::MAX,
            beside: Some(Beside {
                monitors: &self.monitors,
                places: &self.places,
                first,
                documents: &documents,
            }),
        };
        let mut builder = build::builder(
            &self.document,
            &self.facts,
            &sources,
            &mut findings,
            &mut warnings,
            scope,
        );
        let built = builder.build_beside(unread);
        drop(builder);
        self.document.monitors = Vec::new();
        if findings.is_empty() {
            return Ok(built);
        }
        Err(Blame {
            blamed: std::mem::take(&mut findings.blamed),
            problems: findings.into_problems(Arc::new(sources), Severity::Error),
            first_source,
        })
    }
}

fn puts(own: &OfTenant) -> Vec<Put> {
    let put = |(name, document): (&Arc<str>, &Arc<Document>)| Put {
        name: Arc::clone(name),
        document: Arc::clone(document),
        line: 1,
    };
    own.iter().map(put).collect()
}

/// What all parties' files come to.
#[derive(Debug, Default)]
pub struct Footings(Vec<Footing>);

/// Everything that is to be watched.
#[derive(Debug)]
pub struct Whole {
    /// The monitors of files, and those of documents behind them.
    pub monitors: Vec<MonitorSpec>,
    /// Where each was written.
    pub places: Places,
}

/// Why documents can't be in effect.
#[derive(Debug)]
pub struct Refusal {
    /// For people.
    pub problems: Problems,
    /// For programs.
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub more: usize,
    /// Whose tenant's documents they are in.
    pub tenant: Arc<str>,
    /// Names of those that something is wrong with.
    pub blamed: BTreeSet<Arc<str>>,
}

impl Footings {
    pub(super) fn new(parties: impl IntoIterator<Item = Footing>) -> Self {
        let mut parties: Vec<Footing> = parties.into_iter().collect();
        for party in &mut parties {
            // They are built, and nobody reads them again.
            party.document.monitors = Vec::new();
        }
        Self(parties)
    }

    /// Sets aside what belongs to nobody who has a configuration in force.
    pub(super) fn leave_out(&self, documents: &Documents, aside: &mut Vec<Aside>) {
        for (tenant, own) in documents.tenants() {
            if !self.has(tenant) {
                aside.extend(own.keys().map(|name| Aside {
                    tenant: Arc::clone(tenant),
                    name: Arc::clone(name),
                    why: format!("the tenant `{tenant}` has no configuration in force").into(),
                }));
            }
        }
    }

    /// Whether there is that tenant, and a configuration of it in force.
    #[must_use]
    pub fn has(&self, tenant: &str) -> bool {
        self.0.iter().any(|party| &*party.tenant.name == tenant)
    }

    /// Builds documents on what is in force. `changed`: those that somebody puts now, with the line of each; where there is
    /// not room for all, it is these that are too many.
    ///
    /// # Errors
    /// Something is wrong with those of a tenant; those of others were not looked at, then.
    pub fn build(
        &mut self,
        documents: &Documents,
        changed: &BTreeMap<Key, u32>,
    ) -> Result<Whole, Box<Refusal>> {
        let (mut monitors, mut places) = (Vec::new(), Places::default());
        for party in &self.0 {
            places.append(party.first, &party.places);
            monitors.extend_from_slice(&party.monitors);
        }
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        places.of_api(number(monitors.len()));
        for party in &mut self.0 {
            let tenant = Arc::clone(&party.tenant.name);
            let Some(own) = documents.of(&tenant) else {
                continue;
            };
            let mut puts = puts(own);
            for put in &mut puts {
                // 0: as it was.
                let key = (Arc::clone(&tenant), Arc::clone(&put.name));
                put.line = changed.get(&key).copied().unwrap_or(0);
            }
            puts.sort_by_key(|put| put.line > 0);
            match party.build(&puts, number(monitors.len())) {
                Ok(built) => monitors.extend(built),
                Err(blame) => return Err(Box::new(refusal(tenant, &puts, blame))),
            }
        }
        Ok(Whole { monitors, places })
    }
}

fn refusal(tenant: Arc<str>, puts: &[Put], blame: Blame) -> Refusal {
    let name = |number: u32| puts.get(number as usize).map(|put| Arc::clone(&put.name));
    let (faults, more) = blame.problems.faults(blame.first_source, name);
    Refusal {
        faults,
        more,
        tenant,
        blamed: blame.blamed.iter().filter_map(|number| name(*number)).collect(),
        problems: blame.problems,
    }
}

/// A document out of many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The monitor's name.
    pub name: Arc<str>,
    /// Its first line in what was sent, from 1.
    pub line: u32,
}

/// The name that a document of many gives its monitor.
///
/// # Errors
/// It gives none, or is no JSON object; says what would be right.
pub fn entry(text: &str, line: u32) -> Result<Entry, Box<Fault>> {
    let wrong = |id, line: usize, column, pointer: Option<&str>, detail: String, help: &str| {
        Box::new(Fault {
            monitor: None,
            id,
            file: None,
            line: Some(line),
            column,
            pointer: pointer.map(str::to_owned),
            detail,
            help: Some(help.to_owned()),
        })
    };
    let first = line as usize;
    let object = "a document is a JSON object with the keys of a [[monitor]], `name` among them";
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        let line = first + error.line().saturating_sub(1);
        let detail = format!("no valid JSON: {}", plain(&error));
        return Err(wrong(
            "syntax",
            line,
            Some(error.column().max(1)),
            None,
            detail,
            object,
        ));
    }
    let read: Result<BTreeMap<String, serde_json::Value>, _> = serde_json::from_str(text);
    let Ok(read) = read else {
        let detail = "this is no JSON object".to_owned();
        return Err(wrong("wrong-type", first, None, Some(""), detail, object));
    };
    let help = "name it: \"name\": \"shop\"";
    let name = match read.get("name") {
        Some(serde_json::Value::String(name)) => name.as_str(),
        Some(_) => {
            let detail = "`name` must be a string".to_owned();
            return Err(wrong("wrong-type", first, None, Some("/name"), detail, help));
        }
        None => {
            let detail = "a monitor without `name`".to_owned();
            return Err(wrong("missing-key", first, None, Some(""), detail, help));
        }
    };
    if let Some(wrong_with) = wrong_name(name) {
        let detail = format!("the name of a monitor {wrong_with}");
        let help = super::read::names_have();
        return Err(wrong("bad-name", first, None, Some("/name"), detail, &help));
    }
    Ok(Entry {
        name: name.into(),
        line,
    })
}
