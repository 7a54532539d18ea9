"""The mean over positions has PyTorch's values and gradients, also where networks are stacked."""

import pytest
import torch

from selviz.networks import models
from selviz.networks.position_mean import mean_over_positions
from selviz.networks.unit_network import UnitNetwork

SHAPES = [((4, 3, 5, 6), (2, 3)), ((4, 5, 6, 3), (1, 2)), ((4, 7, 3), (1,))]


@pytest.mark.parametrize(("shape", "positions"), SHAPES)
def test_values_and_gradients_are_those_of_mean_to_the_bit(shape, positions):
    values = torch.randn(shape, requires_grad=True)
    weights = torch.randn(shape).mean(dim=positions)

    def loss(mean):
        squares = values.square()
        return (mean(squares) * weights).sum() + squares.sin().sum()

    plain = torch.autograd.grad(loss(lambda map_: map_.mean(dim=positions)), values)[0]
    ours = torch.autograd.grad(loss(lambda map_: mean_over_positions(map_, positions)), values)[0]
    assert torch.equal(ours, plain)
    assert torch.equal(mean_over_positions(values.detach(), positions), values.detach().mean(dim=positions))
    torch.autograd.gradcheck(
        lambda map_: mean_over_positions(map_, positions), values.detach().double().requires_grad_()
    )
    torch.autograd.gradgradcheck(
        lambda map_: mean_over_positions(map_ * map_, positions), values.detach().double().requires_grad_()
    )


def test_under_vmap_each_network_has_its_own_gradient():
    values = torch.randn(3, 4, 2, 5, 5)

    def gradients(mean):
        inputs = values.clone().requires_grad_()
        torch.vmap(lambda map_: mean(map_.relu()).square())(inputs).sum().backward()
        return inputs.grad

    plain = gradients(lambda map_: map_.mean(dim=(2, 3)))
    assert torch.equal(gradients(lambda map_: mean_over_positions(map_, (2, 3))), plain)


def test_a_network_is_penalized_as_with_plain_means(monkeypatch):
    """The gradient of every weight of a resnet20, channels last, with and without."""
    from selviz.networks import graph_surgery
    from selviz.selectivity.penalties import penalty

    inputs, labels = torch.randn(8, 3, 32, 32).contiguous(memory_format=torch.channels_last), torch.arange(8) % 4

    def gradients():
        model = models.seeded("resnet20", 10, 3, 0).train().to(memory_format=torch.channels_last)
        network = UnitNetwork(model, inputs[:1])
        logits, activations = network.observe(inputs)
        (logits.square().mean() + penalty(activations, labels, 4)).backward()
        return [parameter.grad for parameter in network.observer.parameters()]

    ours = gradients()
    monkeypatch.setattr(graph_surgery, "mean_over_positions", _plain_mean)
    for one, other in zip(ours, gradients(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def _plain_mean(values, positions):
    return values.mean(dim=positions)
