//! A reload: what says the same goes on as if nothing had happened, what says something else keeps its state and loses
//! what was running, and what is gone leaves no code behind without a word.

use super::{Oracle, ledger::Verdict, model::Model, rules::Rule};
use pulse_host::{
    domain::{
        spec::{Kind, MonitorSpec},
        time::{Mono, Wall},
    },
    scheduler::{Scheduler, components::Phase, reload::Reloaded},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

impl Oracle {
    /// These monitors took the place of the present ones, between two runs.
    pub fn reloaded(
        &mut self,
        scheduler: &Scheduler,
        monitors: &[MonitorSpec],
        told: Reloaded,
        (now, wall): (Mono, Wall),
    ) -> Verdict {
        self.ledger.see("reload");
        self.reloaded_at = Some(wall);
        let mut seen = Reloaded::default();
        let mut wanted: HashMap<&str, &MonitorSpec> =
            monitors.iter().map(|spec| (spec.name(), spec)).collect();
        let mut models = Vec::with_capacity(self.models.len());
        for mut model in std::mem::take(&mut self.models) {
            if model.is_host() {
                models.push(model);
                continue;
            }
            match wanted.remove(&*model.name) {
                None => {
                    seen.removed += 1;
                    self.ledger.see("monitor removed");
                    self.removed(scheduler, &model)?;
                    continue;
                }
                Some(spec) if model.says(spec) => {
                    seen.kept += 1;
                    self.kept(scheduler, &model)?;
                }
                Some(spec) => {
                    seen.changed += 1;
                    self.ledger.see("monitor changed");
                    self.changed(scheduler, &mut model, spec, now)?;
                }
            }
            models.push(model);
        }
        let known: HashSet<_> = models.iter().map(|model| model.id).collect();
        let mut fresh: Vec<_> = scheduler.monitors().filter(|id| !known.contains(id)).collect();
        fresh.sort_unstable();
        for id in fresh {
            let Some(view) = scheduler.view(id) else { continue };
            let asked = wanted.remove(view.spec().name()).is_some();
            self.ledger
                .check(Rule::ReloadKeeps, view.spec().name(), asked, || {
                    "nobody asked for it, or it was made anew".to_owned()
                })?;
            seen.added += 1;
            self.ledger.see("monitor added");
            models.push(Model::new(&mut self.ledger, id, &view, view.spec(), now)?);
        }
        self.ledger.check(
            Rule::ReloadKeeps,
            "host",
            wanted.is_empty() && seen == told,
            || {
                format!(
                    "{seen:?} was done, {told:?} is said, missing: {:?}",
                    wanted.keys()
                )
            },
        )?;
        self.models = models;
        self.wards.reloaded(&self.models);
        self.together.reloaded(&self.models);
        self.index = self
            .models
            .iter()
            .enumerate()
            .map(|(at, model)| (model.id, at))
            .collect();
        Ok(())
    }

    fn removed(&mut self, scheduler: &Scheduler, model: &Model) -> Verdict {
        self.ledger.check(
            Rule::ReloadKeeps,
            &model.name,
            scheduler.view(model.id).is_none(),
            || "it was removed, and is still there".to_owned(),
        )?;
        for track in model.lanes().filter(|track| track.phase == Phase::Pending) {
            self.figures.give_up(track.kind);
        }
        for sink in &model.boxes {
            for alert in sink.codes() {
                self.owed.push((model.id, Arc::clone(alert)));
                self.figures.undeliverable();
                (self.news.0, self.news.1) = (self.news.0 + 1, self.news.1 + 1);
            }
        }
        self.gone.insert(model.id);
        Ok(())
    }

    fn kept(&mut self, scheduler: &Scheduler, model: &Model) -> Verdict {
        let same = scheduler
            .view(model.id)
            .is_some_and(|view| model.is_as(&view, true));
        self.ledger.check(Rule::ReloadKeeps, &model.name, same, || {
            "it says the same as before, and is not as before".to_owned()
        })
    }

    fn changed(
        &mut self,
        scheduler: &Scheduler,
        model: &mut Model,
        spec: &MonitorSpec,
        now: Mono,
    ) -> Verdict {
        let view = scheduler.view(model.id);
        let same = view.as_ref().is_some_and(|view| model.is_as(view, false));
        self.ledger.check(Rule::ReloadKeeps, &model.name, same, || {
            "its check changed, and so did its state, its incident or its codes".to_owned()
        })?;
        let Some(view) = view else { return Ok(()) };
        let lane = view.pulse();
        if model.pulse.phase == Phase::Pending {
            self.ledger.see("reload gives up a pulse");
            self.figures.give_up(Kind::Pulse);
            self.ledger.check(
                Rule::ReloadRaisesAttempt,
                &model.name,
                lane.phase != Phase::Pending && lane.attempt != Some(model.pulse.attempt),
                || format!("its check changed while it ran, and its result would count: {lane:?}"),
            )?;
        }
        let most = now.after(model.policy.interval.max(model.policy.retry_interval));
        self.ledger.check(
            Rule::ChecksGoOn,
            &model.name,
            match lane.phase {
                Phase::Waiting => lane.at > now && lane.at <= most,
                Phase::Needed => model.pulse.phase == Phase::Needed && lane.at == model.pulse.at,
                Phase::Pending | Phase::Paused => false,
            },
            || format!("its check changed, the next is due by {most:?}, and it is {lane:?}"),
        )?;
        model.change(spec, lane);
        Ok(())
    }
}
