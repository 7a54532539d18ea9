"""Keep the view in the address bar: `x = choose("layer", names, names[0])`, then `widget(st.selectbox, ...)`.

A widget is set from the address before it is drawn and writes to the address when a person changes it, so a link opens
what its sender saw, back and forward work, and nothing is lost when another page is opened.

A browser sends its address and all its widgets' values with every request, also those that an earlier click, still
under way, has made out of date. So the server's View is the truth: a browser's address counts where its visitor went to
it, a widget's value where its visitor changed it; everything else that a browser sends is what it was sent before.
"""

import math
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NoReturn
from urllib.parse import parse_qsl, urlencode

import streamlit as st

from selviz.errors import near
from selviz.text.safe_text import code

from . import streamlit_internals
from .streamlit_internals import RerunData, RerunException

MAX_LINK_LENGTH = 1500
MAX_SENT = 50  # addresses that a browser may still be told
MISSING = object()

Query = dict[str, str]


@dataclass
class View:
    """What one visitor is looking at: `now`, the address as it should be, on `page`.

    `sent` holds the addresses that the browser may be at without its visitor having gone there: the one that it sent
    last, and all that were sent to it since. `applied` is the value of each widget, by key, that is in `now` already;
    `drawn` is how often a widget was drawn as a new one, and what it was made of; `page_run` marks the run of the page
    that has looked at the request. `filled`: the address was completed, and is sent when the page is drawn.
    `changed_widgets` holds the keys of widgets that were changed in requests that the one of this run has overtaken;
    `presses` counts how often each button was pressed in these and in the one of this run.
    """

    page: str = ""
    now: Query = field(default_factory=dict)
    sent: list[Query] = field(default_factory=list)
    applied: dict[str, object] = field(default_factory=dict)
    drawn: dict[str, tuple[int, object]] = field(default_factory=dict)
    page_run: object = None
    changed_widgets: set[str] = field(default_factory=set)
    presses: Counter[str] = field(default_factory=Counter)
    filled: bool = False

    def receive(self, page: str, query: Query, went: bool) -> bool:
        """Take in the address that a browser sends; `went` where its visitor went back or forward to it.

        Returns True if the browser has to be sent the address: it is at another one, or may yet get an older one.
        """
        if page != self.page:
            self.applied.clear()
        if went or page != self.page or query not in self.sent:
            on_their_way = self.sent[1:]
            self.page, self.now, self.sent = page, query, [query, *on_their_way]
            return bool(on_their_way)
        del self.sent[: self.sent.index(query)]
        return query != self.now

    def receive_overtaken(self, current: object, received: deque[RerunData]) -> None:
        """Take in, in their order, the requests that were overtaken by the one whose context is `current`.

        `received` holds the requests that no run has looked at yet, oldest first; those taken in are taken out.
        """
        self.changed_widgets.clear()
        contexts = [request.context_info for request in received]
        own = max((i for i, other in enumerate(contexts) if other is current), default=len(contexts) - 1)
        requests = [received.popleft() for _ in range(own + 1)]
        self.presses = Counter(key for request in requests for key in _pressed(request))
        for request, newer in pairwise(requests):
            query = dict(parse_qsl(request.query_string))
            self.receive(request.page_script_hash, query, request.is_history_navigation)
            before, after = _widget_values(request), _widget_values(newer)
            self.changed_widgets |= {key for key, value in after.items() if before.get(key, value) != value}
            if newer.is_history_navigation:
                self.changed_widgets.clear()

    def apply_change(self, name: str, value: object, on_change: Callable[[Any], object]) -> None:
        """Let `on_change(value)` write a click to the address, after which the click counts as applied.

        Streamlit ends `on_change` at any step if a newer request is there. Then the click is applied if the address has
        it: otherwise it would count for the next request, and one that puts the old value back would not.
        """
        before, applied = self.now, self.applied[name]
        self.applied[name] = value
        try:
            on_change(value)
        except BaseException:
            if self.now is before:
                self.applied[name] = applied
            raise


def _view() -> View:
    """Return this visitor's view, after what the browser sent with the request of this run."""
    view, context = st.session_state.setdefault("view", View()), streamlit_internals.context()
    if view.page_run is not streamlit_internals.page_run():
        view.receive_overtaken(context.context_info, streamlit_internals.received_requests())
        query, went = st.query_params.to_dict(), streamlit_internals.went_through_history()
        out_of_date = view.receive(context.page_script_hash, query, went)
        view.page_run = streamlit_internals.page_run()
        if out_of_date:
            _send_address(view)
    return view


def _widget_values(request: RerunData) -> dict[str, bytes]:
    """Return the value of each widget in a request, by its key; an id is `$$ID-hash-key`."""
    states = request.widget_states.widgets if request.widget_states else ()
    return {state.id.split("-", 2)[-1]: state.SerializeToString(deterministic=True) for state in states}


def _pressed(request: RerunData) -> list[str]:
    """Return the keys of the buttons that were pressed in a request."""
    states = request.widget_states.widgets if request.widget_states else ()
    return [state.id.split("-", 2)[-1] for state in states if state.trigger_value]


def presses(key: str) -> int:
    """Return how often the button with this key was pressed in what this run of the page answers, at least 1.

    Streamlit calls `on_click` once, however many presses came while the page was drawn.
    """
    return max(1, _view().presses[key])


def _send_address(view: View) -> None:
    view.sent = [*view.sent[-MAX_SENT:], view.now]
    st.query_params.from_dict(view.now)


def get(name: str, default: str = "") -> str:
    """Return what the address says, or the default."""
    return _view().now.get(name, default)


def has(name: str) -> bool:
    """Return whether the address names this, be it with an empty value."""
    return _requested(name) is not None


def update(**values: object) -> None:
    """Write values to the address in one step; None takes a name out of it."""
    view = _view()
    after = {**view.now, **{name: str(v) for name, v in values.items() if v is not None}}
    after = {name: v for name, v in after.items() if name not in values or values[name] is not None}
    if after != view.now:
        view.now = after
        _send_address(view)


def fill(**values: object) -> None:
    """Complete the address with what the page shows by default, so that a link of it shows the same.

    It is sent when the page is drawn, and the browser makes no new entry of its history (`look/browser.js`).
    """
    view = _view()
    after = {**view.now, **{name: str(value) for name, value in values.items()}}
    view.filled |= after != view.now
    view.now = after


@contextmanager
def completed() -> Iterator[None]:
    """Send the address, if `fill` has completed it, once the page is drawn; not where the page leads to another."""
    try:
        yield
    except RerunException:
        raise
    except BaseException:  # a page may end early
        _send_filled()
        raise
    _send_filled()


def _send_filled() -> None:
    view = _view()
    if view.filled:
        view.filled = False
        _send_address(view)


def rerun() -> NoReturn:
    """Draw the page again from its top, as `st.rerun()` does, and keep what its visitor has requested meanwhile.

    `st.rerun()` lays its own address over that of a request that waits, which then is lost.
    """
    context, view = streamlit_internals.context(), _view()
    raise RerunException(
        RerunData(
            query_string=urlencode(view.sent[0]),  # as the browser sent it; it is sent the new one again
            page_script_hash=context.page_script_hash,
            cached_message_hashes=context.cached_message_hashes,
            context_info=context.context_info,
        )
    )


def choose(name: str, options: Sequence[str], default: str, label: str = "") -> str:
    """Return the option that the address names; for an unknown one a notice is shown, and the nearest returned."""
    requested = _requested(name)
    if requested is None or requested in options:
        return default if requested is None else requested
    nearest = (near(requested, options) or [default])[0]
    not_found(label or name, requested, nearest)
    return nearest


def integer(name: str, low: int, high: int, default: int, label: str = "") -> int:
    """Return a whole number low..high from the address; for anything else show a notice and return the nearest."""
    requested = _requested(name)
    if requested is None:
        return default
    if re.fullmatch(r"-?\d{1,9}", requested) and low <= int(requested) <= high:
        return int(requested)
    nearest = min(max(int(requested), low), high) if re.fullmatch(r"-?\d{1,9}", requested) else default
    not_found(label or name, requested, f"{nearest} (there are {low} to {high})")
    return nearest


def number(name: str, low: float, high: float, default: float) -> float:
    """Return a number low..high from the address; for anything else show a notice and return the nearest."""
    requested = _requested(name)
    if requested is None:
        return default
    try:
        value = float(requested)
    except ValueError:
        value = math.nan
    if low <= value <= high:
        return value
    nearest = default if math.isnan(value) else min(max(value, low), high)
    not_found(name, requested, f"{nearest:g} (there are {low:g} to {high:g})")
    return nearest


def number_range(name: str, low: float, high: float) -> tuple[float, float]:
    """Return a range `0.2..0.8` from the address, cut to low..high; anything else is the whole range."""
    match = re.fullmatch(r"(-?[\d.]+)\.\.(-?[\d.]+)", get(name))
    try:
        first, last = sorted(min(max(float(part), low), high) for part in match.groups()) if match else (low, high)
    except ValueError:
        first, last = low, high
    return first, last


def not_found(label: str, requested: str, instead: str) -> None:
    """Show that a link names something that is not there: under the page's title, where it has one by now."""
    owner, notices = st.session_state.get("notices", (None, st))
    slot = notices if owner is streamlit_internals.page_run() else st
    slot.warning(
        f"This link names {label} {code(requested)}, which is not here. Shown instead: {code(instead)}.",
        icon=":material/link_off:",
    )


def widget(
    make: Callable[..., Any],
    *args: Any,
    name: str,
    value: object,
    default: object = None,
    text: Callable[[Any], str] = str,
    clears: Sequence[str] = (),
    **options: Any,
) -> Any:
    """Draw the widget `make(*args, **options)` with `value`, and write what a person changes to the address.

    `text` turns the widget's value into the address's; the default is left out; names in `clears` are taken out.
    """

    def on_change(value: object) -> None:
        update(**{name: None if value is None or value == default else text(value)}, **dict.fromkeys(clears))

    return bound_widget(make, *args, key=f"link-{name}", value=value, on_change=on_change, text=text, **options)


def bound_widget(
    make: Callable[..., Any],
    *args: Any,
    key: str,
    value: object,
    on_change: Callable[[Any], object],
    text: Callable[[Any], str] = str,
    **options: Any,
) -> Any:
    """Draw the widget `make(*args, **options)` with `value`; call `on_change` with what a person makes of it, once.

    A value that did not come from the browser is drawn as a new widget, under another key, so that a browser which has
    not received it can say nothing of it. `text` tells values apart.
    """
    view = _view()
    made_of = args, [options.get(part) for part in ("options", "min_value", "max_value")]
    version, before = view.drawn.get(key, (0, made_of))
    name = f"{key}~{version}" if version else key
    shown = st.session_state.get(name, MISSING)
    if shown is not MISSING and not _equal(shown, value, text) and _is_new_click(view, name, shown, text, args):
        view.apply_change(name, shown, on_change)  # a newer request came before it was
        rerun()
    if shown is not MISSING and not _equal(shown, value, text):
        version, shown = version + 1, MISSING
        name = f"{key}~{version}"
    # Otherwise left alone: setting it would put a browser back whose visitor has changed it since.
    if shown is MISSING or made_of != before:
        st.session_state[name] = shown = value
    view.drawn[key], view.applied[name] = (version, made_of), shown
    return make(*args, key=name, on_change=_changed, args=(name, on_change, text, args), **options)


def _requested(name: str) -> str | None:
    """Return what the address says, None where it does not name this."""
    return _view().now.get(name)


def _changed(name: str, on_change: Callable[[Any], object], text: Callable[[Any], str], made_of: tuple) -> None:
    view, value = _view(), st.session_state[name]
    if _is_new_click(view, name, value, text, made_of):
        view.apply_change(name, value, on_change)


def _is_new_click(view: View, name: str, value: object, text: Callable[[Any], str], made_of: tuple) -> bool:
    """Return whether a visitor has changed this widget and the address does not say so yet."""
    if streamlit_internals.went_through_history() or not _is_option(value, made_of):
        return False  # the address counts, or a list of other options that is not drawn any more
    return name in view.applied and (name in view.changed_widgets or not _equal(value, view.applied[name], text))


def _is_option(value: object, made_of: tuple) -> bool:
    """Return whether a value is one of the widget's options, if it has any; labels of others come as they are."""
    options = made_of[1] if len(made_of) > 1 and isinstance(made_of[1], list) else None
    chosen = value if isinstance(value, list) else [value]
    return options is None or value is None or all(one in options for one in chosen)


def _equal(value: object, other: object, text: Callable[[Any], str]) -> bool:
    return value == other or (value is not None and other is not None and text(value) == text(other))


def switch(label: str, name: str, **more: Any) -> bool:
    """Draw a switch that is off by default; return whether the address says that it is on."""
    on = choose(name, ["off", "on"], "off") == "on"
    widget(st.toggle, label, name=name, value=on, default=False, text=lambda on: "on" if on else "off", **more)
    return on


def segmented(label: str, options: Mapping[str, str], name: str, **more: Any) -> str:
    """Draw a choice of a few options (value -> label), the first one by default; return what the address says."""
    names = list(options)
    value = choose(name, names, names[0], label.lower())
    more = {"format_func": options.get, "required": True, "wrap": True, **more}
    widget(st.segmented_control, label, names, name=name, value=value, default=names[0], **more)
    return value
