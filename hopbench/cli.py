"""The front door: a table of contents of commands, and the way from errors to exit codes."""

from __future__ import annotations

import importlib
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from hopbench import disk
from hopbench.exits import Exit, Terminated, undisturbed
from hopbench.front import output
from services.errors import BadInput, CannotStart

COMMANDS: Final = {
    "run": "One variant, or all: load, trace, analyse, report.",
    "compare": "Whether a variant is faster, or that nobody can tell.",
    "prove": "Apply what the findings propose, and measure which of it helps.",
    "saturate": "At which rate a design gives out.",
    "report": "Findings, summary and reports again, also of an interrupted run.",
    "analyze": "What is wrong in any trace files or directories.",
    "critical-path": "The critical path of each trace, to the nanosecond.",
    "gates": "Every name that --fail-on knows, of a scenario or a run.",
    "list": "The bundled scenarios, a line each.",
    "init": "Write a commented scenario to start from.",
    "generate": "Write a scenario of many services, packed into a few processes.",
    "validate": "Check a scenario without running it.",
    "diff": "What a variant changes, against another.",
    "schema": "The JSON Schema of a document, or of the scenario file.",
    "render": "All parts of a scenario as containers, for Compose or Kubernetes.",
    "up": "Keep the services of a scenario running, and print their addresses.",
    "collect": "The embedded OTLP collector alone: point your own app at it.",
    "doctor": "Whether this machine can measure, and what to do if not.",
    "node": "The supervisor of service processes (started by the engines).",
}
"""Each lives in ``hopbench/commands/<name>.py`` as a function named ``command``."""


class Contents(TyperGroup):
    """Imports a command's module only when that command is run, or asked about."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command's line in the overview."""
        if cmd_name not in COMMANDS:
            return None
        hidden = cmd_name == "node"
        return TyperCommand(cmd_name, short_help=COMMANDS[cmd_name], hidden=hidden)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, line, rest = super().resolve_command(ctx, args)
        return name, None if line is None else _command(str(name)), rest


def _command(name: str) -> Any:
    with undisturbed():
        module = importlib.import_module(f"hopbench.commands.{name.replace('-', '_')}")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(
        name,
        short_help=COMMANDS[name],
        no_args_is_help=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )(module.command)
    return typer.main.get_command(app)


def contents() -> Any:
    """The command line as one command object."""
    app = typer.Typer(
        cls=Contents,
        name="hopbench",
        help="A wind tunnel for the way microservices talk.",
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    return typer.main.get_command(app)


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata  # noqa: PLC0415  dear, and for this alone

        try:
            print(f"hopbench {metadata.version('hopbench')}")
        except metadata.PackageNotFoundError:
            print("hopbench (from a checkout)")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """What belongs to no command."""


def invoke(arguments: Sequence[str]) -> Exit:
    """Run one command line and return its exit code; a bare one asks for help."""
    arguments = arguments or ("--help",)
    return ended(
        partial(contents().main, args=list(arguments), prog_name="hopbench", standalone_mode=False),
        arguments,
    )


def ended(command: Callable[[], int | None], arguments: Sequence[str]) -> Exit:
    """The exit code of ``command``; every error is told, none escapes."""
    try:
        return Exit(command() or Exit.DONE)
    except BadInput as error:
        return _refused(arguments, error)
    except typer.TyperException as error:
        return _refused(arguments, BadInput(error.format_message(), hint="hopbench COMMAND --help"))
    except CannotStart as error:
        output.complain(str(error), error.log)
        return Exit.BROKEN
    except OSError as error:
        match disk.refusal(error):
            case BadInput() as refusal:
                return _refused(arguments, refusal)
            case CannotStart() as refusal:
                output.deafen(sys.stdout)
                output.complain(str(refusal))
                return Exit.BROKEN
            case None:
                return _bug()
    except (typer.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except Terminated:
        return Exit.TERMINATED
    except Exception:
        # The one place where anything may be caught: beyond it there is only the shell.
        return _bug()


def main() -> NoReturn:
    signal.signal(signal.SIGTERM, _terminate)
    output.be_legible()
    code = invoke(sys.argv[1:])
    # From here on there is nothing left to stop: a late signal must not change how it ended.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(int(code))


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise Terminated


def _refused(arguments: Sequence[str], error: BadInput) -> Exit:
    output.complain(str(error))
    target = output.json_target(arguments)
    if target is not None and not isinstance(error, output.RefusedTarget):
        _document(
            target,
            {
                "schema": "hopbench.error/1",
                **_told(error),
                "others": [_told(other) for other in error.others],
            },
        )
    return Exit.BAD_INPUT


def _told(error: BadInput) -> dict[str, object]:
    return {"file": error.file, "line": error.line, "text": error.text, "hint": error.hint}


def _document(target: str, document: object) -> None:
    try:
        output.write_document(target, document)
    except (OSError, ValueError) as error:
        # It may be the very thing that was refused; the exit code stands.
        output.complain(f"--json {target}: {error}")


def _bug() -> Exit:
    text = traceback.format_exc()
    told = f"this is a bug in hopbench: {text.strip().splitlines()[-1]}"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="hopbench-bug-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"{' '.join(sys.argv)}\n{sys.version}\n\n{text}")
        output.complain(f"{told}\n  the whole story is in {Path(file.name)}")
    except OSError:
        output.complain(told, text)
    return Exit.BUG
