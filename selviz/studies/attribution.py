"""Attribute a run's answers to pixels: `explain(store, run, image, "relu3", 7)`, `run_sanity(store, run, "gradcam")`.

The first answers for one image at once; the second is a stage, which says of a method what to think of its maps.
"""

import datetime
import hashlib
import json
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from selviz import attribution
from selviz.attribution import Target
from selviz.datasets import Dataset
from selviz.errors import SelvizError, unknown
from selviz.networks.unit_network import UnitNetwork
from selviz.runs.load import load_network
from selviz.store import Store, stage_is_whole
from selviz.store.files import WEIGHTS, checksum
from selviz.studies.stage_writing import writing_stage
from selviz.system.progress import ProgressEvent, Report, silent

BASELINES = ("black", "mean")
MIN_IMAGES = 20
SANITY = "sanity"
LOGITS = "logits"  # the name that the classes' logits have among the layers of the sanity checks


def explain(
    store: Store,
    run: str,
    image: int,
    layer: str | None = None,
    unit: int | None = None,
    label: str | None = None,
    method: str = "integrated_gradients",
    baseline: str = "black",
    faithful: bool = True,
    loaded: tuple[UnitNetwork, Dataset] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Return where in one evaluation image a unit, a class's logit, or the logit by way of the unit comes from.

    `label` is a class's name; `baseline` a black image or the data set's mean one; `settings` those of
    `attribution.attribute` and of its methods. Gives {"run", "image", "layer", "unit", "class", "method",
    "computed_by", "baseline", "parameters", "values" [C, H, W] or [U, *positions], "map" [H, W], "sum", "delta"}, with
    `faithful` what `attribution.faithfulness` gives, and as "sanity" the method's stored sanity check, or None.
    """
    network, dataset = loaded or load_network(store, run)
    pixels = check_image(dataset, image)
    target = Target(layer, unit, class_number(dataset, label))
    start = baseline_image(dataset, baseline)
    inputs = dataset.normalise(pixels)
    if method == "integrated_gradients" and layer is not None and unit is not None and label is None:
        row = store.unit(run, layer, unit)
        settings = {"scale": row["std"], **settings}
    answer = attribution.attribute(network, target, inputs, method, start, **settings)
    result: dict[str, Any] = {
        "run": run,
        "image": int(image),
        "layer": layer,
        "unit": unit,
        "class": label,
        "method": method,
        "computed_by": attribution.COMPUTED_BY,
        "baseline": baseline,
        "parameters": answer.parameters,
        "values": answer.values[0].numpy(),
        "map": answer.maps[0].numpy(),
        "sum": float(answer.values.sum()),
        "delta": None if answer.delta is None else float(answer.delta[0]),
    }
    if faithful:
        result |= attribution.faithfulness(network, target, inputs, answer.maps[0], start)
    stored = stored_sanity(store, run, method, layer if target.label is None else None)
    return {**result, "sanity": None if stored is None else attribution.sanity_summary(stored)}


def check_image(dataset: Dataset, image: int) -> Tensor:
    """Return the pixels [1, C, H, W] of an evaluation image; SelvizError where there is none of that number."""
    if not 0 <= image < len(dataset.eval_pixels):
        raise SelvizError(f"There is no image {image}; evaluation images are 0 to {len(dataset.eval_pixels) - 1}.")
    return dataset.eval_pixels[image : image + 1]


def class_number(dataset: Dataset, label: str | None) -> int | None:
    """Return the position of a class's name, None for None; SelvizError for an unknown one."""
    if label is None:
        return None
    if label not in dataset.class_names:
        raise unknown("class", label, dataset.class_names)
    return dataset.class_names.index(label)


def baseline_image(dataset: Dataset, name: str) -> Tensor:
    """Return what an absent pixel is, as an input [1, C, H, W]: a black image, or the data set's mean color."""
    if name not in BASELINES:
        raise unknown("baseline", name, BASELINES)
    empty = torch.zeros_like(dataset.eval_pixels[:1])
    return dataset.normalise(empty) if name == "black" else torch.zeros(empty.shape)


def run_sanity(
    store: Store,
    run: str,
    method: str = "integrated_gradients",
    layer: str | None = None,
    images: int = 24,
    baseline: str = "black",
    seed: int = 0,
    again: bool = False,
    report: Report = silent,
    **settings: Any,
) -> pd.DataFrame:
    """Measure how a method's maps change as weights become random; return one row per step and image.

    `attribution.sanity`, of units of `layer`, or of the predicted class's logit without one. The images are the first
    evaluation images, which are balanced over classes; each is explained for one unit, drawn from those that are not 0
    on it. Stored as stage `sanity` under a hash of the settings and the weights, beside those of other methods, layers
    and settings; a stored one is returned as it is unless `again`. Raises SelvizError for fewer than 20 images.
    """
    if images < MIN_IMAGES:
        raise SelvizError(f"A sanity check needs at least {MIN_IMAGES} images, not {images}.")
    network, dataset = load_network(store, run)
    if layer is not None:
        network.layer(layer)
    own = attribution.check(method, {name: settings.pop(name) for name in list(settings) if name not in _SHARED})
    parameters = {**attribution.parameters(method), **own, **settings, "images": images, "seed": seed}
    parameters["baseline"] = baseline
    weights = checksum(store.run_path(run) / WEIGHTS)
    text = json.dumps({**parameters, "weights": weights}, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:8]
    stored = None if again else stored_sanity(store, run, method, layer, key)
    if stored is not None:
        return stored
    with writing_stage(store, run, SANITY) as stage:
        rows, targets = _examples(store, run, layer, images, seed)
        inputs, start = dataset.normalise(dataset.eval_pixels[rows]), baseline_image(dataset, baseline)

        def report_step(event: ProgressEvent) -> None:
            report({"run": run, "stage": f"sanity of {method}", **event})

        table = attribution.sanity(network, targets, inputs, method, start, seed, report_step, **own, **settings)
        position = -1 if layer is None else [each.name for each in network.layers].index(layer)
        chosen = table["image"].to_numpy()
        table = table.assign(
            layer=position,
            method=method,
            settings=key,
            parameters=json.dumps(parameters, sort_keys=True),
            written=datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
            image=np.array(rows)[chosen],
            unit=pd.array([targets[number].unit for number in chosen], dtype="Int64"),
            **{"class": pd.array([targets[number].label for number in chosen], dtype="Int64")},
        )
        stage.write({SANITY: table}, {}, merge_on=("layer", "method", "settings"))
    return table if (stored := stored_sanity(store, run, method, layer, key)) is None else stored


_SHARED = ("smooth", "noise")


def _examples(store: Store, run: str, layer: str | None, images: int, seed: int) -> tuple[list[int], list[Target]]:
    """Return image numbers, and for each what is explained."""
    table = store.images(run)
    if layer is None:
        predicted = table["prediction_index"].head(images)
        return list(range(len(predicted))), [Target(label=int(label)) for label in predicted]
    values, generator = store.matrix(run, layer), np.random.default_rng(seed)
    rows = np.flatnonzero((values != 0).any(axis=1))[:images]
    if len(rows) < MIN_IMAGES:
        raise SelvizError(f"Layer {layer} has units that are not 0 on {len(rows)} images only; name another layer.")
    units = [int(generator.choice(np.flatnonzero(values[row]))) for row in rows]
    return rows.tolist(), [Target(layer, unit) for unit in units]


def stored_sanity(
    store: Store, run: str, method: str, layer: str | None = None, settings: str | None = None
) -> pd.DataFrame | None:
    """Return the stored sanity check of a method and layer (None: logits), of these settings or the newest; or None."""
    if not stage_is_whole(store.run_path(run), SANITY):
        return None
    table = store.sanity(run)
    checks = table[(table["method"] == method) & (table["layer"] == (layer or LOGITS))]
    settings = settings or (checks.sort_values("written")["settings"].iloc[-1] if len(checks) else None)
    check = checks[checks["settings"] == settings].reset_index(drop=True)
    return check if len(check) else None
