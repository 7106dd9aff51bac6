"""What ps, kcat, gRPC's reflection and a browser see while a run goes on."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import grpc
import psutil
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from hopbench.exits import Exit
from services.scenario.file.parser import load
from services.scenario.names import camel
from services.scenario.tree import operations
from tests.faults.harness import Bench, Site, alive

pytestmark = pytest.mark.slow

SHORT = ("--variant", "baseline", "--warmup", "500ms", "--duration", "4s", "--out", "run")


def observed(site: Site, name: str, look: Callable[[Bench], None], *more: object) -> None:
    """Look at a bundled scenario that runs, and stop it."""
    bench = site.start("run", name, *SHORT, *more)
    bench.until("measuring")
    look(bench)
    bench.signal(signal.SIGINT)
    assert bench.end().code == Exit.INTERRUPTED


def test_ps_shows_a_process_for_each_replica_and_one_locust(site: Site) -> None:
    def look(bench: Bench) -> None:
        pids = ",".join(map(str, alive(bench.site)))
        shown = subprocess.run(
            ["ps", "-ww", "-o", "args=", "-p", pids], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        titles = [line.strip().removeprefix("hopbench: ") for line in shown]
        for service in load("orders").scenario.services.values():
            for replica in range(service.replicas):
                assert titles.count(f"{service.name}/{replica}") == 1, titles
        assert sum("locust" in title for title in titles) == 1, titles

    observed(site, "orders", look)


def test_kcat_lists_the_topics_of_a_run(site: Site) -> None:
    kcat = shutil.which("kcat") or shutil.which("kafkacat")
    if kcat is None:
        pytest.skip("kcat is not installed")

    def look(bench: Bench) -> None:
        environment = json.loads((bench.run / "environment.json").read_bytes())
        told = subprocess.run(
            [kcat, "-b", environment["broker_address"], "-L", "-J"],
            capture_output=True,
            check=True,
            timeout=20,
        ).stdout
        topics = {topic["topic"]: len(topic["partitions"]) for topic in json.loads(told)["topics"]}
        for name in ("order.placed", "payment.requested", "shipping.due", "notify.customer"):
            assert topics[name] == 4

    observed(site, "orders", look)


def test_reflection_lists_each_operation_and_locust_answers_on_its_web_port(site: Site) -> None:
    port = free_port()

    def look(bench: Bench) -> None:
        scenario = load("protocols").scenario
        (catalog,) = [op for service, op in operations(scenario) if service.name == "catalog"]
        listed = reflected(bench.pid_of("hopbench: catalog/0"))
        assert listed["hopbench.v1.Catalog"] == [camel(catalog.name)]
        assert "grpc.health.v1.Health" in listed

        open_ = build_opener(ProxyHandler({})).open
        with open_(f"http://127.0.0.1:{port}/", timeout=10) as page:
            assert b"<title>Locust</title>" in page.read()

        def counted() -> bool | None:
            with open_(f"http://127.0.0.1:{port}/stats/requests", timeout=10) as answer:
                total = next(
                    each for each in json.load(answer)["stats"] if each["name"] == "Aggregated"
                )
            return True if total["num_requests"] > 0 and total["num_failures"] == 0 else None

        bench.wait("request in Locust's table", counted)

    observed(site, "protocols", look, "--web", port)
    with pytest.raises(URLError):
        build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/", timeout=10)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def reflected(pid: int) -> dict[str, list[str]]:
    """Services and their methods, as the gRPC port of a process tells."""
    ports = [
        each.laddr.port
        for each in psutil.Process(pid).net_connections("tcp")
        if each.status == psutil.CONN_LISTEN
    ]
    assert ports
    refusals = []
    for port in ports:
        with grpc.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]
        ) as channel:
            try:
                database = ProtoReflectionDescriptorDatabase(channel)
                names = list(database.get_services())
            except grpc.RpcError as error:  # the HTTP port
                refusals.append(error)
                continue
            pool = DescriptorPool(database)
            return {
                name: [method.name for method in pool.FindServiceByName(name).methods]
                for name in names
            }
    raise AssertionError(refusals)
