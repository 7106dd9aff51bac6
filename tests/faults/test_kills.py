"""A part is killed while a round measures; or the bench itself."""

from __future__ import annotations

import os
import signal

import polars as pl
import pytest

from hopbench.exits import Exit
from tests.faults.harness import Ended, Site, alive, doubt, wait_for

pytestmark = pytest.mark.slow

PARTS = [
    ("hopbench: stock/0", "stock/0 died (SIGKILL)"),
    ("hopbench: collector", "collector died (SIGKILL)"),
    ("locust", "locust: died (SIGKILL)"),
    ("hopbench: broker", "broker died (SIGKILL)"),
    ("hopbench: node", "node died (SIGKILL)"),
    ("hopbench: fork server", "node died (exit 5)"),
]


def kill(site: Site, part: str, *arguments: str) -> Ended:
    """A run one of whose parts is killed while its first round measures."""
    run = ("run", site.scenario(), *arguments, "--out", "run", "--json", "-")
    bench = site.start(*run)
    bench.until("measuring")
    os.kill(bench.pid_of(part), signal.SIGKILL)
    return bench.end()


@pytest.mark.parametrize(("part", "told"), PARTS)
def test_a_part_that_is_killed_is_named_and_what_was_measured_is_kept(
    site: Site, part: str, told: str
) -> None:
    ended = kill(site, part, "--variant", "baseline")
    assert ended.code == Exit.BROKEN
    assert f"baseline, round 1: {told}" in ended.err
    (trial,) = ended.document["trials"]
    assert told in doubt(trial, "broken")
    assert trial["void"]
    assert trial["load"]["sent"] > 0

    reported = site.run("report", "run", "--json", "-")
    assert reported.code == Exit.DONE
    assert reported.document["trials"] == [trial]
    assert told in reported.err

    resumed = site.run("run", "--resume", "run", "--json", "-")
    assert resumed.code == Exit.DONE
    (again,) = resumed.document["trials"]
    assert doubt(again, "broken") == ""
    assert again["load"]["ok"] == again["load"]["sent"] >= trial["load"]["sent"]


@pytest.mark.parametrize("part", ["hopbench: broker", "hopbench: node"])
def test_what_serves_every_round_is_started_again_for_the_next(site: Site, part: str) -> None:
    first, second = kill(site, part).document["trials"]
    assert doubt(first, "broken")
    assert not doubt(second, "broken")
    assert second["load"]["ok"] == second["load"]["sent"] > first["load"]["sent"]


def test_when_the_bench_is_killed_while_all_start_all_die(site: Site) -> None:
    bench = site.start("run", site.scenario(), "--variant", "baseline", "--out", "run")
    bench.wait("locust", lambda: True if "locust" in "".join(bench.parts()) else None)
    bench.signal(signal.SIGKILL)
    bench.process.wait()
    wait_for("end of all parts", lambda: None if alive(bench.site) else True, 5.0)
    assert site.run("run", "--resume", "run").code == Exit.DONE


def test_when_the_bench_is_killed_all_die_and_its_spools_are_recovered(site: Site) -> None:
    bench = site.start("run", site.scenario(), "--variant", "baseline", "--out", "run")
    bench.until("measuring")
    recorded = bench.recorded()
    titles = "\n".join(bench.parts())
    for part in ("node", "fork server", "collector", "broker", "gateway/0", "stock/0", "notify/0"):
        assert f"hopbench: {part}" in titles
    assert "locust" in titles

    bench.signal(signal.SIGKILL)
    bench.process.wait()
    wait_for("end of all parts", lambda: None if alive(bench.site) else True, 5.0)

    reported = site.run("report", "run", "--json", "-")
    assert reported.code == Exit.DONE
    (trial,) = reported.document["trials"]
    assert "recovered" in doubt(trial, "interrupted")
    assert "did not end" in reported.err
    assert trial["spans"]["received"] > 0
    assert pl.read_parquet(site.path / "run/trials/01-baseline/samples.parquet").height >= recorded

    resumed = site.run("run", "--resume", "run", "--json", "-")
    assert resumed.code == Exit.DONE
    assert doubt(resumed.document["trials"][0], "interrupted") == ""
