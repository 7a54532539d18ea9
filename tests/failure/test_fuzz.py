"""The fuzz in short: hostile input on every surface that needs no server, and proof that its witnesses see."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from selviz.testing.dashboard import ROOT
from selviz.testing.hostile.fuzz import QUICK, make_room, tried
from selviz.testing.hostile.surfaces import SURFACES

DEEDS = {
    "reads a file": "open(canary / 'secret.txt').read()",
    "reads a file in C++": "duckdb.sql(f\"select md5(content) from read_text('{canary}/secret.txt')\").fetchall()",
    "writes a file": "open(canary / 'made', 'w')",
    "makes a folder elsewhere": "os.mkdir(canary.parent / 'elsewhere')",
    "runs a command": "os.system('true')",
    "starts a process": "__import__('subprocess').run(['true'])",
    "unpickles code": "__import__('pickle').loads(b'cposix\\nsystem\\n.')",
    "looks a host up": "__import__('socket').getaddrinfo('localhost', 80)",
    "compiles a stranger's code": "eval(\"__import__('os').getpid(), 'canary'\")",
}


@pytest.fixture(scope="module")
def room(tiny_store, tmp_path_factory):
    return make_room(tmp_path_factory.mktemp("fuzz") / "room", tiny_store)


def test_no_surface_runs_code_reads_or_writes_elsewhere_dies_or_hangs(room):
    counts = {name: max(2, QUICK[name] // 8) for name in SURFACES}
    told = tried(room, "test", counts, together=True)
    assert told["inputs"] == sum(counts.values())
    assert {name: surface["seen"] for name, surface in told["surfaces"].items() if surface["seen"]} == {}
    ends = [sum(surface.get(end, 0) for surface in told["surfaces"].values()) for end in ("used", "refused")]
    assert min(ends) > 0, "the inputs should be of both kinds"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="inotify is Linux's")
def test_the_witnesses_see_each_deed_and_nothing_where_nothing_is_done(room):
    program = f"""
import json, os, sys
from pathlib import Path
from selviz.testing.hostile.watch import Watch
canary, deeds = Path(sys.argv[1]), {DEEDS!r}
import duckdb, pickle, subprocess, socket, encodings.idna
watch, seen = Watch(canary), {{}}
for name, deed in deeds.items():
    code = compile(deed, "deed", "eval")
    with watch.over() as found:
        eval(code)
    seen[name] = list(found)
with watch.over() as found:
    Path("/proc/self/status").read_text()
    eval("'canary'")
seen["nothing"] = list(found)
print(json.dumps(seen))
"""
    place = room.root / "cwd"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(room.canaries)], cwd=place, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen.pop("nothing") == []
    assert [name for name, found in seen.items() if not found] == []
    Path(room.canaries / "made").unlink()
    (room.canaries.parent / "elsewhere").rmdir()
