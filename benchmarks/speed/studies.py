"""What studies cost beside the passes that they make: `python benchmarks/speed/studies.py` prints one JSON document.

Every study of a stored run, on a small network like the demo's (cnn) and on a resnet20, each with 1,000 images of
mnist-5k: profile curves, atlas, attacks, dimensionality, linear maps, sanity checks, early training, metrics, the power
of a claim and its report, which pass no image through the network (ratio null).
`ratio`: the time of the study over the time that it spends inside passes of a network, forward and backward, in
products of sets with what units add to logits, and in products of activations with the linear maps that are looked
for. Where it is above 1.3, `elsewhere` has the functions of selviz in which the rest of the time goes, as shares of the
whole (the stack is looked at every 5 ms). Shares of time of one run, so other work on the machine disturbs both sides
alike. `--only resnet20/atlas` measures one; `--quick` takes fewer settings.
The corruptions have a benchmark of their own, `benchmarks/speed/robustness.py`.
"""

import argparse
import collections
import contextlib
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from selviz.ablation.linear_sets import LinearResponse
from selviz.config import RunConfig
from selviz.geometry import linear_maps
from selviz.hypotheses import registry
from selviz.hypotheses.report import html_report
from selviz.runs.train import train_run
from selviz.store import Store
from selviz.studies import ablation, attribution, basis, dimensionality, early_training, robustness, unit_measures

LIMIT, LOOK_S, CLAIM = 1.3, 0.005, ("selective",)
MODELS = {"demo": "cnn", "resnet20": "resnet20"}


class PassTime:
    """The seconds spent inside passes of a network while this is entered, and where the rest is spent."""

    def __enter__(self) -> "PassTime":
        self.seconds, self._depth = 0.0, 0
        self.elsewhere: collections.Counter[str] = collections.Counter()
        self.looks = 0
        self._kept = [
            (owner, name, getattr(owner, name))
            for owner, name in (
                (nn.Module, "_call_impl"),
                (torch.autograd, "grad"),
                (torch.Tensor, "backward"),
                (LinearResponse, "sums"),
                (linear_maps, "mapped"),
            )
        ]
        for owner, name, function in self._kept:
            setattr(owner, name, self._timed(function))
        self._thread, self._main, self._over = threading.Thread(target=self._look), threading.get_ident(), False
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._thread.join()
        for owner, name, function in self._kept:
            setattr(owner, name, function)

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self._depth += 1
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - started

        return timed

    def _look(self) -> None:
        while not self._over:
            time.sleep(LOOK_S)
            self.looks += 1
            frame = None if self._depth else sys._current_frames().get(self._main)
            while frame is not None and "/selviz/" not in frame.f_code.co_filename:
                frame = frame.f_back
            if frame is not None:
                path = Path(frame.f_code.co_filename)
                self.elsewhere[f"{path.parent.name}.{path.stem}.{frame.f_code.co_name}"] += 1


def studies(store: Store, run: str, quick: bool) -> dict[str, Callable[[], object]]:
    """Return the studies by name."""
    images = 200 if quick else 1000
    layer = store.layers(run)["layer"].iloc[-1]
    return {
        "curves": partial(ablation.run_curves, store, run, layers=[layer, "network"], steps=3 if quick else 10),
        "atlas": partial(ablation.run_atlas, store, run),
        "attacks": partial(robustness.run_robustness, store, run, names=[], kinds=("pgd",), images=images // 5),
        "dimensionality": partial(dimensionality.run_dimensionality, store, run, names=[], images=images // 2),
        "linear maps": partial(
            basis.run_linear_maps, store, run, restarts=5, steps=20 if quick else 200, images=images // 2
        ),
        "sanity": partial(attribution.run_sanity, store, run),
        "early training": partial(early_training.run_early, store, run, steps=2),
        "metrics": partial(unit_measures.run_metrics, store, run),
        "power": partial(registry.preview, store, *CLAIM, {"run": run, "layer": layer, "k": 5}),
        "report": partial(html_report, store, _tested(store, run, layer)),
    }


def _tested(store: Store, run: str, layer: str) -> str:
    """Return the key of a claim that was tested."""
    key = registry.register(store, *CLAIM, {"run": run, "layer": layer, "k": 5, "draws": 20})["hypothesis"]
    registry.run_test(store, key)
    return str(key)


@contextlib.contextmanager
def stores() -> Iterator[dict[str, tuple[Store, str]]]:
    """Lend one store per model with a run of one epoch that kept its snapshots."""
    with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as folder:
        found = {}
        for name, model in MODELS.items():
            store = Store(Path(folder) / name)
            with contextlib.redirect_stdout(sys.stderr):
                summary = train_run(store, RunConfig("mnist-5k", model, epochs=1, snapshots=1))
            found[name] = (store, summary["run"])
        yield found


def measured(study: Callable[[], object]) -> dict[str, Any]:
    """Return one row of the document."""
    started = time.perf_counter()
    with PassTime() as passes:
        study()
    seconds = time.perf_counter() - started
    row: dict[str, Any] = {"seconds": round(seconds, 2), "passes_s": round(passes.seconds, 2)}
    row["ratio"] = round(seconds / passes.seconds, 2) if passes.seconds else None
    if row["ratio"] is None or row["ratio"] > LIMIT:
        row["elsewhere"] = {name: round(n / passes.looks, 2) for name, n in passes.elsewhere.most_common(4)}
    return row


def figures(quick: bool, only: str) -> dict[str, Any]:
    document: dict[str, Any] = {"threads": torch.get_num_threads(), "limit": LIMIT}
    with stores() as there:
        for name, (store, run) in there.items():
            for study, call in studies(store, run, quick).items():
                key = f"{name}/{study}"
                if not key.startswith(only):
                    continue
                try:
                    document[key] = measured(call)
                except Exception as error:
                    document[key] = {"error": str(error)}
                print(key, json.dumps(document[key]), file=sys.stderr, flush=True)
        shutil.rmtree(store.path, ignore_errors=True)
    return document


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", metavar="NAME", help="studies whose name begins so")
    options = parser.parse_args()
    print(json.dumps(figures(options.quick, options.only), indent=1))
