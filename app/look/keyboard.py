"""What pages need for being used without a mouse: `STYLE`, `enter(key)`, and `step_keys(key, keys, on_step)`.

Streamlit draws what a popover holds at the end of the page, so Tab would lead past it, through everything else; it
shows the button that copies a code block to a mouse alone; and it misses presses of a button's key while it draws.
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
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


ARROWS = {"ArrowLeft": -1, "ArrowRight": 1}


@st.cache_resource
def _step_keys() -> Callable[..., Any]:
    script = Path(__file__).with_name("step_keys.js").read_text(encoding="utf-8")
    return components.component("selviz.step_keys", html="<span></span>", js=script)


def step_keys(key: str, on_step: Callable[[int], object], keys: Mapping[str, int] = ARROWS) -> None:
    """Call `on_step` with the sum of the steps of all keys that were pressed since its last call; takes no room.

    The browser counts, so that no press is lost however fast they come. A field, a choice and a board keep their keys.
    """
    name, counted = f"keys-{key}", f"keys-{key}-counted"
    visit, _ = st.session_state.setdefault(counted, (secrets.token_hex(4), 0))

    def pressed() -> None:
        reported = (st.session_state.get(name) or {}).get("pressed")
        _, before = st.session_state[counted]
        if not isinstance(reported, dict) or reported.get("visit") != visit:
            return  # of a server that has been started again since
        total = reported.get("steps")
        if isinstance(total, int) and total != before:
            st.session_state[counted] = visit, total
            on_step(total - before)

    _, before = st.session_state[counted]
    with st.container(key=f"no-room-{name}"):
        _step_keys()(key=name, data={"keys": dict(keys), "visit": visit, "steps": before}, on_pressed_change=pressed)
