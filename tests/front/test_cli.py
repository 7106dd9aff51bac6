"""From a command line to an exit code and, with ``--json``, a document. Nothing is started."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from hopbench import cli
from hopbench.exits import Exit, Terminated
from services.errors import CannotStart
from tests.documents import conforms

SCENARIO = """\
version: 1
name: mine
services:
  order: {operations: {create: [{call: stock.take, count: 3}]}}
  stock: {operations: {take: [{sleep: 1ms}]}}
load: {rate: 50/s, entry: order.create}
variants:
  batched: {refactors: [{op: batch, edge: order->stock.take, size: 3}]}
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIO)
    return path


BAD: list[tuple[list[str], str]] = [
    (["run", "nosuch"], "nosuch"),
    (["run"], "which scenario"),
    (["run", "FILE", "--variant", "bached"], "bached"),
    (["run", "FILE", "--engine", "virtul"], "virtul"),
    (["run", "FILE", "--engine", "compose", "--broker", "kafka:9092"], "container of its own"),
    (["run", "FILE", "--keep"], "about containers"),
    (["run", "FILE", "--engine", "kubernetes"], "HOPBENCH_NODES"),
    (["run", "FILE", "--jaeger", "127.0.0.1:16686"], "no URL of a Jaeger"),
    (["run", "FILE", "--jaeger", "http://127.0.0.1:99999"], "--jaeger"),
    (["run", "FILE", "--jaeger", "http://127.0.0.1:1", "--jaeger-otlp", "4317"], "HOST:PORT"),
    (["run", "FILE", "--jaeger-otlp", "127.0.0.1:4317"], "belongs to --jaeger"),
    (["run", "FILE", "--jaeger", "http://127.0.0.1:1", "--engine", "virtual"], "--jaeger"),
    (["run", "FILE", "--engine", "virtual", "--workers", "2"], "--workers"),
    (["run", "FILE", "--rate", "fast"], "--rate"),
    (["run", "FILE", "--rate", "0/s"], "--rate"),
    (["run", "FILE", "--duration", "20"], "--duration"),
    (["run", "FILE", "--trace-ratio", "1.5"], "--trace-ratio"),
    (["run", "FILE", "--tracing", "maybe"], "--tracing"),
    (["run", "FILE", "--instrumentation", "mine"], "--instrumentation"),
    (["run", "FILE", "--broker", "somewhere"], "--broker"),
    (["run", "FILE", "--broker", "kafka:"], "--broker"),
    (["run", "FILE", "--broker", ":9092"], "--broker"),
    (["run", "FILE", "--broker", "kafka:many"], "--broker"),
    (["run", "FILE", "--broker", "::1:9092"], "--broker"),
    (["run", "FILE", "--rounds", "0"], "rounds"),
    (["run", "FILE", "--engine", "virtual", "--web", "8089"], "--web"),
    (["run", "FILE", "--engine", "virtual", "--instrumentation", "official"], "virtual"),
    (["run", "FILE", "--nosuch"], "--nosuch"),
    (["run", "FILE", "--fail-on", "response_p59_ms > 3"], "response_p59_ms"),
    (["run", "FILE", "--fail-on", "edge(order->shop).calls > 3"], "order->shop"),
    (["run", "FILE", "--fail-on", "p95"], "not a gate"),
    (["run", "FILE", "--resume", "DIR"], "--resume"),
    (["run", "--resume", "DIR", "--rate", "5/s"], "--rate cannot change it"),
    (["run", "--resume", "DIR", "--rounds", "1"], "--rounds cannot change it"),
    (["run", "--resume", "DIR"], "no run directory"),
    (["run", "--resume", "DIR", "--strict", "--dry-run", "--quiet"], "no run directory"),
    (["run", "FILE", "--workers", "0"], "--workers"),
    (["report", "DIR"], "no run directory"),
    (["report", "DIR/absent"], "does not exist"),
    (["report", "x" * 5000], "does not exist"),
    (["analyze", "x" * 5000], "does not exist"),
    (["run", "x" * 5000], "cannot be read"),
    (["run", "FILE", "--rate", "1e9/s", "--duration", "1h"], "the most is 100,000,000"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD)
def test_bad_input_is_exit_2_and_a_document(
    arguments: list[str],
    text: str,
    mine: Path,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    named = {"FILE": str(mine), "DIR": str(tmp_path)}
    filled = [
        named.get(a, a.replace("DIR", str(tmp_path)) if a.startswith("DIR") else a)
        for a in arguments
    ]
    assert cli.invoke([*filled, "--json", "-"]) == Exit.BAD_INPUT
    out, err = capfdbinary.readouterr()
    document = orjson.loads(out)
    conforms(document)
    assert text in document["text"]
    assert text in err.decode()


def test_an_error_in_a_scenario_names_file_line_and_what_was_meant(
    mine: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    mine.write_text(SCENARIO.replace("sleep: 1ms", "slep: 1ms"))
    assert cli.invoke(["run", str(mine), "--json", "-"]) == Exit.BAD_INPUT
    document = orjson.loads(capfdbinary.readouterr().out)
    assert (document["file"], document["line"]) == (str(mine), 5)
    assert "slep" in document["text"]
    assert "sleep" in document["hint"]


def test_without_json_nothing_is_on_standard_output(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    assert cli.invoke(["run", "nosuch"]) == Exit.BAD_INPUT
    assert capfdbinary.readouterr().out == b""


@pytest.mark.parametrize("command", [[], *([name] for name in cli.COMMANDS)])
def test_every_command_explains_itself(
    command: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert cli.invoke([*command, "--help"]) == Exit.DONE
    assert b"Usage" in capfdbinary.readouterr().out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CannotStart("broker", "did not come up", "line 1\nline 2"), Exit.BROKEN),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (Terminated(), Exit.TERMINATED),
        (ZeroDivisionError("oops"), Exit.BUG),
    ],
)
def test_every_way_to_end_has_its_exit_code(
    error: BaseException, code: Exit, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    def command() -> None:
        raise error

    assert cli.ended(command, []) == code
    err = capfdbinary.readouterr().err.decode()
    if code == Exit.BROKEN:
        assert "broker: did not come up" in err
        assert "| line 2" in err
    if code == Exit.BUG:
        path = Path(err.strip().rsplit(" ", 1)[-1])
        assert "ZeroDivisionError: oops" in path.read_text()
        path.unlink()


@pytest.mark.slow
def test_sigterm_is_143(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "hopbench", "run", "-"], stdin=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdin is not None
        # It reads standard input first; a pipe of 64 KiB takes this only once it does.
        process.stdin.write(b"#" * 200_000)
        process.stdin.flush()
        # A signal that falls between two reads is seen at the next one; so it is sent again.
        while process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
    assert process.returncode == Exit.TERMINATED


def test_a_dry_run_shows_the_plan_and_starts_nothing(
    mine: Path, tmp_path: Path, chdir: None, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    asked = ["run", str(mine), "--dry-run", "--json", "-", "--rounds", "3", "--rate", "100/s"]
    assert cli.invoke(asked) == Exit.DONE
    document = orjson.loads(capfdbinary.readouterr().out)
    conforms(document)
    assert document["variants"] == ["baseline", "batched"]
    assert document["rate_rps"] == 100
    assert [turn["pair"] for turn in document["order"]] == [1, 1, 2, 2, 3, 3]
    # 6 rounds of 10 s; half of the requests sampled, 7 spans each before and 3 after.
    assert document["estimate"]["requests"] == 9000
    assert document["estimate"]["spans"] == 9000 / 2 * (7 + 3) / 2
    assert not (tmp_path / "runs").exists()


def parts(document: Any) -> dict[str, tuple[str, int, str | None]]:
    return {part["role"]: (part["kind"], part["count"], part["source"]) for part in document}


def dry(
    arguments: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> tuple[dict[str, Any], str]:
    """The document of a dry run, and what people are told beside it."""
    assert cli.invoke(["run", *arguments, "--dry-run", "--json", "-"]) == Exit.DONE
    said = capfdbinary.readouterr()
    document = orjson.loads(said.out)
    conforms(document)
    return document, said.err.decode()


def test_a_dry_run_tells_containers_and_their_limits(
    mine: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    document, told = dry([str(mine), "--engine", "compose", "--workers", "2"], capfdbinary)
    starts = document["starts"]
    assert {part["role"]: (part["count"], part["limit_mib"]) for part in starts} == {
        "jaeger": (1, 2048),
        "node": (2, 1024),
        "locust": (1, 512),
        "locust-worker": (2, 1024),
        "bench": (1, 2048),
    }
    assert {part["kind"] for part in starts} == {"container"}
    assert "7 containers (memory limits 6,656 MiB together)" in told
    assert "starts 2 Locust workers: hopbench:" in told
    # Two nodes, Jaeger, Locust and its two workers are more than the bench alone.
    assert document["estimate"]["memory_mb"] > 800


def test_a_dry_run_tells_kafka_among_the_containers(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    document, _ = dry(["orders", "--engine", "compose"], capfdbinary)
    assert parts(document["starts"])["kafka"] == ("container", 1, "apache/kafka:4.3.1")


def test_a_dry_run_tells_a_jaeger_a_broker_and_workers(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    flags = ["--jaeger", "http://there:16686", "--broker", "there:9092", "--workers", "3"]
    document, told = dry(["orders", *flags], capfdbinary)
    starts = parts(document["starts"])
    assert starts["jaeger"] == ("attached", 1, "http://there:16686, OTLP at there:4317")
    assert starts["kafka"] == ("attached", 1, "there:9092")
    assert starts["locust-worker"] == ("process", 3, None)
    assert "uses Jaeger at http://there:16686, OTLP at there:4317" in told
    assert "3 Locust workers" in told


@pytest.mark.parametrize("flags", [[], ["--workers", "2"], ["--broker", "there:9092"]])
def test_the_processes_of_an_estimate_are_those_that_are_told(
    flags: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    document, _ = dry(["orders", *flags], capfdbinary)
    started = [part["count"] for part in document["starts"] if part["kind"] == "process"]
    assert document["estimate"]["processes"] == sum(started)


def test_each_generator_has_a_process_beside_it_for_entries_over_kafka(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "entries.yaml"
    entry = "load: {rate: 10/s, entries: [{call: a.run, protocol: kafka}]}\n"
    path.write_text(
        f"version: 1\nname: entries\nservices: {{a: {{operations: {{run: []}}}}}}\n{entry}"
    )
    document, told = dry([str(path), "--workers", "2"], capfdbinary)
    assert "2 processes for Kafka entries" in told
    started = [part["count"] for part in document["starts"] if part["kind"] == "process"]
    assert document["estimate"]["processes"] == sum(started)


def test_a_simulation_starts_nothing(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    document, _ = dry(["chatty", "--engine", "virtual"], capfdbinary)
    assert document["starts"] == []


def test_a_name_is_shown_as_it_is_written(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(SCENARIO.replace("name: mine", 'name: "my :bug: [red]"'))
    _, told = dry([str(path)], capfdbinary)
    assert "my :bug: [red]:" in told


LIGHT = [
    ["--help"],
    ["validate", "--help"],
    ["validate", "chatty"],
    ["list"],
    ["diff", "chatty", "batched"],
    ["init", "-"],
    ["generate", "--services", "3"],
    ["schema", "scenario"],
]
HEAVY = "aiohttp aiokafka confluent_kafka grpc jinja2 locust numpy opentelemetry polars pyarrow"


def test_commands_that_only_read_a_scenario_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom hopbench import cli\n"
        f"print([cli.invoke(arguments).name for arguments in {LIGHT}], file=sys.stderr)\n"
        f"print(sorted(set({HEAVY.split()}) & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines() == [str(["DONE"] * len(LIGHT)), "[]"]
