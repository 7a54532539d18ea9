"""What nobody caught, as one sentence with a number that the log repeats: `show(error)`."""

import secrets
import traceback

import streamlit as st

from . import health, log

SENTENCE = (
    "Something went wrong that selviz did not foresee, and this part of the page could not be drawn; nothing was lost."
)


def show(error: Exception) -> bool:
    """Show the sentence where the page was drawing, and write the number and the error into the log."""
    health.note(failed=True)
    number = secrets.token_hex(4)
    st.error(f"{SENTENCE} Its number in the server's log: {number}.", icon=":material/error:")
    trace = log.without_typed_text("".join(traceback.format_exception(error)))
    if log.is_on():
        log.write("unforeseen", number=number, error=type(error).__name__, trace=trace)
    else:
        log.tell(f"selviz: unforeseen error {number}\n{trace}")
    return True  # nothing else is to be shown
