//! Instances that wait to be used again, where a plugin's operator allowed that.
//!
//! Architecture invariant: an instance is only ever used again for the same tenant, the same component and the same
//! grants. It is taken out before the call and put back only when the call came to a good end, so that one which
//! trapped, timed out or was dropped half-way is gone.

use super::store::State;
use crate::{domain::spec::Profile, plugins::Digest};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use wasmtime::{Store, component::Instance};

/// Instances that may wait on one worker; each holds a slot. Beyond that the one that waited longest goes.
pub const IDLE_MAX: usize = 64;

/// A live instance.
pub struct Live {
    /// For whom it may be used again.
    pub key: Key,
    /// Its store.
    pub store: Store<State>,
    /// The instance.
    pub instance: Instance,
    /// Jobs that it has done.
    pub jobs: u32,
}

/// For whom an instance may be used again. A reload makes new profiles, and so new keys.
pub struct Key {
    profile: Arc<Profile>,
    tenant: Arc<str>,
    digest: Digest,
}

impl Key {
    /// The key of a job.
    #[must_use]
    pub fn new(tenant: &Arc<str>, digest: &Digest, profile: &Arc<Profile>) -> Self {
        Self {
            profile: Arc::clone(profile),
            tenant: Arc::clone(tenant),
            digest: digest.clone(),
        }
    }
}

impl Key {
    /// Whether it is the key of such a job: the very same profile, not one that says the same, since a reload ends
    /// what was granted before it.
    fn fits(&self, tenant: &Arc<str>, digest: &Digest, profile: &Arc<Profile>) -> bool {
        Arc::ptr_eq(&self.profile, profile) && self.tenant == *tenant && self.digest == *digest
    }
}

/// The waiting instances of one worker, those that wait longest first. They are few, so that a search among them costs
/// less than an index of them.
#[derive(Default)]
pub struct Pool(Mutex<VecDeque<Live>>);

impl Pool {
    /// Takes an instance out, the one that was used last: its memory is warm.
    pub fn take(&self, tenant: &Arc<str>, digest: &Digest, profile: &Arc<Profile>) -> Option<Live> {
        let mut idle = self.idle();
        let index = idle
            .iter()
            .rposition(|live| live.key.fits(tenant, digest, profile))?;
        idle.remove(index)
    }

    /// Puts an instance in.
    pub fn put(&self, live: Live) {
        let mut idle = self.idle();
        idle.push_back(live);
        let over = if idle.len() > IDLE_MAX {
            idle.pop_front()
        } else {
            None
        };
        // A store takes a while to drop.
        drop(idle);
        drop(over);
    }

    /// Drops the instance that waited longest, so that a job gets its slot. False if none waits.
    pub fn give_way(&self) -> bool {
        let oldest = self.idle().pop_front();
        oldest.is_some()
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limits::Limits;

    #[test]
    fn a_key_is_tenant_component_and_the_very_profile() {
        let [one, same] = [(); 2].map(|()| {
            Arc::new(Profile {
                plugin: "a".into(),
                digest: "".into(),
                limits: Limits::default(),
                grants: Arc::default(),
                reuse: 9,
            })
        });
        let key = Key::new(&"acme".into(), &Digest::of(b"a"), &one);
        let fits =
            |tenant: &str, bytes: &[u8], profile| key.fits(&tenant.into(), &Digest::of(bytes), profile);
        assert!(fits("acme", b"a", &one));
        assert!(!fits("globex", b"a", &one));
        assert!(!fits("acme", b"b", &one));
        assert!(!fits("acme", b"a", &same));
    }
}
