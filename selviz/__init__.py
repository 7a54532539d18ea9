"""What single units of an image classifier respond to, and whether that matters: `selviz.open("data").runs()`."""

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
        from selviz import api, errors

        return getattr(errors if name == "SelvizError" else api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
