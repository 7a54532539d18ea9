"""Notes on what a page shows: `notes(run, "relu4:3", "this unit")` lists them and takes another one."""

import hashlib

import streamlit as st

from selviz.errors import SelvizError
from selviz.store.notes import MAX_AUTHOR, MAX_TEXT, Note, add_note, notes, remove_note
from selviz.system.write_access import read_only

from ..state import reads
from . import claims, job_panels


def show(run: str, about: str, label: str) -> None:
    """Draw the notes on one thing of a run, oldest first, and the form for another one; none where there is nothing."""
    try:
        found = notes(reads.data(), run, about)
    except SelvizError as error:
        st.caption(f"Notes cannot be read: {claims.sentence(str(error))}")
        return
    if read_only() and not found:
        return
    key = hashlib.sha256(f"{run} {about}".encode()).hexdigest()[:12]
    title = f"Notes on {label}" + (f" ({len(found)})" if found else "")
    with st.expander(title, icon=":material/edit_note:"):
        for number, note in enumerate(found):
            _one(run, note, f"{key}-{number}")
        if not read_only():
            _form(run, about, key)


def _one(run: str, note: Note, key: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        who = claims.sentence(note.author) or "no name"
        st.markdown(f"{claims.sentence(note.text)}  \n*{who}, {note.written[:16].replace('T', ' ')} UTC*")
        if not read_only():
            st.button("", icon=":material/delete:", key=f"remove-{key}", type="tertiary", help="Remove this note",
                      on_click=remove_note, args=(reads.data(), run, note))  # fmt: skip


def _form(run: str, about: str, key: str) -> None:
    with st.form(f"note-{key}", border=False, clear_on_submit=False):
        text = st.text_area("Note", max_chars=MAX_TEXT, height=80, key=f"note-text-{key}")
        author = st.text_input(
            "Your name, as it is to stand there", st.session_state.get("author", ""), max_chars=MAX_AUTHOR,
            key=f"note-author-{key}", width=320,
        )  # fmt: skip
        if st.form_submit_button("Keep it", **job_panels.writing_control()) and text.strip():
            st.session_state["author"] = author
            try:
                add_note(reads.data(), run, about, text, author)
            except SelvizError as error:
                st.error(str(error))
            else:
                st.session_state.pop(f"note-text-{key}", None)
                st.rerun()
