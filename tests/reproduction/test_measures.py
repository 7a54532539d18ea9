"""Other measures of trained networks: what is kept of a store is what the store says, and what the page says of it."""

import numpy as np
import pandas as pd
import pytest

from reproduction import measures
from reproduction.experiments import Experiment
from reproduction.reported import signed
from reproduction.rows import COLUMNS, add_row
from selviz.config import RunConfig

TINY = Experiment("tiny", "Tiny", "cnn", {"epochs": 1}, (-1,), (0,))


@pytest.fixture
def table(own_store):
    return measures.measures_of(own_store, TINY, RunConfig("digits", "cnn", alpha=-1, epochs=1))


def test_measures_are_those_of_the_live_units_and_of_the_stored_curves(own_store, tiny_run, table):
    units = own_store.unit_metrics(tiny_run)
    of_layer = units[(units["layer"] == "relu3") & ~units["dead"]]["d_prime"]
    row = table[(table["measure"] == "d_prime") & (table["layer"] == "relu3")]
    assert row["value"].item() == pytest.approx(of_layer.mean(), abs=1e-6)
    curve = table[table["measure"] == "descending"]
    areas = own_store.areas(tiny_run)
    area = areas[(areas["layer"] == "network") & (areas["direction"] == "descending")]["area"].item()
    assert np.trapezoid(curve["value"], curve["removed"]) == pytest.approx(area, abs=1e-5)
    assert len(curve) == measures.STEPS + 1 and curve["removed"].max() == 1


def test_the_page_has_a_line_per_alpha_and_the_difference_to_random_orders(table, tmp_path):
    both = pd.concat([table, table.assign(alpha=0.0, seed=1)])
    both.to_csv(tmp_path / measures.NAME, index=False)
    text = measures.section(TINY, tmp_path, tmp_path)
    assert (tmp_path / "reproduction-tiny-curves.svg").exists()
    lines = [line for line in text.splitlines() if line.startswith(("| −1", "| 0"))]
    assert len(lines) == 2
    curves = {name: table[table["measure"] == name] for name in measures.DIRECTIONS}
    area = {name: np.trapezoid(curve["value"], curve["removed"]) for name, curve in curves.items()}
    assert f"| {signed(100 * (area['descending'] - area['random']))} |" in lines[0]
    assert measures.section(Experiment("other", "", "cnn", {}, (), ()), tmp_path, tmp_path) == ""


def test_measures_are_added_once_and_for_the_seeds_that_are_asked_for(own_store, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "asked", lambda dataset, key: [TINY])
    assert measures.add_measures(own_store.path, "digits", tmp_path) == [], "it has no row"
    add_row(TINY, dict.fromkeys(COLUMNS) | {"alpha": -1.0, "seed": 0}, tmp_path)
    assert measures.add_measures(own_store.path, "digits", tmp_path, seeds=0) == []
    assert measures.add_measures(own_store.path, "digits", tmp_path, seeds=1) == [tiny_run]
    kept = measures.read_measures(tmp_path)
    assert set(kept["alpha"]) == {-1} and set(kept["measure"]) == {*measures.MEASURES, *measures.DIRECTIONS}
    assert measures.add_measures(own_store.path, "digits", tmp_path) == []
