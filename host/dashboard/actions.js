// What somebody does to a monitor. Only who may is shown it; the host decides all the same.

import { h, tell } from "./dom.js";
import { post, path } from "./api.js";
import { condition } from "./parts.js";

const SPANS = [["", "until it is taken back"], ["30m", "30 minutes"], ["2h", "2 hours"], ["8h", "8 hours"], ["1d", "a day"], ["7d", "a week"]];

/** Asks how long and why. Null: nothing is to be done. */
export function inquire({ title, text, button, spans, forever = true, danger }) {
  return new Promise((done) => {
    const comment = h("input", { id: "comment", maxlength: "500", autocomplete: "off" });
    const pick = spans && h("select", { id: "for" }, SPANS.filter(([value]) => value || forever).map(([value, words]) => h("option", { value, selected: value === "2h" }, words)));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
    const end = (answer) => {
      dialog.close();
      dialog.remove();
      done(answer);
    };
    dialog.oncancel = (event) => {
      event.preventDefault();
      end(null);
    };
    dialog.append(
      h(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            const answer = {};
            if (comment.value.trim()) answer.comment = comment.value.trim();
            if (pick?.value) answer.for = pick.value;
            end(answer);
          },
        },
        h("h2", { id: "dialog-title" }, title),
        text && h("p", { class: "dim" }, text),
        pick && h("label", { class: "field" }, h("span", null, "For"), pick),
        h("label", { class: "field" }, h("span", null, "Comment"), comment),
        h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => end(null) }, "Cancel"), h("button", { type: "submit", class: danger ? "main danger" : "main" }, button)),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
    (pick || comment).focus();
  });
}

/** Does it, says what came of it, and looks again. */
export async function act(ctx, words, doing) {
  try {
    const answer = await doing();
    tell(answer && answer.changed === false ? `${words}: it was so already` : `${words}: done`);
  } catch (error) {
    tell(error.unserved ? `${words}: not served by this host` : `${words}: ${error.message}`, true);
  }
  ctx.refresh(true);
}

/** The buttons for one monitor. */
export function actions(one, ctx) {
  if (!ctx.may("operator")) return null;
  const has = (name) => one.marks.includes(name);
  const send = (verb, body) => post(`${path`/monitors/${one.tenant}/${one.name}`}/${verb}`, body);
  const button = (key, words, doing, question) =>
    h("button", {
      type: "button",
      key,
      onclick: async () => {
        const body = question ? await inquire({ title: words, button: words, ...question }) : {};
        if (body) await act(ctx, words, () => doing(body));
      },
    }, words);
  const troubled = one.state !== "up" && one.state !== "unknown";
  return h(
    "div",
    { class: "buttons", key: "actions", role: "group", "aria-label": "Actions" },
    button("check", "Check now", (body) => send("check", body)),
    has("acknowledged")
      ? button("unacknowledge", "Take back acknowledgement", (body) => send("unacknowledge", body))
      : troubled && button("acknowledge", "Acknowledge", (body) => send("acknowledge", body), { spans: true, text: "You take care of it: nobody is reminded or paged meanwhile." }),
    has("paused")
      ? button("resume", "Resume", (body) => send("resume", body))
      : button("pause", "Pause", (body) => send("pause", body), { spans: true, danger: true, text: "It is not checked, and nothing of it is told." }),
    button("silence", "Silence", (body) => post(path`/silences`, { tenant: one.tenant, selector: condition("monitor", one.name), ...body }), { spans: true, forever: false, text: "It is checked and repaired; its alerts are not sent." }),
  );
}
