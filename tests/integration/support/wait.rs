//! Waiting for something to become true, for a long but bounded time.

use std::{
    sync::{Condvar, Mutex},
    time::Duration,
};

/// How often is looked.
const EVERY: Duration = Duration::from_millis(10);
/// How often at most. Two minutes and more: a busy machine is no failure.
const LOOKS: u32 = 12_000;

/// Looks until there is something, and returns it. `state` tells a person what there was instead.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>, state: impl FnOnce() -> String) -> T {
    for _ in 0..LOOKS {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(EVERY);
    }
    panic!("waited in vain for {what}\n{}", state());
}

/// Holds whoever waits at it until it is opened.
#[derive(Debug, Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    pub fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }
}
