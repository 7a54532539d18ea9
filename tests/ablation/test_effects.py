"""Silencing through resume against the plain way, modes, controls, and attributions, on toy and real networks."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import nn

from selviz import ablation
from selviz.ablation import Engine
from selviz.errors import SelvizError
from selviz.networks import models
from selviz.networks.unit_network import UnitNetwork
from selviz.testing.toy import ToyNetwork, toy_dataset


class Silent(nn.Module):
    """An activation module with some of its channels multiplied by zero: the plain way to silence them."""

    def __init__(self, module, units):
        super().__init__()
        self.module, self.units = module, units

    def forward(self, x):
        keep = torch.ones(1, x.shape[1], *(1,) * (x.dim() - 2))
        keep[:, self.units] = 0
        return self.module(x) * keep


def brute_force(model, inputs, units):
    """Logits of a plain copy of the model with these channels multiplied by zero."""
    model = copy.deepcopy(model)
    for name, chosen in units.items():
        model.set_submodule(name, Silent(model.get_submodule(name), chosen))
    with torch.no_grad():
        return model(inputs)


@pytest.fixture(scope="module")
def resnet20():
    """(plain resnet20 whose logits depend on its inputs, 60 inputs, its network for inference)."""
    torch.manual_seed(0)
    model = models.build("resnet20", 10, 3).eval()
    inputs = torch.randn(60, 3, 32, 32)
    model.train()
    with torch.no_grad():
        for _ in range(20):
            model(inputs)
    model.eval()
    # Untrained logits are nearly the same for every image: standardise them, so that predictions vary.
    with torch.no_grad():
        logits = model(inputs)
        model.linear.weight.mul_(3 / logits.std(dim=0).unsqueeze(1))
        model.linear.bias.zero_().sub_(model(inputs).mean(dim=0))
    return model, inputs, UnitNetwork(copy.deepcopy(model), inputs[:1]).for_inference()


def through_resume(network, inputs, units, mode="zero", **how):
    engine = ablation.Engine(network, inputs, torch.zeros(len(inputs), dtype=torch.long), batch=25, first=10)
    return engine.logits(ablation.changes(engine, units, mode, **how))


def test_every_layer_of_resnet20_silenced_equals_brute_force_in_every_prediction(resnet20):
    model, inputs, network = resnet20
    moved = 0
    with torch.no_grad():
        intact = model(inputs)
    assert len(intact.argmax(dim=1).unique()) >= 5
    for layer in network.layers:
        for count in (1, 5):
            units = {layer.name: list(range(0, layer.units, layer.units // count))[:count]}
            plain = brute_force(model, inputs, units)
            resumed = through_resume(network, inputs, units)
            assert torch.equal(resumed.argmax(dim=1), plain.argmax(dim=1)), layer.name
            assert (resumed - plain).abs().max() <= 1e-4 * intact.std(), layer.name
            moved += not torch.equal(plain.argmax(dim=1), intact.argmax(dim=1))
    assert moved >= 19  # the test would not see a wrong unit if silencing changed nothing


@pytest.mark.parametrize("pair", [("relu", "layer3.2.relu1"), ("layer2.0.relu1", "layer2.0.relu2")])
def test_two_layers_silenced_at_once_equal_brute_force(resnet20, pair):
    model, inputs, network = resnet20
    units = {pair[1]: [0, 3, 7], pair[0]: [1, 4]}
    plain, resumed = brute_force(model, inputs, units), through_resume(network, inputs, units)
    assert torch.equal(resumed.argmax(dim=1), plain.argmax(dim=1))
    assert (resumed - plain).abs().max() <= 1e-4 * plain.std()


def test_two_visitors_in_two_hundred_interleaved_requests_get_their_own_answers(resnet20):
    _, inputs, network = resnet20
    inputs, layer = inputs[:8], "layer3.1.relu2"
    choices = [{layer: [unit]} for unit in range(8)]
    alone = [through_resume(network, inputs, units) for units in choices]
    wrong, barrier = [], threading.Barrier(2)

    def visit(first):
        barrier.wait()
        for request in range(100):
            number = (first + 2 * request) % 8
            if not torch.equal(through_resume(network, inputs, choices[number]), alone[number]):
                wrong.append(number)

    threads = [threading.Thread(target=visit, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and not torch.equal(alone[0], alone[1])


@pytest.fixture(scope="module")
def toy():
    return UnitNetwork(ToyNetwork().eval(), toy_dataset().example).for_inference()


def test_mean_mode_clamps_to_the_mean_worked_out_on_paper(toy):
    """Unit 1 at its mean 1/3: images of b keep a logit of 1/3 against 2/3 for c, images of c keep 2/3 for c."""
    logits = through_resume(toy, toy_dataset().inputs(), {"relu": [1]}, "mean")
    torch.testing.assert_close(logits[1], torch.tensor([0, 1 / 3, 2 / 3]))
    torch.testing.assert_close(logits[2], torch.tensor([0, 1 / 3, 2 / 3]))


def test_shuffle_mode_gives_every_image_the_map_of_another(toy):
    dataset = toy_dataset()
    engine = ablation.Engine(toy, dataset.inputs(), dataset.eval_labels, first=4, batch=5)
    change = ablation.changes(engine, {"relu": [1]}, "shuffle", seed=3)["relu"]
    own = toy.maps(dataset.inputs(), "relu")[:, [1]]
    assert sorted(change.offset.mean(dim=(1, 2, 3)).tolist()) == sorted(own.mean(dim=(1, 2, 3)).tolist())
    assert not torch.equal(change.offset, own)
    again = ablation.changes(engine, {"relu": [1]}, "shuffle", seed=3)["relu"]
    assert torch.equal(change.offset, again.offset)


def test_compare_counts_what_was_lost_and_won():
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    before = torch.eye(2)[torch.tensor([0, 0, 0, 1, 1, 0])]
    after = torch.eye(2)[torch.tensor([1, 1, 0, 1, 1, 1])]
    result = ablation.compare(labels, before, after, ("x", "y"))
    assert (result["images"], result["lost"], result["gained"]) == (6, 2, 1)
    assert result["accuracy_before"] == result["accuracy_before"] == pytest.approx(5 / 6)
    assert result["accuracy_after"] == pytest.approx(4 / 6) and result["mcnemar_p"] == 1.0
    x, y = result["per_class"]
    assert (x["class"], x["images"], x["before"], x["after"]) == ("x", 3, 1.0, pytest.approx(1 / 3))
    assert (y["lost"], y["gained"], y["change"]) == (0, 1, pytest.approx(1 / 3))
    assert result["before_low"] < 5 / 6 < result["before_high"]


def test_random_sets_take_as_many_units_from_the_same_layers(toy):
    sets = list(ablation.random_sets(toy, {"relu": [0, 1], "relu_1": [2]}, draws=30, seed=1))
    assert all(len(drawn["relu"]) == 2 and len(drawn["relu_1"]) == 1 for drawn in sets)
    assert {unit for drawn in sets for unit in drawn["relu"]} == {0, 1, 2, 3}
    assert sets == list(ablation.random_sets(toy, {"relu": [0, 1], "relu_1": [2]}, draws=30, seed=1))


def test_bad_choices_are_one_clear_sentence(toy):
    with pytest.raises(SelvizError, match="zero"):
        through_resume(toy, toy_dataset().inputs(), {"relu": [0]}, "zeros")
    with pytest.raises(SelvizError, match="no unit 9"):
        through_resume(toy, toy_dataset().inputs(), {"relu": [9]})


def test_the_accuracy_before_that_is_known_is_exact_at_once_and_only_the_change_settles(toy):
    """Unit 1 of the toy loses class b, a third of the images; the first three images are one of each class."""
    dataset = toy_dataset()
    engine = Engine(
        toy, dataset.inputs(), dataset.eval_labels, first=3, batch=5, predictions=dataset.eval_labels.clone()
    )
    estimates = list(ablation.progress(engine, ablation.changes(engine, {"relu": [1]})))
    assert [(part.accuracy_before, part.before_low, part.before_high) for part in estimates] == [(1, 1, 1)] * 3
    assert estimates[0].accuracy_after == pytest.approx(2 / 3)
    assert estimates[0].after_low < 2 / 3 < estimates[0].after_high
    assert estimates[-1].accuracy_after == estimates[-1].after_low == estimates[-1].after_high == pytest.approx(8 / 12)
    for part in estimates:  # never beyond what the unseen images still allow
        assert part.after_low >= sum(part.after.argmax(dim=1) == engine.labels[: part.images]) / 12 - 1e-9


def test_predictions_of_another_network_are_noticed_and_not_believed(toy):
    dataset = toy_dataset()
    wrong = (dataset.eval_labels + 1) % 3
    engine = Engine(toy, dataset.inputs(), dataset.eval_labels, first=3, batch=5, predictions=wrong)
    estimates = list(ablation.progress(engine, ablation.changes(engine, {"relu": [1]})))
    assert [part.accuracy_before for part in estimates] == [1, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_of_the_change_covers_the_exact_value_of_random_splits(seed):
    """95 % intervals after 50 of 400 images: at least 90 % of 200 random orders cover."""
    from selviz.ablation.effects import _Accuracies

    generator = np.random.default_rng(seed)
    before = generator.random(400) < 0.9
    after = np.where(generator.random(400) < 0.15 * (seed + 1), generator.random(400) < 0.3, before)
    covered = 0
    for _ in range(200):
        order = generator.permutation(400)[:50]
        was, now = before[order], after[order]
        counts = int(was.sum()), int(now.sum()), int((was & ~now).sum()), int((~was & now).sum())
        found = _Accuracies.estimated(*counts, 50, 400, int(before.sum()))
        covered += found.after_low <= after.mean() <= found.after_high
    assert covered >= 180
