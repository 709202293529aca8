// What somebody does to a monitor. Only who may is shown it; the host decides all the same.

import { h, tell } from "./dom.js";
import { post, path } from "./api.js";
import { condition } from "./parts.js";

const SPANS = [["", "until it is taken back"], ["30m", "30 minutes"], ["2h", "2 hours"], ["8h", "8 hours"], ["1d", "a day"], ["7d", "a week"]];

/** A control with its name above it, and a place below it for what is wrong with it. */
export function field(words, control, ...below) {
  control.id ||= `ask-${control.name}`;
  return h("div", { class: "field" }, h("label", { for: control.id }, words), control, below, h("p", { class: "wrong small" }));
}

export const lasting = (forever) =>
  field("For", h("select", { name: "for" }, SPANS.filter(([value]) => value || forever).map(([value, words]) => h("option", { value, selected: value === "2h" }, words))));

export const remark = () => field("Comment", h("input", { name: "comment", maxlength: "500", autocomplete: "off" }));

/** Whatever is filled in of what is shown, by its name; `days` may be several. */
function written(form) {
  const body = {};
  for (const [name, text] of new FormData(form)) {
    if (name === "days") (body.days ||= []).push(text);
    else if (text.trim()) body[name] = text.trim();
  }
  return body;
}

/** Shows what is wrong beside the field that the host names, as in `until: that is past`, or else above the buttons. */
function blame(form, words) {
  const [, name, wrong] = /^([a-z]+): (.*)$/s.exec(words) || [];
  const control = name && form.querySelector(`[name="${name}"]:enabled`);
  const place = (control?.closest(".field") || form).querySelector(":scope > .wrong");
  place.id = "ask-wrong";
  place.textContent = control ? wrong : words;
  if (!control) return;
  control.setAttribute("aria-invalid", "true");
  control.setAttribute("aria-describedby", place.id);
  control.focus();
}

function forgive(form) {
  for (const place of form.querySelectorAll(".wrong")) {
    place.textContent = "";
    place.removeAttribute("id");
  }
  for (const control of form.querySelectorAll("[aria-invalid]")) for (const name of ["aria-invalid", "aria-describedby"]) control.removeAttribute(name);
}

/** What came of it, in words. */
const came = (words, answer) => (answer?.unkept ? `${words}: done, but a restart forgets it: ${answer.unkept}` : answer?.changed === false ? `${words}: it was so already` : `${words}: done`);
const failed = (error) => (error.unserved ? "not served by this host" : error.message);

/** Asks, and sends what was written. Whatever the host finds wrong is shown in the dialog, which stays as it is. */
export function inquire(ctx, { title, text, button = title, danger }, fields, send) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
  // The browser gives the focus back to what opened it.
  const end = () => {
    dialog.close();
    dialog.remove();
  };
  const submit = h("button", { type: "submit", class: danger ? "main danger" : "main" }, button);
  const form = h(
    "form",
    {
      onsubmit: async (event) => {
        event.preventDefault();
        if (submit.getAttribute("aria-busy")) return;
        forgive(form);
        submit.setAttribute("aria-busy", "true");
        try {
          const answer = await send(written(form));
          if (dialog.open) end();
          tell(came(title, answer), Boolean(answer?.unkept));
        } catch (error) {
          if (dialog.open) blame(form, failed(error));
          else tell(`${title}: ${failed(error)}`, true);
        }
        submit.removeAttribute("aria-busy");
        ctx.refresh(true);
      },
    },
    h("h2", { id: "dialog-title" }, title),
    text && h("p", { class: "dim" }, text),
    fields,
    h("p", { class: "wrong", role: "alert" }),
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: end }, "Cancel"), submit),
  );
  dialog.oncancel = (event) => {
    event.preventDefault();
    end();
  };
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
  form.querySelector("input:enabled, select:enabled").focus();
}

/** Does it, says what came of it, and looks again. */
export async function act(ctx, words, doing) {
  try {
    tell(came(words, await doing()));
  } catch (error) {
    tell(`${words}: ${failed(error)}`, true);
  }
  ctx.refresh(true);
}

/** The buttons for one monitor. */
export function actions(one, ctx) {
  if (!ctx.may("operator")) return null;
  const has = (name) => one.marks.includes(name);
  const send = (verb) => (body) => post(`${path`/monitors/${one.tenant}/${one.name}`}/${verb}`, body);
  const button = (key, words, doing, question) =>
    h("button", {
      type: "button",
      key,
      onclick: () => (question ? inquire(ctx, { title: words, ...question }, [lasting(question.forever !== false), remark()], doing) : act(ctx, words, doing)),
    }, words);
  const troubled = one.state !== "up" && one.state !== "unknown";
  return h(
    "div",
    { class: "buttons", key: "actions", role: "group", "aria-label": "Actions" },
    button("check", "Check now", send("check")),
    has("acknowledged")
      ? button("unacknowledge", "Take back acknowledgement", send("unacknowledge"))
      : troubled && button("acknowledge", "Acknowledge", send("acknowledge"), { text: "You take care of it: nobody is reminded or paged meanwhile." }),
    has("paused")
      ? button("resume", "Resume", send("resume"))
      : button("pause", "Pause", send("pause"), { danger: true, text: "It is not checked, and nothing of it is told." }),
    button("silence", "Silence", (body) => post(path`/silences`, { tenant: one.tenant, selector: condition("monitor", one.name), ...body }), { forever: false, text: "It is checked and repaired; its alerts are not sent." }),
  );
}
