"""The page of hidden structure: what stored distances and linear maps mean, in words, and what is missing."""

import shutil

import pandas as pd
import pytest

from selviz.store import Store, write_stage
from tests.helpers.pages import text
from tests.helpers.stored import CLASSES, LAYERS, make_run

NULL, FAR = (0.2, 0.4), 1.5


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Three baselines, and three runs with alpha -1 that are one and a half times as far from them."""
    store = Store(tmp_path_factory.mktemp("family"))
    runs = {
        (alpha, seed): make_run(store, alpha, seed, classes=CLASSES, kind="trained", null_mean=0.05, null_p95=0.1)
        for alpha in (0, -1)
        for seed in range(3)
    }
    for (alpha, seed), run in runs.items():
        similar = [
            {"layer": layer, "other": runs[0, other], "settings": "x", "cka": 0.8 + alpha / 10, "directions": 2,
             "pwcca": NULL[layer] * (FAR + 0.01 * seed if alpha else 1) * (0.01 if alpha and other == seed else 1),
             "rank": 2, "rank_other": 3, "rows": 640, "images": 40, "positions": 16}
            for layer in range(len(LAYERS)) for other in range(3) if alpha or other != seed
        ]  # fmt: skip
        write_stage(store.run_path(run), "similarity", {"similarity": pd.DataFrame(similar)}, {})
        maps = [
            {"layer": layer, "basis": basis, "draw": 0, "si_fit": si + 0.05, "si": si, "null_mean": 0.3,
             "null_p95": 0.35, "deviation": 0.01, "chosen": basis == "found"}
            for layer in range(len(LAYERS))
            for basis, si in (("units", 0.2 if alpha else 0.4), ("rotation", 0.3), ("found", 0.8 + 0.01 * seed))
        ]  # fmt: skip
        write_stage(store.run_path(run), "linear_maps", {"linear_maps": pd.DataFrame(maps)}, {})
    return store


def test_a_ratio_above_1_is_told_as_more_than_another_seed_and_a_pair_of_one_seed_does_not_count(visit, family):
    page = visit(family, "hidden")
    assert not page.exception and not page.error
    told = text(page)
    assert "**α −1**: ratio 1.51, mean over layers (95 % interval over 3 seeds 1.49 to 1.53). Farther from" in told
    assert "6 ordered pairs of baselines" in told
    assert "Compares every layer" not in told  # nothing is missing, so nothing is offered


def test_the_best_maps_found_stand_beside_units_and_rotations_and_beside_the_baselines(visit, family):
    told = text(visit(family, "hidden"))
    assert "**α −1** (n = 3): units 0.20 (0.20 to 0.20), random rotations 0.30" in told
    assert (
        "best map found 0.81 (0.79 to 0.83), null of that map 0.30. Of the baseline's: units 50 %, best map 100 %"
        in told
    )
    assert "a lower bound of the maximum" in told


def test_without_three_baseline_seeds_the_page_says_so_and_gives_the_commands(visit, tiny_store, tiny_run):
    page = visit(tiny_store, "hidden")
    assert not page.exception
    told = text(page)
    assert "there are 0 with α 0 among these runs; 3 are needed" in told
    assert "selviz sweep --dataset digits --model cnn --epochs 1 --alphas=-1,0,1 --seeds 0-2" in told
    assert f"selviz basis {tiny_run} --family" in told


def test_a_damaged_stage_is_told_and_the_others_are_shown(visit, family, tmp_path):
    copy = Store(shutil.copytree(family.path, tmp_path / "copy"))
    run = copy.runs().query("alpha == -1")["run"].iloc[0]
    (copy.run_path(run) / "linear_maps.duckdb").write_bytes(b"")
    (copy.run_path(run) / "similarity.duckdb").write_bytes(b"")
    page = visit(copy, "hidden", run=copy.runs().query("alpha == 0")["run"].iloc[0])
    assert not page.exception
    told = text(page)
    assert f"selviz basis {run}" in told
    assert "**α −1** (n = 2)" in told
