"""Random small networks that know the right answer: `network = RandomNetwork(seed)`, `network.activations(images)`.

Layers of random kinds, shapes of values (maps, tokens, tokens first, patches in the batch, one leading axis),
activation functions of torch's and written out, reuse, branches, names and heads. Each network keeps, in plain PyTorch
and with nothing of selviz's, every activation it computes and can clamp one unit of it: the reference of a property
test.
"""

import random
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Outputs = namedtuple("Outputs", ["features", "logits"])


@dataclass
class Answer:
    features: Tensor
    logits: Tensor


class OwnSwish(nn.Module):
    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return x * torch.sigmoid(self.beta * x)


class OwnHardswish(nn.Module):
    def forward(self, x):
        return x * F.relu6(x + 3) / 6


class OwnMish(nn.Module):
    def forward(self, x):
        return x * torch.tanh(F.softplus(x))


class OwnGELU(nn.Module):
    def forward(self, x):
        return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x**3)))


class OwnLeaky(nn.Module):
    def forward(self, x):
        return torch.max(x, 0.1 * x)


class OwnElu(nn.Module):
    def forward(self, x):
        return torch.where(x > 0, x, torch.exp(torch.clamp(x, max=0.0)) - 1)


class OwnSoftsign(nn.Module):
    def forward(self, x):
        return x / (1 + torch.abs(x))


class OwnSnake(nn.Module):
    def forward(self, x):
        return x + torch.sin(x) ** 2


class Shifted(nn.Module):
    def forward(self, x):
        return F.relu(x) - 0.2


MODULES: list[Callable[[], nn.Module]] = [
    nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.Mish, nn.Tanh,
    nn.Softplus, nn.RReLU, nn.Softsign, nn.Tanhshrink, nn.Softshrink, nn.LogSigmoid, nn.Sigmoid, nn.PReLU,
    lambda: nn.Hardtanh(0, 6), lambda: nn.Threshold(0.1, 0.0), lambda: nn.ReLU(inplace=True),
    lambda: nn.GELU(approximate="tanh"), OwnSwish, OwnHardswish, OwnMish, OwnGELU, OwnLeaky, OwnElu, OwnSoftsign,
    OwnSnake, Shifted,
]  # fmt: skip
FUNCTIONS: list[Callable[[Tensor], Tensor]] = [
    F.relu, torch.relu, torch.tanh, F.gelu, F.silu, F.hardswish, F.softsign, F.leaky_relu, F.elu, F.mish,
    lambda x: F.relu(x, inplace=True), lambda x: x.relu_(), lambda x: x.clamp(min=0), lambda x: torch.clamp(x, 0, 1),
    lambda x: x * torch.sigmoid(x), lambda x: x * F.relu6(x + 3) / 6, lambda x: x * (x > 0), lambda x: x.sigmoid(),
    lambda x: torch.where(x > 0, x, 0.01 * x), lambda x: F.relu(x) - 0.25 * F.relu(-x), torch.sin,
    lambda x: x * torch.tanh(F.softplus(x)), lambda x: torch.maximum(x, torch.zeros_like(x)),
]  # fmt: skip
NAMES = [
    "lambda",
    "class",
    "block 1",
    "conv+bn",
    "слой",
    "relu_1",
    "relu",
    "a__b",
    "code",
    "graph",
    "層",
    "x",
    "1",
    "-",
]
HEADS = ["plain", "plain", "plain", "dict", "tuple", "named", "dataclass", "softmax", "log_softmax"]


class RandomNetwork(nn.Module):
    """A classifier of 3 x 16 x 16 images, drawn from a seed. `described` lists what it is made of."""

    def __init__(self, seed: int, classes: int = 5, depth: int = 4):
        super().__init__()
        self.dice = random.Random(seed)
        self.described: list[str] = []
        self.kept: list[Tensor] | None = None
        self.clamped: tuple[int, int, float] | None = None
        self.parts = nn.ModuleDict()
        self._steps: list[Callable[[Tensor], Tensor]] = []
        self._number = 0
        self._names = self.dice.sample(NAMES, len(NAMES))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._form, self._width, self._side = "map", 3, 16
            for position in range(self.dice.randint(2, depth)):
                self._layer(position)
            self._to_flat()
            if self._number == 0:
                self._linear(8)
                self._activation()
            self.readout = nn.Linear(self._width, classes)
        self.head = self.dice.choice(HEADS)
        self.described.append(self.head)
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, x):
        self._seen = 0
        for step in self._steps:
            x = step(x)
        logits = self.readout(x)
        if self.head == "dict":
            return {"features": x, "logits": logits}
        if self.head == "tuple":
            return (logits, x.mean())
        if self.head == "named":
            return Outputs(x, logits)
        if self.head == "dataclass":
            return Answer(x, logits)
        if self.head == "softmax":
            return logits.softmax(1)
        return logits.log_softmax(1) if self.head == "log_softmax" else logits

    # ------------------------------------------------------------------------------------------------- the right answer

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits [N, C], or their log-probabilities where the network ends in a softmax."""
        value = self(images.clone())
        if self.head in ("dict", "named", "dataclass"):
            return value["logits"] if self.head == "dict" else value.logits
        if self.head == "tuple":
            return value[0]
        return value.log() if self.head == "softmax" else value

    def activations(self, images: Tensor) -> list[Tensor]:
        """Return the activations [N, U] of each unit layer, in the order in which they are computed."""
        self.kept = []
        try:
            self(images.clone())
            return self.kept
        finally:
            self.kept = None

    def logits_with(self, images: Tensor, layer: int, unit: int, number: float) -> Tensor:
        """Return the logits [N, C] with one unit of one layer clamped."""
        self.clamped = (layer, unit, number)
        try:
            return self.logits(images)
        finally:
            self.clamped = None

    def _unit(self, x: Tensor, units_last: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor]) -> Tensor:
        """Keep a value as activations, or clamp a unit of it; `units_last` gives [N, ..., U]."""
        number = self._seen
        self._seen = number + 1
        if self.kept is not None:
            value = units_last(x)
            self.kept.append(value.flatten(1, -2).mean(1).clone() if value.dim() > 2 else value.clone())
        if self.clamped is not None and self.clamped[0] == number:
            value = units_last(x).clone()
            value[..., self.clamped[1]] = self.clamped[2]
            x = back(value)
        return x

    # ------------------------------------------------------------------------------------------------------- drawing it

    def _add(self, module: nn.Module) -> nn.Module:
        name = self._names.pop() if self._names and self.dice.random() < 0.4 else f"part{len(self.parts)}"
        self.parts[name] = module
        return module

    def _layer(self, position: int) -> None:
        kinds = {
            "map": ["conv", "conv", "conv norm", "depthwise", "residual", "to tokens", "to last", "to flat", "pool",
                    "shuffle", "dense cat"],
            "tokens": ["linear", "linear", "mix tokens", "tokens first", "norm", "patches", "left", "heads"],
            "first": ["linear", "linear", "tokens again"],
            "last": ["linear", "norm", "to tokens"],
            "flat": ["linear", "linear", "leading", "einsum"],
            "lead": ["linear", "to flat"],
            "patches": ["linear", "whole again"],
        }  # fmt: skip
        kind = self.dice.choice(kinds[self._form])
        self.described.append(kind)
        width = self.dice.choice([6, 7, 9, 12])
        step = getattr(self, f"_{kind.replace(' ', '_')}")
        if step(width):
            self._activation()

    def _append(self, step: Callable[[Tensor], Tensor]) -> None:
        self._steps.append(step)

    def _conv(self, width: int) -> bool:
        conv = self._add(nn.Conv2d(self._width, width, 3, stride=self.dice.choice([1, 2]), padding=1))
        self._append(conv)
        self._width, self._side = width, -(-self._side // conv.stride[0])
        return True

    def _conv_norm(self, width: int) -> bool:
        self._conv(width)
        norm = self._add(
            self.dice.choice([nn.BatchNorm2d(width), nn.GroupNorm(1, width), nn.InstanceNorm2d(width, affine=True)])
        )
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2)
        self._append(norm)
        return True

    def _depthwise(self, width: int) -> bool:
        self._append(self._add(nn.Conv2d(self._width, self._width, 3, padding=1, groups=self._width)))
        return True

    def _residual(self, width: int) -> bool:
        conv = self._add(nn.Conv2d(self._width, self._width, 3, padding=1))
        self._append(lambda x: x + conv(x))
        return True

    def _dense_cat(self, width: int) -> bool:
        conv = self._add(nn.Conv2d(self._width, width, 3, padding=1))
        self._append(lambda x: torch.cat([x, conv(x)], 1))
        self._width += width
        return True

    def _shuffle(self, width: int) -> bool:
        if self._width % 3:
            return False
        self._append(lambda x: x.view(x.size(0), 3, -1, *x.shape[2:]).transpose(1, 2).flatten(1, 2))
        return False

    def _pool(self, width: int) -> bool:
        if self._side >= 4:
            self._append(lambda x: F.max_pool2d(x, 2))
            self._side //= 2
        return False

    def _to_tokens(self, width: int) -> bool:
        if self._form == "map":
            self._append(lambda x: x.flatten(2).transpose(1, 2))
        else:
            self._append(lambda x: x.flatten(1, 2))
        self._form, self._tokens = "tokens", self._side**2
        return False

    def _to_last(self, width: int) -> bool:
        self._append(lambda x: x.permute(0, 2, 3, 1))
        self._form = "last"
        return False

    def _tokens_first(self, width: int) -> bool:
        self._append(lambda x: x.permute(1, 0, 2))
        self._form = "first"
        return False

    def _tokens_again(self, width: int) -> bool:
        self._append(lambda x: x.permute(1, 0, 2))
        self._form = "tokens"
        return False

    def _patches(self, width: int) -> bool:
        if self._tokens % 4:
            return False
        if self.dice.random() < 0.5:  # patches of an image follow each other, or images of a patch do
            self._append(lambda x: x.reshape(x.size(0) * 4, -1, x.size(2)))
            self._outer = True
        else:
            self._append(lambda x: x.unflatten(1, (4, -1)).transpose(0, 1).flatten(0, 1))
            self._outer = False
        self._form = "patches"
        return False

    def _whole_again(self, width: int) -> bool:
        if self._outer:
            self._append(lambda x: x.reshape(x.size(0) // 4, -1, x.size(2)))
        else:
            self._append(lambda x: x.unflatten(0, (4, -1)).transpose(0, 1).flatten(1, 2))
        self._form = "tokens"
        return False

    def _linear(self, width: int) -> bool:
        self._append(self._add(nn.Linear(self._width, width)))
        self._width = width
        return True

    def _norm(self, width: int) -> bool:
        self._append(self._add(nn.LayerNorm(self._width)))
        return True

    def _mix_tokens(self, width: int) -> bool:
        """Return the units of a layer that mixes tokens are its outputs; channels are the positions."""
        if self._tokens > 64:
            return False
        first, second = self._add(nn.Linear(self._tokens, width)), self._add(nn.Linear(width, self._tokens))
        self._append(lambda x: first(x.transpose(1, 2)))
        self._activation()
        self._append(lambda x: second(x).transpose(1, 2))
        return False

    def _left(self, width: int) -> bool:
        weight = self._add(nn.Linear(self._width, width, bias=False)).weight
        self._append(lambda x: weight @ x.transpose(1, 2))
        self._width = width
        self._activation(lambda x: x.movedim(1, -1), lambda x: x.movedim(-1, 1))
        self._append(lambda x: x.transpose(1, 2))
        return False

    def _heads(self, width: int) -> bool:
        linear = self._add(nn.Linear(self._width, 12))
        self._append(lambda x: linear(x).unflatten(-1, (3, 4)).transpose(1, 2))  # [N, 3, T, 4]
        self._width = 12
        self._activation(lambda x: x.transpose(1, 2).flatten(2), lambda x: x.unflatten(2, (3, 4)).transpose(1, 2))
        self._append(lambda x: x.transpose(1, 2).flatten(2))
        return False

    def _einsum(self, width: int) -> bool:
        weight = self._add(nn.Linear(self._width, width, bias=False)).weight
        self._append(lambda x: torch.einsum("oc,nc->no", weight, x))
        self._width = width
        return True

    def _leading(self, width: int) -> bool:
        self._append(lambda x: x.unsqueeze(0))
        self._form = "lead"
        return False

    def _to_flat(self, width: int = 0) -> bool:
        if self._form == "patches":
            self._whole_again(0)
        if self._form == "map":
            if self._side <= 4 and self.dice.random() < 0.5:
                self._append(lambda x: x.view(x.size(0), -1))
                self._width *= self._side**2
            else:
                self._append(lambda x: x.mean((2, 3)))
        elif self._form in ("tokens", "last"):
            self._append(lambda x: x.flatten(1, -2).mean(1))
        elif self._form == "first":
            self._append(lambda x: x.mean(0))
        elif self._form == "lead":
            self._append(lambda x: x.squeeze(0))
        self._form = "flat"
        return False

    def _activation(
        self,
        units_last: Callable[[Tensor], Tensor] | None = None,
        back: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Append an activation function and what keeps its value."""
        outer = getattr(self, "_outer", True)
        views: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
            "map": (lambda x: x.movedim(1, -1), lambda x: x.movedim(-1, 1)),
            "first": (lambda x: x.movedim(1, 0), lambda x: x.movedim(0, 1)),
            "lead": (lambda x: x.movedim(1, 0), lambda x: x.movedim(0, 1)),
            "patches": (
                (lambda x: x.unflatten(0, (-1, 4)), lambda x: x.flatten(0, 1))
                if outer
                else (lambda x: x.unflatten(0, (4, -1)).transpose(0, 1), lambda x: x.transpose(0, 1).flatten(0, 1))
            ),
        }
        same: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] = (lambda x: x, lambda x: x)
        if units_last is None or back is None:
            units_last, back = views.get(self._form, same)
        whole, whole_back = units_last, back
        kind = self.dice.random()
        if kind < 0.45:
            make = self.dice.choice(MODULES)
            act = self._add(make())
            self.described.append(type(act).__name__)
            uses = 2 if self.dice.random() < 0.2 and type(act).__name__ in ("ReLU", "GELU", "OwnMish") else 1
            for use in range(uses):
                if use:
                    self._append(lambda x: x - 0.05)
                self._append(act)
                self._append(lambda x: self._unit(x, whole, whole_back))
                self._number += 1
            return
        usual = units_last is views.get(self._form, same)[0]
        if kind < 0.55 and self._form != "map" and usual and self._width % 2 == 0:
            self.described.append("glu")
            function = self.dice.choice(
                [lambda x: F.glu(x, -1), lambda x: x.chunk(2, -1)[0] * x.chunk(2, -1)[1].sigmoid()]
            )
            self._append(function)
            self._width //= 2
            self._append(lambda x: self._unit(x, whole, whole_back))
            self._number += 1
            return
        if kind < 0.62 and self._form == "map" and self._width % 3 == 0 and self._width > 3:
            self.described.append("maxout")
            self._append(lambda x: x.unflatten(1, (-1, 3)).amax(2))
            self._width //= 3
            self._append(lambda x: self._unit(x, whole, whole_back))
            self._number += 1
            return
        index = self.dice.randrange(len(FUNCTIONS))
        self.described.append(f"function {index}")
        self._append(FUNCTIONS[index])
        self._append(lambda x: self._unit(x, whole, whole_back))
        self._number += 1
