// The dashboard in a browser, against hosts that run. `cargo xtask browser` starts it.
//
//   node run.mjs --host PROGRAM --plugins FOLDER --browser PROGRAM --shots FOLDER --cache FOLDER [--million] [--files FOLDER]
//
// --files takes the dashboard from a folder instead of out of the program, which takes minutes to be built anew.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { start, target, token, until } from "./host.mjs";
import { HOSTILE, lively, million, nothing, rows, told } from "./scenes.mjs";

const { values: args } = parseArgs({ options: { host: { type: "string" }, plugins: { type: "string" }, browser: { type: "string" }, shots: { type: "string" }, cache: { type: "string" }, million: { type: "boolean" }, files: { type: "string" } } });
const BYTES_MAX = 150000;
const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1280, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 900 } },
  narrow: { colorScheme: "light", viewport: { width: 360, height: 740 }, reducedMotion: "reduce" },
  "dark-narrow": { colorScheme: "dark", viewport: { width: 360, height: 740 } },
};
/** What WCAG AA asks for: of text, of large text, and of what bounds a control. */
const CONTRAST = { text: 4.5, large: 3, bound: 3 };
const failing = encodeURIComponent("shop-1");
const hostile = encodeURIComponent(HOSTILE.image);
const PAGES = [
  ["overview", "#/"],
  ["monitors", "#/monitors?sort=state"],
  ["monitor-well", "#/monitors/default/shop-0"],
  ["monitor-down", `#/monitors/default/${failing}`],
  ["monitor-hostile", `#/monitors/default/${hostile}`],
  ["incidents", "#/incidents"],
  ["incident", "#/incidents/62b5a1c0f8e41"],
  ["events", "#/events"],
  ["quiet", "#/quiet"],
  ["plugins", "#/plugins"],
  ["tenants", "#/tenants"],
];

const browser = await chromium.launch({ executablePath: args.browser, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
await mkdir(args.shots, { recursive: true });
let done = 0;

async function check(name, body) {
  const since = Date.now();
  try {
    await body();
  } catch (error) {
    console.error(`FAILED ${name}`);
    // What it looked like then, of every tab that is open.
    const tabs = browser.contexts().flatMap((context) => context.pages());
    for (const [number, page] of tabs.entries()) await shot(page, `failed-${number}`).catch(() => {});
    throw error;
  }
  done += 1;
  console.log(`ok ${name} (${Date.now() - since} ms)`);
}

/** What is asked and not answered yet, of each tab. The stream, which never ends, is none of it. */
const flights = new WeakMap();
const API = /\/api\/v1\/(?!stream)/;

/** Nothing is drawn anew meanwhile: what the page asks for is answered afterwards. */
async function still(page, body) {
  const held = [];
  const hold = (route) => held.push(route);
  await page.route(API, hold);
  await until("what was asked before", () => flights.get(page).size <= held.length);
  try {
    return await body();
  } finally {
    await page.unroute(API, hold);
    // Whoever asked may have gone.
    for (const route of held) await route.fallback().catch(() => {});
  }
}

/** A tab that keeps whatever must not be. */
async function tab(host, look = LOOKS.light, { role = "operator", answers, signedIn = true } = {}) {
  const context = await browser.newContext({ locale: "en-GB", timezoneId: "UTC", ...look });
  const wrong = [];
  await context.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
  });
  if (signedIn) await context.addInitScript((text) => sessionStorage.setItem("pulse-host-token", text), token(role));
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  page.on("console", (message) => {
    // The browser itself writes a line of each answer that is an error, also where the page expects it.
    const isAnswer = message.text().startsWith("Failed to load resource") && message.location().url.includes("/api/v1/");
    if (["error", "warning"].includes(message.type()) && !isAnswer) wrong.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => {
    wrong.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  const flying = new Set();
  flights.set(page, flying);
  for (const end of ["requestfinished", "requestfailed"]) page.on(end, (request) => flying.delete(request));
  page.on("request", (request) => {
    const url = request.url();
    if (API.test(url)) flying.add(request);
    if (!url.startsWith(`${host.url}/`) && !url.startsWith("data:")) wrong.push(`asked elsewhere: ${url}`);
  });
  if (answers) await answer(page, answers);
  if (args.files) await page.route(/\/(assets\/[^/]*)?$/, fresh);
  return {
    page,
    go: async (hash) => {
      if (page.url() === "about:blank") await page.goto(`${host.url}/${hash}`);
      else await page.evaluate((to) => (location.hash = to), hash);
      await settled(page);
    },
    fine: async () => {
      const found = await page.evaluate(() => ({ owned: window.owned, violations: window.violations }));
      assert.equal(found.owned, undefined, "a string became code");
      assert.deepEqual([...wrong, ...found.violations], []);
    },
    close: () => context.close(),
  };
}

/** The program's answer with what lies in the folder now. */
async function fresh(route) {
  const response = await route.fetch();
  const name = new URL(route.request().url()).pathname.split("/").pop() || "index.html";
  await route.fulfill({ response, status: 200, body: await readFile(join(args.files, name)) });
}

const settled = async (page) => {
  await page.waitForFunction(() => document.querySelector("main h1") && !document.querySelector("main").hasAttribute("aria-busy"));
};

/** What takes hours to come about is answered here, in the form that docs/api.md says. */
async function answer(page, answers) {
  const json = (route, body) => route.fulfill({ status: 200, contentType: "application/json", body: JSON.stringify(body) });
  await page.route("**/api/v1/**", (route) => {
    const request = route.request();
    const at = new URL(request.url()).pathname.replace("/api/v1", "");
    if (request.method() !== "GET") {
      answers.posted?.push({ method: request.method(), at, body: request.postDataJSON() });
      return json(route, { changed: true });
    }
    if (at.endsWith("/history") && answers.history) return json(route, answers.history);
    if (at === "/stream" && answers.stream) {
      const body = answers.stream.map(([kind, data]) => `: beat\n\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`).join("");
      return route.fulfill({ status: 200, contentType: "text/event-stream", body });
    }
    return answers[at] ? json(route, answers[at]) : route.fallback();
  });
}

/** What holds for every page, however it looks. */
async function sound(page) {
  const found = await page.evaluate(() => {
    const visible = (node) => node.checkVisibility({ visibilityProperty: true });
    const named = (node) => (node.getAttribute("aria-label") || node.textContent || node.title || "").trim() || node.labels?.length;
    return {
      headings: document.querySelectorAll("h1").length,
      landmarks: ["header", "nav", "main", "footer"].filter((name) => !document.querySelector(name)),
      live: document.querySelectorAll("[aria-live]").length,
      foreign: document.querySelectorAll("main img, main script, main iframe, main object, body > img, svg script").length,
      nameless: [...document.querySelectorAll("a[href], button, input, select, textarea")].filter((node) => visible(node) && !named(node)).map((node) => node.outerHTML),
      wide: document.documentElement.scrollWidth - window.innerWidth,
      ids: [...document.querySelectorAll("[id]")].map((node) => node.id).filter((id, at, all) => all.indexOf(id) !== at),
    };
  });
  assert.equal(found.headings, 1, "one h1");
  assert.deepEqual(found.landmarks, [], "landmarks");
  assert.ok(found.live > 0, "a place that tells what changes");
  assert.equal(found.foreign, 0, "elements that a string has made");
  assert.deepEqual(found.nameless, [], "controls without a name");
  assert.deepEqual(found.ids, [], "two of the same id");
  assert.ok(found.wide <= 0, `it is ${found.wide} px wider than the window`);
}

/** Every text against what lies behind it, and the edge of every field, as they are drawn. */
async function legible(page) {
  const faint = await page.evaluate((least) => {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const known = new Map();
    // Whatever way a color is written, the canvas knows it.
    const rgba = (color) => {
      if (!known.has(color)) {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = color;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
        known.set(color, [r, g, b, a / 255]);
      }
      return known.get(color);
    };
    const over = (top, below, share = 1) => [0, 1, 2].map((at) => top[at] * top[3] * share + below[at] * (1 - top[3] * share)).concat(1);
    const light = (color) => [0.2126, 0.7152, 0.0722].reduce((sum, part, at) => {
      const value = color[at] / 255;
      return sum + part * (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    }, 0);
    const ratio = (a, b) => {
      const [low, high] = [light(a), light(b)].sort((x, y) => x - y);
      return (high + 0.05) / (low + 0.05);
    };
    const ancestors = (node) => {
      const all = [];
      for (let at = node; at; at = at.parentElement) all.unshift(getComputedStyle(at));
      return all;
    };
    const behind = (styles) => styles.reduce((below, style) => over(rgba(style.backgroundColor), below), rgba("Canvas"));
    const share = (styles) => styles.reduce((product, style) => product * Number(style.opacity), 1);
    const found = new Map();
    const hold = (node, color, below, seen, most, what) => {
      const value = ratio(over(rgba(color), below, seen), below);
      if (value < most - 0.005) found.set(`${what} ${node.tagName}.${node.getAttribute("class") || ""} in ${node.parentElement?.getAttribute("class") || ""}`, `${value.toFixed(2)} of ${most}: ${(node.textContent || node.placeholder || node.name || "").slice(0, 40)}`);
    };
    const drawn = (node) => node.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && node.getBoundingClientRect().width > 1;
    const open = document.querySelector("dialog[open]");
    const walker = document.createTreeWalker(open || document.body, NodeFilter.SHOW_TEXT);
    let texts = 0;
    while (walker.nextNode()) {
      const node = walker.currentNode.parentElement;
      if (!walker.currentNode.data.trim() || !drawn(node)) continue;
      const styles = ancestors(node);
      const own = styles.at(-1);
      const size = parseFloat(own.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(own.fontWeight) >= 700);
      hold(node, node instanceof SVGElement ? own.fill : own.color, behind(styles), share(styles), large ? least.large : least.text, "text");
      texts += 1;
    }
    for (const node of (open || document).querySelectorAll("input, select, textarea")) {
      if (!drawn(node)) continue;
      const styles = ancestors(node);
      hold(node, getComputedStyle(node, "::placeholder").color, behind(styles), share(styles), least.text, "placeholder");
      if (!["checkbox", "radio"].includes(node.type)) hold(node, styles.at(-1).borderTopColor, behind(styles.slice(0, -1)), share(styles), least.bound, "edge");
    }
    return { texts, found: [...found].map((pair) => pair.join(": ")) };
  }, CONTRAST);
  assert.ok(faint.texts > 5, `${faint.texts} texts`);
  assert.deepEqual(faint.found, [], "too faint");
}

/** Presses Tab until it comes round, and holds what had the focus against what can be used. */
const reached = (page) => still(page, async () => {
  const wanted = await page.evaluate(() => {
    document.activeElement?.blur();
    window.scrollTo(0, 0);
    // What lies behind a dialog is out of reach, and a choice of one is one stop.
    const all = [...(document.querySelector("dialog[open]") || document).querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")];
    window.wanted = all.filter((node) => !node.matches(":disabled, [type=radio]:not(:checked)") && node.tabIndex >= 0 && node.checkVisibility({ visibilityProperty: true }));
    window.got = new Set();
    window.unseen = [];
    // Times have a stop for each of their parts.
    return window.wanted.length + 8 * window.wanted.filter((node) => /^(time|datetime-local)$/.test(node.type)).length;
  });
  // Events that are streamed may add some on the way.
  for (let presses = 0, all = false; presses < 2 * wanted + 5 && !all; presses += 1) {
    await page.keyboard.press("Tab");
    all = await page.evaluate(() => {
      const node = document.activeElement;
      if (node === document.body) return false;
      window.got.add(node);
      const style = getComputedStyle(node);
      if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1) window.unseen.push(node.outerHTML.slice(0, 200));
      return window.wanted.every((one) => !one.isConnected || window.got.has(one));
    });
  }
  const found = await page.evaluate(() => ({ missed: window.wanted.filter((node) => node.isConnected && !window.got.has(node)).map((node) => node.outerHTML.slice(0, 200)), unseen: window.unseen }));
  assert.deepEqual(found.missed, [], "not reached by the keyboard");
  assert.deepEqual(found.unseen, [], "focus that nobody sees");
});

const shot = (page, name) => page.screenshot({ path: join(args.shots, `${name}.png`), fullPage: true });

async function everyPage(host, name, looks, pages, answers) {
  for (const look of looks) {
    const { page, go, fine, close } = await tab(host, LOOKS[look], { answers });
    for (const [title, hash] of pages) {
      await check(`${name}, ${look}: ${title}`, async () => {
        await go(hash);
        await sound(page);
        await shot(page, `${name}-${title}-${look}`);
        await legible(page);
        // Colors change nothing of the way of the focus.
        if (LOOKS[look].colorScheme === "light") await reached(page);
        await fine();
      });
    }
    await close();
  }
}

async function withHost(config, files, body, options) {
  const host = await start(args.host, args.plugins, config, files, { cache: args.cache, ...options });
  try {
    await body(host);
  } catch (error) {
    console.error(host.log().slice(-4000));
    throw error;
  } finally {
    await host.stop();
  }
}

async function signing(host) {
  await check("sign in by keyboard, and out", async () => {
    const { page, fine, close } = await tab(host, LOOKS.light, { signedIn: false });
    await page.goto(`${host.url}/#/monitors`);
    await page.waitForFunction(() => document.activeElement?.id === "token");
    await sound(page);
    await shot(page, "sign-in");
    await page.keyboard.type("pht_wrong");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").waitFor();
    assert.match(await page.getByRole("alert").textContent(), /nobody has that token/);
    await page.waitForFunction(() => document.activeElement?.id === "token");
    await page.keyboard.type(token("viewer"));
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Monitors" }).waitFor();
    assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage })), "{}", "no token outlasts the tab");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.locator("#token").waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    await fine();
    await close();
  });
  await check("a viewer is shown no action, an operator all of them", async () => {
    for (const [role, names] of [["viewer", []], ["operator", ["Check now", "Acknowledge", "Pause", "Silence"]]]) {
      const { page, go, fine, close } = await tab(host, LOOKS.light, { role });
      await go(`#/monitors/default/${failing}`);
      assert.deepEqual(await page.locator("header.title button").allTextContents(), names);
      await fine();
      await close();
    }
  });
}

async function deeds(host) {
  await check("an action by keyboard asks how long and why, and is sent", async () => {
    const posted = [];
    const { page, go, fine, close } = await tab(host, LOOKS.light, { answers: { posted } });
    await go(`#/monitors/default/${failing}`);
    await page.getByRole("button", { name: "Acknowledge" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await shot(page, "dialog");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.deepEqual(posted, [], "nothing is done where somebody thinks better of it");
    await page.getByRole("button", { name: "Acknowledge" }).focus();
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.type(HOSTILE.image);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.getByText("Acknowledge: done").waitFor();
    await page.getByRole("button", { name: "Silence" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Silence" }).click();
    await page.getByText("Silence: done").waitFor();
    assert.deepEqual(posted, [
      { method: "POST", at: "/monitors/default/shop-1/acknowledge", body: { comment: HOSTILE.image, for: "2h" } },
      { method: "POST", at: "/silences", body: { tenant: "default", selector: 'monitor="shop-1"', for: "2h" } },
    ]);
    // What names no field stands above the buttons, and the host may be asked again.
    await page.route("**/api/v1/**/pause", (route) => route.fulfill({ status: 409, contentType: "application/problem+json", body: JSON.stringify({ title: "no", detail: `there are as many as there may be: ${HOSTILE.script}` }) }));
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByLabel("Comment").fill("why");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("as many as there may be").waitFor();
    assert.equal(await page.getByLabel("Comment").inputValue(), "why");
    await page.unroute("**/api/v1/**/pause");
    await page.keyboard.press("Enter");
    await page.getByText("Pause: done").waitFor();
    assert.deepEqual(posted[2], { method: "POST", at: "/monitors/default/shop-1/pause", body: { comment: "why", for: "2h" } });
    await fine();
    await close();
  });
}

/** The dialog for what recurs: by keyboard, in each look, against the real API. */
async function windows(host) {
  const title = "New maintenance window";
  const opened = async (page, key = "Enter") => {
    await page.getByRole("button", { name: "New window" }).focus();
    await page.keyboard.press(key);
    await page.getByRole("dialog", { name: title }).waitFor();
  };
  const focused = (page) => page.evaluate(() => document.activeElement.name || document.activeElement.textContent);
  const choose = (page, words) => page.getByRole("radio", { name: words }).check();
  for (const look of Object.keys(LOOKS)) {
    await check(`${look}: the dialog of a window`, async () => {
      const { page, go, fine, close } = await tab(host, LOOKS[look], { answers: {} });
      await go("#/quiet");
      await opened(page);
      for (const words of ["Now", "Later", "Every week"]) {
        await choose(page, words);
        await sound(page);
        await legible(page);
        if (LOOKS[look].colorScheme === "light") await reached(page);
        const box = await page.getByRole("dialog").boundingBox();
        assert.ok(box.x >= 0 && box.y >= 0 && box.x + box.width <= LOOKS[look].viewport.width && box.y + box.height <= LOOKS[look].viewport.height, JSON.stringify(box));
        await page.screenshot({ path: join(args.shots, `dialog-${words.split(" ")[0].toLowerCase()}-${look}.png`) });
      }
      await fine();
      await close();
    });
  }
  await check("a recurring window is made by keyboard; what the host refuses is shown, and nothing written is lost", async () => {
    const berlin = { ...LOOKS.light, timezoneId: "Europe/Berlin" };
    const { page, go, fine, close } = await tab(host, berlin);
    await go("#/quiet");
    await opened(page, "Space");
    assert.equal(await focused(page), "selector");
    await page.keyboard.type('site="lyon"');
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await focused(page), "New window …", "the focus goes back");

    await opened(page);
    await page.keyboard.type('site="lyon"');
    await page.getByText("It means 6 monitors now.").waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    // No day is not every day.
    await page.getByText("no day at all").waitFor();
    assert.equal(await focused(page), "days");
    assert.equal(await page.evaluate(() => document.getElementById(document.activeElement.getAttribute("aria-describedby")).textContent), "no day at all");
    // Far from today, whichever day that is: it begins later.
    const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    const day = days[(new Date().getUTCDay() + 3) % 7];
    await page.locator(`input[name=days][value=${day}]`).focus();
    await page.keyboard.press("Space");
    await page.locator("input[name=at]").fill("04:30");
    await page.locator("input[name=for]:enabled").fill("never");
    await page.locator("input[name=comment]").fill(HOSTILE.image);
    const zone = page.locator("input[name=zone]");
    assert.equal(await zone.inputValue(), "Europe/Berlin", "that of the browser");
    await zone.fill("Mars/Olympus");
    await page.keyboard.press("Enter");
    await page.getByText("`Mars/Olympus` is no time zone").waitFor();
    await page.screenshot({ path: join(args.shots, "dialog-wrong.png") });
    await legible(page);
    assert.equal(await focused(page), "zone");
    await zone.fill("Europe/Paris");
    await page.keyboard.press("Enter");
    await page.locator("input[name=for]:enabled[aria-invalid]").waitFor();
    assert.deepEqual(await page.evaluate(() => Object.fromEntries(new FormData(document.querySelector("dialog form")))), { selector: 'site="lyon"', when: "again", days: day, at: "04:30", for: "never", zone: "Europe/Paris", comment: HOSTILE.image });
    await page.locator("input[name=for]:enabled").fill("1h30m");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.equal(await focused(page), "New window …");
    const [made] = (await host.ask("/api/v1/maintenance")).orders;
    assert.deepEqual([made.selector, made.days, made.at, made.for, made.zone, made.comment, made.by, made.active], ['site="lyon"', [day], "04:30", "1h30m", "Europe/Paris", HOSTILE.image, "operator", false]);
    const row = page.locator(".row", { hasText: "Europe/Paris" });
    await row.getByText("to come").waitFor();
    await row.getByRole("button", { name: /^End it/ }).click();
    await row.waitFor({ state: "detached" });

    // Once, later, by the clocks that are said.
    await opened(page);
    await page.keyboard.type('site="oslo"');
    await choose(page, "Later");
    await page.locator("input[name=from]").fill("2099-07-01T22:00");
    await page.locator("input[name=until]").fill("2099-07-01T20:00");
    await page.keyboard.press("Enter");
    await page.getByText("it ends before it begins").waitFor();
    assert.equal(await focused(page), "until");
    await page.locator("input[name=until]").fill("2099-07-02T02:00");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    const [once] = (await host.ask("/api/v1/maintenance")).orders;
    assert.deepEqual([once.from, once.until, once.days].map((time) => time && new Date(time).toISOString()), ["2099-07-01T20:00:00.000Z", "2099-07-02T00:00:00.000Z", null]);
    await page.getByRole("button", { name: 'End it: site="oslo"' }).click();
    await page.getByText("Nothing is under maintenance.").waitFor();
    await fine();
    await close();
  });
}

async function looking(host) {
  await check("monitors are searched, filtered and paged", async () => {
    const { page, go, fine, close } = await tab(host);
    await go("#/monitors");
    await page.keyboard.press("/");
    await page.keyboard.type("shop-1");
    await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 11);
    assert.equal(await page.evaluate(() => document.activeElement.id), "search", "the field keeps the focus");
    await page.locator("#selector").fill('site="oslo"');
    await page.waitForFunction(() => [...document.querySelectorAll("tbody tr")].length === 3);
    await page.locator("#selector").fill("site=");
    await page.getByRole("alert").waitFor();
    assert.match(await page.getByRole("alert").textContent(), /selector/);
    await page.locator("#selector").fill("");
    await page.locator("#search").fill("");
    await page.getByRole("button", { name: /^down/ }).click();
    await page.waitForFunction(() => location.hash.includes("state=down") && [...document.querySelectorAll("tbody .state")].every((node) => node.textContent.includes("down")));
    // A name that is written so that it could be code leads to its monitor.
    await page.getByRole("link", { name: HOSTILE.image }).first().click();
    await page.waitForFunction((name) => document.querySelector("h1")?.textContent === name, HOSTILE.image);
    await page.goBack();
    await page.waitForFunction(() => document.querySelector("[aria-pressed=true]")?.textContent.includes("down"));
    await fine();
    await close();
  });
  await check("the map is one stop, and arrows go through it", async () => {
    const { page, go, fine, close } = await tab(host);
    await go("#/?by=site");
    const cells = page.locator(".map a");
    const many = await cells.count();
    assert.ok(many > 4, `${many} cells`);
    assert.equal(await page.locator(".map a[tabindex='0']").count(), 1);
    await page.locator(".map a[tabindex='0']").focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowLeft");
    assert.equal(await page.evaluate(() => [...document.querySelectorAll(".map a")].indexOf(document.activeElement)), 1);
    await page.keyboard.press("End");
    assert.equal(await page.evaluate(() => [...document.querySelectorAll(".map a")].indexOf(document.activeElement)), many - 1);
    // Where it is looked at anew, whoever stands there stays there.
    await page.waitForResponse((response) => response.url().includes("/summary"));
    await page.waitForResponse((response) => response.url().includes("/summary"));
    assert.equal(await page.evaluate(() => [...document.querySelectorAll(".map a")].indexOf(document.activeElement)), many - 1);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => location.hash.includes("selector="));
    await page.locator("tbody tr").first().waitFor();
    await fine();
    await close();
  });
  await check("colors are chosen and stay so", async () => {
    const { page, go, fine, close } = await tab(host);
    await go("#/");
    const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const before = await paper();
    const button = page.getByRole("button", { name: /^Colors/ });
    await button.click();
    assert.equal(await paper(), before, "light, as the system was");
    await button.click();
    const dark = await paper();
    assert.notEqual(dark, before);
    await page.reload();
    await settled(page);
    assert.equal(await paper(), dark);
    await fine();
    await close();
  });
}

/** Everything that comes over the wire until the overview stands. */
async function weight(host) {
  await check("the first page is light", async () => {
    const { page, fine, close } = await tab(host);
    const wire = await page.context().newCDPSession(page);
    await wire.send("Network.enable");
    let bytes = 0;
    wire.on("Network.loadingFinished", (event) => (bytes += event.encodedDataLength));
    await page.goto(`${host.url}/`);
    await settled(page);
    // The stream never ends, so that the network is never idle: it is quiet when nothing else has come for a while.
    for (let before = -1; before !== bytes; ) {
      before = bytes;
      await page.waitForTimeout(500);
    }
    const paint = await page.evaluate(() => Math.round(performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1));
    console.log(`   ${bytes} bytes, first paint after ${paint} ms`);
    assert.ok(bytes > 0 && bytes < BYTES_MAX, `${bytes} bytes`);
    await fine();
    await close();
  });
}

async function streaming(host, answers) {
  await check("what is streamed is shown as it comes", async () => {
    const { page, go, fine, close } = await tab(host, LOOKS.light, { answers });
    await go("#/events");
    await page.getByText(`streamed ${HOSTILE.image}`).waitFor();
    await page.getByText("12 came faster").waitFor();
    await page.waitForFunction(() => document.title.startsWith("(7)"));
    await fine();
    await close();
  });
}

async function lost(host) {
  await check("a host that does not answer is said, and what is known stays", async () => {
    const { page, go, fine, close } = await tab(host);
    await go("#/");
    await page.route("**/api/v1/**", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: '{"title":"There is no room for this now","detail":"too many lists"}' }));
    await page.getByText("No contact").waitFor();
    assert.ok((await page.locator(".tile").count()) > 0);
    await page.unroute("**/api/v1/**");
    await page.waitForFunction(() => !document.querySelector("#live.off"));
    await fine();
    await close();
  });
}

const aim = await target();
try {
  if (args.million) {
    await withHost(million(aim), { "rows.ndjson": rows(1_000_000) }, async (host) => {
      await until("a million monitors", async () => ((await host.ask("/api/v1/monitors?limit=1"))?.total ?? 0) === 1_000_000);
      await everyPage(host, "million", Object.keys(LOOKS), [["overview", "#/"], ["monitors", "#/monitors?sort=state"], ["map", "#/?by=rack"], ["monitor", "#/monitors/default/host-97"]]);
      await weight(host);
    });
  } else {
    await withHost(lively(aim), { said: HOSTILE.wordy }, async (host) => {
      await until("failing monitors", async () => {
        const list = await host.ask("/api/v1/monitors?limit=1");
        return list && list.states.down >= 7 && list.states.unknown === 0;
      });
      const answers = told(HOSTILE.image);
      const { stream, ...calm } = answers;
      await everyPage(host, "told", Object.keys(LOOKS), PAGES, calm);
      const real = PAGES.filter(([title]) => title !== "incident");
      const [incident] = (await host.ask("/api/v1/incidents?open=true&limit=1")).incidents;
      real.push(["incident", `#/incidents/${incident.id}`]);
      await everyPage(host, "real", ["light", "dark"], real);
      await signing(host);
      await deeds(host);
      await windows(host);
      await looking(host);
      await streaming(host, answers);
      await lost(host);
      await weight(host);
    });
    await withHost(nothing, {}, async (host) => {
      const pages = PAGES.filter(([title]) => !title.startsWith("monitor-") && title !== "incident");
      await everyPage(host, "empty", Object.keys(LOOKS), pages);
      await check("a viewer without a token gets in where that is allowed", async () => {
        const { page, fine, close } = await tab(host, LOOKS.light, { signedIn: false });
        await page.goto(`${host.url}/`);
        await page.locator(".verdict").waitFor();
        await fine();
        await close();
      });
    }, { anonymous: "viewer" });
  }
  console.log(`${done} checks passed`);
} finally {
  await browser.close();
  aim.close();
}
