"""Units found, ordered and paged in DuckDB: what pandas gives for the same question, and no text is ever a query."""

import math

import pandas as pd
import pytest

from selviz.errors import SelvizError
from selviz.store import Store, Wanted, write_stage
from tests.helpers.stored import activations, make_run, metrics

MEANS = [2.0, math.nan, 2.0, 5.0, 2.0]  # ties, and a unit without a value


@pytest.fixture(scope="module")
def browsed(tmp_path_factory):
    """(store, run): five units of two layers, of which two have the same mean activation as a third."""
    store = Store(tmp_path_factory.mktemp("browsed"))
    run = make_run(store)
    tables = metrics(activations(0))
    tables["units"] = tables["units"].assign(mean_activation=MEANS, dead=[False, True, False, False, True])
    write_stage(store.run_path(run), "metrics", tables, {})
    return store, run


def places(table: pd.DataFrame) -> list[str]:
    return [f"{layer}:{unit}" for layer, unit in zip(table["layer"], table["unit"])]


FORWARD = ["conv1.relu:0", "conv1.relu:1", "conv1.relu:2", "conv2.relu:0", "conv2.relu:1"]


@pytest.mark.parametrize(
    ("descending", "expected"), [(True, [3, 0, 2, 4, 1]), (False, [0, 2, 4, 3, 1])], ids=["largest", "smallest"]
)
def test_equals_stay_in_forward_order_and_units_without_a_value_come_last_either_way(browsed, descending, expected):
    store, run = browsed
    table = store.find_units(run, Wanted(metric="mean_activation"), descending=descending)
    assert places(table) == [FORWARD[position] for position in expected]
    assert table["mean_activation"].tolist()[:4] == [MEANS[position] for position in expected[:4]]


def test_pages_put_together_are_the_whole_list(browsed):
    store, run = browsed
    wanted = Wanted(metric="mean_activation")
    parts = [store.find_units(run, wanted, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [len(part) for part in parts] == [2, 2, 1, 0]
    pd.testing.assert_frame_equal(pd.concat(parts[:3], ignore_index=True), store.find_units(run, wanted))


@pytest.mark.parametrize("order", ["class", "si", "unit"])
def test_every_order_is_that_of_pandas(browsed, order):
    store, run = browsed
    table = store.units(run)
    by = {"class": ["preferred_index", "si"], "si": ["si"], "unit": []}[order]
    expected = table.sort_values(by, ascending=[name != "si" for name in by], kind="stable") if by else table
    assert places(store.find_units(run, order=order)) == places(expected)


def test_filters_are_those_of_pandas_and_both_ends_are_inside(browsed):
    store, run = browsed
    table = store.units(run)
    for wanted, mask in (
        (Wanted(layer="conv2.relu"), table["layer"] == "conv2.relu"),
        (Wanted(dead=True), table["dead"]),
        (Wanted(preferred_class="two"), table["preferred_class"] == "two"),
        (Wanted(low=0.1, high=1.0), table["si"].between(0.1, 1.0)),
        (Wanted(metric="mean_activation", low=0), table["mean_activation"] >= 0),
        (Wanted(find="CONV2"), table["layer"] == "conv2.relu"),
        (Wanted(find="relu:1"), table["unit"] == 1),
        (Wanted(find="THR"), table["preferred_class"] == "three"),
        (Wanted(layer="conv1.relu", dead=False, find="conv"), (table["layer"] == "conv1.relu") & ~table["dead"]),
    ):
        found = table[mask]
        assert places(store.find_units(run, wanted, order="unit")) == places(found), wanted
        short = store.find_units(run, wanted, order="unit", short=True)
        pd.testing.assert_frame_equal(short, found[["layer", "unit", wanted.metric]].reset_index(drop=True))
        told = store.count_units(run, wanted)
        assert (told["units"], told["dead"]) == (len(found), found["dead"].sum()), wanted
        assert told["layers"] == sorted(found["layer"].unique()), wanted
        ends = [found[wanted.metric].min(), found[wanted.metric].max()]
        assert [told["lowest"], told["highest"]] == pytest.approx(ends, nan_ok=True), wanted


@pytest.mark.parametrize("text", ["' OR 1=1 --", "%", "_", "?", "\\", "');DROP TABLE units", "\x00", "x" * 5000])
def test_text_of_a_visitor_is_looked_for_as_it_stands(browsed, text):
    store, run = browsed
    for wanted in (Wanted(find=text), Wanted(layer=text), Wanted(preferred_class=text)):
        assert store.find_units(run, wanted).empty
        assert store.count_units(run, wanted)["units"] == 0


def test_only_stored_measures_and_known_orders_are_taken(browsed):
    store, run = browsed
    assert store.unit_measures(run) == ["si", "mean_activation", "std", "max_activation", "zero_share"]
    with pytest.raises(SelvizError, match="Unknown measure 'auc'.*Known measures: si"):
        store.find_units(run, Wanted(metric="auc"))
    with pytest.raises(SelvizError, match="Unknown measure 'si; DROP TABLE units'"):
        store.count_units(run, Wanted(metric="si; DROP TABLE units"))
    with pytest.raises(SelvizError, match="Unknown order 'beauty'"):
        store.find_units(run, order="beauty")
