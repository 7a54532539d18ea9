"""What single units of an image classifier respond to, and whether that matters: `selviz.open("data").runs()`."""

from importlib import import_module
from typing import TYPE_CHECKING

from selviz import moved

if TYPE_CHECKING:
    from selviz.api import (
        ablate,
        atlas,
        attribute,
        capture,
        curves,
        launch,
        open,
        publish,
        register,
        sweep,
        test,
        train,
    )
    from selviz.errors import SelvizError

__version__ = "0.1.0"
__all__ = [
    "SelvizError", "ablate", "atlas", "attribute", "capture", "curves", "launch", "open", "publish", "register",
    "sweep", "test", "train",
]  # fmt: skip

moved.install()


def __getattr__(name: str) -> object:
    """Load the public functions when one of them is asked for: a command that needs none of them starts sooner."""
    if name in __all__:
        # By its name: the package itself stands below its rooms, which import it for its version.
        return getattr(import_module("selviz.errors" if name == "SelvizError" else "selviz.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
