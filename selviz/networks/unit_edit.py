"""One intervention on units of a layer: `UnitEdit(units, gain, offset)`; `silence(network.layer("relu3"), [4, 7])`."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from selviz.errors import SelvizError
from selviz.networks.unit_layers import UnitLayer


@dataclass(frozen=True)
class UnitEdit:
    """How k units of one layer change: their maps become `map * gain + offset`; the other units stay.

    units [k]; gain [k]; offset [k], [N, k] or [N, k, *positions], unit axis second.
    """

    units: Tensor
    gain: Tensor
    offset: Tensor

    @cached_property
    def scales(self) -> bool:
        """Return whether the maps are scaled and nothing is added to them, as where units are silent."""
        return self.offset.dim() == 1 and not bool(self.offset.any())

    def to(self, device: torch.device) -> "UnitEdit":
        """Return the same edit on another device."""
        if self.offset.device == device:
            return self
        return UnitEdit(self.units.to(device), self.gain.to(device), self.offset.to(device))

    def of_images(self, rows: slice) -> "UnitEdit":
        """Return the same edit for some of the N images."""
        return UnitEdit(self.units, self.gain, self.offset[rows]) if self.offset.dim() > 1 else self

    def broadcast(self, layer: UnitLayer) -> tuple[Tensor, Tensor]:
        """Return gain and offset as they broadcast to the layer's own output, its unit axis where it lies."""
        gain, offset = (part.view(1, -1) if part.dim() == 1 else part for part in (self.gain, self.offset))
        missing = len(layer.shape) - 2
        gain = gain.view(*gain.shape, *(1,) * missing)
        offset = offset.view(*offset.shape, *(1,) * (missing + 2 - offset.dim()))
        return gain.movedim(1, layer.axis), offset.movedim(1, layer.axis)


def silence(layer: UnitLayer, units: Sequence[int], values: Tensor | float = 0.0) -> UnitEdit:
    """Return the edit that clamps these units' maps to 0, or to `values` (one per unit of `units`)."""
    chosen = torch.tensor(check_units(layer, units), dtype=torch.long)
    offset = torch.as_tensor(values, dtype=torch.float32).expand(len(chosen))
    return UnitEdit(chosen, torch.zeros(len(chosen)), offset)


def check_units(layer: UnitLayer, units: Iterable[int]) -> list[int]:
    """Return the same units as a list; SelvizError for one that the layer does not have or that stands twice."""
    numbers = [operator.index(unit) for unit in units]
    for unit in numbers:
        if not 0 <= unit < layer.units:
            raise SelvizError(f"Layer {layer.name!r} has no unit {unit}; its units are 0 to {layer.units - 1}.")
    if len(set(numbers)) < len(numbers):
        twice = min(unit for unit in set(numbers) if numbers.count(unit) > 1)
        raise SelvizError(f"Unit {twice} of layer {layer.name!r} is named twice; name each unit once.")
    return numbers


def edited(value: Tensor, units: Tensor, gain: Tensor, offset: Tensor, axis: int) -> Tensor:
    """Return a copy of `value` whose `units` along `axis` are `value * gain + offset`; these broadcast to its shape."""
    chosen = value.index_select(axis, units) * gain + offset
    return value.index_copy(axis, units, chosen.to(value.dtype))
