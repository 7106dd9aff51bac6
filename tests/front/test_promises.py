"""What a finding proposes applies to its scenario, or is not proposed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from analysis.analyse import observe
from analysis.arrays.quantiles import Quantiles
from analysis.findings.finding import Finding, Where
from analysis.findings.settings import Settings as AnalysisSettings
from hopbench.engines.port import BrokerKind, Settings
from hopbench.exits import Exit
from hopbench.results.promises import Promises
from hopbench.results.promises.requests import Part, Sample, asked, sample
from hopbench.results.promises.transport import transport
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan, plan_of
from services.errors import BadInput
from services.scenario.facts import facts_of
from services.scenario.file.parser import parse_text
from services.scenario.refactors import BASELINE, apply_refactor, read_refactor
from services.scenario.text.source import tree
from services.transports.memory import HopLatency, Latency, no_latency
from services.wire.topology import topology
from tests.analysis.build import Traces
from tests.front.test_run import invoke

SCENARIO = """\
version: 1
name: mine
services:
  a:
    operations:
      go: [{call: b.one, count: 6, id: six}, {sleep: 1ms}]
      chain: [{call: b.one, id: x}, {call: b.one, after: x, id: y}, {call: b.one, after: y}]
  b: {operations: {one: [sleep: 2ms]}}
load: {rate: 20/s, duration: 3s, warmup: 1s, entries: [a.go, a.chain]}
"""
NOTHING = Quantiles(n=0, p50=None, p90=None, p95=None, p99=None, max=None)
FINDING = Finding(
    kind="chatty.sequential",
    fingerprint="0" * 16,
    where=Where("a", "go", "b", "one", "http"),
    count_per_request=NOTHING,
    cost_ms=NOTHING,
    saving_ms=(1.0, 2.0),
    confidence="high",
    completeness=1.0,
    text="Six calls.",
    evidence=(),
    refactor=None,
)


def evenly(number: int = 20, every_other: int = 1) -> Sample:
    """Requests a second apart: to the entry that makes six calls in turn, every so many-th."""
    due = tuple(asked(n, n * 1_000_000_000, n % every_other > 0) for n in range(number))
    return Sample((Part(7, due, lead=0),), 0, of=number)


def promises(*transport: Latency) -> Promises:
    """Twenty requests to the entry that makes six calls in turn."""
    requests = evenly()
    return Promises(
        parse_text(SCENARIO), lambda: requests, lambda: requests, transport or (no_latency,)
    )


def proposing(refactor: Mapping[str, Any] | None) -> Finding:
    return replace(FINDING, refactor=refactor)


def test_a_proposal_promises_what_it_gives_in_virtual_time() -> None:
    """Six calls of 2 ms become one, of which five go; those of other operations save nothing."""
    finding = proposing({"op": "batch", "edge": "a.go->b.one", "size": 6})
    other = proposing({"op": "batch", "edge": "a.go->b.one", "size": 2})
    found = promises().kept([finding, other, proposing(None)])
    assert [of.saving_ms for of in found] == [(10.0, 10.0), (6.0, 6.0), (None, None)]
    assert [of.refactor for of in found] == [finding.refactor, other.refactor, None]


def test_hops_that_go_save_the_transport_that_was_measured_on_them() -> None:
    """Half a millisecond each way: five calls of 3 ms go."""
    finding = proposing({"op": "batch", "edge": "a.go->b.one", "size": 6})
    (found,) = promises(lambda wire: HopLatency(500_000)).kept([finding])
    assert found.saving_ms == (15.0, 15.0)


def test_what_is_left_to_chance_makes_a_range() -> None:
    """Five exponential waits of 10 ms go: 47 ms at the median, give or take what others may."""
    requests = evenly(200)
    text = SCENARIO.replace("sleep: 2ms", "sleep: {exponential: 10ms}")
    finding = proposing({"op": "batch", "edge": "a.go->b.one", "size": 6})
    (found,) = Promises(parse_text(text), lambda: requests, lambda: requests, (no_latency,)).kept(
        [finding]
    )
    low, high = found.saving_ms
    assert low is not None
    assert high is not None
    assert 35 < low < 46 < high < 60


def test_so_does_what_the_transport_may_take() -> None:
    """Half of all hops take 1 to 2 ms: five calls of 3 to 4 ms go."""
    finding = proposing({"op": "batch", "edge": "a.go->b.one", "size": 6})
    ends = (HopLatency(500_000), HopLatency(1_000_000))
    (found,) = promises(*((lambda wire, end=end: end) for end in ends)).kept([finding])
    assert found.saving_ms == (15.0, 20.0)


def test_the_transport_is_what_was_measured_on_the_edge_or_else_on_its_protocol() -> None:
    """Client time beyond the server's of 1 to 8 ms: the second of them and the sixth are the ends,
    half of it each way. In virtual time there is none."""
    scenario = parse_text(SCENARIO)
    made = Traces()
    request = made.request("t", "a", "go", end=500)
    for i in range(8):
        request.call("b", "one", 50 * i, 50 * i + 40, tax=(i + 1) / 2)
    seen = observe(made.table(), facts_of(scenario), AnalysisSettings(), "analyze")
    edge = topology(scenario).wires[0]
    another, without = replace(edge, callee="c"), replace(edge, protocol="grpc")
    for engine, each_way in (("local", [1.0, 3.0]), ("virtual", [None])):
        ends = transport(seen, plan_for("2s", engine))
        for wire in (edge, another, without):
            found = [end(wire) for end in ends]
            assert [of and of.fixed_ns / 1e6 for of in found] == each_way


def test_it_is_of_the_requests_in_which_the_finding_occurs() -> None:
    """A third of them come to the entry that makes six calls; the others save nothing."""
    requests = evenly(30, every_other=3)
    finding = proposing({"op": "batch", "edge": "a.go->b.one", "size": 6})
    (found,) = Promises(
        parse_text(SCENARIO), lambda: requests, lambda: requests, (no_latency,)
    ).kept([finding])
    assert found.saving_ms == (10.0, 10.0)


HEDGED = """\
version: 1
name: mine
services:
  a: {operations: {go: [{call: b.one, count: 4, max_parallel: all}]}}
  b: {replicas: 2, operations: {one: [sleep: 2ms]}}
faults: [{latency: 30ms, probability: 4%, at: {service: b}}]
load: {rate: 20/s, duration: 3s, warmup: 1s, entry: a.go}
"""


def test_a_hedge_promises_what_it_takes_off_the_slowest() -> None:
    """One request in seven has a straggler: 32 ms, of which 3 ms and a second attempt stay."""
    requests = evenly(200)
    finding = proposing({"op": "hedge", "edge": "a->b.one", "after": "3ms"})
    (found,) = Promises(parse_text(HEDGED), lambda: requests, lambda: requests, (no_latency,)).kept(
        [finding]
    )
    assert found.saving_ms == (27.0, 27.0)


def test_what_is_simulated_is_of_the_whole_round_or_of_rounds_like_it() -> None:
    long, short = (plan_for(duration) for duration in ("60s", "1400ms"))
    of_long, of_short = sample(long, BASELINE), sample(short, BASELINE)
    assert {part.seed for part in of_long.parts} == {long.order[0].seed}
    begins = [part.due[part.lead].intended_ns / 1e9 for part in of_long.parts]
    assert begins == pytest.approx([1, 20, 39, 58], abs=3)
    assert len({part.seed for part in of_short.parts}) == 4
    for of in (of_long, of_short):
        assert sum(len(part.due) - part.lead for part in of.parts) == pytest.approx(115, abs=25)
        for part in of.parts:
            assert 0 < part.lead < len(part.due) / 4
    assert sample(long, BASELINE) == of_long


def plan_for(duration: str, engine: str = "virtual") -> RunPlan:
    scenario = parse_text(SCENARIO.replace("duration: 3s", f"duration: {duration}"))
    settings = Settings(engine, "embedded", True, 1.0, "lean", None)
    return plan_of(scenario, "", variants=(), rounds=1, settings=settings)


def test_what_gives_nothing_worth_it_promises_nothing() -> None:
    """A bound that never holds anything back, and one that makes it slower."""
    wide, narrow = ({"op": "bound", "edge": "a->b.one", "max": most} for most in (9, 1))
    found = promises().kept([proposing(wide), proposing(narrow)])
    assert [of.saving_ms for of in found] == [(0.0, 0.0), (0.0, 0.0)]


@pytest.mark.parametrize(
    ("refactor", "why"),
    [
        ({"op": "batch", "edge": "a.chain->b.one", "size": 3}, "batch does not apply here: "),
        ({"op": "hedge", "edge": "a->b.one", "after": "5ms"}, "b has one replica"),
        ({"op": "batch", "edge": "a->gone.one", "size": 3}, "nothing calls a->gone.one"),
        ({"op": "batch", "edge": "a->b", "size": 3}, "is not an edge"),
    ],
)
def test_one_that_does_not_promises_nothing_and_says_why(
    refactor: Mapping[str, Any], why: str
) -> None:
    (finding,) = promises().kept([proposing(refactor)])
    assert finding.refactor is None
    assert finding.saving_ms == (None, None)
    assert finding.text.startswith("Six calls. ")
    assert why in finding.text


def test_every_proposal_of_a_run_and_of_its_analysis_applies(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SCENARIO)
    out = ("--engine", "virtual", "--out", tmp_path / "run")
    assert invoke("run", tmp_path / "mine.yaml", *out) == Exit.DONE
    of_run = orjson.loads(RunDir(tmp_path / "run").findings.read_bytes())["variants"][0]
    assert invoke("analyze", tmp_path / "run", "--json", tmp_path / "a.json") == Exit.DONE
    analysis = orjson.loads((tmp_path / "a.json").read_bytes())
    saved = [[f["saving_ms"] for f in of["findings"]] for of in (of_run, analysis)]
    assert saved[0] == saved[1] == [[10.0, 10.0]]
    proposed = [f["refactor"] for of in (of_run, analysis) for f in of["findings"] if f["refactor"]]
    assert proposed
    for refactor in proposed:
        node = tree(orjson.dumps(refactor).decode(), "finding")
        try:
            apply_refactor(parse_text(SCENARIO), read_refactor("finding", node))
        except BadInput as error:
            pytest.fail(f"{refactor}: {error}")


SLOW = """\
version: 1
name: slow-driver
services:
  dispatch:
    operations:
      find: [{call: drivers.get, count: 10, max_parallel: 1}]
  drivers:
    replicas: 3
    operations: {get: [sleep: 2ms]}
faults:
  - {latency: 20ms, at: {service: drivers, replica: 2}}
load: {rate: 20/s, duration: 10s, warmup: 1s, entries: [dispatch.find]}
variants:
  batched: [{op: batch, edge: dispatch->drivers.get, size: 10}]
"""


def test_calls_in_turn_of_which_one_replica_is_slow(tmp_path: Path) -> None:
    """Seven calls of 2 ms and three of 22 ms make 80 ms; one call for all of them takes 2 ms, and
    what waits for the slow replica costs 20 ms three times."""
    (tmp_path / "slow.yaml").write_text(SLOW)
    out = ("--engine", "virtual", "--out", tmp_path / "run")
    assert invoke("run", tmp_path / "slow.yaml", *out) == Exit.DONE
    summary = orjson.loads(RunDir(tmp_path / "run").summary.read_bytes())
    (chatty, slow) = summary["variants"][0]["findings"]
    assert (chatty["kind"], chatty["cost_ms"]["p50"]) == ("chatty.sequential", 80.0)
    assert chatty["saving_ms"] == [78.0, 78.0]
    medians = [variant["response_p50_ms"] for variant in summary["variants"]]
    assert medians == [80.0, 2.0]
    assert (slow["kind"], slow["cost_ms"]["p50"]) == ("fanout.straggler", 60.0)
    assert slow["where"]["instance"] == "drivers/2"
    assert "drivers/2 is the slow one: P50 22.0 ms against 2.00 ms of the others" in slow["text"]
    assert slow["refactor"] == {"op": "hedge", "edge": "dispatch->drivers.get", "after": "2ms"}
    # At P95 it is four or five that go there, and some more that do for the second attempt.
    assert slow["saving_ms"] == [66.0, 88.0]
    (edge,) = summary["trials"][0]["edges"]
    told = {r["instance"]: (r["client_ms"]["p50"], r["server_ms"]["p50"]) for r in edge["replicas"]}
    assert told == {"drivers/0": (2.0, 2.0), "drivers/1": (2.0, 2.0), "drivers/2": (22.0, 22.0)}
    assert sum(r["calls"] for r in edge["replicas"]) == edge["calls"]


BEHIND = """
version: 1
name: behind
seed: 5
services:
  g: {operations: {go: [call: q.go]}}
  q: {workers: 1, operations: {go: [sleep: 20ms]}}
load: {rate: 60/s, duration: 10s, warmup: 1s, entry: g.go}
variants: {more: [{op: set, at: q, workers: 2}]}
"""


def test_what_a_queue_that_grows_costs_is_promised_of_whole_rounds(tmp_path: Path) -> None:
    (tmp_path / "behind.yaml").write_text(BEHIND)
    run = tmp_path / "run"
    assert invoke("run", tmp_path / "behind.yaml", "--engine", "virtual", "--out", run) == Exit.DONE
    summary = orjson.loads(RunDir(run).summary.read_bytes())
    baseline, more = summary["variants"]
    (queue,) = baseline["findings"]
    assert queue["kind"] == "queue.backlog"
    assert queue["refactor"] == {"op": "set", "at": "q", "workers": 2}
    low, high = queue["saving_ms"]
    saved = baseline["response_p50_ms"] - more["response_p50_ms"]
    # The median of the differences, and the difference of the medians.
    assert 0.9 * low <= saved <= 1.1 * high
    assert more["findings"] == []


def test_partitions_are_not_proposed_to_a_broker_that_has_four_whatever_is_asked() -> None:
    text = BEHIND.replace("[call: q.go]", "[{publish: q.go, kafka: {ordering: partition}}]")
    finding = proposing({"op": "set", "at": "g->q.go", "partitions": 8})

    def kept(broker: BrokerKind) -> Finding:
        world = parse_text(text)
        (found,) = Promises(world, evenly, evenly, (no_latency,), broker).kept([finding])
        return found

    assert kept("embedded").refactor is None
    assert "the embedded broker has 4 partitions" in kept("embedded").text
    assert kept("memory").refactor == kept("kafka").refactor == finding.refactor


FULL = """
version: 1
name: full
seed: 3
services:
  gw: {workers: 10, operations: {go: [call: mid.do]}}
  mid: {workers: 8, operations: {do: [call: be.do]}}
  be: {workers: 1, operations: {do: [sleep: 10ms]}}
load: {rate: 130/s, duration: 8s, warmup: 2s, entry: gw.go}
"""
FEW_KEYS = """
version: 1
name: keys
seed: 3
services:
  gw:
    operations:
      go:
        - publish: c.a
          key: {distinct: 2}
          kafka: {partitions: 8, ordering: partition}
  c: {operations: {a: [sleep: 10ms]}}
load: {rate: 240/s, duration: 8s, warmup: 2s, entry: gw.go}
"""


def backlog(tmp_path: Path, text: str) -> dict[str, Any]:
    (tmp_path / "it.yaml").write_text(text)
    run = tmp_path / "run"
    assert invoke("run", tmp_path / "it.yaml", "--engine", "virtual", "--out", run) == Exit.DONE
    summary = orjson.loads(RunDir(run).summary.read_bytes())
    (found,) = (f for f in summary["variants"][0]["findings"] if f["kind"] == "queue.backlog")
    return dict(found)


@pytest.mark.slow
def test_what_is_proposed_to_a_backlog_keeps_up_in_virtual_time(tmp_path: Path) -> None:
    """Two services wait for the third, and neither would be helped by workers of its own."""
    found = backlog(tmp_path, FULL)
    assert found["where"]["callee"] == "be"
    assert found["refactor"] == {"op": "set", "at": "be", "workers": 2}
    assert "It waits for be" in found["text"]
    assert "In virtual time it keeps up with {at: be, workers: 2}." in found["text"]


def test_what_does_not_keep_up_in_virtual_time_is_not_proposed(tmp_path: Path) -> None:
    """Two keys go to two partitions, however many there are."""
    found = backlog(tmp_path, FEW_KEYS)
    assert found["refactor"] is None
    assert found["saving_ms"] == [None, None]
    assert "In virtual time it falls behind with" in found["text"]
