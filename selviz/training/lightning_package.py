"""Lightning under either of its names: `callback_class()`."""

import importlib
import sys
from typing import Any

from selviz.errors import SelvizError

NAMES = ("lightning.pytorch", "pytorch_lightning")


def callback_class() -> type[Any]:
    """Return the Callback of the package that is in use, `lightning` or `pytorch_lightning`; SelvizError without."""
    for name in [*(name for name in NAMES if name in sys.modules), *NAMES]:
        try:
            callback: type[Any] = importlib.import_module(name).Callback
        except ImportError:
            continue
        return callback
    raise SelvizError("Lightning is not installed: pip install lightning")
