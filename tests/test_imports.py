"""Imports point one way (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("hopbench", "services", "loadgen", "analysis")

ALLOWED: dict[str, tuple[str, ...]] = {
    "services/scenario": ("services.scenario", "services.errors"),
    "services": ("services",),
    "loadgen": ("loadgen", "services"),
    "analysis": ("analysis", "services.scenario", "services.errors"),
    "hopbench": ("hopbench", "loadgen", "analysis", "services"),
}
"""Which of our own modules a room may import; the longest matching path counts."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    "locust": ("loadgen",),
    "gevent": ("loadgen",),
    "uvloop": ("services", "hopbench", "loadgen/kafka/child.py"),
    "typer": ("hopbench/cli.py", "hopbench/commands", "hopbench/front/options.py"),
}
"""Libraries that one place alone may import (a prefix of the file's path)."""


def imported(source: str, package: str) -> Iterator[str]:
    """Full names of every module that ``source`` imports, at any depth of the file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join(parts) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def under(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def violations(path: str, source: str) -> list[str]:
    package = ".".join(Path(path).parts[:-1])
    room = max((room for room in ALLOWED if path.startswith(room + "/")), key=len)
    found = []
    for name in imported(source, package):
        library = name.split(".", 1)[0]
        if library in ROOMS and not under(name, ALLOWED[room]):
            found.append(f"{path}: {room} must not import {name}")
        if library in ONLY_IN and not path.startswith(ONLY_IN[library]):
            found.append(f"{path}: only {', '.join(ONLY_IN[library])} may import {name}")
    return found


SOURCES = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if "services/pb" not in path.as_posix()
)


@pytest.mark.parametrize("path", SOURCES)
def test_imports_point_one_way(path: str) -> None:
    assert violations(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("services/node/server.py", "import hopbench.runs.rounds"),
        ("services/scenario/file/parser.py", "from services.wire.ports import Wire"),
        ("services/scenario/file/parser.py", "from services import topology"),
        ("analysis/findings/finding.py", "from services import node"),
        ("analysis/findings/finding.py", "def late():\n    import loadgen.spool.reader"),
        ("loadgen/dispatch.py", "from analysis import quantiles"),
        ("hopbench/runs/rounds.py", "import locust"),
        ("loadgen/x.py", "from ..hopbench import run"),
    ],
)
def test_a_wrong_direction_is_seen(path: str, source: str) -> None:
    assert violations(path, source)


def test_proto_is_no_package() -> None:
    """A package named proto breaks Google's proto-plus."""
    assert not list((ROOT / "proto").rglob("__init__.py"))
