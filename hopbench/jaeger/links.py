"""Links from a finding's evidence to where its traces can be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hopbench.jaeger.client import Addresses


def linked(finding: Mapping[str, Any], at: Addresses | None) -> dict[str, Any]:
    """A finding's document, each piece of its evidence with ``url``; unchanged without Jaeger."""
    if at is None:
        return dict(finding)
    evidence = [{**each, "url": at.link(each["trace_id"])} for each in finding["evidence"]]
    return {**finding, "evidence": evidence}
