"""The activation functions that selviz knows, as torch writes them: `MODULE_NAMES[nn.GELU]` is "gelu".

`SIGNED["gelu"]` is True: its output can be negative; None where that depends on its settings, as for hardtanh.
"""

import torch
import torch.nn.functional as F
from torch import nn

# Module class, names of its functions and methods, whether the output can be negative.
ACTIVATIONS: tuple[tuple[type[nn.Module], tuple[str, ...], bool | None], ...] = (
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
    (nn.RReLU, ("rrelu", "rrelu_"), True),
    (nn.Hardtanh, ("hardtanh", "hardtanh_"), None),
    (nn.Threshold, ("threshold", "threshold_"), None),
    (nn.Softsign, ("softsign",), True),
    (nn.LogSigmoid, ("logsigmoid", "log_sigmoid"), True),
    (nn.Hardshrink, ("hardshrink",), True),
    (nn.Softshrink, ("softshrink",), True),
    (nn.Tanhshrink, ("tanhshrink",), True),
    (nn.GLU, ("glu",), True),
    (nn.Sigmoid, ("sigmoid", "sigmoid_"), False),
    (nn.Hardsigmoid, ("hardsigmoid",), False),
)
# Functions without a module of their own.
FUNCTIONS: tuple[tuple[tuple[str, ...], bool | None], ...] = (
    (("clamp", "clamp_", "clip", "clip_"), None),
    (("clamp_min", "clamp_min_"), None),
    (("clamp_max", "clamp_max_"), True),
    (("sin", "sin_"), True),
    (("cos", "cos_"), True),
    (("atan", "atan_", "arctan", "arctan_"), True),
    (("erf", "erf_"), True),
    (("sign", "sign_", "sgn"), True),
)
GATES = ("sigmoid", "hardsigmoid")  # units where they do more than to scale another value
MODULE_NAMES: dict[type[nn.Module], str] = {module: names[0] for module, names, _ in ACTIVATIONS}
SIGNED: dict[str, bool | None] = {
    **{name: signed for _, names, signed in ACTIVATIONS for name in names},
    **{name: signed for names, signed in FUNCTIONS for name in names},
}
FUNCTION_NAMES: dict[object, str] = {
    getattr(home, name): name
    for home in (F, torch, torch.special)
    for name in SIGNED
    if callable(getattr(home, name, None))
}
MODULE_SIGNED: dict[type[nn.Module], bool] = {module: signed is not False for module, _, signed in ACTIVATIONS}

# What works on each number alone, and may be a part of an activation function that somebody wrote out.
LINEAR_STEPS = frozenset(
    "add sub rsub mul div neg pos true_divide identity dropout contiguous clone float to type_as detach alias".split()
)
CURVED_STEPS = frozenset(
    "pow square sqrt rsqrt exp expm1 log log1p abs absolute reciprocal sinh cosh tan asinh log2 exp2 floor_divide "
    "maximum minimum max min where masked_fill gt ge lt le eq ne heaviside relu_ lerp logaddexp addcmul softmin "
    "floor ceil round trunc frac ndtr erfc sinc log10".split()
)
LINEAR_MODULES = (nn.Identity, nn.Dropout)
