"""Is my claim true?"""

import shlex

import streamlit as st

from selviz.errors import SelvizError
from selviz.hypotheses import registry

from ...page import claims, frame, run_picker
from ...state import address, reads


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()["name"]
    key = address.get("hypothesis")
    key_found = None
    if key:
        try:
            key_found = registry.find(reads.store(), key)[0]["hypothesis"]
        except SelvizError:
            address.not_found("hypothesis", key, "the ledger")
    data = shlex.quote(reads.data())
    frame.page(
        "Is my claim true?",
        "A claim is registered before anything is computed: what is measured, in which direction, and what would "
        "refute it. Then it is tested, and the verdict can go either way.",
        "store.hypotheses()",
        f"selviz hypothesis list --data {data}"
        if not key_found
        else f"selviz hypothesis report {key_found} --data {data}",
    )
    views = {"ledger": "Ledger", "register": "Register a claim"} | ({"one": f"Claim {key_found}"} if key_found else {})
    requested = address.get("do") or ("one" if key_found else "ledger")
    view = requested if requested in views else "one" if key_found else "ledger"
    address.widget(
        st.segmented_control, "Show", list(views), name="do", value=view, format_func=views.get, required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    if view == "register":
        claims.form(run)
    elif view == "one":
        claims.one(key_found)
    else:
        claims.ledger()
