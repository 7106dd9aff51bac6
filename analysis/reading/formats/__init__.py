"""The formats of traces: a literal table. The first that recognises the content reads it.

To add one: a file here with a :class:`~analysis.reading.formats.content.Format`, and a line in
:data:`FORMATS`.
"""

from __future__ import annotations

from typing import Final

from analysis.reading.formats.content import Format
from analysis.reading.formats.jaeger import JAEGER
from analysis.reading.formats.otlp_binary import OTLP_BINARY
from analysis.reading.formats.otlp_json import OTLP_JSON
from analysis.reading.formats.zipkin import ZIPKIN

FORMATS: Final[tuple[Format, ...]] = (OTLP_BINARY, OTLP_JSON, JAEGER, ZIPKIN)
