"""What a change of units does to predictions: `compare(labels, before, after, class_names)` of logits [N, C].

`progress(engine, changes)` streams estimates that end in the exact result; `ablate(engine, {"relu3": [4]}, ...)` is the
whole of it with its controls.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from selviz import statistics
from selviz.ablation.engine import Engine, Turn
from selviz.ablation.many_sets import set_accuracies
from selviz.ablation.matching import Matching, matched_sets, matchings
from selviz.ablation.modes import (
    Statistics,
    Units,
    changes,
    check_choice,
    check_mode,
    complement,
    random_sets,
)
from selviz.errors import SelvizError
from selviz.networks.unit_edit import UnitEdit
from selviz.system.progress import Report, silent

DRAWS = 100  # control sets: the smallest two-sided p is 2 / 101
MAX_DRAWS = 1000
MAX_DIFFERING = 0.01  # of the predictions known beforehand; rounding moves fewer


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


def progress(engine: Engine, edits: Mapping[str, UnitEdit], turn: Turn | None = None) -> Iterator[Estimate]:
    """Return an Estimate after each batch; the last one is exact. `turn` as in `Engine.stream`.

    Where the intact network's predictions are known beforehand, the accuracy before is exact from the start, and the
    accuracy after is that plus the change on the images so far.
    """
    seen = 0
    logits: Tensor | None = None  # [N, C]; an estimate has the rows so far, without a copy of them
    right_before = right_after = lost = gained = differing = 0
    labels, images = engine.labels, len(engine)
    known = None if engine.predictions is None else int((engine.predictions == labels).sum())
    recomputed = not engine.holds(edits)
    for rows, before, after in engine.stream(edits, turn):
        if logits is None:
            logits = after.new_empty(images, *after.shape[1:])
        logits[rows] = after
        predicted = before.argmax(dim=1)
        was, now = predicted == labels[rows], after.argmax(dim=1) == labels[rows]
        right_before, right_after = right_before + int(was.sum()), right_after + int(now.sum())
        lost, gained = lost + int((was & ~now).sum()), gained + int((~was & now).sum())
        seen = rows.stop
        if engine.predictions is not None:
            differing += int((predicted != engine.predictions[rows]).sum())
        if known is not None and (seen == images or differing > MAX_DIFFERING * seen + 1):
            known = None  # at the end all is known; and predictions of another network tell nothing
        accuracies = _Accuracies.estimated(right_before, right_after, lost, gained, seen, images, known)
        yield Estimate(seen, images, *accuracies, recomputed=recomputed, after=logits[:seen])


class _Accuracies(NamedTuple):
    """The accuracies of an Estimate with their intervals for this split, in its order."""

    before: float
    after: float
    before_low: float
    before_high: float
    after_low: float
    after_high: float

    @classmethod
    def estimated(
        cls, right_before: int, right_after: int, lost: int, gained: int, seen: int, images: int, known: int | None
    ) -> "_Accuracies":
        """Return the estimates after `seen` of `images` images, of which `known` are right before if that is known.

        The change is the difference of two shares, gained and lost, whose intervals are combined by square-and-add
        (Newcombe 1998, Statistics in Medicine 17:873), and never beyond what the unseen images still allow.
        """
        low, high = (float(end) for end in statistics.split_interval(right_after, seen, images))
        if known is None:
            before_low, before_high = (float(end) for end in statistics.split_interval(right_before, seen, images))
            return cls(right_before / seen, right_after / seen, before_low, before_high, low, high)
        before, change = known / images, (gained - lost) / seen
        gained_low, gained_high = statistics.split_interval(gained, seen, images)
        lost_low, lost_high = statistics.split_interval(lost, seen, images)
        down = math.hypot(gained / seen - gained_low, lost_high - lost / seen)
        up = math.hypot(gained_high - gained / seen, lost / seen - lost_low)
        least, greatest = right_after / images, (right_after + images - seen) / images
        after, low, high = (
            min(max(value, least), greatest)
            for value in (before + change, before + change - down, before + change + up)
        )
        return cls(before, after, before, before, low, high)


def ablate(
    engine: Engine,
    units: Units,
    class_names: Sequence[str],
    mode: str = "zero",
    factor: float | None = None,
    keep: bool = False,
    draws: int = DRAWS,
    matched: int | None = None,
    stats: Statistics | None = None,
    seed: int = 0,
    turn: Turn | None = None,
    report: Report = silent,
    watch: Callable[[Estimate], None] = lambda estimate: None,
) -> dict[str, Any]:
    """Return `compare`'s result for these units, with its controls: {..., "control": {...}, "matched": {...}}.

    `keep` changes all units of the layers but these. `draws` random sets, and at most `matched` (as many, unless given)
    different sets of matched units (`ablation.matching`), are the controls; each has {"accuracies", and the fields of
    statistics.Rank} or {"accuracies": [], "reason"}, the matched ones "balance" too. `stats` are each layer's means and
    standard deviations [U]. `watch` gets every Estimate, `report` {"done", "of"}.
    """
    counts = {"control": draws, "matched": draws if matched is None else matched}
    for number in counts.values():
        check_draws(number)
    how: dict[str, Any] = {"mode": mode, "factor": factor, "stats": stats, "keep": keep, "seed": seed, "turn": turn}
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
        accuracies = []
        for accuracy in controls(engine, chosen, name, wanted, **how):
            accuracies.append(accuracy)
            done += 1
            report({"done": done, "of": total})
        result[name] = ranked(result["accuracy_after"], accuracies)
    if counts["matched"]:
        result["matched"] |= balance(engine, chosen, counts["matched"], stats, seed)
    return {"mode": mode, "factor": factor, "keep": keep, "units": chosen, **result}


def controls(
    engine: Engine,
    units: Units,
    kind: str = "control",
    draws: int = DRAWS,
    *,
    start: int = 0,
    mode: str = "zero",
    factor: float | None = None,
    stats: Statistics | None = None,
    keep: bool = False,
    seed: int = 0,
    turn: Turn | None = None,
) -> Iterator[float]:
    """Return the accuracy 0..1 under each control set of `units`, `start` to `draws` - 1 of this seed's sequence.

    `kind` is "control" (random sets of the same size) or "matched" (units within a caliper of the chosen ones; as many
    different sets as there are, none where a chosen unit has no match). The sets do not depend on `start`, so draws
    that were cut off can be gone on with.
    """
    check_draws(draws)
    if kind == "control":
        sets = random_sets(engine.network, units, draws, seed)
    elif draws:
        sets = matched_sets(_matchings(engine, units, stats), draws, seed)
    else:
        return
    sets = itertools.islice(sets, start, None)
    drawn = (complement(engine.network, each) for each in sets) if keep else sets
    yield from set_accuracies(engine, drawn, mode, factor, stats, itertools.count(seed + start), turn)


def balance(engine: Engine, units: Units, draws: int, stats: Statistics | None = None, seed: int = 0) -> dict[str, Any]:
    """Return how alike chosen and matched units are: {"balance": [{"layer", and the fields of matching.Balance}]}, or
    why there is no matched set: {"reason"}."""
    matchings = _matchings(engine, units, stats)
    sets = list(matched_sets(matchings, draws, seed))
    if not sets:
        name = next((name for name, matching in matchings.items() if not matching.possible), next(iter(matchings)))
        return {"reason": matchings[name].why_not(name)}
    rows = [
        {"layer": name, **row._asdict()}
        for name, matching in matchings.items()
        for row in matching.balance([drawn[name] for drawn in sets])
    ]
    return {"balance": rows}


def _matchings(engine: Engine, units: Units, stats: Statistics | None) -> dict[str, Matching]:
    known = stats or {}
    return matchings(
        engine.network, units, {name: known[name] if name in known else engine.statistics(name) for name in units}
    )


def check_draws(number: int) -> None:
    """Raise SelvizError for a number of draws that is not 0 to MAX_DRAWS."""
    if not 0 <= number <= MAX_DRAWS:
        raise SelvizError(f"{number} draws are asked for; give 0 to {MAX_DRAWS:,}.")


def edits(
    engine: Engine,
    units: Units,
    mode: str = "zero",
    factor: float | None = None,
    stats: Statistics | None = None,
    keep: bool = False,
    seed: int = 0,
) -> dict[str, UnitEdit]:
    """Return `modes.changes` of these units, or with `keep` of all other units of their layers."""
    return changes(engine, complement(engine.network, units) if keep else units, mode, factor, stats, seed)


def ranked(value: float, draws: list[float]) -> dict[str, Any]:
    """Return {"accuracies": draws, and the fields of statistics.Rank of `value` among them, if there are any}."""
    return {"accuracies": draws, **(statistics.rank_among(value, draws)._asdict() if draws else {})}


def compare(labels: Tensor, before: Tensor, after: Tensor, class_names: Sequence[str]) -> dict[str, Any]:
    """Return accuracy before and after, overall and by class, of logits [N, C]; intervals are Wilson's, for new images.

    {"images", "accuracy_before", "accuracy_after", "before_low", ..., "change", "lost", "gained", "mcnemar_p",
    "true_logit_change", "per_class": [{"class", "images", "before", "after", "before_low", ..., "lost", "gained",
    "mcnemar_p", "mcnemar_p_holm", "true_logit_change"}]}. `lost` counts images that were right and now are wrong,
    `gained` the other way; the exact McNemar test compares the two, Holm's correction is over the classes.
    """
    if not len(labels):
        raise SelvizError("There are no images to compare on; report on the other fold or on all images.")
    right_before, right_after = before.argmax(dim=1) == labels, after.argmax(dim=1) == labels
    moved = (after - before)[torch.arange(len(labels)), labels]
    (everything,) = _changes(torch.zeros_like(labels), 1, right_before, right_after, moved)
    result = {"images": everything.pop("images")}
    for when in ("before", "after"):
        result[f"accuracy_{when}"] = everything.pop(when)
    result.update(everything)
    rows = _changes(labels, len(class_names), right_before, right_after, moved)
    corrected = statistics.holm([row["mcnemar_p"] for row in rows])
    result["per_class"] = [
        {"class": name, **row, "mcnemar_p_holm": float(p)} for name, row, p in zip(class_names, rows, corrected)
    ]
    return result


def flips(labels: Tensor, before: Tensor, after: Tensor, images: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """Return images that became wrong or right: [{"image", "label", "before", "after", "lost"}], classes as 0..C-1."""
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
    """Return numbers of images [C, C], true class by predicted class: {"before", "after", "difference"}."""
    classes = before.shape[1]
    counts = [
        torch.bincount(labels * classes + logits.argmax(dim=1), minlength=classes**2).view(classes, classes)
        for logits in (before, after)
    ]
    named = {"before": counts[0], "after": counts[1], "difference": counts[1] - counts[0]}
    return {name: part.tolist() for name, part in named.items()}


def _changes(
    groups: Tensor, count: int, right_before: Tensor, right_after: Tensor, moved: Tensor
) -> list[dict[str, Any]]:
    """Return one row per group 0 to `count` - 1 of images; `groups` [N] says which one each is in."""
    counts = {
        "images": torch.ones_like(right_before),
        "before": right_before,
        "after": right_after,
        "lost": right_before & ~right_after,
        "gained": ~right_before & right_after,
    }
    of = {name: torch.bincount(groups[each], minlength=count).numpy() for name, each in counts.items()}
    images = of["images"]
    sums = torch.bincount(groups, weights=moved.double(), minlength=count)
    ends = {when: statistics.wilson(of[when], images) for when in ("before", "after")}
    p = statistics.mcnemar(of["lost"], of["gained"])
    rows = []
    for group in range(count):
        n = int(images[group])
        row: dict[str, Any] = {"images": n}
        row |= {when: int(of[when][group]) / n if n else None for when in ends}
        for when, (low, high) in ends.items():
            row |= {f"{when}_low": float(low[group]), f"{when}_high": float(high[group])}
        row["change"] = row["after"] - row["before"] if n else None
        row |= {name: int(of[name][group]) for name in ("lost", "gained")}
        row["mcnemar_p"] = float(p[group])
        row["true_logit_change"] = float(sums[group]) / n if n else None
        rows.append(row)
    return rows
