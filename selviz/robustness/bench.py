"""A network before images that are perturbed: `Bench(network, dataset, 1000).measure(Perturbation(...))`.

A perturbation is a corruption (by corrupt-tta, or pictures that others made) or an attack, at some levels: severities
1..5, or epsilons out of 255.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from selviz import statistics
from selviz.datasets import Dataset
from selviz.errors import SelvizError
from selviz.networks.activations import BATCH, observe
from selviz.networks.unit_network import UnitNetwork
from selviz.robustness import attacks, corrupted_sets, corruptions, decision_attack
from selviz.robustness.decision_attack import Rays, rays
from selviz.robustness.unit_shifts import layer_change, unit_changes

CLEAN, CORRUPTION, STORED, ATTACK = "clean", "corruption", "stored", "attack"
CIFAR = "corruption_cifar"  # corruptions with the constants of CIFAR-10-C
KIND_OF_CONSTANTS = {corruptions.IMAGENET: CORRUPTION, corruptions.CIFAR: CIFAR}
TRANSFER, RAYS = "transfer", "rays"  # attacks without gradients of the network itself
MAX_MEANS = 20_000  # class means of a level that are worth keeping: units x classes
Tables = dict[str, pd.DataFrame]
# Name, severity, pixels, image numbers -> pixels; for a CIFAR perturbation `constants` is given by name as well.
Corrupt = Callable[..., Tensor]


@dataclass(frozen=True)
class AttackSettings:
    """How the attacks are made; `target` is the name of the class aimed at, None for any wrong one.

    `queries` are those of RayS for each image; the others are of the attacks by gradients.
    """

    steps: int = attacks.STEPS
    restarts: int = 1
    random_start: bool = True
    target: str | None = None
    queries: int = decision_attack.QUERIES


@dataclass(frozen=True)
class Perturbation:
    """One corruption or attack, and its severities or epsilons; `folder` holds the pictures of a STORED one.

    Attacks are called `pgd`, `fgsm to CLASS`, `rays`, `transfer from RUN`.
    """

    kind: str
    name: str
    levels: tuple[float, ...]
    folder: str | None = None

    def keys(self) -> set[tuple[str, str, float]]:
        """Return (kind, name, level) of each level."""
        return {(self.kind, self.name, float(level)) for level in self.levels}


class _Level(NamedTuple):
    """What a network made of the images at one level."""

    level: float
    predictions: Tensor  # int32 [N]
    activations: Tensor  # [N, all units]
    labels: Tensor  # [N]
    paired: bool  # whether these are the clean images, perturbed
    pixel_change: float  # mean |perturbed - clean| out of 255, NaN where they are other images


class Bench:
    """A network and its first `images` evaluation images, perturbed and clean.

    `attack` says how attacks are made, `seed` fixes what is random in them and in corruptions. `corrupt` makes or
    reads corrupted pixels; by default they are made with `corruptions.corrupt`. `sources` are the other networks, by
    run, that transferred attacks are made on, each with its data set: of the same images.
    """

    def __init__(
        self,
        network: UnitNetwork,
        dataset: Dataset,
        images: int,
        seed: int = 0,
        corrupt: Corrupt | None = None,
        attack: AttackSettings = AttackSettings(),
        sources: Mapping[str, tuple[UnitNetwork, Dataset]] = {},
    ):
        self.network, self.dataset, self.seed, self.attack = network, dataset, seed, attack
        self.sources = sources
        self._rays: tuple[float, Rays] | None = None
        self.corrupt = corrupt or self._corrupt
        self.pixels, self.labels = dataset.eval_pixels[:images], dataset.eval_labels[:images]
        self.classes = len(dataset.class_names)
        logits, activations = observe(network, dataset.normalise(self.pixels))
        self.activations = torch.cat(activations, dim=1)
        self.right = (logits.argmax(dim=1) == self.labels).numpy()
        self.predictions = logits.argmax(dim=1).int()
        widths = [layer.units for layer in network.layers]
        self._unit_columns = {
            "layer": np.repeat(range(len(widths)), widths),
            "unit": np.concatenate([*map(np.arange, widths)]),
        }
        self._layer_rows = [slice(*bounds) for bounds in itertools.pairwise(np.cumsum([0, *widths]))]
        self._clean_units, _ = unit_changes(self.activations, self.labels, self.classes, self.activations)

    def clean(self) -> Tables:
        """Return the tables of the images as they are."""
        tables = self._tables([_Level(0.0, self.predictions, self.activations, self.labels, True, 0.0)])
        return {name: table.assign(kind=CLEAN, name=CLEAN) for name, table in tables.items()}

    def measure(self, perturbation: Perturbation, report: Callable[[float], None] = lambda level: None) -> Tables:
        """Return the tables of one perturbation, without their columns kind and name; `report` gets finished levels."""
        return self._tables(self._levels(perturbation, report))

    def perturbed(self, perturbation: Perturbation, level: float) -> Iterator[tuple[Tensor, Tensor]]:
        """Return (pixels 0..255, labels) of the images at one level, in batches."""
        if perturbation.kind == STORED:
            assert perturbation.folder is not None
            read = corrupted_sets.read(
                perturbation.folder, perturbation.name, int(level), self.dataset.class_names, len(self.labels)
            )
            if read.pixels.shape[1:] != tuple(self.pixels.shape[1:]):
                raise SelvizError(
                    f"{perturbation.name} in {perturbation.folder} has images of {read.pixels.shape[1:]} (channels, "
                    f"height, width); this network takes {tuple(self.pixels.shape[1:])}."
                )
            yield from _batches(torch.from_numpy(read.pixels), torch.from_numpy(read.labels))
        elif perturbation.kind in (CORRUPTION, CIFAR):
            more = {"constants": corruptions.CIFAR} if perturbation.kind == CIFAR else {}
            for pixels, labels, first in zip(
                torch.split(self.pixels, BATCH), torch.split(self.labels, BATCH), itertools.count(0, BATCH)
            ):
                numbers = range(first, first + len(pixels))
                yield self.corrupt(perturbation.name, int(level), pixels, numbers, **more), labels
        else:
            yield from _batches(self._attacked(perturbation, level), self.labels)

    def _attacked(self, perturbation: Perturbation, level: float) -> Tensor:
        attack, _, rest = perturbation.name.partition(" ")
        if attack == RAYS:
            found = self.rays(min((level for level in perturbation.levels if level > 0), default=0.0))
            return within(found, self.pixels, level)
        network, dataset = self.network, self.dataset
        if attack == TRANSFER:
            (network, dataset), attack = self.sources[rest.removeprefix("from ")], "pgd"
        return adversarial(network, dataset, self.pixels, self.labels, attack, level, self.attack, self.seed)

    def rays(self, stop_at: float) -> Rays:
        """Return the nearest wrong images that RayS finds: one search for all epsilons from `stop_at` on."""
        if self._rays is None or self._rays[0] != stop_at:
            predict = _predicting(self.network, self.dataset)
            self._rays = stop_at, rays(predict, self.pixels, self.labels, stop_at, self.attack.queries)
        return self._rays[1]

    def _corrupt(
        self, name: str, severity: int, pixels: Tensor, images: Sequence[int], constants: str = corruptions.IMAGENET
    ) -> Tensor:
        corrupted = corruptions.corrupt(pixels.numpy(), name, severity, self.seed, images, constants=constants)
        return torch.from_numpy(corrupted)

    def _levels(self, perturbation: Perturbation, report: Callable[[float], None]) -> Iterator[_Level]:
        paired = perturbation.kind != STORED
        for level in perturbation.levels:
            predictions, activations, labels, changed = [], [], [], []
            for first, (pixels, answers) in enumerate(self.perturbed(perturbation, level)):
                logits, values = observe(self.network, self.dataset.normalise(pixels))
                predictions.append(logits.argmax(dim=1).int())
                activations.append(torch.cat(values, dim=1))
                labels.append(answers)
                if paired:
                    clean = self.pixels[BATCH * first : BATCH * first + len(pixels)]
                    changed.append((pixels.float() - clean).abs().mean(dim=(1, 2, 3)))
            change = float(torch.cat(changed).mean()) if changed else float("nan")
            yield _Level(level, torch.cat(predictions), torch.cat(activations), torch.cat(labels), paired, change)
            report(level)

    def _tables(self, levels: Iterator[_Level] | list[_Level]) -> Tables:
        rows: list[dict[str, float]] = []
        layers: list[dict[str, float]] = []
        units, means, images = [], [], []
        for each in levels:
            right = (each.predictions == each.labels).numpy()
            low, high = statistics.wilson(right.sum(), len(right))
            clean = self.activations if each.paired else None
            table, by_class = unit_changes(each.activations, each.labels, self.classes, clean)
            by_layer = [
                {"level": each.level, "layer": position, **layer_change(table[part], self._clean_units[part])}
                for position, part in enumerate(self._layer_rows)
            ]
            columns = {name: np.repeat(values, self.classes) for name, values in self._unit_columns.items()}
            units.append(table.assign(level=each.level, **self._unit_columns))
            means.append(by_class.assign(level=each.level, **columns))
            layers += by_layer
            rows.append(
                {
                    "level": each.level,
                    "images": len(right),
                    "accuracy": right.mean(),
                    "low": float(low),
                    "high": float(high),
                    "lost": (self.right & ~right).sum() if each.paired else np.nan,
                    "gained": (~self.right & right).sum() if each.paired else np.nan,
                    "pixel_change": each.pixel_change,
                    "mean_si": float(np.mean([row["mean_si"] for row in by_layer])),
                }
            )
            answers = {"label": each.labels.int().numpy(), "prediction": each.predictions.numpy()}
            images.append(pd.DataFrame({"image": range(len(right)), **answers}).assign(level=each.level))
        class_means = pd.concat(means)
        return {
            "robustness": pd.DataFrame(rows),
            "robustness_layers": pd.DataFrame(layers),
            "robustness_units": pd.concat(units),
            "robustness_classes": class_means if len(class_means) <= MAX_MEANS * len(rows) else class_means[:0],
            "robustness_images": pd.concat(images),
        }


def _batches(pixels: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(pixels, BATCH), torch.split(labels, BATCH))


def adversarial(
    network: UnitNetwork,
    dataset: Dataset,
    pixels: Tensor,
    labels: Tensor,
    name: str,
    epsilon: float,
    attack: AttackSettings = AttackSettings(),
    seed: int = 0,
) -> Tensor:
    """Return adversarial pixels, float32 [N, C, H, W] of 0..255, of pixels and labels [N], by "fgsm", "pgd" or "rays".

    By RayS an image is changed only where a wrong one was found within epsilon.
    """
    if name == RAYS:
        found = rays(_predicting(network, dataset), pixels, labels, epsilon, attack.queries)
        return within(found, pixels, epsilon)

    def logits(x: Tensor) -> Tensor:
        return network.logits(dataset.normalise(x))

    targeted = attack.target is not None
    aims = torch.full_like(labels, dataset.class_names.index(attack.target)) if attack.target is not None else labels
    if name == "fgsm":
        return attacks.fgsm(logits, pixels, aims, epsilon, targeted)
    start, restarts = attack.random_start, attack.restarts
    return attacks.pgd(logits, pixels, aims, epsilon, attack.steps, None, start, restarts, targeted, seed)


def within(found: Rays, pixels: Tensor, epsilon: float) -> Tensor:
    """Return what RayS found at most epsilon away, and the images themselves where it found nothing so near."""
    near = (found.distance <= epsilon)[:, None, None, None]
    return torch.where(near, found.pixels, pixels.float())


def _predicting(network: UnitNetwork, dataset: Dataset) -> decision_attack.Predict:
    def predict(x: Tensor) -> Tensor:
        with torch.inference_mode():
            return network.logits(dataset.normalise(x)).argmax(dim=1)

    return predict
