"""What every unit does on every evaluation image.

`layer` is stored as the layer's position in forward order, classes as positions in the data set's class names.
"""

from selviz.store.schema.declaration import Column, Stage, Table

STAGE = Stage(
    "capture",
    (
        Table(
            "layers",
            "One row per unit layer, in forward order.",
            (
                Column("layer", "USMALLINT"),
                Column("name", "VARCHAR"),
                Column("units", "UINTEGER", "number of units"),
                Column("depth", "DOUBLE", "place in the network, 0 (first) to 1 (last)"),
                Column("signed", "BOOLEAN", "whether activations can be negative, which leaves SI without bounds"),
                Column("squeeze", "BOOLEAN", "whether it is the activation inside a squeeze-excitation block"),
            ),
            hidden=True,
        ),
        Table(
            "images",
            "One row per evaluation image: what it shows and what the network takes it for.",
            (
                Column("image", "UINTEGER"),
                Column("label", "INTEGER", "what the image shows: name of its class", is_class=True),
                Column("prediction", "INTEGER", "what the network takes it for: name of a class", is_class=True),
                Column(
                    "fold",
                    "TINYINT",
                    "0 or 1: units are chosen on fold 0 and reported on fold 1; fold 2 is sealed and not shown",
                ),
            ),
            order="t.image",
            where="t.fold < 2",
        ),
        Table(
            "activations",
            "One row per unit and image. The largest table: name a layer.",
            (
                Column("layer", "USMALLINT"),
                Column("unit", "UINTEGER"),
                Column("image", "UINTEGER"),
                Column("value", "FLOAT", "mean of the unit over positions, after the non-linearity"),
            ),
            where="t.image < (SELECT count(*) FROM {capture}.images WHERE fold < 2)",  # the sealed ones are the last
            order=None,  # they lie sorted; sorting 48 million rows again would need gigabytes
        ),
    ),
    restore="capture",
)
