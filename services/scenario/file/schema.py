"""The JSON Schema of a scenario file, for editors: names, shapes and what each key means.

It describes form. What needs the whole file (targets that exist, cycles, operators that apply) is
the parser's and the validator's; a test holds the two to the same set of keys.
"""

from __future__ import annotations

from typing import Any, Final

from services.scenario.file import expectations
from services.scenario.file.load import MAX_IN_FLIGHT
from services.scenario.file.parser import BALANCES, VERSION
from services.scenario.limits import MAX_ITEMS, MAX_NAME, MAX_PROCESSES, MAX_REPLICAS
from services.scenario.model import PROTOCOLS
from services.scenario.names import PATTERN
from services.scenario.refactors import BASELINE
from services.scenario.text import units

Schema = dict[str, Any]

_NUMBER: Final = r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"


def scenario_schema() -> Schema:
    """A new JSON Schema (draft 2020-12) document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "hopbench scenario",
        **_mapping(
            {
                "version": {"const": VERSION},
                "name": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": MAX_NAME,
                    "description": "Default: the file's name.",
                },
                "description": {"type": "string"},
                "seed": {"type": "integer", "minimum": 0, "default": 1},
                "processes": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MAX_PROCESSES,
                    "description": "Pack all replicas into so many processes. Default: one each.",
                },
                "defaults": _ref("file_defaults"),
                "services": _named(_ref("service")),
                "load": _ref("load"),
                "faults": _list(_ref("fault")),
                "variants": {
                    **_named(_ref("variant")),
                    "propertyNames": {"pattern": f"^{PATTERN}$", "not": {"const": BASELINE}},
                },
                "expectations": _list(_ref("expectation")),
            },
            required=("version", "services", "load"),
        ),
        "$defs": {
            **_quantities(),
            **_topology(),
            **_steps(),
            **_traffic(),
            **_variants(),
        },
    }


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _mapping(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**schema, "required": list(required)} if required else schema


def _list(of: Schema, **more: object) -> Schema:
    return {"type": "array", "items": of, **more}


def _named(of: Schema) -> Schema:
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{PATTERN}$"},
        "additionalProperties": of,
    }


def _or(word: str, of: Schema) -> Schema:
    return {"anyOf": [{"const": word}, of]}


def _count(least: int = 1, **more: object) -> Schema:
    return {"type": "integer", "minimum": least, **more}


def _text(pattern: str, **more: object) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$", **more}


def _quantities() -> Schema:
    known = {name: "|".join(u) for name, u in (("time", units.TIME), ("size", units.SIZE))}
    duration = _text(rf"({_NUMBER}\s*({known['time']})|0)", examples=["10ms", "1.5s"])
    duration = {"anyOf": [duration, {"const": 0}]}
    size = _text(rf"{_NUMBER}\s*({known['size']})?", examples=["200B", "4KiB"])
    size = {"anyOf": [size, {"type": "number", "minimum": 0}]}
    per = "|".join(units.RATE)
    name = {"pattern": f"^{PATTERN}$", "type": "string"}
    return {
        "name": name,
        "target": _text(rf"{PATTERN}\.{PATTERN}", examples=["inventory.reserve"]),
        "edge": _text(
            rf"{PATTERN}(\.{PATTERN})?\s*->\s*{PATTERN}\.{PATTERN}",
            examples=["order->inventory.reserve", "order.create->inventory.reserve"],
        ),
        "duration": duration,
        "rate": {
            "anyOf": [
                _text(rf"{_NUMBER}\s*({per})?", examples=["200/s"]),
                {"type": "number", "exclusiveMinimum": 0},
            ]
        },
        "probability": {
            "anyOf": [
                _text(rf"{_NUMBER}\s*%?", examples=["25%"]),
                {"type": "number", "minimum": 0, "maximum": 1},
            ]
        },
        "time": _spread(_ref("duration"), "A time, or a distribution of times."),
        "size": _spread(size, "A size in bytes, or a distribution of sizes."),
        "weight": {"type": "number", "exclusiveMinimum": 0},
    }


def _spread(one: Schema, description: str) -> Schema:
    percentiles: Schema = {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {r"^(min|max|p[0-9]{1,2}(\.[0-9]+)?)$": one},
        "additionalProperties": False,
    }
    lognormal = _mapping(
        {"median": one, "sigma": {"type": "number", "minimum": 0, "maximum": 10}},
        required=("median", "sigma"),
    )
    families = (
        _mapping({"uniform": _list(one, minItems=2, maxItems=2)}, ("uniform",)),
        _mapping({"exponential": one}, ("exponential",)),
        _mapping({"lognormal": lognormal}, ("lognormal",)),
        _mapping({"empirical": _list(one, minItems=1)}, ("empirical",)),
    )
    return {"description": description, "anyOf": [one, percentiles, *families]}


def _options() -> Schema:
    """The options of an edge, as a step or a ``defaults`` block gives them."""
    return {
        "protocol": {"enum": list(PROTOCOLS)},
        "count": _count(maximum=MAX_ITEMS, description="Items to send."),
        "batch": _count(description="Items a call carries."),
        "max_parallel": _or("all", _count(description="Calls in flight at once.")),
        "probability": {**_ref("probability"), "description": "Whether an item takes part."},
        "request": {**_ref("size"), "description": "Bytes an item."},
        "response": {**_ref("size"), "description": "Bytes an item."},
        "key": _or("none", _mapping({"distinct": _count()}, ("distinct",))),
        "timeout": _or("none", _ref("duration")),
        "retry": _or(
            "none",
            _mapping(
                {
                    "max": _count(description="Attempts after the first."),
                    "backoff": _ref("duration"),
                    "jitter": _ref("probability"),
                    "budget": _or("unlimited", _ref("probability")),
                },
                ("max",),
            ),
        ),
        "hedge": _or("none", _mapping({"after": _or("p95", _ref("duration"))}, ("after",))),
        "on_error": {"enum": ["fail", "ignore"]},
        "kafka": _mapping(
            {
                "partitions": _count(maximum=MAX_REPLICAS),
                "acks": {"enum": ["0", "1", "all", 0, 1]},
                "linger": _ref("duration"),
            }
        ),
    }


_WHERE: Final[Schema] = {"enum": ["loop", "thread", "process"]}


def _topology() -> Schema:
    of_service = {
        "replicas": _count(maximum=MAX_REPLICAS),
        "balance": {"enum": list(BALANCES)},
        "workers": _or("unlimited", _count(description="Requests one replica handles at once.")),
    }
    defaults = {**_options(), "where": _WHERE}
    return {
        "file_defaults": _mapping({**defaults, **of_service}),
        "defaults": _mapping(defaults),
        "service": _mapping(
            {
                "defaults": _ref("defaults"),
                "operations": _named(_ref("operation")),
                **of_service,
            },
            ("operations",),
        ),
        "operation": {
            "anyOf": [
                _ref("steps"),
                _mapping({"defaults": _ref("defaults"), "steps": _ref("steps")}, ("steps",)),
            ]
        },
    }


def _steps() -> Schema:
    common = {
        "id": _ref("name"),
        "after": {"anyOf": [{"type": "string"}, _list({"type": "string"})]},
        "per_item": {"type": "boolean", "description": "Run for every item, not once a call."},
    }
    fallback = _mapping({"fallback": _ref("steps")}, ("fallback",))
    options = _options()
    call = {**options, "on_error": {"anyOf": [options["on_error"], fallback]}}
    publish = {**call, "protocol": {"const": "kafka"}, "hedge": {"const": "none"}}
    work = {"cpu": _ref("time"), "per_item": _or("none", _ref("time")), "where": _WHERE}
    sleep = {"time": _ref("time"), "per_item": _or("none", _ref("time"))}
    steps = _ref("steps")
    option = _mapping({"weight": _ref("weight"), "steps": steps}, ("weight", "steps"))
    parallel = _mapping({"max": _or("all", _count()), "steps": steps}, ("steps",))
    kinds: dict[str, tuple[Schema, Schema]] = {
        "work": ({"anyOf": [_ref("time"), _mapping(work)]}, {}),
        "sleep": ({"anyOf": [_ref("time"), _mapping(sleep)]}, {}),
        "call": (_ref("target"), call),
        "publish": (_ref("target"), publish),
        "sequence": (steps, {}),
        "parallel": ({"anyOf": [steps, parallel]}, {}),
        "choice": (_list(option, minItems=1), {}),
        "repeat": (
            _mapping({"times": _count(maximum=MAX_ITEMS), "steps": steps}, ("times", "steps")),
            {},
        ),
        "fail": (_ref("probability"), {}),
    }
    return {
        "steps": _list(_ref("step")),
        "step": {
            "oneOf": [
                _mapping({kind: value, **siblings, **common}, (kind,))
                for kind, (value, siblings) in kinds.items()
            ]
        },
    }


def _traffic() -> Schema:
    entry = _mapping(
        {
            "call": _ref("target"),
            "weight": _ref("weight"),
            "protocol": {"enum": list(PROTOCOLS)},
            "request": _ref("size"),
            "response": _ref("size"),
            "key": _options()["key"],
            "timeout": _ref("duration"),
        },
        ("call",),
    )
    scope = _mapping(
        {
            "service": _ref("name"),
            "operation": _ref("name"),
            "replica": _count(0),
            "edge": _ref("edge"),
        }
    )
    fault = {
        "id": _ref("name"),
        "at": scope,
        "from": _ref("duration"),
        "to": _ref("duration"),
    }
    stage = _mapping({"to": _ref("rate"), "over": _ref("duration")}, ("to", "over"))
    return {
        "entry": {"anyOf": [_ref("target"), entry]},
        "load": _mapping(
            {
                "model": {"enum": ["open", "closed"], "default": "open"},
                "arrivals": {"enum": ["poisson", "uniform", "replay"], "default": "poisson"},
                "rate": _ref("rate"),
                "duration": _ref("duration"),
                "warmup": _ref("duration"),
                "max_in_flight": _count(default=MAX_IN_FLIGHT),
                "entry": _ref("entry"),
                "entries": _list(_ref("entry"), minItems=1),
                "users": _count(),
                "think": _ref("time"),
                "replay": {"type": "string"},
                "ramp": _list(stage),
            }
        ),
        "fault": {
            "oneOf": [
                _mapping(
                    {"latency": _ref("time"), "probability": _ref("probability"), **fault},
                    ("latency",),
                ),
                _mapping({"error": _ref("probability"), **fault}, ("error",)),
                _mapping({"reset": _ref("probability"), **fault}, ("reset",)),
                _mapping({"pause": _ref("duration"), **fault}, ("pause",)),
            ]
        },
    }


def _variants() -> Schema:
    edge = {"edge": _ref("edge")}
    operators: dict[str, tuple[Schema, tuple[str, ...]]] = {
        "batch": ({**edge, "size": _count()}, ("edge", "size")),
        "parallelize": (
            {"at": _ref("target"), "max": {"anyOf": [{"type": "null"}, _count(2)]}},
            ("at",),
        ),
        "asyncify": (edge, ("edge",)),
        "protocol": (
            {**edge, "all": {"const": True}, "to": {"enum": list(PROTOCOLS)}},
            ("to",),
        ),
        "cache": (
            {
                **edge,
                "scope": {"enum": ["request", "process"]},
                "ttl": _or("none", _ref("duration")),
            },
            ("edge", "scope"),
        ),
        "merge": (edge, ("edge",)),
        "bound": ({**edge, "max": _count()}, ("edge", "max")),
        "hedge": ({**edge, "after": _or("p95", _ref("duration"))}, ("edge", "after")),
    }
    where = _mapping({key: {"type": "string"} for key in expectations.WHERE})
    refactors = _list(_ref("refactor"))
    return {
        "refactor": {
            "oneOf": [
                _mapping({"op": {"const": op}, **keys}, ("op", *required))
                for op, (keys, required) in operators.items()
            ]
        },
        "variant": {
            "anyOf": [
                refactors,
                _mapping(
                    {
                        "description": {"type": "string"},
                        "refactors": refactors,
                        "expectations": _list(_ref("expectation")),
                    },
                    ("refactors",),
                ),
            ]
        },
        "expectation": _mapping(
            {"kind": {"enum": list(expectations.KINDS)}, **edge, "where": where}, ("kind",)
        ),
    }
