"""Sends an alert as JSON."""

import json
import time
from dataclasses import dataclass
from datetime import datetime, timezone

import pulse
from pulse import DeliveryFailure, Job, budget_ms, random_id, request, setting


@dataclass
class Settings:
    url: str = setting("Where to send it.", format="uri", minLength=1)


def notify(job: Job[Settings]) -> tuple[str, str | None]:
    headers = {
        "content-type": "application/json",
        # The same when this alert is sent again, so that the receiver can drop the repeat.
        "idempotency-key": job.delivery_id,
        "x-check-id": random_id(),
        "x-check-at": str(int(time.time() * 1000)),
    }
    happened_at = datetime.fromtimestamp(job.happened_at / 1000, timezone.utc)
    body = json.dumps(
        {
            "color": job.color.name.lower(),
            "title": job.title,
            "body": job.body,
            "monitor": job.subject.monitor,
            "tenant": job.subject.tenant,
            "incident": job.incident_key,
            "reminder": job.reminder,
            "happened-at": happened_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
    )
    response = request(
        "POST", job.settings.url, headers=headers, body=body.encode(), timeout_ms=budget_ms(job.attempt)
    )
    answered = f"HTTP {response.status}"
    if 200 <= response.status < 300:
        return answered, response.header("x-request-id")
    if response.status in (408, 425, 429) or response.status >= 500:
        wish = response.header("retry-after") or ""
        raise DeliveryFailure("retryable", answered, min(int(wish), 86_400) * 1000 if wish.isdecimal() else None)
    raise DeliveryFailure("permanent", answered)


Plugin = pulse.plugin("__NAME__", "0.1.0", "Sends an alert as JSON", Settings)
Code = pulse.code(Settings, notify)
