"""What a change of units does to predictions: `compare(labels, before, after, class_names)` of logits [N, C].

`progress(engine, changes)` streams estimates that end in the exact result; `ablate(engine, {"relu3": [4]}, ...)` is the
whole of it with its controls.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from selviz import statistics
from selviz.ablation.engine import Engine
from selviz.ablation.modes import (
    Statistics,
    Units,
    changes,
    check_choice,
    check_mode,
    complement,
    matched_sets,
    random_sets,
)
from selviz.errors import SelvizError
from selviz.networks.unit_edit import UnitEdit

MOST_DRAWS = 1000
UNMATCHED = "more than half of a layer's units are chosen, so too few are left to match them"


@dataclass(frozen=True)
class Estimate:
    """Accuracy on the first `images` of `of` images, each with its interval *for this split*, of zero width at the end.

    `after` are the logits [images, C] so far; `recomputed` says that cached values did not fit into the memory budget.
    """

    images: int
    of: int
    accuracy_before: float
    accuracy_after: float
    before_low: float
    before_high: float
    after_low: float
    after_high: float
    recomputed: bool
    after: Tensor

    @property
    def exact(self) -> bool:
        return self.images == self.of


def progress(engine: Engine, changed: Mapping[str, UnitEdit], turn=None) -> Iterator[Estimate]:
    """An Estimate after each batch; the last one is exact. `turn` as in `Engine.stream`."""
    parts, right_before, right_after = [], 0, 0
    labels, of = engine.labels, len(engine)
    held = engine.holds(changed)
    for rows, before, after in engine.stream(changed, turn):
        parts.append(after)
        right_before += int((before.argmax(dim=1) == labels[rows]).sum())
        right_after += int((after.argmax(dim=1) == labels[rows]).sum())
        seen = rows.stop
        (low, high), (after_low, after_high) = (
            statistics.split_interval(right, seen, of) for right in (right_before, right_after)
        )
        yield Estimate(
            images=seen,
            of=of,
            accuracy_before=right_before / seen,
            accuracy_after=right_after / seen,
            before_low=float(low),
            before_high=float(high),
            after_low=float(after_low),
            after_high=float(after_high),
            recomputed=not held,
            after=torch.cat(parts),
        )


def ablate(
    engine: Engine,
    units: Units,
    class_names: Sequence[str],
    mode: str = "zero",
    factor: float | None = None,
    keep: bool = False,
    draws: int = 20,
    matched: int | None = None,
    stats: Statistics | None = None,
    seed: int = 0,
    turn=None,
    report: Callable[[dict], None] = lambda news: None,
    watch: Callable[[Estimate], None] = lambda estimate: None,
) -> dict:
    """`compare`'s result for these units, with its controls: {..., "control": {...}, "matched": {...}}.

    `keep` changes all units of the layers but these. `draws` random sets, and `matched` (as many, unless given) sets
    of units with nearly the same mean activation, are the controls; each has {"accuracies", and the fields of
    statistics.Rank} or {"accuracies": [], "reason"}. `stats` are each layer's means and standard deviations [U].
    `watch` gets every Estimate, `report` {"draw", "of"}.
    """
    counts = {"control": draws, "matched": draws if matched is None else matched}
    for number in counts.values():
        check_draws(number)
    how = {"mode": mode, "factor": factor, "stats": stats, "keep": keep, "seed": seed, "turn": turn}
    check_mode(mode, factor)
    chosen = check_choice(engine.network, units)
    for last in progress(engine, edits(engine, chosen, mode, factor, stats, keep, seed), turn):
        watch(last)
    result = compare(engine.labels, engine.before(), last.after, class_names)
    result["flips"] = flips(engine.labels, engine.before(), last.after, engine.images)
    result["confusion"] = confusions(engine.labels, engine.before(), last.after)
    result["recomputed"] = last.recomputed
    done, total = 0, sum(counts.values())
    for name, wanted in counts.items():
        found = []
        for accuracy in controls(engine, chosen, name, wanted, **how):
            found.append(accuracy)
            done += 1
            report({"draw": done, "of": total})
        result[name] = ranked(result["accuracy_after"], found)
        if wanted and not found:
            result[name]["reason"] = UNMATCHED
    return {"mode": mode, "factor": factor, "keep": keep, "units": chosen, **result}


def controls(
    engine: Engine,
    units: Units,
    kind: str = "control",
    draws: int = 20,
    *,
    start: int = 0,
    mode: str = "zero",
    factor: float | None = None,
    stats: Statistics | None = None,
    keep: bool = False,
    seed: int = 0,
    turn=None,
) -> Iterator[float]:
    """The accuracy 0..1 under each control set of `units`, numbers `start` to `draws` - 1 of the sequence of this seed.

    `kind` is "control" (random sets of the same size) or "matched" (nearly the same mean activation; none if too few
    units are left). The sets do not depend on `start`, so draws that were cut off can be gone on with.
    """
    check_draws(draws)
    if kind == "control":
        sets = random_sets(engine.network, units, draws, seed)
    elif draws:
        means = {name: stats[name][0] if stats else engine.statistics(name)[0] for name in units}
        sets = matched_sets(engine.network, units, means, draws, seed)
    else:
        return
    for number, drawn in enumerate(sets):
        if number >= start:
            logits = engine.logits(edits(engine, drawn, mode, factor, stats, keep, seed + number), turn)
            yield float((logits.argmax(dim=1) == engine.labels).double().mean())


def check_draws(number: int) -> None:
    """SelvizError for a number of draws that is not 0 to MOST_DRAWS."""
    if not 0 <= number <= MOST_DRAWS:
        raise SelvizError(f"{number} draws are asked for; give 0 to {MOST_DRAWS:,}.")


def edits(
    engine: Engine,
    units: Units,
    mode: str = "zero",
    factor: float | None = None,
    stats: Statistics | None = None,
    keep: bool = False,
    seed: int = 0,
) -> dict[str, UnitEdit]:
    """`modes.changes` of these units, or with `keep` of all other units of their layers."""
    return changes(engine, complement(engine.network, units) if keep else units, mode, factor, stats, seed)


def ranked(value: float, draws: list[float]) -> dict:
    """{"accuracies": draws, and the fields of statistics.Rank of `value` among them, if there are any}."""
    return {"accuracies": draws, **(statistics.rank_among(value, draws)._asdict() if draws else {})}


def compare(labels: Tensor, before: Tensor, after: Tensor, class_names: Sequence[str]) -> dict:
    """Accuracy before and after, overall and by class, of logits [N, C]; intervals are Wilson's, for new images.

    {"images", "accuracy_before", "accuracy_after", "before_low", ..., "change", "lost", "gained", "mcnemar_p",
    "true_logit_change", "per_class": [{"class", "images", "before", "after", "before_low", ..., "lost", "gained",
    "mcnemar_p", "mcnemar_p_holm", "true_logit_change"}]}. `lost` counts images that were right and now are wrong,
    `gained` the other way; the exact McNemar test compares the two, Holm's correction is over the classes.
    """
    if not len(labels):
        raise SelvizError("There are no images to compare on; report on the other fold or on all images.")
    right_before, right_after = before.argmax(dim=1) == labels, after.argmax(dim=1) == labels
    rows = torch.arange(len(labels))
    moved = (after - before)[rows, labels]
    everything = _change(right_before, right_after, moved)
    result = {"images": everything.pop("images")}
    for when in ("before", "after"):
        result[f"accuracy_{when}"] = everything.pop(when)
    result.update(everything)
    per_class = [
        {"class": name, **_change(right_before[here], right_after[here], moved[here])}
        for name, here in ((name, labels == index) for index, name in enumerate(class_names))
    ]
    for row, corrected in zip(per_class, statistics.holm([row["mcnemar_p"] for row in per_class])):
        row["mcnemar_p_holm"] = float(corrected)
    result["per_class"] = per_class
    return result


def flips(labels: Tensor, before: Tensor, after: Tensor, images: Sequence[int] | None = None) -> list[dict]:
    """Images that became wrong or right: [{"image", "label", "before", "after", "lost"}], classes as numbers 0..C-1."""
    was, now = before.argmax(dim=1), after.argmax(dim=1)
    changed = ((was == labels) != (now == labels)).nonzero().squeeze(1).tolist()
    return [
        {
            "image": row if images is None else int(images[row]),
            "label": int(labels[row]),
            "before": int(was[row]),
            "after": int(now[row]),
            "lost": bool(was[row] == labels[row]),
        }
        for row in changed
    ]


def confusions(labels: Tensor, before: Tensor, after: Tensor) -> dict[str, list[list[int]]]:
    """Numbers of images [C, C], true class by predicted class: {"before", "after", "difference"}."""
    classes = before.shape[1]
    counts = [
        torch.bincount(labels * classes + logits.argmax(dim=1), minlength=classes**2).view(classes, classes)
        for logits in (before, after)
    ]
    named = {"before": counts[0], "after": counts[1], "difference": counts[1] - counts[0]}
    return {name: part.tolist() for name, part in named.items()}


def _change(right_before: Tensor, right_after: Tensor, moved: Tensor) -> dict:
    images = len(right_before)
    counts = {"before": int(right_before.sum()), "after": int(right_after.sum())}
    row: dict = {"images": images, **{when: count / images if images else None for when, count in counts.items()}}
    for when, count in counts.items():
        low, high = statistics.wilson(count, images)
        row[f"{when}_low"], row[f"{when}_high"] = float(low), float(high)
    row["change"] = row["after"] - row["before"] if images else None
    row["lost"] = int((right_before & ~right_after).sum())
    row["gained"] = int((~right_before & right_after).sum())
    row["mcnemar_p"] = float(statistics.mcnemar(row["lost"], row["gained"]))
    row["true_logit_change"] = float(moved.mean()) if images else None
    return row
