"""What a visitor names, found in the store: runs, layers, units, classes; SelvizError for what is not there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from selviz.errors import SelvizError, unknown
from selviz.hypotheses import option_parsing, samples
from selviz.runs import families
from selviz.store import Store, stage_is_whole

BEST = "best"


def run_of(store: Store, name: Any) -> str:
    """Return the run of this name, or of this beginning of one; it must be finished."""
    names = [known for known in store.names() if known.startswith(str(name))]
    run = str(name) if str(name) in names or len(names) != 1 else names[0]
    store.run(run)
    return run


def unit_of(
    store: Store, requested: Mapping[str, Any], any_class: bool = False
) -> tuple[str, str, int, dict[str, Any], str]:
    """Return (run, layer, unit, {"class", "class_index"}, what was chosen on fold 0)."""
    run = run_of(store, requested["run"])
    layer, colon, number = str(requested["unit"]).rpartition(":")
    if not colon:
        raise SelvizError(f"{requested['unit']!r} names no unit; write LAYER:3 or LAYER:{BEST}.")
    width = width_of(store, run, layer)
    label = class_of(store, run, requested["class"]) if "class" in requested else None
    if label is None and not any_class:
        raise SelvizError("Name the class, such as --class 3.")
    values, labels, _ = samples.activations(store, run, layer, samples.CHOOSING)
    names = store.run(run)["classes"]
    si, preferred, _ = samples.class_indices(values, labels, len(names))
    if number != BEST:
        unit = store.unit(run, layer, number)["unit"]  # type: ignore[arg-type]
        label = label or {"class": names[int(preferred[unit])], "class_index": int(preferred[unit])}
        return run, layer, int(unit), label, ""
    fits = (values != 0).any(axis=0) & ((preferred == label["class_index"]) if label else True)
    if not fits.any():
        which = f"prefers class {label['class']}" if label else "is live"
        raise SelvizError(f"No unit of {layer} {which} on fold 0; name another layer (it has {width} units).")
    unit = int(np.where(fits, si, -np.inf).argmax())
    label = label or {"class": names[int(preferred[unit])], "class_index": int(preferred[unit])}
    return run, layer, unit, label, f"the unit of {layer} with the highest SI for class {label['class']}"


def most_selective(store: Store, run: str, layer: str, k: int, label: int) -> list[int]:
    """Return the `k` units of a layer with the largest contrast of a class on fold 0."""
    values, labels, _ = samples.activations(store, run, layer, samples.CHOOSING)
    _, _, by_class = samples.class_indices(values, labels, len(store.run(run)["classes"]))
    return sorted(np.argsort(-by_class[label], kind="stable")[:k].tolist())


def units_or_k(
    store: Store, requested: Mapping[str, Any], run: str, layer: str, width: int, label: int, default: int
) -> tuple[list[int], str]:
    """Return the units that are named, or the `k` most selective for a class on fold 0, and what was chosen."""
    if "units" in requested and "k" in requested:
        raise SelvizError("Name the units, or k for the most selective ones; not both.")
    if "units" in requested:
        return option_parsing.numbers(requested["units"], width, layer), ""
    k = option_parsing.count(requested.get("k", default), 1, "k", width, layer)
    name = store.run(run)["classes"][label]
    return most_selective(store, run, layer, k, label), f"the {k} units of {layer} most selective for class {name}"


def class_of(store: Store, run: str, name: Any) -> dict[str, Any]:
    """Return {"class", "class_index"} of a class by its name."""
    names = store.run(run)["classes"]
    if str(name) not in names:
        raise unknown("class", name, names)
    return {"class": str(name), "class_index": names.index(str(name))}


def width_of(store: Store, run: str, layer: str) -> int:
    """Return how many units a layer has."""
    table = store.layers(run).set_index("layer")["units"]
    if layer not in table.index:
        raise unknown("layer", layer, table.index.tolist(), f"See: selviz layers {run}")
    return int(table[layer])


def layers_of(store: Store, run: str, layer: Any) -> tuple[list[str], list[int]]:
    """Return names and widths of all layers, or of those that are named, in forward order."""
    known = store.layers(run)["layer"].tolist()
    named = set(known) if layer is None else set(option_parsing.names(layer))
    names = [name for name in known if name in named] + sorted(named - set(known))  # width_of refuses these
    return names, [width_of(store, run, name) for name in names]


def matched_networks(store: Store, run: str, layer: str, named: Sequence[str] | None) -> list[str]:
    """Return the other networks whose units can be matched to those of a layer of `run`: those named, or (None) those
    that differ in nothing but their seed.

    SelvizError for one with other images, other folds or another width: units are matched on the same images.
    """
    if named is None:
        table = families.siblings(store.runs(), run)
        others = table[table["alpha"].eq(table.set_index("run")["alpha"][run])]["run"].tolist()
    else:
        others = [run_of(store, name) for name in named]
    others = [name for name in dict.fromkeys(others) if name != run]
    width, sealed = width_of(store, run, layer), len(store.sealed_images(run))
    for name in others:
        if store.run(name).get("fingerprint") != store.run(run).get("fingerprint"):
            raise SelvizError(f"{name} was measured on other images than {run}; units are matched on the same ones.")
        if len(store.sealed_images(name)) != sealed:
            raise SelvizError(
                f"{name} has {len(store.sealed_images(name))} sealed images and {run} {sealed}, so their folds differ; "
                "name networks that were captured alike."
            )
        if width_of(store, name, layer) != width:
            raise SelvizError(f"{layer} of {name} is not as wide as that of {run}; name networks of the same kind.")
    return others


def stored(store: Store, run: str, **stages: str) -> list[str]:
    """Return what is said of each of the stages (stage=words) that a run has."""
    return [words for stage, words in stages.items() if stage_is_whole(store.run_path(run), stage)]
