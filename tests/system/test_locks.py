"""One process at a time, tested with real processes that claim, die and race."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from selviz.errors import SelvizError
from selviz.system import locks
from selviz.system.locks import Claim, holder, release


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "claim.json"


def python(code, *argv):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, argv)], stdout=subprocess.PIPE, text=True)


HOLD = """
import sys, time
from selviz.system.locks import Claim
with Claim(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(path):
    """A process of its own that holds the claim at `path`."""
    process = python(HOLD, path)
    assert process.stdout.readline() == "held\n"
    return process


def stale(path, **changes):
    """A claim left behind by a process that is gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "pid" not in changes:
        gone = python("pass")
        gone.wait()
        changes["pid"] = gone.pid
    record = {**locks._record("left behind"), **changes}
    path.write_text(json.dumps(record))
    return record


def test_a_claim_names_its_process_while_it_is_held_and_leaves_nothing_behind(path):
    with Claim(path):
        found = holder(path)
        assert (found["pid"], found["host"]) == (os.getpid(), socket.gethostname())
    assert holder(path) is None
    assert list(path.parent.iterdir()) == []


def test_a_second_process_is_told_host_and_pid_of_the_first(path):
    first = hold(path)
    try:
        with pytest.raises(
            SelvizError, match=f"Process {first.pid} on {socket.gethostname()} is already working on it"
        ):
            Claim(path, what="it").__enter__()
    finally:
        first.kill()
        first.wait()


def test_two_claims_in_one_process_exclude_each_other(path):
    with Claim(path), pytest.raises(SelvizError, match="already working"):
        Claim(path).__enter__()
    with Claim(path):
        pass


def test_a_claim_is_free_as_soon_as_its_process_was_killed_even_before_its_parent_noticed(path):
    first = hold(path)
    os.kill(first.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while holder(path) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert holder(path) is None  # first is a zombie still: nobody has waited for it
    with Claim(path):
        assert holder(path)["pid"] == os.getpid()
    first.wait()


def test_a_pid_that_another_process_has_by_now_does_not_keep_a_claim_alive(path):
    stale(path, pid=os.getpid(), born="1")
    assert holder(path) is None


@pytest.mark.parametrize("elsewhere", [{"host": "another"}, {"pids": "another container"}])
def test_a_claim_from_elsewhere_lives_as_long_as_its_heartbeat(path, elsewhere):
    stale(path, **elsewhere)
    assert holder(path)["token"] == "left behind"
    old = time.time() - locks.STALE_S - 1
    stale(path, **elsewhere, heartbeat=old)
    os.utime(path, (old, old))
    assert holder(path) is None
    with Claim(path) as claim:
        assert holder(path)["token"] == claim.token


def test_a_claim_dated_after_now_is_free_once_nobody_renewed_it_while_we_looked(path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.05)
    ahead = time.time() + 86_400  # the clock was set back by a day after it was left
    stale(path, host="another")
    os.utime(path, (ahead, ahead))
    assert holder(path) is None
    with Claim(path) as claim:
        assert holder(path)["token"] == claim.token


def test_a_live_claim_of_a_machine_whose_clock_is_ahead_is_not_taken(path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.05)
    stale(path, host="another")
    ended = threading.Event()

    def beat():
        number = 0
        while not ended.is_set():
            number += 1
            os.utime(path, (time.time() + 600, time.time() + 600 + number))
            time.sleep(0.01)

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        time.sleep(0.05)
        with pytest.raises(SelvizError, match="Process .* on another is already working"):
            Claim(path).__enter__()
    finally:
        ended.set()
        beating.join()


def test_ages_are_told_by_the_clock_of_the_disk_and_not_by_that_of_the_process(path, monkeypatch):
    stale(path, host="another")  # renewed this moment
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)  # this machine's clock is an hour ahead of the disk's
    with pytest.raises(SelvizError, match="already working"):
        Claim(path).__enter__()


def test_an_unreadable_claim_is_as_old_as_its_file(path):
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(SelvizError, match="already working"):
        Claim(path).__enter__()
    os.utime(path, (1, 1))
    with Claim(path):
        pass


def test_no_clock_takes_a_claim_from_a_process_that_lives_here(path):
    first = hold(path)
    try:
        for date in (1, time.time() + 86_400):  # a laptop that slept; a clock that was set back
            os.utime(path, (date, date))
            with pytest.raises(SelvizError, match=f"Process {first.pid}"):
                Claim(path).__enter__()
    finally:
        first.kill()
        first.wait()


RACE = """
import os, sys, time
from selviz.system.locks import Claim
from selviz.errors import SelvizError
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    pass
try:
    Claim.create(sys.argv[1])
    print("won", flush=True)
    time.sleep(30)
except SelvizError:
    print("lost", flush=True)
"""


@pytest.mark.parametrize("left_behind", [True, False])
def test_exactly_one_of_20_processes_takes_a_claim(path, left_behind):
    if left_behind:
        stale(path)
    else:
        path.parent.mkdir()
    start = path.parent / "start"
    racers = [python(RACE, path, start) for _ in range(20)]
    try:
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        start.touch()
        outcomes = [racer.stdout.readline().strip() for racer in racers]
        assert sorted(outcomes) == ["lost"] * 19 + ["won"]
        assert holder(path)["pid"] == racers[outcomes.index("won")].pid
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()


def test_of_threads_that_see_the_same_stale_claim_exactly_one_takes_it_over(path):
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # the gap between looking and taking, if there is one, is entered often
    try:
        for _ in range(30):
            stale(path, pid=os.getpid(), born="1")
            start, outcomes = threading.Barrier(8), []

            def take(start=start, outcomes=outcomes):
                start.wait()
                try:
                    outcomes.append(Claim.create(path))
                except SelvizError:
                    outcomes.append(None)

            threads = [threading.Thread(target=take) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            winners = [token for token in outcomes if token is not None]
            assert winners == [holder(path)["token"]]
    finally:
        sys.setswitchinterval(switch)


def test_of_threads_that_take_over_again_and_again_one_at_a_time_is_inside(path):
    inside, most, rounds = 0, 0, 0
    lock = threading.Lock()

    def work():
        nonlocal inside, most, rounds
        for _ in range(30):
            try:
                token = Claim.create(path)
            except SelvizError:
                continue
            with lock:
                inside += 1
                most, rounds = max(most, inside), rounds + 1
            with lock:
                inside -= 1
            release(path, token)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert rounds >= 8


def test_the_heartbeat_is_renewed_and_keeps_the_time_of_the_start(path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.02)
    with Claim(path):
        first = holder(path)
        deadline = time.monotonic() + 10
        while holder(path)["heartbeat"] <= first["heartbeat"] + 0.05 and time.monotonic() < deadline:
            time.sleep(0.01)
        last = holder(path)
    assert last["heartbeat"] > first["heartbeat"] + 0.05
    assert last["started"] == first["started"]


def test_a_holder_whose_claim_was_taken_over_learns_it_and_leaves_the_new_one_alone(path, monkeypatch):
    monkeypatch.setattr(locks, "HEARTBEAT_S", 0.02)
    with Claim(path) as claim:
        other = stale(path)
        deadline = time.monotonic() + 10
        while not claim.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        assert claim.lost
    assert json.loads(path.read_text())["token"] == other["token"]


ADOPT = """
import sys, time
from selviz.system.locks import Claim
with Claim.adopt(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_child_adopts_the_claim_that_its_parent_made(path):
    token = Claim.create(path)
    assert holder(path)["pid"] == os.getpid()
    child = subprocess.Popen(
        [sys.executable, "-c", ADOPT, str(path), token], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "held\n"
    assert holder(path)["pid"] == child.pid
    with pytest.raises(SelvizError, match=str(child.pid)):
        Claim.create(path)
    child.communicate()
    assert holder(path) is None


def test_a_claim_that_is_gone_cannot_be_adopted(path):
    token = Claim.create(path)
    release(path, token)
    with pytest.raises(SelvizError, match="run the command again"):
        Claim.adopt(path, token).__enter__()


def test_only_its_own_token_releases_a_claim(path):
    token = Claim.create(path)
    release(path, "another")
    assert holder(path)["token"] == token
    release(path, token)
    release(path, token)
    assert holder(path) is None


def test_a_place_that_cannot_be_written_is_one_clear_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SelvizError, match=r"Cannot write .*claim\.json"):
        Claim(tmp_path / "file" / "claim.json").__enter__()


def test_claims_need_no_torch():
    code = "import sys, selviz.system.locks; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "False\n"
