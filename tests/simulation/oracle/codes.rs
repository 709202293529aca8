//! Codes: each once, in order, at least once or undeliverable with the reason, green only to those who were told.

use super::{
    lanes::{End, Track},
    ledger::{Ledger, Verdict},
    rules::Rule,
    tick::{Tick, ceil_ms},
};
use pulse_host::{
    domain::{
        color::Color,
        event::Fact,
        job::{Alert, JobResult},
        outcome::{Answer, DeliveryFailure, Outcome},
        spec::{Kind, Sink},
        time::Mono,
    },
    scheduler::{components::Phase, view::LaneView},
};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// Codes that may wait for one sink.
const CODES_MAX: usize = 64;
/// A receiver's wish to wait is honoured up to that time.
const WISH_MAX: Duration = Duration::from_secs(600);
/// A code is not sent again sooner than that, and by itself not later than that.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A code whose component is in quarantine asks so often whether that is over.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// One sink of one monitor.
pub struct Outbox {
    pub sink: Arc<Sink>,
    pub track: Track,
    queue: VecDeque<Entry>,
    /// Episodes of which it was, or may have been, told anything but green.
    told: BTreeSet<String>,
    /// Whatever was put in, by its cause.
    seen: BTreeSet<String>,
    put: u64,
    sent_number: u64,
    /// Codes that were given up in this run: before the host's own sinks were told, after that, or who knows.
    pub gone: Gone,
    /// What was sent last.
    pub sent: Option<(u32, Arc<Alert>)>,
}

/// Codes of one run that will never be delivered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gone {
    pub early: usize,
    pub late: usize,
    pub either: usize,
}

impl Gone {
    pub fn add(&mut self, other: Self) {
        self.early += other.early;
        self.late += other.late;
        self.either += other.either;
    }
}

#[derive(Clone, Debug)]
struct Entry {
    /// Counts on in the order in which they were put in.
    number: u64,
    alert: Arc<Alert>,
    put_at: Mono,
    /// Attempts that carried it.
    attempts: Vec<u32>,
    /// Whether one of them was run, or may have been.
    tried: bool,
}

/// What this run should have put in: what must be there, and what may be.
pub struct Emissions<'a> {
    pub wanted: &'a [super::health::Wanted],
    /// The episode they belong to, as far as it is known.
    pub episode: Option<&'a str>,
    /// Of the host's own entry: how many news must be told, and how many may.
    pub news: Option<(usize, usize)>,
}

fn episode(alert: &Alert) -> &str {
    alert
        .incident
        .as_ref()
        .map_or(alert.incident_key.as_str(), |incident| incident.id.as_str())
}

/// The part of `episode/color/cause` behind the color.
pub fn cause(alert: &Alert) -> &str {
    alert.cause_id.rsplit('/').next().unwrap_or_default()
}

fn tells(color: Color) -> bool {
    !matches!(color, Color::Green | Color::Gray)
}

/// What the head's delivery came to.
enum Settled {
    No,
    Delivered,
    Refused,
    /// Again, after at least the receiver's wish. `ran`: it may have arrived.
    Again {
        wish: Duration,
    },
}

impl Outbox {
    pub fn new(sink: &Arc<Sink>, tenant: &Arc<str>, who: &str, lane: LaneView) -> Self {
        let who = format!("{who} to {}", sink.name);
        let key = (Arc::clone(tenant), Arc::clone(&sink.lane.profile.digest));
        Self {
            track: Track::new(Kind::Code, (key, &sink.name), &who, sink.lane.timeout, lane),
            sink: Arc::clone(sink),
            queue: VecDeque::new(),
            told: BTreeSet::new(),
            seen: BTreeSet::new(),
            put: 0,
            sent_number: 0,
            gone: Gone::default(),
            sent: None,
        }
    }

    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// What waits, the next first.
    pub fn codes(&self) -> impl Iterator<Item = &Arc<Alert>> {
        self.queue.iter().map(|entry| &entry.alert)
    }

    /// The results of this run, in their order: how the pending attempt ended, and whether a late receipt came
    /// for the head. Of results that came together, the pending attempt's own is heard first.
    pub fn results<'a>(
        &mut self,
        ledger: &mut Ledger,
        results: &[(usize, &'a JobResult)],
        stale: &mut u64,
    ) -> (End<'a>, bool) {
        let (mut end, mut receipt) = (End::None, false);
        let mut pending = self.track.phase == Phase::Pending;
        for together in results.chunk_by(|one, next| one.0 == next.0) {
            let own = together
                .iter()
                .position(|(_, result)| pending && result.key.attempt == self.track.attempt);
            if let Some((_, result)) = own.and_then(|own| together.get(own)) {
                pending = false;
                end = End::Result(result);
            }
            for (at, (_, result)) in together.iter().enumerate() {
                if Some(at) == own {
                    continue;
                }
                *stale += 1;
                let taken = matches!(&result.outcome, Outcome::Answer(Answer::Code(Ok(_))));
                let heads = self
                    .queue
                    .front()
                    .is_some_and(|head| head.attempts.contains(&result.key.attempt));
                if !taken || !heads || receipt {
                    continue;
                }
                receipt = true;
                if pending {
                    ledger.see("code superseded by a late receipt");
                    pending = false;
                    end = End::Superseded;
                } else if matches!(end, End::Result(_)) {
                    ledger.see("late receipt beside the next answer");
                } else {
                    ledger.see("late receipt");
                }
            }
        }
        (end, receipt)
    }

    /// One run. `lane` and `codes` are what it shows now; `facts` are of this sink alone.
    pub fn run(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        lane: LaneView,
        codes: &[Arc<Alert>],
        (end, receipt): (End<'_>, bool),
        emissions: &Emissions<'_>,
        facts: &[&Fact],
    ) -> Verdict<bool> {
        let was_empty = self.queue.is_empty();
        let comes = emissions.wanted.len() + emissions.news.map_or(0, |(_, most)| most);
        let full = self.queue.len() + comes > CODES_MAX;
        let settled = self.settle(end, receipt);
        let same = self.queue.len() == codes.len()
            && self
                .queue
                .iter()
                .zip(codes)
                .all(|(entry, code)| Arc::ptr_eq(&entry.alert, code));
        let head_was = self.queue.front().map(|entry| Arc::clone(&entry.alert));
        self.gone = Gone::default();
        if !(same && matches!(settled, Settled::No) && facts.is_empty() && comes == 0) {
            self.leave(tick, ledger, codes, &settled, facts)?;
            self.arrive(tick, ledger, codes, (was_empty, full), emissions, facts)?;
        }
        let who = Arc::clone(&self.track.who);
        ledger.check(Rule::OutboxBound, &who, self.queue.len() <= CODES_MAX, || {
            format!("{} codes wait", self.queue.len())
        })?;
        let head_stays =
            matches!((&head_was, self.queue.front()), (Some(was), Some(is)) if Arc::ptr_eq(was, &is.alert));
        if let Settled::Again { wish } = settled
            && head_stays
        {
            let wish = wish.min(WISH_MAX);
            let (least, most) = (PAUSE_MIN.max(wish), PAUSE_MAX.max(wish));
            let waits = lane.phase == Phase::Waiting
                && lane.at >= tick.now.after(least)
                && lane.at <= tick.now.after(most);
            ledger.check(Rule::PauseBeforeRetry, &who, waits, || {
                format!("not taken at {:?}, to be sent again between {least:?} and {most:?} later, and is {lane:?}", tick.now)
            })?;
        } else if head_stays && self.track.phase == Phase::Waiting && self.track.at != Mono::NEVER {
            let due = ceil_ms(self.track.at);
            // It asks again whether its component is well.
            let held = self.track.shut
                && lane.phase == Phase::Waiting
                && lane.at > tick.now
                && lane.at <= tick.now.after(LOOK_AGAIN);
            let fits = if tick.now >= due {
                lane.phase != Phase::Waiting || held
            } else {
                lane.phase == Phase::Waiting && lane.at == self.track.at
            };
            ledger.check(Rule::PauseBeforeRetry, &who, fits, || {
                format!(
                    "to be sent again at {due:?}; it is {:?}, and it is {lane:?}",
                    tick.now
                )
            })?;
        }
        let ended = !matches!(end, End::None);
        let sent = self.track.follow(tick, ledger, lane, ended)?;
        ledger.check(
            Rule::CodeOnItsWay,
            &who,
            self.queue.is_empty() || lane.phase != Phase::Waiting || lane.at <= tick.now.after(WISH_MAX),
            || {
                format!(
                    "{} codes wait, and nobody will send them: {lane:?}",
                    self.queue.len()
                )
            },
        )?;
        ledger.check(
            Rule::CodeOnItsWay,
            &who,
            !self.queue.is_empty() || lane.phase == Phase::Waiting,
            || format!("nothing waits, and it is {lane:?}"),
        )?;
        if let Some(head) = self.queue.front() {
            let late = head.put_at.after(self.sink.max_age + WISH_MAX);
            ledger.check(
                Rule::GivenUpInTime,
                &who,
                tick.now < late || lane.phase != Phase::Waiting,
                || format!("{} waits since {:?}", head.alert.cause_id, head.put_at),
            )?;
        }
        if sent {
            self.send(ledger, self.track.attempt)?;
        }
        Ok(sent)
    }

    fn settle(&mut self, end: End<'_>, receipt: bool) -> Settled {
        if receipt {
            return Settled::Delivered;
        }
        let maybe = |this: &mut Self| {
            if let Some(head) = this.queue.front_mut()
                && tells(head.alert.color)
            {
                this.told.insert(episode(&head.alert).to_owned());
            }
        };
        let again = |wish: Option<Duration>| Settled::Again {
            wish: wish.unwrap_or_default(),
        };
        match end {
            End::None | End::Superseded => Settled::No,
            End::Lost => {
                maybe(self);
                again(None)
            }
            End::Result(result) => match &result.outcome {
                Outcome::Answer(Answer::Code(Ok(_))) => Settled::Delivered,
                Outcome::Answer(Answer::Code(Err(DeliveryFailure::Permanent(_)))) | Outcome::Denied(_) => {
                    Settled::Refused
                }
                Outcome::Answer(Answer::Code(Err(DeliveryFailure::Retryable { after, .. }))) => again(*after),
                Outcome::Expired | Outcome::NoCapacity(_) => {
                    if let Some(head) = self.queue.front_mut() {
                        head.attempts.retain(|attempt| *attempt != result.key.attempt);
                        head.tried = !head.attempts.is_empty();
                    }
                    again(None)
                }
                _ => {
                    maybe(self);
                    again(None)
                }
            },
        }
    }

    /// What left the box, each for a reason.
    fn leave(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        codes: &[Arc<Alert>],
        settled: &Settled,
        facts: &[&Fact],
    ) -> Verdict {
        let who = Arc::clone(&self.track.who);
        let told_of = |alert: &Arc<Alert>, undeliverable: bool| {
            facts
                .iter()
                .filter(|fact| match fact {
                    Fact::Delivered { alert: of, .. } => !undeliverable && Arc::ptr_eq(of, alert),
                    Fact::Undeliverable { alert: of, .. } => undeliverable && Arc::ptr_eq(of, alert),
                    _ => false,
                })
                .count()
        };
        let (mut delivered, mut lost) = (0, 0);
        let mut first = true;
        while let Some(head) = self.queue.front() {
            let stays = codes.first().is_some_and(|code| Arc::ptr_eq(code, &head.alert));
            let old = tick.now.since(head.put_at) >= self.sink.max_age;
            if first && matches!(settled, Settled::Delivered) {
                ledger.check(
                    Rule::ReceiptCounts,
                    &who,
                    !stays && told_of(&head.alert, false) == 1,
                    || {
                        format!(
                            "{} was taken, stays: {stays}, facts: {facts:?}",
                            head.alert.cause_id
                        )
                    },
                )?;
                delivered += 1;
                if tells(head.alert.color) {
                    self.told.insert(episode(&head.alert).to_owned());
                }
            } else if first && matches!(settled, Settled::Refused) {
                ledger.see("undeliverable: refused");
                self.gone.early += 1;
                ledger.check(
                    Rule::UndeliverableWithReason,
                    &who,
                    !stays && told_of(&head.alert, true) == 1,
                    || format!("{} was refused for good, stays: {stays}", head.alert.cause_id),
                )?;
                lost += 1;
            } else if first && old && matches!(settled, Settled::Again { .. }) {
                ledger.see("undeliverable: too old");
                self.gone.early += 1;
                ledger.check(
                    Rule::UndeliverableWithReason,
                    &who,
                    !stays && told_of(&head.alert, true) == 1,
                    || {
                        format!(
                            "{} failed again and is too old, stays: {stays}",
                            head.alert.cause_id
                        )
                    },
                )?;
                lost += 1;
            } else if stays {
                break;
            } else if told_of(&head.alert, true) > 0 {
                ledger.see("undeliverable: waited too long");
                self.gone.late += 1;
                ledger.check(Rule::UndeliverableWithReason, &who, old, || {
                    format!(
                        "{} was put in at {:?} and is not too old",
                        head.alert.cause_id, head.put_at
                    )
                })?;
                lost += 1;
            } else {
                let needless = head.alert.color == Color::Green
                    && !head.tried
                    && !self.told.contains(episode(&head.alert));
                ledger.check(Rule::NeverOverwritten, &who, needless, || {
                    format!("{} is gone, and nobody took it", head.alert.cause_id)
                })?;
                ledger.see("needless green left out");
            }
            first = false;
            self.queue.pop_front();
        }
        let refused = facts
            .iter()
            .filter(|fact| {
                matches!(fact, Fact::Undeliverable { alert, .. }
                    if !self.seen.contains(&alert.cause_id))
            })
            .count();
        self.gone.either = refused;
        let count = |undeliverable: bool| {
            facts
                .iter()
                .filter(|fact| match fact {
                    Fact::Delivered { .. } => !undeliverable,
                    Fact::Undeliverable { .. } => undeliverable,
                    _ => false,
                })
                .count()
        };
        ledger.check(
            Rule::ReceiptCounts,
            &who,
            count(false) == delivered && count(true) == lost + refused,
            || format!("{delivered} were taken and {lost} given up, and it says {facts:?}"),
        )
    }

    /// What is new in the box, each with its cause.
    fn arrive(
        &mut self,
        tick: &Tick<'_>,
        ledger: &mut Ledger,
        codes: &[Arc<Alert>],
        (was_empty, full): (bool, bool),
        emissions: &Emissions<'_>,
        facts: &[&Fact],
    ) -> Verdict {
        let who = Arc::clone(&self.track.who);
        let mut at = 0;
        let mut kept = VecDeque::new();
        for entry in self.queue.drain(..) {
            if codes.get(at).is_some_and(|code| Arc::ptr_eq(code, &entry.alert)) {
                kept.push_back(entry);
                at += 1;
                continue;
            }
            ledger.check(
                Rule::NeverOverwritten,
                &who,
                full && entry.alert.reminder && at > 0,
                || {
                    format!(
                        "{} is gone from the middle of the box: {codes:?}",
                        entry.alert.cause_id
                    )
                },
            )?;
            ledger.see("reminder dropped from a full box");
        }
        self.queue = kept;
        let new = &codes[at..];
        for alert in new {
            ledger.check(Rule::EmittedForCause, &who, self.sink.wants(alert.color), || {
                format!("{} is not wanted here", alert.cause_id)
            })?;
            ledger.check(
                Rule::EmittedOnce,
                &who,
                self.seen.insert(alert.cause_id.clone()),
                || format!("{} was in the box before", alert.cause_id),
            )?;
            let news =
                emissions.news.is_some() && alert.color == Color::Purple && cause(alert).starts_with("host-");
            let fits = news
                || emissions
                    .wanted
                    .iter()
                    .any(|wanted| wanted.color == alert.color && wanted.cause == cause(alert))
                    && emissions.episode.is_none_or(|id| id == episode(alert))
                    && alert.happened_at == tick.wall
                    && alert.reminder == cause(alert).starts_with("reminder-");
            ledger.check(Rule::EmittedForCause, &who, fits, || {
                format!(
                    "{} has no cause; expected: {:?} of {:?}",
                    alert.cause_id, emissions.wanted, emissions.episode
                )
            })?;
            self.put += 1;
            self.queue.push_back(Entry {
                number: self.put,
                alert: Arc::clone(alert),
                put_at: tick.now,
                attempts: Vec::new(),
                tried: false,
            });
        }
        if let Some((least, most)) = emissions.news
            && self.sink.wants(Color::Purple)
        {
            let refused = if full { self.gone.either } else { 0 };
            ledger.check(
                Rule::HostHears,
                &who,
                (least..=most).contains(&(new.len() + refused)),
                || format!("{} news are told, {least} to {most} are known", new.len()),
            )?;
        }
        for wanted in emissions.wanted.iter().filter(|wanted| !wanted.may) {
            if !self.sink.wants(wanted.color) {
                continue;
            }
            let there = new
                .iter()
                .any(|alert| alert.color == wanted.color && cause(alert) == wanted.cause);
            let refused = facts.iter().any(|fact| {
                matches!(fact, Fact::Undeliverable { alert, .. }
                    if alert.color == wanted.color && cause(alert) == wanted.cause && full)
            });
            let behind = wanted.cause.starts_with("reminder-") && !(was_empty && new.is_empty());
            let needless = wanted.color == Color::Green
                && emissions.episode.is_none_or(|id| {
                    !self.told.contains(id) && !self.queue.iter().any(|entry| episode(&entry.alert) == id)
                });
            if refused {
                ledger.see("undeliverable: box full");
            }
            ledger.check(
                Rule::EmittedWhenDue,
                &who,
                there || refused || behind || needless,
                || format!("{wanted:?} is due and not there: {codes:?}"),
            )?;
        }
        Ok(())
    }

    fn send(&mut self, ledger: &mut Ledger, attempt: u32) -> Verdict {
        let who = Arc::clone(&self.track.who);
        let told = &self.told;
        let Some(head) = self.queue.front_mut() else {
            return ledger.check(Rule::FirstInFirstOut, &who, false, || {
                "nothing was sent".to_owned()
            });
        };
        ledger.check(
            Rule::FirstInFirstOut,
            &who,
            head.number >= self.sent_number,
            || format!("{} is sent after what came later", head.alert.cause_id),
        )?;
        self.sent_number = head.number;
        ledger.check(
            Rule::GreenOnlyIfTold,
            &who,
            head.alert.color != Color::Green || told.contains(episode(&head.alert)),
            || format!("{} is sent, and nothing was said before", head.alert.cause_id),
        )?;
        if !head.attempts.is_empty() {
            ledger.see("code sent again");
        }
        head.attempts.push(attempt);
        head.tried = true;
        self.sent = Some((attempt, Arc::clone(&head.alert)));
        Ok(())
    }
}
