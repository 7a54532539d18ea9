"""The look of all pages: `show()` once a run, before all else; `dark()` for figures."""

import time

import streamlit as st

from . import keyboard

STYLED_S = 0.25  # in which a browser has put the first style on; what comes after it is drawn with it
STYLE = f"""<style>{keyboard.STYLE}
.stMainBlockContainer {{padding: 3.6rem 2.6rem 3rem 2.6rem}}
[data-testid=stSidebarNavLink] {{padding-block: .12rem; min-height: 1.6rem}}
[data-testid=stSidebarHeader] {{height: 2.6rem; margin-bottom: 0}}
[data-testid=stNavSectionHeader] {{padding-block: .1rem; margin-top: .5rem}}
.stMainBlockContainer h1 {{font-size: clamp(1.6rem, 2.3vw, 2.1rem); padding: .1rem 0}}
.stMainBlockContainer h2 {{font-size: 1.5rem; padding: .8rem 0 .4rem 0}}
.stMainBlockContainer h3 {{font-size: 1.25rem; padding: .1rem 0}}
[class*="st-key-tile-"] button {{background-size: 100% auto; background-repeat: no-repeat; image-rendering: pixelated;
  padding: calc(100% - 2px) 0 0 0; overflow: hidden; border-width: 2px; min-height: 0}}
[class*="st-key-tile-"] button p {{font-size: .82rem; white-space: pre; line-height: 1.25}}
[data-testid=stCaptionContainer] code {{color: inherit; background: none; padding: 0; font-size: .95em}}
[class*=st-key-lesson-] button p {{white-space: normal; text-align: left !important}}
[data-testid=stHeadingDivider] {{margin-top: .5rem}}
[data-testid=stButtonGroup] button {{min-height: 2.5rem}}
.selviz-tiles {{display: grid; grid-template-columns: repeat(auto-fill, minmax(4.2rem, 1fr)); gap: .6rem}}
.selviz-tiles figure {{margin: 0}}
.selviz-tiles figcaption {{font-size: .82rem; line-height: 1.2; overflow-wrap: anywhere}}
.st-key-strip [data-testid=stMetricValue] {{font-size: clamp(1.2rem, 1.9vw, 2.25rem)}}
.selviz-facts {{width: 100%; border-collapse: collapse}}
.selviz-facts :is(th, td) {{text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; font-size: .94rem;
  border-bottom: 1px solid #8883; overflow-wrap: anywhere}}
.selviz-facts th {{font-weight: 600; min-width: 9rem}}
[class*="st-key-board-model-"] {{position: absolute; height: 0; overflow: hidden}}
.st-key-silence-head {{min-height: 2.6rem}}
.st-key-silence-board {{min-height: 300px}}
.st-key-network-board {{min-height: 374px}}
:is(.st-key-start-controls, .st-key-network-light) {{min-height: 4.25rem}}
.st-key-network-filters {{min-height: 5.25rem}}
.stApp:not(:has([data-testid=stMain] [data-testid=stElementContainer] > :not([data-testid=stSkeleton]))) {{
  visibility: hidden}}
[class*="st-key-board"] [data-testid=stBidiComponentRegular] {{min-height: 0}}
.selviz-ten {{display: grid; grid-template-columns: repeat(auto-fit, minmax(64px, 1fr)); gap: .6rem; max-width: 60rem}}
.selviz-ten figure {{margin: 0; text-align: center}}
.selviz-ten img {{width: 100%; max-width: 66px; image-rendering: pixelated; border: 3px solid var(--hue);
  border-radius: 6px; display: block; margin: 0 auto; box-sizing: border-box}}
.selviz-ten .wrong img {{border-style: dashed}}
.selviz-ten figcaption {{font-size: 1rem; font-weight: 600}}
.selviz-picture {{width: 100%; image-rendering: pixelated; border-radius: .4rem; display: block}}
</style>"""


def show() -> None:
    """Send the style; for a visit's first drawing wait until it is there.

    Streamlit draws a placeholder across the whole window, which the sidebar then pushes aside: a layout shift of 0.3.
    The style hides it, if it comes first.
    """
    st.html(STYLE)
    if not st.session_state.get("styled"):
        st.session_state["styled"] = True
        time.sleep(STYLED_S)


def dark() -> bool:
    """Return whether the visitor sees the dark theme."""
    return getattr(st.context.theme, "type", None) == "dark"
