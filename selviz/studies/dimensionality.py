"""Measure the dimensionality of a run's layers, clean and perturbed: `run_dimensionality(Store("data"), run)`.

Stored as stage `dimensionality`; goes on where it was cut off.
"""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from selviz.errors import SelvizError
from selviz.geometry.dimensionality import gradient_variability, profile
from selviz.networks.activations import BATCH
from selviz.networks.unit_layers import UnitLayer
from selviz.robustness import attacks, corruptions
from selviz.robustness.bench import ATTACK, CLEAN, CORRUPTION, Bench, Perturbation
from selviz.runs.load import load_network
from selviz.store import Store
from selviz.studies.corrupted_pictures import CorruptedPictures
from selviz.studies.stage_writing import Tables, is_up_to_date, weights_version, writing_stage
from selviz.system.progress import Report, silent

STAGE = "dimensionality"
NAMES = ("gaussian_noise", "motion_blur", "fog", "pixelate")  # one of each family
IMAGES, DRAWS = 500, 100
GRADIENT_IMAGES, GRADIENT_UNITS = 50, 32
MAX_BYTES = 256 * 2**20  # of a layer's maps; beyond it, positions evenly spread over the map stand for all


def run_dimensionality(
    store: Store,
    run: str,
    names: Sequence[str] = NAMES,
    severity: int = 3,
    kinds: Sequence[str] = ("pgd",),
    epsilon: float = 2.0,
    images: int = IMAGES,
    draws: int = DRAWS,
    maps: bool = True,
    seed: int = 0,
    report: Report = silent,
    again: bool = False,
) -> pd.DataFrame:
    """Measure components for 95 % of variance and participation ratio of each layer; return `store.dimensionality`.

    Of the clean activations of the first `images` evaluation images, and of their change under each corruption of
    `names` at `severity` and each attack of `kinds` at `epsilon`; over spatially averaged units and, with `maps`, over
    all positions. With `draws` bootstrap samples (a fifth for maps). `store.gradient_variability(run)` has the rest. A
    finished one with the same settings is returned as it is unless `again`. Raises SelvizError for bad settings.
    """
    for name in names:
        corruptions.check(name, severity)
    attacks.check_epsilon(epsilon)
    if images < 10 or draws < 2:
        raise SelvizError(f"Dimensionality needs at least 10 images and 2 draws, not {images} and {draws}.")
    store.run(run)
    network, dataset = load_network(store, run)
    images = min(images, len(dataset.eval_labels))
    height, width = dataset.eval_pixels.shape[2:]
    names, skipped = corruptions.usable(height, width, names)
    for reason in skipped.values():
        report({"skipped": reason})
    settings = {
        "weights": weights_version(store, run),
        "corruptions": [*names], "severity": severity, "attacks": [*kinds], "epsilon": float(epsilon),
        "images": images, "draws": draws, "maps": maps, "seed": seed,
    }  # fmt: skip
    if not again and is_up_to_date(store.run_path(run), STAGE, settings):
        return store.dimensionality(run)
    perturbations = [Perturbation(CORRUPTION, name, (float(severity),)) for name in names]
    perturbations += [Perturbation(ATTACK, attack, (float(epsilon),)) for attack in kinds]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    with writing_stage(store, run, STAGE, again) as stage:
        bench = Bench(network, dataset, images, seed, CorruptedPictures(store.path, dataset, images, seed))
        measurement = _Measurement(bench, perturbations, draws, maps, seed)
        parts: list[Tables] = []
        for position, layer in enumerate(network.layers):

            def measure(layer: UnitLayer = layer) -> Tables:
                return measurement.of_layer(layer)

            tables = stage.part(f"{key}-{position}", measure)
            parts.append({name: table.assign(layer=position) for name, table in tables.items()})
            report({"run": run, "stage": STAGE, "layer": layer.name, "done": position + 1, "of": len(network.layers)})
        table = pd.concat([part["rows"] for part in parts])
        conditions = [(CLEAN, CLEAN, 0.0), *((each.kind, each.name, each.levels[0]) for each in perturbations)]
        for column, values in zip(("kind", "name", "level"), zip(*conditions)):
            table[column] = [values[number] for number in table["condition"]]
        table["over"] = np.where(table["over_maps"], "maps", "units")
        tables = {
            "dimensionality": table.drop(columns=["condition", "over_maps"]),
            "gradient_variability": pd.concat([part["gradients"] for part in parts]),
        }
        stage.write(tables, settings)
    return store.dimensionality(run)


class _Measurement:
    """The images of one run, clean and perturbed, made when they are first needed, and what layers make of them."""

    def __init__(self, bench: Bench, perturbations: list[Perturbation], draws: int, maps: bool, seed: int):
        self.bench, self.perturbations = bench, perturbations
        self.draws, self.maps, self.seed = draws, maps, seed
        self.pixels: list[torch.Tensor] = []

    def of_layer(self, layer: UnitLayer) -> Tables:
        """Return the tables of one layer, in numbers: `rows`, one per condition, and `gradients`."""
        if not self.pixels:
            self.pixels = [self.bench.pixels]
            self.pixels += [
                torch.cat([part for part, _ in self.bench.perturbed(each, each.levels[0])])
                for each in self.perturbations
            ]
        network, dataset = self.bench.network, self.bench.dataset
        clean, rows = self._arrays(self.pixels[0], layer), []
        for condition, pixels in enumerate(self.pixels):
            arrays = clean if condition == 0 else self._arrays(pixels, layer)
            for over_maps, values in arrays.items():
                changed = values if condition == 0 else values - clean[over_maps]
                draws = max(2, self.draws // 5) if over_maps else self.draws
                rows.append({"condition": condition, "over_maps": over_maps, **profile(changed, draws, seed=self.seed)})
        generator = np.random.default_rng(self.seed)
        units = np.sort(generator.permutation(layer.units)[:GRADIENT_UNITS])
        inputs = dataset.normalise(self.bench.pixels[:GRADIENT_IMAGES])
        _, row = gradient_variability(lambda x: _averaged(network.maps(x, layer.name)), inputs, units)
        return {"rows": pd.DataFrame(rows), "gradients": pd.DataFrame([row])}

    @torch.no_grad()
    def _arrays(self, pixels: torch.Tensor, layer: UnitLayer) -> dict[bool, np.ndarray]:
        """Return float32 [N, U] of averaged units, under False, and [N, D] of whole maps under True."""
        positions = int(np.prod(layer.shape)) // layer.units
        room = max(1, MAX_BYTES // (4 * len(pixels) * layer.units))
        chosen = np.unique(np.linspace(0, positions - 1, min(positions, room)).astype(int))
        averaged, whole = [], []
        for part in torch.split(pixels, BATCH):
            maps = self.bench.network.maps(self.bench.dataset.normalise(part), layer.name)
            averaged.append(_averaged(maps).numpy())
            if positions > 1 and self.maps:
                whole.append(maps.flatten(2)[:, :, chosen].flatten(1).numpy())
        arrays = {False: np.concatenate(averaged)}
        return arrays | ({True: np.concatenate(whole)} if whole else {})


def _averaged(maps: torch.Tensor) -> torch.Tensor:
    """Return activations [N, U] of maps [N, U, *positions]: the mean over positions."""
    return maps.flatten(2).mean(dim=2) if maps.dim() > 2 else maps
