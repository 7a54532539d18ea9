"""What is computed where Captum is not installed is what Captum computes, method by method and network by network."""

import importlib.util
import sys

import pytest
import torch
from captum.metrics import infidelity
from torch import nn
from torchvision.models import VisionTransformer

from selviz.attribution import Response, Target, by_captum, by_formula, methods
from selviz.attribution.faithfulness import map_infidelity
from selviz.attribution.targets import images_at_once
from selviz.networks import models
from selviz.networks.unit_network import UnitNetwork


class InPlace(nn.Module):
    """ReLUs in place, one module called twice, batch norm, a function, a branch beside the units."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3)
        self.relu, self.dense, self.head = nn.ReLU(inplace=True), nn.Linear(6, 8), nn.Linear(8, 4)

    def forward(self, x):
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(self.second(x)) + x[:, :, 1:-1, 1:-1]
        return self.head(torch.relu_(self.dense(x.mean(dim=(2, 3)))))


def made(name):
    torch.manual_seed(0)
    if name == "in place":
        network = InPlace()
        network.norm.running_mean.uniform_(-0.2, 0.2), network.norm.running_var.uniform_(0.5, 2)
        return network
    if name == "residual":
        return models.seeded("resnet20", 10, 3, seed=0)
    network = VisionTransformer(16, 8, 2, 2, 16, 32, num_classes=5)
    nn.init.normal_(network.heads.head.weight)  # torchvision begins with zeros
    return network


NETWORKS = {"in place": 9, "residual": 12, "transformer": 16}  # side of an image


@pytest.fixture(scope="module", params=NETWORKS)
def case(request):
    """(a copy for hooks, its hooks, layers with positions and targets behind them, an image, a baseline, all ReLUs)."""
    side, generator = NETWORKS[request.param], torch.Generator().manual_seed(1)
    image = torch.randn(1, 3, side, side, generator=generator)
    network = UnitNetwork(made(request.param).eval(), torch.zeros_like(image)).for_inference()
    relus = all(network.is_relu(layer.name) for layer in network.layers)
    spatial = [layer.name for layer in network.layers if len(layer.shape) > 2]
    targets = [Target(spatial[-1], 1), Target(label=2), Target(spatial[-1], 3, 1)]
    copy, hooks = network.hookable()
    return copy, hooks, spatial, targets, image, 0.3 * torch.ones_like(image), relus


def both(case, name, *arguments):
    """Hold a function of both modules against each other, for each target."""
    copy, hooks, _, targets, image, _, _ = case
    largest = []
    for target in targets:
        response = Response(copy, target, image, hooks)
        ours, captums = (
            getattr(module, name)(
                response, *(part.clone() if isinstance(part, torch.Tensor) else part for part in arguments)
            )
            for module in (by_formula, by_captum)
        )
        ours, captums = ours.detach(), captums.detach()
        largest.append(float(captums.abs().max()))
        assert ours.shape == captums.shape
        torch.testing.assert_close(ours, captums, rtol=1e-4, atol=1e-5 * largest[-1])
    assert max(largest) > 0
    assert not [part for part in copy.root.modules() if part._forward_hooks or part._backward_hooks]


def test_a_piece_of_integrated_gradients(case):
    image, baseline = case[4:6]
    both(case, "path_pieces", torch.cat([image, 0.5 * (image + baseline)]), torch.cat([baseline, baseline]))


def test_gradient_times_input(case):
    both(case, "input_times_gradient", case[4])


def test_guided_backprop(case):
    if case[6]:  # all activations are ReLUs
        both(case, "guided_gradient", case[4])


def test_grad_cam_at_every_layer_with_positions(case):
    for at in case[2]:
        both(case, "weighted_maps", case[4], at, True) if at == case[2][-1] else None
        both(case, "weighted_maps", case[4], at, False)


def test_conductance_in_one_part_and_in_several(case, monkeypatch):
    for at, steps in ((case[2][0], 5), (case[2][-1], 70)):
        both(case, "conductances", case[4], case[5], at, steps)
    for module in (by_formula, by_captum):
        monkeypatch.setattr(module, "images_at_once", lambda image: 3)
    both(case, "conductances", case[4], case[5], case[2][-1], 6)


def test_feature_ablation(case):
    side = case[4].shape[-1]
    squares = torch.arange(side)[:, None] // 4 * 10 + torch.arange(side) // 4
    both(case, "drops_by_group", case[4], case[5], squares.unique(return_inverse=True)[1])


@pytest.mark.parametrize(("window", "stride"), [(3, 1), (4, 3), (5, 5)])
def test_occlusion_with_windows_that_fit_and_that_do_not(case, window, stride):
    both(case, "drops_by_window", case[4], case[5], window, stride)


def test_infidelity_is_captums_on_the_same_squares(case):
    copy, hooks, _, targets, image, baseline, _ = case
    side, samples = image.shape[-1], 70
    quarter, generator = side // 4, torch.Generator().manual_seed(5)
    map_ = torch.randn(side, side, generator=torch.Generator().manual_seed(2))

    def take_squares(inputs):
        top = torch.randint(side - quarter + 1, (len(inputs), 1, 1), generator=generator)
        left = torch.randint(side - quarter + 1, (len(inputs), 1, 1), generator=generator)
        rows, columns = torch.arange(side)[:, None], torch.arange(side)
        gone = (rows >= top) & (rows < top + quarter) & (columns >= left) & (columns < left + quarter)
        gone = gone.unsqueeze(1).expand_as(inputs)
        return gone.to(inputs.dtype), torch.where(gone, baseline, inputs)

    for target in targets:
        response = Response(copy, target, image, hooks)
        generator.manual_seed(5)
        captums = infidelity(
            response, take_squares, image, (map_ / 3).expand_as(image).contiguous(), n_perturb_samples=samples,
            max_examples_per_batch=images_at_once(image), normalize=True,
        )  # fmt: skip
        ours, share = map_infidelity(response, image, map_, baseline, samples, 5)
        assert ours == pytest.approx(float(captums), rel=1e-3) and 0 < share <= 1


def test_without_captum_the_methods_are_those_of_the_formulas(monkeypatch):
    assert methods.COMPUTED_BY.startswith("Captum 0.") and methods.conductances is by_captum.conductances
    monkeypatch.setitem(sys.modules, "captum", None)
    spec = importlib.util.spec_from_file_location("methods_without_captum", methods.__file__)
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)
    assert without.COMPUTED_BY == "Captum's formula" and without.conductances is by_formula.conductances
    assert list(without.METHODS) == list(methods.METHODS)
