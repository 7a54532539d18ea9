"""Attributions of a stored run: what the command prints is what the library computes, and sanity checks are stored."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from selviz.attribution import Target, attribute, faithfulness, sanity, sanity_summary
from selviz.cli import main
from selviz.errors import SelvizError
from selviz.runs.load import load_network
from selviz.store import Store
from selviz.studies.attribution import explain, run_sanity


@pytest.fixture(scope="module")
def own(tiny_store, tiny_run, tmp_path_factory):
    """A copy of the tiny store to which these tests add."""
    folder = tmp_path_factory.mktemp("own") / "data"
    shutil.copytree(tiny_store.path, folder)
    return Store(folder)


@pytest.fixture
def ask(own, capsys):
    """Runs a command with --json -> (exit status, document or complaint)."""

    def ask(*argv):
        status = main([*map(str, argv), "--json", "--data", str(own.path)])
        out, err = capsys.readouterr()
        return status, json.loads(out) if status == 0 else err

    return ask


def test_the_command_prints_the_map_with_its_completeness_and_its_faithfulness(ask, own, tiny_run):
    status, found = ask("attribute", tiny_run, "--layer", "relu3", "--unit", 7, "--image", 12)
    assert status == 0, found
    network, dataset = load_network(own, tiny_run)
    image = dataset.inputs()[12:13]
    black = dataset.normalise(torch.zeros_like(dataset.eval_pixels[:1]))
    scale = own.unit(tiny_run, "relu3", 7)["std"]
    expected = attribute(network, Target("relu3", 7), image, baseline=black, scale=scale)
    np.testing.assert_allclose(found["map"], expected.maps[0], rtol=1e-5, atol=1e-7)
    assert found["delta"] == pytest.approx(float(expected.delta[0]))
    value = float(own.activations(tiny_run, "relu3", 7)["value"][12])
    assert found["value"] == pytest.approx(value, rel=1e-4, abs=1e-6)
    assert found["sum"] - found["delta"] == pytest.approx(found["value"] - found["baseline_value"], abs=1e-4)
    checked = faithfulness(network, Target("relu3", 7), image, expected.maps[0], black)
    for name in ("deletion", "insertion"):
        assert found[name]["area"] == pytest.approx(checked[name]["area"], rel=1e-5)
        assert len(found[name]["random_areas"]) == 10
    assert found["infidelity_share"] == pytest.approx(checked["infidelity_share"], rel=1e-4)
    assert (found["layer"], found["unit"], found["class"], found["image"]) == ("relu3", 7, None, 12)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (["--method", "gradient_x_input"], {}),
        (["--method", "guided_backprop", "--smooth", 2], {"smooth": 2, "noise": 0.15, "seed": 0}),
        (["--method", "gradcam"], {"at": "relu3", "relu": True}),
        (["--method", "gradcam", "--at", "relu1"], {"at": "relu1", "relu": True}),
        (["--method", "conductance", "--steps", 4, "--class", "3"], {"at": "relu3", "steps": 4}),
        (["--method", "feature_ablation"], {"patch": 1}),
        (["--method", "occlusion", "--window", 3, "--baseline", "mean"], {"window": 3, "stride": 1}),
    ],
)
def test_each_method_says_with_what_it_was_made(ask, tiny_run, options, parameters):
    status, found = ask("attribute", tiny_run, "--layer", "relu3", "--unit", 7, "--image", 12, *options)
    assert status == 0, found
    assert found["parameters"] == parameters
    assert np.array(found["map"]).shape == (8, 8)


def test_a_class_alone_is_explained_at_the_last_layer_that_has_positions(ask, tiny_run):
    status, found = ask("attribute", tiny_run, "--class", "3", "--image", 0, "--method", "gradcam")
    assert (status, found["parameters"]["at"], found["class"]) == (0, "relu4", "3")


def test_without_json_a_person_reads_it(own, tiny_run, capsys):
    argv = ["attribute", tiny_run, "--layer", "relu3", "--unit", "7", "--class", "3", "--image", "12"]
    assert main([*argv, "--data", str(own.path)]) == 0
    out = capsys.readouterr().out
    assert "class 3 by way of relu3 unit 7 on image 12" in out and "10 random orders" in out and "nan" not in out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--image", 0], "a layer and a unit, a class, or all three"),
        (["--image", 99999, "--class", "3"], "There is no image 99999"),
        (["--image", 0, "--class", "cat"], "Unknown class 'cat'"),
        (["--image", 0, "--class", "3", "--method", "gradcm"], "'gradcam'"),
        (["--image", 0, "--class", "3", "--baseline", "grey"], "Unknown baseline 'grey'"),
        (["--image", 0, "--class", "3", "--method", "gradcam", "--steps", 3], "Unknown gradcam parameter 'steps'"),
        (["--image", 0, "--class", "3", "--method", "occlusion", "--smooth", 3], "no gradient to smooth"),
        (["--image", 0, "--layer", "relu9", "--unit", 1], "Unknown layer 'relu9'"),
        (["--image", 0, "--layer", "relu3", "--unit", 99], "99"),
    ],
)
def test_a_mistake_is_one_sentence(ask, tiny_run, options, says):
    status, err = ask("attribute", tiny_run, *options)
    assert status == 2 and says in err and err.count("\n") == 1


# ------------------------------------------------------------------------------------------------------ sanity checks


def test_a_sanity_check_is_stored_beside_others_and_shown_with_the_map(ask, own, tiny_run):
    with pytest.raises(SelvizError, match=f"selviz sanity {tiny_run}"):
        own.sanity(tiny_run)
    status, rows = ask("sanity", tiny_run, "--layer", "relu3", "--method", "gradcam", "--images", 20)
    assert status == 0, rows
    assert [row["module"] for row in rows] == ["", "conv3", "conv2", "conv1"]
    assert rows[0]["rank_correlation"] == pytest.approx(1) and rows[0]["images"] == 20
    assert all(row["rank_correlation_low"] <= row["rank_correlation"] <= row["rank_correlation_high"] for row in rows)
    status, logits = ask("sanity", tiny_run, "--method", "gradcam", "--images", 20)
    assert [row["module"] for row in logits] == ["", "head", "conv4", "conv3", "conv2", "conv1"]
    table = own.sanity(tiny_run)
    assert set(table["layer"]) == {"relu3", "logits"} and len(table) == 20 * (4 + 6)
    of_units, of_logits = (table[table["layer"] == layer] for layer in ("relu3", "logits"))
    assert of_units["class"].isna().all() and of_units["unit"].between(0, 31).all()
    assert of_logits["unit"].isna().all()
    predictions = own.images(tiny_run)["prediction"]
    first = of_logits[of_logits["step"] == 0]
    assert first["class"].tolist() == predictions[first["image"]].tolist()
    counted = own.sql("select layer, count(distinct image) as images from sanity group by layer order by layer")
    assert counted["images"].tolist() == [20, 20]
    _, found = ask("attribute", tiny_run, "--layer", "relu3", "--unit", 7, "--image", 12, "--method", "gradcam")
    assert found["sanity"] == rows
    _, found = ask("attribute", tiny_run, "--layer", "relu2", "--unit", 7, "--image", 12, "--method", "gradcam")
    assert found["sanity"] is None


def test_the_same_settings_are_computed_once_and_others_are_kept_apart(own, tiny_run):
    told = []
    settings = {"method": "gradient_x_input", "layer": "relu2", "images": 20, "report": told.append}
    first = run_sanity(own, tiny_run, **settings)
    assert [news["done"] for news in told] == [0, 1, 2]
    pd.testing.assert_frame_equal(run_sanity(own, tiny_run, **settings), first)
    assert len(told) == 3
    other = run_sanity(own, tiny_run, **settings, seed=1)
    smooth = run_sanity(own, tiny_run, **settings, smooth=2)
    assert len({table["settings"].iloc[0] for table in (first, other, smooth)}) == 3
    assert json.loads(smooth["parameters"].iloc[0])["smooth"] == 2
    again = run_sanity(own, tiny_run, **settings, again=True)
    pd.testing.assert_frame_equal(again.drop(columns="written"), first.drop(columns="written"))
    assert explain(own, tiny_run, 0, "relu2", 1, method="gradient_x_input")["sanity"] is not None


def test_the_units_of_a_check_are_active_on_their_images(own, tiny_run):
    table = run_sanity(own, tiny_run, "gradient_x_input", "relu4", images=20)
    start = table[table["step"] == 0]
    values = own.matrix(tiny_run, "relu4")
    assert (values[start["image"], start["unit"].astype(int)] != 0).all()
    assert start["rank_correlation"].notna().all()


def test_a_check_equals_the_librarys_on_the_same_targets(own, tiny_run):
    table = run_sanity(own, tiny_run, "gradient_x_input", "relu4", images=20)
    network, dataset = load_network(own, tiny_run)
    start = table[table["step"] == 0]
    targets = [Target("relu4", int(unit)) for unit in start["unit"]]
    black = dataset.normalise(torch.zeros_like(dataset.eval_pixels[:1]))
    inputs = dataset.inputs()[start["image"].tolist()]
    expected = sanity_summary(sanity(network, targets, inputs, "gradient_x_input", black))
    pd.testing.assert_frame_equal(sanity_summary(table), expected)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--images", 19], "at least 20 images"),
        (["--layer", "relu9"], "Unknown layer 'relu9'"),
        (["--method", "grad"], "Unknown attribution method 'grad'"),
        (["--patch", 3], "Unknown integrated_gradients parameter 'patch'"),
    ],
)
def test_a_check_that_cannot_be_made_is_one_sentence(ask, tiny_run, options, says):
    status, err = ask("sanity", tiny_run, *options)
    assert status == 2 and says in err
