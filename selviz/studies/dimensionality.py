"""The dimensionality of a run's layers, clean and under perturbation: `run_dimensionality(Store("data"), run)`.

Stored as stage `dimensionality`, resumable: each finished layer lies in `partial/`.
"""

import hashlib
import json
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from selviz.errors import SelvizError
from selviz.geometry.dimensionality import gradient_variability, profile
from selviz.networks.activations import BATCH
from selviz.robustness import attacks, corruptions
from selviz.runs.load import load_network
from selviz.runs.stages import provenance
from selviz.store import Store, stage_is_whole, write_stage
from selviz.store.files import WEIGHTS, checksum
from selviz.store.partial_results import kept
from selviz.store.stage_files import record
from selviz.studies.robustness import ATTACK, CLEAN, CORRUPTION, Bench, Item
from selviz.system.locks import Claim

Report = Callable[[dict], None]
STAGE = "dimensionality"
NAMES = ("gaussian_noise", "motion_blur", "fog", "pixelate")  # one of each family
IMAGES, DRAWS = 500, 100
GRADIENT_IMAGES, GRADIENT_UNITS = 50, 32
MOST_BYTES = 256 * 2**20  # of a layer's maps; beyond it, positions evenly spread over the map stand for all


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
    report: Report = lambda news: None,
    again: bool = False,
) -> pd.DataFrame:
    """Components for 95 % of variance and participation ratio of each layer; returns `store.dimensionality(run)`.

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
    place = store.run_path(run)
    network, dataset = load_network(store, run)
    images = min(images, len(dataset.eval_labels))
    names, skipped = corruptions.usable(*dataset.eval_pixels.shape[2:], names)
    for reason in skipped.values():
        report({"skipped": reason})
    settings = {
        "weights": checksum(place / WEIGHTS)[:16],
        "corruptions": [*names], "severity": severity, "attacks": [*kinds], "epsilon": float(epsilon),
        "images": images, "draws": draws, "maps": maps, "seed": seed,
    }  # fmt: skip
    if not again and stage_is_whole(place, STAGE):
        known = record(place / f"{STAGE}.duckdb")["provenance"]
        if all(known.get(name) == value for name, value in settings.items()):
            return store.dimensionality(run)
    items = [Item(CORRUPTION, name, (float(severity),)) for name in names]
    items += [Item(ATTACK, kind, (float(epsilon),)) for kind in kinds]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    with Claim(place / "claim.json", f"run {run}"):
        work = _Work(Bench(network, dataset, images, seed, store.path), items, draws, maps, seed)
        parts, paths = [], []
        for position, layer in enumerate(network.layers):
            paths.append(place / "partial" / f"{STAGE}-{key}-{position}.npz")
            tables = kept(paths[-1], lambda name=layer.name: work.layer(name), again)
            parts.append({name: table.assign(layer=position) for name, table in tables.items()})
            report({"run": run, "stage": STAGE, "layer": layer.name, "done": position + 1, "of": len(network.layers)})
        table = pd.concat([part["rows"] for part in parts])
        told = [(CLEAN, CLEAN, 0.0), *((item.kind, item.name, item.levels[0]) for item in items)]
        for column, values in zip(("kind", "name", "level"), zip(*told)):
            table[column] = [values[number] for number in table["condition"]]
        table["over"] = np.where(table["over_maps"], "maps", "units")
        tables = {
            "dimensionality": table.drop(columns=["condition", "over_maps"]),
            "gradient_variability": pd.concat([part["gradients"] for part in parts]),
        }
        write_stage(place, STAGE, tables, {**provenance("cpu"), **settings})
        for path in paths:
            path.unlink(missing_ok=True)
    return store.dimensionality(run)


class _Work:
    """The images of one run, clean and perturbed, made when they are first needed."""

    def __init__(self, bench: Bench, items: list[Item], draws: int, maps: bool, seed: int):
        self.bench, self.items, self.draws, self.maps, self.seed = bench, items, draws, maps, seed
        self.pixels: list[torch.Tensor] = []

    def layer(self, name: str) -> dict[str, pd.DataFrame]:
        """The tables of one layer, in numbers."""
        if not self.pixels:
            self.pixels = [self.bench.pixels]
            self.pixels += [
                torch.cat([part for part, _ in self.bench.perturbed(item, item.levels[0])]) for item in self.items
            ]
        network, dataset = self.bench.network, self.bench.dataset
        layer = network.layer(name)
        rows, clean = [], None
        for condition, pixels in enumerate(self.pixels):
            found = self._arrays(pixels, layer)
            clean = found if condition == 0 else clean
            for over_maps, values in found.items():
                if over_maps and not self.maps:
                    continue
                changed = values if condition == 0 else values - clean[over_maps]
                draws = max(2, self.draws // 5) if over_maps else self.draws
                rows.append({"condition": condition, "over_maps": over_maps, **profile(changed, draws, seed=self.seed)})
        generator = np.random.default_rng(self.seed)
        units = np.sort(generator.permutation(layer.units)[:GRADIENT_UNITS])
        inputs = dataset.normalise(self.bench.pixels[:GRADIENT_IMAGES])
        _, row = gradient_variability(lambda x: _averaged(network.maps(x, name)), inputs, units)
        return {"rows": pd.DataFrame(rows), "gradients": pd.DataFrame([row])}

    @torch.no_grad()
    def _arrays(self, pixels: torch.Tensor, layer) -> dict[bool, np.ndarray]:
        """Float32 [N, U] of averaged units, under False, and [N, D] of whole maps under True."""
        positions = int(np.prod(layer.shape)) // layer.units
        room = max(1, MOST_BYTES // (4 * len(pixels) * layer.units))
        chosen = np.unique(np.linspace(0, positions - 1, min(positions, room)).astype(int))
        averaged, whole = [], []
        for part in pixels.split(BATCH):
            maps = self.bench.network.maps(self.bench.dataset.normalise(part), layer.name)
            averaged.append(_averaged(maps).numpy())
            if positions > 1 and self.maps:
                whole.append(maps.flatten(2)[:, :, chosen].flatten(1).numpy())
        found = {False: np.concatenate(averaged)}
        return found | ({True: np.concatenate(whole)} if whole else {})


def _averaged(maps: torch.Tensor) -> torch.Tensor:
    return maps.flatten(2).mean(dim=2) if maps.dim() > 2 else maps
