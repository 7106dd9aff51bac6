"""A real Kafka that ends in a run, and comes back or does not.

``HOPBENCH_TEST_KAFKA=HOST:PORT`` names it, ``HOPBENCH_TEST_KAFKA_DOWN`` and
``HOPBENCH_TEST_KAFKA_UP`` are the commands that end it and start it again with what it has stored.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hopbench.exits import Exit
from tests.faults.harness import Bench, Site, doubt

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

SCENARIO = """\
version: 1
name: messages
seed: 7
services:
  gateway:
    operations:
      buy:
        - {call: stock.reserve, protocol: kafka}
        - {publish: mail.send, kafka: {acks: all}}
        - {publish: audit.note, kafka: {acks: 1}}
        - {publish: trail.mark, kafka: {acks: 0}}
  stock:
    replicas: 2
    operations: {reserve: [{sleep: 1ms}]}
  mail: {operations: {send: [{sleep: 1ms}]}}
  audit: {operations: {note: [{sleep: 1ms}]}}
  trail: {operations: {mark: [{sleep: 1ms}]}}
load: {rate: 40/s, warmup: 1s, duration: 30s, entry: gateway.buy}
"""


@dataclass(frozen=True, slots=True)
class Kafka:
    address: str
    down_command: str
    up_command: str

    def down(self) -> None:
        self._run(self.down_command)

    def up(self) -> None:
        self._run(self.up_command)

    def _run(self, command: str) -> None:
        # The broker inherits no pipe of ours: reading it to its end would wait for the broker's.
        subprocess.run(
            shlex.split(command), check=True, timeout=120,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture
def kafka() -> Iterator[Kafka]:
    names = ("HOPBENCH_TEST_KAFKA", "HOPBENCH_TEST_KAFKA_DOWN", "HOPBENCH_TEST_KAFKA_UP")
    values = [os.environ[name] for name in names if name in os.environ]
    if len(values) < len(names):
        pytest.skip(f"{', '.join(names)}: not all are set")
    found = Kafka(*values)
    yield found
    found.up()


def started(site: Site, kafka: Kafka, *more: object) -> Bench:
    return site.start(
        "run", site.scenario(SCENARIO), "--broker", kafka.address, "--out", "run",
        "--json", "-", "--quiet", *more,
    )  # fmt: skip


def test_a_broker_that_is_started_again_in_a_round_loses_nothing(site: Site, kafka: Kafka) -> None:
    bench = started(site, kafka)
    bench.until("measuring")
    kafka.down()
    kafka.up()
    ended = bench.end(180)
    assert ended.code == Exit.DONE, ended.err
    (trial,) = ended.document["trials"]
    assert doubt(trial, "broker_gap").startswith("the broker was away from ")
    assert trial["void"]
    codes = {each["code"] for each in trial["doubts"]}
    assert not codes & {"consumed_produced", "undrained", "spans_lost", "broken"}, trial["doubts"]
    # Only what asked for no acknowledgement may be lost.
    lost = [each["text"] for each in trial["doubts"] if each["code"] == "messages_lost"]
    assert all("trail.mark" in text for text in lost)
    assert trial["load"]["ok"] > 0

    (bench.run / "report.md").unlink()
    report = site.run("report", bench.run, "--quiet")
    assert report.code == Exit.DONE, report.err
    told = (bench.run / "report.md").read_text()
    assert "the broker was away from " in told
    assert "kafka (real broker)" in told


def test_a_broker_that_stays_away_breaks_the_round(site: Site, kafka: Kafka) -> None:
    bench = started(site, kafka, "--duration", "60s")
    bench.until("measuring")
    kafka.down()
    ended = bench.end(180)
    assert ended.code == Exit.BROKEN
    gone = f"Kafka does not answer at {kafka.address}: Connection refused, for "
    assert gone in ended.err
    assert "Traceback" not in ended.err
    (trial,) = ended.document["trials"]
    assert doubt(trial, "broken").startswith(gone)
    assert doubt(trial, "broker_gap")


def test_a_broker_that_is_gone_before_the_run_is_told_with_what_to_do(
    site: Site, kafka: Kafka
) -> None:
    kafka.down()
    ended = site.run("run", site.scenario(SCENARIO), "--broker", kafka.address, "--out", "run")
    assert ended.code == Exit.BROKEN
    assert f"no Kafka at {kafka.address}" in ended.err
    assert "start Kafka there" in ended.err
    assert "Traceback" not in ended.err
