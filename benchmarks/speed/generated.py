"""Stores of any size for measurements: `store(folder, "large", Size(...), 2)`, made by selviz from generated images.

The network is as wide and deep as asked for and cheap: each unit of a layer follows from the one of its number in the
layer before. It is trained for an epoch, captured, and studied by the functions behind the commands, with few images
and draws where a study's tables do not grow with them.
"""

import functools
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import safetensors.torch
import torch
from torch import Tensor, nn

from selviz import datasets
from selviz.config import RunConfig, config_to_dict, run_name
from selviz.hypotheses.registry import register, run_test
from selviz.networks import models
from selviz.runs.train import train_run
from selviz.store import Store, read_json, write_json, write_stage
from selviz.store.files import WEIGHTS
from selviz.store.integrity import LISTED, checksums
from selviz.studies.ablation import run_curves
from selviz.studies.basis import run_linear_maps, run_similarity
from selviz.studies.dimensionality import run_dimensionality
from selviz.studies.robustness import run_robustness
from selviz.studies.unit_measures import run_metrics, run_unit_map

SIDE, PHOTOGRAPH_SIDE, TRAINING = 16, 112, 512  # pixels of an image of either sort, training images


class Size(NamedTuple):
    images: int
    layers: int
    units: int  # of each layer
    classes: int
    photographs: bool = False  # images as large as stored pictures get, with the spectrum of photographs; else noise


class Channelwise(nn.Module):
    """A convolution over patches of 8 x 8 pixels, then layers of units that each scale the one before, then a head."""

    def __init__(self, layers: int, units: int, classes: int, channels: int):
        super().__init__()
        self.patches = nn.Conv2d(channels, units, 8, stride=8)
        self.norms = nn.ModuleList(nn.BatchNorm2d(units) for _ in range(layers))
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(layers))
        self.head = nn.Linear(units, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        for norm, relu in zip(self.norms, self.relus):
            x = relu(norm(x))
        return self.head(x.mean(dim=(2, 3)))


def known(name: str, size: Size) -> None:
    """Makes `name` a data set and a network like any other in this process."""
    models.MODELS[name] = functools.partial(Channelwise, size.layers, size.units)
    datasets.DATASETS[name] = functools.cache(functools.partial(_images, name, size))


def _images(name: str, size: Size) -> datasets.Dataset:
    """Noise over one pattern a class, or what looks like photographs to a compressor."""
    random = np.random.default_rng(0)
    side = PHOTOGRAPH_SIDE if size.photographs else SIDE
    patterns = random.integers(0, 128, (size.classes, 3, SIDE, SIDE)).repeat(side // SIDE, 2).repeat(side // SIDE, 3)
    count = size.images + TRAINING
    labels = np.concatenate([random.permutation(size.classes) for _ in range(-(-count // size.classes))])[:count]
    if size.photographs:
        pixels = np.stack([_photograph(random, patterns[label]) for label in labels])
    else:
        noise = random.integers(0, 128, (count, 3, SIDE, SIDE), dtype=np.uint8)
        pixels = (patterns[labels] + noise).astype(np.uint8)
    seen, shown = labels[: size.images], pixels[: size.images]
    names = tuple(f"class {number}" for number in range(size.classes))
    return datasets.Dataset(
        name=name,
        class_names=names,
        training=lambda: (torch.from_numpy(pixels[size.images :]), torch.from_numpy(labels[size.images :])),
        eval_pixels=torch.from_numpy(shown),
        eval_labels=torch.from_numpy(seen),
        eval_folds=torch.from_numpy(datasets.folds(seen)),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        fingerprint=datasets.fingerprint(shown, seen, names),
    )


def _photograph(random: np.random.Generator, pattern: np.ndarray) -> np.ndarray:
    """Return uint8 [3, side, side] whose amplitudes fall with frequency as photographs' do (Field 1987, 1 / f)."""
    side = pattern.shape[-1]
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.normal(size=(4, side, side))) / frequency
    fields = np.fft.irfft2(spectrum, s=(side, side))
    fields /= fields.std(axis=(1, 2), keepdims=True)
    values = 128 + 45 * fields[:1] + 15 * fields[1:] + 0.3 * (pattern - 64)  # brightness, a little color, the class
    return np.clip(values, 0, 255).astype(np.uint8)


def store(folder: Path, name: str, size: Size, runs: int) -> Store:
    """A store of `runs` trained networks, the first with every stored study; one that is there is used as it is.

    From two runs on, two more baselines stand beside them, so that the Basis page has its yardstick. They have weights
    of their own and share the first one's captured units, which nothing compares.
    """
    known(name, size)
    found, done = Store(folder), folder / "generated.json"
    if done.exists():
        return found
    configs = [RunConfig(name, name, alpha=alpha, epochs=1) for alpha in (0, -1, 1)[:runs]]
    names = [train_run(found, config)["run"] for config in configs]
    for run in names:
        run_metrics(found, run)
    if runs > 1:
        for run in names:
            _studied(found, run)
        baselines = [names[0], *(_baseline(found, names[0], seed) for seed in (1, 2))]
        run_similarity(found, names, baselines, images=800, positions=1)
        for run in [*names, *baselines[1:]]:
            run_linear_maps(found, run, restarts=5, steps=5, images=800)
        layer = found.layers(names[0])["layer"].iloc[-1]
        tested = register(found, "selective", {"run": names[0], "layer": layer, "k": 5, "draws": 20})
        run_test(found, tested["hypothesis"])
        register(found, "predicts", {"run": names[1], "layer": layer})
    else:
        run_unit_map(found, names[0])
        _atlas(found, names[0])
    write_json(done, {"images": size.images, "units": size.layers * size.units})
    return found


def _studied(found: Store, run: str) -> None:
    run_unit_map(found, run)
    _atlas(found, run)
    run_curves(found, run, layers=["network"], steps=2)
    run_dimensionality(found, run, images=100, draws=10, maps=False)
    run_robustness(found, run, names=("gaussian_noise", "fog"), severities=(1, 3, 5), kinds=("fgsm",),
                   epsilons=(1.0, 4.0), images=200)  # fmt: skip


def _baseline(found: Store, run: str, seed: int) -> str:
    """A run of another seed beside `run`: weights as they are before training, everything stored shared."""
    first, settings = found.run_path(run), read_json(found.run_path(run) / "config.json")
    config = RunConfig(settings["dataset"], settings["model"], epochs=settings["epochs"], seed=seed)
    other = found.run_path(run_name(config))
    other.mkdir(parents=True, exist_ok=True)
    for stage in ("capture", "metrics", "training"):
        for file in (f"{stage}.duckdb", f"{stage}.json"):
            (other / file).unlink(missing_ok=True)
            os.link(first / file, other / file)
    about = {**read_json(first / "summary.json"), **config_to_dict(config), "run": other.name}
    torch.manual_seed(seed)
    model = models.build(config.model, len(about["classes"]), 3)
    safetensors.torch.save_file(model.state_dict(), other / WEIGHTS)
    write_json(other / "config.json", config_to_dict(config))
    write_json(other / "summary.json", {**about, LISTED: checksums(other)})
    return other.name


def _atlas(found: Store, run: str) -> None:
    """An atlas of made-up losses: the true one silences every unit on every image, which takes hours at this size."""
    random, about = np.random.default_rng(1), found.run(run)
    layers, classes, images = found.layers(run), len(about["classes"]), about["images"]
    units = pd.DataFrame(
        [(layer, unit) for layer, count in enumerate(layers["units"]) for unit in range(count)],
        columns=["layer", "unit"],
    )
    before = about["test_accuracy"]

    def losses(table: pd.DataFrame, images: int) -> pd.DataFrame:
        lost, gained = (random.poisson(most, len(table)) for most in (3, 1))
        after = np.clip(before - (lost - gained) / images, 0, 1)
        change = random.normal(0, 0.01, len(table))
        facts = {"images": images, "before": before, "after": after, "lost": lost, "gained": gained}
        return table.assign(**facts, loss_change=change, estimate=change + random.normal(0, 0.003, len(table)))

    by_class = units.loc[units.index.repeat(classes)].assign(**{"class": np.tile(np.arange(classes), len(units))})
    of_layers = pd.DataFrame({"layer": range(len(layers)), "units": layers["units"]})
    of_layers = of_layers.assign(estimate_to_loss=0.9, estimate_to_drop=0.5, si_to_drop=0.1)
    tables = {"atlas": losses(units, images), "atlas_classes": losses(by_class, images // classes)}
    write_stage(found.run_path(run), "atlas", {**tables, "atlas_layers": of_layers}, {"made_up": True})
