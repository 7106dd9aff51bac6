"""Bundled scenarios plant what they say, and facts know what traces do not show."""

from __future__ import annotations

from importlib import resources

import jsonschema
import pytest
import yaml

from services.scenario.capacity import calls_by_edge, shape
from services.scenario.facts import EMPTY, facts_of
from services.scenario.file.parser import bundled, parse_text
from services.scenario.file.schema import scenario_schema
from services.scenario.file.validation import validate
from services.scenario.model import Scenario
from services.scenario.refactors import apply, variant_scenarios
from services.scenario.steps.calls import Call
from services.scenario.tree import operations, walk

ROLES = {
    *("gateway", "order", "inventory", "price", "payment", "fraud"),
    *("ledger", "bank", "catalog", "review", "shipping", "notify"),
}
"""The containers that the compose file has."""


def read(name: str) -> Scenario:
    return parse_text(bundled()[name], f"{name}.yaml")


def kinds(name: str, variant: str) -> list[str]:
    return sorted(e.kind for e in apply(read(name), variant).expectations)


def test_the_bundle_is_what_the_readme_lists() -> None:
    assert list(bundled()) == ["chain", "chatty", "checkout", "fanout", "orders", "protocols"]


@pytest.mark.parametrize("name", bundled())
def test_services_are_roles_and_processes_fit_a_laptop(name: str) -> None:
    services = read(name).services.values()
    assert {service.name for service in services} <= ROLES
    assert sum(service.replicas for service in services) <= 12


@pytest.mark.parametrize("name", bundled())
def test_each_file_is_named_as_it_names_itself_and_fits_the_schema(name: str) -> None:
    assert read(name).name == name
    jsonschema.validate(yaml.safe_load(bundled()[name]), scenario_schema())


@pytest.mark.parametrize("name", bundled())
def test_default_rates_leave_room_on_two_cores(name: str) -> None:
    for variant in variant_scenarios(read(name)).values():
        found = shape(variant)
        assert (found.hops_per_s or 0) <= 800
        assert sum(demand.cpu_cores for demand in found.demand.values()) <= 0.2


@pytest.mark.parametrize("name", ["chatty", "protocols"])
def test_a_default_round_identifies_p99_where_it_is_promised(name: str) -> None:
    load = read(name).load
    rate = load.pace.steady_rps
    assert rate is not None
    assert rate >= 100
    assert rate * load.duration_ns / 1e9 / 2 >= 368  # half of them are not sampled


def test_the_chain_has_six_hops_and_four_when_cut() -> None:
    chain = read("chain")
    assert shape(chain).depth == 6
    assert shape(apply(chain, "async")).depth == 4


def test_checkout_plants_what_the_article_tells_of() -> None:
    checkout = read("checkout")
    assert shape(checkout).depth == 5
    calls = {(str(key), key.protocol): calls for key, calls in calls_by_edge(checkout).items()}
    assert calls["order.create->inventory.reserve", "http"] == pytest.approx(6 * 2 / 3)
    assert calls["order.create->price.quote", "http"] == pytest.approx(6 * 2 / 3)
    assert calls["catalog.product->inventory.stock", "http"] == pytest.approx(6 / 3)
    assert calls["order.create->notify.order-placed", "kafka"] == pytest.approx(2 / 3)
    assert set(checkout.variants) == {"batched", "parallel", "grpc", "async", "tuned"}


def test_every_finding_of_checkout_goes_in_some_variant_but_the_burst() -> None:
    planted = kinds("checkout", "baseline")
    assert planted == [
        "chain",
        "chatty.parallel",
        "chatty.sequential",
        "chatty.sequential",
        "fanout.sequential",
    ]
    assert kinds("checkout", "batched") == ["chain", "chatty.parallel", "fanout.sequential"]
    assert kinds("checkout", "grpc") == planted
    assert kinds("checkout", "tuned") == ["chatty.parallel"]


def test_protocols_asks_the_same_over_all_three() -> None:
    calls = [s for _, o in operations(read("protocols")) for s in walk(o.steps)]
    edges = [step.edge for step in calls if isinstance(step, Call)]
    assert [edge.protocol for edge in edges] == ["http", "grpc", "kafka"]
    assert len({edge.target for edge in edges}) == 1


def test_the_starter_is_a_scenario_without_errors_or_warnings() -> None:
    text = resources.files("services.scenario.file").joinpath("starter.yaml").read_text("utf-8")
    starter = parse_text(text, "starter.yaml")
    for variant in variant_scenarios(starter).values():
        assert validate(variant) == ()
    jsonschema.validate(yaml.safe_load(text), scenario_schema())


# -- facts ---------------------------------------------------------------------------------------


def test_facts_map_every_form_of_a_wire_name_back() -> None:
    facts = facts_of(read("checkout"))
    for name in (
        "POST /reserve",
        "/reserve",
        "/reserve/*",
        "POST /reserve/*",
        "/hopbench.v1.Inventory/Reserve",
        "hopbench.v1.Inventory/Reserve",
        "inventory.reserve",
    ):
        assert facts.operation_of(name) == ("inventory", "reserve"), name
    assert facts.operation_of("/hopbench.v1.Notify/OrderPlaced") == ("notify", "order-placed")
    assert facts.operation_of("/nothing") is None


def test_equal_routes_are_told_apart_by_their_service() -> None:
    facts = facts_of(read("checkout"))  # price.quote and shipping.quote
    assert facts.operation_of("POST /quote") is None
    assert facts.operation_of("POST /quote", "price") == ("price", "quote")
    assert facts.operation_of("POST /quote/*", "shipping") == ("shipping", "quote")


def test_facts_know_who_needs_whose_answer() -> None:
    facts = facts_of(read("checkout"))
    assert ("order", "create", "inventory.reserve", "payment.charge") in facts.dependent
    assert (
        "order",
        "create",
        "price.quote",
        "notify.order-placed",
    ) in facts.dependent  # through pay
    assert ("order", "create", "inventory.reserve", "price.quote") not in facts.dependent
    assert facts.needed("gateway", "checkout", "order.create")  # by work, not by a call
    assert facts.needed("payment", "charge", "fraud.check")
    assert not facts.needed("fraud", "check", "ledger.book")


def test_facts_hold_for_what_runs_parallel_as_well() -> None:
    text = bundled()["checkout"].replace("id: reviews,", "id: reviews, after: product,")
    facts = facts_of(apply(parse_text(text), "parallel"))
    assert ("gateway", "page", "catalog.product", "review.list") in facts.dependent
    assert ("gateway", "page", "catalog.product", "shipping.quote") not in facts.dependent


def test_facts_count_replicas_and_nothing_is_known_of_foreign_traces() -> None:
    facts = facts_of(read("fanout"))
    assert facts.replicas == {"gateway": 1, "catalog": 4}
    assert not EMPTY.known
    assert EMPTY.operation_of("POST /reserve") is None
