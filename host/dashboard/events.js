// Events: what happens, as it happens.

import { h, said, wordy, clock, long, count, tell } from "./dom.js";
import { get, query, optional } from "./api.js";
import { card, detail, empty, shown, state, to } from "./parts.js";

const PAGE = 100;
const KEPT = 300;

/** The stream tells of things before they have a number on record. */
const keyOf = (one) => [one.at, one.what, one.tenant, one.monitor, one.line].join("\n");

async function load(ctx) {
  const tenant = ctx.params.get("tenant") || "";
  const list = await optional(get(`/api/v1/events${query({ tenant, limit: PAGE })}`, ctx.signal));
  const kept = ctx.kept;
  kept.seen ||= new Map();
  for (const one of list.events || []) kept.seen.set(keyOf(one), one);
  if (!kept.more && kept.next === undefined) kept.next = list.next ?? null;
  return { list };
}

function row(one) {
  const at = Date.parse(one.at);
  const line = one.what === "state" && one.detail ? [state(one.detail.from), " → ", state(one.detail.to), " ", wordy(one.line)] : wordy(one.line);
  const incident = one.what === "closed" && one.detail?.incident;
  return h("li", { class: "row event", key: keyOf(one) }, h("time", { class: "when", datetime: one.at, title: long(at) }, clock(at)), h("span", { class: "mark" }, said(one.what)), h("span", { class: "grow" }, one.monitor && [h("a", { class: "name", href: to.monitor(one.tenant || "default", one.monitor) }, said(one.monitor)), " "], h("span", { class: "say" }, line), incident ? [" ", h("a", { href: to.incident(incident) }, "what happened")] : one.what !== "state" && detail(one.detail)));
}

function sorted(kept) {
  const all = [...kept.seen.values()].sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  // Those that nobody has asked to keep make room.
  if (!kept.more) for (const one of all.splice(KEPT)) kept.seen.delete(keyOf(one));
  return all;
}

async function earlier(ctx) {
  const kept = ctx.kept;
  try {
    const page = await get(`/api/v1/events${query({ tenant: ctx.params.get("tenant") || "", before: kept.next, limit: PAGE })}`, ctx.signal);
    kept.more = true;
    kept.next = page.next ?? null;
    for (const one of page.events) kept.seen.set(keyOf(one), one);
    ctx.redraw();
  } catch (error) {
    tell(error.message, true);
  }
}

export default {
  title: () => "Events",
  load,
  heard: (one, ctx) => {
    const tenant = ctx.params.get("tenant");
    if (tenant && tenant !== one.tenant) return;
    (ctx.kept.seen ||= new Map()).set(keyOf(one), one);
    ctx.redraw?.();
  },
  dropped: (number, ctx) => {
    ctx.kept.dropped = (ctx.kept.dropped || 0) + number;
    ctx.redraw?.();
  },
  view: ({ list }, ctx) => {
    // What comes while the list is held is shown when it goes on.
    const all = ctx.kept.holds || sorted(ctx.kept);
    const hold = () => {
      ctx.kept.holds = ctx.kept.holds ? null : all;
      ctx.redraw();
    };
    return [
      h("h1", { key: "h1", tabindex: "-1" }, "Events"),
      card("What happened last", [
        ctx.kept.dropped && h("p", { class: "note", key: "dropped" }, `${count(ctx.kept.dropped)} came faster than they could be shown here.`),
        all.length ? h("ol", { class: "rows", "aria-label": "Events, the latest first" }, all.map(row)) : shown(list, () => empty("Nothing is on record beside incidents.", "What changes from now on is shown here as it happens; what happened before in an incident stands in its story.")),
        ctx.kept.next !== null && ctx.kept.next !== undefined && h("p", { class: "more" }, h("button", { type: "button", onclick: () => earlier(ctx) }, "Earlier ones")),
      ], { key: "events", aside: all.length > 0 && h("button", { type: "button", class: "quiet", "aria-pressed": String(Boolean(ctx.kept.holds)), onclick: hold }, ctx.kept.holds ? "Go on" : "Hold") }),
    ];
  },
};
