"""Who may come in: `require()` lets a visitor pass who is logged in, or everybody where no log-in is set up.

The log-in is Streamlit's own (OpenID Connect): it is on where `[auth]` stands in `.streamlit/secrets.toml`.
"""

import streamlit as st

ONE = ("client_id", "client_secret", "server_metadata_url")  # what a single provider has directly under [auth]


def providers() -> list[str | None]:
    """The names of the providers to log in with, None for one without a name; empty where no log-in is set up."""
    if not st.secrets.load_if_toml_exists() or "auth" not in st.secrets:
        return []
    auth = st.secrets["auth"]
    named = [name for name, value in auth.items() if hasattr(value, "items")]
    return named or [None]


def require() -> None:
    """Ends this run of the page with the way to log in, unless the visitor is logged in or need not be."""
    known = providers()
    if not known:
        return
    if getattr(st.user, "is_logged_in", False):
        st.sidebar.button("Log out", icon=":material/logout:", type="tertiary", on_click=st.logout)
        return
    st.title("selviz", anchor=False)
    st.markdown("This dashboard is for people who log in.")
    for name in known:
        told = "Log in" if name is None else f"Log in with {name}"
        arguments = () if name is None else (name,)
        st.button(told, type="primary", icon=":material/login:", on_click=st.login, args=arguments)
    st.stop()
