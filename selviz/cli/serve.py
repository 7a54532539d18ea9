"""`selviz serve`: the dashboard for this machine, or for others."""

import importlib.util
import os
import sys
from pathlib import Path

from selviz.cli.common import Commands, positive
from selviz.errors import SelvizError
from selviz.system.write_access import VARIABLE

DASHBOARD = Path(__file__).resolve().parents[2] / "app" / "serve.py"
SETTINGS = {"server.headless": "true", "server.fileWatcherType": "none", "logger.hideWelcomeMessage": "true",
            "logger.level": "error"}  # fmt: skip
PUBLIC = {"client.showErrorDetails": "none"}  # a traceback is the log's, not a visitor's


def serve(args):
    """Open the dashboard in a server for this machine, or with --public for others: log-in, reading only, limits."""
    if not DASHBOARD.exists() or importlib.util.find_spec("streamlit") is None:
        raise SelvizError(
            "The dashboard is not installed: get the repository, then run in its folder: pip install -e '.[app]'"
        )
    address = args.address or ("0.0.0.0" if args.public else "localhost")
    settings = {**SETTINGS, "server.address": address, "server.port": str(args.port), **(PUBLIC if args.public else {})}
    environment = {**os.environ, "SELVIZ_DATA": str(Path(args.data).resolve()), "SELVIZ_LOG": "1"}
    if args.public:
        environment.setdefault(VARIABLE, "1")
    if args.json:
        environment["SELVIZ_SERVE_JSON"] = "1"
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    sys.stdout.flush()
    # In this process's place, so that a signal to it reaches the server.
    os.execve(sys.executable, [sys.executable, "-m", "streamlit", "run", str(DASHBOARD), *flags], environment)


def _serve_options(sub):
    sub.add_argument(
        "--public",
        action="store_true",
        help="for others: listens to all machines, for reading only (SELVIZ_READ_ONLY=0 allows writing), with the "
        "log-in of .streamlit/secrets.toml, no tracebacks on pages",
    )
    sub.add_argument("--address", help="to listen at (default: localhost; with --public: 0.0.0.0)")
    sub.add_argument("--port", type=positive, default=8501, help="(default: %(default)s)")


COMMANDS: Commands = {"serve": (serve, "selviz serve --public --port 8501", _serve_options)}
