"""What silencing units does to each image of fold 1, in pieces that are kept."""

from collections.abc import Mapping

import numpy as np
import torch

from selviz import ablation
from selviz.hypotheses.template import Work
from selviz.runs.load import open_engine as open_fold

BLOCK = 25


def open_engine(store, run: str) -> ablation.Engine:
    """The run's network with the images of fold 1."""
    return open_fold(store, run, 1)


def lost(engine: ablation.Engine, units: Mapping) -> np.ndarray:
    """1 for each image [N] that is right only with the units, -1 for one that is right only without, else 0."""
    before = engine.before().argmax(dim=1) == engine.labels
    (logits,) = ablation.set_logits(engine, [units])
    after = logits.argmax(dim=1) == engine.labels
    return (before.to(torch.int8) - after.to(torch.int8)).numpy()


def told(units: list, work: Work):
    for number, unit in enumerate(units):
        yield unit
        work.report({"done": number + 1, "of": len(units)})


def blocks(entries: list):
    for first in range(0, len(entries), BLOCK):
        yield f"sets-{first}", entries[first : first + BLOCK]
