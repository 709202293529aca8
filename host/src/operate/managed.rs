//! Monitors that were given over the API: their documents, and which of them are not in effect, for whoever asks.

use crate::domain::managed::{Aside, Documents};
use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

/// All documents at one time.
#[derive(Debug, Default)]
pub struct Page {
    /// All of them.
    pub documents: Documents,
    /// Why some are not in effect, by tenant and name.
    pub aside: BTreeMap<(Arc<str>, Arc<str>), Arc<str>>,
}

impl Page {
    /// Of these.
    #[must_use]
    pub fn new(documents: Documents, aside: &[Aside]) -> Self {
        let aside = aside.iter();
        Self {
            documents,
            aside: aside
                .map(|one| {
                    let key = (Arc::clone(&one.tenant), Arc::clone(&one.name));
                    (key, Arc::clone(&one.why))
                })
                .collect(),
        }
    }

    /// Why that one is not in effect.
    #[must_use]
    pub fn why_aside(&self, tenant: &str, name: &str) -> Option<&Arc<str>> {
        self.aside.get(&(tenant.into(), name.into()))
    }
}

/// A handle on the present documents. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Book(Arc<RwLock<Arc<Page>>>);

impl Book {
    /// The present ones.
    #[must_use]
    pub fn present(&self) -> Arc<Page> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on it is these.
    pub fn replace(&self, page: Page) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(page);
    }
}
