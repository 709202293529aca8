// Plugins: what each is, what it may reach, and what it costs.

import { h, said, plain, ago, bytes, count, micros, span } from "./dom.js";
import { get, optional } from "./api.js";
import { card, empty, facts, shown, some, table, tree } from "./parts.js";

/** What an execution of each kind costs. */
const costs = (user) => Object.entries(user.cost_us || {}).map(([kind, us]) => `${micros(us)} a ${kind}`).join(", ");

function quarantine(user) {
  const { reason, tried_at, held } = user.quarantine;
  return h("p", { class: "note bad" }, "In quarantine for ", said(user.tenant), ": ", said(reason), `. Held back: ${some(held, "check")}. `, tried_at && ["Tried again ", ago(tried_at), "."]);
}

function users(plugin) {
  if (plugin.users.length < 2) return null;
  const num = (name) => ({ name, num: true });
  return h("details", null, h("summary", null, `Used by ${some(plugin.users.length, "tenant")}`), table(`Who uses ${plain(plugin.name)}`, ["Tenant", num("Jobs"), num("Faults"), "CPU time"], plugin.users.map((user) => h("tr", { key: user.tenant }, h("th", { scope: "row" }, said(user.tenant)), h("td", { class: "num" }, count(user.jobs)), h("td", { class: "num" }, count(user.faults)), h("td", null, costs(user))))));
}

/** What may be long, for whoever opens it. */
const fold = (name, value, none) => h("details", null, h("summary", null, name), value && Object.keys(value).length ? tree(value) : h("p", { class: "dim" }, none));

function one(plugin, within) {
  const { imports, users: all } = plugin;
  return card(plugin.name, [
    all.filter((user) => user.quarantine).map(quarantine),
    plugin.summary && h("p", { class: "dim" }, said(plugin.summary)),
    facts([
      ["Does", plugin.kinds.join(", ")],
      ["Version", plugin.version && said(plugin.version)],
      ["Interface", said(plugin.abi)],
      ["Size", bytes(plugin.size_bytes)],
      ["Digest", h("code", { class: "digest" }, said(plugin.digest))],
      within && [`Jobs, last ${span(within)}`, count(plugin.jobs)],
      within && ["Faults of its own", plugin.faults ? h("b", { class: "bad" }, count(plugin.faults)) : "0"],
      ["CPU time", all.length === 1 ? costs(all[0]) : null],
    ]),
    h("details", null, h("summary", null, `Imports (${imports.length})`), imports.length ? h("ul", { class: "plain" }, imports.map((name) => h("li", null, h("code", null, said(name))))) : h("p", { class: "dim" }, "It imports nothing.")),
    fold("Grants", plugin.grants, "Nothing is granted to it, or nothing that you may see."),
    fold("What its author asks for", plugin.requests, "Nothing."),
    users(plugin),
  ], { key: `${plugin.name}/${plugin.digest}`, aside: plugin.quarantined ? h("span", { class: "state s-down" }, "✕ quarantined") : null });
}

export default {
  title: () => "Plugins",
  load: async (ctx) => ({ list: await optional(get("/api/v1/plugins", ctx.signal)) }),
  view: ({ list }) => [h("h1", { key: "h1", tabindex: "-1" }, "Plugins"), list.trouble ? card("Plugins", shown(list, () => null), { key: "list" }) : list.plugins.length ? h("div", { class: "cards", key: "list" }, list.plugins.map((plugin) => one(plugin, list.window_ms))) : card("Plugins", empty("No plugin is loaded."), { key: "list" })],
};
