"""The public functions, with the words and defaults of the commands; `selviz.NAME` for each of them.

    import selviz

    run = selviz.capture(model, (images, labels), name="mine", classes=["cat", "dog"])
    result = selviz.ablate(run, "relu2:3,5")
    result.to_pandas(), result.figure()

The first argument of an instrument is a run: what `capture` and `train` return, or a name. A name may be a beginning
that no other run has; `store`, a folder, says where it is (default: data/).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selviz.api.dashboard import Dashboard, launch
from selviz.api.results import Ablation, Atlas, Attribution, Claim, Curves, Published, Run, Sweep, Verdict
from selviz.errors import SelvizError
from selviz.runs.run_names import full_name
from selviz.store import Store
from selviz.system.progress import Report, silent
from selviz.text.unit_lists import parse_units

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Ablation", "Atlas", "Attribution", "Claim", "Curves", "Dashboard", "Published", "Run", "Sweep", "Verdict",
    "ablate", "atlas", "attribute", "capture", "curves", "launch", "open", "publish", "register", "sweep", "test",
    "train",
]  # fmt: skip

DATA = "data"
Where = Store | str | Path


def open(data: str | Path = DATA) -> Store:
    """Return the store in the folder `data`.

        store = selviz.open("data")
        store.runs()
        store.sql("select run, layer, avg(si) from units group by all")

    Its runs, layers, units and activations are tables, and SQL runs over them.
    """
    return Store(data)


def capture(
    model: "nn.Module",
    data: object,
    name: str,
    classes: Sequence[str] | None = None,
    layers: Sequence[str] = (),
    *,
    store: Where = DATA,
    outputs: Sequence[int] = (),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    max_images: int = 0,
    report: Report = silent,
) -> Run:
    """Store what every unit of a network in memory does on images in memory, as the run `name`.

        run = selviz.capture(model, (images, labels), name="mine", classes=["left", "right", "both"])
        run.units()

    `data` is (images, labels), a Dataset of such pairs, or a DataLoader; images are inputs of the network or uint8
    pixels (`selviz.datasets.in_memory` says how they are kept). `layers` chooses unit layers by name, with `*`. The
    model is left as it is. The same call again returns the run, or goes on with one that was cut off. Raises
    SelvizError for images, labels, a network or a name that will not do.
    """
    from selviz.runs.capturing import capture_model

    place = _store(store)
    capture_model(place, model, data, name, classes, layers, outputs, mean, std, max_images, report)
    return Run(name, place)


def train(
    dataset: str = "mnist-5k",
    model: str = "cnn",
    *,
    store: Where = DATA,
    device: str = "auto",
    report: Report = silent,
    **settings: Any,
) -> Run:
    """Train a network with a penalty for or a reward of selectivity, capture it, and return the run.

        run = selviz.train("digits", "cnn", alpha=-1, epochs=1)
        run.test_accuracy, run.mean_si

    `settings` are those of `selviz train`: alpha, seed, epochs, ... A finished run is returned as it is.
    """
    from selviz.runs.train import train_run

    place = _store(store)
    summary = train_run(place, _config(dataset, model, settings), report, device)
    if summary is None:
        raise SelvizError("This process is not the first of several that train one network; it has no run.")
    return Run(summary["run"], place)


def sweep(
    dataset: str = "mnist-5k",
    model: str | Sequence[str] = "cnn",
    *,
    alphas: float | Sequence[float] = (0.0,),
    seeds: int | Sequence[int] = (0,),
    store: Where = DATA,
    workers: int | None = None,
    threads: int | None = None,
    backend: str = "loky",
    address: str | None = None,
    stack: int = 1,
    gpus: float = 0,
    device: str = "auto",
    report: Report = silent,
    **settings: Any,
) -> Sweep:
    """Train a run for each combination of models, alphas, seeds and settings; what is finished is not trained again.

        found = selviz.sweep("digits", "cnn", alphas=[-1, 0], seeds=range(2), epochs=0, learning_rate=[0.01, 0.1])
        found.to_pandas()

    `settings` are further ones of `selviz train`, each one value or a list of several; how images are prepared has one
    value. The other arguments are the options of `selviz sweep`.
    """
    from selviz.config import IMAGE_SETTINGS
    from selviz.runs.sweep import grid, run_sweep

    place = _store(store)
    several = {"model": _listed(model), "alpha": _listed(alphas), "seed": _listed(seeds)}
    several |= {name: _listed(value) for name, value in settings.items() if name not in IMAGE_SETTINGS}
    fixed = {name: value for name, value in settings.items() if name in IMAGE_SETTINGS}
    # Unknown settings are told before anything is trained.
    firsts = {name: values[0] for name, values in several.items() if name != "model" and len(values)}
    _config(dataset, next(iter(several["model"]), "cnn"), {**fixed, **firsts})
    configs = grid(several, dataset=dataset, **fixed)
    table = run_sweep(place, configs, backend, workers, threads, address, gpus, device, report=report, stack=stack)
    finished = table.loc[table["state"] == "finished", "run"]
    return Sweep(tuple(Run(name, place) for name in finished), table, place)


def ablate(
    run: Run | str,
    units: str | Mapping[str, Sequence[int]],
    mode: str = "zero",
    *,
    factor: float | None = None,
    keep: bool = False,
    fold: int | None = None,
    draws: int = 100,
    matched: int | None = None,
    seed: int = 0,
    store: Where = DATA,
    report: Report = silent,
) -> Ablation:
    """Silence units and compare the accuracy before and after, overall and by class, with random and matched sets.

        result = selviz.ablate(run, "relu2:3,5;relu4:0-7", draws=5)
        result.accuracy_before, result.accuracy_after, result.to_pandas()

    `units` is `"relu2:3,5;relu4:0-7"` or {"relu2": [3, 5]}. `keep` silences all units of these layers but the named
    ones. On folds 0 and 1 together, or one of them. Nothing is stored.
    """
    from selviz.studies.ablation import run_ablation

    chosen = _run(run, store)
    named = parse_units(units) if isinstance(units, str) else {layer: list(part) for layer, part in units.items()}
    result = run_ablation(
        chosen.store, chosen.name, named, mode, fold, draws, seed,
        factor=factor, keep=keep, matched=matched, report=report,
    )  # fmt: skip
    return Ablation(
        run=chosen,
        units=named,
        mode=mode,
        images=int(result["images"]),
        accuracy_before=float(result["accuracy_before"]),
        accuracy_after=float(result["accuracy_after"]),
        mcnemar_p=float(result["mcnemar_p"]),
        random=tuple(result["control"]["accuracies"]),
        matched=tuple(result["matched"]["accuracies"]),
        details=result,
    )


def curves(
    run: Run | str,
    metric: str = "si",
    layers: Sequence[str] | None = None,
    *,
    steps: int = 10,
    draws: int = 10,
    seed: int = 0,
    store: Where = DATA,
    report: Report = silent,
) -> Curves:
    """Silence more and more units, ranked on fold 0 and measured on fold 1, beside random orders; store the curves.

        result = selviz.curves(run, "si", layers=["relu4"], draws=10)
        result.areas, result.figure("relu4")

    `metric` is a column of `run.units()` or one of `selviz metrics`; `layers` are all by default; a curve has `steps`
    points, and there are `draws` random orders.
    """
    from selviz.studies.ablation import run_curves

    chosen = _run(run, store)
    areas = run_curves(chosen.store, chosen.name, metric, layers, steps, draws, seed, report=report)
    table = chosen.store.curves(chosen.name)
    measured = table[(table["metric"] == metric) & table["layer"].isin(areas["layer"])]
    return Curves(chosen, metric, areas, measured.reset_index(drop=True))


def atlas(run: Run | str, *, store: Where = DATA, report: Report = silent) -> Atlas:
    """Silence every single unit and store what each loses.

        effects = selviz.atlas(run).to_pandas()
        effects.sort_values("after").head()

    A finished atlas is returned as it is.
    """
    from selviz.studies.ablation import run_atlas

    chosen = _run(run, store)
    run_atlas(chosen.store, chosen.name, report=report)
    return Atlas(chosen, chosen.store.atlas(chosen.name))


def attribute(
    run: Run | str,
    image: int,
    layer: str | None = None,
    unit: int | None = None,
    *,
    label: str | None = None,
    method: str = "integrated_gradients",
    baseline: str = "black",
    faithful: bool = True,
    store: Where = DATA,
    **settings: Any,
) -> Attribution:
    """Return which pixels of an evaluation image a unit, or the logit of the class `label`, comes from.

        result = selviz.attribute(run, image=3, layer="relu3", unit=7)
        result.map, result.figure()

    With both, the logit by way of the unit. `faithful` also measures how faithful the map is (in `details`).
    """
    from selviz.studies.attribution import explain

    chosen = _run(run, store)
    explanation = explain(chosen.store, chosen.name, image, layer, unit, label, method, baseline, faithful, **settings)
    return Attribution(
        chosen, image, method, layer, unit, label, explanation["map"], explanation["values"], explanation
    )


def register(
    template: str,
    run: Run | str | None = None,
    *,
    study: str = "",
    planned: int = 0,
    seed: int = 0,
    store: Where = DATA,
    **options: Any,
) -> Claim:
    """Register a claim before it is tested; nothing is measured. `selviz.test` gives its verdict.

        claim = selviz.register("selective", run, k=3, layer="relu4")

    `template` is a kind of claim (selective, necessary, ...) and `options` are those that
    `selviz hypothesis register TEMPLATE` has: k=3, layer="relu4", unit="relu4:best", class_="cat", smallest=0.05, ...
    """
    from selviz.hypotheses import registry

    chosen = _run(run, store) if run is not None else None
    place = chosen.store if chosen else _store(store)
    requested = {name.rstrip("_").replace("_", "-"): value for name, value in options.items()}
    requested = {name: value if value is None else str(value) for name, value in requested.items()}
    if "smallest" in options:
        requested["smallest"] = options["smallest"]
    if chosen:
        requested["run"] = chosen.name
    record = registry.register(place, template, requested, study, planned, seed)
    return _claim(place, record)


def test(claim: Claim | str, *, store: Where = DATA, report: Report = silent) -> Verdict:
    """Test a registered claim and store its verdict.

        claim = selviz.register("selective", run, k=3, layer="relu4")
        verdict = selviz.test(claim)
        verdict.verdict, verdict.p, verdict.figure()

    A claim that has a verdict keeps it.
    """
    from selviz.hypotheses import registry

    place, key = (claim.store, claim.key) if isinstance(claim, Claim) else (_store(store), claim)
    result = registry.run_test(place, key, report)
    registered, _ = registry.find(place, result["hypothesis"])
    return Verdict(_claim(place, registered), str(result["verdict"]), float(result["p"]), result)


def publish(
    run: Run | str,
    to: str | Path,
    *,
    atlas: bool = True,
    attribution: bool = True,
    store: Where = DATA,
    report: Report = silent,
) -> Published:
    """Write a run as a static site to the folder `to`: the board, a page for each unit, what silencing each unit does.

        site = selviz.publish(run, to="site", attribution=False)
        site.index

    `atlas` computes the exact effects first, where the run has none; `attribution` adds attribution maps, which takes
    longest. The folder must be new, empty, or an older site.
    """
    from selviz.publishing.attribution_pictures import pictures_of
    from selviz.publishing.site import publish as write_site
    from selviz.store import stage_is_whole
    from selviz.studies.ablation import run_atlas

    chosen = _run(run, store)
    runnable = chosen.summary.get("traced") != "watched"
    if atlas and runnable and not stage_is_whole(chosen.store.run_path(chosen.name), "atlas"):
        run_atlas(chosen.store, chosen.name, report=report)
    pictures = pictures_of(chosen.store, chosen.name) if attribution and runnable else None
    written = write_site(chosen.store, chosen.name, to, pictures)
    return Published(written.folder, written.units, written.files, written.bytes, chosen)


def _listed(value: Any) -> list[Any]:
    """Return several values as a list, and one value as a list of it."""
    return [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)


def _store(where: Where) -> Store:
    return where if isinstance(where, Store) else Store(where)


def _run(run: Run | str, where: Where) -> Run:
    if isinstance(run, Run):
        return run
    place = _store(where)
    name = full_name(place, run)
    place.run(name)  # SelvizError where there is none
    return Run(name, place)


def _claim(place: Store, record: Mapping[str, Any]) -> Claim:
    return Claim(
        key=str(record["hypothesis"]),
        template=str(record["template"]),
        statement=str(record["statement"]),
        confirmatory=bool(record["confirmatory"]),
        record=record,
        store=place,
    )


def _config(dataset: str, model: str, settings: Mapping[str, Any]) -> Any:
    from dataclasses import fields

    from selviz.config import RunConfig
    from selviz.errors import unknown

    known = [field.name for field in fields(RunConfig)]
    for name in settings:
        if name not in known:
            raise unknown("setting", name, known)
    return RunConfig(dataset, model, **settings)
