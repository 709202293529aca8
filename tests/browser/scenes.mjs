// What the hosts of the tests watch, and what a host says of things that take hours to come about.

export const HOSTILE = {
  image: `<img src=x onerror="window.owned=1">`,
  script: `"><script>window.owned=2</script>'`,
  turned: "\u202Egnp.reppots\u2066 \u05D0\u05D1 end",
  long: `long-${"w".repeat(250)}`,
  wordy: `<svg onload=window.owned=3> ${"a very long message ".repeat(205)}`.slice(0, 4096),
};

const quoted = (text) => JSON.stringify(text).replace(/[\u007f-\uffff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Healthy, failing and hostile monitors. */
export const lively = (target) => (folder) => `
[defaults]
interval = "2s"
retry-interval = "1s"
failure-threshold = 2
timeout = "5s"
notify = ["terminal"]

[plugins.http]
grants.http = ["@settings.url"]
grants.networks = ["loopback"]
[plugins.nagios]
grants.commands = ["say"]
[commands.say]
program = "/bin/sh"
args = ["-c", "cat ${folder}/said; exit 2"]

[notifiers.terminal]
plugin = "log"

[[monitor]]
name = "shop-{{id}}"
targets = [${Array.from({ length: 24 }, (_, id) => `{ id = ${id}, site = "${["berlin", "lyon", "oslo", "porto"][id % 4]}", way = "${id % 4 === 1 && id < 12 ? "bad" : id % 5 === 0 ? "slow" : "ok"}" }`).join(", ")}]
labels = { site = "{{site}}", team = "core" }
pulse = { plugin = "http", settings = { url = "${target.url}/{{way}}/{{id}}" } }
${["image", "script", "turned", "long"].map((kind) => `
[[monitor]]
name = ${quoted(HOSTILE[kind].slice(0, 255))}
labels = { site = ${quoted(HOSTILE[kind].slice(0, 200))}, "<b onclick=x>" = ${quoted(HOSTILE.image)} }
pulse = { plugin = "nagios", settings = { command = "say" } }
`).join("")}`;

export const nothing = () => "";

/** A million rows that come due within an hour. */
export const million = (target) => () => `
[defaults]
interval = "1h"
retry-interval = "10m"
timeout = "5s"
[plugins.http]
grants.http = ["@settings.url"]
grants.networks = ["loopback"]
[[monitor]]
name = "{{id}}"
targets = "rows.ndjson"
labels = { site = "{{site}}", rack = "{{rack}}" }
pulse = { plugin = "http", settings = { url = "${target.url}/{{way}}" } }
`;

export function rows(count) {
  const lines = [];
  for (let id = 0; id < count; id += 1) lines.push(`{"id":"host-${id}","site":"site-${id % 240}","rack":"r${id % 5000}","way":"${id % 97 ? "ok" : "bad"}"}`);
  return `${lines.join("\n")}\n`;
}

const at = (minutes) => new Date(Date.now() - minutes * 60000).toISOString();

/** Days of an incident, a history and the like: answers in the form of docs/api.md, with the worst that can stand in them. */
export function told(monitor) {
  const one = { id: "62b5a1c0f8e41", tenant: "default", monitor, opened_at: at(190), incident_at: at(185), closed_at: null, summary: HOSTILE.wordy, reason: HOSTILE.image, steps: 9 };
  const over = { ...one, id: "51a4", monitor: "shop-3", opened_at: at(3000), incident_at: at(2990), closed_at: at(2900), summary: "503 instead of 2xx", reason: "status" };
  const timeline = [
    [190, "opened", "503 instead of 2xx", { reason: "status" }],
    [185, "incident", `down, 2 failures in a row: ${HOSTILE.script}`, null],
    [185, "delivered", "yellow was sent to terminal: logged", { sink: "terminal", why: HOSTILE.image }],
    [184, "intervening", "intervention 1 of 2 starts (docker)", { number: 1, of: 2, plugin: "docker" }],
    [183, "intervention", "intervention 1 of 2 done: the service was restarted", null],
    [120, "acknowledged", `Ada takes care of it: ${HOSTILE.turned}`, { for: "2h" }],
    [60, "undeliverable", "red was not delivered: 500", { attempts: 5 }],
    [59, "exhausted", "no repair is left: the budget is spent", null],
  ].map(([minutes, what, line, detail]) => ({ at: at(minutes), what, line, detail }));
  const points = Array.from({ length: 200 }, (_, n) => ({ at: at(5 * (200 - n)), runs: 60, failures: n > 150 && n < 158 ? 40 : n === 40 ? 2 : 0, faults: n === 90 ? 3 : 0, min_us: 1500 + 300 * Math.sin(n / 9), mean_us: 4000 + 1500 * Math.sin(n / 11) + (n > 150 && n < 158 ? 30000 : 0), max_us: 9000 + 5000 * Math.abs(Math.sin(n / 5)) + (n > 150 && n < 158 ? 60000 : 0), p50_us: 3800, p95_us: n < 20 ? null : 7000 + 3000 * Math.abs(Math.sin(n / 5)), p99_us: 9000 })).filter((_, n) => n < 100 || n > 112);
  const events = Array.from({ length: 40 }, (_, n) => ({ id: String(900 - n), at: at(n * 3), tenant: "default", monitor: n % 3 ? "shop-3" : monitor, what: ["held", "delivered", "host"][n % 3], line: n % 3 ? "green was sent to terminal: logged" : HOSTILE.image, detail: n % 3 === 2 ? { body: HOSTILE.script } : null }));
  const user = (tenant, more) => ({ tenant, jobs: 123456, faults: 0, cost_us: { pulse: 812 }, quarantine: null, ...more });
  const plugin = (name, more) => ({ name, tenant: "default", version: "0.1.0", summary: `Asks a server. ${HOSTILE.image}`, kinds: ["pulse"], abi: "pulse:plugin@0.1.0", digest: `sha256:${"ab12".repeat(16)}`, size_bytes: 412345, imports: ["pulse:host/http@0.1.0", "pulse:host/log@0.1.0", HOSTILE.script], needs: ["http"], requests: { http: ["@settings.url"] }, grants: { http: ["@settings.url"], networks: ["loopback"] }, jobs: 123456, faults: 0, quarantined: false, users: [user("default")], ...more });
  const order = (id, more) => ({ id, tenant: null, monitor: null, selector: 'site="berlin"', from: at(60), until: at(-60), days: null, at: null, for: null, zone: null, comment: "new racks", by: "ada", made_at: at(60), incident: null, active: true, next_change: at(-60), configured: false, unkept: null, ...more });
  return {
    "/incidents": { incidents: [one, over, { ...over, id: "41", monitor: HOSTILE.image, tenant: "acme" }], next: "40" },
    "/incidents/62b5a1c0f8e41": { ...one, timeline },
    "/events": { events, next: 800 },
    "/plugins": { window_ms: 300000, plugins: [plugin("http", { users: [user("default"), user("acme", { jobs: 12 })] }), plugin("nagios", { quarantined: true, faults: 41, users: [user("default", { faults: 41, quarantine: { reason: HOSTILE.image, tried_at: at(-2), held: 1 } })] }), plugin(`acme/${HOSTILE.image}`, { tenant: "acme", grants: {}, requests: {}, imports: [] })] },
    "/tenants": { tenants: [{ name: "default", monitors: 28, standing: null, plugins: null, quota: {}, used: { jobs: 812345, fuel: 123456789012, cpu_seconds: 812.5, memory_byte_seconds: 81234567890, requests: 812345, sent_bytes: 123456789, received_bytes: 987654321, denials: 0, held: 0, connections: 3 } }, { name: HOSTILE.image, monitors: 812, standing: "last good", plugins: ["http", HOSTILE.script], quota: { monitors: 850, connections: 100, cpu_seconds_per_second: 0.5, memory_bytes: 1 << 28, bytes_per_second: 1 << 20 }, used: { jobs: 1, connections: 12, cpu_seconds: 0.25 } }] },
    "/pauses": { orders: [order("pause-1", { selector: null, monitor: HOSTILE.image, until: null, next_change: null })] },
    "/silences": { orders: [order("silence-1", { comment: HOSTILE.image, by: HOSTILE.turned }), order("silence-2", { unkept: "no space left on device" })] },
    "/maintenance": { orders: [order("window-1", { tenant: "acme", active: false, from: at(-600), until: at(-700), next_change: at(-600) }), order("nightly", { from: null, until: null, days: ["mon", "sun"], at: "22:00", for: "2h", zone: "Europe/Berlin", configured: true, by: null, active: false, next_change: at(-300) })] },
    history: { span: "5m", points },
    stream: [["states", { up: 20, down: 7, held: 0, verifying: 0, degraded: 0, unknown: 0, unreachable: 0 }], ["event", { id: 901, at: at(0), tenant: "default", monitor, what: "incident", line: `streamed ${HOSTILE.image}`, detail: null }], ["dropped", { count: 12 }]],
  };
}
