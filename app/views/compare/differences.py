"""Several runs side by side: `names = chosen(...)`, `read(rows)`, `accuracies(rows, ...)`, `pairs(one, other, ...)`."""

import dataclasses
import itertools
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from selviz.config import RunConfig
from selviz.geometry import matching
from selviz.statistics import holm, wilson
from selviz.store import Store
from selviz.text import numbers, safe_text

from ...page import frame
from ...state import address, reads

MOST = 6
MORE_SETTINGS = ("kind", "units", "layers", "images", "train_images", "device")
NULLS = {"within": "shuffled within classes", "all": "shuffled"}
TESTED = ["change", "change_low", "change_high", "p", "lost", "gained"]
LINK_IMAGES = 2000  # images over which the units of two boards are matched
EASY = 3e8  # multiplications a shuffle up to which there are 100 shuffles, else 20


def chosen(finished: dict[str, dict], current: str) -> list[str]:
    """Return the runs that the address names, at most six; else those last compared; else those like the current
    one.
    """
    requested = [name for name in dict.fromkeys(address.get("runs").split(",")) if name]
    names = [name for name in requested if name in finished]
    for name in [name for name in requested if name not in finished][:3]:
        address.not_found("run", name, ", ".join(names) or "runs of this store")
    if len(names) > MOST:
        st.warning(f"This link names {len(names)} runs; the first {MOST} are compared.", icon=":material/link_off:")
    if not address.has("runs"):
        names = [name for name in st.session_state.get("compared", ()) if name in finished]
    return names[:MOST] or _alike(finished, current)


def _alike(finished: dict[str, dict], current: str) -> list[str]:
    kind = [finished[current][key] for key in ("dataset", "model")]
    rows = [row for row in finished.values() if [row["dataset"], row["model"]] == kind]
    rows = rows if len(rows) > 1 else list(finished.values())
    # The current one, an untouched one, then the others: what is named first stays where there are too many.
    rows = sorted(rows, key=lambda row: (row["run"] != current, row["alpha"] != 0))[:MOST]
    return [row["run"] for row in sorted(rows, key=_by_alpha_and_seed)]


def _by_alpha_and_seed(row: dict) -> tuple[float, float]:
    """Return the order of runs side by side; one that was trained elsewhere has neither and counts as a baseline."""
    return tuple(0.0 if pd.isna(row[name]) else float(row[name]) for name in ("alpha", "seed"))


def baseline(rows: dict[str, dict]) -> str:
    """Return the run that the others are compared with: the address's, else the one last used, else one with alpha
    0.
    """
    requested = address.get("baseline")
    default = next((name for name, row in rows.items() if row["alpha"] == 0 and row["epochs"] != 0), next(iter(rows)))
    if requested and requested not in set(reads.runs()["run"]):
        address.not_found("baseline", requested, default)
    return next((name for name in (requested, st.session_state.get("baseline")) if name in rows), default)


def remember(names: list[str], base: str) -> None:
    """Keep the choice for when the visitor comes back, and in the address, so that a link holds it."""
    st.session_state["compared"], st.session_state["baseline"] = names, base
    if not address.has("runs") and len(names) > 1:
        address.fill(runs=",".join(names), baseline=base)


def run_labels(rows: dict[str, dict]) -> dict[str, str]:
    """Return what each run is called beside its dot: its alpha, and as little more as tells it from the others."""
    kinds = {
        "seed": "seed {seed}",
        "model": "{model}",
        "dataset": "{dataset}",
        "snapshots": "with snapshots",  # the same network, looked at while it learned
    }
    for keys in (keys for size in range(len(kinds) + 1) for keys in itertools.combinations(kinds, size)):
        names = {
            name: " · ".join([numbers.run(row), *(kinds[key].format(**row) for key in keys if _tells(row, key))])
            for name, row in rows.items()
        }
        if len(set(names.values())) == len(rows):
            return names
    return {name: f"{numbers.run(row)} · {name}" for name, row in rows.items()}


def _tells(row: dict, key: str) -> bool:
    value = row.get(key, 0)
    return key != "snapshots" or (not pd.isna(value) and value > 0)


def plain(label: str) -> str:
    """Return what a run is called, in a sentence: as it is unless it holds a name that Markdown would read."""
    return label if re.fullmatch(r"[^\W_]([^\W_]|[ ·.()−])*", label) else safe_text.code(label)


def same_images(rows: dict[str, dict], one: str, other: str) -> bool:
    """Return whether two runs were evaluated on the same images, so that they can be compared image by image."""
    return rows[one]["fingerprint"] == rows[other]["fingerprint"]


def read(rows: dict[str, dict]) -> dict[str, dict[str, pd.DataFrame]]:
    """Return the images, layers and units of each run; one with a damaged file is told and left out."""
    store, details = reads.store(), {}
    for name in rows:
        with frame.show_errors():
            details[name] = {"images": store.images(name), "layers": store.layers(name), "units": store.units(name)}
    return details


def accuracies(rows: dict[str, dict], base: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per run: accuracy with its interval, and its change from the baseline where both saw the same
    images; and
    the same change for each class. p values are Holm-corrected over the rows of each table (p_holm)."""
    called = run_labels(rows)
    called[base] += " (baseline)"
    networks = tuple(
        Network(name, called[name], row["alpha"], position, row["images"], row["test_accuracy"])
        for position, (name, row) in enumerate(rows.items())
    )
    compared = tuple(name for name in rows if name != base and same_images(rows, base, name))
    return _accuracies(reads.data(), _versions(rows), networks, base, compared)


class Network(NamedTuple):
    """A run among others, as the rows of `accuracies` begin."""

    run: str
    told: str
    alpha: Any  # missing in one that was trained elsewhere
    position: int
    images: int
    test_accuracy: float


def _versions(runs: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(map(reads.run_version, runs))


@st.cache_data(max_entries=32, show_spinner=False)
def _accuracies(
    folder: str, stamps: tuple, networks: tuple[Network, ...], base: str, compared: tuple[str, ...]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    runs, classes = [], []
    for network in networks:
        row = {name: getattr(network, name) for name in ("run", "told", "alpha", "position")}
        low, high = wilson(round(network.test_accuracy * network.images), network.images)
        shares = {"test_accuracy": network.test_accuracy, "low_share": float(low), "high_share": float(high)}
        change = dict.fromkeys(TESTED, np.nan)
        if network.run in compared:
            changes = _changes(folder, base, network.run)
            change = changes.iloc[0][TESTED].to_dict()
            classes.append(changes.iloc[1:].assign(**row))
        runs.append({**row, "images": network.images, **shares, **change})
    tables = [pd.DataFrame(runs).astype(dict.fromkeys(TESTED, float)), *([pd.concat(classes)] if classes else [])]
    for table in tables:
        table["p_holm"] = holm(table["p"])
    return tables[0], tables[1].reset_index(drop=True) if classes else pd.DataFrame()


def _common(first: Any, second: Any) -> tuple[Any, Any]:
    """Return both, rows of images, cut to the images that both show: an older run has no sealed ones, which are
    last.
    """
    images = min(len(first), len(second))
    return first[:images], second[:images]


def _changes(folder: str, base: str, other: str) -> pd.DataFrame:
    store = Store(folder)
    before, after = _common(store.images(base), store.images(other))
    labels, names = before["label_index"], reads.class_names(base)
    return matching.changes(labels, before["prediction_index"], after["prediction_index"], names)


def joined(runs: pd.DataFrame, at: dict[str, str] | None = None) -> pd.DataFrame:
    """Return the layers of all runs as one table, each row with its run, what it is called, its alpha and position;
    with `at`, the units of that layer of each run instead.
    """
    names = runs["run"].tolist()
    facts = tuple(zip(names, runs["told"], runs["alpha"], runs["position"].tolist()))
    return _joined(reads.data(), _versions(names), facts, at and tuple(at[name] for name in names))


@st.cache_data(max_entries=32, show_spinner=False)
def _joined(
    folder: str, stamps: tuple, networks: tuple[tuple[str, str, Any, int], ...], at: tuple[str, ...] | None
) -> pd.DataFrame:
    store, parts = Store(folder), []
    for number, (run, told, alpha, position) in enumerate(networks):
        table = store.units(run) if at else store.layers(run)
        table = table[table["layer"] == at[number]] if at else table
        parts.append(table.assign(run=run, told=told, alpha=alpha, position=position))
    return pd.concat(parts, ignore_index=True)


def counterparts(read: dict, base: str, at: str) -> dict[str, str]:
    """Return the counterpart of the baseline's layer in each run."""
    return {name: counterpart(at, read[base]["layers"], tables["layers"]) for name, tables in read.items()}


def python(base: str, names: list[str]) -> str:
    """Return the same numbers in Python; `store` is open already."""
    other = next((name for name in names if name != base), base)
    return (
        "from selviz.geometry.matching import changes, matches\n"
        f"one, other = store.images({base!r}), store.images({other!r})\n"
        f"names = store.run({base!r})['classes']\n"
        "changes(one['label_index'], one['prediction_index'], other['prediction_index'], names)\n"
        f"layer = store.layers({base!r})['layer'].iloc[-1]\n"
        f"matches(store.matrix({base!r}, layer), store.matrix({other!r}, layer))"
    )


def settings(rows: dict[str, dict], names: dict[str, str], all_of_them: bool) -> pd.DataFrame:
    """Return one row per setting, one column per run; only the settings that differ, unless `all_of_them`."""
    fields = [field.name for field in dataclasses.fields(RunConfig)]
    known = [key for key in (*fields, *MORE_SETTINGS) if any(key in row for row in rows.values())]
    said = {key: [_said(row.get(key)) for row in rows.values()] for key in known}
    said = {key: values for key, values in said.items() if all_of_them or len(set(values)) > 1}
    return pd.DataFrame(
        {names[name]: [values[number] for values in said.values()] for number, name in enumerate(rows)},
        index=pd.Index([key.replace("_", " ") for key in said], name="setting"),
        dtype="str",
    )


def _said(value: Any) -> str:
    if value is None or value is pd.NA or numbers.missing(value):
        return "–"
    return f"{value:g}".replace("-", numbers.MINUS) if isinstance(value, float) else str(value)


def counterpart(at: str, layers: pd.DataFrame, others: pd.DataFrame) -> str:
    """Return the other network's layer of the same name, else the one at the nearest depth."""
    if at in set(others["layer"]):
        return at
    depth = float(layers.loc[layers["layer"] == at, "depth"].iloc[0])
    return others["layer"].iloc[int((others["depth"] - depth).abs().argmin())]


def layer(read: dict, base: str) -> str:
    """Return the layer of the baseline that the address names, or the counterpart of a layer that another network
    has.
    """
    layers, requested = read[base]["layers"], address.get("layer")
    names = layers["layer"].tolist()
    for tables in read.values():
        if requested not in names and requested in set(tables["layers"]["layer"]):
            return counterpart(requested, tables["layers"], layers)
    return address.choose("layer", names, names[-1])


def pairs(one: str, other: str, at: str, other_at: str) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Return each unit of the layer with its match in the other run, both units' numbers, and the nulls [R, U] of
    NULLS.
    """
    return _pairs(reads.data(), _versions((one, other)), one, other, at, other_at)


@st.cache_data(max_entries=32, show_spinner="Matching units ...")
def _pairs(
    folder: str, stamps: tuple, one: str, other: str, at: str, other_at: str
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    store = Store(folder)
    matches, nulls = _matches(store, one, other, at, other_at)
    ours, theirs = store.units(one), store.units(other)
    ours, theirs = ours[ours["layer"] == at], theirs[theirs["layer"] == other_at]
    matched = matches.assign(run=one, layer=at).merge(
        ours[["unit", "si", "preferred_class", "preferred_index", "dead"]], on="unit"
    )
    facts = theirs[["unit", "si", "preferred_class"]]
    facts = facts.set_axis(["match", "match_si", "match_class"], axis=1)
    matched = matched.merge(facts, on="match", how="left")
    for kind, values in nulls.items():
        with np.errstate(all="ignore"):
            matched[f"null_{kind}"] = np.quantile(values, 0.95, axis=0)
    return matched, nulls


def _matches(store: Store, one: str, other: str, at: str, other_at: str) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    first, second = _common(store.matrix(one, at), store.matrix(other, other_at))
    labels = store.images(one)["label_index"].to_numpy()[: len(first)]
    shuffles = 100 if len(labels) * first.shape[1] * second.shape[1] <= EASY else 20
    nulls = {
        "within": matching.match_null(first, second, labels, shuffles),
        "all": matching.match_null(first, second, None, shuffles),
    }
    return matching.matches(first, second), nulls


class Links(NamedTuple):
    """For each unit of a board: the position of its match on the other board, -1 for none, and their correlation."""

    match: np.ndarray
    correlation: np.ndarray


def links(one: str, other: str) -> Links:
    """Return the match of every unit of `one`, in the layer of `other` of the same name or nearest depth."""
    return _links(reads.data(), _versions((one, other)), one, other)


@st.cache_data(max_entries=32, show_spinner="Matching units ...")
def _links(folder: str, stamps: tuple, one: str, other: str) -> Links:
    store = Store(folder)
    layers, others = store.layers(one), store.layers(other)
    starts = dict(zip(others["layer"], others["units"].cumsum() - others["units"]))
    match, correlation = [], []
    for at in layers["layer"]:
        other_at = counterpart(str(at), layers, others)
        first, second = _common(store.matrix(one, str(at)), store.matrix(other, other_at))
        table = matching.matches(first[:LINK_IMAGES], second[:LINK_IMAGES])
        found = table["match"].to_numpy()
        match.append(np.where(found >= 0, found + starts[other_at], -1))
        correlation.append(table["correlation"].fillna(0.0).to_numpy())
    return Links(np.concatenate(match).astype(np.int32), np.concatenate(correlation).astype(np.float32))
