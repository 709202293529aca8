//! When the demo's service is down: pure, told the time by its caller.

use std::time::Duration;

/// The service's state. Times count from any one moment.
#[derive(Debug)]
pub struct Outage {
    first_after: Duration,
    next_after: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nobody has asked yet: a slow start of whoever watches must not eat up the healthy time.
    Untouched,
    /// Well until then.
    Up { until: Duration },
    /// Down until it is healed.
    Down,
}

/// What a visitor finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// All is well.
    Up,
    /// It has just gone down.
    WentDown,
    /// It is down.
    Down,
}

impl Outage {
    /// Goes down `first_after` the first visit, and again `next_after` each healing.
    pub fn new(first_after: Duration, next_after: Duration) -> Self {
        Self {
            first_after,
            next_after,
            state: State::Untouched,
        }
    }

    /// Somebody asks the service.
    pub fn visit(&mut self, now: Duration) -> Found {
        match self.state {
            State::Untouched => {
                self.state = State::Up {
                    until: now.saturating_add(self.first_after),
                };
                Found::Up
            }
            State::Up { until } if now < until => Found::Up,
            State::Up { .. } => {
                self.state = State::Down;
                Found::WentDown
            }
            State::Down => Found::Down,
        }
    }

    /// Somebody restarts the service. True if it was down.
    pub fn heal(&mut self, now: Duration) -> bool {
        let was_down = matches!(self.state, State::Down);
        if was_down {
            self.state = State::Up {
                until: now.saturating_add(self.next_after),
            };
        }
        was_down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_down_after_the_first_visit_and_stays_so_until_it_is_healed() {
        let at = Duration::from_secs;
        let mut outage = Outage::new(at(8), at(40));
        assert!(!outage.heal(at(0)), "there is nothing to heal");
        assert_eq!(
            outage.visit(at(100)),
            Found::Up,
            "the time counts from the first visit"
        );
        assert_eq!(outage.visit(at(107)), Found::Up);
        assert_eq!(outage.visit(at(108)), Found::WentDown);
        assert_eq!(outage.visit(at(10_000)), Found::Down);
        assert!(outage.heal(at(10_000)));
        assert!(!outage.heal(at(10_030)), "a second restart changes nothing");
        assert_eq!(outage.visit(at(10_039)), Found::Up);
        assert_eq!(outage.visit(at(10_040)), Found::WentDown);
    }
}
