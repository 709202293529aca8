//! On which terms plugins run and tenants live at present, for whoever asks. Each reload brings others.

use crate::domain::{probe::Module, spec::Profile};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// What one generation of the configuration says.
#[derive(Debug, Default)]
pub struct Deal {
    /// What each plugin is granted, by its name; a tenant's own as `tenant/plugin`.
    pub profiles: BTreeMap<String, Arc<Profile>>,
    /// What the operator can have probed, by name.
    pub modules: BTreeMap<Arc<str>, Arc<Module>>,
    /// Each tenant but the operator, by name.
    pub tenants: BTreeMap<Arc<str>, OfTenant>,
}

/// What holds for one tenant.
#[derive(Clone, Debug, Default)]
pub struct OfTenant {
    /// The plugins that it may use, sorted.
    pub plugins: Vec<String>,
    /// What it can have probed, by name.
    pub modules: BTreeMap<Arc<str>, Arc<Module>>,
    /// Which of its configurations is in force: `present`, `last good` or `none`.
    pub standing: String,
}

/// The present terms: a handle, which sees what a reload changes.
#[derive(Clone, Debug, Default)]
pub struct Terms(Arc<RwLock<Arc<Deal>>>);

impl Terms {
    /// The present ones.
    #[must_use]
    pub fn present(&self) -> Arc<Deal> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these.
    pub fn replace(&self, deal: Deal) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(deal);
    }
}
