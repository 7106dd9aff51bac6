"""Flags that mean the same everywhere. What they say is for settings.py to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from hopbench.engines import ENGINES
from services.scenario.limits import MAX_USERS

TRACE_RATIO: Final = 0.5

SCENARIO_HELP = "A bundled name, a path, a run directory, or - for standard input."
Scenario = Annotated[str, typer.Argument(help=SCENARIO_HELP, show_default=False)]
Variants = Annotated[
    list[str] | None,
    typer.Option("--variant", metavar="NAME", help="Repeatable; 'baseline' is the base."),
]
Rounds = Annotated[int, typer.Option("--rounds", min=1, metavar="N", help="Rounds per variant.")]
Rate = Annotated[str | None, typer.Option("--rate", metavar="50/s", help="Mean arrival rate.")]
Rates = Annotated[
    str | None,
    typer.Option("--rates", metavar="20/s,40/s", help="A verdict at each of several rates."),
]
LoadShares = Annotated[
    str | None,
    typer.Option(
        "--load",
        metavar="30%,70%",
        help="The same, as shares of the lowest knee of all arms, which is looked for first.",
    ),
]
Duration = Annotated[
    str | None, typer.Option("--duration", metavar="20s", help="Length of the measured phase.")
]
Warmup = Annotated[
    str | None, typer.Option("--warmup", metavar="2s", help="Length of the warm-up before it.")
]
Users = Annotated[
    int | None,
    typer.Option("--users", min=1, max=MAX_USERS, metavar="N", help="Users of a closed load."),
]
Seed = Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="Of all chance.")]
Engine = Annotated[
    str,
    typer.Option("--engine", metavar="|".join(ENGINES), help="What the services run as."),
]
Broker = Annotated[
    str,
    typer.Option("--broker", metavar="embedded|HOST:PORT", help="Which Kafka carries messages."),
]
Jaeger = Annotated[
    str | None,
    typer.Option(
        "--jaeger",
        metavar="URL",
        help="A Jaeger that takes the traces; they are read back from its query API.",
    ),
]
JaegerOtlp = Annotated[
    str | None,
    typer.Option(
        "--jaeger-otlp",
        metavar="HOST:PORT",
        help="Where that Jaeger takes OTLP over gRPC; default: port 4317 of the same host.",
    ),
]
JaegerUi = Annotated[
    str | None,
    typer.Option(
        "--jaeger-ui", metavar="URL", help="Jaeger's pages, for links; default: as --jaeger."
    ),
]
TraceRatio = Annotated[
    float, typer.Option("--trace-ratio", metavar="0..1", help="Share of the requests traced.")
]
Tracing = Annotated[str, typer.Option("--tracing", metavar="on|off", help="Off: metrics alone.")]
Instrumentation = Annotated[
    str, typer.Option("--instrumentation", metavar="lean|official", help="Who makes the spans.")
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        metavar="N",
        help="Locust worker processes that share the arrivals, each up to one core.",
    ),
]
Web = Annotated[
    int | None,
    typer.Option("--web", min=1, max=65535, metavar="PORT", help="Locust's own web UI."),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="The directory to make and fill.")
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="-|FILE", help="The document, on standard output or to a file."),
]
FailOn = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-on", metavar="EXPR", help="Repeatable gate, such as 'findings.chatty > 0'."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and stop.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 3 where no valid round is left.")]
RepeatVoid = Annotated[
    int,
    typer.Option(
        "--repeat-void", min=0, metavar="N", help="Repeat rounds that are void, at most N in all."
    ),
]
Keep = Annotated[
    bool,
    typer.Option("--keep", help="With --engine compose: leave the containers when it has ended."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No notes and no progress.")]
Arms = Annotated[
    str | None,
    typer.Option(
        "--variants",
        metavar="A,B",
        help="What is compared with the first of them; 'baseline,baseline' is legal. "
        "Default: the baseline and every variant.",
    ),
]
Pairs = Annotated[
    int | None,
    typer.Option(
        "--pairs",
        min=1,
        max=1000,
        metavar="N",
        help="Pairs of rounds; a block gives two. Default: 20, or as many as the figures of many "
        "arms need; with --until at most 80.",
        show_default=False,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--until",
        metavar="5%",
        help="End where the interval is expected to be as narrow; looked at from 20 pairs on.",
    ),
]
Level = Annotated[
    float, typer.Option("--level", metavar="0.95", help="How sure an interval is to be.")
]
Delta = Annotated[
    str,
    typer.Option("--delta", metavar="5%", help="What differs by no more is called equivalent."),
]
PrimaryMetric = Annotated[
    str, typer.Option("--metric", metavar="NAME", help="What the verdict is about.")
]
RepeatBlocks = Annotated[
    int,
    typer.Option(
        "--repeat-void",
        min=0,
        metavar="N",
        help="Repeat blocks that have a void round, at most N in all.",
    ),
]
DesignKind = Annotated[
    str,
    typer.Option(
        "--design",
        metavar="rounds|duet",
        help="duet: the services of both arms are alive at once, and loaded in turns of "
        "1.5 s; a pair is then a restart.",
    ),
]
Observer = Annotated[
    bool,
    typer.Option(
        "--observer",
        help="Rounds without tracing in each block, too: what it does to requests that it does not "
        "sample.",
    ),
]
Markdown = Annotated[
    str | None,
    typer.Option("--markdown", metavar="FILE", help="The verdict for a pull request's comment."),
]
