"""Labels of accuracy against selectivity stay in the chart and lie over no point and no other label, on a phone too."""

import itertools

import numpy as np
import pandas as pd
import pytest

from selviz import figures
from selviz.figures.runs import GAP, LETTER, LINE, PHONE, RING


def runs(accuracies, si):
    alphas = [*np.linspace(-5, 5, len(si))[:-1], np.nan]  # the last was trained elsewhere
    return pd.DataFrame({"run": [f"run {n}" for n in range(len(si))], "alpha": alphas, "seed": 0, "images": 667,
                         "test_accuracy": accuracies, "mean_si": si, "null_mean": 0.02, "null_p95": 0.03})  # fmt: skip


@pytest.mark.parametrize(
    ("accuracies", "si", "crowded"),
    [
        ([0.953, 0.958, 0.961, 0.957, 0.937], [0.035, 0.1, 0.19, 0.3, 0.43], False),
        ([0.953, 0.958, 0.961, 0.957, 0.937], [0.04, 0.1, 0.19, 0.32, 0.5], False),
        ([0.5], [0.3], False),
        ([0.95, 0.951, 0.952], [0.1, 0.12, 0.14], True),
        ([0.9, 0.9], [0.2, 0.21], True),
    ],
)
def test_labels_stay_in_the_chart_and_meet_no_point_and_no_other_label(accuracies, si, crowded):
    figure = figures.runs.accuracy_against_si(runs(accuracies, si), "mean_si", False)
    points = next(trace for trace in figure.data if trace.name == "runs")
    low, high = (figure.layout[axis].range for axis in ("xaxis", "yaxis"))
    x = (np.array(points.x) - low[0]) / (low[1] - low[0]) * PHONE[0]
    y = (np.array(points.y) - high[0]) / (high[1] - high[0]) * PHONE[1]
    boxes = [(a - RING, b - RING, a + RING, b + RING, n) for n, (a, b) in enumerate(zip(x, y))]
    for number, (a, b, place) in enumerate(zip(x, y, points.textposition)):
        row, side = place.split()
        wide = LETTER * len(points.text[number]) + GAP
        left = a + RING if side == "right" else a - RING - wide
        foot = b + {"middle": -LINE / 2, "top": RING / 2, "bottom": -RING / 2 - LINE}[row]
        assert left >= 0 and left + wide <= PHONE[0] + RING, "no label leaves the chart"
        boxes.append((left, foot, left + wide, foot + LINE, number))
    for one, other in itertools.combinations(boxes, 2):
        if not crowded and one[4] != other[4] and not (one in boxes[: len(x)] and other in boxes[: len(x)]):
            apart = one[0] >= other[2] or other[0] >= one[2] or one[1] >= other[3] or other[1] >= one[3]
            assert apart, (one, other)
