"""Containers against local processes: how soon they take requests, and what a hop costs there.

    python -m benchmarks.compose

`docker compose up` of the file at the root, with images present. Targets: from the command to the
first request of the schedule ≤ 30 s on two cores; P50 of a hop at most 15 % above that of local
processes, or by how much. The hops are the six HTTP edges of `chain`; rounds of both kinds
alternate, and the median over rounds is compared. Without Docker it says so, and ends with 0.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson

from hopbench.deploy.containers import JAEGER_IMAGE, KAFKA_IMAGE

ROOT: Final = Path(__file__).parents[1]
PAIRS: Final = 3
FLAGS: Final = ("--variant", "baseline", "--duration", "10s", "--warmup", "2s", "--rate", "30/s")
READY_S: Final = 30.0
MORE: Final = 0.15
IMAGE: Final = "hopbench:benchmark"
PROJECT: Final = "hopbench-benchmark"


def missing() -> str | None:
    """Why containers cannot be measured here; None where they can."""
    if shutil.which("docker") is None or _docker("info").returncode:
        return "no Docker answers"
    for image in ("python:3.12-slim", KAFKA_IMAGE, JAEGER_IMAGE):
        if _docker("image", "inspect", image).returncode:
            return f"the image {image} is not here"
    built = _docker("build", "-q", "-t", IMAGE, str(ROOT))
    return f"the image cannot be built: {built.stderr}" if built.returncode else None


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


def hop_ms(run: Path) -> tuple[float, float]:
    """P50 of a hop's transport (client − server), mean over the edges, and of the whole chain as
    the generator sees it."""
    summary: dict[str, Any] = orjson.loads((run / "summary.json").read_bytes())
    edges = summary["trials"][0]["edges"]
    transport = [edge["tax_ms"]["p50"] for edge in edges]
    return sum(transport) / len(edges), summary["trials"][0]["latency_ms"]["service"]["p50"]


def local(directory: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "hopbench", "run", "chain", "--quiet"]
    subprocess.run(
        [*command, *FLAGS, "--out", str(directory)], check=True, stdout=subprocess.DEVNULL
    )
    return hop_ms(directory)


def composed(directory: Path) -> tuple[tuple[float, float], float]:
    """The hop, and seconds from the command to the first request."""
    runs = directory / "runs"
    runs.mkdir(parents=True)
    ports = {f"HOPBENCH_{name}_PORT": str(_free()) for name in ("KAFKA", "JAEGER", "LOCUST")}
    environment = {
        **os.environ,
        **ports,
        "HOPBENCH_IMAGE": IMAGE,
        "SCENARIO": "chain",
        "HOPBENCH_ARGS": " ".join(FLAGS),
    }
    command = ["docker", "compose", "-p", PROJECT, "-f", str(ROOT / "docker-compose.yml")]
    command += ["--project-directory", str(directory)]
    begun_ns = time.monotonic_ns()
    try:
        subprocess.run(
            [*command, "up", "--abort-on-container-exit", "--exit-code-from", "bench"],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
    finally:
        subprocess.run(
            [*command, "down", "-v", "--timeout", "2"],
            env=environment,
            capture_output=True,
            check=False,
        )
    (run,) = runs.iterdir()
    (trial,) = (run / "trials").glob("*/trial.json")
    # Containers of one host share its CLOCK_MONOTONIC.
    start_ns = orjson.loads(trial.read_bytes())["evidence"]["start_ns"]
    return hop_ms(run), (start_ns - begun_ns) / 1e9


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def main() -> int:
    if (why := missing()) is not None:
        print(f"skipped: {why}")
        return 0
    here, there, ready = [], [], []
    with tempfile.TemporaryDirectory(prefix="hopbench-compose-") as directory:
        for pair in range(PAIRS):
            here.append(local(Path(directory) / f"local-{pair}"))
            hop, seconds = composed(Path(directory) / f"compose-{pair}")
            there.append(hop)
            ready.append(seconds)
    print(f"`chain`, six HTTP hops, {PAIRS} rounds each, {os.cpu_count()} cores")
    first = median(ready)
    print(f"  docker compose up to the first request   {first:6.1f} s   target ≤ {READY_S:g}")
    for index, name in enumerate(("transport of a hop, P50 ", "whole chain, service P50")):
        a, b = median(one[index] for one in here), median(one[index] for one in there)
        print(f"  {name}   local {a:7.3f} ms   compose {b:7.3f} ms   {b / a - 1:+.1%}")
    print(f"  target: at most {MORE:+.0%}, or said by how much, as here")
    return 0 if first <= READY_S else 1


if __name__ == "__main__":
    sys.exit(main())
