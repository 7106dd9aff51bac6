"""Bad input, of every kind: exit 2, one document, and not a trace of anything begun."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from hopbench import cli
from hopbench.exits import Exit
from tests.documents import conforms
from tests.faults.harness import SCENARIO, Site


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    with contextlib.chdir(tmp_path):
        yield tmp_path


def refused(arguments: list[str], capture: pytest.CaptureFixture[bytes]) -> dict[str, object]:
    """The document of a refusal; fails where there is more on standard output, or a traceback."""
    before = sorted(Path().rglob("*"))
    assert cli.invoke([*arguments, "--json", "-"]) == Exit.BAD_INPUT
    assert sorted(Path().rglob("*")) == before
    out, err = capture.readouterr()
    assert b"Traceback" not in err
    return checked(out, err)


def checked(out: bytes, err: bytes) -> dict[str, object]:
    document: dict[str, object] = orjson.loads(out)
    conforms(document)
    assert document["schema"] == "hopbench.error/1"
    assert str(document["text"]).encode() in err
    return document


def changed(old: str, new: str) -> str:
    assert SCENARIO.count(old) == 1
    return SCENARIO.replace(old, new)


LOAD = "load: {rate: 40/s,"
CALL = "- {call: stock.reserve, count: 4}"
WAIT = "reserve:\n        - sleep: 1ms"

SCENARIOS: list[tuple[str, str, int, str, str]] = [
    # what, the file, line, in the text, in the hint
    ("top key", changed("services:", "servces:"), 4, "servces", "services"),
    ("step key", changed(CALL, "- {cal: stock.reserve}"), 8, "cal", "call"),
    ("edge key", changed("count: 4}", "cuont: 4}"), 8, "cuont", "count"),
    ("load key", changed(LOAD, "load: {rat: 40/s,"), 18, "rat", "rate"),
    ("operator key", changed("size: 4}]", "sise: 4}]"), 20, "sise", "size"),
    ("operator", changed("{op: batch", "{op: bach"), 20, "bach", "batch"),
    ("key twice", changed("seed: 7", "seed: 7\nseed: 8"), 4, "seed", ""),
    ("no unit", changed(WAIT, "reserve:\n        - sleep: 1"), 13, "1", "1ms or 1s"),
    ("wrong unit", changed("duration: 1300ms", "duration: 16KiB"), 18, "16KiB", "known units"),
    ("negative time", changed("warmup: 400ms", "warmup: -4ms"), 18, "-4ms", ""),
    ("count of zero", changed("count: 4", "count: 0"), 8, "0", ""),
    ("count of half", changed("count: 4", "count: 0.5"), 8, "0.5", ""),
    ("list for a mapping", "- 1\n", 1, "must be a mapping", ""),
    ("unknown service", changed(CALL, "- {call: stok.reserve}"), 8, "stok", "stock.reserve"),
    ("unknown operation", changed(CALL, "- {call: stock.resreve}"), 8, "resreve", "reserve"),
    ("unknown entry", changed("entry: gateway.buy", "entry: gateway.sell"), 18, "sell", "buy"),
    ("cycle", changed(WAIT, "reserve:\n        - {call: gateway.buy}"), 13, "cycle", "never end"),
    ("call of itself", changed(WAIT, "reserve:\n        - {call: stock.reserve}"), 13, "cycle", ""),
    ("version", changed("version: 1", "version: 2"), 1, "version", ""),
    ("tab", "version: 1\n\tname: x\n", 2, "tab", ""),
    ("open bracket", "version: 1\nservices: {a: [\n", 2, "not YAML", ""),
    ("two documents", SCENARIO + "---\nversion: 1\n", 21, "second document", ""),
    ("two models", changed(LOAD, f"{LOAD} model: closed, users: 5,"), 18, "rate", "leave"),
]


@pytest.mark.parametrize("case", SCENARIOS, ids=[name for name, *_ in SCENARIOS])
def test_an_error_in_a_scenario_is_told_with_its_line(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes], case: tuple[str, str, int, str, str]
) -> None:
    _, text, line, said, hint = case
    (here / "bad.yaml").write_text(text)
    document = refused(["run", "bad.yaml"], capfdbinary)
    assert document["file"] == "bad.yaml"
    assert document["line"] == line
    assert said in str(document["text"])
    assert hint in str(document["hint"])


@pytest.fixture
def things(here: Path) -> Path:
    """What may stand where a scenario or a run directory is expected."""
    (here / "good.yaml").write_text(SCENARIO)
    (here / "empty.yaml").touch()
    (here / "blank.yaml").write_text(" \n# nothing\n")
    (here / "binary.yaml").write_bytes(bytes(range(256)))
    (here / "zero.yaml").write_bytes(b"version: 1\n\0\n")
    (here / "directory").mkdir()
    (here / "loop").symlink_to("loop")
    (here / "full").mkdir()
    (here / "full" / "file").touch()
    for name, plan in (
        ("cut", b'{"schema": '),
        ("list", b"[]"),
        ("other", b'{"schema": "hopbench.summary/1"}'),
        ("hollow", b'{"schema": "hopbench.run-plan/2"}'),
        ("old", b'{"schema": "hopbench.run-plan/1"}'),
    ):
        (here / name).mkdir()
        (here / name / "plan.json").write_bytes(plan)
        (here / name / "scenario.yaml").write_text(SCENARIO)
    return here


COMMANDS: list[tuple[str, str]] = [
    ("run empty.yaml", "is empty"),
    ("run blank.yaml", "no YAML document"),
    ("run binary.yaml", "not text"),
    ("run zero.yaml", "zero byte"),
    ("run directory", "directory"),
    ("run absent.yaml", "no file"),
    ("run loop", "no file"),
    ("run good.yaml/absent", "no file"),
    ("run /dev/null", "is empty"),
    ("run good.yaml --variant bached", "no variant 'bached'"),
    ("run good.yaml --variant baseline --variant bached", "bached"),
    ("run good.yaml --seed -1", "--seed"),
    ("run good.yaml --duration -1s", "negative"),
    ("run good.yaml --rate nan/s", "--rate"),
    ("run good.yaml --rate 1e400/s", "too large"),
    ("run good.yaml --trace-ratio nan", "--trace-ratio"),
    ("run good.yaml --web 99999", "--web"),
    ("run good.yaml --broker host", "--broker"),
    ("run good.yaml --broker host:99999", "--broker"),
    ("run good.yaml --broker :9092", "--broker"),
    ("run good.yaml extra", "extra"),
    ("run good.yaml --fail-on x", "not a gate"),
    ("run good.yaml --out good.yaml", "File exists"),
    ("run good.yaml --out good.yaml/run", "Not a directory"),
    ("run good.yaml --out full", "is not empty"),
    ("run good.yaml --out /proc/absent", "/proc/absent"),
    ("run --resume directory", "no run directory"),
    ("run --resume cut", "no plan of hopbench: Input data was truncated"),
    ("run --resume list", "no plan of hopbench: Expected `object`, got `array`"),
    ("run --resume other", "schema"),
    ("run --resume hollow", "no plan of hopbench: Object missing required field"),
    ("run --resume old", "earlier hopbench (hopbench.run-plan/1), whose rounds count from 0"),
    ("report good.yaml", "no run directory"),
    ("report cut", "no plan of hopbench: Input data was truncated"),
    ("report list", "no plan of hopbench: Expected `object`, got `array`"),
    ("analyze absent", "does not exist"),
    ("analyze directory", "no traces"),
    ("analyze empty.yaml", "is empty"),
    ("analyze binary.yaml", "no known trace format"),
    ("analyze cut", "no plan of hopbench: Input data was truncated"),
    ("critical-path binary.yaml", "no known trace format"),
    ("critical-path good.yaml --preset fast", "--preset"),
    ("validate binary.yaml", "not text"),
    ("validate directory", "directory"),
    ("diff good.yaml bached", "bached"),
    ("up good.yaml --variant bached", "bached"),
    ("up good.yaml --out full", "is not empty"),
    ("collect --out kept --grpc-port 99999", "--grpc-port"),
    ("collect", "--out"),
    ("nosuch", "nosuch"),
]


@pytest.mark.parametrize(("line", "said"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_a_command_that_cannot_be_done_is_told_and_leaves_nothing(
    things: Path, capfdbinary: pytest.CaptureFixture[bytes], line: str, said: str
) -> None:
    assert said in str(refused(line.split(), capfdbinary)["text"])


@pytest.mark.parametrize("target", ["absent/summary.json", "directory", ""])
def test_a_document_that_cannot_be_written_is_refused_before_the_run(
    things: Path, capfdbinary: pytest.CaptureFixture[bytes], target: str
) -> None:
    before = sorted(things.rglob("*"))
    for command in (["run", "good.yaml"], ["up", "good.yaml"], ["validate", "good.yaml"]):
        assert cli.invoke([*command, "--json", target]) == Exit.BAD_INPUT
        out, err = capfdbinary.readouterr()
        assert out == b""
        assert b"--json" in err
        assert b"Traceback" not in err
    assert sorted(things.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "line"),
    [(b"", None), (b"\x80", 1), (changed("services:", "servces:").encode(), 4)],
    ids=["empty", "binary", "unknown key"],
)
def test_a_bad_scenario_on_standard_input_is_a_document_and_nothing_else(
    site: Site, text: bytes, line: int | None
) -> None:
    ended = site.run("run", "-", "--json", "-", stdin=text)
    assert ended.code == Exit.BAD_INPUT
    document = checked(ended.out.encode(), ended.err.encode())
    assert (document["file"], document["line"]) == ("-", line)
    assert not (site.path / "runs").exists()


@pytest.mark.slow
def test_a_good_scenario_on_standard_input_runs(site: Site) -> None:
    ended = site.run(
        *("run", "-", "--engine", "virtual", "--variant", "baseline", "--json", "-"),
        stdin=SCENARIO.encode(),
    )
    assert ended.code == Exit.DONE
    assert ended.document["scenario"] == "small"
