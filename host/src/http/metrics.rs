//! `/metrics`: the host's own figures in the text format of Prometheus.
//!
//! Nothing in it grows with the number of monitors, but for those that the operator has chosen, up to [`MONITORS_MAX`]. It
//! grows with that of tenants, up to [`TENANTS_MAX`].
//!
//! [`MONITORS_MAX`]: crate::domain::series::MONITORS_MAX

use super::{App, chosen, exposition::Text, process, tokens::Caller};
use crate::{
    domain::{histogram::Histogram, spec::Kind, tenant::Tenant, time::Wall},
    sandbox::Prober,
    scheduler::stats::{Counts, Snapshot, Times},
    store::Written,
};
use axum::{
    Extension,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use std::{sync::Arc, time::Duration};

/// Tenants that have series of their own.
const TENANTS_MAX: usize = 1000;

/// Bounds of the buckets of all histograms.
const BUCKETS_US: [u64; 16] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// Answers with all of them; a tenant with what is its own.
pub async fn metrics(State(app): State<App>, Extension(caller): Extension<Caller>) -> Response {
    let mut text = Text::default();
    if caller.tenant.is_none() {
        let snapshot = app.stats.snapshot();
        of_host(&app, &mut text);
        of_jobs(&snapshot, &mut text);
        of_monitors(&snapshot, &mut text);
        of_store(app.written.as_ref().map(|figures| figures.read()), &mut text);
        text.gauge("pulse_host_tenants", "Tenants, the operator among them.");
        text.sample(&[], app.tenants.all().len() as f64);
        process::write(&mut text, app.started);
    }
    let tenants = app.tenants.all();
    let own = tenants.iter().filter(|tenant| caller.may_see(&tenant.name));
    of_tenants(own, &mut text);
    chosen::write(&app.series.present(), &app.board, &caller, &mut text);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text.finish(),
    )
        .into_response()
}

/// The names of all metrics, as docs/metrics.md lists them.
#[must_use]
#[rustfmt::skip]
pub fn names() -> &'static [&'static str] {
    &[
        "pulse_host_build_info",
        "pulse_host_codes_held_total",
        "pulse_host_codes_silenced_total",
        "pulse_host_codes_undeliverable_total",
        "pulse_host_codes_waiting",
        "pulse_host_config_last_reload_success_timestamp_seconds",
        "pulse_host_config_last_reload_successful",
        "pulse_host_config_reloads_total",
        "pulse_host_events_dropped_total",
        "pulse_host_heartbeats_total",
        "pulse_host_host_news_dropped_total",
        "pulse_host_http_connections",
        "pulse_host_http_connections_refused_total",
        "pulse_host_http_requests_total",
        "pulse_host_http_stream_events_dropped_total",
        "pulse_host_http_streams",
        "pulse_host_interventions_held_total",
        "pulse_host_interventions_paused",
        "pulse_host_job_apply_seconds",
        "pulse_host_job_cost_seconds",
        "pulse_host_job_execution_seconds",
        "pulse_host_job_lateness_seconds",
        "pulse_host_job_queue_seconds",
        "pulse_host_jobs_batches_total",
        "pulse_host_jobs_full_total",
        "pulse_host_jobs_limit",
        "pulse_host_jobs_lost_total",
        "pulse_host_jobs_needed",
        "pulse_host_jobs_outcomes_total",
        "pulse_host_jobs_pending",
        "pulse_host_jobs_sent_total",
        "pulse_host_jobs_stale_total",
        "pulse_host_monitor_checks_total",
        "pulse_host_monitor_last_check_duration_seconds",
        "pulse_host_monitor_last_check_timestamp_seconds",
        "pulse_host_monitor_mark",
        "pulse_host_monitor_state",
        "pulse_host_monitor_state_since_timestamp_seconds",
        "pulse_host_monitor_up",
        "pulse_host_monitors",
        "pulse_host_monitors_left_out",
        "pulse_host_plugin_quarantines_total",
        "pulse_host_plugin_readmissions_total",
        "pulse_host_plugins",
        "pulse_host_plugins_quarantined",
        "pulse_host_probes_running",
        "pulse_host_probes_total",
        "pulse_host_pulses_held_total",
        "pulse_host_pulses_total",
        "pulse_host_retries_put_off_total",
        "pulse_host_scheduler_runs_total",
        "pulse_host_skipped_slots_total",
        "pulse_host_spans_total",
        "pulse_host_stalled_seconds_total",
        "pulse_host_stalls_total",
        "pulse_host_store_commit_longest_seconds",
        "pulse_host_store_commits_total",
        "pulse_host_store_cpu_seconds_total",
        "pulse_host_store_failures_total",
        "pulse_host_store_lost_total",
        "pulse_host_store_rows_total",
        "pulse_host_tenant_connections",
        "pulse_host_tenant_cpu_seconds_total",
        "pulse_host_tenant_denials_total",
        "pulse_host_tenant_fuel_total",
        "pulse_host_tenant_held_total",
        "pulse_host_tenant_jobs_total",
        "pulse_host_tenant_memory_byte_seconds_total",
        "pulse_host_tenant_received_bytes_total",
        "pulse_host_tenant_requests_total",
        "pulse_host_tenant_sent_bytes_total",
        "pulse_host_tenants",
        "pulse_host_unrecorded_total",
        "process_cpu_seconds_total",
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
    ]
}

fn of_host(app: &App, text: &mut Text) {
    text.gauge("pulse_host_build_info", "What runs; always 1.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let record = app.reloads.record();
    text.counter(
        "pulse_host_config_reloads_total",
        "Reloads, by what became of them.",
    );
    text.sample(&[("result", "success")], record.succeeded as f64);
    text.sample(&[("result", "failure")], record.failed as f64);
    let fine = record.last.as_ref().is_none_or(|last| last.told.is_ok());
    text.gauge(
        "pulse_host_config_last_reload_successful",
        "Whether the last attempt to reload took effect.",
    );
    text.sample(&[], f64::from(u8::from(fine)));
    text.gauge(
        "pulse_host_config_last_reload_success_timestamp_seconds",
        "When what runs was read.",
    );
    text.sample(&[], seconds(record.effective_since));
    let library = app.plugins.library();
    text.gauge("pulse_host_plugins", "Plugins that are loaded.");
    text.sample(&[], library.iter().count() as f64);
    let (open, refused, answered) = app.traffic.figures();
    text.gauge(
        "pulse_host_http_connections",
        "Connections to this server that are open.",
    );
    text.sample(&[], open as f64);
    text.counter(
        "pulse_host_http_connections_refused_total",
        "Connections that found no room.",
    );
    text.sample(&[], refused as f64);
    text.counter(
        "pulse_host_http_requests_total",
        "Requests that were answered, by class of status.",
    );
    for (class, count) in answered {
        text.sample(&[("status", class)], count as f64);
    }
    text.counter(
        "pulse_host_heartbeats_total",
        "Heartbeats to the outside, by what became of them.",
    );
    for (result, count) in app.beats.figures() {
        text.sample(&[("result", result)], count as f64);
    }
    text.counter(
        "pulse_host_spans_total",
        "Spans for the collector of traces, by what became of them.",
    );
    for (result, count) in app.exports.figures() {
        text.sample(&[("result", result)], count as f64);
    }
    text.gauge("pulse_host_probes_running", "Probes that run.");
    let running = app.prober.as_ref().map_or(0, Prober::running);
    text.sample(&[], running as f64);
    text.counter(
        "pulse_host_probes_total",
        "Probes that were asked for, by what became of them.",
    );
    for (result, count) in app.probes.figures() {
        text.sample(&[("result", result)], count as f64);
    }
    let (listeners, dropped) = app.feed.figures();
    text.gauge("pulse_host_http_streams", "Live streams that are open.");
    text.sample(&[], listeners as f64);
    text.counter(
        "pulse_host_http_stream_events_dropped_total",
        "Events that found no room in a live stream.",
    );
    text.sample(&[], dropped as f64);
}

/// Families without series where nothing is kept.
fn of_store(written: Option<Written>, text: &mut Text) {
    let figure = |text: &mut Text, value: fn(&Written) -> f64| {
        if let Some(written) = &written {
            text.sample(&[], value(written));
        }
    };
    text.counter("pulse_host_store_commits_total", "Transactions of the store.");
    figure(text, |written| written.commits as f64);
    text.counter("pulse_host_store_rows_total", "Rows written in them.");
    figure(text, |written| written.rows as f64);
    text.counter("pulse_host_store_failures_total", "Transactions that failed.");
    figure(text, |written| written.failures as f64);
    text.counter(
        "pulse_host_store_lost_total",
        "Facts that are not on record because nothing could be written for too long.",
    );
    figure(text, |written| written.lost as f64);
    text.gauge(
        "pulse_host_store_commit_longest_seconds",
        "The longest transaction since the start.",
    );
    figure(text, |written| written.slowest_us as f64 / 1e6);
    text.counter(
        "pulse_host_store_cpu_seconds_total",
        "CPU time of the store's thread.",
    );
    figure(text, |written| written.cpu_ns as f64 / 1e9);
}

type Figure = (&'static str, &'static str, fn(&Counts) -> f64);

fn of_jobs(snapshot: &Snapshot, text: &mut Text) {
    let gauges: [Figure; 3] = [
        (
            "pulse_host_jobs_needed",
            "Jobs that are due and wait for room.",
            |counts| counts.needed as f64,
        ),
        (
            "pulse_host_jobs_pending",
            "Jobs in a channel or running.",
            |counts| counts.pending as f64,
        ),
        (
            "pulse_host_jobs_limit",
            "Jobs that may be in a channel or running at present.",
            |counts| counts.limit as f64,
        ),
    ];
    for (name, help, figure) in gauges {
        text.gauge(name, help);
        each_kind(text, |kind| figure(snapshot.kinds.get(kind)));
    }
    text.gauge(
        "pulse_host_job_cost_seconds",
        "CPU time that one job takes, as a moving average.",
    );
    each_kind(text, |kind| snapshot.kinds.get(kind).cost.as_secs_f64());
    let counters: [Figure; 5] = [
        (
            "pulse_host_jobs_sent_total",
            "Jobs that were handed to workers.",
            |counts| counts.sent as f64,
        ),
        (
            "pulse_host_jobs_batches_total",
            "Batches in which they travelled.",
            |counts| counts.batches as f64,
        ),
        (
            "pulse_host_jobs_lost_total",
            "Jobs that never came back.",
            |counts| counts.lost as f64,
        ),
        (
            "pulse_host_jobs_stale_total",
            "Results that came too late to count.",
            |counts| counts.stale as f64,
        ),
        (
            "pulse_host_jobs_full_total",
            "Runs of the scheduler in which there was no room for what is due.",
            |counts| counts.full as f64,
        ),
    ];
    for (name, help, figure) in counters {
        text.counter(name, help);
        each_kind(text, |kind| figure(snapshot.kinds.get(kind)));
    }
    text.counter(
        "pulse_host_jobs_outcomes_total",
        "Jobs that ended, by how they did.",
    );
    for kind in Kind::ALL {
        for (class, count) in snapshot.kinds.get(kind).outcomes.iter() {
            text.sample(&[("kind", kind.name()), ("outcome", class)], count as f64);
        }
    }
    type Spans = (&'static str, &'static str, fn(&Times) -> &Histogram);
    let times: [Spans; 4] = [
        (
            "pulse_host_job_lateness_seconds",
            "From due to started.",
            |times| &times.lateness,
        ),
        ("pulse_host_job_queue_seconds", "From sent to started.", |times| {
            &times.queue
        }),
        (
            "pulse_host_job_execution_seconds",
            "From started to finished.",
            |times| &times.execution,
        ),
        (
            "pulse_host_job_apply_seconds",
            "From finished to applied.",
            |times| &times.apply,
        ),
    ];
    for (name, help, pick) in times {
        text.histogram(name, help);
        for kind in Kind::ALL {
            buckets(text, kind, pick(snapshot.times.get(kind)));
        }
    }
}

fn each_kind(text: &mut Text, value: impl Fn(Kind) -> f64) {
    for kind in Kind::ALL {
        text.sample(&[("kind", kind.name())], value(kind));
    }
}

fn buckets(text: &mut Text, kind: Kind, histogram: &Histogram) {
    let bounds = BUCKETS_US.map(Duration::from_micros);
    for (bound, count) in bounds.iter().zip(histogram.up_to(bounds)) {
        let bound = bound.as_secs_f64().to_string();
        text.part("_bucket", &[("kind", kind.name()), ("le", &bound)], count as f64);
    }
    let count = histogram.count() as f64;
    text.part("_bucket", &[("kind", kind.name()), ("le", "+Inf")], count);
    text.part("_sum", &[("kind", kind.name())], histogram.sum().as_secs_f64());
    text.part("_count", &[("kind", kind.name())], count);
}

fn of_monitors(snapshot: &Snapshot, text: &mut Text) {
    text.gauge("pulse_host_monitors", "Monitors, by their state.");
    for state in crate::domain::health::State::ALL {
        let count = snapshot.states.get(state.name()).copied().unwrap_or_default();
        text.sample(&[("state", state.name())], count as f64);
    }
    text.counter("pulse_host_pulses_total", "Reports of checks.");
    text.sample(&[("healthy", "true")], snapshot.healthy as f64);
    text.sample(&[("healthy", "false")], snapshot.not_healthy as f64);
    let gauges = [
        (
            "pulse_host_codes_waiting",
            "Codes that wait to be delivered.",
            snapshot.outbox as f64,
        ),
        (
            "pulse_host_plugins_quarantined",
            "Plugins of tenants that are quarantined.",
            snapshot.quarantined as f64,
        ),
        (
            "pulse_host_interventions_paused",
            "Tenants whose interventions pause because most of their monitors fail at once; the host as a whole is one more.",
            snapshot.paused as f64,
        ),
    ];
    for (name, help, value) in gauges {
        text.gauge(name, help);
        text.sample(&[], value);
    }
    let counters = [
        (
            "pulse_host_codes_undeliverable_total",
            "Codes that will never be delivered.",
            snapshot.undeliverable,
        ),
        (
            "pulse_host_codes_silenced_total",
            "Codes that were not sent because their monitor is silenced.",
            snapshot.silenced_codes,
        ),
        (
            "pulse_host_codes_held_total",
            "Times that a code was put off because its plugin is quarantined.",
            snapshot.held_codes,
        ),
        (
            "pulse_host_pulses_held_total",
            "Checks that were not run because their plugin is quarantined.",
            snapshot.held_pulses,
        ),
        (
            "pulse_host_interventions_held_total",
            "Times that an intervention was held back.",
            snapshot.held_interventions,
        ),
        (
            "pulse_host_plugin_quarantines_total",
            "Times that a plugin was quarantined.",
            snapshot.quarantines,
        ),
        (
            "pulse_host_plugin_readmissions_total",
            "Times that a plugin was not quarantined any more.",
            snapshot.readmissions,
        ),
        (
            "pulse_host_skipped_slots_total",
            "Checks that were left out because their next slot had come.",
            snapshot.skipped_slots,
        ),
        (
            "pulse_host_retries_put_off_total",
            "Retries that the host-wide budget put off.",
            snapshot.retries_put_off,
        ),
        (
            "pulse_host_events_dropped_total",
            "Events that nobody took in time.",
            snapshot.dropped_events,
        ),
        (
            "pulse_host_host_news_dropped_total",
            "News of the host that are in the log only.",
            snapshot.dropped_news,
        ),
        (
            "pulse_host_unrecorded_total",
            "Facts and sums of checks that are not on record because there was no room for them.",
            snapshot.unrecorded,
        ),
        (
            "pulse_host_scheduler_runs_total",
            "Runs of the scheduler.",
            snapshot.runs,
        ),
        (
            "pulse_host_stalls_total",
            "Times that the whole host stood still for a second or longer.",
            snapshot.stalls,
        ),
    ];
    for (name, help, value) in counters {
        text.counter(name, help);
        text.sample(&[], value as f64);
    }
    text.counter("pulse_host_stalled_seconds_total", "How long it stood still.");
    text.sample(&[], snapshot.stalled.as_secs_f64());
}

fn of_tenants<'t>(tenants: impl Iterator<Item = &'t Arc<Tenant>>, text: &mut Text) {
    let used: Vec<_> = tenants
        .take(TENANTS_MAX)
        .map(|tenant| (&*tenant.name, tenant.account.used()))
        .collect();
    type Column = (
        &'static str,
        &'static str,
        fn(&crate::domain::tenant::Used) -> f64,
    );
    let columns: [Column; 9] = [
        (
            "pulse_host_tenant_jobs_total",
            "Executions that have ended.",
            |used| used.jobs as f64,
        ),
        ("pulse_host_tenant_fuel_total", "Fuel.", |used| used.fuel as f64),
        (
            "pulse_host_tenant_cpu_seconds_total",
            "CPU time of guests.",
            |used| used.cpu.as_secs_f64(),
        ),
        (
            "pulse_host_tenant_memory_byte_seconds_total",
            "Peak memory of each execution times how long it took.",
            |used| used.memory_byte_ms as f64 / 1000.0,
        ),
        (
            "pulse_host_tenant_requests_total",
            "Requests, dialogues, look-ups and datagrams.",
            |used| used.requests as f64,
        ),
        (
            "pulse_host_tenant_sent_bytes_total",
            "Bytes sent to targets.",
            |used| used.bytes_sent as f64,
        ),
        (
            "pulse_host_tenant_received_bytes_total",
            "Bytes received from targets.",
            |used| used.bytes_received as f64,
        ),
        (
            "pulse_host_tenant_denials_total",
            "Calls that were refused for want of a grant or for a quota.",
            |used| used.denials as f64,
        ),
        (
            "pulse_host_tenant_held_total",
            "Times that a quota let jobs wait.",
            |used| used.held as f64,
        ),
    ];
    for (name, help, figure) in columns {
        text.counter(name, help);
        for (tenant, used) in &used {
            text.sample(&[("tenant", tenant)], figure(used));
        }
    }
    text.gauge("pulse_host_tenant_connections", "Sockets that are open.");
    for (tenant, used) in &used {
        text.sample(&[("tenant", tenant)], used.connections as f64);
    }
}

/// Seconds since 1970.
pub(super) fn seconds(at: Wall) -> f64 {
    at.0 as f64 / 1000.0
}
