"""The one exception that users see: `raise SelvizError("What is wrong; what would be right; the command for it.")`."""

import contextlib
import difflib
import errno
import os
from collections.abc import Iterator, Sequence

SHOWN = 12


class SelvizError(Exception):
    """A user's mistake or a broken environment, in one sentence that says how to go on. Never a bug of selviz."""


class TransientError(SelvizError):
    """A failure that the next try may not meet, such as a full disk or a time limit. It is never remembered."""


class ExhaustedError(TransientError):
    """This process or machine has no files, processes or memory left, so that whatever is tried next fails too."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class where it has none."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


# What the system means, in words that say what to do about it. None of them says anything about a file's content.
_SYSTEM = {
    errno.EACCES: "this user may not read or write it",
    errno.EPERM: "this user may not read or write it",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk reports an input or output error",
    errno.ESTALE: "the network folder is not there any more",
    errno.EMFILE: "this process has as many files open as it may",
    errno.ENFILE: "this machine has as many files open as it may",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.ENOMEM: "there is not enough memory",
    errno.EAGAIN: "this user has as many processes or threads as it may",
    errno.EINTR: "it was interrupted",
    errno.EBUSY: "it is in use",
}
_IN_TEXT = {os.strerror(code): words for code, words in _SYSTEM.items()} | {
    "Cannot allocate memory": "there is not enough memory",
    "bad_alloc": "there is not enough memory",
    "Out of Memory": "there is not enough memory",
}


def system_problem(error: BaseException) -> str | None:
    """Return what the system refused, in words; None where `error` says nothing of the system but of the content.

    Libraries that are not written in Python put the system's words into their messages; they are found there.
    """
    if isinstance(error, MemoryError):
        return _SYSTEM[errno.ENOMEM]
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        return _SYSTEM[error.errno]
    text = str(error)
    return next((words for system_text, words in _IN_TEXT.items() if system_text in text), None)


_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)


def unreadable(path: object, error: BaseException) -> TransientError:
    """Return the error of a file or folder that the system refused: nothing is said of its content."""
    reason = system_problem(error) or first_line(error)
    exhausted = isinstance(error, MemoryError) or reason in [_SYSTEM[code] for code in _EXHAUSTED]
    kind = ExhaustedError if exhausted else TransientError
    return kind(f"Cannot read {path} now: {reason}; nothing that was stored is lost, so try again.")


@contextlib.contextmanager
def told_by_system(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise TransientError where the system refuses the file at `path` to a library that reads it within.

    safetensors raises FileNotFoundError for whatever it could not open, and its reader for PyTorch RuntimeError with
    the system's words: neither says anything of the file. FileNotFoundError stays where there is no file.
    """
    try:
        yield
    except SelvizError:
        raise
    except FileNotFoundError as error:
        try:
            open(path, "rb").close()
        except FileNotFoundError:
            raise error from None
        except OSError as refusal:
            raise unreadable(path, refusal) from error
        raise unreadable(path, OSError("the system did not open it")) from error
    except Exception as error:
        if system_problem(error):
            raise unreadable(path, error) from error
        raise


def near(name: object, known: Sequence[str]) -> list[str]:
    """Return at most three of `known` that `name` may have meant, the nearest first."""
    by_lower = {str(entry).lower(): str(entry) for entry in known}
    matches = difflib.get_close_matches(str(name).lower(), list(by_lower), n=3, cutoff=0.6)
    if not matches and str(name):
        matches = [lower for lower in by_lower if lower.startswith(str(name).lower())][:3]
    return [by_lower[match] for match in matches]


def unknown(noun: str, name: object, known: Sequence[str], fix: str = "") -> SelvizError:
    """Return the error `Unknown layer 'conv9'; did you mean 'conv3'? Known layers: conv1, conv2, conv3.` and `fix`.

    Long lists are cut.
    """
    known = [str(entry) for entry in known]
    guesses = near(name, known)
    text = f"Unknown {noun} {str(name)!r}"
    if guesses:
        text += f"; did you mean {' or '.join(repr(guess) for guess in guesses)}?"
    else:
        text += "."
    if known:
        shown = ", ".join(known[:SHOWN])
        more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
        text += f" Known {_plural(noun)}: {shown}{more}."
    return SelvizError(f"{text} {fix}".rstrip())


def _plural(noun: str) -> str:
    word, of, whole = noun.partition(" of ")
    if word.endswith("sis"):
        return f"{word[:-3]}ses" + of + whole
    return (f"{word}es" if word.endswith(("s", "x", "ch")) else f"{word}s") + of + whole
