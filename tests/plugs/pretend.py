"""An engine: every round is over before it began."""

from __future__ import annotations

from pathlib import Path

from hopbench.engines.port import BrokerKind, ClockName, Evidence, Progress, RoundPlan, Settings
from services.scenario.model import Scenario


class PretendEngine:
    name: str = "pretend"
    clock: ClockName = "virtual"

    def __init__(self, settings: Settings) -> None:
        self.broker_kind: BrokerKind | None = None
        self.broker_address: str | None = None

    async def open(self, scenarios: tuple[Scenario, ...], directory: Path) -> None:
        """Nothing to start."""

    async def round(self, plan: RoundPlan, directory: Path, progress: Progress) -> Evidence:
        load = plan.scenario.load
        progress("measured", 1.0)
        return Evidence(
            start_ns=0,
            unix_offset_ns=0,
            measured_from_ns=load.warmup_ns,
            measured_to_ns=load.warmup_ns + load.duration_ns,
            processes=(),
            service_pids={},
            locust_pids=(),
            elapsed_ns=0,
            spans_received=0,
            undrained=None,
            broken=None,
        )

    async def close(self) -> None:
        """Nothing to stop."""
