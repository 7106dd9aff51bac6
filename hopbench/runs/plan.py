"""What a run will do: variants, rounds, order, seeds. ``plan.json`` (hopbench.run-plan/2).

Round i of every variant makes up pair i and shares its seed; within a pair the order is drawn from
the scenario's seed, so that no variant always runs first (docs/measurement.md, fact 1). A
comparison has a design in place of that: blocks, whose rounds share a seed.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from hopbench.engines.port import RoundPlan, Settings
from hopbench.runs.design import MOST_LEVEL, Design
from hopbench.runs.directory import RunDir
from hopbench.runs.limits import USUAL, Limits
from hopbench.statistics.blocks import PAIRS
from services import codec
from services.errors import BadInput
from services.scenario.chance import round_seed
from services.scenario.file.parser import parse_text
from services.scenario.file.writer import to_yaml
from services.scenario.model import Scenario
from services.scenario.refactors import BASELINE, apply

SCHEMA: Final = "hopbench.run-plan/2"
_BEFORE: Final = "hopbench.run-plan/1"
"""Counted rounds from 0, in directories' names as well."""
_ROUND_BITS: Final = 20
"""A salt of 32 bits and the round's number are exact in JSON, together."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One round of the order. ``round`` counts over the whole run, ``pair`` within an arm; both
    from 1."""

    round: int
    pair: int
    variant: str
    seed: int
    arm: int
    """From 0: the place of its variant in the run, or of an arm in the design."""
    traced: bool = True
    """Whether with the tracing of the run, or without any: an arm's twin."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """``scenario`` is the base with every flag applied, ``source`` the same as YAML;
    ``scenarios`` has what each variant of the run makes of it, in order."""

    scenario: Scenario
    source: str
    scenarios: Mapping[str, Scenario]
    sha256: str
    """Of the scenario file as it was read, before any flag."""
    rounds: int
    settings: Settings
    limits: Limits
    salt: int = 0
    """Of this run, in trace ids: 32 bits of chance where a store outlives it, else 0."""
    design: Design | None = None
    """Of a comparison."""
    others: Mapping[str, Scenario] = field(default_factory=dict)
    """By variant, the scenario that it is of where that is not ``scenario``: the second file of a
    comparison."""

    def base(self, variant: str) -> Scenario:
        """What ``variant`` is one of."""
        return self.others.get(variant, self.scenario)

    @property
    def order(self) -> tuple[Turn, ...]:
        if self.design is not None:
            return tuple(self._in_blocks(self.design))
        turns: list[Turn] = []
        for pair in range(self.rounds):
            arms = list(enumerate(self.scenarios))
            random.Random(f"order:{self.scenario.seed}:{pair}").shuffle(arms)
            seed = round_seed(self.scenario.seed, pair)
            turns += [
                Turn(len(turns) + i, pair + 1, name, seed, arm)
                for i, (arm, name) in enumerate(arms, 1)
            ]
        return tuple(turns)

    def _in_blocks(self, design: Design) -> Iterator[Turn]:
        for number, place in enumerate(design.places(self.scenario.seed), 1):
            seed = round_seed(self.scenario.seed, place.block)
            twin, arm = divmod(place.arm, len(design.arms))
            yield Turn(number, place.pair + 1, design.arms[arm], seed, place.arm, traced=not twin)

    @property
    def at_once(self) -> int:
        """How many rounds share a sitting: the two of a duet's pair, else one by itself."""
        return 2 if self.design is not None and self.design.kind == "duet" else 1

    @property
    def blocks(self) -> tuple[tuple[Turn, ...], ...]:
        """The rounds of a comparison, block by block; none of another run."""
        if self.design is None:
            return ()
        size, turns = PAIRS * self.design.lanes, self.order
        return tuple(turns[at : at + size] for at in range(0, len(turns), size))

    def round_plan(self, turn: Turn) -> RoundPlan:
        base = self.base(turn.variant)
        slices = None
        if self.design is not None:
            load = self.scenario.load
            slices = self.design.slices(self.scenario.seed, turn.pair, load)
        return RoundPlan(
            base=base,
            scenario=self.scenarios[turn.variant],
            source=self.source if base is self.scenario else to_yaml(base),
            variant=turn.variant,
            round=turn.round,
            seed=turn.seed,
            trace_salt=(self.salt << _ROUND_BITS) + turn.round - 1,
            traced=turn.traced,
            slices=None if slices is None else slices[turn.arm],
        )

    def document(self) -> dict[str, Any]:
        load = self.scenario.load
        return {
            "schema": SCHEMA,
            "scenario": self.scenario.name,
            "scenario_sha256": self.sha256,
            "seed": self.scenario.seed,
            "variants": list(self.scenarios),
            "others": list(self.others),
            "processes": self.scenario.processes,
            "rounds": self.rounds,
            "design": None if self.design is None else codec.plain(self.design),
            "model": load.pace.model,
            "pace": str(load.pace),
            "rate_rps": load.pace.steady_rps,
            "duration_s": load.duration_ns / 1e9,
            "warmup_s": load.warmup_ns / 1e9,
            "settings": asdict(self.settings),
            "limits": self.limits.document(),
            "salt": self.salt,
            # Seeds have 64 bits; a number in JSON is exact to 53.
            "order": [{**asdict(turn), "seed": str(turn.seed)} for turn in self.order],
            "estimate": None,
        }


def plan_of(
    scenario: Scenario,
    sha256: str,
    *,
    variants: tuple[str, ...],
    rounds: int,
    settings: Settings,
    limits: Limits = USUAL,
    salt: int | None = None,
    design: Design | None = None,
    others: Mapping[str, Scenario] | None = None,
) -> RunPlan:
    """``scenario`` has every flag applied; no ``variants`` stands for baseline and all of them.

    ``salt`` is an earlier plan's; None draws one for a run against a Jaeger, where the traces of
    earlier runs with the same seed still are.

    Raises BadInput for a variant that does not exist or does not apply.
    """
    names, of = variants or (BASELINE, *scenario.variants), others or {}
    return RunPlan(
        scenario=scenario,
        source=to_yaml(scenario),
        scenarios={name: apply(of.get(name, scenario), name) for name in dict.fromkeys(names)},
        sha256=sha256,
        rounds=rounds,
        settings=settings,
        limits=limits,
        salt=_salt(settings) if salt is None else salt,
        design=design,
        others=of,
    )


def comparison_of(
    scenario: Scenario,
    sha256: str,
    *,
    design: Design,
    settings: Settings,
    limits: Limits = USUAL,
    others: Mapping[str, Scenario] | None = None,
) -> RunPlan:
    """As :func:`plan_of`."""
    return plan_of(
        scenario,
        sha256,
        variants=design.arms,
        rounds=PAIRS * design.blocks,
        settings=settings,
        limits=limits,
        design=design,
        others=others,
    )


def _salt(settings: Settings) -> int:
    return 0 if settings.jaeger is None else secrets.randbits(32)


@dataclass(frozen=True, slots=True)
class _Written:
    """Of ``plan.json``, what is read again; the order follows from it."""

    scenario_sha256: str
    variants: tuple[str, ...]
    rounds: int
    settings: Settings
    limits: Limits
    schema: Literal["hopbench.run-plan/2"]
    salt: int = 0
    design: Design | None = None
    others: tuple[str, ...] = ()


def read(run: RunDir) -> RunPlan:
    """The plan that a run directory was begun with. Raises BadInput for a damaged one."""
    try:
        written = codec.decode(_Written, run.plan.read_bytes())
        source = run.scenario.read_text(encoding="utf-8")
        others = {arm: run.other(arm).read_text(encoding="utf-8") for arm in written.others}
    except (OSError, UnicodeDecodeError) as error:
        place = getattr(error, "filename", None) or str(run.plan)
        raise BadInput(f"cannot be read: {error}", file=str(place)) from error
    except codec.Unfit as error:
        if _BEFORE.encode() in run.plan.read_bytes():
            raise BadInput(
                f"is of an earlier hopbench ({_BEFORE}), whose rounds count from 0",
                file=str(run.plan),
                hint=f"measure it anew: hopbench run {run.scenario}",
            ) from error
        raise BadInput(f"is no plan of hopbench: {error}", file=str(run.plan)) from error
    made = written.design
    if made is not None and (
        not set(made.arms) <= set(written.variants)
        or made.blocks < 1
        or not 0 < made.level <= MOST_LEVEL
    ):
        raise BadInput(f"has a design that cannot be: {made}", file=str(run.plan))
    return plan_of(
        parse_text(source, str(run.scenario)),
        written.scenario_sha256,
        variants=written.variants,
        rounds=written.rounds,
        settings=written.settings,
        limits=written.limits,
        salt=written.salt,
        design=written.design,
        others={arm: parse_text(text, str(run.other(arm))) for arm, text in others.items()},
    )
