"""Schedules, layers, wrong labels and moved images: each does what its setting says and nothing else."""

import dataclasses

import pytest
import torch

from selviz import datasets
from selviz.config import RunConfig, run_name
from selviz.errors import SelvizError
from selviz.networks import models
from selviz.networks.unit_network import UnitNetwork
from selviz.selectivity import penalties
from selviz.training import loop, schedules, variants

BASE = RunConfig("digits", "cnn", alpha=-4, epochs=6)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({}, [-4, -4, -4, -4, -4]),
        ({"alpha_from": 3}, [0, 0, -4, -4, -4]),
        ({"alpha_until": 2}, [-4, -4, 0, 0, 0]),
        ({"alpha_from": 2, "alpha_until": 4, "alpha_ramp": 2}, [0, -1, -3, -4, 0]),
    ],
)
def test_alpha_follows_its_schedule(schedule, expected):
    """In the middle of epochs 1 to 4, except where a ramp is, and in epoch 5."""
    config = dataclasses.replace(BASE, **schedule)
    assert [schedules.alpha_at(config, done) for done in (0.5, 1.5, 2.5, 3.5, 4.5)] == pytest.approx(expected)


def test_the_penalty_layers_are_the_first_the_last_or_those_that_are_named():
    names = ["a", "b", "c", "d"]
    chosen = {which: variants.penalized_layers(which, names) for which in ("all", "first:1", "last:2", "d+b")}
    assert chosen == {"all": [0, 1, 2, 3], "first:1": [0], "last:2": [2, 3], "d+b": [1, 3]}
    with pytest.raises(SelvizError, match="only 4 layers"):
        variants.penalized_layers("first:5", names)
    with pytest.raises(SelvizError, match="Unknown layer 'e'.*Known layers: a, b, c, d"):
        variants.penalized_layers("a+e", names)


def test_a_penalty_on_one_layer_leaves_the_gradient_of_those_after_it_alone():
    """The head is read after every layer, so its gradient is the same with and without a penalty on the first."""
    torch.manual_seed(0)
    network = UnitNetwork(models.build("cnn", 10, 1), torch.zeros(1, 1, 8, 8))
    fabric, labels = loop.fabric_for(BASE, "cpu"), torch.arange(32) % 10
    gradients = {}
    for alpha in (0.0, -4.0):
        optimizer = torch.optim.SGD(network.observer.parameters(), lr=0.0)
        loop.train_step(
            fabric, network.observer, optimizer, torch.rand(32, 1, 8, 8).fill_(0.5) + labels.view(-1, 1, 1, 1) / 10,
            labels, alpha, 10, penalty=loop.Penalty(layers=(0,)),
        )  # fmt: skip
        gradients[alpha] = {name: p.grad.clone() for name, p in network.root.named_parameters()}
    assert torch.allclose(gradients[0.0]["conv4.weight"], gradients[-4.0]["conv4.weight"], atol=1e-6)
    assert not torch.allclose(gradients[0.0]["conv1.weight"], gradients[-4.0]["conv1.weight"], atol=1e-3)


def test_label_noise_makes_its_share_of_labels_wrong_and_no_other():
    labels = torch.arange(1000) % 10
    found = variants.noisy(labels, 10, 0.15, seed=3)
    assert int((found != labels).sum()) == 150 and int(found.min()) >= 0 and int(found.max()) <= 9
    assert torch.equal(found, variants.noisy(labels, 10, 0.15, seed=3))
    assert not torch.equal(found, variants.noisy(labels, 10, 0.15, seed=4))
    assert torch.equal(labels, variants.noisy(labels, 10, 0.0, seed=3))


def test_shuffled_labels_keep_every_class_as_large_as_it_was_and_mean_no_class():
    labels = torch.arange(1000) % 10
    found = variants.shuffled(labels, seed=0)
    assert torch.equal(found.bincount(), labels.bincount())
    assert 0.05 < float((found == labels).float().mean()) < 0.15


def test_images_move_as_they_are_told_and_nothing_comes_in_but_the_mean_colour():
    image = torch.arange(1.0, 17).reshape(1, 1, 4, 4)
    right = variants.moved(image, torch.tensor([[0, 1, 0]]))[0, 0]
    down = variants.moved(image, torch.tensor([[1, 0, 0]]))[0, 0]
    mirrored = variants.moved(image, torch.tensor([[0, 0, 1]]))[0, 0]
    assert torch.equal(right[:, 1:], image[0, 0, :, :-1]) and not right[:, 0].any()
    assert torch.equal(down[1:], image[0, 0, :-1]) and not down[0].any()
    assert torch.equal(mirrored, image[0, 0].flip(1))
    generator = torch.Generator().manual_seed(0)
    moves = variants.draw_moves("crop-flip", 400, 32, generator)
    assert moves[:, :2].abs().max() == 4 and 150 < int(moves[:, 2].sum()) < 250
    assert variants.draw_moves("crop", 400, 32, generator)[:, 2].sum() == 0
    assert variants.draw_moves("none", 400, 32, generator) is None


def test_a_mirrored_digit_is_refused():
    config = dataclasses.replace(BASE, augment="crop-flip")
    with pytest.raises(SelvizError, match="digits does not show the same class; use --augment crop"):
        loop.check(config, datasets.load("digits"))


def test_a_data_set_of_one_class_is_refused():
    one = dataclasses.replace(datasets.load("digits"), class_names=("0",))
    with pytest.raises(SelvizError, match="1 class; selectivity compares classes"):
        loop.check(BASE, one)


def test_a_class_that_is_missing_from_a_batch_is_left_out_of_its_penalty():
    activations, labels = torch.rand(30, 5), torch.arange(30) % 3
    as_three = penalties.penalty([activations], labels, 3)
    assert penalties.penalty([activations], labels + 4, 9) == pytest.approx(float(as_three), abs=1e-6)


def test_a_baseline_has_one_name_whatever_is_said_of_its_penalty():
    baseline = dataclasses.replace(BASE, alpha=0)
    assert run_name(dataclasses.replace(baseline, penalty_labels="shuffled", alpha_from=2)) == run_name(baseline)
    assert run_name(dataclasses.replace(BASE, penalty_labels="shuffled")) != run_name(BASE)


@pytest.mark.parametrize("name", models.MODELS)
def test_every_network_trains_on_small_images_and_has_unit_layers(name):
    network = UnitNetwork(models.seeded(name, 10, 1, 0), torch.zeros(1, 1, 8, 8))
    logits, activations = network.observe(torch.rand(2, 1, 8, 8))
    depth = {"cnn": 4, "resnet20": 19, "resnet32": 31, "resnet44": 43, "resnet56": 55, "vgg16": 13, "vgg16-narrow": 13,
             "resnet18": 17, "resnet50": 49}  # fmt: skip
    assert logits.shape == (2, 10) and len(activations) == depth[name]


@pytest.mark.parametrize("metric", ["dprime", "class-mi", "ccmas"])
def test_suppressing_another_measure_lowers_that_measure(tmp_path, metric):
    """Minibatch values of the last epoch, beside those of the same network without a penalty on it."""
    last = {}
    for alpha in (-3, -1e-9):
        config = dataclasses.replace(BASE, alpha=alpha, epochs=2, penalty_metric=metric)
        history = loop.train(
            config, datasets.load("digits"), tmp_path / str(alpha), fabric=loop.fabric_for(config, "cpu")
        )
        last[alpha] = history[1][-1]["penalty"]
    assert last[-3] < 0.8 * last[-1e-9]


def test_gradients_are_cut_to_the_norm_that_was_asked_for():
    torch.manual_seed(0)
    network = UnitNetwork(models.build("cnn", 10, 1), torch.zeros(1, 1, 8, 8))
    fabric, labels = loop.fabric_for(BASE, "cpu"), torch.arange(32) % 10
    norms = []
    for clip_norm in (0.0, 0.01):
        optimizer = torch.optim.SGD(network.observer.parameters(), lr=0.0)
        loop.train_step(
            fabric, network.observer, optimizer, torch.rand(32, 1, 8, 8), labels, -4.0, 10, clip_norm=clip_norm
        )
        norms.append(torch.cat([p.grad.flatten() for p in network.root.parameters()]).norm().item())
    assert norms[0] > 0.1 and norms[1] == pytest.approx(0.01, rel=1e-3)


def test_settings_of_a_stable_training_are_off_by_default_and_change_the_run_where_they_are_on():
    stable = {"clip_norm": 1.0, "penalty_floor": 0.1, "penalty_metric": "dprime"}
    names = {run_name(dataclasses.replace(BASE, **{name: value})) for name, value in stable.items()}
    assert len({*names, run_name(BASE)}) == 4
    baseline = RunConfig("digits", "cnn")
    assert run_name(dataclasses.replace(baseline, penalty_floor=0.1)) == run_name(baseline)
