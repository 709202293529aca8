__CHECK__
// Calls a hook that repairs.
import { ActionFailure, budgetMs, defineIntervention, randomId, request, setting } from "./pulse.js";

const settings = {
  url: setting.text({ description: "The hook.", format: "uri", minLength: 1 }),
};

export const { plugin, intervention } = defineIntervention({
  name: "__NAME__",
  version: "0.1.0",
  summary: "Calls a hook that repairs",
  settings,

  run({ settings, attempt, subject, incident, idempotencyKey }) {
    const headers = {
      "content-type": "application/json",
      // The same when this attempt is delivered again, so that the hook does it once.
      "idempotency-key": idempotencyKey,
      "x-check-id": randomId(),
      "x-check-at": String(Date.now()),
    };
    const body = JSON.stringify({
      monitor: subject.monitor,
      tenant: subject.tenant,
      incident: incident.key,
      reason: incident.reason,
      summary: incident.summary,
    });
    const { status } = request("POST", settings.url, { headers, body, timeoutMs: budgetMs(attempt) });
    const answered = `HTTP ${status}`;
    if (status >= 200 && status < 300) return { summary: answered };
    // Refused before anything was done.
    if ([408, 425, 429, 503].includes(status)) throw new ActionFailure("retryable", answered);
    // Not a thing that this hook does.
    if ([501, 505].includes(status)) throw new ActionFailure("permanent", answered);
    // Many applications answer so once it is done; or it began and broke.
    if ([302, 303].includes(status) || status >= 500) throw new ActionFailure("effect-unknown", answered);
    // It is refused for good.
    throw new ActionFailure("permanent", answered);
  },
});
