"""Small images for the browser: `uri(overlay(gray, heat, top))` is a data address of an image with a map over it."""

import base64
import html
import io
import struct
from functools import cache

import numpy as np
from PIL import Image

from selviz.errors import SelvizError
from selviz.figures import colors

STRONGEST = 0.85  # of the picture is color where the map is at its top
UNDER = 0.7  # brightness of the gray image under a map, so that bright colors stand out from bright pixels


def png(pixels: np.ndarray) -> bytes:
    """Return uint8 [H, W, 3] or [H, W] as a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def uri(pixels: np.ndarray | bytes) -> str:
    """Return pixels, uint8 [H, W, 3] or [H, W], or a PNG, in a `data:` address."""
    data = pixels if isinstance(pixels, bytes) else png(pixels)
    return "data:image/png;base64," + base64.b64encode(data).decode()


def decoded(thumbnails: dict[int, bytes]) -> dict[int, np.ndarray]:
    """Return stored pictures (image -> PNG) as uint8 [C, H, W], C 1 or 3. A damaged one raises SelvizError."""
    pictures = {}
    for image, data in thumbnails.items():
        try:
            picture = Image.open(io.BytesIO(data))
            picture = np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            fix = "remove the store's folder images/ and write it again with: selviz capture RUN"
            raise SelvizError(f"The stored picture of image {image} is damaged ({error}); {fix}") from error
        pictures[image] = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
    return pictures


def tag(picture: np.ndarray | bytes, caption: str) -> str:
    """Return pixels or a PNG, as `uri` takes them, as an HTML image, whose place a page keeps until it is drawn."""
    data = picture if isinstance(picture, bytes) else png(picture)
    width, height = struct.unpack(">II", data[16:24]) if data[12:16] == b"IHDR" and len(data) >= 24 else (1, 1)
    size, alt = f'width="{width}" height="{height}"', html.escape(caption)
    return f'<img class="selviz-picture" {size} alt="{alt}" src="{uri(data)}">'


def plain(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 [C, H, W], C 1 or 3, as an RGB picture [H, W, 3]."""
    return np.repeat(pixels, 3, axis=0).transpose(1, 2, 0) if len(pixels) == 1 else pixels.transpose(1, 2, 0)


def overlay(pixels: np.ndarray, heat: np.ndarray, top: float) -> np.ndarray:
    """Return the image in gray under the map: uint8 [C, H, W] and float [h, w], 0..top, give RGB [H', W', 3].

    The map's cells keep their hard edges, so the picture is enlarged until each cell has whole pixels. Where the map is
    0 the image is plain gray; color and its strength grow with the map.
    """
    gray = pixels.astype(np.float32).mean(axis=0)
    height, width = (_common(a, b) for a, b in zip(gray.shape, heat.shape))
    gray = UNDER * _enlarge(gray, height, width)[..., None]
    strength = np.clip(_enlarge(heat, height, width) / max(top, 1e-12), 0, 1)
    color = _table()[(255 * strength).astype(np.uint8)]
    mix = STRONGEST * np.sqrt(strength)[..., None]
    return ((1 - mix) * gray + mix * color).astype(np.uint8)


def _common(image: int, cells: int) -> int:
    """Return a size that shows every pixel and every cell; maps that do not divide it are off by less than a pixel."""
    both = np.lcm(image, cells)
    return int(both) if both <= 512 else max(image, cells)


def _enlarge(values: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = np.arange(height) * values.shape[0] // height
    columns = np.arange(width) * values.shape[1] // width
    return values[rows][:, columns]


@cache
def _table() -> np.ndarray:
    return np.array(colors.heat_table(), dtype=np.float32)
