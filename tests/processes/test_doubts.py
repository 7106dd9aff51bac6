from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from services import codec
from services.doubts import Code, Doubt

ROOT = Path(__file__).parents[2]


def named(tree: ast.AST) -> Iterator[str]:
    """Members of ``Code``, by name."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="Code"), attr=name):
                yield name


def test_every_doubt_has_its_meaning_and_a_part_that_raises_it() -> None:
    raised = {
        name
        for room in ("services", "hopbench", "loadgen")
        for path in (ROOT / room).rglob("*.py")
        for name in named(ast.parse(path.read_text()))
    }
    assert raised >= set(Code.__members__)
    assert all(code.meaning for code in Code)
    assert len({code.value for code in Code}) == len(Code)


def test_no_other_doubt_can_be_raised_or_read() -> None:
    with pytest.raises(ValueError, match="'mood' is not a valid Code"):
        Code("mood")
    with pytest.raises(codec.Unfit, match="'mood'"):
        codec.decode(Doubt, b'{"code": "mood", "text": "?"}')


@pytest.mark.parametrize("code", Code)
def test_a_doubt_survives_its_way_between_processes(code: Code) -> None:
    assert codec.decode(Doubt, codec.encode(Doubt(code, "why"))) == Doubt(code, "why")
    assert codec.plain(Doubt(code, "why")) == Doubt(code, "why").document()
