"""What gRPC alone promises."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from services.pb import hop_pb2
from services.transports.site import Hooks
from services.wire import ticket
from services.wire.ports import Reply, Status
from tests.transports.build import Recorder, Run, Running, Stuck, outgoing, running, wire

ROOT = Path(__file__).parents[2]


def target(it: Running, service: str = "b") -> str:
    return f"127.0.0.1:{it.addresses[service][0].ports['grpc']}"


def test_a_deadline_that_passes_cancels_the_handler(run: Run) -> None:
    async def main() -> None:
        stuck = Stuck()
        to = wire("grpc")
        async with running(to, handler=stuck) as it:
            call = it.transport.call(outgoing(to, timeout_ns=50_000_000))
            assert (await call).status is Status.TIMEOUT
            await stuck.cancelled.wait()

    run(main)


def test_reflection_lists_each_operation_with_its_messages(run: Run) -> None:
    """As grpcurl does it: list services, describe one, build a request out of the description."""

    def look(address: str) -> tuple[list[str], dict[str, tuple[str, list[str]]]]:
        with grpc.insecure_channel(address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            services = sorted(database.get_services())
            service = DescriptorPool(database).FindServiceByName("hopbench.v1.OrderBook")
            return services, {
                method.full_name: (
                    method.output_type.full_name,
                    [field.name for field in method.input_type.fields],
                )
                for method in service.methods
            }

    async def main() -> None:
        wires = [
            wire("grpc", "order-book.place-order"),
            wire("grpc", "order-book.cancel", index=1),
        ]
        async with running(*wires) as it:
            services, methods = await asyncio.to_thread(look, target(it, "order-book"))
        assert services == [
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
            "hopbench.v1.OrderBook",
        ]
        messages = ("hopbench.v1.HopReply", ["payload", "key"])
        assert methods == {
            "hopbench.v1.OrderBook.PlaceOrder": messages,
            "hopbench.v1.OrderBook.Cancel": messages,
        }

    run(main)


@pytest.mark.parametrize("service", ["", "hopbench.v1.B"])
def test_health_answers_serving(service: str, run: Run) -> None:
    async def main() -> None:
        async with running(wire("grpc")) as it, grpc.aio.insecure_channel(target(it)) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

    run(main)


@pytest.mark.parametrize(
    ("metadata", "code"),
    [((), grpc.StatusCode.OK), (((ticket.HEADER, "none"),), grpc.StatusCode.INVALID_ARGUMENT)],
)
def test_a_person_with_grpcurl_gets_an_answer(
    metadata: tuple[tuple[str, str], ...], code: grpc.StatusCode, run: Run
) -> None:
    async def main() -> None:
        recorder = Recorder()
        async with (
            running(wire("grpc"), recorder=recorder) as it,
            grpc.aio.insecure_channel(target(it)) as channel,
        ):
            call = channel.unary_unary(
                "/hopbench.v1.B/Reserve",
                request_serializer=hop_pb2.HopRequest.SerializeToString,
                response_deserializer=hop_pb2.HopReply.FromString,
            )(hop_pb2.HopRequest(payload=b"abc", key=""), metadata=metadata)
            assert await call.code() is code
        assert [(i.request_bytes, i.key) for _, i in recorder.seen] == [(3, "")] * (
            code is grpc.StatusCode.OK
        )

    run(main)


def test_interceptors_of_an_instrumentation_see_each_call(run: Run) -> None:
    seen: list[str] = []

    class Client(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]  # only in stubs
        async def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
            seen.append(f"client {bytes(details.method).decode()}")
            return await continuation(details, request)

    class Server(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # only in stubs
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            seen.append(f"server {details.method}")
            return await continuation(details)

    async def main() -> None:
        to = wire("grpc")
        hooks = Hooks(
            grpc_client_interceptors=(Client(),),
            grpc_server_interceptors=(Server(),),
        )
        async with running(to, hooks=hooks) as it:
            assert await it.transport.call(outgoing(to)) == Reply(Status.OK, 20)
        assert seen == ["client /hopbench.v1.B/Reserve", "server /hopbench.v1.B/Reserve"]

    run(main)


def test_a_proxy_from_the_environment_stays_out_of_the_way() -> None:
    """In a process of its own, because gRPC reads the environment once."""
    script = """
import asyncio
from tests.transports.build import outgoing, running, wire

async def main():
    to = wire("grpc")
    async with running(to) as it:
        print((await it.transport.call(outgoing(to))).status.name)

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"http_proxy": "http://192.0.2.1:9", "grpc_proxy": "http://192.0.2.1:9"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "OK\n"


def test_the_stubs_are_what_the_proto_file_says(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "-I", "proto"),
            *(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "proto/hop.proto"),
        ],
        cwd=ROOT,
        check=True,
    )
    for made in ("hop_pb2.py", "hop_pb2.pyi"):
        assert (ROOT / "services/pb" / made).read_text() == (tmp_path / made).read_text()
