"""Cores that stay awake, and generators that are run soon."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hopbench.host.awake import awake, waking_us

PROMPT = """
import os, threading
from services.system.promptness import be_prompt

def slices():
    with open(f"/proc/self/task/{threading.get_native_id()}/sched") as file:
        (line,) = [line for line in file if line.startswith("se.slice")]
    return int(line.split(":")[1])

before = slices()
assert be_prompt()
print(before, slices(), os.getpriority(os.PRIO_PROCESS, 0))
"""


def test_what_is_asked_of_the_device_holds_as_long_as_it_is_open(tmp_path: Path) -> None:
    """A file stands in for the device: what is written, and when."""
    device = tmp_path / "latency"
    device.write_bytes(b"")
    assert waking_us(str(device)) is None
    with awake(str(device)) as held:
        assert held
        assert device.read_bytes() == struct.pack("i", 0)
        assert waking_us(str(device)) == 0


def test_without_the_device_or_the_right_to_it_nothing_changes(tmp_path: Path) -> None:
    with awake(str(tmp_path / "none")) as held:
        assert not held
    assert waking_us(str(tmp_path / "none")) is None


def _tells_slices() -> bool:
    """Linux takes them from 6.12 on, and tells them where it was built for debugging."""
    release = tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
    told = Path("/proc/self/sched")
    return release >= (6, 12) and told.exists() and "se.slice" in told.read_text()


@pytest.mark.skipif(not _tells_slices(), reason="this system does not tell slices of CPU time")
def test_a_generator_asks_for_short_slices_and_keeps_its_priority() -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROMPT], capture_output=True, text=True, check=True, timeout=30
    )
    before, after, nice = map(int, told.stdout.split())
    assert after < before
    assert nice == os.getpriority(os.PRIO_PROCESS, 0)
