"""What the board shows of a run: `board = read_board(store, run)`, then `board.model()` for `board.js`.

A board is read from what is stored, without the network: layers and units with SI and null, preferred classes, the
three top images of each unit, and for networks that are small enough a picture of each (the mean of the nine images
that drive it most).
"""

import base64
import io
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from selviz import palette
from selviz.config import short_name
from selviz.store import Store

SCRIPTS = [Path(__file__).with_name(f"{name}.js") for name in ("board_picture", "board_outputs", "board")]
STYLE = Path(__file__).with_name("board.css")
MAX_PICTURED = 1200  # units up to which each has a picture
MAX_VALUES = 40_000_000  # activations that are read for top images
MAX_IMAGES = 1500  # different ones that are shown on pointing at units; those that drive most units
MAX_LOSSLESS = 100  # pictures in color of a sheet; more of them are compressed, to a quarter of the bytes
TOP, SHOWN_TOP = 9, 3  # images that a unit's picture is the mean of, and that are shown next to it
MAX_SIDE = 32  # pixels of a picture on the board
STAGES = range(3, 13)  # numbers of stages into which a deep network is folded


def script() -> str:
    """Return the JavaScript of the board, which defines the class Board."""
    return "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)


@dataclass(frozen=True)
class Sheet:
    """Square pictures in one image: picture i is at column i % across, row i // across."""

    uri: str  # a PNG or WebP picture in a `data:` address
    size: int  # pixels of a side
    across: int


@dataclass(frozen=True)
class Board:
    """A run as the board shows it. Arrays have one value per unit, in the order of layers and numbers.

    `preferred` is the class index, -1 for a dead unit; `top` has three rows of `images` per unit, -1 for none.
    """

    run: str
    label: str
    classes: list[str]
    layers: pd.DataFrame  # layer, units, start, stage
    si: np.ndarray
    null_p95: np.ndarray
    preferred: np.ndarray
    pictures: Sheet | None
    images: Sheet | None
    top: np.ndarray | None

    def model(self) -> dict[str, Any]:
        """Return what `Board.show` of board.js takes, as JSON."""
        layers = self.layers.rename(columns={"layer": "name"}).to_dict("records")
        sheet = {"size": 0} if self.pictures is None else {**vars(self.pictures)}
        images = None
        if self.images is not None and self.top is not None:
            images = {**vars(self.images), "top": encoded(self.top, np.int32)}
        return {
            "id": self.run,
            "label": self.label,
            "classes": self.classes,
            "layers": layers,
            "si": encoded(self.si, np.float32),
            "null_p95": encoded(self.null_p95, np.float32),
            "preferred": encoded(self.preferred, np.int16),
            "pictures": sheet if self.pictures is not None else None,
            "images": images,
            "palette": {
                name: {
                    "classes": palette.CLASSES[dark],
                    "other": palette.OTHER[dark],
                    "heat": palette.MANY[dark],
                    "ink": palette.INK[dark],
                    "change": palette.CHANGE[dark],
                }
                for name, dark in (("light", False), ("dark", True))
            },
        }

    def position(self, layer: str, unit: int) -> int:
        """Return the place of a unit in the arrays."""
        return self._starts[layer] + unit

    @cached_property
    def _starts(self) -> dict[str, int]:
        return dict(zip(self.layers["layer"], self.layers["start"].tolist()))

    def unit_at(self, position: int) -> tuple[str, int]:
        """Return the layer and number of the unit at a place in the arrays."""
        row = self.layers[self.layers["start"] <= position].iloc[-1]
        return str(row["layer"]), position - int(row["start"])


def encoded(values: np.ndarray | Sequence[float], dtype: type) -> str:
    """Return numbers as base64 of their little-endian bytes."""
    return base64.b64encode(np.asarray(values, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()).decode()


def read_board(store: Store, run: str) -> Board:
    """Read the board of a finished run; SelvizError where there is none."""
    about, units = store.run(run), store.units(run)
    layers = units.groupby("layer", sort=False).size().rename("units").reset_index()
    layers["start"] = layers["units"].cumsum() - layers["units"]
    layers["stage"] = stages(layers["layer"].tolist())
    layers = layers.astype({"units": int, "start": int})
    dead = units["dead"].to_numpy(dtype=bool)
    images = int(about["images"])
    ranked = top_images(store, run, layers["layer"].tolist()) if len(units) * images <= MAX_VALUES else None
    pictures, shown, top = _sheets(store, run, ranked, dead) if ranked is not None else (None, None, None)
    return Board(
        run=run,
        label=f"{about['model']} on {short_name(str(about['dataset']))}",
        classes=store.class_means(run, layers["layer"].iloc[0], 0)["class"].astype(str).tolist(),
        layers=layers,
        si=units["si"].to_numpy(dtype=np.float32),
        null_p95=units["null_p95"].to_numpy(dtype=np.float32),
        preferred=np.where(dead, -1, units["preferred_index"].to_numpy()).astype(np.int16),
        pictures=pictures,
        images=shown,
        top=top,
    )


def stages(layers: Sequence[str]) -> list[str]:
    """Return the stage of each layer: what its name begins with, else some layers that follow each other."""
    begins = [re.split(r"[._]", layer)[0] for layer in layers]
    in_order = [name for name, before in zip(begins, [None, *begins[:-1]]) if name != before]
    if len(in_order) in STAGES and len(set(in_order)) == len(in_order):
        return begins
    count = min(8, len(layers))
    groups = np.array_split(np.arange(len(layers)), count) if count else []
    names = [""] * len(layers)
    for group in groups:
        for index in group:
            names[index] = f"layers {group[0] + 1}–{group[-1] + 1}" if len(group) > 1 else f"layer {group[0] + 1}"
    return names


def top_images(store: Store, run: str, layers: Sequence[str]) -> np.ndarray:
    """Return the images that drive each unit most [U, 9], highest first, -1 where it is not active.

    An image on which a unit has its lowest activation says nothing of it.
    """
    return np.concatenate([highest(store.matrix(run, layer)) for layer in layers])


def highest(values: np.ndarray) -> np.ndarray:
    """Return the rows of the nine highest values of each column of [N, U], highest first, the first row of equal ones
    first: [U, 9], -1 in place of a lowest value.
    """
    by_unit = np.ascontiguousarray(values.T)
    count = min(TOP, by_unit.shape[1])
    top = np.full((len(by_unit), TOP), -1)
    # A ninth of the time of sorting: only what is at least as high as the ninth is put in order.
    limits = np.partition(by_unit, by_unit.shape[1] - count, axis=1)[:, by_unit.shape[1] - count]
    lowest = by_unit.min(axis=1)
    for unit, row in enumerate(by_unit):
        rows = (
            np.flatnonzero(row >= limits[unit]) if limits[unit] > lowest[unit] else np.flatnonzero(row > lowest[unit])
        )
        rows = rows[np.argsort(-row[rows], kind="stable")][:count]
        top[unit, : len(rows)] = rows
    return top


def class_accuracy(images: pd.DataFrame, classes: int) -> np.ndarray:
    """Return the accuracy of each class [C], 0..1, nan for one without images, from a table label_index, prediction."""
    right = images["label_index"].to_numpy() == images["prediction_index"].to_numpy()
    counts = np.bincount(images["label_index"], minlength=classes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.bincount(images["label_index"], weights=right, minlength=classes) / counts


@lru_cache(maxsize=1000)  # 3 KB each, and as much as is stored: units of several layers are driven by the same images
def decode(data: bytes, side: int) -> np.ndarray:
    """Return a stored picture as uint8 [side, side, 3], not to be written to; a small one is enlarged with hard edges,
    a damaged one gray.
    """
    try:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
    except (OSError, SyntaxError):  # what Pillow raises for what is no picture
        return np.full((side, side, 3), 128, dtype=np.uint8)
    if picture.size != (side, side):
        smaller = max(picture.size) > side
        picture = picture.resize((side, side), Image.Resampling.BOX if smaller else Image.Resampling.NEAREST)
    pixels = np.asarray(picture)
    pixels.flags.writeable = False
    return pixels


def _sizes(data: bytes) -> tuple[int, int]:
    """Return width and height of a stored picture in pixels; MAX_SIDE for a damaged one."""
    if data[12:16] == b"IHDR" and len(data) >= 24:  # a PNG, whose head says it
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    try:
        width, height = Image.open(io.BytesIO(data)).size
        return width, height
    except (OSError, SyntaxError):
        return MAX_SIDE, MAX_SIDE


def sheet(pictures: Sequence[np.ndarray] | np.ndarray, quick: bool = False) -> Sheet:
    """Return square pictures [n, side, side, 3] as one image; a `quick` one is larger, in a fraction of the time."""
    options: dict[str, Any] = {"compress_level": 1} if quick else {"optimize": True}
    side, across = len(pictures[0]), max(1, int(np.ceil(np.sqrt(len(pictures)))))
    whole = np.zeros((-(-len(pictures) // across) * side, across * side, 3), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, across)
        whole[row * side : (row + 1) * side, column * side : (column + 1) * side] = picture
    flat, buffer, kind = Image.fromarray(whole), io.BytesIO(), "png"
    if (whole[..., :1] == whole).all():
        flat.convert("L").save(buffer, "PNG", **options)
    elif len(pictures) <= MAX_LOSSLESS:
        flat.save(buffer, "PNG", **options)
    else:
        kind = "webp"
        flat.save(buffer, "WEBP", quality=90)
    return Sheet(f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode(), side, across)


def unit_pictures(store: Store, run: str, units: Sequence[tuple[str, int]]) -> Sheet | None:
    """Return a picture of each of these units, in their order: the mean of the nine images that drive it most."""
    if not units:
        return None
    ranked = highest(store.activations_of(run, units))
    top = {unit: [int(image) for image in row if image >= 0] for unit, row in zip(units, ranked)}
    stored = store.thumbnails(run, sorted({image for images in top.values() for image in images}))
    sizes = {side for data in stored.values() for side in _sizes(data)}
    # The mean of pictures that are enlarged is their mean, enlarged: one picture to enlarge in place of nine.
    side = min(MAX_SIDE, *sizes) if len(sizes) == 1 else MAX_SIDE
    pixels = {image: decode(data, side) for image, data in stored.items()}
    means = [mean_picture([pixels[image] for image in top[unit]], side) for unit in units]
    return sheet([_enlarged(mean) for mean in means], quick=True)


def _enlarged(picture: np.ndarray) -> np.ndarray:
    if len(picture) == MAX_SIDE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((MAX_SIDE, MAX_SIDE), Image.Resampling.NEAREST))


def _sheets(store: Store, run: str, ranked: np.ndarray, dead: np.ndarray) -> tuple[Sheet | None, Sheet, np.ndarray]:
    """Return the units' pictures, None where there are too many units; their top images; and which these are [U, 3]."""
    first = np.where(dead[:, None], -1, ranked[:, :SHOWN_TOP])
    images, uses = np.unique(first[first >= 0], return_counts=True)
    shown = np.sort(images[np.argsort(-uses, kind="stable")[:MAX_IMAGES]])
    pictured = len(ranked) <= MAX_PICTURED
    used = np.unique(ranked[ranked >= 0]) if pictured else shown
    stored = store.thumbnails(run, used.tolist())
    side = min(MAX_SIDE, max(_sizes(stored[int(used[0])]))) if len(used) else MAX_SIDE
    pixels = {int(image): decode(stored[int(image)], side) for image in used}
    place: Mapping[int, int] = {int(image): number for number, image in enumerate(shown)}
    top = np.vectorize(lambda image: place.get(int(image), -1), otypes=[int])(first)
    blank = [np.zeros((side, side, 3), dtype=np.uint8)]
    of_images = sheet([pixels[int(image)] for image in shown] or blank)
    if not pictured:
        return None, of_images, top
    return (
        sheet([mean_picture([pixels[int(image)] for image in row if image >= 0], side) for row in ranked]),
        of_images,
        top,
    )


def mean_picture(pictures: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Return the mean of pictures [side, side, 3], its range stretched so that it can be seen; black for none."""
    if not pictures:
        return np.zeros((side, side, 3), dtype=np.uint8)
    mean = np.mean([picture.astype(np.float32) for picture in pictures], axis=0)
    low, high = float(mean.min()), float(mean.max())
    stretched: np.ndarray = np.clip(255 * (mean - low) / max(high - low, 1.0), 0, 255)
    return stretched.astype(np.uint8)
