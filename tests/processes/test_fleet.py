"""Rounds on attached parts: nodes with addresses of their own, a Locust master and its workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from hopbench.engines.attached.engine import FleetParts, spread
from hopbench.engines.port import Evidence, RoundPlan
from hopbench.engines.wall.engine import WallEngine
from services.errors import CannotStart
from services.scenario.file.parser import load
from services.scenario.packing import Pack
from services.system.endpoints import Endpoint
from tests.fleet import Fleet, Member, fleet
from tests.processes.conftest import SCENARIO, plan, settings
from tests.processes.test_round import run
from tests.titles import title

DRAWN = SCENARIO.replace("replicas: 2", "replicas: 2\n    balance: random")
"""One request asks the same replica in every round; in turn, that hangs on who comes first."""
LONG = SCENARIO.replace("duration: 600ms", "duration: 60s")
WAIT_S = 20.0


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """One that fits the small scenario, for all tests that leave it as it is."""
    directory = tmp_path_factory.mktemp("fleet")
    with fleet(directory, {"order": 1, "inventory": 1, "price": 2}) as found:
        yield found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Fleet]:
    """The same, to be broken."""
    with fleet(tmp_path / "fleet", {"order": 1, "inventory": 1, "price": 2}) as found:
        yield found


Act = Callable[[], None]


async def rounds(
    environment: Mapping[str, str],
    directory: Path,
    *planned: RoundPlan,
    act: Act | None = None,
    between: Act | None = None,
    wait_s: float = WAIT_S,
    engine_name: str = "compose",
) -> list[Evidence]:
    """Rounds of one run; ``act`` is done once in the measured phase of the first, ``between``
    after it."""
    chosen = settings(engine=engine_name)
    engine = WallEngine(chosen, FleetParts(chosen, environment, wait_s))
    done = act is None

    def progress(phase: str, share: float) -> None:
        nonlocal done
        # A little into it, so that something has been measured.
        if not done and phase == "measured" and share > 0.02:
            done = True
            assert act is not None
            act()

    found = []
    try:
        await engine.open(tuple(each.scenario for each in planned), directory)
        for number, each in enumerate(planned):
            if number and between is not None:
                between()
            trial = directory / f"trial-{number}"
            trial.mkdir(parents=True)
            found.append(await engine.round(each, trial, progress))
    finally:
        await engine.close()
    return found


def counted(evidence: Evidence) -> dict[str, tuple[int, int]]:
    """Requests handled and spans ended, by replica."""
    return {f"{p.service}/{p.replica}": (p.handled, p.spans_ended) for p in evidence.processes}


def below(members: list[Member]) -> list[str]:
    """Service processes of nodes, by what they call themselves."""
    return sorted(
        line
        for member in members
        for child in psutil.Process(member.pid).children(recursive=True)
        if "/" in (line := title(child).removeprefix("hopbench: "))
        and not line.startswith(("/", "fork"))
        and "python" not in line
    )


@pytest.mark.slow
def test_a_fleet_makes_the_same_calls_as_processes_of_the_bench(
    small: Fleet, tmp_path: Path
) -> None:
    (tmp_path / "local").mkdir()
    local = run(settings(), plan(DRAWN), tmp_path / "local")
    (attached,) = asyncio.run(rounds(small.environment, tmp_path, plan(DRAWN)))
    assert (attached.broken, attached.undrained) == (None, None)
    assert counted(attached) == counted(local)
    assert attached.spans_received == local.spans_received > 0
    assert (attached.service_pids, attached.locust_pids) == ({}, ())
    host = attached.host
    assert None not in (host.steal_share, host.services_cpu_share, host.generator_cpu_share)
    assert host.foreign_cpu_share is None
    # Every node has sent the logs of what it ran.
    logs = {path.name for path in (tmp_path / "trial-0" / "logs").iterdir()}
    assert {"order-0.log", "inventory-0.log", "price-0.log", "price-1.log"} <= logs


@pytest.mark.slow
def test_replicas_are_spread_over_the_nodes_of_their_service(small: Fleet, tmp_path: Path) -> None:
    seen: dict[str, list[str]] = {}

    def look() -> None:
        for name, members in small.nodes.items():
            for number, member in enumerate(members):
                seen[f"{name}-{number}"] = below([member])

    asyncio.run(rounds(small.environment, tmp_path, plan(), act=look))
    assert seen == {
        "order-0": ["order/0"],
        "inventory-0": ["inventory/0"],
        "price-0": ["price/0"],
        "price-1": ["price/1"],
    }


def service(member: Member, name: str) -> int:
    """Pid of a service process of the node."""
    (pid,) = [
        child.pid
        for child in psutil.Process(member.pid).children(recursive=True)
        if f"hopbench: {name}" in title(child)
    ]
    return pid


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "told"),
    [
        ("service", "inventory/0 died (SIGKILL)"),
        ("node", "node inventory is gone"),
        ("worker-0", "locust"),
        ("master", "locust"),
    ],
)
def test_a_part_that_dies_ends_the_round_and_the_next_one_finds_it_again(
    own: Fleet, tmp_path: Path, victim: str, told: str
) -> None:
    node = own.nodes["inventory"][0]

    def kill() -> None:
        if victim == "service":
            os.kill(service(node, "inventory/0"), signal.SIGKILL)
        else:
            (node if victim == "node" else own.locust[victim]).kill()

    def heal() -> None:
        if victim == "node":
            own.restart(node)
        elif victim != "service":
            own.locust[victim].start()

    broken, whole = asyncio.run(
        rounds(own.environment, tmp_path, plan(LONG), plan(round_=1), act=kill, between=heal)
    )
    assert broken.broken is not None
    assert told in broken.broken
    assert broken.spans_received > 0
    assert list((tmp_path / "trial-0").glob("samples*.spool"))
    assert (whole.broken, whole.undrained) == (None, None)
    assert below([member for members in own.nodes.values() for member in members]) == []


@pytest.mark.slow
def test_a_node_that_is_not_there_or_takes_another_token_is_told(
    small: Fleet, tmp_path: Path
) -> None:
    own = small.environment
    with pytest.raises(CannotStart) as raised:
        asyncio.run(rounds({**own, "HOPBENCH_TOKEN": "another"}, tmp_path / "a", plan()))
    assert "HOPBENCH_TOKEN" in (raised.value.hint or "")
    nobody = f"{own['HOPBENCH_NODES']},order=127.0.0.1:1"
    with pytest.raises(CannotStart) as raised:
        asyncio.run(rounds({**own, "HOPBENCH_NODES": nobody}, tmp_path / "b", plan(), wait_s=0.5))
    assert raised.value.part == "node order"
    assert "127.0.0.1:1" in raised.value.text
    unknown = own["HOPBENCH_NODES"].replace("order=127.0.0.2", "order=nobody.invalid")
    with pytest.raises(CannotStart) as raised:
        asyncio.run(rounds({**own, "HOPBENCH_NODES": unknown}, tmp_path / "c", plan(), wait_s=0.5))
    assert "nobody.invalid" in raised.value.text


@pytest.mark.slow
def test_services_that_share_processes_are_spread_over_the_nodes(
    small: Fleet, tmp_path: Path
) -> None:
    packed = f"processes: 2\n{DRAWN}"
    members = [member for members in small.nodes.values() for member in members]
    seen: list[str] = []
    alone, together = asyncio.run(
        rounds(small.environment, tmp_path / "alone", plan(DRAWN), plan(packed))
    )
    asyncio.run(
        rounds(
            small.environment,
            tmp_path / "packed",
            plan(packed),
            act=lambda: seen.extend(below(members)),
        )
    )
    assert (together.broken, together.undrained) == (None, None)
    assert counted(together) == counted(alone)
    assert seen == ["pack/0 (2 services)", "pack/1 (2 services)"]


@pytest.mark.slow
def test_in_kubernetes_every_replica_waits_for_a_node_of_its_own(
    small: Fleet, tmp_path: Path
) -> None:
    (whole,) = asyncio.run(
        rounds(small.environment, tmp_path / "a", plan(), engine_name="kubernetes")
    )
    assert (whole.broken, whole.undrained) == (None, None)
    one = small.environment["HOPBENCH_NODES"].rpartition(",")[0]
    few = {**small.environment, "HOPBENCH_NODES": one}
    with pytest.raises(CannotStart) as raised:
        asyncio.run(rounds(few, tmp_path / "b", plan(), engine_name="kubernetes", wait_s=0.5))
    assert "has 1 addresses, 2 needed" in raised.value.text


def test_replicas_take_turns_over_nodes_and_packs_over_all_of_them() -> None:
    a, b, c = (Endpoint(f"10.0.0.{number}", 7070) for number in (1, 2, 3))
    x0, x1, x2 = (Pack(f"x/{number}", (("x", number),)) for number in range(3))
    y0 = Pack("y/0", (("y", 0),))
    assert spread([x0, x1, x2, y0], {"x": (a, b), "y": (c,)}) == {a: [x0, x2], b: [x1], c: [y0]}
    # Whatever its first service is: every node takes its share of the processes.
    packs = [
        Pack("pack/0", (("x", 0), ("y", 0))),
        x1,
        Pack("pack/2", (("y", 1), ("x", 2))),
    ]
    assert spread(packs, {"x": (a, b, c), "y": (a, b)}) == {
        node: [pack] for node, pack in zip((a, b, c), packs, strict=True)
    }


@pytest.mark.real
@pytest.mark.timeout(240)
def test_orders_over_a_real_broker_makes_the_same_calls_on_a_fleet(tmp_path: Path) -> None:
    address = os.environ.get("HOPBENCH_TEST_KAFKA")
    if address is None:
        pytest.skip("HOPBENCH_TEST_KAFKA=HOST:PORT names no broker")
    found = {}
    scenario = load("orders").scenario
    with fleet(tmp_path / "fleet", dict.fromkeys(scenario.services, 1)) as own:
        for engine in ("local", "compose"):
            run_ = tmp_path / engine
            command = [sys.executable, "-m", "hopbench", "run", "orders", "--broker", address]
            command += ["--engine", engine, "--duration", "5s", "--warmup", "1s"]
            done = subprocess.run(
                [*command, "--variant", "baseline", "--out", str(run_), "--json", "-", "--quiet"],
                env={**os.environ, **own.environment},
                capture_output=True,
                timeout=100,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            summary = orjson.loads(done.stdout)
            (trial,) = summary["trials"]
            assert trial["spans"]["lost"] == 0
            (variant,) = summary["variants"]
            found[engine] = {
                orjson.dumps([one["kind"], one["where"], one["count_per_request"]["p50"]])
                for one in variant["findings"]
            }
    assert found["local"] == found["compose"] != set()


def bench(own: Fleet, directory: Path, source: str) -> subprocess.Popen[bytes]:
    """``hopbench run`` as the bench's container does it."""
    scenario = directory / "small.yaml"
    scenario.write_text(source)
    command = [sys.executable, "-m", "hopbench", "run", str(scenario), "--engine", "compose"]
    return subprocess.Popen(
        [*command, "--out", str(directory / "run"), "--json", "-", "--quiet"],
        stdout=subprocess.PIPE,
        env={**os.environ, **own.environment},
    )


def waited(look: Callable[[], bool], bound_s: float = 40.0) -> bool:
    until = time.monotonic() + bound_s
    while not look():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.slow
def test_a_run_on_a_fleet_says_so(small: Fleet, tmp_path: Path) -> None:
    with bench(small, tmp_path, SCENARIO) as running:
        out, _ = running.communicate(timeout=120)
    assert running.returncode == 0
    summary: dict[str, Any] = orjson.loads(out)
    assert (summary["engine"], summary["clock"]) == ("compose", "wall")
    (trial,) = summary["trials"]
    assert trial["spans"]["lost"] == 0
    assert trial["spans"]["received"] == trial["spans"]["by_scenario"]
    assert (trial["service_pids"], trial["locust_pids"]) == ({}, [])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_bench_ends_the_nodes_end_its_round_and_serve_the_next(
    own: Fleet, tmp_path: Path, number: signal.Signals
) -> None:
    members = [member for members in own.nodes.values() for member in members]
    with bench(own, tmp_path, LONG) as running:
        assert waited(lambda: len(below(members)) == 4)
        assert waited(lambda: any((tmp_path / "run").glob("trials/*/samples*")))
        running.send_signal(number)
        running.communicate(timeout=60)
    assert waited(lambda: not below(members))
    (whole,) = asyncio.run(rounds(own.environment, tmp_path, plan()))
    assert (whole.broken, whole.undrained) == (None, None)
