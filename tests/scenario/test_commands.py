"""list, init, validate and diff, as functions and as a person sees them."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from rich.console import Console, RenderableType

from hopbench import cli
from hopbench.commands import diff, init, validate
from hopbench.commands.list import listed, table
from hopbench.exits import Exit
from services.errors import BadInput
from services.scenario.file.difference import difference
from services.scenario.file.parser import bundled, load, parse_text
from services.scenario.refactors import apply
from tests.documents import conforms


def shown(renderable: RenderableType, width: int = 100) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def test_each_bundled_scenario_has_a_line_of_its_own_in_a_narrow_terminal() -> None:
    lines = shown(table(listed()), width=80).splitlines()
    assert len(lines) == 1 + len(bundled())
    for name in bundled():
        assert sum(line.startswith(f"{name} ") for line in lines) == 1


def test_init_writes_a_scenario_that_is_valid_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    init.write_new(path, init.starter(None), force=False)
    assert load(str(path)).scenario.name == "starter"


def test_init_keeps_what_is_there_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text("mine")
    with pytest.raises(BadInput, match="exists already"):
        init.write_new(path, "new", force=False)
    assert path.read_text() == "mine"
    init.write_new(path, "new", force=True)
    assert path.read_text() == "new"
    with pytest.raises(BadInput, match="cannot be written"):
        init.write_new(tmp_path / "no" / "such.yaml", "new", force=False)


def test_init_can_start_from_a_bundled_scenario() -> None:
    assert init.starter("chatty") == bundled()["chatty"]
    with pytest.raises(BadInput) as refused:
        init.starter("chaty")
    assert refused.value.hint == "did you mean 'chatty'?"


def test_diff_shows_what_the_operator_changed() -> None:
    chatty = parse_text(bundled()["chatty"])
    found = difference(chatty, apply(chatty, "batched"))
    assert shown(diff.report("baseline", "batched", found)) == GOLDEN_DIFF.strip("\n")


def test_diff_of_a_variant_with_itself_says_so() -> None:
    chatty = parse_text(bundled()["chatty"])
    found = difference(chatty, chatty)
    assert shown(diff.report("baseline", "baseline", found)) == "baseline and baseline do the same"


@pytest.mark.parametrize("name", bundled())
def test_every_variant_changes_something(name: str) -> None:
    base = parse_text(bundled()[name])
    for variant in base.variants:
        found = difference(base, apply(base, variant))
        assert found.edges or found.steps


@pytest.mark.parametrize(
    ("asked", "form"),
    [
        (["validate", "checkout"], "validation"),
        (["diff", "checkout", "tuned"], "scenario-diff"),
        (["diff", "fanout", "baseline", "hedged"], "scenario-diff"),
        (["diff", "chatty", "baseline"], "scenario-diff"),
    ],
)
def test_documents_have_their_published_form(asked: list[str], form: str, tmp_path: Path) -> None:
    written = tmp_path / "out.json"
    assert cli.invoke([*asked, "--json", str(written)]) is Exit.DONE
    document = orjson.loads(written.read_bytes())
    assert document["schema"] == f"hopbench.{form}/1"
    conforms(document)


def test_validate_prints_the_figures_of_every_variant() -> None:
    assert shown(validate.report(load("chain"))) == GOLDEN_VALIDATE.strip("\n")


def test_validate_names_the_line_of_what_it_warns_of(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    text = bundled()["chatty"].replace("work: 0.1ms", "work: 15ms")
    path.write_text(text)
    line = next(n for n, row in enumerate(text.splitlines(), 1) if row.startswith("  order:"))
    said = shown(validate.report(load(str(path))), width=400)
    assert "order is asked for 1.50 cores of work" in said
    assert f"{path}:{line}: warning:" in said


GOLDEN_DIFF = """
                       baseline  batched
calls per request      8.00      1.00
at worst               8         1
synchronous hops deep  1         1
calls at once          1         1
hops per second        800       100

edge                             baseline                         batched
order.create->inventory.reserve  8.00/request: http, 8 calls of   1.00/request: http, 1 call of 8
                                 1 item, one by one               items

order.create
  - {work: 100us}
  - call: inventory.reserve
    count: 8
+   batch: 20
    request: 120B
    response: 240B
    key: {distinct: 10000}
    timeout: 2s
    id: reserve
"""

GOLDEN_VALIDATE = """
chain is valid: 7 services, 7 operations, 2 variants, 50/s poisson

variant   calls/request  at worst  hops deep  at once  hops/s      most CPU
baseline           6.00         6          6        1     300  gateway 0.01
async              6.00         6          4        1     300  gateway 0.01
grpc               6.00         6          6        1     300  gateway 0.01
"""
