"""One seed, one load: what each request is, arrival by arrival and call by call, everywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from hopbench.collector.spool import read_spool
from loadgen.spool.reader import read as read_samples
from services.scenario.refactors import apply
from tests.processes.conftest import plan, settings
from tests.processes.test_round import run

SOURCE = """
version: 1
name: choices
seed: 11
services:
  shop:
    operations:
      buy:
        - call: stock.look
          count: 4
          probability: 60%
          request: {uniform: [10B, 1000B]}
          response: {exponential: 300B}
          key: {distinct: 5}
          on_error: ignore
        - choice:
            - weight: 1
              steps: [{call: price.quote, protocol: grpc, key: {distinct: 3}}]
            - weight: 2
              steps: [{call: price.rate, protocol: kafka, response: {uniform: [1B, 99B]}}]
        - parallel:
            - {call: price.quote, count: 2, probability: 50%}
            - {call: mail.ready, protocol: grpc, probability: 80%}
        - repeat:
            times: 2
            steps: [{publish: mail.note, probability: 70%, key: {distinct: 4}}]
      browse:
        - {call: stock.look, request: {uniform: [10B, 99B]}, on_error: ignore}
  stock:
    replicas: 2
    balance: random
    operations:
      look:
        - {call: price.quote, protocol: grpc, probability: 30%}
        - {fail: 10%}
  price:
    operations:
      quote: [{sleep: {exponential: 1ms}}]
      rate: [{work: 0.1ms}]
  mail:
    operations:
      ready: [{sleep: 1ms}]
      note: [{call: price.quote, probability: 50%}]
load:
  rate: 60/s
  duration: 1500ms
  warmup: 500ms
  entries:
    - {call: shop.buy, weight: 3, request: {uniform: [10B, 100B]}}
    - {call: shop.browse, protocol: grpc}
variants:
  grpc: {refactors: [{op: protocol, all: true, to: grpc}]}
"""

CLIENT, PRODUCER = Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_PRODUCER
Call = tuple[Any, ...]


def arrivals(trial: Path) -> list[tuple[Any, ...]]:
    """What the generator sent, by request number."""
    spool = read_samples(trial / "samples.spool")
    return sorted(
        (
            int(r["seq"]),
            int(r["intended_ns"]) - spool.start_ns,
            spool.entries[r["entry"]],
            bool(r["sampled"]),
            int(r["phase"]),
            int(r["request_bytes"]),
            int(r["response_bytes"]),
            int(r["trace_lo"]),
        )
        for r in spool.records
    )


def calls(trial: Path) -> dict[bytes, Counter[Call]]:
    """The calls and messages of each sampled request, however an instrumentation spells them."""
    found: dict[bytes, Counter[Call]] = {}
    for record in read_spool(trial / "traces.otlp"):
        for resource in ExportTraceServiceRequest.FromString(record).resource_spans:
            caller = dict(attributes(resource.resource.attributes))["service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    said = dict(attributes(span.attributes))
                    # What lacks a mode is a library's own step of a message, and no call.
                    if span.kind in (CLIENT, PRODUCER) and "hopbench.mode" in said:
                        of_trace = found.setdefault(span.trace_id, Counter())
                        of_trace[call(str(caller), said)] += 1
    return found


def attributes(pairs: Any) -> list[tuple[str, str | int]]:
    return [(pair.key, pair.value.string_value or pair.value.int_value) for pair in pairs]


def call(caller: str, said: dict[str, str | int]) -> Call:
    """Caller, mode, operation, key, bytes both ways, and whether an error came back."""
    topic, method = str(said.get("messaging.destination.name", "")), str(said.get("rpc.method", ""))
    path = str(said.get("url.full", "")).split("/")
    operation = topic.rpartition(".")[2] or method.rpartition("/")[2].lower()
    return (
        caller,
        said["hopbench.mode"],
        path[3] if len(path) > 3 else operation,
        said.get("hopbench.key"),
        said.get("http.request.body.size", said.get("hopbench.request_bytes")),
        said.get("http.response.body.size", said.get("hopbench.response_bytes")),
        said.get("hopbench.items"),
    )


@pytest.mark.slow
def test_one_seed_makes_the_same_requests_on_every_engine_instrumentation_and_protocol(
    tmp_path: Path,
) -> None:
    base = plan(SOURCE)
    varied = replace(base, variant="grpc", scenario=apply(base.base, "grpc"))
    rounds = {
        "lean": (settings(), base),
        "again": (settings(), base),
        "official": (settings(instrumentation="official"), base),
        "virtual": (settings(engine="virtual"), base),
        "grpc": (settings(), varied),
    }
    sent, made = {}, {}
    for name, (chosen, planned) in rounds.items():
        trial = tmp_path / name / "trial"
        trial.mkdir(parents=True)
        evidence = run(chosen, planned, trial)
        assert (evidence.broken, evidence.undrained) == (None, None)
        sent[name], made[name] = arrivals(trial), calls(trial)
    assert len(sent["lean"]) > 100
    assert len({frozenset(counter.items()) for counter in made["lean"].values()}) > 20
    for name in rounds:
        assert sent[name] == sent["lean"], name
        assert made[name] == made["lean"], name
