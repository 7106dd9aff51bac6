"""Plans: to JSON and back, and where they are looked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadgen.plan import PLAN_VARIABLE, Plan, located, up_file
from services.errors import BadInput
from services.scenario.distributions import (
    Constant,
    Distribution,
    Empirical,
    Exponential,
    LogNormal,
    Percentiles,
    Uniform,
)
from services.scenario.model import Scenario
from services.wire.ports import Address
from tests.loadgen.rig import entry, load, plan

HERE = Address("127.0.0.1", {"http": 8001, "grpc": 8002})


@pytest.mark.parametrize(
    "distribution",
    [
        Constant(5.0),
        Uniform(1.0, 2.0),
        Exponential(3.0),
        LogNormal(100.0, 0.5),
        Percentiles((0.0, 0.5, 1.0), (1.0, 2.0, 9.0)),
        Empirical((1.0, 7.0)),
    ],
)
def test_a_plan_survives_its_file(distribution: Distribution, tmp_path: Path) -> None:
    asked = load(
        entry(request=distribution, keys=9, weight=2.5),
        entry(protocol="grpc", response=distribution, timeout_ms=10),
    )
    written = replace(plan(asked, HERE, tmp_path, seed=2**64 - 1), worker=1, workers=3)
    written.write(tmp_path / "plan.json")
    assert Plan.read(tmp_path / "plan.json") == written


def scenario(**more: Any) -> Scenario:
    made: dict[str, Any] = {
        "name": "shop",
        "description": "",
        "seed": 1,
        "services": {},
        "load": load(),
        "faults": (),
        "variants": {},
        "expectations": (),
    }
    return Scenario(**(made | more))


def test_a_scenario_and_a_directory_make_a_plan(tmp_path: Path) -> None:
    replicas = (HERE, Address("127.0.0.1", {"http": 8003}))
    made = Plan.from_scenario(
        scenario(), 5, {"shop": replicas}, samples=tmp_path / "s", trace_ratio=1.0, trace_salt=3
    )
    assert made == plan(
        load(), HERE, tmp_path, seed=5, trace_ratio=1.0, trace_salt=3,
        addresses=(replicas,), samples=tmp_path / "s",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "directory"),
    [
        ("http", {}),
        ("http", {"shop": (Address("127.0.0.1", {"grpc": 8002}),)}),
        ("grpc", {"shop": (Address("127.0.0.1", {"http": 8001}),)}),
        ("kafka", {"shop": (HERE,)}),
    ],
)
def test_an_entry_without_an_address_is_refused(
    protocol: Any, directory: dict[str, tuple[Address, ...]], tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=f"entry shop.fast: no address for {protocol}"):
        Plan.from_scenario(
            scenario(load=load(entry(protocol=protocol))), 5, directory, samples=tmp_path / "s"
        )


def test_workers_share_the_bound_on_requests_in_flight(tmp_path: Path) -> None:
    whole = plan(load(max_in_flight=10), HERE, tmp_path)
    parts = [replace(whole, worker=k, workers=4).max_in_flight for k in range(4)]
    assert parts == [3, 3, 2, 2]


def test_with_tracing_off_nothing_is_sampled(tmp_path: Path) -> None:
    untraced = plan(load(), HERE, tmp_path, tracing=False, trace_ratio=1.0)
    assert not untraced.schedule().sampled.any()


def mangled(change: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    return plan(load(), HERE, tmp_path).document() | change


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("\x00\x01", "not JSON"),
        ("[]", "this is no plan: .*array"),
        ('{"schema": "hopbench.plan/2"}', "this is no plan: .*'hopbench.plan/2'.*schema"),
        ('{"schema": "hopbench.plan/1"}', "this is no plan: .*missing required field"),
    ],
)
def test_a_file_that_is_no_plan_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=message) as raised:
        Plan.read(path)
    assert raised.value.file == str(path)


def test_a_plan_of_the_wrong_shape_is_refused(tmp_path: Path) -> None:
    whole = mangled({}, tmp_path)
    with pytest.raises(BadInput, match="'speed'"):
        Plan.of({**whole, "load": {**whole["load"], "speed": 3}})
    with pytest.raises(BadInput, match="load lacks 'rate'"):
        Plan.of({**whole, "load": {"entry": "shop.fast"}})
    with pytest.raises(BadInput, match=r"this is no plan: .*seed"):
        Plan.of(mangled({"seed": "seven"}, tmp_path))


def test_a_missing_plan_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read the plan"):
        Plan.read(tmp_path / "none.json")


def test_the_plan_named_in_the_environment_comes_first(tmp_path: Path) -> None:
    assert located({PLAN_VARIABLE: "/x/plan.json"}) == Path("/x/plan.json")


def test_the_file_of_up_is_the_users_own() -> None:
    assert up_file().name == "up.json"
    assert up_file().parent.name == f"hopbench-{os.getuid()}"


def test_what_up_announces_is_what_a_locustfile_finds(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from loadgen.plan import *\n"
        "plan = Plan.read(Path(sys.argv[1])); path = announce(plan)\n"
        "assert located({}) == path == up_file() and Plan.read(path) == plan\n"
        "print(oct(path.parent.stat().st_mode)[-3:], [p.name for p in path.parent.iterdir()])"
    )
    plan(load(), HERE, tmp_path).write(tmp_path / "plan.json")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "plan.json")],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("700 ['up.json']\n", "")


def test_the_file_is_plain_json_with_the_addresses_of_each_entry(tmp_path: Path) -> None:
    document = json.loads(json.dumps(plan(load(), HERE, tmp_path).document()))
    assert document["schema"] == "hopbench.plan/1"
    assert document["addresses"] == [
        [{"host": "127.0.0.1", "ports": {"http": 8001, "grpc": 8002}}] for _ in load().entries
    ]
