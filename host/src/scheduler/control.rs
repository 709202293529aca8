//! What is asked of a scheduler that runs: another configuration, how a monitor is, and what operators say of monitors.
//!
//! Architecture invariant: what one run does for whoever asks is bounded, so that checks go on in between.

use super::{
    Scheduler,
    chosen::Chosen,
    components::{Monitor, Phase},
    follow::{first_slot, follow, wait_for_pulse},
    reload::Reloaded,
    resources::{Desk, Tenants, Time},
    view::{Detail, PluginUses},
};
use crate::{
    domain::{
        board::{Mark, Seat},
        event::Fact,
        health::Effects,
        job::MonitorId,
        series::Counts,
        spec::MonitorSpec,
        time::Mono,
    },
    queue::Bell,
};
use bevy_ecs::{
    change_detection::DetectChangesMut as _,
    entity::Entity,
    system::{Query, SystemState},
};
use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

/// Requests that may wait.
pub(super) const REQUESTS_MAX: usize = 256;
/// Monitors that one request marks or has checked; [`Control`] sends more in several.
const SLICE: usize = 512;
/// Monitors that one run marks, has checked or shows.
const PER_RUN: usize = 1024;
/// So many monitors that are to be looked at again are not looked at in the same moment.
const CROWD: usize = 16;
/// They are spread over their retry interval, and no less than that.
const SPREAD_MIN: Duration = Duration::from_secs(1);

/// Another configuration that took the place of the one before.
#[derive(Debug)]
pub struct Applied {
    /// What that changed.
    pub reloaded: Reloaded,
    /// Where each monitor stands on the board, in the order of the list.
    pub seats: Vec<Seat>,
}

/// What became of the wish to have a monitor checked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checking {
    /// It is due now.
    Due,
    /// It is under way, or due already.
    UnderWay,
    /// It is paused.
    Paused,
    /// There is no such monitor any more.
    Gone,
}

/// Why nothing was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// Too much is asked at once; later there is room.
    Busy,
    /// The scheduler has stopped.
    Stopped,
}

/// One wish.
pub(super) enum Request {
    /// Another configuration.
    Reload {
        monitors: Vec<MonitorSpec>,
        host_entry: Option<MonitorSpec>,
        done: async_channel::Sender<Applied>,
    },
    /// One monitor in detail.
    View {
        monitor: MonitorId,
        answer: async_channel::Sender<Option<Box<Detail>>>,
    },
    /// How plugins fare.
    Plugins {
        answer: async_channel::Sender<Box<PluginUses>>,
    },
    /// Something is said of monitors; how many that changed is the answer.
    Mark {
        monitors: Vec<MonitorId>,
        mark: Mark,
        on: bool,
        why: Arc<str>,
        answer: async_channel::Sender<usize>,
    },
    /// One monitor is to be checked now.
    Check {
        monitor: MonitorId,
        answer: async_channel::Sender<Checking>,
    },
    /// Of these figures are to be kept one by one, and of no others.
    Choose { monitors: Vec<(MonitorId, Arc<Counts>)> },
    /// A tenant has used CPU time beside what was scheduled.
    Spent { tenant: Arc<str>, cpu: Duration },
}

impl Request {
    /// How many monitors it is about.
    fn weight(&self) -> usize {
        match self {
            // Whatever it takes, it takes at once.
            Self::Reload { .. } | Self::Plugins { .. } => PER_RUN,
            Self::Mark { monitors, .. } => monitors.len(),
            Self::Choose { monitors } => monitors.len().max(1),
            Self::View { .. } | Self::Check { .. } | Self::Spent { .. } => 1,
        }
    }
}

/// A hand on a scheduler that runs on its own thread.
#[derive(Clone)]
pub struct Control {
    requests: mpsc::SyncSender<Request>,
    bell: Arc<Bell>,
}

impl Control {
    pub(super) fn new(requests: mpsc::SyncSender<Request>, bell: Arc<Bell>) -> Self {
        Self { requests, bell }
    }

    /// Puts these monitors and this entry for the host in the place of the present ones, between two runs, and tells
    /// what that did. Blocks until then. None: the scheduler has stopped.
    #[must_use]
    pub fn reload(&self, monitors: Vec<MonitorSpec>, host_entry: Option<MonitorSpec>) -> Option<Applied> {
        let (done, answer) = async_channel::bounded(1);
        let request = Request::Reload {
            monitors,
            host_entry,
            done,
        };
        self.requests.send(request).ok()?;
        self.bell.ring();
        answer.recv_blocking().ok()
    }

    /// One monitor as it stands. None: there is none of that id any more. What its next executions come to is kept for
    /// ten minutes, for whoever asks again.
    ///
    /// # Errors
    /// When the scheduler has no time to answer.
    pub async fn view(&self, monitor: MonitorId) -> Result<Option<Box<Detail>>, Unasked> {
        self.ask(|answer| Request::View { monitor, answer }).await
    }

    /// How plugins fare, each as each tenant uses it.
    ///
    /// # Errors
    /// When the scheduler has no time to answer.
    pub async fn plugins(&self) -> Result<Box<PluginUses>, Unasked> {
        self.ask(|answer| Request::Plugins { answer }).await
    }

    /// Has a monitor checked now.
    ///
    /// # Errors
    /// When the scheduler has no time to answer.
    pub async fn check(&self, monitor: MonitorId) -> Result<Checking, Unasked> {
        self.ask(|answer| Request::Check { monitor, answer }).await
    }

    /// Says something of monitors, or takes it back, and tells of how many it was new. However many they are, checks go on
    /// in between. `why` names the window of a maintenance.
    ///
    /// # Errors
    /// When the scheduler has no time to answer. Some may have been marked; to do it once more does no harm.
    pub async fn mark(
        &self,
        monitors: &[MonitorId],
        mark: Mark,
        on: bool,
        why: &Arc<str>,
    ) -> Result<usize, Unasked> {
        let mut changed = 0;
        for slice in monitors.chunks(SLICE) {
            let ask = |answer| Request::Mark {
                monitors: slice.to_vec(),
                mark,
                on,
                why: Arc::clone(why),
                answer,
            };
            changed += self.ask(ask).await?;
        }
        Ok(changed)
    }

    /// From now on figures of these are kept one by one, and of no others. Blocks while too much is asked. False: the
    /// scheduler has stopped.
    #[must_use]
    pub fn choose(&self, monitors: Vec<(MonitorId, Arc<Counts>)>) -> bool {
        let sent = self.requests.send(Request::Choose { monitors }).is_ok();
        self.bell.ring();
        sent
    }

    /// A tenant has used CPU time beside what was scheduled, which is taken from its quota, if it has one. Where too much
    /// is asked of the scheduler, it is not.
    pub fn spent(&self, tenant: &Arc<str>, cpu: Duration) {
        let tenant = Arc::clone(tenant);
        let _ = self.requests.try_send(Request::Spent { tenant, cpu });
    }

    async fn ask<T>(&self, request: impl FnOnce(async_channel::Sender<T>) -> Request) -> Result<T, Unasked> {
        let (answer, answered) = async_channel::bounded(1);
        self.requests
            .try_send(request(answer))
            .map_err(|refused| match refused {
                mpsc::TrySendError::Full(_) => Unasked::Busy,
                mpsc::TrySendError::Disconnected(_) => Unasked::Stopped,
            })?;
        self.bell.ring();
        answered.recv().await.map_err(|_| Unasked::Stopped)
    }
}

impl Scheduler {
    /// Does what is asked, as far as one run may. True: there may be more.
    pub(super) fn attend(&mut self, asked: &mpsc::Receiver<Request>) -> bool {
        let mut left = PER_RUN;
        while left > 0 {
            let Ok(request) = asked.try_recv() else {
                return false;
            };
            left = left.saturating_sub(request.weight());
            // Who asked may have gone, which is nobody's loss.
            match request {
                Request::Reload {
                    monitors,
                    host_entry,
                    done,
                } => {
                    let reloaded = self.reload(monitors, host_entry);
                    let seats = self.take_seats();
                    let _ = done.try_send(Applied { reloaded, seats });
                }
                Request::View { monitor, answer } => {
                    let _ = answer.try_send(self.detail(monitor).map(Box::new));
                }
                Request::Plugins { answer } => {
                    let _ = answer.try_send(Box::new(self.plugins()));
                }
                Request::Mark {
                    monitors,
                    mark,
                    on,
                    why,
                    answer,
                } => {
                    let _ = answer.try_send(self.mark(&monitors, mark, on, &why));
                }
                Request::Check { monitor, answer } => {
                    let _ = answer.try_send(self.check(monitor));
                }
                Request::Choose { monitors } => self.world.resource_mut::<Chosen>().replace(monitors),
                Request::Spent { tenant, cpu } => {
                    let now = self.look_at_clock();
                    self.world.resource_mut::<Tenants>().0.spend(&tenant, cpu, now);
                }
            }
        }
        true
    }

    /// Both clocks at this moment: what is done between two runs happens now.
    pub(super) fn look_at_clock(&mut self) -> Mono {
        let mut time = self.world.resource_mut::<Time>();
        (time.now.mono, time.now.wall) = (time.clock.mono(), time.clock.wall());
        time.now.mono
    }

    /// Says something of monitors, or takes it back, between two runs. How many it was new of. `why` names the window of a
    /// maintenance.
    pub fn mark(&mut self, monitors: &[MonitorId], mark: Mark, on: bool, why: &str) -> usize {
        self.look_at_clock();
        let world = &mut self.world;
        let mut state: SystemState<(Desk<'_>, Query<'_, '_, &mut Monitor>)> = SystemState::new(world);
        let Ok((mut desk, mut query)) = state.get_mut(world) else {
            return 0;
        };
        let mut effects = Effects::default();
        let (mut changed, crowd) = (0, monitors.len() > CROWD);
        for id in monitors {
            if let Some(entity) = Entity::try_from_bits(id.0)
                && let Ok(mut monitor) = query.get_mut(entity)
                && monitor.spec.pulse.is_some()
            {
                let monitor = monitor.bypass_change_detection();
                let said = Said { mark, on, why, crowd };
                changed += usize::from(mark_one(&mut desk, entity, monitor, said, &mut effects));
            }
        }
        changed
    }

    /// Has a monitor checked in the next run.
    pub fn check(&mut self, id: MonitorId) -> Checking {
        let now = self.look_at_clock();
        let world = &mut self.world;
        let mut state: SystemState<(Desk<'_>, Query<'_, '_, &mut Monitor>)> = SystemState::new(world);
        let Ok((mut desk, mut query)) = state.get_mut(world) else {
            return Checking::Gone;
        };
        let found =
            Entity::try_from_bits(id.0).and_then(|entity| Some((entity, query.get_mut(entity).ok()?)));
        let Some((entity, mut monitor)) = found.filter(|(_, monitor)| monitor.spec.pulse.is_some()) else {
            return Checking::Gone;
        };
        let monitor = monitor.bypass_change_detection();
        match monitor.pulse.phase() {
            Phase::Paused => Checking::Paused,
            Phase::Needed | Phase::Pending => Checking::UnderWay,
            Phase::Waiting => {
                let looked = desk.runs.look(entity, now);
                monitor.pulse.set_looked_at(looked);
                wait_for_pulse(&mut desk, entity, &mut monitor.pulse, now);
                Checking::Due
            }
        }
    }
}

/// What is said of a monitor.
#[derive(Clone, Copy)]
struct Said<'a> {
    mark: Mark,
    on: bool,
    why: &'a str,
    /// And of many others with it.
    crowd: bool,
}

fn mark_one(
    desk: &mut Desk<'_>,
    entity: Entity,
    monitor: &mut Monitor,
    said: Said<'_>,
    effects: &mut Effects,
) -> bool {
    let Said { mark, on, why, crowd } = said;
    let Monitor { spec, health, .. } = monitor;
    let now = desk.now();
    // Each time that a window begins or ends is told on its own, also by one that recurs under the same name.
    let edge = (mark == Mark::Maintenance).then(|| format!("{why}@{}", now.wall.0 / 1000));
    if !health.set_mark(spec, mark, on, edge.as_deref().unwrap_or(why), effects) {
        return false;
    }
    let now = now.mono;
    if mark == Mark::Paused {
        desk.family.paused(entity, on);
        if on {
            if monitor.pulse.phase() == Phase::Pending {
                desk.land(monitor.pulse, None);
                monitor.pulse.abandon();
            }
            monitor.pulse.pause();
        } else {
            // It waits again, for the check that follows at once. The slots of its pause were not missed.
            monitor.slot = first_slot(&monitor.spec, now);
            let slot = monitor.slot;
            wait_for_pulse(desk, entity, &mut monitor.pulse, slot);
        }
    }
    if crowd && std::mem::take(&mut effects.recheck) && monitor.pulse.phase() == Phase::Waiting {
        // A hash of who it is spreads those that come back together.
        let spread = monitor.spec.policy.retry_interval.max(SPREAD_MIN);
        let hash = (entity.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54) as u32;
        let at = now.after(spread * hash / 1024).min(monitor.pulse.at());
        wait_for_pulse(desk, entity, &mut monitor.pulse, at);
    }
    desk.show(entity, monitor.health.told(), monitor.health.marks());
    if !crowd {
        let fact = Fact::Marked {
            mark,
            on,
            why: why.into(),
        };
        desk.note(entity, &monitor.spec, fact);
    }
    follow(desk, entity, monitor, effects, "an operator said so");
    true
}
