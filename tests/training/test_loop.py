"""Training with the penalty: directions, schedules, and the same weights however often it was cut off."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from selviz import datasets
from selviz.config import RunConfig, config_from_dict, config_to_dict, run_name
from selviz.errors import SelvizError
from selviz.networks.unit_network import UnitNetwork
from selviz.training import loop, schedules
from selviz.training.fabric import Fabric

SHORT = RunConfig("digits", "cnn", epochs=3)


class Cut(BaseException):
    """What ends a training from outside, as a kill would."""


def weights(network):
    return {name: value.clone() for name, value in network.root.state_dict().items()}


def train(folder, config=SHORT, report=lambda news: None):
    return loop.train(config, datasets.load(config.dataset), folder, report, loop.fabric_for(config, "cpu"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Network and history of SHORT, trained without a break."""
    return train(tmp_path_factory.mktemp("whole"))


def same_weights(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_same_settings_give_the_same_weights_bit_for_bit(trained, tmp_path):
    assert same_weights(weights(trained[0]), weights(train(tmp_path)[0]))


@pytest.mark.parametrize("at", [(1, 0), (2, 0), (3, 0)])
def test_a_training_cut_off_in_any_epoch_ends_in_the_same_weights(trained, tmp_path, at):
    def cut(news):
        if (news["epoch"], news.get("step")) == at:
            raise Cut

    with pytest.raises(Cut):
        train(tmp_path, report=cut)
    network, history = train(tmp_path)
    assert same_weights(weights(trained[0]), weights(network))
    drop = ("seconds",)
    assert [{k: v for k, v in row.items() if k not in drop} for row in history] == [
        {k: v for k, v in row.items() if k not in drop} for row in trained[1]
    ]


def test_a_training_with_every_variant_that_was_cut_off_ends_in_the_same_weights_and_snapshots(tmp_path):
    config = dataclasses.replace(
        SHORT, alpha=-2, alpha_from=2, alpha_ramp=1, label_noise=0.1, augment="crop", penalty_layers="last:2",
        penalty_labels="shuffled", snapshots=2,
    )  # fmt: skip

    def run(folder, at=None):
        kept = {}

        def cut(news):
            if (news["epoch"], news.get("step")) == at:
                raise Cut

        def keep(snapshot):
            kept[snapshot.epoch, snapshot.step] = (snapshot.predictions, snapshot.activations)

        try:
            trained = loop.train(config, datasets.load("digits"), folder, cut, loop.fabric_for(config, "cpu"), keep)
        except Cut:
            trained = None
        return trained, kept

    whole, kept = run(tmp_path / "whole")
    assert run(tmp_path / "cut", (3, 0))[0] is None
    again, later = run(tmp_path / "cut")
    assert same_weights(weights(whole[0]), weights(again[0]))
    assert list(kept) == [(0, 0), (1, 5), (1, 9), (2, 5), (2, 9), (3, 5), (3, 9)]
    assert list(later) == [(3, 5), (3, 9)]
    assert all(torch.equal(a, b) for at in later for a, b in zip(kept[at][1], later[at][1]))
    assert [row["penalty"] > 0 for row in whole[1]] == [False, True, True]


def test_a_damaged_checkpoint_costs_its_epochs_and_nothing_else(trained, tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    assert same_weights(weights(trained[0]), weights(train(tmp_path)[0]))


def test_a_checkpoint_of_other_settings_is_not_used(trained, tmp_path):
    train(tmp_path, dataclasses.replace(SHORT, seed=1))
    assert same_weights(weights(trained[0]), weights(train(tmp_path)[0]))


def test_alpha_moves_mean_si_in_its_own_direction(trained, tmp_path):
    si = {0: trained[1][-1]["mean_si_live"]}
    for alpha in (-5, 2):
        si[alpha] = train(tmp_path / str(alpha), dataclasses.replace(SHORT, alpha=alpha))[1][-1]["mean_si_live"]
    assert si[-5] < si[0] < si[2]


def test_history_tells_each_epoch(trained):
    _, history = trained
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert all(len(row["layer_si"]) == 4 and 0 <= row["mean_si"] <= 1 for row in history)
    assert history[-1]["test_accuracy"] > 0.85 and history[-1]["loss"] < history[0]["loss"]


def test_zero_epochs_is_the_network_as_it_was_initialised(tmp_path):
    network, history = train(tmp_path, dataclasses.replace(SHORT, epochs=0))
    fresh = loop.build_network(SHORT, datasets.load("digits"))
    assert history == [] and same_weights(weights(network), weights(fresh))


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nearly_nothing():
    rates = [schedules.one_cycle(0.1, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.004) and rates[30] == pytest.approx(0.1) and rates[99] < 1e-4
    assert rates.index(max(rates)) == 30


def test_a_training_that_diverges_says_so(tmp_path):
    with pytest.raises(SelvizError, match="diverged in epoch 1.*--learning-rate 1e"):
        train(tmp_path, dataclasses.replace(SHORT, learning_rate=1e20))


def test_a_batch_larger_than_the_data_set_is_refused(tmp_path):
    with pytest.raises(SelvizError, match="--batch-size 1258 or less"):
        train(tmp_path, dataclasses.replace(SHORT, batch_size=5000))


def test_names_of_runs_stay_what_they_were():
    assert run_name(RunConfig("digits", "cnn")) == "digits-cnn-a0-s0-9b9c8be1"
    assert run_name(RunConfig("mnist-5k", "cnn", alpha=-5, seed=2)) == "mnist-5k-cnn-a-5-s2-81623dd8"


def test_a_name_depends_on_every_setting_and_on_nothing_else():
    base = RunConfig("digits", "cnn")
    changed = [
        dataclasses.replace(base, **{name: value})
        for name, value in {
            "alpha": 1,
            "seed": 1,
            "epochs": 1,
            "batch_size": 64,
            "learning_rate": 0.01,
            "momentum": 0.5,
            "weight_decay": 0.0,
            "precision": "bf16-mixed",
            "model": "resnet20",
            "dataset": "mnist-5k",
            "label_noise": 0.1,
            "augment": "crop",
            "snapshots": 1,
        }.items()
    ]
    assert len({run_name(config) for config in [base, *changed]}) == len(changed) + 1
    assert run_name(RunConfig("digits", "cnn", alpha=-0.0)) == run_name(RunConfig("digits", "cnn", alpha=0))
    assert config_from_dict(config_to_dict(changed[0])) == changed[0]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"alpha": math.nan}, "alpha is nan, which is not a finite number"),
        ({"alpha": math.inf}, "alpha is inf"),
        ({"epochs": -1}, r"epochs is -1; it must be at least 0 \(0 is the untrained control\)"),
        ({"batch_size": 1}, "batch_size is 1; it must be at least 2"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"precision": "8-bit"}, "use one of 32-true"),
        ({"augment": "spin"}, "use one of none, crop, crop-flip"),
        ({"label_noise": 1.0}, "label_noise is 1.0; it must be at least 0 and below 1"),
        ({"penalty_layers": "first:0"}, "use all, first:2, last:2"),
        ({"alpha": 1, "alpha_from": 9}, "from epoch 9 to epoch 8 of 8"),
        ({"alpha": 1, "alpha_from": 3, "alpha_until": 2}, "from epoch 3 to epoch 2 of 8"),
    ],
)
def test_settings_out_of_range_are_one_clear_sentence(setting, sentence):
    with pytest.raises(SelvizError, match=sentence):
        RunConfig("digits", "cnn", **setting)


STEPS, PROCESSES, BATCH = 20, 2, 32


class Smooth(nn.Module):
    """A small network without batch norm, in float64."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 6, 3), nn.Linear(6, 4)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean(dim=(2, 3)))


def steps_on(part, of, fabric):
    """Losses, first gradient and final weights of 20 steps on every `of`-th image of the same batches."""
    torch.manual_seed(0)
    network = UnitNetwork(Smooth().double(), torch.zeros(1, 1, 8, 8).double())
    inputs, labels = torch.rand(STEPS, BATCH, 1, 8, 8).double(), torch.randint(0, 4, (STEPS, BATCH))
    optimizer = torch.optim.SGD(network.observer.parameters(), lr=0.1, momentum=0.9)
    observer, optimizer = fabric.setup(network.observer, optimizer)
    losses, gradient = [], None
    for x, y in zip(inputs, labels, strict=True):
        losses.append(loop.train_step(fabric, observer, optimizer, x[part::of], y[part::of], -3.0, 4)[0].item())
        gradient = gradient if gradient is not None else network.root.conv.weight.grad.clone()
    return losses, gradient, weights(network)


def _one_of_two(fabric):
    losses, gradient, values = steps_on(fabric.global_rank, PROCESSES, fabric)
    values = {name: value.tolist() for name, value in values.items()}
    return (
        fabric.all_reduce(torch.tensor(losses, dtype=torch.float64), reduce_op="mean").tolist(),
        gradient.tolist(),
        values,
    )


def test_two_processes_with_half_of_each_batch_train_as_one_with_the_whole():
    """Loss, gradients and weights after 20 steps: the penalty is that of the global batch, with its gradients."""
    alone = steps_on(0, 1, Fabric(accelerator="cpu", devices=1))
    together = Fabric(accelerator="cpu", devices=PROCESSES, strategy="ddp_spawn")
    losses, gradient, values = together.launch(_one_of_two)
    assert losses == pytest.approx(alone[0], abs=1e-9)
    torch.testing.assert_close(torch.tensor(gradient, dtype=torch.float64), alone[1], rtol=0, atol=1e-9)
    for name, value in alone[2].items():
        torch.testing.assert_close(torch.tensor(values[name], dtype=torch.float64), value, rtol=0, atol=1e-9)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train_and_keep_a_finite_selectivity(tmp_path, precision):
    _, history = train(tmp_path, dataclasses.replace(SHORT, alpha=-1, epochs=1, precision=precision))
    assert 0 < history[-1]["mean_si"] < 1 and history[-1]["test_accuracy"] > 0.3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_on_a_gpu_moves_selectivity_as_on_cpu(tmp_path):
    si = {}
    for alpha in (-5, 2):
        config = dataclasses.replace(SHORT, alpha=alpha)
        fabric = loop.fabric_for(config, "cuda")
        history = loop.train(config, datasets.load("digits"), tmp_path / str(alpha), fabric=fabric)[1]
        si[alpha] = history[-1]["mean_si_live"]
    assert si[-5] < si[2]


def batch_norms(network):
    return {type(module) for module in network.root.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)}


def test_a_network_for_several_gpus_has_synchronised_batch_norm_everywhere_and_the_same_weights():
    alone, together = (loop.build_network(SHORT, datasets.load("digits"), shared) for shared in (False, True))
    assert batch_norms(alone) == {nn.BatchNorm2d} and batch_norms(together) == {nn.SyncBatchNorm}
    assert all(torch.equal(value, weights(together)[name]) for name, value in weights(alone).items())


def _statistics_of_two(fabric):
    """The running means of the first batch norm after one batch, of which each process sees its own half."""
    network = loop.build_network(SHORT, datasets.load("digits"), synchronized=True)
    observer = fabric.setup_module(network.observer)
    observer.train()(fabric.to_device(_batch()[fabric.global_rank :: 2]))
    return next(m for m in network.root.modules() if isinstance(m, nn.SyncBatchNorm)).running_mean.tolist()


def _batch():
    return torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_on_two_gpus_batch_norm_takes_its_statistics_over_the_whole_batch():
    network = loop.build_network(SHORT, datasets.load("digits"))
    network.observer.train()(_batch())
    alone = next(m for m in network.root.modules() if isinstance(m, nn.BatchNorm2d)).running_mean
    together = Fabric(accelerator="cuda", devices=2, strategy="ddp_spawn").launch(_statistics_of_two)
    torch.testing.assert_close(torch.tensor(together), alone, rtol=1e-4, atol=1e-5)


def test_a_batch_that_the_devices_cannot_share_is_refused():
    with pytest.raises(SelvizError, match="cannot be shared equally by 3 devices"):
        loop.fabric_for(SHORT, "cpu", devices=3)


def test_a_device_that_is_not_there_is_refused_with_the_way_out():
    with pytest.raises(SelvizError, match="--device cpu"):
        loop.fabric_for(SHORT, "abacus")
