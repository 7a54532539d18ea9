"""The evaluation images of a data set: one file for all runs that were evaluated on them."""

from selviz.store.schema.declaration import Column, Stage, Table

STAGE = Stage(
    "images",
    (
        Table(
            "thumbnails",
            "One row per evaluation image: its label and a small picture.",
            (
                Column("image", "UINTEGER"),
                Column("label", "INTEGER"),
                Column("png", "BLOB"),
            ),
            hidden=True,
        ),
        Table(
            "classes",
            "One row per class of the data set.",
            (
                Column("class", "INTEGER"),
                Column("name", "VARCHAR"),
            ),
            hidden=True,
        ),
    ),
    restore="capture",
)
