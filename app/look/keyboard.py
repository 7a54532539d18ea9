"""What pages need for being used without a mouse: `STYLE`, which shows where the focus is, and `enter(key)`.

Streamlit draws what a popover holds at the end of the page, so Tab would lead past it, through everything else; and it
shows the button that copies a code block to a mouse alone.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st
import streamlit.components.v2 as components

STYLE = """
:is(a, button, [data-testid=stCode]):focus-visible {outline: 2px solid #2F8FCF !important; outline-offset: 1px}
"""
ENTER = """
export default function ({parentElement}) {
  if (parentElement.entered) return;
  parentElement.entered = true;
  const box = (parentElement.getRootNode().host ?? parentElement).closest("[data-testid=stPopoverBody]");
  box?.addEventListener("keydown", ({key, target}) => {
    if (key !== "Enter" || !target.matches("[data-testid=stCode]")) return;
    navigator.clipboard.writeText(target.querySelector("code").innerText.trim());
    target.animate([{opacity: 0.2}, {opacity: 1}], 600);
  });
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
def _control() -> Callable[..., Any]:
    return components.component("selviz.enter", html="<span></span>", js=ENTER)


def enter(key: str) -> None:
    """Move the focus to the first thing in a popover opened from the keyboard; Enter copies code."""
    _control()(key=f"enter-{key}", height=1)
