"""Load what pages will need, in the background once the first page is drawn: `begin("mnist-5k-cnn-...")`.

A first visit to a page otherwise waits for its libraries (PyTorch alone takes seconds) and for the run's tables.
"""

import threading
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module

from selviz.store import Store

from ..state import caches, reads
from . import streamlit_server

PAUSE_S = 0.5  # after the first page, which its browser is still asking for pieces of
LIBRARIES = (
    "plotly.graph_objects",
    "selviz.studies.ablation",  # with PyTorch
    "selviz.runs.load",
    "selviz.studies.attribution",  # with Captum, where it is installed
    "selviz.studies.basis",
    "selviz.studies.feature_visualization",
    "selviz.selectivity.other_measures",
    "selviz.robustness",
)
TABLES = ("layers", "units", "images", "epochs", "unit_metrics")

_begun = threading.Event()
_lock = threading.Lock()


def begin(run: str | None, pages: Iterable[str]) -> None:
    """Load libraries, modules of `pages` (folders of `app/views`) and tables of a run, once in this server's process.

    Nothing happens where a page is drawn without a server, as in a test.
    """
    with _lock:
        if _begun.is_set() or run is None or streamlit_server.running() is None:
            return
        _begun.set()
    arguments = (reads.data(), run, tuple(pages))
    timer = threading.Timer(PAUSE_S, load, arguments)
    timer.daemon = True
    timer.start()


def load(data: str, run: str, pages: Iterable[str]) -> None:
    """Import the libraries and pages, and read the tables that pages of the run show first; what fails is left out.

    A page that needs it says what is wrong when it is opened.
    """
    store = Store(data)
    for table in TABLES:
        with suppress(Exception):
            getattr(store, table)(run)
    with suppress(Exception):
        best = store.units(run).iloc[0]
        store.class_means(run, best["layer"], best["unit"])
        store.activations(run, best["layer"], best["unit"])
    for module in (*(f"app.views.{page}.page" for page in pages), *LIBRARIES):
        with suppress(Exception):
            import_module(module)
    caches.freeze_garbage()
