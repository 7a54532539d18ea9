"""What a dashboard shows to whom: `facts()`, and `screen(facts())` as one screen of text."""

from typing import TypedDict

import streamlit as st

from selviz.system import embedding
from selviz.system.write_access import read_only

from ..compute import own_input, quotas
from ..state import reads
from ..views.data import sql_console
from . import limits, log, login

EVERYWHERE = ("", "0.0.0.0", "::")
HERE = ("localhost", "127.0.0.1", "::1")
OPEN = "/health, /_stcore/health and the dashboard's own scripts and fonts"


class Exposure(TypedDict):
    """What is exposed, as it is set up now; a sentence or a number each."""

    store: str
    runs: int
    address: str
    reached_from: str
    host_names: str
    framed_by: str
    log_in: str
    read_only: bool
    visitors_may: str
    visitors_see: str
    visits: str
    sql: str
    uploads: str
    encryption: str
    open_without_log_in: str
    errors: str
    log: str


def facts() -> Exposure:
    """Return what is exposed now."""
    address, port = st.get_option("server.address") or "", st.get_option("server.port")
    here = address in HERE
    reached = "this machine only" if here else "every machine that reaches this port"
    if not here and address not in EVERYWHERE:
        reached = f"every machine that reaches {address}"
    log_in = login.decided()
    names = ", ".join(name or "one provider" for name in log_in.providers)
    nobody = "none; whoever reaches the port is in"
    if login.public():
        nobody += ", as --no-login says. Put a proxy with a log-in before it, or set up OpenID Connect: docs/serving.md"
    may = "browse, silence units, compute explanations, ask in SQL"
    if not read_only():
        may += ", start and stop training and studies, register claims, save and delete groups"
    pictures = f"pictures of up to {own_input.MAX_BYTES // 10**6} MB, {own_input.MAX_PIXELS // 10**6} megapixels, "
    encrypted = st.get_option("server.sslCertFile")
    hosts = st.get_option("server.allowedHosts")
    waiting = f", {limits.MAX_VISITS_BEFORE_LOGIN} of them before their log-in" if log_in.required else ""
    return {
        "store": reads.data(),
        "runs": len(reads.store().names()),
        "address": f"http{'s' if encrypted else ''}://{'localhost' if address in EVERYWHERE else address}:{port}",
        "reached_from": reached,
        "host_names": "any; --host NAME lets in requests for that name alone"
        if "*" in hosts or not hosts
        else ", ".join(hosts),
        "framed_by": ", ".join(["its own pages", *embedding.origins()]),
        "log_in": f"OpenID Connect ({names})" if log_in.required else nobody,
        "read_only": read_only(),
        "visitors_may": may,
        "visitors_see": "every run of the store: settings, class names, small copies of the evaluation images; in "
        "errors and code to take away also the store's path",
        "visits": f"{limits.max_visits()} at once{waiting}, messages of up to {limits.MAX_MESSAGE // 1000} kB",
        "sql": f"one reading statement at a time, {sql_console.SECONDS:g} s, 1 GB, {sql_console.AT_ONCE} "
        f"at once, {quotas.QUERIES.number} in {quotas.QUERIES.seconds / 60:g} minutes of a visit, no other file",
        "uploads": "none" if read_only() else f"{pictures}{limits.MAX_UPLOADS} in a visit, in memory, gone with it",
        "encryption": "TLS" if encrypted else "none: TLS is the proxy's",
        "open_without_log_in": OPEN,
        "errors": "one sentence with a number; the log has the rest under it",
        "log": "JSON lines on stderr" if log.is_on() else "none",
    }


def screen(exposure: Exposure) -> str:
    """Return the facts as text, one per line."""
    runs = f"{exposure['runs']:,} run{'' if exposure['runs'] == 1 else 's'}"
    head = f"selviz at {exposure['address']}, store {exposure['store']} ({runs}). Stop with Ctrl-C."
    words = {True: "yes", False: "no"}
    lines = [
        f"  {name.replace('_', ' '):<20} {words[value] if isinstance(value, bool) else value}"
        for name, value in exposure.items()
        if name not in ("store", "runs", "address")
    ]
    return "\n".join([head, *lines])
