"""The stable recipe is the one that its rule takes, and a row is measured on all evaluation images."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from reproduction import recipe
from reproduction.experiments import STABLE, Experiment, asked, experiment
from reproduction.rows import REPEATED, on_all_images, read_rows, row_of
from selviz.config import RunConfig
from selviz.errors import SelvizError
from selviz.runs.load import load_network
from selviz.selectivity import index


def rows(**changed):
    """A row per trial: alpha 0 at SI 0.2, the candidates at 0.5 with few dead units, each more accurate than the last;
    `changed` has what is different in a trial, by a word of its description.
    """
    table = []
    for number, (words, config) in enumerate(recipe.trials("folder:x").items()):
        row = {name: getattr(config, name) for name in REPEATED} | {"state": "finished", "diverged": False}
        row |= {"test_accuracy": 0.6 + number / 100, "mean_si_live": 0.5 if number else 0.2, "dead": 10, "units": 688}
        for word, values in changed.items():
            row |= values if words.startswith(word) else {}
        table.append(row)
    return pd.DataFrame(table)


LAST = "ramp, clipping and bounded penalty"


@pytest.mark.parametrize(
    ("changed", "chosen"),
    [
        ({}, LAST),
        ({"ramp, clipping": {"dead": 40}}, "ramp and bounded penalty"),
        ({"ramp, clipping": {"mean_si_live": 0.39}}, "ramp and bounded penalty"),
        ({"ramp, clipping": {"diverged": True}}, "ramp and bounded penalty"),
        ({"gradients": {"test_accuracy": 0.9}}, "gradients clipped at norm 1"),
        ({"alpha 0": {"mean_si_live": 0.3}}, None),
    ],
    ids=["the most accurate", "dead units", "little selectivity", "diverged", "another is better", "none fits"],
)
def test_the_most_accurate_recipe_that_fits_the_rule_is_chosen(changed, chosen):
    table = rows(**changed)
    assert recipe.choose(table) == chosen
    assert ("None of them fits the rule." in recipe.text(table)) == (chosen is None)


def test_nothing_is_chosen_before_every_trial_has_its_row():
    for left_out in (0, 3):
        table = rows().drop(index=left_out).reset_index(drop=True)
        assert recipe.choose(table) is None
        assert "nothing is chosen yet" in recipe.text(table)


def test_the_stable_recipe_is_what_the_rule_takes_of_the_rows_that_are_kept():
    chosen = recipe.choose(read_rows(recipe.TRIALS))
    assert (None if chosen is None else dict(recipe.CANDIDATES[chosen])) == STABLE
    if recipe.TEXT.exists():
        assert recipe.TEXT.read_text() == recipe.text(read_rows(recipe.TRIALS))


def test_a_row_is_drawn_from_what_was_run_on_the_images_that_are_named():
    assert {planned.key for planned in asked("mnist-5k", None)} == {"mnist-5k", "mnist-5k-permuted"}
    on_cifar = {planned.key for planned in asked("folder:CIFAR", None)}
    assert "cifar10-16" in on_cifar and "cifar10-16-superclasses" not in on_cifar
    (named,) = asked("folder:TWO", "cifar10-16-superclasses")
    assert named.images == "CIFAR-10 as animals and vehicles"
    with pytest.raises(SelvizError, match="Unknown experiment 'x'"):
        asked("folder:TWO", "x")


def test_a_row_is_measured_on_all_images_the_sealed_ones_included(own_store, tiny_run):
    measured, layers = on_all_images(own_store, tiny_run, own_store.run(tiny_run))
    network, dataset = load_network(own_store, tiny_run, sealed=True)
    classes = len(dataset.class_names)
    logits, activations = network.observe(dataset.inputs())
    labels = dataset.eval_labels
    assert measured["images"] == len(labels) > own_store.run(tiny_run)["images"]
    assert measured["test_accuracy"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    si = [index.index(*index.class_means(values.double(), labels, classes)) for values in activations]
    np.testing.assert_allclose(layers["mean_si"], [float(values.mean()) for values in si], atol=1e-6)
    assert measured["mean_si"] == pytest.approx(np.mean([float(values.mean()) for values in si]), abs=1e-6)
    assert measured["dead"] == sum(int((values == 0).all(dim=0).sum()) for values in activations)
    assert torch.isfinite(torch.tensor(layers["null_mean"].to_numpy())).all()


def test_a_network_on_images_with_other_classes_has_no_row(own_store):
    config = RunConfig("digits", "cnn", alpha=-1, epochs=1)
    planned = Experiment("tiny", "Tiny", "cnn", {"epochs": 1}, (-1,), (0,))
    assert row_of(own_store, planned, config) is not None
    assert row_of(own_store, dataclasses.replace(planned, classes=2), config) is None
    assert experiment("cifar10-16-superclasses").classes == 2
