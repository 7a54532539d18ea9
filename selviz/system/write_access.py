"""Whether this process may write to a store: `check_writing()` before each write, `read_only()` to ask.

A dashboard that strangers look at runs with SELVIZ_READ_ONLY=1. Every writer of the store comes by here, and so does
every claim, which is what training and studies begin with.
"""

import os

from selviz.errors import SelvizError

ALLOW_IMPORT = "SELVIZ_ALLOW_IMPORT"  # a folder whose networks and images visitors of a dashboard may import
VARIABLE = "SELVIZ_READ_ONLY"


def read_only() -> bool:
    """Return whether the environment says that nothing is to be written."""
    return os.environ.get(VARIABLE, "") not in ("", "0")


def check_writing() -> None:
    """Raise SelvizError where nothing is to be written."""
    if read_only():
        raise SelvizError(
            "This store is open for reading only: nothing is trained, registered, saved or removed; unset "
            f"{VARIABLE} to write to it."
        )
