"""Every resource comes back: visits end on a timer, a full server says so and takes visitors again, /health knows."""

import asyncio
import json
import os
import time
import urllib.error

import pytest
import websockets

from selviz.testing.visitor import Visitor
from tests.helpers.servers import asked, served

VISITS = 6


def handles(process) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="only Linux lists a process's files in /proc")
def test_a_server_at_its_limit_says_so_and_takes_visitors_again_and_what_the_others_held_comes_back(own_store):
    async def look(address):
        async with Visitor(address) as visitor:
            await visitor.open("train")
            return visitor.errors()

    async def crowd(address, process):
        visitors = [await Visitor(address).__aenter__() for _ in range(VISITS)]
        for visitor in visitors:
            await visitor.open("train")
        full = await asyncio.to_thread(asked, address, "GET", {"Accept": "text/html"})
        with pytest.raises(websockets.InvalidStatus):
            await Visitor(address).__aenter__()
        most = handles(process)
        for visitor in visitors:
            await visitor.__aexit__()
        return full, most

    with served(own_store.path, SELVIZ_VISITS=str(VISITS), STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL="1") as (
        address,
        process,
        _,
    ):
        assert asyncio.run(look(address)) == []
        time.sleep(8)
        before = handles(process)
        (status, headers, body), most = asyncio.run(crowd(address, process))
        assert status == 503 and b"as many visitors as it can take" in body and headers["retry-after"] == "60"
        assert most >= before + 3 * VISITS
        deadline = time.monotonic() + 20
        while handles(process) > before + 2 and time.monotonic() < deadline:  # nobody else comes: a timer ends them
            time.sleep(0.5)
        assert handles(process) <= before + 2
        assert asyncio.run(look(address)) == []


def test_visits_whose_visitors_are_gone_make_room_for_new_ones(own_store):
    async def look(address):
        async with Visitor(address) as visitor:
            await visitor.open("train")
            return visitor.errors()

    with served(own_store.path, SELVIZ_VISITS="2") as (address, *_):
        assert [asyncio.run(look(address)) for _ in range(5)] == [[]] * 5


def test_health_reads_a_stage_file_and_is_503_while_none_can_be_opened(own_store, tiny_run):
    file = own_store.run_path(tiny_run) / "capture.duckdb"
    with served(own_store.path) as (address, *_):
        assert json.loads(asked(f"{address}/health")[2]) == {"ok": True, "runs": 1}
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        status, _, body = asked(f"{address}/health")
        assert (status, json.loads(body)) == (503, {"ok": False, "reason": "none of the 1 newest runs can be opened"})
        file.write_bytes(content)
        assert asked(f"{address}/health")[0] == 200


def test_a_local_dashboard_refuses_names_that_are_not_its_own_as_after_dns_rebinding(own_store):
    """The page of another site whose name leads here: its requests and WebSocket have that site's host and origin."""

    async def stream(address, host):
        url = f"{address.replace('http', 'ws')}/_stcore/stream"
        headers = {"Host": host, "Origin": f"http://{host}"}
        async with websockets.connect(url, subprotocols=["streamlit"], additional_headers=headers):
            return True

    with served(own_store.path) as (address, *_):
        port = address.rpartition(":")[2]
        for host in (f"evil.example.org:{port}", f"localhost.evil.example.org:{port}", "", "127.0.0.1.nip.io"):
            assert asked(address, headers={"Host": host})[0] in (400, 421), host
            if host:
                with pytest.raises((websockets.InvalidStatus, urllib.error.HTTPError)):
                    asyncio.run(stream(address, host))
        assert asked(address, headers={"Host": f"localhost:{port}"})[0] == 200
