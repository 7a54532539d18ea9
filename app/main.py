"""The dashboard: `streamlit run app/main.py`. The list of pages, and the start of the demo in an empty store."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE.parent) not in sys.path:  # Streamlit puts this folder on the path, not the one that holds selviz and app
    sys.path.insert(0, str(HERE.parent))
if HERE.name != "app":  # in a wheel the package is called selviz_app
    sys.modules.setdefault("app", import_module(HERE.name))

import streamlit as st  # noqa: E402

from app.compute import jobs  # noqa: E402
from app.look import theme  # noqa: E402
from app.page import data_sources, frame, job_panels, run_picker  # noqa: E402
from app.server import health, log, login, streamlit_server, unforeseen, visits, warm_up  # noqa: E402
from app.state import caches, streamlit_internals  # noqa: E402

DEFAULT = "start"
# Group -> pages: folder in app/views, title, icon, and the address where it is not the folder's name.
PAGES = {
    "": [("start", "Start", ":material/play_circle:")],
    "Learn": [
        ("lesson", "Lesson", ":material/school:"),
        ("overview", "Overview", ":material/insights:"),
    ],
    "Explore": [
        ("units", "Units", ":material/grid_view:"),
        ("unit", "Unit", ":material/adjust:"),
        ("ablation", "Ablation", ":material/content_cut:"),
        ("compare", "Compare", ":material/compare_arrows:"),
    ],
    "Test": [
        ("basis", "Basis", ":material/360:"),
        ("robustness", "Robustness", ":material/cloudy_snowing:"),
        ("dimensionality", "Dimensionality", ":material/stacked_line_chart:"),
        ("early_training", "Early training", ":material/timeline:", "early"),
        ("hypotheses", "Hypotheses", ":material/gavel:"),
    ],
    "Make": [
        ("train", "Train", ":material/model_training:"),
        ("data", "Data", ":material/table:"),
    ],
}


def view(folder: str) -> Callable[[], None]:
    """Return the function that draws a page; its module is imported when the page is first opened."""

    def show() -> None:
        import_module(f"app.views.{folder}.page").show()

    return show


def registered(folder: str, title: str, icon: str, address: str = "") -> st.Page:
    """Return a page of `PAGES` as Streamlit registers it."""
    return st.Page(view(folder), title=title, icon=icon, url_path=address or folder, default=folder == DEFAULT)


def show() -> None:
    """Draw the page that the visitor is on, once."""
    if streamlit_server.running() is not None:  # a test is to see what nobody caught as it is
        streamlit_server.handle_errors(unforeseen.show)
        visits.keep_tidy()
    caches.share_arenas()
    theme.show()
    st.set_page_config(page_title="selviz", page_icon=str(HERE / "icon.png"), layout="wide")
    page = st.navigation(
        {group: [registered(*about) for about in pages] for group, pages in PAGES.items()}, expanded=True
    )
    with log.request(page.url_path or DEFAULT), frame.show_errors():
        login.require()
        jobs.start_demo_once()
        run_picker.pick_run()
        with st.sidebar:
            data_sources.line()
            job_panels.sidebar()
        page.run()
        warm_up.begin(st.session_state.get("run"), (folder for pages in PAGES.values() for folder, *_ in pages))
    health.note(failed=False)


# A process that Python spawns from the dashboard imports this file too, and must neither draw nor start a demo.
if streamlit_internals.running_in_streamlit():
    show()
elif __name__ == "__main__":
    sys.exit("The dashboard is started with: streamlit run app/main.py")
