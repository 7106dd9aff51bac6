"""The end of a proof, or of a sitting: written, shown, and its exit code found."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hopbench import disk, engines
from hopbench.comparison.document import doubts
from hopbench.exits import Exit
from hopbench.front.output import Output, write
from hopbench.front.verdict_ending import EXITS
from hopbench.proving.candidates import combined, ordered
from hopbench.proving.course import Course
from hopbench.proving.directory import ProofDir, spent
from hopbench.proving.document import Final as Concluded
from hopbench.proving.document import Proof
from hopbench.proving.proof import told
from hopbench.proving.shown.html import html
from hopbench.proving.shown.markdown import markdown
from hopbench.proving.shown.terminal import terminal
from hopbench.proving.stages import Asked
from services.codec import plain
from services.scenario.file.writer import to_yaml
from services.scenario.model import Variant
from services.scenario.refactors import to_mapping

_PROVED: Final = "proved"


def written(asked: Asked, place: ProofDir, course: Course) -> Proof:
    """What is known by now, and the scenario with all that held."""
    found = _proof(asked, place, course)
    disk.write_json(place.proof, plain(found))
    edges = {} if course.final is None else course.final.edges
    for name, text in (("report.md", markdown(found)), ("report.html", html(found, edges))):
        with disk.whole(place.path / name) as file:
            file.write(text.encode())
    return found


def show(found: Proof, place: ProofDir, target: str | None, output: Output) -> None:
    """``target`` is where the Markdown goes, beside report.md of the directory."""
    if target is not None:
        write(target, markdown(found).encode())
    output.show(terminal(found))
    output.show(f"proof: {place.proof}, report: {place.path / 'report.html'}")
    output.document(plain(found))


def code(found: Proof, output: Output) -> Exit:
    """Of one that has ended."""
    if found.final is not None:
        return EXITS.get(found.final.verdict.verdict, Exit.DONE)
    if found.steps:
        output.reason("nothing held")
        return Exit.INCONCLUSIVE
    return Exit.DONE


def _proof(asked: Asked, place: ProofDir, course: Course) -> Proof:
    verdicts = [step.verdict for step in course.steps if step.verdict is not None]
    if course.final is not None:
        verdicts = list(course.final.verdicts)
    return Proof(
        scenario=asked.scenario.name,
        scenario_sha256=asked.sha256,
        run_dir=str(place.path),
        engine=asked.settings.engine,
        clock="virtual" if engines.is_virtual(asked.settings) else "wall",
        sentence=told(course),
        doubts=doubts(verdicts),
        budget_s=asked.budget_s,
        spent_s=spent(place).seconds,
        depths=len(course.looks),
        baseline=course.looks[0].run_dir if course.looks else None,
        screen=tuple(course.screens),
        steps=tuple(course.steps),
        final=_final(asked, place, course),
        finished=course.finished,
    )


def _final(asked: Asked, place: ProofDir, course: Course) -> Concluded | None:
    if course.final is None:
        return None
    refactors = ordered(each.refactor for each in course.kept)
    text, variant = _file(asked, course)
    with disk.whole(place.final) as file:
        file.write(text.encode())
    (verdict,) = course.final.verdicts
    written = tuple(to_mapping(each) for each in refactors)
    return Concluded(written, verdict, str(place.final), variant)


def _file(asked: Asked, course: Course) -> tuple[str, str | None]:
    """And the variant to run where no file can say the scenario itself."""
    refactors = ordered(each.refactor for each in course.kept)
    try:
        return to_yaml(combined(asked.scenario, refactors)), None
    except ValueError:
        proved = Variant(_PROVED, "All that held", refactors, ())
        return to_yaml(replace(asked.scenario, variants={_PROVED: proved})), _PROVED
