// Incidents: a list of them, and one as the story of what happened.

import { h, ago, said, wordy, span, clock, long } from "./dom.js";
import { get, path, query, optional } from "./api.js";
import { card, detail, empty, incident, some, shown, to } from "./parts.js";

const PAGE = 30;

export default {
  title: () => "Incidents",
  load: async (ctx) => {
    const open = ctx.params.get("open") === "true" ? "true" : "";
    const before = ctx.params.get("before") || "";
    return { open, before, list: await optional(get(`/api/v1/incidents${query({ open, before, limit: PAGE })}`, ctx.signal)) };
  },
  view: ({ open, before, list }, ctx) => {
    const tab = (value, words) => h("button", { type: "button", key: words, "aria-pressed": String(open === value), onclick: () => ctx.go(`#/incidents${query({ open: value })}`) }, words);
    return [
      h("h1", { key: "h1", tabindex: "-1" }, "Incidents"),
      card(open ? "Those that are open" : "All of them", shown(list, ({ incidents, next }) => [
        incidents.length ? h("ul", { class: "rows" }, incidents.map(incident)) : empty(open ? "No incident is open." : before ? "There are no earlier ones." : "No incident is on record."),
        h("nav", { class: "pages", "aria-label": "Pages of the list" }, before && h("a", { href: `#/incidents${query({ open })}` }, "Latest"), h("span", { class: "grow" }), next && h("a", { href: `#/incidents${query({ open, before: next })}` }, "Earlier")),
      ]), { key: "list", aside: h("span", { class: "tabs" }, tab("", "All"), tab("true", "Open")) }),
    ];
  },
};

/** How each kind of step looks; the words are those of the record. */
const SIGNS = {
  opened: ["degraded", "!"],
  incident: ["down", "✕"],
  intervening: ["verifying", "↻"],
  intervention: ["verifying", "↻"],
  held: ["held", "‖"],
  exhausted: ["down", "✕"],
  purple: ["held", "?"],
  delivered: ["unknown", "➤"],
  retrying: ["degraded", "➤"],
  undeliverable: ["down", "➤"],
  lost: ["degraded", "?"],
  acknowledged: ["unknown", "✎"],
  closed: ["up", "✓"],
  removed: ["unknown", "–"],
};

const toneOf = (what) => SIGNS[what] || ["unknown", "•"];

function step(one, at, all) {
  const [tone, sign] = toneOf(one.what);
  const since = Date.parse(one.at) - Date.parse(all[0].at);
  const gap = at ? Date.parse(one.at) - Date.parse(all[at - 1].at) : 0;
  return [
    gap > 60000 && h("li", { class: "gap", key: `g${at}` }, `${span(gap)} later`),
    h("li", { class: `step s-${tone}`, key: `s${at}` }, h("span", { class: "sign", "aria-hidden": "true" }, sign), h("div", { class: "grow" }, h("div", { class: "say" }, wordy(one.line, 600)), detail(one.detail)), h("time", { class: "when", datetime: one.at, title: long(Date.parse(one.at)) }, clock(Date.parse(one.at)), h("span", { class: "sub" }, `+${span(since)}`))),
  ];
}

export const one = {
  title: (ctx) => `Incident ${ctx.names[0]}`,
  load: async (ctx) => ({ story: await optional(get(path`/incidents/${ctx.names[0]}`, ctx.signal)) }),
  view: ({ story }) => {
    if (story.trouble) return [h("h1", { key: "h1", tabindex: "-1" }, "Incident"), card("What happened", shown(story, () => null), { key: "story" })];
    const hidden = story.steps - story.timeline.length;
    return [
      h("header", { class: "title", key: "title" }, h("p", { class: "crumbs" }, h("a", { href: "#/incidents" }, "Incidents"), " / ", said(story.id)), h("h1", { tabindex: "-1" }, said(story.monitor)), h("p", { class: "line" }, h("span", { class: `state ${story.closed_at ? "s-up" : "s-down"}` }, story.closed_at ? "✓ over" : "✕ open"), h("span", null, "began ", ago(story.opened_at), story.closed_at ? `, lasted ${span(Date.parse(story.closed_at) - Date.parse(story.opened_at))}` : ", not over"), h("a", { href: to.monitor(story.tenant, story.monitor) }, "The monitor")), story.summary && h("div", { class: "lead" }, story.reason && h("span", { class: "dim" }, said(story.reason), ": "), wordy(story.summary))),
      card("What happened", story.timeline.length ? [h("ol", { class: "story" }, story.timeline.map(step)), hidden > 0 && h("p", { class: "dim small" }, `${some(hidden, "more step")} ${hidden === 1 ? "was" : "were"} not kept.`), !story.closed_at && h("p", { class: "dim" }, "It is not over.")] : empty("Nothing is on record yet.", "What happens is written within a second."), { key: "story" }),
    ];
  },
};
