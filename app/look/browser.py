"""What pages do in the browser beside what Streamlit draws: `start()` once a run of the page; `browser.js` has it."""

from pathlib import Path

import streamlit as st

SCRIPT = f"<script>{(Path(__file__).parent / 'browser.js').read_text(encoding='utf-8')}</script>"


def start() -> None:
    """Let the browser run the script, which does something once a tab; takes no room."""
    with st.container(key="browser-script"):
        st.html(SCRIPT, unsafe_allow_javascript=True)
