//! What is due and waits for room, in queues of its own for each user of a kind: a plugin of a tenant, or for codes a
//! notifier of a tenant.
//!
//! Within a queue the most overdue goes first. Among queues goes first who has least, first among tenants, then among
//! the queues of one; between equals the most overdue. What somebody has is his share of what may be out, or of the
//! workers' CPU time that he has used lately, whichever is greater (dominant resource fairness: A. Ghodsi and others,
//! "Dominant Resource Fairness: Fair Allocation of Multiple Resource Types", NSDI 2011). So neither a plugin whose
//! targets hang nor one that computes, nor a tenant with a million monitors starves the others.
//!
//! Architecture invariant: what is put in comes out, once; who has anything waiting is not passed over for ever, unless
//! his tenant's quota is spent.

use super::ration::{Portion, Rations, Recent};
use crate::domain::{
    job::JobResult,
    tenant::Tenant,
    time::{Mono, nanos},
};
use bevy_ecs::entity::Entity;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
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
    /// Whether it is among the busy ones.
    listed: bool,
    /// Whether several users share it.
    crowded: bool,
    /// Among those of this kind, and among all.
    tenant: usize,
    ration: u32,
    out: usize,
    /// CPU time that is set aside for what is out.
    reserved_ns: u64,
    cpu: Recent,
    portion: Portion,
}

/// What one tenant has of this kind.
#[derive(Clone, Copy, Debug)]
struct Holding {
    out: usize,
    /// His last queue, which all share whom he adds when queues are scarce.
    newest: u16,
}

/// The queues of one kind.
#[derive(Debug, Default)]
pub struct Fair {
    flows: Vec<Flow>,
    /// Those in which somebody waits, and some in which nobody does any more.
    busy: Vec<u16>,
    tenants: Vec<Holding>,
    tenant_numbers: HashMap<u32, usize>,
    flow_numbers: HashMap<(u32, Arc<str>), u16>,
    waiting: usize,
    /// Scratch space of [`Fair::take`].
    order: BinaryHeap<Reverse<Turn>>,
}

/// What decides whose turn it is: the least goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    tenant_share: u64,
    flow_share: u64,
    since: Mono,
    flow: u16,
}

/// Who has a queue of his own.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// Whose jobs they are.
    pub tenant: &'a Arc<Tenant>,
    /// The plugin, or for codes the notifier.
    pub name: &'a Arc<str>,
    /// The memory cap of a job.
    pub memory_bytes: u64,
    /// Whether the jobs are codes.
    pub code: bool,
}

/// What there is room for.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// So many jobs.
    pub jobs: usize,
    /// So much CPU time that they are expected to need. The last one may need more.
    pub work: Duration,
    /// Of several queues none has more out than that.
    pub most: usize,
    /// So many may be out in all.
    pub limit: usize,
    /// Workers.
    pub workers: usize,
    /// The time.
    pub now: Mono,
}

/// Queues of one kind. Tenants beyond that share the last one.
pub(super) const FLOWS_MAX: usize = u16::MAX as usize;
/// From so many queues on, who has one already shares his newest among all he adds, so that there is one left for each
/// tenant who comes.
const FLOWS_OPEN: usize = FLOWS_MAX / 2;
/// So many tickets a queue may give out before others are looked at again.
const TURN: usize = 16;
/// What a job is taken to cost before any was measured.
const COST_FIRST_NS: u64 = 50_000;
/// The moving average of a queue follows a change within about that many jobs.
const COST_JOBS: u64 = 16;
/// What may be out, in millionths.
const WHOLE: usize = 1_000_000;

impl Fair {
    /// The number of a user's queue.
    pub fn flow(&mut self, rations: &mut Rations, user: User<'_>, now: Mono) -> u16 {
        let ration = rations.number(user.tenant, now);
        let name = (ration, Arc::clone(user.name));
        if let Some(number) = self.flow_numbers.get(&name) {
            let number = *number;
            self.widen(rations, number, user.memory_bytes);
            return number;
        }
        let count = self.flows.len();
        let tenant = *self.tenant_numbers.entry(ration).or_insert(self.tenants.len());
        let own = self.tenants.get(tenant).map(|holding| holding.newest);
        let number = match own {
            Some(newest) if count >= FLOWS_OPEN => newest,
            _ => u16::try_from(count.min(FLOWS_MAX - 1)).unwrap_or(u16::MAX),
        };
        match self.tenants.get_mut(tenant) {
            Some(holding) => holding.newest = number,
            None => self.tenants.push(Holding {
                out: 0,
                newest: number,
            }),
        }
        if let Some(flow) = self.flows.get_mut(usize::from(number)) {
            flow.crowded = true;
            self.widen(rations, number, user.memory_bytes);
        } else {
            self.flows.push(Flow {
                tenant,
                ration,
                portion: Portion {
                    memory_bytes: user.memory_bytes,
                    cpu_ns: COST_FIRST_NS,
                    code: user.code,
                },
                ..Flow::default()
            });
        }
        self.flow_numbers.insert(name, number);
        number
    }

    /// Whether several users share that queue: what is known of it says nothing about any one of them.
    #[must_use]
    pub fn is_crowded(&self, number: u16) -> bool {
        self.flows
            .get(usize::from(number))
            .is_some_and(|flow| flow.crowded)
    }

    /// The greatest memory cap in a queue counts for all of it.
    fn widen(&mut self, rations: &mut Rations, number: u16, memory_bytes: u64) {
        if let Some(flow) = self.flows.get_mut(usize::from(number))
            && let Some(more) = memory_bytes.checked_sub(flow.portion.memory_bytes)
        {
            rations.widen(flow.ration, more.saturating_mul(flow.out as u64));
            flow.portion.memory_bytes = memory_bytes;
        }
    }

    /// Whether there is more than one queue, so that somebody may be in another's way.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.flows.len() > 1
    }

    /// CPU time that a job of that queue is expected to need, in nanoseconds.
    #[must_use]
    pub fn cost_ns(&self, flow: u16) -> u64 {
        self.flows
            .get(usize::from(flow))
            .map_or(COST_FIRST_NS, |flow| flow.portion.cpu_ns)
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
    pub fn push(&mut self, number: u16, ticket: Ticket) {
        if let Some(flow) = self.flows.get_mut(usize::from(number)) {
            if !std::mem::replace(&mut flow.listed, true) {
                self.busy.push(number);
            }
            flow.waiting.push_back(ticket);
            self.waiting += 1;
        }
    }

    /// What was taken was not sent after all, and waits on.
    pub fn put_back(&mut self, rations: &mut Rations, number: u16, ticket: Ticket) {
        if let Some(flow) = self.flows.get_mut(usize::from(number)) {
            if !std::mem::replace(&mut flow.listed, true) {
                self.busy.push(number);
            }
            flow.waiting.push_front(ticket);
            self.waiting += 1;
        }
        self.release(rations, number, true);
    }

    /// What was taken was not worth sending.
    pub fn discard(&mut self, rations: &mut Rations, number: u16) {
        self.release(rations, number, true);
    }

    /// What was sent is out no more: it came back, or is given up.
    pub fn back(&mut self, rations: &mut Rations, number: u16) {
        self.release(rations, number, false);
    }

    fn release(&mut self, rations: &mut Rations, number: u16, unsent: bool) {
        if let Some(flow) = self.flows.get_mut(usize::from(number)) {
            let cpu_ns = if flow.reserved_ns == 0 {
                0
            } else {
                flow.reserved_ns / flow.out.max(1) as u64
            };
            flow.reserved_ns -= cpu_ns;
            flow.out = flow.out.saturating_sub(1);
            if let Some(holding) = self.tenants.get_mut(flow.tenant) {
                holding.out = holding.out.saturating_sub(1);
            }
            let portion = Portion {
                cpu_ns,
                ..flow.portion
            };
            rations.back(flow.ration, portion, unsent);
        }
    }

    /// A job of that queue came back.
    pub fn charge(&mut self, rations: &mut Rations, number: u16, result: &JobResult, now: Mono) {
        // Who is alone has nobody to be compared with.
        let shared = self.is_shared();
        if let Some(flow) = self.flows.get_mut(usize::from(number)) {
            rations.charge(flow.ration, result, shared, now);
            if shared {
                flow.cpu.add(result.usage.cpu, now);
            }
            // A whole second for one job says all there is to say.
            let cost = nanos(result.usage.cpu).min(1_000_000_000);
            if cost > 0 {
                flow.portion.cpu_ns = (flow.portion.cpu_ns * (COST_JOBS - 1) + cost) / COST_JOBS;
            }
        }
    }

    /// Takes tickets in the order in which they are to be sent, as many as there is room for, into `taken` with their
    /// queues' numbers. They count as out from now on. Returns whether somebody would have got more, had he not as much
    /// out already as any one may.
    pub fn take(&mut self, rations: &mut Rations, room: Room, taken: &mut Vec<(u16, Ticket)>) -> bool {
        let mut at_most = false;
        let shared = self.is_shared();
        let most = if shared { room.most } else { usize::MAX };
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        let mut busy = std::mem::take(&mut self.busy);
        busy.retain(|number| {
            let turn = self.turn(rations, *number, &room);
            order.extend(turn.map(Reverse));
            if let (None, Some(flow)) = (turn, self.flows.get_mut(usize::from(*number))) {
                flow.listed = false;
            }
            turn.is_some()
        });
        self.busy = busy;
        let mut left = room.jobs;
        let mut work = nanos(room.work);
        while left > 0
            && work > 0
            && let Some(Reverse(turn)) = order.pop()
        {
            let Some(current) = self.turn(rations, turn.flow, &room) else {
                continue;
            };
            // Another queue of its tenant may have been served since it was put in.
            if current > turn && order.peek().is_some_and(|Reverse(next)| *next < current) {
                order.push(Reverse(current));
                continue;
            }
            let Some(flow) = self.flows.get(usize::from(turn.flow)) else {
                continue;
            };
            let cost = flow.portion.cpu_ns.max(1);
            let share = if order.is_empty() { left } else { left.min(TURN) };
            let more = most.saturating_sub(flow.out);
            at_most |= more < share.min(flow.waiting.len());
            let share = share
                .min(more)
                .min(usize::try_from(work.div_ceil(cost)).unwrap_or(usize::MAX));
            let allowed = rations.allows(flow.ration, flow.portion, room.now);
            if allowed == 0 {
                rations.held(flow.ration);
            }
            let count = self.give(rations, turn.flow, share.min(allowed), taken);
            left -= count;
            work = work.saturating_sub(cost.saturating_mul(count as u64));
            if count > 0
                && let Some(next) = self.turn(rations, turn.flow, &room)
            {
                order.push(Reverse(next));
            }
        }
        self.order = order;
        at_most
    }

    fn give(
        &mut self,
        rations: &mut Rations,
        number: u16,
        share: usize,
        taken: &mut Vec<(u16, Ticket)>,
    ) -> usize {
        let Some(flow) = self.flows.get_mut(usize::from(number)) else {
            return 0;
        };
        let count = share.min(flow.waiting.len());
        taken.extend(flow.waiting.drain(..count).map(|ticket| (number, ticket)));
        self.waiting -= count;
        flow.out += count;
        if let Some(holding) = self.tenants.get_mut(flow.tenant) {
            holding.out += count;
        }
        flow.reserved_ns += rations.take(flow.ration, count, flow.portion);
        count
    }

    fn turn(&self, rations: &Rations, number: u16, room: &Room) -> Option<Turn> {
        let flow = self.flows.get(usize::from(number))?;
        let since = flow.waiting.front()?.since;
        if !self.is_shared() {
            return Some(Turn {
                tenant_share: 0,
                flow_share: 0,
                since,
                flow: number,
            });
        }
        let of_all = |out: usize| (out * WHOLE / room.limit.max(1)) as u64;
        let tenant_out = self.tenants.get(flow.tenant)?.out;
        Some(Turn {
            tenant_share: of_all(tenant_out).max(rations.cpu_share(flow.ration, room.workers, room.now)),
            flow_share: of_all(flow.out).max(flow.cpu.share(room.workers, room.now)),
            since,
            flow: number,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tenant::Quotas;

    /// The queues, and what their tenants have.
    #[derive(Default)]
    struct Bench {
        fair: Fair,
        rations: Rations,
    }

    fn ticket(since: u64) -> Ticket {
        Ticket {
            entity: Entity::from_raw_u32(1).unwrap(),
            since: Mono(since),
            sink: 0,
        }
    }

    /// Queues of (tenant, plugin) with that many waiting in each.
    fn bench(users: &[(&str, &str, usize)]) -> Bench {
        let users = users
            .iter()
            .map(|(tenant, plugin, waiting)| (Tenant::new(tenant, Quotas::default()), *plugin, *waiting));
        Bench::of(users)
    }

    fn room(jobs: usize, most: usize) -> Room {
        Room {
            jobs,
            work: Duration::MAX,
            most,
            limit: 1_000,
            workers: 2,
            now: Mono(1),
        }
    }

    impl Bench {
        fn of<'a>(users: impl IntoIterator<Item = (Tenant, &'a str, usize)>) -> Self {
            let mut bench = Self::default();
            for (tenant, plugin, waiting) in users {
                let user = User {
                    tenant: &Arc::new(tenant),
                    name: &Arc::from(plugin),
                    memory_bytes: 1,
                    code: false,
                };
                let flow = bench.fair.flow(&mut bench.rations, user, Mono(1));
                for since in 0..waiting {
                    bench.fair.push(flow, ticket(since as u64));
                }
            }
            bench
        }

        fn take(&mut self, room: Room) -> Vec<(u16, Ticket)> {
            let mut taken = Vec::new();
            self.fair.take(&mut self.rations, room, &mut taken);
            taken
        }

        /// How many of each queue were taken.
        fn taken(&mut self, room: Room) -> Vec<usize> {
            let taken = self.take(room);
            let count = |flow| taken.iter().filter(|(of, _)| usize::from(*of) == flow).count();
            (0..self.fair.flows.len()).map(count).collect()
        }

        fn back(&mut self, flow: u16) {
            self.fair.back(&mut self.rations, flow);
        }

        fn charge(&mut self, flow: u16, cpu: Duration, now: Mono) {
            let result = crate::scheduler::tests::used(cpu);
            self.fair.charge(&mut self.rations, flow, &result, now);
        }
    }

    #[test]
    fn a_queue_that_is_alone_takes_all_the_room_the_most_overdue_first() {
        let mut bench = bench(&[("a", "http", 10)]);
        let out = bench.take(room(4, 1));
        let since: Vec<u64> = out.iter().map(|(_, ticket)| ticket.since.0).collect();
        assert_eq!((since, bench.fair.len()), (vec![0, 1, 2, 3], 6));
    }

    #[test]
    fn tenants_share_evenly_and_then_the_plugins_of_each() {
        let mut bench = bench(&[
            ("a", "http", 1000),
            ("a", "tcp", 1000),
            ("b", "http", 1000),
            ("c", "http", 20),
        ]);
        let shares = bench.taken(room(320, 1000));
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
        let mut bench = bench(&[("a", "hangs", 1000), ("a", "quick", 0)]);
        assert_eq!(bench.taken(room(100, 75)), [75, 0], "a quarter is left to others");
        for since in 0..1000 {
            bench.fair.push(1, ticket(since));
        }
        for _ in 0..30 {
            assert_eq!(bench.taken(room(25, 75)), [0, 25]);
            (0..25).for_each(|_| bench.back(1));
        }
    }

    #[test]
    fn who_computes_much_is_slowed_to_his_share_and_forgiven_soon() {
        let ms = Duration::from_millis;
        let mut bench = bench(&[("a", "spins", 1000), ("b", "http", 1000)]);
        let now = Mono(1).after(ms(10));
        bench.charge(0, ms(40), now);
        let at = |now| Room {
            now,
            ..room(100, 1000)
        };
        let shares = bench.taken(at(now));
        assert!(shares[1] > 50 && shares[0] < 50, "{shares:?}");
        assert_eq!(shares.iter().sum::<usize>(), 100);
        (0..shares[0]).for_each(|_| bench.back(0));
        (0..shares[1]).for_each(|_| bench.back(1));
        let shares = bench.taken(at(now.after(ms(5_000))));
        assert!(shares[0].abs_diff(shares[1]) <= TURN, "{shares:?}");
    }

    #[test]
    fn a_few_dear_jobs_fill_the_room_for_many_cheap_ones() {
        let ms = Duration::from_millis;
        let mut bench = bench(&[("a", "spins", 1000), ("b", "http", 1000)]);
        for _ in 0..200 {
            bench.charge(0, ms(4), Mono(1));
            bench.charge(1, Duration::from_micros(20), Mono(1));
        }
        assert!(bench.fair.cost_ns(0).abs_diff(4_000_000) < 100_000);
        let shares = bench.taken(Room {
            work: ms(10),
            now: Mono(1).after(ms(60_000)),
            ..room(10_000, 10_000)
        });
        assert!((1..=4).contains(&shares[0]), "{shares:?}");
        assert!(shares[0] + shares[1] < 500, "{shares:?}");
    }

    #[test]
    fn a_quota_that_is_spent_lets_its_tenant_wait_and_nobody_else() {
        let limited = Quotas {
            in_flight: Some(5),
            ..Quotas::default()
        };
        let limited = Tenant::new("a", limited);
        let account = Arc::clone(&limited.account);
        let mut bench = Bench::of([
            (limited, "http", 100),
            (Tenant::new("b", Quotas::default()), "http", 100),
        ]);
        assert_eq!(bench.taken(room(50, 1000)), [5, 45]);
        assert_eq!(account.used().held, 1);
        bench.back(0);
        assert_eq!(bench.taken(room(50, 1000)), [1, 49]);
        (0..6).for_each(|_| bench.back(0));
        assert_eq!(bench.taken(room(500, 1000)), [5, 6]);
        assert_eq!(bench.fair.len(), 89);
    }

    #[test]
    fn who_has_very_many_queues_leaves_room_for_others() {
        let mut bench = Bench::default();
        let flow = |bench: &mut Bench, tenant: &Arc<Tenant>, name: &str| {
            let user = User {
                tenant,
                name: &Arc::from(name),
                memory_bytes: 1,
                code: true,
            };
            bench.fair.flow(&mut bench.rations, user, Mono(1))
        };
        let (greedy, other) = (
            Arc::new(Tenant::new("greedy", Quotas::default())),
            Arc::new(Tenant::new("other", Quotas::default())),
        );
        let last = u16::try_from(FLOWS_OPEN - 1).unwrap();
        for notifier in 0..FLOWS_MAX + 10 {
            let number = flow(&mut bench, &greedy, &notifier.to_string());
            assert_eq!(usize::from(number), notifier.min(FLOWS_OPEN - 1));
        }
        assert!(bench.fair.is_crowded(last) && !bench.fair.is_crowded(last - 1));
        let own = flow(&mut bench, &other, "webhook");
        assert_eq!(own, last + 1, "a queue of his own");
        assert!(!bench.fair.is_crowded(own));
        assert_eq!(flow(&mut bench, &other, "second"), own, "and no more");
        assert!(bench.fair.is_crowded(own));
        for since in 0..100 {
            bench.fair.push(last, ticket(since));
            bench.fair.push(own, ticket(since));
        }
        let taken = bench.take(room(2 * TURN, 1000));
        assert_eq!(taken.iter().filter(|(flow, _)| *flow == own).count(), TURN);
    }

    #[test]
    fn cpu_time_that_is_out_is_not_given_out_again() {
        let quotas = Quotas {
            cpu_per_second: Some(Duration::from_nanos(COST_FIRST_NS * 10)),
            ..Quotas::default()
        };
        let mut bench = Bench::of([
            (Tenant::new("a", quotas), "http", 100),
            (Tenant::new("b", Quotas::default()), "http", 0),
        ]);
        assert_eq!(bench.taken(room(1000, 1000)), [10, 0]);
        assert_eq!(bench.taken(room(1000, 1000)), [0, 0], "the quota is out already");
        // What they cost is learned while they are out.
        bench.charge(0, Duration::from_nanos(COST_FIRST_NS / 2), Mono(1));
        (0..10).for_each(|_| bench.back(0));
        assert_eq!(bench.fair.flows[0].reserved_ns, 0);
        assert!(bench.taken(room(1000, 1000))[0] >= 9);
    }

    #[test]
    fn what_is_put_back_comes_first_and_is_not_out() {
        let mut bench = bench(&[("a", "http", 3), ("b", "http", 0)]);
        let out = bench.take(room(2, 10));
        for (flow, ticket) in out.into_iter().rev() {
            bench.fair.put_back(&mut bench.rations, flow, ticket);
        }
        assert_eq!(bench.fair.len(), 3);
        assert!(bench.fair.tenants.iter().all(|holding| holding.out == 0));
        let out = bench.take(room(9, 10));
        assert_eq!(
            out.iter().map(|(_, ticket)| ticket.since.0).collect::<Vec<_>>(),
            [0, 1, 2]
        );
    }
}
