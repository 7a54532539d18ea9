"""Units that were chosen, on several pages: `put(run, units)` silences them, `metrics(run)` ranks them, `save(...)`.

A choice lives in the address: as a list of units, or as a stored group where the list would be too long for a link.
"""

import pandas as pd
import streamlit as st

from selviz.store import write_group
from selviz.system.write_access import read_only
from selviz.text import safe_text, unit_lists

from ..state import address, reads
from . import job_panels

Units = dict[str, list[int]]


def put(run: str, units: Units) -> None:
    """Put a list of units into the address."""
    address.update(**{"rule": None, "silence": None, "group": None, **query(run, units)})


def query(run: str, units: Units) -> dict[str, str]:
    """Return what an address says of a list of units: the list, or where it is too long for a link, a stored
    group's key.
    """
    text = unit_lists.format_units(units)
    if len(text) > address.MAX_LINK_LENGTH and not read_only():
        return {"group": write_group(reads.data(), units, run=run)}
    return {"silence": text} if text else {}


@st.cache_data(max_entries=32, show_spinner=False)
def _fold_metrics(folder: str, files: tuple, run: str, fold: int) -> pd.DataFrame:
    import torch

    from selviz.selectivity.unit_tables import layer_metrics

    images, names = reads.store().images(run), reads.class_names(run)
    inside = (images["fold"] == fold).to_numpy()
    labels = torch.from_numpy(images["label_index"].to_numpy()[inside].astype("int64"))
    parts = []
    for layer in reads.store().layers(run)["layer"]:
        values = torch.from_numpy(reads.store().matrix(run, layer)[inside])
        parts.append(layer_metrics(values, labels, len(names), shuffles=1)["units"].assign(layer=layer))
    table = pd.concat(parts, ignore_index=True).rename(columns={"preferred_class": "preferred_index"})
    return table.assign(preferred_class=[names[index] for index in table["preferred_index"]])


def metrics(run: str) -> pd.DataFrame:
    """Return the unit metrics of a run on fold 0 alone, so that fold 1 can judge a choice made by them."""
    return _fold_metrics(reads.data(), reads.run_version(run), run, 0)


def preferred(run: str, units: Units) -> str | None:
    """Return the class that all of these units prefer on fold 0; None where they prefer several, or nothing."""
    table = metrics(run)
    inside = pd.concat([table[(table["layer"] == layer) & table["unit"].isin(part)] for layer, part in units.items()])
    classes = inside["preferred_class"].unique()
    return str(classes[0]) if len(classes) == 1 and not inside["dead"].any() else None


def save(run: str, units: Units) -> None:
    """Show a form that saves these units as a group with a name."""
    with st.form("save-group", border=False, clear_on_submit=True):
        name = st.text_input("Save them as a group called", max_chars=80, placeholder="the most cat-selective")
        if st.form_submit_button("Save", **job_panels.writing_control(not units)) and name.strip():
            write_group(reads.data(), units, name, run)
            st.toast(f"Saved {safe_text.plain(name.strip())}", icon=":material/bookmark_added:")
