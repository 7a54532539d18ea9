"""Whose turn it is, who gives up, what is kept and when it is given back."""

import subprocess
import sys
import threading
import time

import pytest

from app.compute.queues import CONTROLS, FIRST, SETTLING, FairScheduler, JobQueue, pieces_at_once
from app.state import caches
from selviz.testing.dashboard import ROOT


def in_line(turns: FairScheduler, wishes) -> list:
    """The (visitor, urgency) in the order in which they got their turns, all of whom came while one was held."""
    order, threads = [], []

    def compute(visitor, urgency):
        with turns.turn(visitor, urgency):
            order.append((visitor, urgency))

    with turns.turn("somebody", CONTROLS):
        for number, wish in enumerate(wishes, 1):
            threads.append(threading.Thread(target=compute, args=wish))
            threads[-1].start()
            while len(turns._waiting) < number:
                time.sleep(0.001)
        assert order == []
    for thread in threads:
        thread.join(10)
    return order


def test_first_estimates_come_before_all_else_and_control_sets_last():
    wishes = [("a", CONTROLS), ("b", SETTLING), ("c", CONTROLS), ("d", FIRST), ("e", SETTLING), ("f", FIRST)]
    order = in_line(FairScheduler(1), wishes)
    assert order == [("d", FIRST), ("f", FIRST), ("b", SETTLING), ("e", SETTLING), ("a", CONTROLS), ("c", CONTROLS)]


def test_visitors_take_turns_however_much_one_of_them_asks():
    order = in_line(FairScheduler(1), [("a", FIRST)] * 3 + [("b", FIRST)] * 2 + [("c", FIRST)])
    assert [visitor for visitor, _ in order] == ["a", "b", "c", "a", "b", "a"]


def test_who_is_no_longer_wanted_gives_up_and_keeps_nobody_waiting():
    turns, wanted = FairScheduler(1), []

    def look(before):
        wanted.append(before)
        if len(wanted) > 1:
            raise InterruptedError

    with turns.turn("a", FIRST):
        with pytest.raises(InterruptedError), turns.turn("b", FIRST, look):
            pass
        assert not turns._waiting and wanted == [0, 1], "one visitor comes before"
    with turns.turn("c", CONTROLS):
        pass


def test_what_fails_in_its_turn_lets_the_next_one_in():
    turns = FairScheduler(1)
    with pytest.raises(ZeroDivisionError), turns.turn("a", FIRST):
        raise ZeroDivisionError
    with turns.turn("b", FIRST):
        pass


def test_no_more_than_so_many_are_computed_at_once():
    turns, inside, most = FairScheduler(2), [], []

    def compute(visitor):
        with turns.turn(visitor, FIRST):
            inside.append(visitor)
            most.append(len(inside))
            time.sleep(0.005)
            inside.remove(visitor)

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == 8 and max(most) == 2
    assert pieces_at_once(10**6) == 1


def test_answers_are_kept_within_a_budget_and_each_reader_has_its_own():
    kept = caches.PickledLRU(0.01)
    kept.put("a", {"flips": [1, 2]})
    kept.get("a")["flips"].append(3)
    assert kept.get("a") == {"flips": [1, 2]}
    kept.put("b", "x" * 6000)
    assert kept.get("a") is not None
    kept.put("c", "y" * 3990)
    assert kept.get("b") is None and kept.get("a") is not None, "what was not read for longest goes first"
    kept.put("large", "z" * 20_000)
    assert kept.get("large") is None and kept.bytes == 0


def test_memory_is_given_back_after_a_rest_and_not_before():
    given = []
    rest = caches.IdleTimer(0.6, lambda: given.append(time.monotonic()))
    for _ in range(5):
        rest.touch()
        last = time.monotonic()
        time.sleep(0.05)
    while not given and time.monotonic() < last + 10:
        time.sleep(0.01)
    assert len(given) == 1 and given[0] > last + 0.5
    rest.touch()
    while len(given) < 2 and time.monotonic() < last + 20:
        time.sleep(0.01)
    assert len(given) == 2


def test_what_takes_minutes_stands_in_a_line_with_one_place_for_each_visitor(capsys):
    queue, go, done = JobQueue(), threading.Event(), []

    def last(name):
        def run():
            go.wait(10)
            done.append(name)
            if name == "second":
                raise ValueError("broken")

        return run

    assert queue.add("ann", "first", last("first"))
    assert not queue.add("ann", "more", last("more")), "one at a time for each visitor"
    assert not queue.add("bob", "first", last("first")), "nothing twice"
    assert queue.add("bob", "second", last("second")) and queue.add("eve", "third", last("third"))
    assert [queue.ahead_of(key) for key in ("first", "second", "third", "more")] == [0, 1, 2, None]
    assert queue.has_job_of("eve") and not queue.has_job_of("tom")
    go.set()
    while queue.has_job_of("eve"):
        time.sleep(0.01)
    assert done == ["first", "second", "third"] and "ValueError: broken" in capsys.readouterr().err
    assert queue.add("ann", "first", last("again"))
    while queue.has_job_of("ann"):
        time.sleep(0.01)
    assert done[-1] == "again"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_threads_take_memory_from_a_few_places_and_not_from_one_each(tmp_path):
    program = f"""
import ctypes, sys, threading
from app.state import caches
if sys.argv[1] == "share":
    caches.share_arenas()
barrier = threading.Barrier(6)
def take():
    held = [bytes(2000) for _ in range(10)]
    barrier.wait(10)
threads = [threading.Thread(target=take) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen({str(tmp_path / "told")!r}.encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""

    def places(how: str) -> int:
        subprocess.run([sys.executable, "-c", program, how], check=True, cwd=ROOT)
        return (tmp_path / "told").read_text().count("<heap nr=")

    assert places("share") <= caches.ARENAS < places("not")
