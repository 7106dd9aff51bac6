"""A comparison at several rates: one after the other, judged as one family.

The directory has ``rates.json`` and a comparison's directory for each rate, all begun at once, so
that ``--resume`` finds every one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from hopbench import disk
from hopbench.comparison import gating
from hopbench.comparison.document import Verdicts
from hopbench.comparison.judgement import Ran, at_rates, judged_together
from hopbench.comparison.looking import Looks
from hopbench.comparison.shown.html import html
from hopbench.comparison.shown.markdown import markdown
from hopbench.comparison.shown.terminal import terminal
from hopbench.deploy.preparation import prepare
from hopbench.exits import Exit, worst
from hopbench.front import running, verdict_ending
from hopbench.front.comparing import measure
from hopbench.front.output import Output, write
from hopbench.results.gates import Gate
from hopbench.runs import directory as rundir
from hopbench.runs import evidence, plan
from hopbench.runs.directory import RunDir
from hopbench.runs.plan import RunPlan
from hopbench.runs.repeats import lacking
from hopbench.runs.rounds import STOPS
from hopbench.runs.rounds import begin as begin_run
from services import codec
from services.errors import BadInput

FILE: Final = "rates.json"


@dataclass(frozen=True, slots=True)
class _Written:
    rates: tuple[str, ...]
    """Directories, in order."""
    schema: Literal["hopbench.rates/1"] = "hopbench.rates/1"


def is_one(directory: Path) -> bool:
    """Whether it is of several rates."""
    return (directory / FILE).is_file()


def begin(place: Path, plans: Sequence[RunPlan]) -> None:
    names = []
    for number, planned in enumerate(plans, 1):
        rate_rps = planned.scenario.load.pace.steady_rps or 0.0
        names.append(f"{number:02}-at-{rate_rps:.4g}")
        run = RunDir(place / names[-1])
        run.trials.mkdir(parents=True)
        begin_run(planned, run)
    # Last: it is what makes the directory one.
    disk.write_json(place / FILE, codec.plain(_Written(tuple(names))))


def compare(place: Path, gates: Sequence[Gate], markdown_to: str | None, output: Output) -> Exit:
    """Whatever the comparisons at ``place`` still lack, and the verdicts on all of them."""
    written = evidence.read_file(_Written, place / FILE)
    if written is None or not written.rates:
        raise BadInput(f"{place} names no rates", file=str(place / FILE))
    ran, code = [], Exit.DONE
    with rundir.at_work(place / FILE, place):
        for name in written.rates:
            run = RunDir(place / name)
            planned = plan.read(run)
            needed = Looks(planned, run).needed()
            prepared = prepare(planned, lacking(planned, run, needed), os.environ)
            prepared.check(os.environ)
            if prepared.turns:
                output.note(f"{name}: {running.told(prepared)}")
            with rundir.claimed(run):
                done = measure(prepared, run, output, fresh=False)
            if done.summary is not None:
                ran.append(Ran(planned, run, done.summary))
            code = done.ended.code
            if code is not Exit.DONE:
                break
        document, judged = _told(place, ran, markdown_to, gates, output)
    if code in STOPS.values() or code is Exit.BROKEN:
        output.note(f"go on with: hopbench compare --resume {place}")
    output.document(codec.plain(document))
    return worst([code, judged])


def _told(
    place: Path,
    ran: Sequence[Ran],
    markdown_to: str | None,
    gates: Sequence[Gate],
    output: Output,
) -> tuple[Verdicts, Exit]:
    found = judged_together(ran)
    document = at_rates(ran, found)
    codes = []
    for one, judgement in zip(ran, found, strict=True):
        verdict_ending.written(judgement.document, one.summary, one.run)
        verdict_ending.note(one.planned, one.run, judgement)
        values = gating.of(one.planned, one.summary, judgement.document)
        of_every_arm = gating.of_every_arm(gates, one.planned)
        codes.append(verdict_ending.code(judgement.document, values, of_every_arm, output))
    disk.write_json(place / "verdict.json", codec.plain(document))
    pages = [f"{one.run.path.name}/{verdict_ending.ROUNDS}" for one in ran]
    text = markdown(document)
    for name, page in (("report.md", text), ("report.html", html(document, pages))):
        with disk.whole(place / name) as file:
            file.write(page.encode())
    if markdown_to is not None:
        write(markdown_to, text.encode())
    output.show(terminal(document))
    output.show(f"verdicts: {place / 'verdict.json'}, report: {place / 'report.html'}")
    return document, worst(codes)
