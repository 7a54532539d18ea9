"""How long a store of 1,000 runs takes to list and to open: `python benchmarks/speed/many_runs.py` prints one document.

    {"runs", "stores": [{"families", "first_page_ms", "page_warm_ms", "other_family_ms", "list_cold_ms", "list_warm_ms",
     "trouble"}], "limit_ms": 2000}

Two stores: 20 families of 50 runs (5 alphas, 10 seeds), and one family of all. Settings and summaries are files of
their own; stage files are links to those of one generated run, and for the SI of its layers to one of 40 versions.
The page is Alpha. `first_page`: in a process that has its libraries imported and nothing of the store read, the list of
runs included; warm: the median of further visits. `list` is `Store.runs()`, cold with no row remembered. `..._cpu_ms`
is the processor's time, which other work on the machine disturbs less. --records no leaves the layers out of the
records, as an earlier selviz wrote them.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from selviz.config import RunConfig, config_to_dict, run_name
from selviz.runs.train import train_run
from selviz.statistics import over_seeds
from selviz.store import Store, read_json, run_list, write_json, write_stage
from selviz.store.stage_files import TABLE
from selviz.testing.dashboard import look_for_components_once, switch_page

ROOT = Path(__file__).parents[2]
LIMIT_MS = 2_000
ALPHAS = (-2.0, -1.0, 0.0, 1.0, 2.0)
VISITS = 5
VERSIONS = 40


def versions(source: Path, folder: Path, records: bool) -> list[Path]:
    """Stages of metrics that differ in the SI of their layers, without or with these in their records."""
    with duckdb.connect(str(source / "metrics.duckdb"), read_only=True) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        tables = {name: connection.execute(f"SELECT * FROM {name}").df() for name in names if name != "about"}
    dice, made = np.random.default_rng(0), []
    for version in range(VERSIONS):
        layers = tables["layers"].copy()
        for column in ("mean_si", "mean_si_live"):
            layers[column] += dice.normal(0, 0.02, len(layers))
        made.append(write_stage(folder / str(version), "metrics", {**tables, "layers": layers}, {}))
        if not records:
            record = made[-1].with_suffix(".json")
            write_json(record, {name: value for name, value in read_json(record).items() if name != TABLE})
    return made


def many(data: Path, number: int, families: int, records: bool = True) -> Store:
    """A store of `number` finished runs in `families`, all with the stages of one real run."""
    pattern = Store(data.parent / "pattern")
    train_run(pattern, RunConfig("digits", "cnn", epochs=1))
    source = pattern.run_path(pattern.names()[0])
    summary = read_json(source / "summary.json")
    store, metrics = Store(data), versions(source, data.parent / "versions", records)
    shutil.copytree(pattern.path / "images", data / "images")
    for position in range(number):
        family, place = position % families, position // families
        alpha, seed = ALPHAS[place % len(ALPHAS)], place // len(ALPHAS)
        config = RunConfig("digits", "cnn", alpha=alpha, seed=seed, epochs=family + 2)
        folder = store.run_path(run_name(config))
        folder.mkdir(parents=True)
        for file in source.glob("*.*"):
            if file.name not in ("config.json", "summary.json"):
                own = metrics[position % VERSIONS].with_name(file.name) if file.stem == "metrics" else file
                os.link(own, folder / file.name)
        settings, noise = config_to_dict(config), (position * 7919 % 100) / 1000
        write_json(folder / "config.json", settings)
        facts = {"test_accuracy": 0.6 + noise, "mean_si": 0.3 + noise, "mean_si_live": 0.3 + noise}
        write_json(folder / "summary.json", {**summary, **settings, **facts, "run": folder.name})
    return store


def timed(name: str, call, visits: int = 1) -> dict[str, float]:
    """Median time of `visits` calls, and the median of the processor's time."""
    took = []
    for _ in range(visits):
        started, spent = time.perf_counter(), time.process_time()
        call()
        took.append((time.perf_counter() - started, time.process_time() - spent))
    ms, cpu_ms = (round(1000 * statistics.median(part), 1) for part in zip(*took))
    return {f"{name}_ms": ms, f"{name}_cpu_ms": cpu_ms}


def measured(store: Store, small: Store, families: int) -> dict:
    """Times in this process: the small store is visited first, so that imports and compilation are done."""
    from streamlit.testing.v1 import AppTest

    os.environ |= {"SELVIZ_DATA": str(small.path), "SELVIZ_NO_DEMO": "1"}
    look_for_components_once()  # a server does so when it starts, AppTest with each page
    for _ in range(2):
        switch_page(AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=300), "alpha").run()
    over_seeds(np.arange(30.0))
    small.runs()
    found = {"families": families, "runs": len(store.names())}
    os.environ["SELVIZ_DATA"] = str(store.path)
    test = switch_page(AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=300), "alpha")
    found |= timed("first_page", test.run) | timed("page_warm", test.run, VISITS)
    test.query_params["run"] = store.names()[-1]
    found |= timed("other_family", test.run)
    run_list._finished.clear()
    found |= timed("list_cold", store.runs) | timed("list_warm", store.runs, VISITS)
    shown = [element.value for kind in ("exception", "error") for element in test.get(kind)]
    return {**found, "trouble": str(shown[0]) if shown else ""}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000, help="(default: %(default)s)")
    parser.add_argument("--families", type=int, help="only this store, in this process")
    parser.add_argument("--only", type=int, choices=(20, 1), help="a store of so many families (default: both)")
    parser.add_argument(
        "--keep", type=Path, help="a folder for the stores: those that are there are measured as they are"
    )
    parser.add_argument("--records", choices=("yes", "no"), default="yes", help="(default: %(default)s)")
    args = parser.parse_args()
    if args.families:
        with tempfile.TemporaryDirectory() as temporary:
            folder = args.keep / f"{args.runs}-{args.families}-{args.records}" if args.keep else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            store = Store(folder / "many")
            if len(store.names()) != args.runs:
                store = many(store.path, args.runs, args.families, args.records == "yes")
            print(json.dumps(measured(store, Store(folder / "pattern"), args.families)))
        return
    import subprocess

    stores = []
    for families in (20, 1) if args.only is None else (args.only,):  # a process of its own for each first visit
        words = [sys.executable, __file__, "--runs", str(args.runs), "--families", str(families)]
        words += ["--records", args.records, *(["--keep", str(args.keep)] if args.keep else [])]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        stores.append(json.loads(done.stdout.splitlines()[-1]))
    print(json.dumps({"runs": args.runs, "stores": stores, "limit_ms": LIMIT_MS}, indent=1))


if __name__ == "__main__":
    main()
