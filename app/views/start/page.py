"""What is in here, and does it matter?"""

import streamlit as st

from ...page import frame, job_panels, run_picker, silencing
from ...state import address
from ...state.navigation import page_at
from . import panels
from .choice import choice

OF_THE_OVERVIEW = ("kind", "units", "theirs", "margin", "alpha")


def show() -> None:
    """Draw the page."""
    if any(map(address.has, OF_THE_OVERVIEW)):  # a link from when the overview was the first page
        st.switch_page(page_at("alpha"), query_params=st.query_params.to_dict())
    run = run_picker.require_run()["name"]
    chosen = choice(run)
    units = silencing.text(chosen.silent)
    named = " ".join(f"--units {part}" for part in units.split(";")) if units else ""
    frame.page(
        "What is in here, and does it matter?",
        "selviz shows what single units of an image classifier respond to, and what breaks without them.",
        f"store.units({run!r})",
        f"selviz ablate {run} {named}" if named else f"selviz units {run}",
    )
    controls = st.container(key="start-controls")
    buttons, slider = controls.columns([7, 3], gap="medium", vertical_alignment="bottom")
    with buttons:
        panels.actions(run, chosen)
    with slider:
        panels.alpha(run)
    job_panels.demo_boards()
    outcome = panels.network(run, chosen)
    panels.what_is_seen(run, chosen, outcome)
    panels.ten_images(run, outcome)
    panels.how_to_read(run)
    panels.doors()
