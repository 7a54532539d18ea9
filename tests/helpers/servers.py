"""`selviz serve` in a process of its own: `with served(folder, "--public") as (address, process, log)`."""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from selviz.testing.dashboard import ROOT, answering, free_port


@contextmanager
def served(data, *options, program: str = "", **environment) -> Iterator[tuple[str, subprocess.Popen, Path]]:
    """(address, process, file of stderr) of `selviz serve` over the store in `data`, which runs `program` first."""
    port = free_port()
    log = Path(data).with_name(f"{Path(data).name}.log")
    settings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "selviz", "serve", "--port", str(port), "--data", str(data), "--json", *options]
    if program:  # the command ends by starting Streamlit in its own place
        folder = Path(data).with_name("program")
        folder.mkdir(exist_ok=True)
        (folder / "sitecustomize.py").write_text(program)
        settings["PYTHONPATH"] = f"{folder}{os.pathsep}{ROOT}"
    with open(log, "w") as file, open(log.with_suffix(".out"), "w") as out:
        process = subprocess.Popen(command, cwd=Path(data).parent, env=settings, stdout=out, stderr=file)
    address = f"http://127.0.0.1:{port}"
    with answering(process, f"{address}/_stcore/health", log.read_text):
        yield address, process, log


def asked(
    address: str, method: str = "GET", headers: Mapping[str, str] = {}, data: bytes | None = None
) -> tuple[int, dict, bytes]:
    """Status, headers and body of an answer."""
    try:
        request = urllib.request.Request(address, method=method, headers=dict(headers), data=data)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()
