"""What is done to the chosen units: `changes(engine, {"relu3": [4, 7]}, "zero")` for `engine.stream`."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from selviz.ablation.engine import NOTHING, Engine
from selviz.errors import SelvizError, unknown
from selviz.networks.unit_edit import UnitEdit, check_units
from selviz.networks.unit_network import UnitNetwork

MODES = ("zero", "mean", "shuffle", "noise", "scale")
MAX_FACTOR = 3.0

Units = Mapping[str, Sequence[int]]
Statistics = Mapping[str, tuple[Tensor, Tensor]]


def check_choice(network: UnitNetwork, units: Units) -> dict[str, list[int]]:
    """Return the chosen units without empty layers, in forward order; SelvizError for an empty choice or a bad unit."""
    for name in units:
        network.layer(name)
    chosen = {layer.name: check_units(layer, units.get(layer.name, ())) for layer in network.layers}
    chosen = {name: numbers for name, numbers in chosen.items() if numbers}
    if not chosen:
        raise SelvizError(NOTHING)
    return chosen


def check_mode(mode: str, factor: float | None) -> float:
    """Return the factor that the mode works with: scale needs one, noise takes 1 without."""
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    if factor is None:
        if mode == "scale":
            raise SelvizError("Mode scale needs a factor, 0 to 3, such as 0.5: --factor 0.5.")
        return 1.0
    if mode not in ("scale", "noise"):
        raise SelvizError(f"Mode {mode} takes no factor; modes scale and noise do.")
    if not isinstance(factor, int | float) or not math.isfinite(factor) or not 0 <= factor <= MAX_FACTOR:
        raise SelvizError(f"The factor is {factor}; give a number from 0 to {MAX_FACTOR:g}.")
    return float(factor)


def complement(network: UnitNetwork, units: Units) -> dict[str, list[int]]:
    """Return the other units of the same layers: what *keep only* silences."""
    rest = {name: sorted(set(range(network.layer(name).units)) - set(chosen)) for name, chosen in units.items()}
    rest = {name: numbers for name, numbers in rest.items() if numbers}
    if not rest:
        raise SelvizError("Keeping every unit of the layer silences nothing; keep fewer.")
    return rest


def changes(
    engine: Engine,
    units: Units,
    mode: str = "zero",
    factor: float | None = None,
    statistics: Statistics | None = None,
    seed: int = 0,
) -> dict[str, UnitEdit]:
    """Return the edit of each layer of `units` (layer -> unit numbers).

    zero: the whole map is 0 (Morcos et al. 2018). scale: the map times `factor`, 0 to 3. mean: every position is the
    unit's mean over the evaluation images. shuffle: the map of another image, drawn at random. noise: the map is
    shifted, for each image by one draw from a normal distribution whose standard deviation is `factor` times that of
    the unit's activation over images, and not clipped. All but zero are selviz's choice of detail. `statistics` gives
    each layer's means and standard deviations ([U], [U]); without them they are taken from the engine's images.
    """
    factor = check_mode(mode, factor)
    chosen = check_choice(engine.network, units)
    return {
        name: _edit(engine, name, torch.tensor(numbers), mode, factor, statistics, seed + position)
        for position, (name, numbers) in enumerate(chosen.items())
    }


def _edit(
    engine: Engine,
    name: str,
    units: Tensor,
    mode: str,
    factor: float,
    statistics: Statistics | None,
    seed: int,
) -> UnitEdit:
    ones, zeros = torch.ones(len(units)), torch.zeros(len(units))
    if mode == "zero":
        return UnitEdit(units, zeros, zeros)
    if mode == "scale":
        return UnitEdit(units, factor * ones, zeros)
    if mode == "shuffle":
        return UnitEdit(units, zeros, engine.maps(name, units)[source_images(len(engine), seed)])
    if statistics is None:
        means, spread = engine.statistics(name, units)
    else:
        means, spread = (torch.as_tensor(part, dtype=torch.float32)[units] for part in statistics[name])
    if mode == "mean":
        return UnitEdit(units, zeros, means)
    return UnitEdit(units, ones, noise(len(engine), spread, factor, seed))


def noise(images: int, spread: Tensor, factor: float | None, seed: int) -> Tensor:
    """Return shifts [N, k]: normal draws with `factor` (1 by default) times the standard deviations `spread` [k]."""
    generator = torch.Generator().manual_seed(seed)
    return (1.0 if factor is None else factor) * spread * torch.randn(images, len(spread), generator=generator)


def source_images(images: int, seed: int) -> Tensor:
    """Return for each of N images another one, each used once: a rotation of a random order."""
    if images < 2:
        raise SelvizError("Shuffling a unit over images needs at least 2 images.")
    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed))
    source = torch.empty_like(order)
    source[order] = order.roll(1)
    return source


def random_sets(network: UnitNetwork, units: Units, draws: int, seed: int = 0) -> Iterator[dict[str, list[int]]]:
    """Draw `draws` sets with as many units of each layer as `units` has, at random from all units of the layer."""
    generator = random.Random(seed)
    sizes = {name: (network.layer(name).units, len(chosen)) for name, chosen in units.items()}
    for _ in range(draws):
        yield {name: sorted(generator.sample(range(width), count)) for name, (width, count) in sizes.items()}
