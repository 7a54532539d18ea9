"""A visitor of the dashboard without a browser: speaks Streamlit's WebSocket protocol, with Streamlit's own messages.

    async with Visitor("http://127.0.0.1:8501") as visitor:
        await visitor.open("silence", "silence=relu4:3")
        visitor.metrics()["Accuracy after"]

It does what Streamlit's page in the browser does: it keeps what is drawn by its place, the values of the widgets, the
address and the messages that the server refers to by their hash, and sends them along with every request. What it
leaves out: fragments that ask to be run again after some time.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.Slider_pb2 import Slider
from streamlit.proto.WidgetStates_pb2 import WidgetState

PATIENCE = 120.0  # seconds; the first page imports torch
TEXTS = {"heading": "body", "markdown": "body", "alert": "body", "text": "body", "code": "code_text"}
# How a browser sends the value of each kind of widget.
VALUES = {
    "multiselect": "string_array_value",
    "button_group": "string_array_value",
    "selectbox": "string_value",
    "number_input": "double_value",
    "slider": "double_array_value",
    "checkbox": "bool_value",
}


class Drawn(NamedTuple):
    """An element, the fragment that drew it, and whether the newest run has drawn it (or not yet)."""

    element: Element
    fragment: str
    fresh: bool


class Visitor:
    """One session. All that it tells is of the elements that the newest run has drawn so far.

    `query` is the address, `told` what the server has made of it since the visitor last went to one, None while it has
    not changed it. `begun` is whether a run has begun since the last request. The server does not say which request a
    run answers, so where requests overlap `told` is the way to know. `widgets` has the values that go out with every
    request.
    """

    def __init__(self, address: str):
        self.address = address
        self.query = ""
        self.told: str | None = None
        self.pages: dict[str, str] = {}
        self.session_id = ""
        self.finished, self.asked = False, 0
        self._page, self._path = "", ""
        self.begun = False
        self._drawn: dict[tuple[int, ...], Drawn] = {}
        self.widgets: dict[str, WidgetState] = {}
        self._fragments: list[str] = []
        self._cached: dict[str, tuple[ForwardMsg, int]] = {}
        self._runs, self._longest = 0, 2
        self._failures: list[str] = []
        self._waiting: list[tuple[Callable, asyncio.Future]] = []

    async def __aenter__(self):
        # No Origin: the server takes that for a client that is not a web page. The server may be too busy for pings.
        self._socket = await websockets.connect(
            f"ws://{urlsplit(self.address).netloc}/_stcore/stream",
            subprotocols=["streamlit"],
            max_size=None,
            open_timeout=PATIENCE,
            close_timeout=PATIENCE,
            ping_interval=None,
        )
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *error):
        """Say goodbye, so that the server puts the session away at once."""
        await self._socket.close()
        try:
            await self._listening
        except websockets.ConnectionClosedError as closed:
            if closed.rcvd is not None:  # the server ended the visit, and not because it was too busy to say goodbye
                raise

    # ------------------------------------------------------------------------------------------------------- requests

    async def open(self, path: str, query: str = "", seconds: float = PATIENCE) -> "Visitor":
        """Open a page by its path and query, and waits until it is drawn."""
        await self.go(path, query)
        await self.until(lambda visitor: visitor.finished, seconds)
        return self

    async def go(self, path: str, query: str = "") -> None:
        """Ask for a page as a step back or forward in the browser does; does not wait."""
        self._path, self._page, self.query, self.told = path, self.pages.get(path, ""), query, None
        await self._ask(history=self.asked > 0)

    async def choose(self, label: str, value) -> None:
        """Set the widget of that label, as `value` of the kind that VALUES names; does not wait."""
        kind, widget = self._labelled(label, VALUES)
        self.widgets[widget.id] = _state(widget.id, _field(kind, widget), value)
        await self._ask()

    async def press(self, label: str) -> None:
        """Press the button of that label; does not wait."""
        await self._ask(pressed=self._labelled(label, ["button"])[1].id)

    async def _ask(self, history: bool = False, pressed: str | None = None) -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash, state.is_history_navigation = self.query, self._page, history
        state.page_name = "" if self._page else self._path
        state.widget_states.widgets.extend(self.widgets.values())
        if pressed:
            state.widget_states.widgets.append(WidgetState(id=pressed, trigger_value=True))
        state.cached_message_hashes.extend(self._cached)
        state.context_info.url = f"{self.address}/{self._path}"
        state.context_info.timezone, state.context_info.locale = "UTC", "en-US"
        state.context_info.color_scheme = "light"
        self.begun = self.finished = False
        self.asked += 1
        await self._socket.send(message.SerializeToString())

    async def until(self, holds: Callable[["Visitor"], bool], seconds: float = PATIENCE) -> float:
        """Wait until `holds(self)`, which is asked after every message; gives the time then (`time.perf_counter`).

        `finished` may be of an older request whose answer had not come when the newest went out: then wait for `told`.
        """
        if holds(self):
            return time.perf_counter()
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((holds, future))
        return await asyncio.wait_for(future, seconds)

    # ----------------------------------------------------------------------------------------------------- what is seen

    def elements(self, kind: str) -> list:
        """Return the elements of a kind (`metric`, `markdown`, ...), from top to bottom."""
        places = sorted(place for place, drawn in self._drawn.items() if drawn.fresh)
        found = (self._drawn[place].element for place in places)
        return [getattr(element, kind) for element in found if element.WhichOneof("type") == kind]

    def texts(self) -> list[str]:
        """Return all that is said in words."""
        return [getattr(element, field) for kind, field in TEXTS.items() for element in self.elements(kind)]

    def metrics(self) -> dict[str, tuple[str, str]]:
        """Label -> (value, what stands beside it)."""
        return {metric.label: (metric.body, metric.delta) for metric in self.elements("metric")}

    def value(self, label: str):
        """Return what the widget of that label says, drawn by the newest run or an older one."""
        kind, widget = self._labelled(label, VALUES)
        field = _field(kind, widget)
        value = getattr(self.widgets[widget.id], field)
        return list(value.data) if field.endswith("array_value") else value

    def enabled(self, label: str) -> bool:
        """Return whether there is a button of that label that can be pressed."""
        return any(button.label == label and not button.disabled for button in self.elements("button"))

    def errors(self) -> list[str]:
        """Return exceptions and error boxes on the page, and what went wrong without one."""
        boxes = [box.body for box in self.elements("alert") if box.format == box.ERROR]
        raised = [f"{e.type}: {e.message}\n{''.join(e.stack_trace)}" for e in self.elements("exception")]
        return self._failures + raised + boxes

    def _labelled(self, label: str, kinds):
        """Return (kind, element) of that label; a hand also reaches what the newest run has not drawn again yet."""
        for drawn in self._drawn.values():
            kind = drawn.element.WhichOneof("type")
            if kind in kinds and getattr(drawn.element, kind).label == label:
                return kind, getattr(drawn.element, kind)
        raise LookupError(f"there is nothing labelled {label!r} on the page")

    # --------------------------------------------------------------------------------------------------------- messages

    async def _listen(self) -> None:
        try:
            async for data in self._socket:
                message = ForwardMsg()
                message.ParseFromString(data)
                self._take(message)
                for holds, future in self._waiting:
                    if not future.done() and holds(self):
                        future.set_result(time.perf_counter())
                self._waiting = [waiting for waiting in self._waiting if not waiting[1].done()]
        finally:
            for _, future in self._waiting:
                if not future.done():
                    future.set_exception(ConnectionError("the server closed the connection"))

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            known, metadata = self._cached[message.ref_hash][0], message.metadata
            self._cached[message.ref_hash] = known, self._runs
            message, kind = ForwardMsg(), known.WhichOneof("type")
            message.CopyFrom(known)
            message.metadata.CopyFrom(metadata)
        elif message.metadata.cacheable:
            self._cached[message.hash] = message, self._runs
        if kind == "new_session":
            self._begin(message)
        elif kind == "delta":
            self._draw(tuple(message.metadata.delta_path), message.delta)
        elif kind == "navigation":
            self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
            self._page = message.navigation.page_script_hash
        elif kind == "page_info_changed":
            self.query = self.told = message.page_info_changed.query_string
        elif kind == "page_not_found":
            self._failures.append(f"page {message.page_not_found.page_name!r} was not found")
        elif kind == "session_event" and message.session_event.HasField("script_compilation_exception"):
            self._failures.append(message.session_event.script_compilation_exception.message)
        elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            self._finish()

    def _begin(self, message: ForwardMsg) -> None:
        self._fragments = list(message.metadata.run.fragment_ids)
        self._longest = message.new_session.config.max_cached_message_age
        self.session_id = message.new_session.initialize.session_id
        self.begun = self.begun or not self._fragments
        for place, drawn in self._drawn.items():
            if not self._fragments or drawn.fragment in self._fragments:
                self._drawn[place] = drawn._replace(fresh=False)

    def _draw(self, place: tuple[int, ...], delta) -> None:
        kind = delta.WhichOneof("type")
        if kind == "add_block":  # what stood in a block of that place stays until it is drawn over
            self._drawn.pop(place, None)
        elif kind == "new_element":
            for below in [other for other in self._drawn if other[: len(place)] == place]:
                del self._drawn[below]
            self._drawn[place] = Drawn(delta.new_element, delta.fragment_id, True)
            self._keep_value(delta.new_element)

    def _keep_value(self, element: Element) -> None:
        """Keep a widget's value: it starts with its default, keeps what the visitor chose, and follows when the
        server sets it.
        """
        kind = element.WhichOneof("type")
        if kind not in VALUES:
            return
        widget = getattr(element, kind)
        if widget.id in self.widgets and not widget.set_value:
            return
        if kind == "slider" and widget.type == Slider.SELECT_SLIDER:
            value = list(widget.raw_value) if widget.set_value else [widget.options[int(i)] for i in widget.default]
        elif kind in ("multiselect", "button_group"):
            options = [getattr(option, "content", option) for option in widget.options]
            value = list(widget.raw_values) if widget.set_value else [options[i] for i in widget.default]
        elif kind == "selectbox":
            value = widget.raw_value if widget.set_value else widget.options[widget.default]
        else:
            value = widget.value if widget.set_value else widget.default
        self.widgets[widget.id] = _state(widget.id, _field(kind, widget), value)

    def _finish(self) -> None:
        self._drawn = {
            place: drawn
            for place, drawn in self._drawn.items()
            if drawn.fresh or (self._fragments and drawn.fragment not in self._fragments)
        }
        shown = {getattr(drawn.element, drawn.element.WhichOneof("type")).id
                 for drawn in self._drawn.values() if drawn.element.WhichOneof("type") in VALUES}  # fmt: skip
        self.widgets = {name: state for name, state in self.widgets.items() if name in shown}
        self._runs += 1
        self._cached = {name: kept for name, kept in self._cached.items() if self._runs - kept[1] <= self._longest}
        self.finished = self.begun


def _field(kind: str, widget) -> str:
    """Return how a browser sends the value of this widget."""
    return "string_array_value" if kind == "slider" and widget.type == Slider.SELECT_SLIDER else VALUES[kind]


def _state(name: str, field: str, value) -> WidgetState:
    state = WidgetState(id=name)
    if field.endswith("array_value"):
        getattr(state, field).data.extend(value)
        getattr(state, field).SetInParent()
    else:
        setattr(state, field, value)
    return state
