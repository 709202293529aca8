"""What every plugin in Python needs: typed settings with their JSON Schema, HTTP, and a guard around the plugin's own code.

It is yours: change it where it does not fit.

The host runs a snapshot of this program that was made when it was built. So what stands outside of functions is computed
at build time, once; what a job needs to know now (the time, a random number, an answer) belongs into the function.
"""

import dataclasses
import functools
import json
import random as _random
import re
import traceback
import types
import typing
from dataclasses import MISSING, dataclass, field
from typing import Any, Callable, Generic, TypeVar

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log as _log
from wit_world.imports import model
from wit_world.imports import random as _host_random

# A plugin has what its `wit/world.wit` names, and need not name HTTP.
try:
    from wit_world.imports import http as _http
    from wit_world.imports import net
except ImportError:
    pass

Measurement = model.Measurement


def log(message: str, level: _log.Level = _log.Level.INFO) -> None:
    """A line in the host's log, marked with monitor and plugin."""
    _log.write(level, message)


# ---- Settings ----


def setting(description: str, *, default: Any = MISSING, **words: Any) -> Any:
    """A field of the settings. Further words are those of JSON Schema: `minimum`, `maxLength`, `pattern`, `format`, `enum`, …"""
    metadata = {"description": description, **words}
    if isinstance(default, (list, dict)):
        # One of its own for each job: a dataclass takes none that all would share.
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


_TYPES: dict[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


#: Filled when the schema is made, which is at build time.
_hints = functools.cache(typing.get_type_hints)
_fields = functools.cache(dataclasses.fields)


def _key(name: str) -> str:
    return name.replace("_", "-")


def _preset(one: dataclasses.Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _within_optional(hint: Any) -> Any:
    """Of `T | None`, the T: a setting that may be left out."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner = [one for one in typing.get_args(hint) if one is not types.NoneType]
        return inner[0] if len(inner) == 1 else hint
    return hint


def _schema_of_type(hint: Any) -> dict[str, Any]:
    hint = _within_optional(hint)
    if typing.get_origin(hint) is list:
        return {"type": "array", "items": _schema_of_type(typing.get_args(hint)[0])}
    if typing.get_origin(hint) is dict and typing.get_args(hint)[0] is str:
        return {"type": "object", "additionalProperties": _schema_of_type(typing.get_args(hint)[1])}
    if hint not in _TYPES:
        raise TypeError(
            f"a setting can't be of type {hint}; it is str, int, float, bool, a list of these, a dict of these by str, "
            "or one of all that or None"
        )
    return {"type": _TYPES[hint]}


def schema(settings: type) -> str:
    """The JSON Schema of a dataclass whose fields are `setting`s."""
    hints = _hints(settings)
    properties = {}
    for one in _fields(settings):
        preset = {} if _preset(one) in (MISSING, None) else {"default": _preset(one)}
        properties[_key(one.name)] = {**_schema_of_type(hints[one.name]), **one.metadata, **preset}
    return json.dumps(
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "required": [_key(one.name) for one in _fields(settings) if _preset(one) is MISSING],
            "additionalProperties": False,
        }
    )


def _wrong_type(value: Any, hint: Any) -> str | None:
    hint = _within_optional(hint)
    if typing.get_origin(hint) in (list, dict):
        of_list = typing.get_origin(hint) is list
        if not isinstance(value, list if of_list else dict):
            return "must be a list" if of_list else "must be a table"
        inner = typing.get_args(hint)[-1]
        items = value if of_list else value.values()
        return next((wrong for item in items if (wrong := _wrong_type(item, inner))), None)
    numbers = (int, float) if hint is float else hint
    # For Python a bool is an int.
    if not isinstance(value, numbers) or (hint is not bool and isinstance(value, bool)):
        return f"must be of type {_TYPES[hint]}"
    return None


def _out_of_bounds(value: Any, words: Any) -> str | None:
    """What the schema's words say against a value of the right type. Of others than these the host alone takes care."""
    if "minimum" in words and value < words["minimum"]:
        return f"must be at least {words['minimum']}"
    if "maximum" in words and value > words["maximum"]:
        return f"must be at most {words['maximum']}"
    if "minLength" in words and len(value) < words["minLength"]:
        return f"must have at least {words['minLength']} characters"
    if "maxLength" in words and len(value) > words["maxLength"]:
        return f"must have at most {words['maxLength']} characters"
    if "pattern" in words and re.search(words["pattern"], value) is None:
        return f"must match {words['pattern']}"
    if "maxItems" in words and len(value) > words["maxItems"]:
        return f"must have at most {words['maxItems']} items"
    if "enum" in words and value not in words["enum"]:
        return f"must be one of {', '.join(map(str, words['enum']))}"
    return None


S = TypeVar("S")


def _read(settings: type[S], text: str) -> S:
    given = json.loads(text)
    hints = _hints(settings)
    values, wrong = {}, []
    for one in _fields(settings):
        key = _key(one.name)
        value = given.get(key)
        if value is None:
            if _preset(one) is MISSING:
                wrong.append(f"/{key}: is missing")
            continue
        complaint = _wrong_type(value, hints[one.name])
        complaint = complaint or _out_of_bounds(value, one.metadata)
        if complaint is not None:
            wrong.append(f"/{key}: {complaint}")
        values[one.name] = value
    if wrong:
        raise Fault("invalid-settings", "; ".join(wrong))
    return settings(**values)


# ---- Faults ----


class Fault(Exception):
    """The plugin is in trouble, not its target: `invalid-settings`, `unsupported` or `internal`."""

    def __init__(self, tag: str, message: str) -> None:
        super().__init__(message)
        self.tag, self.message = tag, message


class ActionFailure(Exception):
    """A repair that was not carried out (`retryable`, `permanent`), or of which nobody knows (`effect-unknown`)."""

    def __init__(self, tag: str, message: str) -> None:
        super().__init__(message)
        self.tag, self.message = tag, message


class DeliveryFailure(Exception):
    """An alert that was not taken: `retryable`, perhaps after so many milliseconds, or `permanent`."""

    def __init__(self, tag: str, message: str, after_ms: int | None = None) -> None:
        super().__init__(message)
        self.tag, self.message, self.after_ms = tag, message, after_ms


# ---- HTTP ----

_REASONS = {
    "certificate-expired": "tls-expired",
    "certificate-name-mismatch": "tls-name-mismatch",
    "certificate-untrusted": "tls-untrusted",
    "protocol": "protocol-error",
    "host": "host-error",
}


class HttpError(Exception):
    """An exchange that failed; an answer of any status is none."""

    def __init__(self, error: "net.Error") -> None:
        super().__init__(error.message)
        self.message = error.message
        self.code = error.code.name.lower().replace("_", "-")
        #: The word for a report's reason.
        self.reason = _REASONS.get(self.code, self.code)
        #: Whether the peer may have seen the request: what was asked for may have happened.
        self.after_sending = error.phase in (net.Phase.PROCESSING, net.Phase.TRANSFER)


class Response:
    """An answer."""

    def __init__(self, raw: "_http.Response") -> None:
        self.raw = raw
        self.status = raw.status
        self.body = raw.body
        timings = raw.timings
        #: All phases together.
        self.seconds = (
            timings.resolve_us + timings.connect_us + timings.tls_us + timings.processing_us + timings.transfer_us
        ) / 1e6

    def header(self, name: str) -> str | None:
        return next((one.value for one in self.raw.headers if one.name.lower() == name.lower()), None)

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def words(self) -> str:
        """`HTTP 503: busy`: the status and how the body begins, for a summary."""
        begins = " ".join(self.body[:400].decode("utf-8", "replace").split())
        return f"HTTP {self.status}: {begins[:100]}" if begins else f"HTTP {self.status}"


def request(
    method: str,
    url: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    timeout_ms: int | None = None,
    redirects: int = 0,
    family: "net.IpFamily | None" = None,
    tls: "net.TlsOptions | None" = None,
    max_body_bytes: int | None = None,
) -> Response:
    """One request, one answer. Raises `HttpError` when there is none."""
    fields = [_http.Header(name, value) for name, value in (headers or {}).items()]
    asked = _http.Request(method, url, fields, body, redirects, family or net.IpFamily.ANY, tls, timeout_ms, max_body_bytes)
    try:
        return Response(_http.send(asked))
    except Err as error:
        raise HttpError(error.value) from None


def random_id() -> str:
    """A random id of 16 hexadecimal digits."""
    return _host_random.get_random_bytes(8).hex()


def milliseconds(seconds: float) -> str:
    """`12 ms`, for a summary."""
    return f"{seconds * 1000:.0f} ms"


def budget_ms(attempt: model.Attempt) -> int:
    """Milliseconds that a job may wait for its target and still answer."""
    return max(1, attempt.deadline_ms - min(100, attempt.deadline_ms // 20))


# ---- The three kinds ----


@dataclass
class Job(Generic[S]):
    """A job with its settings read. What the host says beside them is in `raw`."""

    settings: S
    raw: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def _begin(settings: type[S], job: Any) -> "Job[S]":
    # The generator is part of the snapshot: every job would draw the same numbers.
    _random.seed(_host_random.get_random_bytes(16))
    return Job(_read(settings, job.settings), job)


def _story(error: BaseException) -> str:
    places = traceback.extract_tb(error.__traceback__)[1:]
    stack = "; ".join(f'{place.filename.rsplit("/", 1)[-1]}:{place.lineno} in {place.name}' for place in reversed(places))
    return f"{type(error).__name__}: {error} ({stack})"


def plugin(name: str, version: str, summary: str, settings: type) -> type:
    """What the plugin says about itself."""
    described = schema(settings)

    class Plugin(exports.Plugin):
        def describe(self) -> Any:
            return exports.plugin.Description(name, version, summary, described)

    return Plugin


def pulse(settings: type[S], check: Callable[["Job[S]"], Any]) -> type:
    """A plugin that checks. What is raised and not caught becomes `fault.internal`, with message and stack."""

    class Pulse(exports.Pulse):
        def run(self, job: Any) -> Any:
            try:
                return check(_begin(settings, job))
            except Fault as fault:
                raise Err(_fault(fault.tag, fault.message))
            except HttpError as error:
                tag = {"denied": "unsupported", "invalid-request": "invalid-settings", "host": "internal"}.get(error.code)
                if tag is not None:
                    raise Err(_fault(tag, error.message))
                return unhealthy(error.reason, error.message)
            except BaseException as error:
                raise Err(model.Fault_Internal(_story(error)))

    return Pulse


def _fault(tag: str, message: str) -> Any:
    cases = {"invalid-settings": model.Fault_InvalidSettings, "unsupported": model.Fault_Unsupported}
    return cases.get(tag, model.Fault_Internal)(message)


def healthy(summary: str, measurements: list[Measurement] | None = None) -> Any:
    """All is well."""
    return exports.pulse.Report(exports.pulse.Status.HEALTHY, summary, None, measurements or [])


def degraded(reason: str, summary: str, measurements: list[Measurement] | None = None) -> Any:
    """Alive, but not as it should be."""
    return exports.pulse.Report(exports.pulse.Status.DEGRADED, summary, reason, measurements or [])


def unhealthy(reason: str, summary: str, measurements: list[Measurement] | None = None) -> Any:
    """Down, or answering wrongly."""
    return exports.pulse.Report(exports.pulse.Status.UNHEALTHY, summary, reason, measurements or [])


class Worries:
    """What is not as it should be while the target is alive. The first decides the reason, all stand in the summary."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def add(self, reason: str, words: str) -> None:
        self.all.append((reason, words))

    def report(self, summary: str, measurements: list[Measurement] | None = None) -> Any:
        """Healthy without worries, degraded with any."""
        if not self.all:
            return healthy(summary, measurements)
        return degraded(self.all[0][0], ", ".join([summary, *(words for _, words in self.all)]), measurements)


def intervention(settings: type[S], repair: Callable[["Job[S]"], str]) -> type:
    """A plugin that repairs. After an exception that was not caught, nobody knows what was done."""

    class Intervention(exports.Intervention):
        def run(self, job: Any) -> Any:
            cases = {
                "retryable": exports.intervention.ActionFailure_Retryable,
                "permanent": exports.intervention.ActionFailure_Permanent,
                "effect-unknown": exports.intervention.ActionFailure_EffectUnknown,
            }
            try:
                return exports.intervention.ActionReport(repair(_begin(settings, job)), [])
            except ActionFailure as failure:
                raise Err(cases[failure.tag](failure.message))
            except Fault as fault:
                raise Err(cases["permanent"](fault.message))
            except HttpError as error:
                useless = error.code in ("denied", "invalid-request") or error.code.startswith("certificate-")
                tag = "effect-unknown" if error.after_sending else "permanent" if useless else "retryable"
                raise Err(cases[tag](error.message))
            except BaseException as error:
                raise Err(cases["effect-unknown"](_story(error)))

    return Intervention


def code(settings: type[S], send: Callable[["Job[S]"], tuple[str, str | None]]) -> type:
    """A plugin that alerts. After an exception that was not caught, the alert is sent again."""

    class Code(exports.Code):
        def notify(self, job: Any) -> Any:
            permanent = exports.code.DeliveryFailure_Permanent
            message, after_ms = "", None
            try:
                summary, receipt = send(_begin(settings, job))
                return exports.code.Receipt(receipt, summary)
            except DeliveryFailure as failure:
                if failure.tag == "permanent":
                    raise Err(permanent(failure.message))
                message, after_ms = failure.message, failure.after_ms
            except Fault as fault:
                raise Err(permanent(fault.message))
            except HttpError as error:
                if error.code in ("denied", "invalid-request"):
                    raise Err(permanent(error.message))
                message = error.message
            except BaseException as error:
                message = _story(error)
            raise Err(exports.code.DeliveryFailure_Retryable(exports.code.Retry(message, after_ms)))

    return Code
