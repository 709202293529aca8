// Pauses, silences and maintenance: when nothing is told, and of whom.

import { h, ago, now, plain, said, span } from "./dom.js";
import { get, post, remove, path, optional, query } from "./api.js";
import { card, empty, shown, some, to } from "./parts.js";
import { act, field, inquire, lasting, remark } from "./actions.js";

const KINDS = {
  pauses: { title: "Pauses", one: "pause", short: "pause", none: "Nothing is paused.", does: "nothing is checked, repaired or told." },
  silences: { title: "Silences", one: "silence", short: "silence", none: "Nothing is silenced.", does: "checks and repairs go on; alerts are not sent." },
  maintenance: { title: "Maintenance", one: "maintenance window", short: "window", none: "Nothing is under maintenance.", does: "checks go on; nothing is repaired or told." },
};

async function load(ctx) {
  const kinds = Object.keys(KINDS);
  const lists = await Promise.all(kinds.map((kind) => optional(get(`/api/v1/${kind}`, ctx.signal))));
  return Object.fromEntries(kinds.map((kind, at) => [kind, lists[at]]));
}

const DAYS = { mon: "Mon", tue: "Tue", wed: "Wed", thu: "Thu", fri: "Fri", sat: "Sat", sun: "Sun" };
const WHENS = { now: "Now", once: "Later", again: "Every week" };
const CALM_MS = 300;
const HOUR_MS = 3600000;

/** When it holds, in words. `later`: it does not yet. */
function times(one, later) {
  const edge = later ? ["begins ", ago(one.next_change ?? one.from)] : one.active && one.next_change ? ["ends ", ago(one.next_change)] : null;
  const sub = (...words) => h("span", { class: "sub" }, words);
  if (!one.at) return [edge || (one.until ? ["ended ", ago(one.until)] : "until taken back"), later && sub(one.until ? `for ${span(Date.parse(one.until) - Date.parse(one.from))}` : "until taken back")];
  const days = one.days?.length < 7 ? one.days.map((day) => DAYS[day] || day).join(", ") : "every day";
  return [said(`${days} at ${one.at} for ${one.for}`), sub(said(one.zone), edge && [" · ", edge])];
}

function whom(one) {
  if (one.monitor) return h("a", { class: "name", href: to.monitor(one.tenant || "default", one.monitor) }, said(one.monitor));
  return h("a", { class: "name", href: to.monitors({ selector: one.selector, tenant: one.tenant || "" }) }, said(one.selector || "all monitors"));
}

function row(kind, one, ctx) {
  const end = () => act(ctx, `End the ${KINDS[kind].one}`, () => remove(path`/${kind}/${one.id}`));
  const later = !one.active && Date.parse(one.next_change ?? one.from ?? "") > now();
  const remarks = [one.tenant && said(one.tenant), one.comment && said(one.comment), one.by && ["by ", said(one.by)], one.configured && "from the configuration", one.unkept && h("b", { class: "bad" }, "a restart forgets it: ", said(one.unkept))].filter(Boolean);
  return h(
    "li",
    { class: "row", key: String(one.id) },
    h("span", { class: `state ${one.active ? "s-held" : "s-unknown"}` }, one.active ? "now" : later ? "to come" : "over"),
    h("span", { class: "grow" }, whom(one), h("span", { class: "sub" }, remarks.map((remark, at) => [at ? " · " : "", remark]))),
    h("span", { class: "when" }, times(one, later)),
    ctx.may("operator") && !one.configured && h("button", { type: "button", class: "quiet", onclick: end, "aria-label": plain(`End it: ${one.monitor || one.selector || "all monitors"}`) }, "End"),
  );
}

/** How many monitors a selector means, while it is written. */
function meeting(tenant) {
  const place = h("p", { class: "dim small", id: "ask-meets", "aria-live": "polite" }, "By their labels; all conditions have to hold.");
  let timer = null;
  let asked = 0;
  const look = async (selector) => {
    const own = ++asked;
    const answer = selector && (await optional(get(`/api/v1/monitors${query({ selector, tenant, limit: 1 })}`)).catch(() => null));
    if (own !== asked || !answer) return;
    place.textContent = answer.trouble ? plain(answer.trouble.message) : `It means ${some(answer.total, "monitor")} now.`;
  };
  const oninput = (event) => {
    clearTimeout(timer);
    timer = setTimeout(look, CALM_MS, event.target.value.trim());
  };
  return field("Selector", h("input", { name: "selector", autocomplete: "off", spellcheck: "false", autocapitalize: "none", required: true, maxlength: "4096", placeholder: 'site="a"', "aria-details": place.id, oninput }), place);
}

/** The time by the clocks of the browser, as its fields want it. */
const local = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60000).toISOString().slice(0, 16);

/** Now, once later, or again and again: what is not chosen is neither shown, asked for nor sent. */
function schedule() {
  const hour = Math.ceil(now() / HOUR_MS) * HOUR_MS;
  const moment = (name, words, at) => field(words, h("input", { type: "datetime-local", name, value: local(at), required: true }));
  const days = Object.entries(DAYS).map(([value, words]) => h("label", { class: "tick" }, h("input", { type: "checkbox", name: "days", value }), words));
  const known = Intl.supportedValuesOf?.("timeZone") || [];
  const here = new Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const slot = (whens, ...fields) => h("fieldset", { class: "slot", "data-whens": whens }, fields);
  const slots = [
    slot("now", lasting(false)),
    slot("once", h("div", { class: "pair", vars: { "--least": "11.5rem" } }, moment("from", "From", hour), moment("until", "Until", hour + 2 * HOUR_MS))),
    slot(
      "again",
      h("fieldset", { class: "field" }, h("legend", null, "Days"), h("div", { class: "ticks days" }, days), h("p", { class: "wrong small" })),
      h(
        "div",
        { class: "pair" },
        field("At", h("input", { type: "time", name: "at", value: "22:00", required: true })),
        field("For", h("input", { id: "ask-span", name: "for", value: "2h", required: true, autocomplete: "off", spellcheck: "false", "aria-details": "ask-units" }), h("p", { class: "dim small", id: "ask-units" }, "As 90m or 1d12h; a week at most.")),
      ),
    ),
    // Those of the browser, unless somebody says otherwise.
    slot("once again", field("By the clocks of", h("input", { name: "zone", value: here, list: "ask-zones", required: true, autocomplete: "off", spellcheck: "false" })), h("datalist", { id: "ask-zones" }, [...new Set(["UTC", ...known])].map((value) => h("option", { value })))),
  ];
  const choose = (chosen) => {
    for (const one of slots) one.hidden = one.disabled = !one.dataset.whens.split(" ").includes(chosen);
  };
  choose("now");
  const choices = Object.entries(WHENS).map(([value, words]) => h("label", { class: "tick" }, h("input", { type: "radio", name: "when", value, checked: value === "now", onchange: () => choose(value) }), words));
  return [h("fieldset", { class: "field" }, h("legend", null, "When"), h("div", { class: "ticks" }, choices)), slots];
}

function maker(kind, ctx) {
  if (!ctx.may("operator")) return null;
  const { one, short, does } = KINDS[kind];
  const tenant = ctx.me.caller.tenant || undefined;
  // No day is chosen for somebody who has chosen none: that is for the host to refuse.
  const send = ({ when, ...body }) => post(`/api/v1/${kind}`, { tenant, ...body, days: when === "again" ? (body.days ?? []) : undefined });
  const onclick = () => inquire(ctx, { title: `New ${one}`, text: `While it holds, ${does}`, button: "Begin", danger: kind === "pauses" }, [meeting(tenant), schedule(), remark()], send);
  return h("button", { type: "button", key: "new", onclick }, `New ${short} …`);
}

const list = (kind, data, ctx) =>
  card(KINDS[kind].title, shown(data, (answer) => {
    const rows = answer.orders;
    return [h("p", { class: "dim small" }, `While one holds, ${KINDS[kind].does}`), rows.length ? h("ul", { class: "rows" }, rows.map((one) => row(kind, one, ctx))) : empty(KINDS[kind].none)];
  }), { key: kind, aside: !data.trouble && maker(kind, ctx) });

export default {
  title: () => "Quiet",
  load,
  view: (data, ctx) => [h("h1", { key: "h1", tabindex: "-1" }, "Quiet"), ...Object.keys(KINDS).map((kind) => list(kind, data[kind], ctx))],
};
