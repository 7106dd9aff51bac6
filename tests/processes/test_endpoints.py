"""``HOST:PORT``, in one form wherever people and parts name it."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system.endpoints import Endpoint, endpoint, listening, silence


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("localhost:9092", Endpoint("localhost", 9092)),
        ("127.0.0.1:1", Endpoint("127.0.0.1", 1)),
        (" kafka:65535\n", Endpoint("kafka", 65535)),
        ("[::1]:4317", Endpoint("::1", 4317)),
        ("[fe80::1%eth0]:4317", Endpoint("fe80::1%eth0", 4317)),
    ],
)
def test_a_host_and_a_port_are_an_endpoint(text: str, found: Endpoint) -> None:
    assert endpoint(text) == listening(text) == found
    assert str(found) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kafka",
        "kafka:",
        ":9092",
        "kafka:many",
        "kafka:-1",
        "kafka:+1",
        "kafka:1.5",
        "kafka:65536",
        "::1:4317",
        "fe80::1:4317",
        "[::1]",
        "[::1]4317",
        "[::1:4317",
        "::1]:4317",
        "[]:4317",
        "[kafka]:9092",
        "[kafka:9092",
        "kafka]:9092",
        "two words:9092",
        "http://kafka:9092",
        "kafka:9092/path",
    ],
)
def test_what_is_no_host_and_port_is_refused_as_it_was_written(text: str) -> None:
    for read in (endpoint, listening):
        with pytest.raises(ValueError, match="is not HOST:PORT") as raised:
            read(text)
        assert repr(text) in str(raised.value)


def test_only_who_listens_may_leave_the_port_to_the_system() -> None:
    assert listening("127.0.0.1:0") == Endpoint("127.0.0.1", 0)
    assert listening("[::]:0") == Endpoint("::", 0)
    with pytest.raises(ValueError, match=r"'127\.0\.0\.1:0' is not HOST:PORT"):
        endpoint("127.0.0.1:0")


hosts = st.ip_addresses().map(str) | st.from_regex(
    r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z]{1,5})*", fullmatch=True
)


@given(hosts, st.integers(1, 65535))
def test_an_endpoint_is_read_as_it_is_written(host: str, port: int) -> None:
    assert endpoint(str(Endpoint(host, port))) == Endpoint(host, port)


def test_silence_is_told_with_its_reason_and_a_voice_is_none() -> None:
    async def once() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            here = Endpoint("127.0.0.1", server.getsockname()[1])
            assert await silence(here) is None
        assert await silence(here) == "Connection refused"
        assert "unknown host" in (await silence(Endpoint("nobody.invalid", 1)) or "")

    asyncio.run(once())
