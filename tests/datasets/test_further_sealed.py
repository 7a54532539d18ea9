"""A sealed fold of images to spare: all that are evaluated stay in sight, and names of older runs stay."""

import numpy as np
import pytest

from selviz import datasets
from selviz.config import RunConfig, run_name
from selviz.errors import SelvizError
from selviz.hypotheses import registry
from selviz.hypotheses.power import power_sentence
from selviz.runs.load import load_network
from selviz.runs.train import capture_run, train_run
from selviz.store import Store
from tests.helpers.brought import image_folder


def test_further_images_are_sealed_and_those_evaluated_all_stay_in_folds_0_and_1():
    plain, further = (
        datasets.load("digits", max_images=300),
        datasets.load("digits", max_images=300, further_sealed=120),
    )
    assert (plain.sealed_images, further.sealed_images) == (100, 120)
    shown = further.without_sealed()
    assert len(shown.eval_labels) == 300 and (shown.eval_pixels == plain.eval_pixels).all()
    assert np.bincount(shown.eval_folds.numpy()).min() >= 145
    everything = datasets.load("digits").eval_pixels
    assert (further.eval_pixels[300:] == everything[300:420]).all()  # the next ones, which the others never see
    assert datasets.load("digits", max_images=300, further_sealed=120) is further


def test_a_folder_seals_images_that_it_has_to_spare(tmp_path):
    spec = f"folder:{image_folder(tmp_path / 'pictures', classes=3, each=60)}"
    available = datasets.load(spec).origin["available"]
    found = datasets.load(spec, max_images=available - 24, further_sealed=24)
    assert (found.sealed_images, len(found.without_sealed().eval_labels)) == (24, available - 24)
    assert found.fingerprint == datasets.load(spec).fingerprint  # the same images, divided otherwise
    with pytest.raises(SelvizError, match=f"has {available} evaluation images"):
        datasets.load(spec, max_images=available - 24, further_sealed=25)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"max_images": 500, "further_sealed": 60}, "has 539 evaluation images: beside the 500 .* are 39 further ones"),
        ({"further_sealed": 60}, "none are left to seal 60 further ones: say how many are evaluated with --max-images"),
    ],
)
def test_images_that_are_not_there_cannot_be_sealed(asked, told):
    with pytest.raises(SelvizError, match=told):
        datasets.load("digits", **asked)


def test_a_claim_on_further_images_pays_no_power_for_its_sealed_fold(tmp_path):
    store = Store(tmp_path)
    config = RunConfig("digits", "cnn", epochs=0, max_images=300, further_sealed=200)
    summary = train_run(store, config)
    run = summary["run"]
    assert (summary["images"], summary["sealed_images"]) == (300, 200)
    assert len(store.images(run)) == 300 and len(load_network(store, run)[1].eval_labels) == 300
    found = registry.preview(store, "selective", {"run": run, "layer": "relu4", "k": 3})
    assert found["settings"]["fold"] == 2 and found["settings"]["of_images"] == 200 and found["confirmatory"]
    assert "further images, so no power is paid for it" in power_sentence(found["power"])
    plain = train_run(store, RunConfig("digits", "cnn", epochs=0, max_images=300))["run"]
    asked = registry.preview(store, "selective", {"run": plain, "layer": "relu4", "k": 3})
    assert "The price of a sealed fold: with half of the images in place of a third" in power_sentence(asked["power"])
    assert capture_run(store, run)["sealed_images"] == 200


def test_a_setting_that_is_not_used_leaves_the_names_of_older_runs():
    assert run_name(RunConfig("mnist-5k", "cnn")) == run_name(RunConfig("mnist-5k", "cnn", further_sealed=0))
    assert run_name(RunConfig("mnist-5k", "cnn", max_images=600)) != run_name(
        RunConfig("mnist-5k", "cnn", max_images=600, further_sealed=400)
    )
