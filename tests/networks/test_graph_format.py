"""Unit layers of all families, and traced networks as documents: the same network back, and no code in them."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from selviz.errors import SelvizError
from selviz.networks import graph_format, tracing
from selviz.networks.unit_edit import silence
from selviz.networks.unit_network import UnitNetwork
from selviz.testing.hostile.networks import HOSTILE, X, step
from selviz.testing.toy import ToyNetwork, toy_dataset

ROOT = Path(__file__).parents[2]

# A member of each torchvision family: side of its images, unit layers, units, unit axes, first and last layer.
FAMILIES = {
    "resnet18": (64, 17, 3904, {1}, "relu", "layer4.1.relu_1"),
    "vgg11": (64, 10, 10944, {1}, "features.1", "classifier.4"),
    "mobilenet_v3_small": (64, 33, 7104, {1}, "features.0.2", "classifier.1"),
    "efficientnet_b0": (64, 49, 19580, {1}, "features.0.2", "features.8.2"),
    "convnext_tiny": (64, 18, 26496, {3}, "features.1.0.block.4", "features.7.2.block.4"),
    "vit_b_16": (224, 12, 36864, {2}, "encoder.layers.encoder_layer_0.mlp.1", "encoder.layers.encoder_layer_11.mlp.1"),
    "densenet121": (64, 121, 41824, {1}, "features.relu0", "relu"),
    "swin_v2_t": (64, 12, 17664, {3}, "features.1.0.mlp.1", "features.7.1.mlp.1"),
    "inception_v3": (96, 94, 17216, {1}, "Conv2d_1a_3x3.relu", "Mixed_7c.branch_pool.relu"),
    "googlenet": (64, 57, 7280, {1}, "conv1.relu", "inception5b.branch4.1.relu"),
    "regnet_y_400mf": (64, 65, 13736, {1}, "stem.2", "trunk_output.block4.block4-5.activation"),
    "shufflenet_v2_x0_5": (64, 37, 2944, {1}, "conv1.2", "conv5.2"),
    "alexnet": (64, 7, 9344, {1}, "features.1", "classifier.5"),
    "squeezenet1_1": (64, 25, 2944, {1}, "features.1", "features.12.expand3x3_activation"),
    "maxvit_t": (224, 57, 44256, {1, 3}, "stem.0.2", "classifier.4"),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_unit_layers_of_each_family_are_found_with_their_names_and_axes(name):
    """On the meta device: shapes without numbers. Squeezenet's last ReLU is on its class maps, and is no layer."""
    side, layers, units, axes, first, last = FAMILIES[name]
    options = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
    with torch.device("cpu" if name == "regnet_y_400mf" else "meta"):  # regnet reads its widths from tensors
        model = torchvision.models.get_model(name, **options)
        traced = tracing.trace(model, torch.zeros(1, 3, side, side))
    found = traced.layers
    assert (len(found), sum(layer.units for layer in found)) == (layers, units)
    assert ({layer.axis for layer in found}, found[0].name, found[-1].name) == (axes, first, last)
    assert len({layer.name for layer in found}) == layers
    graph_format.graph_document(traced)


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_a_network_comes_back_from_its_document_the_same(name):
    torch.manual_seed(0)
    model = torchvision.models.get_model(name).eval()
    inputs = torch.randn(2, 3, 64, 64)
    traced = tracing.trace(model, inputs[:1])
    document = json.loads(json.dumps(graph_format.graph_document(traced)))
    again = graph_format.rebuilt(document, graph_format.tensors_of(traced), inputs[:1])
    assert again.layers == traced.layers
    network = UnitNetwork.from_traced(again)
    with torch.no_grad():
        torch.testing.assert_close(network.logits(inputs), model(inputs), rtol=0, atol=0)
        last = network.layers[-1].name
        resumed = network.resume(network.boundary(inputs, [last]), {last: silence(network.layers[-1], [])})
        torch.testing.assert_close(resumed, model(inputs))


def test_a_network_with_torchvision_s_own_steps_comes_back_where_torchvision_was_not_imported_yet(tmp_path):
    torch.manual_seed(0)
    model = torchvision.models.SwinTransformer([4, 4], 8, [1, 1], [2, 2], [4, 4], stochastic_depth_prob=0.5).eval()
    inputs = torch.randn(2, 3, 32, 32)
    traced = tracing.trace(model, inputs[:1])
    (tmp_path / "graph.json").write_text(json.dumps(graph_format.graph_document(traced)))
    torch.save({"tensors": graph_format.tensors_of(traced), "inputs": inputs}, tmp_path / "stored.pt")
    program = f"""
import json, pathlib, sys, torch
from selviz.networks import graph_format
from selviz.networks.unit_network import UnitNetwork
assert "torchvision" not in sys.modules
folder = pathlib.Path({str(tmp_path)!r})
stored = torch.load(folder / "stored.pt")
again = graph_format.rebuilt(json.loads((folder / "graph.json").read_text()), stored["tensors"], stored["inputs"][:1])
torch.save(UnitNetwork.from_traced(again).logits(stored["inputs"]), folder / "logits.pt")
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / "logits.pt").detach(), model(inputs))


def test_the_units_that_a_module_puts_last_are_found_where_they_end_up():
    class Moving(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.dense = nn.Conv2d(3, 5, 3), nn.LayerNorm(5), nn.Linear(5, 7)
            self.tokens, self.head = nn.Linear(7, 9), nn.Linear(9, 2)

        def forward(self, x):
            x = torch.relu(self.conv(x).permute(0, 2, 3, 1))  # 5 units, last
            x = torch.relu(self.dense(self.norm(x)).permute(0, 3, 1, 2))  # 7 units, second
            x = torch.relu(x.flatten(2))  # still second
            x = torch.relu(x.transpose(1, 2))  # 7 units, last
            return self.head(torch.relu(self.tokens(x)).mean(1))

    layers = tracing.trace(Moving(), torch.zeros(1, 3, 7, 9)).layers
    assert [(layer.axis, layer.units) for layer in layers] == [(3, 5), (1, 7), (1, 7), (2, 7), (2, 9)]


def test_an_activation_that_is_the_output_of_the_classifier_is_no_layer_and_one_before_it_is():
    class Ending(nn.Module):
        def __init__(self, last):
            super().__init__()
            self.conv, self.classes, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), last

        def forward(self, x):
            return self.last(torch.relu(self.classes(torch.relu(self.conv(x)))))

    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    example = torch.zeros(1, 3, 5, 5)
    assert [layer.name for layer in tracing.trace(Ending(pooled), example).layers] == ["relu"]
    computed = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4))
    assert [layer.name for layer in tracing.trace(Ending(computed), example).layers] == ["relu", "relu_1"]


def test_what_is_written_in_place_is_read_where_it_was_written():
    """Pre-activation blocks often add the shortcut after a ReLU has overwritten it."""

    class Overwriting(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.conv, self.head = nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

        def forward(self, x):
            x = x - 1
            y = self.conv(self.relu(x))
            y.add_(x)
            return self.head(y.mean((2, 3)))

    torch.manual_seed(0)
    model, inputs = Overwriting().eval(), torch.rand(4, 3, 5, 5) * 2
    with torch.no_grad():
        expected = model(inputs)
    for way in tracing.WAYS:
        network = UnitNetwork.from_traced(tracing.trace(model, inputs[:1], way))
        with torch.no_grad():
            torch.testing.assert_close(network.logits(inputs), expected)
            torch.testing.assert_close(model(inputs), expected)
        assert [layer.name for layer in network.layers] == ["relu"]


# ---------------------------------------------------------------------------------------------- documents of strangers


@pytest.fixture(scope="module")
def stored():
    example = toy_dataset().example
    traced = tracing.trace(ToyNetwork().eval(), example)
    return json.dumps(graph_format.graph_document(traced)), graph_format.tensors_of(traced), example


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_document_that_asks_for_more_than_computing_is_refused(stored, tmp_path, kind):
    text, tensors, example = stored
    document = json.loads(text)
    trace = tmp_path / "trace"
    document["nodes"].insert(1, json.loads(json.dumps(HOSTILE[kind]).replace("{trace}", str(trace))))
    with pytest.raises(SelvizError, match="The stored network is damaged"):
        graph_format.rebuilt(document, tensors, example)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([step("call_method", "repeat", [X, 10**6, 10**6, 1, 1])], "needs more than 8 GB|too large|overflow"),
        ([step("call_function", "operator.pow", [10**9, 10**9])], "extra counts with"),
        ([step("call_function", "operator.mul", [[1], 10**9])], "extra counts with"),
        ([step("call_method", "size", [X, 2], name="a"), step("call_function", "operator.pow", [{"node": "a"}, 10**9])],
         "extra counts with"),
        ([step("call_method", [1], [X])], "the step extra"),
        ([step("call_function", {"a": 1}, [X])], "the step extra"),
    ],
)  # fmt: skip
def test_a_document_that_would_take_all_memory_or_never_end_is_refused_before_it_begins(stored, steps, told):
    text, tensors, example = stored
    document = json.loads(text)
    document["nodes"][1:1] = steps
    with pytest.raises(SelvizError, match=told):
        graph_format.rebuilt(document, tensors, example)


def test_nothing_of_a_stranger_s_network_is_computed_while_it_is_rebuilt(stored):
    text, tensors, example = stored
    document = json.loads(text)
    document["nodes"][1:1] = [step("call_function", "torch.ones", [600_000_000], name="large")]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    traced = graph_format.rebuilt(document, tensors, example)
    assert traced.shapes["large"] == (600_000_000,)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KB; the step would take 2.4 GB


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["layers"][0].update(node={"a": 1}),
        lambda d: d["layers"].append(5),
        lambda d: d["modules"]["conv"].update({"class": {"a": 1}}),
        lambda d: d["nodes"][-1].update(args=[{"node": {"a": 1}}]),
        lambda d: d.update(format=2),
        lambda d: d.pop("nodes"),
        lambda d: d["modules"]["conv"].update({"class": "Module"}),
        lambda d: d["modules"]["conv"].update({"class": "DataParallel"}),
        lambda d: d["modules"]["conv"]["settings"].update(out_channels=9),
        lambda d: d["modules"].update({"conv.__class__": d["modules"]["conv"]}),
        lambda d: d["modules"].update({'conv"); open("x': d["modules"]["conv"]}),
        lambda d: d["layers"][0].update(node="nothing"),
        lambda d: d["layers"][0].update(axis=7),
        lambda d: d["nodes"].reverse(),
        lambda d: d.update(nodes=[d["nodes"][0]] * 3),
    ],
)
def test_a_damaged_document_is_told_in_one_sentence(stored, change):
    text, tensors, example = stored
    document = json.loads(text)
    change(document)
    with pytest.raises(SelvizError, match="The stored network is damaged|does not take inputs"):
        graph_format.rebuilt(document, tensors, example)


def test_no_function_or_method_that_a_document_may_call_reads_writes_or_calls_back():
    names = {name.rpartition(".")[2] for name in graph_format.functions()} | graph_format.methods()
    suspicious = ("load", "save", "file", "hook", "pickle", "import", "exec", "eval", "compile", "numpy", "storage")
    known = {"storage_offset", "is_storage"}
    assert [name for name in sorted(names - known) if any(word in name for word in suspicious)] == []
    assert not names & {"apply_", "map_", "map2_", "call", "attrgetter", "methodcaller", "backward"}
