//! Instances that wait to be used again, where a plugin's operator allowed that.
//!
//! Architecture invariant: an instance is only ever used again for the same tenant, the same component and the same
//! grants. It is taken out before the call and put back only when the call came to a good end, so that one which
//! trapped, timed out or was dropped half-way is gone.

use super::store::State;
use crate::{domain::spec::Profile, plugins::Digest};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};
use wasmtime::{Store, component::Instance};

/// Instances that may wait on one worker; each holds a slot. Beyond that the one that waited longest goes.
pub const IDLE_MAX: usize = 64;

/// A live instance.
pub struct Live {
    /// Its store.
    pub store: Store<State>,
    /// The instance.
    pub instance: Instance,
    /// Jobs that it has done.
    pub jobs: u32,
}

/// For whom an instance may be used again. A reload makes new profiles, and so new keys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    tenant: Arc<str>,
    digest: Digest,
    /// Address of the profile, which the entry keeps alive.
    profile: usize,
}

impl Key {
    /// The key of a job.
    #[must_use]
    pub fn new(tenant: &Arc<str>, digest: &Digest, profile: &Arc<Profile>) -> Self {
        Self {
            tenant: Arc::clone(tenant),
            digest: digest.clone(),
            profile: Arc::as_ptr(profile) as usize,
        }
    }
}

/// The waiting instances of one worker.
#[derive(Default)]
pub struct Pool(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    by_key: HashMap<Key, Vec<(u64, Live, Arc<Profile>)>>,
    /// Keys in the order in which their instances were put in; outdated entries are skipped.
    order: VecDeque<(u64, Key)>,
    stamp: u64,
    count: usize,
}

impl Pool {
    /// Takes an instance out.
    pub fn take(&self, key: &Key) -> Option<Live> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.by_key.get_mut(key)?;
        let taken = waiting.pop();
        if waiting.is_empty() {
            idle.by_key.remove(key);
        }
        let (_, live, _) = taken?;
        idle.count = idle.count.saturating_sub(1);
        Some(live)
    }

    /// Puts an instance in.
    pub fn put(&self, key: Key, live: Live, profile: &Arc<Profile>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.stamp += 1;
        let stamp = idle.stamp;
        idle.order.push_back((stamp, key.clone()));
        idle.by_key
            .entry(key)
            .or_default()
            .push((stamp, live, Arc::clone(profile)));
        idle.count += 1;
        while idle.count > IDLE_MAX || idle.order.len() > IDLE_MAX * 4 {
            if !idle.drop_oldest() {
                break;
            }
        }
    }
}

impl Idle {
    /// Forgets the oldest entry of the order, and its instance if that is over the bound.
    fn drop_oldest(&mut self) -> bool {
        let Some((stamp, key)) = self.order.pop_front() else {
            return false;
        };
        let over = self.count > IDLE_MAX;
        if let Some(waiting) = self.by_key.get_mut(&key)
            && let Some(index) = waiting.iter().position(|(at, ..)| *at == stamp)
        {
            if over {
                waiting.remove(index);
                self.count = self.count.saturating_sub(1);
                if waiting.is_empty() {
                    self.by_key.remove(&key);
                }
            } else {
                // It still waits: back to the end of the order.
                self.order.push_back((stamp, key));
            }
        }
        true
    }
}
