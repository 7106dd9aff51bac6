"""Whether processes that were started listen and answer, each on every port that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from services.errors import CannotStart
from services.node.forks import Child
from services.process.orders import Listening, Ready
from services.system.children import ending
from services.wire.ports import Address

START_BOUND_S: Final = 20.0
"""A process that does not listen and answer within it has not come up."""
SERVICE_BOUND_S: Final = 0.05
"""Beside that for each service in it."""
_END_S: Final = 2.0
"""From the end of its channel to its own."""
_AT_ONCE: Final = 32
"""Services that are asked together."""


async def come_up(children: Sequence[Child]) -> None:
    """Wait for all of them, and keep what they said. Raises CannotStart for the first that does
    not come up, in an ExceptionGroup."""
    turn = asyncio.Semaphore(_AT_ONCE)
    timeout = ClientTimeout(total=START_BOUND_S)
    async with (
        ClientSession(timeout=timeout, trust_env=False) as session,
        asyncio.TaskGroup() as group,
    ):
        for child in children:
            group.create_task(_come_up(child, session, turn))


async def _come_up(child: Child, session: ClientSession, turn: asyncio.Semaphore) -> None:
    ready = asyncio.create_task(child.channel.receive(Ready))
    over: set[asyncio.Future[Any]] = {ready, child.exit}
    bound_s = START_BOUND_S + SERVICE_BOUND_S * len(child.pack.replicas)
    await asyncio.wait(over, timeout=bound_s, return_when=asyncio.FIRST_COMPLETED)
    message = ready.result() if ready.done() else None
    ready.cancel()
    if message is None:
        how = await _exit_soon(child) if ready.done() else f"did not come up in {bound_s:g} s"
        raise CannotStart(child.name, how, child.tail())
    if message.error is not None:
        raise CannotStart(child.name, message.error, child.tail(), message.hint)
    child.listening = message.replicas

    async def ask(replica: Listening) -> None:
        async with turn:
            await _answers(replica.address, session)

    try:
        async with asyncio.TaskGroup() as group:
            for replica in child.listening:
                group.create_task(ask(replica))
    except* (ClientError, TimeoutError, _NoAnswer) as errors:
        first = errors.exceptions[0]
        raise CannotStart(child.name, f"does not answer: {first}", child.tail()) from first


async def _exit_soon(child: Child) -> str:
    """How it ended, a moment after its channel closed; it may live on all the same."""
    try:
        async with asyncio.timeout(_END_S):
            return f"ended while starting ({ending(await asyncio.shield(child.exit))})"
    except TimeoutError:
        return f"closed its channel while starting, and has not ended in {_END_S:g} s"


async def _answers(address: Address, session: ClientSession) -> None:
    """One request to each of these ports: any HTTP answer, and gRPC's health service."""
    if (port := address.ports.get("http")) is not None:
        async with session.get(f"http://{address.host}:{port}/health"):
            pass
    if (port := address.ports.get("grpc")) is not None:
        await _answers_grpc(f"{address.host}:{port}")


class _NoAnswer(Exception):
    pass


async def _answers_grpc(target: str) -> None:
    # Half of what a node would import, for scenarios that have an edge over gRPC.
    import grpc  # noqa: PLC0415

    options = [("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(target, options=options) as channel:
        # An empty HealthCheckRequest asks for the whole server.
        check = channel.unary_unary("/grpc.health.v1.Health/Check", bytes, bytes)
        try:
            await check(b"", timeout=START_BOUND_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise _NoAnswer(error.details() or error.code().name) from error
