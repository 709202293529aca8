//! Every rule that the oracle checks, by name. `docs/simulation.md` says where each comes from.

macro_rules! rules {
    ($($rule:ident = $name:literal,)*) => {
        /// A rule of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $name] $rule,)*
        }

        impl Rule {
            pub const ALL: &[Self] = &[$(Self::$rule,)*];

            /// Its name in docs and findings.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }
        }
    };
}

rules! {
    PhaseHasCause = "phase-has-cause",
    OneAttempt = "one-attempt-at-a-time",
    AttemptRises = "attempt-rises",
    SentIfRoom = "sent-if-room",
    ChannelBound = "channel-bound",
    OrderOfNeed = "most-overdue-first",
    StaleChangesNothing = "stale-changes-nothing",
    DeadlinesNest = "deadlines-nest",
    NotLostEarly = "not-lost-early",
    LostInTime = "lost-in-time",
    StallGivesTimeBack = "stall-gives-time-back",
    FirstChecksSpread = "first-checks-spread",
    ChecksGoOn = "checks-go-on",
    NotTooSoon = "not-too-soon",
    FallsDue = "falls-due",
    StallMakesNoBurst = "stall-makes-no-burst",
    RetryBudget = "retry-budget",
    RetryInterval = "retry-interval",
    StateWord = "state-word",
    EpisodeOpens = "episode-opens",
    IncidentAtThreshold = "incident-at-threshold",
    FaultIsNoFailure = "fault-is-no-failure",
    ClosesOnHealth = "closes-on-health",
    PurpleOncePerOnset = "purple-once-per-onset",
    RepairWhenDue = "repair-when-due",
    RepairOnlyInIncident = "repair-only-in-incident",
    AttemptsBound = "attempts-bound",
    MonitorBudget = "monitor-budget",
    HostBudget = "host-budget",
    Cooldown = "cooldown",
    NeverBlindly = "never-blindly",
    HeldOnlyWhenSpent = "held-only-when-spent",
    FreshPulseAfterHold = "fresh-pulse-after-hold",
    ExhaustedWithReason = "exhausted-with-reason",
    EndIsHeard = "end-is-heard",
    LateEffectCounts = "late-effect-counts",
    NothingWhileDraining = "nothing-while-draining",
    EmittedWhenDue = "emitted-when-due",
    EmittedOnce = "emitted-once",
    EmittedForCause = "emitted-for-cause",
    FirstInFirstOut = "first-in-first-out",
    NeverOverwritten = "never-overwritten",
    UndeliverableWithReason = "undeliverable-with-reason",
    GreenOnlyIfTold = "green-only-if-told",
    SentAgainAlike = "sent-again-alike",
    PauseBeforeRetry = "pause-before-retry",
    GivenUpInTime = "given-up-in-time",
    OutboxBound = "outbox-bound",
    CodeOnItsWay = "code-on-its-way",
    ReceiptCounts = "receipt-counts",
    HostHears = "host-hears",
    ReloadKeeps = "reload-keeps",
    ReloadRaisesAttempt = "reload-raises-attempt",
    FiguresAddUp = "figures-add-up",
    HealsAtLast = "heals-at-last",
    Drains = "drains",
}
