"""A process at its limit of open files: `with files_left(2):` it may open two more."""

import os
import resource
from contextlib import contextmanager


@contextmanager
def files_left(number):
    """Let this process open so many more files."""
    taken, known = [], resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(map(int, os.listdir("/proc/self/fd"))) + 8
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, known[1]))
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for handle in taken[-number:] if number else []:
            os.close(handle)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, known)
        for handle in taken[:-number] if number else taken:
            os.close(handle)
