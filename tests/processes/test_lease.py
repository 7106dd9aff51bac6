"""When what runs for a bench is given up, and which hosts can begin by one monotonic clock."""

from __future__ import annotations

from services.node.lease import Lease
from services.system.host_clock import HostClock, host_clock


def test_a_lease_is_over_when_nobody_has_called_for_its_length() -> None:
    now = 0
    lease = Lease(lambda: now)
    now = 10**12
    assert not lease.over()  # no length, no end
    lease.grant(10)
    now += 10
    assert not lease.over()
    now += 1
    assert lease.over()
    lease.grant(10)
    assert not lease.over()


def test_a_call_keeps_a_lease_while_it_is_answered_and_renews_it_at_its_end() -> None:
    now = 0
    lease = Lease(lambda: now)
    lease.grant(10)
    with lease.call():
        now += 100
        assert not lease.over()
    now += 10
    assert not lease.over()
    now += 1
    assert lease.over()


def test_a_monotonic_clock_is_shared_on_one_host_only() -> None:
    before, theirs, after = host_clock(), host_clock(), host_clock()
    span = before.monotonic_ns, after.monotonic_ns
    assert theirs.shared(before.boot_id, *span)
    assert not theirs.shared("another boot", *span)
    # A time namespace shifts the clock under the same boot id.
    assert not theirs.shared(before.boot_id, span[0] + 10**9, span[1] + 10**9)
    assert not HostClock("", theirs.monotonic_ns, theirs.unix_ns).shared("", *span)
