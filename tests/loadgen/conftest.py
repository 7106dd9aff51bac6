from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.wire.ports import Address


@dataclass(frozen=True, slots=True)
class Shop:
    address: Address
    heads: Path

    def received(self) -> list[dict[str, Any]]:
        """What it was sent so far, in order of arrival."""
        return [json.loads(line) for line in self.heads.read_text().splitlines()]


@pytest.fixture(scope="package")
def open_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A callee in a process of its own (tests/loadgen/server.py), for all tests here."""
    heads = tmp_path_factory.mktemp("shop") / "heads.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.loadgen.server", str(heads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ports = json.loads(process.stdout.readline())
            yield Shop(Address("127.0.0.1", ports), heads)
        finally:
            process.stdin.close()
            process.wait(timeout=20)


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    """The callee, with nothing received so far."""
    os.truncate(open_shop.heads, 0)
    return open_shop
