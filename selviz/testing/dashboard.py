"""The dashboard in a process of its own: `with serving(folder) as address`, over the store in that folder."""

import functools
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamlit.util import calc_hash

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


def free_port() -> int:
    """Return a port of this machine that nobody uses at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def answering(process: subprocess.Popen, address: str, words=lambda: "the dashboard did not start") -> Iterator[None]:
    """Run the block from when the server that `process` is answers at `address`, which it must, until it is ended."""
    try:
        for _ in range(600):
            assert process.poll() is None, words()
            try:
                urllib.request.urlopen(address, timeout=5)
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise AssertionError(words())
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def serving(data, *, started=lambda process: None, log=None, script: str = "main.py", **environment) -> Iterator[str]:
    """Yield the address of a dashboard over the store in `data`; `started` is given its process, `log` (a file)
    its words. `script` is "serve.py" for the dashboard as `selviz serve` starts it.
    """
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app" / script), "--server.headless", "true",
               "--server.address", "127.0.0.1", "--server.port", str(port), "--server.fileWatcherType", "none",
               "--browser.gatherUsageStats", "false"]  # fmt: skip
    settings = {**os.environ, "SELVIZ_DATA": str(data), "SELVIZ_NO_DEMO": "1", "OMP_NUM_THREADS": "1", **environment}
    # The folder is not the repository's: the dashboard must find selviz by itself.
    process = subprocess.Popen(
        command,
        cwd=data,
        env=settings,
        stdout=log or subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    with answering(process, f"{address}/_stcore/health"):
        started(process)
        yield address


def resident(process: int) -> float:
    """Return megabytes of memory that a process holds now (Linux)."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def raised(log: Path) -> list[str]:
    """Return the exceptions in a server's log, each with its traceback."""
    parts = log.read_text(errors="replace").split("Traceback (most recent call last):\n")[1:]
    return [re.match(r"(?:[ \t].*\n|\n)*.*", part).group() for part in parts]


def sessions(address: str) -> int:
    """Return how many visitors the server counts."""
    with urllib.request.urlopen(f"{address}/_stcore/metrics?families=active_sessions") as answer:
        return int(next(line for line in answer.read().decode().splitlines() if line[:1] not in "#").split()[-1])


def page_names() -> list[str]:
    """Return the names that the pages are registered by, in the order of the menu, such as `unit`."""
    from app.main import PAGES

    return [name for group in PAGES.values() for name, *_ in group]


def page_paths() -> list[str]:
    """Return the paths of all pages in a browser's address: their names, and "" for the landing page."""
    from app.main import DEFAULT

    return ["" if name == DEFAULT else name for name in page_names()]


def look_for_components_once() -> None:
    """Let all pages that AppTest draws in this process share one search of the installed packages for components of
    Streamlit, which it makes for each of them anew: half of the time that a page takes.
    """
    from streamlit.components.v2 import manifest_scanner

    manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


def switch_page(page, address: str):
    """Let an AppTest's next run show the page at an address such as `unit` (AppTest knows pages that are files)."""
    page._page_hash = calc_hash(address)
    return page
