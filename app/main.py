"""The dashboard: `streamlit run app/main.py`. The list of pages, and the start of the demo in an empty store."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # Streamlit puts this folder on the path, not the one that holds selviz and app
    sys.path.insert(0, str(ROOT))

import streamlit as st  # noqa: E402
from streamlit.runtime.scriptrunner import get_script_run_ctx  # noqa: E402

from app import common, log, login, memory, sources, work  # noqa: E402


def show() -> None:
    """One run of the page that the visitor is on."""
    memory.share()
    st.set_page_config(page_title="selviz", page_icon=str(ROOT / "app" / "icon.png"), layout="wide")
    st.html(common.STYLE)
    page = st.navigation(
        {
            "Learn": [
                st.Page("views/lesson.py", title="Lesson", icon=":material/school:"),
                st.Page("views/overview.py", title="Overview", icon=":material/insights:", default=True),
            ],
            "Explore": [
                st.Page("views/units.py", title="Units", icon=":material/grid_view:"),
                st.Page("views/unit.py", title="Unit", icon=":material/adjust:"),
                st.Page("views/ablation.py", title="Ablation", icon=":material/content_cut:"),
                st.Page("views/compare.py", title="Compare", icon=":material/compare_arrows:"),
            ],
            "Test": [
                st.Page("views/basis.py", title="Basis", icon=":material/360:"),
                st.Page("views/robustness.py", title="Robustness", icon=":material/cloudy_snowing:"),
                st.Page("views/dimensionality.py", title="Dimensionality", icon=":material/stacked_line_chart:"),
                st.Page("views/early.py", title="Early training", icon=":material/timeline:"),
                st.Page("views/hypotheses.py", title="Hypotheses", icon=":material/gavel:"),
            ],
            "Make": [
                st.Page("views/train.py", title="Train", icon=":material/model_training:"),
                st.Page("views/data.py", title="Data", icon=":material/table:"),
            ],
        },
        expanded=True,
    )
    with log.request(page.url_path or "overview"), common.failures():
        login.require()
        work.begin_once()
        common.pick_run()
        with st.sidebar:
            sources.line()
            work.line()
        page.run()


# A process that Python spawns from the dashboard imports this file too, and must neither draw nor start a demo.
if get_script_run_ctx(suppress_warning=True) is not None:
    show()
elif __name__ == "__main__":
    sys.exit("The dashboard is started with: streamlit run app/main.py")
