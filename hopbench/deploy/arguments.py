"""The flags of ``hopbench run`` on a host, as the bench in its container is given them."""

from __future__ import annotations

from typing import Any, Final

from services.errors import BadInput

OWN: Final = {"scenario", "engine", "resume", "out", "json", "web", "keep"}
"""What the host sees to itself."""
CONTAINERS: Final = {
    "broker": "Kafka",
    "jaeger": "Jaeger",
    "jaeger_otlp": "Jaeger",
    "jaeger_ui": "Jaeger",
}
"""What is a container of its own with this engine."""


def passed_on(context: Any) -> tuple[str, ...]:
    """Of the command line in ``context`` (a click.Context), all flags that were given.

    Raises BadInput for one that names a part which is a container.
    """
    words: list[str] = []
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or name in OWN:
            continue
        flag = str(parameter.opts[0])
        if name in CONTAINERS:
            raise BadInput(
                f"{flag}: with --engine compose {CONTAINERS[name]} is a container of its own",
                hint="leave it out, or take --engine local",
            )
        value = context.params[name]
        if value is True:
            words.append(flag)
        elif isinstance(value, list | tuple):
            words += [f"{flag}={one}" for one in value]
        elif value is not False:
            words.append(f"{flag}={value}")
    return tuple(words)
