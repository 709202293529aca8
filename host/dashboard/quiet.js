// Pauses, silences and maintenance: when nothing is told, and of whom.

import { h, ago, now, plain, said } from "./dom.js";
import { get, post, remove, path, optional } from "./api.js";
import { card, empty, shown, to } from "./parts.js";
import { act, inquire } from "./actions.js";

const KINDS = {
  pauses: { title: "Pauses", one: "pause", none: "Nothing is paused.", does: "Nothing is checked, repaired or told." },
  silences: { title: "Silences", one: "silence", none: "Nothing is silenced.", does: "Checks and repairs go on; alerts are not sent." },
  maintenance: { title: "Maintenance", one: "maintenance window", none: "Nothing is under maintenance.", does: "Checks go on; nothing is repaired or told." },
};

async function load(ctx) {
  const kinds = Object.keys(KINDS);
  const lists = await Promise.all(kinds.map((kind) => optional(get(`/api/v1/${kind}`, ctx.signal))));
  return Object.fromEntries(kinds.map((kind, at) => [kind, lists[at]]));
}

/** When it holds, in words. */
function times(one) {
  if (one.at) return h("span", { class: "sub" }, said(`${(one.days || []).join(", ") || "daily"} at ${one.at} for ${one.for}, ${one.zone}`));
  return one.until ? ["ends ", ago(one.until)] : "until taken back";
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
    h("span", { class: "when" }, times(one), later && h("span", { class: "sub" }, "begins ", ago(one.next_change ?? one.from))),
    ctx.may("operator") && !one.configured && h("button", { type: "button", class: "quiet", onclick: end, "aria-label": plain(`End it: ${one.monitor || one.selector || "all monitors"}`) }, "End"),
  );
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
    const rows = answer.orders;
    return [h("p", { class: "dim small" }, KINDS[kind].does), rows.length ? h("ul", { class: "rows" }, rows.map((one) => row(kind, one, ctx))) : empty(KINDS[kind].none), maker(kind, ctx)];
  }), { key: kind });

export default {
  title: () => "Quiet",
  load,
  view: (data, ctx) => [h("h1", { key: "h1", tabindex: "-1" }, "Quiet"), ...Object.keys(KINDS).map((kind) => list(kind, data[kind], ctx))],
};
