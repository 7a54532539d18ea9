"""What a dashboard shows to whom: `facts()` as a dict, `screen(facts())` as one screen of text."""

import os

import streamlit as st

from app.server import login
from app.state import reads
from app.views.data import sql_console
from app.views.unit import own_image
from selviz.system.write_access import read_only

EVERYWHERE = ("", "0.0.0.0", "::")
HERE = ("localhost", "127.0.0.1", "::1")
OPEN = "/health, /_stcore/health, /_stcore/metrics and the dashboard's own scripts and fonts"


def facts() -> dict:
    """What is exposed, as it is set up now; a sentence or a number each."""
    address, port = st.get_option("server.address") or "", st.get_option("server.port")
    here = address in HERE
    reached = "this machine only" if here else "every machine that reaches this port"
    if not here and address not in EVERYWHERE:
        reached = f"every machine that reaches {address}"
    providers = login.providers()
    names = ", ".join(name or "one provider" for name in providers)
    nobody = "none; whoever reaches the port is in"
    if not here:
        nobody += ". Put a proxy with a log-in before it, or set up OpenID Connect: docs/serving.md"
    may = "browse, silence units, compute explanations, ask in SQL"
    if not read_only():
        may += ", start and stop training and studies, register claims, save and delete groups"
    pictures = f"pictures of up to {own_image.MOST_BYTES // 10**6} MB, {own_image.MOST_PIXELS // 10**6} megapixels, "
    encrypted = st.get_option("server.sslCertFile")
    return {
        "store": reads.data(),
        "runs": len(reads.store().names()),
        "address": f"http{'s' if encrypted else ''}://{'localhost' if address in EVERYWHERE else address}:{port}",
        "reached_from": reached,
        "log_in": f"OpenID Connect ({names})" if providers else nobody,
        "read_only": read_only(),
        "visitors_may": may,
        "visitors_see": "every run of the store: settings, class names, small copies of the evaluation images; in "
        "errors and code to take away also the store's path",
        "sql": f"one reading statement at a time, {sql_console.SECONDS:g} s, 1 GB, {sql_console.AT_ONCE} at once, no other file",
        "uploads": "none" if read_only() else f"{pictures}in memory, gone with the visit",
        "encryption": "TLS" if encrypted else "none: TLS is the proxy's",
        "open_without_log_in": OPEN,
        "errors": st.get_option("client.showErrorDetails"),
        "log": "JSON lines on stderr" if os.environ.get("SELVIZ_LOG") == "1" else "none",
    }


def screen(told: dict) -> str:
    """The facts as text, a line each."""
    runs = f"{told['runs']:,} run{'' if told['runs'] == 1 else 's'}"
    head = f"selviz at {told['address']}, store {told['store']} ({runs}). Stop with Ctrl-C."
    names = [name for name in told if name not in ("store", "runs", "address")]
    words = {True: "yes", False: "no"}
    lines = [f"  {name.replace('_', ' '):<20} {words.get(told[name], told[name])}" for name in names]
    return "\n".join([head, *lines])
