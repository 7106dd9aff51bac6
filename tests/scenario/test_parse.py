"""Reading a scenario file: what each form means, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.errors import BadInput
from services.scenario.distributions import Constant, Percentiles, Uniform
from services.scenario.file.parser import bundled, load, parse_text
from services.scenario.model import (
    Expectation,
    Fault,
    FaultScope,
    HedgePolicy,
    KafkaOptions,
    OnErrorFallback,
    OnErrorIgnore,
    Origin,
    Retry,
    Target,
)
from services.scenario.pace import Closed, Open, Pace, Replay, Stage
from services.scenario.steps.calls import Call, Publish
from services.scenario.steps.choice import Choice
from services.scenario.steps.fail import Fail
from services.scenario.steps.groups import Parallel, Repeat, Sequence
from services.scenario.steps.time import Sleep, Work
from tests.scenario.build import scenario, steps_of, text

MS = 1_000_000


def refusal(source: str) -> BadInput:
    with pytest.raises(BadInput) as refused:
        parse_text(source, "small.yaml")
    assert refused.value.file == "small.yaml"
    return refused.value


def line_of(source: str, marker: str) -> int:
    (line,) = (n for n, row in enumerate(source.splitlines(), 1) if marker in row)
    return line


# -- what each form means ----------------------------------------------------------------------


def test_the_shortest_call_takes_every_default() -> None:
    (call,) = steps_of(scenario("- call: b.one"))
    assert isinstance(call, Call)
    assert call.id == "a.go/1"
    edge = call.edge
    assert (edge.target, edge.protocol, edge.mode) == (Target("b", "one"), "http", "call")
    assert (edge.count, edge.batch, edge.max_parallel, edge.probability) == (1, 1, 1, 1.0)
    assert (edge.timeout_ns, edge.retry, edge.hedge, edge.key_distinct) == (None, None, None, None)
    assert edge.origins == (Origin("a.go/1", 1),)


def test_a_call_can_say_everything_about_its_edge() -> None:
    (call,) = steps_of(
        scenario(
            """
            - call: b.one
              id: x
              protocol: grpc
              count: 5
              batch: 2
              max_parallel: all
              probability: 50%
              request: 200B
              response: {p50: 1KiB, p99: 8KiB}
              key: {distinct: 50}
              timeout: 1s
              retry: {max: 2, backoff: 5ms, jitter: 10%, budget: 20%}
              hedge: {after: p95}
              on_error: {fallback: [sleep: 1ms, call: c.one]}
              kafka: {partitions: 2, acks: 1, linger: 5ms}
              per_item: true
            """
        )
    )
    assert isinstance(call, Call)
    assert call.per_item
    edge = call.edge
    assert (edge.protocol, edge.count, edge.batch, edge.max_parallel) == ("grpc", 5, 2, None)
    assert edge.probability == 0.5
    assert edge.request_bytes == Constant(200)
    assert edge.response_bytes == Percentiles((0, 0.5, 0.99, 1), (1024, 1024, 8192, 8192))
    assert (edge.key_distinct, edge.timeout_ns) == (50, 1000 * MS)
    assert edge.retry == Retry(2, 5 * MS, 0.1, 0.2)
    assert edge.hedge == HedgePolicy(None)
    assert edge.kafka == KafkaOptions(2, "1", 5 * MS)
    assert edge.origins == (Origin("x", 5),)
    assert isinstance(edge.on_error, OnErrorFallback)
    assert [step.id for step in edge.on_error.steps] == ["a.go/1.1", "a.go/1.2"]


def test_every_kind_of_step_nests_in_every_other() -> None:
    steps = steps_of(
        scenario(
            """
            - work: 2ms
            - work: {cpu: 2ms, per_item: 0.1ms, where: thread}
            - sleep: {uniform: [1ms, 3ms]}
            - sleep: {per_item: 1ms}
            - publish: b.one
            - sequence:
                - parallel:
                    - repeat:
                        times: 3
                        steps:
                          - choice:
                              - {weight: 1, steps: [fail: 5%]}
                              - {weight: 3, steps: [call: b.two]}
            - parallel: {max: 4, steps: [call: b.one, call: b.two]}
            """
        )
    )
    work, split, wait, items, event, sequence, bounded = steps
    assert isinstance(work, Work)
    assert (work.cpu, work.cpu_per_item, work.where) == (Constant(2 * MS), None, "loop")
    assert isinstance(split, Work)
    assert (split.cpu_per_item, split.where) == (Constant(0.1 * MS), "thread")
    assert isinstance(wait, Sleep)
    assert wait.time == Uniform(MS, 3 * MS)
    assert isinstance(items, Sleep)
    assert (items.time, items.time_per_item) == (Constant(0), Constant(MS))
    assert isinstance(event, Publish)
    assert (event.edge.mode, event.edge.protocol) == ("publish", "kafka")
    assert isinstance(sequence, Sequence)
    (parallel,) = sequence.steps
    assert isinstance(parallel, Parallel)
    assert parallel.max_parallel is None
    (repeat,) = parallel.steps
    assert isinstance(repeat, Repeat)
    assert repeat.times == 3
    (choice,) = repeat.steps
    assert isinstance(choice, Choice)
    assert [option.weight for option in choice.options] == [1, 3]
    (fail,) = choice.options[0].steps
    assert isinstance(fail, Fail)
    assert (fail.id, fail.probability) == ("a.go/6.1.1.1.1.1", 0.05)
    assert isinstance(bounded, Parallel)
    assert bounded.max_parallel == 4


def test_defaults_cascade_from_file_to_service_to_operation_to_step() -> None:
    found = parse_text(
        """
        version: 1
        defaults: {protocol: grpc, timeout: 1s, request: 1KiB, retry: {max: 1}, where: thread}
        services:
          a:
            defaults: {timeout: 2s, request: 2KiB, retry: {max: 2}}
            operations:
              go:
                defaults: {request: 3KiB, on_error: ignore}
                steps:
                  - {call: b.one, retry: none}
                  - {call: b.one, request: 4KiB, protocol: http, timeout: none}
              other: [call: b.one, publish: b.one]
          b:
            operations:
              one: [work: 1ms]
        load: {rate: 10/s, entries: [a.go, a.other]}
        """
    )
    one, two = (s.edge for s in steps_of(found) if isinstance(s, Call))
    assert (one.protocol, one.timeout_ns, one.retry) == ("grpc", 2000 * MS, None)
    assert (one.request_bytes, one.on_error) == (Constant(3072), OnErrorIgnore())
    assert (two.protocol, two.timeout_ns, two.retry) == ("http", None, Retry(2, 10 * MS, 0.5, None))
    assert two.request_bytes == Constant(4096)
    call, event = steps_of(found, "a", "other")
    assert isinstance(call, Call)
    assert call.edge.request_bytes == Constant(2048)
    assert isinstance(event, Publish)
    assert (event.edge.protocol, event.edge.timeout_ns) == ("kafka", 2000 * MS)
    (work,) = steps_of(found, "b", "one")
    assert isinstance(work, Work)
    assert work.where == "thread"


def test_file_defaults_may_speak_of_services() -> None:
    source = text("- call: b.one", "defaults: {replicas: 3, balance: random, workers: 9}\n")
    service = parse_text(source).services
    assert (service["a"].replicas, service["a"].balance) == (3, "random")
    assert service["b"].replicas == 2
    assert service["b"].max_concurrent == 9


def test_load_and_faults_are_typed() -> None:
    source = text("- call: b.one").replace(
        "load: {rate: 10/s, entry: a.go}",
        """
load:
  arrivals: uniform
  rate: 90/min
  duration: 3s
  warmup: 0
  max_in_flight: 7
  entries:
    - {call: a.go, weight: 3, protocol: grpc, request: 1KiB, key: {distinct: 4}, timeout: 1s}
    - b.two
faults:
  - {latency: 40ms, probability: 25%, at: {service: b, replica: 1}, from: 1s, to: 2s}
  - {id: broken, error: 5%, at: {edge: a->b.one}}
""",
    )
    found = parse_text(source)
    offered = found.load
    assert (offered.pace, offered.max_in_flight) == (Open("uniform", 1.5), 7)
    assert (offered.duration_ns, offered.warmup_ns) == (3000 * MS, 0)
    first, second = offered.entries
    assert (first.weight, first.protocol, first.key_distinct) == (3, "grpc", 4)
    assert (first.request_bytes, first.timeout_ns) == (Constant(1024), 1000 * MS)
    assert (second.target, second.weight, second.protocol) == (Target("b", "two"), 1, "http")
    assert found.faults == (
        Fault(
            id="fault/1",
            kind="latency",
            scope=FaultScope("b", None, 1, None, None),
            latency=Constant(40 * MS),
            pause_ns=None,
            probability=0.25,
            from_ns=1000 * MS,
            to_ns=2000 * MS,
        ),
        Fault(
            id="broken",
            kind="error",
            scope=FaultScope("b", "one", None, "a", None),
            latency=None,
            pause_ns=None,
            probability=0.05,
            from_ns=None,
            to_ns=None,
        ),
    )


def test_an_expectation_names_its_edge_in_one_word() -> None:
    rest = """
    expectations:
      - {kind: chatty.sequential, edge: a.go->b.one}
      - {kind: fanout.straggler, where: {caller: a, instance: b/1}}
    """
    assert scenario("- call: b.one", rest).expectations == (
        Expectation(
            "chatty.sequential",
            {"caller": "a", "caller_operation": "go", "callee": "b", "operation": "one"},
        ),
        Expectation("fanout.straggler", {"caller": "a", "instance": "b/1"}),
    )


# -- what a wrong one is told ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "said", "hint"),
    [
        ("- {call: b.one, tiemout: 1s}", "unknown key 'tiemout' in a call step", "'timeout'"),
        ("- {cal: b.one}", "this has cal", "'call'"),
        ("- {call: b.one, work: 1ms}", "this is call and work", ""),
        ("- {call: b.onne}", "b has no operation 'onne'", "'one'"),
        ("- {call: bb.one}", "there is no service 'bb'", "'b.one'"),
        ("- {call: b}", "'b' is not a target", "service.operation"),
        ("- {call: b.one, timeout: 10}", "'10' has no unit", "10ms or 10s"),
        ("- {call: b.one, timeout: 0}", "must be more than zero", ""),
        ("- {call: b.one, request: 4KB}", "'4KB': unknown unit 'KB'", "kB (1000) or KiB (1024)"),
        ("- {call: b.one, probability: 30}", "more than 100%", "30%"),
        ("- {call: b.one, count: 0}", "0 is too small; the least is 1", ""),
        ("- {call: b.one, count: 2.5}", "expected a whole number, not '2.5'", ""),
        ("- {call: b.one, protocol: htpp}", "'htpp' is not one of http, grpc, kafka", "'http'"),
        ("- {call: b.one, retry: {backoff: 1ms}}", "retry lacks 'max'", "retry: {max: 2}"),
        (
            "- {call: b.one, on_error: {fallbak: []}}",
            "unknown key 'fallbak' in on_error",
            "'fallback'",
        ),
        ("- {call: b.one, id: 'No'}", "'No' is not a name", "small letter"),
        ("- {call: b.one, after: x}", "after 'x', which is no earlier step", ""),
        ("- {call: c.one, hedge: {after: 1ms}}", "c has one replica", "replicas: 2"),
        ("- {call: b.one, protocol: kafka, hedge: {after: 1ms}}", "hedged over Kafka", ""),
        ("- {publish: b.one, protocol: http}", "publish goes over kafka only", "call"),
        ("- {publish: b.one, hedge: {after: 1ms}}", "no hedge", ""),
        ("- {work: 1}", "'1' has no unit", "1ms or 1s"),
        ("- {work: {cpu: 1ms, wher: loop}}", "unknown key 'wher' in work", "'where'"),
        ("- {sleep: {p50: 5ms, p99: 1ms}}", "p99 is below p50", ""),
        ("- {sleep: {p50: 5ms, p50.0: 6ms}}", "one percentile", ""),
        ("- {sleep: {uniform: [5ms, 1ms]}}", "above the upper", ""),
        ("- {sleep: {expnential: 5ms}}", "unknown key 'expnential'", "'exponential'"),
        ("- {sleep: {lognormal: {median: 5ms, sigma: -1}}}", "sigma must be a number", ""),
        ("- {choice: []}", "a choice without options", ""),
        ("- {choice: [{weight: 0, steps: []}]}", "a weight is a number above zero", ""),
        ("- {repeat: {times: 3}}", "repeat lacks 'steps'", "steps"),
        ("- {fail: 120%}", "more than 100%", ""),
        ("- {call: a.go}", "a cycle of calls: a.go -> a.go", "never end"),
        ("- 5", "a step must be a mapping, not '5'", ""),
        ("- {sleep: true}", "'true' is not a time", "10ms"),
        ("- {sleep: }", "expected a quantity, not nothing", ""),
        ("- {<<: {sleep: 1ms}}", "merge keys are not read", "defaults"),
        ("- {call: b.one, count: 1000001}", "too large; the most is 1,000,000", ""),
        ("- {repeat: {times: 1000001, steps: []}}", "too large; the most is 1,000,000", ""),
        ("- {call: b.one, kafka: {partitions: 10001}}", "too large; the most is 10,000", ""),
        (f"- {{call: {'b' * 99}}}", f"'{'b' * 57}…' is not a target", ""),
        (f"- {{{'c' * 99}: 1}}", "this has ccc", ""),
    ],
)
def test_a_wrong_step_is_refused_with_its_line(steps: str, said: str, hint: str) -> None:
    source = text("- work: 1ms\n" + steps)
    error = refusal(source)
    assert said in error.text
    assert error.line == line_of(source, steps)
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("rest", "said", "hint"),
    [
        ("lod: 1", "unknown key 'lod' in a scenario", "'load'"),
        (f"{'l' * 99}: 1", f"unknown key '{'l' * 57}…' in a scenario", ""),
        ("seed: -1", "-1 is too small", ""),
        ("faults: [{latency: 1ms, error: 5%}]", "this has latency and error", ""),
        ("faults: [{latency: 1ms, at: {service: bb}}]", "there is no service 'bb'", "'b'"),
        ("faults: [{latency: 1ms, at: {service: b, replica: 2}}]", "no replica 2", "from 0 to 1"),
        ("faults: [{latency: 1ms, at: {edge: a->c.one}}]", "a never calls c.one", ""),
        ("faults: [{latency: 1ms, at: {edge: a->b.one, service: b}}]", "already", ""),
        ("faults: [{error: 5%, from: 2s, to: 1s}]", "ends before it begins", ""),
        ("faults: [{pause: 1s, at: {edge: a->b.one}}]", "pauses as a whole", ""),
        ("faults: [{pause: 1s, at: {service: b}, to: 2s}]", "lasts as long as it says", ""),
        ("expectations: [{kind: chaty.sequential}]", "is not one of", "'chatty.sequential'"),
        ("expectations: [{kind: chain, where: {caler: a}}]", "unknown key 'caler'", "'caller'"),
        ("expectations: [{kind: chain, where: {caller: x}}]", "there is no service 'x'", ""),
        ("expectations: [{kind: chain, where: {instance: b/2}}]", "no instance 'b/2'", ""),
        ("variants: {baseline: []}", "cannot be a variant", ""),
        ("variants: {x: [{op: bach, edge: a->b.one, size: 2}]}", "no operator 'bach'", "'batch'"),
        ("variants: {x: [{op: batch, edge: a->b.one}]}", "the operator batch lacks 'size'", ""),
        ("variants: {x: [{op: batch, edge: a.b.one, size: 2}]}", "not an edge", "caller->callee"),
        ("variants: {x: [{op: batch, edge: a->b.won, size: 2}]}", "nothing calls", "'a->b.one'"),
        ("variants: {x: [{op: batch, edge: a->b.one, size: 2}]}", "one item to send", "joined"),
        ("variants: {x: [{op: protocol, to: grpc}]}", "an edge, or all: true", ""),
        ("variants: {x: [{op: hedge, edge: a->b.one, after: 5}]}", "no unit", "5ms"),
    ],
)
def test_the_rest_of_a_wrong_file_is_refused_with_its_line(rest: str, said: str, hint: str) -> None:
    source = text("- call: b.one", rest)
    error = refusal(source)
    assert said in error.text
    assert error.line == line_of(source, rest)
    assert hint in (error.hint or "")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("[]", "a scenario must be a mapping, not a list"),
        ("version: 2", "this reads version 1"),
        ("name: x", "a scenario lacks 'version'"),
        ("version: 1\nload: {}", "a scenario lacks 'services'"),
        ("version: 1\nservices: {}\nload: {}", "nothing in it"),
        ("version: 1\nservices: {A: {}}\nload: {}", "'A' is not a name"),
        (f"version: 1\nservices: {{{'a' * 42}: {{}}}}\nload: {{}}", "is not a name"),
        ("version: 1\nservices: {a: {operations: {}}}\nload: {}", "nothing in it"),
    ],
)
def test_a_file_that_is_no_scenario_is_told_what_is_missing(source: str, said: str) -> None:
    assert said in refusal(source).text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("../../etc", "no slash"),
        ("'..\\etc'", "no slash"),
        (".hidden", "no dot at the start"),
        ('"two\\nlines"', "one line"),
        ('"\\e[31mred"', "one line"),
        ("x" * 81, "at most 80 characters"),
        ("''", ""),
    ],
)
def test_a_name_that_cannot_be_a_directorys_is_refused(name: str, hint: str) -> None:
    source = text("- call: b.one").replace("name: small", f"name: {name}")
    error = refusal(source)
    assert "cannot name a scenario" in error.text
    assert error.line == line_of(source, "name: ")
    assert hint in (error.hint or "")


def test_a_file_without_a_name_gives_its_own_where_it_can() -> None:
    source = text("- call: b.one").replace("name: small", "")
    assert parse_text(source, "deep/down/my shop.yaml").name == "my shop"
    assert parse_text(source, ".hidden.yaml").name == "scenario"
    assert parse_text(source, "-").name == "scenario"


def test_an_id_given_twice_names_both_lines() -> None:
    source = text("- {work: 1ms, id: x}\n- {work: 1ms, id: x}")
    error = refusal(source)
    first, second = (n for n, row in enumerate(source.splitlines(), 1) if "id: x" in row)
    assert error.line == second
    assert f"given twice, first on line {first}" in error.text


def test_a_cycle_names_the_way_round_and_the_step_that_closes_it() -> None:
    source = text("- call: b.one").replace("two: [sleep: 2ms]", "two: [call: a.go]")
    source = source.replace("one: [sleep: 1ms]\n      two", "one: [call: b.two]\n      two")
    error = refusal(source)
    assert error.text == "a cycle of calls: a.go -> b.one -> b.two -> a.go"
    assert error.line == line_of(source, "two: [call: a.go]")


def test_two_names_that_are_one_over_grpc_are_refused() -> None:
    source = text("- call: b.one").replace("      one: [", "      one: [work: 1ms]\n      o-1: [")
    source = source.replace("      two: [", "      o1: [")
    assert "both O1 over gRPC" in refusal(source).text


@pytest.mark.parametrize(
    ("said", "pace"),
    [
        ("rate: 10/s, ramp: [{to: 20/s, over: 5s}]", Open("poisson", 10, (Stage(20, 5000 * MS),))),
        ("model: closed, users: 5, think: 1s", Closed(5, Constant(1000 * MS))),
        ("model: closed, users: 5", Closed(5, Constant(0))),
        ("arrivals: replay, replay: [0, 5ms, 9s]", Replay((0, 5 * MS, 9000 * MS))),
    ],
)
def test_each_model_of_load_is_read(said: str, pace: Pace) -> None:
    assert parse_text(text("- call: b.one").replace("rate: 10/s", said)).load.pace == pace


def test_an_entry_that_publishes_is_over_kafka_and_has_no_response() -> None:
    source = text("- call: b.one").replace("entry: a.go", "entry: {publish: a.go, weight: 2}")
    (entry,) = parse_text(source).load.entries
    assert (entry.mode, entry.protocol, entry.weight) == ("publish", "kafka", 2)
    wrong = source.replace("weight: 2", "response: 1KiB")
    assert "unknown key 'response'" in refusal(wrong).text


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("rate: 10/s", "model: closed"), "load lacks 'users'"),
        (("rate: 10/s", "arrivals: replay"), "load lacks 'replay'"),
        (
            ("rate: 10/s", "arrivals: replay, replay: [2s, 1s]"),
            "the times of a replay must not fall",
        ),
        (("rate: 10/s", "arrivals: replay, replay: [1s]"), "within the warm-up"),
        (("rate: 10/s", "arrivals: replay, replay: gone.csv"), "gone.csv: cannot be read"),
        (("rate: 10/s", "rate: 10/s, ramp: [{to: 20/s}]"), "lacks 'over'"),
        (("rate: 10/s", "rate: 10/s, ramp: [{to: 20/s, over: 11s}]"), "longer than the duration"),
        (("rate: 10/s", "rate: 10/s, users: 3"), "users: users belong to a closed load"),
        (("rate: 10/s", "model: closed, users: 3, rate: 1/s"), "rate: a closed load sends when"),
        (("rate: 10/s", "model: closed, users: 1001"), "max_in_flight is 1000"),
        (("entry: a.go", "entry: {call: a.gone, protocol: kafka}"), "no operation 'gone'"),
        (("load:", "faults: [{pause: 5%}]\nload:"), "not a unit of time"),
        (
            ("load:", "variants: {v: [{op: merge, edge: a->c.one}]}\nload:"),
            "nothing calls a->c.one",
        ),
        (
            ("load:", "variants: {v: [{op: cache, edge: a->b.one, scope: request}]}\nload:"),
            "has no key",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(edit: tuple[str, str], said: str) -> None:
    assert said in refusal(text("- call: b.one").replace(*edit)).text


# -- where scenarios come from -----------------------------------------------------------------


def test_bundled_names_paths_and_run_directories_load(tmp_path: Path) -> None:
    source = bundled()["chatty"]
    (tmp_path / "scenario.yaml").write_text(source)
    by_name, by_path, by_run = (
        load(where) for where in ("chatty", str(tmp_path / "scenario.yaml"), str(tmp_path))
    )
    assert by_name.scenario == by_path.scenario == by_run.scenario
    assert by_name.sha256 == by_path.sha256 == by_run.sha256
    assert by_name.file == "chatty.yaml"
    assert by_path.file == str(tmp_path / "scenario.yaml")
    assert by_name.text == source


def test_an_unknown_name_is_told_the_close_one() -> None:
    with pytest.raises(BadInput) as refused:
        load("chaty")
    assert refused.value.hint == "did you mean 'chatty'?"


def test_a_directory_or_an_unreadable_path_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        load(str(tmp_path))
    with pytest.raises(BadInput, match="too long"):
        load("x" * 5000)
    with pytest.raises(BadInput):
        load(str(tmp_path / "missing.yaml"))


def test_a_file_without_a_name_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text("- call: b.one").replace("name: small\n", ""))
    assert load(str(path)).scenario.name == "mine"


def test_everything_that_is_wrong_with_a_file_is_told_in_its_order() -> None:
    error = refusal(
        """
version: 1
services:
  a: {operations: {go: [{call: b.one, tiemout: 1s}], gone: [{slep: 1ms}]}}
  b: {replicas: none, operations: {one: []}}
load: {rate: fast, entry: a.go}
faults: [{latency: 5ms, at: {servce: b}}]
variants: {v: [{op: bach, edge: a->b.one}]}
""".lstrip()
    )
    every = [error, *error.others]
    assert [each.line for each in every] == [3, 3, 4, 5, 6, 7]
    assert "tiemout" in every[0].text
    assert str(error).count("\n  ") >= 5
    assert all(f":{each.line}: {each.text}" in str(error) for each in every)


def test_what_a_scenario_names_wrongly_is_told_together() -> None:
    error = refusal(text("- call: b.won\n- {call: b.one, after: [nothing]}"))
    assert "'won'" in error.text
    assert ["nothing" in other.text for other in error.others] == [True]
