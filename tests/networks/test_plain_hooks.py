"""What is stored, held against hooks of PyTorch alone (`selviz.testing.plain_hooks`), and that a difference is seen."""

import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selviz.cli import main
from selviz.errors import SelvizError
from selviz.networks.unit_edit import silence
from selviz.networks.user_model_files import factory
from selviz.testing.imports import brought
from selviz.testing.plain_hooks import check_run, check_stored, logits_of, made
from tests.helpers.brought import image_folder
from tests.helpers.written import CONV, IMAGES, READ, from_forward, layers_of

PATCHES = lambda: nn.Conv2d(3, 8, 4, stride=4)  # noqa: E731


def held(model, read):
    """Return each layer of a network that was brought, held against the plain one."""
    with torch.no_grad():
        labels = torch.cat([logits_of(model(image.clone())).argmax(1) for image in IMAGES.split(1)])
        activations = dict(zip([layer.name for layer in read.network.layers], read.network.observe(IMAGES)[1]))

    def without(name, unit):
        (layer,) = [layer for layer in read.network.layers if layer.name == name]
        logits = read.network.resume(read.network.boundary(IMAGES, [name]), {name: silence(layer, [unit], 0.0)})
        return len(IMAGES), float((logits.argmax(1) == labels).double().mean())

    return check_run(model, IMAGES, labels, activations, without)


def windows(self, x):
    x = self.patches(x)
    n, c, h, w = x.shape
    x = x.permute(0, 2, 3, 1).reshape(n, 2, h // 2, 2, w // 2, c).permute(0, 1, 3, 2, 4, 5).reshape(n * 4, -1, c)
    return self.fc(F.silu(self.mlp(x)).reshape(n, 4, -1, 8).mean((1, 2)))


def views_first(self, x):
    n = x.size(0)
    x = F.relu(self.conv(torch.stack([x, x.flip(3), x.flip(2)]).flatten(0, 1)))
    return self.fc(x.view(3, n, *x.shape[1:]).mean(0).mean((2, 3)))


def used_again(self, x):
    x = self.relu(self.conv(x))
    for act in (self.relu_1, F.relu, self.relu, torch.relu):
        x = act(self.same(x))
    return self.fc(x.mean((2, 3)))


def several_writes(self, x):
    x = self.conv(x)
    first, second = x.chunk(2, 1)
    first.relu_()
    return self.fc(torch.cat([first, second.data], 1).mean((2, 3)))


NETWORKS = {
    "windows folded into the batch": (windows, {"patches": PATCHES, "mlp": lambda: nn.Linear(8, 8)}, [8], (2,)),
    "views of an image before the images": (views_first, {"conv": CONV}, [8], (1,)),
    "images on the last axis": (
        lambda self, x: self.fc(F.relu(self.conv(x).permute(1, 2, 3, 0)).mean((1, 2)).t()), {"conv": CONV}, [8], (0,),
    ),
    "as many tokens as channels": (
        lambda self, x: self.fc(F.gelu(self.mix(self.conv(x).flatten(2))).mean(2)),
        {"conv": lambda: nn.Conv2d(3, 8, 4, stride=4), "mix": lambda: nn.Conv1d(8, 8, 1)}, [8], (1,),
    ),
    "weights on the left, square": (
        lambda self, x: self.fc(F.relu(self.weight @ self.conv(x).flatten(2)).mean(2)),
        {"conv": PATCHES, "weight": lambda: torch.randn(8, 8)}, [8], (1,),
    ),
    "volumes": (
        lambda self, x: self.fc(F.relu(self.volume(x.unsqueeze(1))).mean((2, 3, 4))),
        {"volume": lambda: nn.Conv3d(1, 8, 3)}, [8], (1,),
    ),
    "five calls of three activations": (
        used_again,
        {"conv": CONV, "same": lambda: nn.Conv2d(8, 8, 3, padding=1), "relu": nn.ReLU, "relu_1": nn.ReLU},
        [8] * 5, (1,),
    ),
    "written into a part that was split off": (several_writes, {"conv": CONV}, [4], (1,)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_values_of_the_plain_network_and_silencing_has_its_effect(name):
    forward, parts, units, axes = NETWORKS[name]
    model = from_forward(forward, fc=READ, **parts)
    read = brought(model, IMAGES)
    assert [layer.units for layer in read.network.layers] == units
    checked = held(model, read)
    assert [(entry.layer, entry.fault) for entry in checked] == [(layer.name, "") for layer in read.network.layers]
    assert {entry.axes for entry in checked} == {axes}


def test_the_check_sees_wrong_axes_wrong_numbers_and_a_wrong_effect():
    model = from_forward(lambda self, x: self.fc(F.relu(self.conv(x)).mean((2, 3))), conv=CONV, fc=READ)
    labels = model(IMAGES).argmax(1)
    right = F.relu(model.conv(IMAGES)).detach()
    wrong = {
        "units": right.mean((2, 3)).roll(1, 1),
        "images": right.mean((2, 3)).flip(0),
        "number": right.mean((2, 3)) * 1.01,
        "one too few": right[:, 1:].mean((2, 3)),
    }
    for values in wrong.values():
        (entry,) = check_run(model, IMAGES, labels, {"relu": values}, lambda *_: (8, 1.0))
        assert entry.fault == "no value of the plain network is this"
    (rows,) = check_run(model, IMAGES, labels, {"relu": right.mean((1, 3))}, lambda *_: (8, 1.0))
    assert rows.axes == (2,)
    (entry,) = check_run(model, IMAGES, labels, {"relu": right.mean((2, 3))}, lambda *_: (8, 0.01))
    assert "in the plain network, not 0.0100" in entry.fault


# --------------------------------------------------------------------------------------- activations, written in full


def with_function(function, width=8):
    return from_forward(
        lambda self, x: self.fc(function(self.conv(x)).mean((2, 3))), conv=CONV, fc=lambda: nn.Linear(width, 10)
    )


ONE_AFTER_ANOTHER = {
    "sigmoid": (lambda x: 1 / (1 + torch.exp(-x)), False),
    "softplus": (lambda x: torch.log(1 + torch.exp(x)), False),
    "gaussian": (lambda x: torch.exp(-x.pow(2)), False),
    "tanh": (lambda x: 2 / (1 + (-2 * x).exp()) - 1, False),
    "relu by a maximum": (lambda x: torch.maximum(x, torch.zeros_like(x)), False),
}


@pytest.mark.parametrize("name", ONE_AFTER_ANOTHER)
def test_steps_one_after_another_are_one_activation_with_its_sign(name):
    function, signed = ONE_AFTER_ANOTHER[name]
    model = with_function(function)
    read = brought(model, IMAGES)
    assert [(layer.units, layer.signed) for layer in read.network.layers] == [(8, signed)]
    assert not any(entry.fault for entry in held(model, read))


def halves(x):
    return x[:, :4], x[:, 4:]


PRODUCTS = {
    "sigmoid": lambda a, b: a * torch.sigmoid(b),
    "hard sigmoid": lambda a, b: a * F.hardsigmoid(b),
    "relu6 as a hard sigmoid": lambda a, b: a * F.relu6(b + 3) / 6,
    "sigmoid written out": lambda a, b: a * (1 / (1 + torch.exp(-b))),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_of_a_gated_linear_unit_the_product_is_the_unit(name):
    read = brought(with_function(lambda x: PRODUCTS[name](*halves(x)), 4), IMAGES)
    assert [(layer.units, layer.activation) for layer in read.network.layers] == [(4, "gated")]
    assert [entry.reason for entry in read.left_out] == ["a gate: the product is the unit layer"]


@pytest.mark.parametrize("act", [F.silu, F.gelu, F.relu])
def test_of_swiglu_geglu_and_reglu_the_activation_is_the_unit_and_the_product_can_be_named(act):
    model = with_function(lambda x: act(halves(x)[0]) * halves(x)[1], 4)
    read = brought(model, IMAGES)
    assert [layer.name for layer in read.network.layers] == [act.__name__]
    (entry,) = read.left_out
    assert entry.reason.startswith("the product of an activation function, whose units are a layer, and another value")
    name = entry.reason.rpartition("--layers ")[2]
    product = brought(model, IMAGES, specs=[name])
    a, b = halves(model.conv(IMAGES))
    torch.testing.assert_close(product.network.observe(IMAGES)[1][0], (act(a) * b).mean((2, 3)), rtol=1e-4, atol=1e-5)


LEFT_OUT = {
    "round": lambda x: x.round(),
    "a step": lambda x: (x > 0).float(),
    "its own square": lambda x: x * x,
    "two halves": lambda x: halves(x)[0] * halves(x)[1],
    "logaddexp": lambda x: torch.logaddexp(x, -x),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_steps_that_nobody_knows_are_listed_with_the_name_that_chooses_them(name):
    model = with_function(LEFT_OUT[name], 4 if "halves" in name else 8)
    with pytest.raises(SelvizError, match="not known as an activation function; --layers") as error:
        brought(model, IMAGES)
    step = str(error.value).partition("--layers ")[2].partition(")")[0]
    read = brought(model, IMAGES, specs=[step])
    expected = LEFT_OUT[name](model.conv(IMAGES)).mean((2, 3))
    torch.testing.assert_close(read.network.observe(IMAGES)[1][0], expected, rtol=1e-3, atol=1e-4)


def test_units_on_no_axis_are_left_out_and_not_guessed():
    def one_by_one(self, x):
        x = self.conv(x)
        maps = [F.relu(x[:, channel] + 0.1) for channel in range(8)]  # each is one channel: rows are no units
        return self.fc(self.act(torch.stack([part.mean((1, 2)) for part in maps], 1)))

    read = brought(from_forward(one_by_one, conv=CONV, fc=READ, act=nn.GELU), IMAGES)
    assert [layer.name for layer in read.network.layers] == ["act"]
    assert len(read.left_out) == 8 and all("could not be told" in entry.reason for entry in read.left_out)


# ------------------------------------------------------------------------------- what cannot be proven, and what a
# network keeps


@torch.jit.script
def scripted_swish(x):
    return x * torch.sigmoid(x)


def test_a_layer_whose_values_cannot_be_watched_is_left_out_unless_it_is_named():
    model = from_forward(
        lambda self, x: self.fc(F.relu(self.same(scripted_swish(self.conv(x)))).mean((2, 3))),
        conv=CONV, same=lambda: nn.Conv2d(8, 8, 3), fc=READ,
    )  # fmt: skip
    read = brought(model, IMAGES)
    assert layers_of(read) == [("relu", 8, "ReLU")] and read.network.layers[0].depth == 0
    (entry,) = read.left_out
    assert entry.name == "mul" and "cannot be proven" in entry.reason
    with pytest.raises(SelvizError, match="The layer mul of the traced network has values that do not come up"):
        brought(model, IMAGES, specs=["mul"])


def test_a_scripted_or_compiled_function_of_the_users_file_is_followed(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "@torch.jit.script\ndef swish(x):\n    return x * torch.sigmoid(x)\n"
        "@torch.compile\ndef mish(x):\n    return x * torch.tanh(nn.functional.softplus(x))\n"
        "@torch.compile(dynamic=True)\ndef other(x):\n    return x * (x > 0)\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.conv, self.same, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 10)\n"
        "    def forward(self, x):\n"
        "        return self.fc(other(self.same(mish(self.same(swish(self.conv(x)))))).mean((2, 3)))\n"
    )
    model = factory(f"{tmp_path}/net.py:Net")(10, 3).eval()
    read = brought(model, IMAGES)
    assert [(layer.units, layer.activation) for layer in read.network.layers] == [(8, "written out")] * 3
    assert not any(entry.fault for entry in held(model, read))
    assert torch.jit.script.__module__.startswith("torch") and torch.compile.__module__ == "torch"


def keeping(self, x):
    x = F.relu(self.conv(x)).mean((2, 3))
    if self.kept is None:
        self.kept = self.first(x)
    return self.fc(x - self.kept)


def test_a_network_that_keeps_a_value_of_its_first_images_is_refused_and_one_that_keeps_a_table_is_not():
    def network(first):
        model = from_forward(keeping, conv=CONV, fc=READ)
        model.kept, model.first = None, first
        return model

    with pytest.raises(SelvizError, match="keeps kept of the first images that it sees"):
        brought(network(lambda x: x.mean(0)), IMAGES)
    table = network(lambda x: torch.linspace(0, 1, x.shape[1]))
    assert not any(entry.fault for entry in held(table, brought(table, IMAGES)))


def test_a_small_share_of_the_other_images_is_seen_and_rounding_is_not():
    def shifted(share):
        return from_forward(
            lambda self, x: self.fc(F.relu(self.conv(x - share * x.mean(0, keepdim=True))).mean((2, 3))),
            conv=CONV, fc=READ,
        )  # fmt: skip

    with pytest.raises(SelvizError, match="depends on the other images of its batch"):
        brought(shifted(1e-3), IMAGES)
    rounded = from_forward(lambda self, x: self.fc(F.relu(self.conv(x)).mean((2, 3))).half(), conv=CONV, fc=READ)
    assert layers_of(brought(rounded, IMAGES))


# -------------------------------------------------------------------------------------------------- by the command line

FILE = """
import torch, torch.nn as nn, torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu, self.relu_1 = nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.ReLU()
        self.parts = nn.ModuleDict({"a:b, [c]": nn.Sequential(nn.Conv2d(8, 8, 1), nn.Hardtanh(0, 6))})
        self.mlp, self.fc = nn.Linear(8, 12), nn.Linear(12, 10)

    def forward(self, x):
        x = self.relu(self.parts["a:b, [c]"](self.relu_1(self.relu(self.conv(x)))))
        x = F.gelu(self.mlp(x.flatten(2).permute(2, 0, 1)))
        return {"features": x, "logits": self.fc(x.mean(0))}
"""


def test_an_imported_run_holds_what_the_plain_network_gives(tmp_path, capsys):
    (tmp_path / "net.py").write_text(FILE)
    folder = image_folder(tmp_path / "images")
    words = f"import --name mine --model {tmp_path}/net.py:Net --evaluate-all --mean 0.5,0.5,0.5 --std 0.2,0.2,0.2"
    assert main([*words.split(), "--dataset", f"folder:{folder / 'test'}", "--data", str(tmp_path / "data")]) == 0
    checked = check_stored("mine", made(f"{tmp_path}/net.py:Net", 10, 3), tmp_path / "data")
    assert [(entry.layer, entry.fault) for entry in checked] == [
        (name, "") for name in ("relu", "relu_1", "parts.a:b, [c].1", "relu_2", "gelu")
    ]
    labels = [entry.label for entry in checked]
    assert labels == ["relu", "relu_1", "parts.a:b, [c].1", "relu", "gelu"]
    assert all(one != other for one, other in pairwise(labels[:3])) and math.isfinite(checked[0].accuracy)
