"""The board of a run as a widget for notebooks: `board_widget(run)`, by anywidget (extra `notebook`).

The same JavaScript as in the dashboard (`selviz/publishing/board.js`). A click silences a unit; where the notebook's
kernel runs, the accuracies follow, exact on the images of folds 0 and 1.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from selviz.ablation.effects import edits
from selviz.errors import SelvizError
from selviz.publishing import board
from selviz.runs.load import open_engine
from selviz.text.unit_lists import parse_existing_units

if TYPE_CHECKING:
    from selviz.api.results import Run

HEIGHT = 420  # pixels
# anywidget calls render for each view of the widget; what it returns is called when the view goes.
RENDER = """
function show({model, el}) {
  const host = document.createElement("div");
  host.className = "board-host";
  el.append(host);
  const drawn = new Board(host, (event, value) => {
    if (event === "silent") model.set("silent", value);
    if (event === "open" || event === "select") model.set("unit", value);
    if (event === "class") model.set("focus_class", value);
    model.save_changes();
  });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const update = () => {
    host.style.height = `${model.get("height")}px`;
    drawn.show(model.get("model"));
    drawn.update({...model.get("view"), silent: model.get("silent"), focus_class: model.get("focus_class"),
      dark: dark.matches});
  };
  const names = ["model", "view", "silent", "focus_class", "height"];
  for (const name of names) model.on(`change:${name}`, update);
  dark.addEventListener("change", update);
  update();
  return () => {
    for (const name of names) model.off(`change:${name}`, update);
    dark.removeEventListener("change", update);
    drawn.remove();
  };
}
export default {render: show};
"""


def board_widget(run: "Run", height: int = HEIGHT) -> Any:
    """Return the widget. `silent` are the silenced units ("relu2:3,5"), `unit` the one that was opened or selected.

    `accuracy` and `accuracy_by_class` follow what is silent. Raises SelvizError without anywidget.
    """
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise SelvizError(
            f"The board as a widget needs anywidget, which is not here ({error.name}): pip install 'selviz[notebook]'"
        ) from None

    class Board(anywidget.AnyWidget):
        """A network to look at and to touch."""

        _esm = board.script() + RENDER
        _css = ".board-host {container-type: inline-size}\n" + board.STYLE.read_text(encoding="utf-8")
        model = traitlets.Dict().tag(sync=True)
        view = traitlets.Dict().tag(sync=True)
        silent = traitlets.Unicode("").tag(sync=True)
        unit = traitlets.Unicode("").tag(sync=True)
        focus_class = traitlets.Unicode("").tag(sync=True)
        height = traitlets.Int(HEIGHT).tag(sync=True)
        accuracy = traitlets.Float(allow_none=True, default_value=None)
        accuracy_by_class: Any = traitlets.List()

    found = board.read_board(run.store, run.name)
    images = run.store.images(run.name)
    before = _shown(board.class_accuracy(images, len(found.classes)))
    overall = float((images["label_index"] == images["prediction_index"]).mean())
    silencing = run.summary.get("traced") != "watched"
    view: dict[str, Any] = {
        "mode": "silence" if silencing else "look", "silencing": silencing, "opening": True,
        "before": before, "accuracy_before": overall,
    }  # fmt: skip
    widget = Board(model=found.model(), view=view, height=height, accuracy=overall, accuracy_by_class=before)
    sizes = dict(zip(found.layers["layer"], found.layers["units"], strict=True))
    engines: list[Any] = []  # made at the first click: it reads the images and passes them once

    def silence(change: Any) -> None:
        units, _ = parse_existing_units(str(change["new"]), sizes)
        if not units:
            widget.view, widget.accuracy, widget.accuracy_by_class = view, overall, before
            return
        if not engines:
            engines.append(open_engine(run.store, run.name))
        predictions = engines[0].logits(edits(engines[0], units)).argmax(dim=1).numpy()
        after = _shown(board.class_accuracy(images.assign(prediction_index=predictions), len(found.classes)))
        accuracy = float((images["label_index"] == predictions).mean())
        widget.view = {**view, "after": after, "accuracy_after": accuracy}
        widget.accuracy, widget.accuracy_by_class = accuracy, after

    widget.observe(silence, names="silent")
    return widget


def _shown(shares: np.ndarray) -> list[float | None]:
    return [None if np.isnan(share) else float(share) for share in shares]
