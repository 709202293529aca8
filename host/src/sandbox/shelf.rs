//! The library in use, which another may take the place of while jobs run.
//!
//! A job names its plugin by name and digest. What it was made for is found as long as it can still come: a plugin that
//! another build took the place of stays on the shelf, retired, until somebody says that nothing of it is out any more.
//!
//! Architecture invariant: a job runs in the very component that its monitor's configuration was checked against.

use super::plugin::{Library, Plugin};
use std::sync::{
    Arc, Mutex, PoisonError, RwLock,
    atomic::{AtomicU64, Ordering},
};

/// A generation of plugins, and what it took the place of.
#[derive(Default)]
struct Stock {
    library: Arc<Library>,
    /// With the number of the change that retired it.
    retired: Vec<(u64, Arc<Plugin>)>,
}

/// The shelf that all workers take plugins from.
#[derive(Default)]
pub struct Shelf {
    stock: RwLock<Arc<Stock>>,
    /// Changes so far: who holds a stock looks here whether it is still the present one.
    changes: AtomicU64,
}

impl Shelf {
    /// With these plugins.
    #[must_use]
    pub fn new(library: Arc<Library>) -> Arc<Self> {
        Arc::new(Self {
            stock: RwLock::new(Arc::new(Stock {
                library,
                retired: Vec::new(),
            })),
            changes: AtomicU64::new(0),
        })
    }

    fn stock(&self) -> Arc<Stock> {
        Arc::clone(&self.stock.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The present plugins.
    #[must_use]
    pub fn library(&self) -> Arc<Library> {
        Arc::clone(&self.stock().library)
    }

    /// Another generation takes the place of the present one. Returns the number of this change, for
    /// [`Shelf::forget`].
    pub fn replace(&self, library: Arc<Library>) -> u64 {
        let mut place = self.stock.write().unwrap_or_else(PoisonError::into_inner);
        let number = self.changes.load(Ordering::Acquire) + 1;
        let old = place.library.shared().filter(|plugin| {
            let name = &plugin.facts.name;
            library.get(name, &plugin.facts.digest).is_none()
        });
        let retired = old.map(|plugin| (number, Arc::clone(plugin)));
        let retired = place.retired.iter().cloned().chain(retired).collect();
        *place = Arc::new(Stock { library, retired });
        self.changes.store(number, Ordering::Release);
        number
    }

    /// Nothing is out any more of what that change, or one before it, retired.
    pub fn forget(&self, number: u64) {
        let mut place = self.stock.write().unwrap_or_else(PoisonError::into_inner);
        let retired = place.retired.iter().filter(|(at, _)| *at > number).cloned();
        *place = Arc::new(Stock {
            retired: retired.collect(),
            library: Arc::clone(&place.library),
        });
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

/// One worker's hand on the shelf: it looks for another stock only when there is one.
pub(super) struct Reader {
    shelf: Arc<Shelf>,
    held: Mutex<(u64, Arc<Stock>)>,
}

impl Reader {
    pub fn new(shelf: Arc<Shelf>) -> Self {
        let held = Mutex::new((shelf.changes.load(Ordering::Acquire), shelf.stock()));
        Self { shelf, held }
    }

    /// The plugin of that name and digest.
    pub fn get(&self, name: &str, digest: &str) -> Option<Arc<Plugin>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = self.shelf.changes.load(Ordering::Acquire);
        if held.0 != changes {
            *held = (changes, self.shelf.stock());
        }
        let stock = &held.1;
        stock.library.get(name, digest).cloned().or_else(|| {
            let mut retired = stock.retired.iter().map(|(_, plugin)| plugin);
            retired
                .find(|plugin| *plugin.facts.name == *name && *plugin.facts.digest == *digest)
                .cloned()
        })
    }
}
