//! What is due and waits for room, in queues of its own for each user of a kind: a plugin of a tenant, or for codes a
//! notifier of a tenant.
//!
//! Within a queue the most overdue goes first. Among queues goes first who has least out at present, first among
//! tenants, then among the queues of one; between equals the most overdue. What is out is thereby shared as evenly as
//! anybody wants it (max-min fairness: D. Bertsekas and R. Gallager, "Data Networks", 1992, 6.5.2), so that neither a
//! plugin whose targets hang nor a tenant with a million monitors starves the others.
//!
//! Architecture invariant: what is put in comes out, once; who has anything waiting is not passed over for ever.

use crate::domain::time::Mono;
use bevy_ecs::entity::Entity;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};

/// A lane that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whose.
    pub entity: Entity,
    /// Since when it is due.
    pub since: Mono,
    /// Which sink; 0 for pulses and interventions.
    pub sink: u16,
}

#[derive(Debug, Default)]
struct Flow {
    waiting: VecDeque<Ticket>,
    tenant: usize,
    out: usize,
}

/// The queues of one kind.
#[derive(Debug, Default)]
pub struct Fair {
    flows: Vec<Flow>,
    /// What each tenant has out.
    tenants: Vec<usize>,
    tenant_numbers: HashMap<Arc<str>, usize>,
    flow_numbers: HashMap<(usize, Arc<str>), u16>,
    waiting: usize,
    /// Scratch space of [`Fair::turns`].
    order: BinaryHeap<Reverse<Turn>>,
}

/// What decides whose turn it is: the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    tenant_out: usize,
    flow_out: usize,
    since: Mono,
    flow: u16,
}

/// Users beyond that share the last queue.
pub(super) const FLOWS_MAX: usize = u16::MAX as usize;
/// So many tickets a queue may give out before others are looked at again.
const TURN: usize = 16;

impl Fair {
    /// The number of a user's queue.
    pub fn flow(&mut self, tenant: &Arc<str>, user: &Arc<str>) -> u16 {
        let fresh = self.tenants.len();
        let tenant = *self.tenant_numbers.entry(Arc::clone(tenant)).or_insert(fresh);
        if tenant == fresh {
            self.tenants.push(0);
        }
        if let Some(number) = self.flow_numbers.get(&(tenant, Arc::clone(user))) {
            return *number;
        }
        if self.flows.len() < FLOWS_MAX {
            self.flows.push(Flow {
                tenant,
                ..Flow::default()
            });
        }
        let number = u16::try_from(self.flows.len() - 1).unwrap_or(u16::MAX);
        self.flow_numbers.insert((tenant, Arc::clone(user)), number);
        number
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Everybody who waits, in no particular order.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = &Ticket> {
        self.flows.iter().flat_map(|flow| &flow.waiting)
    }

    /// Falls due.
    pub fn push(&mut self, flow: u16, ticket: Ticket) {
        if let Some(flow) = self.flows.get_mut(usize::from(flow)) {
            flow.waiting.push_back(ticket);
            self.waiting += 1;
        }
    }

    /// What was taken was not sent after all, and waits on.
    pub fn put_back(&mut self, number: u16, ticket: Ticket) {
        if let Some(flow) = self.flows.get_mut(usize::from(number)) {
            flow.waiting.push_front(ticket);
            self.waiting += 1;
        }
        self.back(number);
    }

    /// What was taken is out no more: it came back, is given up, or was not worth sending.
    pub fn back(&mut self, flow: u16) {
        if let Some(flow) = self.flows.get_mut(usize::from(flow)) {
            flow.out = flow.out.saturating_sub(1);
            if let Some(out) = self.tenants.get_mut(flow.tenant) {
                *out = out.saturating_sub(1);
            }
        }
    }

    /// Takes up to `room` tickets in the order in which they are to be sent, into `taken` with their queues' numbers.
    /// They count as out from now on. Of several queues none has more than `most` out.
    pub fn take(&mut self, room: usize, most: usize, taken: &mut Vec<(u16, Ticket)>) {
        let most = if self.flows.len() > 1 { most } else { usize::MAX };
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        let numbers = 0..u16::try_from(self.flows.len()).unwrap_or(u16::MAX);
        order.extend(numbers.filter_map(|number| self.turn(number)).map(Reverse));
        let mut left = room;
        while left > 0
            && let Some(Reverse(turn)) = order.pop()
        {
            let Some(current) = self.turn(turn.flow) else {
                continue;
            };
            // Another queue of its tenant may have been served since it was put in.
            if current > turn && order.peek().is_some_and(|Reverse(next)| *next < current) {
                order.push(Reverse(current));
                continue;
            }
            let share = if order.is_empty() { left } else { left.min(TURN) };
            let share = share.min(most.saturating_sub(current.flow_out));
            let count = self.give(turn.flow, share, taken);
            left -= count;
            if count > 0
                && let Some(next) = self.turn(turn.flow)
            {
                order.push(Reverse(next));
            }
        }
        self.order = order;
    }

    fn give(&mut self, number: u16, share: usize, taken: &mut Vec<(u16, Ticket)>) -> usize {
        let Some(flow) = self.flows.get_mut(usize::from(number)) else {
            return 0;
        };
        let count = share.min(flow.waiting.len());
        taken.extend(flow.waiting.drain(..count).map(|ticket| (number, ticket)));
        self.waiting -= count;
        flow.out += count;
        if let Some(out) = self.tenants.get_mut(flow.tenant) {
            *out += count;
        }
        count
    }

    fn turn(&self, number: u16) -> Option<Turn> {
        let flow = self.flows.get(usize::from(number))?;
        Some(Turn {
            since: flow.waiting.front()?.since,
            tenant_out: *self.tenants.get(flow.tenant)?,
            flow_out: flow.out,
            flow: number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(since: u64) -> Ticket {
        Ticket {
            entity: Entity::from_raw_u32(1).unwrap(),
            since: Mono(since),
            sink: 0,
        }
    }

    /// Queues of (tenant, plugin) with that many waiting in each.
    fn fair(users: &[(&str, &str, usize)]) -> Fair {
        let mut fair = Fair::default();
        for (tenant, plugin, waiting) in users {
            let flow = fair.flow(&Arc::from(*tenant), &Arc::from(*plugin));
            for since in 0..*waiting {
                fair.push(flow, ticket(since as u64));
            }
        }
        fair
    }

    /// How many of each queue were taken.
    fn taken(fair: &mut Fair, room: usize, most: usize) -> Vec<usize> {
        let mut taken = Vec::new();
        fair.take(room, most, &mut taken);
        let count = |flow| taken.iter().filter(|(of, _)| usize::from(*of) == flow).count();
        (0..fair.flows.len()).map(count).collect()
    }

    #[test]
    fn a_queue_that_is_alone_takes_all_the_room_the_most_overdue_first() {
        let mut fair = fair(&[("a", "http", 10)]);
        let mut out = Vec::new();
        fair.take(4, 1, &mut out);
        let since: Vec<u64> = out.iter().map(|(_, ticket)| ticket.since.0).collect();
        assert_eq!((since, fair.len()), (vec![0, 1, 2, 3], 6));
    }

    #[test]
    fn tenants_share_evenly_and_then_the_plugins_of_each() {
        let mut fair = fair(&[
            ("a", "http", 1000),
            ("a", "tcp", 1000),
            ("b", "http", 1000),
            ("c", "http", 20),
        ]);
        let shares = taken(&mut fair, 320, 1000);
        assert_eq!(shares.iter().sum::<usize>(), 320);
        assert_eq!(shares[3], 20, "who wants less than a share gets all of it");
        assert!(
            shares[2].abs_diff(150) <= TURN && (shares[0] + shares[1]).abs_diff(150) <= TURN,
            "{shares:?}"
        );
        assert!(shares[0].abs_diff(shares[1]) <= TURN, "{shares:?}");
    }

    #[test]
    fn whose_targets_hang_waits_for_those_whose_do_not() {
        let mut fair = fair(&[("a", "hangs", 1000), ("a", "quick", 0)]);
        assert_eq!(taken(&mut fair, 100, 75), [75, 0], "a quarter is left to others");
        for since in 0..1000 {
            fair.push(1, ticket(since));
        }
        for _ in 0..30 {
            let shares = taken(&mut fair, 25, 75);
            assert_eq!(shares, [0, 25]);
            (0..25).for_each(|_| fair.back(1));
        }
    }

    #[test]
    fn what_is_put_back_comes_first_and_is_not_out() {
        let mut fair = fair(&[("a", "http", 3), ("b", "http", 0)]);
        let mut out = Vec::new();
        fair.take(2, 10, &mut out);
        for (flow, ticket) in out.drain(..).rev() {
            fair.put_back(flow, ticket);
        }
        assert_eq!((fair.len(), fair.tenants.clone()), (3, vec![0, 0]));
        fair.take(9, 10, &mut out);
        assert_eq!(
            out.iter().map(|(_, ticket)| ticket.since.0).collect::<Vec<_>>(),
            [0, 1, 2]
        );
    }
}
