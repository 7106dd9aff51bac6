from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from services.doubts import CODES

ROOT = Path(__file__).parents[2]


def raised(tree: ast.AST) -> Iterator[str]:
    """Codes given to ``….doubt(code, …)`` and ``….doubts.append((code, …))``."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="doubt"), args=[ast.Constant(value=str(code)), *_]
            ):
                yield code
            case ast.Call(
                func=ast.Attribute(attr="append"),
                args=[ast.Tuple(elts=[ast.Constant(value=str(code)), *_])],
            ):
                yield code


def test_every_doubt_that_a_part_raises_has_its_meaning_listed() -> None:
    found = {
        code
        for room in ("services", "hopbench/engines")
        for path in (ROOT / room).rglob("*.py")
        for code in raised(ast.parse(path.read_text()))
    }
    assert {"broker_cannot", "timer", "platform", "hub_lag"} <= found
    assert found <= CODES.keys()
