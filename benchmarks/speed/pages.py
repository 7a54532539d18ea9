"""How long the server takes to draw each page, and what it sends: `python benchmarks/speed/pages.py` prints JSON.

    {"pages": [{"page", "model_pass", "demo_ms", "large_ms", "many_ms", "marks", "megabytes", ...}], ...}

Medians over visits, each to another address of the page, of one run of its script, on four stores: two small trained
networks (or the store in --demo); two networks of 48 million activations each (10,000 images x 4,800 units, 200
classes) with weights, every stored study, two more baselines and two hypotheses; one of 50,000 units (200 images)
with every measure; and one of 688 units and 10,000 images. `generated.py` makes the last three; --keep names a folder
that keeps them for another time. `..._cpu_ms` is the processor's time, which other work on the machine disturbs less.
`marks` (points, bars, cells of all charts) and `megabytes` (all messages to the browser) are the most that any visit
got; `views` has them and the time for the other views of a page. Pages that pass images through a network are marked
`model_pass`; `..._estimate_ms` is how long the first number of what they compute took, an estimate from the first
images. The control sets that Silence draws after its exact answer are left out: `sets.py` measures them.
"""

import argparse
import base64
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.compute import ablation
from benchmarks.speed.generated import Size
from benchmarks.speed.generated import store as generated_store
from selviz.config import RunConfig
from selviz.store import Store
from selviz.testing.dashboard import page_names, switch_page

SIZES = {"large": (Size(images=10_000, layers=8, units=600, classes=200), 2),  # and how many runs
         "many": (Size(images=200, layers=40, units=1_250, classes=10), 1),
         "tall": (Size(images=10_000, layers=8, units=86, classes=10), 1)}  # fmt: skip
MODEL_PASS = ("unit", "silence", "robustness")
VIEWS = {  # what else a page can be asked for
    "network": [{"seen": seen} for seen in ("scatter", "tuning", "plane", "agreement")]
    + [{"find": "7"}, {"metric": "auc", "auc": "0.5..1", "page": "2"}, {"metric": "drop", "first": "smallest"}],
    "unit": [{"evidence": shown} for shown in ("pixels", "made")]
    + [{"meaning": shown} for shown in ("answers", "alike")],
    "silence": [{"by": "plot"}, {"by": "table"}, {"show": "confusion"}, {"show": "curves"}, {"show": "atlas"}],
    "compare": [{"settings": "all"}],
    "robustness": [{"part": part} for part in ("grid", "selectivity", "units")],
    "hidden": [{"part": "dimensionality"}, {"part": "dimensionality", "count": "participation", "vary": "over_units"}],
    "claims": [{"do": "register"}],
}
PATIENCE_S = 300
LIMITS = {"ms": 300, "marks": 5_000, "megabytes": 2}
MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"


def small_store(data: Path) -> Store:
    """Two small trained networks."""
    from selviz.runs.train import train_run

    store = Store(data)
    for alpha in (0, -1):
        train_run(store, RunConfig("mnist-5k", "cnn", alpha=alpha, epochs=1))
    return store


def visits(store: Store, page: str, number: int) -> list[dict[str, str]]:
    """`number` different addresses of a page, spread over the store's units."""
    run = store.names()[0]
    units = store.units(run)
    rows = units.iloc[np.linspace(0, len(units) - 1, number).astype(int)].to_dict("records")
    if page == "network":
        layers = [{"layer": row["layer"]} if n % 2 else {} for n, row in enumerate(rows)]
        return [{"run": run, "si": f"0.0{n}..1", **layer} for n, layer in enumerate(layers)]
    if page == "unit":
        return [{"run": run, "layer": row["layer"], "unit": str(row["unit"])} for row in rows]
    if page == "silence":
        return [{"run": run, "silence": f"{row['layer']}:{row['unit']}"} for row in rows]
    if page == "compare":
        return [{"run": run, "runs": ",".join(store.names()[:6])}] * number
    if page == "claims":
        keys = store.hypotheses()["hypothesis"].tolist()
        return [{"run": run, **({"do": "one", "hypothesis": keys[n % len(keys)]} if keys and n % 2 else {})}
                for n in range(number)]  # fmt: skip
    return [{"run": run}] * number


class Sent:
    """What the page sent to the browser at its last visit."""

    def __init__(self):
        from streamlit.runtime.forward_msg_queue import ForwardMsgQueue
        from streamlit.testing.v1.local_script_runner import LocalScriptRunner

        self.messages, given = [], LocalScriptRunner.forward_msgs

        def kept(runner):
            self.messages = given(runner)
            return self.messages

        LocalScriptRunner.forward_msgs = kept
        self.estimated: float | None = None
        put = ForwardMsgQueue.enqueue

        def noted(queue, message):
            if self.estimated is None and message.delta.new_element.markdown.body.startswith("Estimate from"):
                self.estimated = time.perf_counter()
            return put(queue, message)

        ForwardMsgQueue.enqueue = noted

    def size(self) -> dict[str, float]:
        specs = [m.delta.new_element.plotly_chart.spec for m in self.messages if m.WhichOneof("type") == "delta"]
        marks = sum(_marks(trace) for spec in specs if spec for trace in json.loads(spec)["data"])
        return {"marks": marks, "megabytes": round(sum(m.ByteSize() for m in self.messages) / 1e6, 3)}


def _marks(trace: dict) -> int:
    if trace["type"] == "heatmap":
        return sum(map(_length, trace["z"])) if isinstance(trace["z"], list) else _length(trace["z"])
    return _length(trace.get("x", []))


def _length(values) -> int:
    """The number of entries of a list, or of an array that Plotly has packed."""
    if not isinstance(values, dict):
        return len(values)
    return len(base64.b64decode(values["bdata"])) // np.dtype(values["dtype"]).itemsize


def measured(store: Store, page: str, number: int, sent: Sent) -> dict:
    """Median time of one run of the page's script, what it sends at most, and the first error that it showed, if any;
    and the same of one visit to each of its other views."""
    from streamlit.testing.v1 import AppTest

    ablation.control_accuracies = lambda *request: {"accuracies": []}
    os.environ |= {"SELVIZ_DATA": str(store.path), "SELVIZ_NO_DEMO": "1"}
    test = AppTest.from_file(str(MAIN), default_timeout=PATIENCE_S).run()
    if page != "start":
        switch_page(test, page)

    def visit(address: dict[str, str]) -> dict:
        test.query_params.clear()
        for name, value in address.items():
            test.query_params[name] = value
        sent.estimated = None
        started, spent = time.perf_counter(), time.process_time()
        test.run()
        took = {"ms": 1000 * (time.perf_counter() - started), "cpu_ms": 1000 * (time.process_time() - spent)}
        shown = [element.value for kind in ("exception", "error") for element in test.get(kind)]
        estimate = None if sent.estimated is None else 1000 * (sent.estimated - started)
        return {**took, "estimate_ms": estimate, **sent.size(), "trouble": str(shown[0]) if shown else ""}

    addresses = visits(store, page, number + 1)
    found = pd.DataFrame([visit(address) for address in addresses][1:])  # the first one fills caches and imports
    result = {name: round(statistics.median(found[name]), 1) for name in ("ms", "cpu_ms")}
    estimates = found["estimate_ms"].dropna()
    result["estimate_ms"] = round(statistics.median(estimates), 1) if len(estimates) else None
    result |= {name: found[name].max() for name in ("marks", "megabytes")}
    views = []
    for more in VIEWS.get(page, []):
        visit({**addresses[0], **more})
        views.append({"view": "&".join("=".join(item) for item in more.items()), **visit({**addresses[1], **more})})
    result["views"] = views
    result["trouble"] = next(filter(None, [*found["trouble"], *(view["trouble"] for view in views)]), "")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, help="a store to use as the small one")
    parser.add_argument("--keep", type=Path, help="where the generated stores are, or shall be kept")
    parser.add_argument("--pages", help="only these, parted by commas")
    parser.add_argument("--stores", default=",".join(["demo", *SIZES]), help="only these of demo, large, many and tall")
    parser.add_argument("--visits", type=int, default=9)
    settings = parser.parse_args()
    pages = [page for page in page_names() if settings.pages is None or page in settings.pages.split(",")]
    with tempfile.TemporaryDirectory(prefix="selviz-benchmark-") as scratch:
        stores = {}
        if "demo" in settings.stores.split(","):
            stores["demo"] = Store(settings.demo) if settings.demo else small_store(Path(scratch) / "demo")
        for name, sizes in SIZES.items():
            if name not in settings.stores.split(","):
                continue
            stores[name] = generated_store((settings.keep or Path(scratch)) / name, name, *sizes)
        sent, rows = Sent(), []
        for page in pages:
            row: dict = {"page": page, "model_pass": page in MODEL_PASS, "marks": 0, "megabytes": 0.0}
            for name, store in stores.items():
                with contextlib.redirect_stdout(sys.stderr):  # where Streamlit prints what goes wrong on a page
                    try:
                        found = measured(store, page, settings.visits, sent)
                    except RuntimeError as error:  # how AppTest ends a page that takes longer than PATIENCE_S
                        row |= {f"{name}_trouble": str(error)}
                        print(f"{page} on {name}: {error}", flush=True)
                        continue
                    print(f"{page} on {name}: {found['ms']} ms", flush=True)
                row |= {
                    f"{name}_{key}": found[key]
                    for key in ("ms", "estimate_ms", "cpu_ms", "views", "trouble")
                    if found[key]
                }
                for limit in ("marks", "megabytes"):
                    most = max(found[limit], *(view[limit] for view in found["views"]), 0)
                    row[limit] = max(row[limit], most)
            rows.append(row)
    quick = [row for row in rows if not row["model_pass"]]
    worst = {f"{name}_ms": max((row.get(f"{name}_ms", 0) for row in quick), default=None) for name in stores}
    for name in stores:
        views = [view["ms"] for row in quick for view in row.get(f"{name}_views", [])]
        worst[f"{name}_view_ms"] = round(max(views, default=0), 1)
    worst |= {name: max((row[name] for row in rows), default=None) for name in ("marks", "megabytes")}
    print(
        json.dumps(
            {"pages": rows, "worst": worst, "limits": LIMITS, "visits": settings.visits}, indent=1, default=float
        )
    )


if __name__ == "__main__":
    main()
