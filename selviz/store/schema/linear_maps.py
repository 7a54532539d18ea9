"""Mean SI of a layer in other bases."""

from selviz.store.schema.declaration import Column, Stage, Table

STAGE = Stage(
    "linear_maps",
    (
        Table(
            "linear_maps",
            "Mean SI of a layer in other bases, one row per layer and linear map.",
            (
                Column("layer", "USMALLINT"),
                Column(
                    "basis",
                    "VARCHAR",
                    "units: the live units as they are; rotation: a random one; found: by gradient ascent on mean SI",
                ),
                Column("draw", "INTEGER", "number of the rotation or of the restart"),
                Column("si_fit", "DOUBLE", "mean SI on fold 0, on which the map was fit"),
                Column("si", "DOUBLE", "mean SI on fold 1"),
                Column("null_mean", "DOUBLE", "the same under shuffled labels: mean over shuffles"),
                Column("null_p95", "DOUBLE", "the same under shuffled labels: 95th percentile"),
                Column("deviation", "DOUBLE", "how far the map is from orthonormal: largest entry of |W W' - I|"),
                Column("chosen", "BOOLEAN", "whether it is the map found with the largest SI on fold 0"),
            ),
            order="l.layer, t.basis DESC, t.draw",
        ),
    ),
    command="basis",
)
