"""Files as they come: what is refused before anything is understood."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import BadInput
from services.scenario.text.source import MAX_DEPTH, Leaf, List, Map, Node, decode, tree


def plain(node: Node) -> object:
    match node:
        case Leaf():
            return node.value
        case List():
            return [plain(item) for item in node.items]
        case Map():
            return {key: plain(item) for key, item in node.items.items()}


def refusal(text: str) -> BadInput:
    with pytest.raises(BadInput) as refused:
        tree(text, "x.yaml")
    return refused.value


@pytest.mark.parametrize(
    ("raw", "line", "said"),
    [
        (b"", None, "the file is empty"),
        (b" \n\n", None, "the file is empty"),
        (b"a: 1\nb: \xff\xfe", 2, "byte 0xff"),
        (b"a: 1\n\nb: \0", 3, "a zero byte"),
        (b"\x89PNG\r\n\x1a\n", 1, "byte 0x89"),
    ],
)
def test_what_is_not_text_is_refused(raw: bytes, line: int | None, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        decode(raw, "x.yaml")
    assert (refused.value.file, refused.value.line) == ("x.yaml", line)
    assert said in refused.value.text


def test_a_file_too_large_is_refused_before_it_is_read_as_text() -> None:
    with pytest.raises(BadInput, match="at most"):
        decode(b"#" * (64 * 2**20 + 1), "x.yaml")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3", 3, "'a' is given twice, first on line 1"),
        ("a: [1, 2", 1, "not YAML"),
        ("a: 1\n b: 2", 2, "not YAML"),
        ("a: 1\n---\nb: 1", 2, "a second document"),
        ("# nothing\n", None, "no YAML document"),
        ("a: *b", 1, "names no finished anchor"),
        ("a: &a [*a]", 1, "names no finished anchor"),
        ("a: !!python/object:os.system 1", 1, "has no meaning here"),
        ("? [a]\n: 1", 1, "a key must be plain text"),
        ("a: \x07", 1, "not YAML"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(text: str, line: int | None, said: str) -> None:
    error = refusal(text)
    assert error.line == line
    assert said in error.text


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("a:\n\tb: 1", 2, "begins with a tab"),
        ("a: 1\ndescription: Request: a ride", 2, "is quoted"),
    ],
)
def test_what_the_parser_names_by_its_effect_has_a_hint(text: str, line: int, hint: str) -> None:
    error = refusal(text)
    assert error.line == line
    assert hint in str(error.hint)


def test_words_stay_words() -> None:
    text = "[no, on, 12:30, 1_000, 0x1f, 010, 1e3, .5, 'true', true, null, ~, -7]"
    words = ["no", "on", "12:30", "1_000", "0x1f", 10, 1000.0, 0.5, "true", True, None, None, -7]
    assert plain(tree(text, "x")) == words


def test_lines_are_those_of_the_file() -> None:
    root = tree("# a comment\na: 1\n\nb:\n  - x\n  - {c: 2,\n     d: 3}\n", "x")
    assert isinstance(root, Map)
    assert root.key_lines == {"a": 2, "b": 4}
    listed = root.items["b"]
    assert isinstance(listed, List)
    assert [item.line for item in listed.items] == [5, 6]
    inner = listed.items[1]
    assert isinstance(inner, Map)
    assert inner.key_lines == {"c": 6, "d": 7}


def test_aliases_repeat_what_they_name() -> None:
    assert plain(tree("a: &x {b: [1]}\nc: *x", "x")) == {"a": {"b": [1]}, "c": {"b": [1]}}


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    assert "aliases repeat" in refusal("\n".join(lines)).text


def test_depth_is_bounded_also_through_aliases() -> None:
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert tree(deep, "x").height == MAX_DEPTH
    assert "nested more than" in refusal("[" * 100_000).text
    half = "[" * 60 + "]" * 60
    assert "nested more than" in refusal("- &a " + half + "\n- " + "[" * 60 + "*a" + "]" * 60).text


@given(st.text(max_size=200))
def test_any_text_is_a_tree_or_refused(text: str) -> None:
    with suppress(BadInput):
        assert tree(text, "x").size >= 1
