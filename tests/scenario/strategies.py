"""Scenarios as hypothesis draws them: every kind of step, every option, in any nesting.

Services ``s0, s1, …`` each have one or two operations; a step targets only later services, so
there is no cycle. Ids are the positions', or given names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal, TypedDict

from hypothesis import strategies as st

from services.scenario.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Percentiles,
    Uniform,
)
from services.scenario.file.parser import parse_text
from services.scenario.findings import FINDINGS
from services.scenario.model import (
    Edge,
    Entry,
    Expectation,
    Fault,
    FaultScope,
    HedgePolicy,
    KafkaOptions,
    Load,
    OnError,
    OnErrorFail,
    OnErrorFallback,
    OnErrorIgnore,
    Operation,
    Origin,
    Protocol,
    Retry,
    Scenario,
    Service,
    Step,
    Target,
    Where,
)
from services.scenario.pace import Closed, Open, Replay, Stage
from services.scenario.steps.calls import Call, Publish
from services.scenario.steps.choice import Choice, Option
from services.scenario.steps.fail import Fail
from services.scenario.steps.groups import Parallel, Repeat, Sequence
from services.scenario.steps.kind import child, default_id
from services.scenario.steps.time import Sleep, Work

amounts = st.floats(min_value=0, max_value=1e15, allow_subnormal=False)
shares = st.floats(min_value=0, max_value=1)
nanos = st.integers(min_value=1, max_value=10**15)
counts = st.integers(min_value=1, max_value=12)

rates = st.floats(1e-3, 1e5)


@st.composite
def percentiles(draw: st.DrawFn) -> Percentiles:
    inner = draw(st.lists(st.integers(1, 9999), max_size=4, unique=True).map(sorted))
    values = sorted(draw(st.lists(amounts, min_size=len(inner) + 2, max_size=len(inner) + 2)))
    return Percentiles((0.0, *(q / 10_000 for q in inner), 1.0), tuple(values))


distributions: st.SearchStrategy[Distribution] = st.one_of(
    st.builds(Constant, amounts),
    st.tuples(amounts, amounts).map(lambda pair: Uniform(min(pair), max(pair))),
    st.builds(Exponential, amounts),
    st.builds(LogNormal, amounts, st.floats(0, 10, allow_subnormal=False)),
    percentiles(),
    st.builds(Empirical, st.lists(amounts, min_size=1, max_size=4).map(tuple)),
)
stages = st.builds(Stage, rates, st.integers(1, 10**9))
paces = st.one_of(
    st.builds(
        Open,
        st.sampled_from(["poisson", "uniform"]),
        rates,
        st.lists(stages, max_size=3).map(tuple),
    ),
    st.lists(nanos, min_size=1, max_size=5).map(
        lambda gaps: Replay(tuple(accumulate(gaps, initial=10**9)))
    ),
    st.builds(Closed, st.integers(1, 100), distributions),
)


class _Common(TypedDict):
    """What every step has."""

    id: str
    after: tuple[str, ...]
    per_item: bool


@dataclass(slots=True)
class _Writer:
    """Draws the steps of one operation; knows where it stands, and which names are taken."""

    draw: st.DrawFn
    service: str
    operation: str
    targets: list[Target]
    names: set[str]
    replicas: dict[str, int] = field(default_factory=dict)

    def steps(self, position: str, depth: int) -> tuple[Step, ...]:
        found: list[Step] = []
        for number in range(1, self.draw(st.integers(0, 3)) + 1):
            earlier = [step.id for step in found]
            after = (
                self.draw(st.lists(st.sampled_from(earlier), max_size=2, unique=True))
                if (earlier)
                else []
            )
            found.append(self._step(child(position, number), depth, tuple(after)))
        return tuple(found)

    def _step(self, position: str, depth: int, after: tuple[str, ...]) -> Step:
        step = default_id(self.service, self.operation, position)
        if self.draw(st.integers(0, 3)) == 0:
            step = f"n{len(self.names)}"
            self.names.add(step)
        common: _Common = {"id": step, "after": after, "per_item": self.draw(st.booleans())}
        kinds = ["work", "sleep", "fail"]
        kinds += ["call", "call", "call", "publish"] if self.targets else []
        kinds += ["sequence", "parallel", "choice", "repeat"] if depth else []
        match self.draw(st.sampled_from(kinds)):
            case "work":
                wheres: list[Where] = ["loop", "thread", "process"]
                where = self.draw(st.sampled_from(wheres))
                rest = self.draw(st.none() | distributions)
                return Work(**common, cpu=self.draw(distributions), cpu_per_item=rest, where=where)
            case "sleep":
                rest = self.draw(st.none() | distributions)
                return Sleep(**common, time=self.draw(distributions), time_per_item=rest)
            case "fail":
                return Fail(**common, probability=self.draw(shares))
            case "call":
                return Call(**common, edge=self._edge(step, position, depth, publish=False))
            case "publish":
                return Publish(**common, edge=self._edge(step, position, depth, publish=True))
            case "sequence":
                return Sequence(**common, steps=self.steps(position, depth - 1))
            case "parallel":
                bound = self.draw(st.none() | counts)
                return Parallel(**common, steps=self.steps(position, depth - 1), max_parallel=bound)
            case "repeat":
                times = self.draw(counts)
                return Repeat(**common, times=times, steps=self.steps(position, depth - 1))
            case _:
                options = tuple(
                    Option(
                        self.draw(st.floats(1e-3, 1e6)),
                        self.steps(child(position, number), depth - 1),
                    )
                    for number in range(1, self.draw(st.integers(1, 2)) + 1)
                )
                return Choice(**common, options=options)

    def _edge(self, step: str, position: str, depth: int, *, publish: bool) -> Edge:
        target = self.draw(st.sampled_from(self.targets))
        protocol: Protocol = (
            "kafka" if publish else self.draw(st.sampled_from(["http", "grpc", "kafka"]))
        )
        hedges = self.replicas[target.service] > 1 and protocol != "kafka"
        fails: list[OnError] = [OnErrorFail(), OnErrorIgnore()]
        on_error = self.draw(st.sampled_from(fails))
        if depth and self.draw(st.integers(0, 4)) == 0:
            on_error = OnErrorFallback(self.steps(position, depth - 1))
        count = self.draw(counts)
        return Edge(
            target=target,
            protocol=protocol,
            mode="publish" if publish else "call",
            count=count,
            batch=self.draw(counts),
            max_parallel=self.draw(st.none() | counts),
            probability=self.draw(shares),
            request_bytes=self.draw(distributions),
            response_bytes=self.draw(distributions),
            key_distinct=self.draw(st.none() | counts),
            timeout_ns=self.draw(st.none() | nanos),
            retry=self.draw(
                st.none() | st.builds(Retry, counts, nanos, shares, st.none() | shares)
            ),
            hedge=self.draw(
                st.none() | st.builds(HedgePolicy, st.none() | nanos) if hedges else st.none()
            ),
            on_error=on_error,
            kafka=self.draw(
                st.builds(KafkaOptions, counts, st.sampled_from(["0", "1", "all"]), nanos)
            ),
            origins=(Origin(step, count),),
        )


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    names = [f"s{n}" for n in range(draw(st.integers(1, 3)))]
    replicas = {name: draw(st.integers(1, 3)) for name in names}
    given: set[str] = set()
    below: list[Target] = []
    services: dict[str, Service] = {}
    for name in reversed(names):
        operations = {}
        for operation in ("o0", "o1")[: draw(st.integers(1, 2))]:
            writer = _Writer(draw, name, operation, below, given, replicas)
            operations[operation] = Operation(operation, writer.steps("", 2))
        below = [*below, *(Target(name, operation) for operation in operations)]
        services[name] = Service(
            name=name,
            replicas=replicas[name],
            balance=draw(st.sampled_from(["round_robin", "random", "least_pending"])),
            max_concurrent=draw(st.none() | counts),
            operations=operations,
        )
    to, weights = st.sampled_from(below), st.floats(1e-3, 1e6)
    keys = st.none() | counts
    wires, nothing = st.sampled_from(["http", "grpc"]), st.just(Constant(0.0))
    asked = st.builds(Entry, to, wires, weights, distributions, distributions, keys, nanos)
    kafka, publish = st.just("kafka"), st.just("publish")
    told = st.builds(Entry, to, kafka, weights, distributions, nothing, keys, nanos, publish)
    entries = st.lists(asked, min_size=1, max_size=2) | st.lists(told, min_size=1, max_size=2)
    return Scenario(
        name=draw(st.sampled_from(["x", "1e5", "null-ish", "a: b", "Ünïcode", "#no comment"])),
        description=draw(st.text(max_size=20).filter(lambda text: "\0" not in text)),
        seed=draw(st.integers(0, 2**63 - 1)),
        services=services,
        load=Load(
            pace=draw(paces),
            duration_ns=draw(st.integers(4 * 10**9, 10**11)),
            warmup_ns=draw(st.integers(0, 10**9)),
            max_in_flight=draw(st.integers(100, 1000)),
            entries=tuple(draw(entries)),
        ),
        faults=tuple(
            _fault(draw, number, below, replicas)
            for number in range(1, draw(st.integers(0, 2)) + 1)
        ),
        variants={},
        processes=draw(st.none() | st.integers(1, 100)),
        expectations=tuple(
            draw(
                st.lists(
                    st.builds(
                        Expectation,
                        st.sampled_from(list(FINDINGS)),
                        st.sampled_from(
                            [{}, {"caller": "s0"}, {"callee": "s0", "protocol": "grpc"}]
                        ),
                    ),
                    max_size=2,
                )
            )
        ),
    )


def _fault(draw: st.DrawFn, number: int, targets: list[Target], replicas: dict[str, int]) -> Fault:
    target = draw(st.sampled_from(targets))
    scope = draw(
        st.sampled_from(
            [
                FaultScope(None, None, None, None, None),
                FaultScope(target.service, None, replicas[target.service] - 1, None, None),
                FaultScope(target.service, target.operation, None, None, None),
            ]
        )
    )
    begin = draw(st.none() | nanos)
    kinds: list[Literal["latency", "error", "reset", "pause"]] = ["latency", "error", "reset"]
    kind = draw(st.sampled_from(kinds if scope.operation else [*kinds, "pause"]))
    pause = kind == "pause"
    return Fault(
        id=draw(st.sampled_from([f"fault/{number}", f"slow{number}"])),
        kind=kind,
        scope=scope,
        latency=draw(distributions) if kind == "latency" else None,
        pause_ns=draw(nanos) if pause else None,
        probability=1.0 if pause else draw(shares),
        from_ns=begin,
        to_ns=None if pause else draw(st.none() | nanos.map(lambda length: (begin or 0) + length)),
    )


_LEAVES = ("work", "sleep", "fail")
TALK_TARGETS = (Target("b", "one"), Target("b", "two"), Target("c", "one"))


@st.composite
def talks(draw: st.DrawFn) -> Scenario:
    """Scenarios rich in what refactors look for: repeats of few edges, with few options.

    Service ``a`` calls ``b`` (two replicas) and ``c`` in sequences, repeats and groups.
    """
    base = parse_text(
        """
        version: 1
        services:
          a: {operations: {go: [], come: []}}
          b: {replicas: 2, operations: {one: [sleep: 1ms], two: [sleep: 1ms]}}
          c: {operations: {one: [sleep: 1ms]}}
        load: {rate: 1/s, entries: [a.go, a.come]}
        """
    )
    (plain,) = (
        parse_text(
            """
        version: 1
        services: {a: {operations: {go: [call: b.one]}}, b: {operations: {one: []}}}
        load: {rate: 1/s, entry: a.go}
        """
        )
        .services["a"]
        .operations["go"]
        .steps
    )
    assert isinstance(plain, Call)
    operations = {
        name: Operation(name, _talk(draw, plain.edge, f"a.{name}/", 3)) for name in ("go", "come")
    }
    a = replace(base.services["a"], operations=operations)
    return replace(base, services={**base.services, "a": a})


def _talk(draw: st.DrawFn, plain: Edge, above: str, depth: int) -> tuple[Step, ...]:
    """``above`` is what the ids begin with."""
    found: list[Step] = []
    for number in range(1, draw(st.integers(1, 4)) + 1):
        here = f"{above}{number}"
        rare = draw(st.integers(0, 7))
        earlier = [step.id for step in found]
        common: _Common = {
            "id": here,
            "after": (draw(st.sampled_from(earlier)),) if earlier and rare == 0 else (),
            "per_item": rare == 1,
        }
        kind = draw(st.sampled_from(("call", "call", "call", "nested") if depth else ("call",)))
        if kind == "call":
            edge = _plain_edge(draw, plain, here, usual=rare != 2)
            if rare == 3:
                edge = replace(edge, mode="publish", protocol="kafka")
                found.append(Publish(**common, edge=edge))
            else:
                found.append(Call(**common, edge=edge))
            continue
        inside = _talk(draw, plain, f"{here}.", depth - 1)
        kinds = ("repeat", "repeat", "parallel", "sequence", "fallback", "choice", *_LEAVES)
        match draw(st.sampled_from(kinds)):
            case "repeat":
                found.append(Repeat(**common, times=draw(st.integers(1, 3)), steps=inside))
            case "parallel":
                bound = draw(st.sampled_from((None, 1, 2)))
                found.append(Parallel(**common, steps=inside, max_parallel=bound))
            case "sequence":
                found.append(Sequence(**common, steps=inside))
            case "fallback":
                edge = _plain_edge(draw, plain, here, usual=rare != 2)
                edge = replace(edge, on_error=OnErrorFallback(inside))
                found.append(Call(**common, edge=edge))
            case "choice":
                found.append(Choice(**common, options=(Option(1.0, inside), Option(2.0, ()))))
            case "work":
                found.append(Work(**common, cpu=Uniform(1, 9), cpu_per_item=None, where="loop"))
            case "fail":
                found.append(Fail(**common, probability=0.1))
            case _:
                found.append(Sleep(**common, time=Uniform(1, 9), time_per_item=None))
    return tuple(found)


def _plain_edge(draw: st.DrawFn, plain: Edge, step: str, *, usual: bool) -> Edge:
    count = draw(st.integers(1, 3))
    return replace(
        plain,
        target=draw(st.sampled_from(TALK_TARGETS)) if draw(st.booleans()) else TALK_TARGETS[0],
        count=count,
        batch=draw(st.sampled_from((1, 1, 1, 2))),
        max_parallel=draw(st.sampled_from((1, 1, 2, None))),
        request_bytes=Constant(10.0 if usual else 20.0),
        origins=(Origin(step, count),),
    )
