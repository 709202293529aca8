//! Series of single monitors, for those that the operator has chosen.

use super::{exposition::Text, metrics::seconds, tokens::Caller};
use crate::{
    domain::{
        board::{Board, Standing},
        health::State,
        series::{Counted, Ending},
        time::Wall,
    },
    operate::series::{Choice, Chosen},
};

/// A monitor, as it is now.
struct Now<'c> {
    labels: Vec<(&'c str, &'c str)>,
    standing: Standing,
    counted: Counted,
}

impl<'c> Now<'c> {
    /// None: it is gone.
    fn of(chosen: &'c Chosen, board: &Board) -> Option<Self> {
        let spec = &chosen.row.spec;
        let mut labels = vec![("tenant", &*spec.tenant.name), ("monitor", spec.name())];
        labels.extend(chosen.labels.iter().map(|(name, value)| (&**name, &**value)));
        Some(Self {
            labels,
            standing: board.read(chosen.row.seat)?,
            counted: chosen.counts.read(),
        })
    }

    fn sample(&self, more: &[(&'c str, &'c str)], value: f64, text: &mut Text) {
        let labels: Vec<(&str, &str)> = self.labels.iter().chain(more).copied().collect();
        text.sample(&labels, value);
    }
}

/// Writes those that the caller may see.
pub fn write(choice: &Choice, board: &Board, caller: &Caller, text: &mut Text) {
    let own = choice
        .monitors
        .iter()
        .filter(|chosen| caller.may_see(&chosen.row.spec.tenant.name));
    let all: Vec<Now<'_>> = own.filter_map(|chosen| Now::of(chosen, board)).collect();
    text.gauge(
        "pulse_host_monitor_up",
        "Whether a chosen monitor is up or degraded; no series while that is unknown.",
    );
    for now in &all {
        if let Some(up) = up(now.standing.state) {
            now.sample(&[], f64::from(u8::from(up)), text);
        }
    }
    text.gauge(
        "pulse_host_monitor_state",
        "The state of a chosen monitor; always 1.",
    );
    for now in &all {
        now.sample(&[("state", now.standing.state.name())], 1.0, text);
    }
    text.gauge(
        "pulse_host_monitor_state_since_timestamp_seconds",
        "Since when it is in that state.",
    );
    for now in &all {
        now.sample(&[], f64::from(now.standing.since), text);
    }
    text.gauge(
        "pulse_host_monitor_mark",
        "What is said of a chosen monitor beside its state; always 1.",
    );
    for now in &all {
        for mark in now.standing.marks.iter() {
            now.sample(&[("mark", mark.name())], 1.0, text);
        }
    }
    let last = |now: &Now<'_>| now.counted.last;
    text.gauge(
        "pulse_host_monitor_last_check_timestamp_seconds",
        "When the last check of a chosen monitor ended.",
    );
    for (now, (at, _)) in all.iter().filter_map(|now| Some((now, last(now)?))) {
        now.sample(&[], seconds(Wall(at.0)), text);
    }
    text.gauge(
        "pulse_host_monitor_last_check_duration_seconds",
        "How long it took.",
    );
    for (now, (_, took)) in all.iter().filter_map(|now| Some((now, last(now)?))) {
        now.sample(&[], took.as_secs_f64(), text);
    }
    text.counter(
        "pulse_host_monitor_checks_total",
        "Checks of a chosen monitor since it was chosen, by how they ended.",
    );
    for now in &all {
        for (ending, count) in Ending::ALL.iter().zip(now.counted.endings) {
            now.sample(&[("outcome", ending.name())], count as f64, text);
        }
    }
    if caller.tenant.is_none() {
        text.gauge(
            "pulse_host_monitors_left_out",
            "Monitors that are chosen and have no series of their own, because there are too many.",
        );
        text.sample(&[], choice.left_out as f64);
    }
}

/// What a state says of the target, if anything.
fn up(state: State) -> Option<bool> {
    match state {
        State::Unknown => None,
        State::Up | State::Degraded => Some(true),
        State::Down | State::Verifying | State::Held | State::Unreachable => Some(false),
    }
}
