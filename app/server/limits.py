"""What one visitor, and all together, may take of the server; `raise_file_limit()` at its start."""

import os
from contextlib import suppress

import psutil

MAX_MESSAGE = 500_000  # bytes of a visitor's message; the values of a page's widgets and its address are a few kB
MAX_OUTGOING_MB = 50  # of a message to a visitor
MAX_BEFORE_LOGIN = 64_000  # bytes of a message of a visitor who has not logged in
MAX_VISITS = 200  # SELVIZ_VISITS sets another number
MAX_VISITS_BEFORE_LOGIN = 50
MAX_UPLOADS = 20  # of one visit; each has at most `server.maxUploadSize`
MAX_UPLOADED_MB = 400  # that the uploads of all visits hold together; a visit's are let go of when it ends
FIRST_MESSAGE_S = 30.0  # in which a visit says what it came for, which a browser does at once
REQUEST_S = 20.0  # in which the head of a request has come
BODY_S = 180.0  # in which its body has
MESSAGES_AT_ONCE, MESSAGES_PER_S = 60, 20.0  # of one visit; what is more waits
WANTED_HANDLES = 65_536
OWN_HANDLES = 120  # the server's own, and those of what it computes
HANDLES_PER_VISIT = 5  # a socket, three of an event loop, and one to spare


def raise_file_limit() -> None:
    """Let this process open as many files as the system allows it; a visit takes several."""
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = WANTED_HANDLES if hard == resource.RLIM_INFINITY else min(hard, WANTED_HANDLES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def handles() -> tuple[int, int]:
    """Return how many files this process has open, and how many it may open (0, 0 where that cannot be known)."""
    try:
        import resource

        allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except ImportError:  # Windows has no such limit
        return 0, 0
    try:
        return len(os.listdir("/proc/self/fd")), allowed
    except FileNotFoundError:  # no Linux
        return psutil.Process().num_fds(), allowed
    except OSError:  # not even that folder can be opened
        return allowed, allowed


def max_visits() -> int:
    """Return how many visits are taken at the same time: as many as there are handles for, and no more than set."""
    wanted = int(os.environ.get("SELVIZ_VISITS") or MAX_VISITS)
    allowed = handles()[1]
    return max(1, min(wanted, (allowed - OWN_HANDLES) // HANDLES_PER_VISIT)) if allowed > 0 else wanted
