"""What is explained, as a number for each input: `Response(network, Target("relu3", 7), image)(inputs)` is [B]."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from selviz.errors import SelvizError
from selviz.networks.unit_edit import UnitEdit, check_units
from selviz.networks.unit_network import UnitNetwork


@dataclass(frozen=True)
class Target:
    """A unit (`layer`, `unit`), a class's logit (`label`), or that logit by way of the unit alone (all three).

    A unit's number is its activation, the mean over its positions. By way of a unit (selviz's choice): the class's
    logit as a function of the unit's map alone, everything else the network computes beside it held as it is on the
    image that is explained. Its change from a baseline is thus what putting the unit's map of the baseline in the place
    of its own does to the logit, and its gradient is the part of the logit's gradient that flows through the unit.
    """

    layer: str | None = None
    unit: int | None = None
    label: int | None = None

    def __post_init__(self) -> None:
        if (self.layer is None) != (self.unit is None) or (self.unit is None and self.label is None):
            raise SelvizError("Name what to explain: a layer and a unit, a class, or all three.")


class Response(nn.Module):
    """The target's number, [B], as a function of inputs [B, C, H, W]; `image` [1, C, H, W] is the one explained.

    `hooks` are the modules to hook where the network is a copy made by `network.hookable`. Raises SelvizError for a
    layer, unit or class that the network does not have.
    """

    def __init__(
        self, network: UnitNetwork, target: Target, image: Tensor, hooks: Mapping[str, nn.Module] | None = None
    ):
        super().__init__()
        self.network, self.target, self.hooks = network, target, dict(hooks or {})
        self.root = network.root  # Captum looks for ReLUs among the parts of a module
        if target.layer is not None and target.unit is not None:
            check_units(network.layer(target.layer), [target.unit])
        with torch.no_grad():
            classes = network.logits(image).shape[1] if target.label is not None else 0
            if target.label is not None and not 0 <= target.label < classes:
                raise SelvizError(f"The network has no class {target.label}; its classes are 0 to {classes - 1}.")
            self.image = image
            self.context: list[Tensor] = []
            if target.label is not None and target.layer is not None:
                self.context = network.boundary(image, [target.layer])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the target's number, [B], for inputs [B, C, H, W]."""
        layer, unit, label = self.target.layer, self.target.unit, self.target.label
        if layer is None or unit is None:
            return self.network.logits(inputs)[:, label]
        maps = self.network.maps(inputs, layer)
        if label is None:
            return maps[:, unit].flatten(1).mean(dim=1) if maps.dim() > 2 else maps[:, unit]
        edit = UnitEdit(torch.tensor([unit]), torch.zeros(1), maps[:, unit : unit + 1])
        return self.network.resume(self._context_of(len(inputs), layer), {layer: edit})[:, label]

    def _context_of(self, size: int, layer: str) -> list[Tensor]:
        """Return the image's values beside the unit, for `size` inputs."""
        if all(isinstance(part, Tensor) and len(part) == 1 for part in self.context):
            return [part.expand(size, *part.shape[1:]) for part in self.context]
        with torch.no_grad():  # the graph computes with the batch's size
            return self.network.boundary(self.image.expand(size, -1, -1, -1), [layer])


BATCH_PIXELS = 64 * 64 * 64  # computed at once: 64 images of 64 x 64 pixels


def images_at_once(image: Tensor) -> int:
    """Return how many images of the size of this one [..., H, W] are computed at once."""
    return max(4, min(64, BATCH_PIXELS // (image.shape[-1] * image.shape[-2])))


def target_values(response: Response, inputs: Tensor) -> Tensor:
    """Return the target's numbers, float64 [B], without gradients."""
    with torch.no_grad():
        return torch.cat([response(part) for part in torch.split(inputs, images_at_once(inputs))]).double()
