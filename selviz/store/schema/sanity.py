"""How attributions change as weights become random.

Layer -1 is the logits. A unit's check has no class, and that of a class no unit.
"""

from selviz.store.schema.declaration import Column, Stage, Table

STAGE = Stage(
    "sanity",
    (
        Table(
            "sanity",
            "How an attribution changes as weights become random, one row per step and image.",
            (
                Column("layer", "INTEGER", "layer whose units are explained; logits is the predicted class's logit"),
                Column("method", "VARCHAR", "method of attribution"),
                Column("settings", "VARCHAR", "hash of the check's settings and of the weights"),
                Column("parameters", "VARCHAR", "the settings, as JSON"),
                Column("written", "VARCHAR", "when the check was made (UTC)"),
                Column("step", "INTEGER", "how many modules are random, from the top; 0 is the network as it is"),
                Column("module", "VARCHAR", "the last module that became random"),
                Column("image", "UINTEGER"),
                Column("unit", "INTEGER", "number of the explained unit; empty for the logits"),
                Column("class", "INTEGER", "class whose logit is explained; empty for units", is_class=True),
                Column(
                    "rank_correlation",
                    "DOUBLE",
                    "Spearman's, of the map's pixels with those of step 0; empty for a map without variation",
                ),
                Column("rank_correlation_abs", "DOUBLE", "the same without signs"),
                Column("ssim", "DOUBLE", "structural similarity of the map with that of step 0"),
            ),
            order="t.layer, t.method, t.settings, t.step, t.image",
            layer_beyond="logits",
        ),
    ),
    command="sanity",
)
