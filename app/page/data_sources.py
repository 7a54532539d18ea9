"""Where a run's images come from: `line()` in the sidebar, and a warning where they changed; `details(run)`."""

from typing import Any

import streamlit as st

from selviz.config import short_name
from selviz.errors import SelvizError
from selviz.store import Store, read_json
from selviz.text import numbers, safe_text

from ..state import reads
from . import run_picker


def line() -> None:
    """Show how many of the evaluation images the run was captured on, and what is wrong with the images on disk."""
    name = st.session_state.get("run")
    if name is None:
        return
    run = run_picker.require_run()
    available, skipped = _whole(run.get("available_images")), _whole(run.get("skipped_images"))
    notes = []
    if available and available > run["images"] + skipped:
        notes.append(f"Sample: {run['images']:,} of {available:,} evaluation images, stratified by class.")
    if skipped:
        notes.append(
            f"{numbers.counted(skipped, 'file')} could not be read and {'is' if skipped == 1 else 'are'} left out."
        )
    if others := ((run.get("origin") or {}) if isinstance(run.get("origin"), dict) else {}).get("other_files"):
        listed = ", ".join(f"{count:,} {safe_text.plain(str(suffix))}" for suffix, count in others.items())
        notes.append(f"Files left out that are no images by their names: {listed}.")
    if notes:
        st.caption("  \n".join(notes))
    if ":" in str(run["dataset"]) and (problem := _problem(reads.data(), reads.run_version(name), name)):
        st.warning(problem, icon=":material/image_not_supported:")


@st.cache_data(ttl=60, max_entries=64, show_spinner="Looking whether the images are still the same ...")
def _problem(folder: str, files: tuple, run: str) -> str | None:
    from selviz.runs.load import images_changed

    return images_changed(Store(folder), run)


def details(run: str) -> None:
    """Show the transform, the fingerprint, and the files that were left out."""
    try:
        about = read_json(reads.store().run_path(run) / "summary.json") or {}
    except SelvizError:
        return
    origin = about.get("origin") or {}
    if not origin:
        return
    parts = [
        f"images of {safe_text.code(short_name(str(about.get('dataset'))))}",
        origin.get("layout") and safe_text.plain(origin["layout"]),
        f"transform: {origin.get('transform')}",
        f"mean {_numbers(about.get('mean'))}, standard deviation {_numbers(about.get('std'))} "
        f"({origin.get('statistics', 'the training images')})",
        f"fingerprint {safe_text.code(str(about.get('fingerprint')))}",
    ]
    st.caption("Images: " + " · ".join(filter(None, parts)))
    count, skipped = origin.get("skipped_images", 0), origin.get("skipped") or []
    if count:
        with st.expander(f"{numbers.counted(count, 'file')} left out", icon=":material/broken_image:"):
            st.dataframe({"file": [pair[0] for pair in skipped], "why": [pair[1] for pair in skipped]}, hide_index=True)
            if count > len(skipped):
                st.caption(f"The first {len(skipped)} are listed.")


def _numbers(values: Any) -> str:
    return ", ".join(f"{value:.3g}" for value in values or ())


def _whole(value: Any) -> int:
    return 0 if value is None or value != value else int(value)
