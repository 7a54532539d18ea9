"""The address bar is the memory of a view: `x = choose("layer", names, names[0])`, then `widget(st.selectbox, ...)`.

A widget is set from the address before it is drawn and writes to the address when a person changes it, so a link opens
what its sender saw, back and forward work, and nothing is lost when another page is opened.

A browser sends its address and all its widgets' values with every request, also those that an earlier click, still
under way, has made out of date. So the server's View is the truth: a browser's address counts where its visitor went to
it, a widget's value where its visitor changed it, and everything else that a browser says is what it was told before.
"""

import math
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NoReturn
from urllib.parse import parse_qsl, urlencode

import streamlit as st
from streamlit.runtime.scriptrunner import RerunData, RerunException, get_script_run_ctx

from selviz.errors import near
from selviz.text.safe_text import code
from selviz.text.unit_lists import format_units as units_to_text  # noqa: F401
from selviz.text.unit_lists import parse_existing_units as text_to_units  # noqa: F401

LONGEST = 1500
UNSAID = object()


@dataclass
class View:
    """What one visitor is looking at: `now`, the address as it should be, on `page`.

    `sent` are the addresses that the browser may be at without its visitor having gone there: the one that it told
    last, and all that were sent to it since. `counted` is the value of each widget, by key, that is in `now` already;
    `drawn` is how often a widget was drawn as a new one, and what it was made of; `run` marks the run of the page that
    has looked at the request. `heard` are the requests that no run has looked at yet, oldest first, and `touched` the
    keys of the widgets that were changed in those that the request of this run has overtaken.
    """

    page: str = ""
    now: dict[str, str] = field(default_factory=dict)
    sent: list[dict[str, str]] = field(default_factory=list)
    counted: dict[str, object] = field(default_factory=dict)
    drawn: dict[str, tuple[int, object]] = field(default_factory=dict)
    run: object = None
    heard: deque[RerunData] = field(default_factory=lambda: deque(maxlen=100))
    touched: set[str] = field(default_factory=set)

    def hears(self, page: str, told: dict[str, str], went: bool) -> bool:
        """Takes in what a browser says of its address; `went` where it says that it went back or forward.

        True if the browser has to be told the address: it says another one, or may yet get one that is out of date.
        """
        if page != self.page:
            self.counted.clear()
        if went or page != self.page or told not in self.sent:
            on_their_way = self.sent[1:]
            self.page, self.now, self.sent = page, told, [told, *on_their_way]
            return bool(on_their_way)
        del self.sent[: self.sent.index(told)]
        return told != self.now

    def catches_up(self, mark) -> None:
        """Takes in, in their order, the requests that were overtaken by the one whose context is `mark`."""
        self.touched.clear()
        marks = [asked.context_info for asked in self.heard]
        own = next((number for number, other in enumerate(marks) if other is mark and mark is not None), -1)
        for asked, newer in pairwise(self.heard.popleft() for _ in range(own + 1)):
            self.hears(asked.page_script_hash, dict(parse_qsl(asked.query_string)), asked.is_history_navigation)
            before = _said(asked)
            self.touched |= {key for key, value in _said(newer).items() if before.get(key, value) != value}
            if newer.is_history_navigation:
                self.touched.clear()

    def count(self, name: str, value, changed: Callable) -> None:
        """Lets `changed(value)` write a click to the address, after which it is counted.

        Streamlit ends `changed` at any step if a newer request is there. Then the click is counted if the address has
        it: else it would count for the next request, and one that puts the old value back would not.
        """
        before, counted = self.now, self.counted[name]
        self.counted[name] = value
        try:
            changed(value)
        except BaseException:
            if self.now is before:
                self.counted[name] = counted
            raise


def _view() -> View:
    """This visitor's view, after what the browser said with the request of this run."""
    view, context = st.session_state.setdefault("view", View()), get_script_run_ctx()
    if view.run is not context.cursors:  # Streamlit makes new ones for each run
        _listen(view, context.script_requests)
        view.catches_up(context.context_info)
        told, went = st.query_params.to_dict(), getattr(context, "is_history_navigation", False)
        tell = view.hears(context.page_script_hash, told, went)
        view.run = context.cursors
        if tell:
            _tell(view)
    return view


def _listen(view: View, requests) -> None:
    """Notes every request on its way to Streamlit, which of those that wait keeps the newest alone: a visitor who went
    back and at once clicked may be told of the old address in between, and then only the first request has the new one.
    """
    take = requests.request_rerun

    def request_rerun(asked: RerunData) -> bool:
        view.heard.append(asked)
        return take(asked)

    if "request_rerun" not in vars(requests):
        requests.request_rerun = request_rerun


def _said(asked: RerunData) -> dict[str, bytes]:
    """The value of each widget, by its key, in a request; an id is `$$ID-hash-key`."""
    states = asked.widget_states.widgets if asked.widget_states else ()
    return {state.id.split("-", 2)[-1]: state.SerializeToString(deterministic=True) for state in states}


def _tell(view: View) -> None:
    view.sent = [*view.sent[-50:], view.now]
    st.query_params.from_dict(view.now)


def get(name: str, default: str | None = None) -> str | None:
    """What the address says, or the default."""
    return _view().now.get(name, default)


def put(**values) -> None:
    """Writes values to the address in one step; None takes a name out of it."""
    view = _view()
    after = {**view.now, **{name: str(v) for name, v in values.items() if v is not None}}
    after = {name: v for name, v in after.items() if name not in values or values[name] is not None}
    if after != view.now:
        view.now = after
        _tell(view)


def again() -> NoReturn:
    """Draws the page again from its top, as `st.rerun()` does, and keeps what its visitor has asked for meanwhile.

    `st.rerun()` lays its own address over that of a request that waits, which then is lost.
    """
    context, view = get_script_run_ctx(), _view()
    raise RerunException(
        RerunData(
            query_string=urlencode(view.sent[0]),  # as the browser told it, which hears of the new one once more
            page_script_hash=context.page_script_hash,
            cached_message_hashes=context.cached_message_hashes,
            context_info=context.context_info,
        )
    )


def choose(name: str, known: Sequence[str], default: str, what: str = "") -> str:
    """What the address says if it is known; else a notice of what could not be found, and the nearest."""
    asked = get(name)
    if asked is None or asked in known:
        return default if asked is None else asked
    nearest = (near(asked, known) or [default])[0]
    not_found(what or name, asked, nearest)
    return nearest


def integer(name: str, low: int, high: int, default: int, what: str = "") -> int:
    """A whole number low..high from the address; anything else gives a notice and the nearest that exists."""
    asked = get(name)
    if asked is None:
        return default
    if re.fullmatch(r"-?\d{1,9}", asked) and low <= int(asked) <= high:
        return int(asked)
    nearest = min(max(int(asked), low), high) if re.fullmatch(r"-?\d{1,9}", asked) else default
    not_found(what or name, asked, f"{nearest} (there are {low} to {high})")
    return nearest


def number(name: str, low: float, high: float, default: float) -> float:
    """A number low..high from the address; anything else gives a notice and the nearest that exists."""
    asked = get(name)
    if asked is None:
        return default
    try:
        value = float(asked)
    except ValueError:
        value = math.nan
    if low <= value <= high:
        return value
    nearest = default if math.isnan(value) else min(max(value, low), high)
    not_found(name, asked, f"{nearest:g} (there are {low:g} to {high:g})")
    return nearest


def span(name: str, low: float, high: float) -> tuple[float, float]:
    """A range `0.2..0.8` from the address, cut to low..high; anything else is the whole range."""
    match = re.fullmatch(r"(-?[\d.]+)\.\.(-?[\d.]+)", get(name, ""))
    try:
        first, last = sorted(min(max(float(part), low), high) for part in match.groups()) if match else (low, high)
    except ValueError:
        first, last = low, high
    return first, last


def not_found(what: str, asked: str, instead: str) -> None:
    """The notice of a link that names something that is not there: under the page's title, where it has one by now."""
    drawing, place = st.session_state.get("notices", (None, st))
    place = place if drawing is get_script_run_ctx().cursors else st
    place.warning(
        f"This link names {what} {code(asked)}, which is not here. Shown instead: {code(instead)}.",
        icon=":material/link_off:",
    )


def widget(
    make: Callable, *args, name: str, value, default=None, text: Callable = str, clears: Sequence[str] = (), **options
):
    """Draws the widget `make(*args, **options)` with `value`, and writes what a person changes to the address.

    `text` turns the widget's value into the address's; the default is left out; names in `clears` are taken out.
    """

    def changed(value) -> None:
        put(**{name: None if value is None or value == default else text(value)}, **dict.fromkeys(clears))

    return held(make, *args, key=f"link-{name}", value=value, changed=changed, text=text, **options)


def held(make: Callable, *args, key: str, value, changed: Callable, text: Callable = str, **options):
    """Draws the widget `make(*args, **options)` with `value`; `changed` gets what a person makes of it, and no more.

    A value that did not come from the browser is drawn as a new widget, under another key, so that a browser which has
    not received it can say nothing of it. `text` tells values apart.
    """
    view = _view()
    made_of = args, [options.get(part) for part in ("options", "min_value", "max_value")]
    turn, before = view.drawn.get(key, (0, made_of))
    name = f"{key}~{turn}" if turn else key
    shown = st.session_state.get(name, UNSAID)
    if shown is not UNSAID and not _same(shown, value, text) and _clicked(view, name, shown, text, args):
        view.count(name, shown, changed)  # a newer request came before it was
        again()
    if shown is not UNSAID and not _same(shown, value, text):
        turn, shown = turn + 1, UNSAID
        name = f"{key}~{turn}"
    # Else left alone: setting it would put a browser back whose visitor has changed it since.
    if shown is UNSAID or made_of != before:
        st.session_state[name] = shown = value
    view.drawn[key], view.counted[name] = (turn, made_of), shown
    return make(*args, key=name, on_change=_changed, args=(name, changed, text, args), **options)


def _changed(name: str, changed: Callable, text: Callable, made_of: tuple) -> None:
    view, value = _view(), st.session_state[name]
    if _clicked(view, name, value, text, made_of):
        view.count(name, value, changed)


def _clicked(view: View, name: str, value, text: Callable, made_of: tuple) -> bool:
    """Whether a visitor has changed this widget and the address does not say so yet."""
    if getattr(get_script_run_ctx(), "is_history_navigation", False) or not _offered(value, made_of):
        return False  # the address counts, or a list of other options that is not drawn any more
    return name in view.counted and (name in view.touched or not _same(value, view.counted[name], text))


def _offered(value, made_of: tuple) -> bool:
    """Whether a value is one of the widget's options, if it has any; labels of others come as they are."""
    options = made_of[1] if len(made_of) > 1 and isinstance(made_of[1], list) else None
    return (
        options is None or value is None or all(v in options for v in (value if isinstance(value, list) else [value]))
    )


def _same(value, other, text: Callable) -> bool:
    return value == other or (value is not None and other is not None and text(value) == text(other))


def segmented(label: str, options: Mapping[str, str], name: str, **more) -> str:
    """One of a few options (value -> what it is called), the first one by default; gives what the address says."""
    names = list(options)
    value = choose(name, names, names[0], label.lower())
    more = {"format_func": options.get, "required": True, "wrap": True, **more}
    widget(st.segmented_control, label, names, name=name, value=value, default=names[0], **more)
    return value
