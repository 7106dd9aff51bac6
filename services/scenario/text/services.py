"""What a service says beside its operations."""

from __future__ import annotations

from typing import Final

from services.scenario.limits import MAX_REPLICAS
from services.scenario.model import Balance
from services.scenario.text.forms import Key, integer, optional, word

_BALANCES: Final[tuple[Balance, ...]] = ("round_robin", "random", "least_pending")

OF_SERVICE: Final = (
    Key("replicas", integer(1, MAX_REPLICAS), 1),
    Key("balance", word(_BALANCES), "round_robin"),
    Key(
        "workers",
        optional(integer(1), "unlimited"),
        None,
        "max_concurrent",
        about="Requests one replica handles at once.",
    ),
)
