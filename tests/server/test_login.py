"""The log-in fails closed: every way in which a secrets file can be wrong ends in a sentence, none in an open door."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time

import pytest
import websockets

from app.server import login
from app.server.login import LogIn, decide
from selviz.errors import SelvizError
from selviz.testing.dashboard import ROOT
from selviz.testing.visitor import Visitor
from tests.helpers.servers import asked, served

GOOD = """
[auth]
redirect_uri = "http://127.0.0.1/oauth2callback"
cookie_secret = "a secret of many characters"

[auth.university]
client_id = "selviz"
client_secret = "another"
server_metadata_url = "https://login.example.org/.well-known/openid-configuration"
"""
BROKEN = {
    "a missing quote": GOOD.replace('"selviz"', '"selviz'),
    "a byte-order mark": "\ufeff" + GOOD.lstrip(),
    "a doubled key": GOOD + 'client_id = "again"\n',
    "a doubled table": GOOD + "[auth]\n",
    "[Auth]": GOOD.replace("[auth", "[Auth"),
    "[ auth ] in quotes and a blank": GOOD.replace("[auth]", '["auth "]').replace("[auth.", '["auth ".'),
    "auth as a text": 'auth = "yes"',
    "no provider": GOOD.partition("[auth.")[0],
    "a provider without an id": GOOD.replace("client_id", "client"),
    "an empty secret": GOOD.replace('"another"', '""'),
    "a number as a secret": GOOD.replace('"another"', "5"),
    "no secret for cookies": GOOD.replace("cookie_secret", "cookies"),
    "a short secret for cookies": GOOD.replace("a secret of many characters", "short"),
    "no way back": GOOD.replace("redirect_uri", "redirect_url"),
    "a way back that is no callback": GOOD.replace("/oauth2callback", "/"),
    "a second provider that is incomplete": GOOD + '[auth.other]\nclient_id = "x"\n',
    "a way back with a broken host": GOOD.replace("127.0.0.1/", "[::1/"),
    "a way back with a port that is none": GOOD.replace("127.0.0.1/", "127.0.0.1:99999999/"),
    "a provider that is at no address": GOOD.replace("https://login.example.org", "login.example.org"),
    "a list of log-ins": GOOD.replace("[auth]", "[[auth]]").partition("[auth.")[0],
    "text of two bytes a letter": GOOD.encode("utf-16"),
    "bytes that are no text": GOOD.encode().replace(b"selviz", b"\xff\xfe"),
}


@pytest.fixture
def secrets(tmp_path, monkeypatch):
    """Writes the secrets file that Streamlit is told of, and returns what is read from it."""
    file = tmp_path / "secrets.toml"
    monkeypatch.setattr(login, "_files", lambda: [str(tmp_path / "none.toml"), str(file)])

    def write(text):
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return login._secrets()

    return write


@pytest.mark.parametrize("wrong", BROKEN)
@pytest.mark.parametrize("public", [True, False])
def test_a_secrets_file_that_is_not_right_is_told_in_a_sentence_and_lets_nobody_in(secrets, wrong, public):
    with pytest.raises(SelvizError, match="secrets file"):
        decide(secrets(BROKEN[wrong]), public)


def test_a_secrets_file_that_cannot_be_read_is_none_that_is_not_there(secrets, tmp_path):
    (tmp_path / "secrets.toml").symlink_to(tmp_path / "gone")
    with pytest.raises(SelvizError, match="cannot be read"):
        login._secrets()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_secrets_file_that_is_a_pipe_is_not_waited_for(secrets, tmp_path):
    os.mkfifo(tmp_path / "secrets.toml")
    with pytest.raises(SelvizError, match="it is no file"):
        login._secrets()


def test_a_complete_provider_is_a_log_in_and_without_any_file_only_a_local_dashboard_is_open(secrets, monkeypatch):
    assert decide(secrets(GOOD), public=True) == LogIn(True, ("university",), "127.0.0.1")
    assert decide(None, public=False) == decide(secrets("[database]\nname = 'x'"), public=False) == LogIn(False)
    for nothing in (None, secrets("[database]\nname = 'x'")):
        with pytest.raises(SelvizError, match="No log-in is set up.*--no-login"):
            decide(nothing, public=True)
    monkeypatch.setenv("SELVIZ_NO_LOGIN", "1")
    assert decide(secrets(GOOD), public=True) == LogIn(False)


@pytest.mark.parametrize("wrong", ["a missing quote", "a byte-order mark"])
def test_serve_stops_with_the_sentence_and_status_2(tmp_path, wrong):
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "secrets.toml").write_text(BROKEN[wrong])
    command = [sys.executable, "-m", "selviz", "serve", "--public", "--address", "127.0.0.1", "--port", "8599"]
    done = subprocess.run(
        [*command, "--data", str(tmp_path / "store")], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("selviz: The secrets file")


def test_before_the_log_in_there_is_nothing_to_see_and_nothing_is_taken_and_a_broken_edit_opens_nothing(own_store):
    """Messages, uploads, pictures, metrics, other hosts; then the file is broken, and then removed, while it runs."""
    folder = own_store.path.parent / ".streamlit"
    folder.mkdir()
    (folder / "secrets.toml").write_text(GOOD)

    async def look(address):
        async with Visitor(address) as visitor:
            await visitor.open("network")
            return [button.label for button in visitor.elements("button")], visitor.texts(), visitor.errors()

    async def flood(address, size):
        url = f"{address.replace('http', 'ws')}/_stcore/stream"
        async with websockets.connect(url, subprotocols=["streamlit"], max_size=None) as socket:
            with contextlib.suppress(websockets.ConnectionClosed):  # even while it is being sent
                await socket.send(b"\x5a" * size)
                while True:
                    await asyncio.wait_for(socket.recv(), 20)
            return socket.close_code

    only_the_way_in = (["Log in with university"], ["selviz", "This dashboard is for people who log in."], [])
    options = ("--public", "--address", "127.0.0.1", "--host", "selviz.example.org")
    with served(own_store.path, *options, SELVIZ_READ_ONLY="0") as (address, _, log):
        assert asyncio.run(look(address)) == only_the_way_in
        assert asyncio.run(flood(address, 100_000)) == 1009
        assert asyncio.run(flood(address, 3_000_000)) == 1009
        for path, method in (("/_stcore/upload_file/session/file", "PUT"), ("/media/0123.png", "GET")):
            assert asked(address + path, method)[0] == 401, path
        assert asked(f"{address}/_stcore/metrics")[0] == 404
        assert asked(address, headers={"Host": "evil.example.org"})[0] == 421
        assert asked(address, headers={"Host": "selviz.example.org"})[0] == 200
        assert json.loads(asked(f"{address}/health")[2]) == {"ok": True, "runs": 1}
        for text in (BROKEN["a missing quote"], "", None):
            if text is None:
                (folder / "secrets.toml").unlink()
            else:
                (folder / "secrets.toml").write_text(text)
            time.sleep(2.5)  # Streamlit looks at the file every second
            labels, texts, _ = asyncio.run(look(address))
            assert (labels, texts[:2]) == only_the_way_in[:2]
    assert "OpenID Connect (university)" in json.loads(log.with_suffix(".out").read_text())["log_in"]
