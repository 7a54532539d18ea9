"""The look of all pages: `show()` once a run, before all else; `dark()` for figures."""

import threading
import time

import streamlit as st

from . import keyboard

STYLED_S = 0.25  # in which a browser has put the first style on; what comes after it is drawn with it
# Room for a chart of each height, until Streamlit has loaded what draws it.
ROOM = "\n".join(f'[class*="st-key-room-{height}-"] {{min-height: {height}px}}' for height in range(200, 1000, 10))
ROOM += "\n@media (max-width: 640px) {" + "\n".join(
    f'[class*="-narrow-{height}-"] {{min-height: {height}px}}' for height in range(200, 1000, 10)
)
ROOM += "}"
MAX_BARS, BAR = 14, 23  # bars of classes under a board on a phone, and pixels of one
# There, a page's board keeps the place of as many bars as its network has classes.
BOARDS = "\n".join(
    f'[class*="st-key-{page}-board-of-{bars}-"] {{min-height: {rest + BAR * bars}px}}'
    for page, rest in (("silence", 368), ("network", 486))
    for bars in range(MAX_BARS + 1)
)
STYLE = f"""<style>{keyboard.STYLE}
html .stMainBlockContainer {{padding: 3.6rem 2.6rem 3rem 2.6rem}}
html [data-testid=stSidebarNavLink] {{padding-block: .12rem; min-height: 1.6rem}}
html [data-testid=stSidebarHeader] {{height: 2.6rem; margin-bottom: 0}}
html [data-testid=stNavSectionHeader] {{padding-block: .1rem; margin-top: .5rem}}
html .stMainBlockContainer h1 {{font-size: clamp(1.6rem, 2.3vw, 2.1rem); padding: .1rem 0}}
html .stMainBlockContainer h2 {{font-size: 1.5rem; padding: .8rem 0 .4rem 0}}
html .stMainBlockContainer h3 {{font-size: 1.25rem; padding: .1rem 0}}
[class*="st-key-tile-"] button {{background-size: 100% auto; background-repeat: no-repeat; image-rendering: pixelated;
  padding: calc(100% - 2px) 0 0 0; overflow: hidden; border-width: 2px; min-height: 0}}
[class*="st-key-tile-"] button p {{font-size: .82rem; white-space: pre; line-height: 1.25}}
[data-testid=stCaptionContainer], [data-testid=stCaptionContainer] * {{color: inherit !important}}
[data-testid=stCaptionContainer] {{opacity: .84}}
[data-testid=stCaptionContainer] code {{background: none; padding: 0; font-size: .95em}}
[data-testid=stCaptionContainer] a {{text-decoration: underline}}
:is([data-testid=stNavSectionHeader], [data-testid=stSidebarNavLink], [data-testid=stMetricDelta],
  [data-testid=stWidgetLabel], [data-testid=stTooltipHoverTarget]) :is(p, span, div) {{color: inherit !important}}
[data-testid=stNavSectionHeader] {{color: inherit !important; opacity: .84}}
[data-testid=stButtonGroup] p, [data-testid=stSliderThumbValue] {{color: light-dark(#1d4f7c, #9ed2f7) !important}}
[data-testid=stMain], html [data-testid=stSidebarContent] {{scrollbar-gutter: stable}}
html [data-testid=stSidebarContent] {{padding-inline: 20px}}
[data-testid=stSidebarContent]:not(:has([data-testid=stSidebarNav])) {{visibility: hidden}}
{ROOM}
[data-testid=stMetricDelta] {{color: inherit !important; opacity: .84}}
[data-baseweb=tag], [data-testid=stMultiSelectTag] {{background: #1b5e8f !important; color: #fff !important}}
html [data-testid=stSidebar] [data-testid=stSelectbox] input {{font-size: .82rem; text-overflow: ellipsis;
  padding-inline: .5rem 0}}
[class*=st-key-lesson-] button p {{white-space: normal; text-align: left !important}}
[data-testid=stCode] .token {{color: inherit !important; font-weight: 500}}
[data-testid=stHeadingDivider] {{margin-top: .5rem}}
html [data-testid=stButtonGroup] button {{min-height: 2.5rem}}
.selviz-tiles {{display: grid; grid-template-columns: repeat(auto-fill, minmax(var(--tile, 4.2rem), 1fr)); gap: .6rem}}
.selviz-tiles figure {{margin: 0}}
.selviz-tiles figcaption {{font-size: .82rem; line-height: 1.2; overflow-wrap: anywhere}}
.selviz-row {{grid-template-columns: repeat(var(--n), minmax(0, 6rem))}}
/* Streamlit draws HTML late on a first visit: the place of nine square pictures is kept until then. */
.st-key-lesson-pictures {{min-height: 5rem}}
@media (max-width: 640px) {{
  .st-key-lesson-pictures {{min-height: calc(100vw - 3rem)}}
  .selviz-row {{grid-template-columns: repeat(3, 1fr)}}
  [class*=st-key-row-of-images] [data-testid=stHorizontalBlock] {{display: grid;
    grid-template-columns: repeat(3, minmax(0, 1fr))}}
  [class*=st-key-row-of-images] [data-testid=stColumn] {{min-width: 0; width: auto; flex: none}}
  html .stMainBlockContainer {{padding: 3.2rem 1rem 2rem 1rem}}
}}
/* The lesson for a projector; look/browser.js says when, from the address, before anything is drawn. */
html.selviz-presenting {{font-size: clamp(18px, 1.5vw, 28px)}}
.selviz-presenting :is([data-testid=stSidebar], [data-testid=stExpandSidebarButton], [data-testid=stHeader]) {{
  display: none !important}}
html.selviz-presenting .stMainBlockContainer {{padding-top: 1rem}}
.st-key-strip [data-testid=stMetricValue] {{font-size: clamp(1.2rem, 1.9vw, 2.25rem)}}
.selviz-waffle {{display: flex; flex-wrap: wrap; gap: 4px; max-width: 46rem}}
.selviz-waffle i {{width: 1rem; height: 1rem; border: 2px solid; border-radius: 3px}}
.selviz-votes {{display: grid; grid-template-columns: minmax(4rem, max-content) 1fr; gap: .35rem .8rem;
  align-items: center}}
.selviz-votes > div {{display: flex; align-items: center; gap: .5rem; overflow-wrap: anywhere}}
.selviz-votes i {{height: 1.3rem; background: #0072B2; border-radius: 3px; min-width: 3px}}
[class*=st-key-tray-] {{flex-wrap: nowrap}}
.selviz-facts {{width: 100%; border-collapse: collapse}}
.selviz-facts :is(th, td) {{text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; font-size: .94rem;
  border-bottom: 1px solid #8883; overflow-wrap: anywhere}}
.selviz-facts th {{font-weight: 600; min-width: 9rem; overflow-wrap: break-word}}
:is(.st-key-browser-script, .st-key-board-answers, [class*="st-key-board-model-"], [class*="st-key-no-room-"]) {{
  position: absolute; height: 0; overflow: hidden}}
[data-testid=stHorizontalBlock]:has(> [data-testid=stElementContainer] [data-testid=stSkeleton]) {{
  visibility: hidden}}
:is(.st-key-train-model, .st-key-train-alpha, .st-key-train-seed, .st-key-train-epochs) {{min-height: 4.25rem}}
:is(.st-key-link-runs, .st-key-sql-ask) {{min-height: 4.25rem}}
.st-key-silence-head {{min-height: 2.6rem}}
:is(.st-key-silence-choice, .st-key-silence-rules) {{min-height: 4.25rem}}
[class*="st-key-silence-board-"] {{min-height: 316px}}
.st-key-silence-result {{min-height: 172px}}
[class*="st-key-network-board-"] {{min-height: 390px}}
:is(.st-key-link-baseline, .st-key-link-with) {{min-height: 4.25rem}}
.st-key-link-query {{min-height: 16rem}}
:is(.st-key-start-controls, .st-key-network-light) {{min-height: 4.25rem}}
.st-key-network-filters {{min-height: 5.25rem}}
.st-key-start-controls [data-testid=stHorizontalBlock] {{min-height: 4.25rem}}
:is(.st-key-perturbed-choice, [class*="st-key-dimensionality-choice-"]) {{min-height: 4.25rem}}
.st-key-lesson-results {{min-height: 18rem}}
@media (max-width: 640px) {{
  .st-key-silence-head {{min-height: 7.5rem}}
  :is(.st-key-silence-choice, .st-key-silence-rules) {{min-height: 8.8rem}}
  .st-key-silence-result {{min-height: 234px}}
  {BOARDS}
  .st-key-network-light {{min-height: 7rem}}
  .st-key-network-filters {{min-height: 19.5rem}}
  .st-key-start-controls {{min-height: 8rem}}
  .st-key-start-actions {{min-height: 6rem}}
  .st-key-dimensionality-choice-2 {{min-height: 10.6rem}}
  .st-key-dimensionality-choice-3 {{min-height: 16.9rem}}
  .st-key-lesson-results {{min-height: 33rem}}
}}
.st-key-perturbed-strip {{container-type: inline-size; width: 100%}}
.st-key-perturbed-strip > * {{min-height: calc(3 * max(4.6rem, min(9rem, (100cqi - 6.4rem) / 8 - .6rem)) + 3.3rem)}}
.stApp:not(:has([data-testid=stMain] [data-testid=stElementContainer] > :not([data-testid=stSkeleton]))) {{
  visibility: hidden}}
[class*="st-key-board"] [data-testid=stBidiComponentRegular] {{min-height: 0}}
.selviz-ten {{display: grid; grid-template-columns: repeat(auto-fit, minmax(64px, 1fr)); gap: .6rem; max-width: 60rem}}
.selviz-ten figure {{margin: 0; text-align: center}}
.selviz-ten img {{width: 100%; max-width: 66px; image-rendering: pixelated; border: 3px solid var(--hue);
  border-radius: 6px; display: block; margin: 0 auto; box-sizing: border-box}}
.selviz-ten .wrong img {{border-style: dashed}}
[data-testid="stMarkdownContainer"] blockquote :is(p, li), [data-testid="stMarkdownContainer"] blockquote {{
  color: inherit; opacity: 1}}
.selviz-ten figcaption {{font-size: 1rem; font-weight: 600}}
.selviz-picture {{width: 100%; height: auto; image-rendering: pixelated; border-radius: .4rem; display: block}}
</style>"""


_in_head = threading.Event()  # the server's page brings the style itself


def for_head() -> str:
    """Return the style for the head of the page that the server sends, so that no drawing needs to wait for it."""
    _in_head.set()
    return STYLE


def show(wait: bool) -> None:
    """Send the style; for a visit's first drawing `wait` until it is there, where the page did not bring it.

    Streamlit draws a placeholder across the whole window, which the sidebar then pushes aside: a layout shift of 0.3.
    The style hides it, if it comes first.
    """
    st.html(STYLE)
    if not st.session_state.get("styled"):
        st.session_state["styled"] = True
        if wait and not _in_head.is_set():
            time.sleep(STYLED_S)


def dark() -> bool:
    """Return whether the visitor sees the dark theme."""
    return getattr(st.context.theme, "type", None) == "dark"
