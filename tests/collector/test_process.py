"""The collector as a process: ports, signals, and the death of whoever started it."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import grpc
import orjson
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from hopbench.collector.server import Ready, collecting
from hopbench.collector.spool import read_spool
from hopbench.host.ports import listen
from services import codec
from services.errors import CannotStart
from tests.collector.conftest import Running

PARENT = """
import os, subprocess, sys
process = subprocess.Popen(
    [sys.executable, "-m", "hopbench.collector.server", "--out", sys.argv[1],
    f"--parent={os.getpid()}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    start_new_session=True)
print(process.pid, process.stdout.readline().decode().strip(), flush=True)
sys.stdin.read()
"""


def _second(first: Running, argument: str) -> tuple[int, str]:
    """Exit code and words of another collector, started beside the first."""
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hopbench.collector.server",
            f"--out={first.out / 'second'}",
            f"--parent={os.getpid()}",
            argument,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        return process.wait(30), process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_asked(collector: Running, number: signal.Signals) -> None:
    collector.process.send_signal(number)
    assert collector.process.wait(10) == 0


def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline().split()[0])
        watched = os.pidfd_open(pid)
        parent.kill()
        parent.wait()
        # A pidfd becomes readable when its process has ended.
        assert select.select([watched], [], [], 10)[0]
        os.close(watched)


def test_a_taken_port_is_told_with_its_holder_and_the_flag(collector: Running) -> None:
    status, said = _second(collector, f"--http-port={collector.http_port}")
    assert status == 5
    assert f"port {collector.http_port} is taken by pid {collector.process.pid}" in said
    assert "--http-port" in said


@pytest.mark.slow
def test_two_collectors_never_share_a_grpc_port(collector: Running) -> None:
    status, said = _second(collector, f"--grpc-port={collector.grpc_port}")
    assert status == 5
    assert f"port {collector.grpc_port} is taken" in said


def test_a_collector_that_cannot_start_holds_nothing(tmp_path: Path) -> None:
    with listen("x", "127.0.0.1", 0, "--x") as held:
        taken = held.getsockname()[1]

        async def start() -> None:
            async with collecting(tmp_path, grpc_port=taken, http_port=0):
                raise AssertionError("started on a taken port")

        before = len(os.listdir("/dev/fd"))
        with pytest.raises(CannotStart, match=f"port {taken} is taken"):
            asyncio.run(start())
        assert len(os.listdir("/dev/fd")) == before


def _loopback_of_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not _loopback_of_ipv6(), reason="this machine has no IPv6 loopback")
def test_on_an_ipv6_address_it_listens_for_both_protocols(tmp_path: Path) -> None:
    line = ["hopbench", "collect", f"--out={tmp_path}", "--host=::1", "--json=-"]
    with subprocess.Popen(
        [sys.executable, "-m", *line, "--grpc-port=0", "--http-port=0"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        ready = codec.decode(Ready, process.stdout.readline())
        span = ExportTraceServiceRequest()
        span.resource_spans.add().scope_spans.add().spans.add(
            trace_id=b"\1" * 16, span_id=b"\2" * 8
        )
        with grpc.insecure_channel(f"[::1]:{ready.grpc_port}") as channel:
            export = channel.unary_unary(
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export", None, None
            )
            export(span.SerializeToString(), timeout=10)
        url = f"http://[::1]:{ready.http_port}/v1/traces"
        request = Request(url, span.SerializeToString(), {"Content-Type": "application/x-protobuf"})
        with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    assert len(list(read_spool(tmp_path / "traces.otlp"))) == 2


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
from hopbench.collector.server import main
sys.exit(main())
"""


def test_a_full_disk_is_answered_with_unavailable_and_ends_a_collector_of_a_round(
    tmp_path: Path,
) -> None:
    span = ExportTraceServiceRequest()
    span.resource_spans.add().scope_spans.add().spans.add(
        trace_id=b"\1" * 16, span_id=b"\2" * 8, name="x" * 600
    )
    with subprocess.Popen(
        [sys.executable, "-c", LIMITED, f"--out={tmp_path}", f"--parent={os.getpid()}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = orjson.loads(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{ready['grpc_port']}") as channel:
            export = channel.unary_unary(
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export", None, None
            )
            export(span.SerializeToString(), timeout=10)
            with pytest.raises(grpc.RpcError) as raised:
                export(span.SerializeToString(), timeout=10)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert process.wait(10) == 5
        assert "cannot write to" in process.stderr.read().decode()
    assert list(read_spool(tmp_path / "traces.otlp")) == [span.SerializeToString()]
