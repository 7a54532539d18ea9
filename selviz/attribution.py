"""Which pixels drive a unit: `values, delta = integrated_gradients(network, "relu3", 7, images)`."""

import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from selviz.errors import SelvizError
from selviz.network import UnitNetwork, check_units


def unit_response(network: UnitNetwork, layer: str, unit: int):
    """A function inputs [N, C, H, W] -> [N], the unit's activation: its mean over positions."""
    check_units(network.layer(layer), [unit])

    def response(inputs: Tensor) -> Tensor:
        maps = network.maps(inputs, layer)[:, unit]
        return maps.flatten(1).mean(dim=1) if maps.dim() > 1 else maps

    return response


def integrated_gradients(
    network: UnitNetwork,
    layer: str,
    unit: int,
    inputs: Tensor,
    baseline: Tensor | float = 0.0,
    steps: int = 50,
) -> tuple[Tensor, Tensor]:
    """Integrated gradients [N, C, H, W] of the unit on inputs [N, C, H, W], and the completeness delta [N].

    The map sums to activation(input) - activation(baseline) up to the delta (Sundararajan et al. 2017, by Captum's
    Gauss-Legendre quadrature). Uses no hooks, so threads may share the network. Raises SelvizError for a unit that
    does not exist or steps below 1.
    """
    if steps < 1:
        raise SelvizError(f"Integrated gradients need at least 1 step, not {steps}.")
    response = unit_response(network, layer, unit)
    with torch.enable_grad():
        values, delta = IntegratedGradients(response).attribute(
            inputs.detach().clone(),
            baselines=baseline,
            n_steps=steps,
            internal_batch_size=max(64, len(inputs)),
            return_convergence_delta=True,
        )
    return values.detach().float(), delta.detach().float()
