//! One `[[monitor]]`: its layers put together, its lanes checked, and the monitor, or what monitors are made by.

use super::{
    assembly::{Assembly, Dependencies, Origin, Wanted},
    batch::split_parts,
    body::Body,
    build::{Builder, INTERVENTION_TIMEOUT, Owner, PULSE_TIMEOUT},
    document::{RawMonitor, Targets},
    lane::Post,
    layer::{LaneLayer, Layer, On},
    problem::Problem,
    progress::Progress,
    read::Spot,
    recipe::{Draft, Recipe, Stand, Word},
    source::At,
    tree::Table,
};
use crate::domain::spec::{Check, Class, InterventionSpec, Kind, Label, Lane, MonitorSpec, Policy, Sink};
use std::sync::Arc;

/// What a table says but for names, settings and labels, checked.
pub(super) struct Frame<'a> {
    layer: Layer,
    policy: Policy,
    pulse: Option<Post<'a>>,
    pulse_owner: Owner<'a>,
    repair: Option<Post<'a>>,
    repair_owner: Owner<'a>,
    sinks: Arc<[Arc<Sink>]>,
    /// A lane that is wanted is missing, which was reported.
    broken: bool,
}

/// What the monitors of one table have in common, and how their classes are told apart.
pub(super) struct Shared<'a> {
    frame: Frame<'a>,
    labels: Vec<(Arc<str>, Word)>,
    depends_on: Vec<(At, WantedWords)>,
    /// The settings of the check; those of a row go before.
    settings: Arc<str>,
    /// The repair, where it is the same for all rows.
    repair: Option<Arc<InterventionSpec>>,
    /// The repair's settings are the last of the row's parts.
    own_repair: bool,
}

/// Whom a row's monitor depends on.
enum WantedWords {
    Name(Word),
    Labels(Vec<(Arc<str>, Word)>),
}

impl<'a> Builder<'a> {
    /// Adds what that table makes.
    pub(super) fn add(
        &mut self,
        table: u32,
        raw: &'a RawMonitor,
        assembly: &mut Assembly,
        progress: &mut dyn Progress,
    ) {
        let frame = self.frame(raw);
        let Some(targets) = &raw.targets else {
            match self.monitor(raw, frame) {
                Some((spec, depends_on)) => {
                    let origin = Origin {
                        table,
                        line: 0,
                        offset: 0,
                    };
                    let list = assembly.list(table, depends_on);
                    assembly.push(spec, origin, list);
                }
                None => assembly.missing(&raw.name.value),
            }
            return;
        };
        let made = assembly.monitors.len();
        match self.recipe(raw, frame) {
            Some((recipe, shared)) => self.expand(table, raw, targets, &recipe, &shared, assembly, progress),
            None => assembly.gaps = true,
        }
        let file = match &targets.value {
            Targets::File { shown, .. } => Some(shown.clone()),
            Targets::Inline(_) => None,
            Targets::Broken => return,
        };
        assembly.loaded.push(super::Loaded {
            file,
            name: raw.name.value.to_string(),
            monitors: assembly.monitors.len() - made,
        });
    }

    fn frame(&mut self, raw: &'a RawMonitor) -> Frame<'a> {
        let mut layer = raw.layer.over(&self.base(&raw.uses));
        let who = match (raw.name.value.as_ref(), &raw.targets) {
            ("", None) => "this monitor".to_owned(),
            ("", Some(_)) => "this table of monitors".to_owned(),
            (name, _) => format!("the monitor `{name}`"),
        };
        let mut pulse_owner = Owner {
            who: who.clone(),
            at: raw.name.at,
            kind: Kind::Pulse,
            prefix: "pulse.settings.",
            partial: raw
                .uses
                .iter()
                .any(|name| !self.document.templates.contains_key(&name.value)),
            own: raw.layer.pulse.settings.as_ref().map(|spot| &spot.value),
        };
        let repair_owner = Owner {
            kind: Kind::Intervention,
            at: layer
                .intervention
                .as_ref()
                .filter(|_| raw.layer.intervention.is_some())
                .map_or(raw.name.at, |layer| layer.at),
            prefix: "intervention.settings.",
            own: raw
                .layer
                .intervention
                .as_ref()
                .and_then(|layer| Some(&layer.lane.settings.as_ref()?.value)),
            ..pulse_owner.clone()
        };
        let policy = self.policy(&layer);
        let pulse = if let Some(beat) = &layer.heartbeat {
            pulse_owner.prefix = "heartbeat.";
            pulse_owner.own = raw.layer.heartbeat.as_ref().map(|beat| &beat.written);
            layer.pulse = beat.lane(&mut self.reader, &pulse_owner);
            (!layer.pulse.spoiled).then(|| self.beat_post())
        } else if layer.pulse.plugin.is_some() {
            let timeout = layer.timeout.map_or(PULSE_TIMEOUT, |span| span.value);
            self.post(&pulse_owner, &layer.pulse, timeout)
        } else {
            self.no_plugin(&pulse_owner, &layer.pulse, "pulse.plugin");
            None
        };
        self.warn_of_times(&layer, &policy);
        let repair = layer.intervention.as_ref().and_then(|repair| {
            if repair.lane.plugin.is_some() {
                return self.post(&repair_owner, &repair.lane, INTERVENTION_TIMEOUT);
            }
            self.no_plugin(&repair_owner, &repair.lane, "intervention.plugin");
            None
        });
        let notify = layer.notify.iter().flatten().chain(&layer.notify_add);
        let sinks = self.sink_list(notify);
        Frame {
            broken: pulse.is_none() || (layer.intervention.is_some() && repair.is_none()),
            layer,
            policy,
            pulse,
            pulse_owner,
            repair,
            repair_owner,
            sinks,
        }
    }

    fn monitor(&mut self, raw: &RawMonitor, frame: Frame<'a>) -> Option<(MonitorSpec, Dependencies)> {
        let settings = frame
            .pulse
            .as_ref()
            .and_then(|post| self.settings(&frame.pulse_owner, &frame.layer.pulse, post));
        let repair = self.repair(&frame, frame.layer.intervention.as_ref().map(|layer| &layer.lane));
        let labels = frame
            .layer
            .labels
            .iter()
            .map(|(name, value)| (Arc::clone(name), Arc::clone(&value.value)))
            .collect();
        let depends_on = frame.layer.depends_on.iter().flat_map(|list| list.iter());
        let depends_on = depends_on
            .map(|entry| {
                let wanted = match &entry.on {
                    On::Name(name) => Wanted::Name(Arc::clone(name)),
                    On::Labels(labels) => Wanted::Labels(
                        labels
                            .iter()
                            .map(|(name, value)| (Arc::clone(name), Arc::clone(&value.value)))
                            .collect(),
                    ),
                };
                (entry.at, wanted)
            })
            .collect();
        let class = self.class_of(&frame, labels, settings?, repair)?;
        let spec = MonitorSpec::new(class, None, &raw.name.value, None);
        Some((spec, depends_on))
    }

    /// The repair, if there is one, with the settings of that layer.
    fn repair(&mut self, frame: &Frame<'a>, layer: Option<&LaneLayer>) -> Option<Arc<InterventionSpec>> {
        let post = frame.repair.as_ref()?;
        let settings = self.settings(&frame.repair_owner, layer?, post)?;
        self.repair_with(frame, settings)
    }

    fn repair_with(&mut self, frame: &Frame<'a>, settings: Arc<str>) -> Option<Arc<InterventionSpec>> {
        let post = frame.repair.as_ref()?;
        let lane = Lane {
            profile: Arc::clone(&post.profile),
            settings,
            timeout: post.timeout,
        };
        let pulse_timeout = frame.pulse.as_ref().map_or(PULSE_TIMEOUT, |post| post.timeout);
        let layer = frame.layer.intervention.as_ref()?;
        Some(self.intervention(layer, &frame.policy, pulse_timeout, lane))
    }

    fn class_of(
        &mut self,
        frame: &Frame<'a>,
        labels: Vec<Label>,
        settings: Arc<str>,
        repair: Option<Arc<InterventionSpec>>,
    ) -> Option<Arc<Class>> {
        let post = frame.pulse.as_ref()?;
        let labels = self.labels(labels);
        let class = Class {
            tenant: Arc::clone(&self.tenant),
            labels,
            policy: frame.policy.clone(),
            pulse: Some(Check {
                profile: Arc::clone(&post.profile),
                timeout: post.timeout,
                settings,
            }),
            intervention: repair,
            sinks: Arc::clone(&frame.sinks),
            parents: Arc::clone(&self.no_parents),
        };
        Some(self.class(class))
    }

    /// How that table makes monitors of rows. None where something is wrong with it.
    fn recipe(&mut self, raw: &'a RawMonitor, frame: Frame<'a>) -> Option<(Recipe<'a>, Shared<'a>)> {
        let mut draft = Draft::new();
        let reader = &self.reader;
        let stand = |at| Stand {
            at,
            veiled: reader.filled_in(at).is_some(),
        };
        let name = draft.template(&raw.name.value, stand(raw.name.at));
        if name.constant().is_some() && !raw.name.value.is_empty() && draft.wrong.is_empty() {
            draft.wrong.push(
                Problem::new(
                    "duplicate-name",
                    raw.name.at,
                    "every row's monitor would have this name",
                )
                .help("let the row say what tells it from others: name = \"shop-{{id}}\""),
            );
        }
        let key = raw.key.as_ref().map(|key| draft.key(&key.value, key.at));
        let labels: Vec<(Arc<str>, Word)> = frame
            .layer
            .labels
            .iter()
            .map(|(name, value)| {
                (
                    Arc::clone(name),
                    draft.word(&value.value, stand(value.at), "a label"),
                )
            })
            .collect();
        let entries = frame.layer.depends_on.iter().flat_map(|list| list.iter());
        let depends_on = entries
            .map(|entry| {
                let wanted = match &entry.on {
                    On::Name(name) => WantedWords::Name(draft.word(name, stand(entry.at), "a name")),
                    On::Labels(labels) => WantedWords::Labels(
                        labels
                            .iter()
                            .map(|(name, value)| {
                                (
                                    Arc::clone(name),
                                    draft.word(&value.value, stand(value.at), "a label"),
                                )
                            })
                            .collect(),
                    ),
                };
                (entry.at, wanted)
            })
            .collect();
        let layer = &frame.layer.pulse;
        let (pulse_body, settings) = self.body(&mut draft, &frame.pulse_owner, layer, frame.pulse.as_ref());
        let repair_layer = frame.layer.intervention.as_ref().map(|layer| layer.lane.clone());
        let (repair_body, repair) = match (&frame.repair, &repair_layer) {
            (Some(post), Some(layer)) => {
                let (body, settings) = self.body(&mut draft, &frame.repair_owner, layer, Some(post));
                let repair = settings.and_then(|settings| self.repair_with(&frame, settings));
                (body, repair)
            }
            _ => (None, None),
        };
        let whole = !frame.broken
            && draft.wrong.is_empty()
            && !raw.name.value.is_empty()
            && (pulse_body.is_some() || settings.is_some())
            && (frame.repair.is_none() || repair_body.is_some() || repair.is_some());
        for problem in std::mem::take(&mut draft.wrong) {
            self.reader.report(problem);
        }
        if !whole {
            return None;
        }
        let own_repair = repair_body.is_some();
        let realm = raw.name.value.as_ref();
        let recipe = draft.finish(name, raw.name.at, key, realm, pulse_body, repair_body);
        let shared = Shared {
            frame,
            labels,
            depends_on,
            settings: settings.unwrap_or_else(|| "{}".into()),
            repair,
            own_repair,
        };
        Some((recipe, shared))
    }

    /// Settings that rows fill in, or those that are the same for all. Neither where something is wrong.
    fn body(
        &mut self,
        draft: &mut Draft,
        owner: &Owner<'a>,
        layer: &LaneLayer,
        post: Option<&Post<'a>>,
    ) -> (Option<Body<'a>>, Option<Arc<str>>) {
        let Some(post) = post.filter(|_| !layer.spoiled) else {
            return (None, None);
        };
        let empty = Table::default();
        let table = layer.settings.as_ref().map_or(&empty, |spot| &spot.value);
        if !table.is_sound() {
            return (None, None);
        }
        let Some(schema) = self.schema(owner, post.plugin, post.facts) else {
            return (None, None);
        };
        let body = Body::new(
            draft,
            owner.clone(),
            post.plugin,
            schema,
            table,
            &self.tenant.secrets,
        );
        if body.is_some() || !draft.wrong.is_empty() {
            return (body, None);
        }
        let constant = LaneLayer {
            settings: layer.settings.as_ref().map(|spot| Spot {
                at: spot.at,
                value: Body::constant(draft, table),
            }),
            ..layer.clone()
        };
        (None, self.settings(owner, &constant, post))
    }

    /// The class of the rows that have these parts, and whom they depend on.
    pub(super) fn class_of_parts(
        &mut self,
        shared: &Shared<'a>,
        parts: &[u8],
    ) -> Option<(Arc<Class>, Dependencies)> {
        let mut parts = split_parts(parts);
        let repair = if shared.own_repair {
            self.repair_with(&shared.frame, parts.pop()?.into())
        } else {
            shared.repair.clone()
        };
        let word = |word: &Word| match word {
            Word::Constant(text) => Some(Arc::clone(text)),
            Word::Part(number) => parts.get(*number).map(|text| Arc::from(*text)),
        };
        let words = |labels: &[(Arc<str>, Word)]| {
            labels
                .iter()
                .map(|(name, value)| Some((Arc::clone(name), word(value)?)))
                .collect::<Option<Vec<Label>>>()
        };
        let labels = words(&shared.labels)?;
        let depends_on = shared
            .depends_on
            .iter()
            .map(|(at, wanted)| {
                let wanted = match wanted {
                    WantedWords::Name(name) => Wanted::Name(word(name)?),
                    WantedWords::Labels(labels) => Wanted::Labels(words(labels)?),
                };
                Some((*at, wanted))
            })
            .collect::<Option<Vec<_>>>()?;
        let class = self.class_of(&shared.frame, labels, Arc::clone(&shared.settings), repair)?;
        Some((class, depends_on))
    }
}
