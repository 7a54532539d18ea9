"""Networks trained in a stack end in the weights that each has when it is trained by itself."""

import dataclasses

import pytest
import torch

from selviz import datasets
from selviz.config import RunConfig
from selviz.errors import SelvizError
from selviz.training import loop, stacked

BASE = RunConfig("digits", "cnn", epochs=3, precision="64-true", augment="crop", learning_rate=0.1)
# Seven steps an epoch: 21 steps in all.
BASE = dataclasses.replace(BASE, batch_size=200)
STACK = [
    dataclasses.replace(BASE, alpha=0.0, seed=0),
    dataclasses.replace(BASE, alpha=-2.0, seed=0),
    dataclasses.replace(BASE, alpha=1.0, seed=3, alpha_ramp=1),
    dataclasses.replace(BASE, alpha=-1.0, seed=4, penalty_labels="shuffled", alpha_from=2),
]


class Cut(BaseException):
    """What ends a training from outside, as a kill would."""


def alone(config, folder):
    return loop.train(config, datasets.load("digits"), folder, fabric=loop.fabric_for(config, "cpu"))


def together(configs, folder, report=None):
    folders = [folder / str(number) for number in range(len(configs))]
    reports = [report] * len(configs) if report else None
    return stacked.train_stack(configs, datasets.load("digits"), folders, reports, "cpu")


def assert_same(one, other, tolerance=1e-5):
    for name, value in one.root.state_dict().items():
        torch.testing.assert_close(other.root.state_dict()[name], value, rtol=0, atol=tolerance, check_dtype=False)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, 1),
        pytest.param(  # larger values: at the same alpha, rounding grows to a hundredth
            {"penalty_metric": "dprime"}, 0.05, marks=pytest.mark.slow
        ),
        ({"clip_norm": 0.5, "penalty_layers": "last:2", "penalty_floor": 0.5}, 1),
    ],
)
def test_weights_are_those_of_separate_training_after_21_steps_in_float64(tmp_path, settings, scale):
    configs = [dataclasses.replace(config, alpha=scale * config.alpha, **settings) for config in STACK]
    stack = together(configs, tmp_path / "stack")
    for number, config in enumerate(configs):
        network, history = alone(config, tmp_path / f"alone-{number}")
        assert_same(network, stack[number][0])
        for row, other in zip(history, stack[number][1], strict=True):
            for name in ("loss", "cross_entropy", "penalty", "train_accuracy", "test_accuracy", "mean_si_live"):
                assert other[name] == pytest.approx(row[name], abs=1e-5), (config.alpha, name)


def test_a_stack_that_was_cut_off_goes_on_and_ends_in_the_same_weights(tmp_path):
    def cut(progress):
        if (progress["epoch"], progress.get("step")) == (3, 0):
            raise Cut

    whole = together(STACK, tmp_path / "whole")
    with pytest.raises(Cut):
        together(STACK, tmp_path / "cut", cut)
    for (network, _), (again, history) in zip(whole, together(STACK, tmp_path / "cut")):
        assert_same(network, again, 1e-12)
        assert [row["epoch"] for row in history] == [1, 2, 3]


def test_a_network_of_a_stack_that_was_cut_off_can_go_on_alone_and_the_other_way_round(tmp_path):
    def cut(progress):
        if (progress["epoch"], progress.get("step")) == (2, 0):
            raise Cut

    whole = [network for network, _ in together(STACK[:2], tmp_path / "whole")]
    with pytest.raises(Cut):
        together(STACK[:2], tmp_path / "cut", cut)
    assert_same(whole[1], alone(STACK[1], tmp_path / "cut" / "1")[0])
    # The second one is finished now, the first is an epoch behind.
    for network, (again, _) in zip(whole, together(STACK[:2], tmp_path / "cut")):
        assert_same(network, again)


def test_a_network_that_diverges_ends_alone(tmp_path):
    wild = dataclasses.replace(STACK[1], alpha=-1e300, precision="64-true")
    calm, failure = together([STACK[0], wild], tmp_path)
    assert isinstance(failure, loop.TrainingDiverged) and "diverged in epoch" in str(failure)
    assert_same(alone(STACK[0], tmp_path / "alone")[0], calm[0])


def test_runs_are_split_into_stacks_of_one_shape_and_baselines_join_them():
    other = dataclasses.replace(BASE, alpha=-2.0, penalty_metric="dprime")
    large = dataclasses.replace(BASE, epochs=4)
    found = stacked.stacks([*STACK, other, large], 3)
    assert [[(c.alpha, c.penalty_metric, c.epochs) for c in group] for group in found] == [
        [(0, "si", 3), (-2, "si", 3), (1, "si", 3)], [(-1, "si", 3)], [(-2, "dprime", 3)], [(0, "si", 4)],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("configs", "sentence"),
    [
        ([BASE, dataclasses.replace(BASE, epochs=2)], "may differ by alpha, seed"),
        ([dataclasses.replace(BASE, precision="bf16-mixed")], "leave out --stack"),
        ([dataclasses.replace(BASE, snapshots=1)], "no snapshots"),
        ([dataclasses.replace(BASE, model="torchvision:mobilenet_v3_small")], "cannot be trained in a stack"),
    ],
)
def test_what_cannot_be_a_stack_is_refused_with_a_sentence(tmp_path, configs, sentence):
    with pytest.raises(SelvizError, match=sentence):
        together(configs, tmp_path)
