// One monitor: how it is, how it was, what its checks did, and what can be done about it.

import { h, ago, said, wordy, span, count, compact, micros, bytes, measured, day, now } from "./dom.js";
import { get, path, query, optional } from "./api.js";
import { card, empty, facts, incident, labels, mark, shown, some, state, table, to, tree } from "./parts.js";
import { availability, latency } from "./charts.js";
import { actions } from "./actions.js";

const SPANS = { "5m": ["Day", 300e3, 86400e3], "1h": ["Week", 3600e3, 7 * 86400e3], "1d": ["Quarter", 86400e3, 90 * 86400e3] };
/** Checks that are shown at once. */
const RUNS = 8;
/** What so many of 100 checks did not exceed. */
const QUANTILES = ["p50_us", "p95_us", "p99_us"];
/** A sum of checks changes rarely. */
const HISTORY_MS = 30000;

async function load(ctx) {
  const [tenant, name] = ctx.names;
  const chosen = ctx.params.get("span");
  const step = SPANS[chosen] ? chosen : "5m";
  const kept = ctx.kept;
  const base = path`/monitors/${tenant}/${name}`;
  if (!kept.history || kept.step !== step || now() - kept.asked > HISTORY_MS) {
    const from = new Date(now() - SPANS[step][2]).toISOString();
    Object.assign(kept, { step, asked: now(), history: optional(get(`${base}/history${query({ span: step, from })}`, ctx.signal)) });
    kept.history.catch(() => (kept.history = null));
  }
  const [one, history, incidents] = await Promise.all([
    get(base, ctx.signal),
    kept.history,
    optional(get(`/api/v1/incidents${query({ monitor: `${tenant}/${name}`, limit: 10 })}`, ctx.signal)),
  ]);
  return { one, history, incidents, step };
}

function head(one, ctx) {
  const status = one.incident;
  return h(
    "header",
    { class: "title", key: "title" },
    h("p", { class: "crumbs" }, h("a", { href: "#/monitors" }, "Monitors"), " / ", said(one.tenant)),
    h("h1", { tabindex: "-1" }, said(one.name)),
    h("p", { class: "line" }, state(one.state), h("span", null, "for ", ago(one.since, false)), one.marks.map(mark), labels(one.labels, 12)),
    status && h("div", { class: "note bad", key: "incident" }, h("b", null, status.is_incident ? "An incident has been open" : "It has failed"), " for ", ago(status.opened_at, false), status.reason && h("span", { class: "dim" }, " (", said(status.reason), ")"), ": ", status.is_incident && status.id && [h("a", { href: to.incident(status.id) }, "what happened"), ". "], wordy(status.summary)),
    actions(one, ctx),
  );
}

function picks(step, ctx) {
  const [tenant, name] = ctx.names;
  return h("span", { class: "tabs", role: "group", "aria-label": "Span of time" }, Object.entries(SPANS).map(([key, [words]]) => h("button", { type: "button", key, "aria-pressed": String(key === step), onclick: () => ctx.go(`${to.monitor(tenant, name)}?span=${key}`, true) }, words)));
}

function past(history, step) {
  const points = history.points;
  if (!points.length) return empty("No sums of checks yet.", "Checks are summed up when five minutes are over.");
  const known = points.some((point) => point.p95_us);
  const rows = points.slice(-96).reverse().map((point) => h("tr", { key: point.at }, h("th", { scope: "row", class: "nowrap" }, h("time", { datetime: point.at }, day(Date.parse(point.at)))), h("td", { class: "num" }, count(point.runs)), h("td", { class: "num" }, count(point.failures)), h("td", { class: "num" }, count(point.faults)), h("td", { class: "num" }, micros(point.min_us)), h("td", { class: "num" }, micros(point.mean_us)), h("td", { class: "num" }, micros(point.max_us)), known && QUANTILES.map((name) => h("td", { class: "num" }, point[name] === null ? "–" : micros(point[name])))));
  const num = (name) => ({ name, num: true });
  return [
    h("h3", null, "How long checks took"),
    latency(points, SPANS[step][1]) || empty("No check has taken measurable time."),
    h("h3", null, "How many were well"),
    availability(points),
    h("details", null, h("summary", null, "Figures"), table("Sums of checks", ["From", num("Checks"), num("Failed"), num("Faults"), num("Least"), num("Mean"), num("Most"), ...(known ? ["50 %", "95 %", "99 %"].map(num) : [])], rows)),
  ];
}

const OUTCOMES = { healthy: "up", ok: "up", success: "up", degraded: "degraded", failed: "down", unhealthy: "down" };

function run(one) {
  const tone = OUTCOMES[one.status || one.outcome] || "unknown";
  return h(
    "li",
    { class: "run", key: `${one.at}` },
    h("div", { class: "line" }, h("span", { class: `state s-${tone}` }, said(one.status || one.outcome)), one.status && one.outcome !== one.status && h("span", { class: "mark" }, said(one.outcome)), h("span", { class: "when" }, ago(one.at))),
    h("div", { class: "say" }, one.reason && h("span", { class: "dim" }, said(one.reason), ": "), wordy(one.summary)),
    one.measurements.length > 0 && h("p", { class: "labels" }, one.measurements.map((each) => h("span", { class: "label" }, said(each.name), h("i", null, " "), h("b", null, said(measured(each.value, each.unit)))))),
    h("p", { class: "dim small" }, `took ${micros(one.took_us)} · CPU ${micros(one.cpu_us)} · fuel ${compact(one.fuel)} · memory ${bytes(one.peak_memory_bytes)} · late by ${micros(one.lateness_us)}`),
  );
}

const list = (those) => h("ol", { class: "rows" }, those.map(run));
const runs = (all) => [list(all.slice(0, RUNS)), all.length > RUNS && h("details", null, h("summary", null, `${count(all.length - RUNS)} earlier`), list(all.slice(RUNS)))];

function waits(lane) {
  const who = { pulse: "Next check", intervention: "Repair", code: "Alerts" }[lane.kind] || lane.kind;
  return [lane.notifier ? h("span", null, `${who} to `, said(lane.notifier)) : who, h("span", null, lane.phase === "pending" ? "under way" : lane.phase === "needed" ? "as soon as there is room" : lane.phase === "paused" ? "paused" : lane.at ? ago(lane.at) : "nothing to do", lane.codes > 0 && h("span", { class: "dim" }, `, ${count(lane.codes)} waiting`), lane.next_code && [": ", h("b", { class: `code c-${lane.next_code.color}` }, said(lane.next_code.color)), " ", said(lane.next_code.title)])];
}

function beats(one) {
  const beat = one.heartbeat;
  if (!beat) return [["Plugin", one.plugin && h("a", { href: "#/plugins" }, said(one.plugin))]];
  const late = Date.parse(beat.deadline) < now();
  return [
    ["Heartbeat", `every ${span(beat.every_ms)}, at most ${span(beat.grace_ms)} late`],
    ["Last heard", beat.heard_at ? ago(beat.heard_at) : "never"],
    [late ? "Silent since" : "Next until", ago(beat.deadline)],
  ];
}

function terms(one) {
  const policy = one.policy;
  const ms = (value) => (value === null || value === undefined ? null : span(value));
  return facts([
    ...beats(one),
    [one.heartbeat ? "Looked at every" : "Every", ms(policy.interval_ms)],
    ["In trouble every", ms(policy.retry_interval_ms)],
    ["Timeout", ms(one.timeout_ms)],
    ["Incident after", some(policy.failure_threshold, "failure")],
    ["Well after", `${count(policy.success_threshold)} in a row`],
    ["Page after", ms(policy.page_after_ms)],
    ["Reminders every", ms(policy.repeat_ms)],
    ["Alerts to", one.notifiers.length ? h("span", null, one.notifiers.map((name, at) => [at ? ", " : "", said(name)])) : "nobody"],
    ["Depend on it", one.dependants ? some(one.dependants, "monitor") : null],
    ["In a row", `${count(one.counters.failures)} failures, ${count(one.counters.successes)} successes, ${count(one.counters.faults)} faults`],
    one.intervention && ["Repairs", h("span", null, said(one.intervention.plugin), `, at most ${count(one.intervention.max_attempts)} of an incident, ${count(one.counters.interventions)} done`)],
  ]);
}

export default {
  title: (ctx) => ctx.names[1],
  load,
  view: ({ one, history, incidents, step }, ctx) => [
    head(one, ctx),
    card("History", shown(history, (data) => past(data, step)), { key: "history", aside: picks(step, ctx) }),
    h("div", { class: "columns", key: "columns" }, card("Last checks", one.runs.length ? runs(one.runs) : empty("None is kept.", "Of a monitor that is well, checks are kept from now on while somebody looks."), { key: "runs" }), h("div", { class: "stack", key: "stack" }, card("Incidents", shown(incidents, (data) => (data.incidents.length ? h("ul", { class: "rows" }, data.incidents.map(incident)) : empty("None on record."))), { key: "incidents" }), card("How it is watched", [terms(one), h("h3", null, "What it waits for"), h("dl", { class: "facts" }, one.lanes.map((lane, at) => h("div", { key: `l${at}` }, waits(lane).map((part, side) => h(side ? "dd" : "dt", null, part)))))], { key: "terms" }), card("Settings", [tree(one.settings), one.intervention && [h("h3", null, "Of the repair"), tree(one.intervention.settings)]], { key: "settings" }))),
  ],
};
