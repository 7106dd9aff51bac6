"""pyproject.toml declares the libraries that are imported, and no other; the lock pins them all."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import distributions

from tests.test_imports import ROOMS, ROOT, imported

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUN_FROM_MAKE = {
    "grpc-stubs",
    "grpcio-tools",
    "mypy",
    "pytest-xdist",
    "playwright",
    "pytest-timeout",
    "ruff",
    "types-protobuf",
    "types-psutil",
    "types-pyyaml",
}
"""Of the development group: commands, plugins, stubs, and what is imported where it is there."""


def plain(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503), without its bounds."""
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=!~;\[ ]", name, maxsplit=1)[0]).lower()


@cache
def providers() -> dict[str, str]:
    """Dotted module → the distribution that installs it."""
    found: dict[str, str] = {}
    for each in distributions():
        library = plain(each.name)
        for file in each.files or ():
            if file.suffix in {".py", ".so"} and "__pycache__" not in file.parts:
                module = file.as_posix().split(".")[0].removesuffix("/__init__")
                found.setdefault(module.replace("/", "."), library)
    return found


def used(folders: Iterable[str]) -> set[str]:
    """Distributions of every module that the folders import and do not hold themselves."""
    installed, found = providers(), set()
    ours = {*ROOMS, "scenarios", "tests", "benchmarks", *sys.stdlib_module_names}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        package = ".".join(path.relative_to(ROOT).parts[:-1])
        for name in imported(path.read_text(), package):
            if name.split(".")[0] in ours:
                continue
            while name and name not in installed:
                name = name.rpartition(".")[0]  # noqa: PLW2901
            found.add(installed[name])
    return found


def declared(names: Iterable[str]) -> set[str]:
    return {plain(name) for name in names}


def test_what_the_product_imports_is_declared_and_nothing_else() -> None:
    assert used([*ROOMS, "scenarios"]) == declared(PROJECT["project"]["dependencies"])


def test_what_only_tests_import_is_in_the_development_group() -> None:
    development = declared(PROJECT["dependency-groups"]["dev"])
    product = declared(PROJECT["project"]["dependencies"])
    assert used(["tests", "benchmarks"]) - product == development - RUN_FROM_MAKE


def test_every_declared_library_is_pinned_and_no_index_is_named() -> None:
    lock = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = {plain(line) for line in lock}
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lock)
    assert declared(PROJECT["project"]["dependencies"]) <= pinned
    assert declared(PROJECT["dependency-groups"]["dev"]) <= pinned
