"""Gradient masking: found, not found, not tested; and the stored attacks without gradients that it rests on."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from selviz.cli import main
from selviz.config import RunConfig
from selviz.errors import SelvizError
from selviz.robustness.bench import AttackSettings, Bench, adversarial
from selviz.robustness.gradient_masking import masking
from selviz.runs.load import load_network
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.studies.gradient_masking import gradient_masking
from selviz.studies.robustness import run_robustness
from tests.helpers.stored import IMAGES, make_run, write_answers

AS_PGD = np.arange(IMAGES) < 30


def answers(**levels):
    """Right answers by attack at epsilon 8; the clean ones are all right."""
    right = {("clean", "clean", 0.0): np.ones(IMAGES, bool)}
    return right | {("attack", name.replace("_", " "), 8.0): known for name, known in levels.items()}


@pytest.mark.parametrize(
    ("found", "masked", "told"),
    [
        ({"pgd": AS_PGD, "rays": np.arange(IMAGES) < 10}, True, "^Gradients are masked: at epsilon 8 .* 75.0 % of 40"),
        ({"pgd": AS_PGD, "rays": np.arange(IMAGES) < 29}, False, "^No gradient masking was found: .*40 images"),
        ({"pgd": np.arange(IMAGES) < 10, "rays": AS_PGD}, False, "^No gradient masking was found"),
        ({"pgd": AS_PGD, "transfer_from_other": np.arange(IMAGES) < 10}, True, "RayS|PGD made on other 25.0 %"),
        # FGSM beats more than PGD here: the white-box attacks together leave as few as RayS does.
        ({"pgd": AS_PGD, "fgsm": np.arange(IMAGES) < 10, "rays": np.arange(IMAGES) < 10}, False, "^No gradient"),
        ({"fgsm": AS_PGD, "rays": np.arange(IMAGES) < 10}, None, "^Not tested for gradient masking.*--attack rays"),
        ({"pgd": AS_PGD}, None, "^Not tested"),
    ],
)
def test_masked_is_what_a_white_box_attack_leaves_right_and_one_without_gradients_does_not(store, found, masked, told):
    run = make_run(store)
    write_answers(store, run, answers(**found))
    answer = gradient_masking(store, run)
    assert pd.Series([answer.sentence]).str.contains(told).all(), answer.sentence
    assert answer.table["masked"].tolist() == ([] if masked is None else [masked])


def test_the_test_is_mcnemars_one_sided_and_the_interval_that_of_paired_answers():
    from scipy import stats

    white, without = np.array([1] * 30 + [0] * 10, bool), np.array([1] * 20 + [0] * 18 + [1] * 2, bool)
    found = masking(white, without)
    assert found.difference == pytest.approx((10 - 2) / 40) and found.low < found.difference < found.high
    assert found.p == pytest.approx(stats.binom.sf(9, 12, 0.5)) and (found.white_box, found.without) == (0.75, 0.55)
    same = masking(white, white)
    assert (same.difference, same.p) == (0, 1) and same.low < 0 < same.high


@pytest.fixture(scope="module")
def two(tiny_store, tmp_path_factory):
    """The tiny run and another network of the same images."""
    store = Store(shutil.copytree(tiny_store.path, tmp_path_factory.mktemp("two") / "store"))
    train_run(store, RunConfig("digits", "cnn", alpha=0, epochs=1), lambda news: None)
    return store


SETTINGS = {"names": [], "epsilons": [16.0, 32.0], "images": 40}


def test_attacks_without_gradients_are_stored_resumed_and_leave_what_is_stored(two, tiny_run, monkeypatch):
    other = next(name for name in two.names() if name != tiny_run)
    attack = AttackSettings(steps=2, queries=40)
    run_robustness(two, tiny_run, kinds=("pgd",), attack=attack, **SETTINGS)
    first = two.robustness(tiny_run)
    made = []
    plain = Bench.measure
    monkeypatch.setattr(Bench, "measure", lambda self, item, *rest: made.append(item.name) or plain(self, item, *rest))
    run_robustness(two, tiny_run, kinds=("rays",), attack=AttackSettings(queries=40), **SETTINGS)  # steps are PGD's
    run_robustness(two, tiny_run, kinds=("transfer", "rays"), attack=attack, sources=[other], **SETTINGS)
    name = f"transfer from {other}"
    assert made == ["rays", name]
    table = two.robustness(tiny_run)
    pd.testing.assert_frame_equal(table[table["name"].isin(["clean", "pgd"])].reset_index(drop=True), first)
    network, dataset = load_network(two, tiny_run)
    images, labels = dataset.eval_pixels[:40], dataset.eval_labels[:40]
    pixels = {
        "rays": adversarial(network, dataset, images, labels, "rays", 16.0, attack),
        name: adversarial(*load_network(two, other), images, labels, "pgd", 16.0, attack),
    }
    for stored, moved in pixels.items():
        right = (network.logits(dataset.normalise(moved)).argmax(dim=1) == labels).double().mean()
        row = table[(table["name"] == stored) & (table["level"] == 16)].iloc[0]
        assert row["accuracy"] == pytest.approx(float(right)) and row["pixel_change"] <= 16
        assert (moved - images).abs().max() <= 16 + 1e-3
    assert torch.equal(pixels["rays"], adversarial(network, dataset, images, labels, "rays", 16.0, attack))
    run_robustness(two, tiny_run, kinds=("rays",), attack=AttackSettings(queries=60), **SETTINGS)
    assert made[2:] == ["rays"] and len(two.robustness(tiny_run)) == len(table)
    record = json.loads((two.run_path(tiny_run) / "robustness.json").read_text())["provenance"]
    assert record["queries"] == 60 and set(record["sources"]) == {other} and record["attack"]["steps"] == 2
    run_robustness(two, tiny_run, kinds=("pgd",), attack=AttackSettings(steps=3), **SETTINGS)  # other gradients
    assert set(two.robustness(tiny_run)["name"]) == {"clean", "pgd", "rays"}
    told = gradient_masking(two, tiny_run)
    assert len(told.table) == 2 and told.sentence.endswith(".")


def test_a_stage_of_before_these_attacks_goes_on_and_its_record_says_no_more_than_it_did(two, tiny_run):
    other = next(name for name in two.names() if name != tiny_run)
    run_robustness(two, other, ["fog"], [2], ["pgd"], [8.0], AttackSettings(steps=1), images=20)
    record = json.loads((two.run_path(other) / "robustness.json").read_text())["provenance"]
    assert record["attack"] == {"steps": 1, "restarts": 1, "random_start": True, "target": None}
    assert not {"queries", "sources"} & set(record)


def test_what_cannot_be_attacked_so_is_refused_in_a_sentence(two, tiny_run, shared, run, capsys):
    other = next(name for name in two.names() if name != tiny_run)
    command = ["robustness", tiny_run, "--data", str(two.path), "--images", "20", "--corruption", "fog", "--attack"]
    for more, told in (
        (["transfer"], "name a run of the same images, --from RUN"),
        (["pgd", "--from", other], "add --attack transfer"),
        (["transfer", "--from", tiny_run], "is the network that is attacked"),
        (["transfer", "--from", "nobody"], "Unknown run 'nobody'"),
        (["rays", "--target", "3"], "Only fgsm and pgd aim at a class"),
    ):
        assert main([*command, *more]) == 2
        assert told in capsys.readouterr().err
    with pytest.raises(SelvizError, match="Unknown attack 'cw'"):
        run_robustness(two, tiny_run, kinds=("cw",))
