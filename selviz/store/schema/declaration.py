"""What a stage's declaration is made of: `Stage("atlas", (Table("atlas", "...", (Column(...), ...)), ...))`.

From it follow the file's columns, the SQL view and its words on the Data page, heads and formats of tables on pages,
the measures that units can be sorted by, the checks of what strangers bring, and the command that brings a file back.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """What makes a column a measure of units: pages show these words, and sort and cut the units by its value.

    `formula` is in words or signs, `span` its range.
    """

    title: str
    formula: str
    span: str
    beware: str = ""


@dataclass(frozen=True)
class Head:
    """How a column looks in tables on pages: title, printf format; a share 0..1 may be shown in per cent."""

    title: str
    format: str = ""
    percent: bool = False


@dataclass(frozen=True)
class Column:
    """A column: its DuckDB type as stored, and what it means to readers.

    Without a meaning or head it has those of its name in `common_columns`. One that `is_class` is stored as a position
    in the data set's class names; readers see the name, and the position in `..._index`. One that files may lack,
    because an earlier selviz wrote them, is `optional`.
    """

    name: str
    type: str
    meaning: str = ""
    head: Head | None = None
    measure: Measure | None = None
    is_class: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Derived:
    """A column that is not stored but computed when read: `value` is SQL in which `t` is the stored table."""

    name: str
    value: str
    meaning: str = ""
    head: Head | None = None
    measure: Measure | None = None


@dataclass(frozen=True)
class Table:
    """A table: what a row of it is, its columns in their order, and how readers see it: as the view of its name.

    In SQL `t` is the table itself, `l` the layers of the capture, and `{capture}` and so on the file of a stage.
    `order` sorts the rows; None leaves them as they lie. `layer_beyond` is the name of a layer that is none of the
    capture's. `joins` is SQL that reads the stages in `joined` too, `where` the condition of rows that
    readers see. `select` is the whole query where it does not
    follow from the rest. A `hidden` table has no view.
    """

    name: str
    about: str
    columns: tuple[Column, ...]
    order: str | None = None
    derived: tuple[Derived, ...] = ()
    layer_beyond: str = ""
    joins: str = ""
    joined: tuple[str, ...] = ()
    where: str = ""
    select: str = ""
    hidden: bool = False


@dataclass(frozen=True)
class Stage:
    """One DuckDB file of a run: its tables, the command that writes it, and how a lost or damaged file comes back.

    `restore`: by that command again, by `selviz capture`, by training the run again, or by training it with snapshots.
    A stage without a command is there in every finished run.
    """

    name: str
    tables: tuple[Table, ...]
    restore: Literal["command", "capture", "train", "snapshots"] = "command"
    command: str = ""
