"""How a comparison is laid out and will be judged: fixed before its first round.

Arms are told apart by number: ``baseline,baseline`` is a comparison of two arms of one variant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from hopbench.statistics import blocks
from hopbench.statistics.blocks import PAIRS, Order
from hopbench.statistics.effect import fewest_pairs
from hopbench.statistics.stopping import FIRST
from loadgen.slices import Slices, laid_out
from services.errors import BadInput
from services.scenario.model import Load

_PAIRS_MOST: Final = 1_000_000
MOST_LEVEL: Final = 0.9999
"""20 pairs reach 0.998; 0.9999 takes 30."""


Kind = Literal["rounds", "duet"]
SLICE_NS: Final = 1_500_000_000
GAP_NS: Final = 250_000_000
LEFT_OUT_NS: Final = 250_000_000
"""Of slices (loadgen/slices.py)."""


@dataclass(frozen=True, slots=True)
class Place:
    """One round of a block."""

    block: int
    arm: int
    pair: int
    """From 0, over all blocks: the rounds of the first arm and of another that have the same are
    held against each other."""


@dataclass(frozen=True, slots=True)
class Old:
    """What an old run measured of its first variant, in another sitting: shown, never judged."""

    run_dir: str
    response_p50_ms: float | None
    response_p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Design:
    arms: tuple[str, ...]
    """Their variants; every one but the first is compared with the first."""
    blocks: int
    level: float
    delta: float
    """0.05: what differs by no more than 5 % is equivalent."""
    metric: str
    """The primary one."""
    repeat_void: int
    """Most blocks that are measured once more."""
    until: float | None = None
    """A width of the interval, as a share, at which no further block begins; ``blocks`` are then
    the most. None: all of them run."""
    old: Old | None = None
    """The run that the first arm is of."""
    observed: bool = False
    """Whether each arm has a twin without tracing in each block: the arm's number, and as many as
    there are arms."""
    kind: Kind = "rounds"
    """duet: the two rounds of a pair share a sitting, and take turns in slices of it."""

    @property
    def pairs(self) -> int:
        return PAIRS * self.blocks

    @property
    def lanes(self) -> int:
        """Arms, and their twins."""
        return len(self.arms) * (2 if self.observed else 1)

    @property
    def alpha(self) -> float:
        return round(1 - self.level, 12)

    def orders(self, seed: int) -> tuple[Order, ...]:
        return blocks.orders(seed, self.blocks, self.lanes)

    def places(self, seed: int) -> Iterator[Place]:
        """Of every round, in order."""
        for number, order in enumerate(self.orders(seed)):
            for at, arm in enumerate(order):
                late = arm in order[:at]
                # Crosswise: the first round of one arm with the second of the other.
                crossed = not self.neighbours and arm != 0
                yield Place(number, arm, PAIRS * number + (late != crossed))

    @property
    def neighbours(self) -> bool:
        """Whether a pair is of rounds that stand next to each other."""
        return self.kind == "duet"

    def slices(self, seed: int, pair: int, load: Load) -> tuple[Slices, ...] | None:
        """Of each arm, in the sitting of the pair (from 1); None where rounds have theirs to
        themselves. ``load`` is of whole slices (:func:`in_slices`)."""
        if self.kind == "rounds":
            return None
        return laid_out(
            seed * _PAIRS_MOST + pair,
            len(self.arms),
            load.length_ns // SLICE_NS,
            length_ns=SLICE_NS,
            gap_ns=GAP_NS,
            left_out_ns=LEFT_OUT_NS,
        )


def in_slices(load: Load) -> Load:
    """The load, as long as whole slices: no phase is shorter than it was."""

    def whole(ns: int) -> int:
        return -(-ns // SLICE_NS) * SLICE_NS

    return replace(load, warmup_ns=whole(load.warmup_ns), duration_ns=whole(load.duration_ns))


def _must_be_a_duet(made: Design) -> None:
    if len(made.arms) != 2:
        raise BadInput("--design duet: is of two arms", hint="--variants A,B; or --design rounds")
    for flag, given in (("--until", made.until is not None), ("--observer", made.observed)):
        if given:
            raise BadInput(f"{flag}: goes with --design rounds alone", hint="leave one of them out")


def design(
    arms: Sequence[str],
    *,
    pairs: int,
    level: float,
    delta: float,
    metric: str,
    repeat_void: int,
    until: float | None = None,
    old: Old | None = None,
    observed: bool = False,
    kind: Kind = "rounds",
) -> Design:
    """Raises BadInput for what can end in no verdict, whatever is measured."""
    if len(arms) < 2:
        raise BadInput(
            "a comparison needs two arms",
            hint="--variants A,B; `--variants baseline,baseline` compares a variant with itself",
        )
    if not all(arms):
        raise BadInput("--variants: a name is empty", hint="--variants A,B")
    again = [arm for at, arm in enumerate(arms[1:], 1) if arm in arms[1:at]]
    if again:
        raise BadInput(
            f"--variants: {again[0]} would be compared with {arms[0]} twice",
            hint=f"`--variants {again[0]},{again[0]}` compares it with itself",
        )
    if not 0.5 <= level <= MOST_LEVEL:
        raise BadInput(f"--level: {level:.12g} is not in 0.5..{MOST_LEVEL}", hint="--level 0.95")
    made = Design(
        *(tuple(arms), pairs // PAIRS, level, delta, metric, repeat_void, until, old, observed),
        kind,
    )
    if kind == "duet":
        _must_be_a_duet(made)
    enough = fewest_pairs(made.alpha, len(arms) - 1, pairs)
    if pairs % PAIRS:
        raise BadInput(f"--pairs {pairs}: a block gives two pairs", hint=f"--pairs {enough}")
    if pairs < enough:
        among = f" of {len(arms) - 1} comparisons" if len(arms) > 2 else ""
        raise BadInput(
            f"--pairs {pairs}: so many can call nothing at a level{among} of {level:.12g}",
            hint=f"--pairs {enough}",
        )
    if until is not None and (until <= 0 or made.blocks < FIRST):
        raise BadInput(
            f"--until {100 * until:g}%: it is looked at from {PAIRS * FIRST} pairs on, for a width "
            "above 0",
            hint=f"--until 5% --pairs {PAIRS * FIRST}, or more: the most that there may be",
        )
    return made
