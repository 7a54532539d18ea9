"""Activation functions that people write out: the result is the unit, a gate is none, and norms are none."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune

from selviz.errors import SelvizError
from selviz.testing.imports import brought
from tests.helpers.written import CONV, IMAGES, READ, from_forward, layers_of


def rooted(x):
    return x / (x.pow(2).mean(1, keepdim=True) + 1e-5).sqrt()


FUNCTIONS = {
    "where with zeros like it": lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
    "masked fill": lambda x: x.masked_fill(x < 0, 0),
    "times a mask of numbers": lambda x: x * (x > 0).float(),
    "squared": lambda x: F.relu(x) ** 2,
    "squared by square": lambda x: torch.square(F.relu(x)),
    "squared by itself": lambda x: F.relu(x).pow(2),
    "hard swish, gate first": lambda x: F.relu6(x + 3) * x / 6,
    "its own autograd function": lambda x: OwnRelu.apply(x),
}


class OwnRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_result_of_a_written_activation_is_the_unit(name):
    function = FUNCTIONS[name]
    model = from_forward(lambda self, x: self.fc(function(self.conv(x)).mean((2, 3))), conv=CONV, fc=READ)
    read = brought(model, IMAGES)
    assert [layer.units for layer in read.network.layers] == [8]
    with torch.no_grad():
        expected = function(model.conv(IMAGES)).mean((2, 3))
        torch.testing.assert_close(read.network.observe(IMAGES)[1][0], expected, rtol=1e-4, atol=1e-5)


class OwnHardSigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU6(inplace=True)

    def forward(self, x):
        return self.relu(x + 3) / 6


GATES = {
    "a module's relu6": OwnHardSigmoid,
    "relu6": lambda: lambda x: F.relu6(x + 3) / 6,
    "clamp": lambda: lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "tanh": lambda: lambda x: 0.5 * (torch.tanh(x) + 1),
}


@pytest.mark.parametrize("name", GATES)
def test_a_sigmoid_that_somebody_wrote_is_a_gate_where_it_scales_another_value(name):
    def squeeze(self, x):
        x = F.relu(self.conv(x))
        return self.fc((x * gate(self.scale(x.mean((2, 3))))[:, :, None, None]).mean((2, 3)))

    gate = GATES[name]()
    parts = {"gate": lambda: gate} if isinstance(gate, nn.Module) else {}
    read = brought(from_forward(squeeze, conv=CONV, scale=lambda: nn.Linear(8, 8), fc=READ, **parts), IMAGES)
    assert [layer.name for layer in read.network.layers] == ["relu"]
    assert [entry.reason for entry in read.left_out] == ["a gate: it only scales another value"]
    alone = from_forward(lambda self, x: self.fc(gate(self.conv(x)).mean((2, 3))), conv=CONV, fc=READ, **parts)
    assert [layer.units for layer in brought(alone, IMAGES).network.layers] == [8]


def test_the_inner_gate_of_nested_modules_is_not_the_unit():
    class HardSwish(nn.Module):
        def __init__(self):
            super().__init__()
            self.sigmoid = OwnHardSigmoid()

        def forward(self, x):
            return x * self.sigmoid(x)

    model = from_forward(
        lambda self, x: self.fc(self.act(self.conv(x)).mean((2, 3))), conv=CONV, act=HardSwish, fc=READ
    )
    read = brought(model, IMAGES)
    assert layers_of(read) == [("act", 8, "HardSwish")]
    with torch.no_grad():
        expected = F.hardswish(model.conv(IMAGES)).mean((2, 3))
        torch.testing.assert_close(read.network.observe(IMAGES)[1][0], expected, rtol=1e-4, atol=1e-5)


def test_slopes_of_their_own_for_each_channel_and_both_signs_joined():
    class Slopes(nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = nn.Parameter(torch.rand(8))

        def forward(self, x):
            return F.relu(x) - self.slope.view(1, -1, 1, 1) * F.relu(-x)

    model = from_forward(lambda self, x: self.fc(self.act(self.conv(x)).mean((2, 3))), conv=CONV, act=Slopes, fc=READ)
    assert layers_of(brought(model, IMAGES)) == [("act", 8, "Slopes")]

    def both(self, x):
        x = self.conv(x)
        return self.wide(torch.cat([F.relu(x), F.relu(-x)], 1).mean((2, 3)))

    model = from_forward(both, conv=CONV, wide=lambda: nn.Linear(16, 10))
    assert [layer.units for layer in brought(model, IMAGES).network.layers] == [8, 8]


@pytest.mark.parametrize("function", [lambda x: x.max(dim=2)[0], lambda x: x.max(dim=2).values, lambda x: x.amax(2)])
def test_a_maximum_over_pieces_is_a_layer_however_it_is_written(function):
    def forward(self, x):
        return self.fc(function(self.wide(x).view(x.size(0), 8, 3, 14, 14)).mean((2, 3)))

    model = from_forward(forward, wide=lambda: nn.Conv2d(3, 24, 3), fc=READ)
    read = brought(model, IMAGES)
    assert [(layer.units, layer.activation) for layer in read.network.layers] == [(8, "maximum")]
    with torch.no_grad():
        expected = model.wide(IMAGES).view(8, 8, 3, 14, 14).amax(2).mean((2, 3))
        torch.testing.assert_close(read.network.observe(IMAGES)[1][0], expected, rtol=1e-4, atol=1e-5)


def test_a_norm_is_no_layer_and_an_absolute_value_is_said_to_be_left_out():
    model = from_forward(lambda self, x: self.fc(F.relu(rooted(self.conv(x))).mean((2, 3))), conv=CONV, fc=READ)
    read = brought(model, IMAGES)
    assert [layer.name for layer in read.network.layers] == ["relu"] and not read.left_out
    pooled = from_forward(
        lambda self, x: self.fc((F.relu(self.conv(x)) ** 3).mean((2, 3)) ** (1 / 3)), conv=CONV, fc=READ
    )
    assert [layer.name for layer in brought(pooled, IMAGES).network.layers] == ["relu"]
    model = from_forward(
        lambda self, x: self.fc(torch.abs(self.more(F.relu(self.conv(x)))).mean((2, 3))),
        conv=CONV, more=lambda: nn.Conv2d(8, 8, 3), fc=READ,
    )  # fmt: skip
    left_out = [(entry.name, entry.reason) for entry in brought(model, IMAGES).left_out]
    assert left_out == [("abs_1", "abs is not known as an activation function; --layers abs_1")]
    assert [layer.name for layer in brought(model, IMAGES, specs=["relu", "abs_1"]).network.layers] == ["relu", "abs_1"]


def test_what_is_added_to_read_the_logits_is_no_unit_layer():
    def two(self, x):
        x = self.fc(F.relu(self.conv(x)).mean((2, 3)))
        return (x.softmax(1) + (2 * x).softmax(1)) / 2

    assert [layer.name for layer in brought(from_forward(two, conv=CONV, fc=READ), IMAGES).network.layers] == ["relu"]


# ------------------------------------------------------------------------------------------------------- recurrent ones


def rows(x):
    return x.permute(0, 2, 1, 3).flatten(2)


RECURRENT = {
    "LSTM": (lambda: nn.LSTM(48, 12, batch_first=True), lambda self, x: self.rnn(rows(x))[1][0][-1]),
    "GRU, rows first": (lambda: nn.GRU(48, 12), lambda self, x: self.rnn(rows(x).transpose(0, 1))[0].mean(0)),
    "RNN with ReLU": (
        lambda: nn.RNN(48, 12, nonlinearity="relu", bias=False, batch_first=True),
        lambda self, x: self.rnn(rows(x))[0][:, -1],
    ),
    "two layers, both ways": (
        lambda: nn.LSTM(48, 6, 2, batch_first=True, bidirectional=True),
        lambda self, x: self.rnn(rows(x))[0].mean(1),
    ),
}


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_layer_is_followed_and_its_output_can_be_named(name):
    make, state = RECURRENT[name]
    model = from_forward(
        lambda self, x: self.fc(F.relu(self.a(state(self, x)))), rnn=make, a=lambda: nn.Linear(12, 8), fc=READ
    )
    read = brought(model, IMAGES)
    assert [layer.name for layer in read.network.layers] == ["relu"]
    assert [entry.name for entry in read.left_out] == ["rnn"] and "--layers rnn" in read.left_out[0].reason
    with torch.no_grad():
        torch.testing.assert_close(read.network.logits(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)
        if name.startswith("LSTM"):
            return  # its output takes no part: the last state does
        named = brought(model, IMAGES, specs=["rnn"])
        whole = model.rnn(rows(IMAGES).transpose(0, 1) if name.startswith("GRU") else rows(IMAGES))[0]
        expected = whole.mean(0 if name.startswith("GRU") else 1)
        torch.testing.assert_close(named.network.observe(IMAGES)[1][0], expected, rtol=1e-4, atol=1e-5)


def test_a_recurrent_cell_is_followed():
    def forward(self, x):
        state = x.new_zeros(x.size(0), 12)
        for step in rows(x).unbind(1):
            state = self.cell(step, state)
        return self.fc(F.relu(self.a(state)))

    model = from_forward(forward, cell=lambda: nn.GRUCell(48, 12), a=lambda: nn.Linear(12, 8), fc=READ)
    with torch.no_grad():
        torch.testing.assert_close(brought(model, IMAGES).network.logits(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------------ weights that others are made from

COMPUTED = {
    "spectral norm": lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 3)),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 8, 3)),
    "weight norm of old": lambda: nn.utils.weight_norm(nn.Conv2d(3, 8, 3)),
    "spectral norm of old": lambda: nn.utils.spectral_norm(nn.Conv2d(3, 8, 3)),
    "pruned": lambda: prune.random_unstructured(nn.Conv2d(3, 8, 3), "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COMPUTED)
def test_weights_computed_from_others_are_stored_as_they_are_and_the_network_stays_as_it_was(name):
    model = from_forward(lambda self, x: self.fc(F.relu(self.conv(x)).mean((2, 3))), conv=COMPUTED[name], fc=READ)
    names = sorted(model.state_dict())
    with torch.no_grad():
        expected = model(IMAGES)
        read = brought(model, IMAGES)
        torch.testing.assert_close(read.network.logits(IMAGES), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(IMAGES), expected)
    assert [layer.units for layer in read.network.layers] == [8] and sorted(model.state_dict()) == names


# -------------------------------------------------------------------------------------------- chance, and what is said


def left_out_by_chance(self, x):
    import random

    x = F.relu(self.conv(x))
    if random.random() < 0.01:
        x = x * 0
    return self.fc(x.mean((2, 3)))


CHANCE = {
    "noise that is hardly seen": lambda self, x: self.fc(
        F.relu(self.conv(x) + 1e-9 * torch.randn(8, 1, 1)).mean((2, 3))
    ),
    "a layer left out by chance": left_out_by_chance,
    "numbers of numpy's generator": lambda self, x: self.fc(F.relu(self.conv(x)).mean((2, 3)) + numpy_number()),
}


def numpy_number():
    import numpy as np

    return 1e-12 * float(np.random.rand())  # noqa: NPY002


@pytest.mark.parametrize("name", CHANCE)
def test_chance_is_refused_even_where_two_passes_agree(name):
    with pytest.raises(SelvizError, match="random"):
        brought(from_forward(CHANCE[name], conv=CONV, fc=READ), IMAGES)


def mixed(self, x):
    with torch.autocast("cpu", torch.bfloat16):
        return self.fc(F.relu(self.conv(x)).mean((2, 3))).float()


REFUSED = {
    "torch.autocast inside its forward .leave it out": mixed,
    "looks something up by values of the image": lambda self, x: self.fc(
        (y := F.relu(self.conv(x)).mean((2, 3))).gather(1, y.topk(8, 1).indices)
    ),
    "let it return them with .flatten": lambda self, x: self.one(F.relu(self.conv(x)).mean((2, 3), keepdim=True)),
    "the function fft_fft2": lambda self, x: self.fc(torch.fft.fft2(F.relu(self.conv(x))).real.mean((2, 3))),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_stored_is_one_true_sentence(sentence, capfd):
    model = from_forward(REFUSED[sentence], conv=CONV, fc=READ, one=lambda: nn.Conv2d(8, 10, 1))
    with pytest.raises(SelvizError, match=sentence) as error:
        brought(model, IMAGES)
    assert "damaged" not in str(error.value) and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


def test_memory_that_is_written_before_it_is_read_is_followed():
    def forward(self, x):
        x = self.conv(x)
        whole = torch.empty_like(x)
        whole[:, ::2] = F.relu(x[:, ::2])
        whole[:, 1::2] = torch.tanh(x[:, 1::2])
        return self.fc(whole.mean((2, 3)))

    model = from_forward(forward, conv=CONV, fc=READ)
    read = brought(model, IMAGES)
    assert [(layer.units, layer.activation) for layer in read.network.layers] == [(4, "ReLU"), (4, "Tanh")]
    with torch.no_grad():
        torch.testing.assert_close(read.network.logits(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)


def test_scatter_at_places_that_no_image_decides_is_followed():
    def forward(self, x):
        x = F.relu(self.conv(x)).mean((2, 3))
        places = torch.tensor([[1, 3]]).expand(x.size(0), -1)
        return self.fc(torch.zeros_like(x).scatter(1, places, x[:, :2]) + x)

    model = from_forward(forward, conv=CONV, fc=READ)
    with torch.no_grad():
        torch.testing.assert_close(brought(model, IMAGES).network.logits(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)
