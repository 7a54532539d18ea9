"""A search over linear maps finds selectivity that was hidden, and none where there is none."""

import numpy as np
import pytest
import torch

from selviz.datasets import folds
from selviz.geometry import linear_maps
from selviz.selectivity import index

CLASSES = 4


def hidden(noise: float = 0.1, images: int = 400):
    """Units [N, 2, 4] that mix one perfectly selective direction a class; labels and folds."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(images) % CLASSES
    pure = torch.eye(CLASSES)[labels].unsqueeze(1).repeat(1, 2, 1)
    pure = pure + noise * torch.randn(pure.shape, generator=generator)
    mix = torch.linalg.qr(torch.ones(4, 4) + 0.3 * torch.randn(4, 4, generator=generator))[0]
    return pure @ mix, labels, torch.from_numpy(folds(labels.numpy()))


def test_selectivity_that_a_rotation_hid_is_found_and_read_on_images_that_it_was_not_fit_on():
    values, labels, fold = hidden()
    table, best, live = linear_maps.best_map(values, labels, fold, CLASSES, rotations=5, steps=60)
    si = table.groupby("basis")["si"].max()
    chosen = table[table["chosen"]].iloc[0]
    assert si["units"] < 0.6
    assert chosen["si"] > 0.95
    assert table.loc[table["basis"] == "rotation", "si"].mean() < 0.85
    assert chosen["si_fit"] == table.loc[table["basis"] == "found", "si_fit"].max()
    assert chosen["deviation"] < 0.1
    assert table["basis"].value_counts().to_dict() == {"units": 1, "rotation": 5, "found": 6}
    assert table.loc[table["basis"] == "rotation", "deviation"].max() < 1e-5
    means, counts = index.class_means(linear_maps.mapped(values[fold == 1], best[None])[:, 0], labels[fold == 1], 4)
    assert float(index.index(means, counts).mean()) == pytest.approx(chosen["si"], abs=1e-5)
    assert live.tolist() == [0, 1, 2, 3]


def test_the_units_as_they_are_have_the_si_of_their_means_over_positions():
    values, labels, fold = hidden()
    values = values.abs()
    table = linear_maps.best_map(values, labels, fold, CLASSES, rotations=0, steps=1).table
    read = fold == 1
    means, counts = index.class_means(values[read].mean(dim=1).double(), labels[read], CLASSES)
    assert table.loc[0, "si"] == pytest.approx(float(index.index(means, counts).mean()), abs=1e-6)
    assert table.loc[0, "deviation"] == 0


def test_where_units_know_nothing_of_the_classes_the_map_found_looks_selective_and_its_null_says_that_it_is_not():
    generator = torch.Generator().manual_seed(0)
    values, labels = torch.rand(200, 1, 6, generator=generator), torch.arange(200) % CLASSES
    fold = torch.from_numpy(folds(labels.numpy(), sealed=0))
    table = linear_maps.best_map(values, labels, fold, CLASSES, rotations=3, steps=60).table
    chosen = table[table["chosen"]].iloc[0]
    assert chosen["si"] > 0.5 > 2 * table.loc[0, "si"]
    assert chosen["null_mean"] - 0.1 < chosen["si"] < chosen["null_p95"]


def test_dead_units_are_left_out_of_every_basis_and_a_dead_layer_has_no_table():
    values, labels, fold = hidden()
    dead = torch.cat([values[..., :1], torch.zeros(400, 2, 2), values[..., 1:]], dim=2)
    table, best, live = linear_maps.best_map(dead, labels, fold, CLASSES, rotations=2, steps=5)
    alone = linear_maps.best_map(values, labels, fold, CLASSES, rotations=2, steps=5).table
    assert live.tolist() == [0, 3, 4, 5]
    assert best.shape == (4, 4)
    np.testing.assert_allclose(table["si"], alone["si"], atol=1e-6)
    nothing = linear_maps.best_map(torch.zeros(40, 2, 3), labels[:40], fold[:40], CLASSES)
    assert nothing.table.empty and list(nothing.table) == list(table)


def test_fewer_than_five_restarts_are_refused():
    values, labels, fold = hidden(images=40)
    with pytest.raises(ValueError):
        linear_maps.best_map(values, labels, fold, CLASSES, restarts=4)
