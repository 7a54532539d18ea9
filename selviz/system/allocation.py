"""Memory between two passes of a network: `keep_freed_memory()` lets the C library keep it.

glibc returns freed blocks to the system beyond a few tens of megabytes, and takes them again, page by page, for the
next batch: tried on a ResNet-20, this took a fifth of the time of an ablation and a third of that of a training step.
"""

import ctypes
import os
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as in glibc's malloc.h
LARGEST_BLOCK = 32 * 2**20  # bytes; glibc takes no larger one from the memory that it keeps
KEPT_MB, KEPT_IN_TRAINING_MB = 256, 2000
SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")  # environment variables of glibc

_kept_mb = 0


def keep_freed_memory(megabytes: int = KEPT_MB) -> None:
    """Let glibc keep up to `megabytes` that are free, for the life of the process; a smaller number changes nothing.

    Where the environment says what malloc is to do, and with another C library, nothing changes.
    """
    global _kept_mb
    if megabytes <= _kept_mb or any(name in os.environ for name in SETTINGS):
        return
    _kept_mb = megabytes
    with suppress(AttributeError, OSError, TypeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
        libc.mallopt(M_TRIM_THRESHOLD, megabytes * 2**20)
