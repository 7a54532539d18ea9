"""How a picture of any format and size becomes pixels of one shape: `Preparation(crop=(224, 224)).pixels(picture)`.

The usual evaluation transform, as torchvision's presets apply it to a PIL picture: the shorter side is resized, then
the centre is cropped.
"""

import io
import sys
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from PIL import Image, ImageFile

from selviz.errors import SelvizError, unknown

INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
LONGEST = 100  # times the shorter side; a thin strip would take gigabytes once its shorter side is resized
DEPTHS = (8, 10, 12, 14, 16, 24, 32)  # bits a channel that images with more than 8 of them are taken to have
DEEP = "it has more than 8 bits a channel, and how many the set uses is not known"
RATIO = 256 / 224  # of the resized shorter side to the crop, in the evaluation of ImageNet networks


@dataclass(frozen=True)
class Options:
    """What a caller may choose; 0 and "" leave it to the images. `channels` is 1 (grey) or 3 (colour).

    `image_size` is the side of the crop in pixels, `resize_size` the shorter side before it, at least as large.
    """

    image_size: int = 0
    resize_size: int = 0
    interpolation: str = ""
    channels: int = 0

    def __post_init__(self) -> None:
        if self.interpolation and self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, list(INTERPOLATIONS))
        if self.channels not in (0, 1, 3):
            raise SelvizError(f"channels is {self.channels}; use --channels 1 for grey or --channels 3 for colour.")
        if not 0 <= self.image_size <= 4096:
            raise SelvizError(f"image_size is {self.image_size}; give a side of 1 to 4096 pixels: --image-size 224.")
        if self.resize_size and not self.image_size:
            raise SelvizError("resize_size needs an image size to crop to, such as --resize-size 256 --image-size 224.")
        if self.resize_size and not self.image_size <= self.resize_size <= 8192:
            raise SelvizError(
                f"resize_size is {self.resize_size}; it must be at least image_size ({self.image_size}) and at most "
                "8192."
            )

    def __bool__(self) -> bool:
        return self != Options()


@dataclass(frozen=True)
class Preparation:
    """Pictures become uint8 [channels, *crop]; with `keep`, one that has the size `crop` already is not resampled.

    `depth` is the number of bits that the set's images of more than 8 bits a channel use; 0 where none has been met.
    """

    crop: tuple[int, int]  # height, width
    resize: int  # shorter side before the crop
    keep: bool = True
    interpolation: str = "bilinear"
    channels: int = 3
    depth: int = field(default=0, repr=False)

    def pixels(self, picture: Image.Image) -> np.ndarray:
        """Return uint8 [channels, height, width]. Raises ValueError for what is no usable picture."""
        if max(picture.size) > LONGEST * min(picture.size):
            raise ValueError(f"its sides are {picture.width} and {picture.height} pixels, too far apart")
        picture = _eight_bit(picture, self.depth).convert("L" if self.channels == 1 else "RGB")
        height, width = self.crop
        if not self.keep or picture.size != (width, height):
            short = min(picture.size)
            # torchvision truncates the longer side
            size = cast(
                tuple[int, int],
                tuple(self.resize if side == short else int(self.resize * side / short) for side in picture.size),
            )
            picture = picture.resize(size, INTERPOLATIONS[self.interpolation])
            left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
            picture = picture.crop((left, top, left + width, top + height))
        array = np.asarray(picture)
        return array[None] if self.channels == 1 else np.moveaxis(array, -1, 0)

    def __str__(self) -> str:
        height, width = self.crop
        colour = "grey" if self.channels == 1 else "colour"
        others = "; others: " if self.keep else " of: "
        deep = f"; images of more than 8 bits are read as {self.depth}-bit, as the whole set needs"
        return (
            f"{colour}, {width} x {height} pixels{others}shorter side to {self.resize} ({self.interpolation}), "
            f"then the centre{deep if self.depth else ''}"
        )


def choose(options: Options, sizes: list[tuple[int, int]]) -> Preparation:
    """Return the preparation for pictures of these (width, height): as they are, where most share a size of at
    most 256.
    """
    crop = (options.image_size, options.image_size)
    if not options.image_size:
        commonest = max(sorted(set(sizes)), key=sizes.count, default=(0, 0))
        shared = 2 * sizes.count(commonest) > len(sizes) and 0 < max(commonest) <= 256
        crop = (commonest[1], commonest[0]) if shared else (224, 224)
    resize = options.resize_size or max(round(RATIO * min(crop)), max(crop))
    return Preparation(
        crop, resize, not options.resize_size, options.interpolation or "bilinear", options.channels or 3
    )


def is_deep(picture: Image.Image) -> bool:
    """Return whether a picture, not loaded yet, has gray or color of more than 8 bits."""
    return picture.mode.startswith("I") or _has_deep_colors(picture)


def _has_deep_colors(picture: Image.Image) -> bool:
    """Return whether a picture has colors of 16 bits, of which Pillow reads the upper byte without a word."""
    if picture.format not in ("PNG", "TIFF"):  # a BMP's 16 bits are those of all three colors
        return False
    parts = [part for tile in getattr(picture, "tile", ()) for part in np.atleast_1d(np.asarray(tile[3], object))]
    return any(isinstance(part, str) and ";16" in part for part in parts)


def deep_values(picture: Image.Image) -> np.ndarray:
    """Return the integers [H, W] or [H, W, 3] of a deep picture, without opacity; ValueError for other colors."""
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.int64)
    assert isinstance(picture, ImageFile.ImageFile) and picture.fp is not None
    picture.fp.seek(0)
    data = picture.fp.read()
    try:
        upper, lower = (_one_byte(data, str(picture.format), swap) for swap in (False, True))
    except Exception as error:  # Pillow's decoders raise many kinds
        raise ValueError(f"its 16-bit colors cannot be read ({error}); save it as PNG, in RGB") from None
    values: np.ndarray = (upper << 8) + lower
    return values


def _one_byte(data: bytes, form: str, lower: bool) -> np.ndarray:
    """Return the upper bytes of a picture's colors of 16 bits, or the lower ones: Pillow reads one byte of the two."""
    picture = Image.open(io.BytesIO(data), formats=[form])
    assert isinstance(picture, ImageFile.ImageFile)
    if picture.mode not in ("RGB", "RGBA", "LA"):
        raise ValueError(f"they are {picture.mode}")
    swapped = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
    gray = False
    for position, tile in enumerate(picture.tile):
        words: list[Any] = [*tile.args] if isinstance(tile.args, tuple) else [tile.args]
        gray = words[0] == "LA;16B"
        if gray:
            words[0] = "RGBA"  # gray's two bytes and opacity's
        elif lower:
            words[0] = words[0][:-1] + swapped[words[0][-1]]
        picture.tile[position] = tile._replace(args=tuple(words) if isinstance(tile.args, tuple) else words[0])
    values = np.asarray(picture).astype(np.int64)
    return values[..., int(lower)] if gray else values[..., :3]


def _eight_bit(picture: Image.Image, depth: int) -> Image.Image:
    """Return the picture with 8 bits a channel; one that is alone is read as its container says, 16 bits."""
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if not is_deep(picture):
        return picture
    values = deep_values(picture) >> ((depth or 16) - 8)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))
