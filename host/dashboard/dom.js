// Elements, made and brought up to date. Text becomes text nodes only: nothing here reads markup.

const SVG = "http://www.w3.org/2000/svg";
const HANDLERS = ["onclick", "onchange", "oninput", "onsubmit", "onkeydown", "ontoggle"];

function fill(element, props, kids) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element[name] = value;
    else if (name === "vars") for (const [key, to] of Object.entries(value)) element.style.setProperty(key, to);
    else if (name === "key") element.dataset.key = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, kids);
  return element;
}

function add(element, kids) {
  for (const kid of kids) {
    if (kid === undefined || kid === null || kid === false) continue;
    if (Array.isArray(kid)) add(element, kid);
    else element.append(kid instanceof Node ? kid : document.createTextNode(String(kid)));
  }
}

/** An element of HTML. `vars` are custom properties and styles, `key` tells siblings apart. */
export const h = (tag, props, ...kids) => fill(document.createElement(tag), props, kids);

/** An element of SVG. */
export const s = (tag, props, ...kids) => fill(document.createElementNS(SVG, tag), props, kids);

const TURNING = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Marks that turn text round are shown, not obeyed: `gnp.exe` is no `exe.png`. */
export const plain = (text) => String(text ?? "").replace(TURNING, (mark) => `⟨${mark.codePointAt(0).toString(16)}⟩`);

/** Text of somebody else's: whatever direction it has, it stays within itself. */
export const said = (text, props) => h("bdi", props, plain(text));

/** The same where it may be very long: its beginning, and all of it for whoever asks. */
export function wordy(text, most = 300) {
  const whole = plain(text);
  if (whole.length <= most) return said(whole);
  return [said(`${whole.slice(0, most)}…`), h("details", null, h("summary", null, "All of it"), h("p", { class: "all" }, said(whole)))];
}

const keyOf = (node) => (node.nodeType === 1 ? node.dataset.key : undefined);
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

/** Makes `old` what `now` is and keeps what is the same, so that focus, selection and scrolling stay. */
function morph(old, now) {
  if (!alike(old, now)) return old.replaceWith(now);
  if (old.nodeType !== 1) {
    if (old.data !== now.data) old.data = now.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // What somebody has opened stays open; a style can only be set through the object model.
    if (name !== "style" && name !== "open" && !now.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of now.attributes) {
    if (name !== "style" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.style.cssText !== now.style.cssText) old.style.cssText = now.style.cssText;
  for (const name of HANDLERS) old[name] = now[name];
  fit(old, [...now.childNodes]);
  // What somebody is about to change is his until he has.
  if (old instanceof HTMLSelectElement && old !== document.activeElement) old.value = now.value;
}

/** Makes these the children. */
export function fit(old, kids) {
  const keyed = new Map();
  for (const node of old.childNodes) if (keyOf(node) !== undefined) keyed.set(keyOf(node), node);
  let at = old.firstChild;
  for (const kid of kids) {
    const key = keyOf(kid);
    let match = key === undefined ? at : keyed.get(key);
    if (match && (!alike(match, kid) || (key !== undefined && !keyed.delete(key)))) match = null;
    if (!match) old.insertBefore(kid, at);
    else {
      if (match === at) at = at.nextSibling;
      else old.insertBefore(match, at);
      morph(match, kid);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

let skew = 0;

/** The host's clock counts, not this machine's. */
export const setNow = (text) => {
  const at = Date.parse(text);
  if (!Number.isNaN(at)) skew = at - Date.now();
};
export const now = () => Date.now() + skew;

const UNITS = [
  [86400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
];

/** A span in two words at most. */
export function span(ms) {
  let seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds === 0) return ms > 0 && ms < 500 ? `${Math.max(1, Math.round(ms))} ms` : "0 s";
  const at = UNITS.findIndex(([size]) => seconds >= size);
  const [size, name] = UNITS[at];
  const whole = Math.floor(seconds / size);
  const [less, lesser] = UNITS[at + 1] || [];
  const rest = less && whole < 10 ? Math.floor((seconds % size) / less) : 0;
  return `${whole} ${name}${rest ? ` ${rest} ${lesser}` : ""}`;
}

const LONG = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

export const clock = (at) => CLOCK.format(at);
export const day = (at) => DAY.format(at);
export const long = (at) => LONG.format(at);

/** A time as how long ago it was, or how soon it will be; the time itself where one points. */
export function ago(text, words) {
  const at = Date.parse(text ?? "");
  if (Number.isNaN(at) || at === 0) return h("span", { class: "dim" }, "–");
  const away = now() - at;
  const shown = words === false ? span(Math.abs(away)) : away < -1500 ? `in ${span(-away)}` : away < 1500 ? "just now" : `${span(away)} ago`;
  return h("time", { datetime: text, title: long(at) }, shown);
}

const WHOLE = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const FINE = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const SHORT = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

export const count = (value) => WHOLE.format(value ?? 0);
export const fine = (value) => (Math.abs(value) >= 1000 ? WHOLE.format(value) : FINE.format(value));
export const compact = (value) => (Math.abs(value ?? 0) < 10000 ? WHOLE.format(value ?? 0) : SHORT.format(value));

/** Microseconds for people. */
export function micros(us) {
  if (us === null || us === undefined) return "–";
  if (us < 1000) return `${fine(us)} µs`;
  return us < 1e6 ? `${fine(us / 1000)} ms` : us < 12e7 ? `${fine(us / 1e6)} s` : span(us / 1000);
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${fine(value)} ${units[at]}`;
}

/** A value of a measurement with its unit. */
export function measured(value, unit) {
  if (unit === "s" || unit === "seconds") return micros(value * 1e6);
  if (unit === "ms") return micros(value * 1e3);
  if (unit === "us" || unit === "µs") return micros(value);
  if (unit === "B" || unit === "bytes" || unit === "By") return bytes(value);
  return `${fine(value)}${unit ? ` ${unit}` : ""}`;
}

let timer;

/** Tells everybody what has happened, also those who do not see it. */
export function tell(text, bad) {
  const place = document.getElementById("said");
  place.textContent = text;
  place.classList.toggle("bad", Boolean(bad));
  place.classList.add("shown");
  clearTimeout(timer);
  timer = setTimeout(() => place.classList.remove("shown"), 6000);
}

/** The same, for those only who do not see it. */
export function whisper(text) {
  const place = document.getElementById("said");
  if (!place.classList.contains("shown") && place.textContent !== text) place.textContent = text;
}
