"""Draw every page while the n-th call to the system fails: `python -m selviz.testing.faults.pages STORE --short`.

For each page, each kind of call and each error (or the errors in turn): n = 1, 2, ... until the page makes no more such
calls, or every few of them. After each failure must hold: nothing that nobody foresaw is shown (no traceback, no number
for the log); nothing is called damaged, and nobody is advised to remove or write anything again; the page drawn once
more is the page as it was; and the process has as many files open as before. One JSON document: {"tries", "failures",
"calls", "sentences", "wrong": [...]}. The process must have been started with `injection.environment_of`.
"""

import argparse
import errno
import gc
import json
import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamlit import config

from selviz.testing.dashboard import ROOT, look_for_components_once, page_names, switch_page
from selviz.testing.faults.injection import failing

ERRORS = {
    "open": (errno.EMFILE, errno.EIO, errno.EACCES),
    "read": (errno.EIO,),
    "map": (errno.ENOMEM,),
    "fork": (errno.EAGAIN, errno.ENOMEM),
}
NEVER = re.compile(r"damaged|rm -r|write it again|is missing(?!: it may be)|Traceback|newer selviz", re.I)
KINDS = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "code", "metric")


@dataclass
class Findings:
    """What came of all tries."""

    tries: int = 0
    failures: int = 0
    calls: dict[str, dict[str, int]] = field(default_factory=dict)  # page -> kind of call -> how many it makes
    sentences: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="a store with a run; nothing in it is changed")
    parser.add_argument("--pages", default=",".join(page_names()), help="(default: all)")
    parser.add_argument("--calls", default=",".join(ERRORS), help="(default: %(default)s)")
    parser.add_argument("--every", type=int, default=1, help="try every n-th call alone (default: each)")
    parser.add_argument("--errors", type=int, default=3, help="so many errors of each kind of call (default: all)")
    parser.add_argument(
        "--in-turn", action="store_true", help="each call with one of its errors, in turn (default: all)"
    )
    arguments = parser.parse_args()
    os.environ |= {"SELVIZ_DATA": str(arguments.store.resolve()), "SELVIZ_NO_DEMO": "1"}
    logging.disable(logging.CRITICAL)
    config.set_option("logger.enableRich", False)
    look_for_components_once()
    started, findings = time.monotonic(), Findings()
    for page in arguments.pages.split(","):
        for call in arguments.calls.split(","):
            errors = ERRORS[call][: arguments.errors]
            for turn in [errors] if arguments.in_turn else [(error,) for error in errors]:
                try_page(page, call, turn, arguments.every, findings)
        print(page, findings.tries, findings.failures, findings.wrong[-3:], file=sys.stderr, flush=True)
    about = {
        "tries": findings.tries,
        "failures": findings.failures,
        "calls": findings.calls,
        "sentences": dict(findings.sentences.most_common()),
    }
    print(json.dumps({**about, "wrong": findings.wrong, "seconds": round(time.monotonic() - started, 1)}, indent=1))


def try_page(page: str, call: str, errors: tuple[int, ...], every: int, findings: Findings) -> None:
    """Let one call after the other fail while the page is drawn, with the errors in turn, until it makes no more."""
    folder = Path(os.environ["SELVIZ_DATA"])
    whole = words_of(drawn(page))
    number = 1
    while True:
        forget()
        before = handles()
        error = errors[(number - 1) // every % len(errors)]
        with failing(call, number, error, folder) as calls:
            result = drawn(page)
        findings.tries += 1
        known = findings.calls.setdefault(page, {})
        known[call] = max(known.get(call, 0), calls.made)
        label = f"{page}, {call} {number} of {calls.made}: {errno.errorcode[error]}"
        if calls.failed:
            findings.failures += 1
            findings.wrong += [f"{label}: {trouble}" for trouble in troubles(result)]
            findings.sentences.update(shown.value[:160] for shown in (*result.error, *result.warning))
            again = words_of(drawn(page))
            if again != whole:
                differing = [*(again - whole), *(whole - again)]
                findings.wrong.append(f"{label}: the page drawn once more is another one: {differing[:2]}"[:400])
            forget()
            if (left := handles() - before) > 2:
                findings.wrong.append(f"{label}: {left} files stayed open")
        if not calls.failed:  # a page that meets a failure may end there, so what it made then is no measure
            return
        number += every


def drawn(page: str) -> Any:
    """Return the page as AppTest draws it, in a session of its own."""
    from streamlit.testing.v1 import AppTest

    known = sys.modules["__main__"]
    try:
        test = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=180)
        return switch_page(test, page).run()
    finally:
        sys.modules["__main__"] = known


def words_of(test: Any) -> set[str]:
    """Return all that a page says, less what names a moment."""
    words = (f"{kind} {element.value}" for kind in KINDS for element in test.get(kind))
    return {re.sub(r"\d+(\.\d+)? (ms|s|seconds?)\b", "# s", text) for text in words}


def troubles(test: Any) -> Iterator[str]:
    """Yield what a page that met a failure must not say."""
    for raised in test.exception:
        yield f"nobody foresaw {str(raised.message)[:200]!r} {raised.stack_trace[-2:] if raised.stack_trace else ''}"
    for text in words_of(test):
        if match := NEVER.search(text):
            yield f"says {match[0]!r}: {text[:200]!r}"


def forget() -> None:
    """Clear every cache, so that the next drawing reads all its files."""
    import streamlit as st

    from selviz.store import queries, run_list

    st.cache_data.clear()
    st.cache_resource.clear()
    for module in (queries, run_list, *(sys.modules[name] for name in list(sys.modules) if name.startswith("selviz."))):
        for value in list(vars(module).values()):
            if hasattr(value, "cache_clear") and getattr(value, "__module__", "").startswith("selviz.store"):
                value.cache_clear()
            elif type(value).__name__ == "ResultCache":
                value.clear()
    for value in vars(sys.modules.get("app.compute.quotas", sys)).values():
        if type(value).__name__ == "Quota":  # every drawing is a visit of its own, and AppTest calls them by one name
            value._taken.clear()
    gc.collect()


def handles() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


if __name__ == "__main__":
    main()
