"""How to start the generator as a process of its own.

Importing locust patches sockets and selectors, so it never happens in the bench's process.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from loadgen.plan import CONTROL_VARIABLE, PLAN_VARIABLE
from services import children

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")


def command(web_port: int | None = None, web_host: str = "127.0.0.1") -> list[str]:
    """The command line: headless, or with Locust's own web page on the running load.

    Give the process a directory of its own to run in (the trial's will do): Locust reads
    ``locust.conf`` from where it stands. What it prints is for a log file.
    """
    line = children.command("locust", "-f", str(LOCUSTFILE), "--only-summary")
    if web_port is None:
        return [*line, "--headless"]
    return [
        *line,
        *("--web-host", web_host, "--web-port", str(web_port), "--autostart", "--autoquit", "0"),
    ]


def environment(
    inherited: Mapping[str, str], plan: Path, control_fd: int | None = None
) -> dict[str, str]:
    """``inherited`` and what the generator needs; pass the descriptor on with ``pass_fds``.

    Locust's own settings (LOCUST_…) are left out: the plan decides, not the user's shell.
    """
    own = children.environment(inherited)
    variables = {name: text for name, text in own.items() if not name.startswith("LOCUST_")}
    variables[PLAN_VARIABLE] = str(plan.resolve())
    variables.pop(CONTROL_VARIABLE, None)
    if control_fd is not None:
        variables[CONTROL_VARIABLE] = str(control_fd)
    return variables
