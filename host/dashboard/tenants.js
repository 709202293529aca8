// Tenants: what each may have, and how much of it is used.

import { h, said, bytes, compact, count, fine, micros } from "./dom.js";
import { get, optional } from "./api.js";
import { card, empty, facts, meter, shown, some, to } from "./parts.js";

/** A figure as its name says: `cpu_seconds`, `sent_bytes`, `bytes_per_second`. */
function value(name, number) {
  if (typeof number !== "number") return said(typeof number === "object" ? JSON.stringify(number) : String(number));
  if (name === "memory_byte_seconds") return `${bytes(number)} for a second`;
  if (name.includes("bytes")) return bytes(number);
  if (name === "cpu_seconds") return micros(number * 1e6);
  return Number.isInteger(number) ? (number < 1e9 ? count(number) : compact(number)) : fine(number);
}

const words = (name) => name.replace("cpu", "CPU").replace("_byte_seconds", "").replace(/^(memory|sent|received|cpu|CPU)_(bytes|seconds)$/, "$1").replace(/_/g, " ");

function one(tenant) {
  const { quota, used } = tenant;
  const has = { ...used, monitors: tenant.monitors };
  const bounds = Object.entries(quota).map(([name, most]) => {
    const now = has[name];
    return [words(name), typeof now === "number" ? h("span", null, value(name, now), h("span", { class: "dim" }, " of "), value(name, most), " ", meter(now, most, words(name))) : h("span", null, h("span", { class: "dim" }, "at most "), value(name, most))];
  });
  const spent = Object.entries(used).filter(([name]) => !(name in quota)).map(([name, number]) => [words(name), value(name, number)]);
  return card(tenant.name, [
    tenant.standing && tenant.standing !== "present" && h("p", { class: "note bad" }, "Its configuration is wrong; in force: ", said(tenant.standing), "."),
    h("h3", null, "May use"),
    bounds.length ? facts(bounds) : h("p", { class: "dim" }, "Whatever there is: nothing has a bound."),
    h("h3", null, "Has used since the start"),
    facts(spent),
    tenant.plugins && h("details", null, h("summary", null, `Plugins (${tenant.plugins.length})`), h("p", null, said(tenant.plugins.join(", ")))),
  ], { key: tenant.name, aside: h("a", { href: to.monitors({ tenant: tenant.name }) }, some(tenant.monitors, "monitor")) });
}

export default {
  title: () => "Tenants",
  load: async (ctx) => ({ list: await optional(get("/api/v1/tenants", ctx.signal)) }),
  view: ({ list }) => [h("h1", { key: "h1", tabindex: "-1" }, "Tenants"), list.trouble ? card("Tenants", shown(list, () => null), { key: "list" }) : list.tenants.length ? h("div", { class: "cards", key: "list" }, list.tenants.map(one)) : card("Tenants", empty("There are no tenants beside the operator."), { key: "list" })],
};
