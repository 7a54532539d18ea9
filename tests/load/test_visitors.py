"""Several visitors of the Ablation page at once: nobody gets another's answer, an old one, or an error."""

import asyncio
import time
from urllib.parse import parse_qsl

import pytest

from selviz.testing.classroom import Options, visit_as_a_class
from selviz.testing.crowd import crowd, questions
from selviz.testing.dashboard import serving, sessions
from selviz.testing.visitor import Visitor

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tiny_store):
    with serving(tiny_store.path) as where:
        yield where


def test_visitors_who_change_what_they_ask_all_the_time_get_right_answers_and_leave_nothing(
    address, tiny_store, tiny_run
):
    asked = questions(tiny_store, tiny_run, 10)
    asyncio.run(crowd(address, tiny_run, asked, 0, visitors=1, browsers=0))  # imports torch
    tally = asyncio.run(crowd(address, tiny_run, asked, 6, visitors=4, browsers=1))
    assert (tally.wrong, tally.lost, tally.errors) == ([], [], [])
    assert tally.answers == len(tally.settled) + len(tally.browser_settled) >= 6
    assert tally.browser_settled
    for _ in range(100):
        if sessions(address) == 0:
            break
        time.sleep(0.1)
    assert sessions(address) == 0


def test_a_visitor_sees_what_is_drawn_and_its_widgets_and_buttons_work(address, tiny_store, tiny_run):
    async def look():
        async with Visitor(address) as visitor:
            await visitor.open("unit", "layer=relu2&unit=3")
            unit = tiny_store.unit(tiny_run, "relu2", 3)
            assert visitor.metrics()["SI"][0] == f"{unit['si']:.2f}"
            assert visitor.query == f"layer=relu2&unit=3&run={tiny_run}"
            await visitor.press("Next")
            await visitor.until(lambda v: v.finished)
            assert visitor.metrics()["SI"][0] == f"{tiny_store.unit(tiny_run, 'relu2', 4)['si']:.2f}"
            await visitor.choose("Layer", "relu3")
            await visitor.until(lambda v: v.finished)
            assert "layer=relu3" in visitor.query and visitor.value("Layer") == "relu3"
            await visitor.open("unit", "layer=relu2&unit=99")
            assert any("`99`" in text for text in visitor.texts()) and visitor.errors() == []

    asyncio.run(look())


def test_what_a_slow_browser_still_shows_is_not_taken_for_a_click(address, tiny_run):
    """Back, and at once another mode: the request carries the units of before, of which the visitor said nothing."""

    async def look():
        async with Visitor(address) as visitor:
            await visitor.open("silence", f"run={tiny_run}&silence=relu2:7")
            shown = dict(visitor.widgets)
            await visitor.open("silence", f"run={tiny_run}&silence=relu2:9;relu4:1,5")
            visitor.widgets = shown
            await visitor.choose("Set them to", ["mean"])
            await visitor.until(lambda v: v.finished)
            return dict(parse_qsl(visitor.query))

    assert asyncio.run(look()) == {"run": tiny_run, "silence": "relu2:9;relu4:1,5", "mode": "mean"}


def test_a_step_back_right_after_a_click_leads_to_that_address(address, tiny_run):
    wanted = {"silence": "relu4:1,5", "mode": "mean", "run": tiny_run}

    async def look():
        async with Visitor(address) as visitor:
            await visitor.open("silence", f"run={tiny_run}&silence=relu2:7")
            await visitor.choose("Set them to", ["scale"])
            await visitor.go("silence", "silence=relu4:1,5&mode=mean")
            await visitor.until(lambda v: v.finished and dict(parse_qsl(v.told or "")) == wanted, 30)
            assert visitor.value("Set them to") == ["mean"]

    asyncio.run(look())


def test_of_clicks_on_one_widget_that_come_before_it_is_drawn_again_the_last_one_counts(address, tiny_run):
    """The value that was drawn last is chosen again: to a reader of what was drawn alone, nothing was clicked."""

    async def look():
        async with Visitor(address) as visitor:
            await visitor.open("silence", f"run={tiny_run}&silence=relu2:7&mode=shuffle")
            for _ in range(8):
                await visitor.choose("Set them to", ["mean"])
                await asyncio.sleep(0.02)
                await visitor.choose("Set them to", ["another image"])
                await visitor.until(lambda v: v.finished)
                assert "mode=shuffle" in visitor.query

    asyncio.run(look())


def test_a_damaged_run_is_an_error_to_a_visitor_as_to_a_reader(tiny_store, tiny_run, tmp_path):
    """What makes `errors` fail: the client must see the box that a person sees."""
    import shutil

    shutil.copytree(tiny_store.path, tmp_path / "store")
    (tmp_path / "store" / "runs" / tiny_run / "metrics.duckdb").write_bytes(b"")

    async def look(address):
        async with Visitor(address) as visitor:
            await visitor.open("network")
            return visitor.errors(), visitor.texts()

    with serving(tmp_path / "store") as address:
        errors, texts = asyncio.run(look(address))
    assert errors == ["This could not be shown; nothing was lost."]
    assert any(f"selviz capture {tiny_run}" in text for text in texts)


@pytest.mark.slow  # benchmarks/load/load.py in short
def test_a_class_gets_right_numbers_on_every_page_while_one_asks_for_all_that_is_heavy(tiny_store):
    visitors = {"seconds": 3, "visitors": 4, "greedy": 1, "browsers": 0, "think": 1, "rest": 0}
    found = visit_as_a_class(Options(**visitors, units=2, selections=2, data=str(tiny_store.path)))
    assert found["examples"] == {"wrong": [], "lost": [], "errors": [], "server_log": []}
    assert (found["wrong_answers"], found["lost"], found["errors"]) == (0, 0, 0)
    assert found["checked_numbers"] >= 10
