"""What findings propose, held against the scenario: a refactor is shown only where it applies, and
promises what it gives in virtual time.

Both scenarios, as it is and refactored, answer the same requests with the same draws, each hop
taking the transport time that was measured on its edge in this run, so that hops that go save
theirs. What is promised is a range over what is unknown: which requests another round has, and,
measured, what the transport takes of them. docs/analysis.md, "Findings", has the rules.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.quantiles import NS_PER_MS, median, rank
from analysis.findings.finding import Finding, saves_at
from analysis.findings.observed import Observed
from hopbench.engines import is_virtual
from hopbench.engines.port import BrokerKind
from hopbench.runs.plan import RunPlan
from loadgen.schedule import MEASURED, Schedule, arrivals
from services.errors import BadInput
from services.scenario.capacity import worst_calls
from services.scenario.chance import round_seed
from services.scenario.file.validation import errors
from services.scenario.model import EdgeRef, Load, Refactor, Scenario, Target
from services.scenario.pace import Closed
from services.scenario.refactors import apply_refactor, operator_of, read_refactor
from services.scenario.refactors.set import Set
from services.scenario.text.forms import UNSAID
from services.scenario.text.source import tree
from services.simulation.replay import SpanCount
from services.simulation.round import Arrival, simulate
from services.telemetry.port import Attempt
from services.transports.memory import HopLatency, Latency, no_latency
from services.wire.ports import Status, TraceContext, Wire

WORTH: Final = 0.02
"""Of the requests' P50: what a refactor gives less is not worth a promise."""
RARE: Final = 0.2
"""Of the requests that use what is refactored: fewer that it changes are chance."""
_SURE: Final = 0.98
"""Of all rounds, whose gain the range holds."""
_RESAMPLES: Final = 400
_SPREAD: Final = (25, 75)
"""Percentiles of the transport time: half of all hops take one between."""
_REQUESTS: Final = 200
_CALLS: Final = 4_000
"""So many calls of a sample at most: what is simulated for one answer is over in half a second."""
_ROUNDS: Final = 3
_CALLS_OF_ROUNDS: Final = 6_000
"""The same of a sample of whole rounds."""
_PARTS: Final = 4
_LEAD: Final = 5
"""One more request for so many is simulated before them."""
_APART_NS: Final = 1_000_000_000
"""Requests of a closed load, whose times nobody knows beforehand."""

Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """Requests that come one after another, and what their chance hangs on."""

    seed: int
    due: tuple[Arrival, ...]
    lead: int
    """So many at the beginning are not counted: they find nothing under way yet."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is simulated: several parts, since one may be a busy one as a whole."""

    parts: tuple[Part, ...]
    measured_from_ns: int
    of: int
    """Requests that a round has of the measured phase."""


def promises(plan: RunPlan, variant: str, seen: Observed, broker: BrokerKind | None) -> Promises:
    """Of the findings in ``seen``, the variant's traces."""
    scenario = plan.scenarios[variant]
    asked = partial(sample, plan, variant), partial(whole_rounds, plan, variant)
    return Promises(scenario, *asked, transport(seen, plan), broker)


def whole_rounds(plan: RunPlan, variant: str) -> Sample:
    """The variant's first round from its first request on, since a queue that grows is longer the
    later it is looked at, and rounds with other seeds; none where that is too much."""
    turn = next(turn for turn in plan.order if turn.variant == variant)
    load = plan.scenarios[variant].load
    first = arrivals(load, turn.seed)
    calls = len(first.number) * max(1, int(worst_calls(plan.scenarios[variant])))
    parts: list[Part] = []
    for number in range(min(_ROUNDS, _CALLS_OF_ROUNDS // max(1, calls))):
        seed = turn.seed if number == 0 else round_seed(turn.seed, number)
        schedule = first if number == 0 else arrivals(load, seed)
        rows = np.flatnonzero(schedule.phase == MEASURED)
        if len(rows):
            parts.append(_part(load, seed, schedule, rows, lead=int(rows[0])))
    return Sample(tuple(parts), load.warmup_ns, int((first.phase == MEASURED).sum()))


def sample(plan: RunPlan, variant: str) -> Sample:
    """Stretches of the variant's first round; where it is short, all of it and of further rounds
    with seeds of their own, which no round of the run has."""
    turn = next(turn for turn in plan.order if turn.variant == variant)
    load = plan.scenarios[variant].load
    most = max(1, min(_REQUESTS, _CALLS // max(1, int(worst_calls(plan.scenarios[variant])))))
    length = -(-most // _PARTS)
    parts: list[Part] = []
    round_ = arrivals(load, turn.seed)
    measured = np.flatnonzero(round_.phase == MEASURED)
    if len(measured) >= most:
        starts = np.linspace(0, len(measured) - length, _PARTS).astype(int)
        parts += [
            _part(load, turn.seed, round_, measured[start : start + length])
            for start in np.unique(starts).tolist()
        ]
    else:
        for number in range(max(1, min(_PARTS, most // max(1, len(measured))))):
            seed = turn.seed if number == 0 else round_seed(turn.seed, number)
            schedule = round_ if number == 0 else arrivals(load, seed)
            rows = np.flatnonzero(schedule.phase == MEASURED)
            parts.append(_part(load, seed, schedule, rows))
    return Sample(tuple(parts), load.warmup_ns, len(measured))


def _part(
    load: Load, seed: int, schedule: Schedule, rows: Numbers, lead: int | None = None
) -> Part:
    """The requests at ``rows``, and ``lead`` (or some) that are due before."""
    if len(rows) == 0:
        return Part(seed, (), 0)
    if lead is None:
        lead = min(int(rows[0]), -(-len(rows) // _LEAD))
    rows = np.arange(rows[0] - lead, rows[-1] + 1)
    due = schedule.offset_ns[rows].tolist()
    if isinstance(load.pace, Closed):
        due = [load.warmup_ns + i * _APART_NS for i in range(len(rows))]
    of = zip(schedule.number[rows].tolist(), due, schedule.entry[rows].tolist(), strict=True)
    return Part(seed, tuple(asked(seq, at, entry) for seq, at, entry in of), lead)


def transport(seen: Observed, plan: RunPlan) -> tuple[Latency, ...]:
    """What hops took of the transport, half of it each way: at P25 and at P75 of what the traces
    show of each edge, or else of its protocol, or else of all. In virtual time it takes none."""
    if is_virtual(plan.settings):
        return (no_latency,)
    hops = seen.hops
    taxed = np.flatnonzero(hops.tax >= 0)
    taxed = taxed[np.argsort(hops.place[taxed], kind="stable")]
    begins = np.searchsorted(hops.place[taxed], np.arange(len(hops.places) + 1))
    taxes: dict[tuple[str, ...], list[Numbers]] = {}
    for number, at in enumerate(hops.places):
        if at.protocol is None:
            continue
        of = hops.tax[taxed[begins[number] : begins[number + 1]]]
        for key in ((at.callee, at.operation, at.protocol), (at.protocol,), ()):
            taxes.setdefault(key, []).append(of)
    joined = {key: all_ for key, of in taxes.items() if len(all_ := np.concatenate(of))}

    def latency(percentile: int) -> Latency:
        each_way = {key: HopLatency(_quantile(of, percentile) // 2) for key, of in joined.items()}

        def of_wire(wire: Wire) -> HopLatency | None:
            keys = ((wire.callee, wire.operation, wire.protocol), (wire.protocol,), ())
            return next((each_way[key] for key in keys if key in each_way), None)

        return of_wire

    return tuple(latency(percentile) for percentile in _SPREAD)


@dataclass(frozen=True, slots=True)
class Answered:
    """The requests of a simulation that were answered well."""

    took_ns: Mapping[int, int]
    """By number."""
    users: Mapping[int, Collection[int]]
    """By edge (its index in the scenario's topology): the numbers of those that called over it."""
    wires: tuple[Wire, ...]

    def of(self, refactor: Refactor) -> frozenset[int]:
        """Those that use what the refactor changes: its edge, calls of its operation or of its
        service. A service that nobody calls is the entry's."""
        concerned = [wire for wire in self.wires if _concerns(refactor, wire)]
        if not concerned and isinstance(getattr(refactor, "at", None), str):
            return frozenset(self.took_ns)
        return frozenset().union(*(self.users.get(wire.index, ()) for wire in concerned))


def answered(
    scenario: Scenario, part: Part, measured_from_ns: int, latency: Latency = no_latency
) -> Answered:
    """The part in virtual time, but for its lead."""
    users: dict[int, set[int]] = {}
    result = simulate(
        scenario,
        part.seed,
        part.due,
        measured_from_ns,
        lambda service, replica, numbered, clock: _Uses(users),
        latency=latency,
    )
    return Answered(
        {
            of.number: of.done_ns - of.sent_ns
            for of in result.outcomes[part.lead :]
            if of.done_ns is not None and of.sent_ns is not None and of.status is Status.OK
        },
        users,
        result.topology.wires,
    )


def pairs(refactor: Refactor, before: Answered, after: Answered) -> Numbers:
    """ns without and with the refactor, a row for each request in which its finding occurs.

    Of a hedge those that use the edge; else those among them that the refactor changes, where they
    are more than a few.
    """
    used = sorted(before.of(refactor) & before.took_ns.keys() & after.took_ns.keys())
    both = np.array([(before.took_ns[n], after.took_ns[n]) for n in used], np.int64).reshape(-1, 2)
    if at_tail(refactor):
        return both
    changed: Numbers = both[both[:, 0] != both[:, 1]]
    if len(changed) <= RARE * len(both):
        changed = changed[:0]
    return changed


def gain_ns(refactor: Refactor, both: Numbers) -> Numbers:
    """What the refactor gives by ``both``, of which the last two axes are those of :func:`pairs`.

    The median of the differences; of a hedge the difference of the P95s.
    """
    n = both.shape[-2]
    if at_tail(refactor):
        before, after = (np.sort(both[..., i], axis=-1) for i in (0, 1))
        gain: Numbers = (before - after)[..., rank(_at(refactor), n)]
    else:
        gain = np.sort(both[..., 0] - both[..., 1], axis=-1)[..., rank(50, n)]
    return gain


def at_tail(refactor: Refactor) -> bool:
    """Whether its saving is one of the slowest requests, and not of the middle ones."""
    return _at(refactor) != 50


def _at(refactor: Refactor) -> int:
    return saves_at(operator_of(refactor)[0])


def worth(refactor: Refactor, both: Numbers) -> bool:
    """Whether ``both`` shows a gain that may be promised: :data:`WORTH` of their P50 or more."""
    return len(both) > 0 and bool(gain_ns(refactor, both) >= WORTH * median(both[:, 0]) > 0)


def range_ns(refactor: Refactor, parts: Sequence[Numbers], others: int) -> tuple[int, int]:
    """Where the gain over ``others`` requests lies that are not these, in :data:`_SURE` of cases.

    Both samples are by chance: resamples of ``n·m / (n + m)`` of n requests spread as the gain of
    m others does about theirs. (Of the median it is, nearly, the distribution-free interval of
    Fligner and Wolfe, 1976.) The requests of a busy stretch are no independent sample, so the range
    holds the gain of each part, too.
    """
    both = np.concatenate(parts)
    n = len(both)
    size = max(1, round(n * others / (n + others)))
    chosen = np.random.default_rng(0).integers(0, n, (_RESAMPLES, size))
    gains = np.sort(gain_ns(refactor, both[chosen]))
    off = round(_RESAMPLES * (1 - _SURE) / 2)
    of_parts = [int(gain_ns(refactor, part)) for part in parts if 2 * len(part) * len(parts) > n]
    ends = (int(gains[off]), int(gains[-1 - off]), *of_parts)
    return min(ends), max(ends)


class Promises:
    def __init__(
        self,
        scenario: Scenario,
        requests: Callable[[], Sample],
        rounds: Callable[[], Sample],
        transport: Sequence[Latency],
        broker: BrokerKind | None = None,
    ) -> None:
        """``scenario`` is the variant's; ``requests`` (and ``rounds``, for what hangs on the length
        of a round) are asked for with the first proposal; ``transport`` has the ends of what hops
        may take."""
        self._scenario = scenario
        self._samples = {False: requests, True: rounds}
        self._transport = transport
        self._broker = broker
        self._known: dict[bool, tuple[Sample, tuple[tuple[Answered, ...], ...]]] = {}

    def kept(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """The findings, each with what its refactor gives. One whose refactor does not apply
        proposes nothing, promises nothing, and says why."""
        return tuple(self._kept(finding) for finding in findings)

    def _kept(self, finding: Finding) -> Finding:
        if finding.refactor is None:
            return replace(finding, saving_ms=(None, None))
        try:
            refactor = read_refactor("finding", tree(json.dumps(dict(finding.refactor)), "finding"))
            self._must_have(refactor)
            changed = apply_refactor(self._scenario, refactor)
            wrong = errors(changed)
        except BadInput as error:
            why = error.text
        else:
            if not wrong:
                low, high = self._gives_ns(refactor, changed)
                return replace(finding, saving_ms=(low / NS_PER_MS, high / NS_PER_MS))
            why = wrong[0].text
        op = finding.refactor["op"]
        text = f"{finding.text} {op} does not apply here: {why.removeprefix(f'{op}: ')}."
        return replace(finding, refactor=None, saving_ms=(None, None), text=text)

    def _must_have(self, refactor: Refactor) -> None:
        """Raises BadInput where the broker that carried the messages cannot do it."""
        asked = isinstance(refactor, Set) and refactor.partitions is not UNSAID
        if asked and self._broker == "embedded":
            raise BadInput(
                "the embedded broker has 4 partitions for every topic, whatever is asked"
            )

    def _before(self, *, whole: bool) -> tuple[Sample, tuple[tuple[Answered, ...], ...]]:
        if whole not in self._known:
            requests = self._samples[whole]()
            before = tuple(_answered(self._scenario, requests, each) for each in self._transport)
            self._known[whole] = requests, before
        return self._known[whole]

    def _gives_ns(self, refactor: Refactor, changed: Scenario) -> tuple[int, int]:
        """Zeros where it is not worth a promise, or may be nothing."""
        ends: list[int] = []
        requests, before_each = self._before(whole=isinstance(refactor, Set))
        if not requests.parts:
            return 0, 0
        for latency, before in zip(self._transport, before_each, strict=True):
            after = _answered(changed, requests, latency)
            parts = [pairs(refactor, *each) for each in zip(before, after, strict=True)]
            together = np.concatenate(parts)
            if not worth(refactor, together):
                return 0, 0
            counted = sum(len(part.due) - part.lead for part in requests.parts)
            ends += range_ns(refactor, parts, requests.of * len(together) // counted)
        return (min(ends), max(ends)) if min(ends) > 0 else (0, 0)


def _answered(scenario: Scenario, requests: Sample, latency: Latency) -> tuple[Answered, ...]:
    """By part."""
    since_ns = requests.measured_from_ns
    return tuple(answered(scenario, part, since_ns, latency) for part in requests.parts)


def _quantile(values: Numbers, percentile: int) -> int:
    return int(np.sort(values)[rank(percentile, len(values))])


class _Uses(SpanCount):
    """Which requests call over which edge: their trace says who they are."""

    __slots__ = ("_users",)

    def __init__(self, users: dict[int, set[int]]) -> None:
        super().__init__()
        self._users = users

    def attempt_begin(self, wire: Wire, parent: TraceContext, *, fanout: bool) -> Attempt:
        self._users.setdefault(wire.index, set()).add(parent.trace_id - 1)
        return super().attempt_begin(wire, parent, fanout=fanout)


def asked(seq: int, at_ns: int, entry: int) -> Arrival:
    """A request whose trace says its number; 0 would be none."""
    return Arrival(seq, at_ns, entry, False, seq + 1)


def _concerns(refactor: Refactor, wire: Wire) -> bool:
    edge: EdgeRef | None = getattr(refactor, "edge", None)
    at: str | Target | EdgeRef | None = getattr(refactor, "at", None)
    if isinstance(at, EdgeRef):
        edge = at
    if isinstance(at, str):
        return at == wire.callee
    if edge is not None:
        return (
            edge.caller == wire.caller
            and edge.caller_operation in (None, wire.caller_operation)
            and (edge.callee, edge.operation) == (wire.callee, wire.operation)
        )
    return at is None or at == Target(wire.caller, wire.caller_operation)
