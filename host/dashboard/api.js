// The way to the host: requests with the token, problems as errors, and the stream.

const KEY = "pulse-host-token";
const PATIENCE_MS = 35000;

/** What the host, or the way to it, says is wrong. */
export class Trouble extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `the host answered with ${status}`);
    this.status = status;
    this.title = problem.title || "That did not work";
    const nowhere = status === 404 && /nothing is served under this path/.test(problem.detail || "");
    /** This host has no such route, which is something else than a thing that is not there. */
    this.unserved = nowhere || status === 405 || status === 501;
  }
}

export const token = () => sessionStorage.getItem(KEY);
export const setToken = (text) => (text ? sessionStorage.setItem(KEY, text) : sessionStorage.removeItem(KEY));

/** A path with names in it, each written so that it stays one part. */
export const path = (strings, ...names) =>
  strings.reduce((all, part, at) => all + part + (at < names.length ? encodeURIComponent(names[at]) : ""), "/api/v1");

/** What stands behind the question mark; what is empty is left out. */
export function query(params) {
  const some = Object.entries(params).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const text = new URLSearchParams(some).toString();
  return text ? `?${text}` : "";
}

function request(method, at, body, signal) {
  const headers = { accept: "application/json" };
  if (token()) headers.authorization = `Bearer ${token()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  return fetch(at, {
    method,
    headers,
    signal,
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "omit",
    cache: "no-store",
    redirect: "error",
  });
}

async function ask(method, at, body, signal) {
  const late = AbortSignal.timeout(PATIENCE_MS);
  let answer;
  let text;
  try {
    answer = await request(method, at, body, signal ? AbortSignal.any([signal, late]) : late);
    text = await answer.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Trouble(0, { title: "The host can't be reached", detail: "No answer came. This page asks again by itself." });
  }
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    if (answer.ok) throw new Trouble(answer.status, { detail: "The answer is no JSON." });
  }
  if (!answer.ok) throw new Trouble(answer.status, value || {});
  return value;
}

export const get = (at, signal) => ask("GET", at, undefined, signal);
export const post = (at, body) => ask("POST", at, body ?? {});
export const remove = (at) => ask("DELETE", at);

/** What a host that does not serve it, or a caller who may not see it, has in its place. */
export const optional = (promise) =>
  promise.catch((error) => {
    if (error instanceof Trouble && error.status !== 401 && error.status !== 0) return { trouble: error };
    throw error;
  });

/** Reads the stream until it ends. `hear(kind, data)` gets each message. An EventSource can't show a token. */
export async function listen(hear, signal) {
  const answer = await request("GET", "/api/v1/stream", undefined, signal);
  if (!answer.ok || !answer.body) {
    const problem = await answer.json().catch(() => ({}));
    throw new Trouble(answer.status, problem);
  }
  hear("open", null);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const messages = rest.split(/\r?\n\r?\n/);
    rest = messages.pop();
    for (const message of messages) {
      let kind = "message";
      const data = [];
      for (const line of message.split(/\r?\n/)) {
        const [, name, text] = /^([a-z]+): ?(.*)$/.exec(line) || [];
        if (name === "event") kind = text;
        if (name === "data") data.push(text);
      }
      if (!data.length) continue;
      let parsed;
      try {
        parsed = JSON.parse(data.join("\n"));
      } catch {
        continue;
      }
      hear(kind, parsed);
    }
  }
}
