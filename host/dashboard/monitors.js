// Monitors: filtered, searched, sorted, by the page. What is looked for stands in the address.

import { h, ago, compact } from "./dom.js";
import { get, query } from "./api.js";
import { MARKS, STATES, empty, labels, mark, named, sign, some, state, table } from "./parts.js";

const PAGE = 50;
const PAUSE_MS = 250;
const KEYS = ["search", "selector", "tenant", "state", "mark", "sort", "cursor"];
const SORTS = { name: "Name", state: "Worst first", since: "Latest change" };

function wanted(params) {
  return Object.fromEntries(KEYS.map((key) => [key, params.get(key) || ""]).filter(([, value]) => value));
}

async function load(ctx) {
  const asked = wanted(ctx.params);
  try {
    const page = await get(`/api/v1/monitors${query({ ...asked, limit: PAGE })}`, ctx.signal);
    ctx.kept.states = page.states;
    return { asked, page };
  } catch (error) {
    // What was asked for is wrong; the form to mend it stays.
    if (error.status === 400 || error.status === 404) return { asked, wrong: error.message };
    throw error;
  }
}

/** Another question begins on the first page. */
function change(ctx, changes, replace) {
  const { cursor, ...rest } = wanted(ctx.params);
  clearTimeout(ctx.kept.timer);
  // What has just been written counts, also where something else is pressed before it was taken.
  const next = { ...rest, ...ctx.kept.writing, ...changes };
  ctx.kept.writing = {};
  if (!("cursor" in changes)) ctx.kept.trail = [];
  for (const key of Object.keys(next)) if (!next[key]) delete next[key];
  ctx.go(`#/monitors${query(next)}`, replace);
}

function field(ctx, id, label, value, hint) {
  return h("label", { class: "field", key: id }, h("span", null, label), h("input", {
    id,
    type: "search",
    value,
    placeholder: hint,
    autocomplete: "off",
    spellcheck: "false",
    maxlength: id === "search" ? "256" : "4096",
    oninput: (event) => {
      ctx.kept.writing = { ...ctx.kept.writing, [id]: event.target.value.trim() };
      clearTimeout(ctx.kept.timer);
      ctx.kept.timer = setTimeout(() => change(ctx, {}, true), PAUSE_MS);
    },
  }));
}

function filters({ asked, wrong }, ctx) {
  const states = (asked.state || "").split(",").filter(Boolean);
  const toggle = (name) => {
    const next = states.includes(name) ? states.filter((one) => one !== name) : [...states, name];
    change(ctx, { state: next.join(",") });
  };
  const counts = ctx.kept.states || {};
  return h(
    "form",
    { class: "card filters", key: "filters", role: "search", "aria-label": "Which monitors", onsubmit: (event) => event.preventDefault() },
    h("div", { class: "fields" }, field(ctx, "search", "Name holds", asked.search || "", "shop"), field(ctx, "selector", "Selector", asked.selector || "", 'site="a",env!="dev"'), !ctx.me.caller.tenant && field(ctx, "tenant", "Tenant", asked.tenant || "", "any"), h("label", { class: "field", key: "mark" }, h("span", null, "Mark"), h("select", { id: "mark", onchange: (event) => change(ctx, { mark: event.target.value }) }, h("option", { value: "" }, "any or none"), MARKS.map((name) => h("option", { value: name, selected: asked.mark === name }, name)))), h("label", { class: "field", key: "sort" }, h("span", null, "Order"), h("select", { id: "sort", onchange: (event) => change(ctx, { sort: event.target.value === "name" ? "" : event.target.value }) }, Object.entries(SORTS).map(([name, words]) => h("option", { value: name, selected: (asked.sort || "name") === name }, words))))),
    h("div", { class: "chips", role: "group", "aria-label": "States" }, STATES.map((name) => h("button", { type: "button", key: name, class: `chip s-${name}`, "aria-pressed": String(states.includes(name)), onclick: () => toggle(name) }, h("span", { class: "sign", "aria-hidden": "true" }, sign(name)), `${name} `, h("b", null, compact(counts[name] || 0))))),
    wrong && h("p", { class: "bad", role: "alert" }, wrong),
  );
}

function list({ asked, page }, ctx) {
  if (!page.monitors.length) {
    const narrowed = Object.keys(asked).some((key) => key !== "sort");
    return empty(narrowed ? "No monitor is like that." : "There are no monitors.", narrowed ? h("a", { href: "#/monitors" }, "Show all") : "The configuration names none. docs/config.md shows how one is written.");
  }
  const rows = page.monitors.map((one) => h("tr", { key: `${one.tenant}/${one.name}` }, h("td", null, state(one.state)), h("th", { scope: "row" }, named(one)), h("td", { class: "nowrap" }, ago(one.since)), h("td", null, labels(one.labels), one.marks.map(mark)), h("td", { class: "dim" }, one.plugin || "–")));
  const trail = (ctx.kept.trail ||= []);
  const pages = h("nav", { class: "pages", "aria-label": "Pages of the list" }, h("span", { class: "dim" }, some(page.total, "monitor")), h("span", { class: "grow" }), asked.cursor && h("button", {
    type: "button",
    key: "before",
    onclick: () => {
      const before = trail.pop();
      change(ctx, { cursor: before || "" });
    },
  }, trail.length ? "Previous" : "First page"), page.next && h("button", {
    type: "button",
    key: "next",
    onclick: () => {
      trail.push(asked.cursor || "");
      change(ctx, { cursor: page.next });
      window.scrollTo(0, 0);
    },
  }, "Next"));
  return [table("Monitors", ["State", "Monitor", "Since", "Labels", "Plugin"], rows), pages];
}

export default {
  title: () => "Monitors",
  load,
  view: (data, ctx) => [h("h1", { key: "h1", tabindex: "-1" }, "Monitors"), filters(data, ctx), data.page && h("section", { class: "card", key: "list", "aria-label": "Found" }, list(data, ctx))],
  drawn: (ctx) => {
    if (ctx.params.get("find")) {
      ctx.params.delete("find");
      document.getElementById("search").focus();
    }
    // Somebody who has come by the way back finds in the fields what is asked for.
    for (const id of ["search", "selector", "tenant"]) {
      const place = document.getElementById(id);
      if (place && ctx.kept.writing?.[id] === undefined && place !== document.activeElement && place.value !== (ctx.params.get(id) || "")) place.value = ctx.params.get(id) || "";
    }
  },
};
