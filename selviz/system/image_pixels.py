"""What pixels are, without torch: numbers from 0, black, to 255, white. uint8, or float16 for more than 256 levels."""

import numpy as np

WHITE = 255
DTYPES = {"U8": np.uint8, "F16": np.float16}  # by their names in a safetensors file


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return pixels of any shape as uint8, for pictures and for what knows bytes alone; uint8 ones as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    rounded: np.ndarray = np.rint(np.clip(pixels.astype(np.float32), 0, WHITE)).astype(np.uint8)
    return rounded


def problem(pixels: np.ndarray) -> str | None:
    """Return what is wrong with pixels that came from elsewhere; None for those that `DTYPES` can be."""
    if pixels.dtype not in DTYPES.values():
        return f"its pixels are {pixels.dtype}, and not uint8 or float16"
    # NaN is not within the bounds either.
    if pixels.dtype != np.uint8 and not ((pixels >= 0) & (pixels <= WHITE)).all():
        return f"some of its pixels lie outside 0 to {WHITE}"
    return None
