"""Attributions are what theory says of a network done on paper, complete where theory says so, and safe in threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from torch import nn

from selviz.attribution import METHODS, Response, Target, attribute, faithfulness, sanity, ssim
from selviz.errors import SelvizError
from selviz.networks.unit_network import UnitNetwork
from selviz.runs.load import load_network
from selviz.testing.toy import ToyNetwork, toy_dataset

GRADIENT = ("integrated_gradients", "gradient_x_input", "guided_backprop", "gradcam")


@pytest.fixture(scope="module")
def toy():
    return UnitNetwork(ToyNetwork().eval(), toy_dataset().example).for_inference()


@pytest.fixture(scope="module")
def images():
    """One image [1, 3, 2, 2] of each class: 2 in the class's channel and 1 in the others."""
    dataset = toy_dataset()
    return [dataset.inputs()[dataset.eval_labels == label][:1] for label in range(3)]


@pytest.fixture(scope="module")
def tiny(tiny_store, tiny_run):
    network, dataset = load_network(tiny_store, tiny_run)
    black = dataset.normalise(torch.zeros_like(dataset.eval_pixels[:1]))
    return network, dataset, black


class Signed(nn.Module):
    """A GELU, then a ReLU written as a function: units that guided backprop is not defined for."""

    def __init__(self):
        super().__init__()
        self.first, self.gelu, self.second = nn.Conv2d(3, 4, 1), nn.GELU(), nn.Conv2d(4, 5, 1)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        return self.head(torch.relu(self.second(self.gelu(self.first(x)))).mean(dim=(2, 3)))


# ------------------------------------------------------------------------------------------------------- on paper


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient_x_input", "feature_ablation", "occlusion"])
def test_a_linear_unit_has_its_weights_times_the_inputs(toy, images, method):
    """Unit 0 is the mean of channel a: each of its four pixels holds 2, so each gets 2 / 4; other channels get 0."""
    found = attribute(toy, Target("relu", 0), images[0], method, **({"window": 1} if method == "occlusion" else {}))
    expected = torch.zeros_like(images[0])
    expected[:, 0] = 0.5
    if method in ("feature_ablation", "occlusion"):  # a pixel's drop stands in each of its channels
        expected = torch.full_like(images[0], 0.5)
    torch.testing.assert_close(found.values, expected)
    torch.testing.assert_close(found.maps, expected.sum(dim=1))
    assert (found.delta is None) == (method != "integrated_gradients")


def test_grad_cam_and_conductance_of_a_unit_at_its_own_layer_are_its_map(toy, images):
    """Unit 0's map is 2 everywhere and its activation their mean, so each of four positions accounts for 2 / 4."""
    for method in ("gradcam", "conductance"):
        found = attribute(toy, Target("relu", 0), images[0], method)
        torch.testing.assert_close(found.values.sum(dim=1), torch.full((1, 2, 2), 0.5))
        torch.testing.assert_close(found.maps, torch.full((1, 2, 2), 0.5))
    assert found.values.shape == (1, 4, 2, 2) and found.values[:, 1:].abs().max() == 0
    assert found.delta.abs().max() < 1e-6


def test_guided_backprop_is_the_gradient_without_its_negative_parts(toy, images):
    """The logit of c is relu(2 - unit 0 - unit 1): on an image of c its gradient is negative all the way, so nothing.

    The plain gradient is -1/4 in channel a, which unit 0 passes on; unit 1 is silent there.
    """
    plain = attribute(toy, Target(label=2), images[2], "gradient_x_input").values
    expected = torch.zeros_like(plain)
    expected[:, 0] = -0.25
    torch.testing.assert_close(plain, expected)
    assert attribute(toy, Target(label=2), images[2], "guided_backprop").values.abs().max() == 0
    positive = attribute(toy, Target(label=1), images[1], "guided_backprop").values
    torch.testing.assert_close(positive[:, 1], torch.full((1, 2, 2), 0.25))


def test_guided_backprop_sees_relus_that_are_functions():
    """In a network that calls torch.relu, hooks on modules alone would leave the plain gradient."""

    class Functional(ToyNetwork):
        def forward(self, x):
            x = torch.relu(self.conv(x)).mean(dim=(2, 3))
            return self.head(nn.functional.relu(self.dense(x)))

    network = UnitNetwork(Functional().eval(), toy_dataset().example).for_inference()
    image = toy_dataset().inputs()[toy_dataset().eval_labels == 2][:1]
    assert attribute(network, Target(label=2), image, "gradient_x_input").values.abs().max() > 0
    assert attribute(network, Target(label=2), image, "guided_backprop").values.abs().max() == 0


def test_a_class_by_way_of_a_unit_is_what_the_units_map_does_to_the_logit(toy, images):
    """On an image of b unit 1 is 1 and the logit of b is relu(unit 1); without unit 1, that of c is relu(2 - 1) = 1."""
    for label, change in ((1, 1.0), (2, -1.0), (0, 0.0)):
        target = Target("relu", 1, label)
        found = attribute(toy, target, images[1])
        assert float(found.values.sum()) == pytest.approx(change, abs=0.02)
        assert found.values[:, [0, 2]].abs().max() == 0  # only channel b reaches the unit
        response = Response(toy, target, images[1])
        with torch.no_grad():
            assert response(images[1]).item() == pytest.approx(toy.logits(images[1])[0, label].item())
            assert response(torch.zeros(1, 3, 2, 2)).item() == pytest.approx(
                toy.logits(images[1])[0, label].item() - change
            )
    assert attribute(toy, Target("relu", 3, 1), images[1]).values.abs().max() == 0  # nothing depends on unit 3


def test_the_gradient_by_way_of_every_unit_adds_up_to_the_logits_gradient(tiny):
    network, dataset, _ = tiny
    image = dataset.inputs()[:1]
    whole = attribute(network, Target(label=4), image, "gradient_x_input").values
    parts = [attribute(network, Target("relu2", unit, 4), image, "gradient_x_input").values for unit in range(32)]
    torch.testing.assert_close(torch.stack(parts).sum(dim=0), whole, rtol=1e-4, atol=1e-6)


def test_feature_ablation_and_occlusion_by_hand(toy, images):
    """Without a pixel of channel a, unit 0 falls by 2 / 4; a window of two columns takes two pixels, 1 in all."""
    squares = attribute(toy, Target("relu", 0), images[0], "feature_ablation", patch=2)
    torch.testing.assert_close(squares.values, torch.full((1, 3, 2, 2), 2.0))
    torch.testing.assert_close(
        attribute(toy, Target("relu", 0), images[0], "occlusion", window=2).values, squares.values
    )
    one = attribute(toy, Target("relu", 0), images[0], "feature_ablation", baseline=1.0, patch=1)
    torch.testing.assert_close(one.values, torch.full((1, 3, 2, 2), 0.25))


# ---------------------------------------------------------------------------------------------------- completeness


def test_integrated_gradients_sum_to_the_change_of_a_unit_with_a_kink(toy, images):
    """Unit 1 is channel b - 1 above 0: nothing until halfway, then 2 per pixel, in all 1, shared by four pixels."""
    for target in (Target("relu", 1), Target("relu_1", 1), Target(label=1)):
        found = attribute(toy, target, images[1])
        assert float(found.values.sum()) == pytest.approx(1, abs=0.02)
        assert found.values[:, [0, 2]].abs().sum() == 0
        assert float(found.delta) == pytest.approx(float(found.values.sum()) - 1, abs=1e-6)


def test_integrated_gradients_are_complete_at_their_defaults(tiny, tiny_store, tiny_run):
    """Within 2 % of the larger of the unit's change and its standard deviation: 160 units, each on its own images."""
    network, dataset, black = tiny
    inputs, generator, missed = dataset.inputs(), torch.Generator().manual_seed(3), []
    for layer in network.layers:
        std = tiny_store.units(tiny_run, layer.name)["std"].to_numpy()
        for unit in torch.randperm(layer.units, generator=generator)[:16].tolist():
            chosen = inputs[torch.randperm(len(inputs), generator=generator)[:3]]
            found = attribute(network, Target(layer.name, unit), chosen, baseline=black)
            response = Response(network, Target(layer.name, unit), black)
            with torch.no_grad():
                change = (response(chosen) - response(black)).numpy()
            error = np.abs(found.values.sum(dim=(1, 2, 3)).numpy() - change)
            np.testing.assert_allclose(found.delta.abs(), error, atol=1e-4)
            missed += (error / np.maximum(np.abs(change), std[unit]).clip(1e-9)).tolist()
    assert len(missed) == 4 * 16 * 3
    assert max(missed) <= 0.02


def test_a_coarse_path_misses_more_and_says_so(tiny):
    network, dataset, black = tiny
    chosen = dataset.inputs()[:8]
    coarse = attribute(network, Target(label=3), chosen, baseline=black, steps=2, most=2)
    fine = attribute(network, Target(label=3), chosen, baseline=black)
    assert coarse.delta.abs().mean() > 5 * fine.delta.abs().mean()
    assert coarse.parameters == {"steps": 2, "tolerance": 0.01, "most": 2, "scale": 0.0}


def test_conductance_sums_to_the_change_where_all_paths_lead_through_the_layer(tiny):
    network, dataset, black = tiny
    chosen = dataset.inputs()[:6]
    with torch.no_grad():
        change = network.logits(chosen)[:, 3] - network.logits(black)[:, 3]
    for layer in network.layers:
        found = attribute(network, Target(label=3), chosen, "conductance", black, at=layer.name)
        torch.testing.assert_close(found.values.sum(dim=(1, 2, 3)) - change, found.delta, atol=1e-4, rtol=1e-4)
        assert found.delta.abs().mean() < 0.03 * change.abs().mean()
        assert found.maps.shape == (6, 8, 8)


def test_conductance_beside_a_shortcut_has_no_delta():
    from selviz.networks import models

    network = UnitNetwork(models.seeded("resnet20", 10, 3, seed=0).eval(), torch.zeros(1, 3, 8, 8)).for_inference()
    assert network.feeds("layer1.0.relu1") == (True, False)
    assert network.feeds("layer1.0.relu2") == (True, True)
    assert network.feeds("layer1.0.relu2", "layer1.0.relu1") == (False, False)
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert attribute(network, Target(label=0), image, "conductance", at="layer1.0.relu1", steps=4).delta is None
    assert attribute(network, Target(label=0), image, "conductance", at="layer1.0.relu2", steps=4).delta is not None


# ------------------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize("method", ["guided_backprop", "gradcam", "conductance"])
def test_hooked_methods_leave_the_shared_network_as_it_was(tiny, method):
    network, dataset, _ = tiny
    before = network.logits(dataset.inputs()[:4])
    attribute(network, Target("relu3", 1), dataset.inputs()[:1], method)
    hooks = [module for module in network.root.modules() if module._forward_hooks or module._backward_hooks]
    assert hooks == [] and torch.equal(network.logits(dataset.inputs()[:4]), before)


def test_the_copy_for_hooks_computes_the_same(tiny):
    network, dataset, _ = tiny
    other, hooks = network.hookable()
    inputs = dataset.inputs()[:3]
    assert set(hooks) == {layer.name for layer in network.layers}
    torch.testing.assert_close(other.logits(inputs), network.logits(inputs))
    torch.testing.assert_close(other.maps(inputs, "relu2"), network.maps(inputs, "relu2"))
    assert not {id(module) for module in other.root.modules()} & {id(module) for module in network.root.modules()}


@pytest.mark.parametrize("method", METHODS)
def test_two_threads_at_once_get_what_each_gets_alone(tiny, method):
    network, dataset, black = tiny
    targets = [Target("relu3", 1), Target(label=5), Target("relu2", 3, 5), Target("relu4", 9)]
    work = [(target, dataset.inputs()[n : n + 1]) for target in targets for n in range(2)]
    options = {"smooth": 2} if method == "gradient_x_input" else {}

    def one(piece):
        return attribute(network, *piece, method, black, **options).values

    alone = [one(piece) for piece in work]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(one, work * 2))
    for piece, expected in zip(together, alone * 2):
        assert torch.equal(piece, expected)


def test_guided_backprop_is_refused_where_an_activation_is_no_relu():
    network = UnitNetwork(Signed().eval(), torch.zeros(1, 3, 2, 2)).for_inference()
    with pytest.raises(SelvizError, match=r"ReLUs only, and gelu is another"):
        attribute(network, Target("relu", 0), torch.ones(1, 3, 2, 2), "guided_backprop")
    for method in set(METHODS) - {"guided_backprop"}:
        assert attribute(network, Target("relu", 0), torch.ones(1, 3, 2, 2), method).maps.shape == (1, 2, 2)


def test_layers_with_channels_last_make_maps_in_the_right_place():
    """Two tokens' mixing aside, unit u of a layer that keeps channels last is u; Grad-CAM must not take rows for it."""

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(torch.relu(self.mix(x.permute(0, 2, 3, 1))).mean(dim=(1, 2)))

    torch.manual_seed(0)
    network = UnitNetwork(Last().eval(), torch.zeros(1, 3, 6, 5)).for_inference()
    image = torch.rand(1, 3, 6, 5)
    found = attribute(network, Target("relu", 2), image, "gradcam")
    torch.testing.assert_close(found.maps[0], network.maps(image, "relu")[0, 2] / 30)
    assert attribute(network, Target(label=1), image, "conductance").values.shape == (1, 4, 6, 5)


@pytest.mark.parametrize(
    ("target", "method", "settings", "sentence"),
    [
        (("relu", 9), "gradcam", {}, "no unit 9"),
        (("rely", 0), "gradcam", {}, "Unknown layer 'rely'; did you mean 'relu'"),
        ((None, None, 3), "gradcam", {}, "no class 3; its classes are 0 to 2"),
        (("relu", 0), "grad_cam", {}, "Unknown attribution method 'grad_cam'; did you mean 'gradcam'"),
        (("relu", 0), "gradcam", {"step": 3}, "Unknown gradcam parameter 'step'"),
        (("relu", 0), "gradcam", {"at": "relu_1"}, "relu_1 does not lead to this target"),
        (("relu_1", 0), "gradcam", {"at": "relu_1"}, "relu_1 has no positions; layers that can be looked at are relu"),
        (("relu", 0), "integrated_gradients", {"steps": 0}, "steps is 0"),
        (("relu", 0), "occlusion", {"window": -1}, "window is -1"),
        (("relu", 0), "occlusion", {"smooth": 3}, "no gradient to smooth"),
    ],
)
def test_what_cannot_be_attributed_is_one_sentence(toy, images, target, method, settings, sentence):
    with pytest.raises(SelvizError, match=sentence):
        attribute(toy, Target(*target), images[0], method, **settings)


@pytest.mark.parametrize("parts", [(), ("relu",), (None, 3), ("relu", None, 1), (None, 1, 1)])
def test_half_a_target_is_refused(parts):
    with pytest.raises(SelvizError, match="a layer and a unit, a class, or all three"):
        Target(*parts)


# ------------------------------------------------------------------------------------------------------- smoothing


def test_smoothing_is_the_mean_over_noisy_copies_from_its_own_seed(tiny):
    network, dataset, _ = tiny
    image = dataset.inputs()[:1]
    found = attribute(network, Target(label=3), image, "gradient_x_input", smooth=3, noise=0.1, seed=7)
    generator, spread = torch.Generator().manual_seed(7), 0.1 * (image.max() - image.min())
    copies = torch.cat([image + spread * torch.randn(image.shape, generator=generator) for _ in range(3)])
    each = attribute(network, Target(label=3), copies, "gradient_x_input").values
    torch.testing.assert_close(found.values, each.mean(dim=0, keepdim=True))
    assert found.parameters == {"smooth": 3, "noise": 0.1, "seed": 7} and found.delta is None
    torch.manual_seed(1)
    again = attribute(network, Target(label=3), image, "gradient_x_input", smooth=3, noise=0.1, seed=7)
    assert torch.equal(again.values, found.values)


def test_smoothing_agrees_with_captums_noise_tunnel_over_many_copies(toy, images):
    """The gradient of a unit with a kink in reach of the noise: both are the share of copies above the kink."""
    response = Response(toy, Target("relu", 1), images[0])
    image = images[0].clone()
    torch.manual_seed(0)
    tunnel = NoiseTunnel(Saliency(response)).attribute(image, nt_samples=600, stdevs=0.3, abs=False)
    ours = attribute(toy, Target("relu", 1), image, "guided_backprop", smooth=600, noise=0.3).values
    torch.testing.assert_close(ours, tunnel, atol=0.03, rtol=0)  # 4 standard errors of a share of 1/2, over 4


@pytest.mark.parametrize("method", GRADIENT)
def test_methods_that_use_gradients_can_be_smoothed(tiny, method):
    network, dataset, black = tiny
    found = attribute(network, Target("relu3", 1), dataset.inputs()[:2], method, black, smooth=2)
    assert found.maps.shape == (2, 8, 8) and found.parameters["smooth"] == 2


# ------------------------------------------------------------------------------------------------------ faithfulness


def test_faithfulness_of_a_linear_unit_by_hand(toy):
    """Unit 0 is the mean of channel a over pixels 4, 0, 0, 0 and so on: the right map takes the large ones first."""
    image = torch.zeros(1, 3, 2, 2)
    image[0, 0] = torch.tensor([[4.0, 0.0], [2.0, 0.0]])  # the unit is 6 / 4
    map_ = attribute(toy, Target("relu", 0), image).maps[0]
    found = faithfulness(toy, Target("relu", 0), image, map_, steps=4, orders=20)
    assert (found["value"], found["baseline_value"]) == (1.5, 0.0)
    assert found["share"] == [0, 0.25, 0.5, 0.75, 1]
    assert found["deletion"]["curve"] == pytest.approx([1.5, 0.5, 0, 0, 0])
    assert found["insertion"]["curve"] == pytest.approx([0, 1, 1.5, 1.5, 1.5])
    assert found["deletion"]["area"] == pytest.approx((0.75 + 0.5) / 4)
    assert found["insertion"]["area"] == pytest.approx((1 + 1.5 + 1.5 + 0.75) / 4)
    assert found["deletion"]["area"] <= min(found["deletion"]["random_areas"])
    assert found["insertion"]["quantile"] >= 0.75 and len(found["insertion"]["random_areas"]) == 20
    assert found["infidelity"] == pytest.approx(0, abs=1e-6) and found["infidelity_share"] == pytest.approx(0, abs=1e-6)


def test_a_map_of_the_wrong_pixels_is_told_from_a_right_one(toy):
    image = torch.zeros(1, 3, 2, 2)
    image[0, 0] = torch.tensor([[4.0, 0.0], [2.0, 0.0]])
    wrong = faithfulness(toy, Target("relu", 0), image, torch.tensor([[0.0, 1.0], [0.0, 1.0]]), steps=4)
    assert wrong["deletion"]["area"] >= max(wrong["deletion"]["random_areas"])
    assert wrong["insertion"]["area"] <= min(wrong["insertion"]["random_areas"])
    assert wrong["infidelity_share"] == pytest.approx(1)
    empty = faithfulness(toy, Target("relu", 0), image, torch.zeros(2, 2))
    assert empty["infidelity_share"] == 1
    dead = faithfulness(toy, Target("relu", 2), image, torch.ones(2, 2))
    assert np.isnan(dead["infidelity_share"]) and dead["deletion"]["area"] == 0


def test_infidelity_is_captums_on_the_same_squares(tiny):
    """By hand: the best multiple of the map's sums over the squares, and what it leaves of the drops."""
    network, dataset, black = tiny
    image = dataset.inputs()[3:4]
    target = Target("relu3", 2)
    map_ = attribute(network, target, image, baseline=black).maps[0]
    found = faithfulness(network, target, image, map_, black, samples=40, seed=5)
    generator, response = torch.Generator().manual_seed(5), Response(network, target, image)
    top = torch.randint(7, (40, 1, 1), generator=generator).flatten()
    left = torch.randint(7, (40, 1, 1), generator=generator).flatten()
    sums, drops = [], []
    with torch.no_grad():
        for row, column in zip(top.tolist(), left.tolist()):
            gone = image.clone()
            gone[..., row : row + 2, column : column + 2] = black[..., row : row + 2, column : column + 2]
            sums.append(float(map_[row : row + 2, column : column + 2].sum()))
            drops.append(float(response(image) - response(gone)))
    sums, drops = np.array(sums), np.array(drops)
    left_over = np.mean((sums * (sums @ drops) / (sums @ sums) - drops) ** 2)
    assert found["infidelity"] == pytest.approx(left_over, rel=1e-3)
    assert found["infidelity_share"] == pytest.approx(left_over / np.mean(drops**2), rel=1e-3)
    assert found["infidelity_share"] < 0.9


def test_faithfulness_refuses_a_map_of_another_size(toy, images):
    with pytest.raises(SelvizError, match="4, 4"):
        faithfulness(toy, Target("relu", 0), images[0], torch.zeros(4, 4))


# ------------------------------------------------------------------------------------------------------ sanity checks


def test_ssim_is_one_for_equal_images_and_what_the_formula_gives_for_flat_ones():
    random = np.random.default_rng(0).random((20, 20))
    assert ssim(random, random, data_range=1) == pytest.approx(1)
    assert ssim(random, random[::-1], data_range=1) < 0.5
    flat = ssim(np.full((8, 8), 0.5), np.full((8, 8), 0.75), data_range=1)
    assert flat == pytest.approx((2 * 0.5 * 0.75 + 1e-4) / (0.5**2 + 0.75**2 + 1e-4))
    assert ssim(random, 1 - random, data_range=1) < 0


def test_ssim_is_the_mean_of_the_formula_over_gaussian_windows():
    random = np.random.default_rng(1)
    first, second = random.random((9, 14)), random.random((9, 14))
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    padded = [np.pad(image, 5, mode="symmetric") for image in (first, second)]
    values = []
    for row, column in np.ndindex(first.shape):
        a, b = (image[row : row + 11, column : column + 11] for image in padded)
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        over = (2 * mean_a * mean_b + 1e-4) * (2 * ((weights * a * b).sum() - mean_a * mean_b) + 9e-4)
        spread = (weights * a**2).sum() - mean_a**2 + (weights * b**2).sum() - mean_b**2
        values.append(over / ((mean_a**2 + mean_b**2 + 1e-4) * (spread + 9e-4)))
    assert ssim(first, second, data_range=1) == pytest.approx(np.mean(values), rel=1e-9)


def test_maps_change_as_weights_become_random_from_the_top_down(tiny):
    network, dataset, black = tiny
    before = network.logits(dataset.inputs()[:4])
    targets = [Target(label=int(label)) for label in dataset.eval_labels[:6]]
    table = sanity(network, targets, dataset.inputs()[:6], "gradient_x_input", black)
    assert table.groupby("step")["module"].first().tolist() == ["", "head", "conv4", "conv3", "conv2", "conv1"]
    assert table.groupby("step").size().tolist() == [6] * 6
    start = table[table["step"] == 0]
    assert start[["rank_correlation", "rank_correlation_abs", "ssim"]].to_numpy() == pytest.approx(1)
    last = table[table["step"] == 5]
    assert last["rank_correlation"].abs().mean() < 0.6 and last["ssim"].mean() < 0.7
    assert torch.equal(network.logits(dataset.inputs()[:4]), before)  # the run's own network is untouched


def test_the_sanity_check_of_a_unit_leaves_what_comes_after_it_alone(tiny):
    network, dataset, black = tiny
    targets = [Target("relu2", unit) for unit in (1, 4, 7)]
    table = sanity(network, targets, dataset.inputs()[:3], "gradcam", black, seed=1)
    assert table.groupby("step")["module"].first().tolist() == ["", "conv2", "conv1"]
    again = sanity(network, targets, dataset.inputs()[:3], "gradcam", black, seed=1)
    assert table.equals(again)


def test_a_random_network_has_no_memory_of_the_maps(toy, images):
    """The values of a tensor are put in another order: none is lost, and the network's copy alone changes."""
    network = toy.for_inference()
    weights = dict(network.weights_before())
    assert list(weights) == ["head", "dense", "conv"]
    assert list(dict(network.weights_before("relu"))) == ["conv"]
    with pytest.raises(SelvizError, match="one target for each image"):
        sanity(toy, [Target(label=0)], torch.cat(images))
