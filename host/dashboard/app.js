// Which page is shown, who looks at it, and when it is asked for anew.

import { h, fit, tell, whisper, setNow, span, count, said, plain } from "./dom.js";
import { get, listen, token, setToken, Trouble } from "./api.js";
import { STATES, inWords } from "./parts.js";
import overview from "./overview.js";

/** How often a page is asked for while nothing says that something has changed, and while something does. */
const POLL_MS = 5000;
const CALM_MS = 15000;
const SOON_MS = 1000;
const AGAIN_MS = 15000;
const ENDED_MS = 2000;

// Each is fetched when somebody goes there.
const PAGES = [
  { path: /^\/$/, name: "Overview", href: "#/", load: async () => ({ default: overview }) },
  { path: /^\/monitors$/, name: "Monitors", href: "#/monitors", load: () => import("./monitors.js") },
  { path: /^\/monitors\/([^/]+)\/([^/]+)$/, under: "#/monitors", load: () => import("./monitor.js") },
  { path: /^\/incidents$/, name: "Incidents", href: "#/incidents", load: () => import("./incidents.js") },
  { path: /^\/incidents\/([^/]+)$/, under: "#/incidents", load: async () => ({ default: (await import("./incidents.js")).one }) },
  { path: /^\/events$/, name: "Events", href: "#/events", load: () => import("./events.js") },
  { path: /^\/quiet$/, name: "Quiet", href: "#/quiet", load: () => import("./quiet.js") },
  { path: /^\/plugins$/, name: "Plugins", href: "#/plugins", load: () => import("./plugins.js") },
  { path: /^\/tenants$/, name: "Tenants", href: "#/tenants", load: () => import("./tenants.js") },
];

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const live = document.getElementById("live");
const leave = document.getElementById("leave");
const theme = document.getElementById("theme");

let me = null;
let current = null;
let timer = null;
let stream = null;
let streaming = false;
let counted = "";
let down = 0;
let title = "";

// --- how it looks -------------------------------------------------------------------------------------------------

const THEMES = { auto: "As the system", light: "Light", dark: "Dark" };

function dress() {
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("pulse-host-theme") || "auto";
  } catch {
    // A browser that keeps nothing shows what the system says.
  }
  document.documentElement.dataset.theme = chosen;
  theme.textContent = { auto: "◐", light: "☀", dark: "☾" }[chosen];
  theme.setAttribute("aria-label", `Colors: ${THEMES[chosen]}`);
  theme.title = `Colors: ${THEMES[chosen]}`;
  return chosen;
}

theme.onclick = () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  try {
    localStorage.setItem("pulse-host-theme", next);
  } catch {
    document.documentElement.dataset.theme = next;
    return;
  }
  tell(`Colors: ${THEMES[dress()]}`);
};

// --- who looks ----------------------------------------------------------------------------------------------------

const RANKS = ["viewer", "operator", "admin"];

/** Whether the caller may do what takes that role. */
const may = (role) => RANKS.indexOf(me?.caller?.role) >= RANKS.indexOf(role);

leave.onclick = () => {
  setToken(null);
  stop();
  me = null;
  enter();
};

function ask(trouble) {
  stop();
  current = null;
  nav.replaceChildren();
  leave.hidden = true;
  live.textContent = "";
  down = 0;
  entitle("Sign in");
  const field = h("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true, placeholder: "pht_…", "aria-describedby": "token-hint" });
  const wrong = trouble && token() ? h("p", { class: "bad", role: "alert" }, said(trouble.message)) : null;
  const form = h(
    "form",
    {
      class: "card sign",
      onsubmit: (event) => {
        event.preventDefault();
        const text = field.value.trim();
        // What no header can carry is nobody's token.
        if (!/^[\x21-\x7e]+$/.test(text)) return field.focus();
        setToken(text);
        enter();
      },
    },
    h("h1", { tabindex: "-1" }, "Sign in"),
    h("label", { for: "token" }, "Token"),
    field,
    wrong,
    h("p", { class: "dim small", id: "token-hint" }, h("code", null, "pulse-host token new"), " makes one and says what to put into the configuration. This tab forgets it when it is closed."),
    trouble?.status === 403 && h("p", { class: "dim small" }, said(trouble.message)),
    h("button", { type: "submit", class: "main" }, "Sign in"),
  );
  main.replaceChildren(form);
  setToken(null);
  field.focus();
}

async function enter() {
  try {
    await status();
  } catch (error) {
    if (error instanceof Trouble && (error.status === 401 || error.status === 403)) return ask(error);
    main.replaceChildren(failed(error));
    clearTimeout(timer);
    timer = setTimeout(enter, POLL_MS);
    return;
  }
  leave.hidden = !token();
  follow();
  route();
}

async function status(signal) {
  me = await get("/api/v1/status", signal);
  setNow(me.now);
  return me;
}

/** A tab in the background tells how many are down. */
function entitle(text = title) {
  title = text;
  document.title = `${down ? `(${count(down)}) ` : ""}${title} – pulse-host`;
}

// --- pages --------------------------------------------------------------------------------------------------------

function failed(error) {
  const known = error instanceof Trouble;
  return h("div", { class: "card empty bad", role: "alert", key: "failed" }, h("h1", { tabindex: "-1" }, known ? error.title : "This page failed"), h("p", null, said(known ? error.message : String(error))));
}

function marked(here) {
  const links = PAGES.filter((page) => page.name && !(page.name === "Tenants" && me?.caller?.tenant)).map((page) => h("a", { href: page.href, "aria-current": page.href === here ? "page" : null }, page.name));
  fit(nav, links);
  // On a narrow screen the row of pages scrolls.
  nav.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function place() {
  const [at, behind] = location.hash.replace(/^#/, "").split("?");
  return { at: at || "/", params: new URLSearchParams(behind || "") };
}

async function route() {
  if (!me) return;
  const { at, params } = place();
  const found = PAGES.map((page) => ({ page, match: page.path.exec(at) })).find(({ match }) => match);
  // The same page with other parameters keeps its place and what was written into it.
  if (current && found && current.page === found.page && current.at === at) {
    current.ctx.params = params;
    return refresh(true);
  }
  current?.abort.abort();
  clearTimeout(timer);
  const abort = new AbortController();
  const ctx = { params, names: [], signal: abort.signal, me, may, kept: {}, refresh, go, status, streaming: () => streaming };
  current = { page: found?.page, at, abort, ctx, seen: null };
  const own = current;
  marked(found ? found.page.href || found.page.under : null);
  if (!found) {
    entitle("Nothing here");
    main.replaceChildren(h("div", { class: "card empty" }, h("h1", { tabindex: "-1" }, "There is no such page"), h("a", { href: "#/" }, "To the overview")));
    return focus();
  }
  main.setAttribute("aria-busy", "true");
  try {
    ctx.names = found.match.slice(1).map(decodeURIComponent);
    own.shows = (await found.page.load()).default;
  } catch (error) {
    if (own === current) main.replaceChildren(failed(error));
    return;
  }
  if (own !== current) return;
  entitle(plain(own.shows.title(ctx)));
  await refresh(false, true);
}

function go(hash, replace) {
  if (replace) history.replaceState(null, "", hash);
  else history.pushState(null, "", hash);
  route();
}

function focus() {
  const heading = main.querySelector("h1") || main;
  heading.setAttribute("tabindex", "-1");
  heading.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

let asked = 0;

/** Asks for the present page anew. */
async function refresh(now, first) {
  clearTimeout(timer);
  const own = current;
  if (!own?.shows) return;
  const number = ++asked;
  try {
    const data = await own.shows.load(own.ctx);
    if (own !== current || number !== asked) return;
    own.seen = Date.now();
    draw(own, data);
    if (!first) told("");
  } catch (error) {
    if (own.abort.signal.aborted || own !== current || number !== asked) return;
    if (error instanceof Trouble && error.status === 401) return ask(error);
    if (own.data && (error.status === 0 || error.status >= 500)) told(error.message);
    else fit(main, [failed(error)]);
    if (!(error instanceof Trouble)) console.error(error);
  } finally {
    if (own === current && number === asked) {
      main.removeAttribute("aria-busy");
      if (first) focus();
      later(streaming ? CALM_MS : POLL_MS);
    }
  }
}

function draw(own, data) {
  own.data = data;
  own.ctx.redraw = () => own === current && draw(own, own.data);
  const nodes = [own.shows.view(data, own.ctx)].flat(Infinity).filter(Boolean);
  fit(main, nodes);
  own.shows.drawn?.(own.ctx);
}

function later(ms) {
  clearTimeout(timer);
  timer = setTimeout(() => (document.hidden ? later(ms) : refresh()), ms);
}

function told(wrong) {
  const kind = wrong ? "off" : streaming ? "on" : "poll";
  live.className = `live ${kind}`;
  const words = wrong ? "No contact" : streaming ? "Live" : `Every ${span(POLL_MS)}`;
  live.textContent = words;
  live.title = wrong || (streaming ? "Changes are shown as they happen" : "Asks again by itself");
}

// --- live ---------------------------------------------------------------------------------------------------------

function stop() {
  stream?.abort();
  stream = null;
  streaming = false;
  clearTimeout(timer);
}

/** Follows the stream while somebody looks. */
async function follow() {
  stream?.abort();
  const own = (stream = new AbortController());
  while (!own.signal.aborted) {
    let pause = AGAIN_MS;
    try {
      await listen(hear, own.signal);
      // A host that starts anew ends it.
      pause = ENDED_MS;
    } catch (error) {
      if (own.signal.aborted) return;
      if (error instanceof Trouble && (error.unserved || error.status === 403)) {
        streaming = false;
        return told("");
      }
    }
    streaming = false;
    if (!own.signal.aborted) told("");
    await new Promise((done) => setTimeout(done, pause));
  }
}

function hear(kind, data) {
  if (kind === "open") {
    streaming = true;
    told("");
  } else if (kind === "event") {
    current?.shows?.heard?.(data, current.ctx);
    soon();
  } else if (kind === "states") {
    announce(data);
    soon();
  } else if (kind === "dropped") {
    current?.shows?.dropped?.(data.count, current.ctx);
  }
}

let waits = false;

/** Many changes at once are one look. */
function soon() {
  if (waits) return;
  waits = true;
  setTimeout(() => {
    waits = false;
    if (!document.hidden) refresh();
  }, SOON_MS);
}

/** Says how many are in which state, whenever that has changed. */
function announce(states) {
  const wrong = Object.fromEntries(STATES.filter((name) => name !== "up" && states[name]).map((name) => [name, states[name]]));
  const words = Object.keys(wrong).length ? inWords(wrong) : "all monitors are well";
  if (counted && counted !== words) whisper(`Monitors: ${words}`);
  counted = words;
  down = states.down || 0;
  entitle();
}

document.addEventListener("visibilitychange", () => {
  if (!me) return;
  // A page that nobody looks at holds no connection.
  if (document.hidden) {
    stream?.abort();
    streaming = false;
  } else {
    follow();
    refresh();
  }
});
document.addEventListener("announce", (event) => announce(event.detail));
document.getElementById("skip").onclick = (event) => {
  event.preventDefault();
  main.focus();
};
window.addEventListener("hashchange", route);
window.addEventListener("popstate", route);
document.addEventListener("keydown", (event) => {
  const writes = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  if (event.key !== "/" || writes || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const field = document.getElementById("search");
  if (field) field.focus();
  else location.hash = "#/monitors?find=1";
});
document.getElementById("foot").append("pulse-host · ", h("a", { href: "/metrics" }, "figures"), " · press / to search");

dress();
enter();
