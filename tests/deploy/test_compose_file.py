"""The Compose files: the one at the root, and those that are rendered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hopbench.deploy import compose_file, containers
from hopbench.deploy.compose_run import mounted, shown
from hopbench.deploy.preparation import by_default
from hopbench.exits import Exit
from services.scenario.file.parser import bundled, load, parse_text
from services.scenario.model import Scenario
from services.scenario.refactors import BASELINE, apply
from services.wire.topology import topology, uses_kafka
from tests.command_line import Hopbench

ROOT = Path(__file__).parents[2]
AWKWARD = """\
version: 1
name: awkward
description: costs $5, or ${HOME}
services:
  kafka: {operations: {run: [{call: end-.run, id: a}]}}
  end-: {operations: {run: [{sleep: 1ms}]}}
load: {rate: 10/s, duration: 1s, warmup: 0s, entry: kafka.run}
"""


def variants(scenario: Scenario) -> list[Scenario]:
    return [apply(scenario, name) for name in (BASELINE, *scenario.variants)]


def rooted() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return {name: value for name, value in found.items() if not name.startswith("x-")}


def rendered(source: str) -> dict[str, Any]:
    loaded = load(source)
    made = by_default(loaded, "compose", 1)
    found: dict[str, Any] = yaml.safe_load(
        compose_file.render(made, loaded.scenario.name, loaded.text)
    )
    return found


def files() -> dict[str, dict[str, Any]]:
    return {"docker-compose.yml": rooted()} | {name: rendered(name) for name in bundled()}


FILES = files()


def alike(service: dict[str, Any]) -> dict[str, Any]:
    """Whatever way its command and the order of its environment are written."""
    command = service.get("command", [])
    words = command.split() if isinstance(command, str) else command
    nodes = service.get("environment", {}).get("HOPBENCH_NODES", "")
    return service | {"command": words, "nodes": sorted(nodes.strip().split(","))}


def test_the_file_at_the_root_is_what_would_be_rendered_for_all_bundled_scenarios() -> None:
    scenarios = [variant for name in bundled() for variant in variants(load(name).scenario)]
    made = containers.deployment(scenarios, engine="compose", outside=compose_file.KAFKA_OUTSIDE)
    document = compose_file.document(
        made.running("${SCENARIO:-checkout}"), name="hopbench", build=Path()
    )
    root = rooted()
    assert root["name"] == document["name"]
    assert root["networks"] == document["networks"]
    assert root["services"].keys() == document["services"].keys()
    for name, service in document["services"].items():
        wanted, found = alike(service), alike(root["services"][name])
        if name == "bench":
            # What Compose splits into words after it has put variables in.
            command = [word.replace("$$", "$") for word in wanted["command"]]
            assert sorted(found.pop("command")) == sorted([*command, "${HOPBENCH_ARGS:-}"])
            wanted.pop("command")
            wanted["environment"].pop("HOPBENCH_NODES")
            found["environment"].pop("HOPBENCH_NODES")
        assert found == wanted, name


@pytest.mark.parametrize("file", FILES)
def test_every_container_is_hardened(file: str) -> None:
    for name, service in FILES[file]["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"].endswith("m"), name
        assert "/tmp" in service["tmpfs"], name
        assert not service.get("privileged"), name
        inlined = name == "bench" and "configs" in service
        assert service["read_only"] is not inlined, name
        assert all("docker.sock" not in str(volume) for volume in service.get("volumes", ()))
        if name == "bench":
            assert service["cap_add"] == ["SETUID", "SETGID"]
            assert service["user"] == "0:0"
            assert service["command"][:4] == [
                "python",
                "-m",
                "hopbench.deploy.inside.owner",
                "/runs",
            ] or (
                service["command"].startswith(
                    "python -m hopbench.deploy.inside.owner /runs -- hopbench run "
                )
            )
        else:
            assert "cap_add" not in service, name
            if "hopbench" in service["image"]:
                uid, _, gid = service["user"].partition(":")
                assert int(uid) > 0
                assert int(gid) > 0


@pytest.mark.parametrize("file", FILES)
def test_ports_are_published_on_loopback_alone_and_by_few(file: str) -> None:
    services = FILES[file]["services"]
    published = {name for name, service in services.items() if "ports" in service}
    assert published == {"jaeger", "locust"} | ({"kafka"} & services.keys())
    for name, service in services.items():
        assert "network_mode" not in service
        assert all(port.startswith("127.0.0.1:$") for port in service.get("ports", ()))
        # Without a port there is no way out, nor in.
        assert service["networks"] == (["inside", "outside"] if name in published else ["inside"])
    assert FILES[file]["networks"]["inside"] == {"internal": True}


@pytest.mark.parametrize("file", FILES)
def test_up_pulls_no_image_of_ours_and_shows_no_server_s_log(file: str) -> None:
    for name, service in FILES[file]["services"].items():
        ours = "hopbench" in service["image"]
        assert service.get("pull_policy") == ("never" if ours else None), name
        assert service.get("attach", True) is (name not in ("kafka", "jaeger")), name


@pytest.mark.parametrize("name", bundled())
def test_what_is_rendered_has_what_the_scenario_needs(name: str) -> None:
    scenario = load(name).scenario
    services = FILES[name]["services"]
    assert ("kafka" in services) is any(uses_kafka(topology(v)) for v in variants(scenario))
    wanted = {service for variant in variants(scenario) for service in variant.services}
    assert wanted <= services.keys()
    nodes = dict(
        entry.split("=") for entry in services["bench"]["environment"]["HOPBENCH_NODES"].split(",")
    )
    assert nodes == {service: f"{service}:7070" for service in wanted}
    assert services["bench"]["depends_on"].keys() == services.keys() - {"bench"}
    assert FILES[name]["configs"]["scenario"]["content"].replace("$$", "$") == bundled()[name]


def test_a_service_named_like_a_part_gets_another_host_name(tmp_path: Path) -> None:
    file = tmp_path / "awkward.yaml"
    file.write_text(AWKWARD, "utf-8")
    document = rendered(str(file))
    assert {"kafka-node", "end-node"} <= document["services"].keys()
    assert "kafka" not in document["services"]
    nodes = document["services"]["bench"]["environment"]["HOPBENCH_NODES"]
    assert nodes == "kafka=kafka-node:7070,end-=end-node:7070"


def test_a_dollar_in_a_scenario_is_no_variable(tmp_path: Path) -> None:
    file = tmp_path / "awkward.yaml"
    file.write_text(AWKWARD, "utf-8")
    content = rendered(str(file))["configs"]["scenario"]["content"]
    assert "costs $$5, or $${HOME}" in content
    assert parse_text(content.replace("$$", "$")) == parse_text(AWKWARD)


def test_a_long_run_gets_a_jaeger_that_holds_it(tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    file.write_text(bundled()["chatty"].replace("duration: 10s", "duration: 60min"), "utf-8")
    services = rendered(str(file))["services"]
    usual = FILES["chatty"]["services"]
    assert int(services["jaeger"]["mem_limit"][:-1]) > int(usual["jaeger"]["mem_limit"][:-1])
    most = int(services["bench"]["environment"]["HOPBENCH_JAEGER_MAX_TRACES"])
    assert most > 2 * 100 * 3600 * 0.5
    assert services["jaeger"]["command"][0].endswith(f"max_traces={most}")


def test_render_writes_a_new_file_and_no_other(tmp_path: Path, hopbench: Hopbench) -> None:
    command = ["render", "compose", "chatty", "--workers", "3", "-o", "compose.yaml"]
    done = hopbench(*command)
    assert done.code == Exit.DONE
    assert "docker compose -f compose.yaml up" in done.err
    file = tmp_path / "compose.yaml"
    assert yaml.safe_load(file.read_text("utf-8"))["services"]["locust-worker"]["scale"] == 3
    again = hopbench(*command)
    assert again.code == Exit.BAD_INPUT
    assert "exists already" in again.err
    unknown = hopbench("render", "swarm", "chatty")
    assert unknown.code == Exit.BAD_INPUT
    assert "swarm" in unknown.err


def test_run_directories_are_where_the_caller_expects_them(tmp_path: Path) -> None:
    near = mounted(Path("runs/one"))
    assert near.host == str(Path("runs/one").resolve())
    assert (near.working, near.container) == ("/here", "/here/runs/one")
    assert shown(Path("runs/one")) == "runs/one"
    far = mounted(tmp_path / "two")
    assert far.host == far.container == str((tmp_path / "two").resolve())
    above = Path("../three")
    assert mounted(above).container == shown(above) == str(above.resolve())
