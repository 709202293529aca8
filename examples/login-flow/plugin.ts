// Goes through several requests as somebody who logs in does: cookies and values of one answer are sent with the next.
import { budgetMs, definePulse, degraded, Fault, healthy, request, setting, unhealthy } from "./pulse.js";
import type { Measurement, Response, Settings } from "./pulse.js";

const step = {
  name: setting.text({ description: "What this step is, in snake case.", minLength: 1, maxLength: 40 }),
  url: setting.text({ description: "Where to send it; a path is on the host of `url`.", minLength: 1 }),
  method: setting.text({ description: "Default: POST with a form or a body, GET without.", optional: true, enum: ["GET", "POST", "PUT", "DELETE"] }),
  headers: setting.map(setting.text(), { description: "More header fields.", default: {} }),
  form: setting.map(setting.text(), { description: "Sent as a form.", default: {} }),
  body: setting.text({ description: "Sent as it is.", optional: true }),
  expectStatus: setting.integer({ description: "The status of a good answer, after redirects.", default: 200, minimum: 100, maximum: 599 }),
  expectText: setting.list(setting.text(), { description: "Texts that must stand in the answer.", default: [] }),
  refuseText: setting.list(setting.text(), { description: "Texts that must not stand in it.", default: [] }),
  capture: setting.map(setting.text(), {
    description: "Values to keep: `header location`, `json $.token`, or `between 'name=\"csrf\" value=\"' and '\"'`.",
    default: {},
  }),
  redirects: setting.integer({ description: "Redirects to follow.", default: 5, minimum: 0, maximum: 10 }),
};
type Step = Settings<typeof step>;

const settings = {
  url: setting.text({ description: "Where it begins: scheme and host.", format: "uri", minLength: 1 }),
  secrets: setting.map(setting.text({ writeOnly: true }), { description: "Values for `{{name}}` in the steps.", default: {} }),
  steps: setting.list(setting.object(step), { description: "What is sent, in this order." }),
  maxDurationMs: setting.integer({ description: "If all steps together take longer, it is degraded.", optional: true, minimum: 1 }),
};

/** What was not as a step expects it. */
class Unmet extends Error {
  readonly reason: string;
  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

// ---- Addresses (RFC 3986, section 5.2, as far as redirects need it) ----

const ORIGIN = /^(https?):\/\/([^/?#]+)/i;

function originOf(url: string): string {
  const found = ORIGIN.exec(url);
  if (!found) throw new Fault("invalid-settings", `\`${url}\` is no address; write https://shop.example`);
  return found[0].toLowerCase();
}

function resolve(base: string, reference: string): string {
  const target = reference.split("#", 1)[0] ?? "";
  if (ORIGIN.test(target)) return target;
  if (target.startsWith("//")) return `${base.split("://", 1)[0]}:${target}`;
  const origin = originOf(base);
  const [path = "/"] = base.slice(origin.length).split(/[?#]/, 1);
  if (target === "") return base;
  if (target.startsWith("?")) return `${origin}${path || "/"}${target}`;
  const [wanted = "", query] = target.split(/\?(.*)/s, 2);
  const whole = wanted.startsWith("/") ? wanted : `${path.slice(0, path.lastIndexOf("/") + 1) || "/"}${wanted}`;
  const kept: string[] = [];
  for (const part of whole.split("/").slice(1)) {
    if (part === "..") kept.pop();
    else if (part !== ".") kept.push(part);
  }
  if (/\/\.{1,2}$/.test(whole)) kept.push("");
  return `${origin}/${kept.join("/")}${query === undefined ? "" : `?${query}`}`;
}

// ---- Cookies: by origin, which is enough for one login and never too much ----

class Jar {
  readonly #kept = new Map<string, Map<string, string>>();

  take(origin: string, response: Response): void {
    for (const { name, value } of response.headers) {
      if (name.toLowerCase() !== "set-cookie") continue;
      const [pair = "", ...attributes] = value.split(";");
      const [key = "", ...rest] = pair.split("=");
      const own = this.#kept.get(origin) ?? new Map<string, string>();
      const ended = attributes.some((attribute) => /^\s*max-age\s*=\s*(0|-\d+)\s*$/i.test(attribute));
      if (ended) own.delete(key.trim());
      else own.set(key.trim(), rest.join("=").trim());
      this.#kept.set(origin, own);
    }
  }

  of(origin: string): string {
    return [...(this.#kept.get(origin) ?? [])].map(([key, value]) => `${key}=${value}`).join("; ");
  }
}

// ---- Values ----

function filled(text: string, values: Map<string, string>): string {
  return text.replace(/\{\{\s*([\w-]+)\s*\}\}/g, (_, name: string) => {
    const value = values.get(name);
    if (value === undefined) {
      throw new Fault("invalid-settings", `{{${name}}} is neither a secret nor captured by a step before`);
    }
    return value;
  });
}

const CAPTURE = /^(?:header\s+(?<header>[\w-]+)|json\s+\$(?<path>(?:\.[\w-]+|\[\d+\])+)|between\s+'(?<before>[^']+)'\s+and\s+'(?<after>[^']+)')$/;

function captured(how: string, response: Response): string | undefined {
  const groups = CAPTURE.exec(how)?.groups;
  if (!groups) throw new Fault("invalid-settings", `\`${how}\` captures nothing; write header NAME, json $.PATH, or between 'A' and 'B'`);
  const { header, path, before, after } = groups;
  if (header !== undefined) return response.header(header);
  if (path !== undefined) {
    let value: unknown;
    try {
      value = JSON.parse(response.text());
    } catch {
      return undefined;
    }
    for (const [, name, place] of path.matchAll(/\.([\w-]+)|\[(\d+)\]/g)) {
      const below = value as Record<string, unknown> | null | undefined;
      value = typeof below === "object" && below !== null ? below[name ?? String(place)] : undefined;
    }
    return value === undefined || value === null || typeof value === "object" ? undefined : String(value);
  }
  const text = response.text();
  const begin = text.indexOf(before ?? "");
  if (begin < 0) return undefined;
  const from = begin + (before ?? "").length;
  const end = text.indexOf(after ?? "", from);
  return end < 0 ? undefined : text.slice(from, end);
}

const encoded = (form: Record<string, string>): string =>
  Object.entries(form)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join("&");

// ---- A step ----

interface Flow {
  values: Map<string, string>;
  jar: Jar;
  url: string;
  /** Milliseconds since the Unix epoch. */
  ends: number;
}

function taken(step: Step, flow: Flow): number {
  const fill = (text: string) => filled(text, flow.values);
  const table = (from: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(from).map(([name, value]) => [name, fill(value)]));
  const headers = table(step.headers);
  const form = table(step.form);
  const sent = Object.keys(form).length > 0 ? encoded(form) : step.body === undefined ? undefined : fill(step.body);
  if (Object.keys(form).length > 0) headers["content-type"] ??= "application/x-www-form-urlencoded";

  let method = step.method ?? (sent === undefined ? "GET" : "POST");
  let body = sent;
  let url = resolve(flow.url, fill(step.url));
  let seconds = 0;
  for (let followed = 0; ; followed += 1) {
    const origin = originOf(url);
    const cookie = flow.jar.of(origin);
    const left = flow.ends - Date.now();
    if (left <= 0) throw new Unmet("timeout", "the time was up before this step");
    const own = cookie === "" ? headers : { ...headers, cookie };
    const response = request(method, url, { headers: own, timeoutMs: left, ...(body === undefined ? {} : { body }) });
    seconds += response.seconds;
    flow.jar.take(origin, response);
    const location = response.header("location");
    if (![301, 302, 303, 307, 308].includes(response.status) || location === undefined || step.redirects === 0) {
      judged(step, flow, response);
      return seconds;
    }
    if (followed === step.redirects) throw new Unmet("too-many-redirects", `more than ${step.redirects} redirects`);
    const next = resolve(url, location);
    if (originOf(next) !== origin) {
      // Who is elsewhere gets nothing that was meant for this one.
      for (const name of Object.keys(headers)) if (/^(authorization|cookie)$/i.test(name)) delete headers[name];
    }
    if (response.status < 307) [method, body] = ["GET", undefined];
    url = next;
  }
}

function judged(step: Step, flow: Flow, response: Response): void {
  if (response.status !== step.expectStatus) {
    throw new Unmet("unexpected-status", `HTTP ${response.status}, expected ${step.expectStatus}`);
  }
  const text = step.expectText.length + step.refuseText.length > 0 ? response.text() : "";
  const missing = step.expectText.find((wanted) => !text.includes(filled(wanted, flow.values)));
  if (missing !== undefined) throw new Unmet("text-missing", `\`${missing}\` is not in the answer`);
  const there = step.refuseText.find((refused) => text.includes(filled(refused, flow.values)));
  if (there !== undefined) throw new Unmet("text-present", `\`${there}\` is in the answer`);
  for (const [name, how] of Object.entries(step.capture)) {
    const value = captured(how, response);
    if (value === undefined) throw new Unmet("not-captured", `there is no ${name}: ${how}`);
    flow.values.set(name, value);
  }
}

export const { plugin, pulse } = definePulse({
  name: "login-flow",
  version: "0.1.0",
  summary: "Goes through several requests as somebody who logs in",
  settings,

  run({ settings, attempt }) {
    if (settings.steps.length === 0) throw new Fault("invalid-settings", "/steps: there is none");
    const flow: Flow = {
      values: new Map(Object.entries(settings.secrets)),
      jar: new Jar(),
      url: settings.url,
      ends: Date.now() + budgetMs(attempt),
    };
    const measurements: Measurement[] = [];
    let total = 0;
    for (const [index, step] of settings.steps.entries()) {
      const where = `step ${index + 1} of ${settings.steps.length} (${step.name})`;
      try {
        const seconds = taken(step, flow);
        // In whole microseconds, so that a sum has no more digits than its parts.
        total = Math.round((total + seconds) * 1e6) / 1e6;
        measurements.push({ name: `${step.name}_duration`, value: seconds, unit: "s" });
      } catch (error) {
        if (error instanceof Unmet) return unhealthy(error.reason, `${where}: ${error.message}`, measurements);
        // Which of them had no answer is what an operator wants to know first.
        if (error instanceof Error && !(error instanceof Fault)) error.message = `${where}: ${error.message}`;
        throw error;
      }
    }
    measurements.push({ name: "duration", value: total, unit: "s" });
    const took = `${settings.steps.length} steps in ${Math.round(total * 1000)} ms`;
    if (settings.maxDurationMs !== undefined && total * 1000 > settings.maxDurationMs) {
      return degraded("slow", `${took}, slower than ${settings.maxDurationMs} ms`, measurements);
    }
    return healthy(took, measurements);
  },
});
