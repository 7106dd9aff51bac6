from __future__ import annotations

from dataclasses import fields

import pytest

from analysis.reading.conventions import Given, Named, failed, host_of, named, path_of, templated
from analysis.spans.table import Kind


@pytest.mark.parametrize(
    ("path", "template", "key"),
    [
        ("/items/42", "/items/*", "42"),
        ("/items/-1", "/items/*", "-1"),
        (
            "/a/3f2b8c1d-0000-4000-8000-0123456789ab/b",
            "/a/*/b",
            "3f2b8c1d-0000-4000-8000-0123456789ab",
        ),
        ("/blob/deadbeef01", "/blob/*", "deadbeef01"),
        ("/facade/added", "/facade/added", None),
        ("/v1/items", "/v1/items", None),
        ("/files/42.json", "/files/*.json", "42"),
        ("/site.css", "/site.css", None),
        ("/q?b=2&a=1&a=3", "/q?a=*&a=*&b=*", "b=2&a=1&a=3"),
        ("/a/1/b/2", "/a/*/b/*", "1/2"),
        ("/", "/", None),
        ("", "", None),
    ],
)
def test_ids_in_a_path_become_stars_and_the_key(path: str, template: str, key: str | None) -> None:
    assert templated(path) == (template, key)


@pytest.mark.parametrize(
    ("url", "path", "host"),
    [
        ("http://order:80/create?x=1", "/create?x=1", "order"),
        ("https://order", "/", "order"),
        ("/create", "/create", None),
        ("http://[broken/create", "http://[broken/create", None),
    ],
)
def test_a_url_gives_path_and_host(url: str, path: str, host: str | None) -> None:
    assert (path_of(url), host_of(url)) == (path, host)


def said(kind: int = Kind.CLIENT, name: str = "name", **given: str) -> Given:
    return Given(
        **{f.name: None for f in fields(Given)} | {"kind": kind, "name": name} | given  # type: ignore[arg-type]  # by name
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (said(), Named("name", "name", None, None)),
        (
            said(method="GET", path="/x/*", address="shop"),
            Named("GET /x/*", "GET /x/*", "shop", "http"),
        ),
        (
            said(Kind.SERVER, method="GET", route="/x/{id}", path="/x/*"),
            Named("GET /x/{id}", "GET /x/{id}", None, "http"),
        ),
        (
            said(rpc_system="grpc", rpc_service="shop.Price", rpc_method="Quote"),
            Named("shop.Price/Quote", "shop.Price/Quote", None, "grpc"),
        ),
        (
            said(rpc_system="grpc", rpc_method="shop.Price/Quote", method="POST", path="/p"),
            Named("shop.Price/Quote", "shop.Price/Quote", None, "grpc"),
        ),
        (
            said(name="/shop.Price/Quote", rpc_system="grpc"),
            Named("shop.Price/Quote", "shop.Price/Quote", None, "grpc"),
        ),
        (
            said(Kind.PRODUCER, messaging="kafka", destination="order.placed", rpc_system="x"),
            Named("order.placed", "order.placed", "order.placed", "kafka"),
        ),
        (said(database="postgresql"), Named("name", "name", "postgresql", "postgresql")),
        # A method alone is our own fan-out's; without a system it is no RPC.
        (
            said(method="POST", path="/reserve", rpc_method="reserve", target="stock"),
            Named("POST /reserve", "POST /reserve", "stock", "http"),
        ),
        (said(Kind.INTERNAL, name="step"), Named("step", "step", None, None)),
    ],
)
def test_messaging_goes_before_rpc_before_http(given: Given, expected: Named) -> None:
    assert named(given) == expected


@pytest.mark.parametrize(
    ("kind", "http", "rpc", "error", "is_error"),
    [
        (Kind.SERVER, "200", None, None, False),
        (Kind.SERVER, "404", None, None, False),
        (Kind.CLIENT, "404", None, None, True),
        (Kind.SERVER, "503", None, None, True),
        (Kind.CLIENT, None, "0", None, False),
        (Kind.CLIENT, None, "OK", None, False),
        (Kind.CLIENT, None, "14", None, True),
        (Kind.CLIENT, None, "UNAVAILABLE", None, True),
        (Kind.INTERNAL, None, None, "true", True),
        (Kind.INTERNAL, None, None, "false", False),
        (Kind.INTERNAL, None, None, "no such host", True),
    ],
)
def test_attributes_tell_of_errors(
    kind: int, http: str | None, rpc: str | None, error: str | None, is_error: bool
) -> None:
    assert failed(kind, http, rpc, error) is is_error
