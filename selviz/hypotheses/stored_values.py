"""Whether stored values are those of the network: `check_capture(store, run, key)`, `metrics_problems(store, run)`.

A checksum shows that a file is what was written, and not that it was written by selviz: whoever rewrites a stage can
write its record again. So a test computes some of what it reads anew, on images that nobody could know beforehand.
"""

import hashlib
from typing import NamedTuple

import numpy as np

from selviz.errors import SelvizError
from selviz.store import Store
from selviz.store.queries import read, read_column

CHECKED_IMAGES = 256  # of each run, drawn by the registration's hash
TOLERANCE = 0.02  # of a layer's largest activation: other devices and precisions compute a little differently
MAX_RELATIVE = 1e-4  # of measures, which are computed from the stored activations


class CaptureCheck(NamedTuple):
    """What was found when activations were computed again: problems, a sentence each, and what was compared."""

    problems: list[str]
    told: str


def check_capture(store: Store, run: str, key: str) -> CaptureCheck:
    """Compute labels, folds, predictions and activations of some images again, and compare them with what is stored.

    `key` decides which images: the hash of a registration, so that the choice comes after the files. Where the network
    or its images are not at hand, nothing is compared, and `told` says why.
    """
    from selviz.networks.activations import observe
    from selviz.runs.load import load_network

    try:
        network, dataset = load_network(store, run, sealed=True)
    except SelvizError as error:
        return CaptureCheck([], f"{run}: not compared with its network ({str(error).rstrip('.')})")
    file = {"capture": store.run_path(run) / "capture.duckdb"}
    images = read(file, "SELECT label, prediction, fold FROM capture.images ORDER BY image")
    labels, folds = dataset.eval_labels.numpy(), dataset.eval_folds.numpy()
    what = f"capture.duckdb of run {run}"
    again = store.rebuild_command(run)
    if len(images) != len(labels) or (images["label"].to_numpy() != labels).any():
        return CaptureCheck([f"{what} has other labels than the data set: it was rewritten; {again}"], "")
    if (images["fold"].to_numpy() != folds).any():
        return CaptureCheck([f"{what} divides the images into other folds than selviz does: it was rewritten; {again}"],
                            "")  # fmt: skip
    seed = int.from_bytes(hashlib.sha256(f"{key} {run}".encode()).digest()[:8], "big")
    drawn = np.sort(np.random.default_rng(seed).permutation(len(labels))[:CHECKED_IMAGES])
    logits, layers = observe(network, dataset.normalise(dataset.eval_pixels[drawn]))
    scores, stored = logits.numpy(), images["prediction"].to_numpy()[drawn]
    behind = scores.max(axis=1) - scores[np.arange(len(drawn)), stored]
    problems = []
    if (wrong := int((behind > TOLERANCE * np.abs(scores).max()).sum())) > 0:
        problems.append(f"{what} has other predictions than the network on {wrong} of {len(drawn)} images")
    query = (
        "SELECT a.value FROM capture.activations a JOIN capture.layers l ON a.layer = l.layer WHERE l.name = ? AND "
        "list_contains(?::UINTEGER[], a.image) ORDER BY a.image, a.unit"
    )
    for layer, fresh in zip(network.layers, layers, strict=True):
        expected = fresh.numpy()
        values = read_column(file, query, (layer.name, tuple(drawn.tolist())))
        values = values.reshape(len(drawn), -1) if values.size % len(drawn) == 0 else values
        if values.shape != expected.shape:
            problems.append(f"{what} has other activations of {layer.name} than the network has units")
            continue
        far = np.abs(values - expected) > TOLERANCE * max(float(np.abs(expected).max()), 1e-6)
        if far.any():
            problems.append(
                f"{what} has other activations of {layer.name} than the network on {int(far.any(axis=1).sum())} of "
                f"{len(drawn)} images"
            )
    told = f"{run}: labels and folds of {len(labels):,} images, predictions and activations of {len(drawn):,}"
    return CaptureCheck([f"{problem}: it was rewritten; {again}" for problem in problems], told)


def metrics_problems(store: Store, run: str) -> list[str]:
    """Return a sentence for each measure of units or layers that is not what the stored activations give."""
    import torch

    from selviz.selectivity import index

    layers, units = store.layers(run), store.units(run)
    labels = torch.tensor(store.images(run)["label_index"].to_numpy())
    classes = len(store.run(run)["classes"])
    wrong: list[str] = []
    for row in layers.to_dict("records"):
        values = torch.tensor(store.matrix(run, row["layer"])).double()
        means, counts = index.class_means(values, labels.long(), classes)
        si, dead = index.index(means, counts).numpy(), (values == 0).all(dim=0).numpy()
        here = units[units["layer"] == row["layer"]].sort_values("unit")
        live = float(si[~dead].mean()) if (~dead).any() else 0.0
        pairs = {
            "si": (here["si"].to_numpy(), si),
            "dead": (here["dead"].to_numpy(dtype=float), dead.astype(float)),
            "mean_activation": (here["mean_activation"].to_numpy(), values.mean(dim=0).numpy()),
            "max_activation": (here["max_activation"].to_numpy(), values.amax(dim=0).numpy()),
            "zero_share": (here["zero_share"].to_numpy(), (values == 0).double().mean(dim=0).numpy()),
            "mean_si": (np.array([row["mean_si"]]), np.array([si.mean()])),
            "mean_si_live": (np.array([row["mean_si_live"]]), np.array([live])),
        }
        for name, (stored, fresh) in pairs.items():
            close = len(stored) == len(fresh) and np.allclose(stored, fresh, rtol=MAX_RELATIVE, atol=1e-6)
            if not close:
                wrong.append(f"{name} of {row['layer']}")
    if not wrong:
        return []
    named = ", ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
    return [f"metrics.duckdb of run {run} does not fit the stored activations ({named}): it was rewritten; "
            f"{store.rebuild_command(run, 'metrics')}"]  # fmt: skip
