"""Our writer of protobuf's wire format against protobuf itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from services.telemetry import protobuf
from tests.telemetry.build import spans_of, value_of

values = st.recursive(
    st.none()
    | st.booleans()
    | st.text()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.text(), values)
def test_every_attribute_reads_back_as_it_was(key: str, value: protobuf.Value) -> None:
    (attribute,) = ResourceSpans.FromString(protobuf.resource({key: value})).resource.attributes
    assert (attribute.key, value_of(attribute.value)) == (key, value)


@given(st.integers(1, 2**64 - 1))
def test_integers_are_as_protobuf_writes_them(n: int) -> None:
    assert protobuf.fixed64(7, n) == Span(start_time_unix_nano=n).SerializeToString()
    if n < 2**32:
        count = Span(dropped_attributes_count=n).SerializeToString()
        assert protobuf.integer(10, n) == count


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_text_attribute_is_byte_for_byte_protobufs_own(key: str, value: str) -> None:
    said = KeyValue(key=key)
    said.value.string_value = value
    assert protobuf.attribute(9, key, value) == Span(attributes=[said]).SerializeToString()


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 3_000_000])
def test_lengths_of_any_size_frame_a_request(size: int) -> None:
    body = protobuf.delimited(2, protobuf.text(5, "x" * size))
    request = protobuf.export_request(protobuf.resource({}), protobuf.scope("s"), [body])
    (found,) = spans_of(request)
    assert len(found.name) == size
