// Silences and maintenance: when nothing is told, and of whom.

import { h, ago, said } from "./dom.js";
import { get, post, remove, path, optional } from "./api.js";
import { card, empty, shown, to } from "./parts.js";
import { act, inquire } from "./actions.js";

const KINDS = {
  silences: { title: "Silences", one: "silence", none: "Nothing is silenced.", does: "Checks and repairs go on; alerts are not sent." },
  maintenance: { title: "Maintenance", one: "maintenance window", none: "Nothing is under maintenance.", does: "Checks go on; nothing is repaired or told." },
};

async function load(ctx) {
  const [silences, maintenance] = await Promise.all(Object.keys(KINDS).map((kind) => optional(get(`/api/v1/${kind}`, ctx.signal))));
  return { silences, maintenance };
}

function row(kind, one, ctx) {
  const end = () => act(ctx, `End the ${KINDS[kind].one}`, () => remove(path`/${kind}/${one.id}`));
  return h("li", { class: "row", key: String(one.id) }, h("span", { class: `state ${one.active ? "s-held" : "s-unknown"}` }, one.active ? "now" : Date.parse(one.from ?? "") > Date.now() ? "to come" : "not now"), h("span", { class: "grow" }, h("a", { class: "name", href: to.monitors({ selector: one.selector, tenant: one.tenant || "" }) }, said(one.selector || "all monitors")), h("span", { class: "sub" }, one.tenant && [said(one.tenant), " · "], one.comment && [said(one.comment), " · "], one.by && ["by ", said(one.by)])), h("span", { class: "when" }, one.until ? ["ends ", ago(one.until)] : "until taken back"), ctx.may("operator") && one.id !== null && h("button", { type: "button", class: "quiet", onclick: end, "aria-label": `End it: ${one.selector}` }, "End"));
}

function maker(kind, ctx) {
  if (!ctx.may("operator")) return null;
  const field = h("input", { id: `new-${kind}`, autocomplete: "off", spellcheck: "false", required: true, maxlength: "4096", placeholder: 'site="a"' });
  return h("form", {
    class: "inline",
    key: "new",
    onsubmit: async (event) => {
      event.preventDefault();
      const input = document.getElementById(`new-${kind}`);
      const selector = input.value.trim();
      if (!selector) return;
      const title = `New ${KINDS[kind].one}`;
      const body = await inquire({ title, text: KINDS[kind].does, button: "Begin", spans: true, forever: false });
      if (!body) return;
      input.value = "";
      const tenant = ctx.me.caller.tenant;
      await act(ctx, title, () => post(`/api/v1/${kind}`, { selector, ...(tenant ? { tenant } : {}), ...body }));
    },
  }, h("label", { for: `new-${kind}` }, "Selector"), field, h("button", { type: "submit" }, "Begin …"));
}

const list = (kind, data, ctx) =>
  card(KINDS[kind].title, shown(data, (answer) => {
    const rows = answer[kind] || answer.windows || [];
    return [h("p", { class: "dim small" }, KINDS[kind].does), rows.length ? h("ul", { class: "rows" }, rows.map((one) => row(kind, one, ctx))) : empty(KINDS[kind].none), maker(kind, ctx)];
  }), { key: kind });

export default {
  title: () => "Quiet",
  load,
  view: (data, ctx) => [h("h1", { key: "h1", tabindex: "-1" }, "Quiet"), ...Object.keys(KINDS).map((kind) => list(kind, data[kind], ctx))],
};
