"""Each of the six plug points takes a new part by one new file and one line in one table.

The files are those of tests/plugs, each copied alone into a package that is gone afterwards; the
line is added to the table for one test.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from analysis.findings.analyzers import analyzers
from analysis.reading import inputs
from analysis.reading.formats import FORMATS
from hopbench import engines
from hopbench.engines import ENGINES
from hopbench.engines.port import RoundPlan
from hopbench.front.settings import run_settings
from services import transports
from services.errors import BadInput
from services.scenario import protocols
from services.scenario.capacity import shape
from services.scenario.file.difference import difference
from services.scenario.file.parser import parse_text
from services.scenario.file.schema import scenario_schema
from services.scenario.file.writer import to_yaml
from services.scenario.findings import FINDINGS
from services.scenario.protocols import PROTOCOLS
from services.scenario.refactors import OPERATORS, apply
from services.scenario.steps import KINDS
from services.telemetry.records import CLIENT
from services.telemetry.spans import Shape, span_shape
from services.transports.site import Counters, Site
from services.wire.ports import Address, Incoming, Outgoing, Reply, Status, TraceContext
from services.wire.topology import topology
from tests.analysis.build import Traces
from tests.behaviour.world import LEAF, run, scenario
from tests.scenario.build import text

PACKAGE = "plugged"
Plug = Callable[[str], ModuleType]
Line = Callable[[Any, str, object], None]


@pytest.fixture
def plug(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plug]:
    """Puts one file of tests/plugs into the package, and imports it."""
    directory = tmp_path / PACKAGE
    directory.mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def plugged(name: str) -> ModuleType:
        shutil.copy(Path(__file__).parent / "plugs" / f"{name}.py", directory)
        return import_module(f"{PACKAGE}.{name}")

    yield plugged
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    """Adds the line to a table."""
    return monkeypatch.setitem


def fits(source: str) -> bool:
    schema = jsonschema.Draft202012Validator(scenario_schema())
    return bool(schema.is_valid(yaml.safe_load(source)))


def test_a_step_kind_is_read_written_described_counted_and_run(plug: Plug, line: Line) -> None:
    source = text("- twice: [call: b.one, call: b.two]")
    with pytest.raises(BadInput, match="this has twice"):
        parse_text(source)
    assert not fits(source)

    plug("twice")
    line(KINDS, "twice", f"{PACKAGE}.twice:TWICE")

    found = parse_text(source)
    assert parse_text(to_yaml(found)) == found
    assert fits(source)
    assert not fits(text("- twice: 2"))
    with pytest.raises(BadInput, match="no operation 'onne'"):
        parse_text(text("- twice: [call: b.onne]"))
    assert shape(found).calls_worst == shape(found).calls_mean == 4
    world = run(scenario(LEAF, steps="- twice: [call: b.one]"))
    assert [sent.out.ticket.partition(";")[2] for sent in world.sent] == [
        "a.go/1.1@0",
        "a.go/1.1@1",
    ]


def test_an_operator_is_read_applied_written_and_described(plug: Plug, line: Line) -> None:
    variants = "variants: {quick: [{op: impatient, edge: a->b.one, timeout: 50ms}]}\n"
    source = text("- call: b.one\n- call: b.two", variants)
    with pytest.raises(BadInput, match="no operator 'impatient'"):
        parse_text(source)
    assert not fits(source)

    plug("impatient")
    line(OPERATORS, "impatient", f"{PACKAGE}.impatient:IMPATIENT")

    base = parse_text(source)
    assert parse_text(to_yaml(base)) == base
    assert fits(source)
    assert not fits(source.replace("50ms", "50"))
    (change,) = difference(base, apply(base, "quick")).steps
    assert [row for row in change.lines if not row.startswith(" ")] == [
        "- - {call: b.one}",
        "+ - {call: b.one, timeout: 50ms}",
    ]


def test_a_transport_is_named_in_scenarios_carries_calls_and_says_its_spans(
    plug: Plug, line: Line
) -> None:
    source = text("- {call: b.one, protocol: pigeon}")
    with pytest.raises(BadInput, match="'pigeon' is not one of"):
        parse_text(source)

    plug("pigeon")
    line(PROTOCOLS, "pigeon", protocols.Kind(f"{PACKAGE}.pigeon", f"{PACKAGE}.pigeon:PIGEON"))

    found = parse_text(source)
    assert fits(source)
    assert shape(found).calls_worst == 1
    entry = source.replace("entry: a.go", "entry: {call: a.go, protocol: pigeon}")
    with pytest.raises(BadInput, match="is not one of http, grpc, kafka"):
        parse_text(entry)  # the generator has no pigeons
    assert not fits(entry)
    assert transports.settings(None)["pigeon"] == {"pigeons": 1}
    numbered = topology(found)
    (wire,) = numbered.wires
    arrived: list[Incoming] = []

    async def handle(incoming: Incoming) -> Reply:
        arrived.append(incoming)
        return Reply(Status.OK, incoming.response_bytes)

    async def call() -> Reply:
        here, there = (Site(name, 0, 1, numbered, Counters()) for name in ("a", "b"))
        listener = transports.listener("pigeon", there)
        port = await listener.start(handle)
        assert port is not None
        transport = transports.client("pigeon", here)
        await transport.connect({"b": (Address("127.0.0.1", {"pigeon": port}),)})
        trace = TraceContext(1, 2, True)
        out = Outgoing(wire, 0, "0;a.go/1@0", None, 200, 1024, None, 0, trace)
        reply = await transport.call(out)
        await transport.close()
        await listener.stop(0)
        return reply

    assert asyncio.run(call()) == Reply(Status.OK, 1024)
    assert [(it.protocol, it.operation, it.peer) for it in arrived] == [("pigeon", "one", "a/0")]
    span = span_shape(numbered, Shape(CLIENT, wire.index, 0, 0, 1, 0, 0, False))
    assert (span.name, span.attributes["rpc.system.name"]) == ("b/one", "pigeon")
    world = run(scenario(LEAF, steps="- {call: b.one, protocol: pigeon}"))
    assert world.outcome.status is Status.OK


def test_a_format_of_traces_is_recognised_and_read(
    plug: Plug, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "traces.txt"
    file.write_text("tally 1\nt1 s1 - order create 0 9\nt1 s2 s1 stock take 2 7\n")
    with pytest.raises(BadInput, match="no known trace format"):
        inputs.read([file])

    monkeypatch.setattr(inputs, "FORMATS", (*FORMATS, plug("tally").TALLY))

    spans = inputs.read([file]).spans
    assert [spans.name(int(code)) for code in spans.service] == ["order", "stock"]
    assert spans.duration.tolist() == [9, 5]


def test_an_analyzers_findings_come_out_and_can_be_expected(plug: Plug, line: Line) -> None:
    source = text("- call: b.one", "expectations: [{kind: loud.caller, edge: a->b.one}]\n")
    with pytest.raises(BadInput, match="is not one of chatty"):
        parse_text(source)

    plug("loud")
    line(FINDINGS, "loud.caller", f"{PACKAGE}.loud:loud")

    assert parse_text(source).expectations[0].kind == "loud.caller"
    assert fits(source)
    made = Traces()
    made.request("t1").call("stock", "take", 1, 90)
    found = made.analysed()
    assert [f.kind for f in (*found.findings, *found.minor)].count("loud.caller") == 1


def test_an_engine_is_chosen_by_its_name_and_runs_a_round(
    plug: Plug, line: Line, tmp_path: Path
) -> None:
    flags: dict[str, Any] = {
        **{"engine": "pretend", "broker": "embedded", "jaeger": None, "trace_ratio": 0.5},
        **{"tracing": "on", "instrumentation": "lean", "workers": 1, "web": None},
    }
    with pytest.raises(BadInput, match="'pretend' is none of"):
        run_settings(**flags)

    plug("pretend")
    line(ENGINES, "pretend", engines.Kind(f"{PACKAGE}.pretend:PretendEngine", clock="virtual"))

    base = scenario(LEAF, steps="- call: b.one")
    settings = run_settings(**flags)
    engines.check(settings, [base])
    plan = RoundPlan(base, base, to_yaml(base), "baseline", 0, 1, 0)
    evidence = asyncio.run(
        engines.engine(settings).round(plan, tmp_path, lambda phase, share: None)
    )
    assert evidence.broken is None
    assert evidence.measured_to_ns - evidence.measured_from_ns == base.load.duration_ns


PATHS = [
    *KINDS.values(),
    *OPERATORS.values(),
    *(resolve_name(path).runner for path in KINDS.values()),
    *(path for kind in PROTOCOLS.values() for path in (kind.transport, kind.convention)),
    *FINDINGS.values(),
    *(kind.path for kind in ENGINES.values()),
]


@pytest.mark.parametrize("path", dict.fromkeys(PATHS))
def test_what_a_table_names_by_its_path_is_there(path: str) -> None:
    assert resolve_name(path)


def test_every_analyzer_is_asked_once() -> None:
    assert len(set(analyzers())) == len(analyzers()) == 8
