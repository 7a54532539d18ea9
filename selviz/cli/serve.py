"""`selviz serve`: the dashboard for this machine, or for others."""

import importlib.util
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from selviz.cli.common import Commands, positive
from selviz.errors import SelvizError
from selviz.system import embedding
from selviz.system.processes import replace_process
from selviz.system.write_access import ALLOW_IMPORT, VARIABLE

# Beside selviz: `app` in the repository, `selviz_app` where it was installed from a wheel.
PACKAGES = ("app", "selviz_app")
SETTINGS = {"global.developmentMode": "false",  # which is on where Streamlit lies in no folder of the usual name
            "server.headless": "true", "server.fileWatcherType": "none", "logger.hideWelcomeMessage": "true",
            "logger.level": "error", "server.maxMessageSize": "1", "client.showErrorDetails": "none",
            "client.showErrorLinks": "false"}  # fmt: skip
HERE = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")


def serve(args: Namespace) -> int:
    """Open the dashboard in a server for this machine, or with --public for others: log-in, reading only, limits."""
    script = dashboard()
    if script is None or importlib.util.find_spec("streamlit") is None:
        raise SelvizError("The dashboard is not installed; it needs Streamlit and Plotly: pip install 'selviz[app]'")
    address = args.address or ("0.0.0.0" if args.public else "localhost")
    settings = {**SETTINGS, "server.address": address, "server.port": str(args.port)}
    environment = {**os.environ, "SELVIZ_DATA": str(Path(args.data).resolve()), "SELVIZ_LOG": "1"}
    if args.public:
        environment[VARIABLE] = environment.get(VARIABLE) or "1"  # an empty one says nothing
    if args.public or address not in HERE:
        environment["SELVIZ_PUBLIC"] = "1"
    environment["SELVIZ_NO_LOGIN"] = "1" if args.no_login else "0"  # nothing but the option lets everybody in
    if args.embed:
        environment[embedding.VARIABLE] = " ".join(embedding.checked(args.embed))
    if args.allow_import is not None:
        folder = Path(args.allow_import)
        if not folder.is_dir():
            raise SelvizError(f"--allow-import needs a folder that is there; {folder} is none.")
        environment[ALLOW_IMPORT] = str(folder.resolve())
    if args.json:
        environment["SELVIZ_SERVE_JSON"] = "1"
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    for host in host_names(address, args.public, args.host):
        flags += ["--server.allowedHosts", host]
    return replace_process([sys.executable, "-P", "-m", "streamlit", "run", str(script), *flags], environment)


def dashboard() -> Path | None:
    """Return the script that Streamlit runs, or None where the dashboard is not there."""
    repository = Path(__file__).resolve().parents[2]
    return next((path for name in PACKAGES if (path := repository / name / "serve.py").exists()), None)


def host_names(address: str, public: bool, named: Sequence[str] = ()) -> list[str]:
    """Return the host names that requests may give; a page of another site that is led here by its DNS gives its own.

    Nobody knows the names of a server that listens to all machines, so without --host it takes any.
    """
    if named:
        return [*named, *HERE]
    return ["*"] if public or address in EVERYWHERE else list(dict.fromkeys([address, *HERE]))


def _serve_options(sub: ArgumentParser) -> None:
    sub.add_argument(
        "--public",
        action="store_true",
        help="for others: listens to all machines, for reading only (SELVIZ_READ_ONLY=0 allows writing), with the "
        "log-in of .streamlit/secrets.toml",
    )
    sub.add_argument(
        "--no-login", action="store_true", help="let in whoever reaches the port, as behind a proxy that has a log-in"
    )
    sub.add_argument("--address", help="to listen at (default: localhost; with --public: 0.0.0.0)")
    sub.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="the host name of this dashboard, such as selviz.example.org; requests for others are "
        "refused (may be repeated)",
    )
    sub.add_argument(
        "--embed",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="an origin whose pages may show the dashboard in a frame, such as https://hub.example.org "
        "(may be repeated; default: none)",
    )
    sub.add_argument(
        "--allow-import",
        metavar="FOLDER",
        help="let visitors import networks whose checkpoints and images lie in this folder (not where it is for "
        "reading only)",
    )
    sub.add_argument("--port", type=positive, default=8501, help="(default: %(default)s)")


COMMANDS: Commands = {"serve": (serve, "selviz serve --public --host selviz.example.org", _serve_options)}
