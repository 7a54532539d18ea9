"""`selviz serve`: who can reach it, what a dashboard for reading only refuses, its health, its log, its end."""

import asyncio
import json
import re
import signal
import time
import tomllib
from pathlib import Path

import pytest
import websockets

from selviz.cli import main
from selviz.errors import SelvizError
from selviz.runs import background_jobs
from selviz.store import append, delete_group, rename_group, write_group, write_json, write_stage
from selviz.testing.dashboard import ROOT
from selviz.testing.visitor import Visitor
from tests.helpers.servers import asked, served

TYPED = "select 'somebody typed this' as words"


def everything_below(folder) -> dict[str, tuple]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(Path(folder).rglob("*"))}


def listening(port: int) -> set[str]:
    """The addresses, in the kernel's hexadecimal form, at which somebody listens to the port."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    places = (line[1].rsplit(":", 1) for line in lines if line[3] == "0A")
    return {address for address, number in places if int(number, 16) == port}


def test_without_a_word_the_dashboard_is_for_this_machine_only():
    config = tomllib.loads((ROOT / "app" / ".streamlit" / "config.toml").read_text())
    assert (config["server"]["address"], config["server"]["maxUploadSize"]) == ("localhost", 10)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux tells who listens in /proc")
def test_serve_listens_here_only_and_its_end_leaves_a_running_job_alone(own_store):
    """SIGTERM, as systemd and containers send it, while a visitor is there and a sweep that it started trains."""

    async def train_and_end(address, process):
        async with Visitor(address) as visitor:
            await visitor.open("data", f"query={TYPED.replace(' ', '%20')}")
            await visitor.open("train")
            await visitor.press("Train 3 networks")
            await visitor.until(lambda v: v.finished)
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, 30)

    with served(own_store.path, SELVIZ_NO_DEMO="0") as (address, process, log):
        assert listening(int(address.rsplit(":", 1)[1])) <= {"0100007F", "00000000000000000000000001000000"}
        with pytest.raises(websockets.ConnectionClosedError, match="1012"):  # a browser comes back by itself
            asyncio.run(train_and_end(address, process))
    (job,) = background_jobs.names(own_store.path)
    place = background_jobs.place(own_store.path, job)
    deadline = time.monotonic() + 120
    while not background_jobs.running(place) and time.monotonic() < deadline:
        time.sleep(0.1)  # it imports torch
    goes_on = background_jobs.running(place)
    background_jobs.stop(place)
    assert (process.returncode, goes_on) == (-signal.SIGTERM, True)
    told = json.loads(log.with_suffix(".out").read_text())
    assert (told["reached_from"], told["read_only"]) == ("this machine only", False)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["page"] for line in lines if line["event"] == "page" and line["end"] == "drawn"][:2] == [
        "data",
        "train",
    ]
    assert all(re.fullmatch("[0-9a-f]{8}", line["session"]) for line in lines if line["event"] == "page")
    assert "somebody typed this" not in log.read_text() and lines[-1]["jobs_that_go_on"] == [job]
    while background_jobs.running(place):
        time.sleep(0.1)


def test_a_public_dashboard_shows_what_it_does_not_do_and_a_hand_that_presses_it_anyway_changes_nothing(
    own_store, tiny_run
):
    write_group(own_store.path, {"relu2": [1, 2]}, "a pair", tiny_run)

    async def press_everything(address):
        async with Visitor(address) as visitor:
            off, said = {}, {}
            for page, query in (
                ("train", ""),
                ("claims", "do=register"),
                ("robustness", ""),
            ):
                await visitor.open(page, f"{query}&run={tiny_run}")
                said[page] = any(text.startswith("This dashboard is for reading only") for text in visitor.texts())
                buttons = [button for button in visitor.elements("button") if button.disabled]
                off |= {button.label: button.help for button in buttons}
                for button in buttons:
                    await visitor.press(button.label)
                    await visitor.until(lambda v: v.finished)
                assert visitor.errors() == [], page
            assert said == {"train": True, "claims": True, "robustness": True}
            return off

    before = everything_below(own_store.path)
    with served(own_store.path, "--public", "--no-login", "--address", "127.0.0.1", SELVIZ_NO_DEMO="0") as (
        address,
        _,
        log,
    ):
        off = asyncio.run(press_everything(address))
        assert {"Train 3 networks", "Compute it now"} <= set(off)
        assert set(off.values()) >= {
            "This dashboard is for reading only: nothing is trained, computed and kept, registered, saved or uploaded."
        }
        assert everything_below(own_store.path) == before
        status, headers, _ = asked(f"{address}/_stcore/upload_file/session/file", "PUT")
        assert status == 403 and headers["x-content-type-options"] == "nosniff"
        assert asked(f"{address}/health")[::2] == (200, b'{"ok":true,"runs":1}')
        away = own_store.path.rename(own_store.path.with_name("away"))
        assert asked(f"{address}/health")[::2] == (
            503,
            b'{"ok":false,"reason":"the store cannot be read (No such file or directory)"}',
        )
        away.rename(own_store.path)
        assert "frame-ancestors 'self'" in asked(address)[1]["content-security-policy"]
    told = json.loads(log.with_suffix(".out").read_text())
    assert told["read_only"] and told["uploads"] == "none" and told["log_in"].startswith("none; whoever reaches")


WRITES = {
    "a small file": lambda store, run: write_json(store.path / "a.json", {}),
    "a stage": lambda store, run: write_stage(store.run_path(run), "more", {}, {}),
    "a record": lambda store, run: append(store.path, lambda records: {"kind": "note"}),
    "a group": lambda store, run: write_group(store.path, {"relu2": [3]}, "one", run),
    "a group's new name": lambda store, run: rename_group(store.path, KEY, "another"),
    "a group's end": lambda store, run: delete_group(store.path, KEY),
    "a job": lambda store, run: background_jobs.start(
        background_jobs.place(store.path, "job"), ["runs"], store.path, "a job"
    ),
    "a job's end": lambda store, run: background_jobs.stop(background_jobs.place(store.path, "job")),
}
KEY = "5cb9c3a9a0b1"
COMMANDS = {
    "train": ["train", "--dataset", "digits", "--model", "cnn", "--alpha=3", "--epochs", "1"],
    "capture": ["capture", "RUN"],
    "atlas": ["atlas", "RUN"],
    "metrics": ["metrics", "RUN"],
    "hypothesis": ["hypothesis", "register", "selective", "--run", "RUN", "--k", "3", "--layer", "relu4"],
    "demo --stop": ["demo", "--stop"],
}


@pytest.mark.parametrize("what", WRITES)
def test_every_writer_of_the_store_refuses_where_it_is_for_reading(tiny_store, tiny_run, what, monkeypatch):
    monkeypatch.setenv("SELVIZ_READ_ONLY", "1")
    before = everything_below(tiny_store.path)
    with pytest.raises(SelvizError, match="open for reading only"):
        WRITES[what](tiny_store, tiny_run)
    assert everything_below(tiny_store.path) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_would_write_says_so_in_one_sentence(tiny_store, tiny_run, command, monkeypatch, capsys):
    monkeypatch.setenv("SELVIZ_READ_ONLY", "1")
    before = everything_below(tiny_store.path)
    words = [tiny_run if word == "RUN" else word for word in COMMANDS[command]]
    assert main([*words, "--data", str(tiny_store.path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1].startswith("selviz: This store is open for reading only")) == ("", True)
    assert everything_below(tiny_store.path) == before


def test_a_picture_made_for_a_unit_is_shown_and_not_kept_where_the_store_is_for_reading(
    tiny_store, tiny_run, monkeypatch
):
    from selviz.studies.feature_visualization import run_visualisation

    monkeypatch.setenv("SELVIZ_READ_ONLY", "1")
    assert run_visualisation(tiny_store, tiny_run, "relu4", 3, 7)["pixels"].shape == (1, 8, 8)
    assert not (tiny_store.run_path(tiny_run) / "pictures").exists()


def test_where_a_log_in_is_set_up_nothing_is_shown_before_it(tiny_store, visit):
    page = visit(tiny_store)
    ours = {"client_id": "a", "client_secret": "b", "server_metadata_url": "http://c"}
    page.secrets["auth"] = {"redirect_uri": "http://localhost/oauth2callback", "cookie_secret": "x" * 32, "ours": ours}
    page.run()
    assert [button.label for button in page.button] == ["Log in with ours"]
    assert [block.value for block in page.markdown] == ["This dashboard is for people who log in."]
    assert len(page.sidebar.children) == 0 and not page.get("plotly_chart") and not page.exception
