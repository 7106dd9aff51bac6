"""Imports point one way (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("hopbench", "services", "loadgen", "analysis")

ALLOWED: dict[str, tuple[str, ...]] = {
    "services/scenario": ("services.scenario", "services.errors", "services.codec"),
    "services": ("services",),
    "loadgen": ("loadgen", "services"),
    "analysis": ("analysis", "services.scenario", "services.errors", "services.codec"),
    "hopbench": ("hopbench", "loadgen", "analysis", "services"),
    "hopbench/statistics": ("hopbench.statistics",),
}
"""Which of our own modules a room may import; the longest matching path counts."""

ONLY_IN: dict[str, tuple[str, ...]] = {
    "locust": ("loadgen",),
    "gevent": ("loadgen",),
    "uvloop": ("services", "hopbench", "loadgen/kafka/child.py"),
    "typer": ("hopbench/cli.py", "hopbench/commands", "hopbench/front"),
    "msgspec": ("services/codec.py",),
}
"""Libraries that one place alone may import (a prefix of the file's path)."""

OPEN_ENDED = {"hopbench/commands"}
"""Folders that may have more than fifteen modules: one a command (docs/architecture.md)."""


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


def room_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Which rooms each room imports: folders; a module of a folder that holds others is its own."""
    modules = {path.removesuffix(".py").removesuffix("/__init__"): path for path in sources}
    packages = {name for name, path in modules.items() if path.endswith("/__init__.py")}
    holders = {package.rpartition("/")[0] for package in packages}

    def room(module: str) -> str:
        folder = module if module in packages else module.rpartition("/")[0]
        return f"{module}.py" if folder in holders else folder

    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        package = ".".join(Path(path).parts[:-1])
        for name in imported(sources[path], package):
            full = name.replace(".", "/")
            target = full if full in modules else full.rpartition("/")[0]
            if target in modules and room(target) != room(module):
                graph.setdefault(room(module), set()).add(room(target))
    return graph


def test_no_room_imports_itself_through_another() -> None:
    graph = room_graph({path: (ROOT / path).read_text() for path in SOURCES})
    assert graph["analysis/findings/analyzers"] >= {"analysis/traces"}
    TopologicalSorter(graph).prepare()


def test_a_room_that_imports_itself_through_another_is_seen() -> None:
    graph = room_graph(
        {
            "services/clocks/__init__.py": "",
            "services/clocks/wall.py": "from services.wire import ports",
            "services/wire/__init__.py": "",
            "services/wire/ports.py": "from services.clocks.wall import WallClock",
        }
    )
    with pytest.raises(CycleError):
        TopologicalSorter(graph).prepare()


def test_no_folder_is_too_large_to_find_a_module_in() -> None:
    sizes = Counter(path.rpartition("/")[0] for path in SOURCES if "__init__" not in path)
    assert {folder for folder, size in sizes.items() if size > 15} <= OPEN_ENDED


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
        ("hopbench/statistics/holm.py", "from hopbench.results import figures"),
    ],
)
def test_a_wrong_direction_is_seen(path: str, source: str) -> None:
    assert violations(path, source)


def test_proto_is_no_package() -> None:
    """A package named proto breaks Google's proto-plus."""
    assert not list((ROOT / "proto").rglob("__init__.py"))
