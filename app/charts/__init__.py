"""Tables in, Plotly figures out, by what is drawn: `charts.unit.tuning(means, preferred, dark)`.

A chart's first argument is a data frame, its last is `dark`; `charts.empty`, `charts.finish` and `charts.whiskers` give
all of them the same looks.
"""

from app.charts import ablation, attribution, claims, compare, perturbing, runs, sweep, training, unit, units
from app.charts.basics import FONT, empty, finish, whiskers

__all__ = [
    "FONT",
    "ablation",
    "attribution",
    "claims",
    "compare",
    "empty",
    "finish",
    "perturbing",
    "runs",
    "sweep",
    "training",
    "unit",
    "units",
    "whiskers",
]
