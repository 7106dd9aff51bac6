"""Who may give orders to a node or to a generator of ours: whoever knows the token."""

from __future__ import annotations

from typing import Final

TOKEN_VARIABLE: Final = "HOPBENCH_TOKEN"
"""The environment, where other users can't read it."""
