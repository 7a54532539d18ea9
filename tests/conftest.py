"""The tiny real world that tests share: one network trained for an epoch on 8 x 8 digits, captured and stored."""

import os

import pytest

from selviz.config import RunConfig

os.environ["SELVIZ_NO_DEMO"] = "1"  # a test that wants the demo asks for it


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory):
    """A store with the one run `tiny_run`. For reading only; a test that writes makes a store of its own."""
    from selviz.pipeline import train_run
    from selviz.store import Store

    store = Store(tmp_path_factory.mktemp("store"))
    train_run(store, RunConfig("digits", "cnn", alpha=-1, epochs=1), lambda news: None)
    return store


@pytest.fixture(scope="session")
def tiny_run(tiny_store):
    """The name of the run in `tiny_store`: alpha -1, layers relu1 to relu4 of 16, 32, 32 and 64 units, 144 in all."""
    return tiny_store.names()[0]
