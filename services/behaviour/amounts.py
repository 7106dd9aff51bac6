"""How much: nanoseconds of a step, bytes of a call; what is constant is worked out once."""

from __future__ import annotations

from services.scenario.chance import item_key, uniform
from services.scenario.distributions import Constant, Distribution
from services.wire.ticket import Item


class Cost:
    """``fixed + per item`` nanoseconds: the fixed part drawn once, the other for every item."""

    __slots__ = ("_constant", "_fixed", "_id", "_per_item", "_purpose")

    def __init__(
        self, step: str, purpose: str, fixed: Distribution, per_item: Distribution | None
    ) -> None:
        self._id = step
        self._purpose = purpose
        self._fixed = fixed
        self._per_item = per_item
        self._constant = (
            (max(0, round(fixed.value)), 0 if per_item is None else max(0, round(per_item.value)))
            if isinstance(fixed, Constant) and (per_item is None or isinstance(per_item, Constant))
            else None
        )

    def ns(self, keys: list[int], shift: int, attempt: int) -> int:
        if self._constant is not None:
            fixed, per_item = self._constant
            return fixed + per_item * len(keys)
        own = item_key(keys[0], self._id, shift)
        total = max(0.0, self._fixed.at(uniform(own, self._purpose, attempt)))
        if self._per_item is not None:
            purpose = f"{self._purpose}_per_item"
            for key in keys:
                u = uniform(item_key(key, self._id, shift), purpose, attempt)
                total += max(0.0, self._per_item.at(u))
        return round(total)


class Bytes:
    """A size for each item, added up; drawn under the item's key."""

    __slots__ = ("_constant", "_purpose", "_size")

    def __init__(self, size: Distribution, purpose: str) -> None:
        self._size = size
        self._purpose = purpose
        self._constant = max(0, round(size.value)) if isinstance(size, Constant) else None

    def total(self, parent: int, items: tuple[Item, ...]) -> int:
        if self._constant is not None:
            return self._constant * len(items)
        at, purpose = self._size.at, self._purpose
        return sum(
            max(0, round(at(uniform(item_key(parent, item.step, item.number), purpose))))
            for item in items
        )
