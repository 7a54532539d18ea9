"""What pages need for being used without a mouse: `STYLE`, which shows where the focus is, and `enter(key)`.

Streamlit draws what a popover holds at the end of the page, so Tab would lead past it, through everything else.
"""

import streamlit as st
import streamlit.components.v2 as components

STYLE = """
:is(a, button):focus-visible {outline: 2px solid #2F8FCF; outline-offset: 1px; border-radius: .3rem}
"""
ENTER = """
export default function ({parentElement}) {
  if (parentElement.entered) return;
  parentElement.entered = true;
  const box = (parentElement.getRootNode().host ?? parentElement).closest("[data-testid=stPopoverBody]");
  if (!box || !document.activeElement?.matches("button:focus-visible")) return;
  const enter = (tries) => {
    for (const one of box.querySelectorAll("[tabindex='0'], button, input, a[href], textarea")) {
      one.focus({focusVisible: true});
      if (box.contains(document.activeElement)) return;
    }
    if (tries) setTimeout(() => enter(tries - 1), 50);
  };
  enter(40);
}
"""


@st.cache_resource
def _control():
    return components.component("selviz.enter", html="<span></span>", js=ENTER)


def enter(key: str) -> None:
    """Inside a popover that was opened from the keyboard: the focus goes to the first thing in it."""
    _control()(key=f"enter-{key}", height=1)
