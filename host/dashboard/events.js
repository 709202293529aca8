// Events: what happens, as it happens.

import { h, said, wordy, clock, long, count, tell } from "./dom.js";
import { get, query, optional } from "./api.js";
import { card, detail, empty, shown, to } from "./parts.js";

const PAGE = 100;
const KEPT = 300;

async function load(ctx) {
  const tenant = ctx.params.get("tenant") || "";
  const list = await optional(get(`/api/v1/events${query({ tenant, limit: PAGE })}`, ctx.signal));
  const kept = ctx.kept;
  kept.seen ||= new Map();
  for (const one of list.events || []) kept.seen.set(one.id, one);
  if (!kept.more && kept.next === undefined) kept.next = list.next ?? null;
  return { list };
}

function row(one) {
  const at = Date.parse(one.at);
  return h("li", { class: "row event", key: String(one.id) }, h("time", { class: "when", datetime: one.at, title: long(at) }, clock(at)), h("span", { class: "mark" }, said(one.what)), h("span", { class: "grow" }, one.monitor && [h("a", { class: "name", href: to.monitor(one.tenant || "default", one.monitor) }, said(one.monitor)), " "], h("span", { class: "say" }, wordy(one.line)), detail(one.detail)));
}

function sorted(kept) {
  const all = [...kept.seen.values()].sort((a, b) => Date.parse(b.at) - Date.parse(a.at) || (b.id > a.id ? 1 : -1));
  // Those that nobody has asked to keep make room.
  if (!kept.more) for (const one of all.splice(KEPT)) kept.seen.delete(one.id);
  return all;
}

async function earlier(ctx) {
  const kept = ctx.kept;
  try {
    const page = await get(`/api/v1/events${query({ tenant: ctx.params.get("tenant") || "", before: kept.next, limit: PAGE })}`, ctx.signal);
    kept.more = true;
    kept.next = page.next ?? null;
    for (const one of page.events) kept.seen.set(one.id, one);
    ctx.redraw();
  } catch (error) {
    tell(error.message, true);
  }
}

export default {
  title: () => "Events",
  load,
  heard: (one, ctx) => {
    (ctx.kept.seen ||= new Map()).set(one.id, one);
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
        all.length ? h("ol", { class: "rows", "aria-label": "Events, the latest first" }, all.map(row)) : shown(list, () => empty("Nothing has happened yet.", "Whatever changes is shown here as it happens.")),
        ctx.kept.next !== null && ctx.kept.next !== undefined && h("p", { class: "more" }, h("button", { type: "button", onclick: () => earlier(ctx) }, "Earlier ones")),
      ], { key: "events", aside: all.length > 0 && h("button", { type: "button", class: "quiet", "aria-pressed": String(Boolean(ctx.kept.holds)), onclick: hold }, ctx.kept.holds ? "Go on" : "Hold") }),
    ];
  },
};
