"""Weights that are computed from others on each pass, as plain ones: `with_plain_parameters(model)`.

Weight norm, spectral norm, orthogonal weights, pruning and other parametrizations change nothing between two passes in
evaluation mode, and a stored network holds the weights that they give.
"""

import copy
import warnings

import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from selviz.errors import SelvizError, first_line

# Names of the hooks with which old versions of torch compute a weight -> what takes one off.
OLD_HOOKS = {"WeightNorm": nn.utils.remove_weight_norm, "SpectralNorm": nn.utils.remove_spectral_norm}


def with_plain_parameters(model: nn.Module) -> nn.Module:
    """Return the model itself if its weights are plain ones, else a copy in evaluation mode whose weights are.

    SelvizError for a parametrization that cannot be taken off.
    """
    if not any(_parametrized(module) for module in model.modules()):
        return model
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            plain = copy.deepcopy(model).eval()
            for module in list(plain.modules()):
                if parametrize.is_parametrized(module):
                    _fixed(module)
                for hook in _old_hooks(module):
                    if isinstance(hook, prune.BasePruningMethod):
                        prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]
                    else:
                        OLD_HOOKS[type(hook).__name__](module, name=hook.name)  # type: ignore[attr-defined]
            return plain.requires_grad_(False)
    except Exception as error:  # somebody else's parametrization may raise anything
        raise SelvizError(
            f"The weights of {type(model).__name__} are computed from others, and cannot be made plain ones "
            f"({first_line(error)[:200]}); use torch.nn.utils.parametrize.remove_parametrizations before."
        ) from error


def _fixed(module: nn.Module) -> None:
    """Let a parametrized module hold the weights that it computes.

    Not by torch's own remove_parametrizations, which changes the class that the copy shares with the original.
    """
    parametrized = module.parametrizations
    assert isinstance(parametrized, nn.ModuleDict)
    weights = {name: getattr(module, name).detach().clone() for name in parametrized}
    module.__class__ = type(module).__bases__[0]
    del module._modules["parametrizations"]
    for name, weight in weights.items():
        module.register_parameter(name, nn.Parameter(weight))


def _parametrized(module: nn.Module) -> bool:
    return parametrize.is_parametrized(module) or bool(_old_hooks(module))


def _old_hooks(module: nn.Module) -> list[object]:
    return [
        hook
        for hook in module._forward_pre_hooks.values()
        if type(hook).__name__ in OLD_HOOKS or isinstance(hook, prune.BasePruningMethod)
    ]
