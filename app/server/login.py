"""Who may come in: `decided()` says whether visitors log in, `require()` ends the drawing of a page before they have.

The log-in is Streamlit's own (OpenID Connect), set up by `[auth]` in a secrets file. It fails closed: a file that is
there and cannot be read, or that has no complete provider, is an error and never an open door. It is decided once, when
the server starts; an edit of the file while the server runs can lock visitors out and lets nobody in.
"""

import os
import threading
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import streamlit as st

from selviz.errors import SelvizError

from . import streamlit_server

NO_LOGIN = "SELVIZ_NO_LOGIN"  # set to 1 by `selviz serve --no-login`
PUBLIC = "SELVIZ_PUBLIC"  # set to 1 by `selviz serve --public`, or where it listens to more than this machine
PROVIDER = ("client_id", "client_secret", "server_metadata_url")  # of a provider; of a single one directly in [auth]
SETTINGS = ("client_kwargs",)  # tables in [auth] that are no providers
MIN_SECRET = 16  # characters of the secret that signs cookies
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OPEN = "to let in whoever reaches the port, say so: selviz serve --public --no-login"


class LogIn(NamedTuple):
    """Whether visitors must log in, with which providers (None for one without a name), and the host they come
    back to.
    """

    required: bool
    providers: tuple[str | None, ...] = ()
    host: str = ""


_decided: list[LogIn] = []
_deciding = threading.Lock()


def public() -> bool:
    """Return whether the dashboard is for others: `selviz serve` was told so, or told to listen to more than this
    machine.
    """
    return os.environ.get(PUBLIC) == "1"


def decided() -> LogIn:
    """Return the decision, made at the first call in a server; SelvizError where it cannot be made."""
    if not _decided and streamlit_server.running() is None:  # a page under test has secrets of its own
        return decide({**(_secrets() or {}), **_loaded()} or None, public=False)
    return begin()


def begin() -> LogIn:
    """Decide, unless that was done; SelvizError where it cannot be decided."""
    with _deciding:
        if not _decided:
            _decided.append(decide(_secrets(), public()))
        return _decided[0]


def decide(secrets: Mapping[str, Any] | None, public: bool) -> LogIn:
    """Return the log-in that these secrets set up; SelvizError where it would be incomplete, or missing in public.

    `secrets` is None where there is no secrets file.
    """
    if os.environ.get(NO_LOGIN) == "1":
        return LogIn(False)
    if secrets is None or "auth" not in secrets:
        if similar := [name for name in secrets or () if name.strip().lower() in ("auth", "oauth", "oidc", "login")]:
            raise SelvizError(f"The secrets file has [{similar[0]}] where the log-in is read from [auth]; rename it.")
        if public:
            raise SelvizError(
                "No log-in is set up: "
                f"{'there is no secrets file' if secrets is None else 'no secrets file has [auth]'}. "
                f"Write one (docs/serving.md, Log-in) in {_files()[-1]}; or, {OPEN}"
            )
        return LogIn(False)
    auth = secrets["auth"]
    if not isinstance(auth, Mapping):
        raise SelvizError("The secrets file's auth is no table; write [auth] and the settings below it.")
    named = [name for name, value in auth.items() if isinstance(value, Mapping) and name not in SETTINGS]
    single = any(key in auth for key in PROVIDER)
    for name, table in [*((name, auth[name]) for name in named), *([("", auth)] if single or not named else [])]:
        for key in PROVIDER:
            _check_text(table, key, f"auth.{name}" if name else "auth")
        if not _web_address(table["server_metadata_url"])[0]:
            raise SelvizError(
                f"The secrets file's server_metadata_url in [{f'auth.{name}' if name else 'auth'}] must be an address, "
                "such as https://login.example.org/.well-known/openid-configuration"
            )
    _check_text(auth, "redirect_uri", "auth")
    _check_text(auth, "cookie_secret", "auth", MIN_SECRET)
    host, path = _web_address(auth["redirect_uri"])
    if not host or path.rpartition("/")[2] != "oauth2callback":
        raise SelvizError(
            "The secrets file's redirect_uri in [auth] must be this dashboard's address and /oauth2callback, such as "
            "https://selviz.example.org/oauth2callback"
        )
    if find_spec("authlib") is None:
        raise SelvizError("The log-in of the secrets file needs Authlib: pip install -e '.[app,login]'")
    return LogIn(True, (*named, *((None,) if single else ())), host)


def _web_address(text: str) -> tuple[str, str]:
    """Return host and path of an address of the web, "" for the host of what is none."""
    try:
        address = urlsplit(text)
        _ = address.port  # ValueError where it is none
    except ValueError:
        return "", ""
    return (address.hostname or "") if address.scheme in ("http", "https") else "", address.path


def _check_text(table: Mapping[str, Any], key: str, where: str, length: int = 1) -> None:
    value = table.get(key)
    if isinstance(value, str) and len(value.strip()) >= length:
        return
    wrong = "is missing" if key not in table else f"is no text of {length} characters or more"
    raise SelvizError(
        f"The log-in of the secrets file is incomplete: {key} in [{where}] {wrong} (docs/serving.md, Log-in); or, "
        f"{OPEN}"
    )


def _files() -> list[str]:
    return [str(path) for path in st.get_option("secrets.files")]


def _secrets() -> dict[str, Any] | None:
    """Return what all secrets files hold together, None without one; SelvizError for one that cannot be read.

    Streamlit takes a file with an error for one that is not there, so it is not asked.
    """
    merged: dict[str, Any] = {}
    there = False
    for file in map(Path, _files()):
        if not os.path.lexists(file):
            continue
        there = True
        if file.is_dir():  # as Kubernetes mounts them: Streamlit reads these itself, or raises
            merged |= _loaded(file)
            continue
        if file.exists() and not file.is_file():  # to read a pipe would wait for ever
            raise SelvizError(f"The secrets file {file} cannot be read: it is no file.")
        try:
            content = file.read_bytes()
        except OSError as error:
            raise SelvizError(f"The secrets file {file} cannot be read ({error.strerror or error}).") from error
        if content.startswith(BYTE_ORDER_MARK):
            raise SelvizError(f"The secrets file {file} begins with a byte-order mark; save it as UTF-8 without one.")
        try:
            merged |= tomllib.loads(content.decode())
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SelvizError(f"The secrets file {file} is not valid TOML ({error}); mend it, or {OPEN}") from error
    return merged if there else None


def _loaded(folder: Path | None = None) -> dict[str, Any]:
    """Return the secrets as Streamlit has them; SelvizError if it cannot read this folder of them."""
    if st.secrets.load_if_toml_exists():
        return dict(st.secrets.to_dict())
    if folder is None:
        return {}
    raise SelvizError(f"The folder of secrets {folder} cannot be read; it must hold one folder for each secret.")


def require() -> None:
    """End this drawing of the page with the way to log in, unless the visitor is logged in or need not be."""
    log_in = decided()
    if not log_in.required:
        return
    if getattr(st.user, "is_logged_in", False):
        st.sidebar.button("Log out", icon=":material/logout:", type="tertiary", on_click=st.logout)
        return
    st.title("selviz", anchor=False)
    st.markdown("This dashboard is for people who log in.")
    for name in log_in.providers:
        label = "Log in" if name is None else f"Log in with {name}"
        arguments = () if name is None else (name,)
        st.button(label, type="primary", icon=":material/login:", on_click=st.login, args=arguments)
    st.stop()


def let_in(cookies: Mapping[str, str]) -> bool:
    """Return whether a request with these cookies may have more than the way to log in."""
    return not decided().required or streamlit_server.is_logged_in(cookies)
