"""What a bench among attached parts is told by its environment, and what it says of gaps there."""

from __future__ import annotations

import pytest

from hopbench.engines.attached.places import check, places
from services.errors import BadInput
from services.scenario.file.parser import parse_text
from services.system.endpoints import Endpoint
from tests.processes.conftest import EVENTS, SCENARIO, settings

GIVEN = {
    "HOPBENCH_NODES": "order=order:7070, inventory=stock:7070,price=a:1,price=b:2",
    "HOPBENCH_LOCUST": "locust:7071",
    "HOPBENCH_TOKEN": "secret",
}


def test_every_service_has_its_nodes() -> None:
    found = places("compose", GIVEN)
    assert found.nodes == {
        "order": (Endpoint("order", 7070),),
        "inventory": (Endpoint("stock", 7070),),
        "price": (Endpoint("a", 1), Endpoint("b", 2)),
    }
    assert (found.locust, found.token, found.advertise) == (
        Endpoint("locust", 7071),
        "secret",
        None,
    )
    assert check(settings(engine="compose"), [parse_text(SCENARIO)], GIVEN) == found


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"HOPBENCH_NODES": ""}, "HOPBENCH_NODES names no nodes"),
        ({"HOPBENCH_NODES": "order"}, "'order' is not SERVICE=HOST:PORT"),
        ({"HOPBENCH_NODES": "order=here"}, "'here' is not HOST:PORT"),
        ({"HOPBENCH_NODES": "order=here:70700"}, "'here:70700' is not HOST:PORT"),
        ({"HOPBENCH_LOCUST": ""}, "HOPBENCH_LOCUST is not set"),
        ({"HOPBENCH_TOKEN": ""}, "HOPBENCH_TOKEN is not set"),
    ],
)
def test_what_is_missing_or_malformed_is_named(changed: dict[str, str], told: str) -> None:
    with pytest.raises(BadInput) as raised:
        places("compose", {**GIVEN, **changed})
    assert told in raised.value.text


@pytest.mark.parametrize(
    ("engine", "hint"),
    [("compose", "hopbench render compose FILE"), ("kubernetes", "hopbench render kubernetes")],
)
def test_without_nodes_the_way_to_them_is_told(engine: str, hint: str) -> None:
    with pytest.raises(BadInput) as raised:
        check(settings(engine=engine), [parse_text(SCENARIO)], {})
    assert hint in (raised.value.hint or "")


def test_services_without_a_node_are_named() -> None:
    few = {**GIVEN, "HOPBENCH_NODES": "order=order:7070"}
    with pytest.raises(BadInput) as raised:
        check(settings(engine="compose"), [parse_text(SCENARIO)], few)
    assert raised.value.text == "no node serves inventory, price; there are nodes for order"
    assert "hopbench render compose FILE" in (raised.value.hint or "")


def test_a_broker_inside_the_bench_is_refused_only_where_one_is_needed() -> None:
    nodes = {**GIVEN, "HOPBENCH_NODES": "order=a:1,notify=b:1,inventory=c:1,price=d:1"}
    check(settings(engine="compose"), [parse_text(SCENARIO)], nodes)
    check(settings(engine="compose", broker="kafka:9092"), [parse_text(EVENTS)], nodes)
    with pytest.raises(BadInput, match="--broker embedded") as raised:
        check(settings(engine="compose"), [parse_text(EVENTS)], nodes)
    assert "--broker kafka:9092" in (raised.value.hint or "")
