"""Where units lie on a plane by their tuning. t-SNE is null in layers with too few or too many units for it."""

from selviz.store.schema.declaration import Column, Stage, Table

STAGE = Stage(
    "unit_map",
    (
        Table(
            "unit_map",
            "Where each unit lies on a map of its layer, near those with a similar tuning.",
            (
                Column("layer", "USMALLINT"),
                Column("unit", "UINTEGER"),
                Column("pca_x", "DOUBLE", "first principal component of the layer's scaled tuning vectors"),
                Column("pca_y", "DOUBLE", "second principal component"),
                Column(
                    "tsne_x",
                    "DOUBLE",
                    "place by t-SNE, across; empty for layers with fewer than 5 or more than 2,000 units",
                ),
                Column("tsne_y", "DOUBLE", "place by t-SNE, upwards"),
            ),
            order="l.layer, t.unit",
        ),
    ),
    command="map",
)
