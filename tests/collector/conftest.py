"""A collector in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

import orjson
import pytest


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[bytes]
    out: Path
    grpc_port: int
    http_port: int

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http_port}{path}"

    def counts(self) -> dict[str, int]:
        with build_opener(ProxyHandler({})).open(Request(self.url("/hopbench/counts"))) as answer:
            counts: dict[str, int] = orjson.loads(answer.read())
            return counts


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Running]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hopbench.collector.server",
            f"--out={tmp_path}",
            f"--parent={os.getpid()}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        ready = orjson.loads(process.stdout.readline())
        yield Running(process, tmp_path, ready["grpc_port"], ready["http_port"])
        process.terminate()
