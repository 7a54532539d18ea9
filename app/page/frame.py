"""The frame of every page: `page(title, how)`, `with show_errors(): ...`, `link()`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from selviz.errors import SelvizError, TransientError, system_problem
from selviz.text import safe_text

from ..look import keyboard
from ..state import reads, streamlit_internals


def page(title: str, how: str, python: str = "", shell: str = "", share: bool = True) -> None:
    """Draw the title, which is the page's question, one sentence of how to read it, and link and code to take away."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(title, anchor=False, width="stretch")
        if share:
            _share(python, shell)
    if how:
        st.markdown(how)
    st.session_state["notices"] = streamlit_internals.page_run(), st.container()


def _share(python: str, shell: str) -> None:
    with popover("Share", ":material/share:", "share") as opened:
        if opened:
            st.caption("This view as a link; from the keyboard, Enter copies what has the focus")
            st.code(link(), language=None, wrap_lines=True)
            st.caption("The same numbers in Python")
            code = f"import selviz\n\nstore = selviz.open({reads.data()!r})\n{python or 'store.runs()'}"
            st.code(code, language="python", wrap_lines=True)
            if shell:
                st.caption("The same in a shell")
                st.code(shell, language="bash", wrap_lines=True)


@contextmanager
def popover(label: str, icon: str, key: str, **options: Any) -> Iterator[bool]:
    """Draw a box that opens at a button; yields whether it is open, since what is in it is made only then."""
    with st.popover(label, icon=icon, on_change="rerun", key=key, **options) as box:
        if box.open:
            keyboard.enter(key)
        yield box.open


def link() -> str:
    """Return the address of what is on screen."""
    from urllib.parse import urlencode

    query = urlencode(st.query_params.to_dict(), safe=":;,.-")
    return f"{st.context.url or ''}{'?' if query else ''}{query}"


def unbounded(run: str, layers: Iterable[str]) -> None:
    """Say so where SI has no bound: in layers whose activations can be negative."""
    table, named = reads.store().layers(run), set(layers)
    signed = [layer for layer, below in zip(table["layer"], table["signed"]) if below and layer in named]
    if signed:
        more = f" and {len(signed) - 3} more" if len(signed) > 3 else ""
        st.caption(
            f"Activations can be negative in {', '.join(map(safe_text.code, signed[:3]))}{more}: SI is not bounded "
            "there."
        )


def passing(error: OSError | MemoryError) -> SelvizError | None:
    """Return the sentence for what the system refused; None where that is no refusal that passes."""
    words = system_problem(error)
    if words is None:
        return None
    name = getattr(error, "filename", None)
    return TransientError(f"{f'{name} cannot be read now: ' if name else ''}{words}. Try again in a moment.")


@contextmanager
def show_errors() -> Iterator[None]:
    """Show a SelvizError raised inside as its sentence, once on a page; everything else on the page stays.

    So is what the system refuses, such as another open file: that passes, and says nothing of a file's content.
    """
    try:
        yield
    except (SelvizError, OSError, MemoryError) as raised:
        error = raised if isinstance(raised, SelvizError) else passing(raised)
        if error is None:
            raise
        drawing = streamlit_internals.page_run()
        shown_by, messages = st.session_state.get("failures", (None, set()))
        messages = messages if shown_by is drawing else set()
        if str(error) in messages:
            st.caption("This cannot be shown either, for the same reason.")
            return
        st.session_state["failures"] = drawing, messages | {str(error)}
        if st.session_state.get("notices", (None,))[0] is not drawing:
            st.title("This page cannot be shown", anchor=False)
        st.error("This could not be shown; nothing was lost.", icon=":material/error:")
        st.code(str(error), language=None, wrap_lines=True)
