"""The board as a widget of a notebook: its JavaScript draws what the model holds and answers clicks."""

import json

import pytest

from selviz.api import Run

pytestmark = pytest.mark.browser

# What anywidget hands to a widget's `render`, with values in the page in place of a kernel.
HOST = """
<!doctype html><body><div id="cell" style="width: 900px"></div>
<script type="module">
  import widget from "data:text/javascript;base64,%s";
  const values = %s, listeners = {};
  window.values = values;
  const model = {
    get: name => values[name],
    set: (name, value) => { values[name] = value; (listeners[`change:${name}`] ?? []).forEach(act => act()); },
    on: (name, act) => (listeners[name] ??= []).push(act),
    off: () => {},
    save_changes: () => {},
  };
  window.end = widget.render({model, el: document.getElementById("cell")});
  window.ready = true;
</script>
"""


def test_a_click_on_the_widget_silences_a_unit_and_what_comes_back_is_drawn(visit, tiny_store, tiny_run):
    import base64

    board = Run(tiny_run, tiny_store).board()
    script = base64.b64encode(type(board)._esm.encode() if isinstance(type(board)._esm, str) else
                              str(board._esm).encode()).decode()  # fmt: skip
    values = {name: getattr(board, name) for name in ("model", "view", "silent", "unit", "focus_class", "height")}
    visitor = visit()
    visitor.tab.set_content(HOST % (script, json.dumps(values)))
    visitor.tab.wait_for_function("window.ready")
    accuracy = visitor.tab.locator(".board-accuracy")
    assert f"{100 * board.accuracy:.1f} %" in accuracy.inner_text()
    canvas = visitor.tab.locator(".board-top")
    canvas.focus()
    visitor.tab.keyboard.press("ArrowRight")
    visitor.tab.keyboard.press("s")
    visitor.tab.wait_for_function("window.values.silent !== ''")
    board.silent = visitor.tab.evaluate("window.values.silent")
    visitor.tab.evaluate("view => { values.view = view; }", board.view)
    visitor.tab.evaluate("end()")
    assert visitor.tab.locator(".board").count() == 0 and visitor.complaints == []
