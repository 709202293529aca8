//! Monitors that come, change and go over the API, while the host runs.
//!
//! A change is built on what is in force, put on disk, and only then put into effect, as a difference, by what reloads put
//! theirs. Those that wait together go together; one that is wrong is answered, and the others go without it.
//!
//! Architecture invariant: what is answered as done is on disk; what could not be put there is not in effect.

use super::{
    load::Prepared,
    reload::{Reloader, told},
};
use crate::{
    config::{Filed, Footings, Key, Refusal, Whole},
    domain::{
        managed::{Aside, BYTES_MAX, DOCUMENTS_MAX, Document, Documents, Owner},
        spec::MonitorSpec,
        tenant::DEFAULT,
        time::Wall,
    },
    http::change::{Change, Condition, Deed, Done, Refused, Sent},
    journal::counted,
    operate::{
        directory::Directory,
        managed::{Book, Page},
    },
    store::{self, Managed},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Documents that are set aside, of which a line of the log tells.
const ASIDE_SHOWN_MAX: usize = 20;

/// All that was given over the API, and what it is built on.
pub(super) struct Estate {
    documents: Documents,
    aside: Vec<Aside>,
    footings: Footings,
    /// It goes with every change, as it is.
    host_entry: Option<MonitorSpec>,
    /// None: nothing can be kept, and nothing is taken.
    kept: Option<Managed>,
    book: Book,
}

impl Estate {
    /// As the host starts.
    pub fn begin(prepared: &mut Prepared, kept: Option<Managed>, book: Book) -> Self {
        let config = &mut prepared.config;
        let mut estate = Self {
            documents: std::mem::take(&mut prepared.documents),
            aside: Vec::new(),
            footings: std::mem::take(&mut config.footings),
            host_entry: config.host_entry.clone(),
            kept,
            book,
        };
        estate.set_aside(std::mem::take(&mut config.aside), prepared.clock.wall());
        estate.show();
        estate
    }

    /// What stands beside the files.
    pub fn filed(&self) -> Filed {
        Filed {
            documents: self.documents.clone(),
            aside: Some(self.aside.iter().map(key).collect()),
        }
    }

    /// From now on documents are built on these.
    pub fn found(
        &mut self,
        footings: Footings,
        aside: Vec<Aside>,
        host_entry: Option<MonitorSpec>,
        now: Wall,
    ) {
        self.footings = footings;
        self.host_entry = host_entry;
        self.set_aside(aside, now);
    }

    /// The host's own entry.
    pub fn host_entry(&self) -> Option<MonitorSpec> {
        self.host_entry.clone()
    }

    /// Tells whoever asks.
    pub fn show(&self) {
        self.book.replace(Page::new(self.documents.clone(), &self.aside));
    }

    /// These are not in effect. Those that were until now are told in the log, and as events.
    fn set_aside(&mut self, aside: Vec<Aside>, now: Wall) {
        let before: BTreeSet<Key> = self.aside.iter().map(key).collect();
        let fresh: Vec<Aside> = aside
            .iter()
            .filter(|one| !before.contains(&key(one)))
            .cloned()
            .collect();
        for one in fresh.iter().take(ASIDE_SHOWN_MAX) {
            tracing::error!(
                "{}/{}, which was put over the API, is set aside and not in effect: {}",
                one.tenant,
                one.name,
                one.why
            );
        }
        if fresh.len() > ASIDE_SHOWN_MAX {
            let more = (fresh.len() - ASIDE_SHOWN_MAX) as u64;
            tracing::error!(
                "and {} more; GET /api/v1/documents?set-aside=true tells all",
                counted(more, "monitor")
            );
        }
        if let (Some(kept), false) = (&self.kept, fresh.is_empty())
            && let Err(error) = kept.tell_aside(&fresh, now)
        {
            tracing::warn!("that they were set aside is not on record: {error}");
        }
        self.aside = aside;
    }
}

fn key(aside: &Aside) -> Key {
    (Arc::clone(&aside.tenant), Arc::clone(&aside.name))
}

fn restore<T>(map: &mut BTreeMap<Key, T>, key: &Key, before: Option<T>) {
    match before {
        Some(before) => drop(map.insert(key.clone(), before)),
        None => drop(map.remove(key)),
    }
}

/// What several changes come to together.
#[derive(Clone)]
struct Plan {
    documents: Documents,
    /// The line of each document that is put.
    lines: BTreeMap<Key, u32>,
    /// What is to be put on disk.
    writes: BTreeMap<Key, Option<Arc<Document>>>,
}

/// Under what circumstances.
struct View<'a> {
    estate: &'a Estate,
    aside: BTreeSet<Key>,
    directory: Arc<Directory>,
    now: Wall,
}

impl Plan {
    fn new(estate: &Estate) -> Self {
        Self {
            documents: estate.documents.clone(),
            lines: BTreeMap::new(),
            writes: BTreeMap::new(),
        }
    }

    /// Adds a change, or nothing of it.
    fn add(&mut self, change: &Change, view: &View<'_>) -> Result<Done, Refused> {
        // What many have would be copied for each of them that is only one more.
        if let Deed::Put { document, .. } = &change.deed {
            let key = (Arc::clone(&change.tenant), Arc::clone(&document.name));
            let known = self.documents.get(&key.0, &key.1).cloned();
            let (line, write) = (self.lines.get(&key).copied(), self.writes.get(&key).cloned());
            return self.add_to(change, view).inspect_err(|_| {
                match known {
                    Some(known) => self.documents.put(&key.0, &key.1, known),
                    None => drop(self.documents.remove(&key.0, &key.1)),
                }
                restore(&mut self.lines, &key, line);
                restore(&mut self.writes, &key, write);
            });
        }
        let before = self.clone();
        let added = self.add_to(change, view);
        if added.is_err() {
            *self = before;
        }
        added
    }

    fn add_to(&mut self, change: &Change, view: &View<'_>) -> Result<Done, Refused> {
        let tenant = &change.tenant;
        let mut done = Done::default();
        match &change.deed {
            Deed::Remove { name, only } => {
                if self.documents.get(tenant, name).is_none() {
                    return Err(match view.directory.owner(tenant, name) {
                        Some(Owner::File { file, line }) => Refused::Conflict(format!(
                            "{tenant}/{name} stands in a file, {file}:{line}; it goes when it is taken out there"
                        )),
                        _ => Refused::Absent(format!("there is no monitor {tenant}/{name}")),
                    });
                }
                self.check(tenant, name, only, view)?;
                self.remove(tenant, name);
                done.removed = 1;
            }
            Deed::Put { document, only } => {
                self.exists(tenant, view)?;
                self.check(tenant, &document.name, only, view)?;
                self.put(change, document, view, &mut done);
                done.etag = self
                    .documents
                    .get(tenant, &document.name)
                    .map(|document| document.etag());
            }
            Deed::Import { documents, replace } => {
                self.exists(tenant, view)?;
                if *replace {
                    let named: BTreeSet<&str> = documents.iter().map(|document| &*document.name).collect();
                    let own = self.documents.of(tenant).into_iter().flatten();
                    let gone: Vec<Arc<str>> = own
                        .map(|(name, _)| Arc::clone(name))
                        .filter(|name| !named.contains(&**name))
                        .collect();
                    done.removed = gone.len();
                    gone.iter().for_each(|name| self.remove(tenant, name));
                }
                for document in documents {
                    self.put(change, document, view, &mut done);
                }
            }
        }
        self.bounded(tenant)?;
        Ok(done)
    }

    fn exists(&self, tenant: &str, view: &View<'_>) -> Result<(), Refused> {
        if view.estate.footings.has(tenant) {
            return Ok(());
        }
        Err(Refused::Absent(format!(
            "there is no tenant `{tenant}` with a configuration in force; tenants are made in the operator's files, and `pulse-host tenants` tells how they stand"
        )))
    }

    fn check(&self, tenant: &str, name: &str, only: &Condition, view: &View<'_>) -> Result<(), Refused> {
        let known = self.documents.get(tenant, name);
        let failed = match only {
            Condition::Anything => None,
            Condition::Absent => (known.is_some() || view.directory.named(tenant, name).is_some())
                .then(|| format!("there is a monitor {tenant}/{name}")),
            Condition::Present => known
                .is_none()
                .then(|| format!("no monitor {tenant}/{name} was put")),
            Condition::Tagged(tags) => match known.map(|document| document.etag()) {
                Some(etag) if tags.contains(&etag) => None,
                Some(etag) => Some(format!(
                    "{tenant}/{name} was changed meanwhile: it has the tag \"{etag}\" now"
                )),
                None => Some(format!("no monitor {tenant}/{name} was put")),
            },
        };
        failed.map_or(Ok(()), |detail| Err(Refused::Precondition(detail)))
    }

    fn put(&mut self, change: &Change, sent: &Sent, view: &View<'_>, done: &mut Done) {
        let key = (Arc::clone(&change.tenant), Arc::clone(&sent.name));
        match self.documents.get(&change.tenant, &sent.name) {
            Some(known) if known.text == sent.text && !view.aside.contains(&key) => {
                done.unchanged += 1;
                return;
            }
            Some(_) => done.replaced += 1,
            None => done.created += 1,
        }
        let document = Arc::new(Document {
            text: sent.text.clone(),
            at: view.now,
            by: (*change.by).into(),
        });
        self.documents
            .put(&change.tenant, &sent.name, Arc::clone(&document));
        self.lines.insert(key.clone(), sent.line.max(1));
        self.writes.insert(key, Some(document));
    }

    fn remove(&mut self, tenant: &Arc<str>, name: &Arc<str>) {
        self.documents.remove(tenant, name);
        let key = (Arc::clone(tenant), Arc::clone(name));
        self.lines.remove(&key);
        self.writes.insert(key, None);
    }

    /// One tenant alone must not take all the room that there is.
    fn bounded(&self, tenant: &str) -> Result<(), Refused> {
        let share = if tenant == DEFAULT { 1 } else { 2 };
        let (most, bytes) = (DOCUMENTS_MAX / share, BYTES_MAX / share);
        let own = self.documents.of(tenant);
        let count = own.map_or(0, BTreeMap::len);
        let own: usize = own
            .into_iter()
            .flat_map(BTreeMap::values)
            .map(|document| document.text.len())
            .sum();
        if count > most || self.documents.len() > DOCUMENTS_MAX {
            return Err(Refused::Conflict(format!(
                "more than {most} monitors of a tenant, or more than {DOCUMENTS_MAX} in all, can't be put over the API; more than that are a list of targets in a file"
            )));
        }
        if own > bytes || self.documents.bytes() > BYTES_MAX {
            return Err(Refused::Conflict(format!(
                "documents of a tenant may have {} MiB, and all together {} MiB; what many have in common is said once, in a template",
                bytes >> 20,
                BYTES_MAX >> 20
            )));
        }
        Ok(())
    }

    /// What is in effect when this is carried out.
    fn in_effect(&self, estate: &Estate) -> (Documents, Vec<Aside>) {
        let left = estate
            .aside
            .iter()
            .filter(|one| !self.writes.contains_key(&key(one)));
        let aside: Vec<Aside> = left.cloned().collect();
        let filed = Filed {
            documents: self.documents.clone(),
            aside: None,
        };
        (filed.in_effect(&aside), aside)
    }
}

impl Reloader {
    /// Carries out changes, and answers each. Blocks.
    pub fn change(&mut self, changes: Vec<Change>) {
        let (tried, mut waiting): (Vec<Change>, Vec<Change>) =
            changes.into_iter().partition(|change| change.dry_run);
        while !waiting.is_empty() {
            waiting = self.change_together(waiting);
        }
        for change in tried {
            let answer = self.attempt(&change);
            answered(change, answer);
        }
    }

    fn view(&self) -> View<'_> {
        View {
            estate: &self.managed,
            aside: self.managed.aside.iter().map(key).collect(),
            directory: self.seen.directory.present(),
            now: self.clock.wall(),
        }
    }

    /// What would come of it.
    fn attempt(&mut self, change: &Change) -> Result<Done, Refused> {
        let mut plan = Plan::new(&self.managed);
        let done = plan.add(change, &self.view())?;
        let (documents, _) = plan.in_effect(&self.managed);
        match self.managed.footings.build(&documents, &plan.lines) {
            Ok(_) => Ok(done),
            Err(refusal) => Err(invalid(*refusal)),
        }
    }

    /// Carries out those that can go together. What is left is to be tried again.
    fn change_together(&mut self, changes: Vec<Change>) -> Vec<Change> {
        let mut plan = Plan::new(&self.managed);
        let mut taken = Vec::with_capacity(changes.len());
        {
            let view = self.view();
            for change in changes {
                match plan.add(&change, &view) {
                    Ok(done) => taken.push((change, done)),
                    Err(refused) => answered(change, Err(refused)),
                }
            }
        }
        if plan.writes.is_empty() {
            taken
                .into_iter()
                .for_each(|(change, done)| answered(change, Ok(done)));
            return Vec::new();
        }
        let (documents, aside) = plan.in_effect(&self.managed);
        let whole = match self.managed.footings.build(&documents, &plan.lines) {
            Ok(whole) => whole,
            Err(refusal) => return self.sort_out(taken, *refusal),
        };
        match self.carry_out(plan, aside, whole) {
            Ok(line) => {
                let by: BTreeSet<&str> = taken.iter().map(|(change, _)| &*change.by).collect();
                let by = by.into_iter().collect::<Vec<_>>().join(", ");
                tracing::info!("changed over the API by {by}: {line}");
                for (change, done) in taken {
                    answered(change, Ok(done));
                }
            }
            Err(why) => {
                for (change, _) in taken {
                    answered(change, Err(why.again()));
                }
            }
        }
        Vec::new()
    }

    /// Something is wrong. Whoever put it is told; the others are to be tried again.
    fn sort_out(&mut self, taken: Vec<(Change, Done)>, refusal: Refusal) -> Vec<Change> {
        let (guilty, others): (Vec<Change>, Vec<Change>) = taken
            .into_iter()
            .map(|(change, _)| change)
            .partition(|change| change.tenant == refusal.tenant && puts_any(&change.deed, &refusal.blamed));
        // One by one each of them answers for itself.
        if guilty.is_empty() && others.len() > 1 || guilty.len() > 1 {
            for change in guilty.into_iter().chain(others) {
                self.change(vec![change]);
            }
            return Vec::new();
        }
        let alone = guilty.is_empty();
        let mut others = others.into_iter();
        if let Some(change) = guilty
            .into_iter()
            .next()
            .or_else(|| others.next().filter(|_| alone))
        {
            answered(change, Err(invalid(refusal)));
        }
        others.collect()
    }

    /// On disk first, then in effect. Tells what that changed.
    fn carry_out(&mut self, plan: Plan, aside: Vec<Aside>, whole: Whole) -> Result<String, Unchanged> {
        let kept = self
            .managed
            .kept
            .as_ref()
            .ok_or_else(|| Unchanged::Unkept("the store is off".to_owned()))?;
        let writes: Vec<store::Change> = plan
            .writes
            .into_iter()
            .map(|((tenant, name), document)| store::Change {
                tenant,
                name,
                document,
            })
            .collect();
        if let Err(error) = kept.write(&writes) {
            tracing::error!(
                "monitors that were put over the API can't be kept, and nothing was changed: {error}"
            );
            return Err(Unchanged::Unkept(error));
        }
        self.managed.documents = plan.documents;
        self.managed.aside = aside;
        let reloaded = self
            .put_into_effect(whole.monitors, whole.places)
            .ok_or(Unchanged::Stopping)?;
        self.seen.orders.moved();
        Ok(told(&[], reloaded))
    }
}

/// Why several changes are not in effect.
enum Unchanged {
    Unkept(String),
    /// They are on disk.
    Stopping,
}

impl Unchanged {
    fn again(&self) -> Refused {
        match self {
            Self::Unkept(why) => Refused::Unkept(why.clone()),
            Self::Stopping => Refused::Stopping { kept: true },
        }
    }
}

/// Who asked may have gone.
fn answered(change: Change, answer: Result<Done, Refused>) {
    let _ = change.told.send(answer);
}

fn invalid(refusal: Refusal) -> Refused {
    Refused::Invalid {
        faults: refusal.faults,
        more: refusal.more,
    }
}

/// Whether one of these is put by that.
fn puts_any(deed: &Deed, names: &BTreeSet<Arc<str>>) -> bool {
    match deed {
        Deed::Put { document, .. } => names.contains(&document.name),
        Deed::Import { documents, .. } => documents.iter().any(|document| names.contains(&document.name)),
        Deed::Remove { .. } => false,
    }
}
