"""The activation functions whose outputs are units, as torch writes them: `MODULE_SIGNED[nn.GELU]` is True."""

import torch
import torch.nn.functional as F
from torch import nn

# Each activation function as torch writes it: module class, functions and methods; the last tells whether its output
# can be negative.
ACTIVATIONS: tuple[tuple[type[nn.Module], tuple[str, ...], bool], ...] = (
    (nn.ReLU, ("relu", "relu_"), False),
    (nn.ReLU6, ("relu6",), False),
    (nn.Softplus, ("softplus",), False),
    (nn.GELU, ("gelu",), True),
    (nn.SiLU, ("silu",), True),
    (nn.Hardswish, ("hardswish",), True),
    (nn.LeakyReLU, ("leaky_relu", "leaky_relu_"), True),
    (nn.ELU, ("elu", "elu_"), True),
    (nn.CELU, ("celu", "celu_"), True),
    (nn.SELU, ("selu", "selu_"), True),
    (nn.PReLU, ("prelu",), True),
    (nn.Mish, ("mish",), True),
    (nn.Tanh, ("tanh", "tanh_"), True),
)
MODULE_SIGNED = {module: signed for module, _, signed in ACTIVATIONS}
NAME_SIGNED = {name: signed for _, names, signed in ACTIVATIONS for name in names}
FUNCTION_NAMES = {
    getattr(home, name): name for home in (F, torch) for name in NAME_SIGNED if callable(getattr(home, name, None))
}
