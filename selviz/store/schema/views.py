"""What the tables of a run look like to readers: names instead of positions; `views(connection, sources, wanted)`.

One SELECT a table serves the store's methods, the SQL views and the exports. In it `{capture}`, `{metrics}`
and so on stand for the attached file of that stage.
"""

from collections.abc import Iterable

import pandas as pd
import pyarrow as pa

from selviz.store import ledger
from selviz.store.run_list import FIELDS
from selviz.store.stage_files import COLUMNS

# The unit metrics with a best class of their own: its name in the view, its position beside it.
_BEST = ("precision", "localist", "auc", "average_precision", "informedness", "d_prime")

# table: (stages that it reads, SELECT, order)
TABLES = {
    "epochs": (("training",), "SELECT * FROM {training}.epochs", "epoch"),
    "epoch_layers": (
        ("training", "capture"),
        "SELECT e.epoch, l.name AS layer, e.* EXCLUDE (epoch, layer) FROM {training}.epoch_layers e "
        "JOIN {capture}.layers l ON e.layer = l.layer",
        "e.epoch, l.layer",
    ),
    "layers": (
        ("capture", "metrics"),
        "SELECT l.name AS layer, l.* EXCLUDE (layer, name), m.* EXCLUDE (layer, units) FROM {capture}.layers l "
        "LEFT JOIN {metrics}.layers m ON l.layer = m.layer",
        "l.layer",
    ),
    "units": (
        ("capture", "metrics", "images"),
        "SELECT l.name AS layer, u.* EXCLUDE (layer, preferred_class), k.name AS preferred_class, "
        "u.preferred_class AS preferred_index FROM {metrics}.units u JOIN {capture}.layers l ON u.layer = l.layer "
        "LEFT JOIN {images}.classes k ON u.preferred_class = k.class",
        "l.layer, u.unit",
    ),
    "class_means": (
        ("capture", "metrics", "images"),
        "SELECT l.name AS layer, u.unit, k.name AS class, u.class AS class_index, u.* EXCLUDE (layer, unit, class) "
        "FROM {metrics}.class_means u JOIN {capture}.layers l ON u.layer = l.layer "
        "LEFT JOIN {images}.classes k ON u.class = k.class",
        "l.layer, u.unit, u.class",
    ),
    "curves": (
        ("ablation", "capture"),
        "SELECT coalesce(l.name, 'network') AS layer, c.* EXCLUDE (layer) FROM {ablation}.curves c "
        "LEFT JOIN {capture}.layers l ON c.layer = l.layer",
        "c.layer, c.metric, c.direction, c.draw, c.step",
    ),
    "areas": (
        ("ablation", "capture"),
        "SELECT coalesce(l.name, 'network') AS layer, c.* EXCLUDE (layer) FROM {ablation}.areas c "
        "LEFT JOIN {capture}.layers l ON c.layer = l.layer",
        "c.layer, c.metric, c.direction, c.draw",
    ),
    "atlas": (
        ("atlas", "capture"),
        "SELECT l.name AS layer, u.* EXCLUDE (layer), u.after - u.before AS change FROM {atlas}.atlas u "
        "JOIN {capture}.layers l ON u.layer = l.layer",
        "l.layer, u.unit",
    ),
    "atlas_classes": (
        ("atlas", "capture", "images"),
        "SELECT l.name AS layer, u.unit, k.name AS class, u.class AS class_index, u.* EXCLUDE (layer, unit, class), "
        "u.after - u.before AS change FROM {atlas}.atlas_classes u JOIN {capture}.layers l ON u.layer = l.layer "
        "LEFT JOIN {images}.classes k ON u.class = k.class",
        "l.layer, u.unit, u.class",
    ),
    "atlas_layers": (
        ("atlas", "capture"),
        "SELECT l.name AS layer, u.* EXCLUDE (layer) FROM {atlas}.atlas_layers u "
        "JOIN {capture}.layers l ON u.layer = l.layer",
        "l.layer",
    ),
    "unit_metrics": (
        ("unit_metrics", "metrics", "capture", "images"),
        "SELECT l.name AS layer, u.unit, m.si, m.zero_share, m.dead, u.ccmas, k.name AS ccmas_class, "
        + "".join(f"u.{name}, {name}_k.name AS {name}_class, u.{name}_class AS {name}_index, " for name in _BEST)
        + f"u.* EXCLUDE (layer, unit, ccmas, {', '.join(f'{name}, {name}_class' for name in _BEST)}) "
        "FROM {unit_metrics}.unit_metrics u JOIN {capture}.layers l ON u.layer = l.layer "
        "JOIN {metrics}.units m ON u.layer = m.layer AND u.unit = m.unit "
        "LEFT JOIN {images}.classes k ON m.preferred_class = k.class "
        + " ".join(f"LEFT JOIN {{images}}.classes {name}_k ON u.{name}_class = {name}_k.class" for name in _BEST),
        "l.layer, u.unit",
    ),
    "unit_map": (
        ("unit_map", "capture"),
        "SELECT l.name AS layer, u.* EXCLUDE (layer) FROM {unit_map}.unit_map u "
        "JOIN {capture}.layers l ON u.layer = l.layer",
        "l.layer, u.unit",
    ),
    "snapshots": (("snapshots",), "SELECT * FROM {snapshots}.snapshots", "snapshot"),
    "snapshot_layers": (
        ("snapshots", "capture"),
        "SELECT s.done, l.name AS layer, e.* EXCLUDE (layer) FROM {snapshots}.snapshot_layers e "
        "JOIN {snapshots}.snapshots s ON e.snapshot = s.snapshot JOIN {capture}.layers l ON e.layer = l.layer",
        "e.snapshot, l.layer",
    ),
    "snapshot_units": (
        ("snapshots", "capture", "images"),
        "SELECT s.done, l.name AS layer, u.* EXCLUDE (layer, preferred_class), k.name AS preferred_class "
        "FROM {snapshots}.snapshot_units u JOIN {snapshots}.snapshots s ON u.snapshot = s.snapshot "
        "JOIN {capture}.layers l ON u.layer = l.layer LEFT JOIN {images}.classes k ON u.preferred_class = k.class",
        "u.snapshot, l.layer, u.unit",
    ),
    "similarity": (
        ("similarity", "capture"),
        "SELECT l.name AS layer, u.* EXCLUDE (layer) FROM {similarity}.similarity u "
        "JOIN {capture}.layers l ON u.layer = l.layer",
        "l.layer, u.other",
    ),
    "linear_maps": (
        ("linear_maps", "capture"),
        "SELECT l.name AS layer, u.* EXCLUDE (layer) FROM {linear_maps}.linear_maps u "
        "JOIN {capture}.layers l ON u.layer = l.layer",
        "l.layer, u.basis DESC, u.draw",
    ),
    "early_curves": (("early",), "SELECT * FROM {early}.early_curves", "epoch, direction, draw, step"),
    "early_areas": (("early",), "SELECT * FROM {early}.early_areas", "epoch, direction, draw"),
    "sanity": (
        ("sanity", "capture", "images"),
        "SELECT coalesce(l.name, 'logits') AS layer, u.* EXCLUDE (layer, class), k.name AS class, "
        "u.class AS class_index FROM {sanity}.sanity u LEFT JOIN {capture}.layers l ON u.layer = l.layer "
        "LEFT JOIN {images}.classes k ON u.class = k.class",
        "u.layer, u.method, u.settings, u.step, u.image",
    ),
    "robustness": (("robustness",), "SELECT * FROM {robustness}.robustness", "kind, name, level"),
    "robustness_summary": (("robustness",), "SELECT * FROM {robustness}.robustness_summary", "kind, family"),
    "robustness_layers": (
        ("robustness", "capture"),
        "SELECT u.kind, u.name, u.level, l.name AS layer, u.* EXCLUDE (kind, name, level, layer) "
        "FROM {robustness}.robustness_layers u JOIN {capture}.layers l ON u.layer = l.layer",
        "u.kind, u.name, u.level, l.layer",
    ),
    "robustness_units": (
        ("robustness", "capture", "images"),
        "SELECT u.kind, u.name, u.level, l.name AS layer, u.* EXCLUDE (kind, name, level, layer, preferred_class), "
        "k.name AS preferred_class, u.preferred_class AS preferred_index FROM {robustness}.robustness_units u "
        "JOIN {capture}.layers l ON u.layer = l.layer LEFT JOIN {images}.classes k ON u.preferred_class = k.class",
        "u.kind, u.name, u.level, l.layer, u.unit",
    ),
    "robustness_classes": (
        ("robustness", "capture", "images"),
        "SELECT u.kind, u.name, u.level, l.name AS layer, u.unit, k.name AS class, u.class AS class_index, u.mean "
        "FROM {robustness}.robustness_classes u JOIN {capture}.layers l ON u.layer = l.layer "
        "LEFT JOIN {images}.classes k ON u.class = k.class",
        "u.kind, u.name, u.level, l.layer, u.unit, u.class",
    ),
    "robustness_images": (
        ("robustness", "images"),
        "SELECT i.kind, i.name, i.level, i.image, k.name AS label, p.name AS prediction, i.label AS label_index, "
        "i.prediction AS prediction_index FROM {robustness}.robustness_images i "
        "LEFT JOIN {images}.classes k ON i.label = k.class LEFT JOIN {images}.classes p ON i.prediction = p.class",
        "i.kind, i.name, i.level, i.image",
    ),
    "dimensionality": (
        ("dimensionality", "capture"),
        "SELECT l.name AS layer, l.depth, u.* EXCLUDE (layer) FROM {dimensionality}.dimensionality u "
        "JOIN {capture}.layers l ON u.layer = l.layer",
        'l.layer, u."over" DESC, u.kind, u.name',
    ),
    "gradient_variability": (
        ("dimensionality", "capture"),
        "SELECT l.name AS layer, l.depth, u.* EXCLUDE (layer) FROM {dimensionality}.gradient_variability u "
        "JOIN {capture}.layers l ON u.layer = l.layer",
        "l.layer",
    ),
    "images": (
        ("capture", "images"),
        "SELECT i.image, k.name AS label, p.name AS prediction, i.* EXCLUDE (image, label, prediction), "
        "i.label AS label_index, i.prediction AS prediction_index FROM {capture}.images i "
        "LEFT JOIN {images}.classes k ON i.label = k.class LEFT JOIN {images}.classes p ON i.prediction = p.class "
        "WHERE i.fold < 2",  # fold 2 is sealed
        "i.image",
    ),
    "activations": (
        ("capture",),
        "SELECT l.name AS layer, a.unit, a.image, a.value FROM {capture}.activations a "
        "JOIN {capture}.layers l ON a.layer = l.layer "
        "WHERE a.image < (SELECT count(*) FROM {capture}.images WHERE fold < 2)",  # the sealed images are the last ones
        None,  # lies sorted by layer, unit, image; sorting 48 million rows again would need gigabytes
    ),
}


def select(table: str, sources: dict[str, str]) -> str:
    """The SELECT of `table`; `sources` names the attached file of each stage."""
    return TABLES[table][1].format(**sources)


def create_views(connection, runs: dict[str, dict[str, str]], wanted: Iterable[str]) -> None:
    """Create the `wanted` views over `runs` (name -> sources); without runs they have columns and no rows."""
    for table in wanted:
        parts = [f"SELECT '{run}' AS run, * FROM ({select(table, sources)})" for run, sources in runs.items()]
        if not parts:
            parts = [f"SELECT '' AS run, * FROM ({select(table, _nothing(connection))})"]
        connection.execute(f"CREATE VIEW {table} AS {' UNION ALL BY NAME '.join(parts)}")


def _nothing(connection) -> dict[str, str]:
    for stage, tables in COLUMNS.items():
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS no_{stage}")
        for name, columns in tables.items():
            connection.execute(f"CREATE TABLE IF NOT EXISTS no_{stage}.{name} ({columns})")
    return {stage: f"no_{stage}" for stage in COLUMNS}


def create_runs(connection, frame) -> None:
    """The view `runs`, with numbers as numbers even where no run has one."""
    frame = frame.copy()
    columns = []
    for name in frame.columns:
        kind = FIELDS.get(name)
        columns.append(f'CAST("{name}" AS {kind}) AS "{name}"' if kind else f'"{name}"')
        if kind is None and frame[name].dtype == object:  # not the same kind of value in every run
            frame[name] = frame[name].map(lambda value: None if pd.isna(value) else str(value))
    connection.register("listed", pa.Table.from_pandas(frame, preserve_index=False))
    connection.execute(f"CREATE TABLE runs AS SELECT {', '.join(columns)} FROM listed")
    connection.unregister("listed")


def create_hypotheses(connection, frame) -> None:
    """The view `hypotheses`, the store's ledger."""
    columns = [f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in ledger.COLUMNS.items()]
    connection.register("listed", pa.Table.from_pandas(frame, preserve_index=False))
    connection.execute(f"CREATE TABLE hypotheses AS SELECT {', '.join(columns)} FROM listed")
    connection.unregister("listed")
