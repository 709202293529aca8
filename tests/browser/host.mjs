// The real program with a configuration of its own, in a folder of its own.

import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PATIENCE_MS = 120000;
const STEP_MS = 50;

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until something is there. What it waits for says nothing of how long it takes. */
export async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: it never came`);
    await sleep(STEP_MS);
  }
}

/** What monitors look at: well, failing, and slow to answer. */
export async function target() {
  const server = createServer((request, response) => {
    const well = !request.url.startsWith("/bad");
    setTimeout(() => response.writeHead(well ? 200 : 503).end(well ? "fine" : "no"), request.url.startsWith("/slow") ? 80 : 0);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

export const token = (role) => `pht_${createHash("sha256").update(`browser ${role}`).digest("hex")}`;

const tokens = ["viewer", "operator"].map((role) => `
[[host.http.tokens]]
name = "${role}"
hash = "sha256:${createHash("sha256").update(token(role)).digest("hex")}"
role = "${role}"
`).join("");

/** Starts one; `files` are written beside its configuration. */
export async function start(program, plugins, config, files = {}, { anonymous = "metrics", cache } = {}) {
  const folder = await mkdtemp(join(tmpdir(), "pulse-host-browser-"));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const data = join(folder, "data");
  const text = `[host]\ndata-dir = ${JSON.stringify(data)}\n[host.http]\nanonymous = "${anonymous}"\n${tokens}\n${config(folder)}`;
  await writeFile(join(folder, "config.toml"), text);
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(PULSE_HOST_|XDG_|RUST_)/.test(name)));
  const args = ["run", "--plugins", plugins, "--config", join(folder, "config.toml"), "--listen", "127.0.0.1:0"];
  const child = spawn(program, args, { cwd: folder, env: { ...env, STATE_DIRECTORY: cache }, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.on("data", (part) => (log = (log + part).slice(-20000)));
  let ended = null;
  const end = new Promise((done) => child.on("exit", (code, signal) => done((ended = { code, signal }))));
  const door = await until("the host", async () => {
    if (ended) throw new Error(`the host ended with ${JSON.stringify(ended)}:\n${log}`);
    return readFile(join(data, "http.json"), "utf8").then(JSON.parse, () => null);
  });
  const ask = async (path) => {
    const answer = await fetch(door.url + path, { headers: { authorization: `Bearer ${door.token}` } });
    return answer.ok ? answer.json() : null;
  };
  return {
    url: door.url,
    token: door.token,
    ask,
    log: () => log,
    stop: async () => {
      child.kill("SIGTERM");
      await Promise.race([end, sleep(20000).then(() => child.kill("SIGKILL"))]);
      await end;
      await rm(folder, { recursive: true, force: true });
    },
  };
}
