"""Runs in and out as zip files, in the browser: `show(run)`."""

import os
import tempfile
from pathlib import Path

import streamlit as st

from selviz.errors import SelvizError
from selviz.system.write_access import read_only
from selviz.text import safe_text

from ...page import job_panels
from ...state import address, reads


def show(run: str) -> None:
    """Draw the button that saves a run as a zip with its images, and the field that takes one in."""
    out, into = st.columns(2, gap="large")
    with out:
        st.markdown(f"Take {safe_text.code(run)} to another store, with its images and notes:")
        st.download_button(
            "Save the run as a zip", lambda: packed(run), f"{run}.zip", "application/zip", icon=":material/download:",
            on_click="ignore", key="zip-out",
        )  # fmt: skip
    with into:
        st.markdown("Bring in a run that was saved so:")
        if read_only():
            st.caption(job_panels.READ_ONLY)
            return
        file = st.file_uploader("A run's zip", ["zip"], key="zip-in", label_visibility="collapsed")
        if file is not None:
            st.button(
                "Bring it in", icon=":material/upload:", type="primary", on_click=_bring, args=(file,), key="bring"
            )
    if done := st.session_state.pop("brought", None):
        if done[0]:
            st.success(f"{safe_text.code(done[0])} is here; it is chosen now.", icon=":material/check_circle:")
        else:
            st.error("This zip was not brought in; nothing was changed.", icon=":material/error:")
            st.code(done[1], language=None, wrap_lines=True)


def packed(run: str) -> bytes:
    """Return the zip of a run."""
    with tempfile.TemporaryDirectory() as folder:
        return reads.store().pack(run, Path(folder) / "run.zip").read_bytes()


def _bring(file: "st.runtime.uploaded_file_manager.UploadedFile") -> None:
    """Unpack an uploaded zip into the store, where it is checked as a stranger's, and choose its run."""
    handle, path = tempfile.mkstemp(suffix=".zip")
    try:
        with os.fdopen(handle, "wb") as target:
            target.write(file.getvalue())
        run = reads.store().unpack(path)
    except SelvizError as error:
        st.session_state["brought"] = ("", str(error).replace(path, safe_text.plain(file.name)))
    else:
        st.session_state["brought"] = (run, "")
        address.update(run=run)
    finally:
        Path(path).unlink(missing_ok=True)
