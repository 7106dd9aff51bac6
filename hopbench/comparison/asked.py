"""What is compared: variants of one scenario, or two scenario files as wholes.

Each of two files becomes a variant without refactors, of its own file: whatever runs or reads
variants knows them. The first one's seed is both's, and so must be rate and lengths: a comparison
under two loads says nothing of the services.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from re import sub
from typing import Final

import orjson

from hopbench.runs import plan
from hopbench.runs.design import Old
from hopbench.runs.directory import RunDir
from services.errors import BadInput
from services.scenario.file.parser import STDIN, load
from services.scenario.model import Load, Scenario, Variant
from services.scenario.names import is_name
from services.scenario.refactors import BASELINE

_OLD: Final = "old"
_LONGEST: Final = 30


@dataclass(frozen=True, slots=True)
class Asked:
    scenario: Scenario
    sha256: str
    arms: tuple[str, ...]
    others: Mapping[str, Scenario] = field(default_factory=dict)
    """As of :class:`RunPlan`."""
    old: Old | None = None

    def with_load(self, load: Load) -> Asked:
        """With another length; entries stay each file's own."""

        def long(of: Scenario) -> Scenario:
            made = replace(of.load, warmup_ns=load.warmup_ns, duration_ns=load.duration_ns)
            return replace(of, load=made)

        others = {arm: long(of) for arm, of in self.others.items()}
        return replace(self, scenario=long(self.scenario), others=others)


def asked(
    named: Sequence[str], variants: str | None, with_flags: Callable[[Scenario], Scenario]
) -> Asked:
    """``named``: one or two scenarios; ``variants``: ``--variants``, of one.

    Raises BadInput where two have other entries or loads, and for an old run of another scenario.
    """
    if not 1 <= len(named) <= 2:
        many = f"{len(named)} scenarios" if named else "which scenario?"
        raise BadInput(
            f"{many}: a comparison is of one, or of two", hint="`hopbench list` names some"
        )
    if list(named).count(STDIN) > 1:
        raise BadInput("standard input can be read once", hint="name a file for one of them")
    for each in named:
        _must_be_of_one_file(each)
    loaded = [load(each) for each in named]
    scenarios = [with_flags(each.scenario) for each in loaded]
    sha = loaded[0].sha256
    if len(named) == 1:
        every = (BASELINE, *scenarios[0].variants)
        arms = every if variants is None else tuple(map(str.strip, variants.split(",")))
        return Asked(scenarios[0], sha, arms)
    if variants is not None:
        raise BadInput(
            "--variants are of one scenario, and two are named",
            hint="two files are compared as wholes",
        )
    first, second = scenarios
    old = _old(named[0])
    if old is not None and first.name != second.name:
        raise BadInput(
            f"{named[0]} is a run of {first.name}, and {named[1]} is {second.name}",
            hint="an old run is compared with what has become of its scenario",
        )
    _same_load(named, first.load, second.load)
    a = _OLD if old is not None else _arm(named[0], "a")
    b = _arm(named[1], "b")
    b = f"{b}-2" if a == b else b
    return Asked(
        _whole(first, a), sha, (a, b), {b: replace(_whole(second, b), seed=first.seed)}, old
    )


def _must_be_of_one_file(named: str) -> None:
    run = RunDir(Path(named))
    if run.plan.is_file() and (of := plan.read(run).others):
        files = ", ".join(str(path) for path in (run.scenario, *map(run.other, of)))
        raise BadInput(f"{named} has compared two files: which one is meant?", hint=files)


def _old(directory: str) -> Old | None:
    """None of what is no run. What it showed is left out where nobody can read it."""
    run = RunDir(Path(directory))
    if not run.plan.is_file():
        return None
    try:
        variants = orjson.loads(run.summary.read_bytes())["variants"]
        found = next(row for row in variants if row["name"] == BASELINE)
        return Old(directory, found["response_p50_ms"], found["response_p95_ms"])
    except (OSError, ValueError, LookupError, StopIteration):
        return Old(directory, None, None)


def _same_load(files: Sequence[str], first: Load, second: Load) -> None:
    differing = [
        ("entries", _entries(first), _entries(second)),
        ("rates", str(first.pace), str(second.pace)),
        ("durations", f"{first.duration_ns / 1e9:g} s", f"{second.duration_ns / 1e9:g} s"),
        ("warm-ups", f"{first.warmup_ns / 1e9:g} s", f"{second.warmup_ns / 1e9:g} s"),
        ("`max_in_flight`", str(first.max_in_flight), str(second.max_in_flight)),
    ]
    for what, one, other in differing:
        if one != other:
            raise _unlike(files, f"{what}: {one} and {other}")
    if first.pace != second.pace:
        raise _unlike(files, "arrivals, or thought")
    for mine, others in zip(first.entries, second.entries, strict=True):
        # How an entry is called is a part of the design; what comes in is not.
        if replace(mine, protocol=others.protocol, mode=others.mode) != others:
            raise _unlike(files, f"sizes, keys or timeouts of {mine.target}")


def _unlike(files: Sequence[str], what: str) -> BadInput:
    return BadInput(
        f"{files[0]} and {files[1]} have other {what}",
        hint="what is compared has one load; --rate, --duration and --warmup set both's",
    )


def _entries(load: Load) -> str:
    return ", ".join(f"{entry.target} (weight {entry.weight:g})" for entry in load.entries)


def _arm(file: str, otherwise: str) -> str:
    """A file's name as that of a variant."""
    found = sub(r"[^a-z0-9]+", "-", Path(file).stem.lower()).strip("-")[:_LONGEST]
    return found if is_name(found) and found != BASELINE else otherwise


def _whole(scenario: Scenario, name: str) -> Scenario:
    return replace(scenario, variants={name: Variant(name, scenario.description, (), None)})
