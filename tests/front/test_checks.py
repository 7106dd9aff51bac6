"""Each limit of the self-check (docs/measurement.md) from the figures of one round."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from analysis.arrays.quantiles import quantiles
from hopbench.engines.port import Evidence, Host, Settings
from hopbench.results.checks import judge
from hopbench.results.checks.observed import Observed, Sent, Untold
from hopbench.runs.limits import Limits
from loadgen.schedule import MEASURED, arrivals
from services.doubts import Code, Doubt, void
from services.report import Messages, ProcessReport, Spread
from services.scenario.file.parser import parse_text
from services.scenario.pace import Open, Stage

SCENARIO = parse_text(
    """
version: 1
name: two
services:
  order: {operations: {create: [{call: stock.take}]}}
  stock: {operations: {take: [{sleep: 1ms}]}}
load: {rate: 100/s, duration: 20s, warmup: 5s, entry: order.create}
"""
)
LOAD = SCENARIO.load
SCHEDULE = arrivals(LOAD, 5, trace_ratio=0.5)
START = 1_000_000_000
MS = 1_000_000


def spread(ns: int) -> Spread:
    """Of a value that is always the same."""
    return Spread(n=100, p50=ns, p99=ns, max=ns)


def process(**changes: Any) -> ProcessReport:
    report = ProcessReport(
        service="order",
        replica=0,
        pid=7,
        cpu_ns=0,
        handled=0,
        open_handlers=0,
        spans_ended=0,
        sleep_bias_ns=spread(50_000),
        cpu_bias_ns=spread(0),
        loop_lag_ns=spread(2 * MS),
        retries=0,
        timeouts=0,
        errors=0,
        faults_fired=0,
    )
    return replace(report, **changes)


HOST = Host(steal_share=0.0, foreign_cpu_share=0.0, generator_cpu_share=0.3)


def evidence(**changes: Any) -> Evidence:
    whole = Evidence(
        start_ns=START,
        unix_offset_ns=0,
        measured_from_ns=START + LOAD.warmup_ns,
        measured_to_ns=START + LOAD.warmup_ns + LOAD.duration_ns,
        processes=(process(),),
        service_pids={},
        locust_pids=(),
        elapsed_ns=LOAD.warmup_ns + LOAD.duration_ns,
        spans_received=10_000,
        undrained=None,
        broken=None,
        host=HOST,
    )
    return replace(whole, **changes)


def sent(**changes: Any) -> Sent:
    due = SCHEDULE.offset_ns + START
    whole = Sent(
        seq=SCHEDULE.number,
        intended_ns=due,
        sent_ns=due + 100_000,
        done_ns=due + 3 * MS,
        measured=SCHEDULE.phase == MEASURED,
        dropped=np.zeros(len(due), np.bool_),
        sampled=SCHEDULE.sampled,
        worker=np.zeros(len(due), np.int64),
    )
    return replace(whole, **changes)


def warming(third_ns: int, last_ns: int) -> Sent:
    """Response times around these in the last two quarters of the warm-up."""
    due = SCHEDULE.offset_ns
    luck = np.random.default_rng(1).uniform(0.8, 1.2, len(due))
    took = np.where(due < LOAD.warmup_ns * 3 // 4, third_ns, last_ns) * luck
    return sent(done_ns=due + START + took.astype(np.int64))


def observed(**changes: Any) -> Observed:
    """A round without fault."""
    whole = Observed(
        clock="wall",
        broker=None,
        settings=Settings("local", "embedded", True, 0.5, "lean", None),
        load=LOAD,
        evidence=evidence(),
        scheduled=SCHEDULE,
        sent=sent(),
        lag_p99_ms=0.2,
        service_p50_ms=2.9,
        offered_rps=100.0,
        achieved_rps=100.0,
        failed=0,
        failures_planned=False,
        spans_expected=10_000,
        spans_received=10_000,
        spans_by_scenario=10_000,
        replay_refused=None,
        answered=(2500, 2500),
        counted=2500,
        requests_sampled=1000,
        requests_complete=1000,
        kafka_used=False,
        untold=(),
    )
    return replace(whole, **changes)


def untold(percent: int, ok: int, endless: int = 0) -> Untold:
    """A quantile of this many requests, of which some were never answered."""
    return Untold(f"p{percent}", percent, quantiles(np.ones(ok), endless=endless))


def codes(of: Observed) -> list[str]:
    return [doubt.code.value for doubt in judge(of, Limits())]


def test_a_round_without_fault_raises_no_doubt() -> None:
    assert codes(observed()) == []


WORSE: list[tuple[str, dict[str, Any]]] = [
    ("lag", {"lag_p99_ms": 1.01}),
    ("rate", {"achieved_rps": 97.9}),
    ("rate", {"achieved_rps": 102.1}),
    ("generator_cpu", {"evidence": evidence(host=replace(HOST, generator_cpu_share=0.81))}),
    ("steal", {"evidence": evidence(host=replace(HOST, steal_share=0.021))}),
    ("foreign_cpu", {"evidence": evidence(host=replace(HOST, foreign_cpu_share=0.11))}),
    ("spans_lost", {"spans_expected": 10_011, "spans_by_scenario": None}),
    ("spans_mismatch", {"spans_by_scenario": 10_001}),
    ("spans_mismatch", {"spans_expected": 9_999, "spans_by_scenario": None}),
    ("replay", {"spans_by_scenario": None, "replay_refused": "retries fired"}),
    ("metrics_mismatch", {"counted": 2501}),
    ("metrics_mismatch", {"counted": 2499}),
    ("incomplete_traces", {"requests_complete": 999}),
    ("failures", {"failed": 1}),
    ("overload", {"overloads": ("q admits 1",)}),
    ("undrained", {"evidence": evidence(undrained="2 requests in flight after 15 s")}),
    ("broken", {"evidence": evidence(broken="order/0 died (SIGKILL)")}),
    ("interrupted", {"evidence": None}),
    (
        "consumed_produced",
        {"evidence": evidence(processes=(process(messages=Messages({"a.b": 2})),))},
    ),
    ("loop_blocked", {"evidence": evidence(processes=(process(loop_lag_ns=spread(51 * MS)),))}),
    ("sleep_bias", {"evidence": evidence(processes=(process(sleep_bias_ns=spread(600_000)),))}),
    ("cpu_bias", {"evidence": evidence(processes=(process(cpu_bias_ns=spread(600_000)),))}),
    ("broker_cannot", {"evidence": evidence(doubts=(Doubt(Code.BROKER_CANNOT, "acks"),))}),
    ("environment", {"changes": ("numpy 1 → 2",)}),
    ("short_round", {"load": replace(LOAD, duration_ns=8 * 10**9)}),
    ("short_warmup", {"load": replace(LOAD, warmup_ns=2 * 10**9)}),
    ("cold", {"sent": warming(6 * MS, 4 * MS)}),
    ("embedded_broker", {"broker": "embedded", "kafka_used": True}),
    ("not_identifiable", {"untold": (untold(99, ok=200),)}),
    ("samples_mismatch", {"sent": sent(seq=SCHEDULE.number + 1)}),
    ("sampling", {"sent": sent(sampled=np.ones(len(SCHEDULE), np.bool_))}),
    ("few_traces", {"requests_sampled": 19, "requests_complete": 19}),
]


@pytest.mark.parametrize(("code", "worse"), WORSE)
def test_each_limit_raises_its_own_doubt(code: str, worse: dict[str, Any]) -> None:
    assert code in codes(observed(**worse))


REDELIVERED = process(messages=Messages({"a.b": 1}, {"a.b": 2}, redelivered={"a.b": 1}))
FOLLOWS_FROM_A_DEATH: list[tuple[str, dict[str, Any]]] = [
    ("spans_mismatch", {"spans_by_scenario": 10_001}),
    ("spans_mismatch", {"spans_expected": 9_999, "spans_by_scenario": None}),
    ("redelivered", {"broker": "kafka"}),
]


@pytest.mark.parametrize(("code", "worse"), FOLLOWS_FROM_A_DEATH)
def test_what_follows_from_a_parts_death_is_no_doubt_beside_it(
    code: str, worse: dict[str, Any]
) -> None:
    whole = evidence(processes=(REDELIVERED,))
    died = replace(whole, broken="stock/1 died (SIGKILL)")
    assert code in codes(observed(**worse, evidence=whole))
    assert code not in codes(observed(**worse, evidence=died))
    assert "broken" in codes(observed(**worse, evidence=died))


def test_spans_that_a_death_does_not_explain_away_still_void_the_round() -> None:
    died = evidence(broken="collector died (SIGKILL)")
    assert "spans_lost" in codes(observed(evidence=died, spans_expected=11_000))


AT_THE_LIMIT: list[dict[str, Any]] = [
    {"lag_p99_ms": 1.0},
    {"lag_p99_ms": 5.0, "service_p50_ms": 50.0},
    {"achieved_rps": 98.0},
    {"achieved_rps": 102.0},
    {"evidence": evidence(host=replace(HOST, generator_cpu_share=0.80))},
    {"evidence": evidence(host=replace(HOST, steal_share=0.02))},
    {"evidence": evidence(host=replace(HOST, foreign_cpu_share=0.10))},
    {"spans_received": 9_990, "spans_by_scenario": 9_990},
    {"evidence": evidence(processes=(process(loop_lag_ns=spread(50 * MS)),))},
    {"evidence": evidence(processes=(process(sleep_bias_ns=spread(500_000)),))},
    {
        "evidence": evidence(
            processes=(
                process(messages=Messages(produced={"a.b": 2})),
                process(replica=1, messages=Messages(consumed={"a.b": 2})),
            )
        )
    },
    {"requests_sampled": 20, "requests_complete": 20},
    {"load": replace(LOAD, duration_ns=10 * 10**9)},
]


@pytest.mark.parametrize("worse", AT_THE_LIMIT)
def test_what_is_just_within_its_limit_raises_no_doubt(worse: dict[str, Any]) -> None:
    assert codes(observed(**worse)) == []


@pytest.mark.parametrize(("third_ms", "last_ms"), [(4.0, 4.0), (4.2, 4.0), (3.9, 4.0)])
def test_a_service_that_is_as_fast_as_before_is_warm(third_ms: float, last_ms: float) -> None:
    assert "cold" not in codes(observed(sent=warming(int(third_ms * MS), int(last_ms * MS))))


def growing(until_s: float) -> np.ndarray:
    """When each request is done whose time grows by 20 ms a second, as of a queue, so long."""
    due = SCHEDULE.offset_ns
    luck = np.random.default_rng(1).uniform(0.8, 1.2, len(due))
    took = MS + np.minimum(due, until_s * 1e9) / 50 * luck
    return due + START + took.astype(np.int64)


@pytest.mark.parametrize(
    ("until_s", "changes", "cold"),
    [
        (6, {}, True),  # a queue that fills up until it is as long as it gets
        (6, {"overloads": ("q admits 1",)}, False),
        (25, {}, False),
    ],
)
def test_a_queue_that_grows_is_not_cold(
    until_s: float, changes: dict[str, Any], cold: bool
) -> None:
    found = codes(observed(sent=sent(done_ns=growing(until_s)), **changes))
    assert ("cold" in found) is cold


@pytest.mark.parametrize(("third", "last"), [(4, 6), (6, 4)])
@pytest.mark.parametrize("phase", ["warm-up", "measured"])
def test_where_requests_are_dropped_only_getting_faster_is_getting_warm(
    third: int, last: int, phase: str
) -> None:
    warmed = warming(third * MS, last * MS)
    assert "cold" in codes(observed(sent=warmed))
    dropped = np.zeros(len(SCHEDULE), np.bool_)
    dropped[9 if phase == "warm-up" else -9] = True
    full = replace(warmed, dropped=dropped, done_ns=np.where(dropped, -1, warmed.done_ns))
    assert ("cold" in codes(observed(sent=full))) is (last < third and phase == "warm-up")


def test_a_ramp_that_overloads_does_not_hide_that_services_were_cold() -> None:
    of = observed(sent=warming(6 * MS, 4 * MS), overloads=("q admits 1",))
    assert codes(of) == ["overload", "cold"]


def test_long_times_are_told_without_powers_of_ten() -> None:
    (doubt,) = judge(observed(sent=warming(4321 * MS, 1234 * MS)), Limits())
    assert doubt.text.startswith("P50 was 4,")
    assert "e+" not in doubt.text


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_without_both_kinds_of_request_the_tax_is_unknown_and_says_so(ratio: float) -> None:
    settings = Settings("local", "embedded", True, ratio, "lean", None)
    sampled = np.full(len(SCHEDULE), ratio == 1.0)
    assert codes(observed(settings=settings, sent=sent(sampled=sampled))) == ["no_control"]


@pytest.mark.parametrize(
    ("figure", "seconds", "said"),
    [
        (untold(99, ok=200), 20, "--duration 45s would"),
        (untold(99, ok=367), 20, "--duration 30s would"),
        (untold(95, ok=71), 1, "--duration 10s would"),
        (untold(50, ok=1), 20, "--duration 300s would"),
        (untold(99, ok=100), 1000, "too few for any duration: read P95"),
        (
            untold(99, ok=10),
            20,
            "too few for any duration: read P95, which --duration 300s would tell",
        ),
        (untold(99, ok=0), 20, "too few for any duration: a higher rate would"),
        (untold(99, ok=980, endless=20), 20, "too many were never answered: read P95"),
        (untold(50, ok=40, endless=60), 20, "too many were never answered: load it less"),
    ],
)
def test_a_quantile_that_is_not_told_is_told_with_what_would_tell_it(
    figure: Untold, seconds: int, said: str
) -> None:
    load = replace(LOAD, duration_ns=seconds * 10**9)
    doubts = judge(observed(untold=(figure,), load=load), Limits())
    (text,) = [doubt.text for doubt in doubts if doubt.code is Code.NOT_IDENTIFIABLE]
    assert text == f"the requests of the round cannot tell {figure.name} ({said})"


def test_the_limit_on_lag_grows_with_the_service_time() -> None:
    assert codes(observed(lag_p99_ms=4.9, service_p50_ms=50.0)) == []
    assert codes(observed(lag_p99_ms=5.1, service_p50_ms=50.0)) == ["lag"]


def test_a_request_that_was_due_off_the_schedule_is_seen() -> None:
    moved = SCHEDULE.offset_ns + START
    moved = np.where(SCHEDULE.number == 9, moved + 1, moved)
    assert codes(observed(sent=sent(intended_ns=moved))) == ["arrivals"]


def test_arrivals_of_another_kind_do_not_fit() -> None:
    even = np.arange(len(SCHEDULE)) * 10 * MS + START
    assert "arrivals" in codes(observed(sent=sent(intended_ns=even)))


def test_drops_are_explained_only_by_a_full_pipe() -> None:
    """Twenty requests that never end fill a bound of 20; the next is dropped, and rightly."""
    load = replace(LOAD, max_in_flight=20)
    row = np.arange(len(SCHEDULE))
    stuck = np.where(row < 20, -1, sent().done_ns)
    full = sent(done_ns=stuck, dropped=row == 20)
    assert "drops_unexplained" not in codes(observed(load=load, sent=full))
    assert "drops_unexplained" in codes(observed(load=load, sent=sent(dropped=row == 20)))


def test_requests_that_end_while_a_late_one_is_dropped_explain_it() -> None:
    """The generator comes late to the twenty-first; half of the twenty have ended by then, and had
    not when it was due."""
    load = replace(LOAD, max_in_flight=20)
    row = np.arange(len(SCHEDULE))
    due = SCHEDULE.offset_ns + START
    late = np.where(row < 20, due[19] + 5 * MS, sent().sent_ns)
    ended = np.where(row < 10, due[20] + 1, np.where(row < 20, due[20] + MS, sent().done_ns))
    full = sent(sent_ns=late, done_ns=ended, dropped=row == 20)
    assert "drops_unexplained" not in codes(observed(load=load, sent=full))


def test_what_is_dropped_is_no_deviation_of_the_rate() -> None:
    """Three requests in a hundred are dropped: 97/s leave of 100/s."""
    dropped = (SCHEDULE.number % 100 < 3) & (SCHEDULE.phase == MEASURED)
    stuck = np.where(dropped, -1, sent().done_ns)
    found = codes(observed(sent=sent(dropped=dropped, done_ns=stuck), achieved_rps=97.0))
    assert "drops" in found
    assert "rate" not in found


def test_failures_of_an_overload_that_was_foreseen_are_told_with_it() -> None:
    overload, failures = judge(observed(failed=7, overloads=("q admits 1",)), Limits())
    assert (overload.code, overload.text) == (Code.OVERLOAD, "q admits 1")
    assert failures.text == "7 requests failed, and the scenario asks for more than there is"
    (doubt,) = judge(observed(failed=7, strained=("q is asked for 0.90",)), Limits())
    assert doubt.text == "7 requests failed, and q is asked for 0.90"


def test_an_overload_on_a_ramp_is_told_with_its_rate() -> None:
    ramp = Open("poisson", 50.0, (Stage(120.0, 10**9), Stage(20.0, 10**9)))
    load = replace(LOAD, pace=ramp)
    doubts = judge(observed(load=load, overloads=("q admits 1",)), Limits())
    assert "q admits 1 (at the highest rate, 120/s)" in [doubt.text for doubt in doubts]


def test_a_worker_drops_what_is_above_its_own_part_of_the_bound() -> None:
    """Ten requests that never end fill a worker's half of a bound of 20."""
    load = replace(LOAD, max_in_flight=20)
    row = np.arange(len(SCHEDULE))
    stuck = np.where((row < 20) & (row % 2 == 0), -1, sent().done_ns)
    full = sent(done_ns=stuck, dropped=row == 20, worker=row % 2)
    assert "drops_unexplained" not in codes(observed(load=load, sent=full))
    other = replace(full, dropped=row == 21)
    assert "drops_unexplained" in codes(observed(load=load, sent=other))


def test_simulated_rounds_have_no_host_to_doubt() -> None:
    assert codes(observed(clock="virtual", evidence=evidence(host=Host()))) == []
    assert codes(observed(evidence=evidence(host=Host()))) == ["unmeasured"] * 3


def test_tracing_off_raises_one_doubt_about_traces() -> None:
    off = Settings("local", "embedded", False, 0.5, "lean", None)
    nothing = np.zeros(len(SCHEDULE), np.bool_)
    of = observed(
        settings=off,
        sent=sent(sampled=nothing),
        spans_expected=0,
        spans_received=0,
        spans_by_scenario=None,
        requests_sampled=0,
        requests_complete=0,
    )
    assert codes(of) == ["tracing_off"]


@pytest.mark.parametrize(
    ("worse", "voids"),
    [
        ({"lag_p99_ms": 2.0}, True),
        ({"spans_by_scenario": 1}, False),
        ({"load": replace(LOAD, duration_ns=8 * 10**9)}, False),
    ],
)
def test_what_doubts_the_measurement_voids_the_round(worse: dict[str, Any], voids: bool) -> None:
    assert void(judge(observed(**worse), Limits())) is voids
