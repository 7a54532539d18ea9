"""The worked examples of CONTRIBUTING.md do what it says."""

import re

from streamlit.testing.v1 import AppTest

from selviz import datasets
from selviz.datasets import bundled
from selviz.testing.dashboard import ROOT
from tests.helpers.pages import text

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def example(section: str) -> str:
    """The Python of a section."""
    part = CONTRIBUTING.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.search(r"```python\n(.*?)```", part, re.S)[1]


def test_the_data_set_of_the_example_is_loaded_by_its_name(monkeypatch):
    names = dict(vars(bundled))
    exec(example("Add a data set"), names)
    monkeypatch.setitem(datasets.DATASETS, "odd-even", names["odd_even"])
    dataset = datasets.load("odd-even")
    assert dataset.class_names == ("even", "odd") and len(dataset.eval_labels) == 539
    assert abs(float(dataset.eval_labels.float().mean()) - 0.5) < 0.02


def test_the_page_of_the_example_shows_the_dead_units_of_each_layer(tiny_store, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setenv("SELVIZ_DATA", str(tiny_store.path))
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / "__init__.py").touch()
    (tmp_path / "dead" / "page.py").write_text(example("Add a page"))
    script = f"""
import streamlit as st
import app.views
app.views.__path__.append({str(tmp_path)!r})
try:
    st.session_state["run"] = {tiny_run!r}
    from app.views.dead.page import show
    show()
finally:
    app.views.__path__.pop()
"""
    page = AppTest.from_string(script, default_timeout=60).run()
    assert not page.exception and "Where are the dead units?" in text(page)
    assert page.dataframe[0].value["dead"].tolist() == tiny_store.layers(tiny_run)["dead"].tolist()


def test_every_file_that_it_names_is_there():
    named = set(re.findall(r"`((?:selviz|app|tests|\.ci)/[\w./-]*\w/?)`", CONTRIBUTING)) - {
        "app/views/dead/page.py",
        "tests/ROOM/",
    }
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []
