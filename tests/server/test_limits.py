"""What one visit may take: quotas of queries and studies, uploads, long messages, requests that do not come."""

import asyncio
import contextlib
import json
import socket
import time
from urllib.parse import urlencode

import pytest
import websockets

from app.compute import quotas
from selviz.testing.visitor import Visitor
from tests.helpers.servers import asked, served


def test_a_visit_has_its_share_and_another_visit_its_own_and_time_gives_it_back():
    now = [0.0]
    quota = quotas.Quota("new queries", 3, 60.0, clock=lambda: now[0])
    for moment in (0.0, 10.0, 20.0):
        now[0] = moment
        assert quota.wait("a") == quota.take("a") == 0.0
    assert quota.take("a") == quota.wait("a") == 40.0 and quota.take("b") == 0.0
    assert (
        quota.message(40.0) == "A visit may ask for 3 new queries in 1 minute, and this one has; go on in 40 seconds."
    )
    now[0] = 60.0
    assert quota.take("a") == 0.0 and quota.take("a") == 10.0


def test_a_quota_remembers_no_more_visits_than_it_may(monkeypatch):
    monkeypatch.setattr(quotas, "MAX_REMEMBERED", 10)
    quota = quotas.Quota("new queries", 1, 60.0)
    for visit in range(1000):
        quota.take(visit)
    assert len(quota._taken) == 10


def test_queries_beyond_a_visits_share_are_told_in_a_sentence_and_another_visit_has_its_own(own_store):
    """In a server, however long a query takes there: the fourth new one of a visit that may ask three."""
    program = "import app.compute.quotas as quotas; quotas.QUERIES.number = 3"

    async def is_refused(visitor, number):
        await visitor.open("data", urlencode({"query": f"select {number} as n"}))
        return any("A visit may ask for 3 new queries in 5 minutes" in text for text in visitor.texts())

    async def look(address):
        async with Visitor(address) as visitor:
            refused = [await is_refused(visitor, number) for number in (1, 2, 3, 4)]
        async with Visitor(address) as another:
            return [*refused, await is_refused(another, 4)]

    with served(own_store.path, program=program) as (address, *_):
        assert asyncio.run(look(address)) == [False, False, False, True, False]


def test_an_upload_needs_a_visit_and_all_uploads_together_are_bounded(own_store):
    body = (
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\n\r\n' + b"0" * 30_000 + b"\r\n--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}

    async def send(address):
        async with Visitor(address) as visitor:
            await visitor.open("unit")
            ends = []
            for number in range(6):
                url = f"{address}/_stcore/upload_file/{visitor.session_id}/{number}"
                ends.append((await asyncio.to_thread(asked, url, "PUT", headers, body))[0])
            return ends

    program = "import app.server.limits as limits; limits.MAX_UPLOADED_MB = 10.55; limits.MAX_UPLOADS = 5"
    with served(own_store.path, program=program, STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION="false") as (address, *_):
        assert asked(f"{address}/_stcore/upload_file/nobody/1", "PUT", headers, body)[0] == 429
        assert asyncio.run(send(address)) == [204, 204, 204, 429, 429, 429]


def test_a_message_that_is_too_long_ends_its_visit_and_one_who_says_nothing_is_let_go(own_store):
    async def end_of(address, size):
        url = f"{address.replace('http', 'ws')}/_stcore/stream"
        async with websockets.connect(url, subprotocols=["streamlit"], max_size=None) as stream:
            with contextlib.suppress(websockets.ConnectionClosed):  # even while it is being sent
                if size:
                    await stream.send(b"\x5a" * size)
                while True:
                    await asyncio.wait_for(stream.recv(), 20)
            return stream.close_code

    with served(own_store.path, program="import app.server.limits as limits; limits.FIRST_MESSAGE_S = 2.0") as (
        address,
        *_,
    ):
        assert asyncio.run(end_of(address, 600_000)) == 1009
        assert asyncio.run(end_of(address, 0)) == 1008
        assert json.loads(asked(f"{address}/health")[2]) == {"ok": True, "runs": 1}


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n", None])
def test_a_request_that_does_not_come_is_not_waited_for(own_store, sent):
    """Slow loris: nothing, half a head, a head a byte at a time."""
    with served(own_store.path, program="import app.server.limits as limits; limits.REQUEST_S = 1.5") as (address, *_):
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as slow:
            started, ended = time.monotonic(), False
            slow.settimeout(0.3)
            slow.sendall(sent or b"")
            while not ended and time.monotonic() < started + 20:
                with contextlib.suppress(TimeoutError):
                    if sent is None:
                        with contextlib.suppress(OSError):
                            slow.sendall(b"G")
                    try:
                        ended = slow.recv(10) == b""
                    except ConnectionError:
                        ended = True
            assert ended and time.monotonic() - started < 15
        assert asked(f"{address}/health")[0] == 200
