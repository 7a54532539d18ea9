"""The tiny real world that tests share: one network trained for an epoch on 8 x 8 digits, captured and stored."""

import os
import shutil
import sys

import pytest

from selviz.config import RunConfig
from selviz.testing.dashboard import look_for_components_once, switch_page
from tests.helpers.pages import MAIN

os.environ["SELVIZ_NO_DEMO"] = "1"  # a test that wants the demo asks for it
PROGRAM = sys.modules["__main__"]
look_for_components_once()


@pytest.fixture(autouse=True)
def program_of_its_own():
    """AppTest leaves the page's script as the main module, which every process that a later test spawns would run."""
    sys.modules["__main__"] = PROGRAM
    yield
    sys.modules["__main__"] = PROGRAM


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory):
    """A store with the one run `tiny_run`. For reading only; a test that writes makes a store of its own."""
    from selviz.runs.train import train_run
    from selviz.store import Store

    store = Store(tmp_path_factory.mktemp("store"))
    train_run(store, RunConfig("digits", "cnn", alpha=-1, epochs=1), lambda news: None)
    return store


@pytest.fixture(scope="session")
def tiny_run(tiny_store):
    """The name of the run in `tiny_store`: alpha -1, layers relu1 to relu4 of 16, 32, 32 and 64 units, 144 in all."""
    return tiny_store.names()[0]


@pytest.fixture
def own_store(tiny_store, tmp_path):
    """A copy of the tiny store that a test may damage."""
    from selviz.store import Store

    shutil.copytree(tiny_store.path, tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture(autouse=True)
def visits_with_their_whole_share():
    """AppTest calls every visit by one name, so what the visits of other tests have asked for is forgotten."""
    if quotas := sys.modules.get("app.compute.quotas"):
        for quota in (quotas.QUERIES, quotas.STUDIES):
            quota._taken.clear()


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    from selviz.store import Store

    return Store(tmp_path / "data")


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A store of two runs with made-up numbers that no test changes: alpha -1 from seed 1, alpha 0 from seed 0."""
    from selviz.store import Store
    from tests.helpers.stored import make_run

    store = Store(tmp_path_factory.mktemp("shared") / "data")
    make_run(store, alpha=0)
    make_run(store, alpha=-1, seed=1)
    return store


@pytest.fixture(scope="session")
def run(shared):
    """The run of alpha 0 in `shared`."""
    return shared.names()[1]


@pytest.fixture
def visit(monkeypatch):
    """Opens a page of the store in a folder at an address: `visit(store, "unit", layer="relu4", unit="3")`."""
    # Streamlit puts the page there and leaves it there; processes that other tests spawn would run it again.
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])

    from streamlit.testing.v1 import AppTest

    def open_page(data, view="alpha", **address):
        monkeypatch.setenv("SELVIZ_DATA", str(getattr(data, "path", data)))
        page = AppTest.from_file(str(MAIN), default_timeout=120)
        for name, value in address.items():
            page.query_params[name] = value
        return (page if view == "start" else switch_page(page, view)).run()

    return open_page
