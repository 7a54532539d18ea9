"""What capturing and storing activations costs: `python benchmarks/capture.py` prints one JSON document.

`throughput_ratio`: images a second that are captured and written, over bare forward passes of the same network on the
same batches in this process. `bytes_per_activation` and `unit_read_ms` are of a store of 48 million generated values.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from selviz.store import Store, write_activations, write_images, write_json

IMAGES, LAYERS, UNITS, CLASSES = 10_000, 48, 100, 10


def store_figures(shape: float = 1.0, reads: int = 50) -> dict:
    """Write 48 million gamma-distributed float32 values without zeros; bytes a value, and the time to read one unit.

    `unit_read_ms` is the median of `Store.activations` over units not read before (labels and predictions of the images
    are remembered after the first, as in the app); `first_read_ms` is the very first, with nothing remembered.
    """
    with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as data:
        store = Store(data)
        folder = _write(store, shape)
        file = folder / "capture.duckdb"
        units = np.random.default_rng(1).permutation(LAYERS * UNITS)[:reads]
        times = [_timed(store, f"layer{unit // UNITS}.relu", int(unit % UNITS)) for unit in units]
        queries = [_timed_sql(store, f"layer{unit // UNITS}.relu", int(unit % UNITS)) for unit in units[:10]]
        started = time.perf_counter()
        store.sql("SELECT layer, unit, avg(value) FROM activations GROUP BY ALL")
        return {
            "activations": IMAGES * LAYERS * UNITS,
            "bytes_per_activation": file.stat().st_size / (IMAGES * LAYERS * UNITS),
            "write_s": _write.seconds,
            "unit_read_ms": statistics.median(times),
            "unit_read_ms_worst": max(times[1:]),
            "first_read_ms": times[0],
            "unit_sql_ms": statistics.median(queries),
            "all_means_s": time.perf_counter() - started,
        }


def throughput_figures(model: str = "resnet20", images: int = 2000, rounds: int = 5) -> dict:
    """Median over `rounds` of the time of bare passes over the time of capturing and writing the same images."""
    import torch

    from selviz import capture, models
    from selviz.network import UnitNetwork

    torch.manual_seed(0)
    network = UnitNetwork(models.build(model, CLASSES, 3).eval(), torch.zeros(1, 3, 32, 32)).frozen()
    inputs = torch.randn(images, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = np.arange(images) % CLASSES
    layers = pd.DataFrame(
        [
            {
                "layer": i,
                "name": layer.name,
                "units": layer.units,
                "depth": layer.depth,
                "signed": layer.signed,
                "squeeze": layer.squeeze,
            }
            for i, layer in enumerate(network.layers)
        ]
    )

    def bare() -> float:
        started = time.perf_counter()
        with torch.inference_mode():
            for batch in inputs.split(capture.BATCH):
                network.logits(batch)
        return time.perf_counter() - started

    def captured() -> tuple[float, float]:
        with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as folder:
            started = time.perf_counter()
            logits, activations = capture.observe(network, inputs)
            observed = time.perf_counter() - started
            predictions = logits.argmax(dim=1).numpy()
            table = {"image": range(images), "label": labels, "prediction": predictions, "fold": labels % 2}
            rows = ((i, values.numpy()) for i, values in enumerate(activations))
            write_activations(folder, layers, pd.DataFrame(table), rows, {})
            return time.perf_counter() - started, observed

    bare(), captured()
    ratios, observed, plain = [], [], []
    for _ in range(rounds):
        passes = bare()
        everything, seen = captured()
        ratios.append(passes / everything)
        observed.append(passes / seen)
        plain.append(passes)
    return {
        "throughput_ratio": statistics.median(ratios),
        "throughput_ratio_without_writing": statistics.median(observed),
        "bare_images_per_s": images / statistics.median(plain),
        "images": images,
        "rounds": rounds,
    }


def _write(store: Store, shape: float) -> Path:
    random = np.random.default_rng(0)
    folder = store.run_path("benchmark")
    folder.mkdir(parents=True)
    labels = np.arange(IMAGES) % CLASSES
    generating = 0.0

    def activations():
        nonlocal generating
        for layer in range(LAYERS):
            started = time.perf_counter()
            values = np.maximum(random.gamma(shape, size=(IMAGES, UNITS)), 1e-30).astype(np.float32)
            generating += time.perf_counter() - started
            yield layer, values

    layers = pd.DataFrame(
        {
            "layer": range(LAYERS),
            "name": [f"layer{layer}.relu" for layer in range(LAYERS)],
            "units": UNITS,
            "depth": np.linspace(0, 1, LAYERS),
            "signed": False,
            "squeeze": False,
        }
    )
    images = pd.DataFrame({"image": range(IMAGES), "label": labels, "prediction": labels, "fold": labels % 2})
    write_images(store.path, "benchmark", [b"x"] * IMAGES, labels, [str(name) for name in range(CLASSES)])
    started = time.perf_counter()
    write_activations(folder, layers, images, activations(), {})
    _write.seconds = time.perf_counter() - started - generating
    write_json(folder / "config.json", {"dataset": "benchmark", "model": "benchmark"})
    write_json(folder / "summary.json", {"fingerprint": "benchmark"})
    os.sync()
    return folder


def _timed(store: Store, layer: str, unit: int) -> float:
    started = time.perf_counter()
    table = store.activations("benchmark", layer, unit)
    milliseconds = (time.perf_counter() - started) * 1e3
    assert len(table) == IMAGES
    return milliseconds


def _timed_sql(store: Store, layer: str, unit: int) -> float:
    started = time.perf_counter()
    store.sql(f"SELECT image, value FROM activations WHERE layer = '{layer}' AND unit = {unit}")
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    print(json.dumps({**throughput_figures(), **store_figures()}))
