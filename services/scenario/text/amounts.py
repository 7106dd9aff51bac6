"""Quantities, and distributions of them: how a file writes them, read and written.

    5ms                               always the same
    {p50: 5ms, p99: 40ms}             by percentile; also min and max
    {uniform: [1ms, 9ms]}
    {exponential: 5ms}                by its mean
    {lognormal: {median: 5ms, sigma: 0.5}}
    {empirical: [1ms, 1ms, 7ms]}      each with equal chance

Between percentiles the quantile function is a straight line. Outside of those given it is flat:
no value is invented, so ``min`` and ``max`` are for saying more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from services.scenario.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Percentiles,
    Uniform,
)
from services.scenario.text import units
from services.scenario.text.forms import (
    Form,
    Key,
    Schema,
    given,
    mapping_schema,
    matching,
    quantity,
    record,
    several,
)
from services.scenario.text.reader import Reader, bad, mapping, shown
from services.scenario.text.source import Leaf, Map, Node

_NUMBER: Final = r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"


def _or_number(pattern: str, *examples: str, **bounds: float) -> Schema:
    return {"anyOf": [matching(pattern, examples=examples), {"type": "number", **bounds}]}


_TIME: Final[Schema] = {
    "anyOf": [
        matching(rf"({_NUMBER}\s*({'|'.join(units.TIME)})|0)", examples=["10ms", "1.5s"]),
        {"const": 0},
    ]
}
_SIZE: Final = _or_number(rf"{_NUMBER}\s*({'|'.join(units.SIZE)})?", "200B", "4KiB", minimum=0)
_RATE: Final = _or_number(rf"{_NUMBER}\s*({'|'.join(units.RATE)})?", "200/s", exclusiveMinimum=0)
_SHARE: Final = _or_number(rf"{_NUMBER}\s*%?", "25%", minimum=0, maximum=1)

DURATION: Final = quantity(units.duration, _TIME, units.time_text).named("duration")
"""Whole nanoseconds."""
RATE: Final = quantity(units.rate, _RATE, units.rate_text).named("rate")
"""Per second."""
PROBABILITY: Final = quantity(units.probability, _SHARE, units.probability_text).named(
    "probability"
)


def _number(node: Node) -> float | None:
    """The node's value where that is a number."""
    value = node.value if isinstance(node, Leaf) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _weight(file: str, node: Node) -> float:
    value = _number(node)
    if value is None or not 0 < value < 1e12:
        raise bad(file, node, f"a weight is a number above zero, not {shown(node)}")
    return float(value)


def _sigma(file: str, node: Node) -> float:
    value = _number(node)
    if value is None or not 0 <= value <= 10:
        raise bad(file, node, f"sigma must be a number in 0..10, not {shown(node)}")
    return float(value)


WEIGHT: Final = Form(_weight, {"type": "number", "exclusiveMinimum": 0}).named("weight")
_SIGMA: Final = Form(_sigma, {"type": "number", "minimum": 0, "maximum": 10})

_PERCENTILE: Final = re.compile(r"p[0-9]{1,2}(\.[0-9]+)?")
_SHAPES: Final = "{p50: …, p99: …}, {uniform: [low, high]}, {exponential: mean}, …"


def _families(one: Form[float]) -> dict[type[Distribution], Key]:
    """A distribution of a family is a mapping with its key alone."""
    pair, many = several(one, 2, 2), several(one, 1)

    def uniform(file: str, node: Node) -> Uniform:
        low, high = pair.read(file, node)
        if low > high:
            raise bad(file, node, "the lower end of a uniform distribution is above the upper")
        return Uniform(low, high)

    lognormal = record(
        "lognormal",
        LogNormal,
        Key("median", one, example="median: 5ms"),
        Key("sigma", _SIGMA, example="sigma: 0.5"),
    )
    return {
        Uniform: Key("uniform", Form(uniform, pair.schema, lambda u: pair.write((u.low, u.high)))),
        Exponential: Key("exponential", one.of(Exponential, lambda spread: spread.average)),
        LogNormal: Key("lognormal", lognormal),
        Empirical: Key("empirical", many.of(Empirical, lambda spread: spread.values)),
    }


@dataclass(frozen=True, slots=True)
class _Amount:
    """How a kind of quantity is spread: times or sizes."""

    one: Form[float]
    families: Mapping[type[Distribution], Key]

    def read(self, file: str, node: Node) -> Distribution:
        if not isinstance(node, Map):
            return Constant(self.one.read(file, node))
        r = mapping(file, node, "a distribution")
        keys = list(node.items)
        if keys and all(map(_is_percentile, keys)):
            return self._percentiles(r)
        if len(keys) != 1:
            said = ", ".join(key[:60] for key in keys) or "{}"
            raise bad(file, node, f"{said} is not a distribution", _SHAPES)
        found = given(self.families.values(), r)
        r.known += ["p50", "p99"]
        r.done()
        distribution: Distribution = found[keys[0]]
        return distribution

    def _percentiles(self, r: Reader) -> Percentiles:
        points = sorted(
            ((_quantile(key), key, node) for key, node in r.node.items.items()),
            key=lambda point: point[0],
        )
        values = [self.one.read(r.file, node) for _, _, node in points]
        for (q, before, _), (p, after, node), low, high in zip(
            points, points[1:], values, values[1:], strict=False
        ):
            if p == q:
                raise bad(r.file, node, f"{before} and {after} are one percentile")
            if high < low:
                raise bad(r.file, node, f"{after} is below {before}", "percentiles do not fall")
        quantiles = [q for q, *_ in points]
        if quantiles[0] != 0.0:
            quantiles.insert(0, 0.0)
            values.insert(0, values[0])
        if quantiles[-1] != 1.0:
            quantiles.append(1.0)
            values.append(values[-1])
        return Percentiles(tuple(quantiles), tuple(values))

    def write(self, spread: Distribution) -> object:
        match spread:
            case Constant(value):
                return self.one.write(value)
            case Percentiles(quantiles, values):
                return {
                    _percentile(q): self.one.write(value)
                    for q, value in zip(quantiles, values, strict=True)
                }
            case _:
                family = self.families[type(spread)]
                return {family.name: family.form.write(spread)}

    def form(self, name: str, about: str) -> Form[Distribution]:
        percentiles = {
            "type": "object",
            "minProperties": 1,
            "patternProperties": {rf"^(min|max|{_PERCENTILE.pattern})$": self.one.schema},
            "additionalProperties": False,
        }
        families = (mapping_schema((key,)) for key in self.families.values())
        schema = {"description": about, "anyOf": [self.one.schema, percentiles, *families]}
        return Form(self.read, schema, self.write).named(name)


def _amount(one: Form[float]) -> _Amount:
    return _Amount(one, _families(one))


_TIMES: Final = _amount(quantity(units.time, DURATION.schema, units.time_text))
_SIZES: Final = _amount(quantity(units.size, _SIZE, units.size_text))
TIME: Final = _TIMES.form("time", "A time, or a distribution of times.")
SIZE: Final = _SIZES.form("size", "A size in bytes, or a distribution of sizes.")
FAMILIES: Final = tuple(key.name for key in _TIMES.families.values())


def is_distribution(node: Node) -> bool:
    """Whether the node can only be meant as one: a single value, or a mapping with its keys."""
    if isinstance(node, Leaf):
        return True
    return isinstance(node, Map) and all(
        key in FAMILIES or _is_percentile(key) for key in node.items
    )


def _is_percentile(key: str) -> bool:
    return key in ("min", "max") or _PERCENTILE.fullmatch(key) is not None


def _quantile(key: str) -> float:
    ends: Mapping[str, float] = {"min": 0.0, "max": 1.0}
    return ends[key] if key in ends else float(Decimal(key[1:]) / 100)


def _percentile(quantile: float) -> str:
    if quantile in (0.0, 1.0):
        return "min" if quantile == 0.0 else "max"
    text = f"{Decimal(repr(quantile)) * 100:f}"
    return "p" + (text.rstrip("0").rstrip(".") if "." in text else text)
