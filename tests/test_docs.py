"""README.md says nothing that does not work."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

import pytest

from hopbench import cli
from hopbench.exits import Exit

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip().removeprefix(".venv/bin/")
    for block in BLOCKS
    for line in block.splitlines()
]
INLINE = re.findall(r"`(hopbench [^`]+|make [^`]+|--[a-z-]+[^`]*)`", README)


def test_there_is_something_to_check() -> None:
    assert "make run" in COMMANDS
    assert "hopbench run chatty" in COMMANDS


def test_every_command_of_the_readme_works(tmp_path: Path) -> None:
    """In the order in which a reader types them. What takes real processes is planned only."""
    with contextlib.chdir(tmp_path):
        for command in COMMANDS:
            if not command.startswith("hopbench "):
                continue
            arguments = shlex.split(command)[1:]
            if arguments[0] == "run" and "--engine" not in arguments:
                arguments = [*arguments, "--dry-run"]
            code = cli.invoke(arguments)
            # This machine may not be fit to measure; the doctor then works all the same.
            assert code in ((Exit.DONE, Exit.FAILED) if arguments == ["doctor"] else (Exit.DONE,))


@pytest.mark.parametrize("text", [c for c in [*COMMANDS, *INLINE] if c.startswith("make ")])
def test_every_target_exists(text: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{re.escape(text.split()[1])}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("text", [c for c in INLINE if c.startswith("hopbench ")])
def test_every_command_named_in_passing_exists(text: str) -> None:
    assert text.split()[1] in cli.COMMANDS


def test_every_flag_named_in_passing_exists(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["run", "--help"]) == Exit.DONE
    known = capsys.readouterr().out
    flags = {text.split()[0] for text in INLINE if text.startswith("--")}
    assert flags >= {"--json", "--fail-on", "--rounds", "--broker"}
    assert [flag for flag in sorted(flags) if flag not in known] == []


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)\)", path.read_text())
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_every_exit_code_is_told() -> None:
    told = {int(number) for number in re.findall(r"\d+", README.split("Exit codes:")[1][:300])}
    assert set(Exit) <= told
