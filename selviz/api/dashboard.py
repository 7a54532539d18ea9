"""The dashboard from Python and from a notebook: `selviz.launch("data")` starts it on a free port and shows it."""

import atexit
import contextlib
import html
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from selviz.errors import SelvizError
from selviz.store import Store
from selviz.system.embedding import NOTEBOOKS, checked
from selviz.system.processes import environment

PATIENCE_S = 90.0  # until the server answers; it imports Streamlit


@dataclass(frozen=True, repr=False)
class Dashboard:
    """A dashboard in a process of its own at `address`; a notebook shows it in the cell. `stop()` ends it."""

    address: str
    process: "subprocess.Popen[bytes]" = field(compare=False)
    height: int = 800

    def stop(self) -> None:
        """End the server."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)

    @property
    def running(self) -> bool:
        """Return whether the server is still there."""
        return self.process.poll() is None

    def __repr__(self) -> str:
        return f"<Dashboard at {self.address}{'' if self.running else ', stopped'}>"

    def _repr_html_(self) -> str:
        address = html.escape(self.address)
        frame = f'<iframe src="{address}/?embed=true" width="100%" height="{self.height}" frameborder="0"></iframe>'
        return f'<p><a href="{address}" target="_blank">{address}</a></p>{frame}'


def launch(
    store: Store | str | Path = "data", port: int = 0, *, height: int = 800, embed: Sequence[str] = NOTEBOOKS
) -> Dashboard:
    """Start the dashboard over a store on this machine and return its address; it ends with this process.

        dashboard = selviz.launch("data")  # as the last line of a cell, it shows the dashboard there
        dashboard.stop()

    `port` 0 takes a free one. `embed` are the origins of pages that may show it in a frame (default: notebooks of this
    machine). Raises SelvizError where Streamlit is not installed or the server does not answer.
    """
    folder = store.path if isinstance(store, Store) else Path(store)
    port = port or _free_port()
    words = [sys.executable, "-P", "-m", "selviz", "serve", "--port", str(port), "--data", str(folder)]
    words += [part for origin in checked([embed] if isinstance(embed, str) else embed) for part in ("--embed", origin)]
    with tempfile.TemporaryFile() as log:  # a pipe that nobody reads would fill up and stop the server
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env=environment()
        )
        dashboard = Dashboard(f"http://localhost:{port}", process, height)
        atexit.register(dashboard.stop)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if process.poll() is not None:
                log.seek(0)
                reason = log.read().decode(errors="replace").strip()[-400:]
                raise SelvizError(f"The dashboard did not start: {reason}")
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{dashboard.address}/_stcore/health", timeout=2):
                return dashboard
            time.sleep(0.2)
    dashboard.stop()
    raise SelvizError(f"The dashboard did not answer within {PATIENCE_S:.0f} seconds.")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
