// Tenants: what each may have, and how much of it is used.

import { h, said, bytes, count, fine, micros } from "./dom.js";
import { get, optional } from "./api.js";
import { card, empty, meter, shown, some, to } from "./parts.js";

function value(name, number) {
  if (number === null || number === undefined) return null;
  if (typeof number !== "number") return typeof number === "object" ? JSON.stringify(number) : String(number);
  if (/bytes|memory|_size$/.test(name)) return bytes(number);
  if (name.endsWith("_us")) return micros(number);
  if (name.endsWith("_ms")) return micros(number * 1000);
  return Number.isInteger(number) ? count(number) : fine(number);
}

function one(tenant) {
  const quota = tenant.quota || {};
  const used = { ...(tenant.used || {}) };
  if (used.monitors === undefined && tenant.monitors !== undefined) used.monitors = tenant.monitors;
  const names = [...new Set([...Object.keys(quota), ...Object.keys(used)])];
  return card(tenant.name, h("dl", { class: "facts" }, names.map((name) => {
    const most = quota[name];
    const now = used[name];
    const shownAs = [value(name, now), value(name, most)];
    return h("div", { key: name }, h("dt", null, name.replace(/_(us|ms|bytes)$/, "").replace(/[_-]/g, " ")), h("dd", null, shownAs[0] === null ? h("span", { class: "dim" }, "at most ") : [said(shownAs[0]), shownAs[1] !== null && h("span", { class: "dim" }, " of ")], shownAs[1] !== null ? said(shownAs[1]) : shownAs[0] === null && "–", typeof most === "number" && typeof now === "number" && [" ", meter(now, most, name)]));
  })), { key: tenant.name, aside: h("a", { href: to.monitors({ tenant: tenant.name }) }, some(tenant.monitors, "monitor")) });
}

export default {
  title: () => "Tenants",
  load: async (ctx) => ({ list: await optional(get("/api/v1/tenants", ctx.signal)) }),
  view: ({ list }) => [h("h1", { key: "h1", tabindex: "-1" }, "Tenants"), list.trouble ? card("Tenants", shown(list, () => null), { key: "list" }) : list.tenants.length ? h("div", { class: "cards", key: "list" }, list.tenants.map(one)) : card("Tenants", empty("There are no tenants beside the operator."), { key: "list" })],
};
