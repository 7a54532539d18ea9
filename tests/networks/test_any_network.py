"""Networks of every kind that people bring: what is stored is what PyTorch gives, or a sentence says why not."""

from collections import Counter, namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from selviz.errors import SelvizError
from selviz.networks import tracing
from selviz.networks.heads import find_head
from selviz.networks.hooked_network import WatchedNetwork
from selviz.networks.plain_run import PlainRun
from selviz.networks.proof import steady_logits
from selviz.networks.unit_edit import silence
from selviz.testing.imports import brought
from selviz.testing.random_networks import RandomNetwork
from tests.helpers.written import CONV, IMAGES, READ, from_forward, layers_of

FLAT = 3 * 16 * 16


def network_of(*parts, **options):
    torch.manual_seed(0)
    return brought(nn.Sequential(*parts).eval(), IMAGES, **options)


def wrong_answers(seed: int) -> tuple[str, list[str]]:
    """Return the way in which a random network was followed, and what differs from its own answers."""
    model = RandomNetwork(seed).eval()
    read = brought(model, IMAGES)
    wrong = []

    def differ(one, other):
        return one.shape != other.shape or float((one - other).abs().max()) > 1e-3 * float(other.abs().max()) + 1e-6

    def comparable(logits):
        return logits.softmax(1) if "softmax" in model.head else logits

    with torch.no_grad():
        known, (logits, found) = model.activations(IMAGES), read.network.observe(IMAGES)
        if differ(comparable(logits), comparable(model.logits(IMAGES))):
            wrong.append("logits")
        if len(known) != len(found):
            return read.traced, [f"{len(found)} layers of {len(known)}"]
        for position, (layer, values) in enumerate(zip(read.network.layers, found)):
            if differ(values, known[position]):
                wrong.append(f"activations of {layer.name}")
                continue
            unit = int(known[position].std(0).argmax())
            there = model.logits_with(IMAGES, position, unit, 2.0)
            boundary = read.network.boundary(IMAGES, [layer.name])
            here = read.network.resume(boundary, {layer.name: silence(layer, [unit], 2.0)})
            if differ(comparable(here), comparable(there)):
                wrong.append(f"logits without {layer.name}:{unit}")
    return read.traced, wrong


@pytest.mark.parametrize("seed", range(30))
def test_random_networks_have_the_logits_activations_and_ablations_of_plain_pytorch(seed):
    _, wrong = wrong_answers(seed)
    assert not wrong, RandomNetwork(seed).described


@pytest.mark.slow
def test_three_hundred_random_networks_have_the_answers_of_plain_pytorch():
    ways, wrong = Counter(), {}
    for seed in range(1000, 1300):
        way, differences = wrong_answers(seed)
        ways[way] += 1
        if differences:
            wrong[seed] = (differences, RandomNetwork(seed).described)
    print(dict(ways))
    assert not wrong


# ------------------------------------------------------------------------------------------------------ names (1 and 7)


class Named(nn.Module):
    def __init__(self, key, act=nn.ReLU):
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.ModuleDict({key: nn.Sequential(nn.Conv2d(3, 8, 3), act())})
        self.key, self.fc = key, nn.Linear(8, 10)

    def forward(self, x):
        return self.fc(self.parts[self.key](x).mean((2, 3)))


@pytest.mark.parametrize("key", ["lambda", "None", "block 1", "conv+bn", "слой", "ﬁ", "conv__1", "__x__", "a-b", "é"])
def test_modules_of_any_name_are_brought_under_that_name(key):
    read = brought(Named(key).eval(), IMAGES)
    assert layers_of(read) == [(f"parts.{key}.1", 8, "ReLU")]


def test_names_of_layers_are_unique_whatever_the_modules_are_called():
    def forward(self, x):
        for act in (self.relu, self.relu_1, self.relu, self.relu_1_1, self.relu, self.relu_1):
            x = act(self.conv(x))
        return self.fc(x.mean((2, 3)))

    parts = dict.fromkeys(("relu", "relu_1", "relu_1_1"), nn.ReLU)
    model = from_forward(forward, conv=lambda: nn.Conv2d(3, 3, 3, padding=1), fc=lambda: nn.Linear(3, 10), **parts)
    names = [layer.name for layer in brought(model, IMAGES).network.layers]
    assert len(set(names)) == 6 and {"relu", "relu_1", "relu_1_1"} < set(names)
    watched = [layer.name for layer in WatchedNetwork(model, IMAGES[:1], ["relu*"]).layers]
    assert len(set(watched)) == 6


# ------------------------------------------------------------------------------------------- gates and unknown ones (4)

ONE_LAYER = {
    "hardswish": (lambda x: x * F.relu6(x + 3) / 6, F.hardswish),
    "mish": (lambda x: x * torch.tanh(F.softplus(x)), F.mish),
    "gelu by tanh": (
        lambda x: 0.5 * x * (1 + torch.tanh(0.79788456 * (x + 0.044715 * x**3))),
        lambda x: F.gelu(x, approximate="tanh"),
    ),
    "gelu by erf": (lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5)), F.gelu),
    "swish": (lambda x: x * torch.sigmoid(x), F.silu),
    "swish in place": (lambda x: x.mul(x.sigmoid()), F.silu),
    "softsign": (lambda x: x / (1 + x.abs()), F.softsign),
    "relu by a mask": (lambda x: x * (x > 0), F.relu),
    "leaky relu by where": (lambda x: torch.where(x > 0, x, 0.01 * x), F.leaky_relu),
    "leaky relu by two": (lambda x: F.relu(x) - 0.01 * F.relu(-x), F.leaky_relu),
    "clamp": (lambda x: x.clamp(0, 6), F.relu6),
    "clamp below": (lambda x: torch.clamp(x, min=0), F.relu),
    "maximum": (lambda x: torch.maximum(x, torch.tensor(0.0)), F.relu),
}


@pytest.mark.parametrize("name", ONE_LAYER)
def test_an_activation_written_out_has_the_result_as_its_units_and_not_the_gate(name):
    written, known = ONE_LAYER[name]
    model = from_forward(lambda self, x: self.fc(written(self.conv(x)).mean((2, 3))), conv=CONV, fc=READ)
    read = brought(model, IMAGES)
    assert [layer.units for layer in read.network.layers] == [8]
    with torch.no_grad():
        expected = known(model.conv(IMAGES)).mean((2, 3))
        torch.testing.assert_close(read.network.observe(IMAGES)[1][0], expected, rtol=1e-4, atol=1e-5)


def test_a_gate_on_another_value_is_left_out_and_said_and_a_sigmoid_that_does_more_is_a_layer():
    def squeeze(self, x):
        x = F.relu(self.conv(x))
        return self.fc((x * torch.sigmoid(self.scale(x.mean((2, 3))))[:, :, None, None]).mean((2, 3)))

    read = brought(from_forward(squeeze, conv=CONV, scale=lambda: nn.Linear(8, 8), fc=READ), IMAGES)
    assert [layer.name for layer in read.network.layers] == ["relu"]
    assert [(entry.name, entry.reason) for entry in read.left_out] == [
        ("sigmoid", "a gate: it only scales another value")
    ]
    plain = network_of(nn.Conv2d(3, 8, 3), nn.Sigmoid(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    assert layers_of(plain) == [("1", 8, "Sigmoid")]


def test_any_module_or_step_can_be_named_as_a_layer_with_ablation():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(model, nn.Linear(8, 10)).eval()
    read = brought(model, IMAGES, specs=["0.1", "0.0", "0.2"])
    assert layers_of(read) == [("0.0", 8, "Conv2d"), ("0.1", 8, "BatchNorm2d"), ("0.2", 8, "ReLU")]
    with torch.no_grad():
        torch.testing.assert_close(read.network.observe(IMAGES)[1][0], model[0][0](IMAGES).mean((2, 3)))
    layer = read.network.layer("0.1")
    with torch.no_grad():
        value = model[0][1](model[0][0](IMAGES))
        value[:, 3] = 1.5
        expected = model[1](F.relu(value).mean((2, 3)))
        boundary = read.network.boundary(IMAGES, ["0.1"])
        torch.testing.assert_close(read.network.resume(boundary, {"0.1": silence(layer, [3], 1.5)}), expected)
    with pytest.raises(SelvizError, match="Unknown layer '0.9'"):
        brought(model, IMAGES, specs=["0.9"])


# -------------------------------------------------------------------------------- the rest of the batch, and chance (5)

DEPENDENT = {
    "batch statistics": lambda self, x: self.b(F.relu(self.norm(self.a(x.flatten(1))))),
    "a mean over images": lambda self, x: self.b(F.relu(self.a(x.flatten(1)) - self.a(x.flatten(1)).mean(0))),
    "the largest of all": lambda self, x: self.b(F.relu(self.a((x / x.max()).flatten(1)))),
    "attention over images": lambda self, x: self.b(F.relu(self.mix(self.a(x.flatten(1))))),
    "a softmax over images": lambda self, x: self.b(F.relu(self.a(x.flatten(1)))).softmax(0),
}
PARTS = {
    "a": lambda: nn.Linear(FLAT, 16), "b": lambda: nn.Linear(16, 10),
    "norm": lambda: nn.BatchNorm1d(16, track_running_stats=False),
    "mix": lambda: nn.TransformerEncoderLayer(16, 2, 16),
}  # fmt: skip


@pytest.mark.parametrize("name", DEPENDENT)
def test_what_depends_on_the_other_images_of_a_batch_is_refused(name):
    model = from_forward(DEPENDENT[name], **PARTS)
    with pytest.raises(SelvizError, match="depends on the other images|one image alone"):
        brought(model, IMAGES)


RANDOM = {
    "dropout": lambda self, x: self.b(F.dropout(F.relu(self.a(x.flatten(1))), 0.5)),
    "noise": lambda self, x: self.b(F.relu(self.a(x.flatten(1) + 0.1 * torch.randn_like(x.flatten(1))))),
    "an order": lambda self, x: self.b(F.relu(self.a(x.flatten(1)))[:, torch.randperm(16)]),
}


@pytest.mark.parametrize("name", RANDOM)
def test_what_is_random_in_evaluation_is_refused(name):
    with pytest.raises(SelvizError, match="other outputs for the same images each time"):
        brought(from_forward(RANDOM[name], **PARTS), IMAGES)


def test_an_image_that_loses_its_axis_when_alone_is_one_sentence():
    model = from_forward(lambda self, x: self.fc(F.relu(self.conv(x)).mean((2, 3)).squeeze()), conv=CONV, fc=READ)
    with pytest.raises(SelvizError, match="For 1 image the network returns outputs of shape .10., not .1, 10."):
        brought(model, IMAGES)


# --------------------------------------------------------------------------------------- memory and writes in place (6)

WRITES = {
    "a view": lambda self, x: self.wide(F.relu(self.conv(x)).view(len(x), -1)),
    "a view by size": lambda self, x: self.wide(F.relu(self.conv(x)).view(x.size(0), -1)),
    "a view of two axes": lambda self, x: self.fc(F.relu(self.conv(x)).view(x.size(0), 8, -1).mean(2)),
    "as_strided": lambda self, x: self.wide(F.relu(self.conv(x)).as_strided((x.size(0), 8 * 196), (8 * 196, 1))),
    "a slice": lambda self, x: self.fc(written_slice(F.relu(self.conv(x))).mean((2, 3))),
    "a view written in place": lambda self, x: self.fc(written_view(self.conv(x)).mean((2, 3))),
    "a mask": lambda self, x: self.fc(written_mask(F.relu(self.conv(x))).mean((2, 3))),
    "as_strided in windows": lambda self, x: self.wide(windows(F.relu(self.conv(x))).flatten(1)),
    "some channels": lambda self, x: self.fc(written_channels(F.relu(self.conv(x))).mean((2, 3))),
    "a mask of positions": lambda self, x: self.fc(written_positions(F.relu(self.conv(x))).mean((2, 3))),
}


def written_slice(x):
    x[:, 0] = 0
    x[:, 1:3] += 1
    return x


def written_view(x):
    x[:, :4].relu_()
    return F.gelu(x)


def written_mask(x):
    x[x > 0.5] = 0.5
    return x


def windows(x):
    return x.as_strided((x.size(0), 8, 7, 7, 2, 2), (8 * 196, 196, 28, 2, 14, 1), 0)


def written_channels(x):
    x[:, [0, 2]] = x[:, [1, 3]] * 2
    return x


def written_positions(x):
    x[:, 1:][:, :, torch.arange(14) > 6] = 0.25
    return x


@pytest.mark.parametrize("name", WRITES)
def test_views_strides_and_writes_into_parts_are_followed(name):
    model = from_forward(WRITES[name], conv=CONV, fc=READ, wide=lambda: nn.Linear(8 * 196, 10))
    read = brought(model, IMAGES)
    with torch.no_grad():
        torch.testing.assert_close(read.network.logits(IMAGES), model(IMAGES.clone()), rtol=1e-4, atol=1e-5)


def test_strides_that_do_not_go_image_by_image_are_refused():
    model = from_forward(
        lambda self, x: self.fc(F.relu(self.conv(x)).as_strided((8, x.size(0)), (1, 1568)).t()), conv=CONV, fc=READ
    )
    with pytest.raises(SelvizError, match="reads by strides, and not image by image"):
        brought(model, IMAGES)


# ------------------------------------------------------------------------------------------------------------ heads (8)

Pair = namedtuple("Pair", ["features", "logits"])
HEADS = {
    "softmax": lambda x: x.softmax(1),
    "softmax and a squeeze": lambda x: x.unsqueeze(2).softmax(1).squeeze(2),
    "log-softmax": lambda x: x.log_softmax(1),
    "mean of two softmaxes": lambda x: (x.softmax(1) + (2 * x).softmax(1)) / 2,
    "a namedtuple": lambda x: Pair(x, x + 1),
    "a dict": lambda x: {"aux": x, "logits": x + 1},
}


@pytest.mark.parametrize("name", HEADS)
def test_the_softmax_of_what_is_stored_is_what_the_network_says(name):
    model = from_forward(lambda self, x: HEADS[name](self.fc(F.relu(self.conv(x)).mean((2, 3)))), conv=CONV, fc=READ)
    read = brought(model, IMAGES)
    with torch.no_grad():
        value = model(IMAGES)
        value = getattr(value, "logits", value["logits"] if isinstance(value, dict) else value)
        expected = value if torch.allclose(value.sum(1), torch.ones(len(value))) else value.softmax(1)
        torch.testing.assert_close(read.network.logits(IMAGES).softmax(1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", [lambda x: x, lambda x: x.squeeze(1), torch.sigmoid])
def test_one_logit_is_that_of_the_second_of_two_classes(head):
    model = from_forward(
        lambda self, x: head(self.one(F.relu(self.conv(x)).mean((2, 3)))), conv=CONV, one=lambda: nn.Linear(8, 1)
    )
    read = brought(model, IMAGES, classes=2)
    with torch.no_grad():
        second = model.one(F.relu(model.conv(IMAGES)).mean((2, 3))).sigmoid()[:, 0]
        torch.testing.assert_close(read.network.logits(IMAGES).softmax(1)[:, 1], second, rtol=1e-4, atol=1e-5)


def test_several_outputs_that_may_be_logits_are_asked_for():
    model = from_forward(
        lambda self, x: (self.fc(x.mean((2, 3))), self.fc(F.relu(x).mean((2, 3)))), fc=lambda: nn.Linear(3, 10)
    )
    with pytest.raises(SelvizError, match="2 tensors that may be logits.*say which: --logits 0"):
        find_head(PlainRun(model)(IMAGES), 10)
    head = find_head(PlainRun(model)(IMAGES), 10, "1")
    read = brought(model, IMAGES, head=head)
    with torch.no_grad():
        torch.testing.assert_close(read.network.logits(IMAGES), model(IMAGES)[1])


# --------------------------------------------------------------------------------------------------------- numbers (13)


@pytest.mark.parametrize("scale", [1e6, 1e-12, 0.0])
def test_exploding_tiny_and_dead_networks_stay_finite_and_have_the_right_axes(scale):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    model = nn.Sequential(model, nn.Flatten(), nn.Linear(6, 10)).eval().requires_grad_(False)
    model[0][0].weight.mul_(scale)
    read = brought(model, IMAGES)
    assert [layer.units for layer in read.network.layers] == [8, 6]
    with torch.no_grad():
        logits, activations = read.network.observe(IMAGES)
        torch.testing.assert_close(logits, model(IMAGES), rtol=1e-3, atol=1e-6)
    assert all(torch.isfinite(values).all() for values in activations)


def test_a_transformer_encoder_of_torch_is_seen_with_its_tokens_first():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 2, 24, activation="gelu")  # tokens first is its default
    model = from_forward(
        lambda self, x: self.fc(self.encoder(self.patch(x).flatten(2).permute(2, 0, 1)).mean(0)),
        patch=lambda: nn.Conv2d(3, 12, 4, 4),
        encoder=lambda: nn.TransformerEncoder(layer, 2),
        fc=lambda: nn.Linear(12, 10),
    )
    read = brought(model.requires_grad_(False), IMAGES)
    assert [layer.units for layer in read.network.layers] == [24, 24]
    seen = []
    for block in model.encoder.layers:
        block.linear1.register_forward_hook(lambda module, args, value: seen.append(F.gelu(value).mean(0)))
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            model(IMAGES)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    for values, expected in zip(read.network.observe(IMAGES)[1], seen):
        torch.testing.assert_close(values.detach(), expected, rtol=1e-3, atol=1e-4)


def test_steady_logits_are_those_of_the_plain_network():
    model = from_forward(DEPENDENT["a mean over images"], **PARTS)
    run = PlainRun(model)
    with pytest.raises(SelvizError, match="first seen at"):
        steady_logits(run, find_head(run(IMAGES), 10), IMAGES)


def test_both_ways_give_the_same_layers():
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.GELU(), nn.Flatten(), nn.Linear(864, 10)
    )
    ways = [tracing.trace(model.eval(), IMAGES[:1], way).layers for way in tracing.WAYS]
    assert [(layer.name, layer.axis, layer.units) for layer in ways[0]] == [
        (layer.name, layer.axis, layer.units) for layer in ways[1]
    ]
