"""Make a picture that drives a unit of a run: `run_visualisation(Store("data"), run, "relu3", 7)`; kept in the run."""

import secrets
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from selviz.attribution.feature_visualization import synthesise
from selviz.datasets import Dataset
from selviz.networks.unit_edit import check_units
from selviz.networks.unit_network import UnitNetwork
from selviz.runs.load import load_network
from selviz.store import Store
from selviz.store.files import WEIGHTS, checksum, writing
from selviz.system.durable_files import move_into_place
from selviz.system.write_access import read_only


def run_visualisation(
    store: Store,
    run: str,
    layer: str,
    unit: int,
    seed: int = 0,
    loaded: tuple[UnitNetwork, Dataset] | None = None,
) -> dict[str, Any]:
    """Return the picture made for a unit (`synthesise`): {"pixels" uint8 [C, H, W], "activation", "at_start"}.

    Kept as a PNG in the run's folder `pictures/`, under the weights, the unit and the seed; a second call reads it.
    Where a store is for reading only it is made again each time. `loaded` is what `load_network` returned, for callers
    that keep it.
    """
    network, dataset = loaded or load_network(store, run)
    check_units(network.layer(layer), [unit])
    folder = store.run_path(run)
    weights = checksum(folder / WEIGHTS)[:12]
    position = [each.name for each in network.layers].index(layer)
    path = folder / "pictures" / f"{weights}-{position}-{unit}-{seed}.png"
    if (kept_picture := _read_picture(path)) is not None:
        return kept_picture
    channels, height, width = dataset.eval_pixels.shape[1:]
    made = synthesise(network, layer, unit, dataset.normalise, (channels, height, width), seed=seed)
    result = {"pixels": made.pixels, "activation": made.activation, "at_start": made.at_start}
    if not read_only():
        _write_picture(path, result)
    return result


def _write_picture(path: Path, result: dict[str, Any]) -> None:
    about, pixels = PngInfo(), result["pixels"]
    for name in ("activation", "at_start"):
        about.add_text(name, repr(result[name]))
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path, temporary):
        path.parent.mkdir(exist_ok=True)
        picture.save(temporary, format="PNG", pnginfo=about)
        move_into_place(temporary, path)


def _read_picture(path: Path) -> dict[str, Any] | None:
    """Return what lies at `path`; None if there is nothing, or nothing whole."""
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            assert isinstance(picture, PngImageFile)
            pixels = np.asarray(picture)
            values = {name: float(picture.text[name]) for name in ("activation", "at_start")}
    except (OSError, KeyError, ValueError, SyntaxError):
        return None
    return {"pixels": pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0), **values}
