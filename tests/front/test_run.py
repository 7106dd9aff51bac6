"""`hopbench run` and `report` from end to end, in virtual time."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from hopbench import cli
from hopbench.engines.port import Evidence, Progress, RoundPlan, Settings
from hopbench.engines.virtual import VirtualEngine
from hopbench.exits import Exit
from hopbench.results.summary import Summary, summarise
from hopbench.runs import directory as rundir
from hopbench.runs import plan, rounds
from hopbench.runs.directory import RunDir
from hopbench.runs.limits import Limits
from services import codec
from services.doubts import Code
from services.errors import CannotStart
from services.scenario.file.parser import parse_text
from services.scenario.model import Scenario
from tests.command_line import Hopbench
from tests.documents import conforms

SCENARIO = """\
version: 1
name: mine
seed: 7
services:
  order: {operations: {create: [{work: 0.1ms}, {call: stock.take, count: 6, id: take}]}}
  stock: {operations: {take: [{sleep: {time: 1ms, per_item: 0.1ms}}]}}
load: {rate: 100/s, duration: 3s, warmup: 1s, entry: order.create}
expectations: [{kind: chatty.sequential, edge: order.create->stock.take}]
variants:
  batched:
    refactors: [{op: batch, edge: order->stock.take, size: 6}]
    expectations: []
"""
VIRTUAL = Settings("virtual", "embedded", True, 0.5, "lean", None)


def invoke(*arguments: object) -> Exit:
    return cli.invoke([*map(str, arguments), "--quiet"])


@dataclass(frozen=True)
class Done:
    code: Exit
    run: RunDir
    summary: dict[str, Any]

    def variant(self, name: str) -> dict[str, Any]:
        variants: list[dict[str, Any]] = self.summary["variants"]
        (found,) = [v for v in variants if v["name"] == name]
        return found

    def trials(self, name: str) -> list[dict[str, Any]]:
        return [t for t in self.summary["trials"] if t["variant"] == name]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenario") / "mine.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def done(mine: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Two rounds of each variant."""
    directory = tmp_path_factory.mktemp("runs")
    code = invoke(
        "run", mine, "--engine", "virtual", "--rounds", 2,
        "--out", directory / "a", "--json", directory / "a.json",
    )  # fmt: skip
    return Done(code, RunDir(directory / "a"), orjson.loads((directory / "a.json").read_bytes()))


def test_a_run_ends_with_a_summary_of_the_published_form(done: Done) -> None:
    assert done.code == Exit.DONE
    conforms(done.summary)
    assert orjson.loads(done.run.summary.read_bytes()) == done.summary


def test_a_summary_reads_itself(done: Done) -> None:
    text = done.run.summary.read_bytes()
    assert orjson.loads(codec.encode(codec.decode(Summary, text))) == orjson.loads(text)


def test_every_document_of_a_run_directory_has_the_published_form(done: Done) -> None:
    found = [done.run.plan, done.run.findings, *done.run.trials.glob("*/trial.json")]
    assert len(found) == 6
    for path in found:
        conforms(orjson.loads(path.read_bytes()))


def test_a_run_directory_holds_what_it_should(done: Done) -> None:
    names = {p.name for p in done.run.path.iterdir()}
    assert names >= {
        "scenario.yaml", "environment.json", "trials", "findings.json", "summary.json",
        "report.html", "report.md", "plan.json",
    }  # fmt: skip
    rounds = sorted(p.name for p in done.run.trials.iterdir())
    assert [name[:2] for name in rounds] == ["01", "02", "03", "04"]
    assert {name[3:] for name in rounds} == {"baseline", "batched"}
    for trial in done.run.trials.iterdir():
        left = {p.name for p in trial.iterdir()}
        assert left >= {"samples.parquet", "spans.parquet", "metrics.parquet", "doubts.json"}
        assert not [name for name in left if name.endswith((".spool", ".otlp"))]


def test_rounds_of_a_pair_share_their_seed_and_pairs_do_not(done: Done) -> None:
    order = orjson.loads(done.run.plan.read_bytes())["order"]
    seeds = {pair: {t["seed"] for t in order if t["pair"] == pair} for pair in (1, 2)}
    assert [len(s) for s in seeds.values()] == [1, 1]
    assert seeds[1] != seeds[2]
    assert all(
        {t["variant"] for t in order if t["pair"] == p} == {"baseline", "batched"} for p in (1, 2)
    )


def test_the_planted_edge_is_found_with_its_exact_count_and_its_refactor(done: Done) -> None:
    (finding,) = done.variant("baseline")["findings"]
    assert finding["kind"] == "chatty.sequential"
    assert finding["where"]["caller"] == "order"
    assert finding["where"]["callee"] == "stock"
    assert finding["count_per_request"]["p50"] == 6
    assert finding["refactor"] == {"op": "batch", "edge": "order->stock.take", "size": 6}
    assert [e["met"] for e in done.variant("baseline")["expectations"]] == [True]
    assert done.variant("baseline")["unexpected"] == []


def test_the_refactored_variant_has_no_finding_fewer_calls_and_is_faster(done: Done) -> None:
    before, after = done.variant("baseline"), done.variant("batched")
    assert after["findings"] == []
    assert (before["calls_per_request"], after["calls_per_request"]) == (6, 1)
    assert after["response_p50_ms"] < before["response_p50_ms"]
    assert after["refactors"] == [{"op": "batch", "edge": "order->stock.take", "size": 6}]
    assert (before["rounds"], before["void_rounds"]) == (2, 0)


def test_four_witnesses_agree(done: Done) -> None:
    """Generator, services, collector and the scenario itself."""
    for trial in done.summary["trials"]:
        spans = trial["spans"]
        assert spans["lost"] == 0
        assert spans["expected"] == spans["received"] == spans["by_scenario"]
        assert trial["requests"]["complete"] == trial["requests"]["sampled"]
        (served,) = [
            m
            for m in trial["metrics"]
            if m["name"] == "service.calls_per_request"
            and m["attributes"]["target.service"] == "order"
        ]
        place = done.run.trial(trial["round"], trial["variant"])
        samples = pl.read_parquet(place.samples)
        assert served["count"] == samples.height
        measured = samples.filter(pl.col("phase") == "measured")
        assert trial["load"]["sent"] == trial["load"]["ok"] == measured.height


def test_samples_have_the_columns_that_scripts_rely_on(done: Done) -> None:
    samples = pl.read_parquet(done.run.trial(1, done.summary["trials"][0]["variant"]).samples)
    assert samples.columns == [
        "seq", "intended_ns", "sent_ns", "done_ns", "status", "code", "trace_id", "sampled",
        "phase", "entry", "protocol", "worker", "request_bytes", "response_bytes",
    ]  # fmt: skip
    assert samples["trace_id"].str.contains("^[0-9a-f]{32}$").all()
    assert set(samples["entry"]) == {"order.create"}


def test_the_headline_is_the_median_of_unsampled_responses(done: Done) -> None:
    assert done.summary["headline"] == "unsampled"
    p50 = [t["latency_ms"]["unsampled"]["p50"] for t in done.trials("baseline")]
    assert done.variant("baseline")["response_p50_ms"] == sum(p50) / 2


def test_variants_of_a_pair_meet_the_same_requests(done: Done) -> None:
    def offsets(variant: str) -> list[list[int]]:
        found = []
        for trial in done.trials(variant):
            samples = pl.read_parquet(done.run.trial(trial["round"], variant).samples)
            found.append((samples["intended_ns"] - samples["intended_ns"][0]).to_list())
        return found

    assert offsets("baseline") == offsets("batched")
    assert offsets("baseline")[0] != offsets("baseline")[1]


def test_a_second_run_says_the_same_to_the_byte(done: Done, mine: Path, tmp_path: Path) -> None:
    code = invoke("run", mine, "--engine", "virtual", "--rounds", 2, "--out", tmp_path / "b")
    assert code == Exit.DONE
    again = RunDir(tmp_path / "b")
    assert again.findings.read_bytes() == done.run.findings.read_bytes()
    assert again.scenario.read_bytes() == done.run.scenario.read_bytes()
    summary = orjson.loads(again.summary.read_bytes())
    told = ("run_dir", "environment")
    assert {k: v for k, v in summary.items() if k not in told} == {
        k: v for k, v in done.summary.items() if k not in told
    }


def test_a_report_tells_a_run_again(done: Done) -> None:
    told = (done.run.summary, done.run.findings, done.run.path / "report.md")
    before = {path: path.read_bytes() for path in told}
    for path in before:
        path.unlink()
    assert invoke("report", done.run.path) == Exit.DONE
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("gate", "code"),
    [
        ("findings.chatty > 0", Exit.FAILED),
        ("variant(batched).findings.chatty > 0", Exit.DONE),
        ("edge(order->stock).calls_per_request > 2", Exit.FAILED),
        ("variant(batched).edge(order->stock).calls_per_request > 2", Exit.DONE),
        ("response_p50_ms > 100", Exit.DONE),
        ("failed_share > 0", Exit.DONE),
        ("dropped_share >= 0", Exit.FAILED),
        ("variant(batched).response_p50_ratio >= 1", Exit.DONE),
        ("response_p50_ratio != 1", Exit.DONE),
        ("edge(order->stock).client_p50_ms > 100", Exit.DONE),
        ("edge(order->stock).client_p50_ms > 0", Exit.FAILED),
        ("edge(order->stock).server_p50_ms > 1", Exit.FAILED),
        ("edge(order->stock).queue_p95_ms > 0", Exit.DONE),
        ("response_p99_ms > 100", Exit.INCONCLUSIVE),
    ],
)
def test_a_gate_decides_the_exit_code(done: Done, gate: str, code: Exit) -> None:
    assert invoke("report", done.run.path, "--fail-on", gate) == code


def test_every_name_of_a_gate_is_told_with_its_value(done: Done, hopbench: Hopbench) -> None:
    named = hopbench("gates", done.run.path, "--json", "-").document
    conforms(named)
    baseline = named["variants"][0]["values"]
    assert baseline["edge(order->stock.take).calls_per_request"] == 6
    assert baseline["findings.chatty.sequential"] == 1
    before = hopbench("gates", done.run.scenario, "--json", "-").document["variants"][0]["values"]
    assert before.keys() == baseline.keys()
    assert set(before.values()) == {None}


def test_a_gate_on_a_variant_without_a_valid_round_is_inconclusive(tmp_path: Path) -> None:
    _, planned, directory = executed(Dying(), tmp_path)
    hit = planned.order[1].variant
    for gate in ("response_p50_ms > 100", "findings.chatty > 0", "edge(order->stock).calls > 9"):
        told = invoke("report", directory.path, "--fail-on", f"variant({hit}).{gate}")
        assert told == Exit.INCONCLUSIVE


@pytest.mark.slow
def test_a_p99_that_no_round_shows_is_pooled_and_no_gate_takes_it(
    mine: Path, tmp_path: Path
) -> None:
    """A round has 150 requests that are not sampled; 368 identify a P99."""
    words = ("--engine", "virtual", "--rounds", "3", "--out", tmp_path / "three")
    assert invoke("run", mine, *words) == Exit.DONE
    summary = orjson.loads(RunDir(tmp_path / "three").summary.read_bytes())
    conforms(summary)
    for row in summary["variants"]:
        for of in (row, *row["entries"]):
            assert of["response_p99_ms"] is None
            assert of["response_p99_pooled_ms"] >= of["response_p95_ms"]
    for value in ("response_p99_ms", "variant(batched).response_p99_ratio"):
        told = invoke("report", tmp_path / "three", "--fail-on", f"{value} > 0")
        assert told == Exit.INCONCLUSIVE


def test_two_rounds_that_are_too_few_together_show_no_p99(done: Done) -> None:
    assert done.variant("baseline")["response_p99_pooled_ms"] is None


@pytest.mark.slow
def test_where_a_round_shows_a_p99_nothing_is_pooled(mine: Path, tmp_path: Path) -> None:
    words = ("--engine", "virtual", "--rounds", "2", "--duration", "10s", "--out", tmp_path / "ten")
    assert invoke("run", mine, *words) == Exit.DONE
    for row in orjson.loads(RunDir(tmp_path / "ten").summary.read_bytes())["variants"]:
        assert row["response_p99_ms"] is not None
        assert row["response_p99_pooled_ms"] is None


def test_a_quiet_command_says_why_it_failed(done: Done, capfd: pytest.CaptureFixture[str]) -> None:
    passed, failed = "findings.chain > 0", "findings.chatty.sequential > 0"
    code = invoke("report", done.run.path, "--fail-on", passed, "--fail-on", failed)
    assert code == Exit.FAILED
    assert capfd.readouterr().err.splitlines() == [f"gate FAILED: {failed} (value 1)"]


def test_a_run_directory_is_a_scenario(done: Done, tmp_path: Path) -> None:
    code = invoke(
        "run", done.run.path, "--engine", "virtual", "--variant", "batched",
        "--out", tmp_path / "c",
    )  # fmt: skip
    assert code == Exit.DONE
    summary = orjson.loads(RunDir(tmp_path / "c").summary.read_bytes())
    assert [v["name"] for v in summary["variants"]] == ["batched"]
    assert summary["seed"] == 7


def test_a_run_directory_may_have_any_name(mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs [of ä?] * {1}"
    code = invoke(
        "run", mine, "--engine", "virtual", "--variant", "baseline", "--duration", "1s",
        "--out", out,
    )  # fmt: skip
    assert code == Exit.DONE
    assert (out / "report.html").is_file()


def test_flags_hold_over_the_scenario(mine: Path, tmp_path: Path) -> None:
    code = invoke(
        "run", mine, "--engine", "virtual", "--variant", "baseline", "--rate", "40/s",
        "--duration", "2s", "--warmup", "0s", "--seed", "3", "--tracing", "off",
        "--out", tmp_path / "d",
    )  # fmt: skip
    assert code == Exit.DONE
    summary = orjson.loads(RunDir(tmp_path / "d").summary.read_bytes())
    conforms(summary)
    (trial,) = summary["trials"]
    assert (summary["seed"], trial["load"]["rate_rps"], summary["headline"]) == (3, 40, "all")
    assert {d["code"] for d in trial["doubts"]} >= {"tracing_off", "short_round", "short_warmup"}
    # Without traces an expectation is neither met nor failed, and a gate on findings knows nothing.
    assert [e["met"] for e in summary["variants"][0]["expectations"]] == [None]
    gate = invoke("report", tmp_path / "d", "--fail-on", "findings.chatty > 0")
    assert gate == Exit.INCONCLUSIVE


def test_whatever_is_null_has_its_reason_in_the_doubts(mine: Path, tmp_path: Path) -> None:
    """Ten requests, one or two of them sampled."""
    code = invoke(
        "run", mine, "--engine", "virtual", "--variant", "baseline", "--rate", "10/s",
        "--duration", "1s", "--warmup", "0s", "--trace-ratio", "0.2", "--out", tmp_path / "few",
    )  # fmt: skip
    assert code == Exit.DONE
    summary = orjson.loads(RunDir(tmp_path / "few").summary.read_bytes())
    (variant,), (trial,) = summary["variants"], summary["trials"]
    (reason,) = [d["text"] for d in trial["doubts"] if d["code"] == "not_identifiable"]
    unknown = {name for name, value in variant.items() if value is None}
    # There is one round, and nothing to pool.
    unknown.remove("response_p99_pooled_ms")
    assert unknown == {"response_p95_ms", "response_p99_ms", "direct_tax_ms"}
    assert all(name in reason for name in unknown)


def test_the_duration_that_a_doubt_names_tells_the_quantile(mine: Path, tmp_path: Path) -> None:
    def measured(*flags: str) -> dict[str, Any]:
        out = tmp_path / "".join(flags)
        words = ("--engine", "virtual", "--variant", "baseline", "--rate", "40/s", *flags)
        assert invoke("run", mine, *words, "--out", out) == Exit.DONE
        found: dict[str, Any] = orjson.loads(RunDir(out).summary.read_bytes())
        return found

    few = measured("--duration", "2s")
    doubts = [d["text"] for d in few["trials"][0]["doubts"] if d["code"] == "not_identifiable"]
    named = re.findall(r"response_p99_ms \((--duration) (\d+s) would\)", doubts[0])
    assert few["variants"][0]["response_p99_ms"] is None
    assert measured(*named[0])["variants"][0]["response_p99_ms"] is not None


def test_an_expectation_that_is_not_met_is_exit_1(mine: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(SCENARIO.replace("kind: chatty.sequential", "kind: chatty.redundant"))
    code = invoke(
        "run", path, "--engine", "virtual", "--variant", "baseline", "--out", tmp_path / "e"
    )
    assert code == Exit.FAILED
    (variant,) = orjson.loads(RunDir(tmp_path / "e").summary.read_bytes())["variants"]
    assert [f["kind"] for f in variant["unexpected"]] == ["chatty.sequential"]


# How a run can go wrong, on engines that do so in their second round.


class Failing(VirtualEngine):
    def __init__(self) -> None:
        super().__init__(VIRTUAL)
        self.rounds = 0
        self.closed = False

    async def round(self, plan: RoundPlan, directory: Path, progress: Progress) -> Evidence:
        self.rounds += 1
        found = await super().round(plan, directory, progress)
        return found if self.rounds == 1 else await self.fail(found)

    async def fail(self, found: Evidence) -> Evidence:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True


class Dying(Failing):
    async def fail(self, found: Evidence) -> Evidence:
        return replace(found, broken="order/0 died (SIGKILL)\nits last words")


class Refusing(Failing):
    async def fail(self, found: Evidence) -> Evidence:
        raise CannotStart("stock/0", "did not come up", "port taken")


class Hanging(Failing):
    """Is told to stop by a signal while its round goes on; its spools stay."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__()
        self.number = number

    async def fail(self, found: Evidence) -> Evidence:
        os.kill(os.getpid(), self.number)
        await asyncio.Event().wait()
        return found


def begun(
    tmp_path: Path, variants: tuple[str, ...] = (), number: int = 1
) -> tuple[plan.RunPlan, RunDir]:
    scenario: Scenario = parse_text(SCENARIO)
    planned = plan.plan_of(
        scenario, "0" * 64, variants=variants, rounds=number, settings=VIRTUAL, limits=Limits()
    )
    directory = RunDir(tmp_path / "run")
    directory.trials.mkdir(parents=True)
    rounds.begin(planned, directory)
    return planned, directory


def executed(engine: Failing, tmp_path: Path) -> tuple[rounds.Ended, plan.RunPlan, RunDir]:
    planned, directory = begun(tmp_path)
    ended = rounds.execute(
        rounds.Course(planned, planned.order, directory, engine, lambda turn, phase, share: None)
    )
    assert engine.closed
    return ended, planned, directory


def test_a_part_that_dies_is_exit_5_and_voids_its_round(tmp_path: Path) -> None:
    ended, planned, directory = executed(Dying(), tmp_path)
    assert ended.code == Exit.BROKEN
    hit = planned.order[1].variant
    assert ended.messages == [f"{hit}, round 2: order/0 died (SIGKILL)\nits last words"]
    first, second = summarise(planned, directory).trials
    assert (first.void, second.void) == (False, True)
    assert Code.BROKEN in [d.code for d in second.doubts]
    assert [t.round for t in rounds.missing(planned, directory)] == [2]


@pytest.mark.parametrize(("number", "shown"), [(3, False), (4, True)])
def test_a_void_round_is_not_pooled(tmp_path: Path, number: int, shown: bool) -> None:
    """Three rounds together identify a P99; the second is void."""
    planned, directory = begun(tmp_path, ("baseline",), number)
    for engine, turns in (
        (Dying(), planned.order[:2]),
        (VirtualEngine(VIRTUAL), planned.order[2:]),
    ):
        rounds.execute(
            rounds.Course(planned, turns, directory, engine, lambda turn, phase, share: None)
        )
    (variant,) = summarise(planned, directory).variants
    assert (variant.rounds, variant.void_rounds) == (number, 1)
    assert (variant.response_p99_pooled_ms is not None) is shown


def test_a_part_that_does_not_come_up_is_exit_5_and_keeps_what_was_measured(tmp_path: Path) -> None:
    ended, planned, directory = executed(Refusing(), tmp_path)
    assert ended.code == Exit.BROKEN
    assert ended.messages == ["stock/0: did not come up\nport taken"]
    assert [t.void for t in summarise(planned, directory).trials] == [False, True]


def test_where_parts_do_not_come_up_at_first_nothing_could_start(tmp_path: Path) -> None:
    class Never(Refusing):
        async def round(self, *_: object) -> Evidence:
            return await self.fail(None)  # type: ignore[arg-type]  # refuses whatever it is given

    ended, _, _ = executed(Never(), tmp_path)
    assert not ended.could_start
    assert executed(Refusing(), tmp_path / "second")[0].could_start


def test_a_void_round_is_repeated_and_counted(hopbench: Hopbench, tmp_path: Path) -> None:
    # So few requests that none is left in the measured phase.
    rare = ("--rate", "0.001/s", "--duration", "1s", "--variant", "baseline")
    words = ("run", "chatty", "--engine", "virtual", *rare, "--out", "run")
    told = hopbench(*words, "--repeat-void", "2", "--json", "-")
    (trial,) = told.document["trials"]
    assert trial["void"]
    assert trial["repeats"] == 2
    assert told.err.count("1 of 1 rounds are void") == 2
    resumed = hopbench("run", "--resume", "run", "--repeat-void", "1", "--json", "-")
    assert [trial["repeats"] for trial in resumed.document["trials"]] == [3]
    assert "repeated 3 rounds" in " ".join(resumed.err.split())


def test_a_run_that_cannot_start_tells_its_error_alone_and_leaves_nothing(
    hopbench: Hopbench, tmp_path: Path
) -> None:
    told = hopbench("run", "chain", "--broker", "localhost:1", "--out", "run")
    assert told.code == Exit.BROKEN
    assert "broker" in told.err
    assert told.out == b""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED)]
)
def test_a_signal_stops_the_engine_and_keeps_what_was_measured(
    number: signal.Signals, code: Exit, tmp_path: Path
) -> None:
    ended, planned, directory = executed(Hanging(number), tmp_path)
    assert ended.code == code
    first, second = summarise(planned, directory).trials
    assert not first.void
    assert Code.INTERRUPTED in [d.code for d in second.doubts]
    # The spools of the round that broke off were recovered.
    assert second.load.sent == first.load.sent
    assert second.requests.complete > 0
    conforms(orjson.loads(directory.summary.read_bytes()))


def test_a_resumed_run_ends_as_if_it_had_never_stopped(
    done: Done, mine: Path, tmp_path: Path
) -> None:
    asked = ["run", mine, "--engine", "virtual", "--rounds", 2, "--out", tmp_path / "r"]
    assert invoke(*asked) == Exit.DONE
    stopped = RunDir(tmp_path / "r")
    order = orjson.loads(stopped.plan.read_bytes())["order"]
    for turn in order[1:3]:
        trial = stopped.trial(turn["round"], turn["variant"])
        for path in trial.path.iterdir():
            path.unlink()
        trial.path.rmdir()
    assert invoke("run", "--resume", stopped.path) == Exit.DONE
    assert stopped.findings.read_bytes() == done.run.findings.read_bytes()
    trials = orjson.loads(stopped.summary.read_bytes())["trials"]
    assert trials == done.summary["trials"]


def on_another_machine(path: Path) -> None:
    """Change the environment that is written down there."""
    document = orjson.loads(path.read_bytes())
    document["cpu_model"] = "Another CPU"
    document["libraries"]["numpy"] = "0.1"
    path.write_bytes(orjson.dumps(document))


def test_a_round_resumed_elsewhere_has_an_environment_of_its_own_and_a_doubt(
    mine: Path, tmp_path: Path
) -> None:
    code = invoke(
        "run", mine, "--engine", "virtual", "--variant", "baseline", "--rounds", 2,
        "--out", tmp_path / "r",
    )  # fmt: skip
    assert code == Exit.DONE
    run = RunDir(tmp_path / "r")
    first, second = run.trial(1, "baseline"), run.trial(2, "baseline")
    here = orjson.loads(first.environment.read_bytes())
    for path in (run.environment, first.environment):
        on_another_machine(path)
    before = run.environment.read_bytes()
    shutil.rmtree(second.path)

    assert invoke("run", "--resume", run.path) == Exit.DONE
    assert run.environment.read_bytes() == before
    assert orjson.loads(first.environment.read_bytes())["cpu_model"] == "Another CPU"
    assert orjson.loads(second.environment.read_bytes())["cpu_model"] == here["cpu_model"]
    summary = orjson.loads(run.summary.read_bytes())
    assert summary["environment"]["cpu_model"] == "Another CPU"
    kept, resumed = (
        [d["text"] for d in trial["doubts"] if d["code"] == "environment"]
        for trial in summary["trials"]
    )
    assert kept == []
    assert resumed == [
        "not as in the run's first round: "
        f"cpu_model Another CPU → {here['cpu_model']}; numpy 0.1 → {here['libraries']['numpy']}"
    ]


def test_a_run_directory_is_run_by_one_at_a_time(tmp_path: Path) -> None:
    _, directory = begun(tmp_path)
    with rundir.claimed(directory):
        assert invoke("run", "--resume", directory.path) == Exit.BAD_INPUT
    assert invoke("run", "--resume", directory.path) == Exit.DONE


def test_a_report_leaves_the_spools_of_a_round_that_may_still_run(tmp_path: Path) -> None:
    _, _, directory = executed(Hanging(signal.SIGINT), tmp_path)
    spools = sorted(directory.trials.glob("02-*/*.otlp")) + sorted(
        directory.trials.glob("02-*/*.spool")
    )
    assert len(spools) == 3
    before = [path.read_bytes() for path in spools]
    assert invoke("report", directory.path) == Exit.DONE
    assert [path.read_bytes() for path in spools] == before


def test_a_run_that_never_began_a_round_can_be_reported(tmp_path: Path) -> None:
    planned, directory = begun(tmp_path)
    assert invoke("report", directory.path) == Exit.DONE
    summary = orjson.loads(directory.summary.read_bytes())
    conforms(summary)
    assert summary["trials"] == []
    assert [d["code"] for d in summary["doubts"]] == ["no_valid_round", "no_valid_round"]
    assert invoke("report", directory.path, "--strict") == Exit.VOID
    assert rundir.opened(directory.path) == directory
    assert len(rounds.missing(planned, directory)) == 2


def test_what_virtual_time_leaves_out_is_doubted_by_name(tmp_path: Path) -> None:
    lingering = SCENARIO.replace(
        "{call: stock.take, count: 6, id: take}", "{publish: stock.take, kafka: {linger: 20ms}}"
    ).partition("expectations")[0]
    (tmp_path / "mine.yaml").write_text(lingering)
    out = ("--engine", "virtual", "--out", tmp_path / "run")
    assert invoke("run", tmp_path / "mine.yaml", *out) == Exit.DONE
    (trial,) = orjson.loads(RunDir(tmp_path / "run").summary.read_bytes())["trials"]
    (doubt,) = [doubt for doubt in trial["doubts"] if doubt["code"] == "not_modelled"]
    assert "order->stock.take" in doubt["text"]
    assert not doubt["voids"]
