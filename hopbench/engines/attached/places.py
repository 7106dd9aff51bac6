"""Where attached parts are found, as the environment of the bench's container tells.

``HOPBENCH_NODES="gateway=gateway:7070,order=order:7070"`` names for each service the address of its
node. Several addresses of one service, by DNS or by repeating it, are several nodes: replica r goes
to node r mod N.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from hopbench.engines.port import Settings
from services.errors import BadInput
from services.scenario.model import Scenario
from services.system.endpoints import Endpoint, endpoint
from services.wire.topology import topology, uses_kafka

NODES_VARIABLE: Final = "HOPBENCH_NODES"
LOCUST_VARIABLE: Final = "HOPBENCH_LOCUST"
TOKEN_VARIABLE: Final = "HOPBENCH_TOKEN"
"""The same for every part; services.node.server has it, too, behind half of the libraries."""
ADVERTISE_VARIABLE: Final = "HOPBENCH_ADVERTISE"


@dataclass(frozen=True, slots=True)
class Places:
    nodes: Mapping[str, tuple[Endpoint, ...]]
    """By service."""
    locust: Endpoint
    """Control of the Locust master."""
    token: str
    advertise: str | None
    """Under which nodes find the bench; None: the address that it talks to them from."""


def are_given(environment: Mapping[str, str]) -> bool:
    """Whether this process is a bench among attached parts."""
    return bool(environment.get(NODES_VARIABLE))


def places(engine: str, environment: Mapping[str, str]) -> Places:
    """Raises BadInput for what is missing or malformed."""
    if not are_given(environment):
        raise BadInput(
            f"--engine {engine}: {NODES_VARIABLE} names no nodes to run services on",
            hint=_render(engine),
        )
    nodes: dict[str, tuple[Endpoint, ...]] = {}
    for entry in filter(None, (text.strip() for text in environment[NODES_VARIABLE].split(","))):
        service, equals, address = entry.partition("=")
        if not (service and equals):
            raise BadInput(f"{NODES_VARIABLE}: {entry!r} is not SERVICE=HOST:PORT")
        nodes[service] = (*nodes.get(service, ()), _endpoint(NODES_VARIABLE, address))
    return Places(
        nodes=nodes,
        locust=_endpoint(LOCUST_VARIABLE, _given(LOCUST_VARIABLE, engine, environment)),
        token=_given(TOKEN_VARIABLE, engine, environment),
        advertise=environment.get(ADVERTISE_VARIABLE) or None,
    )


def check(
    settings: Settings, scenarios: Iterable[Scenario], environment: Mapping[str, str]
) -> Places:
    """Where the parts are, if ``scenarios`` can run on them. Raises BadInput otherwise."""
    found = places(settings.engine, environment)
    scenarios = tuple(scenarios)
    unserved = dict.fromkeys(
        name for scenario in scenarios for name in scenario.services if name not in found.nodes
    )
    if unserved:
        raise BadInput(
            f"no node serves {', '.join(unserved)}; there are nodes for {', '.join(found.nodes)}",
            hint=_render(settings.engine),
        )
    if settings.broker == "embedded" and any(
        uses_kafka(topology(scenario)) for scenario in scenarios
    ):
        raise BadInput(
            "--broker embedded: other containers cannot reach a broker inside the bench",
            hint="name the Kafka container: --broker kafka:9092",
        )
    if settings.web_port is not None:
        raise BadInput(
            f"--web: with --engine {settings.engine} Locust's page is the master's own",
            hint="leave it out",
        )
    return found


def _given(variable: str, engine: str, environment: Mapping[str, str]) -> str:
    text = environment.get(variable, "")
    if not text:
        raise BadInput(f"--engine {engine}: {variable} is not set", hint=_render(engine))
    return text


def _endpoint(variable: str, text: str) -> Endpoint:
    try:
        return endpoint(text)
    except ValueError as error:
        raise BadInput(f"{variable}: {error}") from None


def _render(engine: str) -> str:
    what = "kubernetes FILE | kubectl apply -f -" if engine == "kubernetes" else "compose FILE"
    return f"`hopbench render {what}` writes all parts and what they need to know of each other"
