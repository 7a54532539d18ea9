"""What capturing and storing activations costs: `python benchmarks/speed/capture.py` prints one JSON document.

`throughput_ratio`: images a second that are captured and written, over bare forward passes of the same network on the
same batches in this process; `operators` says what the time of capturing and writing goes into (`operator_shares`;
`python` is DuckDB's writing too), `bare_operators` that of the passes. `bytes_per_activation` and `unit_read_ms` are of
a store of 48 million generated values.

`--dataset folder:PATH` measures only that ratio, on the evaluation images of a data set, decoded before; bare passes
and capture both normalise them batch by batch. Beside the ratio by the clock stands that of the processor's time, which
other work on the machine disturbs less. `--stand-in` captures 50,000 generated images with a network that has
the 22,720 units of ResNet-50's activation layers, but next to no arithmetic, writes the stage and computes the metrics
(with 2 label shuffles): `peak_gb` is the anonymous memory above that of the process with its network.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.speed.operator_shares import operator_shares
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


def throughput_figures(inputs=None, labels=None, classes: int = CLASSES, model="resnet20", rounds: int = 5) -> dict:
    """Median over `rounds` of the time of bare passes over the time of capturing and writing the same images."""
    import torch

    from selviz.networks import activations, models
    from selviz.networks.unit_network import UnitNetwork
    from selviz.runs import capture

    torch.manual_seed(0)
    if inputs is None:
        inputs = torch.randn(2000, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        labels = np.arange(len(inputs)) % classes
    images = len(inputs)
    network = UnitNetwork(models.build(model, classes, inputs.shape[1]).eval(), inputs[:1]).for_inference()
    layers, batch = layer_table(network), activations.batch_size(network)

    def bare() -> tuple[float, float]:
        started, working = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            for first in range(0, images, batch):
                network.logits(inputs[first : first + batch])
        return time.perf_counter() - started, time.process_time() - working

    def captured() -> tuple[float, float, float]:
        with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as folder:
            started, working = time.perf_counter(), time.process_time()
            found = capture.record(network, inputs, classes, Path(folder) / "partial" / "capture", "benchmark")
            observed = time.perf_counter() - started
            write_activations(folder, layers, image_table(found.logits, labels), enumerate(found.layers), {})
            return time.perf_counter() - started, observed, time.process_time() - working

    if images <= 2000:
        bare(), captured()
    ratios, observed, plain, processor = [], [], [], []
    for _ in range(rounds):
        (passes, passes_cpu), (everything, seen, cpu) = bare(), captured()
        processor.append(passes_cpu / cpu)
        ratios.append(passes / everything)
        observed.append(passes / seen)
        plain.append(passes)
    return {
        "throughput_ratio": statistics.median(ratios),
        "throughput_ratio_processor_time": statistics.median(processor),
        "throughput_ratio_without_writing": statistics.median(observed),
        "bare_images_per_s": images / statistics.median(plain),
        "operators": operator_shares(captured),
        "bare_operators": operator_shares(bare),
        "images": images,
        "batch": batch,
        "rounds": rounds,
    }


def dataset_figures(spec: str, model: str, rounds: int, images: int = IMAGES) -> dict:
    """The same ratio on `images` evaluation images of a data set, stratified."""
    from selviz import datasets

    dataset = datasets.load(spec, max_images=images)
    labels, classes = dataset.eval_labels.numpy(), len(dataset.class_names)
    return {"dataset": spec, **throughput_figures(dataset.view(), labels, classes, model, rounds)}


def stand_in_figures(images: int) -> dict:
    """Capture of `images` generated images with 22,720 units in 49 layers: peak anonymous memory and seconds."""
    import torch
    from torch import nn

    from selviz.networks.unit_network import UnitNetwork
    from selviz.runs import capture
    from selviz.selectivity import unit_tables

    stages = [(64, 3), (128, 4), (256, 6), (512, 3)]
    widths = [64] + [width for base, blocks in stages for _ in range(blocks) for width in (base, base, 4 * base)]
    classes = 1000

    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(3, 16), nn.Linear(16, classes)
            self.dense = nn.ModuleList(nn.Linear(16, width) for width in widths)
            self.relus = nn.ModuleList(nn.ReLU() for _ in widths)

        def forward(self, x):
            code = self.first(x.flatten(1))
            total = self.head(code)
            for dense, relu in zip(self.dense, self.relus):
                total = total + relu(dense(code)).mean(dim=1, keepdim=True)
            return total

    class Generated:
        """Images that exist when they are asked for."""

        shape = (images, 3, 1, 1)

        def __len__(self):
            return images

        def __getitem__(self, rows):
            first, last, _ = rows.indices(images)
            return torch.randn(last - first, 3, 1, 1, generator=torch.Generator().manual_seed(first))

    torch.manual_seed(0)
    network = UnitNetwork(Wide().eval(), torch.zeros(1, 3, 1, 1)).for_inference()
    labels = torch.arange(images) % classes
    with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as folder, PeakMemory() as peak:
        times = [time.perf_counter()]
        found = capture.record(network, Generated(), classes, Path(folder) / "partial" / "capture", "benchmark")
        times.append(time.perf_counter())
        after_recording = peak.bytes
        table = image_table(found.logits, labels.numpy())
        file = write_activations(folder, layer_table(network), table, enumerate(found.layers), {})
        times.append(time.perf_counter())
        after_writing = peak.bytes
        for values in found.layers:
            unit_tables.layer_metrics(torch.from_numpy(values), labels, classes, shuffles=2)
        times.append(time.perf_counter())
        return {
            "images": images,
            "units": sum(widths),
            "peak_gb": peak.bytes / 1e9,
            "peak_gb_recording": after_recording / 1e9,
            "peak_gb_recording_and_writing": after_writing / 1e9,
            "record_s": times[1] - times[0],
            "write_s": times[2] - times[1],
            "metrics_s": times[3] - times[2],
            "file_gb": file.stat().st_size / 1e9,
        }


class PeakMemory:
    """The most anonymous memory of this process above what it had at the start (Linux: RssAnon), looked at often."""

    def __enter__(self):
        self.bytes, self._begin, self._over = 0, self._now(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        while not self._over.wait(0.02):
            self.bytes = max(self.bytes, self._now() - self._begin)

    @staticmethod
    def _now() -> int:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def layer_table(network) -> pd.DataFrame:
    columns = ("name", "units", "depth", "signed", "squeeze")
    rows = [{name: getattr(layer, name) for name in columns} for layer in network.layers]
    return pd.DataFrame(rows).assign(layer=range(len(rows)))


def image_table(logits: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    table = {"image": range(len(labels)), "label": labels, "prediction": logits.argmax(axis=1), "fold": labels % 2}
    return pd.DataFrame(table)


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
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--dataset", metavar="SPEC", help="capture its evaluation images, such as folder:PATH")
    options.add_argument("--model", default="resnet20", help="(default: resnet20)")
    options.add_argument("--rounds", type=int, default=3, help="(default: 3)")
    options.add_argument("--stand-in", action="store_true", help="50,000 images x 22,720 units; takes 10 GB of disk")
    options.add_argument("--images", type=int, help="(default: 50000 of the stand-in, 10000 of a data set)")
    chosen = options.parse_args()
    if chosen.stand_in:
        print(json.dumps(stand_in_figures(chosen.images or 50_000)))
    elif chosen.dataset:
        print(json.dumps(dataset_figures(chosen.dataset, chosen.model, chosen.rounds, chosen.images or IMAGES)))
    else:
        print(json.dumps({**throughput_figures(), **store_figures()}))
