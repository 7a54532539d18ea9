"""Name pages by their address: `st.switch_page(page_at("unit"), query_params=...)`, `st.page_link(page_at("data"))`."""

import streamlit as st
from streamlit.navigation.page import StreamlitPage

# Addresses of earlier versions: where each leads, and what it adds to the view.
MOVED: dict[str, tuple[str, dict[str, str]]] = {
    "overview": ("alpha", {}),
    "units": ("network", {}),
    "ablation": ("silence", {}),
    "hypotheses": ("claims", {}),
    "basis": ("hidden", {}),
    "dimensionality": ("hidden", {"part": "dimensionality"}),
}


def page_at(address: str) -> StreamlitPage:
    """Return the registered page of an address such as `unit`; Streamlit knows a page by its address alone."""
    return st.Page(_registered_elsewhere, url_path=address)


def _registered_elsewhere() -> None:
    raise AssertionError("app/main.py registers the pages; this one only names the address")
