"""`hopbench compare` from end to end, in virtual time."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from hopbench import cli, engines
from hopbench.comparison.looking import Looks
from hopbench.engines.port import Evidence, Progress, RoundPlan, Settings
from hopbench.engines.virtual import VirtualEngine
from hopbench.exits import Exit
from hopbench.front import documents
from hopbench.runs import plan
from hopbench.runs.directory import RunDir
from hopbench.statistics import Floats, stopping
from tests.command_line import Hopbench

SCENARIO = """\
version: 1
name: mine
seed: 7
services:
  order: {operations: {create: [{work: 0.1ms}, {call: stock.take, count: 6, id: take}]}}
  stock: {operations: {take: [{sleep: {time: {exponential: 1ms}, per_item: 0.1ms}}]}}
load: {rate: 120/s, duration: 1s, warmup: 100ms, entry: order.create}
variants:
  batched: {refactors: [{op: batch, edge: order->stock.take, size: 6}]}
  spread: {refactors: [{op: parallelize, at: order.create}]}
"""
TWO_ENTRIES = """\
version: 1
name: two
seed: 7
services:
  shop:
    operations:
      buy: [{call: stock.take, count: 6, id: take}]
      look: [{sleep: {exponential: 2ms}}]
  stock: {operations: {take: [{sleep: 1ms}]}}
load:
  {rate: 180/s, duration: 1s, warmup: 100ms, entries: [{call: shop.buy, weight: 3}, shop.look]}
variants:
  spread: {refactors: [{op: parallelize, at: shop.buy}]}
"""
TWO_PATHS = """\
version: 1
name: paths
seed: 7
services:
  shop: {operations: {buy: [{call: cart.sum}, {call: stock.take}]}}
  cart: {operations: {sum: [{call: stock.take, count: 2, id: take}]}}
  stock: {operations: {take: [{call: disk.read}]}}
  disk: {operations: {read: [sleep: 1ms]}}
load: {rate: 120/s, duration: 1s, warmup: 100ms, entry: shop.buy}
"""
TWO_ARMS = ("--variants", "baseline,batched", "--pairs", 6, "--duration", "400ms")
VIRTUAL = Settings("virtual", "embedded", True, 0.5, "lean", None)


def invoke(*arguments: object) -> Exit:
    return cli.invoke([*map(str, arguments), "--quiet"])


def conforms(document: Any) -> None:
    name = document["schema"].removeprefix("hopbench.").partition("/")[0]
    Draft202012Validator(documents.schema(name)).validate(document)


def blocks_of(order: list[Any]) -> list[list[Any]]:
    """Of two arms."""
    return [order[at : at + 4] for at in range(0, len(order), 4)]


def read(path: Path) -> Any:
    return orjson.loads(path.read_bytes())


@dataclass(frozen=True)
class Done:
    code: Exit
    run: RunDir
    verdict: Any

    def metric(self, name: str, entry: str | None = None) -> Any:
        (found,) = [
            m for m in self.verdict["metrics"] if (m["metric"], m["entry"]) == (name, entry)
        ]
        return found

    @property
    def doubts(self) -> set[str]:
        return {doubt["code"] for doubt in self.verdict["doubts"]}


def compared(directory: Path, *words: object) -> Done:
    code = invoke("compare", *words, "--engine", "virtual", "--out", directory)
    run = RunDir(directory)
    return Done(code, run, read(run.verdict))


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenario") / "mine.yaml"
    path.write_text(SCENARIO)
    return path


@pytest.fixture(scope="module")
def done(mine: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return compared(
        tmp_path_factory.mktemp("runs") / "a", mine, "--variants", "baseline,batched", "--pairs", 8
    )


@pytest.fixture(scope="module")
def null(mine: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    return compared(
        tmp_path_factory.mktemp("runs") / "null",
        mine,
        *("--variants", "baseline,baseline", "--pairs", 20, "--duration", "500ms"),
    )


# What it says


def test_a_batch_is_faster_and_the_sentence_says_by_how_much(done: Done) -> None:
    assert done.code == Exit.DONE
    assert done.verdict["verdict"] == "faster"
    primary = done.metric("response_p50", "order.create")
    assert primary["primary"]
    assert primary["verdict"] == "faster"
    low, high = primary["interval"]
    assert low <= primary["ratio"] <= high < 0.6
    assert re.fullmatch(
        r"batched: order\.create P50 [\d.]+ → [\d.]+ ms, 0\.\d+× \[0\.\d+, 0\.\d+\], faster "
        r"\(order\.create->stock\.take: 6 → 1 calls, -\d\.\d+ ms\); nothing got worse\.",
        done.verdict["sentence"],
    )


def test_a_verdict_has_the_published_form_and_lies_in_the_run_directory(done: Done) -> None:
    conforms(done.verdict)
    assert {"verdict.json", "summary.json", "report.md", "plan.json"} <= {
        path.name for path in done.run.path.iterdir()
    }
    conforms(read(done.run.plan))
    conforms(read(done.run.summary))


def test_every_pair_is_there_for_a_sceptic_to_see(done: Done) -> None:
    primary = done.metric("response_p50", "order.create")
    assert len(primary["pairs"]) == done.verdict["pairs"] == done.verdict["planned_pairs"] == 8
    ratios = [pair["b"] / pair["a"] for pair in primary["pairs"]]
    assert min(ratios) <= primary["ratio"] <= max(ratios)
    summary = read(done.run.summary)
    shown = {t["latency_ms"]["unsampled"]["p50"] for t in summary["trials"]}
    assert {side for pair in primary["pairs"] for side in pair.values()} == shown


def test_counts_are_exact_and_called_less(done: Done) -> None:
    calls = done.metric("calls_per_request")
    assert (calls["a"], calls["b"], calls["ratio"]) == (6, 1, pytest.approx(1 / 6))
    assert done.metric("bytes_per_request")["ratio"] == pytest.approx(1)


def test_guardrails_are_told_with_failures_as_a_difference(done: Done) -> None:
    rows = {row["metric"]: row for row in done.verdict["guardrails"]}
    assert rows.keys() == {"bytes_per_request", "cpu_us_per_request", "failed_share"}
    assert rows["failed_share"]["ratio"] is None
    assert rows["failed_share"]["difference"] == 0
    assert not any(row["worse"] for row in rows.values())
    assert all(row["ruled_out"] for row in rows.values())


@pytest.mark.slow
def test_of_so_few_pairs_that_nothing_can_be_called_worse_nobody_says_that_nothing_is(
    mine: Path, tmp_path: Path
) -> None:
    found = compared(tmp_path / "r", mine, *TWO_ARMS)
    assert found.verdict["verdict"] == "faster"
    assert not any(row["worse"] or row["ruled_out"] for row in found.verdict["guardrails"])
    assert found.verdict["sentence"].endswith(
        "; not ruled out: worse bytes per request or CPU per request or failed requests."
    )


def test_the_ratio_function_is_cut_where_rounds_are_too_few_to_know(done: Done) -> None:
    points = done.verdict["ratio_function"]
    shown = [point["quantile"] for point in points]
    assert 0.5 in shown
    assert 0.99 not in shown
    assert {point["entry"] for point in points} == {"order.create"}
    assert all(point["low"] <= point["ratio"] <= point["high"] for point in points)


@pytest.mark.slow
def test_fewer_than_twenty_pairs_are_a_doubt(done: Done, null: Done) -> None:
    assert "pairs_as_units" in done.doubts
    assert done.verdict["unit"] == "pair"
    assert "pairs_as_units" not in null.doubts
    assert null.verdict["unit"] == "block"


@pytest.mark.slow
def test_a_variant_against_itself_is_two_arms_and_equivalent(null: Done) -> None:
    assert null.code == Exit.DONE
    assert (null.verdict["a"], null.verdict["b"]) == ("baseline", "baseline")
    assert null.verdict["arms"] == [0, 1]
    assert null.verdict["verdict"] == "equivalent"
    assert null.verdict["sentence"].startswith("baseline (2): ")
    assert null.verdict["null"]["pairs"] == null.verdict["pairs"] == 20
    assert len(list(null.run.trials.iterdir())) == 40


@pytest.mark.slow
def test_the_other_way_round_it_is_slower_by_as_much(
    done: Done, mine: Path, tmp_path: Path
) -> None:
    words = ("--variants", "batched,baseline", "--pairs", 8, "--fail-on", "verdict == slower")
    found = compared(tmp_path / "r", mine, *words)
    assert found.code == Exit.FAILED
    assert found.verdict["verdict"] == "slower"
    one, other = (each.metric("response_p50", "order.create") for each in (done, found))
    assert (one["a"], one["b"]) == (other["b"], other["a"])
    assert one["ratio"] * other["ratio"] == pytest.approx(1)


@pytest.mark.slow
def test_several_arms_are_each_compared_with_the_first(mine: Path, tmp_path: Path) -> None:
    """Without --variants: the baseline with every variant."""
    found = compared(tmp_path / "r", mine, "--pairs", 8, "--duration", "400ms")
    conforms(found.verdict)
    sides = [(each["a"], each["b"]) for each in found.verdict["comparisons"]]
    assert sides == [("baseline", "batched"), ("baseline", "spread")]
    assert {each["verdict"] for each in found.verdict["comparisons"]} == {"faster"}


@pytest.mark.slow
def test_of_several_entries_the_primary_is_their_weighted_geometric_mean(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(TWO_ENTRIES)
    found = compared(tmp_path / "r", path, "--pairs", 6)
    conforms(found.verdict)
    buy, look = (found.metric("response_p50", f"shop.{name}") for name in ("buy", "look"))
    whole = found.metric("response_p50")
    assert whole["primary"]
    assert not buy["primary"]
    assert look["ratio"] == pytest.approx(1)
    for pair, of_buy, of_look in zip(whole["pairs"], buy["pairs"], look["pairs"], strict=True):
        assert pair["b"] == pytest.approx(of_buy["b"] ** 0.75 * of_look["b"] ** 0.25)
    assert found.verdict["sentence"].startswith("spread: P50 of all entries ")


def test_why_it_changed_adds_up_and_names_the_calls_that_are_gone(done: Done) -> None:
    why = {part["edge"]: part for part in done.verdict["why"] if part["path"] is None}
    assert why.keys() == {"order.create->stock.take", "order.create"}
    means = done.verdict["mean_ms"]["sampled"]
    for side in ("a", "b"):
        assert sum(p[f"{side}_ms"] for p in why.values()) == pytest.approx(means[side], rel=1e-12)
    saved = why["order.create->stock.take"]
    assert (saved["a_calls"], saved["b_calls"]) == (6, 1)
    low, high = saved["change_ms"]
    assert low < high < 0
    itself = why["order.create"]
    assert (itself["a_calls"], itself["change_ms"]) == (None, [0, 0])


def test_what_gates_can_ask_is_named_before_and_has_values_afterwards(
    done: Done, mine: Path, hopbench: Hopbench
) -> None:
    before, after = (
        {
            of["name"]: of["values"]
            for of in hopbench("gates", what, "--json", "-").document["variants"]
        }
        for what in (mine, done.run.path)
    )
    assert before["batched"].keys() == after["batched"].keys()
    assert (before["batched"]["verdict"], after["batched"]["verdict"]) == (None, "faster")
    assert "verdict" not in before["baseline"]


@pytest.mark.slow
def test_by_call_path_it_adds_up_too_and_tells_apart_how_an_edge_was_reached(
    tmp_path: Path,
) -> None:
    twice, once, comment = (tmp_path / name for name in ("twice.yaml", "once.yaml", "comment.md"))
    twice.write_text(TWO_PATHS)
    once.write_text(TWO_PATHS.replace("count: 2", "count: 1"))
    words = ("--pairs", 6, "--duration", "1s", "--markdown", comment)
    found = compared(tmp_path / "r", twice, once, *words)
    conforms(found.verdict)
    by_edge, by_path = (
        {part[name]: part for part in found.verdict["why"] if part[name] is not None}
        for name in ("edge", "path")
    )
    longer, shorter = (f"shop.buy > {way}stock.take > disk.read" for way in ("cart.sum > ", ""))
    assert (by_path[longer]["a_calls"], by_path[longer]["b_calls"]) == (2, 1)
    assert (by_path[shorter]["a_calls"], by_path[shorter]["b_calls"]) == (1, 1)
    edge = by_edge["stock.take->disk.read"]
    assert (edge["a_calls"], edge["b_calls"]) == (3, 2)
    for side in ("a_ms", "b_ms"):
        whole = found.verdict["mean_ms"]["sampled"][side[0]]
        assert sum(part[side] for part in by_path.values()) == pytest.approx(whole, rel=1e-12)
        assert by_path[longer][side] + by_path[shorter][side] == pytest.approx(edge[side])

    assert longer in comment.read_text()


def test_without_traces_there_is_a_verdict_and_no_why(mine: Path, tmp_path: Path) -> None:
    found = compared(tmp_path / "r", mine, *TWO_ARMS, "--tracing", "off")
    conforms(found.verdict)
    assert found.verdict["verdict"] == "faster"
    assert found.verdict["why"] == []
    assert found.metric("calls_per_request")["ratio"] == pytest.approx(1 / 6)


@pytest.mark.slow
def test_failed_requests_are_a_row_with_a_difference_and_hops_are_counted(
    done: Done, null: Done
) -> None:
    failed = null.metric("failed_share")
    assert (failed["ratio"], failed["difference"], failed["verdict"]) == (None, 0, "equivalent")
    hops = done.metric("hops_per_request")
    assert (hops["a"], hops["b"]) == (6, 1)


@pytest.mark.slow
def test_the_ledger_lies_beside_the_runs_and_says_what_can_be_told_here(
    hopbench: Hopbench, mine: Path
) -> None:
    asked = ("compare", mine, "--engine", "virtual", *TWO_ARMS, "--json", "-")
    first = hopbench(*asked)
    assert "what 6 pairs can tell is not known here yet" in first.err
    assert first.document["ledger"]["comparisons"] == 1
    assert (hopbench.directory / "runs" / "ledger.parquet").is_file()

    second = hopbench(*asked)
    assert "6 pairs here can tell 0 % at P50" in second.err
    kept = second.document["ledger"]
    assert (kept["comparisons"], kept["pairs"], kept["called"]) == (2, 12, 0)
    conforms(second.document)
    elsewhere = hopbench(*asked, "--duration", "400ms", "--out", "elsewhere")
    assert elsewhere.document["ledger"] is None
    # Told again it counts once.
    again = hopbench("report", second.document["run_dir"], "--json", "-")
    assert again.document["ledger"] == kept
    (hopbench.directory / "runs" / "ledger.parquet").write_bytes(b"no Parquet")
    assert hopbench(*asked).code == Exit.BAD_INPUT


# The order of rounds


@pytest.mark.slow
def test_blocks_are_drawn_and_their_rounds_share_a_seed(null: Done) -> None:
    order = read(null.run.plan)["order"]
    blocks = {tuple(turn["arm"] for turn in block) for block in blocks_of(order)}
    assert blocks == {(0, 1, 1, 0), (1, 0, 0, 1)}
    seeds = [{turn["seed"] for turn in block} for block in blocks_of(order)]
    assert [len(each) for each in seeds] == [1] * 10
    assert len(set.union(*seeds)) == 10


def test_many_arms_and_entries_have_as_many_pairs_as_their_figures_need(
    hopbench: Hopbench, mine: Path
) -> None:
    def pairs(*words: object) -> int:
        asked = ("compare", *words, "--engine", "virtual", "--dry-run", "--json", "-")
        return int(2 * hopbench(*asked).document["design"]["blocks"])

    assert pairs(mine) == 20
    assert pairs("checkout") == 24
    assert pairs("checkout", "--variants", "baseline,batched") == 20


@pytest.mark.slow
def test_pairs_are_made_crosswise(null: Done) -> None:
    """The first round of one arm with the second of the other."""
    order = read(null.run.plan)["order"]
    for number in range(1, 21):
        one, other = (turn for turn in order if turn["pair"] == number)
        assert other["round"] - one["round"] == 2
        assert {one["arm"], other["arm"]} == {0, 1}


def test_the_same_seed_draws_the_same_order_and_another_one_another(
    hopbench: Hopbench, mine: Path
) -> None:
    def drawn(*words: object) -> list[int]:
        asked = ("compare", mine, "--engine", "virtual", "--dry-run", "--json", "-")
        told = hopbench(*asked, *words)
        conforms(told.document)
        return [turn["arm"] for turn in told.document["order"]]

    assert drawn() == drawn()
    assert drawn() != drawn("--seed", 3)
    short = drawn("--pairs", 12)
    assert drawn()[: len(short)] == short


@pytest.mark.slow
def test_until_ends_after_the_block_that_is_enough_and_a_resumed_run_knows(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def eleven(null: Floats, width: float, alpha: float) -> bool:
        assert (null.shape[1], width) == (2, 0.05)
        looked.append(len(null))
        return len(null) >= 11

    monkeypatch.setattr(stopping, "enough", eleven)
    words = ("--variants", "baseline,batched", "--until", "5%", "--duration", "400ms")
    found = compared(tmp_path / "r", mine, *words)
    assert set(looked) == {10, 11}
    assert found.code == Exit.DONE
    assert (found.verdict["pairs"], found.verdict["planned_pairs"]) == (22, 22)
    assert (found.verdict["until"], found.verdict["verdict"]) == (0.05, "faster")
    conforms(found.verdict)
    conforms(read(found.run.plan))
    before = found.run.verdict.read_bytes()
    assert invoke("compare", "--resume", found.run.path) == Exit.DONE
    assert found.run.verdict.read_bytes() == before


@pytest.mark.slow
def test_equals_need_no_more_than_the_first_look(mine: Path, tmp_path: Path) -> None:
    """In virtual time rounds of one arm are equal."""
    words = ("--variants", "baseline,batched", "--until", "5%", "--duration", "400ms")
    assert compared(tmp_path / "r", mine, *words).verdict["pairs"] == 20


# Bad input


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--pairs 4 --variants baseline,batched", "--pairs 6"),
        ("--pairs 7 --variants baseline,batched", "--pairs 8"),
        ("--pairs 6", "--pairs 8"),
        ("--pairs 6 --variants baseline,batched --level 0.99", "--pairs 8"),
        ("--variants baseline", "baseline,baseline"),
        ("--variants baseline,bached", "bached"),
        ("--level 1", "--level"),
        ("--delta much", "--delta"),
        ("--delta 200%", "--delta"),
        ("--markdown no/such/place.md", "--markdown"),
        ("--until 0%", "--until"),
        ("--until 5% --pairs 18", "--pairs 20"),
        ("--until 5% --metric cpu_us_per_request", "response times"),
        ("--level 0.999 --variants baseline,batched --pairs 20", "--pairs 22"),
        ("--level 0.99999", "--level 0.95"),
        ("--json - --markdown -", "both"),
        ("--observer --tracing off", "--tracing on"),
        ("other.yaml --variants baseline,batched", "two are named"),
        ("other.yaml other.yaml", "3 scenarios"),
        ("other.yaml", "entries"),
        ("slow.yaml", "rates"),
        ("sizes.yaml", "sizes"),
        ("--variants baseline,batched,batched", "twice"),
        ("--variants baseline,,batched", "empty"),
        ("--pairs 1", "--pairs 8"),
        ("--pairs 100000000", "1000"),
        ("--observer --trace-ratio 1", "--trace-ratio 0.5"),
        ("--fail-on 'verdict == slowr'", "slower"),
        ("--metric response_p5", "response_p50"),
        ("--metric response_p99", "--duration"),
        ("--metric response_p99", "--metric response_p90"),
        ("--metric throughput_rps", "response times"),
        ("--fail-on 'verdict > 3'", "verdict"),
        ("--fail-on 'verdict_ == slower'", "verdict"),
    ],
)
def test_what_can_end_in_no_verdict_is_refused_before_anything_starts(
    hopbench: Hopbench, mine: Path, words: str, told: str
) -> None:
    (hopbench.directory / "other.yaml").write_text(TWO_ENTRIES)
    (hopbench.directory / "slow.yaml").write_text(SCENARIO.replace("120/s", "60/s"))
    larger = "entries: [{call: order.create, request: 1MiB}]"
    sizes = SCENARIO.replace("entry: order.create", larger)
    (hopbench.directory / "sizes.yaml").write_text(sizes)
    arguments = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", words)]
    ended = hopbench("compare", mine, "--engine", "virtual", *arguments)
    assert ended.code == Exit.BAD_INPUT
    assert told in ended.err
    assert not (hopbench.directory / "runs").exists()


def test_a_duration_that_a_refusal_names_is_long_enough(hopbench: Hopbench, mine: Path) -> None:
    asked = ("compare", mine, "--engine", "virtual", "--metric", "response_p99", "--dry-run")
    (duration,) = re.findall(r"--duration \d+s", hopbench(*asked).err)
    assert hopbench(*asked, *duration.split()).code == Exit.DONE


# Gates


@pytest.mark.parametrize(
    ("gate", "code"),
    [
        ("verdict == faster", Exit.FAILED),
        ("verdict == slower", Exit.DONE),
        ("variant(batched).verdict != faster", Exit.DONE),
        ("worse_guardrails > 0", Exit.DONE),
        ("pairs < 8", Exit.DONE),
        ("response_p50_ratio > 1", Exit.DONE),
        ("calls_per_request_ratio < 0.5", Exit.FAILED),
        ("variant(batched).findings.chatty > 0", Exit.DONE),
        ("variant(baseline).findings.chatty > 0", Exit.FAILED),
        ("response_p99_ratio > 1", Exit.INCONCLUSIVE),
    ],
)
def test_a_gate_is_about_what_is_compared(done: Done, gate: str, code: Exit) -> None:
    assert invoke("report", done.run.path, "--fail-on", gate) == code


def test_a_report_tells_the_verdict_again(done: Done) -> None:
    before = done.run.verdict.read_bytes()
    done.run.verdict.unlink()
    assert invoke("report", done.run.path) == Exit.DONE
    assert done.run.verdict.read_bytes() == before


@pytest.mark.slow
def test_a_gate_without_a_variant_is_about_every_arm(
    hopbench: Hopbench, mine: Path, tmp_path: Path
) -> None:
    found = hopbench(
        *("compare", mine, "--engine", "virtual", "--pairs", 8, "--duration", "400ms"),
        *("--fail-on", "verdict == faster", "--out", tmp_path / "r"),
    )
    assert found.code == Exit.FAILED
    assert "gate FAILED: variant(batched).verdict == faster" in found.err
    assert "gate FAILED: variant(spread).verdict == faster" in found.err


# How it is shown


def test_a_terminal_of_80_columns_is_wide_enough_and_begins_with_the_sentence(
    done: Done, hopbench: Hopbench
) -> None:
    told = hopbench("report", done.run.path, COLUMNS="80").out.decode()
    lines = told.splitlines()
    assert " ".join(told.split()).startswith(done.verdict["sentence"])
    assert max(map(len, lines[:-1])) <= 80
    for expected in ("░ within 5 %: equivalent", "each pair", "guardrails: ", "null: ", "Doubts"):
        assert expected in told


@pytest.mark.slow
def test_markdown_is_for_a_comment(done: Done, hopbench: Hopbench, mine: Path) -> None:
    text = (done.run.path / "report.md").read_text()
    assert text.startswith(f"**{done.verdict['sentence']}**\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {9, 6}
    asked = ("compare", mine, "--engine", "virtual", "--variants", "baseline,batched")
    told = hopbench(*asked, "--pairs", 6, "--duration", "400ms", "--markdown", "comment.md")
    assert told.code == Exit.DONE
    assert (hopbench.directory / "comment.md").read_text().startswith("**batched: ")


# How it can go wrong


@dataclass
class Course:
    """What engines of this test have run, and what becomes of a round."""

    spoil: Callable[[int, Evidence], Evidence] = lambda number, found: found
    """By the number of a round, and how it ended."""
    stop_in: int | None = None
    ran: list[int] | None = None


class Spoiling(VirtualEngine):
    def __init__(self, course: Course) -> None:
        super().__init__(VIRTUAL)
        self.course = course

    async def round(self, plan: RoundPlan, directory: Path, progress: Progress) -> Evidence:
        assert self.course.ran is not None
        self.course.ran.append(plan.round)
        found = await super().round(plan, directory, progress)
        if self.course.stop_in == plan.round:
            self.course.stop_in = None
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()
        return self.course.spoil(plan.round, found)


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[Course], Course]:
    def with_course(course: Course) -> Course:
        course.ran = []
        monkeypatch.setattr(engines, "engine", lambda settings: Spoiling(course))
        return course

    return with_course


def undrained(*rounds: int) -> Callable[[int, Evidence], Evidence]:
    """A round is void as often as it is named."""
    left = list(rounds)

    def spoil(number: int, found: Evidence) -> Evidence:
        if number not in left:
            return found
        left.remove(number)
        return replace(found, undrained="work was still going on")

    return spoil


@pytest.mark.slow
def test_a_void_round_has_its_block_repeated_in_the_same_order(
    mine: Path, tmp_path: Path, spoiled: Callable[[Course], Course]
) -> None:
    course = spoiled(Course(undrained(6)))
    found = compared(tmp_path / "r", mine, *TWO_ARMS)
    assert course.ran == [*range(1, 13), 5, 6, 7, 8]
    assert found.code == Exit.DONE
    assert (found.verdict["pairs"], found.verdict["repeated_blocks"]) == (6, 1)
    assert found.verdict["void_rounds"] == 0
    (again,) = read(found.run.repeated)["repeated"]
    (void,) = again["void"]
    assert (again["block"], void["round"], void["codes"]) == (2, 6, ["undrained"])
    assert sum(found.verdict["repeated_for"].values()) == 1
    assert "voids_differ" not in found.doubts


@pytest.mark.slow
def test_an_arm_whose_rounds_are_void_more_often_than_the_others_is_a_doubt(
    mine: Path, tmp_path: Path, spoiled: Callable[[Course], Course]
) -> None:
    spoiled(Course())
    planned = compared(tmp_path / "p", mine, *TWO_ARMS)
    behind = [t["round"] for t in read(planned.run.plan)["order"] if t["arm"] == 1]
    spoiled(Course(undrained(*behind)))
    found = compared(tmp_path / "r", mine, *TWO_ARMS, "--repeat-void", 6)
    assert found.verdict["repeated_for"] == {"a": 0, "b": 6}
    assert "voids_differ" in found.doubts
    conforms(found.verdict)


@pytest.mark.slow
def test_a_block_that_stays_void_is_left_out_and_too_few_pairs_are_void(
    mine: Path, tmp_path: Path, spoiled: Callable[[Course], Course]
) -> None:
    course = spoiled(Course(undrained(6, 6, 6)))
    found = compared(tmp_path / "r", mine, *TWO_ARMS, "--repeat-void", 2)
    assert course.ran is not None
    assert len(course.ran) == 12 + 2 * 4
    assert found.code == Exit.VOID
    assert found.verdict["verdict"] == "void"
    assert found.verdict["sentence"].endswith("but no verdict (void).")
    assert (found.verdict["pairs"], found.verdict["repeated_blocks"]) == (4, 2)
    assert found.verdict["void_rounds"] == 1
    assert {"few_pairs", "undrained"} <= found.doubts
    conforms(found.verdict)


def test_where_every_round_is_void_there_is_still_a_document(
    mine: Path, tmp_path: Path, spoiled: Callable[[Course], Course]
) -> None:
    spoiled(Course(lambda number, found: replace(found, undrained="work was still going on")))
    found = compared(tmp_path / "r", mine, *TWO_ARMS, "--repeat-void", 0)
    assert found.code == Exit.VOID
    assert (found.verdict["metrics"], found.verdict["pairs"]) == ([], 0)
    assert found.verdict["sentence"].endswith("since no block is whole and without a void round.")
    conforms(found.verdict)


@pytest.mark.slow
def test_a_part_that_dies_is_exit_5_and_the_rounds_are_kept(
    mine: Path, tmp_path: Path, spoiled: Callable[[Course], Course]
) -> None:
    spoiled(Course(lambda n, found: replace(found, broken="stock died") if n == 2 else found))
    found = compared(tmp_path / "r", mine, *TWO_ARMS)
    assert found.code == Exit.BROKEN
    assert (found.verdict["verdict"], found.verdict["pairs"]) == ("void", 4)
    assert found.verdict["repeated_blocks"] == 0
    course = spoiled(Course(undrained()))
    assert invoke("compare", "--resume", found.run.path) == Exit.DONE
    assert course.ran == [1, 2, 3, 4]
    assert read(found.run.verdict)["verdict"] == "faster"


@pytest.mark.slow
def test_what_stops_before_its_last_round_has_figures_and_no_verdict_until_it_is_resumed(
    mine: Path, tmp_path: Path, spoiled: Callable[[Course], Course]
) -> None:
    whole = compared(tmp_path / "whole", mine, *TWO_ARMS, "--pairs", 8)
    course = spoiled(Course(undrained(), stop_in=14))
    found = compared(tmp_path / "r", mine, *TWO_ARMS, "--pairs", 8)
    assert found.code == Exit.INTERRUPTED
    assert found.verdict["pairs"] == 6
    assert (found.verdict["verdict"], found.verdict["resumed"]) == ("void", False)
    assert {row["verdict"] for row in found.verdict["metrics"]} == {"void"}
    assert "faster" not in (found.run.path / "report.md").read_text()
    assert "unfinished" in found.doubts
    assert len(found.metric("response_p50", "order.create")["pairs"]) == 6

    assert invoke("compare", "--resume", found.run.path) == Exit.DONE
    assert course.ran is not None
    assert course.ran[-4:] == [14, 14, 15, 16]
    after = read(found.run.verdict)
    assert after["resumed"]
    assert after["metrics"] == whole.verdict["metrics"]
    assert after["sentence"] == whole.verdict["sentence"]


@pytest.mark.slow
def test_a_repetition_that_stops_half_way_begins_its_block_anew_and_counts_once(
    mine: Path, tmp_path: Path, spoiled: Callable[[Course], Course]
) -> None:
    spoil = undrained(6)
    course = spoiled(Course(spoil))

    def stop_when_repeated(number: int, found: Evidence) -> Evidence:
        assert course.ran is not None
        if len(course.ran) == 13:
            course.stop_in = 6
        return spoil(number, found)

    course.spoil = stop_when_repeated
    found = compared(tmp_path / "r", mine, *TWO_ARMS)
    assert found.code == Exit.INTERRUPTED
    assert invoke("compare", "--resume", found.run.path) == Exit.DONE
    assert course.ran is not None
    assert course.ran[12:] == [5, 6, 5, 6, 7, 8]
    assert read(found.run.verdict)["repeated_blocks"] == 1


@pytest.mark.slow
def test_what_was_killed_between_the_end_of_a_round_and_its_tables_does_not_stand_in_the_way(
    null: Done, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "r")
    shutil.copytree(null.run.path, run.path)
    planned = plan.read(run)
    assert planned.design is not None
    until = replace(planned, design=replace(planned.design, until=0.05))
    assert Looks(until, run).enough()
    next(iter(run.trials.glob("19-*"))).joinpath("samples.parquet").unlink()
    assert not Looks(until, run).enough()
    assert Looks(until, run).needed() == planned.design.blocks


def test_another_environment_ends_a_comparison(done: Done, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "r")
    shutil.copytree(done.run.path, run.path)
    shutil.rmtree(next(iter(run.trials.glob("12-*"))))
    document = read(run.environment)
    document["cpu_model"] = "Another CPU"
    run.environment.write_bytes(orjson.dumps(document))
    assert invoke("compare", "--resume", run.path) == Exit.BAD_INPUT
    assert len(list(run.trials.iterdir())) == 15
    assert not run.resumed.exists()


def test_run_and_compare_do_not_go_on_with_each_other(done: Done, hopbench: Hopbench) -> None:
    told = hopbench("run", "--resume", done.run.path)
    assert told.code == Exit.BAD_INPUT
    assert f"hopbench compare --resume {done.run.path}" in told.err


# The observer


@pytest.mark.slow
def test_the_observer_gives_each_arm_a_twin_without_tracing_in_each_block(
    mine: Path, tmp_path: Path
) -> None:
    """In virtual time tracing costs nothing."""
    found = compared(tmp_path / "r", mine, *TWO_ARMS, "--observer")
    conforms(found.verdict)
    order = read(found.run.plan)["order"]
    assert len(order) == 3 * 8
    assert sorted(turn["arm"] for turn in order[:8]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {turn["arm"] for turn in order if not turn["traced"]} == {2, 3}
    assert found.verdict["spillover_ms"] == {
        "a": 0,
        "a_interval": [0, 0],
        "b": 0,
        "b_interval": [0, 0],
    }
    assert (found.verdict["pairs"], found.verdict["verdict"]) == (6, "faster")
    assert "tracing_off" not in found.doubts
    summary = read(found.run.summary)
    conforms(summary)
    assert [row["rounds"] for row in summary["variants"]] == [6, 6]
    assert [t["traced"] for t in summary["trials"]].count(False) == 12
    told = compared(tmp_path / "none", mine, *TWO_ARMS)
    assert told.verdict["spillover_ms"] is None


# Duets


@pytest.mark.slow
def test_a_duet_takes_turns_and_every_restart_is_a_pair(mine: Path, tmp_path: Path) -> None:
    found = compared(tmp_path / "r", mine, *TWO_ARMS, "--design", "duet")
    conforms(found.verdict)
    assert (found.verdict["design"], found.verdict["verdict"]) == ("duet", "faster")
    assert found.verdict["null"] is None
    assert "pairs_as_units" not in found.doubts
    plan_of = read(found.run.plan)
    conforms(plan_of)
    # Whole slices of 1.5 s.
    assert (plan_of["warmup_s"], plan_of["duration_s"]) == (1.5, 1.5)
    order = plan_of["order"]
    pairs = [turn["pair"] for turn in order]
    assert pairs == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    planned = plan.read(found.run)
    for one, other in zip(order[::2], order[1::2], strict=True):
        assert {one["arm"], other["arm"]} == {0, 1}
    slices = [planned.round_plan(turn).slices for turn in planned.order]
    assert all(each is not None for each in slices)
    for first, second in zip(slices[::2], slices[1::2], strict=True):
        assert first is not None
        assert second is not None
        assert not set(first.starts_ns) & set(second.starts_ns)


@pytest.mark.slow
def test_a_duet_of_equals_is_its_null_and_has_rows_of_its_own_in_the_ledger(
    hopbench: Hopbench, mine: Path
) -> None:
    words = ("--variants", "baseline,baseline", "--pairs", 6, "--duration", "400ms")
    asked = ("compare", mine, "--engine", "virtual", *words, "--json", "-")
    for design in ("rounds", "duet"):
        found = hopbench(*asked, "--design", design)
        assert found.document["null"]["pairs"] == 6
        assert found.document["ledger"]["comparisons"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--variants", "baseline,batched,spread"), "is of two arms"),
        (("--variants", "baseline,batched", "--until", "5%"), "--until: goes with"),
        (("--variants", "baseline,batched", "--observer"), "--observer: goes with"),
        (("--variants", "baseline,batched", "--jaeger", "http://localhost:1"), "own collectors"),
    ],
)
def test_what_a_duet_cannot_do_is_refused(
    words: tuple[str, ...], said: str, mine: Path, hopbench: Hopbench
) -> None:
    found = hopbench("compare", mine, "--design", "duet", *words)
    assert found.code == Exit.BAD_INPUT
    assert said in found.err


def test_a_load_that_changes_is_not_cut_into_slices(mine: Path, hopbench: Hopbench) -> None:
    fault = "faults: [{pause: 10ms, at: {service: stock}, from: 100ms}]\nload:"
    path = hopbench.directory / "paused.yaml"
    path.write_text(SCENARIO.replace("load:", fault))
    found = hopbench("compare", path, "--design", "duet", "--variants", "baseline,batched")
    assert found.code == Exit.BAD_INPUT
    assert "goes by the time of the round" in found.err


# Several rates

HEDGED = """\
version: 1
name: hedged
seed: 3
services:
  shop: {operations: {buy: [{call: stock.take, id: take}]}}
  stock: {replicas: 2, workers: 1, operations: {take: [sleep: {uniform: [2ms, 18ms]}]}}
load: {rate: 20/s, duration: 4s, warmup: 500ms, entry: shop.buy}
variants:
  early: {refactors: [{op: hedge, edge: shop->stock.take, after: 1ms}]}
"""


@pytest.mark.slow
def test_at_several_rates_there_is_a_verdict_at_each_and_a_hedge_flips(
    hopbench: Hopbench, tmp_path: Path
) -> None:
    """Where there is room a second attempt helps; where there is none it is more work."""
    path = tmp_path / "hedged.yaml"
    path.write_text(HEDGED)
    words = ("compare", path, "--engine", "virtual", "--pairs", 8, "--json", "-")
    found = hopbench(*words, "--rates", "20/s,130/s", "--out", "r")
    conforms(found.document)
    assert found.code == Exit.DONE
    each = {of["rate_rps"]: of["verdict"] for of in found.document["load"]}
    assert {rate: of["verdict"] for rate, of in each.items()} == {20: "faster", 130: "slower"}
    assert found.document["flips"] == ["early"]
    assert each[20]["sentence"].startswith("early at 20/s: ")
    # One family: its least level is halved.
    assert each[20]["metrics"][0]["p_adjusted"] >= 2 * each[20]["metrics"][0]["p"] - 1e-12
    assert "early: faster at one rate and slower at another" in found.err
    again = hopbench("compare", "--resume", "r", "--json", "-")
    assert again.document["load"] == found.document["load"]


@pytest.mark.slow
def test_loads_are_shares_of_the_lowest_knee(hopbench: Hopbench, tmp_path: Path) -> None:
    path = tmp_path / "hedged.yaml"
    path.write_text(HEDGED)
    words = ("compare", path, "--engine", "virtual", "--pairs", 8, "--json", "-")
    found = hopbench(*words, "--load", "30%")
    conforms(found.document)
    (of,) = found.document["load"]
    # Two replicas, one request at a time, 10 ms each: 200/s, and the hedge holds less.
    assert 0.3 * 60 < of["rate_rps"] < 0.3 * 220


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--rates", "20/s", "--load", "30%"), "one of them"),
        (("--rates", "20/s,20/s"), "each once"),
        (("--rates", "fast"), "--rate: "),
        (("--load", "0%"), "above 0"),
        (
            ("--rates", "20/s,40/s", "--pairs", "6", "--variants", "baseline,batched"),
            "can call none of 2 verdicts",
        ),
        (("--rate", "9/s", "--rates", "20/s"), "one of them"),
    ],
)
def test_rates_that_cannot_be_are_refused(
    words: tuple[str, ...], said: str, mine: Path, hopbench: Hopbench
) -> None:
    found = hopbench("compare", mine, "--engine", "virtual", *words)
    assert found.code == Exit.BAD_INPUT
    assert said in found.err
    assert not (hopbench.directory / "runs").exists()


# Two files, and an old run


@pytest.mark.slow
def test_two_files_are_compared_as_wholes(mine: Path, tmp_path: Path) -> None:
    other = tmp_path / "Less Calls.yaml"
    other.write_text(SCENARIO.replace("count: 6", "count: 2"))
    found = compared(tmp_path / "r", mine, other, "--pairs", 8, "--duration", "400ms")
    assert found.code == Exit.DONE
    assert (found.verdict["a"], found.verdict["b"]) == ("mine", "less-calls")
    assert found.verdict["verdict"] == "faster"
    (calls,) = (part for part in found.verdict["why"] if part["edge"] and part["a_calls"])
    assert (calls["a_calls"], calls["b_calls"]) == (6, 2)
    before = found.run.verdict.read_bytes()
    assert invoke("report", found.run.path) == Exit.DONE
    assert found.run.verdict.read_bytes() == before
    conforms(read(found.run.plan))


@pytest.mark.slow
def test_an_old_run_is_measured_afresh_and_what_it_showed_then_is_only_told(
    mine: Path, tmp_path: Path, hopbench: Hopbench
) -> None:
    assert invoke("run", mine, "--engine", "virtual", "--out", tmp_path / "then") == Exit.DONE
    faster = tmp_path / "now.yaml"
    faster.write_text(SCENARIO.replace("count: 6", "count: 3"))
    words = ("--pairs", 8, "--duration", "1s")
    found = compared(tmp_path / "r", tmp_path / "then", faster, *words)
    assert (found.verdict["a"], found.verdict["b"]) == ("old", "now")
    assert found.verdict["verdict"] == "faster"
    then = read(tmp_path / "then" / "summary.json")["variants"][0]
    assert found.verdict["old"]["response_p50_ms"] == then["response_p50_ms"]
    conforms(found.verdict)
    other = tmp_path / "other.yaml"
    other.write_text(SCENARIO.replace("name: mine", "name: another"))
    told = hopbench("compare", tmp_path / "then", other, "--engine", "virtual")
    assert told.code == Exit.BAD_INPUT
    assert "is a run of mine" in told.err


# Pages


def test_the_page_of_a_verdict_has_its_sentence_and_every_pair_and_leads_to_the_rounds(
    done: Done,
) -> None:
    page = (done.run.path / "report.html").read_text()
    assert page.count('class="pair"') == 8
    assert "nothing got worse." in page
    assert 'href="rounds.html"' in page
    assert "http" not in page.replace("http-equiv", "").split("</style>")[1]
    assert "Where in the distribution" in page
    assert (done.run.path / "rounds.html").is_file()
