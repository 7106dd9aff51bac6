"""Chance that can be repeated: a counter-based generator keyed by where a choice is made.

A key is 64 bits. The key of a request comes from the round seed and the request's number; the key
of an item from its caller's key, the id of the step that first named it, and its number there. A
draw hashes a key with a purpose and an attempt. Nothing depends on process state, so the same
request makes the same choices in every process, engine and variant. docs/architecture.md, "Chance",
lists the purposes.
"""

from __future__ import annotations

from hashlib import blake2b

_SCALE = 2.0**-53


def _hash(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def request_key(round_seed: int, number: int) -> int:
    """The key of request ``number`` (from 0, warm-up included) of a round."""
    return _hash(b"request:%d:%d" % (round_seed, number))


def item_key(parent: int, step: str, number: int) -> int:
    """The key of item ``number`` of the step ``step``, run under ``parent``."""
    return _hash(b"%d:%d:%b" % (parent, number, step.encode()))


def uniform(key: int, purpose: str, attempt: int = 0) -> float:
    """A number in [0, 1), uniform over keys, purposes and attempts."""
    return (_hash(b"%d/%d/%b" % (key, attempt, purpose.encode())) >> 11) * _SCALE


def round_seed(seed: int, pair: int) -> int:
    """The seed shared by the rounds of one pair; pairs differ."""
    return _hash(b"round:%d:%d" % (seed, pair))
