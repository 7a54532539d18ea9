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

from app.board import answers  # noqa: E402
from app.compute import jobs  # noqa: E402
from app.look import browser, theme  # noqa: E402
from app.page import data_sources, frame, job_panels, run_picker  # noqa: E402
from app.server import health, log, login, streamlit_server, unforeseen, visits, warm_up  # noqa: E402
from app.state import address, caches, navigation, streamlit_internals  # noqa: E402

DEFAULT = "start"
# Group -> pages: address, title, icon, and the folder in app/views where it is not the address.
PAGES = {
    "": [("start", "Start", ":material/play_circle:")],
    "Learn": [
        ("lesson", "Lesson", ":material/school:"),
        ("alpha", "Alpha", ":material/insights:"),
    ],
    "Explore": [
        ("network", "Network", ":material/grid_view:"),
        ("unit", "Unit", ":material/adjust:"),
        ("silence", "Silence", ":material/volume_off:", "ablation"),
        ("compare", "Compare", ":material/compare_arrows:"),
    ],
    "Test": [
        ("claims", "Claims", ":material/gavel:"),
        ("robustness", "Robustness", ":material/cloudy_snowing:"),
        ("hidden", "Hidden structure", ":material/360:", "hidden_structure"),
        ("early", "Early training", ":material/timeline:", "early_training"),
    ],
    "Make": [
        ("train", "Train and import", ":material/model_training:"),
        ("data", "Data", ":material/table:"),
    ],
}
FOLDERS = {path: folder[0] if folder else path for pages in PAGES.values() for path, _, _, *folder in pages}


def view(folder: str) -> Callable[[], None]:
    """Return the function that draws a page; its module is imported when the page is first opened."""

    def show() -> None:
        import_module(f"app.views.{folder}.page").show()

    return show


def registered(path: str, title: str, icon: str, folder: str = "") -> st.Page:
    """Return a page of `PAGES` as Streamlit registers it."""
    return st.Page(view(folder or path), title=title, icon=icon, url_path=path, default=path == DEFAULT)


def moved(old: str) -> st.Page:
    """Return the page at an address of an earlier version, which leads on to the one that has its view now."""
    new, more = navigation.MOVED[old]

    def show() -> None:
        if streamlit_internals.went_through_history():  # leading on again would shut the way back
            view(FOLDERS[new])()
        else:
            st.switch_page(navigation.page_at(new), query_params={**more, **st.query_params.to_dict()})

    return st.Page(show, title=old.capitalize(), url_path=old, visibility="hidden")


def show() -> None:
    """Draw the page that the visitor is on, once."""
    served = streamlit_server.running() is not None
    if served:  # a test is to see what nobody caught as it is
        streamlit_server.handle_errors(unforeseen.show)
        visits.keep_tidy()
    caches.share_arenas()
    theme.show(wait=served)
    st.set_page_config(page_title="selviz", page_icon=str(HERE / "icon.png"), layout="wide")
    browser.start()
    pages = {group: [registered(*about) for about in listed] for group, listed in PAGES.items()}
    pages["Make"] += [moved(old) for old in navigation.MOVED]
    page = st.navigation(pages, expanded=True)
    with log.request(page.url_path or DEFAULT), frame.show_errors():
        login.require()
        answers.show()
        jobs.start_demo_once()
        run_picker.pick_run()
        with st.sidebar:
            data_sources.line()
            job_panels.tray()
        with address.completed():
            page.run()
        warm_up.begin(st.session_state.get("run"), FOLDERS.values())
    health.note(failed=False)


# A process that Python spawns from the dashboard imports this file too, and must neither draw nor start a demo.
if streamlit_internals.running_in_streamlit():
    show()
elif __name__ == "main":  # `streamlit run` imports it once for the server, before it runs it for each visitor
    from starlette.middleware import Middleware

    from app.server.first_page import FirstPage

    dashboard = st.App("main.py", middleware=[Middleware(FirstPage)])
elif __name__ == "__main__":
    sys.exit("The dashboard is started with: streamlit run app/main.py")
