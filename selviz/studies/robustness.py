"""How a run stands up to bad images and to an attacker: `run_robustness(Store("data"), run)`.

Stored as stage `robustness`, resumable: each finished corruption and attack lies in `partial/`. Corrupted pictures are
kept beside the data set's images, so that the next run on these need not make them again.
"""

import contextlib
import hashlib
import itertools
import json
import secrets
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from selviz import statistics
from selviz.datasets import Dataset
from selviz.errors import SelvizError, unknown
from selviz.networks.activations import BATCH, observe
from selviz.networks.unit_network import UnitNetwork
from selviz.robustness import attacks, corrupted_sets, corruptions
from selviz.robustness.corruptions import SEVERITIES, STANDARD
from selviz.robustness.unit_shifts import corruption_accuracy, layer_change, unit_changes
from selviz.runs.load import load_network
from selviz.runs.stages import provenance
from selviz.store import Store, image_folder, stage_is_whole, write_stage
from selviz.store.files import WEIGHTS, checksum, leftovers, writing
from selviz.store.merging import merged
from selviz.store.partial_results import kept
from selviz.store.queries import read
from selviz.store.stage_files import record
from selviz.system.locks import Claim

Report = Callable[[dict], None]
STAGE = "robustness"
IMAGES = 1000
ATTACKS = ("fgsm", "pgd")
CLEAN, CORRUPTION, STORED, ATTACK = "clean", "corruption", "stored", "attack"
KEY = ("kind", "name", "level")
MOST_KEPT = 512 * 2**20  # bytes of all corrupted pictures of a data set that are worth keeping
MOST_MEANS = 20_000  # class means of a setting that are worth keeping: units x classes


@dataclass(frozen=True)
class AttackSettings:
    """How the attacks are made; `target` is the name of the class aimed at, None for any wrong one."""

    steps: int = attacks.STEPS
    restarts: int = 1
    random_start: bool = True
    target: str | None = None


def run_robustness(
    store: Store,
    run: str,
    names: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    kinds: Sequence[str] = ATTACKS,
    epsilons: Sequence[float] | None = None,
    attack: AttackSettings = AttackSettings(),
    folder: str | Path | None = None,
    images: int = IMAGES,
    seed: int = 0,
    report: Report = lambda news: None,
    again: bool = False,
) -> pd.DataFrame:
    """Accuracy and units of a run under corruptions and attacks; returns `store.robustness(run)`.

    Corruptions `names` (the 15 of ImageNet-C) at `severities` by corrupt-tta, or those in `folder`, which others made
    (`corrupted_sets`); `kinds` of attack at `epsilons`, in pixel units (0.5 to 8, and for grey images to 32); on the
    first `images` evaluation images, which are nearly balanced over classes. What is stored already for the same images
    and seed stays, and is not computed again unless `again`. Corruptions that need larger images are skipped and said
    in `report` as {"skipped": reason}.
    Raises SelvizError for a bad name, severity, epsilon or folder.
    """
    names = names if names is not None or folder is not None else STANDARD
    for severity in severities:
        for name in names if names and folder is None else STANDARD[:1]:
            corruptions.check(name, severity)
    for kind in kinds:
        if kind not in ATTACKS:
            raise unknown("attack", kind, list(ATTACKS))
    epsilons = None if epsilons is None else [attacks.check_epsilon(float(epsilon)) for epsilon in epsilons]
    if images < 2:
        raise SelvizError(f"images is {images}; at least 2 are needed, and some hundreds for narrow intervals.")
    about, place = store.run(run), store.run_path(run)
    if attack.target is not None and attack.target not in about["classes"]:
        raise unknown("class", attack.target, about["classes"])
    network, dataset = load_network(store, run)
    images = min(images, len(dataset.eval_labels))
    if epsilons is None:
        epsilons = attacks.EPSILONS + (attacks.STRONGER if dataset.channels == 1 else ())
    weights = checksum(place / WEIGHTS)[:16]
    base = {"weights": weights, "images": images, "seed": seed}
    wanted = _wanted(dataset, names, severities, kinds, epsilons, attack, folder, report)
    stored = _stored(place, base, attack if kinds else None)
    todo = [item for item in wanted if again or not item.keys() <= stored]
    if not todo and stored:
        return store.robustness(run)
    with Claim(place / "claim.json", f"run {run}"):
        bench = Bench(network, dataset, images, seed, store.path, attack)
        found, paths, total = [], [], sum(len(item.levels) for item in todo)
        if again or (CLEAN, CLEAN, 0.0) not in stored:
            found.append(bench.clean())
        done = 0
        for item in todo:
            settings = json.dumps({**base, **asdict(attack), "item": [item.kind, item.name, *item.levels]})
            paths.append(place / "partial" / f"{STAGE}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}.npz")

            def tell(level: float, item=item) -> None:
                nonlocal done
                done += 1
                report({"run": run, "stage": STAGE, "layer": f"{item.name} {level:g}", "done": done, "of": total})

            tables = kept(paths[-1], lambda item=item, tell=tell: bench.measure(item, tell), again)
            found.append({name: table.assign(kind=item.kind, name=item.name) for name, table in tables.items()})
            done = sum(len(finished.levels) for finished in todo[: todo.index(item) + 1])
        tables, attacked = {name: pd.concat([part[name] for part in found]) for name in found[0]}, asdict(attack)
        if stored:
            tables = merged(place, STAGE, tables, KEY)
            if not kinds:
                attacked = record(place / f"{STAGE}.duckdb")["provenance"]["attack"]
            elif record(place / f"{STAGE}.duckdb")["provenance"]["attack"] != attacked:
                fresh = set().union(*(item.keys() for item in todo))
                tables = {name: _without_old_attacks(table, fresh) for name, table in tables.items()}
        tables["robustness_summary"] = _summary(tables["robustness_images"])
        write_stage(place, STAGE, tables, {**provenance("cpu"), **base, "attack": attacked})
        for path in paths:
            path.unlink(missing_ok=True)
    return store.robustness(run)


@dataclass(frozen=True)
class Item:
    """One corruption or attack, and its severities or epsilons."""

    kind: str
    name: str
    levels: tuple[float, ...]
    folder: str | None = None

    def keys(self) -> set[tuple]:
        return {(self.kind, self.name, float(level)) for level in self.levels}


class Bench:
    """A network before images that are perturbed: `Bench(network, dataset, images).measure(Item("attack", ...))`.

    `attack` and `seed` as in `run_robustness`; `data` is the folder of the store, in which corrupted pictures are kept.
    """

    def __init__(
        self,
        network: UnitNetwork,
        dataset: Dataset,
        images: int,
        seed: int = 0,
        data: Path | None = None,
        attack: AttackSettings = AttackSettings(),
    ):
        self.network, self.dataset, self.seed, self.data, self.attack = network, dataset, seed, data, attack
        self.pixels, self.labels = dataset.eval_pixels[:images], dataset.eval_labels[:images]
        self.classes = len(dataset.class_names)
        logits, activations = observe(network, dataset.normalise(self.pixels))
        self.activations = torch.cat(activations, dim=1)
        self.right = (logits.argmax(dim=1) == self.labels).numpy()
        self.predictions = logits.argmax(dim=1).int()
        widths = [layer.units for layer in network.layers]
        self.place = {"layer": np.repeat(range(len(widths)), widths), "unit": np.concatenate([*map(np.arange, widths)])}
        self.layers = [slice(*bounds) for bounds in itertools.pairwise(np.cumsum([0, *widths]))]
        self.units, _ = unit_changes(self.activations, self.labels, self.classes, self.activations)

    def clean(self) -> dict[str, pd.DataFrame]:
        """The tables of the stage for the images as they are."""
        tables = self._tables([(0.0, self.predictions, self.activations, self.labels, True, 0.0)])
        return {name: table.assign(kind=CLEAN, name=CLEAN) for name, table in tables.items()}

    def measure(self, item: Item, report: Callable[[float], None] = lambda level: None) -> dict[str, pd.DataFrame]:
        """The tables of the stage for one corruption or attack, without their columns kind and name."""
        return self._tables(self._levels(item, report))

    def perturbed(self, item: Item, level: float) -> Iterator[tuple[Tensor, Tensor]]:
        """(pixels 0..255, labels) of the images at one level, in batches."""
        if item.kind == STORED:
            pixels, labels = corrupted_sets.read(
                item.folder, item.name, int(level), self.dataset.class_names, len(self.labels)
            )
            if pixels.shape[1:] != tuple(self.pixels.shape[1:]):
                raise SelvizError(
                    f"{item.name} in {item.folder} has images of {pixels.shape[1:]} (channels, height, width); "
                    f"this network takes {tuple(self.pixels.shape[1:])}."
                )
            yield from zip(torch.from_numpy(pixels).split(BATCH), torch.from_numpy(labels).split(BATCH))
        elif item.kind == CORRUPTION:
            for first, part in enumerate(self.pixels.split(BATCH)):
                numbers = range(BATCH * first, BATCH * first + len(part))
                yield self._corrupted(item.name, int(level), part, numbers), self.labels[numbers]
        else:
            pixels = adversarial(
                self.network,
                self.dataset,
                self.pixels,
                self.labels,
                item.name.partition(" ")[0],
                level,
                self.attack,
                self.seed,
            )
            yield from zip(pixels.split(BATCH), self.labels.split(BATCH))

    def _levels(self, item: Item, report: Callable[[float], None]):
        for level in item.levels:
            predictions, activations, labels, changed = [], [], [], []
            for first, (pixels, answers) in enumerate(self.perturbed(item, level)):
                logits, values = observe(self.network, self.dataset.normalise(pixels))
                predictions.append(logits.argmax(dim=1).int())
                activations.append(torch.cat(values, dim=1))
                labels.append(answers)
                if item.kind != STORED:
                    here = self.pixels[BATCH * first : BATCH * first + len(pixels)]
                    changed.append((pixels.float() - here).abs().mean(dim=(1, 2, 3)))
            change = float(torch.cat(changed).mean()) if changed else np.nan
            found = (torch.cat(parts) for parts in (predictions, activations, labels))
            yield level, *found, item.kind != STORED, change
            report(level)

    def _tables(self, levels) -> dict[str, pd.DataFrame]:
        rows, layers, units, means, images = [], [], [], [], []
        for level, predictions, activations, labels, paired, change in levels:
            right = (predictions == labels).numpy()
            low, high = statistics.wilson(right.sum(), len(right))
            table, by_class = unit_changes(activations, labels, self.classes, self.activations if paired else None)
            by_layer = [
                {"level": level, "layer": position, **layer_change(table[part], self.units[part])}
                for position, part in enumerate(self.layers)
            ]
            place = {name: np.repeat(numbers, self.classes) for name, numbers in self.place.items()}
            units.append(table.assign(level=level, **self.place))
            means.append(by_class.assign(level=level, **place))
            layers += by_layer
            rows.append(
                {
                    "level": level,
                    "images": len(right),
                    "accuracy": right.mean(),
                    "low": low,
                    "high": high,
                    "lost": (self.right & ~right).sum() if paired else np.nan,
                    "gained": (~self.right & right).sum() if paired else np.nan,
                    "pixel_change": change,
                    "mean_si": float(np.mean([row["mean_si"] for row in by_layer])),
                }
            )
            images.append(
                pd.DataFrame(
                    {"image": range(len(right)), "label": labels.int().numpy(), "prediction": predictions.numpy()}
                ).assign(level=level)
            )
        means = pd.concat(means)
        if len(means) > MOST_MEANS * len(rows):
            means = means[:0]
        return {
            "robustness": pd.DataFrame(rows),
            "robustness_layers": pd.DataFrame(layers),
            "robustness_units": pd.concat(units),
            "robustness_classes": means,
            "robustness_images": pd.concat(images),
        }

    def _corrupted(self, name: str, severity: int, pixels: Tensor, numbers: range) -> Tensor:
        def make() -> np.ndarray:
            return corruptions.corrupt(pixels.numpy(), name, severity, self.seed, numbers)

        count = len(corruptions.CORRUPTIONS) * len(SEVERITIES)
        if self.data is None or self.pixels[0].numel() * len(self.labels) * count > MOST_KEPT:
            return torch.from_numpy(make())
        place = image_folder(self.data, self.dataset.fingerprint) / "corrupted"
        return torch.from_numpy(
            _kept_pictures(place / f"{name}-{severity}-{self.seed}-{numbers[0]}-{len(numbers)}.npz", make)
        )


def adversarial(
    network: UnitNetwork,
    dataset: Dataset,
    pixels: Tensor,
    labels: Tensor,
    name: str,
    epsilon: float,
    attack: AttackSettings = AttackSettings(),
    seed: int = 0,
) -> Tensor:
    """Adversarial pixels float32 [N, C, H, W], 0..255, of evaluation pixels and labels [N], by "fgsm" or "pgd"."""

    def logits(x: Tensor) -> Tensor:
        return network.logits(dataset.normalise(x))

    targeted = attack.target is not None
    aims = torch.full_like(labels, dataset.class_names.index(attack.target)) if targeted else labels
    if name == "fgsm":
        return attacks.fgsm(logits, pixels, aims, epsilon, targeted)
    start, restarts = attack.random_start, attack.restarts
    return attacks.pgd(logits, pixels, aims, epsilon, attack.steps, None, start, restarts, targeted, seed)


def _wanted(dataset, names, severities, kinds, epsilons, attack, folder, report) -> list[Item]:
    levels = tuple(sorted({float(severity) for severity in severities}))
    if folder is not None:
        there = corrupted_sets.names(folder)
        for name in names or ():
            if name not in there:
                raise unknown("corruption", name, there)
        found = [Item(STORED, name, levels, str(folder)) for name in names or there]
    else:
        fitting, skipped = corruptions.usable(*dataset.eval_pixels.shape[2:], names)
        for reason in skipped.values():
            report({"skipped": reason})
        found = [Item(CORRUPTION, name, levels) for name in fitting]
    aim = "" if attack.target is None else f" to {attack.target}"
    found += [Item(ATTACK, kind + aim, tuple(sorted(set(epsilons)))) for kind in kinds]
    return [item for item in found if item.levels]


def _stored(place: Path, base: dict, attack: AttackSettings | None) -> set[tuple]:
    """(kind, name, level) of what is stored already on the same images with the same weights, seed and attack."""
    if not stage_is_whole(place, STAGE):
        return set()
    file = place / f"{STAGE}.duckdb"
    known = record(file)["provenance"]
    if any(known.get(name) != value for name, value in base.items()):
        return set()
    table = read({STAGE: file}, f"SELECT kind, name, level FROM {STAGE}.robustness")
    if attack is not None and known["attack"] != asdict(attack):
        table = table[table["kind"] != ATTACK]
    return set(zip(table["kind"], table["name"], table["level"]))


def _without_old_attacks(table: pd.DataFrame, fresh: set[tuple]) -> pd.DataFrame:
    keys = zip(*(table[name] for name in KEY))
    return table[[key[0] != ATTACK or key in fresh for key in keys]]


def _summary(images: pd.DataFrame) -> pd.DataFrame:
    """Mean corruption accuracy, overall and by family, of corrupt-tta's pictures and of those made by others."""
    right = images.assign(right=images["label"] == images["prediction"])
    clean = right[right["kind"] == CLEAN].sort_values("image")["right"].to_numpy()
    rows = []
    for kind in (CORRUPTION, STORED):
        part = right[right["kind"] == kind]
        family = part["name"].map(corruptions.CORRUPTIONS).fillna("other")
        for name, chosen in (("all", part[family != "extra"]), *part.groupby(family)):
            if chosen.empty:
                continue
            grid = chosen.pivot(index=["name", "level"], columns="image", values="right").to_numpy(dtype=float)
            row = {"kind": kind, "family": name, "corruptions": chosen["name"].nunique(), "images": grid.shape[1]}
            row["severities"] = chosen["level"].nunique()
            found = corruption_accuracy(grid, clean)._asdict()
            if kind == STORED:  # other images than the clean ones: their means are compared, not image by image
                found |= {"relative": found["accuracy"] / clean.mean(), "relative_low": np.nan, "relative_high": np.nan}
            rows.append({**row, **found})
    columns = "kind family corruptions severities images accuracy low high relative relative_low relative_high".split()
    return pd.DataFrame(rows, columns=columns)


def _kept_pictures(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    try:
        with np.load(path) as file:  # a zip: a byte that changed does not have the checksum in it
            return file["pixels"]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        pixels = make()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with writing(path, temporary):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            np.savez(file, pixels=pixels)
        with contextlib.suppress(FileNotFoundError):  # another process made the same pictures, and tidied up
            temporary.replace(path)
    for left in leftovers(path.parent, f".{path.name}.*"):
        left.unlink(missing_ok=True)
    return pixels
