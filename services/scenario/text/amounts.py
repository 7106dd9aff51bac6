"""Distributions as text: how a file writes them, read and written.

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
from collections.abc import Callable, Mapping
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
from services.scenario.text import reader, units
from services.scenario.text.reader import Reader, bad, items, mapping, quantity
from services.scenario.text.source import Leaf, Map, Node

_PERCENTILE: Final = re.compile(r"p([0-9]{1,2}(?:\.[0-9]+)?)")
FAMILIES: Final = ("uniform", "exponential", "lognormal", "empirical")
_SHAPES: Final = "{p50: …, p99: …}, {uniform: [low, high]}, {exponential: mean}, …"


@dataclass(frozen=True, slots=True)
class Amount:
    """A kind of quantity that can be spread: times or sizes."""

    parse: Callable[[object], float]
    text: Callable[[float], str]

    def read(self, file: str | None, node: Node) -> Distribution:
        if not isinstance(node, Map):
            return Constant(self._one(file, node))
        r = mapping(file, node, "a distribution")
        keys = list(node.items)
        if keys and all(key in ("min", "max") or _PERCENTILE.fullmatch(key) for key in keys):
            return self._percentiles(r)
        if len(keys) != 1:
            said = ", ".join(key[:60] for key in keys) or "{}"
            raise bad(file, node, f"{said} is not a distribution", _SHAPES)
        found = self._family(r)
        r.known += ["p50", "p99"]
        r.done()
        if found is None:
            raise AssertionError(keys)
        return found

    def _family(self, r: Reader) -> Distribution | None:
        found: Distribution | None = None
        if (node := r.take("uniform")) is not None:
            low, high = self._many(r.file, node, exactly=2)
            if low > high:
                raise bad(
                    r.file, node, "the lower end of a uniform distribution is above the upper"
                )
            found = Uniform(low, high)
        if (node := r.take("exponential")) is not None:
            found = Exponential(self._one(r.file, node))
        if (node := r.take("lognormal")) is not None:
            inner = mapping(r.file, node, "lognormal")
            median = self._one(r.file, inner.need("median", "median: 5ms"))
            sigma = _sigma(r.file, inner.need("sigma", "sigma: 0.5"))
            inner.done()
            found = LogNormal(median, sigma)
        if (node := r.take("empirical")) is not None:
            found = Empirical(self._many(r.file, node, exactly=None))
        return found

    def _percentiles(self, r: Reader) -> Percentiles:
        points = sorted(
            ((_quantile(key), key, node) for key, node in r.node.items.items()),
            key=lambda point: point[0],
        )
        values = [self._one(r.file, node) for _, _, node in points]
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

    def _one(self, file: str | None, node: Node) -> float:
        return quantity(self.parse)(file, node)

    def _many(self, file: str | None, node: Node, *, exactly: int | None) -> tuple[float, ...]:
        found = tuple(self._one(file, item) for item in items(file, node, "the values"))
        if not found or exactly not in (None, len(found)):
            raise bad(file, node, f"expected {exactly or 'some'} values, not {len(found)}")
        return found

    def write(self, spread: Distribution) -> object:
        """What :meth:`read` reads back as the same distribution."""
        match spread:
            case Constant(value):
                return self.text(value)
            case Uniform(low, high):
                return {"uniform": [self.text(low), self.text(high)]}
            case Exponential(average):
                return {"exponential": self.text(average)}
            case LogNormal(median, sigma):
                return {"lognormal": {"median": self.text(median), "sigma": sigma}}
            case Percentiles(quantiles, values):
                return {
                    _percentile(q): self.text(value)
                    for q, value in zip(quantiles, values, strict=True)
                }
            case Empirical(values):
                return {"empirical": [self.text(value) for value in values]}


TIME: Final = Amount(units.time, units.time_text)
SIZE: Final = Amount(units.size, units.size_text)


def is_distribution(node: Node) -> bool:
    """Whether the node can only be meant as one: a single value, or a mapping with its keys."""
    if isinstance(node, Leaf):
        return True
    return isinstance(node, Map) and all(
        key in ("min", "max", *FAMILIES) or _PERCENTILE.fullmatch(key) for key in node.items
    )


def _sigma(file: str | None, node: Node) -> float:
    value = node.value if isinstance(node, Leaf) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10:
        raise bad(file, node, f"sigma must be a number in 0..10, not {reader.shown(node)}")
    return float(value)


def _quantile(key: str) -> float:
    ends: Mapping[str, float] = {"min": 0.0, "max": 1.0}
    return ends[key] if key in ends else float(Decimal(key[1:]) / 100)


def _percentile(quantile: float) -> str:
    if quantile in (0.0, 1.0):
        return "min" if quantile == 0.0 else "max"
    text = f"{Decimal(repr(quantile)) * 100:f}"
    return "p" + (text.rstrip("0").rstrip(".") if "." in text else text)
