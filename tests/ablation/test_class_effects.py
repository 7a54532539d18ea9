"""What a unit does to the logits: worked out on paper, by plain hooks, and by plain gradients."""

import pytest
import torch

from selviz.ablation import Engine, push, relevance
from selviz.networks.models import build
from selviz.networks.unit_network import UnitNetwork
from selviz.testing.toy import ToyNetwork, toy_dataset


@pytest.fixture(scope="module")
def toy():
    dataset = toy_dataset()
    return Engine(
        UnitNetwork(ToyNetwork().eval(), dataset.example).for_inference(), dataset.inputs(), dataset.eval_labels
    )


def test_the_push_of_a_hand_set_unit_is_that_worked_out_on_paper(toy):
    """Unit 1 is 1 on class b: it lifts b's logit from 0 to 1 there, and keeps c's at 0 where it would be 1."""
    table = push(toy, "relu", 1)
    assert table["removed"].tolist() == pytest.approx([0, 1 / 3, -1 / 3], abs=1e-6)
    dead = push(toy, "relu", 2)
    assert dead["removed"].tolist() == dead["slope"].tolist() == [0, 0, 0]
    linear = push(toy, "relu_1", 0)  # the head is linear: removal and slope agree
    assert linear["slope"].tolist() == pytest.approx(linear["removed"].tolist(), abs=1e-5)
    assert linear["removed"].tolist() == pytest.approx([1 / 3, 0, 0], abs=1e-6)


def test_relevance_of_the_last_layer_is_what_each_unit_adds_to_the_predicted_logit(toy):
    values = relevance(toy, "relu_1")
    torch.testing.assert_close(values, torch.eye(3)[toy.labels])


@pytest.mark.parametrize("layer", ["relu2", "relu4"])
def test_push_and_relevance_are_those_of_hooks_and_plain_gradients(layer):
    torch.manual_seed(0)
    model = build("cnn", 5, 1).eval()
    network = UnitNetwork(model, torch.zeros(1, 1, 16, 16)).for_inference()
    inputs, labels = torch.randn(12, 1, 16, 16), torch.arange(12) % 5
    engine = Engine(network, inputs, labels)
    module = dict(model.named_modules())[layer]
    kept = {}
    hook = module.register_forward_hook(lambda module, inputs, output: kept.update(map=output))
    logits = model(inputs)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits.amax(dim=1).sum(), kept["map"])
    expected = (gradient * kept["map"]).sum(dim=(2, 3))
    torch.testing.assert_close(relevance(engine, layer), expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())

    def silenced(module, inputs, output):
        output = output.clone()
        output[:, 3] = 0
        return output

    hook = module.register_forward_hook(silenced)
    removed = (logits - model(inputs)).mean(dim=0).detach()
    hook.remove()
    table = push(engine, layer, 3)
    assert table["removed"].tolist() == pytest.approx(removed.tolist(), abs=1e-5)
