"""The measures of a unit: `known(run)`, those that are stored; what each of them means: `MEASURES["auc"]`.

They are declared with their columns in `selviz.store.schema`, so a new one is shown here without a change.

The measures beside SI are there once `selviz metrics RUN` has stored them, the drop once `selviz atlas RUN` has.
"""

from selviz.store.schema import stored_columns, unit_measures

from ..state import reads

MEASURES = {name: declared.measure for name, declared in unit_measures().items()}
WITH_CLASS = tuple(name for name in MEASURES if f"{name}_class" in stored_columns("unit_metrics")["unit_metrics"])


def known(run: str) -> dict[str, str]:
    """Return the measures that are stored of the run's units: column of `Store.find_units` -> title."""
    return {name: MEASURES[name].title for name in reads.store().unit_measures(run)}


def stored(run: str, stage: str) -> bool:
    """Return whether the run has this stage."""
    return (reads.store().run_path(run) / f"{stage}.duckdb").exists()
