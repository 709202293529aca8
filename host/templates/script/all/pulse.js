// What every plugin in this language needs: typed settings with their JSON Schema, HTTP, and a guard around the plugin's
// own code. It is yours: change it where it does not fit.
//
// The host runs a snapshot of this program that was made when it was built. So what stands outside of functions is
// computed at build time, once; what a job needs to know now (the time, a random number, an answer) belongs into `run`.

import { write } from "pulse:host/log@0.1.0";
import { send } from "pulse:host/http@0.1.0";
import { getRandomBytes } from "wasi:random/random@0.2.12";

// The engine's own generator is part of the snapshot: every job would draw the same numbers.
Math.random = () => {
  const bytes = getRandomBytes(7);
  let value = bytes[6] & 31;
  for (let index = 0; index < 6; index += 1) value = value * 256 + bytes[index];
  return value / 2 ** 53;
};

const shown = (value) => {
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (typeof value === "string") return value;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
};

const logging = (level) => (...values) => write(level, values.map(shown).join(" "));

// Lines in the host's log, marked with monitor and plugin.
globalThis.console = {
  debug: logging("debug"),
  log: logging("info"),
  info: logging("info"),
  warn: logging("warn"),
  error: logging("error"),
};

// ---- Settings ----

const kebab = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

const kind = (type, check) => (options = {}) => {
  const { default: preset, optional, ...rest } = options;
  return {
    schema: { type, ...rest, ...(preset === undefined ? {} : { default: preset }) },
    required: preset === undefined && !optional,
    preset,
    read(value, at, wrong) {
      const complaint = check(value, rest);
      if (complaint) wrong.push(`${at}: ${complaint}`);
      return value;
    },
  };
};

const number = (what, is) => (value, { minimum, maximum }) => {
  if (!is(value)) return `must be ${what}`;
  if (minimum !== undefined && value < minimum) return `must be at least ${minimum}`;
  if (maximum !== undefined && value > maximum) return `must be at most ${maximum}`;
};

/**
 * The types that a setting can have. Each takes `description`, `default`, `optional` and words of JSON Schema; a list and a
 * map have values of one type, an object has settings of its own.
 */
export const setting = {
  text: kind("string", (value, { enum: allowed, minLength, maxLength, pattern }) => {
    if (typeof value !== "string") return "must be a text";
    if (minLength !== undefined && value.length < minLength) return `must have at least ${minLength} characters`;
    if (maxLength !== undefined && value.length > maxLength) return `must have at most ${maxLength} characters`;
    if (pattern !== undefined && !new RegExp(pattern, "u").test(value)) return `must match ${pattern}`;
    if (allowed && !allowed.includes(value)) return `must be one of ${allowed.join(", ")}`;
  }),
  integer: kind("integer", number("a whole number", Number.isInteger)),
  number: kind("number", number("a number", Number.isFinite)),
  flag: kind("boolean", (value) => (typeof value === "boolean" ? undefined : "must be true or false")),
  list(items, options = {}) {
    const list = kind("array", (value) => (Array.isArray(value) ? undefined : "must be a list"))(options);
    list.schema.items = items.schema;
    const own = list.read;
    list.read = (value, at, wrong) => {
      own(value, at, wrong);
      return Array.isArray(value) ? value.map((item, index) => items.read(item, `${at}/${index}`, wrong)) : value;
    };
    return list;
  },
  map(values, options = {}) {
    const map = kind("object", (value) => (isTable(value) ? undefined : "must be a table"))(options);
    map.schema.additionalProperties = values.schema;
    const own = map.read;
    map.read = (value, at, wrong) => {
      own(value, at, wrong);
      if (!isTable(value)) return value;
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [key, values.read(item, `${at}/${key}`, wrong)]),
      );
    };
    return map;
  },
  object(shape, options = {}) {
    const object = kind("object", (value) => (isTable(value) ? undefined : "must be a table"))(options);
    Object.assign(object.schema, shapeOf(shape));
    const own = object.read;
    object.read = (value, at, wrong) => {
      own(value, at, wrong);
      return isTable(value) ? readShape(shape, value, at, wrong) : value;
    };
    return object;
  },
};

const isTable = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

const shapeOf = (shape) => ({
  type: "object",
  properties: Object.fromEntries(Object.entries(shape).map(([name, { schema }]) => [kebab(name), schema])),
  required: Object.keys(shape).filter((name) => shape[name].required).map(kebab),
  additionalProperties: false,
});

const schemaOf = (shape) => ({ $schema: "https://json-schema.org/draft/2020-12/schema", ...shapeOf(shape) });

const readShape = (shape, given, at, wrong) => {
  const settings = {};
  for (const [name, type] of Object.entries(shape)) {
    const key = kebab(name);
    if (given[key] !== undefined) settings[name] = type.read(given[key], `${at}/${key}`, wrong);
    else if (type.required) wrong.push(`${at}/${key}: is missing`);
    else settings[name] = type.preset;
  }
  return settings;
};

const readSettings = (shape, text) => {
  const wrong = [];
  const settings = readShape(shape, JSON.parse(text), "", wrong);
  if (wrong.length > 0) throw new Fault("invalid-settings", wrong.join("; "));
  return settings;
};

// ---- Faults ----

/** The plugin is in trouble, not its target: `invalid-settings`, `unsupported` or `internal`. */
export class Fault extends Error {
  constructor(tag, message) {
    super(message);
    this.name = "Fault";
    this.tag = tag;
  }
}

/** A repair that was not carried out (`retryable`, `permanent`), or of which nobody knows (`effect-unknown`). */
export class ActionFailure extends Error {
  constructor(tag, message) {
    super(message);
    this.name = "ActionFailure";
    this.tag = tag;
  }
}

/** An alert that was not taken: `retryable`, perhaps after so many milliseconds, or `permanent`. */
export class DeliveryFailure extends Error {
  constructor(tag, message, afterMs = null) {
    super(message);
    this.name = "DeliveryFailure";
    this.tag = tag;
    this.afterMs = afterMs;
  }
}

// ---- HTTP ----

const REASONS = {
  "certificate-expired": "tls-expired",
  "certificate-name-mismatch": "tls-name-mismatch",
  "certificate-untrusted": "tls-untrusted",
  protocol: "protocol-error",
  host: "host-error",
};

/** An exchange that failed; an answer of any status is none. */
export class HttpError extends Error {
  constructor({ code, phase, message }) {
    super(message);
    this.name = "HttpError";
    this.code = code;
    this.phase = phase;
  }

  /** The word for a report's reason. */
  get reason() {
    return REASONS[this.code] ?? this.code;
  }

  /** Whether the peer may have seen the request: what was asked for may have happened. */
  get afterSending() {
    return this.phase === "processing" || this.phase === "transfer";
  }
}

const bytesOf = (body) => (typeof body === "string" ? utf8(body) : body);

/** The bytes of a text in UTF-8. */
export const utf8 = (text) =>
  Uint8Array.from(unescape(encodeURIComponent(text.toWellFormed())), (letter) => letter.charCodeAt(0));

// What is well-formed (RFC 3629, section 4), and else a byte.
const UTF8 = new RegExp(
  [
    "[\\x00-\\x7f]+",
    "[\\xc2-\\xdf][\\x80-\\xbf]",
    "\\xe0[\\xa0-\\xbf][\\x80-\\xbf]",
    "[\\xe1-\\xec\\xee\\xef][\\x80-\\xbf]{2}",
    "\\xed[\\x80-\\x9f][\\x80-\\xbf]",
    "\\xf0[\\x90-\\xbf][\\x80-\\xbf]{2}",
    "[\\xf1-\\xf3][\\x80-\\xbf]{3}",
    "\\xf4[\\x80-\\x8f][\\x80-\\xbf]{2}",
    "([\\x80-\\xff])",
  ].join("|"),
  "g",
);

/** The text of bytes in UTF-8; what is none becomes U+FFFD, byte by byte. */
export const textOf = (bytes) => {
  const letters = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  try {
    return decodeURIComponent(escape(letters));
  } catch {
    return letters.replace(UTF8, (found, wrong) => (wrong ? "\ufffd" : decodeURIComponent(escape(found))));
  }
};

/** One request, one answer. */
export const request = (method, url, options = {}) => {
  try {
    const response = send({
      method,
      url,
      headers: Object.entries(options.headers ?? {}).map(([name, value]) => ({ name, value })),
      body: options.body === undefined ? null : bytesOf(options.body),
      maxRedirects: options.redirects ?? 0,
      family: options.family ?? "any",
      tls: options.tls ?? null,
      timeoutMs: options.timeoutMs ?? null,
      maxBodyBytes: options.maxBodyBytes ?? null,
    });
    const micros = Object.values(response.timings).reduce((sum, part) => sum + part, 0);
    return {
      ...response,
      seconds: micros / 1e6,
      header: (wanted) => response.headers.find(({ name }) => name.toLowerCase() === wanted.toLowerCase())?.value,
      text: () => textOf(response.body),
    };
  } catch (error) {
    // What the host answers instead of a response comes as the payload of an exception.
    const failed = error?.payload;
    throw failed?.code ? new HttpError(failed) : error;
  }
};

/** A random id of 16 hexadecimal digits. */
export const randomId = () =>
  Array.from(getRandomBytes(8), (byte) => byte.toString(16).padStart(2, "0")).join("");

// ---- The three kinds ----

/** All is well. */
export const healthy = (summary, measurements = []) => ({ status: "healthy", summary, reason: null, measurements });
/** Alive, but not as it should be. */
export const degraded = (reason, summary, measurements = []) => ({ status: "degraded", summary, reason, measurements });
/** Down, or answering wrongly. */
export const unhealthy = (reason, summary, measurements = []) => ({ status: "unhealthy", summary, reason, measurements });

/** Milliseconds that a job may wait for its target and still answer. */
export const budgetMs = (attempt) => Math.max(1, attempt.deadlineMs - Math.min(100, Math.floor(attempt.deadlineMs / 20)));

const story = (error) => {
  if (!(error instanceof Error)) return `threw ${shown(error)}`;
  const stack = (error.stack ?? "").trim().split("\n").map((line) => line.trim()).join("; ");
  return stack ? `${shown(error)} (${stack})` : shown(error);
};

const described = ({ name, version, summary, settings }) => ({
  describe: () => ({ name, version, summary, settingsSchema: JSON.stringify(schemaOf(settings)) }),
});

const ready = (definition, job) => ({ ...job, settings: readSettings(definition.settings, job.settings) });

/** A plugin that checks. What is thrown and not caught becomes `fault.internal`, with message and stack. */
export const definePulse = (definition) => ({
  plugin: described(definition),
  pulse: {
    run(job) {
      try {
        return definition.run(ready(definition, job));
      } catch (error) {
        if (error instanceof Fault) throw { tag: error.tag, val: error.message };
        if (error instanceof HttpError) {
          const fault = { denied: "unsupported", "invalid-request": "invalid-settings", host: "internal" }[error.code];
          if (fault) throw { tag: fault, val: error.message };
          return unhealthy(error.reason, error.message);
        }
        throw { tag: "internal", val: story(error) };
      }
    },
  },
});

/** A plugin that repairs. After an exception that was not caught, nobody knows what was done. */
export const defineIntervention = (definition) => ({
  plugin: described(definition),
  intervention: {
    run(job) {
      try {
        return { measurements: [], ...definition.run(ready(definition, job)) };
      } catch (error) {
        if (error instanceof ActionFailure) throw { tag: error.tag, val: error.message };
        if (error instanceof Fault) throw { tag: "permanent", val: error.message };
        if (error instanceof HttpError) {
          const useless = ["denied", "invalid-request"].includes(error.code) || error.code.startsWith("certificate-");
          const tag = error.afterSending ? "effect-unknown" : useless ? "permanent" : "retryable";
          throw { tag, val: error.message };
        }
        throw { tag: "effect-unknown", val: story(error) };
      }
    },
  },
});

/** A plugin that alerts. After an exception that was not caught, the alert is sent again. */
export const defineCode = (definition) => ({
  plugin: described(definition),
  code: {
    notify(job) {
      try {
        return { id: null, ...definition.notify(ready(definition, job)) };
      } catch (error) {
        if (error instanceof Fault) throw { tag: "permanent", val: error.message };
        if (error instanceof HttpError && ["denied", "invalid-request"].includes(error.code)) {
          throw { tag: "permanent", val: error.message };
        }
        if (error instanceof DeliveryFailure && error.tag === "permanent") throw { tag: "permanent", val: error.message };
        const known = error instanceof DeliveryFailure || error instanceof HttpError;
        const message = known ? error.message : story(error);
        throw { tag: "retryable", val: { message, afterMs: error?.afterMs ?? null } };
      }
    },
  },
});
