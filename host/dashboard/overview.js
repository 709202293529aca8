// The overview: what is wrong now, first.

import { h, ago, count, compact, micros, fine, now, span, said, plain } from "./dom.js";
import { get, query, optional } from "./api.js";
import { STATES, WRONG, MEANING, all, card, condition, empty, facts, incident, inWords, labels, mark, meter, named, shares, shown, sign, some, state, to } from "./parts.js";
import { spark } from "./charts.js";

const LIST = 12;
/** Figures that are newer are those of the same moment. */
const SAMPLE_MS = 2000;
const CALM = ["up", "unknown", "unreachable"];
const KEPT = 60;
const KINDS = { pulse: "Checks", intervention: "Repairs", code: "Alerts" };

async function load(ctx) {
  const { kept, signal } = ctx;
  const wrong = query({ sort: "state", limit: LIST, state: WRONG.join(",") });
  kept.labels ||= get("/api/v1/labels", signal);
  const names = await optional(kept.labels).catch(() => (kept.labels = null));
  const by = ctx.params.get("by") || chosen(names?.labels || []);
  const [status, list, summary, open] = await Promise.all([
    ctx.status(signal),
    get(`/api/v1/monitors${wrong}`, signal),
    optional(get(`/api/v1/monitors/summary${query({ by })}`, signal)),
    optional(get(`/api/v1/incidents${query({ open: true, limit: 8 })}`, signal)),
  ]);
  document.dispatchEvent(new CustomEvent("announce", { detail: list.states }));
  remember(kept, status);
  return { status, list, summary, open, by, names: names?.labels || [] };
}

/** A label by which a map tells something: neither one value for all nor one for each. */
function chosen(names) {
  const telling = names.filter(({ values }) => values > 1 && values <= 300).sort((a, b) => b.values - a.values);
  return telling[0]?.name || "plugin";
}

/** What was sent between two looks makes a rate. */
function remember(kept, status) {
  if (!status.jobs) return;
  const at = Date.parse(status.now);
  kept.rates ||= {};
  for (const kind of Object.keys(status.jobs)) {
    const sent = status.jobs[kind].sent;
    const rate = (kept.rates[kind] ||= { values: [] });
    if (rate.at && at - rate.at < SAMPLE_MS) continue;
    if (rate.at && sent >= rate.sent) rate.values.push(((sent - rate.sent) * 1000) / (at - rate.at));
    else if (!rate.at && status.started) rate.values.push((sent * 1000) / Math.max(1000, at - Date.parse(status.started)));
    if (rate.values.length > KEPT) rate.values.shift();
    Object.assign(rate, { at, sent });
  }
}

function verdict({ status, list }) {
  const { states } = list;
  const whole = all(states);
  const bad = WRONG.filter((name) => states[name]);
  const tone = !whole ? "unknown" : states.down || states.held ? "down" : bad.length ? "degraded" : states.unknown ? "unknown" : "up";
  const wrong = Object.fromEntries(bad.map((name) => [name, states[name]]));
  const words = !whole ? "Nothing is watched yet" : bad.length ? inWords(wrong) : states.unknown ? `${count(states.unknown)} not checked yet, nothing wrong so far` : "All is well";
  const reload = status.configuration?.last_reload;
  return [
    h("div", { class: `verdict s-${tone}`, key: "verdict" }, h("span", { class: "sign", "aria-hidden": "true" }, sign(tone)), h("div", null, h("h1", { tabindex: "-1" }, words), h("p", null, `${some(whole, "monitor")}${status.started ? `, watched for ${span(now() - Date.parse(status.started))}` : ""}`))),
    !status.ready && h("p", { class: "note bad", key: "unready" }, "The host is not ready: it starts or stops, or its scheduler is late."),
    reload && !reload.ok && h("p", { class: "note bad", key: "reload" }, "The last reload was refused, and the configuration from before counts: ", said(reload.message)),
    status.interventions_paused && h("p", { class: "note bad", key: "paused" }, "Repairs pause: too much fails at once, which looks like trouble of this host's own."),
    status.plugins_quarantined > 0 && h("p", { class: "note bad", key: "quarantine" }, `In quarantine: ${some(status.plugins_quarantined, "plugin")}. `, h("a", { href: "#/plugins" }, "Which")),
    status.codes_undeliverable > 0 && h("p", { class: "note bad", key: "undeliverable" }, `Not delivered, and given up: ${some(status.codes_undeliverable, "alert")}.`),
  ];
}

const tiles = (states) =>
  h("ul", { class: "tiles", key: "tiles", "aria-label": "Monitors by state" }, STATES.map((name) => h("li", { key: name }, h("a", { class: `tile s-${name}${states[name] ? "" : " none"}`, href: to.monitors({ state: name, sort: "since" }), title: MEANING[name] }, h("b", null, compact(states[name] || 0)), h("span", null, h("span", { class: "sign", "aria-hidden": "true" }, sign(name)), name)))));

const row = (one) =>
  h("li", { class: "row", key: `${one.tenant}/${one.name}` }, state(one.state), h("span", { class: "grow" }, named(one), h("span", { class: "sub" }, one.marks.map(mark), labels(one.labels, 3))), h("span", { class: "when" }, ago(one.since)));

function troubles(list) {
  const more = list.total - list.monitors.length;
  if (!list.monitors.length) return empty("Nothing is wrong.", all(list.states) ? "Each monitor that was checked is up." : "The configuration names no monitor. docs/config.md shows how one is written.");
  return [h("ul", { class: "rows" }, list.monitors.map(row)), more > 0 && h("p", { class: "more" }, h("a", { href: to.monitors({ sort: "state", state: WRONG.join(",") }) }, `${count(more)} more`))];
}

/** One tile for each value of a label, colored by what is wrong with how many of its monitors. */
function map(summary, by, kept) {
  const groups = summary.groups;
  if (!groups.length) return empty(["plugin", "tenant"].includes(by) ? "There are no monitors yet." : "No monitor has that label.");
  const dense = groups.length > 60;
  // One stop for Tab; arrows go on from there. With a thousand values nobody wants to press Tab a thousand times.
  const stop = groups.some(({ value }) => value === kept.cell) ? kept.cell : groups[0].value;
  const cells = groups.map(({ value, states }) => {
    const whole = all(states);
    const worst = STATES.find((name) => states[name]) || "unknown";
    const share = (states[worst] || 0) / (whole || 1);
    const heat = CALM.includes(worst) ? 24 : 45 + Math.round(share * 45);
    const title = plain(`${value || "(none)"}: ${inWords(states)}`);
    const link = h("a", { class: `cell s-${worst}`, href: to.monitors({ selector: condition(by, value), sort: "state" }), title, "aria-label": title, tabindex: value === stop ? "0" : "-1", vars: { "--heat": `${heat}%` } }, !dense && [h("b", null, value ? said(value) : h("i", null, "none")), h("small", null, worst === "up" ? count(whole) : `${compact(states[worst])} ${worst}`), shares(states)]);
    return h("li", { key: `v${value}` }, link);
  });
  return [h("ul", { class: `map${dense ? " dense" : ""}`, "aria-label": `Monitors by ${plain(by)}; arrows go from one to the next`, onkeydown: (event) => wander(event, groups, kept) }, cells), summary.left_out > 0 && h("p", { class: "dim small" }, `${count(summary.left_out)} more values are not shown.`)];
}

/** Arrows, Home and End go through the cells as they lie there. */
function wander(event, groups, kept) {
  const cells = [...event.currentTarget.querySelectorAll("a")];
  const from = cells.indexOf(document.activeElement);
  const row = cells.findIndex((cell) => cell.offsetTop > cells[0].offsetTop);
  const width = row < 0 ? cells.length : row;
  const last = cells.length - 1;
  const next = { ArrowRight: from + 1, ArrowLeft: from - 1, ArrowDown: from + width, ArrowUp: from - width, Home: 0, End: last }[event.key];
  if (from < 0 || next === undefined) return;
  event.preventDefault();
  if (next < 0 || next > last) return;
  kept.cell = groups[next].value;
  cells.forEach((cell, at) => cell.setAttribute("tabindex", at === next ? "0" : "-1"));
  cells[next].focus();
}

function byWhat({ names, by }, ctx) {
  const options = [...new Set([by, ...names.map(({ name }) => name), "plugin", "tenant"])];
  return h("label", { class: "pick" }, "by ", h("select", { id: "by", onchange: (event) => ctx.go(`#/?by=${encodeURIComponent(event.target.value)}`, true) }, options.map((name) => h("option", { value: name, selected: name === by }, plain(name)))));
}

function work(status, kept) {
  return h("div", { class: "work" }, Object.entries(status.jobs).map(([kind, jobs]) => {
    const values = kept.rates?.[kind]?.values || [];
    const rate = values[values.length - 1];
    const bad = Object.entries(jobs.outcomes || {}).filter(([, number]) => number > 0);
    return h("div", { class: "lane", key: kind }, h("h3", null, KINDS[kind] || kind), h("p", { class: "figure" }, h("b", null, rate === undefined ? "–" : fine(rate)), " per second"), values.length > 1 && spark(values, `${KINDS[kind] || kind} per second`), facts([
      ["Late by", h("span", null, micros(jobs.lateness_p50_us), h("span", { class: "dim" }, " median, "), micros(jobs.lateness_p99_us), h("span", { class: "dim" }, " p99"))],
      ["Out", h("span", null, `${count(jobs.pending)} of ${count(jobs.limit)} `, meter(jobs.pending, jobs.limit, `${KINDS[kind] || kind} under way`))],
      ["Waiting", count(jobs.needed)],
      jobs.lost ? ["Lost", count(jobs.lost)] : null,
    ]), bad.length > 0 && h("details", null, h("summary", null, "How they ended"), facts(bad.map(([name, number]) => [name, count(number)]))));
  }));
}

export default {
  title: () => "Overview",
  load,
  view: (data, ctx) => [
    ...verdict(data),
    tiles(data.list.states),
    h("div", { class: "columns", key: "columns" }, card("Wrong now", troubles(data.list), { key: "wrong" }), card("Open incidents", shown(data.open, (open) => (open.incidents.length ? h("ul", { class: "rows" }, open.incidents.map(incident)) : empty("No incident is open."))), { key: "open", aside: h("a", { href: "#/incidents" }, "All") })),
    card("Map", shown(data.summary, (summary) => map(summary, data.by, ctx.kept)), { key: "map", aside: byWhat(data, ctx) }),
    data.status.jobs && card("At work", work(data.status, ctx.kept), { key: "work", aside: data.status.codes_waiting ? `${count(data.status.codes_waiting)} alerts wait` : null }),
  ],
};
