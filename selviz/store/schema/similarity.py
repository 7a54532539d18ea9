"""How alike a layer is to that of another run, which supplies PWCCA's weights."""

from selviz.store.schema.declaration import Column, Stage, Table

STAGE = Stage(
    "similarity",
    (
        Table(
            "similarity",
            "How alike a layer is to that of another run, one row per layer and run.",
            (
                Column("layer", "USMALLINT"),
                Column("other", "VARCHAR", "the run that it is compared with, and that supplies PWCCA's weights"),
                Column("settings", "VARCHAR", "hash of both networks' activations and of the rows"),
                Column("pwcca", "DOUBLE", "PWCCA distance, 0 (the same up to a linear map) to 1"),
                Column("cka", "DOUBLE", "linear CKA, 0 to 1 (the same up to a rotation and a scale)"),
                Column("directions", "INTEGER", "canonical directions: the smaller of the two ranks"),
                Column("rank", "INTEGER", "directions that the layer's units span"),
                Column("rank_other", "INTEGER", "directions that the other run's units span"),
                Column("rows", "INTEGER", "values of each unit: images times positions"),
                Column("images", "INTEGER", "number of evaluation images, the first in their order"),
                Column("positions", "INTEGER", "most positions of each image"),
            ),
            order="l.layer, t.other",
        ),
    ),
    command="basis",
)
