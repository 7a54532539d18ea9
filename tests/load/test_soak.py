"""The soak in short: visits that come and go leave no session, file handle or thread behind."""

import asyncio

import pytest

from selviz.testing.dashboard import serving, sessions
from selviz.testing.soak import SOON, slope, soak

pytestmark = pytest.mark.browser
LIGHT = ("alpha", "network", "data", "claims")


@pytest.mark.slow  # test_visits.py sees that what visits held comes back
def test_visits_that_come_and_go_leave_no_session_handle_or_thread(tiny_store):
    servers = []
    with serving(tiny_store.path, started=servers.append, **SOON) as address:
        found = asyncio.run(soak(address, servers[0].pid, tiny_store, 32, 4, 2, LIGHT))
        assert sessions(address) == 0
    assert (found["errors"], found["lost"]) == ([], [])
    first, last = found["samples"][1], found["samples"][-1]
    assert (first["visits"], last["visits"]) == (16, 32)
    # What grew with visits would have grown by one each at least.
    assert last["handles"] - first["handles"] < 16 and last["threads"] - first["threads"] < 16


def test_a_leak_has_a_slope_and_a_level_that_wavers_has_none():
    wavering = [{"visits": 100 * n, "memory_mb": 500 + 3 * (-1) ** n} for n in range(1, 31)]
    leaking = [{**one, "memory_mb": one["memory_mb"] + 0.1 * one["visits"]} for one in wavering]
    still = [{**one, "threads": 32} for one in wavering]
    assert slope(wavering, "memory_mb")["flat"] and slope(still, "threads")["flat"]
    found = slope(leaking, "memory_mb")
    assert found["low"] < 100 < found["high"] and found["rounds"] == 20 and not found["flat"]
