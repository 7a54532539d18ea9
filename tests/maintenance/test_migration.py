"""A store that the first selviz (0.1.0) wrote opens and is migrated to a copy; one of a later selviz is refused."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from selviz.cli import main
from selviz.config import RunConfig, run_name
from selviz.errors import SelvizError
from selviz.maintenance.migration import migrate
from selviz.store import Store, list_groups, read_chain, read_json, write_json
from selviz.store.files import is_sealed
from selviz.store.integrity import check_run
from tests.helpers.stored import everything_below

RUN = "digits-cnn-a-1-s0-906936d8"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The store as it was written: `train --max-images 60`, `atlas`, `metrics`, a tested hypothesis, a group."""
    folder = tmp_path_factory.mktemp("first") / "data"
    with zipfile.ZipFile(Path(__file__).parents[1] / "data" / "store-0.1.0.zip") as archive:
        archive.extractall(folder)
    return Store(folder)


@pytest.fixture(scope="module")
def copied(first, tmp_path_factory):
    target = tmp_path_factory.mktemp("second") / "data"
    before = everything_below(first.path)
    migrate(first.path, target)
    assert everything_below(first.path) == before
    return Store(target)


@pytest.mark.parametrize("which", ["first", "copied"])
def test_a_run_of_the_first_version_opens_with_the_numbers_that_it_had(which, request):
    store = request.getfixturevalue(which)
    assert store.names() == [RUN]
    assert store.run(RUN)["test_accuracy"] == 0.85
    assert run_name(RunConfig("digits", "cnn", alpha=-1, epochs=1, max_images=60)) == RUN
    assert store.units(RUN)["si"].sum() == pytest.approx(51.069196413779196, abs=1e-12)
    assert store.atlas(RUN)["loss_change"].sum() == pytest.approx(1.7009507298469542, abs=1e-12)
    assert store.activations(RUN, "relu2", 3)["value"].sum() == pytest.approx(7.768899, abs=1e-5)
    assert store.unit_metrics(RUN)["auc"].sum() == pytest.approx(126.95679012345678, abs=1e-9)
    assert store.hypotheses()[["verdict", "p"]].values.tolist() == [["inconclusive", 0.91]]
    assert store.sql("SELECT count(*) AS n FROM activations")["n"].tolist() == [144 * 60]
    assert list_groups(store.path)["name"].tolist() == ["picked"]
    chain = read_chain(store.path)
    assert (chain.problems, chain.head[:16]) == ([], "8009a2905a913ecb")


def test_a_network_of_the_first_version_is_loaded_and_silenced(copied, capsys):
    assert main(["ablate", RUN, "--units", "relu4:1-5", "--data", str(copied.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy_before"] == 0.85


def test_the_copy_has_checksums_for_all_and_the_original_is_told_to_have_none(first, copied):
    assert [problem.note for problem in check_run(first, RUN)] == [True]
    assert check_run(copied, RUN) == []
    assert all(is_sealed(file) for file in copied.run_path(RUN).glob("*.json"))
    assert list(copied.run(RUN)["files"]) == ["weights.safetensors"]
    assert migrate(first.path, copied.path)["told"].tolist() == ["was there already"]


def test_a_damaged_run_is_left_out_of_the_copy_and_named(first, tmp_path, capsys):
    hurt = tmp_path / "hurt"
    shutil.copytree(first.path, hurt)
    file = Store(hurt).run_path(RUN) / "metrics.duckdb"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert main(["migrate", "--data", str(hurt), "--to", str(tmp_path / "new")]) == 2
    told = capsys.readouterr()
    assert f"metrics.json; mend it first: selviz capture {RUN}" in told.out
    assert f"1 runs of {hurt} were left out, such as {RUN}" in told.err
    assert Store(tmp_path / "new").names() == []


@pytest.mark.parametrize("target", [".", "runs", "new/deeper"])
def test_a_copy_within_the_store_is_refused(first, target):
    with pytest.raises(SelvizError, match="would lie within"):
        migrate(first.path, first.path / target)


@pytest.mark.parametrize("name", ["config.json", "summary.json", "metrics.json"])
def test_a_file_of_a_later_version_is_refused_with_both_versions(copied, tmp_path, name):
    later = Store(tmp_path / "later")
    shutil.copytree(copied.path, later.path)
    path = later.run_path(RUN) / name
    write_json(path, {**read_json(path), "schema": 7, "selviz": "3.2.1"})
    with pytest.raises(SelvizError) as error:
        later.units(RUN)
    assert "written by a newer selviz (3.2.1, schema 7); this one is 0.1.0 and reads schema 1" in str(error.value)
    assert name in str(error.value)


def test_a_record_of_a_later_version_is_refused_too(copied, tmp_path):
    later = Store(tmp_path / "later")
    shutil.copytree(copied.path / "hypotheses", later.path / "hypotheses")
    path = later.path / "hypotheses" / "000002.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 7, "selviz": "3.2.1"}))
    assert read_chain(later.path).problems == [
        "000002.json was written by a newer selviz (3.2.1, schema 7); this one is 0.1.0 and reads schema 1: "
        "update selviz"
    ]
