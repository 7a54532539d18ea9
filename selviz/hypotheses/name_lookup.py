"""What a visitor names, found in the store: runs, layers, units, classes; SelvizError for what is not there."""

import numpy as np

from selviz.errors import SelvizError, unknown
from selviz.hypotheses import option_parsing
from selviz.hypotheses.folds import class_indices, fold
from selviz.store import Store, stage_is_whole

BEST = "best"


def run_of(store: Store, name: str) -> str:
    names = [known for known in store.names() if known.startswith(str(name))]
    run = str(name) if str(name) in names or len(names) != 1 else names[0]
    store.run(run)
    return run


def unit_of(store, asked, any_class: bool = False) -> tuple[str, str, int, dict, str]:
    """(run, layer, unit, {"class", "class_index"}, what was chosen on fold 0)."""
    run = run_of(store, asked["run"])
    layer, colon, number = str(asked["unit"]).rpartition(":")
    if not colon:
        raise SelvizError(f"{asked['unit']!r} names no unit; write LAYER:3 or LAYER:{BEST}.")
    width = width_of(store, run, layer)
    label = class_of(store, run, asked["class"]) if "class" in asked else None
    if label is None and not any_class:
        raise SelvizError("Name the class, such as --class 3.")
    values, labels, _ = fold(store, run, layer, 0)
    names = store.run(run)["classes"]
    si, preferred, _ = class_indices(values, labels, len(names))
    if number != BEST:
        unit = store.unit(run, layer, number)["unit"]
        label = label or {"class": names[int(preferred[unit])], "class_index": int(preferred[unit])}
        return run, layer, int(unit), label, ""
    fits = (values != 0).any(axis=0) & ((preferred == label["class_index"]) if label else True)
    if not fits.any():
        told = f" prefers class {label['class']}" if label else " is live"
        raise SelvizError(f"No unit of {layer}{told} on fold 0; name another layer (it has {width} units).")
    unit = int(np.where(fits, si, -np.inf).argmax())
    label = label or {"class": names[int(preferred[unit])], "class_index": int(preferred[unit])}
    return run, layer, unit, label, f"the unit of {layer} with the highest SI for class {label['class']}"


def class_of(store, run, name) -> dict:
    names = store.run(run)["classes"]
    if str(name) not in names:
        raise unknown("class", name, names)
    return {"class": str(name), "class_index": names.index(str(name))}


def width_of(store, run, layer) -> int:
    table = store.layers(run).set_index("layer")["units"]
    if layer not in table.index:
        raise unknown("layer", layer, table.index.tolist(), f"See: selviz layers {run}")
    return int(table[layer])


def layers_of(store, run, layer) -> tuple[list[str], list[int]]:
    """Names and widths of all layers, or of those that are named, in forward order."""
    known = store.layers(run)["layer"].tolist()
    named = set(known) if layer is None else set(option_parsing.names(layer))
    names = [name for name in known if name in named] + sorted(named - set(known))  # width_of refuses these
    return names, [width_of(store, run, name) for name in names]


def images_of(store, run, label: dict | None = None) -> dict:
    """Numbers of images on fold 1: of the class, and in all."""
    images = store.images(run)
    here = images[images["fold"] == 1]
    found = {"of_images": len(here)}
    if label is not None:
        found["images"] = int((here["label_index"] == label["class_index"]).sum())
        if not found["images"]:
            raise SelvizError(f"Class {label['class']} has no image on fold 1.")
    return found


def stored(store, run, **stages) -> list[str]:
    return [told for stage, told in stages.items() if stage_is_whole(store.run_path(run), stage)]
