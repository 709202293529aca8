__CHECK__
// Checks a URL: whether it answers, and with the status that is expected.
import { budgetMs, definePulse, healthy, randomId, request, setting, unhealthy } from "./pulse.js";

const settings = {
  url: setting.text({ description: "What to fetch.", format: "uri", minLength: 1 }),
  expectStatus: setting.integer({ description: "The status of a healthy answer.", default: 200, minimum: 100, maximum: 599 }),
};

export const { plugin, pulse } = definePulse({
  name: "__NAME__",
  version: "0.1.0",
  summary: "Checks a URL",
  settings,

  run({ settings, attempt }) {
    // By these the request is found in the log of whoever answers.
    const headers = { "x-check-id": randomId(), "x-check-at": String(Date.now()) };
    const response = request("GET", settings.url, { headers, timeoutMs: budgetMs(attempt) });
    const measurements = [{ name: "response_duration", value: response.seconds, unit: "s" }];
    if (response.status !== settings.expectStatus) {
      const summary = `HTTP ${response.status}, expected ${settings.expectStatus}`;
      return unhealthy("unexpected-status", summary, measurements);
    }
    return healthy(`HTTP ${response.status} in ${Math.round(response.seconds * 1000)} ms`, measurements);
  },
});
