"""How long the server takes to draw each page: `python benchmarks/pages.py` prints one JSON document.

    {"pages": [{"page", "demo_ms", "large_ms"}], ...}

Medians over visits, each to another address of the page, of one run of its script, on a store of two small trained
networks (or the one in --demo) and on one of 48 million generated activations (10,000 images x 4,800 units, 200
classes; --large keeps it in a folder for another time). Pages that pass images through a network are marked.
"""

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from selviz.config import RunConfig, config_to_dict, run_name
from selviz.store import Store, write_activations, write_images, write_json, write_stage

IMAGES, LAYERS, UNITS, CLASSES = 10_000, 8, 600, 200
MODEL_PASS = ("unit", "ablation")
MAIN = Path(__file__).resolve().parents[1] / "app" / "main.py"


def large_store(data: Path) -> Store:
    """A run of generated activations with classes, metrics and images, written by the store's own writers."""
    import torch

    from selviz.metrics import layer_metrics

    store = Store(data)
    config = RunConfig("digits", "cnn", alpha=0, epochs=2)
    folder = store.run_path(run_name(config))
    if (folder / "summary.json").exists():
        return store
    random = np.random.default_rng(0)
    labels, names = random.permutation(np.arange(IMAGES) % CLASSES), [f"class {c}" for c in range(CLASSES)]
    picture = io.BytesIO()
    Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(picture, "PNG")
    pixel = picture.getvalue()
    write_images(store.path, "large", [pixel] * IMAGES, labels, names)
    write_json(folder / "config.json", config_to_dict(config))
    found, layer_names = [], [f"layer{layer}.relu" for layer in range(LAYERS)]

    def activations():
        for layer in range(LAYERS):
            tuning = random.gamma(1.0, size=(CLASSES, UNITS)).astype(np.float32)
            values = tuning[labels] * random.gamma(1.0, size=(IMAGES, UNITS)).astype(np.float32)
            found.append(layer_metrics(torch.from_numpy(values), torch.from_numpy(labels), CLASSES, shuffles=2))
            yield layer, values

    layers = pd.DataFrame({"layer": range(LAYERS), "name": layer_names, "units": UNITS, "signed": False})
    layers = layers.assign(depth=np.linspace(0, 1, LAYERS), squeeze=False)
    images = pd.DataFrame(
        {"image": range(IMAGES), "label": labels, "prediction": labels, "fold": np.arange(IMAGES) % 2}
    )
    write_activations(folder, layers, images, activations(), {"device": "cpu"})
    tables = {"layers": pd.DataFrame([{"layer": layer, **part["layer"]} for layer, part in enumerate(found)])}
    for name in ("units", "class_means"):
        tables[name] = pd.concat([part[name].assign(layer=layer) for layer, part in enumerate(found)])
    write_stage(folder, "metrics", tables, {})
    epochs = {"epoch": [1, 2], "loss": [2.0, 1.0], "penalty": 0.2, "train_accuracy": 0.5, "test_accuracy": 0.6}
    epochs = pd.DataFrame({**epochs, "mean_si": 0.3, "learning_rate": 0.1, "seconds": 1.5})
    per_layer = pd.DataFrame({"epoch": [1, 2], "layer": [0, 0], "mean_si": [0.1, 0.2]})
    write_stage(folder, "training", {"epochs": epochs, "epoch_layers": per_layer}, {})
    facts = {"fingerprint": "large", "test_accuracy": 0.6, "mean_si": 0.3, "mean_si_live": 0.3, "units": LAYERS * UNITS}
    facts |= {"dead": 0, "images": IMAGES, "classes": names, "null_mean": 0.1, "null_p95": 0.1, "layers": LAYERS}
    write_json(folder / "summary.json", {**facts, "kind": "trained", **config_to_dict(config)})
    return store


def small_store(data: Path) -> Store:
    """Two small trained networks."""
    from selviz.pipeline import train_run

    store = Store(data)
    for alpha in (0, -1):
        train_run(store, RunConfig("mnist-5k", "cnn", alpha=alpha, epochs=1))
    return store


def visits(store: Store, page: str, number: int) -> list[dict[str, str]]:
    """`number` different addresses of a page, spread over the store's units."""
    run = store.names()[0]
    units = store.units(run)
    rows = units.iloc[np.linspace(0, len(units) - 1, number).astype(int)].to_dict("records")
    if page == "units":
        return [{"run": run, "layer": row["layer"], "si": f"0.{n % 5}..1"} for n, row in enumerate(rows)]
    if page == "unit":
        return [{"run": run, "layer": row["layer"], "unit": str(row["unit"])} for row in rows]
    if page == "ablation":
        return [{"run": run, "silence": f"{row['layer']}:{row['unit']}"} for row in rows]
    if page == "compare":
        return [{"run": run, "runs": ",".join(store.names()[:6])}] * number
    return [{"run": run}] * number


def milliseconds(store: Store, page: str, number: int) -> tuple[float, str]:
    """Median time of one run of the page's script; and the first error that it showed, if any."""
    from streamlit.testing.v1 import AppTest

    os.environ |= {"SELVIZ_DATA": str(store.path), "SELVIZ_NO_DEMO": "1"}
    test = AppTest.from_file(str(MAIN), default_timeout=300).run()
    if page != "overview":
        test.switch_page(f"views/{page}.py")
    times, trouble = [], ""
    for address in visits(store, page, number + 1):
        test.query_params.clear()
        for name, value in address.items():
            test.query_params[name] = value
        started = time.perf_counter()
        test.run()
        times.append(1000 * (time.perf_counter() - started))
        shown = [element.value for kind in ("exception", "error") for element in test.get(kind)]
        trouble = trouble or (str(shown[0]) if shown else "")
    return statistics.median(times[1:]), trouble  # the first one fills caches and imports


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, help="a store to use as the small one")
    parser.add_argument("--large", type=Path, help="where the large store is, or shall be kept")
    parser.add_argument("--pages", help="only these, parted by commas")
    parser.add_argument("--visits", type=int, default=9)
    settings = parser.parse_args()
    pages = sorted(path.stem for path in (MAIN.parent / "views").glob("[a-z]*.py"))
    pages = [page for page in pages if settings.pages is None or page in settings.pages.split(",")]
    with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as scratch:
        small = Store(settings.demo) if settings.demo else small_store(Path(scratch) / "demo")
        large = large_store(settings.large or Path(scratch) / "large")
        rows = []
        for page in pages:
            row: dict = {"page": page, "model_pass": page in MODEL_PASS}
            for name, store in (("demo", small), ("large", large)):
                row[f"{name}_ms"], trouble = milliseconds(store, page, settings.visits)
                row |= {f"{name}_trouble": trouble} if trouble else {}
            rows.append(row)
    quick = [row for row in rows if not row["model_pass"]]
    worst = {name: max(row[name] for row in quick) for name in ("demo_ms", "large_ms")} if quick else {}
    print(json.dumps({"pages": rows, "worst_without_model_pass": worst, "visits": settings.visits}, indent=1))


if __name__ == "__main__":
    main()
