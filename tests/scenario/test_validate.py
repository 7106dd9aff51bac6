"""The static pass over frozen values: invariants, warnings, and the figures declared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from scipy.stats import binom

from services.errors import BadInput
from services.scenario.capacity import calls_by_edge, shape
from services.scenario.file.parser import bundled, parse_text
from services.scenario.file.validation import overloads, validate
from services.scenario.graph import callees, ordered
from services.scenario.model import Operation, Origin, Scenario, Service, Step, Target
from services.scenario.pace import Open
from services.scenario.refactors import variant_scenarios
from services.scenario.steps.calls import Call
from tests.scenario.build import scenario, steps_of
from tests.scenario.strategies import scenarios


def with_steps(base: Scenario, steps: tuple[Step, ...]) -> Scenario:
    a = replace(base.services["a"], operations={"go": Operation("go", steps)})
    return replace(base, services={**base.services, "a": a})


def errors(scenario: Scenario) -> list[str]:
    return [problem.text for problem in validate(scenario) if problem.severity == "error"]


def warnings(scenario: Scenario) -> list[str]:
    return [problem.text for problem in validate(scenario) if problem.severity == "warning"]


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(scenarios())
def test_everything_drawn_as_valid_is_valid_and_has_a_shape(scenario: Scenario) -> None:
    assert errors(scenario) == []
    found = shape(scenario)
    assert 0 <= found.calls_mean <= found.calls_worst * (1 + 1e-9)
    assert sum(calls_by_edge(scenario).values()) == pytest.approx(found.calls_mean)


@pytest.mark.parametrize("name", bundled())
def test_bundled_scenarios_and_their_variants_have_neither_errors_nor_warnings(name: str) -> None:
    for variant in variant_scenarios(parse_text(bundled()[name])).values():
        assert validate(variant) == ()


def call(base: Scenario) -> Call:
    (found,) = steps_of(base)
    assert isinstance(found, Call)
    return found


def test_values_made_by_code_are_held_to_the_same_invariants() -> None:
    base = scenario("- {call: b.one, id: x}")
    one = call(base)
    for changed, said in (
        ({"count": 0, "origins": ()}, "count of x is 0"),
        ({"batch": 0}, "batch of x is 0"),
        ({"max_parallel": 0}, "max_parallel of x is 0"),
        ({"timeout_ns": 0}, "timeout of x is 0"),
        ({"probability": 1.5}, "not in 0..1"),
        ({"origins": (Origin("x", 2),)}, "do not add up"),
        ({"mode": "publish"}, "x is a call, but its edge a publish over http"),
        ({"target": Target("b", "three")}, "b has no operation 'three'"),
    ):
        wrong = replace(one, edge=replace(one.edge, **changed))
        assert said in " ".join(errors(with_steps(base, (wrong,))))
    assert "given twice" in errors(with_steps(base, (one, one)))[0]
    still = replace(base.load, pace=Open("poisson", 0.0))
    assert errors(replace(base, load=still)) == ["the rate must be more than zero"]


def test_a_step_may_only_be_after_an_earlier_step_of_its_list() -> None:
    base = scenario(
        """
        - {call: b.one, id: x}
        - sequence: [{call: b.two, id: y}]
        - {call: c.one, id: z}
        """
    )
    x, sequence, z = steps_of(base)
    assert errors(with_steps(base, (x, sequence, replace(z, after=("x",))))) == []
    assert errors(with_steps(base, (replace(x, after=("z",)), sequence, z)))
    assert errors(with_steps(base, (x, sequence, replace(z, after=("y",)))))
    assert errors(with_steps(base, (x, sequence, replace(z, after=("z",)))))


def test_a_ring_of_messages_is_a_cycle_too() -> None:
    ring = """
        version: 1
        services:
          a: {operations: {go: [publish: b.one]}}
          b: {operations: {one: [publish: c.one]}}
          c: {operations: {one: [%s]}}
        load: {rate: 1/s, entry: a.go}
        """
    assert errors(parse_text(ring % "work: 1ms")) == []
    with pytest.raises(BadInput, match=r"a cycle of calls: b\.one -> c\.one -> b\.one"):
        parse_text(ring % "publish: b.one")


def test_a_long_chain_of_operations_does_not_recurse() -> None:
    base = scenario("- {call: b.one, id: x}")
    edge = call(base).edge
    length = 5000
    services = {
        f"s{n}": Service(
            f"s{n}",
            1,
            "round_robin",
            None,
            {
                "go": Operation(
                    "go",
                    (Call(id=f"i{n}", edge=replace(edge, target=Target(f"s{n + 1}", "go"))),)
                    if n + 1 < length
                    else (),
                )
            },
        )
        for n in range(length)
    }
    entry = replace(base.load.entries[0], target=Target("s0", "go"))
    long = replace(base, services=services, load=replace(base.load, entries=(entry,)))
    order, cycle = ordered(callees(long))
    assert cycle is None
    assert [target.service for target in order] == [f"s{n}" for n in range(length)]
    assert shape(long).depth == length - 1


@pytest.mark.parametrize(
    ("steps", "rest", "said"),
    [
        ("- call: b.one", "", "no request reaches b.two"),
        ("- call: b.one", "", "no request reaches c"),
        ("- work: 90ms", "", "a is asked for 0.90 cores of work"),
        ("- {call: c.one, count: 150}", "defaults: {workers: 1}", "a has 1.5 requests at once"),
        ("- {publish: b.one, kafka: {partitions: 1}}", "", "fewer than replicas"),
        (
            "- {publish: c.one}\n- {publish: c.one, kafka: {partitions: 2}}",
            "",
            "asked to have 4 and 2 partitions",
        ),
        ("- call: b.one", "faults: [{latency: 1ms, from: 10s}]", "begins after"),
    ],
)
def test_what_runs_but_is_hardly_meant_is_warned_of(steps: str, rest: str, said: str) -> None:
    found = warnings(scenario(steps, rest))
    assert any(said in text for text in found), found


@pytest.mark.parametrize(("work", "said"), [(70, 0), (90, 0), (100, 0), (110, 1)])
def test_only_more_work_than_there_are_cores_is_an_overload(work: int, said: int) -> None:
    """Ten times a second, one replica: from 80 ms on it is warned of."""
    busy = scenario(f"- work: {work}ms")
    assert len(overloads(busy)) == said
    assert len(warnings(busy)) - len(warnings(scenario("- work: 1ms"))) == (work > 80)


def test_more_requests_at_once_than_workers_is_an_overload() -> None:
    busy = scenario("- {call: c.one, count: 150}", "defaults: {workers: 1}")
    assert overloads(busy)[0] == "a has 1.5 requests at once to handle, and admits 1"


def test_what_the_workers_can_take_is_not_warned_of() -> None:
    # Ninety calls of 1 ms, ten times a second: nine tenths of one worker.
    found = warnings(scenario("- {call: c.one, count: 90}", "defaults: {workers: 1}"))
    assert not any("at once" in text for text in found)


@pytest.mark.parametrize(
    ("steps", "worst", "mean", "depth", "fan_out"),
    [
        ("- work: 1ms", 0, 0, 0, 0),
        ("- call: b.one", 1, 1, 1, 1),
        ("- {call: b.one, count: 7, batch: 3}", 3, 3, 1, 1),
        ("- {call: b.one, count: 7, max_parallel: 4}", 7, 7, 1, 4),
        ("- {call: b.one, count: 8, probability: 25%}", 8, 2, 1, 1),
        ("- {call: b.one, count: 2, batch: 2, probability: 50%}", 1, 0.75, 1, 1),
        ("- {call: b.one, count: 4, batch: 2, probability: 50%}", 2, 1.25, 1, 1),
        ("- {call: b.one, count: 6, batch: 4, probability: 0%}", 2, 0, 1, 1),
        ("- publish: b.one", 1, 1, 0, 1),
        ("- repeat: {times: 3, steps: [call: b.one, call: c.one]}", 6, 6, 1, 1),
        ("- parallel: [{call: b.one, count: 5, max_parallel: all}, call: c.one]", 6, 6, 1, 6),
        ("- parallel: {max: 1, steps: [call: b.one, call: c.one]}", 2, 2, 1, 1),
        (
            "- choice: [{weight: 3, steps: [{call: b.one, count: 4}]}, {weight: 1, steps: []}]",
            4,
            3,
            1,
            1,
        ),
        ("- {call: b.one, on_error: {fallback: [call: b.two]}}", 2, 1, 1, 1),
    ],
)
def test_the_shape_counts_calls_depth_and_fan_out(
    steps: str, worst: int, mean: float, depth: int, fan_out: int
) -> None:
    found = shape(scenario(steps))
    assert (found.calls_worst, found.depth, found.fan_out) == (worst, depth, fan_out)
    assert found.calls_mean == pytest.approx(mean)
    assert found.hops_per_s == pytest.approx(10 * mean)


@pytest.mark.parametrize(
    ("count", "batch", "share"), [(1000, 7, 0.3), (100_000, 10, 1e-7), (1_000_000, 64, 0.999)]
)
def test_expected_calls_of_many_items_are_a_sum_over_what_may_take_part(
    count: int, batch: int, share: float
) -> None:
    """Against the distribution of a library."""
    drawn = f"- {{call: b.one, count: {count}, batch: {batch}, probability: {share:.9f}}}"
    items = np.arange(count + 1)
    expected = (-(-items // batch) * binom.pmf(items, count, share)).sum()
    assert shape(scenario(drawn)).calls_mean == pytest.approx(float(expected), rel=1e-6)


def test_a_chain_behind_a_message_is_as_deep_as_it_is() -> None:
    base = parse_text(
        """
        version: 1
        services:
          a: {operations: {go: [call: b.one, publish: b.two]}}
          b: {operations: {one: [work: 1ms], two: [call: c.one]}}
          c: {operations: {one: [call: d.one]}}
          d: {operations: {one: [work: 1ms]}}
        load: {rate: 1/s, entry: a.go}
        """
    )
    assert shape(base).depth == 2


def test_more_calls_than_a_round_could_hold_are_refused() -> None:
    steps = "- repeat: {times: 1000, steps: [{repeat: {times: 1001, steps: [call: b.one]}}]}"
    with pytest.raises(BadInput, match="makes 1,001,000 calls at worst; the most is 1,000,000"):
        scenario(steps)


def test_more_calls_than_a_number_can_say_are_refused() -> None:
    services = "".join(
        f"  s{n}: {{operations: {{go: [{{call: s{n + 1}.go, count: 1000000}}]}}}}\n"
        for n in range(60)
    )
    with pytest.raises(BadInput, match="makes inf calls at worst"):
        parse_text(
            f"version: 1\nservices:\n{services}  s60: {{operations: {{go: []}}}}\n"
            "load: {rate: 1/s, entry: s0.go}"
        )


def test_more_requests_than_could_be_scheduled_are_refused() -> None:
    base = scenario("- call: b.one")
    many = replace(base, load=replace(base.load, pace=Open("poisson", 1e300)))
    assert errors(many) == ["a round of 1.5e+301 requests; the most is 100,000,000"]


def test_nested_steps_run_once_a_call_unless_they_are_per_item() -> None:
    text = """
    - {call: b.one, count: 6, batch: 6}
    """
    once = scenario(text)
    nested = once.services["b"].operations["one"]
    inner = call(scenario("- {call: c.one, id: inner}"))
    for per_item, calls in ((False, 2), (True, 7)):
        step = replace(inner, per_item=per_item)
        b = replace(
            once.services["b"],
            operations={"one": replace(nested, steps=(step,)), "two": Operation("two", ())},
        )
        assert shape(replace(once, services={**once.services, "b": b})).calls_worst == calls


def test_declared_work_scales_with_rate_items_and_replicas() -> None:
    found = parse_text(
        """
        version: 1
        services:
          a: {operations: {go: [{call: b.one, count: 4, batch: 2}]}}
          b: {operations: {one: [work: {cpu: 1ms, per_item: 0.5ms}]}}
        load: {rate: 100/s, entry: a.go}
        """
    )
    demand = shape(found).demand["b"]
    assert demand.calls_per_s == pytest.approx(200)
    assert demand.cpu_cores == pytest.approx(100 * (2 * 1e-3 + 4 * 0.5e-3))
    assert demand.busy == pytest.approx(demand.cpu_cores)
