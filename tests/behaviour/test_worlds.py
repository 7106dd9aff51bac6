"""Random worlds in which everything happens at the same few moments: nothing may be left over.

Answers, failures, timeouts, hedges, retries and deadlines all fall on whole milliseconds, so that
they meet in every order.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
import yaml

from services.scenario.file.parser import parse_text
from services.scenario.model import Scenario
from services.wire.ports import Status
from tests.behaviour.world import run


def ms(chance: Random) -> str:
    return f"{chance.choice((1, 1, 2, 3))}ms"


def steps(chance: Random, depth: int, targets: list[str]) -> list[dict[str, Any]]:
    return [step(chance, depth, targets) for _ in range(chance.randint(1, 3))]


def step(chance: Random, depth: int, targets: list[str]) -> dict[str, Any]:
    kinds = ["sleep", "work", "fail"]
    kinds += ["call", "call", "call", "publish"] if targets else []
    kinds += ["parallel", "parallel", "repeat"] if targets and depth else []
    match chance.choice(kinds):
        case "sleep":
            return {"sleep": ms(chance)}
        case "work":
            return {"work": {"cpu": ms(chance), "where": chance.choice(("loop", "thread"))}}
        case "fail":
            return {"fail": chance.choice(("5%", "30%"))}
        case "publish":
            return {"publish": chance.choice(targets)}
        case "call":
            return call(chance, depth, targets)
        case "parallel":
            inner = steps(chance, depth - 1, targets)
            return {"parallel": {"steps": inner, "max": chance.randint(1, 3)}}
        case _:
            return {"repeat": {"times": 2, "steps": steps(chance, depth - 1, targets)}}


def call(chance: Random, depth: int, targets: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"call": chance.choice(targets), "count": chance.choice((1, 1, 4))}
    made["protocol"] = chance.choice(("http", "http", "kafka"))
    if chance.random() < 0.5:
        made["timeout"] = ms(chance)
    if chance.random() < 0.4:
        made["retry"] = {"max": 2, "backoff": ms(chance), "jitter": 0}
    if chance.random() < 0.5 and made["protocol"] == "http" and made["call"].startswith("b."):
        made["hedge"] = {"after": ms(chance)}
    if chance.random() < 0.3:
        made["on_error"] = "ignore"
    elif chance.random() < 0.3 and depth:
        made["on_error"] = {"fallback": steps(chance, 0, targets)}
    return made


def world(chance: Random) -> Scenario:
    services: dict[str, Any] = {}
    targets: list[str] = []
    for name in ("c", "b", "a"):
        services[name] = {"operations": {"go": steps(chance, 2, targets)}}
        if chance.random() < 0.3:
            services[name]["workers"] = chance.randint(1, 3)
        targets = [*targets, f"{name}.go"]
    services["b"] |= {"replicas": 2, "balance": chance.choice(("random", "least_pending"))}
    timeout = chance.choice((2, 4, 7, 1000))
    document = {
        "version": 1,
        "name": "world",
        "services": services,
        "load": {"rate": "100/s", "entries": [{"call": "a.go", "timeout": f"{timeout}ms"}]},
        "faults": [{"error": "10%", "at": {"service": "c"}}],
    }
    return parse_text(yaml.safe_dump(document))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_meets_everything_that_began_ends(seed: int) -> None:
    statuses: Counter[Status | None] = Counter()
    for number in range(25):
        found = run(world(Random(f"{seed}/{number}")), requests=12, every_ms=1)
        result = found.result
        statuses.update(outcome.status for outcome in result.outcomes)
        marks = Counter(line.split()[1][0] for line in found.log)
        assert marks["["] == marks["]"] == found.counted("handled")
        assert marks["{"] == marks["}"]
        assert found.counted("open_handlers") == 0
        produced = sum((replica.wire.produced for replica in result.replicas), start=Counter())
        consumed = sum((replica.wire.consumed for replica in result.replicas), start=Counter())
        assert produced == consumed
    assert statuses.keys() == {Status.OK, Status.ERROR, Status.TIMEOUT}
