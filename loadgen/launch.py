"""How to start the generator: one Locust process, or a master and its workers.

Importing locust patches sockets and selectors, so it never happens in the bench's process.

``python -m loadgen.launch master --control HOST:PORT`` and ``… worker --master HOST:PORT`` run in
containers; the bench starts the same two, with ``--parent``, for ``--workers N``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from loadgen.cluster.dealing import MASTER_PORT
from loadgen.plan import CONTROL_VARIABLE, PLAN_VARIABLE
from services.system import children
from services.system.death import die_with
from services.system.endpoints import Endpoint, endpoint, listening
from services.system.tokens import TOKEN_VARIABLE

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
BAD_INPUT: Final = 2


def command(web_port: int | None = None, web_host: str = "127.0.0.1") -> list[str]:
    """The command line of one generator: headless, or with Locust's own web page on the load.

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


def master_command(workers: int, web_port: int | None = None) -> list[str]:
    """The command line of a master for one round of the bench that starts it."""
    line = children.command("loadgen.launch", "master", f"--parent={os.getpid()}")
    line.append(f"--expect-workers={workers}")
    return line if web_port is None else [*line, f"--web=127.0.0.1:{web_port}"]


def worker_command(number: int) -> list[str]:
    """The command line of one of its workers. On its standard input, a pipe, it is told where the
    master listens; at the pipe's end it leaves."""
    return children.command(
        "loadgen.launch", "worker", f"--parent={os.getpid()}", f"--number={number}"
    )


def environment(
    inherited: Mapping[str, str], plan: Path | None, control_fd: int | None = None
) -> dict[str, str]:
    """``inherited`` and what the generator needs; pass the descriptor on with ``pass_fds``.

    Locust's own settings (LOCUST_…) are left out: the plan decides, not the user's shell.
    """
    own = children.environment(inherited)
    variables = {name: text for name, text in own.items() if not name.startswith("LOCUST_")}
    variables.pop(PLAN_VARIABLE, None)
    if plan is not None:
        variables[PLAN_VARIABLE] = str(plan.resolve())
    variables.pop(CONTROL_VARIABLE, None)
    if control_fd is not None:
        variables[CONTROL_VARIABLE] = str(control_fd)
    return variables


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadgen.launch", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    master = kinds.add_parser("master", help="deals rounds to workers")
    master.add_argument("--control", type=listening, metavar="HOST:PORT", help="for benches")
    master.add_argument("--web", type=listening, metavar="HOST:PORT", help="Locust's own web UI")
    master.add_argument(
        "--bind",
        type=listening,
        metavar="HOST:PORT",
        default=Endpoint("*", MASTER_PORT),
        help="for workers",
    )
    master.add_argument(
        "--expect-workers", type=int, metavar="N", help="rounds wait for so many; default: for one"
    )
    worker = kinds.add_parser("worker", help="sends its share of each round")
    worker.add_argument("--master", type=endpoint, metavar="HOST:PORT")
    worker.add_argument("--number", type=int, metavar="K", help="its place among the workers")
    for kind in (master, worker):
        kind.add_argument("--parent", type=int, metavar="PID", help="end with it")
    options = parser.parse_args(arguments)
    if options.kind == "worker" and options.master is None and options.parent is None:
        parser.error("a worker needs --master")
    if options.kind == "master" and options.control is None and options.parent is None:
        parser.error("a master needs --control")
    token = os.environ.get(TOKEN_VARIABLE, "")
    if options.kind == "master" and options.parent is None and not token:
        print(f"hopbench: master has no token\nput one into {TOKEN_VARIABLE}", file=sys.stderr)
        return BAD_INPUT
    # Locust's page looks for options of its own on the command line.
    del sys.argv[1:]
    from loadgen.cluster import processes  # noqa: PLC0415  # see above

    asked = processes.asked_to_end()
    if options.kind == "worker":
        if options.parent is not None:
            die_with(options.parent, signal.SIGTERM)
        return processes.run_worker(
            options.master, options.number, below=options.parent is not None, asked=asked
        )
    if options.parent is not None:
        die_with(options.parent, signal.SIGTERM)
        fd, plan = int(os.environ[CONTROL_VARIABLE]), Path(os.environ[PLAN_VARIABLE])
        return processes.run_one(
            fd, plan, expected=options.expect_workers, web=options.web, asked=asked
        )
    return processes.run_standing(
        options.control,
        bind=options.bind,
        web=options.web,
        expected=options.expect_workers,
        token=token,
        asked=asked,
    )


if __name__ == "__main__":
    sys.exit(main())
