// What several pages show alike.

import { h, said, plain, ago, span, count } from "./dom.js";

/** The worst first, as the host sorts them. */
export const STATES = ["down", "held", "verifying", "degraded", "unknown", "unreachable", "up"];
/** Those in which somebody may have to do something. */
export const WRONG = ["down", "held", "verifying", "degraded", "unreachable"];
export const MARKS = ["paused", "maintenance", "acknowledged", "silenced"];

const SIGNS = { down: "✕", held: "‖", verifying: "↻", degraded: "!", unknown: "?", unreachable: "⌁", up: "✓" };
export const MEANING = {
  down: "An incident is open",
  held: "A repair is held back",
  verifying: "A repair was done; checks decide",
  degraded: "Failing, but not for long enough, or slow",
  unknown: "No result yet",
  unreachable: "What it depends on is down",
  up: "Healthy",
};

/** A state by sign, word and color: none of them is needed to tell it. */
export const state = (name) =>
  h("span", { class: `state s-${STATES.includes(name) ? name : "unknown"}`, title: MEANING[name] }, h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[name] || "?"), said(name));

export const sign = (name) => SIGNS[name] || "?";

export const mark = (name) => h("span", { class: "mark" }, said(name));

/** Its labels, the first few of them. */
export function labels(all, most = 4) {
  const pairs = Object.entries(all || {});
  const shown = pairs.slice(0, most).map(([name, value]) => h("span", { class: "label", title: plain(`${name}="${value}"`) }, said(name), h("i", null, "="), said(value)));
  if (pairs.length > most) shown.push(h("span", { class: "dim" }, `+${pairs.length - most}`));
  return h("span", { class: "labels" }, shown);
}

/** Where something is shown. */
export const to = {
  monitor: (tenant, name) => `#/monitors/${encodeURIComponent(tenant)}/${encodeURIComponent(name)}`,
  incident: (id) => `#/incidents/${encodeURIComponent(id)}`,
  monitors: (params) => {
    const some = Object.entries(params).filter(([, value]) => value);
    return `#/monitors${some.length ? `?${new URLSearchParams(some)}` : ""}`;
  },
};

/** A condition on a label, as selectors write it. */
export const condition = (name, value) => `${name}="${String(value).replace(/\\/g, "\\\\").replace(/"/g, '\\"')}"`;

export const named = (one, name = one.name) =>
  h("a", { class: "name", href: to.monitor(one.tenant, name), title: plain(name) }, one.tenant !== "default" && [said(one.tenant, { class: "dim" }), h("span", { class: "dim" }, " / ")], said(name));

/** A part of a page with a heading. */
export const card = (title, body, { aside, key } = {}) =>
  h("section", { class: "card", key: key || title, "aria-label": plain(title) }, h("div", { class: "head" }, h("h2", null, said(title)), aside && h("div", { class: "aside" }, aside)), body);

export const empty = (text, hint) => h("div", { class: "empty" }, h("p", null, text), hint && h("p", { class: "dim" }, hint));

/** Why something is not shown. */
function missing(trouble) {
  if (trouble.unserved) return empty("Not served by this host.", "Its API has no such part.");
  return h("div", { class: "empty bad" }, h("p", null, trouble.title), h("p", null, said(trouble.message)));
}

/** What came, or why it did not. */
export const shown = (data, view) => (data?.trouble ? missing(data.trouble) : view(data));

export const table = (caption, columns, rows) =>
  h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, h("table", null, h("caption", { class: "hide" }, caption), h("thead", null, h("tr", null, columns.map((column) => h("th", { scope: "col", class: column.num && "num" }, column.name ?? column)))), h("tbody", null, rows)));

/** A definition list: what is null is left out. */
export const facts = (pairs) =>
  h("dl", { class: "facts" }, pairs.filter((pair) => pair && pair[1] !== null && pair[1] !== undefined && pair[1] !== "").map(([name, value]) => h("div", { key: name }, h("dt", null, name), h("dd", null, value))));

/** Something that is full to a part. */
export function meter(part, whole, name) {
  const full = whole > 0 ? Math.min(1, part / whole) : 0;
  return h("span", { class: `meter${full > 0.9 ? " full" : ""}`, role: "meter", "aria-label": name, "aria-valuemin": 0, "aria-valuemax": whole, "aria-valuenow": Math.min(part, whole) }, h("i", { vars: { width: `${(full * 100).toFixed(1)}%` } }));
}

/** An incident in a list. */
export const incident = (one) =>
  h("li", { class: "row", key: one.id }, h("span", { class: `state ${one.closed_at ? "s-up" : "s-down"}` }, h("span", { class: "sign", "aria-hidden": "true" }, one.closed_at ? "✓" : "✕"), one.closed_at ? "over" : "open"), h("span", { class: "grow" }, h("a", { class: "name", href: to.incident(one.id), title: plain(one.monitor) }, one.tenant !== "default" && [said(one.tenant, { class: "dim" }), h("span", { class: "dim" }, " / ")], said(one.monitor)), one.summary && h("span", { class: "sub" }, said(one.summary))), h("span", { class: "when" }, ago(one.opened_at), h("span", { class: "sub" }, one.closed_at ? `lasted ${span(Date.parse(one.closed_at) - Date.parse(one.opened_at))}` : "not over")));

/** Settings, grants and the like: whatever tree it is, written as text. */
export function tree(value) {
  if (value === null || value === undefined) return h("p", { class: "dim" }, "Can't be shown.");
  if (typeof value === "object" && !Object.keys(value).length) return h("p", { class: "dim" }, "None.");
  return h("pre", { tabindex: "0" }, said(JSON.stringify(value, null, 2)));
}

/** "1 monitor", "2 monitors". */
export const some = (number, what) => `${count(number)} ${what}${number === 1 ? "" : "s"}`;

/** What a program would read of a step, for whoever asks. */
export function detail(value) {
  if (!value || typeof value !== "object" || !Object.keys(value).length) return null;
  return h("details", null, h("summary", null, "Details"), facts(Object.entries(value).map(([name, each]) => [plain(name), said(typeof each === "object" ? JSON.stringify(each) : String(each))])));
}

export const all = (counts) => Object.values(counts || {}).reduce((sum, one) => sum + one, 0);

/** A bar in which each state has its share. */
export function shares(counts) {
  const whole = all(counts) || 1;
  return h("span", { class: "shares", "aria-hidden": "true" }, STATES.filter((name) => counts[name]).map((name) => h("i", { class: `s-${name}`, vars: { "flex-grow": String(Math.max(counts[name] / whole, 0.012)) } })));
}

/** Counts in words, the worst first. */
export const inWords = (counts) =>
  STATES.filter((name) => counts[name]).map((name) => `${count(counts[name])} ${name}`).join(", ") || "none";
