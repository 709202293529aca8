"""Fetches a JSON document, holds it against conditions, and measures numbers in it."""

import json
import re
from dataclasses import dataclass
from typing import Any, Callable

import pulse
from pulse import Fault, Job, Measurement, Worries, budget_ms, milliseconds, request, setting, unhealthy


@dataclass
class Settings:
    url: str = setting("Where the document is.", format="uri", minLength=1)
    method: str = setting("How to ask for it.", default="GET", enum=["GET", "POST"])
    headers: dict[str, str] = setting("More header fields.", default={})
    token: str | None = setting("Sent as `authorization: Bearer …`.", default=None, writeOnly=True)
    body: str | None = setting("What to send, as JSON.", default=None)
    expect_status: int = setting("The status of a good answer.", default=200, minimum=100, maximum=599)
    require: list[str] = setting("Conditions; where one does not hold, the target is unhealthy.", default=[])
    warn: list[str] = setting("Conditions; where one does not hold, the target is degraded.", default=[])
    measure: dict[str, str] = setting("Numbers to keep: a name, perhaps a unit in brackets, and a path.", default={})
    max_latency_ms: int | None = setting("A slower answer is degraded.", default=None, minimum=1)


# ---- Paths ----

Step = str | int | None
#: A name, a name in quotation marks, a place, or everything.
_STEP = re.compile(r'\.([A-Za-z_][\w-]*)|\["((?:[^"\\]|\\.)*)"\]|\[(-?\d+)\]|\[(\*)\]|\.(\*)')


def path_of(text: str) -> list[Step]:
    """`$.items[0]["a b"].size` as steps; `[*]` is None."""
    if not text.startswith("$"):
        raise ValueError(f"a path begins with $, as in $.status; this is `{text}`")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(f"`{text[at:]}` in `{text}` is no step of a path; write .name, [\"name\"], [0] or [*]")
        name, quoted, place, *_ = found.groups()
        if quoted is not None:
            steps.append(json.loads(f'"{quoted}"'))
        else:
            steps.append(name if name is not None else int(place) if place is not None else None)
        at = found.end()
    return steps


def values_at(document: Any, path: list[Step]) -> list[Any]:
    """All values at that path; none where there are none."""
    found = [document]
    for step in path:
        below: list[Any] = []
        for value in found:
            if step is None and isinstance(value, (list, dict)):
                below.extend(value.values() if isinstance(value, dict) else value)
            elif isinstance(step, str) and isinstance(value, dict) and step in value:
                below.append(value[step])
            elif isinstance(step, int) and isinstance(value, list) and -len(value) <= step < len(value):
                below.append(value[step])
        found = below
    return found


# ---- Conditions ----


def _number(value: Any) -> bool:
    # For Python a bool is an int.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Numbers with numbers and texts with texts: dates in ISO 8601 are texts."""

    def both(one: Any, other: Any) -> bool:
        alike = _number(one) and _number(other) or isinstance(one, str) and isinstance(other, str)
        return alike and compare(one, other)

    return both


def _same(one: Any, other: Any) -> bool:
    # For Python 1 is True.
    return isinstance(one, bool) == isinstance(other, bool) and one == other


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": _same,
    "!=": lambda one, other: not _same(one, other),
    "<=": _ordered(lambda one, other: one <= other),
    ">=": _ordered(lambda one, other: one >= other),
    "<": _ordered(lambda one, other: one < other),
    ">": _ordered(lambda one, other: one > other),
    "contains": lambda one, other: isinstance(one, (str, list)) and other in one,
}
_CONDITION = re.compile(
    r'\s*(?P<count>count\()?\s*(?P<path>\$(?:\["(?:[^"\\]|\\.)*"\]|[^\s()=!<>])*)\s*(?(count)\)\s*)(?:(?P<word>exists|is absent)|'
    r"(?P<compare>==|!=|<=|>=|<|>|contains(?=\s))\s*(?P<value>.+?))\s*"
)


@dataclass
class Condition:
    text: str
    path: list[Step]
    counts: bool
    holds: Callable[[list[Any]], str | None]
    """What is wrong with the values, if something is."""


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def condition_of(text: str) -> Condition:
    """`$.status == "ok"`, `count($.items) > 0`, `$.error is absent`."""
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise ValueError(
            f'`{text}` is no condition; write $.status == "ok", $.queue < 100, count($.items) > 0, $.id exists '
            "or $.error is absent"
        )
    path = path_of(found["path"])
    counts = found["count"] is not None
    if found["word"] is not None:
        wanted = found["word"] == "exists"
        if counts:
            raise ValueError(f"`{text}`: a count is always there; compare it, as in count($.items) > 0")
        return Condition(
            text,
            path,
            False,
            lambda values: None if bool(values) == wanted else "there is none" if wanted else f"is {shown(values[0])}",
        )
    try:
        wanted_value = json.loads(found["value"])
    except ValueError:
        raise ValueError(f"`{found['value']}` in `{text}` is no JSON; a text stands in quotation marks") from None
    compare = _COMPARE[found["compare"]]

    def holds(values: list[Any]) -> str | None:
        if not values:
            return "there is none"
        wrong = next((value for value in values if not compare(value, wanted_value)), MISSING)
        return None if wrong is MISSING else f"is {shown(wrong)}"

    return Condition(text, path, counts, holds)


MISSING = object()


def wrong_with(condition: Condition, document: Any) -> str | None:
    values = values_at(document, condition.path)
    if condition.counts:
        # Of one list or object how much is in it, and else how many there are.
        one = values[0] if len(values) == 1 and isinstance(values[0], (list, dict)) else values
        values = [len(one)]
    told = condition.holds(values)
    return None if told is None else f"{condition.text}: {told}"


# ---- Measurements ----

_NAME = re.compile(r"([a-z][a-z0-9_]*)(?:\s*\[([^\]]*)\])?")


def numbers_of(measure: dict[str, str]) -> list[tuple[str, str, list[Step]]]:
    numbers = []
    for key, path in measure.items():
        name = _NAME.fullmatch(key)
        if name is None:
            raise ValueError(f"`{key}` is no name of a measurement; write queue_length, or memory [By]")
        numbers.append((name[1], name[2] or "", path_of(path)))
    return numbers


# ---- The check ----


def check(job: Job[Settings]):
    settings = job.settings
    try:
        require = [condition_of(text) for text in settings.require]
        warn = [condition_of(text) for text in settings.warn]
        numbers = numbers_of(settings.measure)
    except ValueError as error:
        raise Fault("invalid-settings", str(error)) from None
    headers = {"accept": "application/json", **settings.headers}
    if settings.token is not None:
        headers["authorization"] = f"Bearer {settings.token}"
    if settings.body is not None:
        headers.setdefault("content-type", "application/json")
    response = request(
        settings.method,
        settings.url,
        headers=headers,
        body=None if settings.body is None else settings.body.encode(),
        timeout_ms=budget_ms(job.attempt),
    )
    measured = [Measurement("response_duration", response.seconds, "s")]
    if response.status != settings.expect_status:
        return unhealthy("unexpected-status", f"{response.words()}, expected {settings.expect_status}", measured)
    if response.raw.body_truncated:
        return unhealthy("too-large", f"the document is longer than the {len(response.body)} bytes that are read", measured)
    try:
        document = json.loads(response.body)
    except ValueError as error:
        return unhealthy("not-json", f"the answer is no JSON: {error}", measured)

    worries = Worries()
    for name, unit, path in numbers:
        value = next(iter(values_at(document, path)), None)
        if _number(value):
            measured.append(Measurement(name, float(value), unit))
        else:
            worries.add("no-number", f"{name} is no number but {shown(value)}")
    wrong = [told for condition in require if (told := wrong_with(condition, document))]
    if wrong:
        return unhealthy("requirement-failed", "; ".join(wrong), measured)
    for condition in warn:
        if told := wrong_with(condition, document):
            worries.add("warning", told)
    if settings.max_latency_ms is not None and response.seconds * 1000 > settings.max_latency_ms:
        worries.add("slow", f"slower than {settings.max_latency_ms} ms")
    held = f", {len(require)} of {len(require)} conditions hold" if require else ""
    return worries.report(f"HTTP {response.status} in {milliseconds(response.seconds)}{held}", measured)


Plugin = pulse.plugin("json-api", "0.1.0", "Holds a JSON document against conditions", Settings)
Pulse = pulse.pulse(Settings, check)
