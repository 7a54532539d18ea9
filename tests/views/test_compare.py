"""The page that compares networks: differences from a baseline, on the same images and only there."""

import base64
import shutil

import numpy as np
import pandas as pd
import pytest

from app.views.compare import differences
from selviz import figures
from selviz.config import RunConfig
from selviz.geometry.matching import changes, matches
from selviz.runs.train import train_run
from selviz.statistics import holm
from selviz.store import Store
from selviz.testing.dashboard import switch_page
from tests.helpers.pages import address_of, board, text
from tests.helpers.stored import CLASSES, make_run


@pytest.fixture(scope="module")
def three(tiny_store, tmp_path_factory):
    """A store with `tiny_run` (alpha -1), one of alpha 1 and the untrained control, all on the digits."""
    store = Store(tmp_path_factory.mktemp("three") / "store")
    shutil.copytree(tiny_store.path, store.path)
    train_run(store, RunConfig("digits", "cnn", alpha=1, epochs=1))
    train_run(store, RunConfig("digits", "cnn", epochs=0))
    return store


@pytest.fixture
def own_three(three, tmp_path):
    shutil.copytree(three.path, tmp_path / "three")
    return Store(tmp_path / "three")


def named(store) -> dict[str, str]:
    return {row["alpha"]: row["run"] for row in store.runs().to_dict("records")}


def test_every_network_stands_beside_the_baseline_with_its_difference_and_test(visit, three):
    runs = named(three)
    page = visit(three, "compare", baseline=runs[-1])
    assert not page.exception and not page.error
    one, names = three.images(runs[-1]), list("0123456789")
    tables = [
        changes(one["label_index"], one["prediction_index"], three.images(runs[alpha])["prediction_index"], names)
        for alpha in (0, 1)
    ]
    corrected = holm([table["p"][0] for table in tables])
    for called, table, p in zip(("untrained", "α 1"), tables, corrected):
        lost, gained = table["lost"][0], table["gained"][0]
        (line,) = [line for line in text(page).splitlines() if line.startswith(f"- **{called}**")]
        assert f"{100 * table['change'][0]:+.1f}".replace("-", "−") in line
        assert f"{lost} images are right only in the baseline, {gained} only here" in line
        assert ("p < 0.001" if p < 0.0005 else f"p = {p:.3f}") in line
    assert "Holm-corrected for 2 comparisons" in text(page)


def test_the_choice_is_put_into_the_address_and_lives_there(visit, three):
    runs = named(three)
    page = visit(three, "compare")
    assert set(address_of(page)["runs"].split(",")) == set(runs.values())
    page.multiselect[0].unselect(runs[0]).run()
    assert set(address_of(page)["runs"].split(",")) == {runs[-1], runs[1]}
    page.selectbox(key="link-baseline").select(runs[1]).run()
    assert address_of(page)["baseline"] == runs[1]
    again = visit(three, "compare", runs=address_of(page)["runs"], baseline=runs[1])
    assert "- **α −1**" in text(again) and "- **untrained**" not in text(again)


def test_the_choice_is_still_there_after_another_page(visit, three):
    runs = named(three)
    page = visit(three, "compare", runs=f"{runs[1]},{runs[-1]}", baseline=runs[1])
    switch_page(page, "network").run()
    switch_page(page, "compare").run()
    assert (address_of(page)["runs"], address_of(page)["baseline"]) == (f"{runs[1]},{runs[-1]}", runs[1])


def test_only_settings_that_differ_are_shown_unless_all_are_asked_for(visit, three):
    runs = named(three)
    both = f"{runs[1]},{runs[-1]}"
    differing = visit(three, "compare", runs=both).dataframe[0].value
    assert differing.index.tolist() == ["alpha"]
    assert sorted(differing.loc["alpha"]) == ["1", "−1"]
    everything = visit(three, "compare", runs=both, settings="all").dataframe[0].value
    assert {"alpha", "batch size", "learning rate", "epochs", "dataset"} <= set(everything.index)


def test_units_are_matched_by_their_correlation_over_the_images(visit, three):
    runs = named(three)
    page = visit(three, "compare", baseline=runs[-1], layer="relu2", **{"with": runs[1]})
    one, other = three.matrix(runs[-1], "relu2"), three.matrix(runs[1], "relu2")
    with np.errstate(invalid="ignore", divide="ignore"):
        table = np.corrcoef(one.T, other.T)[:32, 32:]
    alive = ~np.isnan(table).all(axis=1)
    best = np.nanmax(np.where(np.isnan(table), -2, table), axis=1)
    shown = page.dataframe[-1].value
    number = shown["baseline"].str.extract(r"unit=(\d+)$")[0].astype(int)
    np.testing.assert_allclose(
        shown.set_index(number)["correlation"].reindex(np.flatnonzero(alive)), best[alive], atol=1e-4
    )
    match = shown["other"].dropna().str.extract(r"unit=(\d+)$")[0].astype(int)
    assert match.tolist() == [np.nanargmax(table[unit]) for unit in number[shown["other"].notna()]]
    first = shown.iloc[0]
    assert first["baseline"] == f"unit?run={runs[-1]}&layer=relu2&unit={number[0]}"
    assert first["other"].startswith(f"unit?run={runs[1]}&layer=relu2&unit=")
    assert first["null_all"] < first["null_within"] < 1
    assert "Both began with the same weights (seed 0)" in text(page)


def test_networks_on_other_images_are_not_compared_image_by_image(visit, own_three):
    stranger = make_run(own_three, alpha=5.0, seed=3, classes=CLASSES, kind="trained")
    runs = named(own_three)
    page = visit(own_three, "compare", runs=f"{runs[-1]},{stranger}", baseline=runs[-1])
    assert not page.exception and not page.error
    said = text(page)
    assert "Evaluated on other images than the baseline" in said and f"`{stranger}`" in said
    assert "only in the baseline" not in said and "Class by class" not in said
    assert "no units can be matched" in said
    page = visit(own_three, "compare", runs=f"{runs[-1]},{runs[1]},{stranger}", baseline=runs[-1])
    assert "- **α 1**" in text(page) and "- **α 5**" not in text(page)
    assert "Matches of relu4" in text(page)


def test_a_damaged_run_is_told_and_the_others_are_compared(visit, own_three):
    runs = named(own_three)
    (own_three.run_path(runs[0]) / "capture.duckdb").write_bytes(b"")
    page = visit(own_three, "compare", runs=",".join(runs.values()), baseline=runs[-1])
    assert not page.exception
    assert f"selviz capture {runs[0]}" in text(page)
    assert "- **α 1**" in text(page)
    page = visit(own_three, "compare", runs=",".join(runs.values()), baseline=runs[0], run=runs[1])
    assert not page.exception
    assert "Without these files there is nothing to compare" in text(page)


def test_one_network_alone_says_how_to_get_a_second(visit, tiny_store, three):
    page = visit(tiny_store, "compare")
    assert "There is one network in this store, and a comparison needs two." in text(page)
    assert "selviz train --dataset mnist-5k" in text(page)
    page = visit(three, "compare", runs=named(three)[1])
    assert "One network is chosen, and a comparison needs two." in text(page)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"runs": "nothing,RUN,OTHER"}, "`nothing`, which is not here"),
        ({"runs": "<img src=x>,RUN,OTHER"}, "`<img src=x>`, which is not here"),
        ({"runs": "a,b,c,d,e,f,g"}, "`a`, which is not here. Shown instead: `runs of this store`"),
        ({"baseline": "**x**"}, "`**x**`, which is not here"),
        ({"layer": "relu9"}, "`relu9`, which is not here"),
        ({"with": "digits"}, "`digits`, which is not here"),
        ({"settings": "[a](b)"}, "`[a](b)`, which is not here"),
    ],
)
def test_a_wrong_link_says_what_is_not_there_and_compares_the_rest(visit, three, query, told):
    runs = named(three)
    query = {key: value.replace("RUN", runs[1]).replace("OTHER", runs[-1]) for key, value in query.items()}
    page = visit(three, "compare", **query)
    assert not page.exception and not page.error
    assert told in "\n".join(warning.value for warning in page.warning)
    assert "Matches of relu4" in text(page)


def test_more_than_six_networks_are_cut_and_the_page_says_so(visit, own_three):
    first = own_three.run_path(named(own_three)[1])
    for number in range(6):
        shutil.copytree(first, own_three.run_path(f"copy{number}"))
    names = own_three.names()
    page = visit(own_three, "compare", runs=",".join(names))
    assert "names 9 runs; the first 6 are compared" in page.warning[0].value
    assert page.multiselect[0].value == names[:6]
    assert len(visit(own_three, "compare").multiselect[0].value) == 6


def rows(**different) -> dict[str, dict]:
    row = {"alpha": 0.0, "seed": 0, "model": "cnn", "dataset": "digits", "epochs": 8}
    return {f"run{number}": {**row, "run": f"run{number}", **{key: values[number] for key, values in different.items()}}
            for number in range(len(next(iter(different.values()))))}  # fmt: skip


@pytest.mark.parametrize(
    ("different", "called"),
    [
        ({"alpha": [-1.0, 0.0]}, ["α −1", "α 0"]),
        ({"epochs": [0, 8]}, ["untrained", "α 0"]),
        ({"seed": [0, 1]}, ["α 0 · seed 0", "α 0 · seed 1"]),
        ({"model": ["cnn", "resnet20"], "seed": [1, 1]}, ["α 0 · cnn", "α 0 · resnet20"]),
        ({"alpha": [1.0, 1.0, 2.0], "dataset": ["a", "b", "a"]}, ["α 1 · a", "α 1 · b", "α 2 · a"]),
        (
            {"snapshots": [0, 4, float("nan")], "seed": [0, 0, 1]},
            ["α 0 · seed 0", "α 0 · seed 0 · with snapshots", "α 0 · seed 1"],
        ),
        ({"seed": [0, 0]}, ["α 0 · run0", "α 0 · run1"]),
    ],
)
def test_a_network_is_called_by_as_little_as_tells_it_from_the_others(different, called):
    assert list(differences.run_labels(rows(**different)).values()) == called


def test_a_layer_that_the_other_network_lacks_is_compared_with_the_nearest_in_depth():
    ours = pd.DataFrame({"layer": ["relu1", "relu2", "relu3"], "depth": [0.0, 0.4, 1.0]})
    theirs = pd.DataFrame({"layer": ["a", "b", "c", "relu3"], "depth": [0.0, 0.3, 0.6, 1.0]})
    assert [differences.counterpart(at, ours, theirs) for at in ours["layer"]] == ["a", "b", "relu3"]


def test_of_many_classes_those_that_change_most_are_drawn():
    table = pd.DataFrame({"class": [f"<b>{number}" for number in range(50)], "change": np.arange(50) / 100})
    table = table.assign(told="α 1", alpha=1.0, position=1, change_low=0.0, change_high=0.6, images=10)
    figure = figures.compare.class_differences(table, dark=False)
    assert list(figure.data[0].y) == [float(number) for number in range(30, 50)]
    assert figure.layout.xaxis.ticktext[0] == "&lt;b&gt;30"


def decoded(sent: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(sent), kind)


def test_two_boards_link_each_unit_with_the_one_that_correlates_most_with_it(visit, three):
    runs = named(three)
    page = visit(three, "compare", baseline=runs[-1], **{"with": runs[1]})
    one, other = board(page, "compare-base"), board(page, "compare-other")
    assert (one["peer"], other["peer"]) == (other["name"], one["name"])
    links, likeness = decoded(one["links"], "<i4"), decoded(one["likeness"], "<f4")
    starts = {"relu1": 0, "relu2": 16, "relu3": 48, "relu4": 80}
    for layer, start in starts.items():
        found = matches(three.matrix(runs[-1], layer), three.matrix(runs[1], layer))
        for row in found.to_dict("records"):
            assert links[start + row["unit"]] == (start + row["match"] if row["match"] >= 0 else -1)
            if row["match"] >= 0:
                assert likeness[start + row["unit"]] == pytest.approx(row["correlation"], abs=1e-6)


def test_a_pair_is_in_the_link_and_both_of_its_units_are_marked(visit, three):
    runs = named(three)
    found = matches(three.matrix(runs[-1], "relu4"), three.matrix(runs[1], "relu4"))
    row = found[found["match"] >= 0].iloc[0]
    page = visit(three, "compare", baseline=runs[-1], pair=f"relu4:{row['unit']}", **{"with": runs[1]})
    assert board(page, "compare-base")["selected"] == f"relu4:{row['unit']}"
    assert board(page, "compare-other")["selected"] == f"relu4:{row['match']}"
    page = visit(three, "compare", baseline=runs[-1], pair="relu9:1", **{"with": runs[1]})
    assert not page.exception and "`relu9:1`, which is not here" in "\n".join(w.value for w in page.warning)


def test_boards_of_networks_that_saw_other_images_are_not_linked(visit, own_three):
    runs = named(own_three)
    make_run(own_three, alpha=0, seed=3, classes=CLASSES)
    other = next(name for name in own_three.names() if name not in runs.values())
    page = visit(own_three, "compare", runs=f"{runs[1]},{other}", baseline=runs[1])
    assert not page.exception
    assert "links" not in board(page, "compare-base") and "no units can be matched" in text(page)
