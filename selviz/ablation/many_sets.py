"""Logits under many sets of units: `for logits in set_logits(engine, sets, "zero"): ...`, one [N, C] per set, in order.

Where the tail is linear a block of sets is one product (`linear_sets`). Elsewhere a block of sets passes through the
images together, so that what they share (cached values, and where these do not fit, the pass before the layer) is
computed once for all of them.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from selviz.ablation.engine import Engine, Turn
from selviz.ablation.linear_sets import LinearResponse, linear_response
from selviz.ablation.modes import Statistics, Units, changes, check_choice, check_mode, noise, source_images

BLOCK = 16 * 2**20  # bytes of a block's logits
MAX_BLOCK = 256  # sets
TOGETHER = 16  # sets that pass through the images together where the tail is not linear


class NumberedSet(NamedTuple):
    """A set of units (layer -> unit numbers) and the seed of what its mode draws."""

    units: dict[str, list[int]]
    seed: int


@torch.inference_mode()
def set_logits(
    engine: Engine,
    sets: Iterable[Units],
    mode: str = "zero",
    factor: float | None = None,
    statistics: Statistics | None = None,
    seeds: Iterable[int] | None = None,
    turn: Turn | None = None,
) -> Iterator[Float[Tensor, "images classes"]]:
    """Return logits [N, C] under each set of units in turn; mode, factor and statistics as in `modes.changes`.

    `seeds` has one seed per set for the modes that draw at random, 0 by default. Each block is computed inside turns
    as in `Engine.stream`. An empty set or a bad unit raises SelvizError.
    """
    check_mode(mode, factor)
    turn = turn or nullcontext
    seeds = itertools.repeat(0) if seeds is None else seeds
    numbered = (NumberedSet(check_choice(engine.network, units), seed) for units, seed in zip(sets, seeds))
    for names, group in itertools.groupby(numbered, key=lambda each: tuple(each.units)):
        responses = [linear_response(engine, name, turn) for name in names]
        linear = [response for response in responses if response is not None]
        if len(linear) == len(names):
            yield from _linear(engine, dict(zip(names, linear)), group, mode, factor, statistics, turn)
        else:
            yield from _together(engine, group, mode, factor, statistics, turn)


def set_accuracies(
    engine: Engine,
    sets: Iterable[Units],
    mode: str = "zero",
    factor: float | None = None,
    statistics: Statistics | None = None,
    seeds: Iterable[int] | None = None,
    turn: Turn | None = None,
) -> Iterator[float]:
    """Return the accuracy 0..1 under each set; arguments as in `set_logits`."""
    for logits in set_logits(engine, sets, mode, factor, statistics, seeds, turn):
        yield float((logits.argmax(dim=1) == engine.labels).double().mean())


def _linear(
    engine: Engine,
    responses: dict[str, LinearResponse],
    sets: Iterator[NumberedSet],
    mode: str,
    factor: float | None,
    statistics: Statistics | None,
    turn: Turn,
) -> Iterator[Tensor]:
    size = max(1, min(MAX_BLOCK, BLOCK // (4 * len(engine) * engine.classes)))
    before = engine.before()
    for number in itertools.count():
        block = list(itertools.islice(sets, size))
        if not block:
            return
        with turn(number):
            logits = before.expand(len(block), *before.shape)
            for position, (name, response) in enumerate(responses.items()):
                chosen = [each.units[name] for each in block]
                seeds = [each.seed + position for each in block]
                if mode in ("noise", "shuffle"):
                    logits = logits + _drawn(engine, name, response, chosen, seeds, mode, factor, statistics)
                    continue
                masks, gain = _masks(chosen, len(response.of_ones)), factor if mode == "scale" else 0.0
                assert gain is not None
                many = masks.mean(dim=1, keepdim=True) > 0.5
                if gain == 0.0 and response.without is not None and len(responses) == 1 and bool(many.any()):
                    # Of most units, what the others add is summed: nothing is left over where all are silent.
                    sums = response.sums(torch.where(many, 1 - masks, -masks))
                    logits = sums + torch.where(many.unsqueeze(2), response.without, before)
                else:
                    logits = logits + response.sums(masks * (gain - 1))
                if mode == "mean":
                    means = _statistics(engine, name, statistics)[0]
                    logits = logits + ((masks * means) @ response.of_ones).unsqueeze(1)
        yield from logits


def _drawn(
    engine: Engine,
    name: str,
    response: LinearResponse,
    chosen: Sequence[list[int]],
    seeds: Sequence[int],
    mode: str,
    factor: float | None,
    statistics: Statistics | None,
) -> Tensor:
    """Return how the logits [M, N, C] move by noise or by other images' maps, drawn as `modes.changes` draws them."""
    if mode == "shuffle":
        sums = response.sums(_masks(chosen, len(response.of_ones)))
        return torch.stack([part[source_images(len(engine), seed)] - part for part, seed in zip(sums, seeds)])
    spread = _statistics(engine, name, statistics)[1]
    shifts = (noise(len(engine), spread[units], factor, seed) for units, seed in zip(chosen, seeds))
    return torch.stack([shift @ response.of_ones[units] for shift, units in zip(shifts, chosen)])


def _masks(chosen: Sequence[list[int]], units: int) -> Float[Tensor, "sets {units}"]:
    """Return [M, U]: 1 where the set has the unit, else 0."""
    masks = torch.zeros(len(chosen), units)
    rows = torch.tensor([row for row, numbers in enumerate(chosen) for _ in numbers], dtype=torch.long)
    masks[rows, torch.tensor([unit for numbers in chosen for unit in numbers], dtype=torch.long)] = 1.0
    return masks


def _statistics(engine: Engine, name: str, statistics: Statistics | None) -> tuple[Tensor, Tensor]:
    means, spread = engine.statistics(name) if statistics is None else statistics[name]
    return torch.as_tensor(means, dtype=torch.float32), torch.as_tensor(spread, dtype=torch.float32)


def _together(
    engine: Engine,
    sets: Iterator[NumberedSet],
    mode: str,
    factor: float | None,
    statistics: Statistics | None,
    turn: Turn,
) -> Iterator[Tensor]:
    size = 2 if mode == "shuffle" else TOGETHER  # a shuffled set holds its units' maps
    while block := list(itertools.islice(sets, size)):
        edits = [changes(engine, each.units, mode, factor, statistics, each.seed) for each in block]
        tail = engine.tail(block[0].units)
        logits: list[list[Tensor]] = [[] for _ in block]
        for number, rows in enumerate(engine.slices_of(tail)):
            boundary = prepared = None
            for parts, edit in zip(logits, edits):
                with turn(number):
                    if boundary is None:
                        boundary = engine.boundary(tail, number, rows)
                        prepared = engine.prepared(tail, boundary, number) if len(block) > 1 else None
                    of_batch = {name: each.of_images(rows) for name, each in edit.items()}
                    parts.append(tail.logits(boundary, of_batch, prepared))
        yield from (torch.cat(parts) for parts in logits)
