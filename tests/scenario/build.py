"""Small scenarios for tests: one service ``a`` whose operation ``go`` is given, and callees."""

from __future__ import annotations

from textwrap import dedent, indent

from services.scenario.file.parser import parse_text
from services.scenario.model import Scenario, Step

CALLEES = """
  b:
    replicas: 2
    operations:
      one: [sleep: 1ms]
      two: [sleep: 2ms]
  c:
    operations:
      one: [sleep: 1ms]
"""


def text(steps: str, rest: str = "") -> str:
    body = indent(dedent(steps).strip("\n"), " " * 8)
    return (
        "version: 1\nname: small\nservices:\n  a:\n    operations:\n      go:\n"
        + body
        + CALLEES
        + "load: {rate: 10/s, entry: a.go}\n"
        + dedent(rest)
    )


def scenario(steps: str, rest: str = "") -> Scenario:
    return parse_text(text(steps, rest), "small.yaml")


def steps_of(scenario: Scenario, service: str = "a", operation: str = "go") -> tuple[Step, ...]:
    return scenario.services[service].operations[operation].steps
