// Charts, drawn into SVG. Each says in words what it shows, and has its figures in a table beside it.

import { h, s, micros, day, count, fine } from "./dom.js";

const HEIGHT = 180;
const LEFT = 58;
const BOTTOM = 22;

/** Round numbers from 0 up to at least the greatest. */
function ticks(most) {
  const rough = (most || 1) / 4;
  const scale = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((times) => times * scale).find((size) => size >= rough);
  const list = [];
  for (let at = 0; at < most + step; at += step) list.push(at);
  return list;
}

/** From the least to the greatest and the mean between, over time; and what 95 of 100 did not exceed, where that is known. */
export function latency(points, stepMs) {
  // About as wide as it will be shown, so that its text is as large as any other.
  const width = Math.max(290, Math.min(1180, window.innerWidth - 60));
  const known = points.filter((point) => point.mean_us !== null && point.mean_us !== undefined && point.runs > 0);
  if (!known.length) return null;
  const times = known.map((point) => Date.parse(point.at));
  const from = times[0];
  const till = Math.max(times[times.length - 1], from + stepMs);
  const lines = ticks(Math.max(...known.map((point) => point.max_us)));
  const top = lines[lines.length - 1];
  const x = (at) => LEFT + ((at - from) / (till - from)) * (width - LEFT - 8);
  const y = (us) => 8 + (1 - us / top) * (HEIGHT - BOTTOM - 8);
  // A gap in time is a gap in the line.
  const runs = [];
  known.forEach((point, at) => {
    if (at && times[at] - times[at - 1] <= stepMs * 1.5) runs[runs.length - 1].push([times[at], point]);
    else runs.push([[times[at], point]]);
  });
  const at = (value) => (value ?? 0).toFixed(1);
  const shapes = runs.map((run) => {
    if (run.length === 1) {
      const [time, point] = run[0];
      return [s("line", { class: "band-line", x1: at(x(time)), x2: at(x(time)), y1: at(y(point.min_us)), y2: at(y(point.max_us)) }), s("circle", { class: "dot", cx: at(x(time)), cy: at(y(point.mean_us)), r: 3 })];
    }
    const upper = run.map(([time, point]) => `${at(x(time))},${at(y(point.max_us))}`);
    const lower = run.map(([time, point]) => `${at(x(time))},${at(y(point.min_us))}`).reverse();
    const high = run.filter(([, point]) => point.p95_us !== null && point.p95_us !== undefined).map(([time, point]) => `${at(x(time))},${at(y(point.p95_us))}`);
    const mean = run.map(([time, point]) => `${at(x(time))},${at(y(point.mean_us))}`);
    return [s("polygon", { class: "band", points: [...upper, ...lower].join(" ") }), s("polyline", { class: "line", points: mean.join(" ") }), high.length > 1 && s("polyline", { class: "line high", points: high.join(" ") })];
  });
  const last = known[known.length - 1];
  const words = `How long checks took: ${micros(last.mean_us)} on average at the end, between ${micros(Math.min(...known.map((point) => point.min_us)))} and ${micros(Math.max(...known.map((point) => point.max_us)))} overall`;
  const marks = till - from > stepMs ? [from, (from + till) / 2, till] : [from];
  return s("svg", { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": words }, lines.map((us) => [s("line", { class: "grid", x1: LEFT, x2: width - 8, y1: at(y(us)), y2: at(y(us)) }), s("text", { x: LEFT - 6, y: at(y(us) + 4), "text-anchor": "end" }, us ? micros(us) : "0")]), marks.map((time, number) => s("text", { x: at(x(time)), y: HEIGHT - 5, "text-anchor": ["start", "middle", "end"][number] }, day(time))), shapes);
}

/** A bar for each span of time: how many of its checks were well. */
export function availability(points) {
  const bars = points.slice(-96);
  if (!bars.length) return null;
  const runs = bars.reduce((sum, point) => sum + point.runs, 0);
  const bad = bars.reduce((sum, point) => sum + point.failures + (point.faults || 0), 0);
  const well = runs ? (1 - bad / runs) * 100 : 0;
  const words = runs ? `${well === 100 ? "100" : well.toFixed(well > 99 ? 3 : 1)} % of ${count(runs)} checks were well` : "No check was made";
  return h("div", null, h("div", { class: "bars", role: "img", "aria-label": words }, bars.map((point) => {
    const share = point.runs ? 1 - (point.failures + (point.faults || 0)) / point.runs : null;
    const kind = share === null ? "none" : share === 1 ? "up" : share > 0.9 ? "degraded" : "down";
    return h("i", { class: `s-${kind}`, vars: { height: share === null ? "20%" : `${Math.max(12, share * 100).toFixed(0)}%` }, title: `${day(Date.parse(point.at))}: ${count(point.runs)} checks, ${count(point.failures)} failed${point.faults ? `, ${count(point.faults)} faults` : ""}` });
  })), h("p", { class: "dim small" }, words));
}

/** A small line without axes. */
export function spark(values, words) {
  const most = Math.max(...values, 1e-9);
  const step = 120 / Math.max(values.length - 1, 1);
  const points = values.map((value, at) => `${(at * step).toFixed(1)},${(27 - (value / most) * 24).toFixed(1)}`);
  return s("svg", { class: "spark", viewBox: "0 0 120 30", preserveAspectRatio: "none", role: "img", "aria-label": `${words}: now ${fine(values[values.length - 1] ?? 0)}, at most ${fine(most)}` }, s("polyline", { class: "line", points: points.join(" ") }));
}
