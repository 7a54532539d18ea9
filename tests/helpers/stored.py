"""Made-up runs, written to real files through the store's own writers: `make_run(Store(folder))`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from selviz.config import RunConfig, config_to_dict, run_name
from selviz.store import (
    Store,
    write_activations,
    write_images,
    write_json,
    write_stage,
)
from selviz.store.schema import stored_columns

IMAGES, CLASSES, LAYERS = 40, ["zero", "one", "two", "three"], {"conv1.relu": 3, "conv2.relu": 2}
LABELS = np.arange(IMAGES) % len(CLASSES)
ROOT = Path(__file__).parents[2]


def activations(seed: int) -> list[np.ndarray]:
    """One array [N, U] a layer."""
    random = np.random.default_rng(seed)
    return [random.gamma(2, size=(IMAGES, units)).astype(np.float32) for units in LAYERS.values()]


def layer_table():
    return pd.DataFrame(
        {
            "layer": range(len(LAYERS)),
            "name": list(LAYERS),
            "units": list(LAYERS.values()),
            "depth": [0.25, 0.75],
            "signed": False,
            "squeeze": False,
        }
    )


def image_table():
    return pd.DataFrame({"image": range(IMAGES), "label": LABELS, "prediction": (LABELS + 1) % 4, "fold": LABELS // 2})


def metrics(values: list[np.ndarray]) -> dict[str, pd.DataFrame]:
    """The tables of the metrics stage; SI is a number that says which unit it belongs to, all else is real."""
    units, class_means = [], []
    for layer, array in enumerate(values):
        means = np.array([array[label == LABELS].mean(0) for label in range(len(CLASSES))])
        for unit in range(array.shape[1]):
            units.append((layer, unit, layer + unit / 10, int(means[:, unit].argmax()), array[:, unit].mean()))
            class_means += [(layer, unit, label, means[label, unit], 1.0, 10) for label in range(len(CLASSES))]
    units = pd.DataFrame(units, columns=["layer", "unit", "si", "preferred_class", "mean_activation"])
    return {
        "layers": pd.DataFrame(
            {"layer": [0, 1], "units": list(LAYERS.values()), "mean_si": [0.1, 1.05], "dead": 0}
        ).assign(mean_si_live=[0.1, 1.05], null_mean=0.05, null_p95=0.1),
        "units": units.assign(null_mean=0.05, null_p95=0.1, std=1.0, max_activation=9.0, zero_share=0.0, dead=False),
        "class_means": pd.DataFrame(class_means, columns=["layer", "unit", "class", "mean", "std", "images"]),
    }


def make_run(store: Store, alpha: float = 0.0, seed: int = 0, **summary) -> str:
    """A finished run of made-up activations, written as the pipeline writes one; returns its name."""
    config = RunConfig("digits", "cnn", alpha=alpha, seed=seed, epochs=2)
    run = run_name(config)
    folder, values = store.run_path(run), activations(seed)
    write_json(folder / "config.json", config_to_dict(config))
    write_images(store.path, "f1", [f"picture {i}".encode() for i in range(IMAGES)], LABELS, CLASSES)
    epochs = pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "penalty": 0.2, "train_accuracy": 0.5})
    epochs = epochs.assign(test_accuracy=[0.4, 0.6], mean_si=0.3, learning_rate=0.1, seconds=1.5)
    epoch_layers = pd.DataFrame({"epoch": [1, 1, 2, 2], "layer": [0, 1, 0, 1], "mean_si": [0.1, 0.2, 0.3, 0.4]})
    write_stage(folder, "training", {"epochs": epochs, "epoch_layers": epoch_layers}, {})
    write_activations(folder, layer_table(), image_table(), enumerate(values), {"device": "cpu"})
    write_stage(folder, "metrics", metrics(values), {})
    facts = {"fingerprint": "f1", "test_accuracy": 0.6, "mean_si": 0.3, "units": 5, "dead": 0, "images": IMAGES}
    write_json(folder / "summary.json", {**facts, **summary})
    return run


def write_answers(store: Store, run: str, right: dict[tuple[str, str, float], np.ndarray], **settings) -> None:
    """A robustness stage of a made-up run: by kind, name and level, which of its images [N] its network is right on."""
    rows = [
        pd.DataFrame({"image": range(IMAGES), "label": LABELS, "prediction": np.where(known, LABELS, (LABELS + 1) % 4)})
        .assign(kind=kind, name=name, level=level)
        for (kind, name, level), known in right.items()
    ]  # fmt: skip
    empty = {name: pd.DataFrame(columns=list(columns)) for name, columns in stored_columns("robustness").items()}
    settings = {"images": IMAGES, "seed": 0, **settings}
    write_stage(store.run_path(run), "robustness", empty | {"robustness_images": pd.concat(rows)}, settings)


def python(code: str, *argv, **options):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, argv)], capture_output=True, text=True, cwd=ROOT, check=False, **options
    )


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(number: int) -> dict:
    return {"numbers": pd.DataFrame({"position": np.arange(30_000), "number": number})}


def number_in(folder: Path) -> int:
    """The one number of which the stage `numbers` is full, read through the store's own reader."""
    from selviz.store.queries import read

    table = read({"stage": folder / "numbers.duckdb"}, "SELECT number, count(*) AS n FROM stage.numbers GROUP BY 1")
    assert table["n"].tolist() == [30_000]
    return int(table["number"][0])
