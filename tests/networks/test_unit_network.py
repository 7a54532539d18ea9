"""Tracing, naming, observing and resuming, on the toy network and on real architectures."""

import copy
import threading

import pytest
import torch
import torchvision
from torch import nn

from selviz.errors import SelvizError
from selviz.networks import models
from selviz.networks.unit_edit import UnitEdit, silence
from selviz.networks.unit_network import UnitNetwork
from selviz.testing.toy import ToyNetwork, toy_dataset

FAMILIES = {
    "cnn": (lambda: models.build("cnn", 10, 1), (1, 28, 28), 4),
    "resnet20": (lambda: models.build("resnet20", 10, 3), (3, 32, 32), 19),
    "resnet18": (lambda: torchvision.models.resnet18(num_classes=10), (3, 64, 64), 17),
    "vgg16_bn": (lambda: torchvision.models.vgg16_bn(num_classes=10), (3, 32, 32), 15),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(num_classes=10), (3, 64, 64), 33),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """(name, plain model in eval mode, inputs, the UnitNetwork of a copy)."""
    make, shape, _ = FAMILIES[request.param]
    torch.manual_seed(0)
    model = make()
    # Fresh batch norms would be close to the identity: real ones shift and scale.
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    inputs = torch.randn(6, *shape)
    return request.param, model.eval(), inputs, UnitNetwork(copy.deepcopy(model), inputs[:1])


@pytest.fixture(scope="module")
def toy():
    return UnitNetwork(ToyNetwork().eval(), toy_dataset().example)


def test_logits_through_the_graph_equal_the_plain_model(family):
    name, model, inputs, network = family
    with torch.no_grad():
        torch.testing.assert_close(network.logits(inputs), model(inputs), rtol=0, atol=0)
        torch.testing.assert_close(network.observe(inputs)[0], model(inputs), rtol=0, atol=0)
    assert len(network.layers) == FAMILIES[name][2]


def test_folding_batch_norm_changes_logits_by_rounding_only(family):
    _, model, inputs, network = family
    with torch.no_grad():
        plain = model(inputs)
        assert (network.for_inference().logits(inputs) - plain).abs().max() <= 1e-4 * plain.std()


def test_the_copy_for_hooks_computes_the_same_and_shares_no_module(family):
    """Each layer's own module sees the layer's map with the unit axis second, once a pass."""
    _, _, inputs, network = family
    other, hooks = network.hookable()
    seen = {}
    for name, module in hooks.items():
        module.register_forward_hook(lambda module, args, output, name=name: seen.setdefault(name, []).append(output))
    with torch.no_grad():
        torch.testing.assert_close(other.logits(inputs), network.logits(inputs), rtol=0, atol=0)
        for layer in (network.layers[0], network.layers[-1]):
            (output,) = seen[layer.name]
            torch.testing.assert_close(output, network.maps(inputs, layer.name), rtol=0, atol=0)
    assert set(seen) == {layer.name for layer in network.layers}
    assert not {id(module) for module in other.root.modules()} & {id(module) for module in network.root.modules()}


def test_activations_are_what_a_hook_on_each_activation_sees(family):
    """Modules that are used once have the layer's name as their own; a hook on them is the plain way to look."""
    _, model, inputs, network = family
    seen = {}
    handles = [
        model.get_submodule(layer.name).register_forward_hook(
            lambda module, args, output, name=layer.name: seen.setdefault(name, []).append(output)
        )
        for layer in network.layers
        if layer.name in dict(model.named_modules())
    ]
    with torch.no_grad():
        model(inputs)
        activations = network.observe(inputs)[1]
    for handle in handles:
        handle.remove()
    checked = 0
    for layer, values in zip(network.layers, activations, strict=True):
        if layer.name in seen:
            torch.testing.assert_close(values, seen[layer.name][0].reshape(*values.shape, -1).mean(dim=2))
            checked += 1
    assert checked >= min(4, len(network.layers))


def test_resuming_without_an_edit_gives_the_same_logits_from_every_layer(family):
    _, _, inputs, network = family
    inference = network.for_inference()
    plain = inference.logits(inputs)
    for layer in inference.layers:
        nothing = silence(layer, [])
        resumed = inference.resume(inference.boundary(inputs, [layer.name]), {layer.name: nothing})
        torch.testing.assert_close(resumed, plain, rtol=1e-5, atol=1e-6)


def test_a_module_used_twice_is_two_layers():
    network = UnitNetwork(torchvision.models.resnet18(), torch.zeros(1, 3, 64, 64))
    names = [layer.name for layer in network.layers]
    assert names[-2:] == ["layer4.1.relu", "layer4.1.relu_1"] and len(set(names)) == len(names)


def test_a_part_may_have_a_name_that_a_traced_graph_needs_for_itself():
    class Coder(nn.Module):
        def __init__(self):
            super().__init__()
            self.code = nn.Sequential(nn.Linear(4, 5), nn.ReLU())
            self.graph = nn.Linear(5, 3)

        def forward(self, x):
            return self.graph(self.code(x.flatten(1)))

    model, inputs = Coder().eval(), torch.randn(2, 1, 2, 2)
    network = UnitNetwork(model, inputs[:1])
    assert [layer.units for layer in network.layers] == [5]
    assert torch.equal(network.observe(inputs)[0], model(inputs))
    assert list(model.state_dict()) == ["code.0.weight", "code.0.bias", "graph.weight", "graph.bias"]


def test_activations_inside_squeeze_excitation_are_tagged_and_gates_are_no_layers():
    network = UnitNetwork(torchvision.models.mobilenet_v3_small(), torch.zeros(1, 3, 64, 64))
    squeeze = [layer for layer in network.layers if layer.squeeze]
    assert len(squeeze) == 9 and all(not layer.signed for layer in squeeze)
    assert not any("scale_activation" in layer.name for layer in network.layers)
    assert {layer.signed for layer in network.layers} == {True, False}  # Hardswish and ReLU


def test_functions_methods_and_in_place_activations_become_layers_out_of_place():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.act = nn.Conv2d(1, 3, 1), nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True)
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            x = self.act(self.first(x))
            x = nn.functional.relu(self.second(x), inplace=True)
            x = self.second(x).relu_()
            x = torch.relu(x - 0.1)
            return self.head(x.mean(dim=(2, 3)))

    model = Mixed()
    inputs = torch.randn(4, 1, 5, 5)
    network = UnitNetwork(copy.deepcopy(model), inputs[:1])
    assert [layer.name for layer in network.layers] == ["act", "relu", "relu_1", "relu_2"]
    with torch.no_grad():
        torch.testing.assert_close(network.logits(inputs), model(inputs))
        assert (network.maps(inputs, "relu_1") == network.maps(inputs, "relu_1").clamp(min=0)).all()


def test_tokens_and_channels_last_have_their_unit_axis_found():
    vit = UnitNetwork(torchvision.models.vit_b_16(image_size=32), torch.zeros(1, 3, 32, 32))
    assert {(layer.axis, layer.units) for layer in vit.layers} == {(2, 3072)}
    convnext = UnitNetwork(torchvision.models.convnext_tiny(), torch.zeros(1, 3, 64, 64))
    assert {layer.axis for layer in convnext.layers} == {3}
    assert convnext.maps(torch.zeros(2, 3, 64, 64), convnext.layers[0].name).shape == (2, 384, 16, 16)


def test_dropout_written_as_a_function_obeys_train_and_eval():
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.head = nn.Linear(20, 20), nn.Linear(20, 3)

        def forward(self, x):
            x = nn.functional.dropout(torch.relu(self.fc(x.flatten(1))), 0.5, training=self.training)
            return self.head(x)

    inputs = torch.randn(4, 1, 4, 5)
    network = UnitNetwork(Dropping(), inputs[:1])
    network.observer.train()
    assert not torch.equal(network.observe(inputs)[0], network.observe(inputs)[0])
    network.observer.eval()
    assert torch.equal(network.observe(inputs)[0], network.observe(inputs)[0])


def test_batch_norm_trains_through_the_observer():
    model = models.build("cnn", 10, 1)
    network = UnitNetwork(model.train(), torch.randn(1, 1, 28, 28))
    before = model.bn1.running_mean.clone()
    logits, activations = network.observe(torch.randn(8, 1, 28, 28))
    (logits.sum() + sum(layer.sum() for layer in activations)).backward()
    assert not torch.equal(model.bn1.running_mean, before) and model.conv1.weight.grad.abs().sum() > 0


def test_toy_units_respond_as_worked_out_on_paper(toy):
    dataset = toy_dataset()
    with torch.no_grad():
        _, (units, dense) = toy.observe(dataset.inputs())
    expected = {0: [2, 0, 0, 4], 1: [1, 1, 0, 4], 2: [1, 0, 0, 4]}
    assert units.tolist() == [expected[label] for label in dataset.eval_labels.tolist()]
    torch.testing.assert_close(dense, torch.eye(3)[dataset.eval_labels])
    assert [(layer.name, layer.units, layer.depth) for layer in toy.layers] == [("relu", 4, 0.0), ("relu_1", 3, 1.0)]


def test_silencing_a_toy_unit_breaks_the_class_worked_out_on_paper(toy):
    dataset = toy_dataset()
    boundary = toy.boundary(dataset.inputs(), ["relu"])
    layer = toy.layer("relu")
    predictions = {
        unit: toy.resume(boundary, {"relu": silence(layer, [unit])}).argmax(dim=1).tolist() for unit in range(4)
    }
    labels = dataset.eval_labels.tolist()
    assert predictions[0] == [2 if label == 0 else label for label in labels]
    assert predictions[1] == [2 if label == 1 else label for label in labels]
    assert predictions[2] == labels and predictions[3] == labels


def test_two_layers_are_edited_in_one_pass_from_the_earlier_one(toy):
    dataset = toy_dataset()
    boundary = toy.boundary(dataset.inputs(), ["relu_1", "relu"])
    edits = {"relu_1": silence(toy.layer("relu_1"), [2]), "relu": silence(toy.layer("relu"), [1])}
    logits = toy.resume(boundary, edits)
    assert logits[dataset.eval_labels == 1].tolist() == [[0, 0, 0]] * 4  # unit 1 gone, and its stand-in c too


def test_an_edit_is_an_argument_so_threads_never_meet(toy):
    """Forty rounds a thread, each with another unit: any shared switch would mix them up."""
    inputs, layer = toy_dataset().inputs(), toy.layer("relu")
    boundary = toy.boundary(inputs, ["relu"])
    alone = [toy.resume(boundary, {"relu": silence(layer, [unit])}) for unit in range(4)]
    wrong = []

    def visit(unit):
        for _ in range(40):
            again = toy.resume(toy.boundary(inputs, ["relu"]), {"relu": silence(layer, [unit])})
            wrong.extend([unit] * (not torch.equal(again, alone[unit])))

    threads = [threading.Thread(target=visit, args=(unit,)) for unit in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_gain_and_offset_scale_and_replace_a_map(toy):
    inputs = toy_dataset().inputs()
    gain, offset = torch.ones(4), torch.zeros(4)
    gain[1], offset[3] = 3.0, 5.0
    doubled = toy.resume(toy.boundary(inputs, ["relu"]), {"relu": UnitEdit(torch.arange(4), gain, offset)})
    assert doubled[1].tolist() == [0, 3, 0]


@pytest.mark.parametrize(
    ("units", "sentence"),
    [([4], "has no unit 4; its units are 0 to 3"), ([-1], "has no unit -1"), ([1, 1], "named twice")],
)
def test_units_that_do_not_exist_or_stand_twice_are_refused(toy, units, sentence):
    with pytest.raises(SelvizError, match=sentence):
        silence(toy.layer("relu"), units)


def test_an_unknown_layer_names_the_near_ones(toy):
    with pytest.raises(SelvizError, match="relu_1"):
        toy.layer("relu_2")


def test_networks_that_cannot_be_used_say_why():
    class Branching(nn.Module):
        def forward(self, x):
            return torch.relu(x).flatten(1) if x.sum() > 0 else x.flatten(1)

    class Unitless(nn.Module):
        def forward(self, x):
            return x.flatten(1)

    with pytest.raises(SelvizError, match="cannot be traced"):
        UnitNetwork(Branching(), torch.zeros(1, 1, 2, 2))
    with pytest.raises(SelvizError, match="no activation function"):
        UnitNetwork(Unitless(), torch.zeros(1, 1, 2, 2))
    with pytest.raises(SelvizError, match="does not take inputs"):
        UnitNetwork(models.build("cnn", 10, 1), torch.zeros(1, 3, 28, 28))
