__CHECK__
// Sends an alert as JSON.
import { budgetMs, defineCode, DeliveryFailure, randomId, request, setting } from "./pulse.js";

const settings = {
  url: setting.text({ description: "Where to send it.", format: "uri", minLength: 1 }),
};

export const { plugin, code } = defineCode({
  name: "__NAME__",
  version: "0.1.0",
  summary: "Sends an alert as JSON",
  settings,

  notify(job) {
    const headers = {
      "content-type": "application/json",
      // The same when this alert is sent again, so that the receiver can drop the repeat.
      "idempotency-key": job.deliveryId,
      "x-check-id": randomId(),
      "x-check-at": String(Date.now()),
    };
    const body = JSON.stringify({
      color: job.color,
      title: job.title,
      body: job.body,
      monitor: job.subject.monitor,
      tenant: job.subject.tenant,
      incident: job.incidentKey,
      reminder: job.reminder,
      "happened-at": new Date(job.happenedAt).toISOString(),
    });
    const response = request("POST", job.settings.url, { headers, body, timeoutMs: budgetMs(job.attempt) });
    const { status } = response;
    if (status >= 200 && status < 300) return { summary: `HTTP ${status}`, id: response.header("x-request-id") ?? null };
    if ([408, 425, 429].includes(status) || status >= 500) {
      const wish = Number.parseInt(response.header("retry-after") ?? "", 10);
      throw new DeliveryFailure("retryable", `HTTP ${status}`, Number.isFinite(wish) ? Math.min(wish, 86_400) * 1000 : null);
    }
    throw new DeliveryFailure("permanent", `HTTP ${status}`);
  },
});
