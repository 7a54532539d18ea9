"""After the first page the server loads what the other pages need, and nothing that fails there stops anything."""

import json
import subprocess
import sys

from selviz.testing.dashboard import ROOT

PROGRAM = """
import json, sys, threading
from app.server import warm_up
from selviz.store import Store

before = "torch" in sys.modules
warm_up.begin(sys.argv[2], ["network"])  # no server runs here
idle = threading.active_count() == 1
warm_up.load(sys.argv[1], "no such run", ["no_such_page"])
warm_up.load(sys.argv[1], sys.argv[2], ["network", "unit"])
wanted = ("torch", "captum", "plotly.graph_objects", "app.views.network.page", "app.views.unit.page")
print(json.dumps([before, idle, [name for name in wanted if name not in sys.modules]]))
"""


def test_libraries_and_pages_are_loaded_once_and_failures_are_left_out(tiny_store, tiny_run):
    words = [sys.executable, "-c", PROGRAM, str(tiny_store.path), tiny_run]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [False, True, []]
