// Plugins: what each is, what it may reach, and what it costs.

import { h, said, bytes, count, compact, micros } from "./dom.js";
import { get, optional } from "./api.js";
import { card, empty, facts, shown, tree } from "./parts.js";

const number = (value) => (typeof value === "number" ? count(value) : said(typeof value === "object" ? JSON.stringify(value) : String(value)));

/** What it costs, by whatever figures the host has; names tell units. */
function cost(figures) {
  return Object.entries(figures || {}).map(([name, value]) => {
    const words = name.replace(/_(us|bytes)$/, "").replace(/_/g, " ");
    const shownAs = typeof value !== "number" ? number(value) : name.endsWith("_us") ? micros(value) : name.endsWith("_bytes") ? bytes(value) : compact(value);
    return [words, shownAs];
  });
}

function one(plugin) {
  const kinds = [plugin.kinds ?? plugin.kind].flat().filter(Boolean).join(", ");
  return card(plugin.name, [
    plugin.quarantined && h("p", { class: "note bad" }, "In quarantine: its own faults, not its targets, have stopped it."),
    facts([
      ["Does", kinds],
      ["Tenant", plugin.tenant && said(plugin.tenant)],
      ["Version", plugin.version && said(plugin.version)],
      ["Interface", plugin.abi && said(plugin.abi)],
      ["Size", plugin.size_bytes === undefined ? null : bytes(plugin.size_bytes)],
      ["Digest", plugin.digest && h("code", { class: "digest" }, said(plugin.digest))],
      ["Jobs", typeof plugin.jobs === "number" ? count(plugin.jobs) : plugin.jobs && number(plugin.jobs)],
      ["Faults", plugin.faults === undefined || plugin.faults === null ? null : number(plugin.faults)],
      ...cost(plugin.cost),
    ]),
    h("details", null, h("summary", null, `Imports (${(plugin.imports || []).length})`), (plugin.imports || []).length ? h("ul", { class: "plain" }, plugin.imports.map((name) => h("li", null, h("code", null, said(typeof name === "string" ? name : JSON.stringify(name)))))) : empty("It imports nothing.")),
    h("details", null, h("summary", null, "Grants"), plugin.grants && Object.keys(plugin.grants).length ? tree(plugin.grants) : empty("Nothing is granted to it: it reaches nothing.")),
  ], { key: `${plugin.tenant || ""}/${plugin.name}/${plugin.digest}`, aside: plugin.quarantined ? h("span", { class: "state s-down" }, "✕ quarantined") : null });
}

export default {
  title: () => "Plugins",
  load: async (ctx) => ({ list: await optional(get("/api/v1/plugins", ctx.signal)) }),
  view: ({ list }) => [h("h1", { key: "h1", tabindex: "-1" }, "Plugins"), list.trouble ? card("Plugins", shown(list, () => null), { key: "list" }) : list.plugins.length ? h("div", { class: "cards", key: "list" }, list.plugins.map(one)) : card("Plugins", empty("No plugin is loaded."), { key: "list" })],
};
