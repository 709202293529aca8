//! What each tenant has out, what its guests have computed lately, and whether its quotas let it have more: over all
//! kinds of job together.
//!
//! CPU time is remembered with a half-life, so that who has computed much is slowed to his share as long as others want
//! theirs, and is forgiven soon after.
//!
//! Architecture invariant: a tenant is known by its name; a reload that changes its quotas keeps what is out and what
//! was used.

use crate::domain::{
    job::JobResult,
    tenant::Tenant,
    time::{Mono, nanos},
};
use std::{collections::HashMap, f64::consts::LN_2, sync::Arc, time::Duration};

/// Of what was used, half is forgotten in that time.
const HALF_LIFE: Duration = Duration::from_millis(128);
/// Who uses one core all the time is remembered with that much of it: `HALF_LIFE / ln 2`.
const MEMORY_NS: u64 = 184_664_965;
/// Shares are told in millionths.
const WHOLE: u64 = 1_000_000;
/// What was saved of a quota of CPU time may be spent at once, up to what that time brings.
const SAVED_MAX: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// CPU time used lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recent {
    ns: u64,
    at: Mono,
}

impl Recent {
    /// That much more was used.
    pub fn add(&mut self, spent: Duration, now: Mono) {
        *self = Self {
            ns: self.at(now).saturating_add(nanos(spent)),
            at: now,
        };
    }

    /// Millionths of so many cores.
    #[must_use]
    pub fn share(&self, cores: usize, now: Mono) -> u64 {
        self.at(now) / (MEMORY_NS * cores.max(1) as u64 / WHOLE)
    }

    fn at(&self, now: Mono) -> u64 {
        let half_life = nanos(HALF_LIFE);
        let passed = nanos(now.since(self.at));
        let halvings = u32::try_from(passed / half_life).unwrap_or(u32::MAX);
        let halved = self.ns.checked_shr(halvings).unwrap_or(0);
        // 2^-x for x below 1, as a polynomial that is right at both ends and within a thousandth between.
        let x = (passed % half_life) as f64 / half_life as f64;
        let left = 1.0 - x * (LN_2 - x * (0.240_23 - x * 0.047_083));
        (halved as f64 * left) as u64
    }
}

/// What fills up evenly and is taken out of. It may be overdrawn, by what a job used beyond what was expected; then
/// nothing is to be had until that is paid.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    level: i64,
    most: i64,
    per: Duration,
    filled_at: Mono,
}

impl Bucket {
    /// Full; fills up once in `per`.
    fn new(most: u64, per: Duration, now: Mono) -> Self {
        let most = i64::try_from(most).unwrap_or(i64::MAX).max(1);
        Self {
            level: most,
            most,
            per,
            filled_at: now,
        }
    }

    fn fill(&mut self, now: Mono) {
        let passed = i128::from(nanos(now.since(self.filled_at)));
        let gained = passed * i128::from(self.most) / i128::from(nanos(self.per).max(1));
        // What is too little to count yet is not lost.
        if gained > 0 {
            let level = i128::from(self.level) + gained;
            self.level = i64::try_from(level).unwrap_or(i64::MAX).min(self.most);
            self.filled_at = now;
        }
    }

    /// Fills up to another mark from now on. What was used stays used: who changes his quota again and again gets no
    /// more for it.
    fn adjust(&mut self, most: u64) {
        let most = i64::try_from(most).unwrap_or(i64::MAX).max(1);
        let used = self.most.saturating_sub(self.level);
        (self.level, self.most) = (most.saturating_sub(used), most);
    }

    fn take(&mut self, amount: u64) {
        self.level = self
            .level
            .saturating_sub(i64::try_from(amount).unwrap_or(i64::MAX));
    }

    fn put_back(&mut self, amount: u64) {
        let level = self
            .level
            .saturating_add(i64::try_from(amount).unwrap_or(i64::MAX));
        self.level = level.min(self.most);
    }

    fn left(&self) -> u64 {
        u64::try_from(self.level).unwrap_or(0)
    }
}

/// One tenant.
#[derive(Debug)]
struct Ration {
    tenant: Arc<Tenant>,
    out: usize,
    memory_bytes: u64,
    /// CPU time that what is out is expected to need of the quota.
    cpu_out_ns: u64,
    cpu: Recent,
    cpu_quota: Option<Bucket>,
    codes_quota: Option<Bucket>,
}

impl Ration {
    fn new(tenant: &Arc<Tenant>, now: Mono) -> Self {
        let mut ration = Self {
            tenant: Arc::clone(tenant),
            out: 0,
            memory_bytes: 0,
            cpu_out_ns: 0,
            cpu: Recent::default(),
            cpu_quota: None,
            codes_quota: None,
        };
        ration.grant(now);
        ration
    }

    /// A quota that is new begins full, one that is changed with what was left.
    fn grant(&mut self, now: Mono) {
        let grant = |bucket: &mut Option<Bucket>, most: Option<u64>, per| match (&mut *bucket, most) {
            (Some(bucket), Some(most)) => bucket.adjust(most),
            (None, Some(most)) => *bucket = Some(Bucket::new(most, per, now)),
            (_, None) => *bucket = None,
        };
        let quotas = &self.tenant.quotas;
        grant(&mut self.cpu_quota, quotas.cpu_per_second.map(nanos), SAVED_MAX);
        grant(&mut self.codes_quota, quotas.codes_per_hour, HOUR);
    }
}

/// What one more job takes of a quota.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portion {
    /// Its memory cap.
    pub memory_bytes: u64,
    /// CPU time that it is expected to need.
    pub cpu_ns: u64,
    /// Whether it is a code.
    pub code: bool,
}

/// All tenants.
#[derive(Debug, Default)]
pub struct Rations {
    all: Vec<Ration>,
    numbers: HashMap<Arc<str>, u32>,
}

impl Rations {
    /// The tenant's number. From now on its quotas are those.
    pub fn number(&mut self, tenant: &Arc<Tenant>, now: Mono) -> u32 {
        if let Some(number) = self.numbers.get(&tenant.name) {
            if let Some(ration) = self.all.get_mut(*number as usize)
                && !Arc::ptr_eq(&ration.tenant, tenant)
            {
                let changed = ration.tenant.quotas != tenant.quotas;
                ration.tenant = Arc::clone(tenant);
                if changed {
                    ration.grant(now);
                }
            }
            return *number;
        }
        self.all.push(Ration::new(tenant, now));
        let number = u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX);
        self.numbers.insert(Arc::clone(&tenant.name), number);
        number
    }

    /// How many more jobs of that kind the tenant's quotas allow now.
    pub fn allows(&mut self, number: u32, portion: Portion, now: Mono) -> usize {
        let Some(ration) = self.all.get_mut(number as usize) else {
            return usize::MAX;
        };
        let quotas = &ration.tenant.quotas;
        let mut allowed = quotas
            .in_flight
            .map_or(usize::MAX, |most| most.saturating_sub(ration.out));
        let mut at_most = |count: u64| allowed = allowed.min(usize::try_from(count).unwrap_or(usize::MAX));
        if let Some(most) = quotas.memory_bytes {
            at_most(most.saturating_sub(ration.memory_bytes) / portion.memory_bytes.max(1));
        }
        if let Some(bucket) = &mut ration.cpu_quota {
            bucket.fill(now);
            // Whoever has anything left may begin one more, however dear it is.
            let left = bucket.left().saturating_sub(ration.cpu_out_ns);
            at_most(left.div_ceil(portion.cpu_ns.max(1)));
        }
        if let (true, Some(bucket)) = (portion.code, &mut ration.codes_quota) {
            bucket.fill(now);
            at_most(bucket.left());
        }
        allowed
    }

    /// So many jobs go out. Returns how much of a quota of CPU time is set aside for them; nothing if there is none.
    pub fn take(&mut self, number: u32, count: usize, portion: Portion) -> u64 {
        let Some(ration) = self.all.get_mut(number as usize) else {
            return 0;
        };
        ration.out += count;
        let count = count as u64;
        ration.memory_bytes += portion.memory_bytes.saturating_mul(count);
        if let (true, Some(bucket)) = (portion.code, &mut ration.codes_quota) {
            bucket.take(count);
        }
        if ration.cpu_quota.is_none() {
            return 0;
        }
        let reserved = portion.cpu_ns.saturating_mul(count);
        ration.cpu_out_ns = ration.cpu_out_ns.saturating_add(reserved);
        reserved
    }

    /// What is out turns out to need that much more memory.
    pub fn widen(&mut self, number: u32, memory_bytes: u64) {
        if let Some(ration) = self.all.get_mut(number as usize) {
            ration.memory_bytes = ration.memory_bytes.saturating_add(memory_bytes);
        }
    }

    /// A job is out no more. `unsent`: it never was. `portion.cpu_ns` is what was set aside for it.
    pub fn back(&mut self, number: u32, portion: Portion, unsent: bool) {
        if let Some(ration) = self.all.get_mut(number as usize) {
            ration.out = ration.out.saturating_sub(1);
            ration.cpu_out_ns = ration.cpu_out_ns.saturating_sub(portion.cpu_ns);
            ration.memory_bytes = ration.memory_bytes.saturating_sub(portion.memory_bytes);
            if let (true, true, Some(bucket)) = (unsent, portion.code, &mut ration.codes_quota) {
                bucket.put_back(1);
            }
        }
    }

    /// A job came back; it used that much. `compared`: with what others used.
    pub fn charge(&mut self, number: u32, result: &JobResult, compared: bool, now: Mono) {
        if let Some(ration) = self.all.get_mut(number as usize) {
            let usage = &result.usage;
            if compared {
                ration.cpu.add(usage.cpu, now);
            }
            if let Some(bucket) = &mut ration.cpu_quota {
                bucket.fill(now);
                bucket.take(nanos(usage.cpu));
            }
        }
    }

    /// Something else used that much of the tenant's CPU time.
    pub fn spend(&mut self, tenant: &str, cpu: Duration, now: Mono) {
        let number = self.numbers.get(tenant);
        let ration = number.and_then(|number| self.all.get_mut(*number as usize));
        if let Some(bucket) = ration.and_then(|ration| ration.cpu_quota.as_mut()) {
            bucket.fill(now);
            bucket.take(nanos(cpu));
        }
    }

    /// A quota let some of the tenant's jobs wait in this run.
    pub fn held(&self, number: u32) {
        if let Some(ration) = self.all.get(number as usize) {
            ration.tenant.account.add_held();
        }
    }

    /// Millionths of so many cores that the tenant's guests have used lately.
    #[must_use]
    pub fn cpu_share(&self, number: u32, cores: usize, now: Mono) -> u64 {
        self.all
            .get(number as usize)
            .map_or(0, |ration| ration.cpu.share(cores, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tenant::Quotas;

    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u32) -> Mono {
        Mono(1).after(MS * ms)
    }

    #[test]
    fn what_was_used_is_forgotten_by_halves() {
        let mut recent = Recent::default();
        recent.add(MS * 64, at(0));
        assert_eq!(recent.at(at(0)), 64_000_000);
        assert_eq!(recent.at(at(128)), 32_000_000);
        let later = recent.at(at(192));
        assert!(later.abs_diff(22_627_417) < 30_000, "{later}");
        assert_eq!(recent.at(at(100_000)), 0);
        // One core of two, all the time, is about half.
        for ms in 0..2_000 {
            recent.add(MS, at(1_000_000 + ms));
        }
        let share = recent.share(2, at(1_001_999));
        assert!((480_000..520_000).contains(&share), "{share}");
    }

    #[test]
    fn a_quota_of_cpu_time_is_an_average_that_may_be_overdrawn_once() {
        let quotas = Quotas {
            cpu_per_second: Some(MS * 100),
            ..Quotas::default()
        };
        let mut rations = Rations::default();
        let tenant = Arc::new(Tenant::new("acme", quotas));
        let number = rations.number(&tenant, at(0));
        let portion = Portion {
            cpu_ns: 10_000_000,
            ..Portion::default()
        };
        assert_eq!(rations.allows(number, portion, at(0)), 10);
        // What is out is going to need its share.
        assert_eq!(rations.take(number, 10, portion), 100_000_000);
        assert_eq!(rations.allows(number, portion, at(0)), 0);
        (0..10).for_each(|_| rations.back(number, portion, false));
        assert_eq!(rations.allows(number, portion, at(0)), 10);
        let spent = |ms: u32| crate::scheduler::tests::used(MS * ms);
        rations.charge(number, &spent(300), true, at(0));
        assert_eq!(
            rations.allows(number, portion, at(1_999)),
            0,
            "two seconds in debt"
        );
        assert_eq!(rations.allows(number, portion, at(2_100)), 1);
        // Whatever else it computes is taken from the same.
        rations.spend("acme", MS * 100, at(2_100));
        rations.spend("nobody", MS * 100, at(2_100));
        assert_eq!(rations.allows(number, portion, at(2_200)), 0);
        assert_eq!(
            rations.allows(number, portion, at(60_000)),
            10,
            "no more than a second's worth is saved"
        );
    }

    #[test]
    fn a_changed_quota_is_not_a_new_one() {
        let tenant = |codes| {
            let quotas = Quotas {
                codes_per_hour: codes,
                ..Quotas::default()
            };
            Arc::new(Tenant::new("acme", quotas))
        };
        let portion = Portion {
            code: true,
            ..Portion::default()
        };
        let mut rations = Rations::default();
        let number = rations.number(&tenant(Some(10)), at(0));
        rations.take(number, 8, portion);
        rations.number(&tenant(Some(11)), at(0));
        assert_eq!(rations.allows(number, portion, at(0)), 3);
        rations.number(&tenant(Some(5)), at(0));
        assert_eq!(rations.allows(number, portion, at(0)), 0);
        rations.number(&tenant(None), at(0));
        assert_eq!(rations.allows(number, portion, at(0)), usize::MAX);
        rations.number(&tenant(Some(2)), at(0));
        assert_eq!(rations.allows(number, portion, at(0)), 2);
    }

    #[test]
    fn jobs_memory_and_codes_are_counted_and_given_back() {
        let quotas = Quotas {
            in_flight: Some(3),
            memory_bytes: Some(100),
            codes_per_hour: Some(2),
            ..Quotas::default()
        };
        let mut rations = Rations::default();
        let number = rations.number(&Arc::new(Tenant::new("acme", quotas)), at(0));
        let portion = Portion {
            memory_bytes: 40,
            code: true,
            ..Portion::default()
        };
        assert_eq!(rations.allows(number, portion, at(0)), 2);
        rations.take(number, 2, portion);
        assert_eq!(rations.allows(number, portion, at(0)), 0);
        rations.back(number, portion, false);
        rations.back(number, portion, true);
        assert_eq!(rations.allows(number, portion, at(0)), 1, "one code was sent");
        assert_eq!(rations.allows(number, Portion::default(), at(0)), 3);
        assert_eq!(rations.allows(number, portion, at(3_600_000)), 2);
        // The same tenant with other quotas.
        rations.take(number, 2, portion);
        let same = Arc::new(Tenant::new(
            "acme",
            Quotas {
                in_flight: Some(5),
                ..Quotas::default()
            },
        ));
        assert_eq!(rations.number(&same, at(0)), number);
        assert_eq!(rations.allows(number, portion, at(0)), 3);
    }
}
