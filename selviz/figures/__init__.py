"""Tables in, Plotly figures out, by what is drawn: `figures.unit.tuning(means, preferred, dark)`.

A chart's first argument is a data frame, its last is `dark`; `figures.empty`, `figures.finish` and
`figures.whiskers` give all of them the same looks.
"""

from selviz.figures import ablation, attribution, compare, hypotheses, robustness, runs, sweep, training, unit, units
from selviz.figures.basics import FONT, empty, finish, whiskers, with_accuracy_interval, with_mean_interval

__all__ = [
    "FONT",
    "ablation",
    "attribution",
    "compare",
    "empty",
    "finish",
    "hypotheses",
    "robustness",
    "runs",
    "sweep",
    "training",
    "unit",
    "units",
    "whiskers",
    "with_accuracy_interval",
    "with_mean_interval",
]
