"""The protocol of every study: one process at a time, finished parts, merged rows, settings that say what is stored."""

import pandas as pd
import pytest

from selviz.errors import SelvizError
from selviz.store.queries import read
from selviz.studies.stage_writing import is_up_to_date, stored_settings, writing_stage


def areas(layer, area):
    return {
        "curves": pd.DataFrame(
            {
                "layer": [layer], "metric": ["si"], "ranked_on": ["fold 0"], "measured_on": ["fold 1"],
                "direction": ["descending"], "draw": [0], "step": [0], "removed": [0], "images": [9], "accuracy": [1.0],
            }
        ),
        "areas": pd.DataFrame(
            {"layer": [layer], "metric": ["si"], "direction": ["descending"], "draw": [0], "area": [area]}
        ),
    }  # fmt: skip


def stored_areas(folder):
    return read({"ablation": folder / "ablation.duckdb"}, "SELECT layer, area FROM ablation.areas ORDER BY layer")


def test_a_second_process_is_told_who_works_on_the_run(own_store, tiny_run):
    with (
        writing_stage(own_store, tiny_run, "ablation"),
        pytest.raises(SelvizError, match=f"already working on run {tiny_run}"),
        writing_stage(own_store, tiny_run, "ablation"),
    ):
        pass


def test_a_finished_part_is_made_once_until_the_stage_is_written(own_store, tiny_run):
    made = []

    def make():
        made.append(1)
        return {"rows": pd.DataFrame({"value": [1.5]})}

    with writing_stage(own_store, tiny_run, "ablation") as stage:
        stage.part("first", make)  # and then the study is cut off
    with writing_stage(own_store, tiny_run, "ablation") as stage:
        assert stage.part("first", make)["rows"]["value"].tolist() == [1.5] and made == [1]
        stage.write(areas(0, 0.5), {"seed": 0})
    assert not list((own_store.run_path(tiny_run) / "partial").glob("ablation-*"))
    with writing_stage(own_store, tiny_run, "ablation", again=True) as stage:
        stage.part("first", make)
    assert made == [1, 1]


def test_rows_of_other_keys_stay_and_those_of_the_same_key_are_replaced(own_store, tiny_run):
    folder = own_store.run_path(tiny_run)
    for layer, area in ((0, 0.1), (1, 0.2), (0, 0.3)):
        with writing_stage(own_store, tiny_run, "ablation") as stage:
            stage.write(areas(layer, area), {"seed": 0}, merge_on=("layer", "metric"))
    assert stored_areas(folder)["area"].tolist() == [0.3, 0.2]
    with writing_stage(own_store, tiny_run, "ablation") as stage:
        stage.write(areas(2, 0.4), {"seed": 0})
    assert stored_areas(folder)["layer"].tolist() == [2]


def test_a_stage_is_up_to_date_only_with_the_same_settings_and_while_it_is_whole(own_store, tiny_run):
    folder = own_store.run_path(tiny_run)
    assert not is_up_to_date(folder, "ablation", {"seed": 0}) and stored_settings(folder, "ablation") is None
    with writing_stage(own_store, tiny_run, "ablation") as stage:
        stage.write(areas(0, 0.5), {"seed": 0, "steps": 4})
    assert is_up_to_date(folder, "ablation", {"seed": 0}) and not is_up_to_date(folder, "ablation", {"seed": 1})
    file = folder / "ablation.duckdb"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert not is_up_to_date(folder, "ablation", {"seed": 0})
